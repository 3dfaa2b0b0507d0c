"""Instants and local days.

An instant is an aware UTC `datetime`; a billing day is a `date` in the operator's zone. Only the edges (views,
tasks, hooks, commands) call `utc_now()`; below them `now` is a parameter.
"""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def utc_now() -> datetime:
    return datetime.now(UTC)


def from_epoch(seconds: float) -> datetime:
    """Return the instant `seconds` after 1970-01-01T00:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the day that `instant` falls on in `zone`."""
    return instant.astimezone(zone).date()


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which `day` begins in `zone`.

    Where a change to summer time skips midnight, the day begins at the first instant that exists.
    """
    midnight = datetime.combine(day, time(), zone)
    return midnight.astimezone(UTC)
