"""Issuing invoices, and settling them with the credit that a subscriber has.

Everything that an invoice changes is written in one transaction: its number, lines and taxes, the days it bills, the
charges it takes, the ledger, and the service's place in its cycle. The locks of `lock_books()` come first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cycles import Cycle, Timing, issue_on, period_from
from billing.drafts import Draft, DraftLine, WaitingCharge, tax_sums, waiting_line
from billing.ledger import Entry, Posting, post
from billing.rules import BillingRules
from billing.store import as_json, draw_ids, insert_rows, insert_together, rowset
from db.models import Charge, Discount, Invoice, InvoiceLine, InvoiceTax, ServiceBilling, ServicePeriod

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice that was made."""

    id: int
    number: str
    subscriber_id: int
    service_id: int | None
    total: Decimal
    due_on: date


class AlteredMeanwhile(Exception):
    """A charge was taken by another invoice or cancelled since the draft was made; draft again."""


def lock_books(session: Session, operator_id: int, subscribers: Iterable[int] = ()) -> None:
    """Take what every change of money holds until its commit: the subscribers' services, then the operator's books.

    All of billing takes them in this order, as does everything that changes a service and then writes to the audit
    log, whose lock this is. So changes of one operator's money happen one after the other, and never in a circle.
    """
    session.execute(
        text("SELECT id FROM service WHERE subscriber_id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"),
        {"ids": sorted(set(subscribers))},
    )
    session.execute(text("SELECT pg_advisory_xact_lock(7461, :id)"), {"id": operator_id})


def take_numbers(session: Session, operator_id: int, kind: str, count: int) -> tuple[str, int]:
    """Return the prefix and the first of `count` numbers that follow the last one used, with none left out.

    They are used by this transaction or by nobody: the row stays locked until it ends.
    """
    row = session.execute(
        text(
            "INSERT INTO document_series AS series (operator_id, kind, next_number)"
            " VALUES (:operator_id, :kind, 1 + :count) ON CONFLICT (operator_id, kind)"
            " DO UPDATE SET next_number = series.next_number + :count RETURNING prefix, next_number - :count"
        ),
        {"operator_id": operator_id, "kind": kind, "count": count},
    ).one()
    return row[0], row[1]


def document_number(prefix: str, number: int) -> str:
    """Return a number as it is printed: `F-1042`."""
    return f"{prefix}{number}"


def issue(session: Session, rules: BillingRules, drafts: Sequence[Draft], today: date) -> list[Issued]:
    """Make invoices of drafts, and settle them with credit. Drafts of nothing to pay make none, but count as billed.

    Raises AlteredMeanwhile. The drafts must come from facts that were read after `lock_books()`.
    """
    worth = [draft for draft in drafts if draft.total > 0]
    ids = iter(draw_ids(session, Invoice, len(worth)))
    prefix, number = take_numbers(session, rules.operator_id, "invoice", len(worth)) if worth else ("", 0)
    names = _details(session, rules, worth)
    invoices, lines, taxes, periods, entries, issued = [], [], [], [], [], []
    charges: list[dict[str, int]] = []
    foreign = any(line.priced is not None for draft in worth for line in draft.lines)
    for draft in drafts:
        invoice_id = None
        if draft.total > 0:
            invoice_id = next(ids)
            invoices.append(_invoice_row(rules, draft, invoice_id, prefix, number, today, names[id(draft)]))
            lines += _line_rows(rules.operator_id, invoice_id, draft.lines, foreign)
            taxes += _tax_rows(rules.operator_id, invoice_id, draft)
            entries.append(_entry(draft, invoice_id, today))
            charges += [{"id": charge, "invoice_id": invoice_id} for charge in draft.charges]
            printed = document_number(prefix, number)
            issued.append(Issued(invoice_id, printed, draft.subscriber_id, draft.service_id, draft.total, draft.due_on))
            number += 1
        if draft.period is not None:
            periods.append(_period_row(rules.operator_id, draft, invoice_id))
    insert_together(session, (Invoice, invoices), (InvoiceLine, lines), (InvoiceTax, taxes))
    insert_rows(session, ServicePeriod, periods)
    post(session, rules.operator_id, entries)
    _take_charges(session, charges)
    _use_discounts(session, drafts)
    _move_on(session, rules, [draft for draft in drafts if draft.period is not None])
    apply_credit(session, rules, {draft.subscriber_id for draft in worth}, today)
    return issued


def issue_charges(
    session: Session,
    rules: BillingRules,
    subscriber_id: int,
    charges: Sequence[WaitingCharge],
    today: date,
    due_on: date,
    service_id: int | None = None,
    exempt: bool = False,
) -> Issued | None:
    """Make an invoice of charges alone; None where they come to nothing. The caller holds `lock_books()`."""
    lines = tuple(waiting_line(charge, rules.taxes, rules.currency, exempt) for charge in charges)
    draft = Draft(
        service_id,
        subscriber_id,
        rules.currency,
        today,
        due_on,
        lines,
        tax_sums(lines, rules.taxes),
        charges=tuple(charge.id for charge in charges if charge.id),
    )
    issued = issue(session, rules, [draft], today)
    return issued[0] if issued else None


def apply_credit(session: Session, rules: BillingRules, subscribers: Iterable[int], today: date) -> Decimal:
    """Let credit pay open invoices, those due first before the others; return how much it paid."""
    where: dict[str, Any] = {"ids": list(subscribers), "currency": rules.currency}
    payments = session.execute(
        text(
            "SELECT id, subscriber_id, unapplied FROM payment"
            " WHERE subscriber_id = ANY(:ids) AND unapplied > 0 AND currency = :currency ORDER BY id"
        ),
        where,
    ).all()
    if not payments:
        return Decimal(0)
    where["ids"] = list({payment.subscriber_id for payment in payments})
    invoices = session.execute(
        text(
            "SELECT id, subscriber_id, open FROM invoice WHERE subscriber_id = ANY(:ids)"
            " AND paid + credited < total AND currency = :currency ORDER BY due_on, id"
        ),
        where,
    ).all()
    left = {invoice.id: invoice.open for invoice in invoices}
    applications = []
    for payment in payments:
        credit = payment.unapplied
        for invoice in invoices:
            amount = min(credit, left[invoice.id])
            if invoice.subscriber_id == payment.subscriber_id and amount > 0:
                applications.append((payment.id, invoice.id, payment.subscriber_id, amount))
                credit -= amount
                left[invoice.id] -= amount
    write_applications(session, rules, applications, today)
    return sum((amount for *_, amount in applications), Decimal(0))


def write_applications(
    session: Session, rules: BillingRules, applications: Sequence[tuple[int, int, int, Decimal]], today: date
) -> None:
    """Write what payments pay of invoices: payment, invoice, subscriber, amount (below zero is taken back)."""
    if not applications:
        return
    rows = [
        {"operator_id": rules.operator_id, "payment_id": payment, "invoice_id": invoice, "amount": amount}
        for payment, invoice, _, amount in applications
    ]
    session.execute(
        text(
            "INSERT INTO payment_application (operator_id, payment_id, invoice_id, amount)"
            " SELECT operator_id, payment_id, invoice_id, amount FROM json_to_recordset(CAST(:rows AS json))"
            " AS r (operator_id bigint, payment_id bigint, invoice_id bigint, amount numeric)"
        ),
        {"rows": as_json(rows)},
    )
    for table, column, change in (
        ("invoice", "invoice_id", "paid = paid + r.amount"),
        ("payment", "payment_id", "unapplied = unapplied - r.amount"),
    ):
        session.execute(
            text(
                f"UPDATE {table} SET {change} FROM ("  # noqa: S608 - names of ours
                f" SELECT {column}, sum(amount) AS amount FROM json_to_recordset(CAST(:rows AS json))"
                f" AS r ({column} bigint, amount numeric) GROUP BY 1) AS r WHERE {table}.id = r.{column}"
            ),
            {"rows": as_json(rows)},
        )
    post(
        session,
        rules.operator_id,
        [
            Entry(
                "application",
                "payment",
                payment,
                today,
                rules.currency,
                (Posting("credit", amount, subscriber), Posting("receivable", -amount, subscriber)),
                str(invoice),
            )
            for payment, invoice, subscriber, amount in applications
        ],
    )


# Below here: the rows.


def _details(session: Session, rules: BillingRules, drafts: Sequence[Draft]) -> dict[int, dict[str, Any]]:
    """Return what each draft's invoice keeps of who it is from and for, by the draft's id()."""
    where = {"ids": list({draft.subscriber_id for draft in drafts})}
    columns = ("name", "tax_id", "address", "email", "phone")
    subscribers = {
        number: {name: value for name, value in zip(columns, values, strict=True) if value}
        for number, *values in session.execute(
            text("SELECT id, name, tax_id, address, email, phone FROM subscriber WHERE id = ANY(:ids)"), where
        )
    }
    where = {"ids": [draft.service_id for draft in drafts if draft.service_id is not None]}
    names = session.execute(text("SELECT id, name FROM service WHERE id = ANY(:ids)"), where)
    services = {number: {"service": name} for number, name in names}
    issuer = {name: value for name, value in rules.issuer if value}
    return {
        id(draft): {
            "issuer": issuer,
            "subscriber": subscribers[draft.subscriber_id],
            **({} if draft.service_id is None else services[draft.service_id]),
        }
        for draft in drafts
    }


def _invoice_row(
    rules: BillingRules, draft: Draft, invoice_id: int, prefix: str, number: int, today: date, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": invoice_id,
        "operator_id": rules.operator_id,
        "subscriber_id": draft.subscriber_id,
        "service_id": draft.service_id,
        "kind": "charges" if draft.period is None else "period",
        "prefix": prefix,
        "number": number,
        "issued_on": today,
        "due_on": draft.due_on,
        "period_first": draft.period.first if draft.period else None,
        "period_last": draft.period.last if draft.period else None,
        "currency": draft.currency,
        "net": draft.net,
        "tax": draft.tax,
        "total": draft.total,
        "paid": 0,
        "credited": 0,
        "details": details,
        "created_at": "now",
    }


def _line_rows(operator_id: int, invoice_id: int, lines: Sequence[DraftLine], foreign: bool) -> list[dict[str, Any]]:
    """Return the lines; with the columns of prices in another currency only where one of a batch needs them."""
    return [
        {
            "invoice_id": invoice_id,
            "position": position,
            "operator_id": operator_id,
            "kind": line.kind,
            "description": line.description,
            "plan_id": line.plan_id,
            "first": line.period.first if line.period else None,
            "last": line.period.last if line.period else None,
            "net": line.taxed.net,
            "tax": line.taxed.tax,
            "total": line.taxed.total,
            **(_foreign_columns(line) if foreign else {}),
        }
        for position, line in enumerate(lines, 1)
    ]


def _foreign_columns(line: DraftLine) -> dict[str, Any]:
    priced = line.priced
    return {
        "foreign_currency": priced.currency if priced else None,
        "foreign_price": priced.price if priced else None,
        "exchange_rate": priced.rate if priced else None,
    }


def _tax_rows(operator_id: int, invoice_id: int, draft: Draft) -> list[dict[str, Any]]:
    return [
        {
            "invoice_id": invoice_id,
            "position": position,
            "operator_id": operator_id,
            "name": each.tax.name,
            "rate": each.tax.rate,
            "base": each.base,
            "amount": each.amount,
        }
        for position, each in enumerate(draft.taxes, 1)
    ]


def _period_row(operator_id: int, draft: Draft, invoice_id: int | None) -> dict[str, Any]:
    assert draft.period is not None
    return {
        "operator_id": operator_id,
        "service_id": draft.service_id,
        "plan_id": draft.plan_id,
        "first": draft.period.first,
        "last": draft.period.last,
        "net": draft.plan_amount,
        "exempt_net": draft.exempt_amount,
        "invoice_id": invoice_id,
    }


def _entry(draft: Draft, invoice_id: int, today: date) -> Entry:
    fees = sum((line.taxed.net for line in draft.lines if line.kind == "late_fee"), Decimal(0))
    return Entry(
        "invoice",
        "invoice",
        invoice_id,
        today,
        draft.currency,
        (
            Posting("receivable", draft.total, draft.subscriber_id),
            Posting("income", fees - draft.net),
            Posting("late_fees", -fees),
            Posting("tax", -draft.tax),
        ),
    )


def _take_charges(session: Session, charges: Sequence[dict[str, int]]) -> None:
    if not charges:
        return
    taken = session.execute(
        text(
            f"UPDATE charge SET invoice_id = r.invoice_id FROM {rowset(Charge, ('id', 'invoice_id'))}"  # noqa: S608
            " WHERE charge.id = r.id AND charge.invoice_id IS NULL AND charge.cancelled_at IS NULL"
            " RETURNING charge.service_id, charge.kind, charge.starts_on, charge.invoice_id"
        ),
        {"rows": as_json(charges)},
    ).all()
    if len(taken) != len(charges):
        raise AlteredMeanwhile
    for row in taken:
        if row.kind == "plan":
            session.execute(
                text(
                    "UPDATE service_period SET invoice_id = :invoice_id"
                    " WHERE service_id = :service_id AND first = :starts_on AND invoice_id IS NULL"
                    " AND cancelled_at IS NULL"
                ),
                row._asdict(),
            )


def _use_discounts(session: Session, drafts: Sequence[Draft]) -> None:
    used = [{"id": number, "months_left": months} for draft in drafts for number, months in draft.months_used]
    if used:
        session.execute(
            text(
                "UPDATE discount SET months_left = discount.months_left - r.months_left"  # noqa: S608
                f" FROM {rowset(Discount, ('id', 'months_left'))} WHERE discount.id = r.id"
            ),
            {"rows": as_json(used)},
        )


def _move_on(session: Session, rules: BillingRules, drafts: Sequence[Draft]) -> None:
    """Let each service's cycle stand behind the period that was billed."""
    if not drafts:
        return
    cycles = _cycles(session, rules, [draft.service_id for draft in drafts if draft.service_id is not None])
    rows = []
    for draft in drafts:
        assert draft.period is not None
        assert draft.service_id is not None
        next_from = draft.period.last + _DAY
        cycle = cycles[draft.service_id]
        rows.append(
            {
                "service_id": draft.service_id,
                "next_from": next_from,
                "next_issue_on": issue_on(period_from(next_from, cycle), cycle),
            }
        )
    moved = session.execute(
        text(
            "UPDATE service_billing AS b SET next_from = r.next_from, next_issue_on = r.next_issue_on"  # noqa: S608
            f" FROM {rowset(ServiceBilling, ('service_id', 'next_from', 'next_issue_on'))}"
            " WHERE b.service_id = r.service_id"
        ),
        {"rows": as_json(rows)},
    )
    assert moved.rowcount == len(rows)  # type: ignore[attr-defined]


def _cycles(session: Session, rules: BillingRules, services: Sequence[int]) -> dict[int, Cycle]:
    rows = session.execute(
        text(
            "SELECT b.service_id, b.anchor_day, b.started_on, b.months, b.timing, s.prepaid"
            " FROM service_billing b JOIN service s ON s.id = b.service_id WHERE b.service_id = ANY(:ids)"
        ),
        {"ids": list(services)},
    )
    return {
        row.service_id: rules.cycle(
            row.anchor_day,
            row.started_on,
            row.months,
            Timing(row.timing) if row.timing is not None else None,
            row.prepaid,
        )
        for row in rows
    }
