"""The search of the whole portal: one field takes a name, phone, user name, MAC or IP address."""

import ipaddress
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import func, or_, select
from sqlalchemy.orm import selectinload

from core.mac import find_mac
from db.models import AccountingSession, Nas, Service, Subscriber
from portal import context
from portal.labels import label
from portal.navigation import may_open
from portal.permissions import Permission, requires
from portal.staff.subscribers import BY_NAME

blueprint = Blueprint("search", __name__, url_prefix="/search")
MOST = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found, with where it is."""

    kind: str
    title: str
    note: str
    url: str
    icon: str
    pay: str = ""  # where a payment of this subscriber is registered, for who may


def _pay(subscriber_id: int) -> str:
    allowed = may_open("payments.create_page")
    return url_for("payments.create_page", subscriber_id=subscriber_id) if allowed else ""


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    words = _words()
    hits = find(words)
    if len(hits) == 1:
        return redirect(hits[0].url)
    return render_template("staff/search/index.html", hits=hits, words=words)


@blueprint.get("/suggest")
@requires(Permission.SUBSCRIBERS_VIEW)
def suggest() -> ResponseReturnValue:
    """What is shown under the field while somebody types."""
    words = _words()
    return render_template("staff/search/suggest.html", hits=find(words) if len(words) > 1 else [], words=words)


def _words() -> str:
    return request.args.get("q", "").replace("\0", "").strip()[:200]


def find(words: str) -> list[Hit]:
    """Return what the words may mean, the surest first."""
    if not words:
        return []
    found: dict[str, Hit] = {}
    for hit in (*_online_with(words), *_subscribers(words), *_services(words), *_nas(words)):
        found.setdefault(hit.url, hit)
    return list(found.values())


def _online_with(words: str) -> list[Hit]:
    """Return services that have this address or device in a live session."""
    wanted = []
    mac = find_mac(words)
    if mac is not None:
        wanted.append(AccountingSession.mac == mac)
    try:
        address = ipaddress.ip_address(words)
    except ValueError:
        pass
    else:
        if address.version == 4:
            wanted.append(AccountingSession.framed_ip == address)
        else:
            inside = func.inet(str(address))
            wanted.append(AccountingSession.delegated_ipv6_prefix.op(">>=")(inside))
            wanted.append(AccountingSession.framed_ipv6_prefix.op(">>=")(inside))
    if not wanted:
        return []
    session = context.db()
    ids = select(AccountingSession.service_id).where(or_(*wanted), AccountingSession.ended_at.is_(None)).limit(MOST)
    found = [row for row in session.scalars(ids) if row is not None]
    hits = [_service_hit(service, _("online now")) for service in _services_by(Service.id.in_(found))] if found else []
    if mac is None and wanted:
        hits += [_service_hit(service, words) for service in _services_by(Service.framed_ip == words)]
    return hits


def _services(words: str) -> list[Hit]:
    ids = select(func.search_services(words, 50))
    return [_service_hit(service, service.name) for service in _services_by(Service.id.in_(ids))]


def _services_by(condition: object) -> list[Service]:
    query = select(Service).where(condition).options(selectinload(Service.subscriber))  # type: ignore[arg-type]
    return list(context.db().scalars(query.order_by(Service.state == "terminated", Service.name).limit(MOST)))


def _service_hit(service: Service, note: str) -> Hit:
    return Hit(
        _("Service"),
        service.subscriber.name,
        f"{note} · {label('service_state', service.state)}" if note == service.name else f"{service.name} · {note}",
        url_for("subscribers.page", subscriber_id=service.subscriber_id),
        "plug-connected",
        _pay(service.subscriber_id),
    )


def _subscribers(words: str) -> list[Hit]:
    ids = select(func.search_subscribers(words, 50))
    rows = context.db().scalars(select(Subscriber).where(Subscriber.id.in_(ids)).order_by(BY_NAME).limit(MOST))
    return [
        Hit(
            _("Subscriber"),
            row.name,
            " · ".join(part for part in (row.phone, row.address) if part),
            url_for("subscribers.page", subscriber_id=row.id),
            "user",
            _pay(row.id),
        )
        for row in rows
    ]


def _nas(words: str) -> list[Hit]:
    if not may_open("nas.page"):
        return []
    pattern = Nas.name.icontains(words, autoescape=True)
    rows = context.db().scalars(
        select(Nas).where(or_(pattern, func.host(Nas.address) == words)).order_by(Nas.name).limit(MOST)
    )
    return [Hit(_("NAS"), row.name, str(row.address), url_for("nas.page", nas_id=row.id), "router") for row in rows]
