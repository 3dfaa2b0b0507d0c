"""A router's pools: compared as addresses, written by a job over the real API, and what others made left alone."""

from dataclasses import dataclass, replace

import pytest
from sqlalchemy.orm import Session

from crm.jobs import start_job
from db.audit import Actor
from db.models import Job, RouterPools
from db.session import make_engine
from network.jobs import JOBS
from network.pools import LOOK, MARK, WRITE, Compared, Difference, PoolRow, compare
from tests.factories import Isp
from worker.jobs import run_job

HOME = PoolRow("casas", 4, "10.20.0.1-10.20.0.254")


@pytest.mark.parametrize(
    "ranges",
    ["10.20.0.1-10.20.0.254", "10.20.0.1-10.20.0.99,10.20.0.100-10.20.0.254", "10.20.0.2-10.20.0.254, 10.20.0.1"],
)
def test_ranges_are_the_same_however_they_are_written(ranges):
    assert compare([HOME], [replace(HOME, ranges=ranges)])[0].difference is Difference.EQUAL


@pytest.mark.parametrize("ranges", ["10.20.0.1-10.20.0.253", "10.20.0.0/24", "", "<b>", "10.20.0.1-x"])
def test_other_addresses_differ(ranges):
    assert compare([HOME], [replace(HOME, ranges=ranges)])[0].difference is Difference.DIFFERENT


def test_each_name_of_either_side_is_told_once():
    found = [PoolRow("hotspot", 4, "10.5.0.0/24", ours=False), PoolRow("old", 4, "10.9.0.0/24")]
    assert compare([HOME], found) == [
        Compared("casas", 4, Difference.MISSING, HOME.ranges),
        Compared("hotspot", 4, Difference.FOREIGN, "", "10.5.0.0/24", ours=False),
        Compared("old", 4, Difference.LEFT_OVER, "", "10.9.0.0/24"),
    ]


@dataclass
class Site:
    isp: Isp
    nas_id: int
    box: object

    def pool(self, name: str, network: str, **values) -> None:
        values = {"kind": "ipv4", "assignment": "dynamic", "prefix_length": 32, **values}
        self.isp.insert("address_pool", operator_id=self.isp.operator_id, name=name, network=network, **values)

    def run(self, kind: str) -> tuple[Job, RouterPools | None]:
        assert self.isp.settings.database_url is not None
        engine = make_engine(self.isp.settings.database_url.get_secret_value())
        with Session(engine, expire_on_commit=False) as session:
            job = start_job(session, Actor(self.isp.operator_id, "test"), kind, {"nas_id": self.nas_id}, "torre")
            session.commit()
            run_job(engine, self.isp.settings, job.id, JOBS)
            session.refresh(job)
            state = session.get(RouterPools, self.nas_id)
        engine.dispose()
        return job, state

    def rows(self, path: str = "/ip/pool") -> dict[str, str]:
        return {row["name"]: row.get("ranges") or row.get("prefix") for row in self.box.table(path).find()}


@pytest.fixture
def site(installation, emulated_router):
    router = emulated_router()
    isp = Isp.create(installation, None)
    nas_id = isp.nas(f"10.251.{isp.operator_id % 250}.1", name="torre")
    isp.insert(
        "router", "nas_id", nas_id=nas_id, operator_id=isp.operator_id, api_address=router.address,
        api_port=router.port, api_user=router.user,
        api_password=installation.keyring.seal("router.password", router.password),
    )  # fmt: skip
    yield Site(isp, nas_id, router.box)
    isp.connection.close()


def test_what_is_missing_is_put_on_the_router_and_a_second_time_nothing_is(site):
    site.pool("casas", "10.20.0.0/24", first_address="10.20.0.10")
    site.pool("lineas", "2001:db8:1000::/40", kind="ipv6_delegated", prefix_length=56)
    site.pool("fijas", "10.30.0.0/24", assignment="fixed")
    job, state = site.run(WRITE)
    assert (job.state, job.outcome) == ("done", {"reached": True, "written": 2, "left": 0})
    assert site.rows() == {"casas": "10.20.0.10-10.20.0.254"}
    assert site.rows("/ipv6/pool") == {"lineas": "2001:db8:1000::/40"}
    assert site.box.table("/ip/pool").first(name="casas")["comment"] == MARK
    assert {row["name"]: row["ours"] for row in state.pools} == {"casas": True, "lineas": True}
    assert site.run(WRITE)[0].outcome == {"reached": True, "written": 0, "left": 0}


def test_ours_is_made_right_and_what_others_made_is_not_touched(site):
    site.pool("casas", "10.20.0.0/24")
    site.pool("hotspot", "10.5.0.0/24")
    site.box.table("/ip/pool").put({"name": "casas", "ranges": "10.20.0.1-10.20.0.9", "comment": f"{MARK} Torre"})
    site.box.table("/ip/pool").put({"name": "hotspot", "ranges": "10.5.0.1-10.5.0.9", "comment": "no tocar"})
    job, _state = site.run(WRITE)
    assert job.outcome == {"reached": True, "written": 1, "left": 1}
    assert site.rows() == {"casas": "10.20.0.1-10.20.0.254", "hotspot": "10.5.0.1-10.5.0.9"}
    assert site.box.table("/ip/pool").first(name="casas")["comment"] == f"{MARK} Torre"


def test_looking_changes_nothing_and_is_remembered_when_the_router_is_off(site):
    site.pool("casas", "10.20.0.0/24")
    job, state = site.run(LOOK)
    assert (site.rows(), state.pools, state.cause) == ({}, [], "")
    site.box.faults.silent = True
    site.isp.connection.execute("UPDATE router SET api_port = 1 WHERE nas_id = %s", (site.nas_id,))
    job, later = site.run(LOOK)
    assert (job.failed, later.cause, later.looked_at) == (1, "refused", state.looked_at)


def test_a_refusal_of_the_router_is_told_in_its_own_words(site):
    site.pool("casas", "10.20.0.0/24")
    site.box.faults.traps["/ip/pool/add"] = "failure: <no> room"
    job, _state = site.run(WRITE)
    assert (job.failed, job.outcome["left"]) == (1, 1)
    lines = site.isp.fetch('SELECT "values" FROM job_line WHERE job_id = %s AND level = %s', job.id, "error")
    assert lines == [({"words": "failure: <no> room"},)]
