"""What a manager asks about the help desk: what comes in, how long people wait, what was late, how content they are.

Times are those that passed on the calendar, as the subscriber felt them; whether a promise was kept was decided in
working time when it ended. Merged tickets are left out: what they asked is counted in the ticket that they became
part of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, extract, func, or_, select
from sqlalchemy.orm import Session

from db.models import Staff, Ticket, TicketCategory


@dataclass(frozen=True, slots=True)
class DeskLine:
    """The tickets of one group that were opened in a span. Lengths are None where nothing was answered or solved."""

    name: str | None
    opened: int
    still_open: int
    first_median: timedelta | None
    first_p90: timedelta | None
    solve_median: timedelta | None
    solve_p90: timedelta | None
    first_late: int
    solve_late: int
    reopened: int
    satisfaction: float | None
    ratings: int


@dataclass(frozen=True, slots=True)
class DeskDay:
    """One day: how many were opened, how many solved."""

    day: date
    opened: int
    solved: int


def desk_lines(
    session: Session, operator_id: int, since: datetime, until: datetime, now: datetime, by: str = ""
) -> list[DeskLine]:
    """Return the figures of what was opened from `since` until `until`: `by` category, queue, staff, or all in one."""
    name: Any = {
        "category": TicketCategory.name,
        "queue": Ticket.queue,
        "staff": Staff.name,
    }.get(by)
    query: Select[Any] = _figures(now).where(
        Ticket.operator_id == operator_id,
        Ticket.created_at >= since,
        Ticket.created_at < until,
        Ticket.merged_into_id.is_(None),
    )
    if name is not None:
        query = query.add_columns(name.label("name")).group_by(name).order_by(func.count().desc(), name)
    if by == "category":
        query = query.outerjoin(TicketCategory, TicketCategory.id == Ticket.category_id)
    if by == "staff":
        query = query.outerjoin(Staff, Staff.id == Ticket.assigned_id)
    return [
        DeskLine(
            name=row.name if name is not None else None,
            opened=row.opened,
            still_open=row.still_open,
            first_median=_length(row.first, 0),
            first_p90=_length(row.first, 1),
            solve_median=_length(row.solve, 0),
            solve_p90=_length(row.solve, 1),
            first_late=row.first_late,
            solve_late=row.solve_late,
            reopened=row.reopened,
            satisfaction=float(row.satisfaction) if row.satisfaction is not None else None,
            ratings=row.ratings,
        )
        for row in session.execute(query)
    ]


def open_by_state(session: Session, operator_id: int) -> dict[str, int]:
    """Return how many tickets are in each state now; closed ones are left out."""
    query = (
        select(Ticket.state, func.count().label("tickets"))
        .where(Ticket.operator_id == operator_id, Ticket.closed_at.is_(None))
        .group_by(Ticket.state)
    )
    return {row.state: row.tickets for row in session.execute(query)}


def desk_days(session: Session, operator_id: int, first: date, last: date, zone: ZoneInfo) -> list[DeskDay]:
    """Return each day from `first` to `last`, in the operator's zone."""
    opened = _per_day(session, operator_id, Ticket.created_at, first, last, zone)
    solved = _per_day(session, operator_id, Ticket.solved_at, first, last, zone)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [DeskDay(day, opened.get(day, 0), solved.get(day, 0)) for day in days]


def _figures(now: datetime) -> Select[Any]:
    first = extract("epoch", Ticket.first_answered_at - Ticket.created_at)
    solve = extract("epoch", Ticket.solved_at - Ticket.created_at)
    return select(
        func.count().label("opened"),
        func.count().filter(Ticket.closed_at.is_(None), Ticket.state != "solved").label("still_open"),
        func.percentile_cont([0.5, 0.9]).within_group(first).label("first"),
        func.percentile_cont([0.5, 0.9]).within_group(solve).label("solve"),
        func.count().filter(_late(Ticket.first_met, Ticket.first_due_at, now)).label("first_late"),
        func.count().filter(_late(Ticket.solve_met, Ticket.solve_due_at, now)).label("solve_late"),
        func.count().filter(Ticket.reopened > 0).label("reopened"),
        func.avg(Ticket.satisfaction).label("satisfaction"),
        func.count(Ticket.satisfaction).label("ratings"),
    ).select_from(Ticket)


def _late(met: Any, due: Any, now: datetime) -> ColumnElement[bool]:
    """What was late, and what is late now and goes on."""
    return or_(met.is_(False), due < now)


def _per_day(
    session: Session, operator_id: int, column: Any, first: date, last: date, zone: ZoneInfo
) -> dict[date, int]:
    day = func.date(func.timezone(zone.key, column))
    query = (
        select(day.label("day"), func.count().label("tickets"))
        .where(Ticket.operator_id == operator_id, Ticket.merged_into_id.is_(None))
        .where(column >= datetime.combine(first, datetime.min.time(), zone))
        .where(column < datetime.combine(last + timedelta(days=1), datetime.min.time(), zone))
        .group_by(day)
    )
    return {row.day: row.tickets for row in session.execute(query)}


def _length(seconds: Sequence[float | None] | None, place: int) -> timedelta | None:
    if seconds is None or seconds[place] is None:
        return None
    return timedelta(seconds=round(float(seconds[place] or 0)))
