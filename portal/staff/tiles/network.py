"""The network on the homes: routers that are away, devices that nobody knows, whom the network turned away."""

from datetime import timedelta

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import func, select

from core.i18n import N_
from db.models import Job, Nas, RouterState, SeenDevice
from portal import context
from portal.formats import ago
from portal.home_tiles import Line, Lines, tile
from portal.labels import label
from portal.navigation import may_open
from portal.permissions import Permission
from portal.staff.dashboard import recent_rejects, said

SHOWN = 8
LATELY = timedelta(days=7)


@tile("routers_offline", N_("Routers offline"), ("technical", "manager"), Permission.ROUTERS_VIEW, order=18)
def routers_offline() -> Lines:
    session, offline = context.db(), RouterState.status == "offline"
    rows = session.execute(
        select(Nas.id, Nas.name, RouterState.status_since, RouterState.cause)
        .join(RouterState, RouterState.nas_id == Nas.id)
        .where(offline, Nas.enabled)
        .order_by(RouterState.status_since)
        .limit(SHOWN)
    ).all()
    total = session.scalar(select(func.count()).select_from(RouterState).where(offline)) or 0
    lines = [
        Line(row.name, url_for("routers.page", nas_id=row.id), end=ago(row.status_since), alarming=True) for row in rows
    ]
    return Lines(lines, _("All routers with an API answer"), url_for("routers.index"), total)


@tile("unknown_devices", N_("Unknown devices"), ("technical", "sales"), Permission.DEVICES_VIEW, order=35)
def unknown_devices() -> Lines:
    """Devices that asked for access lately and belong to nobody, the newest first: an installation often ends here."""
    rows = context.db().execute(
        select(SeenDevice.mac, SeenDevice.last_seen_at, SeenDevice.times, Nas.name)
        .outerjoin(Nas, Nas.id == SeenDevice.nas_id)
        .where(SeenDevice.last_seen_at > context.now() - LATELY)
        .order_by(SeenDevice.last_seen_at.desc())
        .limit(SHOWN)
    )
    registers = may_open("auth_events.register")
    return Lines(
        [
            Line(
                row.mac,
                url_for("auth_events.register", mac=row.mac) if registers else url_for("auth_events.seen"),
                row.name or "",
                ago(row.last_seen_at),
            )
            for row in rows
        ],
        _("No unknown device has asked in a week"),
        url_for("auth_events.seen"),
    )


@tile(
    "turned_away", N_("Turned away lately"), ("support", "technical"), Permission.AUTH_EVENTS_VIEW, order=40, wide=True
)
def turned_away() -> Lines:
    """The last rejects with their reason: who calls next, and what to say."""
    lines = []
    for event in recent_rejects(context.now()):
        url = url_for("explain.index", name=event.user_name) if may_open("explain.index") else ""
        lines.append(Line(event.user_name, url, said(event), ago(event.at)))
    return Lines(lines, _("Nobody was turned away today"), url_for("auth_events.index", outcome="reject"))


@tile("jobs_failed", N_("Long work that failed"), ("manager", "technical"), Permission.JOBS_ALL, order=65)
def jobs_failed() -> Lines | None:
    """Jobs of the last days that ended badly; nothing where all went well."""
    rows = context.db().scalars(
        select(Job)
        .where(Job.state == "failed", Job.created_at > context.now() - LATELY)
        .order_by(Job.id.desc())
        .limit(SHOWN)
    )
    lines = [
        Line(label("job_kind", job.kind), url_for("jobs.page", job_id=job.id), job.subject, ago(job.finished_at))
        for job in rows
    ]
    return Lines(lines, url=url_for("jobs.index")) if lines else None
