"""Rate plans: what is sold, and what every service of a plan is granted.

A plan that is in use may be changed: its services follow, and so do their live sessions, by CoA where the routers
allow it. A plan is never deleted but archived, since services and, later, invoices name it.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aaa.facts import CapAction, Extra, Span
from aaa.fair_use import MOST_STEPS
from core.rates import Burst, RateLimit
from crm.attributes import BadAttribute, check_extra
from crm.currencies import foreign_currencies, latest_rates
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import AccountingSession, RatePlan, Service

HIGHEST_RATE = 100_000_000_000  # bit/s; above it somebody took Mbit/s for bit/s
LOWEST_RATE = 8_000
HIGHEST_PRICE = 9_999_999_999
LONGEST_NAME = 100
MOST_WINDOWS = 14
SHORTEST_INTERIM = timedelta(seconds=60)  # RFC 2869 §5.16: not below a minute
LONGEST_BOOST = 24 * 31  # hours
LONGEST_TIMEOUT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the week with a rate of its own; `days` are ISO weekdays on which it begins."""

    days: tuple[int, ...]
    begin: time
    until: time
    download: int
    upload: int

    def document(self) -> dict[str, Any]:
        """Return the window as `rate_plan.windows` holds it."""
        return {
            "days": sorted(self.days),
            "begin": self.begin.isoformat("minutes"),
            "until": self.until.isoformat("minutes"),
            "download": self.download,
            "upload": self.upload,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Window":
        return cls(
            tuple(document["days"]),
            time.fromisoformat(document["begin"]),
            time.fromisoformat(document["until"]),
            document["download"],
            document["upload"],
        )


@dataclass(frozen=True, slots=True)
class FairUseStep:
    """After `octets` in a day, a week or a billing period no more than this rate."""

    span: Span
    octets: int
    download: int
    upload: int

    def document(self) -> dict[str, Any]:
        """Return the step as `rate_plan.steps` holds it."""
        return {"span": self.span.value, "octets": self.octets, "download": self.download, "upload": self.upload}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "FairUseStep":
        return cls(Span(document["span"]), document["octets"], document["download"], document["upload"])


@dataclass(frozen=True, slots=True)
class Bonus:
    """Full hours in which only `percent` of what is used counts; `days` are ISO weekdays on which they begin."""

    days: tuple[int, ...]
    begin: int
    until: int
    percent: int = 0

    def document(self) -> dict[str, Any]:
        """Return the hours as `rate_plan.bonus_hours` holds them."""
        return {"days": sorted(self.days), "begin": self.begin, "until": self.until, "percent": self.percent}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Bonus":
        return cls(tuple(document["days"]), document["begin"], document["until"], document["percent"])


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What somebody enters for a plan. Rates are bit/s, volumes octets, as the subscriber sees them."""

    name: str
    download: int
    upload: int
    price: Decimal = Decimal(0)
    price_currency: str | None = None  # where it is not the one of the books
    burst: Burst | None = None
    priority: int | None = None
    minimum_download: int | None = None
    minimum_upload: int | None = None
    cap_octets: int | None = None
    cap_action: CapAction = CapAction.NOTHING
    throttle_download: int | None = None
    throttle_upload: int | None = None
    windows: tuple[Window, ...] = ()
    steps: tuple[FairUseStep, ...] = ()
    bonus_hours: tuple[Bonus, ...] = ()
    rollover_periods: int = 0
    rollover_most: int | None = None
    top_up_octets: int | None = None
    top_up_price: Decimal | None = None
    top_ups_automatic: int = 0
    boost_download: int | None = None
    boost_upload: int | None = None
    boost_hours: int | None = None
    boost_price: Decimal | None = None
    pool: str | None = None
    ipv6_pool: str | None = None
    delegated_ipv6_pool: str | None = None
    address_list: str | None = None
    session_timeout: timedelta | None = None
    idle_timeout: timedelta | None = None
    interim_interval: timedelta = timedelta(minutes=5)
    extra: tuple[Extra, ...] = ()

    @property
    def rate(self) -> RateLimit:
        return RateLimit(
            self.download, self.upload, self.burst, self.priority, self.minimum_download, self.minimum_upload
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """How many services a plan has, and how many of their sessions are live."""

    services: int
    live_sessions: int


def terms_of_plan(plan: RatePlan) -> PlanTerms:
    """Return what was entered for a stored plan."""
    burst = None
    if plan.burst_download is not None:
        burst = Burst(
            plan.burst_download,
            plan.burst_upload or 0,
            plan.burst_threshold_download or 0,
            plan.burst_threshold_upload or 0,
            plan.burst_seconds or 0,
        )
    copied = {field.name: getattr(plan, field.name) for field in fields(PlanTerms) if field.name in _COPIED}
    return PlanTerms(
        **copied,
        burst=burst,
        cap_action=CapAction(plan.cap_action),
        windows=tuple(Window.of(document) for document in plan.windows),
        steps=tuple(FairUseStep.of(document) for document in plan.steps),
        bonus_hours=tuple(Bonus.of(document) for document in plan.bonus_hours),
        extra=tuple((name, operator, value) for name, operator, value in plan.extra),
    )


def fingerprint(plan: RatePlan) -> str:
    """Return a mark of the plan's present state: a form that was filled in from another state is told by it."""
    return blake2b(repr((_audited(terms_of_plan(plan)), plan.archived)).encode(), digest_size=8).hexdigest()


def create_plan(session: Session, actor: Actor, terms: PlanTerms) -> RatePlan:
    """Add a plan. Raises Invalid."""
    checked = _checked(session, actor.operator_id, terms, None)
    plan = RatePlan(operator_id=actor.operator_id)
    _apply(plan, checked)
    session.add(plan)
    session.flush()
    record(session, actor, "plan.create", "plan", plan.id, None, _audited(checked))
    return plan


def change_plan(session: Session, actor: Actor, plan: RatePlan, terms: PlanTerms, seen: str) -> None:
    """Change a plan for all of its services. `seen` is the fingerprint of the plan that was shown.

    Raises Invalid, and ChangedMeanwhile when somebody else has changed the plan since.
    """
    session.refresh(plan, with_for_update=True)
    if fingerprint(plan) != seen:
        raise ChangedMeanwhile
    before = _audited(terms_of_plan(plan))
    checked = _checked(session, actor.operator_id, terms, plan.id)
    _apply(plan, checked)
    session.flush()
    record(session, actor, "plan.change", "plan", plan.id, before, _audited(checked))


def check_fair_use(terms: PlanTerms) -> None:
    """Check the rules about volumes alone, so that they can be tried. Raises Invalid."""
    problems = [*_cap_problems(terms), *_fair_use_problems(terms)]
    if problems:
        raise Invalid(*problems)


def set_archived(session: Session, actor: Actor, plan: RatePlan, archived: bool) -> None:
    """Take a plan out of what is sold, or back into it. Services that have it keep it."""
    if plan.archived == archived:
        return
    plan.archived = archived
    session.flush()
    action = "plan.archive" if archived else "plan.restore"
    record(session, actor, action, "plan", plan.id, {"archived": not archived}, {"archived": archived})


def reach(session: Session, plan_ids: Iterable[int]) -> dict[int, Reach]:
    """Return how far each plan reaches; terminated services do not count."""
    ids = list(plan_ids)
    services = select(Service.plan_id, func.count().label("number")).where(
        Service.plan_id.in_(ids), Service.state != "terminated"
    )
    live = (
        select(Service.plan_id, func.count().label("number"))
        .join(AccountingSession, AccountingSession.service_id == Service.id)
        .where(Service.plan_id.in_(ids), AccountingSession.ended_at.is_(None))
    )
    lines = {row.plan_id: row.number for row in session.execute(services.group_by(Service.plan_id))}
    sessions = {row.plan_id: row.number for row in session.execute(live.group_by(Service.plan_id))}
    return {plan_id: Reach(lines.get(plan_id, 0), sessions.get(plan_id, 0)) for plan_id in ids}


def touches_live_sessions(before: PlanTerms, after: PlanTerms) -> bool:
    """Tell whether a change of the plan changes what its live sessions are granted: all but its name and price."""
    return any(
        getattr(before, field.name) != getattr(after, field.name)
        for field in fields(PlanTerms)
        if field.name not in ("name", "price", "price_currency")
    )


_COPIED = frozenset(
    {
        "name", "download", "upload", "price", "price_currency", "priority", "minimum_download", "minimum_upload",
        "cap_octets",
        "throttle_download", "throttle_upload", "boost_download", "boost_upload", "boost_hours", "boost_price",
        "rollover_periods", "rollover_most", "top_up_octets", "top_up_price", "top_ups_automatic",
        "pool", "ipv6_pool", "delegated_ipv6_pool", "address_list",
        "session_timeout", "idle_timeout", "interim_interval",
    }
)  # fmt: skip


def _apply(plan: RatePlan, terms: PlanTerms) -> None:
    for name in _COPIED:
        setattr(plan, name, getattr(terms, name))
    burst = terms.burst
    plan.burst_download = burst.download if burst else None
    plan.burst_upload = burst.upload if burst else None
    plan.burst_threshold_download = burst.threshold_download if burst else None
    plan.burst_threshold_upload = burst.threshold_upload if burst else None
    plan.burst_seconds = burst.seconds if burst else None
    plan.cap_action = terms.cap_action.value
    plan.windows = [window.document() for window in terms.windows]
    plan.steps = [step.document() for step in terms.steps]
    plan.bonus_hours = [bonus.document() for bonus in terms.bonus_hours]
    plan.extra = [list(entry) for entry in terms.extra]


def _audited(terms: PlanTerms) -> dict[str, Any]:
    audited = {field.name: getattr(terms, field.name) for field in fields(terms)}
    audited["burst"] = asdict(terms.burst) if terms.burst else None
    audited["cap_action"] = terms.cap_action.value
    audited["windows"] = [window.document() for window in terms.windows]
    audited["steps"] = [step.document() for step in terms.steps]
    audited["bonus_hours"] = [bonus.document() for bonus in terms.bonus_hours]
    audited["top_up_price"] = None if terms.top_up_price is None else str(terms.top_up_price.normalize())
    audited["price"] = str(terms.price.normalize())
    audited["boost_price"] = None if terms.boost_price is None else str(terms.boost_price.normalize())
    return audited


def _currency_problems(session: Session, operator_id: int, terms: PlanTerms) -> list[FieldProblem]:
    """A price in another currency needs a rate, or nobody could say what is billed."""
    currency = terms.price_currency
    if currency is None:
        return []
    if currency not in foreign_currencies(session, operator_id):
        return [FieldProblem("price_currency", Problem.NOT_A_CURRENCY)]
    if not latest_rates(session, operator_id, date.max, [currency]):
        return [FieldProblem("price_currency", Problem.NO_RATE, {"currency": currency, "day": "–"})]
    return []


def _checked(session: Session, operator_id: int, terms: PlanTerms, plan_id: int | None) -> PlanTerms:
    """Return the terms as they are stored. Raises Invalid with everything that is wrong."""
    problems = [
        *_name_problems(session, operator_id, terms.name.strip(), plan_id),
        *_rate_problems(terms),
        *_cap_problems(terms),
        *_boost_problems(terms),
        *_fair_use_problems(terms),
        *_window_problems(terms),
        *_time_problems(terms),
    ]
    problems += _price_problems("price", terms.price)
    problems += _currency_problems(session, operator_id, terms)
    for name in ("pool", "ipv6_pool", "delegated_ipv6_pool", "address_list"):
        value = getattr(terms, name)
        if value is not None and (len(value.encode()) > 63 or not value.isprintable()):
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": "63"}))
    extra = terms.extra
    try:
        extra = check_extra(terms.extra)
    except BadAttribute as refused:
        problems.append(FieldProblem("extra", Problem.ATTRIBUTE, {"name": refused.name, "flaw": refused.flaw.value}))
    if problems:
        raise Invalid(*problems)
    values = {field.name: getattr(terms, field.name) for field in fields(terms)}
    return PlanTerms(**{**values, "name": terms.name.strip(), "extra": extra})


def _price_problems(name: str, price: Decimal) -> list[FieldProblem]:
    if 0 <= price <= HIGHEST_PRICE:
        return []
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": "0", "high": str(HIGHEST_PRICE)})]


def _name_problems(session: Session, operator_id: int, name: str, plan_id: int | None) -> list[FieldProblem]:
    if not name:
        return [FieldProblem("name", Problem.REQUIRED)]
    if len(name) > LONGEST_NAME:
        return [FieldProblem("name", Problem.TOO_LONG, {"limit": str(LONGEST_NAME)})]
    taken = session.scalar(select(RatePlan.id).where(RatePlan.operator_id == operator_id, RatePlan.name == name))
    if taken is not None and taken != plan_id:
        return [FieldProblem("name", Problem.TAKEN)]
    return []


def _rate_problems(terms: PlanTerms) -> list[FieldProblem]:
    problems = []
    for name in ("download", "upload"):
        limit = getattr(terms, name)
        problems += _range("rate_" + name, limit, LOWEST_RATE, HIGHEST_RATE)
        minimum = getattr(terms, "minimum_" + name)
        if minimum is not None:
            problems += _range("minimum_" + name, minimum, LOWEST_RATE, limit)
        if terms.burst is not None:
            # A burst below the limit would slow the subscriber down; a threshold above it would never end.
            problems += _range("burst_" + name, getattr(terms.burst, name), limit, HIGHEST_RATE)
            threshold = getattr(terms.burst, "threshold_" + name)
            problems += _range("burst_threshold_" + name, threshold, LOWEST_RATE, getattr(terms.burst, name))
    if terms.burst is not None:
        problems += _range("burst_seconds", terms.burst.seconds, 1, 3600)
    if terms.priority is not None:
        problems += _range("priority", terms.priority, 1, 8)
    return [FieldProblem(problem.field.removeprefix("rate_"), problem.problem, problem.detail) for problem in problems]


def _cap_problems(terms: PlanTerms) -> list[FieldProblem]:
    problems = []
    if terms.cap_octets is not None:
        problems += _range("cap_octets", terms.cap_octets, 1_000_000, 10**15)
    elif terms.cap_action is not CapAction.NOTHING:
        problems.append(FieldProblem("cap_octets", Problem.REQUIRED))
    if terms.cap_action is CapAction.THROTTLE:
        for name in ("throttle_download", "throttle_upload"):
            rate = getattr(terms, name)
            if rate is None:
                problems.append(FieldProblem(name, Problem.REQUIRED))
            else:
                problems += _range(name, rate, LOWEST_RATE, HIGHEST_RATE)
    elif (terms.throttle_download is None) != (terms.throttle_upload is None):
        # A rate that is not used is kept, so that switching the action back finds it again; but never half of one.
        problems.append(FieldProblem("throttle_upload", Problem.BOTH_OR_NEITHER))
    return problems


def _fair_use_problems(terms: PlanTerms) -> list[FieldProblem]:
    """Steps never make faster, the later of a span never faster than the earlier; extras need a cap to add to."""
    problems = _range("steps", len(terms.steps), 0, MOST_STEPS)
    for number, step in enumerate(terms.steps):
        problems += _range(f"steps-{number}-octets", step.octets, 1_000_000, 10**15)
        earlier = [other for other in terms.steps if other.span is step.span and other.octets < step.octets]
        for name in ("download", "upload"):
            most = min([getattr(terms, name), *(getattr(other, name) for other in earlier)])
            problems += _range(f"steps-{number}-{name}", getattr(step, name), LOWEST_RATE, max(most, LOWEST_RATE))
        if any(other.span is step.span and other.octets == step.octets for other in terms.steps[:number]):
            problems.append(FieldProblem(f"steps-{number}-octets", Problem.TAKEN))
    problems += _range("bonus_hours", len(terms.bonus_hours), 0, MOST_WINDOWS)
    for number, bonus in enumerate(terms.bonus_hours):
        if not bonus.days or not set(bonus.days) <= set(range(1, 8)):
            problems.append(FieldProblem(f"bonus_hours-{number}-days", Problem.REQUIRED))
        problems += _range(f"bonus_hours-{number}-begin", bonus.begin, 0, 23)
        problems += _range(f"bonus_hours-{number}-until", bonus.until, 0, 24)
        problems += _range(f"bonus_hours-{number}-percent", bonus.percent, 0, 99)
    problems += _range("rollover_periods", terms.rollover_periods, 0, 12)
    problems += _range("top_ups_automatic", terms.top_ups_automatic, 0, 30)
    if terms.rollover_most is not None:
        problems += _range("rollover_most", terms.rollover_most, 1_000_000, 10**15)
    if terms.rollover_periods and terms.cap_octets is None:
        problems.append(FieldProblem("cap_octets", Problem.REQUIRED))
    return problems + _top_up_problems(terms)


def _top_up_problems(terms: PlanTerms) -> list[FieldProblem]:
    problems = []
    if terms.top_up_octets is None:
        if terms.top_up_price is not None or terms.top_ups_automatic:
            problems.append(FieldProblem("top_up_octets", Problem.REQUIRED))
        return problems
    problems += _range("top_up_octets", terms.top_up_octets, 1_000_000, 10**15)
    if terms.top_up_price is None:
        problems.append(FieldProblem("top_up_price", Problem.REQUIRED))
    else:
        problems += _price_problems("top_up_price", terms.top_up_price)
    if terms.cap_octets is None and not any(step.span is Span.MONTH for step in terms.steps):
        problems.append(FieldProblem("cap_octets", Problem.REQUIRED))
    return problems


def _boost_problems(terms: PlanTerms) -> list[FieldProblem]:
    """A boost is offered whole or not at all, and is faster than the plan."""
    offered = (terms.boost_download, terms.boost_upload, terms.boost_hours, terms.boost_price)
    if all(value is None for value in offered):
        return []
    problems = []
    for name, low, high in (
        ("boost_download", terms.download + 1, HIGHEST_RATE),
        ("boost_upload", terms.upload, HIGHEST_RATE),
        ("boost_hours", 1, LONGEST_BOOST),
        ("boost_price", 0, HIGHEST_PRICE),
    ):
        value = getattr(terms, name)
        if value is None:
            problems.append(FieldProblem(name, Problem.REQUIRED))
        elif not low <= value <= high:
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)}))
    return problems


def _window_problems(terms: PlanTerms) -> list[FieldProblem]:
    problems = []
    if len(terms.windows) > MOST_WINDOWS:
        problems += _range("windows", len(terms.windows), 0, MOST_WINDOWS)
    for number, window in enumerate(terms.windows):
        if not window.days or not set(window.days) <= set(range(1, 8)):
            problems.append(FieldProblem(f"windows-{number}-days", Problem.REQUIRED))
        problems += _range(f"windows-{number}-download", window.download, LOWEST_RATE, HIGHEST_RATE)
        problems += _range(f"windows-{number}-upload", window.upload, LOWEST_RATE, HIGHEST_RATE)
    return problems


def _time_problems(terms: PlanTerms) -> list[FieldProblem]:
    problems = []
    for name in ("session_timeout", "idle_timeout"):
        value = getattr(terms, name)
        if value is not None:
            problems += _minutes(name, value, timedelta(minutes=1), LONGEST_TIMEOUT)
    return problems + _minutes("interim_interval", terms.interim_interval, SHORTEST_INTERIM, timedelta(days=1))


def _minutes(name: str, value: timedelta, low: timedelta, high: timedelta) -> list[FieldProblem]:
    if low <= value <= high:
        return []
    minute = timedelta(minutes=1)
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": f"{low / minute:g}", "high": f"{high / minute:g}"})]


def _range(name: str, value: int, low: int, high: int) -> list[FieldProblem]:
    if low <= value <= high:
        return []
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)})]
