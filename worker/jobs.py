"""The part of a worker that does jobs: a thread that listens for new ones, and a few that do them.

A job is held by an advisory lock of the connection that its thread keeps open, so a job whose worker was killed is
free in the same moment, and nobody has to guess from the age of a heartbeat whether a worker is dead or slow.
"""

import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from core.i18n import N_
from core.settings import Settings
from crm.jobs import Cancelled, JobFunction, RunningJob, take_job, waiting_jobs
from crm.problems import Invalid
from worker.listener import Listener

NEW = "portico_job"
LOOK = 5.0
"""Seconds after which it is looked for jobs although nobody told of one."""
AT_ONCE = 3
LOCK = 7470

log = structlog.get_logger()


def job_functions() -> Mapping[str, JobFunction]:
    """Return what each kind of job is done by."""
    functions: dict[str, JobFunction] = {}
    for module in ("network.jobs", "billing.jobs"):
        if find_spec(module) is not None:
            functions.update(import_module(module).JOBS)
    return functions


class JobRunner(Listener):
    """Does jobs between `start()` and `stop()`."""

    def __init__(self, settings: Settings, functions: Mapping[str, JobFunction] | None = None) -> None:
        super().__init__(
            settings, "jobs", NEW, look=LOOK, at_once=AT_ONCE, pool_size=AT_ONCE * 2, max_overflow=AT_ONCE
        )  # fmt: skip
        self._functions = functions
        self._busy: set[int] = set()
        self._guard = threading.Lock()

    def take_up(self, engine: Engine) -> None:
        with Session(engine) as session:
            waiting = waiting_jobs(session)
        for job_id in waiting:
            with self._guard:
                if job_id in self._busy or len(self._busy) >= AT_ONCE:
                    continue
                self._busy.add(job_id)
            self.threads.submit(self._do, engine, job_id)

    def _do(self, engine: Engine, job_id: int) -> None:
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as holding:
                lock = {"lock": LOCK, "job": job_id % 2**31}
                if not holding.scalar(text("SELECT pg_try_advisory_lock(:lock, :job)"), lock):
                    return
                try:
                    run_job(engine, self.settings, job_id, self._functions or job_functions())
                finally:
                    holding.execute(text("SELECT pg_advisory_unlock(:lock, :job)"), lock)
        except Exception:
            log.exception("job_lost", job_id=job_id)
        finally:
            with self._guard:
                self._busy.discard(job_id)


def run_job(engine: Engine, settings: Settings, job_id: int, functions: Mapping[str, JobFunction]) -> None:
    """Do one job to its end, whatever that is, and write it down. The caller holds the job's lock."""
    with Session(engine, expire_on_commit=False) as session:
        job = take_job(session, job_id)
    if job is None:
        return
    running = RunningJob(engine, settings, job)
    bound = log.bind(job_id=job_id, kind=job.kind, operator_id=job.operator_id)
    bound.info("job_begun", attempt=job.attempts)
    try:
        outcome = functions[job.kind](running)
    except Cancelled:
        running.log("warning", "", N_("Cancelled; what was done until then stays."))
        running.finish("cancelled", {})
        bound.info("job_cancelled")
    except Invalid as refused:
        for problem in refused.problems:
            running.log("error", problem.field, N_("This was refused: %(problem)s"), problem=problem.problem.value)
        running.finish("failed", {})
        bound.info("job_refused")
    except Exception as problem:
        # The class alone: the text of a database's or a router's error may quote what it was given.
        running.log(
            "error", "", N_("It ended with an error: %(error)s. The worker's log says more."),
            error=type(problem).__name__,
        )  # fmt: skip
        running.finish("failed", {})
        log.exception("job_failed", job_id=job_id, kind=job.kind)
    else:
        running.finish("done", outcome)
        # What a job found may be long, and name people; it is in the job.
        plain = {str(key): value for key, value in outcome.items() if isinstance(value, int | str)}
        bound.info("job_done", **plain)
