"""Facts as plain tuples that marshal can write, and back: the form in which the image holds them."""

import marshal
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aaa.facts import (
    AccessMethod,
    Boost,
    CapAction,
    DataCap,
    Garden,
    GardenCause,
    MacBinding,
    OpenSession,
    OpenUse,
    OutageAction,
    Plan,
    Policy,
    Service,
    ServiceState,
    Span,
    Step,
    SuspendedAction,
    Suspension,
    TimeWindow,
    UsedIn,
    Voucher,
)
from core.rates import Burst, RateLimit

Plain = tuple[Any, ...]


def pack_service(service: Service) -> bytes:
    """Return a service's facts but its plan, of which only the id is kept."""
    suspension = service.suspension
    return marshal.dumps(
        (
            service.id,
            service.operator_id,
            service.access_method.value,
            service.name,
            service.state.value,
            service.plan.id,
            service.language,
            (suspension.since.timestamp(), suspension.cause, suspension.detail) if suspension else None,
            _epoch(service.paid_until),
            service.router_id,
            _rate(service.rate),
            (_rate(service.boost.rate), service.boost.until.timestamp()) if service.boost else None,
            _epoch(service.paying_until),
            service.framed_ip,
            service.framed_routes,
            service.framed_ipv6_prefix,
            service.delegated_ipv6_prefix,
            service.pool,
            service.session_limit,
            service.mac_binding.value,
            tuple(service.macs),
            service.max_macs,
            service.used_octets,
            service.extra_octets,
            _epoch(service.period_ends),
            _used(service.used_today),
            _used(service.used_this_week),
            service.octets_left,
            service.extra,
            _plain_voucher(service.voucher) if service.voucher is not None else None,
        ),
        4,
    )


def plan_id_of(packed: bytes) -> int:
    plan_id: int = marshal.loads(packed)[5]  # noqa: S302
    return plan_id


def unpack_service(packed: bytes, plan: Plan) -> Service:
    (
        service_id, operator_id, method, name, state, _plan_id, language, suspension, paid_until, router_id, rate,
        boost, paying_until, framed_ip, routes, ipv6_prefix, delegated, pool, session_limit, binding, macs, max_macs,
        used, allowed, period_ends, today, this_week, octets_left, extra, voucher,
    ) = marshal.loads(packed)  # fmt: skip  # noqa: S302 - from the image, whose checksums are verified
    return Service(
        id=service_id,
        operator_id=operator_id,
        access_method=AccessMethod(method),
        name=name,
        state=ServiceState(state),
        plan=plan,
        language=language,
        suspension=Suspension(_instant(suspension[0]), *suspension[1:]) if suspension else None,
        paid_until=_optional_instant(paid_until),
        router_id=router_id,
        rate=_read_rate(rate),
        boost=Boost(_rate_of(boost[0]), _instant(boost[1])) if boost else None,
        paying_until=_optional_instant(paying_until),
        framed_ip=framed_ip,
        framed_routes=routes,
        framed_ipv6_prefix=ipv6_prefix,
        delegated_ipv6_prefix=delegated,
        pool=pool,
        session_limit=session_limit,
        mac_binding=MacBinding(binding),
        macs=frozenset(macs),
        max_macs=max_macs,
        used_octets=used,
        extra_octets=allowed,
        period_ends=_optional_instant(period_ends),
        used_today=_read_used(today),
        used_this_week=_read_used(this_week),
        octets_left=octets_left,
        extra=extra,
        voucher=_read_voucher(voucher) if voucher is not None else None,
    )


def _plain_voucher(voucher: Voucher) -> Plain:
    return (
        voucher.lookup,
        _seconds(voucher.lasts),
        _seconds(voucher.online),
        _epoch(voucher.ends),
        voucher.octets,
        _epoch(voucher.best_before),
        tuple(voucher.nas_ids),
        _epoch(voucher.first_login),
        voucher.online_used.total_seconds(),
        voucher.octets_used,
        tuple((use.started.timestamp(), use.heard.timestamp(), use.mac) for use in voucher.open),
    )


def _read_voucher(plain: Plain) -> Voucher:
    (
        lookup, lasts, online, ends, octets, best_before, nas_ids, first_login, online_used, octets_used, opened,
    ) = plain  # fmt: skip
    return Voucher(
        lookup=lookup,
        lasts=_length(lasts),
        online=_length(online),
        ends=_optional_instant(ends),
        octets=octets,
        best_before=_optional_instant(best_before),
        nas_ids=frozenset(nas_ids),
        first_login=_optional_instant(first_login),
        online_used=timedelta(seconds=online_used),
        octets_used=octets_used,
        open=tuple(OpenUse(_instant(started), _instant(heard), mac) for started, heard, mac in opened),
    )


def plain_plan(plan: Plan) -> Plain:
    cap = plan.cap
    return (
        plan.id,
        plan.name,
        _rate(plan.rate),
        (cap.octets, cap.action.value, _rate(cap.throttle)) if cap else None,
        tuple(
            (tuple(window.days), window.begin.isoformat(), window.until.isoformat(), _rate(window.rate))
            for window in plan.windows
        ),
        tuple((step.span.value, step.octets, _rate(step.rate)) for step in plan.steps),
        plan.pool,
        plan.ipv6_pool,
        plan.delegated_ipv6_pool,
        plan.address_list,
        _seconds(plan.session_timeout),
        _seconds(plan.idle_timeout),
        _seconds(plan.interim_interval),
        plan.extra,
    )


def read_plan(plain: Plain) -> Plan:
    (
        plan_id, name, rate, cap, windows, steps, pool, ipv6_pool, delegated_ipv6_pool, address_list, session_timeout,
        idle_timeout, interim_interval, extra,
    ) = plain  # fmt: skip
    return Plan(
        id=plan_id,
        name=name,
        rate=_rate_of(rate),
        cap=DataCap(cap[0], CapAction(cap[1]), _read_rate(cap[2])) if cap else None,
        windows=tuple(
            TimeWindow(frozenset(days), time.fromisoformat(begin), time.fromisoformat(until), _rate_of(window_rate))
            for days, begin, until, window_rate in windows
        ),
        steps=tuple(Step(Span(span), octets, _rate_of(step_rate)) for span, octets, step_rate in steps),
        pool=pool,
        ipv6_pool=ipv6_pool,
        delegated_ipv6_pool=delegated_ipv6_pool,
        address_list=address_list,
        session_timeout=_length(session_timeout),
        idle_timeout=_length(idle_timeout),
        interim_interval=timedelta(seconds=interim_interval),
        extra=extra,
    )


def plain_policy(policy: Policy, locale: str) -> Plain:
    """Return an operator's policy and its language, in which strangers are answered."""
    return (
        policy.id,
        policy.name,
        policy.zone.key,
        policy.active,
        policy.suspended_action.value,
        _rate(policy.garden_rate),
        policy.garden_address_list,
        policy.active_address_list,
        policy.garden_pool,
        tuple((cause.value, garden.address_list, garden.pool) for cause, garden in sorted(policy.gardens.items())),
        _seconds(policy.garden_timeout),
        _seconds(policy.dhcp_timeout),
        policy.outage_action.value,
        policy.outage_after.total_seconds(),
        locale,
    )


def read_policy(plain: Plain) -> tuple[Policy, str]:
    (
        operator_id, name, zone, active, action, garden_rate, garden_list, active_list, garden_pool, gardens,
        garden_timeout, dhcp_timeout, outage_action, outage_after, locale,
    ) = plain  # fmt: skip
    policy = Policy(
        id=operator_id,
        name=name,
        zone=ZoneInfo(zone),
        active=active,
        suspended_action=SuspendedAction(action),
        garden_rate=_rate_of(garden_rate),
        garden_address_list=garden_list,
        active_address_list=active_list,
        garden_pool=garden_pool,
        gardens={GardenCause(cause): Garden(address_list, pool) for cause, address_list, pool in gardens},
        garden_timeout=timedelta(seconds=garden_timeout),
        dhcp_timeout=timedelta(seconds=dhcp_timeout),
        outage_action=OutageAction(outage_action),
        outage_after=timedelta(seconds=outage_after),
    )
    return policy, locale


def plain_sessions(sessions: tuple[OpenSession, ...]) -> Plain:
    return tuple((one.nas_id, one.nas_name, one.acct_session_id, one.mac) for one in sessions)


def read_sessions(plain: Plain) -> tuple[OpenSession, ...]:
    return tuple(OpenSession(*one) for one in plain)


def _rate(rate: RateLimit | None) -> Plain | None:
    if rate is None:
        return None
    burst = rate.burst
    return (
        rate.download,
        rate.upload,
        (burst.download, burst.upload, burst.threshold_download, burst.threshold_upload, burst.seconds)
        if burst
        else None,
        rate.priority,
        rate.minimum_download,
        rate.minimum_upload,
    )


def _rate_of(plain: Plain) -> RateLimit:
    download, upload, burst, priority, minimum_download, minimum_upload = plain
    return RateLimit(download, upload, Burst(*burst) if burst else None, priority, minimum_download, minimum_upload)


def _read_rate(plain: Plain | None) -> RateLimit | None:
    return None if plain is None else _rate_of(plain)


def _used(used: UsedIn | None) -> Plain | None:
    return None if used is None else (used.octets, used.ends.timestamp())


def _read_used(plain: Plain | None) -> UsedIn | None:
    return None if plain is None else UsedIn(plain[0], _instant(plain[1]))


def _epoch(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else _instant(seconds)


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())


def _length(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
