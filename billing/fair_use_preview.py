"""What a rule set would have done: the subscribers of a plan, in the billing period before this one.

A rule set is tried on what was really used, before anybody feels it. Only services that used at least as much as the
lowest threshold in the whole period can have reached any, in whatever span, so of the others no hours are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from aaa.facts import CapAction, Span
from aaa.fair_use import BonusHours, CapEnd, Hit, Rung, meet, weight_at, weights
from aaa.quota import billing_period
from core.rates import RateLimit
from crm.plans import PlanTerms
from db.models import Operator

MOST_HIT = 10
BARS = 12
_HOUR = timedelta(hours=1)
_AT_ONCE = 500  # services whose hours are summed in memory; ten thousand at once went through files on disk


@dataclass(frozen=True, slots=True)
class Met:
    """How a rung would have been met: by how many, how many of them first on each day, and days on it in all."""

    rung: Rung
    services: int
    by_day: tuple[tuple[date, int], ...]
    days: int


@dataclass(frozen=True, slots=True)
class Preview:
    """`services` used anything in the period; `bars` are (octets from, number of services), `any` met some rung."""

    first: date
    last: date
    services: int
    any: int
    met: tuple[Met, ...]
    bars: tuple[tuple[int, int], ...]
    most: tuple[tuple[int, str, str, Hit], ...]


def rungs_of(terms: PlanTerms) -> tuple[Rung, ...]:
    """Return the thresholds of a rule set, those of a span in the order in which they are reached."""
    order = list(Span)
    rungs = [Rung(step.span, step.octets, RateLimit(step.download, step.upload)) for step in terms.steps]
    if terms.cap_octets is not None and terms.cap_action is not CapAction.NOTHING:
        slow = terms.throttle_download, terms.throttle_upload
        throttled = terms.cap_action is CapAction.THROTTLE and None not in slow
        rate = RateLimit(slow[0] or 0, slow[1] or 0) if throttled else None
        rungs.append(Rung(Span.MONTH, terms.cap_octets, rate, CapEnd.CAP))
    return tuple(sorted(rungs, key=lambda rung: (order.index(rung.span), rung.octets)))


def preview(session: Session, operator: Operator, plan_id: int, terms: PlanTerms, now: datetime) -> Preview:
    """Return what `terms` would have done to the services of a plan in the last whole billing period.

    What rolls over and what is bought on top is left out.
    """
    zone = ZoneInfo(operator.timezone)
    current, _ = billing_period(operator.cut_off_day, now, zone)
    begins, ends = billing_period(operator.cut_off_day, current - _HOUR, zone)
    rungs = rungs_of(terms)
    asked = {"operator": operator.id, "plan": plan_id, "begins": begins, "ends": ends}
    totals: dict[int, int] = {row.service_id: row.octets for row in session.execute(_TOTALS, asked)}
    lowest = min((rung.octets for rung in rungs), default=None)
    wanted = [] if lowest is None else [service for service, octets in totals.items() if octets >= lowest]
    days = [begins.astimezone(zone).date() + timedelta(days=n) for n in range((ends - begins + _HOUR).days)]
    hits = list(_hits(session, wanted, terms, rungs, (begins, ends), zone, days))
    met = tuple(
        Met(
            rung,
            sum(hit.first[number] is not None for hit in hits),
            tuple((day, sum(hit.first[number] == day for hit in hits)) for day in days),
            sum(hit.days[number] for hit in hits),
        )
        for number, rung in enumerate(rungs)
    )
    reached = [hit for hit in hits if any(hit.first)]
    reached.sort(key=lambda hit: (-hit.slow_days, -hit.octets, hit.service_id))
    most = reached[:MOST_HIT]
    names = {
        service_id: (name, subscriber)
        for service_id, name, subscriber in session.execute(_NAMES, {"ids": [hit.service_id for hit in most]})
    }
    return Preview(
        days[0],
        days[-1],
        len(totals),
        len(reached),
        met,
        bars(list(totals.values())),
        tuple((hit.service_id, *names[hit.service_id], hit) for hit in most if hit.service_id in names),
    )


def bars(octets: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return how many used how much: up to a dozen ranges of equal width in a round number of GB."""
    if not octets:
        return ()
    width = 10**9
    steps = iter((2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 10**5, 10**6, 10**7))
    while max(octets) // width >= BARS:
        width = next(steps) * 10**9
    counts = [0] * (max(octets) // width + 1)
    for one in octets:
        counts[one // width] += 1
    return tuple((number * width, count) for number, count in enumerate(counts))


def _hits(
    session: Session,
    service_ids: Sequence[int],
    terms: PlanTerms,
    rungs: Sequence[Rung],
    period: tuple[datetime, datetime],
    zone: ZoneInfo,
    days: Sequence[date],
) -> Iterator[Hit]:
    if not service_ids:
        return
    table = weights(BonusHours(frozenset(one.days), one.begin, one.until, one.percent) for one in terms.bonus_hours)
    begins, ends = period
    first = begins.replace(minute=0, second=0, microsecond=0)
    hours = [first + _HOUR * n for n in range(int((ends - first) / _HOUR))]
    asked = {
        "begins": first,
        "ends": ends,
        "hours": hours,
        "days": [max(0, (hour.astimezone(zone).date() - days[0]).days) for hour in hours],
        "weights": [weight_at(table, hour, zone) for hour in hours],
    }
    ordered = sorted(service_ids)
    for begin in range(0, len(ordered), _AT_ONCE):
        used: dict[int, list[int]] = {}
        for service_id, day, octets in session.execute(_DAILY, {**asked, "ids": ordered[begin : begin + _AT_ONCE]}):
            used.setdefault(service_id, [0] * len(days))[min(day, len(days) - 1)] += octets
        for service_id, daily in used.items():
            yield meet(service_id, list(zip(days, daily, strict=True)), rungs)


_TOTALS = text("""
SELECT u.service_id, sum(u.octets_in + u.octets_out)::bigint AS octets FROM usage_period u
JOIN service s ON s.id = u.service_id
WHERE u.operator_id = :operator AND s.plan_id = :plan AND u.period_start >= :begins AND u.period_start < :ends
GROUP BY u.service_id
""")

_DAILY = text("""
SELECT u.service_id, h.day, (sum((u.octets_in + u.octets_out) * h.weight) / 100)::bigint
FROM usage_hour u
JOIN unnest(cast(:hours AS timestamptz[]), cast(:days AS int[]), cast(:weights AS int[])) AS h(hour, day, weight)
  ON h.hour = u.hour
WHERE u.service_id = ANY(:ids) AND u.hour >= :begins AND u.hour < :ends
GROUP BY u.service_id, h.day
""")

_NAMES = text("""
SELECT s.id, s.name, b.name FROM service s JOIN subscriber b ON b.id = s.subscriber_id WHERE s.id = ANY(:ids)
""")
