"""Ports by arithmetic: each port has one subscriber, each subscriber the same ports, and the router the same rules."""

import ipaddress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.jobs import start_job
from crm.problems import Invalid, Problem
from db.audit import Actor
from db.models import AuditEntry, CgnatPlan, Job
from db.session import make_engine
from lab.routeros.script_device import run_import
from network.cgnat import MENU, NoRoom, Outside, PortPlan, rule_count, rules, script
from network.cgnat_plans import (
    TAKE_OFF,
    WRITE,
    PlanTerms,
    change_plan,
    checked_plan,
    create_plan,
    end_plan,
    plans_of_public,
    port_plan,
)
from network.jobs import JOBS
from tests.factories import Isp
from worker.jobs import run_job

PUBLIC = ipaddress.IPv4Address("203.0.113.10")
HOUSES = PortPlan(ipaddress.IPv4Network("100.64.0.0/26"), PUBLIC, PUBLIC + 1, 2000)


def test_addresses_are_filled_one_after_the_other():
    assert (HOUSES.per_address, HOUSES.blocks, HOUSES.addresses_used, HOUSES.ports_left) == (32, 64, 2, 512)
    assert HOUSES.outside(ipaddress.IPv4Address("100.64.0.0")) == Outside(PUBLIC, 1024, 3023)
    assert HOUSES.outside(ipaddress.IPv4Address("100.64.0.31")) == Outside(PUBLIC, 63_024, 65_023)
    assert HOUSES.outside(ipaddress.IPv4Address("100.64.0.32")) == Outside(PUBLIC + 1, 1024, 3023)


@pytest.mark.parametrize(
    ("public", "port"),
    [(PUBLIC, 1023), (PUBLIC, 65_024), (PUBLIC, 65_535), (PUBLIC - 1, 2000), (PUBLIC + 2, 2000)],
)
def test_a_port_that_no_block_has_is_nobodys(public, port):
    assert HOUSES.inside(public, port) is None


def test_a_plan_without_a_block_for_each_is_none():
    with pytest.raises(NoRoom) as refused:
        PortPlan(ipaddress.IPv4Network("100.64.0.0/26"), PUBLIC, PUBLIC, 2000)
    assert (refused.value.blocks, refused.value.needed) == (32, 64)


@st.composite
def plans(draw):
    length = draw(st.integers(22, 32))
    size = 2 ** (32 - length)
    network = ipaddress.IPv4Network(
        (int(ipaddress.IPv4Address("100.64.0.0")) + draw(st.integers(0, 99)) * size, length)
    )
    addresses = draw(st.integers(1, 40))
    first = draw(st.integers(1, 60_000))
    last = draw(st.integers(first, 65_535))
    most = (last - first + 1) // -(-size // addresses)
    if most < 1:
        addresses, first, last, most = size, 1024, 65_535, 64_512
    return PortPlan(network, PUBLIC, PUBLIC + addresses - 1, draw(st.integers(1, most)), first, last)


@given(plans(), st.data())
def test_from_a_private_address_out_and_back_is_the_same_address(plan, data):
    private = plan.private[data.draw(st.integers(0, plan.subscribers - 1))]
    public, first, last = plan.outside(private)
    assert plan.public_first <= public <= plan.public_last
    assert plan.first_port <= first <= last <= plan.last_port
    assert {plan.inside(public, port) for port in (first, (first + last) // 2, last)} == {private}
    assert private in plan.sharing(public)


@given(plans(), st.data())
def test_each_port_leads_to_one_block_that_holds_it(plan, data):
    public = plan.public_first + data.draw(st.integers(0, plan.addresses - 1))
    port = data.draw(st.integers(1, 65_535))
    private = plan.inside(public, port)
    if private is not None:
        address, first, last = plan.outside(private)
        assert address == public
        assert first <= port <= last


@pytest.mark.parametrize(
    ("changed", "field", "problem"),
    [
        ({"private": "100.64.0.1/26"}, "private", Problem.HOST_BITS),
        ({"private": "fd00::/64"}, "private", Problem.NOT_A_NETWORK),
        ({"private": "10.0.0.0/8"}, "private", Problem.TOO_MANY_RULES),
        ({"public_first": "here"}, "public_first", Problem.NOT_AN_ADDRESS),
        ({"public_last": "203.0.113.1"}, "public_last", Problem.WRONG_ORDER),
        ({"ports": 4000}, "ports", Problem.NO_ROOM_FOR_ALL),
        ({"ports": 10}, "ports", Problem.OUT_OF_RANGE),
        ({"first_port": 0}, "first_port", Problem.OUT_OF_RANGE),
        ({"first_port": 5000, "last_port": 4000}, "last_port", Problem.OUT_OF_RANGE),
    ],
)
def test_what_is_no_plan_is_told_beside_its_field(changed, field, problem):
    usual = {
        "name": "Houses",
        "private": "100.64.0.0/26",
        "public_first": "203.0.113.10",
        "public_last": "203.0.113.11",
    }
    with pytest.raises(Invalid) as refused:
        checked_plan(PlanTerms(**{**usual, **changed}))
    assert [(each.field, each.problem) for each in refused.value.problems] == [(field, problem)]


def test_where_nobody_says_how_many_each_gets_all_that_there_is():
    plan = checked_plan(PlanTerms("Houses", "100.64.0.0/26", "203.0.113.10", "203.0.113.11"))
    assert (plan.ports, plan.per_address, plan.ports_left) == (2016, 32, 0)


# What is stored.


@pytest.fixture
def session(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine, expire_on_commit=False) as session:
        yield session
    engine.dispose()


@pytest.fixture
def isp(installation):
    isp = Isp.create(installation, None)
    yield isp
    isp.connection.close()


TERMS = PlanTerms("Houses", "100.64.0.0/27", "203.0.113.10", None, 2000)


def test_a_changed_plan_keeps_what_was_true_before(session, isp):
    actor, now = Actor(isp.operator_id, "test"), utc_now()
    first = create_plan(session, actor, TERMS, now, valid_from=now - timedelta(days=90))
    second = change_plan(session, actor, first, PlanTerms("Houses", "100.64.0.0/27", "203.0.113.10", None, 1000), now)
    session.commit()

    def plan_at(at):
        return [found.id for found in plans_of_public(session, isp.operator_id, PUBLIC, at, at)]

    assert plan_at(now - timedelta(days=91)) == []
    assert plan_at(now - timedelta(days=1)) == [first.id]
    assert plan_at(now) == [second.id]
    assert second.follows_id == first.id
    assert port_plan(first).inside(PUBLIC, 5500) == ipaddress.IPv4Address("100.64.0.2")
    assert port_plan(second).inside(PUBLIC, 5500) == ipaddress.IPv4Address("100.64.0.4")
    actions = select(AuditEntry.action).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id)
    assert list(session.scalars(actions)) == ["cgnat_plan.create", "cgnat_plan.change"]


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (PlanTerms("Other", "100.64.9.0/27", "203.0.113.9", "203.0.113.12", 2000), "public_first"),
        (PlanTerms("Other", "100.64.0.16/28", "203.0.113.40", None, 2000), "private"),
    ],
)
def test_no_address_has_two_plans_at_a_time(session, isp, other, field):
    actor, now = Actor(isp.operator_id, "test"), utc_now()
    plan = create_plan(session, actor, TERMS, now - timedelta(hours=1))
    with pytest.raises(Invalid) as refused:
        create_plan(session, actor, other, now)
    assert [(each.field, each.problem) for each in refused.value.problems] == [(field, Problem.PLANNED_ALREADY)]
    end_plan(session, actor, plan, now)
    assert create_plan(session, actor, other, now).id
    session.rollback()


# On the router.


@pytest.fixture
def site(installation, isp, emulated_router):
    router = emulated_router()
    nas_id = isp.nas(f"10.252.{isp.operator_id % 250}.1", name="core")
    isp.insert(
        "router", "nas_id", nas_id=nas_id, operator_id=isp.operator_id, api_address=router.address,
        api_port=router.port, api_user=router.user,
        api_password=installation.keyring.seal("router.password", router.password),
    )  # fmt: skip
    return nas_id, router.box


def run(isp: Isp, kind: str, plan_id: int, nas_id: int) -> Job:
    engine = make_engine(isp.settings.database_url.get_secret_value())
    with Session(engine, expire_on_commit=False) as session:
        parameters = {"plan_id": plan_id, "nas_id": nas_id}
        job = start_job(session, Actor(isp.operator_id, "test"), kind, parameters, "core")
        session.commit()
        run_job(engine, isp.settings, job.id, JOBS)
        session.refresh(job)
    engine.dispose()
    return job


def on_router(box):
    names = ("chain", "action", "jump-target", "protocol", "src-address", "to-addresses", "to-ports", "comment")
    return [{name: row[name] for name in names if row.get(name)} for row in box.table(MENU).find()]


MASQUERADE = {"chain": "srcnat", "action": "masquerade"}


def test_the_rules_are_put_before_masquerade_and_changed_with_the_plan(session, isp, site):
    nas_id, box = site
    box.table(MENU).put({**MASQUERADE, "disabled": "false"})
    actor, now = Actor(isp.operator_id, "test"), utc_now()
    plan = create_plan(session, actor, TERMS, now - timedelta(hours=1))
    session.commit()
    assert run(isp, WRITE, plan.id, nas_id).outcome == {"reached": True, "added": 66, "removed": 0}
    assert on_router(box)[0]["action"] == "jump"
    assert [row for row in on_router(box) if row["chain"] == "srcnat"][-1] == MASQUERADE
    ours = [row for row in on_router(box) if row.get("comment")]
    assert ours == list(rules(port_plan(plan), str(plan.id)))
    assert run(isp, WRITE, plan.id, nas_id).outcome == {"reached": True, "added": 0, "removed": 0}

    wider = PlanTerms("Houses", "100.64.0.0/28", "203.0.113.10", None, 4000)
    after = change_plan(session, actor, plan, wider, now)
    session.commit()
    assert run(isp, WRITE, after.id, nas_id).outcome == {"reached": True, "added": 34, "removed": 66}
    assert [row for row in on_router(box) if row.get("comment")] == list(rules(port_plan(after), str(after.id)))
    assert run(isp, TAKE_OFF, after.id, nas_id).outcome == {"reached": True, "added": 0, "removed": 34}
    assert on_router(box) == [MASQUERADE]


def test_a_router_that_is_off_is_said_to_be(session, isp, site):
    nas_id, _box = site
    isp.connection.execute("UPDATE router SET api_port = 9 WHERE nas_id = %s", (nas_id,))
    plan = create_plan(session, Actor(isp.operator_id, "test"), TERMS, utc_now())
    session.commit()
    assert run(isp, WRITE, plan.id, nas_id).outcome == {"reached": False}


def test_the_script_does_what_the_job_does_and_may_run_twice(site):
    _nas_id, box = site
    assert run_import(box, "/ip firewall nat add chain=srcnat action=masquerade") is None
    for _time in range(2):
        assert run_import(box, script(HOUSES, "7")) is None
    rows = on_router(box)
    assert [row for row in rows if row.get("comment")] == list(rules(HOUSES, "7"))
    assert len(rows) == rule_count(HOUSES) + 1
    assert [row["action"] for row in rows if row["chain"] == "srcnat"] == ["jump", "jump", "masquerade"]


def test_another_operators_plan_is_not_written(session, isp, site, installation):
    nas_id, _box = site
    other = Isp.create(installation, None)
    plan = create_plan(session, Actor(other.operator_id, "test"), TERMS, utc_now())
    session.commit()
    assert run(isp, WRITE, plan.id, nas_id).outcome == {"reached": False}
    assert session.get(CgnatPlan, plan.id) is not None
    other.connection.close()
