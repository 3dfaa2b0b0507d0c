"""Billing periods as far as data caps need them: from one cut-off day to the next."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.clock import start_of_day


def billing_period(cut_off_day: int, instant: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the period, half-open, that `instant` falls in: from cut-off day to cut-off day in `zone`.

    A month without that day begins its period on its last day.
    """
    today = instant.astimezone(zone).date()
    begin = _clamped(today.year, today.month, cut_off_day)
    if today < begin:
        begin = _clamped(*_previous_month(today), cut_off_day)
    following = begin.replace(day=1) + timedelta(days=31)
    end = _clamped(following.year, following.month, cut_off_day)
    return start_of_day(begin, zone).astimezone(UTC), start_of_day(end, zone).astimezone(UTC)


def _previous_month(day: date) -> tuple[int, int]:
    before = day.replace(day=1) - timedelta(days=1)
    return before.year, before.month


def _clamped(year: int, month: int, day: int) -> date:
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month, min(day, last))
