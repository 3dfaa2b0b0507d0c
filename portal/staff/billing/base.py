"""What the pages of finance share: the operator's rules, amounts as people type them, and states of documents."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from flask import render_template, request
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, and_, func, select

from billing.invoices import document_number
from billing.payments import typed_amount
from billing.rules import BillingOff, BillingRules, billing_is_on, rules_of
from core.money import rounded
from crm.problems import Invalid
from db.models import CreditNote, Invoice, Payment, Subscriber
from portal import context
from portal.errors import put_on_form
from portal.forms import Form
from portal.labels import choices
from portal.tables import matching


def rules() -> BillingRules:
    """Return the rules of who is signed in. Raises BillingOff, which becomes a page that says what to do."""
    return rules_of(context.db(), context.staff().operator_id)


def today() -> date:
    """Return the operator's day."""
    return context.now().astimezone(context.zone()).date()


def is_on() -> bool:
    return billing_is_on(context.db(), context.staff().operator_id)


def amount_of(form: Form, name: str = "amount", *, zero: bool = False, currency: str | None = None) -> Decimal | None:
    """Return the amount that was typed into a field; what is wrong with it is put beside it, and None returned."""
    found = rules()
    try:
        return typed_amount(form[name].data or "", currency or found.currency, found.locale, name, zero=zero)
    except Invalid as invalid:
        put_on_form(form, invalid)
        return None


def as_typed(amount: Decimal, currency: str | None = None) -> str:
    """Return an amount as a field is filled with it: plain, with a point, which is understood everywhere."""
    return f"{rounded(amount, currency or context.operator().currency):f}"


def without_zeros(*fields: Any) -> None:
    """Let fields that were filled from the database show `5` and not `5.0000`."""
    for field in fields:
        if isinstance(field.data, Decimal) and not field.raw_data:
            field.data = Decimal(f"{field.data.normalize():f}")


def searched_people() -> tuple[str, list[Subscriber]]:
    """Return what was typed to find a subscriber (`?q=`), and the first twenty whom it finds."""
    words = request.args.get("q", "").replace("\0", "").strip()[:200]
    if not words:
        return "", []
    query = select(Subscriber).where(Subscriber.id.in_(matching(func.search_subscribers, words)))
    return words, list(context.db().scalars(query.order_by(Subscriber.name).limit(20)))


def number_of(document: Invoice | CreditNote | Payment) -> str:
    return document_number(document.prefix, document.number)


def invoice_state(invoice: Invoice) -> str:
    """Return paid, credited, overdue, partly or open: the key of a badge."""
    if invoice.open == 0:
        return "credited" if invoice.credited == invoice.total else "paid"
    if invoice.due_on < today():
        return "overdue"
    return "partly" if invoice.paid or invoice.credited else "open"


def payment_state(payment: Payment) -> str:
    """Return voided, refunded, or valid."""
    if payment.voided_at is not None:
        return "voided"
    return "refunded" if payment.refunded else "valid"


def invoices_in(state: str) -> ColumnElement[bool]:
    """Return the condition for invoices in a state; `unpaid` is all that have something left to pay."""
    unpaid = Invoice.paid + Invoice.credited < Invoice.total
    match state:
        case "unpaid":
            return unpaid
        case "overdue":
            return and_(unpaid, Invoice.due_on < today())
        case "partly":
            return and_(unpaid, Invoice.due_on >= today(), Invoice.paid + Invoice.credited > 0)
        case "open":
            return and_(unpaid, Invoice.due_on >= today(), Invoice.paid + Invoice.credited == 0)
        case "credited":
            return Invoice.credited == Invoice.total
    return and_(~unpaid, Invoice.credited < Invoice.total)


def invoice_states() -> Sequence[tuple[str, Any]]:
    return choices("invoice_state")


def recent_months() -> list[tuple[str, str]]:
    """Return this month and the 23 before it, as choices of a filter."""
    first = today().replace(day=1)
    months = []
    for _number in range(24):
        months.append((f"{first:%Y-%m}", f"{first:%Y-%m}"))
        first = month_before(first)
    return months


def day_of(text: str) -> date | None:
    """Return the day that a URL names, None where it names none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def month_before(first: date) -> date:
    return date(first.year - 1, 12, 1) if first.month == 1 else date(first.year, first.month - 1, 1)


def month_after(first: date) -> date:
    return date(first.year + 1, 1, 1) if first.month == 12 else date(first.year, first.month + 1, 1)


def in_month(column: Any, month: str) -> ColumnElement[bool]:
    """Return the condition for a day in a month such as `2027-04`."""
    first = date.fromisoformat(f"{month}-01")
    return and_(column >= first, column < month_after(first))


def billing_off(_problem: BillingOff) -> ResponseReturnValue:
    return render_template("staff/billing/off.html"), 200 if request.method == "GET" else 409


def install(state: BlueprintSetupState) -> None:
    """Give templates the states and numbers of documents; called for each blueprint of this package."""
    state.app.register_error_handler(BillingOff, billing_off)
    state.app.jinja_env.globals.update(
        invoice_state=invoice_state, payment_state=payment_state, number_of=number_of, as_typed=as_typed
    )
