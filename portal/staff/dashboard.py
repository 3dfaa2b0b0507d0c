"""The network at this moment: is it up, who gets in, what waits, is the installation well.

Its parts are read again by every open page every few seconds, so what is counted over many rows is counted once for all
of an operator's people: every few seconds, and what looks back over a whole day once a minute.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import InstrumentedAttribute

from aaa.decision import Reason
from aaa.facts import OutageAction
from core.i18n import N_
from db.models import AccountingSession, AuthEvent, EnforcementOrder, Nas, NasHeard, Service
from portal import context
from portal.formats import number
from portal.home_tiles import Figure, Figures, remembered, tile
from portal.i18n import reader_language
from portal.navigation import may_open
from portal.permissions import Permission, requires
from portal.reasons import event_sentence

blueprint = Blueprint("dashboard", __name__, url_prefix="/dashboard")

OPEN_ORDERS = ("pending", "sent", "acked")
SILENT_AFTER = timedelta(minutes=15)  # three interim updates of the usual five minutes
BUCKET = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the installation, as the dashboard shows it: well, or what it means that it is not."""

    name: str
    unwell: str
    well: bool
    meaning: str
    node: str = ""
    seconds: float | None = None


def said(event: AuthEvent) -> str:
    """Return why a request was answered as it was."""
    reason = Reason(event.reason) if event.reason in set(Reason) else None
    return event_sentence(event.outcome, reason, event.detail, reader_language())


@blueprint.get("/")
@requires(Permission.DASHBOARD_VIEW)
def index() -> ResponseReturnValue:
    return render_template("staff/dashboard/index.html", **_tiles())


@blueprint.get("/now")
@requires(Permission.DASHBOARD_VIEW)
def now() -> ResponseReturnValue:
    """The part of the page that htmx reads again."""
    return render_template("staff/dashboard/now.html", **_tiles())


@blueprint.get("/day")
@requires(Permission.DASHBOARD_VIEW)
def day() -> ResponseReturnValue:
    """Access-Requests of the last 24 hours, drawn after the page stands."""
    return render_template(
        "staff/dashboard/day.html", buckets=remembered.give("day", context.operator().id, timedelta(minutes=1), _day)
    )


@tile("network", N_("Network now"), ("manager", "technical", "support"), Permission.DASHBOARD_VIEW, order=10)
def network_figures() -> Figures:
    """Is the network up: who is online, who is turned away, which NAS is silent, what the routers have not done yet."""
    instant = context.now()
    counts = _remembered_counts()
    silent = sum(1 for each in _nas(instant) if each["silent"])
    failed, turned_away = counts["orders"]["failed"], counts["outcomes"]["reject"]
    active = counts["states"].get("active", 0)
    return Figures(
        (
            Figure(
                number(counts["online"]),
                _("online now"),
                "wifi",
                _url("sessions.index"),
                ngettext("%(num)s active service", "%(num)s active services", active),
                "green",
            ),
            Figure(
                number(silent), _("silent NAS"), "ear-off", _url("dashboard.index"), colour="green", alarming=silent > 0
            ),
            Figure(
                number(turned_away),
                _("rejected in the last hour"),
                "x",
                _url("auth_events.index", outcome="reject"),
                colour="secondary",
            ),
            Figure(
                number(counts["orders"]["waiting"]),
                _("orders waiting"),
                "send",
                _url("enforcement.index"),
                ngettext("%(num)s failed in 24 hours", "%(num)s failed in 24 hours", failed) if failed else "",
                alarming=failed > 0,
            ),
        )
    )


def _url(endpoint: str, **values: Any) -> str:
    return url_for(endpoint, **values) if may_open(endpoint) else ""


def _remembered_counts() -> dict[str, Any]:
    found: dict[str, Any] = remembered.give("counts", context.operator().id, timedelta(seconds=4), _counts)
    return found


def _tiles() -> dict[str, Any]:
    instant = context.now()
    return {
        **_remembered_counts(),
        "nas": _nas(instant),
        "parts": _parts(),
        "rejects": recent_rejects(instant),
        "said": said,
    }


def _counts() -> dict[str, Any]:
    session, instant = context.db(), context.now()
    outcomes = dict.fromkeys(("accept", "garden", "reject"), 0)
    outcomes |= _by(AuthEvent.outcome, AuthEvent.at > instant - timedelta(hours=1))
    failed = (EnforcementOrder.state == "failed") & (EnforcementOrder.created_at > instant - timedelta(days=1))
    return {
        "outcomes": outcomes,
        "online": session.scalar(select(func.count()).where(AccountingSession.ended_at.is_(None))) or 0,
        "orders": {
            "waiting": session.scalar(select(func.count()).where(EnforcementOrder.state.in_(OPEN_ORDERS))) or 0,
            "failed": session.scalar(select(func.count()).where(failed)) or 0,
        },
        "states": _by(Service.state, (Service.state != "terminated") & (Service.access_method != "voucher")),
    }


def _by(column: InstrumentedAttribute[str], condition: ColumnElement[bool]) -> dict[str, int]:
    """Return how many rows there are for each value of a column."""
    query = select(column.label("value"), func.count().label("number")).where(condition).group_by(column)
    return {row.value: row.number for row in context.db().execute(query)}


def _nas(instant: datetime) -> list[Any]:
    """Return the NAS in use with when they were last heard, those that have been silent longest first."""
    rows = context.db().execute(
        select(Nas.id, Nas.name, NasHeard.last_packet_at)
        .outerjoin(NasHeard, NasHeard.nas_id == Nas.id)
        .where(Nas.enabled)
        .order_by(NasHeard.last_packet_at.asc().nulls_first(), Nas.name)
        .limit(200)
    )
    return [
        {
            "id": row.id,
            "name": row.name,
            "heard": row.last_packet_at,
            "silent": row.last_packet_at is None or instant - row.last_packet_at > SILENT_AFTER,
        }
        for row in rows
    ]


def recent_rejects(instant: datetime) -> list[AuthEvent]:
    """Return the last rejects among the last few thousand requests: the look back is bounded, whatever the rate."""
    lately = (
        select(AuthEvent.id, AuthEvent.at)
        .where(AuthEvent.at > instant - timedelta(days=1))
        .order_by(AuthEvent.at.desc())
        .limit(3000)
        .subquery()
    )
    query = (
        select(AuthEvent)
        .join(lately, (lately.c.id == AuthEvent.id) & (lately.c.at == AuthEvent.at))
        .where(AuthEvent.outcome == "reject", AuthEvent.at > instant - timedelta(days=1))
        .order_by(AuthEvent.at.desc())
        .limit(8)
    )
    return list(context.db().scalars(query))


def _parts() -> list[Part]:
    """Return how each node's pieces are. What they report is late when they are down or behind."""
    parts = []
    for row in context.db().execute(text("SELECT * FROM installation_health()")):
        image = row.image_age.total_seconds() if row.image_age is not None else None
        load = row.load_age.total_seconds() if row.load_age is not None else None
        parts.append(
            Part(
                N_("Changes reach radiusd"),
                N_("Changes do not reach radiusd."),
                image is not None and image < 60,
                _without_news(image),
                row.node,
                image,
            )
        )
        parts.append(
            Part(
                N_("Accounting is loaded"),
                N_("Accounting is not being loaded."),
                load is not None and load < 60 and row.journal_backlog < 64 * 1024 * 1024,
                N_("Accounting is kept on disk and loaded later; online lists and usage are behind."),
                row.node,
                load,
            )
        )
    return parts


def _without_news(seconds: float | None) -> str:
    """Return what it means for logins that a server has had no news for so long, as the operator chose (a msgid)."""
    operator = context.operator()
    waited = seconds is not None and timedelta(seconds=seconds) >= operator.outage_after
    match operator.outage_action:
        case OutageAction.REFUSE if waited:
            return N_("Its news is too old, so it lets nobody in, as you chose under Cut-off and walled garden.")
        case OutageAction.REFUSE:
            return N_("Subscribers connect with the last terms known; if it lasts, nobody is let in, as you chose.")
        case OutageAction.SPARE:
            return N_("Subscribers connect with the last terms known; if it lasts, dates cut nobody, as you chose.")
    return N_("Subscribers connect with the last terms known; changes wait.")


# Access-Requests by quarter of an hour. Millions of rows on a large installation, so counted once a minute.


def _day() -> list[Any]:
    """Return the outcomes of the last 24 hours, a dictionary for each quarter of an hour."""
    since = context.now() - timedelta(days=1)
    bucket = func.date_bin(BUCKET, AuthEvent.at, datetime(2000, 1, 1, tzinfo=UTC))
    rows = context.db().execute(
        select(
            bucket.label("at"),
            func.count().filter(AuthEvent.outcome == "accept").label("accepted"),
            func.count().filter(AuthEvent.outcome == "garden").label("garden"),
            func.count().filter(AuthEvent.outcome == "reject").label("rejected"),
        )
        .where(AuthEvent.at > since)
        .group_by(bucket)
        .order_by(bucket)
    )
    found = {row.at: row for row in rows}
    buckets = []
    at = min(found, default=None)
    while at is not None and at + BUCKET <= context.now():  # the last, unfinished one would look like an outage
        row = found.get(at)
        counts = (row.accepted, row.garden, row.rejected) if row else (0, 0, 0)
        buckets.append({"at": at, "accepted": counts[0], "garden": counts[1], "rejected": counts[2]})
        at += BUCKET
    return buckets
