"""Who is connected at a router: those let in, those that wait; top talkers; and one subscriber's rate, live."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from db.models import AccountingSession, LiveWatch, Nas, Service, Subscriber, UsageHour, WaitingDevice
from portal import context
from portal.labels import choices, label
from portal.permissions import Permission, requires
from portal.radius_words import word
from portal.router_page import router_or_404, router_page
from portal.router_words import cause_title
from portal.staff.monitoring import tabs
from portal.tables import Column, Filter, Table, page_of, show

blueprint = Blueprint("clients", __name__)

WATCHED_FOR = timedelta(seconds=6)
"""A page that asks each second is gone when it has not asked for so long."""
FRESH = timedelta(seconds=5)
WINDOWS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
TALKERS = 50

_OPEN = AccountingSession.ended_at.is_(None)

AUTHENTICATED = Table(
    name="authenticated",
    columns=(
        Column("user", _l("User name"), lambda row: row.AccountingSession.user_name, AccountingSession.user_name),
        Column("subscriber", _l("Subscriber"), lambda row: row.Subscriber.name if row.Subscriber else "",
               Subscriber.name),
        Column("address", _l("Address"), lambda row: row.AccountingSession.framed_ip, AccountingSession.framed_ip),
        Column("mac", _l("MAC address"), lambda row: row.AccountingSession.mac, wide=True),
        Column("kind", _l("By"), lambda row: word("kind", row.AccountingSession.kind), wide=True),
        Column("port", _l("Port"), lambda row: row.AccountingSession.nas_port_id, AccountingSession.nas_port_id,
               wide=True),
        Column("since", _l("Since"), lambda row: row.AccountingSession.started_at, AccountingSession.started_at),
        Column("download", _l("Download"), lambda row: row.AccountingSession.octets_out,
               AccountingSession.octets_out, numeric=True, wide=True),
        Column("upload", _l("Upload"), lambda row: row.AccountingSession.octets_in, AccountingSession.octets_in,
               numeric=True, wide=True),
    ),
    order="user",
    tie=AccountingSession.id,
    search=lambda words: AccountingSession.user_name.icontains(words, autoescape=True)
    | Subscriber.name.icontains(words, autoescape=True)
    | func.host(AccountingSession.framed_ip).startswith(words),
    search_hint=_l("User name, subscriber or address"),
)  # fmt: skip

WAITING = Table(
    name="not-authenticated",
    columns=(
        Column("mac", _l("MAC address"), lambda row: row.mac, WaitingDevice.mac),
        Column("address", _l("Address"), lambda row: row.address, WaitingDevice.address),
        Column("host_name", _l("Device"), lambda row: row.host_name, WaitingDevice.host_name),
        Column("source", _l("Seen by"), lambda row: label("device_source", row.source)),
        Column("server", _l("Server"), lambda row: row.server, wide=True),
        Column("since", _l("Since"), lambda row: row.first_seen_at, WaitingDevice.first_seen_at),
    ),
    order="-since",
    tie=WaitingDevice.mac,
    filters=(
        Filter("source", _l("Seen by"), lambda: choices("device_source"), lambda value: WaitingDevice.source == value),
    ),
    search=lambda words: WaitingDevice.host_name.icontains(words, autoescape=True)
    | func.host(WaitingDevice.address).startswith(words),
    search_hint=_l("Device or address"),
)  # fmt: skip


@blueprint.get("/monitoring/routers/<int:nas_id>/clients")
@requires(Permission.SESSIONS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    """The subscribers that a router has let in, with how they logged in."""
    found = router_or_404(nas_id)
    query = (
        select(AccountingSession, Service, Subscriber)
        .outerjoin(Service, Service.id == AccountingSession.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(AccountingSession.nas_id == nas_id, _OPEN)
    )
    if "format" in request.args:
        return show(context.db(), AUTHENTICATED, query, "")
    listing = page_of(context.db(), AUTHENTICATED, query, request.args)
    return router_page("staff/clients/router.html", found, listing=listing, waiting=_waiting(nas_id))


@blueprint.get("/monitoring/routers/<int:nas_id>/waiting")
@requires(Permission.SESSIONS_VIEW)
def waiting(nas_id: int) -> ResponseReturnValue:
    """The devices that are connected there and were not let in, as of the last poll."""
    found = router_or_404(nas_id)
    query = select(WaitingDevice).where(WaitingDevice.nas_id == nas_id)
    if "format" in request.args:
        return show(context.db(), WAITING, query, "")
    listing = page_of(context.db(), WAITING, query, request.args)
    return router_page("staff/clients/waiting.html", found, listing=listing, authenticated=_authenticated(nas_id))


def _waiting(nas_id: int) -> int:
    query = select(func.count()).select_from(WaitingDevice).where(WaitingDevice.nas_id == nas_id)
    return context.db().scalar(query) or 0


def _authenticated(nas_id: int) -> int:
    query = select(func.count()).select_from(AccountingSession).where(AccountingSession.nas_id == nas_id, _OPEN)
    return context.db().scalar(query) or 0


@blueprint.get("/monitoring/talkers")
@requires(Permission.SESSIONS_VIEW)
def talkers() -> ResponseReturnValue:
    """Who moved the most octets in the last hours, at all routers or at one."""
    session = context.db()
    window = request.args.get("window", "")
    window = window if window in WINDOWS else "24h"
    hours = WINDOWS[window]
    nas_id = request.args.get("router", type=int)
    since = (context.now() - hours).replace(minute=0, second=0, microsecond=0)
    total = func.sum(UsageHour.octets_in + UsageHour.octets_out)
    most = (
        select(
            UsageHour.service_id,
            func.sum(UsageHour.octets_out).label("download"),
            func.sum(UsageHour.octets_in).label("upload"),
            total.label("total"),
        )
        .where(UsageHour.operator_id == context.operator().id, UsageHour.hour >= since)
        .group_by(UsageHour.service_id)
        .order_by(total.desc())
    )
    if nas_id is not None:
        there = select(AccountingSession.service_id).where(AccountingSession.nas_id == nas_id, _OPEN)
        most = most.where(UsageHour.service_id.in_(there))
    found = most.limit(TALKERS).subquery()
    online = select(func.count()).where(AccountingSession.service_id == found.c.service_id, _OPEN).scalar_subquery()
    rows = session.execute(
        select(found, Service, Subscriber, online.label("online"))
        .join(Service, Service.id == found.c.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .order_by(found.c.total.desc())
    ).all()
    seconds = (context.now() - since).total_seconds()
    routers = session.execute(select(Nas.id, Nas.name).order_by(Nas.name)).all()
    return render_template(
        "staff/clients/talkers.html",
        tabs=tabs(),
        rows=rows,
        window=window,
        windows=WINDOWS,
        seconds=seconds,
        routers=routers,
        nas_id=nas_id,
    )


# One subscriber, live.


@blueprint.get("/services/<int:service_id>/live")
@requires(Permission.SESSIONS_VIEW)
def live(service_id: int) -> ResponseReturnValue:
    """The page that shows a service's rate each second while it is open."""
    service = context.db().get(Service, service_id) or abort(404)
    subscriber = context.db().get(Subscriber, service.subscriber_id)
    return render_template("staff/clients/live.html", service=service, subscriber=subscriber, rate=_rate(service))


@blueprint.get("/services/<int:service_id>/live.json")
@requires(Permission.SESSIONS_VIEW)
def live_now(service_id: int) -> ResponseReturnValue:
    """The last rate measured, and the wish for more: the monitor asks the router for as long as somebody asks here."""
    service = context.db().get(Service, service_id) or abort(404)
    return _rate(service)


def _rate(service: Service) -> dict[str, Any]:
    session = context.db()
    until = context.now() + WATCHED_FOR
    wish = insert(LiveWatch).values(service_id=service.id, operator_id=service.operator_id, wanted_until=until)
    session.execute(wish.on_conflict_do_update(index_elements=[LiveWatch.service_id], set_={"wanted_until": until}))
    session.commit()
    row = session.get_one(LiveWatch, service.id)
    fresh = row.measured_at is not None and context.now() - row.measured_at < FRESH
    return {
        "at": row.measured_at.timestamp() if row.measured_at is not None and fresh else None,
        "download": row.download if fresh else None,
        "upload": row.upload if fresh else None,
        "problem": _problem(row.problem) if fresh and row.problem else "",
    }


def _problem(problem: str) -> str:
    return label("live_problem", problem) if problem in _OURS else cause_title(problem)


_OURS = ("not_online", "no_router", "not_found")
