"""Reports of the network: routers on and off line, their load, circuit tests, and who connected."""

from typing import Any

from sqlalchemy import BigInteger, Date, Integer, Numeric, Select, and_, case, cast, func, select

from core.i18n import N_
from db.models import (
    AccountingSession,
    AuthEvent,
    CircuitTest,
    Nas,
    RatePlan,
    Router,
    RouterSample1h,
    RouterState,
    Sector,
    Service,
    Site,
    Subscriber,
    UsageHour,
)
from worker.reports.base import HUNDRED, Column, Report, Scope
from worker.reports.base import NETWORK as AREA


def _measured(scope: Scope) -> Any:
    """Return what was measured at each router in the days of the scope."""
    sample = RouterSample1h
    return (
        select(
            sample.nas_id,
            func.round(HUNDRED * func.sum(sample.answered) / func.nullif(func.sum(sample.polls), 0), 2).label("up"),
            cast(func.max(sample.wan_download_max), BigInteger).label("download"),
            cast(func.max(sample.wan_upload_max), BigInteger).label("upload"),
            cast(func.max(sample.cpu_max), Integer).label("cpu"),
            cast(func.max(sample.authenticated_max), Integer).label("people"),
        )
        .where(sample.operator_id == scope.operator_id, sample.at >= scope.since, sample.at < scope.until)
        .group_by(sample.nas_id)
        .subquery()
    )


def _gateways(scope: Scope) -> Select[*tuple[Any, ...]]:
    measured = _measured(scope)
    return (
        select(
            Nas.name.label("router"),
            func.host(Nas.address).label("address"),
            func.coalesce(RouterState.status, "unknown").label("state"),
            RouterState.status_since.label("since"),
            RouterState.checked_at.label("checked"),
            measured.c.up.label("up"),
            RouterState.board.label("board"),
            RouterState.version.label("version"),
            Nas.id.label("id"),
        )
        .select_from(Router)
        .join(Nas, Nas.id == Router.nas_id)
        .outerjoin(RouterState, RouterState.nas_id == Router.nas_id)
        .outerjoin(measured, measured.c.nas_id == Router.nas_id)
        .where(Router.operator_id == scope.operator_id)
    )


def _load(scope: Scope) -> Select[*tuple[Any, ...]]:
    measured = _measured(scope)
    online = (
        select(AccountingSession.nas_id, func.count().label("online"))
        .where(AccountingSession.operator_id == scope.operator_id, AccountingSession.ended_at.is_(None))
        .group_by(AccountingSession.nas_id)
        .subquery()
    )
    return (
        select(
            Nas.name.label("router"),
            func.coalesce(online.c.online, 0).label("online"),
            measured.c.people.label("people"),
            (measured.c.download / 1_000_000.0).label("download"),
            (measured.c.upload / 1_000_000.0).label("upload"),
            func.round(HUNDRED * measured.c.download / func.nullif(Router.wan_download, 0), 1).label("used"),
            measured.c.cpu.label("cpu"),
            Nas.id.label("id"),
        )
        .select_from(Nas)
        .outerjoin(Router, Router.nas_id == Nas.id)
        .outerjoin(online, online.c.nas_id == Nas.id)
        .outerjoin(measured, measured.c.nas_id == Nas.id)
        .where(Nas.operator_id == scope.operator_id)
    )


def _sectors(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Return how many hang on each sector, what was sold to them, and what went through in its busiest hour."""
    speed = func.coalesce(Service.rate_download, RatePlan.download)
    lines = (
        select(
            Service.sector_id,
            func.count().label("services"),
            func.sum(speed).filter(Service.state == "active").label("sold"),
        )
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .where(Service.operator_id == scope.operator_id, Service.state.in_(("active", "suspended", "paused")))
        .group_by(Service.sector_id)
        .subquery()
    )
    online = (
        select(Service.sector_id, func.count().label("online"))
        .join(AccountingSession, AccountingSession.service_id == Service.id)
        .where(AccountingSession.operator_id == scope.operator_id, AccountingSession.ended_at.is_(None))
        .group_by(Service.sector_id)
        .subquery()
    )
    hours = (
        select(Service.sector_id, UsageHour.hour, func.sum(UsageHour.octets_out).label("octets"))
        .join(Service, Service.id == UsageHour.service_id)
        .where(
            UsageHour.operator_id == scope.operator_id, UsageHour.hour >= scope.since, UsageHour.hour < scope.until,
            Service.sector_id.is_not(None),
        )
        .group_by(Service.sector_id, UsageHour.hour)
        .subquery()
    )  # fmt: skip
    busiest = select(hours.c.sector_id, func.max(hours.c.octets).label("octets")).group_by(hours.c.sector_id).subquery()
    rate = func.coalesce(busiest.c.octets, 0) * 8 / 3600
    capacity = func.nullif(Sector.capacity, 0)
    return (
        select(
            Site.name.label("site"),
            Sector.name.label("sector"),
            func.coalesce(lines.c.services, 0).label("services"),
            func.coalesce(online.c.online, 0).label("online"),
            (func.coalesce(lines.c.sold, 0) / 1_000_000.0).label("sold"),
            (rate / 1_000_000.0).label("busiest"),
            func.round(cast(HUNDRED * rate / capacity, Numeric), 1).label("used"),
            func.round(HUNDRED * func.coalesce(lines.c.services, 0) / func.nullif(Sector.most_services, 0), 1).label(
                "places"
            ),
            Sector.id.label("id"),
        )
        .join(Site, Site.id == Sector.site_id)
        .outerjoin(lines, lines.c.sector_id == Sector.id)
        .outerjoin(online, online.c.sector_id == Sector.id)
        .outerjoin(busiest, busiest.c.sector_id == Sector.id)
        .where(Sector.operator_id == scope.operator_id, Sector.in_use)
    )


def _circuits(scope: Scope) -> Select[*tuple[Any, ...]]:
    return (
        select(
            CircuitTest.started_at.label("at"),
            Subscriber.name.label("subscriber"),
            Service.name.label("service"),
            CircuitTest.nas_name.label("router"),
            CircuitTest.sector.label("sector"),
            func.coalesce(CircuitTest.verdict, "running").label("verdict"),
            Subscriber.id.label("subscriber_id"),
            CircuitTest.id.label("id"),
        )
        .join(Service, Service.id == CircuitTest.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(
            CircuitTest.operator_id == scope.operator_id,
            CircuitTest.started_at >= scope.since,
            CircuitTest.started_at < scope.until,
        )
    )


def _connected(scope: Scope) -> Select[*tuple[Any, ...]]:
    day = cast(func.timezone(scope.zone.key, AuthEvent.at), Date)
    known = and_(AuthEvent.service_id.is_not(None), AuthEvent.outcome == "accept")
    outcomes = {
        name: func.count().filter(AuthEvent.outcome == outcome)
        for name, outcome in (("accepted", "accept"), ("garden", "garden"), ("rejected", "reject"))
    }
    return (
        select(
            day.label("day"),
            func.count(case((known, AuthEvent.service_id)).distinct()).label("services"),
            *(count.label(name) for name, count in outcomes.items()),
            cast(func.extract("epoch", day), Integer).label("id"),
        )
        .where(AuthEvent.operator_id == scope.operator_id, AuthEvent.at >= scope.since, AuthEvent.at < scope.until)
        .group_by(day)
    )


NETWORK = (
    Report(
        "gateways", AREA, N_("Routers on and off line"),
        N_("Which routers answer, since when, and what share of the time they did."),
        "routers.view",
        (
            Column("router", N_("Router")),
            Column("address", N_("Address"), wide=True),
            Column("state", N_("State"), words="line"),
            Column("since", N_("Since"), "instant"),
            Column("checked", N_("Last looked at"), "instant", wide=True),
            Column("up", N_("Answered"), "percent"),
            Column("board", N_("Board"), wide=True),
            Column("version", N_("Version"), wide=True),
        ),
        _gateways, "router", spans=True, choice="state",
    ),
    Report(
        "load", AREA, N_("Load of routers"),
        N_("How many are on line at each router, its highest rates, and how much of its capacity that is."),
        "routers.view",
        (
            Column("router", N_("Router")),
            Column("online", N_("Online now"), "count"),
            Column("people", N_("Most at a time"), "count"),
            Column("download", N_("Highest download (Mbit/s)"), "decimal"),
            Column("upload", N_("Highest upload (Mbit/s)"), "decimal", wide=True),
            Column("used", N_("Of its capacity"), "percent"),
            Column("cpu", N_("Highest CPU load"), "percent", wide=True),
        ),
        _load, "-online", spans=True,
    ),
    Report(
        "sectors", AREA, N_("Load of sectors"),
        N_("How many hang on each antenna, what was sold to them, and how full its busiest hour was."),
        "routers.view",
        (
            Column("site", N_("Site")),
            Column("sector", N_("Sector")),
            Column("services", N_("Services"), "count"),
            Column("online", N_("Online now"), "count", wide=True),
            Column("sold", N_("Sold (Mbit/s)"), "decimal", wide=True),
            Column("busiest", N_("Busiest hour (Mbit/s)"), "decimal"),
            Column("used", N_("Of its capacity"), "percent"),
            Column("places", N_("Of its places"), "percent", wide=True),
        ),
        _sectors, "-used", spans=True,
    ),
    Report(
        "circuits", AREA, N_("Circuit tests"),
        N_("Which subscribers' lines were tested, and where the fault was."),
        "sessions.view",
        (
            Column("at", N_("When"), "instant"),
            Column("subscriber", N_("Subscriber")),
            Column("service", N_("Service"), wide=True),
            Column("router", N_("Router"), wide=True),
            Column("sector", N_("Sector"), wide=True),
            Column("verdict", N_("Where the fault is"), words="circuit_verdict"),
        ),
        _circuits, "-at", spans=True, choice="verdict",
    ),
    Report(
        "connected", AREA, N_("Logins per day"),
        N_("How many services logged in each day, and how many requests were accepted or refused."),
        "sessions.view",
        (
            Column("day", N_("Day"), "day"),
            Column("services", N_("Services that logged in"), "count"),
            Column("accepted", N_("Accepted"), "count"),
            Column("garden", N_("To the walled garden"), "count", wide=True),
            Column("rejected", N_("Refused"), "count"),
        ),
        _connected, "-day", spans=True, chart=("services", "rejected"),
    ),
)  # fmt: skip
