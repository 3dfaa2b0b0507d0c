"""Invoices: the list, the page of one with its credit notes, what the next run would issue, and issuing it now."""

from itertools import islice
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy import func as sql
from wtforms import BooleanField

from billing.credit_notes import credit_invoice, void_invoice
from billing.following import new_services
from billing.jobs import ISSUE
from billing.run import preview_run
from crm.jobs import OPEN, start_job
from crm.problems import Invalid
from db.models import (
    CreditNote,
    Einvoice,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    Job,
    Payment,
    PaymentApplication,
    Service,
    Subscriber,
)
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.base import amount_of, number_of
from portal.tables import Column, Filter, Table, matching, show

blueprint = Blueprint("invoices", __name__, url_prefix="/invoices")
blueprint.record_once(base.install)

SHOWN = 1_000
"""Drafts that a preview shows; reading those of a hundred thousand services would take longer than anybody waits."""


def _search(words: str) -> ColumnElement[bool]:
    return Invoice.id.in_(matching(sql.search_invoices, words))


TABLE = Table(
    name="invoices",
    columns=(
        Column("issued_on", _l("Issued"), lambda row: row.Invoice.issued_on, Invoice.issued_on),
        Column("number", _l("Number"), lambda row: number_of(row.Invoice)),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber),
        Column("due_on", _l("Due by"), lambda row: row.Invoice.due_on, Invoice.due_on),
        Column("net", _l("Net"), lambda row: row.Invoice.net, exported_only=True),
        Column("tax", _l("Tax"), lambda row: row.Invoice.tax, exported_only=True),
        Column("total", _l("Total"), lambda row: row.Invoice.total, Invoice.total, numeric=True, wide=True),
        Column("open", _l("To pay"), lambda row: row.Invoice.open, Invoice.open, numeric=True),
        Column("currency", _l("Currency"), lambda row: row.Invoice.currency, exported_only=True),
        Column("state", _l("State"), lambda row: base.invoice_state(row.Invoice), words="invoice_state"),
    ),
    order="-issued_on",
    tie=Invoice.id,
    filters=(
        Filter("state", _l("Any state"), base.invoice_states, base.invoices_in),
        Filter("month", _l("Any month"), base.recent_months, lambda value: base.in_month(Invoice.issued_on, value)),
    ),
    search=_search,
    search_hint=_l("Name or number"),
    keys=(Invoice.id,),
)


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def index() -> ResponseReturnValue:
    query = select(Invoice, Subscriber.name.label("subscriber")).join(
        Subscriber, Subscriber.id == Invoice.subscriber_id
    )
    return show(context.db(), TABLE, query, "staff/billing/invoices.html", on=base.is_on())


# What the next run would issue.


@blueprint.get("/preview")
@requires(Permission.BILLING_EDIT)
def preview() -> ResponseReturnValue:
    """Drafts of all that is due on a day; without one, of what the next run issues."""
    session, rules = context.db(), base.rules()
    day = base.day_of(request.args.get("day", "")) or rules.billing_day(context.now())
    drafts = [draft for draft in islice(preview_run(session, rules, day), SHOWN + 1) if draft.total > 0]
    ids = {draft.subscriber_id for draft in drafts}
    subscribers = session.execute(select(Subscriber.id, Subscriber.name).where(Subscriber.id.in_(ids)))
    shown = drafts[:SHOWN]
    return render_template(
        "staff/billing/preview.html",
        day=day,
        drafts=shown,
        more=len(drafts) > SHOWN,
        total=sum(draft.total for draft in shown),
        tax=sum(draft.tax for draft in shown),
        names={row.id: row.name for row in subscribers},
        running=_running(),
        is_today=day <= rules.billing_day(context.now()),
        begun=bool(new_services(session, rules, 0, 1)),
    )


@blueprint.post("/issue")
@requires(Permission.BILLING_EDIT)
def issue_now() -> ResponseReturnValue:
    """Start the billing run as a job. One that is under way is shown instead of a second one."""
    session = context.db()
    base.rules()
    running = _running()
    if running is None:
        running = start_job(session, context.actor(), ISSUE, {})
        session.commit()
    return redirect(url_for("jobs.page", job_id=running.id))


def _running() -> Job | None:
    query = select(Job).where(Job.kind == ISSUE, Job.state.in_(OPEN)).order_by(Job.id).limit(1)
    return context.db().scalar(query)


# One invoice.


CREDIT, VOID = "credit-", "void-"
"""Both forms stand on one page, so their fields have names of their own."""


class CreditForm(Form):
    amount = forms.text(_l("Amount"))
    reason = forms.text(_l("Why"), required=True)


class VoidForm(Form):
    reason = forms.text(_l("Why"), required=True)
    bill_again = BooleanField(_l("Bill its days and charges again with the next run"))


@blueprint.get("/<int:invoice_id>")
@requires(Permission.BILLING_VIEW)
def page(invoice_id: int) -> ResponseReturnValue:
    invoice = _invoice(invoice_id)
    return _page(invoice, CreditForm(formdata=None, prefix=CREDIT), VoidForm(formdata=None, prefix=VOID))


@blueprint.post("/<int:invoice_id>/credit")
@requires(Permission.BILLING_EDIT)
def credit(invoice_id: int) -> ResponseReturnValue:
    """Take an amount off an invoice with a credit note."""
    session, invoice, form = context.db(), _invoice(invoice_id), CreditForm(prefix=CREDIT)
    readable = form.validate()
    amount = amount_of(form)
    if readable and amount is not None:
        try:
            note, _changes = credit_invoice(
                session, context.actor(), base.rules(), invoice, amount, form.reason.data or "", context.now()
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            number = number_of(note)
            session.commit()
            done(_("Credit note %(number)s is issued.", number=number))
            return redirect(url_for(".page", invoice_id=invoice_id))
    return _page(_invoice(invoice_id), form, VoidForm(formdata=None, prefix=VOID)), 422


@blueprint.post("/<int:invoice_id>/void")
@requires(Permission.BILLING_EDIT)
def void(invoice_id: int) -> ResponseReturnValue:
    """Take the whole invoice back, and bill it again if so chosen."""
    session, invoice, form = context.db(), _invoice(invoice_id), VoidForm(prefix=VOID)
    if form.validate():
        try:
            note, _changes = void_invoice(
                session,
                context.actor(),
                base.rules(),
                invoice,
                form.reason.data or "",
                context.now(),
                bill_again=form.bill_again.data,
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            number = number_of(note)
            session.commit()
            done(_("The invoice is cancelled by credit note %(number)s.", number=number))
            return redirect(url_for(".page", invoice_id=invoice_id))
    return _page(_invoice(invoice_id), CreditForm(formdata=None, prefix=CREDIT), form), 422


def _invoice(invoice_id: int) -> Invoice:
    return context.db().get(Invoice, invoice_id) or abort(404)


def _page(invoice: Invoice, credit_form: CreditForm, void_form: VoidForm) -> str:
    session = context.db()
    lines = session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    )
    taxes = session.scalars(select(InvoiceTax).where(InvoiceTax.invoice_id == invoice.id).order_by(InvoiceTax.position))
    notes = session.scalars(select(CreditNote).where(CreditNote.invoice_id == invoice.id).order_by(CreditNote.id)).all()
    electronic = session.scalars(
        select(Einvoice)
        .where(
            or_(
                and_(Einvoice.kind == "invoice", Einvoice.subject_id == invoice.id),
                and_(Einvoice.kind == "credit_note", Einvoice.subject_id.in_([note.id for note in notes])),
            )
        )
        .order_by(Einvoice.id)
    ).all()
    paid: Any = session.execute(
        select(Payment, sql.sum(PaymentApplication.amount).label("amount"))
        .join(PaymentApplication, PaymentApplication.payment_id == Payment.id)
        .where(PaymentApplication.invoice_id == invoice.id)
        .group_by(Payment.id)
        .having(sql.sum(PaymentApplication.amount) > 0)
        .order_by(Payment.id)
    )
    return render_template(
        "staff/billing/invoice.html",
        invoice=invoice,
        subscriber=session.get_one(Subscriber, invoice.subscriber_id),
        service=session.get(Service, invoice.service_id) if invoice.service_id else None,
        lines=list(lines),
        taxes=list(taxes),
        notes=notes,
        electronic=electronic,
        paid=list(paid),
        credit_form=credit_form,
        void_form=void_form,
    )
