"""Sessions: who is connected now, one session with what can be done about it, and those that are over."""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from wtforms.validators import InputRequired

from core.mac import find_mac
from core.rates import RateLimit, format_rate
from crm.policy import garden_lists
from db.models import (
    AccountingSession,
    EnforcementAttempt,
    EnforcementOrder,
    Nas,
    Service,
    Subscriber,
    TermsRecord,
)
from portal import context, forms
from portal.fields import RateField
from portal.labels import Badge, badge
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.radius_words import KINDS, word
from portal.tables import Column, Filter, Table, matching, show
from radius.by_hand import OPEN_STATES, SessionOver, TermsUnknown, change_rate, close, disconnect, granted_terms

blueprint = Blueprint("sessions", __name__, url_prefix="/sessions")

LATE = 3
"""Interim updates in a row that a live session may miss before it is marked as silent."""
ORDERS_SHOWN = 10


def _kinds() -> Sequence[tuple[str, Any]]:
    return [(kind, word("kind", kind)) for kind in KINDS]


def _routers() -> Sequence[tuple[str, Any]]:
    return [(str(nas.id), nas.name) for nas in context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))]


def _found_by(text: str) -> ColumnElement[bool]:
    """Return the condition for what somebody typed: a MAC or IP address, else a user name or a subscriber's name."""
    mac = find_mac(text)
    if mac is not None:
        return AccountingSession.mac == mac
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return AccountingSession.service_id.in_(matching(func.search_services, text))
    if address.version == 4:
        return AccountingSession.framed_ip == address
    return or_(*(column == prefix for column in _PREFIXES for prefix in prefixes_of(address)))


_PREFIXES = (AccountingSession.delegated_ipv6_prefix, AccountingSession.framed_ipv6_prefix)


def prefixes_of(address: ipaddress.IPv6Address) -> list[ipaddress.IPv6Network]:
    """Return the prefixes that a subscriber may have been given which hold an address: /32 to /128.

    They are compared for equality, because that is a comparison which row-level security lets an index serve.
    """
    return [ipaddress.IPv6Network((address, length), strict=False) for length in range(128, 31, -1)]


_SUBSCRIBER = Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, exported_only=True)
_NAME = Column("name", _l("User name"), lambda row: row.AccountingSession.user_name)
_NAS = Column("nas", _l("NAS"), lambda row: row.nas, wide=True)
_ADDRESS = Column("address", _l("Address"), lambda row: row.AccountingSession.framed_ip)
_MAC = Column("mac", _l("MAC address"), lambda row: row.AccountingSession.mac, exported_only=True)
_DOWN = Column(
    "download",
    _l("Download"),
    lambda row: row.AccountingSession.octets_out,
    AccountingSession.octets_out,
    numeric=True,
    wide=True,
)
_UP = Column(
    "upload",
    _l("Upload"),
    lambda row: row.AccountingSession.octets_in,
    AccountingSession.octets_in,
    numeric=True,
    wide=True,
)

LIVE = Table(
    name="live-sessions",
    columns=(
        _NAME,
        _SUBSCRIBER,
        _NAS,
        _ADDRESS,
        _MAC,
        # Numbers are given as sessions begin, and the list of those that are open is read by them.
        Column("started", _l("Since"), lambda row: row.AccountingSession.started_at, AccountingSession.id),
        Column("rate", _l("Rate granted"), lambda row: granted_rate(row.terms), wide=True),
        _DOWN,
        _UP,
    ),
    order="-started",
    tie=AccountingSession.id,
    filters=(
        Filter("nas", _l("Any NAS"), _routers, lambda value: AccountingSession.nas_id == int(value)),
        Filter("kind", _l("Any kind"), _kinds, lambda value: AccountingSession.kind == value),
    ),
    search=_found_by,
    keys=(AccountingSession.id, AccountingSession.started_at),
    search_hint=_l("Name, user name, MAC or IP address"),
)

# Of those that are over there may be millions, so only what an index serves is offered.
HISTORY = Table(
    name="sessions",
    columns=(
        _NAME,
        _SUBSCRIBER,
        _NAS,
        _ADDRESS,
        _MAC,
        Column("started", _l("From"), lambda row: row.AccountingSession.started_at, AccountingSession.started_at),
        Column("ended", _l("Until"), lambda row: row.AccountingSession.ended_at, wide=True),
        Column("why", _l("How it ended"), lambda row: ending(row.AccountingSession), exported_only=True),
        Column("download", _l("Download"), lambda row: row.AccountingSession.octets_out, numeric=True, wide=True),
        Column("upload", _l("Upload"), lambda row: row.AccountingSession.octets_in, numeric=True, wide=True),
    ),
    order="-started",
    tie=AccountingSession.id,
    search=_found_by,
    keys=(AccountingSession.id, AccountingSession.started_at),
    search_hint=_l("Name, user name, MAC or IP address"),
)


class RateForm(forms.Form):
    download = RateField(_l("Download"), [InputRequired(_l("This is needed."))])
    upload = RateField(_l("Upload"), [InputRequired(_l("This is needed."))])


def sessions_query() -> Select[*tuple[Any, ...]]:
    """Return the query of both lists: a session with the names that belong to it and the terms it was granted."""
    return (
        select(
            AccountingSession,
            Nas.name.label("nas"),
            Subscriber.id.label("subscriber_id"),
            Subscriber.name.label("subscriber"),
            TermsRecord.content.label("terms"),
        )
        .outerjoin(Nas, Nas.id == AccountingSession.nas_id)
        .outerjoin(Service, Service.id == AccountingSession.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
        .outerjoin(
            TermsRecord,
            and_(
                TermsRecord.operator_id == AccountingSession.operator_id, TermsRecord.id == AccountingSession.terms_id
            ),
        )
        .where(AccountingSession.operator_id == context.operator().id)
    )


@blueprint.get("/")
@requires(Permission.SESSIONS_VIEW)
def index() -> ResponseReturnValue:
    query = sessions_query().where(AccountingSession.ended_at.is_(None))
    return show(
        context.db(), LIVE, query, "staff/sessions/index.html", granted=granted_rate, line=line_state, silent=is_silent
    )


@blueprint.get("/history")
@requires(Permission.SESSIONS_VIEW)
def history() -> ResponseReturnValue:
    query = sessions_query().where(AccountingSession.ended_at.is_not(None))
    return show(context.db(), HISTORY, query, "staff/sessions/history.html", ending=ending)


@blueprint.get("/<int:session_id>")
@requires(Permission.SESSIONS_VIEW)
def page(session_id: int) -> ResponseReturnValue:
    live = _session(session_id)
    terms = granted_terms(context.db(), live)
    rate = terms.rate if terms else None
    form = RateForm(download=rate.download if rate else None, upload=rate.upload if rate else None)
    return _show_page(live, form)


@blueprint.get("/<int:session_id>/now")
@requires(Permission.SESSIONS_VIEW)
def now_part(session_id: int) -> ResponseReturnValue:
    """Return the part of the page that moves: counters and orders."""
    return render_template("staff/sessions/now.html", **_now(_session(session_id)))


@blueprint.post("/<int:session_id>/disconnect")
@requires(Permission.SESSIONS_ACT)
def end(session_id: int) -> ResponseReturnValue:
    live = _session(session_id)
    try:
        disconnect(context.db(), context.actor(), live, context.now())
    except SessionOver:
        refuse(_("Nothing was sent: this session has ended by now."))
    else:
        context.db().commit()
        done(_("The Disconnect-Request is on its way; below you see what the router answers."))
    return redirect(url_for("sessions.page", session_id=session_id))


@blueprint.post("/<int:session_id>/rate")
@requires(Permission.SESSIONS_ACT)
def set_rate(session_id: int) -> ResponseReturnValue:
    live = _session(session_id)
    form = RateForm()
    if not form.validate_on_submit() or not form.download.data or not form.upload.data:
        return _show_page(live, form), 422
    try:
        change_rate(context.db(), context.actor(), live, RateLimit(form.download.data, form.upload.data), context.now())
    except SessionOver:
        refuse(_("Nothing was sent: this session has ended by now."))
    except TermsUnknown:
        refuse(_("What this session was granted is not known, so its rate alone cannot be changed. Disconnect it."))
    else:
        context.db().commit()
        done(_("The CoA-Request is on its way; below you see what the router answers."))
    return redirect(url_for("sessions.page", session_id=session_id))


@blueprint.post("/<int:session_id>/close")
@requires(Permission.SESSIONS_ACT)
def close_zombie(session_id: int) -> ResponseReturnValue:
    live = _session(session_id)
    try:
        close(context.db(), context.actor(), live, context.now())
    except SessionOver:
        refuse(_("This session has ended by now."))
    else:
        context.db().commit()
        done(_("The session is closed here. Should the router report it again, it will be open again."))
    return redirect(url_for("sessions.page", session_id=session_id))


def granted_rate(terms: dict[str, Any] | None) -> str:
    """Return the rate of stored terms, download then upload."""
    if not terms or "rate" not in terms:
        return "–"
    rate = terms["rate"]
    return f"↓\u00a0{format_rate(rate['download'])} ↑\u00a0{format_rate(rate['upload'])}"


def line_state(terms: dict[str, Any] | None, ended: bool = False) -> Badge:
    """Return the badge of a session: offline, online, or led into the walled garden."""
    if ended:
        return badge("line", "offline")
    garden = bool(terms) and (terms or {}).get("address_list") in garden_lists(context.operator())
    return badge("line", "garden" if garden else "online")


def is_silent(live: AccountingSession) -> bool:
    """Tell whether a live session has missed interim updates: its router is away, or its Stop was lost."""
    allowed = timedelta(seconds=LATE * max(live.interim_interval, 60))
    return live.ended_at is None and context.now() - live.updated_at > allowed


def ending(session: AccountingSession) -> str:
    """Return how a session ended, by the router's cause where it gave one."""
    if session.ended_at is None:
        return ""
    if session.terminate_cause:
        return word("terminate_cause", session.terminate_cause)
    return word("ended_by", session.ended_by)


def _session(session_id: int) -> AccountingSession:
    found = context.db().scalars(
        select(AccountingSession).where(
            AccountingSession.id == session_id, AccountingSession.operator_id == context.operator().id
        )
    )
    return found.one_or_none() or abort(404)


def _show_page(live: AccountingSession, form: RateForm) -> str:
    session = context.db()
    service = session.get(Service, live.service_id) if live.service_id else None
    return render_template(
        "staff/sessions/page.html",
        form=form,
        service=service,
        subscriber=session.get(Subscriber, service.subscriber_id) if service else None,
        ending=ending,
        **_now(live),
    )


def _now(live: AccountingSession) -> dict[str, Any]:
    session = context.db()
    orders = session.scalars(
        select(EnforcementOrder)
        .where(
            EnforcementOrder.service_id == live.service_id,  # None becomes IS NULL; the index serves both
            EnforcementOrder.session_id == live.id,
        )
        .order_by(EnforcementOrder.created_at.desc())
        .limit(ORDERS_SHOWN)
    ).all()
    attempts = session.scalars(
        select(EnforcementAttempt)
        .where(EnforcementAttempt.order_id.in_([order.id for order in orders]))
        .order_by(EnforcementAttempt.id.desc())
        .limit(50)
    ).all()
    terms = session.get(TermsRecord, (live.operator_id, live.terms_id)) if live.terms_id else None
    return {
        "live": live,
        "nas": session.get(Nas, live.nas_id),
        "orders": orders,
        "attempts": {order.id: [each for each in attempts if each.order_id == order.id] for order in orders},
        "open_order": any(order.state in OPEN_STATES for order in orders),
        "terms": terms.content if terms else None,
        "granted": granted_rate,
        "line": line_state,
        "silent": is_silent(live),
        "fragment": request.endpoint == "sessions.now_part",
    }
