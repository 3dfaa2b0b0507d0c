"""The ledger: what each event of billing does to the accounts.

    invoice        debit receivable            credit income (late fees apart), tax
    credit note    debit income, tax           credit receivable
    payment        debit cash, bank, card      credit the subscriber's credit
    application    debit the credit            credit receivable
    refund         debit the credit            credit cash, bank, card
    void           the reverse of the payment; applications are taken back by their reverse first
    exchange       debit cash, bank            credit foreign cash; what differs is the exchange difference

A debit is above zero, a credit below. Nothing is corrected but by another entry. PostgreSQL checks the balance of each
entry, numbers it and seals it with a hash when the transaction commits (db.models.ledger).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.store import draw_ids, insert_together
from db.models import LedgerEntry, LedgerLine


@dataclass(frozen=True, slots=True)
class Posting:
    """One account's part of an entry."""

    account: str
    amount: Decimal
    subscriber_id: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to be booked; postings of zero are left out. `source` and `source_id` name its document."""

    kind: str
    source: str
    source_id: int
    booked_on: date
    currency: str
    postings: tuple[Posting, ...]
    reason: str = ""


def post(session: Session, operator_id: int, entries: Sequence[Entry]) -> None:
    """Book entries. One that moves nothing is left out; PostgreSQL refuses the commit of one that does not balance."""
    moving = [entry for entry in entries if any(posting.amount for posting in entry.postings)]
    ids = draw_ids(session, LedgerEntry, len(moving))
    entered = [
        {
            "id": number,
            "operator_id": operator_id,
            "booked_on": entry.booked_on,
            "kind": entry.kind,
            "source": entry.source,
            "source_id": entry.source_id,
            "currency": entry.currency,
            "reason": entry.reason,
        }
        for number, entry in zip(ids, moving, strict=True)
    ]
    lines = [
        {
            "entry_id": number,
            "position": position,
            "operator_id": operator_id,
            "account": posting.account,
            "subscriber_id": posting.subscriber_id,
            "amount": posting.amount,
        }
        for number, entry in zip(ids, moving, strict=True)
        for position, posting in enumerate((each for each in entry.postings if each.amount), 1)
    ]
    insert_together(session, (LedgerEntry, entered), (LedgerLine, lines))


def broken_entries(session: Session, operator_id: int, limit: int = 20) -> list[int]:
    """Return the numbers of entries that were altered, do not balance, or do not follow the one before."""
    rows = session.execute(
        text(
            "SELECT position FROM ("
            " SELECT row_number() OVER (ORDER BY entry.number) AS position, entry.number,"
            "  entry.hash IS NOT DISTINCT FROM"
            "  ledger_hash(lag(entry.hash) OVER (ORDER BY entry.number), entry) AS sound,"
            "  (SELECT sum(amount) FROM ledger_line WHERE entry_id = entry.id) AS balance"
            " FROM ledger_entry AS entry WHERE entry.operator_id = :operator_id) AS links"
            " WHERE NOT sound OR number IS DISTINCT FROM position OR balance IS DISTINCT FROM 0"
            " ORDER BY position LIMIT :limit"
        ),
        {"operator_id": operator_id, "limit": limit},
    )
    return [row.position for row in rows]


def entry_count(session: Session, operator_id: int) -> int:
    """Return how many entries an operator's ledger has."""
    query = text("SELECT count(*) FROM ledger_entry WHERE operator_id = :operator_id")
    return int(session.execute(query, {"operator_id": operator_id}).scalar_one())


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A number that the documents and the ledger do not agree on."""

    what: str
    documents: Decimal
    ledger: Decimal


_CROSS_CHECKS = {
    "receivable": "SELECT coalesce(sum(open), 0) FROM invoice WHERE operator_id = :operator_id",
    "credit": "SELECT -coalesce(sum(unapplied), 0) FROM payment WHERE operator_id = :operator_id",
    "paid": "SELECT coalesce(sum(paid), 0) FROM invoice WHERE operator_id = :operator_id",
    "foreign_cash": "SELECT coalesce(sum(value), 0) FROM foreign_cash"
    " WHERE operator_id = :operator_id AND collector_id IS NULL",
}
_SUMS_CHECK = """
SELECT kind, sum(amount) FILTER (WHERE computed) AS documents, sum(amount) FILTER (WHERE NOT computed) AS kept
FROM (
    SELECT true AS computed, s.* FROM finance_sums s WHERE operator_id = :operator_id
    UNION ALL SELECT false, d.* FROM finance_day d WHERE operator_id = :operator_id
) AS sums
GROUP BY kind, day, label, ref_id, staff_id, collector_id, rate
HAVING coalesce(sum(amount) FILTER (WHERE computed), 0) <> coalesce(sum(amount) FILTER (WHERE NOT computed), 0)
    OR coalesce(sum(base) FILTER (WHERE computed), 0) <> coalesce(sum(base) FILTER (WHERE NOT computed), 0)
    OR coalesce(sum(count) FILTER (WHERE computed), 0) <> coalesce(sum(count) FILTER (WHERE NOT computed), 0)
"""


def discrepancies(session: Session, operator_id: int) -> list[Discrepancy]:
    """Return where documents, ledger and the sums of days differ: open invoices, credit, what is paid of invoices,
    and cash of other currencies.
    """
    found = []
    where = {"operator_id": operator_id}
    for what, query in _CROSS_CHECKS.items():
        documents = session.execute(text(query), where).scalar_one()
        if what == "paid":
            against = "SELECT coalesce(sum(amount), 0) FROM payment_application WHERE operator_id = :operator_id"
            ledger = session.execute(text(against), where).scalar_one()
        else:
            ledger = session.execute(
                text(
                    "SELECT coalesce(sum(amount), 0) FROM ledger_line"
                    " WHERE operator_id = :operator_id AND account = :account"
                ),
                {**where, "account": what},
            ).scalar_one()
        if documents != ledger:
            found.append(Discrepancy(what, documents, ledger))
    found += [
        Discrepancy(f"sums of days, {row.kind}", row.documents or Decimal(0), row.kept or Decimal(0))
        for row in session.execute(text(_SUMS_CHECK), where)
    ]
    return found


def balance_of(session: Session, subscriber_id: int) -> Decimal:
    """Return what a subscriber owes by the ledger; below zero, what the subscriber has with us."""
    amount = session.execute(
        text(
            "SELECT coalesce(sum(amount), 0) FROM ledger_line"
            " WHERE subscriber_id = :id AND account IN ('receivable', 'credit')"
        ),
        {"id": subscriber_id},
    ).scalar_one()
    assert isinstance(amount, Decimal)
    return amount
