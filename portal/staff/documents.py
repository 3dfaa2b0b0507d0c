"""Documents for the staff: a PDF to print or keep, sent again by e-mail, many at once; the letterhead."""

from collections.abc import Mapping

import structlog
from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField, FileField

from billing.batches import BATCH, MOST
from billing.documents import TITLES, NoDocument, file_name, pdf_of
from billing.invoices import document_number
from billing.links import link_key, pay_url
from billing.logo import checked_logo
from billing.mailing import mail_document
from billing.pdf import PAPERS, NotRendered
from crm.jobs import start_job
from crm.problems import Invalid
from db.audit import record
from db.models import CreditNote, DocumentBatch, DocumentMail, Invoice, Letterhead, Payment, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form
from portal.messages import done
from portal.pay import pdf_response
from portal.permissions import Permission, requires
from portal.staff.billing.base import recent_months

log = structlog.get_logger()
blueprint = Blueprint("documents", __name__, url_prefix="/documents")

_MODELS: Mapping[str, type[Invoice | CreditNote | Payment]] = {
    "invoice": Invoice,
    "credit_note": CreditNote,
    "receipt": Payment,
}


@blueprint.get("/receipts/<int:payment_id>")
@requires(Permission.BILLING_VIEW)
def receipt(payment_id: int) -> ResponseReturnValue:
    return _pdf("receipt", payment_id, _letterhead_paper())


@blueprint.get("/invoices/<int:invoice_id>")
@requires(Permission.BILLING_VIEW)
def invoice(invoice_id: int) -> ResponseReturnValue:
    return _pdf("invoice", invoice_id, "a4")


@blueprint.get("/credit-notes/<int:note_id>")
@requires(Permission.BILLING_VIEW)
def credit_note(note_id: int) -> ResponseReturnValue:
    return _pdf("credit_note", note_id, "a4")


def _pdf(kind: str, subject_id: int, paper: str) -> Response:
    """Return a document as PDF: `?paper=ticket`, `?language=en`, `?download=1`."""
    session, asked = context.db(), request.args.get("paper", paper)
    try:
        document, content = pdf_of(
            session,
            context.keyring(),
            context.staff().operator_id,
            kind,
            subject_id,
            context.portal().settings.public_url,
            paper=asked if asked in PAPERS else paper,
            language=request.args.get("language"),
        )
    except NoDocument:
        abort(404)
    except NotRendered:
        log.exception("not_rendered", kind=kind, subject_id=subject_id)
        abort(503)
    session.commit()
    return pdf_response(content, file_name(document), download="download" in request.args)


@blueprint.get("/links/<kind>/<int:subject_id>")
@requires(Permission.BILLING_VIEW)
def pay_link(kind: str, subject_id: int) -> ResponseReturnValue:
    """Lead to the page where an invoice, or all that a subscriber owes, is paid: its address can be passed on."""
    session, base_url = context.db(), ""
    if kind == "invoice":
        subject = {"invoice_id": (session.get(Invoice, subject_id) or abort(404)).id}
    elif kind == "subscriber":
        subject = {"subscriber_id": (session.get(Subscriber, subject_id) or abort(404)).id}
    else:
        abort(404)
    url = pay_url(session, context.keyring(), base_url, context.staff().operator_id, **subject)
    session.commit()
    return redirect(url)


# By e-mail.


class MailForm(Form):
    address = forms.text(_l("E-mail address"), required=True)


@blueprint.get("/mail/<kind>/<int:subject_id>")
@requires(Permission.BILLING_VIEW)
def mail_page(kind: str, subject_id: int) -> ResponseReturnValue:
    row = _row(kind, subject_id)
    subscriber = context.db().get_one(Subscriber, row.subscriber_id)
    return _mail_page(MailForm(data={"address": subscriber.email or ""}), kind, subject_id)


@blueprint.post("/mail/<kind>/<int:subject_id>")
@requires(Permission.BILLING_VIEW)
def mail(kind: str, subject_id: int) -> ResponseReturnValue:
    """Send a document once more."""
    session, row, form = context.db(), _row(kind, subject_id), MailForm()
    if form.validate():
        try:
            to = mail_document(
                session,
                context.keyring(),
                context.actor(),
                kind,
                subject_id,
                row.subscriber_id,
                context.portal().settings.public_url,
                address=form.address.data,
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("It goes to %(address)s.", address=to))
            return redirect(_page_of(kind, subject_id))
    return _mail_page(form, kind, subject_id), 422


def _mail_page(form: MailForm, kind: str, subject_id: int) -> str:
    sent = (
        context.db()
        .scalars(
            select(DocumentMail)
            .where(DocumentMail.kind == kind, DocumentMail.subject_id == subject_id)
            .order_by(DocumentMail.id.desc())
            .limit(20)
        )
        .all()
    )
    row = _row(kind, subject_id)
    what = f"{_(TITLES[kind])} {document_number(row.prefix, row.number)}"
    return render_template(
        "staff/documents/mail.html", form=form, sent=sent, what=what, back=_page_of(kind, subject_id)
    )


def _row(kind: str, subject_id: int) -> Invoice | CreditNote | Payment:
    if kind not in _MODELS:
        abort(404)
    row = context.db().get(_MODELS[kind], subject_id) or abort(404)
    assert isinstance(row, Invoice | CreditNote | Payment), "one of the models"
    return row


def _page_of(kind: str, subject_id: int) -> str:
    if kind == "receipt":
        return url_for("payments.page", payment_id=subject_id)
    invoice_id = subject_id if kind == "invoice" else context.db().get_one(CreditNote, subject_id).invoice_id
    return url_for("invoices.page", invoice_id=invoice_id)


# Many at once.


class BatchForm(Form):
    kind = forms.choice(_l("Documents"), choices=[Option("invoice", _l("Invoices")), Option("receipt", _l("Receipts"))])
    month = forms.choice(_l("Month"))
    paper = forms.choice(_l("Paper"), choices=[Option("a4", "A4"), Option("ticket", _l("Ticket of 80 mm"))])
    file = forms.choice(
        _l("File"),
        choices=[Option("pdf", _l("One PDF, to print all of them")), Option("zip", _l("ZIP, a PDF of each"))],
    )


@blueprint.get("/many")
@requires(Permission.BILLING_EDIT)
def batch_page() -> ResponseReturnValue:
    return _batch_page(_batch_form())


@blueprint.post("/many")
@requires(Permission.BILLING_EDIT)
def batch() -> ResponseReturnValue:
    """Have a job render a month's documents."""
    session, form = context.db(), _batch_form()
    if not form.validate():
        return _batch_page(form), 422
    parameters = {name: form[name].data for name in ("kind", "month", "paper", "file")}
    job = start_job(session, context.actor(), BATCH, parameters, subject=form.month.data)
    session.commit()
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.get("/files/<int:batch_id>")
@requires(Permission.BILLING_EDIT)
def file(batch_id: int) -> ResponseReturnValue:
    found = context.db().get(DocumentBatch, batch_id)
    if found is None:
        flash(_("This file is not kept any more. Make it again."), "warning")
        return redirect(url_for(".batch_page"))
    response = Response(found.content, mimetype="application/pdf" if found.name.endswith(".pdf") else "application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
    return response


def _batch_form() -> BatchForm:
    form = BatchForm()
    form.month.choices = [Option(month, title) for month, title in recent_months()]
    return form


def _batch_page(form: BatchForm) -> str:
    files = context.db().scalars(select(DocumentBatch).order_by(DocumentBatch.id.desc())).all()
    return render_template("staff/documents/many.html", form=form, files=files, most=MOST)


# The letterhead.


class LetterheadForm(Form):
    logo = FileField(_l("Logo"))
    remove_logo = BooleanField(_l("Remove the logo"))
    paper = forms.choice(_l("Paper of receipts"), choices=[Option("a4", "A4"), Option("ticket", _l("Ticket of 80 mm"))])
    email_receipts = BooleanField(_l("Send each receipt by e-mail to the subscriber, by itself"))
    attach_pdf = BooleanField(_l("Attach the PDF to e-mails of documents"))


@blueprint.get("/letterhead")
@requires(Permission.BILLING_SETTINGS)
def letterhead() -> ResponseReturnValue:
    kept = _letterhead()
    data = {name: getattr(kept, name) for name in ("paper", "email_receipts", "attach_pdf")} if kept else None
    return _letterhead_page(LetterheadForm(data=data))


@blueprint.post("/letterhead")
@requires(Permission.BILLING_SETTINGS)
def change_letterhead() -> ResponseReturnValue:
    session, form = context.db(), LetterheadForm()
    if not form.validate():
        return _letterhead_page(form), 422
    upload = request.files.get("logo")
    try:
        logo = checked_logo(upload.read()) if upload is not None and upload.filename else None
    except Invalid as invalid:
        put_on_form(form, invalid)
        return _letterhead_page(form), 422
    link_key(session, context.keyring(), context.staff().operator_id)  # makes the row
    kept = _letterhead()
    assert kept is not None, "it was just made"
    names = ("paper", "email_receipts", "attach_pdf")
    before = {**{name: getattr(kept, name) for name in names}, "logo": "" if kept.logo is None else "set"}
    if logo is not None:
        kept.logo = logo
    elif form.remove_logo.data:
        kept.logo = None
    kept.paper, kept.email_receipts = form.paper.data, form.email_receipts.data
    kept.attach_pdf = form.attach_pdf.data
    after = {**{name: getattr(kept, name) for name in names}, "logo": "changed" if logo else before["logo"]}
    if form.remove_logo.data and logo is None:
        after["logo"] = ""
    session.flush()
    record(session, context.actor(), "letterhead.change", "operator", context.staff().operator_id, before, after)
    session.commit()
    done(_("Saved. Documents show it from now on."))
    return redirect(url_for(".letterhead"))


@blueprint.get("/letterhead/logo.png")
@requires(Permission.BILLING_SETTINGS)
def logo() -> ResponseReturnValue:
    kept = _letterhead()
    if kept is None or kept.logo is None:
        abort(404)
    return Response(kept.logo, mimetype="image/png")


def _letterhead() -> Letterhead | None:
    return context.db().get(Letterhead, context.staff().operator_id)


def _letterhead_paper() -> str:
    kept = _letterhead()
    return kept.paper if kept else "a4"


def _letterhead_page(form: LetterheadForm) -> str:
    kept = _letterhead()
    return render_template("staff/documents/letterhead.html", form=form, has_logo=kept is not None and bool(kept.logo))
