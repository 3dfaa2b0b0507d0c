"""The jobs of imports: reading a router, writing what was decided, undoing it."""

from collections.abc import Callable, Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from core.clock import utc_now
from core.i18n import N_
from crm.jobs import RunningJob
from db.audit import Actor
from db.models import ImportBatch, ImportRow, Router, Staff
from network.access import access_of
from network.api import RouterApi, open_router
from network.importing.candidate import Candidate
from network.importing.sources import hotspot, leases, queues, secrets
from network.importing.staging import stage
from network.importing.undo import CannotUndo, undo
from network.importing.writing import write
from network.problems import RouterProblem

READ, WRITE, UNDO = "imports.read", "imports.write", "imports.undo"
READERS: Mapping[str, Callable[[RouterApi], list[Candidate]]] = {
    "queues": queues.read,
    "secrets": secrets.read,
    "leases": leases.read,
    "hotspot": hotspot.read,
}
READ_TIMEOUT = 60.0
"""Seconds that one menu of a router may take: a small board lists thousands of queues slowly."""


def read_router(job: RunningJob) -> Mapping[str, object]:
    """Read a router's clients into the batch of the job's parameters. A router that fails is a problem of the batch."""
    job.plan(3)
    with job.session() as session:
        batch = batch_of(job, session)
        router = session.scalar(
            select(Router)
            .where(Router.nas_id == batch.nas_id, Router.operator_id == job.operator_id)
            .options(joinedload(Router.nas))
        )
        if batch.state != "reading":
            return {"rows": 0}
        if router is None:
            batch.state, batch.problem = "failed", "no_router"
            session.commit()
            job.log("error", batch.title, N_("This NAS has no API: say first how the router is reached."))
            return _failed(job, "no_router")
        access = access_of(router, job.keyring, READ_TIMEOUT)
        session.commit()
        try:
            with open_router(access) as api:
                job.advance()
                found = READERS[batch.source](api)
        except RouterProblem as problem:
            batch.state, batch.problem, batch.detail = "failed", problem.cause.value, problem.detail[:500]
            session.commit()
            job.log("error", batch.title, N_("The router could not be read: %(cause)s. %(detail)s"),
                    cause=problem.cause.value, detail=problem.detail[:500])  # fmt: skip
            return _failed(job, problem.cause.value)
        job.advance()
        job.check_cancelled()
        rows = stage(session, job.keyring, batch, found)
        session.commit()
    job.advance()
    return {"rows": rows, "url": f"/imports/{batch.id}"}


def write_batch(job: RunningJob) -> Mapping[str, object]:
    """Write what was decided, in one transaction: an end in the middle leaves nothing behind."""
    with job.session() as session:
        batch = batch_of(job, session)
        actor = actor_of(job, session)
        job.plan(session.scalar(select(func.count()).where(ImportRow.batch_id == batch.id)) or 0)

        def progress(done: int, failed: int) -> None:
            job.advance(done, failed)
            job.check_cancelled()

        counts = write(session, actor, batch, utc_now(), progress)
        session.commit()
        return {**counts, "url": f"/imports/{batch.id}"}


def undo_batch(job: RunningJob) -> Mapping[str, object]:
    """Undo an import as a whole."""
    with job.session() as session:
        batch = batch_of(job, session)
        try:
            counts = undo(session, actor_of(job, session), batch, utc_now())
        except CannotUndo as hindered:
            session.rollback()
            for one in hindered.hindrances:
                job.log("error", ", ".join(one.examples), OBSTACLES[one.obstacle.value], rows=one.rows, table=one.table)
            return _failed(job, "depended_on")
        session.commit()
        return {**counts, "url": f"/imports/{batch.id}"}


OBSTACLES: Mapping[str, str] = {
    "changed": N_("%(rows)s were edited since the import."),
    "sessions": N_("%(rows)s have been online."),
    "usage": N_("%(rows)s have used data."),
    "more_services": N_("%(rows)s have been given another service."),
    "referenced": N_("%(rows)s have entries that depend on them (%(table)s)."),
    "taken_over": N_("%(rows)s were taken over: give them back to the router first."),
}


def batch_of(job: RunningJob, session: Session) -> ImportBatch:
    """Return the batch that a job is about. Raises NoResultFound when it was discarded."""
    return session.scalars(
        select(ImportBatch).where(
            ImportBatch.id == job.parameters["batch_id"], ImportBatch.operator_id == job.operator_id
        )
    ).one()


def _failed(job: RunningJob, problem: str) -> Mapping[str, object]:
    """End a job whose log says why it could not be done. It is no fault of ours, so nothing is raised."""
    job.advance(0, 1)
    return {"problem": problem}


def actor_of(job: RunningJob, session: Session) -> Actor:
    """Return who started a job, for the audit log."""
    person = session.get(Staff, job.staff_id) if job.staff_id is not None else None
    return Actor(job.operator_id, person.email if person else "worker", job.staff_id)
