"""A subscriber's money: the statement with what is owed after each line, what is billed beside the plan, promises,
and the next invoices, as things are or under another plan.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import structlog
from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from billing.charges import (
    ChargeTerms,
    DiscountTerms,
    add_charge,
    add_discount,
    bill_now,
    cancel_charge,
    end_discount,
    redeem_coupon,
)
from billing.ledger import balance_of
from billing.pdf import NotRendered
from billing.preview import NOTHING, next_invoices
from billing.promises import cancel_promise, promise, promises_left
from billing.statement import statement
from billing.statement_document import statement_file_name, statement_pdf
from billing.wallets import price_of_next, set_prepaid, wallet_of
from crm.problems import Invalid, WrongState
from db.models import Charge, Discount, Service, ServiceBilling, Subscriber
from portal import context, forms
from portal.errors import problem_text, put_on_form, wrong_state_text
from portal.fields import Option
from portal.forms import Form
from portal.messages import done, refuse
from portal.pay import pdf_response
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.base import amount_of
from portal.staff.billing.proposals import ProposalForm
from portal.staff.subscribers import find, live_sessions, services_of

log = structlog.get_logger()
_DAY = timedelta(days=1)

blueprint = Blueprint("statement", __name__, url_prefix="/subscribers/<int:subscriber_id>/billing")
blueprint.record_once(base.install)


@dataclass(frozen=True, slots=True)
class Balance:
    """What a subscriber owes, for the head of the subscriber's pages; below zero is credit."""

    amount: Decimal


def balance_for(subscriber: Subscriber) -> Balance | None:
    """Return the balance for who may see it, None where there is none to see."""
    if not context.may(Permission.BILLING_VIEW) or not base.is_on():
        return None
    return Balance(balance_of(context.db(), subscriber.id))


def _install(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals.update(balance_for=balance_for)


blueprint.record_once(_install)


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def page(subscriber_id: int) -> ResponseReturnValue:
    subscriber, session = find(subscriber_id), context.db()
    rules = base.rules()
    services = services_of(subscriber)
    ids = [service.id for service in services]
    waiting = select(Charge).where(
        Charge.subscriber_id == subscriber.id, Charge.invoice_id.is_(None), Charge.cancelled_at.is_(None)
    )
    discounts = select(Discount).where(Discount.service_id.in_(ids), Discount.ended_at.is_(None))
    cycles = list(session.scalars(select(ServiceBilling).where(ServiceBilling.service_id.in_(ids))))
    return render_template(
        "staff/billing/statement.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        lines=statement(session, subscriber.id, context.zone().key),
        charges=list(session.scalars(waiting.order_by(Charge.id))),
        discounts=list(session.scalars(discounts.order_by(Discount.id))),
        cycles={cycle.service_id: cycle for cycle in cycles},
        billed_up_to={each.service_id: each.stopped_on or each.next_from - _DAY for each in cycles},
        names={service.id: service.name for service in services},
        today=base.today(),
        wallet=wallet_of(session, rules, subscriber.id),
        prices={one.id: price_of_next(session, rules, one.id, base.today()) for one in services if one.prepaid},
    )


@blueprint.get("/statement.pdf")
@requires(Permission.BILLING_VIEW)
def paper(subscriber_id: int) -> ResponseReturnValue:
    """The statement as a PDF: `?language=en`, `?download=1`."""
    subscriber = find(subscriber_id)
    try:
        content = statement_pdf(context.db(), subscriber, context.now(), request.args.get("language"))
    except NotRendered:
        log.exception("statement_not_rendered", subscriber_id=subscriber_id)
        abort(503)
    return pdf_response(content, statement_file_name(subscriber), download="download" in request.args)


@blueprint.post("/services/<int:service_id>/prepaid")
@requires(Permission.BILLING_EDIT)
def prepaid(subscriber_id: int, service_id: int) -> ResponseReturnValue:
    """Let a service be paid before its periods begin, or by invoice again."""
    session, service, wanted = context.db(), _service(subscriber_id, service_id), "prepaid" in request.form
    try:
        set_prepaid(session, context.actor(), base.rules(), service, wanted, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("The service is prepaid.") if wanted else _("The service is paid by invoice."))
    return redirect(url_for(".page", subscriber_id=subscriber_id))


# What is billed beside the plan.


class ChargeForm(Form):
    description = forms.text(_l("What for"), required=True)
    amount = forms.text(_l("Amount"))
    recurring = forms.choice(_l("How often"))
    service_id = forms.choice(_l("Service"), numeric=True)
    ends_on = forms.day(_l("Last day, of a monthly one"))

    def __init__(self, services: list[Service], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurring.choices = [
            ("", _("Once, on the next invoice")),
            ("monthly", _("Every month")),
            ("now", _("Once, on an invoice of its own now")),
        ]
        self.service_id.choices = [("", _("None in particular")), *((str(one.id), one.name) for one in services)]


@blueprint.route("/charges/new", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def charge(subscriber_id: int) -> ResponseReturnValue:
    """Enter a charge: installation, equipment, a static address."""
    subscriber, session, rules = find(subscriber_id), context.db(), base.rules()
    form = ChargeForm([one for one in services_of(subscriber) if one.state != "terminated"])
    if request.method == "POST":
        readable, amount = form.validate(), amount_of(form)
        if readable and amount is not None:
            terms = ChargeTerms(
                subscriber.id,
                form.description.data or "",
                amount,
                recurring=form.recurring.data == "monthly",
                service_id=form.service_id.data,
                ends_on=form.ends_on.data,
            )
            try:
                add_charge(session, context.actor(), rules, terms, context.now())
                if form.recurring.data == "now":
                    due_on = rules.today(context.now())
                    bill_now(session, context.actor(), rules, subscriber.id, due_on, context.now())
            except Invalid as invalid:
                session.rollback()
                put_on_form(form, invalid)
            else:
                session.commit()
                done(_("The charge is entered."))
                return redirect(url_for(".page", subscriber_id=subscriber_id))
    page = render_template("staff/billing/charge_form.html", form=form, subscriber=find(subscriber_id))
    return page, 422 if form.errors else 200


@blueprint.post("/charges/<int:charge_id>/cancel")
@requires(Permission.BILLING_EDIT)
def end_charge(subscriber_id: int, charge_id: int) -> ResponseReturnValue:
    session = context.db()
    found = session.get(Charge, charge_id)
    if found is None or found.subscriber_id != subscriber_id:
        abort(404)
    return _do(subscriber_id, _("The charge is cancelled."), cancel_charge, base.rules(), found)


class DiscountForm(Form):
    service_id = forms.choice(_l("Service"), numeric=True)
    code = forms.text(_l("Coupon"))
    description = forms.text(_l("What for"))
    percent = forms.number(_l("Percent of the plan"))
    amount = forms.text(_l("Or an amount a month"))
    months = forms.whole_number(_l("For so many months"))

    def __init__(self, services: list[Service], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service_id.choices = [Option(str(one.id), one.name) for one in services]


@blueprint.route("/discounts/new", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def discount(subscriber_id: int) -> ResponseReturnValue:
    """Give a discount, or redeem a coupon."""
    subscriber, session, rules = find(subscriber_id), context.db(), base.rules()
    services = [one for one in services_of(subscriber) if one.state != "terminated"]
    if not services:
        refuse(_("A discount lowers what a plan costs; there is no service."))
        return redirect(url_for(".page", subscriber_id=subscriber_id))
    form = DiscountForm(services)
    if request.method == "POST":
        readable = form.validate()
        amount = amount_of(form) if form.amount.data else None
        if readable and not form.errors:
            service = next(one for one in services if one.id == form.service_id.data)
            try:
                if form.code.data:
                    redeem_coupon(session, context.actor(), rules, service, form.code.data, context.now())
                else:
                    terms = DiscountTerms(form.description.data or "", form.percent.data, amount, form.months.data)
                    add_discount(session, context.actor(), rules, service, terms, context.now())
            except Invalid as invalid:
                session.rollback()
                put_on_form(form, invalid)
            else:
                session.commit()
                done(_("The discount holds from the next invoice on."))
                return redirect(url_for(".page", subscriber_id=subscriber_id))
    page = render_template("staff/billing/discount_form.html", form=form, subscriber=find(subscriber_id))
    return page, 422 if form.errors else 200


@blueprint.post("/discounts/<int:discount_id>/end")
@requires(Permission.BILLING_EDIT)
def stop_discount(subscriber_id: int, discount_id: int) -> ResponseReturnValue:
    session = context.db()
    found = session.get(Discount, discount_id) or abort(404)
    if session.get_one(Service, found.service_id).subscriber_id != subscriber_id:
        abort(404)
    return _do(subscriber_id, _("The discount has ended."), end_discount, base.rules(), found)


def _do(subscriber_id: int, said: str, step: Any, *given: Any) -> ResponseReturnValue:
    session = context.db()
    try:
        step(session, context.actor(), *given, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(said)
    return redirect(url_for(".page", subscriber_id=subscriber_id))


# Promises to pay.


class PromiseForm(Form):
    until = forms.day(_l("Until, that day included"), required=True)
    note = forms.text(_l("Note"))


@blueprint.route("/services/<int:service_id>/promise", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def promised(subscriber_id: int, service_id: int) -> ResponseReturnValue:
    """Let an overdue service stay on until a day; one that is cut comes back at once."""
    session, rules = context.db(), base.rules()
    service = _service(subscriber_id, service_id)
    form = PromiseForm()
    if request.method == "POST" and form.validate():
        assert form.until.data is not None
        try:
            promise(session, context.actor(), rules, service, form.until.data, form.note.data or "", context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except WrongState as wrong:
            session.rollback()
            refuse(wrong_state_text(wrong))
            return redirect(url_for(".page", subscriber_id=subscriber_id))
        else:
            session.commit()
            done(_("%(service)s stays on until the end of that day.", service=service.name))
            return redirect(url_for(".page", subscriber_id=subscriber_id))
    service = _service(subscriber_id, service_id)
    page = render_template(
        "staff/billing/promise.html",
        form=form,
        subscriber=find(subscriber_id),
        service=service,
        left=promises_left(session, rules, service.id, context.now()),
        days=rules.promise_days,
    )
    return page, 422 if form.errors else 200


@blueprint.post("/services/<int:service_id>/promise/cancel")
@requires(Permission.BILLING_EDIT)
def end_promise(subscriber_id: int, service_id: int) -> ResponseReturnValue:
    session, service = context.db(), _service(subscriber_id, service_id)
    cancel_promise(session, context.actor(), service, context.now())
    session.commit()
    done(_("The promise is taken back."))
    return redirect(url_for(".page", subscriber_id=subscriber_id))


# The next invoices.


@blueprint.get("/services/<int:service_id>/next")
@requires(Permission.BILLING_VIEW)
def next_page(subscriber_id: int, service_id: int) -> ResponseReturnValue:
    """A service's next three invoices, as things are and as they would be."""
    session, rules, service = context.db(), base.rules(), _service(subscriber_id, service_id)
    form = ProposalForm()
    proposal = form.proposal() if form.validate() else NOTHING
    as_it_is = next_invoices(session, rules, service.id, base.today())
    proposed = next_invoices(session, rules, service.id, base.today(), proposal=proposal)
    subscriber = find(subscriber_id)
    services = services_of(subscriber)
    return render_template(
        "staff/billing/next.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        service=service,
        form=form,
        as_it_is=as_it_is,
        proposed=proposed if proposal != NOTHING else None,
    )


def _service(subscriber_id: int, service_id: int) -> Service:
    service = context.db().get(Service, service_id)
    if service is None or service.subscriber_id != subscriber_id:
        abort(404)
    return service
