"""What a manager asks of sales and work orders: sold per month and seller, time to install, what is outstanding.

A sale counts on the day on which its service was entered, in the operator's zone, for the seller whom its work order
names; one without an order counts for nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from core.clock import start_of_day
from db.models import WORK_OPEN, Lead, Staff, WorkOrder

AGES = (1, 3, 7, 14, 30)
"""Days; the last group is what is older than the last of them."""


@dataclass(frozen=True, slots=True)
class Sales:
    """What somebody sold in a month, what of it is installed by now, and how many leads they won and lost in it."""

    month: date
    seller: str
    sold: int
    installed: int
    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class Installs:
    """Installations completed in a month, and the time from order to completion: its middle and the slowest tenth."""

    month: date
    technician: str
    installed: int
    failed: int
    median: timedelta | None
    slowest: timedelta | None
    overridden: int


@dataclass(frozen=True, slots=True)
class Age:
    """Outstanding orders whose age in days is from `since` to under `until` (None: older)."""

    since: int
    until: int | None
    count: int


def sales(session: Session, operator_id: int, zone: ZoneInfo, first: date) -> list[Sales]:
    """Return sales per month and seller from the month of `first` on, the newest month first."""
    since = start_of_day(first.replace(day=1), zone)
    month = func.date_trunc("month", WorkOrder.created_at, zone.key)
    counted: dict[tuple[date, str], list[int]] = {}
    orders = (
        select(
            month.label("month"),
            func.coalesce(Staff.name, "").label("seller"),
            func.count().label("sold"),
            func.count().filter(WorkOrder.state == "done").label("installed"),
        )
        .outerjoin(Staff, Staff.id == WorkOrder.seller_id)
        .where(
            WorkOrder.operator_id == operator_id,
            WorkOrder.kind == "installation",
            WorkOrder.state != "cancelled",
            WorkOrder.created_at >= since,
        )
        .group_by("month", "seller")
    )
    for row in session.execute(orders):
        counted[row.month.astimezone(zone).date(), row.seller] = [row.sold, row.installed, 0, 0]
    closed = func.date_trunc("month", Lead.closed_at, zone.key)
    leads = (
        select(
            closed.label("month"),
            func.coalesce(Staff.name, "").label("seller"),
            func.count().filter(Lead.state == "won").label("won"),
            func.count().filter(Lead.state == "lost").label("lost"),
        )
        .outerjoin(Staff, Staff.id == Lead.seller_id)
        .where(Lead.operator_id == operator_id, Lead.closed_at >= since)
        .group_by("month", "seller")
    )
    for row in session.execute(leads):
        found = counted.setdefault((row.month.astimezone(zone).date(), row.seller), [0, 0, 0, 0])
        found[2:] = [row.won, row.lost]
    ordered = sorted(counted.items(), key=lambda item: (-item[0][0].toordinal(), -item[1][0], item[0][1]))
    return [Sales(month, seller, *numbers) for (month, seller), numbers in ordered]


def installs(session: Session, operator_id: int, zone: ZoneInfo, first: date) -> list[Installs]:
    """Return installations per month and technician from the month of `first` on, the newest month first."""
    took = func.extract("epoch", WorkOrder.ended_at - WorkOrder.created_at)
    finished = case((WorkOrder.state == "done", took))
    query = (
        select(
            func.date_trunc("month", WorkOrder.ended_at, zone.key).label("month"),
            func.coalesce(Staff.name, "").label("technician"),
            func.count().filter(WorkOrder.state == "done").label("installed"),
            func.count().filter(WorkOrder.state == "failed").label("failed"),
            func.count().filter(WorkOrder.override_reason != "").label("overridden"),
            func.percentile_cont(0.5).within_group(finished).label("median"),
            func.percentile_cont(0.9).within_group(finished).label("slowest"),
        )
        .outerjoin(Staff, Staff.id == WorkOrder.technician_id)
        .where(
            WorkOrder.operator_id == operator_id,
            WorkOrder.kind == "installation",
            WorkOrder.state.in_(("done", "failed")),
            WorkOrder.ended_at >= start_of_day(first.replace(day=1), zone),
        )
        .group_by("month", "technician")
        .order_by("month", "technician")
    )
    return [
        Installs(
            row.month.astimezone(zone).date(), row.technician, row.installed, row.failed,
            _length(row.median), _length(row.slowest), row.overridden,
        )
        for row in sorted(session.execute(query), key=lambda row: (-row.month.timestamp(), row.technician))
    ]  # fmt: skip


def outstanding(session: Session, operator_id: int, now: datetime) -> Sequence[Age]:
    """Return how many orders wait, by their age."""
    edges = (0, *AGES)
    days = func.extract("epoch", now - WorkOrder.created_at) / 86400
    group = func.width_bucket(days, list(AGES))
    query = (
        select(group.label("bucket"), func.count().label("count"))
        .where(WorkOrder.operator_id == operator_id, WorkOrder.state.in_(WORK_OPEN))
        .group_by("bucket")
    )
    counts: dict[int, int] = {row[0]: row[1] for row in session.execute(query)}
    return [
        Age(edge, edges[number + 1] if number + 1 < len(edges) else None, counts.get(number, 0))
        for number, edge in enumerate(edges)
    ]


def _length(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=float(seconds))
