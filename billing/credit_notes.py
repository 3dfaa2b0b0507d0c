"""Credit notes: how an issued invoice is taken back, wholly or in part.

What a credit note takes off an invoice lowers what is still open of it; where the invoice was paid, the money becomes
the subscriber's credit again and pays what else is open. Net amount and taxes go back in the proportion in which the
invoice has them, so a note over the whole is the invoice's mirror.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.cycles import Period, issue_on, period_from
from billing.dates import DateChange, settle_dates
from billing.facts import facts_of
from billing.invoices import apply_credit, document_number, lock_books, take_numbers, write_applications
from billing.ledger import Entry, Posting, post
from billing.rules import BillingRules
from core.money import rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Charge, CreditNote, Invoice, InvoiceTax, ServicePeriod


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A line of a credit note: what it is for, and its amount with taxes (below zero: charged instead)."""

    kind: str
    description: str
    total: Decimal
    period: Period | None = None


def credit_invoice(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    invoice: Invoice,
    amount: Decimal,
    reason: str,
    now: datetime,
) -> tuple[CreditNote, list[DateChange]]:
    """Take `amount` off an invoice, for good will or a mistake. Raises Invalid."""
    today = rules.today(now)
    lock_books(session, rules.operator_id, [invoice.subscriber_id])
    session.refresh(invoice)
    if amount <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    if amount > invoice.total - invoice.credited:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_OVER, {"most": str(invoice.total - invoice.credited)}))
    _check_reason(reason)
    note = write_credit_note(session, actor, rules, invoice, (CreditLine("credit", reason, amount),), reason, today)
    apply_credit(session, rules, [invoice.subscriber_id], today)
    return note, settle_dates(session, actor, rules, [invoice.subscriber_id], today)


def void_invoice(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    invoice: Invoice,
    reason: str,
    now: datetime,
    *,
    bill_again: bool = False,
) -> tuple[CreditNote, list[DateChange]]:
    """Take an invoice back with a credit note over all that is left of it.

    With `bill_again` its charges wait again, and its days, when they are the last that were billed, are billed by the
    next run; without, they are given for nothing. Raises Invalid when nothing is left of it.
    """
    today = rules.today(now)
    lock_books(session, rules.operator_id, [invoice.subscriber_id])
    session.refresh(invoice)
    left = invoice.total - invoice.credited
    if left <= 0:
        raise Invalid(FieldProblem("invoice", Problem.ALREADY_DONE))
    _check_reason(reason)
    note = write_credit_note(session, actor, rules, invoice, (CreditLine("void", reason, left),), reason, today)
    if bill_again:
        _unbill(session, rules, invoice, today, now)
    apply_credit(session, rules, [invoice.subscriber_id], today)
    return note, settle_dates(session, actor, rules, [invoice.subscriber_id], today)


def write_credit_note(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    invoice: Invoice,
    lines: Sequence[CreditLine],
    reason: str,
    today: date,
) -> CreditNote:
    """Write a credit note of the sum of these lines, which the invoice must have left; the money goes to credit.

    The caller holds `lock_books()`, applies the credit and settles the dates.
    """
    total = sum((line.total for line in lines), Decimal(0))
    taxes = _taxes_back(session, invoice, total)
    tax = sum((each["amount"] for each in taxes), Decimal(0))
    prefix, number = take_numbers(session, rules.operator_id, "credit_note", 1)
    note = CreditNote(
        operator_id=rules.operator_id,
        subscriber_id=invoice.subscriber_id,
        invoice_id=invoice.id,
        prefix=prefix,
        number=number,
        issued_on=today,
        currency=invoice.currency,
        net=total - tax,
        tax=tax,
        total=total,
        lines=[_line_document(line) for line in lines],
        taxes=[{name: str(value) for name, value in each.items()} for each in taxes],
        reason=reason,
        staff_id=actor.staff_id,
    )
    session.add(note)
    session.flush()
    _settle(session, rules, invoice, total, today)
    post(
        session,
        rules.operator_id,
        [
            Entry(
                "credit_note",
                "credit_note",
                note.id,
                today,
                invoice.currency,
                (
                    Posting("income", note.net),
                    Posting("tax", note.tax),
                    Posting("receivable", -total, invoice.subscriber_id),
                ),
                reason,
            )
        ],
    )
    record(
        session,
        actor,
        "invoice.credit",
        "invoice",
        invoice.id,
        None,
        {
            "credit_note": document_number(prefix, number),
            "total": total,
            "currency": invoice.currency,
            "reason": reason,
        },
    )
    return note


def _settle(session: Session, rules: BillingRules, invoice: Invoice, total: Decimal, today: date) -> None:
    """Free what payments paid of the part that is taken back, the latest payment first; then take it back."""
    session.refresh(invoice)
    free = total - invoice.open
    applied = session.execute(
        text(
            "SELECT payment_id, sum(amount) AS amount FROM payment_application WHERE invoice_id = :id"
            " GROUP BY payment_id HAVING sum(amount) > 0 ORDER BY payment_id DESC"
        ),
        {"id": invoice.id},
    ).all()
    back = []
    for row in applied:
        amount = min(row.amount, free)
        if amount > 0:
            back.append((row.payment_id, invoice.id, invoice.subscriber_id, -amount))
            free -= amount
    write_applications(session, rules, back, today)
    session.execute(
        text("UPDATE invoice SET credited = credited + :total WHERE id = :id"), {"total": total, "id": invoice.id}
    )
    session.expire(invoice)


def _taxes_back(session: Session, invoice: Invoice, total: Decimal) -> list[dict[str, Any]]:
    """Return the taxes of a part of an invoice; what rounding would lose when the last part goes back goes with it."""
    given: dict[tuple[str, Decimal], Decimal] = {}
    for note in session.scalars(select(CreditNote).where(CreditNote.invoice_id == invoice.id)):
        for each in note.taxes:
            key = (each["name"], Decimal(each["rate"]))
            given[key] = given.get(key, Decimal(0)) + Decimal(each["amount"])
    last = total == invoice.total - invoice.credited
    found = []
    for tax in session.scalars(
        select(InvoiceTax).where(InvoiceTax.invoice_id == invoice.id).order_by(InvoiceTax.position)
    ):
        left = tax.amount - given.get((tax.name, tax.rate), Decimal(0))
        share = left if last else min(left, rounded(tax.amount * total / invoice.total, invoice.currency))
        base = rounded(tax.base * total / invoice.total, invoice.currency)
        found.append({"name": tax.name, "rate": tax.rate, "base": base, "amount": share})
    return found


def _unbill(session: Session, rules: BillingRules, invoice: Invoice, today: date, now: datetime) -> None:
    for charge in session.scalars(select(Charge).where(Charge.invoice_id == invoice.id)):
        charge.invoice_id = None
    session.flush()
    periods = session.scalars(
        select(ServicePeriod)
        .where(ServicePeriod.invoice_id == invoice.id, ServicePeriod.cancelled_at.is_(None))
        .order_by(ServicePeriod.first.desc())
    ).all()
    for period in periods:
        facts = facts_of(session, rules, [period.service_id], today)
        if not facts or facts[0].next_from != _after(period.last):
            continue
        period.cancelled_at = now
        session.flush()
        session.execute(
            text(
                "UPDATE service_billing SET next_from = :first, next_issue_on = :issue_on"
                " WHERE service_id = :service_id AND stopped_on IS NULL"
            ),
            {
                "first": period.first,
                "issue_on": issue_on(period_from(period.first, facts[0].cycle), facts[0].cycle),
                "service_id": period.service_id,
            },
        )


def _after(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)


def _line_document(line: CreditLine) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "description": line.description,
        "total": str(line.total),
        "first": line.period.first.isoformat() if line.period else None,
        "last": line.period.last.isoformat() if line.period else None,
    }


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 500 or not reason.isprintable():
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
