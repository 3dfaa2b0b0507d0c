"""The policy as a table: who is let in, led into the walled garden, or refused, and why."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.authorize import PAYING_RATE, RULES, authorize, changes_at, explain
from aaa.decision import Accept, Reason, Reject, WalledGarden
from aaa.facts import (
    Access,
    AccessKind,
    AccessMethod,
    Boost,
    CapAction,
    DataCap,
    Garden,
    GardenCause,
    MacBinding,
    Nas,
    OpenSession,
    Plan,
    Policy,
    Proof,
    Service,
    ServiceState,
    SuspendedAction,
    Suspension,
    TimeWindow,
)
from core.rates import RateLimit

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)
PLAN = Plan(1, "Hogar 20", RateLimit(20_000_000, 5_000_000))
POLICY = Policy(1, "Red Norte", ZoneInfo("America/Mexico_City"))
SERVICE = Service(7, 1, AccessMethod.PPPOE, "ana", ServiceState.ACTIVE, PLAN)
TOWER = Nas(3, 1, "tower")
MAC = "aa:bb:cc:00:00:01"
ACCESS = Access(TOWER, "ana", AccessKind.PPP, Proof.CORRECT, MAC, "81000001")
ELSEWHERE = OpenSession(4, "other tower", "81000009", "02:00:00:00:00:99")
OVERDUE = Suspension(datetime(2027, 3, 5, 12, tzinfo=UTC), "overdue", "invoice 1041")
NIGHT = TimeWindow(frozenset(range(1, 8)), time(22), time(6), RateLimit(50_000_000, 10_000_000))
CAP = DataCap(1000, CapAction.THROTTLE, RateLimit(1_000_000, 1_000_000))


def with_plan(**changes) -> Service:
    return replace(SERVICE, plan=replace(PLAN, **changes))


@pytest.mark.parametrize(
    ("service", "access", "sessions", "reason"),
    [
        pytest.param(None, ACCESS, (), Reason.UNKNOWN_SUBSCRIBER, id="nobody of that name"),
        pytest.param(None, replace(ACCESS, proof=Proof.NOT_NEEDED), (), Reason.MAC_NOT_REGISTERED, id="unknown MAC"),
        pytest.param(SERVICE, replace(ACCESS, proof=Proof.WRONG), (), Reason.WRONG_PASSWORD, id="wrong password"),
        pytest.param(SERVICE, replace(ACCESS, proof=Proof.MISSING), (), Reason.NO_PASSWORD, id="no password"),
        pytest.param(SERVICE, replace(ACCESS, guessing=True), (), Reason.TOO_MANY_ATTEMPTS, id="guessing"),
        pytest.param(
            replace(SERVICE, access_method=AccessMethod.QUEUE), ACCESS, (), Reason.NOT_VIA_RADIUS, id="queue service"
        ),
        pytest.param(replace(SERVICE, state=ServiceState.PENDING), ACCESS, (), Reason.PENDING, id="not installed"),
        pytest.param(replace(SERVICE, state=ServiceState.TERMINATED), ACCESS, (), Reason.TERMINATED, id="terminated"),
        pytest.param(replace(SERVICE, router_id=9), ACCESS, (), Reason.OTHER_ROUTER, id="bound to another router"),
        pytest.param(
            replace(SERVICE, mac_binding=MacBinding.FIXED, macs=frozenset({"02:00:00:00:00:01"})),
            ACCESS, (), Reason.MAC_NOT_ALLOWED, id="another device",
        ),
        pytest.param(
            replace(SERVICE, mac_binding=MacBinding.LEARN, macs=frozenset({"02:00:00:00:00:01"})),
            ACCESS, (), Reason.MAC_NOT_ALLOWED, id="no room to learn",
        ),
        pytest.param(SERVICE, ACCESS, (ELSEWHERE,), Reason.SESSION_LIMIT, id="in use elsewhere"),
        pytest.param(replace(SERVICE, octets_left=0), ACCESS, (), Reason.VOLUME_USED_UP, id="volume used up"),
    ],
)  # fmt: skip
def test_refused(service, access, sessions, reason):
    decision = authorize(service, POLICY, NOW, access, sessions)
    assert isinstance(decision, Reject)
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("service", "access", "sessions"),
    [
        pytest.param(SERVICE, ACCESS, (), id="plain"),
        pytest.param(SERVICE, replace(ACCESS, proof=Proof.LEFT_TO_MSCHAP), (), id="MS-CHAP, verified later"),
        pytest.param(replace(SERVICE, router_id=3), ACCESS, (), id="at its own router"),
        pytest.param(replace(SERVICE, mac_binding=MacBinding.LEARN), ACCESS, (), id="first device is learned"),
        pytest.param(
            replace(SERVICE, mac_binding=MacBinding.FIXED, macs=frozenset({MAC})), ACCESS, (), id="its own device"
        ),
        pytest.param(SERVICE, ACCESS, (replace(ELSEWHERE, mac=MAC),), id="the same device comes back before its Stop"),
        pytest.param(SERVICE, ACCESS, (OpenSession(3, "tower", "81000001", None),), id="the same session asks again"),
        pytest.param(replace(SERVICE, session_limit=0), ACCESS, (ELSEWHERE,) * 5, id="no session limit"),
        pytest.param(replace(SERVICE, session_limit=2), ACCESS, (ELSEWHERE,), id="below the limit"),
        pytest.param(replace(SERVICE, paid_until=NOW + timedelta(seconds=1)), ACCESS, (), id="paid for a second more"),
    ],
)
def test_accepted_on_the_plans_terms(service, access, sessions):
    decision = authorize(service, POLICY, NOW, access, sessions)
    assert isinstance(decision, Accept)
    assert (decision.terms.rate, decision.reason) == (PLAN.rate, None)
    assert decision.terms.address_list == "portico-active"


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        pytest.param(
            replace(SERVICE, state=ServiceState.SUSPENDED, suspension=OVERDUE), Reason.SUSPENDED_OVERDUE, id="overdue"
        ),
        pytest.param(
            replace(SERVICE, state=ServiceState.SUSPENDED, suspension=replace(OVERDUE, cause="staff")),
            Reason.SUSPENDED_BY_STAFF, id="by staff",
        ),
        pytest.param(replace(SERVICE, state=ServiceState.PAUSED), Reason.PAUSED, id="paused"),
        pytest.param(replace(SERVICE, paid_until=NOW), Reason.OVERDUE, id="paid until this instant"),
        pytest.param(
            replace(with_plan(cap=replace(CAP, action=CapAction.BLOCK)), used_octets=1000),
            Reason.CAP_REACHED, id="cap reached",
        ),
    ],
)  # fmt: skip
def test_turned_away_as_the_operator_chose(service, reason):
    garden = authorize(service, POLICY, NOW, ACCESS)
    refused = authorize(service, replace(POLICY, suspended_action=SuspendedAction.REJECT), NOW, ACCESS)
    assert isinstance(garden, WalledGarden)
    assert isinstance(refused, Reject)
    assert garden.reason is refused.reason is reason
    assert garden.terms.address_list == "portico-suspended"
    assert garden.terms.rate == POLICY.garden_rate
    assert garden.terms.session_timeout == timedelta(minutes=10)


def test_the_day_of_a_suspension_is_told_in_the_operators_zone():
    service = replace(
        SERVICE, state=ServiceState.SUSPENDED, suspension=replace(OVERDUE, since=datetime(2027, 3, 5, 3, tzinfo=UTC))
    )
    decision = authorize(service, POLICY, NOW, ACCESS)
    assert decision.detail == {"since": "2027-03-04", "detail": "invoice 1041"}


def test_a_wrong_password_does_not_tell_that_the_service_is_suspended():
    service = replace(SERVICE, state=ServiceState.SUSPENDED, suspension=OVERDUE)
    assert authorize(service, POLICY, NOW, replace(ACCESS, proof=Proof.WRONG)).reason is Reason.WRONG_PASSWORD


def test_the_cap_throttles_until_the_period_ends():
    service = replace(with_plan(cap=CAP), used_octets=1000, period_ends=NOW + timedelta(days=3))
    during = authorize(service, POLICY, NOW)
    after = authorize(service, POLICY, NOW + timedelta(days=3))
    assert (during.terms.rate, during.reason) == (CAP.throttle, Reason.CAP_THROTTLED)
    assert (after.terms.rate, after.reason) == (PLAN.rate, None)
    assert changes_at(service, POLICY, NOW) == NOW + timedelta(days=3)


def test_a_boost_lifts_plan_and_throttle_until_its_instant_and_never_slows_down():
    boost = Boost(RateLimit(50_000_000, 10_000_000), NOW + timedelta(hours=2))
    boosted = replace(SERVICE, boost=boost)
    during, after = authorize(boosted, POLICY, NOW), authorize(boosted, POLICY, boost.until)
    assert (during.terms.rate, during.reason) == (boost.rate, Reason.BOOSTED)
    assert (after.terms.rate, after.reason) == (PLAN.rate, None)
    assert changes_at(boosted, POLICY, NOW) == boost.until
    assert changes_at(boosted, POLICY, boost.until) is None
    throttled = replace(with_plan(cap=CAP), used_octets=1000, period_ends=NOW + timedelta(days=3), boost=boost)
    assert authorize(throttled, POLICY, NOW).terms.rate == boost.rate
    slower = replace(boosted, boost=replace(boost, rate=RateLimit(1_000_000, 1_000_000)))
    assert authorize(slower, POLICY, NOW).terms.rate == PLAN.rate
    assert isinstance(authorize(replace(boosted, state=ServiceState.SUSPENDED), POLICY, NOW), WalledGarden)


@pytest.mark.parametrize(
    "overdue",
    [
        pytest.param({"state": ServiceState.SUSPENDED, "suspension": OVERDUE}, id="cut"),
        pytest.param({"paid_until": NOW - timedelta(days=1)}, id="by date"),
    ],
)
def test_who_is_overdue_and_paying_is_on_line_slowly_until_an_instant(overdue):
    until = NOW + timedelta(minutes=5)
    service = replace(SERVICE, paying_until=until, **overdue)
    during, after = authorize(service, POLICY, NOW), authorize(service, POLICY, until)
    assert isinstance(during, Accept)
    assert (during.reason, during.terms.rate) == (Reason.PAYING, PAYING_RATE)
    assert during.terms.address_list == POLICY.active_address_list
    assert isinstance(after, WalledGarden)
    assert changes_at(service, POLICY, NOW) == until


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        pytest.param({}, None, id="nothing is owed"),
        pytest.param(
            {"state": ServiceState.SUSPENDED, "suspension": replace(OVERDUE, cause="staff")},
            Reason.SUSPENDED_BY_STAFF,
            id="suspended by a person",
        ),
        pytest.param({"state": ServiceState.PAUSED}, Reason.PAUSED, id="paused"),
    ],
)
def test_paying_changes_nothing_but_what_a_payment_would(others, reason):
    service = replace(SERVICE, **others)
    decision = authorize(replace(service, paying_until=NOW + timedelta(minutes=5)), POLICY, NOW)
    assert decision == authorize(service, POLICY, NOW)
    assert decision.reason == reason


def test_a_window_gives_its_rate_in_local_time_and_says_when_it_ends():
    service = with_plan(windows=(NIGHT,))
    late = datetime(2027, 3, 11, 4, 30, tzinfo=UTC)  # 22:30 in Mexico City
    assert authorize(service, POLICY, NOW).reason is None
    assert authorize(service, POLICY, late).terms.rate == NIGHT.rate
    assert changes_at(service, POLICY, NOW) == datetime(2027, 3, 11, 4, tzinfo=UTC)
    assert changes_at(service, POLICY, late) == datetime(2027, 3, 11, 12, tzinfo=UTC)


def test_a_dhcp_client_gets_a_short_lease_because_coa_may_not_reach_it():
    assert authorize(SERVICE, POLICY, NOW, replace(ACCESS, kind=AccessKind.DHCP)).lease == timedelta(minutes=10)
    assert authorize(SERVICE, POLICY, NOW, ACCESS).lease is None


def test_a_fixed_address_leaves_the_pool_out():
    service = replace(with_plan(pool="clientes"), framed_ip="10.0.0.5")
    assert authorize(service, POLICY, NOW).terms.pool is None
    garden = authorize(replace(service, state=ServiceState.PAUSED), replace(POLICY, garden_pool="jardin"), NOW)
    assert (garden.terms.framed_ip, garden.terms.pool) == (None, "jardin")


def test_the_services_extra_attributes_replace_the_plans_of_the_same_name():
    service = replace(with_plan(extra=(("A", ":=", "1"), ("B", ":=", "2"))), extra=(("B", ":=", "3"),))
    assert authorize(service, POLICY, NOW).terms.extra == (("A", ":=", "1"), ("B", ":=", "3"))


STATES = st.builds(
    lambda state, binding, limit, used, paid, cap_action, binding_macs, octets_left, suspension: replace(
        with_plan(cap=replace(CAP, action=cap_action), windows=(NIGHT,)),
        state=state,
        mac_binding=binding,
        session_limit=limit,
        used_octets=used,
        paid_until=paid,
        macs=binding_macs,
        octets_left=octets_left,
        suspension=suspension,
    ),
    st.sampled_from(ServiceState),
    st.sampled_from(MacBinding),
    st.integers(0, 2),
    st.sampled_from([0, 999, 1000, 5000]),
    st.sampled_from([None, NOW - timedelta(days=1), NOW, NOW + timedelta(days=1)]),
    st.sampled_from(CapAction),
    st.sampled_from([frozenset(), frozenset({MAC}), frozenset({"02:00:00:00:00:01"})]),
    st.sampled_from([None, 0, 10]),
    st.sampled_from([None, OVERDUE]),
)
ACCESSES = st.none() | st.builds(
    Access,
    st.just(TOWER),
    st.just("ana"),
    st.sampled_from(AccessKind),
    st.sampled_from(Proof),
    st.sampled_from([None, MAC]),
    st.just("81000001"),
    st.booleans(),
)
SESSIONS = st.lists(st.just(ELSEWHERE), max_size=3).map(tuple)


@given(STATES, ACCESSES, SESSIONS)
def test_the_explanation_is_of_the_same_decision_and_ends_at_the_rule_that_made_it(service, access, sessions):
    decision = authorize(service, POLICY, NOW, access, sessions)
    explanation = explain(service, POLICY, NOW, access, sessions)
    assert explanation.decision == decision
    assert all(finding.passed for finding in explanation.findings[:-1])
    assert explanation.findings[-1].passed is isinstance(decision, Accept)
    assert [finding.rule for finding in explanation.findings[1:]] == [
        rule.__name__ for rule in RULES[: len(explanation.findings) - 1]
    ]


@given(STATES, st.integers(0, 40 * 24 * 60))
def test_the_standing_decision_holds_until_it_says_it_changes(service, minutes):
    later = NOW + timedelta(minutes=minutes)
    change = changes_at(service, POLICY, NOW)
    if change is None or later < change:
        assert authorize(service, POLICY, later) == authorize(service, POLICY, NOW)


@given(STATES)
def test_nobody_suspended_or_unpaid_is_ever_granted_the_plan(service):
    decision = authorize(service, POLICY, NOW)
    unpaid = service.paid_until is not None and service.paid_until <= NOW
    if service.state is not ServiceState.ACTIVE or unpaid:
        assert not isinstance(decision, Accept)


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        pytest.param(ServiceState.SUSPENDED, "overdue", ("morosos", "jardin-pago"), id="overdue has both of its own"),
        pytest.param(ServiceState.SUSPENDED, "staff", ("portico-suspended", "jardin"), id="others have the operator's"),
        pytest.param(ServiceState.PAUSED, None, ("pausados", "jardin"), id="what is not named is the operator's"),
    ],
)
def test_the_garden_differs_by_what_brought_somebody_there(
    state: ServiceState, cause: str | None, expected: tuple[str, str]
):
    gardens = {GardenCause.OVERDUE: Garden("morosos", "jardin-pago"), GardenCause.PAUSED: Garden("pausados")}
    service = replace(SERVICE, state=state, suspension=Suspension(NOW, cause, "") if cause else None)
    decision = authorize(service, replace(POLICY, garden_pool="jardin", gardens=gardens), NOW)
    assert isinstance(decision, WalledGarden)
    assert (decision.terms.address_list, decision.terms.pool) == expected
