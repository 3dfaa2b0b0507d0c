"""Jobs: long work that a person starts, watches, leaves and comes back to.

The portal adds a row, a worker does what its `kind` names. Progress and log are written at once and beside the work's
own transactions, so that a page shows them while the work is under way and they stay when it is undone. A worker that
dies leaves the job to another, which does it again from the beginning: a job's function must be safe to run twice.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from core.i18n import N_
from core.settings import Settings
from db.audit import Actor, record
from db.models import Job, JobLine
from db.session import make_sessions

if TYPE_CHECKING:
    from sqlalchemy.orm import sessionmaker

OPEN = ("queued", "running")
GIVE_UP_AFTER = 3
"""Workers that may die over a job before it counts as what kills them."""
BETWEEN_WRITES = 0.25
"""Seconds between two writes of the progress: a person cannot read faster."""


class Cancelled(Exception):
    """Somebody asked for the job to end. What it has committed stays."""


JobFunction: TypeAlias = "Callable[[RunningJob], Mapping[str, object]]"


def start_job(session: Session, actor: Actor, kind: str, parameters: Mapping[str, object], subject: str = "") -> Job:
    """Queue a job; a worker takes it up once the caller commits. `parameters` must be plain JSON, without secrets."""
    job = Job(
        operator_id=actor.operator_id, kind=kind, subject=subject, parameters=dict(parameters), staff_id=actor.staff_id
    )
    session.add(job)
    session.flush()
    record(session, actor, "job.start", "job", job.id, None, {"kind": kind, "subject": subject})
    return job


def cancel_job(session: Session, actor: Actor, job: Job) -> bool:
    """Ask for a job to end and return whether it still could. One that waits ends at once."""
    asked = session.execute(
        update(Job).where(Job.id == job.id, Job.state.in_(OPEN)).values(cancel_asked=True).returning(Job.id)
    ).all()
    session.execute(
        update(Job).where(Job.id == job.id, Job.state == "queued").values(state="cancelled", finished_at=utc_now())
    )
    if asked:
        record(session, actor, "job.cancel", "job", job.id)
    session.refresh(job)
    return bool(asked)


def repeat_job(session: Session, actor: Actor, job: Job) -> Job:
    """Queue the same work once more; what was done before is found done."""
    return start_job(session, actor, job.kind, job.parameters, job.subject)


class RunningJob:
    """What a job's function works with."""

    def __init__(self, engine: Engine, settings: Settings, job: Job) -> None:
        self.id = job.id
        self.operator_id = job.operator_id
        self.staff_id = job.staff_id
        self.kind = job.kind
        self.subject = job.subject
        self.parameters: Mapping[str, Any] = job.parameters
        self.settings = settings
        self._engine = engine
        self._sessions: sessionmaker[Session] = make_sessions(engine)
        self._total = self._done = self._failed = 0
        self._lines: list[dict[str, object]] = []
        self._written = 0.0
        self._cancelled = False

    @property
    def keyring(self) -> Keyring:
        return self.settings.keyring

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session that sees the rows of every operator: the function keeps to `operator_id` itself."""
        with self._sessions() as session:
            yield session

    def plan(self, total: int) -> None:
        """Say how many items there are."""
        self._total = total
        self._write()

    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Say that so many more items are done, and so many could not be."""
        self._done += done
        self._failed += failed
        self._write_now_and_then()

    def log(self, level: str, item: str, message: str, **values: object) -> None:
        """Add a line: `level` info, warning or error; `message` a msgid, filled in from `values` when it is read."""
        self._lines.append(
            {
                "operator_id": self.operator_id,
                "job_id": self.id,
                "level": level,
                "item": item,
                "message": message,
                "values": {name: str(value) for name, value in values.items()},
                "at": utc_now(),
            }
        )
        self._write_now_and_then()

    def check_cancelled(self) -> None:
        """Raise Cancelled when somebody asked for the job to end. Call it between items, outside a transaction."""
        self._write_now_and_then()
        if self._cancelled:
            raise Cancelled

    def finish(self, state: str, outcome: Mapping[str, object]) -> None:
        """Write the rest of the log, the last counts and the outcome."""
        self._write(state=state, outcome=dict(outcome), finished_at=utc_now())

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._written >= BETWEEN_WRITES:
            self._write()

    def _write(self, **columns: object) -> None:
        with self._engine.begin() as connection:
            if self._lines:
                connection.execute(insert(JobLine), self._lines)
                self._lines = []
            self._cancelled = bool(
                connection.scalar(
                    update(Job)
                    .where(Job.id == self.id)
                    .values(total=max(self._total, self._done), done=self._done, failed=self._failed, **columns)
                    .returning(Job.cancel_asked)
                )
            )
        self._written = time.monotonic()


def waiting_jobs(session: Session) -> list[int]:
    """Return the jobs that nobody may be doing, oldest first: queued, or running with a worker that may be gone."""
    return list(session.scalars(select(Job.id).where(Job.state.in_(OPEN)).order_by(Job.id).limit(200)))


def take_job(session: Session, job_id: int) -> Job | None:
    """Mark a job as running and return it, or None if it has ended meanwhile. The caller holds the job's lock."""
    job = session.scalar(select(Job).where(Job.id == job_id, Job.state.in_(OPEN)).with_for_update())
    if job is None:
        return None
    if job.cancel_asked and job.state == "running":
        job.state, job.finished_at = "cancelled", utc_now()
    elif job.attempts >= GIVE_UP_AFTER:
        job.state, job.finished_at = "failed", utc_now()
        session.add(
            JobLine(
                operator_id=job.operator_id, job_id=job.id, level="error",
                message=N_("The worker ended several times while it did this; it is not tried again."),
            )
        )  # fmt: skip
    else:
        job.state, job.attempts, job.started_at = "running", job.attempts + 1, utc_now()
        job.total = job.done = job.failed = 0
        if job.attempts > 1:
            session.add(
                JobLine(
                    operator_id=job.operator_id, job_id=job.id, level="warning",
                    message=N_("The worker that did this ended; it is begun again."),
                )
            )  # fmt: skip
    session.commit()
    return job if job.state == "running" else None
