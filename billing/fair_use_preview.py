"""What a rule set would have done: the subscribers of a plan, in the billing period before this one.

A rule set is tried on what was really used, before anybody feels it. Only services that used at least as much as the
lowest threshold in the whole period can have reached any, in whatever span, so of the others no hours are read.

The hours of ten thousand services are seven million rows, so the trying is a job; what it found is its outcome, which
`read_preview()` reads. The job has the rules and not the form that they were entered in: it may be done again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from aaa.facts import CapAction, Span
from aaa.fair_use import BonusHours, CapEnd, Hit, Rung, meet, weight_at, weights
from aaa.quota import billing_period
from core.clock import utc_now
from core.i18n import N_
from core.rates import RateLimit
from crm.jobs import JobFunction, RunningJob, start_job
from crm.plans import PlanTerms
from db.audit import Actor
from db.models import Job, Operator, RatePlan

TRY = "fair_use.try"

MOST_HIT = 10
BARS = 12
_HOUR = timedelta(hours=1)
_AT_ONCE = 250  # services whose hours are summed in memory; ten thousand at once went through files on disk


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


def start_trial(session: Session, actor: Actor, plan: RatePlan, terms: PlanTerms) -> Job:
    """Queue the trying of a rule set on a plan's last billing period; nothing of the plan is changed."""
    bonus = (BonusHours(frozenset(one.days), one.begin, one.until, one.percent) for one in terms.bonus_hours)
    parameters = {
        "plan": plan.id,
        "rungs": [asdict(rung) for rung in rungs_of(terms)],
        "weights": weights(bonus),
    }
    return start_job(session, actor, TRY, parameters, plan.name)


def run_trial(job: RunningJob) -> Mapping[str, object]:
    """Try the rules of a job, and return what `read_preview()` reads."""
    asked = job.parameters
    rungs = [_rung(each) for each in asked["rungs"]]
    with job.session() as session:
        operator = session.get_one(Operator, job.operator_id)

        def told(done: int, total: int) -> None:
            if not done:
                job.plan(total)
            job.advance(done)
            job.check_cancelled()

        found = preview(session, operator, asked["plan"], rungs, asked["weights"], utc_now(), told)
    job.log(
        "info", "", N_("%(met)s of %(services)s services would have been met."), met=found.any, services=found.services
    )
    url = f"/plans/{asked['plan']}/tried/{job.id}"
    return {"url": url, "preview": _as_json(asdict(found))}


def read_preview(outcome: Mapping[str, Any]) -> Preview:
    """Return what a job found."""
    found = outcome["preview"]
    return Preview(
        _day(found["first"]),
        _day(found["last"]),
        found["services"],
        found["any"],
        tuple(
            Met(
                _rung(met["rung"]),
                met["services"],
                tuple((_day(day), count) for day, count in met["by_day"]),
                met["days"],
            )
            for met in found["met"]
        ),
        tuple((begin, count) for begin, count in found["bars"]),
        tuple(
            (
                service_id,
                name,
                subscriber,
                Hit(
                    hit["service_id"],
                    hit["octets"],
                    tuple(day and _day(day) for day in hit["first"]),
                    tuple(hit["days"]),
                ),
            )
            for service_id, name, subscriber, hit in found["most"]
        ),
    )


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


def preview(
    session: Session,
    operator: Operator,
    plan_id: int,
    rungs: Sequence[Rung],
    table: Sequence[int],
    now: datetime,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Preview:
    """Return what `rungs` would have done to the services of a plan in the last whole billing period.

    `table` says what the hours of a week count (`aaa.fair_use.weights`). What rolls over and what is bought on top is
    left out. `told` hears how many more services were looked at, 0 first, and of how many.
    """
    zone = ZoneInfo(operator.timezone)
    current, _ = billing_period(operator.cut_off_day, now, zone)
    begins, ends = billing_period(operator.cut_off_day, current - _HOUR, zone)
    asked = {"operator": operator.id, "plan": plan_id, "begins": begins, "ends": ends}
    totals: dict[int, int] = {row.service_id: row.octets for row in session.execute(_TOTALS, asked)}
    lowest = min((rung.octets for rung in rungs), default=None)
    wanted = [] if lowest is None else [service for service, octets in totals.items() if octets >= lowest]
    days = [begins.astimezone(zone).date() + timedelta(days=n) for n in range((ends - begins + _HOUR).days)]
    told(0, len(wanted))
    hits: list[Hit] = []
    for count, some in _hits(session, wanted, table, rungs, (begins, ends), zone, days):
        hits += some
        told(count, len(wanted))
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
    table: Sequence[int],
    rungs: Sequence[Rung],
    period: tuple[datetime, datetime],
    zone: ZoneInfo,
    days: Sequence[date],
) -> Iterator[tuple[int, list[Hit]]]:
    """Yield what services would have met, some at a time, with the number that was looked at."""
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
        ids = ordered[begin : begin + _AT_ONCE]
        used: dict[int, list[int]] = {}
        for service_id, day, octets in session.execute(_DAILY, {**asked, "ids": ids}):
            used.setdefault(service_id, [0] * len(days))[min(day, len(days) - 1)] += octets
        daily = ((service_id, list(zip(days, each, strict=True))) for service_id, each in used.items())
        yield len(ids), [meet(service_id, each, rungs) for service_id, each in daily]


def _rung(saved: Mapping[str, Any]) -> Rung:
    rate = saved["rate"]
    return Rung(
        Span(saved["span"]),
        saved["octets"],
        RateLimit(rate["download"], rate["upload"]) if rate else None,
        CapEnd(saved["kind"]),
    )


def _day(saved: str) -> date:
    return date.fromisoformat(saved)


def _as_json(value: Any) -> Any:
    """Return what dataclasses hold with its days as text."""
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


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

JOBS: Mapping[str, JobFunction] = {TRY: run_trial}
