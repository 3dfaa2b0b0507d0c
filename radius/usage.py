"""Usage: where the growth of a session's counters belongs in time.

A NAS reports totals, every few minutes or, after an outage, once in hours. What grew between two reports is spread
evenly over the seconds between them and cut at every full hour (UTC) and at the end of a billing period, so a session
across a month's end counts towards both months. Nothing is lost to rounding: the pieces add up to the growth exactly.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from aaa.quota import billing_period
from core.clock import from_epoch

HOUR = 3600
LONGEST_SPREAD = 62 * 86_400.0  # seconds; what grew in a longer time is put into the last of it

Period = tuple[float, float]
"""A billing period, half-open, in seconds since the epoch."""

PeriodOf = Callable[[int, float], Period]
"""The period of an operator that an instant falls in."""


HourKey = tuple[int, int, int]
"""Service, hour (counted from the epoch) and operator."""

PeriodKey = tuple[int, float, float, int]
"""Service, begin and end of a billing period, and operator."""


class Usage:
    """Growth, added up by hour and by billing period."""

    def __init__(self, period_of: PeriodOf) -> None:
        self.hours: dict[HourKey, list[int]] = {}
        self.periods: dict[PeriodKey, list[int]] = {}
        self._period_of = period_of

    def free(self, operator_id: int, service_id: int, hour: int, octets: int) -> None:
        """Have so many octets of an hour that was counted not count in its billing period."""
        for instant in ((hour + 0.5) * HOUR, (hour + 1) * HOUR - 1.0, float(hour * HOUR)):
            sums = self.periods.get((service_id, *self._period_of(operator_id, instant), operator_id))
            if sums is not None:
                sums[2] += min(octets, sums[0] + sums[1] - sums[2])
                return

    def add(
        self, operator_id: int, service_id: int, octets_in: int, octets_out: int, since: float, until: float
    ) -> None:
        """Count what a service sent and received between two instants."""
        if since < until - LONGEST_SPREAD:
            since = until - LONGEST_SPREAD
        begin, end = self._period_of(operator_id, until)
        if since >= begin and int(since // HOUR) == int(until // HOUR):
            self._count(operator_id, service_id, octets_in, octets_out, int(until // HOUR), (begin, end))
            return
        periods = [(begin, end)]
        while periods[-1][0] > since:
            periods.append(self._period_of(operator_id, periods[-1][0] - 1.0))
        cuts = {float(hour * HOUR) for hour in range(int(since // HOUR) + 1, int(until // HOUR) + 1)}
        cuts.update(boundary for boundary, _ in periods if boundary > since)
        edges = [since, *sorted(cut for cut in cuts if since < cut < until), until]
        begins = sorted(periods)
        length = max(1, round((until - since) * 1000))
        done_in = done_out = 0
        for left, right in pairwise(edges):
            passed = length if right == until else round((right - since) * 1000)
            until_in, until_out = octets_in * passed // length, octets_out * passed // length
            period = begins[bisect_right(begins, (left, float("inf"))) - 1]
            self._count(operator_id, service_id, until_in - done_in, until_out - done_out, int(left // HOUR), period)
            done_in, done_out = until_in, until_out

    def _count(
        self, operator_id: int, service_id: int, octets_in: int, octets_out: int, hour: int, period: Period
    ) -> None:
        sums = self.hours.get((service_id, hour, operator_id))
        if sums is None:
            sums = self.hours[service_id, hour, operator_id] = [0, 0]
        sums[0] += octets_in
        sums[1] += octets_out
        sums = self.periods.get((service_id, period[0], period[1], operator_id))
        if sums is None:
            sums = self.periods[service_id, period[0], period[1], operator_id] = [0, 0, 0]
        sums[0] += octets_in
        sums[1] += octets_out


class Calendar:
    """The billing periods of operators, each by its time zone and cut-off day."""

    def __init__(self, operators: Mapping[int, tuple[str, int]]) -> None:
        self._operators = {key: (ZoneInfo(zone), day) for key, (zone, day) in operators.items()}
        self._current: dict[int, Period] = {}

    def period_of(self, operator_id: int, instant: float) -> Period:
        """Return the operator's billing period that an instant falls in. Raises LookupError."""
        current = self._current.get(operator_id)
        if current is not None and current[0] <= instant < current[1]:
            return current
        zone, cut_off_day = self._operators[operator_id]
        begin, end = _period(cut_off_day, _quarter(instant), zone)
        self._current[operator_id] = found = (begin.timestamp(), end.timestamp())
        return found


def _quarter(instant: float) -> datetime:
    """Return the quarter of an hour; in every time zone a day begins at one."""
    return from_epoch(instant // 900 * 900)


_period = lru_cache(maxsize=4096)(billing_period)
