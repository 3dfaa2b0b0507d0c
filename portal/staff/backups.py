"""The backups of a router: its configuration as it was, what changed from one to the next, and a backup now.

What is shown has no secrets in it. The whole text, which the router can be put back with, is handed out by a POST to
those who may see secrets, and the audit log says who took it.
"""

from flask import Blueprint, abort, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from core.crypto import SecretUnreadable
from crm.jobs import start_job
from db.audit import record
from db.models import RouterBackup, RouterBackupState
from network.backups import KEPT, TAKE, difference, opened, shown
from portal import context
from portal.formats import local_time
from portal.messages import refuse
from portal.permissions import Permission, requires
from portal.router_page import router_or_404, router_page

blueprint = Blueprint("backups", __name__, url_prefix="/routers")

LINES = 3_000
"""Lines of a difference that a page shows."""


@blueprint.get("/<int:nas_id>/backups")
@requires(Permission.ROUTERS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    """The versions, newest first. Two of them, `older` and `newer`, are compared."""
    found = router_or_404(nas_id)
    session = context.db()
    backups = session.scalars(
        select(RouterBackup).where(RouterBackup.nas_id == nas_id).order_by(RouterBackup.id.desc()).limit(KEPT)
    ).all()
    older, newer = request.args.get("older", type=int), request.args.get("newer", type=int)
    compared = None
    if older and newer:
        first, second = sorted((_backup(nas_id, older), _backup(nas_id, newer)), key=lambda each: each.id)
        compared = first, second, _compare(first, second)
    return router_page(
        "staff/backups/router.html",
        found,
        backups=backups,
        last=session.get(RouterBackupState, nas_id),
        compared=compared,
        limit=LINES,
    )


@blueprint.get("/<int:nas_id>/backups/<int:backup_id>")
@requires(Permission.ROUTERS_VIEW)
def page(nas_id: int, backup_id: int) -> ResponseReturnValue:
    """One configuration, without its secrets."""
    found = router_or_404(nas_id)
    backup = _backup(nas_id, backup_id)
    return router_page("staff/backups/page.html", found, backup=backup, text=_shown(backup))


@blueprint.post("/<int:nas_id>/backups/<int:backup_id>/whole")
@requires(Permission.NAS_SECRET)
def whole(nas_id: int, backup_id: int) -> ResponseReturnValue:
    """Hand out a configuration with the secrets in it."""
    found = router_or_404(nas_id)
    backup = _backup(nas_id, backup_id)
    try:
        text = opened(context.portal().settings.keyring, backup)
    except SecretUnreadable:
        refuse(_("This backup cannot be opened: the key that it was sealed with is not known any more."))
        return redirect(url_for(".router", nas_id=nas_id))
    record(context.db(), context.actor(), "router.backup_taken", "router", nas_id, None, {"backup": backup.id})
    context.db().commit()
    response = make_response(f"# {''.join(each if each.isprintable() else ' ' for each in found.nas.name)}\n{text}")
    response.headers["Content-Type"] = "text/plain; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="router-{nas_id}-{backup.taken_at:%Y%m%d}.rsc"'
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/<int:nas_id>/backups/now")
@requires(Permission.ROUTERS_EDIT)
def take(nas_id: int) -> ResponseReturnValue:
    """Start a backup at once."""
    found = router_or_404(nas_id)
    if not found.nas.enabled:
        abort(409)
    job = start_job(context.db(), context.actor(), TAKE, {"nas_id": nas_id}, found.nas.name)
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))


def _backup(nas_id: int, backup_id: int) -> RouterBackup:
    found = context.db().get(RouterBackup, backup_id)
    return found if found is not None and found.nas_id == nas_id else abort(404)


def _shown(backup: RouterBackup) -> str | None:
    try:
        return shown(context.portal().settings.keyring, backup)
    except SecretUnreadable:
        return None


def _compare(older: RouterBackup, newer: RouterBackup) -> list[tuple[str, str]] | None:
    """Return kind and text of each line of the difference; None where one of both cannot be opened."""
    before, after = _shown(older), _shown(newer)
    if before is None or after is None:
        return None
    lines = difference(before, after, str(local_time(older.taken_at)), str(local_time(newer.taken_at)))
    kinds = {"+": "came", "-": "went", "@": "place"}
    return [("name" if number < 2 else kinds.get(line[:1], ""), line) for number, line in enumerate(lines)]
