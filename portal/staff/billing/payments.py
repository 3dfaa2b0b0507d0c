"""Payments: the list, registering one with what it will do shown before, voiding and refunding.

A payment is saved only when what it does is what was shown: the form carries a digest of the effects that the person
saw, and a payment whose effects have become others meanwhile (another cashier took it, an invoice was issued, the
button was clicked twice) is shown anew instead.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, func, select
from wtforms import HiddenField

from billing.cut_offs import kept_cut_off
from billing.desks import open_desk_of
from billing.foreign_payments import refundable_of
from billing.gateways import ProviderTrouble
from billing.gateways.checkouts import refund_online
from billing.ledger import balance_of
from billing.payments import (
    PaymentEffects,
    PaymentTerms,
    refund_payment,
    register_payment,
    void_payment,
    what_it_will_do,
)
from billing.rules import BillingRules
from billing.wallets import to_top_up
from core.money import is_currency
from crm.currencies import foreign_currencies
from crm.problems import Invalid
from db.models import Collector, Payment, PaymentMethod, Refund, Staff, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form
from portal.labels import choices
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.base import amount_of, number_of
from portal.staff.provider_words import trouble_text
from portal.tables import Column, Filter, Table, matching, show

blueprint = Blueprint("payments", __name__, url_prefix="/payments")
blueprint.record_once(base.install)


# The list.


def _search(words: str) -> ColumnElement[bool]:
    return Payment.id.in_(matching(func.search_payments, words))


def _in_state(state: str) -> ColumnElement[bool]:
    if state == "voided":
        return Payment.voided_at.is_not(None)
    if state == "refunded":
        return Payment.refunded > 0
    return Payment.voided_at.is_(None)


def _methods() -> list[tuple[str, Any]]:
    return [(str(row.id), row.name) for row in context.db().scalars(select(PaymentMethod).order_by(PaymentMethod.id))]


def _cashiers() -> list[tuple[str, Any]]:
    rows = context.db().execute(select(Staff.id, Staff.name).order_by(Staff.name))
    return [(str(row.id), row.name) for row in rows]


TABLE = Table(
    name="payments",
    columns=(
        Column("paid_on", _l("Date"), lambda row: row.Payment.paid_on, Payment.paid_on),
        Column("receipt", _l("Receipt"), lambda row: number_of(row.Payment)),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber),
        Column("method", _l("Paid by"), lambda row: row.method, wide=True),
        Column("reference", _l("Reference"), lambda row: row.Payment.reference, wide=True),
        Column("amount", _l("Amount"), lambda row: row.Payment.amount, Payment.amount, numeric=True),
        Column("currency", _l("Currency"), lambda row: row.Payment.currency, exported_only=True),
        Column("cashier", _l("Taken by"), lambda row: row.cashier or "", wide=True),
        Column("state", _l("State"), lambda row: base.payment_state(row.Payment), words="payment_state"),
    ),
    order="-paid_on",
    tie=Payment.id,
    filters=(
        Filter(
            "month", _l("Any month"), base.recent_months, lambda value: base.in_month(Payment.paid_on, value)
        ),
        Filter("method", _l("Any way to pay"), _methods, lambda value: Payment.method_id == int(value)),
        Filter("cashier", _l("Anybody"), _cashiers, lambda value: Payment.staff_id == int(value)),
        Filter("state", _l("Any state"), lambda: choices("payment_state"), _in_state),
    ),
    search=_search,
    search_hint=_l("Name, receipt, reference"),
    keys=(Payment.id,),
)  # fmt: skip


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(
            Payment,
            Subscriber.name.label("subscriber"),
            PaymentMethod.name.label("method"),
            func.coalesce(Collector.name, Staff.name).label("cashier"),
        )
        .join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .join(PaymentMethod, PaymentMethod.id == Payment.method_id)
        .outerjoin(Staff, Staff.id == Payment.staff_id)
        .outerjoin(Collector, Collector.id == Payment.collector_id)
    )
    return show(context.db(), TABLE, query, "staff/billing/payments.html", on=base.is_on())


# Registering one.


class PaymentForm(Form):
    amount = forms.text(_l("Amount"))
    method_id = forms.choice(_l("Paid by"), numeric=True)
    paid_on = forms.day(_l("Date"), required=True)
    reference = forms.text(_l("Reference"))
    collector_id = forms.choice(_l("Collected by"), numeric=True)
    currency = forms.choice(_l("Currency"), validate_choice=False)
    change = forms.text(_l("Change given back"))
    note = forms.text(_l("Note"))
    agreed = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session = context.db()
        methods = session.scalars(
            select(PaymentMethod)
            .where(PaymentMethod.active, PaymentMethod.gateway.is_(None))
            .order_by(PaymentMethod.id)
        )
        self.method_id.choices = [Option(str(method.id), method.name) for method in methods]
        collectors = session.scalars(select(Collector).where(Collector.active).order_by(Collector.name))
        self.collector_id.choices = [("", _("Nobody: it was paid here")), *((str(c.id), c.name) for c in collectors)]
        foreign = foreign_currencies(session, context.staff().operator_id)
        self.currency.choices = [(code, code) for code in (context.operator().currency, *foreign)]
        self.foreign = foreign

    def terms(self, rules: BillingRules, subscriber_id: int) -> PaymentTerms | None:
        """Return what was typed, or None with what cannot be read said beside its field."""
        readable = self.validate()
        currency = self.currency.data or rules.currency
        known = currency if is_currency(currency) else rules.currency
        amount, change = amount_of(self, currency=known), Decimal(0)
        if currency in self.foreign and self.change.data:
            typed = amount_of(self, "change", zero=True)
            readable, change = readable and typed is not None, typed or change
        if not readable or amount is None:
            return None
        return PaymentTerms(
            subscriber_id=subscriber_id,
            method_id=self.method_id.data or 0,
            amount=amount,
            currency=currency,
            paid_on=self.paid_on.data or date.min,
            reference=self.reference.data or "",
            note=self.note.data or "",
            collector_id=self.collector_id.data,
            change=change,
        )


@blueprint.get("/new/<int:subscriber_id>")
@requires(Permission.PAYMENTS_EDIT)
def create_page(subscriber_id: int) -> ResponseReturnValue:
    subscriber, rules = _subscriber(subscriber_id), base.rules()
    owed = balance_of(context.db(), subscriber.id)
    if owed <= 0:  # who pays before using is asked for the next period
        owed = to_top_up(context.db(), rules.operator_id, subscriber.id, context.now())
    form = PaymentForm(
        data={
            "amount": base.as_typed(owed) if owed > 0 else "",
            "paid_on": rules.today(context.now()),
            "method_id": _last_method(),
            "currency": rules.currency,
        }
    )
    effects = None
    if owed > 0 and form.method_id.data:
        terms = PaymentTerms(subscriber.id, form.method_id.data, owed, rules.currency, rules.today(context.now()))
        try:
            effects = what_it_will_do(context.db(), context.actor(), rules, terms, context.now())
        except Invalid:
            effects = None  # such as a reference that the method needs: said once something is sent
    if effects is not None:
        form.agreed.data = _digest(effects)
    return _form_page(form, subscriber, effects)


@blueprint.post("/new/<int:subscriber_id>")
@requires(Permission.PAYMENTS_EDIT)
def create(subscriber_id: int) -> ResponseReturnValue:
    """Register the payment if its effects were shown; else show them."""
    session, subscriber, rules = context.db(), _subscriber(subscriber_id), base.rules()
    form = PaymentForm()
    terms = form.terms(rules, subscriber.id)
    if terms is None:
        return _form_page(form, subscriber, None), 422
    try:
        registered = register_payment(session, context.actor(), rules, terms, context.now())
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _form_page(form, subscriber, None), 422
    assert registered.effects is not None, "only gateways name an id of their own"
    if form.agreed.data != _digest(registered.effects):
        session.rollback()
        return _show_effects(form, subscriber, registered.effects)
    payment_id = registered.payment.id
    session.commit()
    done(_("Registered as receipt %(number)s.", number=number_of(registered.payment)))
    return redirect(url_for(".page", payment_id=payment_id))


@blueprint.post("/new/<int:subscriber_id>/effects")
@requires(Permission.PAYMENTS_EDIT)
def effects_of(subscriber_id: int) -> ResponseReturnValue:
    """What is typed so far would do; asked while somebody types, nothing is kept."""
    subscriber, rules = _subscriber(subscriber_id), base.rules()
    form = PaymentForm()
    terms = form.terms(rules, subscriber.id)
    if terms is None:
        return _effects_part(form, subscriber, None)
    try:
        effects = what_it_will_do(context.db(), context.actor(), rules, terms, context.now())
    except Invalid as invalid:
        put_on_form(form, invalid)
        return _effects_part(form, subscriber, None)
    _agree(form, effects)
    return _effects_part(form, subscriber, effects)


def _effects_part(form: PaymentForm, subscriber: Subscriber, effects: PaymentEffects | None) -> str:
    return render_template(
        "staff/billing/effects.html",
        form=form,
        effects=effects,
        subscriber=subscriber,
    )


def _show_effects(form: PaymentForm, subscriber: Subscriber, effects: PaymentEffects) -> ResponseReturnValue:
    seen_before = bool(form.agreed.data)
    _agree(form, effects)
    return _form_page(form, _subscriber(subscriber.id), effects, changed=seen_before), 409 if seen_before else 200


def _agree(form: PaymentForm, effects: PaymentEffects) -> None:
    form.agreed.data = _digest(effects)
    form.agreed.raw_data = None


def _digest(effects: PaymentEffects) -> str:
    document = effects.document()
    for paid in document["paid"]:
        del paid["invoice_id"]  # of a period that is bought now, it is another one each time that is tried
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def _form_page(
    form: PaymentForm, subscriber: Subscriber, effects: PaymentEffects | None, *, changed: bool = False
) -> str:
    session, person = context.db(), context.staff()
    return render_template(
        "staff/billing/payment_form.html",
        form=form,
        subscriber=subscriber,
        effects=effects,
        changed=changed,
        owed=balance_of(session, subscriber.id),
        desk=open_desk_of(session, person.id),
        has_collectors=len(list(form.collector_id.choices or ())) > 1,
    )


def _last_method() -> int | None:
    """Return the method that this cashier used last, else the first there is."""
    session = context.db()
    usable = select(PaymentMethod.id).where(PaymentMethod.active, PaymentMethod.gateway.is_(None))
    last = session.scalar(
        select(Payment.method_id)
        .where(Payment.staff_id == context.staff().id, Payment.method_id.in_(usable))
        .order_by(Payment.paid_on.desc(), Payment.id.desc())
        .limit(1)
    )
    return last or session.scalar(usable.order_by(PaymentMethod.id).limit(1))


def _subscriber(subscriber_id: int) -> Subscriber:
    return context.db().get(Subscriber, subscriber_id) or abort(404)


# One payment.


VOID, REFUND = "void-", "refund-"
"""Both forms stand on one page, so their fields have names of their own."""


class VoidForm(Form):
    reason = forms.text(_l("Why"), required=True)


class RefundForm(Form):
    amount = forms.text(_l("Amount"))
    reason = forms.text(_l("Why"), required=True)


@blueprint.get("/<int:payment_id>")
@requires(Permission.BILLING_VIEW)
def page(payment_id: int) -> ResponseReturnValue:
    payment = _payment(payment_id)
    return _page(payment, _void_form(), _refund_form(payment))


@blueprint.post("/<int:payment_id>/void")
@requires(Permission.PAYMENTS_UNDO)
def void(payment_id: int) -> ResponseReturnValue:
    """Take the payment back: it was never made, or it bounced."""
    session, payment, form = context.db(), _payment(payment_id), VoidForm(prefix=VOID)
    if form.validate():
        try:
            void_payment(session, context.actor(), base.rules(), payment, form.reason.data or "", context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Voided. What it had paid is open again."))
            return redirect(url_for(".page", payment_id=payment_id))
    payment = _payment(payment_id)
    return _page(payment, form, _refund_form(payment)), 422


@blueprint.post("/<int:payment_id>/refund")
@requires(Permission.PAYMENTS_UNDO)
def refund(payment_id: int) -> ResponseReturnValue:
    """Give money back."""
    session, payment, form = context.db(), _payment(payment_id), RefundForm(prefix=REFUND)
    readable = form.validate()
    amount = amount_of(form, currency=payment.foreign_currency)
    if readable and amount is not None:
        try:
            _give_back(payment, amount, form.reason.data or "")
        except ProviderTrouble as trouble:
            session.rollback()
            form.form_errors.append(trouble_text(trouble))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The refund is booked."))
            return redirect(url_for(".page", payment_id=payment_id))
    return _page(_payment(payment_id), _void_form(), form), 422


def _give_back(payment: Payment, amount: Decimal, reason: str) -> None:
    """Book a refund; of a payment that came online, once its provider has given the money back."""
    session, now = context.db(), context.now()
    if payment.external_id is not None:
        refund_online(session, context.portal().settings, context.actor(), payment, amount, reason, now)
    else:
        refund_payment(session, context.actor(), base.rules(), payment, amount, reason, now)


def _void_form() -> VoidForm:
    return VoidForm(formdata=None, prefix=VOID)


def _refund_form(payment: Payment) -> RefundForm:
    left, currency = payment.amount - payment.refunded, None
    if payment.foreign_currency is not None:
        left, currency = refundable_of(context.db(), payment), payment.foreign_currency
    return RefundForm(formdata=None, prefix=REFUND, data={"amount": base.as_typed(left, currency)})


def _payment(payment_id: int) -> Payment:
    return context.db().get(Payment, payment_id) or abort(404)


def _page(payment: Payment, void_form: VoidForm, refund_form: RefundForm) -> str:
    session = context.db()
    refunds = session.scalars(select(Refund).where(Refund.payment_id == payment.id).order_by(Refund.id)).all()
    return render_template(
        "staff/billing/payment.html",
        payment=payment,
        subscriber=session.get_one(Subscriber, payment.subscriber_id),
        method=session.get_one(PaymentMethod, payment.method_id),
        collector=session.get(Collector, payment.collector_id) if payment.collector_id else None,
        cashier=session.get(Staff, payment.staff_id) if payment.staff_id else None,
        refunds=refunds,
        effects=_read(payment),
        void_form=void_form,
        refund_form=refund_form,
    )


def _read(payment: Payment) -> dict[str, Any]:
    """Return what a payment did, from what is kept of it, with amounts and days that can be formatted."""
    effects: Mapping[str, Any] = payment.effects
    paid = [{**each, "amount": Decimal(each["amount"])} for each in effects.get("paid", ())]
    services = [
        {
            **each,
            "next_cut_off": date.fromisoformat(each["next_cut_off"]) if each["next_cut_off"] else None,
            "cut_at": kept_cut_off(each, payment.created_at),
        }
        for each in effects.get("services", ())
    ]
    return {"paid": paid, "services": services}
