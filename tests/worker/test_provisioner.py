"""From the committed row to the queue on the router, over its real API: the provisioner on a thread, the reconciler
called by hand, and emulated routers.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.jobs import cancel_job, start_job
from db.audit import Actor
from db.models import Job, JobLine
from db.session import make_engine
from lab.routeros import Box, Trap
from network.jobs import JOBS
from network.provisioning import sweep
from network.provisioning.jobs import SYNC
from radius.reconcile import reconcile
from tests.conftest import free_port
from tests.factories import Isp
from tests.lab.routeros import EmulatedRouter, LoopThread, emulated_router, router_loop, running_router
from worker.jobs import JobRunner
from worker.provisioner import Provisioner

__all__ = ["emulated_router", "router_loop"]

SUSPENDED = {"state": "suspended", "suspended_at": datetime(2027, 1, 1, tzinfo=UTC), "suspension_cause": "overdue"}
ACTIVE = {"state": "active", "suspended_at": None}
QUEUES, LISTS = "/queue/simple", "/ip/firewall/address-list"


@dataclass
class Site:
    """An ISP with emulated routers and a provisioner that keeps them."""

    isp: Isp
    settings: Settings
    routers: Callable[..., EmulatedRouter]

    def router(self, number: int = 1, **options) -> tuple[int, EmulatedRouter]:
        router = self.routers(**options)
        return self.register(number, router.address, router.port, router.user, router.password), router

    def register(self, number: int, address: str, port: int, user: str = "admin", password: str = "secret") -> int:
        nas_id = self.isp.nas(f"10.250.0.{number}", name=f"torre {number}")
        self.isp.insert(
            "router", "nas_id", nas_id=nas_id, operator_id=self.isp.operator_id, api_address=address, api_port=port,
            api_user=user, api_password=self.settings.keyring.seal("router.password", password),
        )  # fmt: skip
        return nas_id

    def service(self, name: str, nas_id: int, address: str = "10.20.0.5", **values) -> int:
        made = self.isp.service(name, None, access_method="queue", nas_id=nas_id, framed_ip=address, **values)
        self.decide()
        return made

    def change(self, service_id: int, **values) -> None:
        self.isp.update("service", service_id, **values)
        self.decide()

    def decide(self) -> None:
        while reconcile(self.isp.connection, utc_now()) is None:
            time.sleep(0.01)

    def pending(self, nas_id: int) -> list[int]:
        return [
            row[0]
            for row in self.isp.fetch(
                "SELECT service_id FROM router_queue WHERE nas_id = %s AND pending_since IS NOT NULL", nas_id
            )
        ]

    def settled(self, nas_id: int, seconds: float = 8.0) -> None:
        until(lambda: not self.pending(nas_id), "the router to be right", seconds)

    def drift(self, nas_id: int) -> list[tuple]:
        return self.isp.fetch(
            "SELECT service_id, field, wanted, found FROM queue_drift WHERE nas_id = %s ORDER BY 1, 2", nas_id
        )

    def look_again(self, nas_id: int) -> None:
        """Let the time for a look at the whole router come, and wait for it."""
        self.isp.connection.execute("UPDATE router_sync SET looked_at = NULL WHERE nas_id = %s", (nas_id,))
        until(
            lambda: self.isp.fetch("SELECT 1 FROM router_sync WHERE nas_id = %s AND looked_at IS NOT NULL", nas_id),
            "the look",
        )


def until(condition: Callable[[], object], what: str, seconds: float = 8.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return time.monotonic() - begun


def queues(box: Box) -> dict[str, tuple[str, str]]:
    return {row.fields["name"]: (row.fields["target"], row.fields["max-limit"]) for row in box.table(QUEUES)}


def lists(box: Box) -> set[tuple[str, str]]:
    return {(row.fields["list"], row.fields["address"]) for row in box.table(LISTS)}


@pytest.fixture
def site(database, emulated_router) -> Iterator[Site]:
    isp = Isp.create(database, None)
    provisioner = Provisioner(database)
    provisioner.start()
    yield Site(isp, database, emulated_router)
    provisioner.stop()
    isp.connection.close()


def test_a_service_lives_on_its_router_from_the_first_day_to_the_last(site):
    nas_id, router = site.router()
    ana = site.service("ana", nas_id)
    site.settled(nas_id)
    assert queues(router.box) == {"ana": ("10.20.0.5/32", "5000000/20000000")}
    assert lists(router.box) == {("portico-active", "10.20.0.5")}
    site.change(ana, plan_id=site.isp.plan(download=80_000_000, upload=40_000_000))
    site.settled(nas_id)
    assert queues(router.box) == {"ana": ("10.20.0.5/32", "40000000/80000000")}
    site.change(ana, **SUSPENDED)
    site.settled(nas_id)
    assert queues(router.box) == {"ana": ("10.20.0.5/32", "512000/512000")}
    assert lists(router.box) == {("portico-suspended", "10.20.0.5")}
    site.change(ana, **ACTIVE)
    site.settled(nas_id)
    assert lists(router.box) == {("portico-active", "10.20.0.5")}
    site.change(ana, framed_ip="10.20.0.9")
    site.settled(nas_id)
    assert queues(router.box) == {"ana": ("10.20.0.9/32", "40000000/80000000")}
    assert lists(router.box) == {("portico-active", "10.20.0.9")}
    site.change(ana, state="terminated", terminated_at=utc_now())
    site.settled(nas_id)
    assert queues(router.box) == {}
    assert lists(router.box) == set()
    assert site.isp.fetch("SELECT 1 FROM router_queue") == []


def test_a_service_that_moves_leaves_its_old_router(site):
    first, old = site.router(1)
    second, new = site.router(2)
    ana = site.service("ana", first)
    site.settled(first)
    site.change(ana, nas_id=second)
    site.settled(first)
    site.settled(second)
    assert (queues(old.box), lists(old.box)) == ({}, set())
    assert queues(new.box) == {"ana": ("10.20.0.5/32", "5000000/20000000")}


def test_what_happened_while_a_router_was_off_is_done_when_it_is_back(site, router_loop: LoopThread):
    port = free_port()
    with running_router(router_loop, port=port) as router:
        box = router.box
        nas_id = site.register(1, router.address, port)
        ana = site.service("ana", nas_id)
        site.settled(nas_id)
    site.change(ana, **SUSPENDED)
    until(
        lambda: site.isp.fetch("SELECT cause FROM router_sync WHERE nas_id = %s", nas_id) == [("refused",)],
        "the cause",
    )
    assert site.pending(nas_id) == [ana]
    with running_router(router_loop, box=box, port=port):
        # The next try may be seconds away; that the router was seen ends the waiting.
        site.isp.insert("router_state", "nas_id", nas_id=nas_id, operator_id=site.isp.operator_id, status="offline")
        site.isp.connection.execute("UPDATE router_state SET status = 'online' WHERE nas_id = %s", (nas_id,))
        site.settled(nas_id)
        assert lists(box) == {("portico-suspended", "10.20.0.5")}
    ((cause, attempts),) = site.isp.fetch("SELECT cause, attempts FROM router_sync WHERE nas_id = %s", nas_id)
    assert (cause, attempts) == ("", 0)


def test_a_dead_router_delays_nobody(site):
    dead = [site.router(n)[0] for n in range(1, 4)]
    for number, nas_id in enumerate(dead):
        site.service(f"dead {number}", nas_id)
    silent = [site.router(n) for n in range(4, 7)]
    for _, router in silent:
        router.box.faults.silent = True
    for number, (nas_id, _) in enumerate(silent):
        site.service(f"silent {number}", nas_id)
    well, router = site.router(9)
    begun = time.monotonic()
    site.service("ana", well)
    site.settled(well)
    assert time.monotonic() - begun < 3
    assert "ana" in queues(router.box)
    assert all(site.pending(nas_id) for nas_id, _ in silent)


def test_what_the_isps_own_people_made_is_as_it_was(site):
    nas_id, router = site.router()
    for row in (
        {"name": "oficina", "target": "10.20.0.99/32", "max-limit": "7000000/7000000", "comment": "no tocar"},
        {"name": "ana", "target": "10.20.0.98/32", "max-limit": "0/0"},
    ):
        router.box.table(QUEUES).put(row)
    router.box.table(LISTS).put({"list": "portico-suspended", "address": "10.20.0.99", "comment": "abuso"})
    before = [dict(row.fields) for path in (QUEUES, LISTS) for row in router.box.table(path)]
    ana = site.service("ana", nas_id)
    site.settled(nas_id)
    assert f"ana #{ana}" in queues(router.box)
    site.change(ana, state="terminated", terminated_at=utc_now())
    site.settled(nas_id)
    assert [dict(row.fields) for path in (QUEUES, LISTS) for row in router.box.table(path)] == before


def test_a_queue_that_was_there_is_adopted(site):
    nas_id, router = site.router()
    router.box.table(QUEUES).put(
        {"name": "Ana torre", "target": "10.20.0.5/32", "max-limit": "1000000/1000000", "comment": "casa azul"}
    )
    ana = site.service("ana", nas_id)
    site.settled(nas_id)
    (row,) = router.box.table(QUEUES)
    assert row.fields["name"] == "Ana torre"
    assert row.fields["comment"] == f"casa azul portico:s={ana}"
    assert row.fields["max-limit"] == "5000000/20000000"
    assert site.isp.fetch("SELECT foreign_queues FROM router_sync WHERE nas_id = %s", nas_id) == [(0,)]


def test_what_somebody_changed_on_the_router_is_shown_and_not_undone(site):
    nas_id, router = site.router()
    ana = site.service("ana", nas_id)
    site.settled(nas_id)
    table = router.box.table(QUEUES)
    table.change(next(iter(table)), {"max-limit": "9000000/9000000"})
    site.look_again(nas_id)
    assert site.drift(nas_id) == [(ana, "rate", "5000000/20000000", "9000000/9000000")]
    assert queues(router.box)["ana"][1] == "9000000/9000000"


def test_a_router_that_was_reset_gets_everything_back(site):
    nas_id, router = site.router()
    for number in range(1, 6):
        site.service(f"s{number}", nas_id, f"10.20.0.{number}")
    site.settled(nas_id)
    for path in (QUEUES, LISTS):
        for row in list(router.box.table(path)):
            router.box.table(path).drop(row)
    site.look_again(nas_id)
    assert len(queues(router.box)) == len(lists(router.box)) == 5
    assert site.drift(nas_id) == []


def test_a_connection_cut_in_the_middle_leaves_nothing_half_done(site, monkeypatch):
    monkeypatch.setattr(sweep, "FIRST_PAUSE", sweep.FIRST_PAUSE / 50)
    nas_id, router = site.router()
    router.box.faults.cut_after = 900
    for number in range(1, 21):
        site.isp.service(f"s{number}", None, access_method="queue", nas_id=nas_id, framed_ip=f"10.20.0.{number}")
    site.decide()
    until(lambda: len(router.box.table(QUEUES)) >= 2, "the first tries", 10)
    assert site.pending(nas_id)
    router.box.faults.cut_after = None
    site.settled(nas_id, 20)
    assert len(queues(router.box)) == len(lists(router.box)) == 20


def test_a_queue_that_the_router_refuses_is_told_with_its_words_and_holds_up_no_other(site):
    nas_id, router = site.router()

    def refuse(kind, _call, _row, fields):
        if kind == "add" and fields.get("name") == "ana":
            raise Trap("failure: already have device with such name")

    router.box.guard(QUEUES, refuse)
    ana = site.service("ana", nas_id)
    ben = site.service("ben", nas_id, "10.20.0.6")
    until(lambda: site.pending(nas_id) == [ana], "the other to be right")
    assert "ben" in queues(router.box)
    ((problem,),) = site.isp.fetch("SELECT problem FROM router_queue WHERE service_id = %s", ana)
    assert "already have" in problem
    assert ben not in site.pending(nas_id)


def test_corrected_access_ends_the_waiting(site):
    router = site.routers()
    nas_id = site.register(1, router.address, router.port, router.user, "wrong")
    site.service("ana", nas_id)
    until(
        lambda: site.isp.fetch("SELECT cause FROM router_sync WHERE nas_id = %s", nas_id) == [("password",)],
        "the refusal",
    )
    sealed = site.settings.keyring.seal("router.password", router.password)
    site.isp.connection.execute("UPDATE router SET api_password = %s WHERE nas_id = %s", (sealed, nas_id))
    site.settled(nas_id, 2)


# Jobs: what a person asks for at one router.


def sync(site: Site, nas_id: int, *, until_said: str = "", **asked: object) -> tuple[Job, list[tuple[str, str, str]]]:
    """Start a job and return it as it ended, with its log; cancel it once its log says `until_said`."""
    assert site.settings.database_url is not None
    engine = make_engine(site.settings.database_url.get_secret_value())
    runner = JobRunner(site.settings, JOBS)
    try:
        with Session(engine, expire_on_commit=False) as session:
            actor = Actor(site.isp.operator_id, "maria@valle.example")
            job = start_job(session, actor, SYNC, {"nas_id": nas_id, **asked}, "torre")
            session.commit()
            runner.start()

            def log() -> list[tuple[str, str, str]]:
                columns = (JobLine.level, JobLine.item, JobLine.message)
                lines = session.execute(select(*columns).where(JobLine.job_id == job.id).order_by(JobLine.id)).all()
                session.rollback()
                return [tuple(line) for line in lines]

            if until_said:
                until(lambda: any(item == until_said for _, item, _ in log()), "the log", 15)
                cancel_job(session, actor, job)
                session.commit()

            def ended() -> bool:
                session.rollback()
                session.refresh(job)
                return job.state in ("done", "failed", "cancelled")

            until(ended, "the job to end", 15)
            said = log()
            session.refresh(job)
            return job, said
    finally:
        runner.stop()
        engine.dispose()


@pytest.fixture
def drifted(site) -> tuple[int, EmulatedRouter, int, int]:
    """A router with two services, on both of which somebody changed the rate."""
    nas_id, router = site.router()
    ana, ben = site.service("ana", nas_id), site.service("ben", nas_id, "10.20.0.6")
    site.settled(nas_id)
    table = router.box.table(QUEUES)
    for row in table:
        table.change(row, {"max-limit": "9000000/9000000"})
    site.look_again(nas_id)
    assert [row[:2] for row in site.drift(nas_id)] == [(ana, "rate"), (ben, "rate")]
    return nas_id, router, ana, ben


def test_one_service_is_made_right_and_the_others_are_left(site, drifted):
    nas_id, router, ana, ben = drifted
    job, log = sync(site, nas_id, services=[ana])
    assert (job.state, job.done, job.failed, job.total) == ("done", 1, 0, 1)
    assert [line[:2] for line in log] == [("info", "ana"), ("warning", "torre")], "what is left waits for somebody"
    assert [row[0] for row in site.drift(nas_id)] == [ben]
    assert {name: rate for name, (_, rate) in queues(router.box).items()} == {
        "ana": "5000000/20000000",
        "ben": "9000000/9000000",
    }


def test_everything_is_made_right(site, drifted):
    nas_id, router, _, _ = drifted
    job, _ = sync(site, nas_id, everything=True)
    assert (job.state, job.done) == ("done", 2)
    assert {rate for _, rate in queues(router.box).values()} == {"5000000/20000000"}
    assert site.drift(nas_id) == []


def test_a_cancelled_job_stops_between_two_services(site):
    nas_id, router = site.router()
    for number in range(1, 41):
        site.service(f"s{number:02}", nas_id, f"10.20.0.{number}")
    site.settled(nas_id)
    table = router.box.table(QUEUES)
    for row in table:
        table.change(row, {"max-limit": "9000000/9000000"})
    router.box.faults.reply_delay = 0.1
    job, _ = sync(site, nas_id, everything=True, until_said="s02")
    assert job.state == "cancelled"
    right = [name for name, (_, rate) in queues(router.box).items() if rate == "5000000/20000000"]
    assert 2 <= len(right) < 40
    assert len(site.drift(nas_id)) == 40 - len(right), "what was done until then is known to be done"


def test_a_job_at_a_router_that_is_off_says_so(site):
    nas_id = site.register(1, "127.0.0.1", free_port())
    site.service("ana", nas_id)
    job, log = sync(site, nas_id)
    assert (job.failed, job.outcome["reached"]) == (1, False)
    assert log[-1][0] == "error"
    assert site.pending(nas_id)


def test_a_job_of_one_operator_does_nothing_at_the_router_of_another(site):
    nas_id, router = site.router()
    ana = site.service("ana", nas_id)
    site.settled(nas_id)
    table = router.box.table(QUEUES)
    table.change(next(iter(table)), {"max-limit": "9000000/9000000"})
    others = Isp.create(site.settings, None)
    job, _ = sync(Site(others, site.settings, site.routers), nas_id, services=[ana], everything=True)
    others.connection.close()
    assert job.outcome == {"reached": False}
    assert queues(router.box)["ana"][1] == "9000000/9000000"
