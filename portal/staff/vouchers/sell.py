"""Selling vouchers: one click, the code in large letters, and a ticket to print.

The form carries a number that is drawn anew for each sale, so that a second click, or the page read again, shows the
voucher that was sold and sells no other.
"""

import secrets

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from billing.desks import open_desk_of
from billing.pdf import NotRendered
from billing.rules import billing_is_on, rules_of
from billing.voucher_cards import cards_pdf
from billing.vouchers import SaleTerms, Sold, batches_to_sell, open_sale, sell_voucher
from core.codes import grouped
from crm.problems import Invalid, Problem
from crm.vouchers import find_code, readable_codes
from db.models import PaymentMethod, Voucher, VoucherBatch
from portal import context
from portal.errors import problem_text
from portal.messages import refuse
from portal.permissions import Permission, requires

blueprint = Blueprint("voucher_sales", __name__, url_prefix="/vouchers/sell")


@blueprint.get("/")
@requires(Permission.VOUCHERS_SELL)
def index() -> ResponseReturnValue:
    session, operator_id = context.db(), context.staff().operator_id
    billed = billing_is_on(session, operator_id)
    methods = session.scalars(
        select(PaymentMethod)
        .where(PaymentMethod.active, PaymentMethod.gateway.is_(None), ~PaymentMethod.needs_reference)
        .order_by(PaymentMethod.id)
    ).all()
    return render_template(
        "staff/vouchers/sell.html",
        rows=batches_to_sell(session, operator_id, context.staff().id),
        methods=methods if billed else (),
        billed=billed,
        desk_needed=billed and rules_of(session, operator_id).require_cash_desk,
        desk=open_desk_of(session, context.staff().id) if billed else None,
        once=secrets.token_urlsafe(12),
    )


@blueprint.post("/")
@requires(Permission.VOUCHERS_SELL)
def sell() -> ResponseReturnValue:
    """Sell the next voucher of a batch, or the printed card whose code is typed."""
    session, form = context.db(), request.form
    voucher_id, batch_id = None, _id(form.get("batch_id", ""))
    if batch_id is None:
        card = find_code(session, context.keyring(), context.staff().operator_id, form.get("code", ""))
        if card is None:
            refuse(_("No voucher has this code. Look for letters that were read wrongly."))
            return redirect(url_for("voucher_sales.index"))
        voucher_id, batch_id = card.service_id, card.batch_id
    once = form.get("once", "")[:40]
    terms = SaleTerms(
        batch_id or 0,
        voucher_id=voucher_id,
        method_id=_id(form.get("method_id", "")),
        reference=f"desk {once}" if once else None,
    )
    try:
        sold = sell_voucher(session, context.actor(), context.keyring(), terms, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(_refusal(invalid))
        return redirect(url_for("voucher_sales.index"))
    session.commit()
    return _sold_page(sold)


@blueprint.post("/<int:service_id>/ticket")
@requires(Permission.VOUCHERS_SELL)
def ticket(service_id: int) -> ResponseReturnValue:
    """Print the ticket of a voucher that the person has just sold: who sells has seen the code."""
    session = context.db()
    voucher = session.get(Voucher, service_id) or abort(404)
    sale = open_sale(session, voucher)
    if sale is None or (sale.staff_id != context.staff().id and not context.may(Permission.VOUCHERS_CODES)):
        abort(403)
    codes = readable_codes(session, context.actor(), context.keyring(), [voucher], "print")
    if not codes:
        refuse(_("The code is not kept after the first login. Who has it can still type it."))
        return redirect(url_for("voucher_codes.page", service_id=service_id))
    batch = session.get_one(VoucherBatch, voucher.batch_id)
    url = context.portal().settings.public_url
    try:
        content = cards_pdf(session, context.operator(), batch, codes, url, "ticket")
    except NotRendered:
        refuse(_("The ticket could not be made. Write the code down."))
        return redirect(url_for("voucher_codes.page", service_id=service_id))
    session.commit()
    answer = Response(content, mimetype="application/pdf")
    answer.headers["Content-Disposition"] = f'inline; filename="voucher-{voucher.batch_id}-{voucher.number}.pdf"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _sold_page(sold: Sold) -> str:
    session = context.db()
    batch = session.get_one(VoucherBatch, sold.sale.batch_id)
    return render_template(
        "staff/vouchers/sold.html",
        sold=sold,
        batch=batch,
        code=grouped(sold.code, batch.prefix) if sold.code is not None else None,
    )


def _refusal(invalid: Invalid) -> str:
    problem = invalid.problems[0]
    match problem.field, problem.problem:
        case "batch", Problem.LIMIT_REACHED:
            return str(_("This batch is sold out."))
        case "batch", Problem.ALREADY_DONE:
            return str(_("This voucher was sold, used or cancelled before."))
        case "batch", Problem.TOO_LONG_AGO:
            return str(_("These vouchers have expired."))
        case "batch", _other:
            return str(_("These vouchers are not yours to sell."))
        case "method_id", Problem.DESK_CLOSED:
            return str(_("Open your cash desk first."))
    return problem_text(problem)


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
