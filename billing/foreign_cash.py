"""Cash of other currencies: how much of it there is, who holds it, and what it is worth in the books.

The company's cash of a currency is one stock, worth what it came in at; each collector has a stock of what is not
handed over yet. What leaves a stock takes its share of the worth with it, but for a payment that is voided or refunded,
which takes what it brought. When the last of a stock is gone, what is left of its worth is a difference of exchange.

A till holds a part of the company's stock: what was in it when it was opened, and what came and went since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.ledger import Entry, Posting, post
from billing.rules import BillingRules
from core.money import rounded
from crm.currencies import Rate, foreign_currencies
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import CashDesk, ForeignCash


@dataclass(frozen=True, slots=True)
class Stock:
    """An amount of a currency, and its worth in the books' currency."""

    amount: Decimal
    value: Decimal

    def worth_of(self, amount: Decimal, books_currency: str) -> Decimal:
        """Return what a part of it is worth; of all of it, all that is left."""
        if amount == self.amount or not self.amount:
            return self.value
        return rounded(self.value * amount / self.amount, books_currency)


@dataclass(frozen=True, slots=True)
class ForeignSums:
    """What of a currency went through a desk; `expected` is what should be in the till."""

    currency: str
    opening: Decimal
    payments: Decimal
    refunds: Decimal
    movements: Decimal
    count: int
    counted: Decimal | None = None

    @property
    def expected(self) -> Decimal:
        return self.opening + self.payments - self.refunds + self.movements


def stock_of(session: Session, operator_id: int, currency: str, collector_id: int | None = None) -> Stock:
    """Return what the company has of a currency in cash, or what a collector has not handed over."""
    row = session.execute(
        text(
            "SELECT coalesce(sum(amount), 0), coalesce(sum(value), 0) FROM foreign_cash"
            " WHERE operator_id = :operator_id AND currency = :currency"
            " AND collector_id IS NOT DISTINCT FROM CAST(:collector_id AS bigint)"
        ),
        {"operator_id": operator_id, "currency": currency, "collector_id": collector_id},
    ).one()
    return Stock(*row)


def move(session: Session, actor: Actor, rules: BillingRules, moved: ForeignCash, now: datetime) -> ForeignCash:
    """Keep that cash came in or went out. The caller posts what it does in the books, and holds `lock_books()`.

    What is left of the worth of a stock that is used up is posted here.
    """
    moved.operator_id, moved.staff_id = rules.operator_id, actor.staff_id
    session.add(moved)
    session.flush()
    left = stock_of(session, rules.operator_id, moved.currency, moved.collector_id)
    if left.value and (left.amount == 0 or (left.amount > 0 and left.value < 0)):
        settled = ForeignCash(
            operator_id=rules.operator_id, currency=moved.currency, kind="settled", amount=Decimal(0),
            value=-left.value, collector_id=moved.collector_id, staff_id=actor.staff_id,
        )  # fmt: skip
        session.add(settled)
        session.flush()
        account = "collectors" if moved.collector_id is not None else "foreign_cash"
        postings = (Posting(account, -left.value), Posting("exchange_difference", left.value))
        entry = Entry("exchange", "foreign_cash", settled.id, rules.today(now), rules.currency, postings)
        post(session, rules.operator_id, [entry])
    return moved


def sums_of_desk(session: Session, desk: CashDesk) -> list[ForeignSums]:
    """Return what went through a desk of each currency that it was opened with, or that came into it since."""
    rows = session.execute(
        text(
            "SELECT coalesce(d.currency, m.currency) AS currency, coalesce(d.opening, 0) AS opening, d.counted,"
            " coalesce(m.payments, 0) AS payments, coalesce(m.refunds, 0) AS refunds,"
            " coalesce(m.movements, 0) AS movements, coalesce(m.number, 0) AS number"
            " FROM (SELECT * FROM desk_currency WHERE desk_id = :id) AS d FULL JOIN ("
            "  SELECT currency, sum(amount) FILTER (WHERE kind IN ('payment', 'void')) AS payments,"
            "   -sum(amount) FILTER (WHERE kind = 'refund') AS refunds,"
            "   sum(amount) FILTER (WHERE kind NOT IN ('payment', 'void', 'refund', 'counted')) AS movements,"
            "   count(*) FILTER (WHERE kind = 'payment' AND NOT EXISTS (SELECT FROM payment p"
            "    WHERE p.id = payment_id AND p.voided_at IS NOT NULL)) AS number"
            "  FROM foreign_cash WHERE desk_id = :id GROUP BY currency) AS m ON m.currency = d.currency ORDER BY 1"
        ),
        {"id": desk.id},
    )
    return [
        ForeignSums(row.currency, row.opening, row.payments, row.refunds, row.movements, row.number, row.counted)
        for row in rows
    ]


def in_till(session: Session, desk: CashDesk, currency: str) -> Decimal:
    """Return what should be in an open desk of a currency."""
    return next((each.expected for each in sums_of_desk(session, desk) if each.currency == currency), Decimal(0))


def outside_tills(session: Session, operator_id: int, currency: str) -> Decimal:
    """Return what the company has in cash of a currency that lies in no open desk."""
    in_desks = session.execute(
        text(
            "SELECT coalesce((SELECT sum(d.opening) FROM desk_currency d JOIN cash_desk c ON c.id = d.desk_id"
            "  WHERE d.operator_id = :operator_id AND d.currency = :currency AND c.closed_at IS NULL), 0)"
            " + coalesce((SELECT sum(f.amount) FROM foreign_cash f JOIN cash_desk c ON c.id = f.desk_id"
            "  WHERE f.operator_id = :operator_id AND f.currency = :currency AND c.closed_at IS NULL), 0)"
        ),
        {"operator_id": operator_id, "currency": currency},
    ).scalar_one()
    return stock_of(session, operator_id, currency).amount - Decimal(in_desks)


def check_there(
    session: Session, rules: BillingRules, desk: CashDesk | None, currency: str, amount: Decimal, field: str
) -> None:
    """Raise Invalid for `field` where less than `amount` is in the desk, or outside all desks for None."""
    if desk is not None:
        there = in_till(session, desk, currency)
    else:
        there = outside_tills(session, rules.operator_id, currency)
    if amount > there:
        most = f"{rounded(max(there, Decimal(0)), currency):f} {currency}"
        raise Invalid(FieldProblem(field, Problem.NOT_SO_MUCH_CASH, {"most": most}))


def to_count(session: Session, desk: CashDesk) -> list[ForeignSums]:
    """Return what has to be counted of an open desk: what it holds, and every currency that is switched on."""
    sums = sums_of_desk(session, desk)
    known = {each.currency for each in sums}
    zero = Decimal(0)
    more = [
        ForeignSums(currency, zero, zero, zero, zero, 0)
        for currency in foreign_currencies(session, desk.operator_id)
        if currency not in known
    ]
    return sorted([*sums, *more], key=lambda each: each.currency)


def values_of(rates: Mapping[str, Rate], stock: Stock, currency: str, amount: Decimal, books_currency: str) -> Decimal:
    """Return what cash of unknown origin is worth: as much as the cash beside it, else at the last rate."""
    if stock.amount > 0:
        return stock.worth_of(amount, books_currency)
    return rates[currency].to_books(amount) if currency in rates else Decimal(0)
