"""Money: what is owed, invoices and receipts to read and keep, the way to pay, a promise to pay."""

from collections.abc import Mapping
from datetime import date

import structlog
from flask import abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.documents import NoDocument, file_name, pdf_of
from billing.gateways.accounts import active_accounts
from billing.invoices import document_number
from billing.links import pay_url
from billing.pdf import A4, NotRendered
from billing.promises import promise, promises_left
from billing.rules import rules_of
from billing.statement_document import statement_file_name, statement_pdf
from crm.problems import Invalid, WrongState
from db.models import CreditNote, Invoice, Payment
from portal import context
from portal.errors import problem_text
from portal.formats import local_day
from portal.messages import done, refuse
from portal.pay import pdf_response
from portal.permissions import for_subscribers
from portal.subscriber import frame
from portal.subscriber.frame import actor, blueprint, db, me, mine, my_service, my_services, one_of_mine, operator
from portal.subscriber.home import balance, has_prepaid, is_billed, next_due

log = structlog.get_logger()
SHOWN = 60
"""Documents of each kind on the page: five years of months."""
_MODELS: Mapping[str, type[Invoice | CreditNote | Payment]] = {
    "invoice": Invoice,
    "credit_note": CreditNote,
    "receipt": Payment,
}


@blueprint.get("/<slug>/bills")
@for_subscribers
def bills() -> ResponseReturnValue:
    session = db()
    invoices = mine(Invoice).order_by(Invoice.issued_on.desc(), Invoice.id.desc()).limit(SHOWN)
    notes = mine(CreditNote).order_by(CreditNote.issued_on.desc(), CreditNote.id.desc()).limit(SHOWN)
    payments = mine(Payment).order_by(Payment.paid_on.desc(), Payment.id.desc()).limit(SHOWN)
    return render_template(
        "subscriber/bills.html",
        billed=is_billed(),
        balance=balance(),
        due=next_due(),
        prepaid=has_prepaid(my_services()),
        invoices=session.scalars(invoices).all(),
        credit_notes=session.scalars(notes).all(),
        payments=session.scalars(payments).all(),
        online=bool(is_billed() and active_accounts(session, operator().id)),
        numbered=lambda row: document_number(row.prefix, row.number),
        today=context.now().astimezone(context.zone()).date(),
    )


@blueprint.get("/<slug>/documents/<kind>/<int:row_id>.pdf")
@for_subscribers
def document(kind: str, row_id: int) -> ResponseReturnValue:
    """The PDF of a document of the subscriber's own."""
    model = _MODELS.get(kind) or abort(404)
    row = one_of_mine(model, row_id)
    url = context.portal().settings.public_url
    try:
        made, content = pdf_of(
            db(), context.keyring(), operator().id, kind, row.id, url, paper=A4.name, language=g.language
        )
    except NoDocument:
        abort(404)
    except NotRendered:
        log.exception("not_rendered", operator_id=operator().id)
        abort(503)
    db().commit()
    return pdf_response(content, file_name(made), download="download" in request.args)


@blueprint.get("/<slug>/statement.pdf")
@for_subscribers
def statement_paper() -> ResponseReturnValue:
    """The PDF of all that was billed and paid, with what is owed after each."""
    try:
        content = statement_pdf(db(), me(), context.now(), g.language)
    except NotRendered:
        log.exception("statement_not_rendered", operator_id=operator().id)
        abort(503)
    return pdf_response(content, statement_file_name(me()), download="download" in request.args)


@blueprint.get("/<slug>/pay")
@for_subscribers
def pay() -> ResponseReturnValue:
    """Lead to the page where all that is open, or one invoice of the subscriber's own, is paid."""
    typed = request.args.get("invoice", "")
    subject = {"subscriber_id": me().id}
    if typed:
        number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else abort(404)
        subject = {"invoice_id": one_of_mine(Invoice, number).id}
    path = pay_url(db(), context.keyring(), "", operator().id, **subject)
    db().commit()
    return redirect(path)


@blueprint.route("/<slug>/services/<int:service_id>/promise", methods=["GET", "POST"])
@for_subscribers
def promise_page(service_id: int) -> ResponseReturnValue:
    """Promise to pay by a day, within what the operator allows."""
    service = my_service(service_id)
    if not (frame.allowed().may_promise and is_billed()):
        abort(404)
    session, now = db(), context.now()
    rules = rules_of(session, operator().id)
    if request.method == "POST":
        try:
            until = date.fromisoformat(request.form.get("until", ""))
            made = promise(session, actor(), rules, service, until, "", now)
        except WrongState:
            session.rollback()
            frame.refuse_again()
        except Invalid as invalid:
            session.rollback()
            refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        except ValueError:
            refuse(_("Choose a day."))
        else:
            session.commit()
            done(_("Thank you. Your service stays on until the end of %(day)s.", day=local_day(made.until)))
            return redirect(url_for(".home"))
        return redirect(url_for(".promise_page", service_id=service_id))
    today = rules.today(now)
    left = promises_left(session, rules, service.id, now)
    latest = date.fromordinal(today.toordinal() + rules.promise_days)
    return render_template(
        "subscriber/promise.html", service=service, left=left, today=today, latest=latest, balance=balance()
    )
