"""A subscriber's statement: each document and each movement of money in order, with what is owed after it.

It is made of the documents rather than of the ledger's lines, so that a person can follow it; both come to the same
sum. A backdated payment stands at its own day. What was voided stays, with a line that takes it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.invoices import document_number


@dataclass(frozen=True, slots=True)
class StatementLine:
    """`kind`: invoice, credit_note, payment, void, refund. `id` is of the payment, or of the invoice that it is about.

    `amount` raises what is owed above zero and lowers it below; `balance` is what is owed after it.
    """

    day: date
    kind: str
    id: int
    number: str
    note: str
    amount: Decimal
    balance: Decimal


_STATEMENT = """
SELECT day, kind, id, prefix, number, note, amount, sum(amount) OVER (ORDER BY day, rank, at, number) AS balance
FROM (
    SELECT issued_on AS day, 'invoice' AS kind, 1 AS rank, created_at AS at, id, prefix, number,
           coalesce(details->>'service', '') AS note, total AS amount
    FROM invoice WHERE subscriber_id = :id
    UNION ALL
    SELECT issued_on, 'credit_note', 2, created_at, invoice_id, prefix, number, reason, -total
    FROM credit_note WHERE subscriber_id = :id
    UNION ALL
    SELECT p.paid_on, 'payment', 3, p.created_at, p.id, p.prefix, p.number,
           concat_ws(' · ', m.name, nullif(p.reference, '')), -p.amount
    FROM payment p JOIN payment_method m ON m.id = p.method_id WHERE p.subscriber_id = :id
    UNION ALL
    SELECT greatest(paid_on, (voided_at AT TIME ZONE :zone)::date), 'void', 4, voided_at, id, prefix, number,
           void_reason, amount
    FROM payment WHERE subscriber_id = :id AND voided_at IS NOT NULL
    UNION ALL
    SELECT r.refunded_on, 'refund', 5, r.created_at, p.id, p.prefix, p.number, r.reason, r.amount
    FROM refund r JOIN payment p ON p.id = r.payment_id WHERE p.subscriber_id = :id
) AS lines
ORDER BY day DESC, rank DESC, at DESC, number DESC LIMIT :most
"""


def statement(session: Session, subscriber_id: int, zone: str, most: int = 500) -> Sequence[StatementLine]:
    """Return the latest `most` lines of a subscriber's statement, the newest first. `zone` is the operator's."""
    rows = session.execute(text(_STATEMENT), {"id": subscriber_id, "zone": zone, "most": most})
    return [
        StatementLine(
            row.day, row.kind, row.id, document_number(row.prefix, row.number), row.note, row.amount, row.balance
        )
        for row in rows
    ]
