"""Time windows of a rate plan: which one holds now, and when that changes.

Windows are written in the operator's wall-clock time. On the day summer time begins or ends a window keeps its
wall-clock ends, so it is an hour shorter or longer.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from aaa.facts import TimeWindow


def active_window(windows: tuple[TimeWindow, ...], now: datetime, zone: ZoneInfo) -> TimeWindow | None:
    """Return the window that `now` falls in; the first of the list where several do."""
    local = now.astimezone(zone).replace(tzinfo=None)
    for window in windows:
        for day in (local.date(), local.date() - timedelta(days=1)):
            if day.isoweekday() in window.days:
                begin, end = _span(window, day)
                if begin <= local < end:
                    return window
    return None


def next_boundary(windows: tuple[TimeWindow, ...], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first instant after `now` at which some window begins or ends, or None without windows."""
    today = now.astimezone(zone).date()
    instants = (
        local.replace(tzinfo=zone).astimezone(UTC)
        for window in windows
        for offset in range(-1, 9)
        if (day := today + timedelta(days=offset)).isoweekday() in window.days
        for local in _span(window, day)
    )
    return min((instant for instant in instants if instant > now), default=None)


def _span(window: TimeWindow, day: date) -> tuple[datetime, datetime]:
    """Return begin and end, in wall-clock time, of the window that begins on `day`."""
    begin = datetime.combine(day, window.begin)
    end = datetime.combine(day, window.until)
    return begin, end if end > begin else end + timedelta(days=1)
