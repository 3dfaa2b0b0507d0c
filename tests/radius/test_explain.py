from dataclasses import dataclass
from datetime import date, timedelta
from ipaddress import ip_address

import pytest

from aaa.authorize import authorize
from aaa.decision import Accept, Reason, Reject, Terms, WalledGarden
from aaa.documents import terms_document
from core.clock import utc_now
from core.rates import RateLimit
from db.models import EnforcementOrder, ServiceMac, TermsRecord
from radius.explain import explain_name, resolve_name, spellings
from radius.terms import terms_id
from tests.rows import add_auth_event, add_nas, add_operator, add_plan, add_service, add_session

NOW = utc_now()
MAC = "4c:5e:0c:12:34:56"


@dataclass
class Line:
    operator_id: int
    nas_id: int
    plan_id: int
    service_id: int


@pytest.fixture
def line(rows):
    operator_id = add_operator(rows)
    plan_id = add_plan(rows, operator_id)
    return Line(
        operator_id, add_nas(rows, operator_id, name="Torre"), plan_id, add_service(rows, operator_id, plan_id, "ana")
    )


def explained(rows, operator_id, name="ana"):
    return explain_name(rows.connection().connection.driver_connection, operator_id, name, NOW)


def rules(found):
    return [(finding.rule, finding.passed) for finding in found.explanation.findings]


def test_the_answer_is_the_one_that_the_router_gets(rows, line):
    found = explained(rows, line.operator_id)
    assert found.explanation.decision == authorize(found.service, found.policy, NOW)
    assert isinstance(found.explanation.decision, Accept)
    assert found.owner.subscriber_name == "José María Fernández-Villalobos"


def test_a_suspended_service_says_so_after_what_was_well(rows, line):
    add_service(
        rows, line.operator_id, line.plan_id, "eva", state="suspended", suspended_at=NOW, suspension_cause="overdue"
    )
    found = explained(rows, line.operator_id, "eva")
    assert isinstance(found.explanation.decision, WalledGarden)
    assert rules(found)[-1] == ("not_suspended", False)
    assert all(passed for _, passed in rules(found)[:-1])


def test_the_last_request_is_played_through_with_its_wrong_password(rows, line):
    add_auth_event(
        rows,
        line.operator_id,
        line.service_id,
        user_name="ana",
        nas_id=line.nas_id,
        mac=MAC,
        outcome="reject",
        reason="wrong_password",
    )
    found = explained(rows, line.operator_id)
    assert found.explanation.decision == Reject(Reason.WRONG_PASSWORD)
    assert isinstance(found.standing, Accept)
    assert (found.replayed.nas_name, found.replayed.mac) == ("Torre", MAC)


def test_a_device_that_is_not_bound_is_told_by_the_last_request(rows, line):
    eva = add_service(rows, line.operator_id, line.plan_id, "eva", mac_binding="fixed")
    rows.add(ServiceMac(service_id=eva, mac=MAC, operator_id=line.operator_id))
    add_auth_event(
        rows,
        line.operator_id,
        eva,
        user_name="eva",
        nas_id=line.nas_id,
        mac="02:00:00:00:00:09",
        outcome="reject",
        reason="mac_not_allowed",
    )
    found = explained(rows, line.operator_id, "eva")
    assert found.explanation.decision == Reject(Reason.MAC_NOT_ALLOWED, {"mac": "02:00:00:00:00:09"})


def test_a_second_device_is_refused_while_the_first_is_connected(rows, line):
    add_session(rows, line.operator_id, line.service_id, "81c00001", nas_id=line.nas_id, mac=MAC)
    add_auth_event(
        rows,
        line.operator_id,
        line.service_id,
        user_name="ana",
        nas_id=line.nas_id,
        mac="02:00:00:00:00:09",
        outcome="reject",
        reason="session_limit",
    )
    found = explained(rows, line.operator_id)
    assert found.explanation.decision == Reject(Reason.SESSION_LIMIT, {"limit": "1", "nas": "Torre"})


def test_nobody_registered_is_explained_with_the_requests_that_came(rows, line):
    add_auth_event(
        rows, line.operator_id, None, user_name="Ana", nas_id=line.nas_id, outcome="reject", reason="unknown_subscriber"
    )
    found = explained(rows, line.operator_id, "Ana")
    assert found.service is None
    assert found.explanation.decision == Reject(Reason.UNKNOWN_SUBSCRIBER)
    assert [request.reason for request in found.requests] == [Reason.UNKNOWN_SUBSCRIBER]


def test_requests_of_an_unknown_mac_are_found_however_the_router_spelt_it(rows, line):
    add_auth_event(
        rows,
        line.operator_id,
        None,
        user_name="4C5E0C-123456",
        nas_id=line.nas_id,
        kind="wireless",
        method="mac",
        outcome="reject",
        reason="mac_not_registered",
    )
    found = explained(rows, line.operator_id, MAC)
    assert found.explanation.decision == Reject(Reason.MAC_NOT_REGISTERED)
    assert len(found.requests) == 1


def test_a_live_session_is_held_against_what_it_should_have(rows, line):
    wanted = explained(rows, line.operator_id).wanted
    other = Terms(rate=RateLimit(1_000_000, 1_000_000))
    for number, terms in enumerate((wanted, other)):
        rows.add(TermsRecord(operator_id=line.operator_id, id=terms_id(terms), content=terms_document(terms)))
        add_session(
            rows,
            line.operator_id,
            line.service_id,
            f"81c0000{number}",
            nas_id=line.nas_id,
            started_at=NOW - timedelta(hours=number),
            terms_id=terms_id(terms),
            framed_ip=ip_address("10.0.0.5"),
        )
    as_decided, drifted = explained(rows, line.operator_id).sessions
    assert (as_decided.as_decided, as_decided.granted) == (True, wanted)
    assert (drifted.as_decided, drifted.granted) == (False, other)
    assert drifted.framed_ip == "10.0.0.5"


def test_orders_of_the_service_are_shown(rows, line):
    live = add_session(rows, line.operator_id, line.service_id, "81c00001", nas_id=line.nas_id)
    rows.add(
        EnforcementOrder(
            operator_id=line.operator_id,
            nas_id=line.nas_id,
            session_id=live.id,
            service_id=line.service_id,
            session_started_at=live.started_at,
            kind="coa",
            cause="plan",
            state="failed",
            error_cause=401,
        )
    )
    rows.flush()
    (order,) = explained(rows, line.operator_id).orders
    assert (order.kind, order.state, order.error_cause, order.nas_name) == ("coa", "failed", 401, "Torre")


def test_another_operators_service_of_the_same_name_is_not_this_one(rows, line):
    other = add_operator(rows)
    assert explained(rows, other).service is None


def test_a_device_leads_to_the_service_it_is_bound_to_or_was_seen_with(rows, line):
    connection = rows.connection().connection.driver_connection
    assert resolve_name(connection, line.operator_id, "4C-5E-0C-12-34-56") == MAC
    add_session(rows, line.operator_id, line.service_id, "81c00001", mac=MAC, ended_at=NOW)
    assert resolve_name(connection, line.operator_id, "4C-5E-0C-12-34-56") == "ana"
    eva = add_service(rows, line.operator_id, line.plan_id, "eva")
    rows.add(ServiceMac(service_id=eva, mac=MAC, operator_id=line.operator_id))
    rows.flush()
    assert resolve_name(connection, line.operator_id, "4c5e0c123456") == "eva"
    add_service(rows, line.operator_id, line.plan_id, MAC, access_method="mac", password=None)
    assert resolve_name(connection, line.operator_id, "4c5e0c123456") == MAC
    assert resolve_name(connection, line.operator_id, "ANA") == "ANA"


def test_paid_until_counts_with_the_operators_grace(rows):
    operator_id = add_operator(rows, timezone="America/Mexico_City", grace_days=3)
    plan_id = add_plan(rows, operator_id)
    add_service(rows, operator_id, plan_id, "eva", paid_until=NOW.date() - timedelta(days=10))
    add_service(rows, operator_id, plan_id, "leo", paid_until=date(2100, 1, 1))
    assert explained(rows, operator_id, "eva").explanation.decision.reason is Reason.OVERDUE
    assert isinstance(explained(rows, operator_id, "leo").explanation.decision, Accept)


def test_a_name_that_is_no_mac_has_one_spelling():
    assert spellings("ana") == ["ana"]
    assert "4C5E:0C12:3456" in spellings(MAC)
