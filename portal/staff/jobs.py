"""Jobs: the long work of this operator, its progress and log, cancel and repeat."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select, update

from crm.jobs import OPEN, cancel_job, repeat_job
from db.models import Job, JobLine, Staff
from portal import context
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")

LINES = 500
"""The newest lines of a log that a page shows; the errors come first in any case."""


def _states() -> Sequence[tuple[str, Any]]:
    return choices("job_state")


TABLE = Table(
    name="jobs",
    columns=(
        Column("at", _l("When"), lambda row: row.Job.created_at, Job.created_at),
        Column("kind", _l("Job"), lambda row: label("job_kind", row.Job.kind)),
        Column("subject", _l("About"), lambda row: row.Job.subject, wide=True),
        Column("state", _l("State"), lambda row: row.Job.state, words="job_state"),
        Column("done", _l("Done"), lambda row: row.Job.done, numeric=True),
        Column("failed", _l("Failed"), lambda row: row.Job.failed, numeric=True, wide=True),
        Column("by", _l("Started by"), lambda row: row.by, wide=True),
    ),
    order="-at",
    tie=Job.id,
    filters=(Filter("state", _l("Any state"), _states, lambda value: Job.state == value),),
)


@blueprint.get("/")
@requires(Permission.JOBS_VIEW)
def index() -> ResponseReturnValue:
    query = select(Job, Staff.name.label("by")).outerjoin(Staff, Staff.id == Job.staff_id)
    return show(context.db(), TABLE, query, "staff/jobs/index.html")


@blueprint.get("/<int:job_id>")
@requires(Permission.JOBS_VIEW)
def page(job_id: int) -> ResponseReturnValue:
    """Progress and log. The page asks again each second while the job is under way."""
    session = context.db()
    job = _job(job_id)
    lines = session.scalars(
        select(JobLine).where(JobLine.job_id == job.id).order_by(JobLine.level != "error", JobLine.id.desc())
        .limit(LINES)
    ).all()  # fmt: skip
    starter = session.get(Staff, job.staff_id) if job.staff_id else None
    if job.state not in OPEN and not job.told and job.staff_id == context.staff().id:
        session.execute(update(Job).where(Job.id == job.id).values(told=True))
        session.commit()
    return render_template(
        "staff/jobs/page.html", job=job, lines=lines, limit=LINES, starter=starter, under_way=job.state in OPEN,
        may_act=_may_act(job),
    )  # fmt: skip


@blueprint.post("/<int:job_id>/cancel")
@requires(Permission.JOBS_VIEW)
def cancel(job_id: int) -> ResponseReturnValue:
    job = _job(job_id)
    if not _may_act(job):
        abort(403)
    if cancel_job(context.db(), context.actor(), job):
        context.db().commit()
        done(_("The job ends after the item it is at."))
    else:
        refuse(_("This job has ended already."))
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.post("/<int:job_id>/again")
@requires(Permission.JOBS_VIEW)
def again(job_id: int) -> ResponseReturnValue:
    """Do the work once more, which takes up what failed and finds done what was done."""
    job = _job(job_id)
    if not _may_act(job):
        abort(403)
    if job.state in OPEN:
        refuse(_("This job is still under way."))
        return redirect(url_for("jobs.page", job_id=job.id))
    repeated = repeat_job(context.db(), context.actor(), job)
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=repeated.id))


def untold_jobs() -> Sequence[Job]:
    """Return the jobs of who is signed in that ended since they last looked."""
    person = context.signed_in_staff()
    if person is None:
        return ()
    query = select(Job).where(Job.staff_id == person.id, ~Job.told, Job.state.not_in(OPEN)).order_by(Job.id).limit(3)
    return context.db().scalars(query).all()


def line_text(line: JobLine) -> str:
    """Return what a line of a log says, in the reader's language."""
    return fill_in(_(line.message), line.values)


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Put values into a translated text. A text that asks for one that is not there is shown as it is."""
    try:
        return text % values if values else text
    except (KeyError, ValueError, TypeError):
        return text


def install(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals.update(untold_jobs=untold_jobs, job_line_text=line_text)


blueprint.record_once(install)


def _job(job_id: int) -> Job:
    return context.db().get(Job, job_id) or abort(404)


def _may_act(job: Job) -> bool:
    return job.staff_id == context.staff().id or context.may(Permission.JOBS_ALL)
