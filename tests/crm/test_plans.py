from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from aaa.facts import CapAction
from core.clock import utc_now
from core.rates import Burst
from crm.plans import (
    PlanTerms,
    Reach,
    Window,
    change_plan,
    create_plan,
    fingerprint,
    reach,
    set_archived,
    terms_of_plan,
    touches_live_sessions,
)
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import AuditEntry, RatePlan
from tests.rows import add_operator, add_service, add_session

FULL = PlanTerms(
    name="Familia 20",
    price=Decimal("19.90"),
    download=20_000_000,
    upload=5_000_000,
    burst=Burst(40_000_000, 10_000_000, 15_000_000, 4_000_000, 16),
    priority=5,
    minimum_download=2_000_000,
    minimum_upload=1_000_000,
    cap_octets=200_000_000_000,
    cap_action=CapAction.THROTTLE,
    throttle_download=2_000_000,
    throttle_upload=1_000_000,
    windows=(Window((1, 2, 3, 4, 5), time(23, 0), time(6, 0), 40_000_000, 10_000_000),),
    pool="home",
    ipv6_pool="home6",
    delegated_ipv6_pool="homepd",
    address_list="family",
    session_timeout=timedelta(hours=24),
    idle_timeout=timedelta(minutes=10),
    interim_interval=timedelta(minutes=3),
    extra=(("Filter-Id", "+=", "kids"),),
)


@pytest.fixture
def actor(rows):
    return Actor(add_operator(rows), "ana@example.com")


def test_a_plan_is_stored_as_it_was_entered(rows, actor):
    plan = create_plan(rows, actor, FULL)
    rows.expire(plan)
    assert terms_of_plan(rows.get_one(RatePlan, plan.id)) == FULL


def test_a_change_writes_down_what_differs_and_nothing_else(rows, actor):
    plan = create_plan(rows, actor, FULL)
    change_plan(rows, actor, plan, replace(FULL, download=30_000_000), fingerprint(plan))
    entry = rows.scalars(select(AuditEntry).where(AuditEntry.action == "plan.change")).one()
    assert (entry.actor, entry.entity_id) == ("ana@example.com", plan.id)
    assert (entry.before, entry.after) == ({"download": 20_000_000}, {"download": 30_000_000})


def test_the_second_of_two_people_is_told_that_the_plan_has_changed(rows, actor):
    plan = create_plan(rows, actor, FULL)
    seen = fingerprint(plan)
    change_plan(rows, actor, plan, replace(FULL, price=Decimal(25)), seen)
    with pytest.raises(ChangedMeanwhile):
        change_plan(rows, actor, plan, replace(FULL, upload=6_000_000), seen)
    assert (plan.price, plan.upload) == (25, 5_000_000)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": "  "}, FieldProblem("name", Problem.REQUIRED)),
        (
            {"download": 20, "burst": None, "minimum_download": None},
            FieldProblem("download", Problem.OUT_OF_RANGE, {"low": "8000", "high": "100000000000"}),
        ),
        (
            {"minimum_download": 21_000_000},
            FieldProblem("minimum_download", Problem.OUT_OF_RANGE, {"low": "8000", "high": "20000000"}),
        ),
        (
            {"burst": Burst(10_000_000, 10_000_000, 8_000_000, 4_000_000, 16)},
            FieldProblem("burst_download", Problem.OUT_OF_RANGE, {"low": "20000000", "high": "100000000000"}),
        ),
        ({"priority": 9}, FieldProblem("priority", Problem.OUT_OF_RANGE, {"low": "1", "high": "8"})),
        ({"cap_octets": None}, FieldProblem("cap_octets", Problem.REQUIRED)),
        ({"throttle_upload": None}, FieldProblem("throttle_upload", Problem.REQUIRED)),
        (
            {"interim_interval": timedelta(seconds=5)},
            FieldProblem("interim_interval", Problem.OUT_OF_RANGE, {"low": "1", "high": "1440"}),
        ),
        (
            {"windows": (Window((), time(1), time(2), 1_000_000, 1_000_000),)},
            FieldProblem("windows-0-days", Problem.REQUIRED),
        ),
        (
            {"extra": (("Auth-Type", ":=", "Accept"),)},
            FieldProblem(
                "extra",
                Problem.ATTRIBUTE,
                {"name": "Auth-Type", "flaw": "this attribute would break the answer to the router"},
            ),
        ),
        ({"pool": "x" * 64}, FieldProblem("pool", Problem.TOO_LONG, {"limit": "63"})),
    ],
)
def test_what_cannot_be_granted_is_refused_at_its_field(rows, actor, changed, problem):
    with pytest.raises(Invalid) as refused:
        create_plan(rows, actor, replace(FULL, **changed))
    assert refused.value.problems == (problem,)


def test_two_plans_of_an_operator_have_two_names(rows, actor):
    create_plan(rows, actor, FULL)
    with pytest.raises(Invalid) as refused:
        create_plan(rows, actor, FULL)
    assert refused.value.problems == (FieldProblem("name", Problem.TAKEN),)


def test_reach_counts_services_in_use_and_their_live_sessions(rows, actor):
    plan, unused = create_plan(rows, actor, FULL), create_plan(rows, actor, replace(FULL, name="Otro"))
    first = add_service(rows, actor.operator_id, plan.id, "one")
    add_service(rows, actor.operator_id, plan.id, "two")
    add_service(rows, actor.operator_id, plan.id, "three", state="terminated")
    add_session(rows, actor.operator_id, first, "81c00001")
    add_session(rows, actor.operator_id, first, "81c00002", ended_at=utc_now())
    assert reach(rows, [plan.id, unused.id]) == {plan.id: Reach(2, 1), unused.id: Reach(0, 0)}


def test_a_new_price_touches_no_live_session_and_a_new_rate_does():
    assert not touches_live_sessions(FULL, replace(FULL, price=Decimal(1), name="Otro"))
    assert touches_live_sessions(FULL, replace(FULL, upload=6_000_000))


def test_an_archived_plan_comes_back(rows, actor):
    plan = create_plan(rows, actor, FULL)
    set_archived(rows, actor, plan, True)
    set_archived(rows, actor, plan, True)
    set_archived(rows, actor, plan, False)
    actions = rows.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["plan.create", "plan.archive", "plan.restore"]
