"""Jobs done by a runner of the worker on a real PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.jobs import GIVE_UP_AFTER, RunningJob, cancel_job, repeat_job, start_job
from db.audit import Actor
from db.migrate import migrate
from db.models import Job, JobLine, Subscriber
from db.session import make_engine
from tests.rows import add_operator
from worker.jobs import LOCK, JobRunner, run_job


@pytest.fixture(scope="module")
def engine(installation: Settings) -> Iterator[object]:
    migrate(installation)
    assert installation.database_url is not None
    made = make_engine(installation.database_url.get_secret_value())
    yield made
    made.dispose()


@pytest.fixture
def session(engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


@pytest.fixture
def actor(session: Session) -> Actor:
    operator_id = add_operator(session)
    session.commit()
    return Actor(operator_id, "maria@example.com")


@pytest.fixture
def runner(installation: Settings) -> Iterator[Callable[..., JobRunner]]:
    """A function that starts a runner with these jobs."""
    started: list[JobRunner] = []

    def start(**functions: Callable[[RunningJob], Mapping[str, object]]) -> JobRunner:
        made = JobRunner(installation, functions)
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()


def queued(session: Session, actor: Actor, kind: str, **parameters: object) -> Job:
    job = start_job(session, actor, kind, parameters, "Torre Norte")
    session.commit()
    return job


def ended(session: Session, job: Job, seconds: float = 15) -> Job:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        session.rollback()
        session.refresh(job)
        if job.state not in ("queued", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"job is still {job.state}")


def lines(session: Session, job: Job) -> list[tuple[str, str]]:
    return [
        (line.level, line.message)
        for line in session.scalars(select(JobLine).where(JobLine.job_id == job.id).order_by(JobLine.id))
    ]


def test_a_job_is_done_and_its_progress_and_log_stay(session, actor, runner):
    def count_to(job: RunningJob) -> Mapping[str, object]:
        job.plan(job.parameters["numbers"])
        for number in range(job.parameters["numbers"]):
            if number == 2:
                job.log("error", str(number), "%(number)s could not be done", number=number)
                job.advance(done=0, failed=1)
            else:
                job.advance()
        return {"counted": True}

    runner(count_to=count_to)
    job = ended(session, queued(session, actor, "count_to", numbers=5))
    assert (job.state, job.total, job.done, job.failed, job.outcome) == ("done", 5, 4, 1, {"counted": True})
    assert lines(session, job) == [("error", "%(number)s could not be done")]


def test_a_job_begins_within_a_second_of_its_commit(session, actor, runner):
    runner(nothing=lambda job: {})
    ended(session, queued(session, actor, "nothing"))  # the runner listens by now
    job = ended(session, queued(session, actor, "nothing"))
    assert (job.started_at - job.created_at).total_seconds() < 1


def test_a_job_that_fails_says_so_and_keeps_what_it_was_told_to_itself(session, actor, runner):
    def fail(job: RunningJob) -> Mapping[str, object]:
        raise RuntimeError("password hunter2")

    runner(fail=fail)
    job = ended(session, queued(session, actor, "fail"))
    assert job.state == "failed"
    told = session.scalars(select(JobLine).where(JobLine.job_id == job.id)).one()
    assert told.values == {"error": "RuntimeError"}
    assert "hunter2" not in told.message


def test_work_that_is_undone_leaves_its_progress_and_log(session, actor, runner):
    def half(job: RunningJob) -> Mapping[str, object]:
        with job.session() as rows:
            rows.add(Subscriber(operator_id=job.operator_id, name="Half"))
            rows.flush()
            job.advance()
            job.log("info", "Half", "written")
            raise RuntimeError

    runner(half=half)
    job = ended(session, queued(session, actor, "half"))
    assert (job.state, job.done) == ("failed", 1)
    assert lines(session, job)[0] == ("info", "written")
    assert session.scalars(select(Subscriber).where(Subscriber.operator_id == actor.operator_id)).all() == []


def test_a_running_job_ends_when_it_is_cancelled(session, actor, runner):
    begun = threading.Event()

    def long(job: RunningJob) -> Mapping[str, object]:
        begun.set()
        for _ in range(600):
            job.check_cancelled()
            time.sleep(0.05)
        raise AssertionError("was never cancelled")

    runner(long=long)
    job = queued(session, actor, "long")
    assert begun.wait(10)
    assert cancel_job(session, actor, job)
    session.commit()
    assert ended(session, job).state == "cancelled"
    assert not cancel_job(session, actor, job)


def test_a_waiting_job_is_cancelled_at_once_and_never_begun(session, actor, runner):
    job = queued(session, actor, "never")
    assert cancel_job(session, actor, job)
    session.commit()
    assert job.state == "cancelled"
    runner(never=lambda job: pytest.fail("was begun"), other=lambda job: {})
    ended(session, queued(session, actor, "other"))
    session.refresh(job)
    assert (job.state, job.attempts) == ("cancelled", 0)


def test_the_job_of_a_worker_that_was_killed_is_begun_again(session, actor, runner, system_dsn):
    """What a killed process leaves: a row that says running, and no connection that holds its lock."""
    times: list[int] = []

    def step(job: RunningJob) -> Mapping[str, object]:
        times.append(1)
        return {}

    job = queued(session, actor, "step")
    with psycopg.connect(system_dsn, autocommit=True) as worker:
        worker.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK, job.id))
        worker.execute("UPDATE job SET state = 'running', attempts = 1, done = 7 WHERE id = %s", (job.id,))
        runner(step=step)
        time.sleep(1.5)
        assert times == [], "another worker holds it"
    job = ended(session, job)
    assert (job.state, job.attempts, job.done, times) == ("done", 2, 0, [1])
    assert lines(session, job) == [("warning", "The worker that did this ended; it is begun again.")]


def test_a_job_that_kills_its_workers_is_given_up(session, actor, engine, installation):
    job = queued(session, actor, "deadly")
    job.state, job.attempts = "running", GIVE_UP_AFTER
    session.commit()
    run_job(engine, installation, job.id, {"deadly": lambda job: pytest.fail("was begun")})
    assert ended(session, job).state == "failed"


def test_two_runners_do_each_job_once(session, actor, runner):
    done: list[int] = []

    def slow(job: RunningJob) -> Mapping[str, object]:
        done.append(job.id)
        time.sleep(0.05)
        return {}

    jobs = [queued(session, actor, "slow") for _ in range(12)]
    runner(slow=slow)
    runner(slow=slow)
    assert {ended(session, job).state for job in jobs} == {"done"}
    assert sorted(done) == [job.id for job in jobs]


def test_a_job_of_an_unknown_kind_fails_and_the_next_one_is_done(session, actor, runner):
    runner(known=lambda job: {})
    unknown = queued(session, actor, "unknown")
    known = queued(session, actor, "known")
    assert ended(session, known).state == "done"
    assert ended(session, unknown).state == "failed"


def test_a_job_is_repeated_with_the_same_parameters(session, actor, runner):
    runner(told=lambda job: dict(job.parameters))
    job = ended(session, queued(session, actor, "told", rows=[1, 2]))
    again = repeat_job(session, actor, job)
    session.commit()
    assert ended(session, again).outcome == {"rows": [1, 2]}
    assert again.id != job.id
