"""What of the growth of a batch counts for fair use, and who has reached a step by it.

The loader counts every service by hour and by billing period. For services whose plan bounds more than that it asks
here: what of the growth does not count, what falls into the running day and week, and what a period that begins gets
from those before it. Hours are counted whole, by the clock of the operator at their beginning.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from aaa.facts import Span
from aaa.fair_use import (
    BonusHours,
    PastPeriod,
    crossed,
    free_octets,
    rolled_over,
    span_of,
    weight_at,
    weights,
)
from core.clock import from_epoch
from radius import copy_text, statements
from radius.facts import Connection
from radius.usage import HOUR, Usage


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan bounds: thresholds in octets for each span, the weights of hours, and what rolls over."""

    thresholds: Mapping[Span, tuple[int, ...]]
    weights: tuple[int, ...] | None
    cap: int | None
    rollover_periods: int
    rollover_most: int | None

    @property
    def plain(self) -> bool:
        """Whether a billing period as it is counted for everybody is all that is needed."""
        spans = any(self.thresholds.get(span) for span in (Span.DAY, Span.WEEK))
        return not spans and self.weights is None and not self.rollover_periods


class SpanKey(NamedTuple):
    service_id: int
    span: Span
    begins: datetime
    ends: datetime
    operator_id: int


def bounds(row: tuple[Any, ...]) -> tuple[int, Bounds]:
    """Read a row of `statements.BOUNDED_PLANS`."""
    plan_id, cap, steps, bonus, periods, most = row
    found: dict[Span, tuple[int, ...]] = {Span.MONTH: () if cap is None else (cap,)}
    for step in steps:
        span = Span(step["span"])
        found[span] = (*found.get(span, ()), step["octets"])
    table = weights(bonus_hours(one) for one in bonus) if bonus else None
    return plan_id, Bounds(found, table, cap, periods if cap is not None else 0, most)


def bonus_hours(document: Mapping[str, Any]) -> BonusHours:
    """Read one entry of `rate_plan.bonus_hours`."""
    return BonusHours(frozenset(document["days"]), document["begin"], document["until"], document["percent"])


class FairUse:
    """The plans that bound something, as a batch finds them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._plans = dict(bounds(row) for row in connection.execute(statements.BOUNDED_PLANS))
        self._of: dict[int, Bounds] = {}

    def count(self, usage: Usage, zones: Mapping[int, ZoneInfo]) -> dict[SpanKey, int]:
        """Put what does not count into the periods of `usage`; return what counts in days and weeks."""
        special = [plan_id for plan_id, plan in self._plans.items() if not plan.plain]
        if not special:
            return {}
        ids = {service_id for service_id, _, _ in usage.hours}
        rows = self._connection.execute(statements.PLANS_OF, (copy_text.array(ids), special))
        self._of = {service_id: self._plans[plan_id] for service_id, plan_id in rows}
        spans: dict[SpanKey, int] = {}
        for (service_id, hour, operator_id), (octets_in, octets_out) in usage.hours.items():
            plan = self._of.get(service_id)
            if plan is None:
                continue
            begins, zone, octets = from_epoch(hour * HOUR), zones[operator_id], octets_in + octets_out
            if plan.weights is not None:
                free = free_octets(octets, weight_at(plan.weights, begins, zone))
                usage.free(operator_id, service_id, hour, free)
                octets -= free
            for span in (Span.DAY, Span.WEEK):
                if plan.thresholds.get(span):
                    key = SpanKey(service_id, span, *span_of(span, begins, zone), operator_id)
                    spans[key] = spans.get(key, 0) + octets
        return spans

    def add_spans(self, spans: Mapping[SpanKey, int], now: datetime) -> set[int]:
        """Store what counts in days and weeks; return the services that reached a step of the running one."""
        latest: dict[tuple[int, Span], SpanKey] = {}
        for key in spans:
            known = latest.get((key.service_id, key.span))
            if known is None or known.begins < key.begins:
                latest[key.service_id, key.span] = key
        if not latest:
            return set()
        rows = [(*latest[place], spans[latest[place]]) for place in sorted(latest)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        found = set()
        for service_id, name, begins, octets in self._connection.execute(statements.ADD_SPANS, columns).fetchall():
            key = latest[service_id, Span(name)]
            thresholds = self._of[service_id].thresholds.get(key.span, ())
            current = key.begins == begins and begins <= now < key.ends
            if current and crossed(thresholds, octets - spans[key], octets):
                found.add(service_id)
        return found

    def allow(self, service_ids: Iterable[int]) -> set[int]:
        """Say what rolls over into the periods that have begun; return the services to which something does."""
        ids = sorted({one for one in service_ids if one in self._of and self._of[one].rollover_periods})
        past: dict[int, list[PastPeriod]] = {}
        rows = []
        if not ids:
            return set()
        for service_id, begins, ends, octets, cap, begun in self._connection.execute(
            statements.BEGUN_PERIODS, {"ids": ids}
        ).fetchall():
            plan = self._of[service_id]
            if begun:
                earlier = past.get(service_id, [])
                rolled = rolled_over(earlier, begins, plan.rollover_periods, plan.rollover_most)
                rows.append((service_id, begins, plan.cap, rolled))
            past.setdefault(service_id, []).append(PastPeriod(begins, ends, octets, cap))
        if rows:
            self._connection.execute(statements.ALLOW_PERIODS, [list(column) for column in zip(*rows, strict=True)])
        return {service_id for service_id, _, _, rolled in rows if rolled}

    def capped(self) -> set[int]:
        """Return the services that reached the cap or a step of the running period with the growth just stored."""
        pairs = [(plan_id, octets) for plan_id, plan in self._plans.items() for octets in plan.thresholds[Span.MONTH]]
        if not pairs:
            return set()
        plans, octets = (list(column) for column in zip(*pairs, strict=True))
        return {service_id for (service_id,) in self._connection.execute(statements.CAPPED, (plans, octets))}
