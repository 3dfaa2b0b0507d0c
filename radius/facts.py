"""Facts for decisions, read from PostgreSQL.

The publisher, the worker and the help-desk page all come through here, so they decide from the same facts. Plain
psycopg: the publisher reads a million services with it.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg

from aaa.cut_off import CutOffRule
from aaa.facts import (
    AccessMethod,
    Boost,
    CapAction,
    DataCap,
    Extra,
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

Connection = psycopg.Connection[Any]


class StoredService(NamedTuple):
    """A service's facts, with its password as it is stored (sealed)."""

    service: Service
    policy: Policy
    sealed_password: bytes | None


_SERVICES = """
SELECT s.id, s.operator_id, s.access_method, s.name, s.state, s.plan_id, coalesce(b.language, o.locale),
       s.suspended_at, s.suspension_cause, s.suspension_detail, s.management, s.paid_until,
       greatest(s.promised_until, s.held_until), s.prepaid,
       s.nas_id, s.rate_download, s.rate_upload, s.boost_download, s.boost_upload, s.boost_until,
       s.paying_until, host(s.framed_ip), s.framed_routes, text(s.framed_ipv6_prefix),
       text(s.delegated_ipv6_prefix), s.pool, s.session_limit, s.mac_binding,
       CASE WHEN s.mac_binding <> 'any'
            THEN ARRAY(SELECT m.mac::text FROM service_mac m WHERE m.service_id = s.id) END,
       s.max_macs, greatest(coalesce(u.octets_in + u.octets_out - u.octets_free, 0), 0),
       coalesce(u.rolled_over, 0) + CASE WHEN s.top_up_until > %(now)s THEN s.top_up_octets ELSE 0 END,
       u.period_end, ud.octets, ud.ends, uw.octets, uw.ends, s.octets_left, s.extra, s.password,
       v.lookup, vb.lasts, vb.online, vb.ends_at, vb.octets, vb.best_before, vb.nas_ids, v.first_login_at,
       v.online_seconds, v.octets, x.started, x.heard, x.macs, x.reported
FROM service s
JOIN operator o ON o.id = s.operator_id
JOIN subscriber b ON b.id = s.subscriber_id
LEFT JOIN usage_period u ON u.service_id = s.id AND u.period_start <= %(now)s AND u.period_end > %(now)s
LEFT JOIN usage_span ud ON ud.service_id = s.id AND ud.span = 'day' AND ud.begins <= %(now)s AND ud.ends > %(now)s
LEFT JOIN usage_span uw ON uw.service_id = s.id AND uw.span = 'week' AND uw.begins <= %(now)s AND uw.ends > %(now)s
LEFT JOIN voucher v ON v.service_id = s.id
LEFT JOIN voucher_batch vb ON vb.id = v.batch_id
LEFT JOIN LATERAL (
    SELECT array_agg(x.started_at ORDER BY x.id) AS started, array_agg(x.updated_at ORDER BY x.id) AS heard,
           array_agg(x.mac::text ORDER BY x.id) AS macs, sum(x.session_time)::bigint AS reported
    FROM session x WHERE x.service_id = v.service_id AND x.ended_at IS NULL
) x ON v.service_id IS NOT NULL
"""
_IN_USE = " WHERE (s.state <> 'terminated' OR v.voided_at > %(now)s - interval '90 days')"
"""Services that the image has. A voucher that was cancelled is among them for a while, so that it is told why."""

_PLANS = """
SELECT id, name, download, upload, burst_download, burst_upload, burst_threshold_download, burst_threshold_upload,
       burst_seconds, priority, minimum_download, minimum_upload, cap_octets, cap_action, throttle_download,
       throttle_upload, windows, steps, pool, ipv6_pool, delegated_ipv6_pool, address_list, session_timeout,
       idle_timeout, interim_interval, extra
FROM rate_plan
"""

_POLICIES = """
SELECT id, name, timezone, active, suspended_action, garden_download, garden_upload, garden_address_list,
       active_address_list, garden_pool, garden_timeout, dhcp_timeout, gardens,
       outage_action, outage_after,
       grace_days, cut_off_hour, cut_off_weekdays, holiday_country, holiday_subdivision, days_off
FROM operator
"""

_OPEN_SESSIONS = """
SELECT x.service_id, x.nas_id, coalesce(n.name, ''), x.acct_session_id, x.mac::text
FROM session x LEFT JOIN nas n ON n.id = x.nas_id
WHERE x.ended_at IS NULL AND x.service_id = ANY(%(ids)s)
ORDER BY x.started_at
"""


class FactsReader:
    """Reads facts over one connection, keeping plans and policies for as long as it lives.

    Make a new one for each piece of work: what it keeps is as old as it is.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._plans: dict[int, Plan] = {}
        self._policies: dict[int, tuple[Policy, CutOffRule]] = {}

    def services(self, ids: Iterable[int]) -> Iterator[StoredService]:
        """Yield the services of the given ids that exist; terminated ones too."""
        rows = self._connection.execute(_SERVICES + " WHERE s.id = ANY(%(ids)s)", {"now": self._now, "ids": list(ids)})
        return map(self._service, rows.fetchall())

    def service_named(self, operator_id: int, name: str) -> StoredService | None:
        """Return the service in use under exactly this name, if there is one."""
        row = self._connection.execute(
            _SERVICES + " WHERE s.operator_id = %(operator)s AND s.name = %(name)s AND s.state <> 'terminated'",
            {"now": self._now, "operator": operator_id, "name": name},
        ).fetchone()
        return self._service(row) if row else None

    def all_services(self) -> Iterator[StoredService]:
        """Yield every service that the image has, without holding them all in memory."""
        with self._connection.cursor(name="services") as cursor:
            cursor.itersize = 5000
            cursor.execute(_SERVICES + _IN_USE, {"now": self._now})
            for row in cursor:
                yield self._service(row)

    def policy(self, operator_id: int) -> Policy:
        """Return an operator's policy. Raises LookupError."""
        return self._policy(operator_id)[0]

    def plan(self, plan_id: int) -> Plan:
        """Return a rate plan. Raises LookupError."""
        if plan_id not in self._plans:
            row = self._connection.execute(_PLANS + " WHERE id = %s", (plan_id,)).fetchone()
            if row is None:
                raise LookupError(f"rate plan {plan_id}")
            self._plans[plan_id] = _plan(row)
        return self._plans[plan_id]

    def open_sessions(self, service_ids: Iterable[int]) -> dict[int, tuple[OpenSession, ...]]:
        """Return the open sessions of each service that has any."""
        found: dict[int, tuple[OpenSession, ...]] = {}
        for service_id, nas_id, nas_name, acct_session_id, mac in self._connection.execute(
            _OPEN_SESSIONS, {"ids": list(service_ids)}
        ):
            found[service_id] = (*found.get(service_id, ()), OpenSession(nas_id, nas_name, acct_session_id, mac))
        return found

    def _policy(self, operator_id: int) -> tuple[Policy, CutOffRule]:
        if operator_id not in self._policies:
            row = self._connection.execute(_POLICIES + " WHERE id = %s", (operator_id,)).fetchone()
            if row is None:
                raise LookupError(f"operator {operator_id}")
            self._policies[operator_id] = _policy(row)
        return self._policies[operator_id]

    def _service(self, row: tuple[Any, ...]) -> StoredService:
        (
            service_id, operator_id, method, name, state, plan_id, language, suspended_at, cause, detail, management,
            paid_until, spared_until, prepaid, nas_id, rate_download, rate_upload, boost_download, boost_upload,
            boost_until, paying_until, framed_ip, routes, ipv6_prefix, delegated, pool, session_limit, binding, macs,
            max_macs, used, allowed, period_end, today, day_ends, this_week, week_ends, octets_left, extra, password,
            *code,
        ) = row  # fmt: skip
        policy, rule = self._policy(operator_id)
        rule = rule.for_prepaid() if prepaid else rule
        service = Service(
            id=service_id,
            operator_id=operator_id,
            access_method=AccessMethod(method),
            name=name,
            state=ServiceState(state),
            plan=self.plan(plan_id),
            language=language,
            suspension=Suspension(suspended_at, cause or "staff", detail) if suspended_at else None,
            paid_until=rule.cut_off(paid_until, spared_until) if paid_until and management == "automatic" else None,
            router_id=nas_id,
            rate=RateLimit(rate_download, rate_upload) if rate_download else None,
            boost=Boost(RateLimit(boost_download, boost_upload), boost_until) if boost_until else None,
            paying_until=paying_until,
            framed_ip=framed_ip,
            framed_routes=tuple(routes),
            framed_ipv6_prefix=ipv6_prefix,
            delegated_ipv6_prefix=delegated,
            pool=pool,
            session_limit=session_limit,
            mac_binding=MacBinding(binding),
            macs=frozenset(macs or ()),
            max_macs=max_macs,
            used_octets=used,
            extra_octets=allowed,
            period_ends=period_end,
            used_today=UsedIn(today, day_ends) if day_ends is not None else None,
            used_this_week=UsedIn(this_week, week_ends) if week_ends is not None else None,
            octets_left=octets_left,
            extra=_extra(extra),
            voucher=_voucher(*code) if code[0] is not None else None,
        )
        return StoredService(service, policy, password)


def _policy(row: tuple[Any, ...]) -> tuple[Policy, CutOffRule]:
    (
        operator_id, name, zone, active, action, garden_download, garden_upload, garden_list, active_list, garden_pool,
        garden_timeout, dhcp_timeout, gardens, outage_action, outage_after, *cutting,
    ) = row  # fmt: skip
    policy = Policy(
        id=operator_id,
        name=name,
        zone=ZoneInfo(zone),
        active=active,
        suspended_action=SuspendedAction(action),
        garden_rate=RateLimit(garden_download, garden_upload),
        garden_address_list=garden_list,
        active_address_list=active_list,
        garden_pool=garden_pool,
        gardens={GardenCause(cause): Garden(**garden) for cause, garden in gardens.items()},
        garden_timeout=garden_timeout,
        dhcp_timeout=dhcp_timeout,
        outage_action=OutageAction(outage_action),
        outage_after=outage_after,
    )
    return policy, _cut_off_rule(policy.zone, *cutting)


def _cut_off_rule(
    zone: ZoneInfo,
    grace_days: int,
    hour: int,
    weekdays: list[int],
    country: str | None,
    subdivision: str | None,
    days_off: list[date],
) -> CutOffRule:
    return CutOffRule(zone, grace_days, hour, frozenset(weekdays), country, subdivision, frozenset(days_off))


def _voucher(
    lookup: str,
    lasts: int | None,
    online: int | None,
    ends: datetime | None,
    octets: int | None,
    best_before: datetime | None,
    nas_ids: list[int],
    first_login: datetime | None,
    online_seconds: int,
    octets_used: int,
    started: list[datetime] | None,
    heard: list[datetime] | None,
    macs: list[str | None] | None,
    reported: int | None,
) -> Voucher:
    return Voucher(
        lookup=lookup,
        lasts=timedelta(seconds=lasts) if lasts is not None else None,
        online=timedelta(seconds=online) if online is not None else None,
        ends=ends,
        octets=octets,
        best_before=best_before,
        nas_ids=frozenset(nas_ids),
        first_login=first_login,
        online_used=timedelta(seconds=max(0, online_seconds - (reported or 0))),
        octets_used=octets_used,
        open=tuple(map(OpenUse, started or (), heard or (), macs or ())),
    )


def _plan(row: tuple[Any, ...]) -> Plan:
    (
        plan_id, name, download, upload, burst_download, burst_upload, threshold_download, threshold_upload, seconds,
        priority, minimum_download, minimum_upload, cap_octets, cap_action, throttle_download, throttle_upload, windows,
        steps, pool, ipv6_pool, delegated_ipv6_pool, address_list, session_timeout, idle_timeout, interim_interval,
        extra,
    ) = row  # fmt: skip
    burst = (
        Burst(burst_download, burst_upload, threshold_download, threshold_upload, seconds) if burst_download else None
    )
    cap = None
    if cap_octets is not None:
        throttle = RateLimit(throttle_download, throttle_upload) if throttle_download else None
        cap = DataCap(cap_octets, CapAction(cap_action), throttle if cap_action == "throttle" else None)
    return Plan(
        id=plan_id,
        name=name,
        rate=RateLimit(download, upload, burst, priority, minimum_download, minimum_upload),
        cap=cap,
        windows=tuple(time_window(window) for window in windows),
        steps=tuple(fair_use_step(step) for step in steps),
        pool=pool,
        ipv6_pool=ipv6_pool,
        delegated_ipv6_pool=delegated_ipv6_pool,
        address_list=address_list,
        session_timeout=session_timeout,
        idle_timeout=idle_timeout,
        interim_interval=interim_interval,
        extra=_extra(extra),
    )


def time_window(document: dict[str, Any]) -> TimeWindow:
    """Read one entry of `rate_plan.windows`."""
    return TimeWindow(
        frozenset(document["days"]),
        time.fromisoformat(document["begin"]),
        time.fromisoformat(document["until"]),
        RateLimit(document["download"], document["upload"]),
    )


def fair_use_step(document: dict[str, Any]) -> Step:
    """Read one entry of `rate_plan.steps`."""
    return Step(Span(document["span"]), document["octets"], RateLimit(document["download"], document["upload"]))


def _extra(rows: list[list[str]]) -> tuple[Extra, ...]:
    return tuple((name, operator, value) for name, operator, value in rows)
