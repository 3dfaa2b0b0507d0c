"""Access requests and what became of them, and the devices that asked and are not registered."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Text, cast, delete, func, select
from sqlalchemy.orm import aliased

from core.mac import find_mac
from db.models import AuthEvent, Nas, SeenDevice, Subscriber
from portal import context
from portal.i18n import reader_language
from portal.labels import choices
from portal.messages import done
from portal.permissions import Permission, requires
from portal.radius_words import word
from portal.reasons import SHORT, event_sentence, short_reason
from portal.tables import Column, Filter, Table, show
from radius.explain import known_reason, spellings

blueprint = Blueprint("auth_events", __name__, url_prefix="/access-requests")

NEWEST = 20_000
"""A filter looks through so many of the newest requests; a search for one name, through all."""
WINDOWS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}


def _outcomes() -> Sequence[tuple[str, Any]]:
    return choices("outcome")


def _reasons() -> Sequence[tuple[str, Any]]:
    language = reader_language()
    return [(reason.value, short_reason(reason, language)) for reason in SHORT]


def _routers() -> Sequence[tuple[str, Any]]:
    return [(str(nas.id), nas.name) for nas in context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))]


def _windows() -> Sequence[tuple[str, Any]]:
    return [("1h", _("Last hour")), ("24h", _("Last 24 hours")), ("7d", _("Last 7 days"))]


def said(event: Any) -> str:
    """Return what became of a request, as the help desk reads it."""
    return event_sentence(event.outcome, known_reason(event.reason), event.detail or {}, reader_language())


def _table(event: Any) -> Table:
    """Return the list over `event`: the table itself, or its newest rows."""

    def since(value: str) -> ColumnElement[bool]:
        return event.at >= context.now() - WINDOWS[value]  # type: ignore[no-any-return]

    return Table(
        name="access-requests",
        columns=(
            Column("at", _l("When"), lambda row: row[0].at, event.at),
            Column("name", _l("User name"), lambda row: row[0].user_name),
            Column("outcome", _l("Outcome"), lambda row: row[0].outcome, wide=True, words="outcome"),
            Column("reason", _l("What became of it"), lambda row: said(row[0])),
            Column("nas", _l("NAS"), lambda row: row.nas, wide=True),
            Column("mac", _l("MAC address"), lambda row: row[0].mac, wide=True),
            Column("method", _l("Method"), lambda row: row[0].method, wide=True),
        ),
        order="-at",
        tie=event.id,
        filters=(
            Filter("outcome", _l("Any outcome"), _outcomes, lambda value: event.outcome == value),
            Filter("reason", _l("Any reason"), _reasons, lambda value: event.reason == value),
            Filter("nas", _l("Any NAS"), _routers, lambda value: event.nas_id == int(value)),
            Filter("since", _l("Any time"), _windows, since),
        ),
        search=lambda text: event.user_name.in_(spellings(text)),
        search_hint=_l("Exact user name, or a MAC address"),
    )


@blueprint.get("/")
@requires(Permission.AUTH_EVENTS_VIEW)
def index() -> ResponseReturnValue:
    event: Any = AuthEvent
    if not request.args.get("q", "").strip():
        newest = (
            select(AuthEvent)
            .where(AuthEvent.operator_id == context.operator().id)
            .order_by(AuthEvent.at.desc())
            .limit(NEWEST)
            .subquery()
        )
        event = aliased(AuthEvent, newest)
    query = (
        select(event, Nas.name.label("nas"))
        .outerjoin(Nas, Nas.id == event.nas_id)
        .where(event.operator_id == context.operator().id)
    )
    return show(context.db(), _table(event), query, "staff/auth_events/index.html", said=said, newest=NEWEST)


SEEN = Table(
    name="unknown-devices",
    title=_l("Unknown devices"),
    columns=(
        Column("mac", _l("MAC address"), lambda row: row.SeenDevice.mac, SeenDevice.mac),
        Column("kind", _l("Kind"), lambda row: word("kind", row.SeenDevice.kind)),
        Column("nas", _l("NAS"), lambda row: row.nas),
        Column("port", _l("Port"), lambda row: row.SeenDevice.nas_port_id, wide=True),
        Column("times", _l("Times"), lambda row: row.SeenDevice.times, SeenDevice.times, numeric=True),
        Column(
            "first", _l("First seen"), lambda row: row.SeenDevice.first_seen_at, SeenDevice.first_seen_at, wide=True
        ),
        Column("last", _l("Last seen"), lambda row: row.SeenDevice.last_seen_at, SeenDevice.last_seen_at),
        Column("step", "", lambda row: ""),
    ),
    order="-last",
    tie=SeenDevice.mac,
    filters=(Filter("nas", _l("Any NAS"), _routers, lambda value: SeenDevice.nas_id == int(value)),),
    search=lambda text: _by_mac(text),
    search_hint=_l("MAC address"),
)


def _by_mac(text: str) -> ColumnElement[bool]:
    mac = find_mac(text)
    if mac is not None:
        return SeenDevice.mac == mac
    digits = "".join(character for character in text.lower() if character in "0123456789abcdef")
    return func.replace(cast(SeenDevice.mac, Text), ":", "").contains(digits)


@blueprint.get("/unknown-devices")
@requires(Permission.DEVICES_VIEW)
def seen() -> ResponseReturnValue:
    query = (
        select(SeenDevice, Nas.name.label("nas"))
        .outerjoin(Nas, Nas.id == SeenDevice.nas_id)
        .where(SeenDevice.operator_id == context.operator().id)
    )
    return show(context.db(), SEEN, query, "staff/auth_events/seen.html")


@blueprint.get("/unknown-devices/<mac>/register")
@requires(Permission.SERVICES_EDIT)
def register(mac: str) -> ResponseReturnValue:
    """Ask whose device it is; the form of a new service then has its MAC address filled in."""
    canonical = find_mac(mac) or abort(404)
    typed = request.args.get("q", "").replace("\0", "").strip()[:200]
    subscribers: Sequence[Any] = []
    if typed:
        subscribers = (
            context.db()
            .scalars(
                select(Subscriber)
                .where(Subscriber.id.in_(select(func.search_subscribers(typed))))
                .order_by(Subscriber.name)
                .limit(20)
            )
            .all()
        )
    device = context.db().scalar(select(SeenDevice).where(SeenDevice.mac == canonical))
    return render_template(
        "staff/auth_events/register.html", mac=canonical, device=device, typed=typed, subscribers=subscribers
    )


@blueprint.post("/unknown-devices/<mac>/forget")
@requires(Permission.SERVICES_EDIT)
def forget(mac: str) -> ResponseReturnValue:
    canonical = find_mac(mac) or abort(404)
    context.db().execute(delete(SeenDevice).where(SeenDevice.mac == canonical))
    context.db().commit()
    done(_("%(mac)s is taken off the list until it asks again.", mac=canonical))
    return redirect(url_for("auth_events.seen"))
