from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.jobs import RunningJob, cancel_job
from crm.mass_change import BATCH, JOBS, Change, preview, start_change, start_undo
from crm.problems import Invalid
from db.audit import Actor
from db.models import AuditEntry, Job, JobLine, MassChange, MassChangeRow, Service
from db.session import make_engine
from tests.factories import Isp
from worker.jobs import run_job


@dataclass
class Changer:
    """An ISP whose staff change services, and a worker that does it at once."""

    isp: Isp
    engine: Engine

    @property
    def actor(self) -> Actor:
        return Actor(self.isp.operator_id, "ana@isp.example")

    def all_services(self):
        return select(Service.id).where(Service.operator_id == self.isp.operator_id)

    def queue(self, change: Change, seen: int | None = None) -> tuple[int, int]:
        """Start a change of all services; return the ids of its job and of itself."""
        with Session(self.engine) as session:
            expected = preview(session, change, self.all_services()).get("changes", 0) if seen is None else seen
            job = start_change(session, self.actor, change, self.all_services(), expected, "test")
            session.commit()
            return job.id, job.parameters["mass_change_id"]

    def work(self, job_id: int) -> Job:
        run_job(self.engine, self.isp.settings, job_id, JOBS)
        with Session(self.engine) as session:
            return session.get_one(Job, job_id)

    def change(self, change: Change) -> int:
        job_id, change_id = self.queue(change)
        assert self.work(job_id).state == "done"
        return change_id

    def undo(self, change_id: int) -> Job:
        with Session(self.engine) as session:
            job_id = start_undo(session, self.actor, session.get_one(MassChange, change_id), "test").id
            session.commit()
        return self.work(job_id)

    def service(self, name: str) -> Service:
        with Session(self.engine) as session:
            return session.get_one(Service, self.isp.services[name])

    def states(self, change_id: int) -> dict[str, tuple[str, str]]:
        names = {service_id: name for name, service_id in self.isp.services.items()}
        with Session(self.engine) as session:
            rows = session.scalars(select(MassChangeRow).where(MassChangeRow.mass_change_id == change_id))
            return {names[row.service_id]: (row.state, row.problem) for row in rows}


@pytest.fixture
def changer(installation: Settings) -> Iterator[Changer]:
    assert installation.database_url is not None
    engine = make_engine(installation.database_url.get_secret_value())
    isp = Isp.create(installation, address=None)
    yield Changer(isp, engine)
    isp.connection.close()
    engine.dispose()


def test_all_services_of_a_plan_get_another_and_get_it_back(changer: Changer):
    fast = changer.isp.plan(download=100_000_000, upload=50_000_000)
    for name in ("ana", "beto"):
        changer.isp.service(name)
    changer.isp.service("carla", plan_id=fast)
    changer.isp.service("dora", state="terminated")
    change_id = changer.change(Change("plan", plan_id=fast))
    assert changer.states(change_id) == {
        "ana": ("done", ""),
        "beto": ("done", ""),
        "carla": ("kept", "same"),
        "dora": ("kept", "terminated"),
    }
    assert changer.service("ana").plan_id == fast
    assert changer.undo(change_id).state == "done"
    assert changer.service("ana").plan_id == changer.isp.plan_id
    assert changer.service("carla").plan_id == fast


def test_services_managed_by_hand_are_not_suspended_unless_asked_for(changer: Changer):
    changer.isp.service("ana")
    changer.isp.service("beto", management="manual")
    with Session(changer.engine) as session:
        assert preview(session, Change("suspend"), changer.all_services()) == {"changes": 1, "manual": 1}
        everyone = preview(session, Change("suspend", everyone=True), changer.all_services())
    assert everyone == {"changes": 2}
    changer.change(Change("suspend", cause="overdue", detail="tower sold"))
    ana, beto = changer.service("ana"), changer.service("beto")
    assert (ana.state, ana.suspension_cause, ana.suspension_detail) == ("suspended", "overdue", "tower sold")
    assert beto.state == "active"


def test_who_was_paused_is_paused_again_when_a_suspension_is_taken_back(changer: Changer):
    changer.isp.service("ana", state="paused")
    change_id = changer.change(Change("suspend"))
    changer.undo(change_id)
    assert changer.service("ana").state == "paused"


def test_an_undone_restore_suspends_from_the_same_instant_for_the_same_reason(changer: Changer):
    changer.isp.service(
        "ana", state="suspended", suspended_at="2027-04-05T06:00Z", suspension_cause="overdue", suspension_detail="1041"
    )
    changer.isp.service("beto", state="suspended", suspended_at="2027-04-05T06:00Z", suspension_cause="abuse")
    before = changer.service("ana")
    change_id = changer.change(Change("restore"))
    assert changer.service("ana").state == "active"
    assert changer.states(change_id)["beto"] == ("kept", "abuse")
    changer.undo(change_id)
    ana = changer.service("ana")
    assert (ana.state, ana.suspended_at, ana.suspension_cause, ana.suspension_detail) == (
        "suspended", before.suspended_at, "overdue", "1041",
    )  # fmt: skip


def test_undo_leaves_alone_what_somebody_changed_since(changer: Changer):
    for name in ("ana", "beto"):
        changer.isp.service(name, management="automatic")
    change_id = changer.change(Change("management", management="manual"))
    changer.isp.update("service", changer.isp.services["beto"], management="automatic")
    changer.undo(change_id)
    assert changer.service("ana").management == "automatic"
    assert changer.states(change_id) == {"ana": ("undone", ""), "beto": ("kept", "changed")}


def test_the_day_until_which_services_are_paid_is_set_and_set_back(changer: Changer):
    changer.isp.service("ana", paid_until=date(2027, 3, 5))
    change_id = changer.change(Change("paid_until", paid_until=date(2099, 4, 5)))
    assert changer.service("ana").paid_until == date(2099, 4, 5)
    changer.undo(change_id)
    assert changer.service("ana").paid_until == date(2027, 3, 5)


def test_nothing_is_started_when_the_services_are_others_than_were_shown(changer: Changer):
    changer.isp.service("ana")
    with pytest.raises(Invalid):
        changer.queue(Change("suspend"), seen=2)
    with pytest.raises(Invalid):
        changer.queue(Change("plan", plan_id=10**9), seen=1)


def test_a_service_that_was_changed_while_the_job_waited_stays_as_it_is(changer: Changer):
    changer.isp.service("ana")
    changer.isp.service("beto")
    job_id, change_id = changer.queue(Change("suspend"))
    changer.isp.update("service", changer.isp.services["ana"], state="terminated", terminated_at="2027-04-05Z")
    changer.isp.update("service", changer.isp.services["beto"], management="manual")
    assert changer.work(job_id).outcome == {"done": 0, "kept": 2, "refused": 0, "url": f"/mass-changes/{change_id}"}
    assert changer.service("ana").state == "terminated"


def test_an_archived_plan_is_refused_and_taken_up_again_by_once_more(changer: Changer):
    target = changer.isp.plan()
    changer.isp.service("ana")
    job_id, change_id = changer.queue(Change("plan", plan_id=target))
    changer.isp.update("rate_plan", target, archived=True)
    job = changer.work(job_id)
    assert (job.done, job.failed) == (0, 1)
    assert changer.states(change_id) == {"ana": ("refused", "unknown_plan")}
    changer.isp.update("rate_plan", target, archived=False)
    changer.isp.update("job", job_id, state="queued")
    assert changer.work(job_id).failed == 0
    assert changer.service("ana").plan_id == target


def test_a_worker_that_dies_leaves_whole_batches_and_the_next_one_goes_on(
    changer: Changer, monkeypatch: pytest.MonkeyPatch
):
    for number in range(BATCH + 5):
        changer.isp.service(f"line-{number:03}")
    job_id, change_id = changer.queue(Change("suspend"))

    class Killed(BaseException):
        """What no code of ours catches."""

    advance = RunningJob.advance

    def die(job: RunningJob, done: int = 1, failed: int = 0) -> None:
        raise Killed

    monkeypatch.setattr(RunningJob, "advance", die)
    with pytest.raises(Killed):
        changer.work(job_id)
    states = [state for state, _problem in changer.states(change_id).values()]
    assert (states.count("done"), states.count("waiting")) == (BATCH, 5)
    monkeypatch.setattr(RunningJob, "advance", advance)
    job = changer.work(job_id)
    assert (job.state, job.attempts, job.outcome["done"]) == ("done", 2, 5)
    with Session(changer.engine) as session:
        suspensions = select(AuditEntry.entity_id).where(
            AuditEntry.operator_id == changer.isp.operator_id, AuditEntry.action == "service.suspend"
        )
        assert sorted(session.scalars(suspensions)) == sorted(changer.isp.services.values())


def test_what_was_done_before_a_cancel_stays_and_can_be_taken_back(changer: Changer, monkeypatch: pytest.MonkeyPatch):
    for number in range(BATCH + 5):
        changer.isp.service(f"line-{number:03}")
    job_id, change_id = changer.queue(Change("suspend"))
    monkeypatch.setattr("crm.jobs.BETWEEN_WRITES", 0)
    advance = RunningJob.advance

    def cancelled_after_one_batch(job: RunningJob, done: int = 1, failed: int = 0) -> None:
        with Session(changer.engine) as session:
            cancel_job(session, changer.actor, session.get_one(Job, job_id))
            session.commit()
        advance(job, done, failed)

    monkeypatch.setattr(RunningJob, "advance", cancelled_after_one_batch)
    assert changer.work(job_id).state == "cancelled"
    monkeypatch.setattr(RunningJob, "advance", advance)
    assert changer.undo(change_id).outcome["done"] == BATCH
    assert changer.service("line-000").state == "active"


def test_a_job_never_changes_the_services_of_another_operator(changer: Changer, installation: Settings):
    changer.isp.service("ana")
    _job_id, change_id = changer.queue(Change("suspend"))
    other = Isp.create(installation, address=None)
    stolen = other.insert(
        "job", operator_id=other.operator_id, kind="services.change", parameters=f'{{"mass_change_id": {change_id}}}'
    )
    assert changer.work(stolen).state == "failed"
    assert changer.service("ana").state == "active"
    with Session(changer.engine) as session:
        assert session.scalars(select(JobLine.level).where(JobLine.job_id == stolen)).all() == ["error"]
    other.connection.close()
