from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.service_terms import ServiceTerms
from crm.services import (
    _apply,
    _name_of_its_own,
    activate,
    change_plan_of,
    change_service,
    create_service,
    pause,
    reinstate,
    restore,
    resume,
    reveal_password,
    set_paid_until,
    suspend,
    terminate,
    terms_of_service,
)
from db.audit import Actor
from db.models import AuditEntry, Operator, RatePlan, Service, Subscriber
from tests.rows import add_nas

NOW = datetime(2027, 4, 5, 12, 0, tzinfo=UTC)
TODAY = date(2027, 4, 5)


@pytest.fixture
def isp(rows: Session) -> Operator:
    operator = Operator(slug="valle", name="Valle Net")
    rows.add(operator)
    rows.flush()
    return operator


@pytest.fixture
def actor(isp: Operator) -> Actor:
    return Actor(isp.id, "ana@valle.example")


@pytest.fixture
def plan(rows: Session, isp: Operator) -> RatePlan:
    made = RatePlan(operator_id=isp.id, name="Home 20", download=20_000_000, upload=5_000_000)
    rows.add(made)
    rows.flush()
    return made


@pytest.fixture
def ana(rows: Session, isp: Operator) -> Subscriber:
    made = Subscriber(operator_id=isp.id, name="Ana")
    rows.add(made)
    rows.flush()
    return made


@pytest.fixture
def keyring(installation) -> Keyring:
    return installation.keyring


@pytest.fixture
def line(rows, actor, keyring, ana, plan) -> Service:
    return create_service(rows, actor, keyring, ana, ServiceTerms("pppoe", "ana", plan.id), "secret", now=NOW)


STEPS = {
    "suspend": lambda rows, actor, line: suspend(rows, actor, line, "staff", "", NOW),
    "restore": restore,
    "pause": pause,
    "resume": resume,
    "activate": lambda rows, actor, line: activate(rows, actor, line, NOW),
    "terminate": lambda rows, actor, line: terminate(rows, actor, line, NOW),
    "reinstate": reinstate,
}

# What each state allows, and where it leads.
ALLOWED = {
    "pending": {"activate": "active", "terminate": "terminated"},
    "active": {"suspend": "suspended", "pause": "paused", "terminate": "terminated"},
    "suspended": {"restore": "active", "terminate": "terminated"},
    "paused": {"resume": "active", "suspend": "suspended", "terminate": "terminated"},
    "terminated": {"reinstate": "active"},
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", ALLOWED)
def test_a_step_is_taken_where_the_state_allows_it_and_nowhere_else(rows, actor, line, state, step):
    line.state = state
    line.suspended_at = NOW if state == "suspended" else None
    rows.flush()
    if step in ALLOWED[state]:
        STEPS[step](rows, actor, line)
        assert line.state == ALLOWED[state][step]
        assert line.state != "active" or line.suspended_at is None
        assert line.state != "suspended" or line.suspended_at == NOW
        assert (line.terminated_at is not None) is (line.state == "terminated")
    else:
        with pytest.raises(WrongState) as refused:
            STEPS[step](rows, actor, line)
        assert refused.value.state == state
        assert line.state == state


def test_each_step_is_written_down_with_what_it_was_before(rows, actor, line):
    suspend(rows, actor, line, "overdue", "invoice 1041", NOW)
    entry = rows.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert (entry.action, entry.entity_id, entry.actor) == ("service.suspend", line.id, "ana@valle.example")
    assert entry.before == {"state": "active", "cause": None, "detail": ""}
    assert entry.after == {"state": "suspended", "cause": "overdue", "detail": "invoice 1041"}


GRACE = timedelta(days=3)


@pytest.mark.parametrize(
    ("cause", "paid_until", "restored"),
    [
        pytest.param("overdue", TODAY, True, id="today is paid"),
        pytest.param("overdue", TODAY - timedelta(days=3), True, id="within the grace"),
        pytest.param("overdue", TODAY - timedelta(days=4), False, id="the grace is over too"),
        pytest.param("overdue", None, True, id="no date at all"),
        pytest.param("abuse", TODAY + timedelta(days=30), False, id="not for money"),
        pytest.param("staff", TODAY + timedelta(days=30), False, id="suspended by hand"),
    ],
)
def test_paying_restores_only_what_not_paying_had_cut_off(rows, actor, line, cause, paid_until, restored):
    suspend(rows, actor, line, cause, "", NOW)
    assert set_paid_until(rows, actor, line, paid_until, TODAY, GRACE) is restored
    assert line.state == ("active" if restored else "suspended")
    assert line.paid_until == paid_until


def test_saving_what_is_stored_changes_no_row_and_writes_nothing(rows, actor, keyring, ana, plan):
    terms = ServiceTerms(
        "pppoe",
        "ana",
        plan.id,
        framed_ip="10.0.0.7",
        framed_routes=("192.168.5.0/24 10.0.0.7 1",),
        framed_ipv6_prefix="2001:db8:1::/64",
        delegated_ipv6_prefix="2001:db8:2::/56",
        rate_download=1_000_000,
        rate_upload=500_000,
        mac_binding="fixed",
        macs=("AA-BB-CC-00-11-22", "aabb.cc00.1133"),
        extra=(("Filter-Id", ":=", "kids"),),
    )
    line = create_service(rows, actor, keyring, ana, terms, "secret", now=NOW)
    rows.expire(line)
    stored = terms_of_service(rows, line)
    assert stored.macs == ("aa:bb:cc:00:11:22", "aa:bb:cc:00:11:33")
    version = line.version
    change_service(rows, actor, line, stored, version)
    assert line.version == version
    assert rows.scalars(select(AuditEntry.action).where(AuditEntry.entity_id == line.id)).all() == ["service.create"]


def test_a_change_to_what_somebody_else_has_changed_is_refused(rows, actor, line):
    seen = line.version
    pause(rows, actor, line)
    with pytest.raises(ChangedMeanwhile):
        change_service(rows, actor, line, terms_of_service(rows, line), seen)


@pytest.mark.parametrize("name", ["", " ana", "ana ", "a\nb", "a\x00b", "a\x7f", "x" * 254, "ñ" * 127])
def test_a_name_that_radius_could_not_carry_exactly_is_refused(rows, actor, keyring, ana, plan, name):
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, ServiceTerms("pppoe", name, plan.id), "secret", now=NOW)
    assert refused.value.problems[0].field == "name"


def test_names_differ_by_their_capitals(rows, actor, keyring, ana, plan, line):
    other = create_service(rows, actor, keyring, ana, ServiceTerms("pppoe", "Ana", plan.id), "secret", now=NOW)
    assert other.name == "Ana"


def test_a_taken_name_says_whose_it_is(rows, actor, keyring, ana, plan, line):
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, ServiceTerms("pppoe", "ana", plan.id), "secret", now=NOW)
    detail = {"subscriber": "Ana", "subscriber_id": str(ana.id)}
    assert refused.value.problems == (FieldProblem("name", Problem.NAME_TAKEN, detail),)


def test_one_mac_address_is_one_service_however_it_is_spelled(rows, actor, keyring, ana, plan):
    first = create_service(rows, actor, keyring, ana, ServiceTerms("mac", "AABBCC001122", plan.id), None, now=NOW)
    assert first.name == "aa:bb:cc:00:11:22"
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, ServiceTerms("mac", "aa-bb-cc-00-11-22", plan.id), None, now=NOW)
    assert refused.value.problems[0].problem is Problem.MAC_TAKEN


def test_a_terminated_service_gives_its_name_and_address_back(rows, actor, keyring, ana, plan):
    terms = ServiceTerms("pppoe", "ana", plan.id, framed_ip="10.0.0.7")
    terminate(rows, actor, create_service(rows, actor, keyring, ana, terms, "secret", now=NOW), NOW)
    assert create_service(rows, actor, keyring, ana, terms, "secret", now=NOW).state == "active"


def test_a_prefix_inside_anothers_is_taken(rows, actor, keyring, ana, plan):
    mine = ServiceTerms("pppoe", "a", plan.id, delegated_ipv6_prefix="2001:db8:100::/48")
    create_service(rows, actor, keyring, ana, mine, "secret", now=NOW)
    inside = ServiceTerms("pppoe", "b", plan.id, framed_ipv6_prefix="2001:db8:100:5::/64")
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, inside, "secret", now=NOW)
    assert refused.value.problems[0].problem is Problem.ADDRESS_TAKEN


def test_a_static_address_needs_its_router_and_its_address(rows, actor, plan, ana, keyring):
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, ServiceTerms("queue", "casa", plan.id), None, now=NOW)
    assert refused.value.problems == (
        FieldProblem("framed_ip", Problem.REQUIRED),
        FieldProblem("nas_id", Problem.REQUIRED),
    )


def test_an_address_lives_once_at_a_router_and_may_live_at_another(rows, actor, plan, ana, keyring, isp):
    here, there = add_nas(rows, isp.id), add_nas(rows, isp.id)
    terms = ServiceTerms("queue", "casa", plan.id, nas_id=here, framed_ip="10.20.0.5")
    first = create_service(rows, actor, keyring, ana, terms, None, now=NOW)
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, replace(terms, name="local"), None, now=NOW)
    assert [(each.field, each.problem) for each in refused.value.problems] == [("framed_ip", Problem.ADDRESS_TAKEN)]
    create_service(rows, actor, keyring, ana, replace(terms, name="torre", nas_id=there), None, now=NOW)
    terminate(rows, actor, first, NOW)
    create_service(rows, actor, keyring, ana, replace(terms, name="local"), None, now=NOW)


def test_of_two_who_enter_one_address_at_the_same_moment_the_index_refuses_the_second(
    rows, actor, plan, ana, keyring, isp
):
    here = add_nas(rows, isp.id)
    terms = ServiceTerms("queue", "casa", plan.id, nas_id=here, framed_ip="10.20.0.5")
    create_service(rows, actor, keyring, ana, terms, None, now=NOW)
    second = Service(operator_id=isp.id, subscriber_id=ana.id, state="active")
    with pytest.raises(Invalid) as refused, _name_of_its_own(rows):
        _apply(rows, second, replace(terms, name="local"))
    assert refused.value.problems == (FieldProblem("framed_ip", Problem.TAKEN),)


@pytest.mark.parametrize("address", ["255.255.255.254", "255.255.255.255", "0.0.0.0", "224.0.0.1", "10.0.0.300", "x"])
def test_an_address_that_is_no_hosts_is_refused(rows, actor, keyring, ana, plan, address):
    terms = ServiceTerms("pppoe", "ana", plan.id, framed_ip=address)
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, terms, "secret", now=NOW)
    assert refused.value.problems[0].field == "framed_ip"


def test_an_archived_plan_stays_with_who_has_it_and_goes_to_nobody_else(rows, isp, actor, line, plan):
    old = RatePlan(operator_id=isp.id, name="Old", download=1, upload=1, archived=True)
    rows.add(old)
    rows.flush()
    with pytest.raises(Invalid):
        change_plan_of(rows, actor, line, old.id)
    plan.archived = True
    change_service(rows, actor, line, terms_of_service(rows, line), line.version)


def test_a_revealed_password_leaves_a_trace_without_the_password(rows, actor, keyring, line):
    assert reveal_password(rows, actor, keyring, line) == "secret"
    rows.flush()
    entry = rows.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert entry.action == "service.password_shown"
    assert "secret" not in str(entry.after)


def test_everything_wrong_is_said_at_once(rows, actor, keyring, ana, plan):
    terms = ServiceTerms("pppoe", "", plan.id + 999_999, framed_ip="x", session_limit=-1, extra=(("Nope", "=", "1"),))
    with pytest.raises(Invalid) as refused:
        create_service(rows, actor, keyring, ana, terms, None, now=NOW)
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {"password", "name", "plan_id", "framed_ip", "session_limit", "extra"}
