"""The series behind a router's graphs: which samples a range is drawn from, and where there are gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.i18n import N_
from db.models import (
    InterfaceSample,
    InterfaceSample1h,
    InterfaceSample5m,
    RouterSample,
    RouterSample1h,
    RouterSample5m,
)

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Range:
    """A length of time that a graph shows, the samples it is made from, and how long each of its points is."""

    key: str
    title: str
    length: timedelta
    samples: Any
    interfaces: Any
    step: timedelta


_MINUTES = (RouterSample, InterfaceSample)
_FIVES = (RouterSample5m, InterfaceSample5m)
_HOURS = (RouterSample1h, InterfaceSample1h)
RANGES = {
    one.key: one
    for one in (
        Range("1h", N_("1 hour"), timedelta(hours=1), *_MINUTES, timedelta(minutes=1)),
        Range("6h", N_("6 hours"), timedelta(hours=6), *_MINUTES, timedelta(minutes=1)),
        Range("24h", N_("24 hours"), timedelta(hours=24), *_FIVES, timedelta(minutes=5)),
        Range("7d", N_("7 days"), timedelta(days=7), *_FIVES, timedelta(minutes=30)),
        Range("30d", N_("30 days"), timedelta(days=30), *_HOURS, timedelta(hours=2)),
        Range("1y", N_("1 year"), timedelta(days=365), *_HOURS, timedelta(days=1)),
    )
}


def router_series(
    session: Session, nas_id: int, shown: Range, now: datetime, interval: timedelta
) -> list[dict[str, Any]]:
    """Return a point for each step of a range, oldest first; what was not measured is None.

    Averages are of the span, `*_max` its largest. `interval` is how often routers are polled.
    """
    sample = shown.samples
    measures = ("cpu", "memory", "temperature", "wan_download", "wan_upload", "authenticated", "waiting")
    columns = [func.avg(getattr(sample, name)).label(name) for name in measures]
    columns += [func.max(getattr(sample, f"{name}_max")).label(f"{name}_max") for name in measures]
    columns += [func.sum(sample.polls).label("polls"), func.sum(sample.answered).label("answered")]
    step = max(shown.step, interval)
    at = func.date_bin(step, sample.at, _BEGINNING).label("at")
    begin = _floor(now - shown.length, step) + step
    rows = session.execute(
        select(at, *columns).where(sample.nas_id == nas_id, sample.at >= begin).group_by(at).order_by(at)
    ).mappings()
    points = _with_gaps(rows.all(), begin, now, step)
    for point in points:
        inside = (point["authenticated"], point["waiting"])
        point["connected"] = None if inside == (None, None) else (inside[0] or 0) + (inside[1] or 0)
    return points


def interface_series(
    session: Session, nas_id: int, interface: str, shown: Range, now: datetime, interval: timedelta
) -> list[dict[str, Any]]:
    """Return a point for each step: `wan_download` is what the interface received, `wan_upload` what it sent."""
    sample = shown.interfaces
    step = max(shown.step, interval)
    at = func.date_bin(step, sample.at, _BEGINNING).label("at")
    begin = _floor(now - shown.length, step) + step
    rows = session.execute(
        select(
            at,
            func.avg(sample.received).label("wan_download"),
            func.max(sample.received_max).label("wan_download_max"),
            func.avg(sample.sent).label("wan_upload"),
            func.max(sample.sent_max).label("wan_upload_max"),
        )
        .where(sample.nas_id == nas_id, sample.interface == interface, sample.at >= begin)
        .group_by(at)
        .order_by(at)
    ).mappings()
    return _with_gaps(rows.all(), begin, now, step)


def _floor(instant: datetime, step: timedelta) -> datetime:
    return instant - (instant - _BEGINNING) % step


def _with_gaps(rows: Sequence[Any], begin: datetime, now: datetime, step: timedelta) -> list[dict[str, Any]]:
    """Return the rows with an empty one for each step that has none, between the first and the last of them."""
    if not rows:
        return []
    found = {row["at"]: dict(row) for row in rows}
    empty = dict.fromkeys(rows[0].keys())
    points = []
    at = begin
    last = max(found)
    while at <= min(last, now):
        points.append(found.get(at, {**empty, "at": at}))
        at += step
    return points
