"""Licences: how many subscribers an operator may have, and until when.

A demo has everything and places for ten. What counts is the subscribers of an operator and of its resellers together;
the two rows that vouchers stand on are nobody. Who is over the limit, by a smaller licence or one that ran out, keeps
all that is there: nothing of RADIUS, billing or the pages asks for a licence, only entering one more subscriber does
(`require_room`). An operator without a licence row came before there were licences, and is not limited.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from babel.numbers import list_currencies
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.i18n import N_
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Licence

DEMO, MONTHLY, ANNUAL = "demo", "monthly", "annual"
PERIODS = (DEMO, MONTHLY, ANNUAL)
DEMO_PLACES = 10
REMIND = (14, 7, 1, 0)
"""Days before the last one on which the operator is told, once each."""
NEARLY_FULL = 0.9

_NAMES = {DEMO: N_("Demo"), MONTHLY: N_("Monthly"), ANNUAL: N_("Annual")}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an operator stands: `limit` is None where it is not limited, `granted` what it was before it ran out.

    `root` is the operator whose licence it is: of a reseller, its parent.
    """

    root: int
    name: str
    period: str | None
    until: date | None
    lapsed: bool
    granted: int | None
    limit: int | None
    used: int

    @property
    def room(self) -> int | None:
        """How many subscribers more there are places for; None: as many as come."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def nearly_full(self) -> bool:
        return self.limit is not None and self.used >= self.limit * NEARLY_FULL

    def days_left(self, today: date) -> int | None:
        """Return how many days the licence still holds; 0 on its last one, None where it has no end."""
        return None if self.until is None else (self.until - today).days


@dataclass(frozen=True, slots=True)
class LicenceTerms:
    """What an operator is given. `until` is the last day; None is without end. `limit` None is without limit."""

    name: str
    limit: int | None
    period: str
    price: Decimal = Decimal(0)
    currency: str = "USD"
    until: date | None = None
    note: str = ""


def standing_of(session: Session, operator_id: int, *, hold: bool = False) -> Standing:
    """Return where an operator stands. With `hold` nobody else takes a place until this transaction ends."""
    query = text("SELECT * FROM licence_standing(:operator_id, :hold)")
    row = session.execute(query, {"operator_id": operator_id, "hold": hold}).one()
    return Standing(row.root, row.name, row.period, row.until, row.lapsed, row.granted, row.subscriber_limit, row.used)


def require_room(session: Session, operator_id: int, more: int = 1) -> None:
    """Raise Invalid where the licence has no places for so many subscribers more.

    To be called before they are entered, in the same transaction: of two who want the last place, the second waits for
    the first, and is refused.
    """
    standing = standing_of(session, operator_id, hold=True)
    if standing.room is not None and more > standing.room:
        raise Invalid(FieldProblem("name", Problem.LICENCE_FULL, {"limit": str(standing.limit)}))


def give_licence(session: Session, actor: Actor, operator_id: int, terms: LicenceTerms, today: date) -> Licence:
    """Have another licence hold from now on; those before it stay as its history. Raises Invalid."""
    problems = []
    if not terms.name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(terms.name) > 100:
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "100"}))
    if terms.limit is not None and not 1 <= terms.limit <= 10_000_000:
        problems.append(FieldProblem("limit", Problem.OUT_OF_RANGE, {"low": "1", "high": "10000000"}))
    if terms.period not in PERIODS:
        problems.append(FieldProblem("period", Problem.UNKNOWN_CHOICE))
    if not Decimal(0) <= terms.price <= Decimal(10_000_000):
        problems.append(FieldProblem("price", Problem.OUT_OF_RANGE, {"low": "0", "high": "10000000"}))
    if terms.currency not in list_currencies():
        problems.append(FieldProblem("currency", Problem.UNKNOWN_CHOICE))
    if terms.until is not None and terms.until < today:
        problems.append(FieldProblem("until", Problem.TOO_LONG_AGO))
    if len(terms.note) > 500:
        problems.append(FieldProblem("note", Problem.TOO_LONG, {"limit": "500"}))
    if problems:
        raise Invalid(*problems)
    before = licence_of(session, operator_id)
    made = Licence(
        operator_id=operator_id,
        name=terms.name.strip(),
        subscriber_limit=terms.limit,
        period=terms.period,
        price=terms.price,
        currency=terms.currency,
        until=terms.until,
        note=terms.note.strip(),
        made_by=actor.name,
    )
    session.add(made)
    session.flush()
    record(session, actor, "licence.give", "operator", operator_id, _audited(before), _audited(made))
    return made


def licence_of(session: Session, operator_id: int) -> Licence | None:
    """Return the licence that holds, whether it has run out or not."""
    newest = select(Licence).where(Licence.operator_id == operator_id).order_by(Licence.id.desc()).limit(1)
    return session.scalar(newest)


def history_of(session: Session, operator_id: int) -> Sequence[Licence]:
    """Return all licences of an operator, the newest first."""
    query = select(Licence).where(Licence.operator_id == operator_id).order_by(Licence.id.desc())
    return session.scalars(query).all()


def next_until(period: str, today: date) -> date | None:
    """Return the last day of a licence that begins today: a month or a year later, less a day."""
    if period == DEMO:
        return None
    months = 1 if period == MONTHLY else 12
    year, month0 = divmod(today.month - 1 + months, 12)
    first = date(today.year + year, month0 + 1, 1)
    length = ((first + timedelta(days=31)).replace(day=1) - first).days
    return first.replace(day=min(today.day, length)) - timedelta(days=1)


def due_reminder(licence: Licence, today: date) -> int | None:
    """Return the number of days before the end that is to be told now, or None: nothing is, or it was."""
    if licence.until is None:
        return None
    left = (licence.until - today).days
    reached = [days for days in REMIND if left <= days]
    if left < -30 or not reached:
        return None  # long over, or far away
    due = min(reached)
    return due if licence.reminded is None or due < licence.reminded else None


def _audited(licence: Licence | None) -> dict[str, object]:
    if licence is None:
        return {}
    names = ("name", "subscriber_limit", "period", "price", "currency", "until", "note")
    return {name: getattr(licence, name) for name in names}


def today_of(now: datetime) -> date:
    """Return the day that licences count by, which is UTC's for everybody: the database's own."""
    return now.date()
