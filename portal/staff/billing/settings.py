"""How the operator bills: days, taxes, late fees, numbers, ways to pay; and what a change of them would do."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, HiddenField

from billing.methods import MethodTerms, save_method
from billing.preview import NOTHING
from billing.settings import add_tax, change_settings, end_tax, set_prefix, settings_of
from billing.simulation import simulate
from crm.problems import ChangedMeanwhile, Invalid
from db.models import BillingSettings, DocumentSeries, PaymentMethod, ServiceBilling, TaxRate
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.labels import choices
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.proposals import ProposalForm

blueprint = Blueprint("billing_settings", __name__, url_prefix="/settings/billing")
blueprint.record_once(base.install)

SERIES = ("invoice", "credit_note", "receipt")
AT_ONCE = 5_000
"""Services that a page simulates while somebody waits; a command does it for more."""
MONTHS = 6


class SettingsForm(Form):
    enabled = BooleanField(_l("Bill with Portico"))
    starts_on = forms.day(_l("No day before this is billed"), required=True)
    cut_off = forms.choice(_l("Cut off"))
    timing = forms.choice(_l("Billed"))
    months = forms.whole_number(_l("Months at once"), required=True)
    first_period = forms.choice(_l("The days before the first cut-off"))
    issue_days = forms.whole_number(_l("Invoices are made"), required=True)
    issue_hour = forms.whole_number(_l("From this hour on"), required=True)
    due_days = forms.whole_number(_l("Due after"), required=True)
    first_due_days = forms.whole_number(_l("The first invoice is due after"), required=True)
    bill_suspended = BooleanField(_l("Bill suspended services too"))
    late_fee_percent = forms.number(_l("Late fee, percent of what is open"), required=True)
    late_fee_amount = forms.number(_l("Late fee, fixed amount"), required=True)
    late_fee_days = forms.whole_number(_l("Late after"), required=True)
    promise_days = forms.whole_number(_l("A promise to pay lasts at most"), required=True)
    promises_a_year = forms.whole_number(_l("Promises in twelve months"), required=True)
    prepaid = BooleanField(_l("New services are prepaid"))
    prepaid_notice_days = forms.whole_number(_l("Told before a prepaid service ends"), required=True)
    require_cash_desk = BooleanField(_l("Cash is taken only with an open cash desk"))
    legal_name = forms.text(_l("Legal name"))
    tax_id = forms.text(_l("Tax number"))
    address = forms.text(_l("Address"))
    phone = forms.text(_l("Phone"))
    email = forms.text(_l("E-mail"))
    invoice_note = forms.long_text(_l("Note on invoices"))
    receipt_note = forms.long_text(_l("Note on receipts"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("cut_off", "timing", "first_period"):
            self[name].choices = choices(name)
        base.without_zeros(self.late_fee_percent, self.late_fee_amount)

    def values(self) -> dict[str, Any]:
        texts = ("legal_name", "tax_id", "address", "phone", "email", "invoice_note", "receipt_note")
        values = {one.name: one.data for one in self if one.name not in ("version", "csrf_token")}
        return {**values, **{name: values[name] or "" for name in texts}}


@blueprint.get("/")
@requires(Permission.BILLING_SETTINGS)
def index() -> ResponseReturnValue:
    kept = settings_of(context.db(), context.staff().operator_id)
    return _page(SettingsForm(formdata=None, obj=kept or _first()))


def _first() -> BillingSettings:
    """Return the settings that an operator begins with: what most of them choose."""
    return BillingSettings(
        enabled=True, starts_on=base.today(), cut_off="operator", timing="advance", months=1, first_period="prorated",
        issue_days=5, issue_hour=6, due_days=0, first_due_days=5, bill_suspended=True, late_fee_percent=0,
        late_fee_amount=0, late_fee_days=5, promise_days=7, promises_a_year=3, prepaid=False, prepaid_notice_days=3,
        require_cash_desk=False,
    )  # fmt: skip


@blueprint.post("/")
@requires(Permission.BILLING_SETTINGS)
def change() -> ResponseReturnValue:
    session, form = context.db(), SettingsForm()
    if form.validate():
        seen = forms.seen_version(form.version) or None
        try:
            kept = change_settings(session, context.actor(), form.values(), seen, base.today())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            session.rollback()
            stored = settings_of(session, context.staff().operator_id)
            form.version.data, form.version.raw_data = str(stored.version) if stored else "", None
            form.form_errors.append(
                _("Somebody else changed these rules meanwhile. Sending them again replaces theirs.")
            )
            return _page(form), 409
        else:
            enabled = kept.enabled
            session.commit()
            done(_("Saved. Dates of services follow within minutes.") if enabled else _("Saved. Nothing is billed."))
            return redirect(url_for(".index"))
    return _page(form), 422


# Taxes, numbers, ways to pay.


class TaxForm(Form):
    name = forms.text(_l("Name"), required=True)
    rate = forms.number(_l("Percent"), required=True)
    included = BooleanField(_l("Included in the prices already"))


class PrefixForm(Form):
    prefix = forms.text(_l("Prefix"))


class MethodForm(Form):
    name = forms.text(_l("Name"), required=True)
    account = forms.choice(_l("The money lands in"))
    needs_reference = BooleanField(_l("A reference is needed"))
    active = BooleanField(_l("In use"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account.choices = choices("money_account")


TAX, METHOD = "tax-", "method-"
"""These forms stand on one page, so their fields have names of their own."""


@blueprint.post("/taxes")
@requires(Permission.BILLING_SETTINGS)
def new_tax() -> ResponseReturnValue:
    session, form = context.db(), TaxForm(prefix=TAX)
    if form.validate():
        assert form.rate.data is not None
        try:
            add_tax(session, context.actor(), form.name.data or "", form.rate.data, form.included.data)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The tax is on every invoice from now on."))
            return redirect(url_for(".index") + "#taxes")
    return _page(_stored_form(), tax_form=form), 422


@blueprint.post("/taxes/<int:tax_id>/end")
@requires(Permission.BILLING_SETTINGS)
def stop_tax(tax_id: int) -> ResponseReturnValue:
    session = context.db()
    end_tax(session, context.actor(), session.get(TaxRate, tax_id) or abort(404))
    session.commit()
    done(_("The tax is on no further invoice."))
    return redirect(url_for(".index") + "#taxes")


@blueprint.post("/series/<kind>")
@requires(Permission.BILLING_SETTINGS)
def prefix(kind: str) -> ResponseReturnValue:
    """Set the prefix of a kind of document's numbers."""
    session, form = context.db(), PrefixForm()
    if kind not in SERIES:
        abort(404)
    try:
        set_prefix(session, context.actor(), kind, form.prefix.data or "")
    except Invalid:
        session.rollback()
        refuse(_("A prefix has at most 20 characters."))
    else:
        session.commit()
        done(_("The next number has this prefix."))
    return redirect(url_for(".index") + "#numbers")


@blueprint.route("/methods/new", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def new_method() -> ResponseReturnValue:
    return _method_page(None)


@blueprint.route("/methods/<int:method_id>", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def method(method_id: int) -> ResponseReturnValue:
    return _method_page(context.db().get(PaymentMethod, method_id) or abort(404))


def _method_page(found: PaymentMethod | None) -> ResponseReturnValue:
    session = context.db()
    form = MethodForm(obj=found) if found else MethodForm(data={"active": True} if request.method == "GET" else None)
    if request.method == "POST" and form.validate():
        terms = MethodTerms(form.name.data or "", form.account.data, form.needs_reference.data, form.active.data)
        try:
            save_method(session, context.actor(), terms, found)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".index") + "#methods")
    page = render_template("staff/billing/method_form.html", form=form, is_new=found is None)
    return page, 422 if form.errors else 200


def _stored_form() -> SettingsForm:
    return SettingsForm(formdata=None, obj=settings_of(context.db(), context.staff().operator_id) or _first())


def _page(form: SettingsForm, tax_form: TaxForm | None = None) -> str:
    session, operator_id = context.db(), context.staff().operator_id
    stored = {row.kind: row for row in session.scalars(select(DocumentSeries))}
    return render_template(
        "staff/billing/settings.html",
        form=form,
        tax_form=tax_form or TaxForm(formdata=None, prefix=TAX),
        taxes=list(session.scalars(select(TaxRate).where(TaxRate.active).order_by(TaxRate.id))),
        series=[(kind, stored.get(kind)) for kind in SERIES],
        methods=list(session.scalars(select(PaymentMethod).order_by(~PaymentMethod.active, PaymentMethod.id))),
        stored=settings_of(session, operator_id) is not None,
    )


# What a change would do.


@blueprint.get("/simulation")
@requires(Permission.BILLING_SETTINGS)
def simulation() -> ResponseReturnValue:
    """The invoices of the next months, as the rules are and as they would be."""
    session, rules = context.db(), base.rules()
    form = ProposalForm()
    proposal = form.proposal() if form.validate() else NOTHING
    services = session.scalar(select(func.count()).where(ServiceBilling.stopped_on.is_(None))) or 0
    rows: list[tuple[Any, Any]] = []
    if services <= AT_ONCE:
        as_it_is = simulate(session, rules, MONTHS, base.today())
        proposed = simulate(session, rules, MONTHS, base.today(), proposal) if proposal != NOTHING else as_it_is
        rows = list(zip(as_it_is, proposed, strict=True))
    return render_template(
        "staff/billing/simulation.html",
        form=form,
        rows=rows,
        services=services,
        too_many=services > AT_ONCE,
        proposed=proposal != NOTHING,
    )
