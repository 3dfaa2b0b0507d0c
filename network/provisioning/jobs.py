"""A visit to one router that somebody asked for, with what it does written into the job's log as it goes."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import sleep

from sqlalchemy import text

from core.clock import utc_now
from core.i18n import N_
from crm.jobs import RunningJob
from network.provisioning.diff import Difference, Field
from network.provisioning.sweep import ROUTER_LOCK, Situation, Visit, read_situation, record_visit, visit_router
from network.provisioning.want import marker

SYNC = "provisioning.sync"
"""Parameters: `nas_id`; `services`, whose differences are ended whatever they are; `everything`, for all of them."""

DONE: Mapping[Field, str] = {
    Field.QUEUE: N_("Queue made, adopted or removed"),
    Field.ADDRESS: N_("Address put right"),
    Field.RATE: N_("Speed put right"),
    Field.BURST: N_("Burst put right"),
    Field.MINIMUM: N_("Guaranteed speed put right"),
    Field.PRIORITY: N_("Priority put right"),
    Field.SWITCHED_OFF: N_("Queue switched on"),
    Field.COPY: N_("Second queue removed"),
    Field.LIST: N_("Address list put right"),
    Field.UNKNOWN: N_("Queue of no service removed"),
}


def sync_router(job: RunningJob) -> Mapping[str, object]:
    """Make a router right. What it had pending is done in any case, and so is what nobody can have meant."""
    nas_id = int(job.parameters["nas_id"])
    with _alone_with(job, nas_id):
        with job.session() as session:
            situation = read_situation(session, job.keyring, nas_id)
        if situation is None or situation.operator_id != job.operator_id:
            job.log("error", "", N_("This router is gone, or not in use."))
            return {"reached": False}
        visit = Visit()
        try:
            asyncio.run(_visit(job, situation, visit))
        finally:
            with job.session() as session:
                record_visit(session, situation, visit, utc_now())
                session.commit()
    if visit.problem is not None:
        job.log(
            "error",
            job.subject,
            N_("The router does not answer (%(cause)s). What is pending is done as soon as it is back."),
            cause=visit.problem.detail or visit.problem.cause.value,
        )
        job.advance(0, failed=max(len(visit.outstanding), 1))
    elif not visit.todo:
        job.log("info", job.subject, N_("Nothing was to be done at once."))
    left = len(visit.differences) - len(visit.applied.done)
    if left:
        job.log(
            "warning",
            job.subject,
            N_("Differences that wait for somebody to decide: %(count)s. They are on the page of its queues."),
            count=left,
        )
    elif visit.looked:
        job.log("info", job.subject, N_("The router has what it should."))
    return {
        "reached": visit.problem is None,
        "queues": visit.queues,
        "foreign_queues": visit.foreign_queues,
        "differences": len(visit.differences),
        "put_right": len(visit.applied.done),
        "refused": len(visit.applied.refused),
    }


async def _visit(job: RunningJob, situation: Situation, visit: Visit) -> None:
    names = {standing.service_id: standing.name for standing in situation.standings}
    kinds: dict[int, list[Field]] = {}

    def planned(todo: Sequence[Difference]) -> None:
        for difference in todo:
            kinds.setdefault(difference.service_id, []).append(difference.field)
        job.plan(len(kinds))

    async def each(service_id: int, refused: str) -> None:
        name = names.get(service_id, marker(service_id))
        if refused:
            job.log("error", name, N_("The router refused it: %(words)s"), words=refused)
            job.advance(0, failed=1)
        else:
            for kind in kinds[service_id]:
                job.log("info", name, DONE[kind])
            job.advance()
        job.check_cancelled()

    await visit_router(
        situation,
        visit,
        job.parameters.get("services", ()),
        everything=bool(job.parameters.get("everything")),
        planned=planned,
        each=each,
    )


@contextmanager
def _alone_with(job: RunningJob, nas_id: int) -> Iterator[None]:
    """Wait until nobody else works at the router, and keep others away meanwhile."""
    key = {"lock": ROUTER_LOCK, "nas": nas_id % 2**31}
    with job.session() as session:
        connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock, :nas)"), key):
            job.check_cancelled()
            sleep(0.1)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock, :nas)"), key)
