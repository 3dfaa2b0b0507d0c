"""Cash desks, and collectors who take payments on the road.

A cashier opens a desk with what is in the till, takes payments and gives refunds in cash, moves money to the bank or
spends it, and closes the desk by counting. What should be there against what is there is the difference; it is booked,
and the closed desk is never changed again.

A collector owes what was collected, less the commission, until it is handed over.

Cash of other currencies is counted for itself (`billing.foreign_desks`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.foreign_desks import count_foreign, open_with
from billing.invoices import lock_books
from billing.ledger import Entry, Posting, post
from billing.rules import BillingRules
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CashDesk, CashMovement, Collector


@dataclass(frozen=True, slots=True)
class DeskSums:
    """What went through a desk; `expected` is what should be in the till."""

    opening: Decimal
    payments: Decimal
    refunds: Decimal
    movements: Decimal
    count: int
    change: Decimal = Decimal(0)  # given of cash in other currencies, less what came back of payments voided here

    @property
    def expected(self) -> Decimal:
        return self.opening + self.payments - self.change - self.refunds + self.movements


def open_desk_of(session: Session, staff_id: int) -> CashDesk | None:
    """Return a cashier's open desk."""
    return session.scalar(select(CashDesk).where(CashDesk.staff_id == staff_id, CashDesk.closed_at.is_(None)))


def open_desk(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    opening: Decimal,
    now: datetime,
    foreign: Mapping[str, Decimal] = MappingProxyType({}),
) -> CashDesk:
    """Open a cashier's desk with what is in the till, and what of other currencies. Raises Invalid: it is open already,
    or the books do not know of so much of a currency (field `opening-USD`).
    """
    assert actor.staff_id is not None
    lock_books(session, rules.operator_id)
    if opening < 0:
        raise Invalid(FieldProblem("opening", Problem.AMOUNT_NEGATIVE))
    desk = CashDesk(
        operator_id=rules.operator_id,
        staff_id=actor.staff_id,
        currency=rules.currency,
        opening=opening,
        opened_at=now,
    )
    try:
        with session.begin_nested():
            session.add(desk)
            session.flush()
    except IntegrityError:
        raise Invalid(FieldProblem("opening", Problem.DESK_OPEN)) from None
    open_with(session, rules, desk, foreign)
    record(session, actor, "cash_desk.open", "cash_desk", desk.id, None, {"opening": opening, **foreign})
    return desk


def desk_sums(session: Session, desk: CashDesk) -> DeskSums:
    """Return what went through a desk in the books' currency: of payments in another one, the change that was given.

    A voided payment counts only while it was not voided; its change comes back into the till that its notes left.
    """
    row = session.execute(
        text(
            "SELECT (SELECT coalesce(sum(amount), 0) FROM payment"
            "  WHERE desk_id = :id AND voided_at IS NULL AND foreign_amount IS NULL),"
            " (SELECT count(*) FROM payment WHERE desk_id = :id AND voided_at IS NULL AND foreign_amount IS NULL),"
            " (SELECT coalesce(sum(amount), 0) FROM refund WHERE desk_id = :id AND foreign_amount IS NULL),"
            " (SELECT coalesce(sum(amount), 0) FROM cash_movement WHERE desk_id = :id),"
            " (SELECT coalesce(sum(CASE f.kind WHEN 'payment' THEN p.change_given ELSE -p.change_given END), 0)"
            "  FROM foreign_cash f JOIN payment p ON p.id = f.payment_id"
            "  WHERE f.desk_id = :id AND f.kind IN ('payment', 'void'))"
        ),
        {"id": desk.id},
    ).one()
    return DeskSums(desk.opening, row[0], row[2], row[3], row[1], row[4])


def move_cash(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    desk: CashDesk,
    kind: str,
    amount: Decimal,
    description: str,
    now: datetime,
    collector: Collector | None = None,
) -> CashMovement:
    """Take cash to the bank (`deposit`), spend it (`expense`), take it from a collector (`handover`) or add some
    (`added`). `amount` is above zero; the kind says which way it goes. Raises Invalid.
    """
    lock_books(session, rules.operator_id)
    session.refresh(desk)
    accounts = {"deposit": "bank", "expense": "expenses", "handover": "collectors", "added": "bank"}
    problems = []
    if desk.closed_at is not None:
        problems.append(FieldProblem("desk", Problem.DESK_CLOSED))
    if kind not in accounts or (kind == "handover") != (collector is not None):
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if amount <= 0:
        problems.append(FieldProblem("amount", Problem.AMOUNT_ZERO))
    elif kind in ("deposit", "expense") and amount > desk_sums(session, desk).expected:
        most = str(desk_sums(session, desk).expected)
        problems.append(FieldProblem("amount", Problem.AMOUNT_OVER, {"most": most}))
    if problems:
        raise Invalid(*problems)
    signed = amount if kind in ("handover", "added") else -amount
    movement = CashMovement(
        operator_id=rules.operator_id,
        desk_id=desk.id,
        kind=kind,
        amount=signed,
        description=description.strip(),
        collector_id=collector.id if collector else None,
        staff_id=actor.staff_id,
    )
    session.add(movement)
    session.flush()
    postings = (Posting("cash", signed), Posting(accounts[kind], -signed))
    entry = Entry("cash", "cash_movement", movement.id, rules.today(now), rules.currency, postings, description)
    post(session, rules.operator_id, [entry])
    record(session, actor, f"cash_desk.{kind}", "cash_desk", desk.id, None, {"amount": signed, "what": description})
    return movement


def close_desk(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    desk: CashDesk,
    counted: Decimal,
    note: str,
    now: datetime,
    foreign: Mapping[str, Decimal] = MappingProxyType({}),
) -> Decimal:
    """Close a desk with what was counted, also of other currencies; return the difference (below zero: missing).

    Raises Invalid; for `counted-USD` where that currency was not counted.
    """
    lock_books(session, rules.operator_id)
    session.refresh(desk, with_for_update=True)
    if desk.closed_at is not None:
        raise Invalid(FieldProblem("desk", Problem.ALREADY_DONE))
    if counted < 0:
        raise Invalid(FieldProblem("counted", Problem.AMOUNT_NEGATIVE))
    differences = count_foreign(session, actor, rules, desk, foreign, now)
    expected = desk_sums(session, desk).expected
    difference = counted - expected
    desk.expected, desk.counted, desk.closed_at, desk.note = expected, counted, now, note.strip()
    session.flush()
    postings = (Posting("cash", difference), Posting("cash_difference", -difference))
    entry = Entry("cash", "cash_desk", desk.id, rules.today(now), rules.currency, postings, note)
    post(session, rules.operator_id, [entry])
    closing = {"expected": expected, "counted": counted, "difference": difference, **differences}
    record(session, actor, "cash_desk.close", "cash_desk", desk.id, None, closing)
    return difference


@dataclass(frozen=True, slots=True)
class CollectorSums:
    """What a collector took, kept as commission, handed over, and owes; `holds` is cash of other currencies in it."""

    collected: Decimal
    commission: Decimal
    handed_over: Decimal
    holds: tuple[tuple[str, Decimal], ...] = ()

    @property
    def owes(self) -> Decimal:
        return self.collected - self.commission - self.handed_over


def collector_sums(session: Session, collector_id: int) -> CollectorSums:
    """Return where a collector stands."""
    row = session.execute(
        text(
            "SELECT coalesce(sum(amount - refunded), 0), coalesce(sum(commission), 0),"
            " (SELECT coalesce(sum(amount), 0) FROM cash_movement WHERE collector_id = :id AND kind = 'handover')"
            " - (SELECT coalesce(sum(value), 0) FROM foreign_cash"
            "    WHERE collector_id = :id AND kind IN ('handover', 'settled'))"
            " FROM payment WHERE collector_id = :id AND voided_at IS NULL"
        ),
        {"id": collector_id},
    ).one()
    held = session.execute(
        text(
            "SELECT currency, sum(amount) FROM foreign_cash WHERE collector_id = :id"
            " GROUP BY 1 HAVING sum(amount) <> 0 ORDER BY 1"
        ),
        {"id": collector_id},
    )
    return CollectorSums(row[0], row[1], row[2], tuple((currency, amount) for currency, amount in held))
