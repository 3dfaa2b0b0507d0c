"""The search of the whole portal: one field takes whatever somebody on the phone can say.

A name or a part of it, with or without accents; a phone number as it is dialled; a street; a user name; a MAC address
in any spelling; an IP address, fixed or in use at this moment; the number of an invoice, receipt, ticket or work order.
It answers while somebody types, so it looks where an index leads (`search_people`); the page that Enter leads to looks
everywhere when that finds little.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import selectinload

from billing.invoices import document_number
from core.mac import find_mac
from db.models import (
    AccountingSession,
    DocumentSeries,
    Invoice,
    Nas,
    Payment,
    Service,
    ServiceMac,
    Subscriber,
    Ticket,
    WorkOrder,
)
from portal import context
from portal.labels import label
from portal.navigation import may_open
from portal.permissions import Permission, requires

blueprint = Blueprint("search", __name__, url_prefix="/search")
MOST = 8
"""Hits of a group that are shown; of the people, twice as many are looked for."""

_NUMBER = re.compile(r"#?\s*([A-Za-z][A-Za-z0-9/-]{0,15}?)?[- ]?([0-9]{1,15})\Z")
_DIALLED = re.compile(r"[0-9+()./ -]{5,30}\Z")
_PART_OF_ADDRESS = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3})?)?\.?\Z")
_PART_OF_MAC = re.compile(r"([0-9a-f]{2}[:-]){2,4}[0-9a-f]{0,2}\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found, with where it is."""

    title: str
    note: str
    url: str
    icon: str
    pay: str = ""  # where a payment of this subscriber is registered, for who may


@dataclass(frozen=True, slots=True)
class Group:
    """Hits of one kind."""

    title: str
    hits: Sequence[Hit]


@dataclass(slots=True)
class _People:
    """Subscribers in the order in which they were found, each with what was found of them."""

    subscribers: list[int] = field(default_factory=list)
    services: dict[int, list[int]] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    def add(self, subscriber_id: int, service_id: int | None = None, note: str = "") -> None:
        if subscriber_id not in self.subscribers:
            self.subscribers.append(subscriber_id)
        if service_id is not None:
            self.services.setdefault(subscriber_id, []).append(service_id)
        if note:
            self.notes.setdefault(subscriber_id, note)


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    words = _words()
    groups = find(words, thorough=True)
    hits = [hit for group in groups for hit in group.hits]
    paying = "pay" in request.args
    if len(hits) == 1:
        return redirect(hits[0].pay if paying and hits[0].pay else hits[0].url)
    return render_template("staff/search/index.html", groups=groups, words=words, paying=paying)


@blueprint.get("/suggest")
@requires(Permission.SUBSCRIBERS_VIEW)
def suggest() -> ResponseReturnValue:
    """What is shown under the field while somebody types. With `pay`, hits lead to registering a payment."""
    words, paying = _words(), "pay" in request.args
    groups = find(words) if len(words) > 1 or words.isdigit() else []
    if paying:
        groups = [Group(group.title, [hit for hit in group.hits if hit.pay]) for group in groups]
    return render_template(
        "staff/search/suggest.html", groups=[group for group in groups if group.hits], words=words, paying=paying
    )


def _words() -> str:
    return request.args.get("q", "").replace("\0", "").strip()[:200]


def find(words: str, *, thorough: bool = False) -> list[Group]:
    """Return what the words may mean, the surest first. `thorough` looks through everything when little is found."""
    if not words:
        return []
    groups = [
        Group(_("Subscribers"), _people(words, thorough)),
        Group(_("Invoices and receipts"), _documents(words)),
        Group(_("Tickets and work orders"), _numbered(words)),
        Group(_("Network"), _nas(words)),
    ]
    return [group for group in groups if group.hits]


# Subscribers, by anything that is known of them.


def _people(words: str, thorough: bool) -> list[Hit]:
    people = _People()
    mac, address = find_mac(words), _address(words)
    if mac is not None or address is not None:
        _by_device(people, mac, address)
    if mac is None and _PART_OF_MAC.match(words):
        _by_part_of_mac(people, words)
    if address is None:
        _by_part_of_address(people, words)
    if address is None and not people.subscribers:
        _by_words(people, words)
        digits = re.sub(r"[^0-9]", "", words)
        if _DIALLED.match(words) and len(digits) >= 5:
            _by_words(people, digits)
            if not people.subscribers and len(digits) > 8:
                _by_words(people, digits[-8:])  # dialled with a country code that is not on file
    if thorough and len(people.subscribers) < MOST:
        _everywhere(people, words)
    return _hits(people)


def _address(words: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(words)
    except ValueError:
        return None


def _by_device(people: _People, mac: str | None, address: Any) -> None:
    """Add who has this device or address in a live session, then who it is registered for."""
    live: list[Any] = []
    fixed: list[Any] = []
    if mac is not None:
        live.append(AccountingSession.mac == mac)
        fixed += [Service.name == mac, Service.id.in_(select(ServiceMac.service_id).where(ServiceMac.mac == mac))]
    elif address.version == 4:
        live.append(AccountingSession.framed_ip == address)
        fixed.append(Service.framed_ip == address)
    else:
        inside = func.inet(str(address))
        live.append(AccountingSession.delegated_ipv6_prefix.op(">>=")(inside))
        live.append(AccountingSession.framed_ipv6_prefix.op(">>=")(inside))
        fixed.append(Service.delegated_ipv6_prefix.op(">>=")(inside))
    session = context.db()
    online = select(AccountingSession.service_id).where(or_(*live), AccountingSession.ended_at.is_(None)).limit(MOST)
    ids = [row for row in session.scalars(online) if row is not None]
    for condition, note in ((Service.id.in_(ids), _("online now")), (or_(*fixed), "")):
        if note and not ids:
            continue
        rows = session.execute(select(Service.subscriber_id, Service.id).where(condition).limit(MOST))
        for row in rows:
            people.add(row.subscriber_id, row.id, note)


def _by_part_of_address(people: _People, words: str) -> None:
    """Add who has an address that begins so: three octets, or two and a dot. A whole one is looked for exactly."""
    typed = _PART_OF_ADDRESS.match(words)
    if typed is None or (typed[3] is None and not words.endswith(".")):
        return
    octets = [octet for octet in typed.groups() if octet is not None]
    first, last = (_address(".".join([*octets, fill, fill][:4])) for fill in ("0", "255"))
    if first is None:
        return
    session = context.db()
    online = select(AccountingSession.service_id).where(
        AccountingSession.framed_ip.between(first, last), AccountingSession.ended_at.is_(None)
    )
    ids = [row for row in session.scalars(online.limit(MOST)) if row is not None]
    for condition, note in ((Service.id.in_(ids), _("online now")), (Service.framed_ip.between(first, last), "")):
        if len(people.subscribers) >= MOST:
            break
        for row in session.execute(select(Service.subscriber_id, Service.id).where(condition).limit(MOST)):
            people.add(row.subscriber_id, row.id, note)


def _by_part_of_mac(people: _People, words: str) -> None:
    """Add services with a device whose address begins so: three octets or more, as a label shows them."""
    digits = re.sub(r"[^0-9a-f]", "", words.lower())
    first, last = (":".join(re.findall("..", digits.ljust(12, fill))) for fill in "0f")
    rows = context.db().execute(
        select(Service.subscriber_id, Service.id)
        .join(ServiceMac, ServiceMac.service_id == Service.id)
        .where(ServiceMac.operator_id == context.staff().operator_id, ServiceMac.mac.between(first, last))
        .limit(MOST)
    )
    for row in rows:
        people.add(row.subscriber_id, row.id)


def _by_words(people: _People, words: str) -> None:
    rows = context.db().execute(text("SELECT * FROM search_people(:words, :most)"), {"words": words, "most": 2 * MOST})
    for row in rows:
        people.add(row.subscriber_id, row.service_id)


def _everywhere(people: _People, words: str) -> None:
    session = context.db()
    for subscriber_id in session.scalars(select(func.search_subscribers(words, 50))):
        people.add(subscriber_id)
    ids = list(session.scalars(select(func.search_services(words, 50))))
    for row in session.execute(select(Service.subscriber_id, Service.id).where(Service.id.in_(ids))):
        people.add(row.subscriber_id)


def _hits(people: _People) -> list[Hit]:
    """Return a hit for each subscriber: what tells them from others of their name, and what was found of them."""
    if not people.subscribers:
        return []
    shown = people.subscribers[: 2 * MOST]
    session = context.db()
    persons = select(Subscriber).where(Subscriber.id.in_(shown), Subscriber.removed_at.is_(None))
    rows = {row.id: row for row in session.scalars(persons)}
    wanted = [number for each in shown for number in people.services.get(each, ())]
    services: dict[int, Service] = {}
    if wanted:
        query = select(Service).where(Service.id.in_(wanted)).options(selectinload(Service.subscriber))
        services = {row.id: row for row in session.scalars(query)}
    hits = []
    for number in shown:
        row = rows.get(number)
        if row is None:
            continue
        found = [services[each] for each in dict.fromkeys(people.services.get(number, ())) if each in services]
        notes = [f"{one.name} ({label('service_state', one.state)})" for one in found[:2]]
        parts = [people.notes.get(number, ""), *notes, row.phone or "", row.address or ""]
        url = url_for("subscribers.page", subscriber_id=number)
        hits.append(Hit(row.name, " · ".join(part for part in parts if part), url, "user", _pay(number)))
    return hits


def _pay(subscriber_id: int) -> str:
    allowed = may_open("payments.create_page")
    return url_for("payments.create_page", subscriber_id=subscriber_id) if allowed else ""


# Documents, by their numbers.


def _number(words: str) -> tuple[str, int] | None:
    """Return what stands before a number, and the number; None for words that are none."""
    found = _NUMBER.match(words)
    return (found[1] or "", int(found[2])) if found else None


def _documents(words: str) -> list[Hit]:
    number = _number(words)
    if number is None or not may_open("invoices.page"):
        return []
    session, operator_id = context.db(), context.staff().operator_id
    known = set(session.scalars(select(DocumentSeries.prefix).where(DocumentSeries.operator_id == operator_id)))
    prefixes = {each for each in known if not number[0] or each.rstrip("-/ ").lower() == number[0].lower()}
    prefixes |= {number[0], f"{number[0]}-", f"{number[0].upper()}-"}  # one that was in use before
    hits = []
    for model, endpoint, icon in (
        (Invoice, "invoices.page", "file-invoice"),
        (Payment, "payments.page", "receipt"),
    ):
        if not may_open(endpoint):
            continue
        rows = session.execute(
            select(model.id, model.prefix, model.number, model.subscriber_id, Subscriber.name)
            .join(Subscriber, Subscriber.id == model.subscriber_id)
            .where(model.operator_id == operator_id, model.prefix.in_(prefixes), model.number == number[1])
            .limit(MOST)
        )
        for row in rows:
            title = document_number(row.prefix, row.number)
            hits.append(Hit(title, row.name, _url_of(endpoint, row.id), icon, _pay(row.subscriber_id)))
    return hits


def _numbered(words: str) -> list[Hit]:
    """Return tickets and work orders with a number."""
    number = _number(words)
    if number is None:
        return []
    hits: list[Hit] = []
    tickets = select(Ticket.id, Ticket.number, Ticket.subject.label("note")).where(Ticket.number == number[1])
    orders = (
        select(WorkOrder.id, WorkOrder.number, Subscriber.name.label("note"))
        .outerjoin(Subscriber, Subscriber.id == WorkOrder.subscriber_id)
        .where(WorkOrder.number == number[1])
    )
    for endpoint, query, kind, icon in (
        ("tickets.page", tickets, _("Ticket"), "ticket"),
        ("work_orders.page", orders, _("Work order"), "tools"),
    ):
        if may_open(endpoint):
            for row in context.db().execute(query.limit(MOST)):
                note = " · ".join(part for part in (kind, row.note) if part)
                hits.append(Hit(f"#{row.number}", note, _url_of(endpoint, row.id), icon))
    return hits


def _url_of(endpoint: str, number: int) -> str:
    """Return the address of a page whose only argument is the number of a row."""
    rule = next(current_app.url_map.iter_rules(endpoint))
    values: dict[str, Any] = dict.fromkeys(rule.arguments, number)
    return url_for(endpoint, **values)


# The network.


def _nas(words: str) -> list[Hit]:
    if not may_open("nas.page"):
        return []
    pattern = Nas.name.icontains(words, autoescape=True)
    rows: Iterable[Nas] = context.db().scalars(
        select(Nas).where(or_(pattern, func.host(Nas.address) == words)).order_by(Nas.name).limit(MOST)
    )
    return [Hit(row.name, f"NAS · {row.address}", url_for("nas.page", nas_id=row.id), "router") for row in rows]
