"""Step 4 of an import: the summary, writing, undoing, and what could not be written."""

import csv
import io
from collections.abc import Sequence
from datetime import timedelta

from flask import Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cells import defused
from crm.jobs import start_job
from crm.licences import standing_of
from db.models import ImportBatch, ImportRow, RatePlan, Router, RouterState, VpnPeer
from db.models.vpn import VpnPeerState
from network.importing.jobs import UNDO, WRITE
from network.importing.matching import Action
from network.importing.staging import Checked, examine
from network.importing.undo import hindrances
from portal import context
from portal.forms import Form, day
from portal.import_words import findings_of, problems_of
from portal.messages import refuse
from portal.permissions import Permission, requires
from portal.staff.imports.base import BAD, blueprint, find_batch, plans_on_sale
from portal.staff.imports.rows import changes_of

DIFFERENCES = 20
"""Updates of which the summary shows what changes; the others stand in the rows."""


class SummaryForm(Form):
    paid_until = day(_l("Paid until"))


@blueprint.get("/<int:batch_id>/summary")
@requires(Permission.IMPORTS)
def summary(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "found")
    checked = examine(context.db(), batch)
    context.db().commit()
    return _show_summary(batch, checked, SummaryForm(obj=batch))


@blueprint.post("/<int:batch_id>/write")
@requires(Permission.IMPORTS)
def write(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "found")
    form = SummaryForm()
    checked = examine(context.db(), batch)
    if not form.validate_on_submit() or not any(one.details is not None for one in checked):
        if not form.errors:
            form.form_errors.append(_("There is no row that could be written."))
        return _show_summary(batch, checked, form), 422
    batch.paid_until = form.paid_until.data
    batch.state = "writing"
    job = start_job(context.db(), context.actor(), WRITE, {"batch_id": batch.id}, batch.title)
    batch.job_id = job.id
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.post("/<int:batch_id>/undo")
@requires(Permission.IMPORTS)
def undo(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "written")
    if hindrances(context.db(), batch):
        refuse(_("This import cannot be undone any more; the page says why."))
    else:
        job = start_job(context.db(), context.actor(), UNDO, {"batch_id": batch.id}, batch.title)
        batch.job_id = job.id
        context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.get("/<int:batch_id>/bad.csv")
@requires(Permission.IMPORTS)
def bad_rows(batch_id: int) -> ResponseReturnValue:
    """The rows that were not, or cannot be, written: with line and reason, to put right and import again."""
    batch = find_batch(batch_id)
    text_file = io.StringIO()
    writer = csv.writer(text_file)
    titles = ("line", "subscriber", "name", "address", "mac", "download", "upload", "profile", "comment", "reason")
    writer.writerow(titles)
    query = select(ImportRow).where(ImportRow.batch_id == batch.id, BAD | (ImportRow.state == "bad"))
    for row in context.db().scalars(query.order_by(ImportRow.line)):
        reasons = problems_of(row) or [words for bars, words in findings_of(row) if bars]
        values = (
            row.line, row.subscriber_name, row.name or row.key, str(row.framed_ip or ""), row.mac or "",
            row.download or "", row.upload or "", row.profile, row.comment, " ".join(reasons),
        )  # fmt: skip
        writer.writerow([defused(value) for value in values])
    return Response(
        text_file.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="import-{batch.id}-not-written.csv"'},
    )


def _show_summary(batch: ImportBatch, checked: Sequence[Checked], form: SummaryForm) -> str:
    session = context.db()
    writable = [one for one in checked if one.details is not None]
    per_plan: dict[int | None, int] = {}
    for one in writable:
        if one.terms is None:
            continue
        per_plan[one.row.plan_id] = per_plan.get(one.row.plan_id, 0) + 1
    names = {plan.id: plan.name for plan in session.scalars(select(RatePlan))}
    updates = [one.row for one in writable if one.action is Action.UPDATE]
    return render_template(
        "staff/imports/summary.html", batch=batch, form=form,
        created=sum(one.action is not Action.UPDATE and one.terms is not None for one in writable),
        people=sum(one.terms is None for one in writable), updated=len(updates),
        ignored=sum(one.action is Action.IGNORE for one in checked),
        bad=[one for one in checked if one.details is None and one.action is not Action.IGNORE],
        suspended=sum(
            one.row.disabled and one.terms is not None and one.action is not Action.UPDATE for one in writable
        ),
        plans=sorted((names.get(plan_id or 0, _("as before")), count) for plan_id, count in per_plan.items()),
        changes=[(row, changes_of(row)) for row in updates[:DIFFERENCES]],
        preflight=_preflight(session, batch), room=_room(session, batch, writable),
    )  # fmt: skip


def _room(session: Session, batch: ImportBatch, writable: Sequence[Checked]) -> tuple[int, int] | None:
    """Return how many new subscribers the licence has places for, and how many come; None where all of them fit."""
    coming = sum(one.action is not Action.UPDATE for one in writable)
    room = standing_of(session, batch.operator_id).room
    return None if room is None or coming <= room else (room, coming)


def _preflight(session: Session, batch: ImportBatch) -> list[tuple[bool, str]]:
    """Return what should be so before an import: whether it is, and the sentence."""
    found = []
    if batch.nas_id is not None and session.get(Router, batch.nas_id) is not None:
        state = session.get(RouterState, batch.nas_id)
        online = state is not None and state.status == "online"
        found.append((online, _("The router is online.") if online else _("The router was not online when last seen.")))
    peer = session.scalar(select(VpnPeer).where(VpnPeer.nas_id == batch.nas_id)) if batch.nas_id else None
    if peer is not None:
        seen = session.get(VpnPeerState, peer.id)
        recent = seen is not None and seen.handshake_at is not None
        up = (
            recent
            and seen is not None
            and seen.handshake_at is not None
            and context.now() - seen.handshake_at < timedelta(minutes=5)
        )
        found.append((bool(up), _("Its VPN is up.") if up else _("Its VPN is down.")))
    plans = len(plans_on_sale(session))
    found.append((plans > 0, _("Rate plans are configured.") if plans else _("There is no rate plan yet.")))
    return found
