"""Fair use: what counts, when a plan becomes slower, and what is left over.

A plan may have steps: after so many octets in a day, a week or a billing period, this rate and no more. Of the steps
that are reached the slowest holds, in each direction by itself, so whoever uses more never gets a better rate. Days
and weeks are the operator's, weeks begin on Monday; billing periods are those of the cap (`aaa.quota`).

Hours of the week may count in part or not at all (free nights). What rolled over from earlier periods and what was
bought on top is added to everything that a billing period allows, its steps as well as its cap; days and weeks stay as
they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from aaa.facts import Service, Span, Step
from core.clock import start_of_day
from core.rates import RateLimit

MOST_STEPS = 5
WHOLE = 100  # percent
HOURS_OF_A_WEEK = 7 * 24
_SHORTEST_PERIOD = timedelta(days=27)


@dataclass(frozen=True, slots=True)
class BonusHours:
    """Full hours of the week in which only `percent` of what is used counts; 0 is free.

    `days` are ISO weekdays on which they begin. When `until` is not after `begin` they run past midnight; both are
    hours of the operator's clock.
    """

    days: frozenset[int]
    begin: int
    until: int
    percent: int = 0


def weights(bonus: Iterable[BonusHours]) -> tuple[int, ...]:
    """Return the percent that counts for each hour of the week, from Monday 0:00; the least where several apply."""
    found = [WHOLE] * HOURS_OF_A_WEEK
    for one in bonus:
        length = (one.until - one.begin) % 24 or 24
        for day in one.days:
            for hour in range(length):
                at = ((day - 1) * 24 + one.begin + hour) % HOURS_OF_A_WEEK
                found[at] = min(found[at], one.percent)
    return tuple(found)


def weight_at(table: Sequence[int], instant: datetime, zone: ZoneInfo) -> int:
    """Return the percent that counts in the hour in which `instant` lies; `table` comes from `weights()`."""
    local = instant.astimezone(zone)
    return table[(local.isoweekday() - 1) * 24 + local.hour]


def free_octets(octets: int, percent: int) -> int:
    """Return how many of these octets do not count."""
    return octets * (WHOLE - percent) // WHOLE


def span_of(span: Span, instant: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the day or the week, half-open, that `instant` falls in. Billing periods are `aaa.quota`'s."""
    first = first_day(span, instant.astimezone(zone).date())
    length = timedelta(days=1 if span is Span.DAY else 7)
    return start_of_day(first, zone).astimezone(UTC), start_of_day(first + length, zone).astimezone(UTC)


def first_day(span: Span, day: date) -> date:
    """Return the first day of the day or the week that `day` belongs to."""
    return day if span is Span.DAY else day - timedelta(days=day.isoweekday() - 1)


def used_in(service: Service, span: Span, now: datetime) -> tuple[int, datetime | None]:
    """Return what counts of a service in the running span, what was added taken off, and when that span ends."""
    if span is Span.MONTH:
        octets, ends = service.used_octets - service.extra_octets, service.period_ends
    else:
        used = service.used_today if span is Span.DAY else service.used_this_week
        octets, ends = (used.octets, used.ends) if used is not None else (0, None)
    return (0, None) if ends is not None and now >= ends else (octets, ends)


def reached(service: Service, now: datetime) -> list[tuple[Step, datetime | None]]:
    """Return the steps of its plan that a service has reached, each with the instant at which it begins anew."""
    found = []
    for step in service.plan.steps:
        octets, ends = used_in(service, step.span, now)
        if octets >= step.octets:
            found.append((step, ends))
    return found


def slowed(rate: RateLimit, limits: Iterable[RateLimit]) -> RateLimit:
    """Return the slowest of the rates, in each direction by itself; a burst ends where a limit is below the rate."""
    for limit in limits:
        if limit.download <= rate.download and limit.upload <= rate.upload:
            rate = limit
        elif limit.download < rate.download or limit.upload < rate.upload:
            rate = RateLimit(min(rate.download, limit.download), min(rate.upload, limit.upload))
    return rate


# What is left over.


@dataclass(frozen=True, slots=True)
class PastPeriod:
    """A billing period that is over: what counted in it, and what the plan allowed; None is no cap that rolls over."""

    begins: datetime
    ends: datetime
    octets: int
    cap: int | None


def rolled_over(past: Sequence[PastPeriod], begins: datetime, periods: int, most: int | None) -> int:
    """Return the octets that a period beginning at `begins` gets from those before it, oldest first in `past`.

    What a period leaves may be used in the `periods` that follow, then it is lost; its own volume is used first, then
    the oldest that was left. A period of which nothing is stored was one without use. `most` bounds the sum.
    """
    lots: list[int] = []  # what is left of each earlier period, oldest first
    for position, period in enumerate(past):
        following = past[position + 1].begins if position + 1 < len(past) else begins
        over = max(0, period.octets - (period.cap or 0))
        for place, lot in enumerate(lots):
            taken = min(lot, over)
            lots[place], over = lot - taken, over - taken
        lots = [*lots, max(0, (period.cap or 0) - period.octets)]
        lots += [period.cap or 0] * round((following - period.ends) / timedelta(days=30.4))
        lots = lots[-periods:] if periods else []
    left = sum(lots)
    return left if most is None else min(left, most)


# Notices of a crossing.


def crossed(thresholds: Iterable[int], before: int, after: int) -> bool:
    """Tell whether growth from `before` to `after` reached one of the thresholds."""
    return any(before < threshold <= after for threshold in thresholds)


class CapEnd(StrEnum):
    """Which rule a simulated subscriber ran into."""

    STEP = "step"
    CAP = "cap"


# What a rule set would have done.


@dataclass(frozen=True, slots=True)
class Rung:
    """A threshold of a rule set: a step, or the cap, whose action is said elsewhere (`rate` None is blocked)."""

    span: Span
    octets: int
    rate: RateLimit | None
    kind: CapEnd = CapEnd.STEP


@dataclass(frozen=True, slots=True)
class Hit:
    """What one service would have met: for each rung the first day on which it was reached, and the days spent."""

    service_id: int
    octets: int
    first: tuple[date | None, ...]
    days: tuple[int, ...]

    @property
    def slow_days(self) -> int:
        """Days on which any rung was reached, at the least: those of the rung that was met most."""
        return max(self.days, default=0)


def meet(service_id: int, daily: Sequence[tuple[date, int]], rungs: Sequence[Rung]) -> Hit:
    """Return what a service would have met, from what counted on each day of one billing period, in order.

    `daily` has every day, also those without use. A day on which a rung is reached is a day spent on it. What people
    would have used, had they been slower, is not known: the figures say who would have been met, not what they would
    have done.
    """
    first: list[date | None] = [None] * len(rungs)
    days = [0] * len(rungs)
    month = week = 0
    monday: date | None = None
    for day, octets in daily:
        if (begins := first_day(Span.WEEK, day)) != monday:
            monday, week = begins, 0
        month, week = month + octets, week + octets
        for number, rung in enumerate(rungs):
            used = {Span.DAY: octets, Span.WEEK: week, Span.MONTH: month}[rung.span]
            if used >= rung.octets:
                first[number] = first[number] or day
                days[number] += 1
    return Hit(service_id, month, tuple(first), tuple(days))
