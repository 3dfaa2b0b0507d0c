"""Cycles: which days an invoice covers, when it is issued and when it is due.

Months begin on the anchor day: the operator's cut-off day, or the day on which the service began. A month without that
day begins on its last day, and the next one on the anchor day again: 31 Jan, 28 Feb, 31 Mar. Where months begin is
always counted from the anchor, never from the month before, so nothing drifts.

A period begins where the one before ended. One that begins within a month ends with it; all others are `months` long.

Dates here are days in the operator's zone. Nothing here reads a clock or a database. What was computed is remembered:
of a hundred thousand services, most have the same period.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

_DAY = timedelta(days=1)


class Timing(StrEnum):
    ADVANCE = "advance"  # due when the period begins
    ARREARS = "arrears"  # due when it is over


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Cycle:
    """The rule by which a service is billed; `started_on` is its first day, whose invoice has `first_due_days`."""

    anchor_day: int
    started_on: date
    months: int = 1
    timing: Timing = Timing.ADVANCE
    issue_days: int = 0
    due_days: int = 0
    first_due_days: int = 0


@lru_cache(maxsize=4096)
def month_start(day: date, anchor_day: int) -> date:
    """Return the first day of the month, as the anchor day cuts months, that `day` is in."""
    this = _anchored(day.year, day.month, anchor_day)
    return this if this <= day else _months_after(day, -1, anchor_day)


@lru_cache(maxsize=4096)
def next_month_start(day: date, anchor_day: int) -> date:
    """Return the first day of the month after the one that `day` is in."""
    this = _anchored(day.year, day.month, anchor_day)
    return this if this > day else _months_after(day, 1, anchor_day)


@lru_cache(maxsize=4096)
def period_from(first: date, cycle: Cycle) -> Period:
    """Return the period that begins on `first`."""
    if month_start(first, cycle.anchor_day) == first:
        end = _months_after(first, cycle.months, cycle.anchor_day)
    else:
        end = next_month_start(first, cycle.anchor_day)
    return Period(first, end - _DAY)


@lru_cache(maxsize=4096)
def months_in(period: Period, anchor_day: int) -> Fraction:
    """Return how many months' price the days of a period cost: each day is its share of the month that it is in.

    Two parts of a period always cost together what the whole costs.
    """
    months, day = Fraction(0), period.first
    while day <= period.last:
        begin, end = month_start(day, anchor_day), next_month_start(day, anchor_day)
        until = min(end - _DAY, period.last)
        months += Fraction((until - day).days + 1, (end - begin).days)
        day = until + _DAY
    return months


@lru_cache(maxsize=4096)
def due_on(period: Period, cycle: Cycle) -> date:
    """Return the last day on which the period's invoice is paid in time."""
    begin = period.first if cycle.timing is Timing.ADVANCE else period.last + _DAY
    days = max(cycle.due_days, cycle.first_due_days) if period.first == cycle.started_on else cycle.due_days
    return begin + timedelta(days=days)


@lru_cache(maxsize=4096)
def issue_on(period: Period, cycle: Cycle) -> date:
    """Return the day on which the invoice is made: some days before it is due, in arrears not before the period ended.

    A service's first invoice is made on the day it begins, however late it is due.
    """
    day = due_on(period, cycle) - timedelta(days=cycle.issue_days)
    if cycle.timing is Timing.ARREARS:
        return max(day, period.last + _DAY)
    return min(day, period.first) if period.first == cycle.started_on else day


def _months_after(day: date, months: int, anchor_day: int) -> date:
    years, month0 = divmod(day.month - 1 + months, 12)
    return _anchored(day.year + years, month0 + 1, anchor_day)


def _anchored(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))
