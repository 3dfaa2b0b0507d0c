"""The decision on one access. The order of the rules is the policy.

Each rule is a function that looks at the question and returns a decision when it is the one that settles it, else
None. `authorize()` takes the first answer; `explain()` walks the same rules and says what each one found, so that
the help desk reads exactly what the router was told. Without an `Access` the rules about the packet (password,
router, MAC, open sessions) do not apply: that is the standing decision, which live sessions are held against.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from aaa.decision import Accept, Decision, Explanation, Finding, Reason, Reject, Terms, WalledGarden
from aaa.extras import extras_of
from aaa.facts import (
    Access,
    AccessKind,
    AccessMethod,
    CapAction,
    Garden,
    GardenCause,
    MacBinding,
    OpenSession,
    OutageAction,
    Policy,
    Proof,
    Service,
    ServiceState,
    Span,
    SuspendedAction,
)
from aaa.fair_use import reached, slowed, used_in
from aaa.outage import in_outage
from aaa.vouchers import REPORTS, ends_by_itself, octets_granted, refusal, shares_volume, time_left
from aaa.windows import active_window, next_boundary
from core.rates import RateLimit

PAYING_RATE = RateLimit(1_000_000, 512_000)
"""Enough for a bank's page and its app, and nothing to stay for."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything one decision is made from."""

    service: Service
    policy: Policy
    now: datetime
    access: Access | None = None
    open_sessions: tuple[OpenSession, ...] = ()


Rule = Callable[[Question], Decision | None]


def authorize(
    service: Service | None,
    policy: Policy,
    now: datetime,
    access: Access | None = None,
    open_sessions: tuple[OpenSession, ...] = (),
) -> Decision:
    """Decide on an access of `service` (None: nobody is registered under that name)."""
    if service is None:
        return _unregistered(access)
    question = Question(service, policy, now, access, open_sessions)
    for rule in RULES:
        decision = rule(question)
        if decision is not None:
            return decision
    raise AssertionError("the last rule always answers")


def explain(
    service: Service | None,
    policy: Policy,
    now: datetime,
    access: Access | None = None,
    open_sessions: tuple[OpenSession, ...] = (),
) -> Explanation:
    """Return the decision of `authorize()` with what every rule up to the deciding one found."""
    if service is None:
        rejected = _unregistered(access)
        return Explanation(rejected, (Finding("registered", False, rejected.reason),), None)
    question = Question(service, policy, now, access, open_sessions)
    findings = [Finding("registered", True)]
    for rule in RULES:
        decision = rule(question)
        if decision is None:
            findings.append(Finding(rule.__name__, True))
            continue
        settled_well = isinstance(decision, Accept)
        findings.append(Finding(rule.__name__, settled_well, decision.reason, decision.detail))
        return Explanation(decision, tuple(findings), changes_at(service, policy, now))
    raise AssertionError("the last rule always answers")


def changes_at(service: Service, policy: Policy, now: datetime) -> datetime | None:
    """Return when the passing of time alone will next change the standing decision, or None."""
    paying = service.paying_until if service.paying_until is not None and service.paying_until > now else None
    if service.state is not ServiceState.ACTIVE:
        return paying if service.state is ServiceState.SUSPENDED else None
    instants = [paying, next_boundary(service.plan.windows, now, policy.zone), service.paid_until]
    if _cap_is_reached(service, now):
        instants.append(service.period_ends)
    instants += [ends for _, ends in reached(service, now)]
    if service.boost is not None:
        instants.append(service.boost.until)
    if service.voucher is not None:
        instants.append(ends_by_itself(service.voucher, now))
    return min((instant for instant in instants if instant is not None and instant > now), default=None)


def _unregistered(access: Access | None) -> Reject:
    if access is not None and access.guessing:
        return Reject(Reason.TOO_MANY_ATTEMPTS)  # of access codes, whether this one was right or not
    by_mac = access is not None and access.proof is Proof.NOT_NEEDED
    return Reject(Reason.MAC_NOT_REGISTERED if by_mac else Reason.UNKNOWN_SUBSCRIBER)


# The rules, in order.


def not_guessing(question: Question) -> Decision | None:
    """Guessing is limited here, not by delaying rejects: RouterOS gives up after 300 ms."""
    if question.access is not None and question.access.guessing:
        return Reject(Reason.TOO_MANY_ATTEMPTS)
    return None


def password(question: Question) -> Decision | None:
    match question.access.proof if question.access is not None else Proof.NOT_NEEDED:
        case Proof.WRONG:
            return Reject(Reason.WRONG_PASSWORD)
        case Proof.MISSING:
            return Reject(Reason.NO_PASSWORD)
    return None


def operator_active(question: Question) -> Decision | None:
    if not question.policy.active:
        return Reject(Reason.OPERATOR_SUSPENDED)
    return None


def by_radius(question: Question) -> Decision | None:
    """A simple queue never asks: who logs in under its name is refused. What it should have stands all the same."""
    if question.access is not None and question.service.access_method is AccessMethod.QUEUE:
        return Reject(Reason.NOT_VIA_RADIUS)
    return None


def in_service(question: Question) -> Decision | None:
    match question.service.state:
        case ServiceState.TERMINATED:
            return Reject(Reason.TERMINATED if question.service.voucher is None else Reason.CODE_VOID)
        case ServiceState.PENDING:
            return Reject(Reason.PENDING)
    return None


def router(question: Question) -> Decision | None:
    access, wanted = question.access, question.service.router_id
    if access is not None and wanted is not None and access.nas.id != wanted:
        return Reject(Reason.OTHER_ROUTER, detail={"nas": access.nas.name})
    voucher = question.service.voucher
    if access is not None and voucher is not None and voucher.nas_ids and access.nas.id not in voucher.nas_ids:
        return Reject(Reason.OTHER_ROUTER, detail={"nas": access.nas.name})
    return None


def something_left(question: Question) -> Decision | None:
    """A voucher ends by the clock, the calendar, its time online or its volume, whichever comes first."""
    voucher, access = question.service.voucher, question.access
    if voucher is None:
        return None
    reason = refusal(voucher, question.now, asked=access is not None, mac=access.mac if access is not None else None)
    return None if reason is None else Reject(reason)


def device(question: Question) -> Decision | None:
    service, access = question.service, question.access
    if access is None or service.mac_binding is MacBinding.ANY:
        return None
    room_to_learn = service.mac_binding is MacBinding.LEARN and len(service.macs) < service.max_macs
    if access.mac in service.macs or (room_to_learn and access.mac is not None):
        return None
    return Reject(Reason.MAC_NOT_ALLOWED, detail={"mac": access.mac or ""})


def session_limit(question: Question) -> Decision | None:
    """Refuse one session too many.

    A session of the same device, or of the same id, is the one being replaced: the router that lost power, or
    whose Stop was lost, sends its client back with the old session still open here.
    """
    service, access = question.service, question.access
    if access is None or service.session_limit == 0 or len(question.open_sessions) < service.session_limit:
        return None
    others = [
        other
        for other in question.open_sessions
        if not (
            (other.mac is not None and other.mac == access.mac)
            or (other.nas_id == access.nas.id and other.acct_session_id == access.acct_session_id)
        )
    ]
    if len(others) < service.session_limit:
        return None
    reason = Reason.SESSION_LIMIT if service.voucher is None else Reason.CODE_IN_USE
    return Reject(reason, detail={"limit": str(service.session_limit), "nas": others[0].nas_name})


def not_paused(question: Question) -> Decision | None:
    if question.service.state is ServiceState.PAUSED:
        return _turned_away(question, Reason.PAUSED, {})
    return None


def not_suspended(question: Question) -> Decision | None:
    service = question.service
    if service.state is not ServiceState.SUSPENDED or _pays_now(question):
        return None
    suspension = service.suspension
    if suspension is None:
        return _turned_away(question, Reason.SUSPENDED_BY_STAFF, {})
    reason = Reason.SUSPENDED_OVERDUE if suspension.cause == "overdue" else Reason.SUSPENDED_BY_STAFF
    since = suspension.since.astimezone(question.policy.zone).date().isoformat()
    return _turned_away(question, reason, {"since": since, "detail": suspension.detail})


def paid(question: Question) -> Decision | None:
    """The date decides, not the job that suspends: nobody stays on because a worker was down."""
    until = question.service.paid_until
    if until is None or question.now < until or _pays_now(question) or _spared(question, until):
        return None
    since = until.astimezone(question.policy.zone).date().isoformat()
    return _turned_away(question, Reason.OVERDUE, {"since": since})


def volume_left(question: Question) -> Decision | None:
    left = question.service.octets_left
    if left is not None and left <= 0:
        return Reject(Reason.VOLUME_USED_UP)
    return None


def below_cap(question: Question) -> Decision | None:
    service = question.service
    if _cap_reached(question) and service.plan.cap is not None and service.plan.cap.action is CapAction.BLOCK:
        return _turned_away(question, Reason.CAP_REACHED, {"cap": str(service.plan.cap.octets + service.extra_octets)})
    return None


def up_to_date(question: Question) -> Decision | None:
    """Asked after all that cuts, so that who was cut hears why: this is about those who would be let in."""
    access = question.access
    if access is None or in_outage(question.policy, access.known_at, question.now) is not OutageAction.REFUSE:
        return None
    if _renews(question, access):
        return None
    assert access.known_at is not None
    known_at = access.known_at.astimezone(question.policy.zone)
    return Reject(Reason.OUT_OF_DATE, detail={"since": known_at.strftime("%Y-%m-%d %H:%M")})


def terms(question: Question) -> Decision:
    """Grant the plan: the rate of the hour, slower where the cap or steps of fair use are reached.

    What is reached never makes faster. A boost lifts any of these, and never slows down: a free night may be faster
    than what was bought.
    """
    service, plan, policy = question.service, question.service.plan, question.policy
    reason, rate = None, service.rate or plan.rate
    if window := active_window(plan.windows, question.now, policy.zone):
        reason, rate = Reason.TIME_WINDOW, window.rate
    limits = [step.rate for step, _ in reached(service, question.now)]
    if limits:
        reason = Reason.FAIR_USE
    if _cap_reached(question) and plan.cap is not None and plan.cap.throttle is not None:
        reason, limits = Reason.CAP_THROTTLED, [*limits, plan.cap.throttle]
    rate = slowed(rate, limits)
    boost = service.boost
    if boost is not None and question.now < boost.until and boost.rate.download > rate.download:
        reason, rate = Reason.BOOSTED, boost.rate
    if _pays_now(question):
        reason, rate = Reason.PAYING, slowed(rate, [PAYING_RATE])
    granted = Terms(
        rate=rate,
        address_list=plan.address_list or policy.active_address_list,
        framed_ip=service.framed_ip,
        framed_routes=service.framed_routes,
        pool=None if service.framed_ip else service.pool or plan.pool,
        framed_ipv6_prefix=service.framed_ipv6_prefix,
        delegated_ipv6_prefix=service.delegated_ipv6_prefix,
        ipv6_pool=None if service.framed_ipv6_prefix else plan.ipv6_pool,
        delegated_ipv6_pool=None if service.delegated_ipv6_prefix else plan.delegated_ipv6_pool,
        session_timeout=plan.session_timeout,
        idle_timeout=plan.idle_timeout,
        interim_interval=_reports(service),
        extra=extras_of(plan, service),
    )
    volume, length = service.octets_left, None
    if service.voucher is not None:
        mac = question.access.mac if question.access else None
        volume = octets_granted(service.voucher, mac)
        length = time_left(service.voucher, question.now, mac)
    return Accept(granted, reason, octets_left=volume, lease=_lease(question), time_left=length)


def _reports(service: Service) -> timedelta:
    """Return how often sessions report what they use."""
    if service.voucher is not None and shares_volume(service.voucher, service.session_limit):
        return min(service.plan.interim_interval, REPORTS)
    return service.plan.interim_interval


RULES: tuple[Rule, ...] = (
    not_guessing,
    password,
    operator_active,
    by_radius,
    in_service,
    router,
    something_left,
    device,
    session_limit,
    not_paused,
    not_suspended,
    paid,
    volume_left,
    below_cap,
    up_to_date,
    terms,
)


def _pays_now(question: Question) -> bool:
    """Tell whether a service that is overdue is being paid at this moment: then everything opens for some minutes.

    A bank asks its customer on a page of its own, which may be anywhere, or by an app; no walled garden names them all.
    """
    service, now = question.service, question.now
    if service.paying_until is None or now >= service.paying_until:
        return False
    if service.state is ServiceState.SUSPENDED:
        return service.suspension is not None and service.suspension.cause == "overdue"
    return service.paid_until is not None and now >= service.paid_until


def _spared(question: Question, until: datetime) -> bool:
    """Tell whether a date ran out only since the news stopped, and the operator cuts nobody by such a date."""
    access = question.access
    if access is None or access.known_at is None or until <= access.known_at:
        return False
    return in_outage(question.policy, access.known_at, question.now) is OutageAction.SPARE


def _renews(question: Question, access: Access) -> bool:
    """Tell whether a device asks to keep its DHCP lease: refused, it would be cut in the middle of its session."""
    known = access.mac is not None and any(other.mac == access.mac for other in question.open_sessions)
    return access.kind is AccessKind.DHCP and known


def _cap_reached(question: Question) -> bool:
    return _cap_is_reached(question.service, question.now)


def _cap_is_reached(service: Service, now: datetime) -> bool:
    cap = service.plan.cap
    return cap is not None and used_in(service, Span.MONTH, now)[0] >= cap.octets


def _turned_away(question: Question, reason: Reason, detail: dict[str, str]) -> Decision:
    """Lead into the walled garden, or refuse, as the operator chose."""
    policy, service = question.policy, question.service
    if policy.suspended_action is SuspendedAction.REJECT:
        return Reject(reason, detail)
    cause = _GARDEN_CAUSES.get(reason)
    garden = policy.gardens.get(cause, Garden()) if cause is not None else Garden()
    garden_pool = garden.pool or policy.garden_pool
    fixed = None if garden_pool else service.framed_ip
    granted = Terms(
        rate=policy.garden_rate,
        address_list=garden.address_list or policy.garden_address_list,
        framed_ip=fixed,
        pool=garden_pool or (None if fixed else service.pool or service.plan.pool),
        session_timeout=policy.garden_timeout,
        interim_interval=service.plan.interim_interval,
    )
    return WalledGarden(reason, granted, lease=_lease(question), detail=detail)


_GARDEN_CAUSES = {
    Reason.SUSPENDED_OVERDUE: GardenCause.OVERDUE,
    Reason.OVERDUE: GardenCause.OVERDUE,
    Reason.SUSPENDED_BY_STAFF: GardenCause.STAFF,
    Reason.PAUSED: GardenCause.PAUSED,
    Reason.CAP_REACHED: GardenCause.USED_UP,
    Reason.VOLUME_USED_UP: GardenCause.USED_UP,
}


def _lease(question: Question) -> timedelta | None:
    if question.access is not None and question.access.kind is AccessKind.DHCP:
        return question.policy.dhcp_timeout
    return None
