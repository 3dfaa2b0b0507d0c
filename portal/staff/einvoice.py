"""Electronic invoices for the staff: what became of each, its XML, the operator's account with a provider."""

from flask import Blueprint, Response, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import undefer
from wtforms import BooleanField

from billing.einvoice.sending import send_again
from billing.einvoice.settings import TITLES, AccountTerms, enter_account
from core.clock import local_date
from core.i18n import N_
from crm.problems import Invalid
from db.models import EINVOICE_STATES, CreditNote, Einvoice, EinvoiceSettings
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form
from portal.labels import label
from portal.messages import done
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("einvoices", __name__, url_prefix="/electronic-invoices")

REASONS = {
    "unreachable": N_("The provider does not answer; it is tried again by itself."),
    "confused": N_("The provider's answer could not be understood; it is asked again by itself."),
    "key": N_("The provider does not know the key. Enter it again in the settings."),
    "issuer_name": N_("The invoice has no name of the issuer. Enter it in the billing rules, and bill again."),
    "issuer_tax_id": N_("The invoice has no tax number of the issuer. Enter it in the billing rules, and bill again."),
    "country": N_("The country of the issuer is missing in the settings."),
    "customer_name": N_("The invoice has no name of the subscriber."),
    "lines": N_("The invoice has no lines."),
    "sums": N_("The lines and taxes of the invoice do not make its total."),
}
"""What Portico itself says about a document; everything else is in the provider's words."""


@blueprint.app_template_filter("einvoice_reason")
def reason_of(row: Einvoice) -> str:
    """Return why a document waits or was refused, in words."""
    known, _colon, more = row.detail.partition(": ")
    if known in REASONS:
        said = _(REASONS[known])
        return f"{said} ({more})" if more else said
    return row.detail


TABLE = Table(
    name="electronic-invoices",
    columns=(
        Column("created_at", _l("Since"), lambda row: row.created_at, Einvoice.created_at),
        Column("number", _l("Number"), lambda row: row.number),
        Column("kind", _l("Kind"), lambda row: row.kind, words="document_kind"),
        Column("state", _l("State"), lambda row: row.state, Einvoice.state, words="einvoice_state"),
        Column("fiscal_id", _l("Fiscal number"), lambda row: row.fiscal_id, wide=True),
        Column("detail", _l("Why"), reason_of),
    ),
    order="-created_at",
    tie=Einvoice.id,
    filters=(
        Filter(
            "state",
            _l("Any state"),
            lambda: [(state, label("einvoice_state", state)) for state in EINVOICE_STATES],
            lambda value: Einvoice.state == value,
        ),
    ),
    keys=(Einvoice.id,),
)


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def index() -> ResponseReturnValue:
    kept = context.db().get(EinvoiceSettings, context.staff().operator_id)
    return show(
        context.db(), TABLE, select(Einvoice), "staff/einvoice/index.html", on=kept is not None and kept.enabled
    )


@blueprint.get("/<int:einvoice_id>")
@requires(Permission.BILLING_VIEW)
def page(einvoice_id: int) -> ResponseReturnValue:
    """Lead to the invoice that a document is of, or belongs to."""
    return redirect(_invoice_url(_row(einvoice_id)))


@blueprint.get("/<int:einvoice_id>.xml")
@requires(Permission.BILLING_VIEW)
def xml(einvoice_id: int) -> ResponseReturnValue:
    """Return the document as the provider signed it, or as it was sent."""
    found = context.db().scalar(
        select(Einvoice).where(Einvoice.id == einvoice_id).options(undefer(Einvoice.xml), undefer(Einvoice.stamped))
    )
    content = None if found is None else found.stamped or found.xml
    if found is None or content is None:
        abort(404)
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in found.number)
    response = Response(content, mimetype="application/xml")
    name = f"{found.kind.replace('_', '-')}-{plain}.xml"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post("/<int:einvoice_id>/again")
@requires(Permission.BILLING_EDIT)
def again(einvoice_id: int) -> ResponseReturnValue:
    """Have a refused document made anew and sent; one that waits is tried now."""
    session, row = context.db(), _row(einvoice_id)
    try:
        send_again(session, context.actor(), row, context.now())
    except Invalid:
        session.rollback()
    else:
        session.commit()
        done(_("It is sent within a minute."))
    return redirect(_invoice_url(_row(einvoice_id)))


class AccountForm(Form):
    enabled = BooleanField(_l("Issue invoices electronically"))
    starts_on = forms.day(_l("From invoices of"), required=True)
    format = forms.choice(_l("Format"), choices=[Option(name, title) for name, title in TITLES.items()])
    country = forms.text(_l("Country"), required=True)
    provider_url = forms.text(_l("Address of the provider"), required=True)
    api_key = forms.password(_l("Key"))


@blueprint.get("/account")
@requires(Permission.BILLING_SETTINGS)
def account() -> ResponseReturnValue:
    kept = _kept()
    if kept is None:
        return _account_page(
            AccountForm(data={"starts_on": local_date(context.now(), context.zone()), "format": "ubl"})
        )
    names = ("enabled", "starts_on", "format", "country", "provider_url")
    return _account_page(AccountForm(data={name: getattr(kept, name) for name in names}))


@blueprint.post("/account")
@requires(Permission.BILLING_SETTINGS)
def change_account() -> ResponseReturnValue:
    session, form, kept = context.db(), AccountForm(), _kept()
    if not form.validate() or form.starts_on.data is None:
        return _account_page(form), 422
    url = form.provider_url.data or ""
    terms = AccountTerms(
        form.enabled.data,
        form.starts_on.data,
        form.country.data or "",
        url,
        form.api_key.data or "",
        form.format.data,
        emulated=kept is not None and kept.emulated and url == kept.provider_url,
    )
    try:
        enter_account(session, context.keyring(), context.actor(), terms)
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _account_page(form), 422
    session.commit()
    done(_("Saved. New invoices are sent within a minute.") if terms.enabled else _("Saved."))
    return redirect(url_for(".account"))


def _kept() -> EinvoiceSettings | None:
    return context.db().get(EinvoiceSettings, context.staff().operator_id)


def _account_page(form: AccountForm) -> str:
    return render_template("staff/einvoice/account.html", form=form, kept=_kept())


def _row(einvoice_id: int) -> Einvoice:
    return context.db().get(Einvoice, einvoice_id, populate_existing=True) or abort(404)


def _invoice_url(row: Einvoice) -> str:
    invoice_id = row.subject_id
    if row.kind == "credit_note":
        invoice_id = context.db().get_one(CreditNote, row.subject_id).invoice_id
    return url_for("invoices.page", invoice_id=invoice_id)
