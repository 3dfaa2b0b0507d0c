"""What brings a session to its terms, and what an answer means: tables of cases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.decision import Terms
from aaa.facts import AccessKind
from core.rates import Burst, RateLimit
from radius.orders import (
    NO_TIMEOUT,
    Changes,
    Measure,
    Result,
    Step,
    by_api,
    changes,
    measure,
    pause_after,
    proves,
    step_after,
    stronger,
)

PLAN = Terms(rate=RateLimit(20_000_000, 5_000_000), address_list="portico-active", pool="homes")
GARDEN = Terms(
    rate=RateLimit(512_000, 256_000),
    address_list="portico-suspended",
    pool="homes",
    session_timeout=timedelta(minutes=10),
)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("granted", "wanted", "expected"),
    [
        pytest.param(PLAN, PLAN, None, id="nothing changed"),
        pytest.param(PLAN, replace(PLAN, rate=RateLimit(5_000_000, 1_000_000)), Measure.COA, id="another rate"),
        pytest.param(
            PLAN,
            replace(PLAN, rate=replace(PLAN.rate, burst=Burst(40_000_000, 8_000_000, 1, 1, 8))),
            Measure.COA,
            id="a burst",
        ),
        pytest.param(PLAN, GARDEN, Measure.COA, id="into the garden"),
        pytest.param(GARDEN, PLAN, Measure.COA, id="out of the garden"),
        pytest.param(PLAN, replace(GARDEN, pool="garden"), Measure.DISCONNECT, id="into a garden with its own pool"),
        pytest.param(PLAN, replace(PLAN, address_list="gold"), Measure.COA, id="another address list"),
        pytest.param(PLAN, replace(PLAN, address_list=None), Measure.DISCONNECT, id="no address list any more"),
        pytest.param(replace(PLAN, address_list=None), PLAN, Measure.COA, id="an address list at last"),
        pytest.param(PLAN, replace(PLAN, rate=None), Measure.DISCONNECT, id="no rate any more"),
        pytest.param(PLAN, replace(PLAN, session_timeout=HOUR), Measure.COA, id="a session timeout"),
        pytest.param(PLAN, replace(PLAN, idle_timeout=HOUR), Measure.COA, id="an idle timeout"),
        pytest.param(PLAN, replace(PLAN, interim_interval=HOUR), None, id="only the interim interval"),
        pytest.param(PLAN, replace(PLAN, framed_ip="10.0.0.7"), Measure.DISCONNECT, id="another address"),
        pytest.param(PLAN, replace(PLAN, pool="shops"), Measure.DISCONNECT, id="another pool"),
        pytest.param(PLAN, replace(PLAN, framed_routes=("10.9.0.0/24",)), Measure.DISCONNECT, id="a route"),
        pytest.param(PLAN, replace(PLAN, framed_ipv6_prefix="2001:db8::/64"), Measure.DISCONNECT, id="IPv6 prefix"),
        pytest.param(PLAN, replace(PLAN, delegated_ipv6_pool="pd"), Measure.DISCONNECT, id="IPv6 pool"),
        pytest.param(PLAN, replace(PLAN, extra=(("Filter-Id", ":=", "x"),)), Measure.DISCONNECT, id="an attribute"),
        pytest.param(PLAN, None, Measure.DISCONNECT, id="rejected"),
        pytest.param(None, None, Measure.DISCONNECT, id="rejected, granted unknown"),
        pytest.param(None, GARDEN, Measure.DISCONNECT, id="garden, granted unknown"),
        pytest.param(None, PLAN, None, id="may stay, granted unknown"),
    ],
)
@pytest.mark.parametrize("kind", [AccessKind.PPP, AccessKind.HOTSPOT, AccessKind.DHCP])
def test_measure_is_the_least_that_does_it(kind, granted, wanted, expected):
    assert measure(kind, granted, wanted, garden=wanted is not None and wanted.session_timeout is not None) is expected


spans = st.none() | st.sampled_from([timedelta(minutes=10), HOUR])
any_terms = st.builds(
    Terms,
    rate=st.none() | st.builds(RateLimit, st.integers(1, 3), st.integers(1, 3)),
    address_list=st.sampled_from([None, "portico-active", "portico-suspended"]),
    framed_ip=st.sampled_from([None, "10.0.0.7"]),
    pool=st.sampled_from([None, "homes"]),
    session_timeout=spans,
    idle_timeout=spans,
    interim_interval=st.sampled_from([timedelta(minutes=5), HOUR]),
    extra=st.sampled_from([(), (("Filter-Id", ":=", "x"),)]),
)


@given(any_terms, any_terms)
def test_a_coa_leaves_the_session_with_exactly_the_wanted_terms(granted, wanted):
    """What the NAS has after obeying is reckoned here from what is said, and from nothing else."""
    found = measure(AccessKind.PPP, granted, wanted, garden=False)
    if found is Measure.DISCONNECT:
        return  # the next session has them
    after = replace(granted, interim_interval=wanted.interim_interval)
    if found is Measure.COA:
        said = changes(granted, wanted, timedelta())
        rate = wanted.rate if said.rate else granted.rate
        session_timeout, idle_timeout = granted.session_timeout, granted.idle_timeout
        if said.session_timeout is not None:
            session_timeout = None if said.session_timeout == NO_TIMEOUT else said.session_timeout
        if said.idle_timeout is not None:
            idle_timeout = said.idle_timeout or None
        after = replace(
            after,
            rate=rate,
            address_list=said.address_list or granted.address_list,
            session_timeout=session_timeout,
            idle_timeout=idle_timeout,
        )
    assert after == wanted


@pytest.mark.parametrize(
    ("granted", "wanted", "expected"),
    [
        pytest.param(PLAN, replace(PLAN, rate=RateLimit(1, 1), address_list="gold"), None, id="what it ignores"),
        pytest.param(PLAN, replace(PLAN, framed_ip="10.0.0.7"), None, id="an address it never had"),
        pytest.param(PLAN, GARDEN, Measure.DISCONNECT, id="into the garden"),
        pytest.param(PLAN, None, Measure.DISCONNECT, id="rejected"),
        pytest.param(
            PLAN, replace(PLAN, extra=(("Mikrotik-Wireless-VLANID", ":=", "7"),)), Measure.DISCONNECT, id="a VLAN"
        ),
    ],
)
def test_a_wireless_association_is_never_sent_a_coa(granted, wanted, expected):
    assert measure(AccessKind.WIRELESS, granted, wanted, garden=wanted is GARDEN) is expected


def test_restoring_names_the_active_list_and_takes_the_garden_timeout_back():
    assert changes(GARDEN, PLAN, HOUR) == Changes("5M/20M", "portico-active", NO_TIMEOUT + timedelta(), None)


def test_a_session_timeout_counts_from_the_start_of_the_session():
    assert changes(PLAN, GARDEN, HOUR) == Changes("256k/512k", "portico-suspended", HOUR + timedelta(minutes=10), None)


def test_a_timeout_that_stays_is_not_said_again():
    plan = replace(PLAN, session_timeout=timedelta(hours=8), idle_timeout=HOUR)
    faster = replace(plan, rate=RateLimit(50_000_000, 10_000_000))
    assert changes(plan, faster, HOUR) == Changes("10M/50M", "portico-active", None, None)


def test_an_idle_timeout_is_taken_back_with_zero():
    plan = replace(PLAN, idle_timeout=HOUR)
    assert changes(plan, PLAN, HOUR).idle_timeout == timedelta(0)


def test_attributes_of_the_plans_own_are_not_overruled_by_a_coa():
    own = replace(PLAN, extra=(("Mikrotik-Rate-Limit", ":=", "1M/1M 2M/2M"),))
    assert changes(own, replace(own, address_list="gold"), HOUR) == Changes(None, "gold", None, None)


@pytest.mark.parametrize(
    ("kind", "result", "error_cause", "attempts", "nas_answers", "expected"),
    [
        pytest.param(Measure.COA, Result.ACK, None, 1, True, Step.VERIFY, id="CoA-ACK is not the end"),
        pytest.param(Measure.DISCONNECT, Result.ACK, None, 1, True, Step.VERIFY, id="nor is Disconnect-ACK"),
        pytest.param(Measure.DISCONNECT, Result.NAK, 503, 1, True, Step.GONE, id="no such session to disconnect"),
        pytest.param(Measure.COA, Result.NAK, 503, 1, True, Step.GONE, id="no such session to change"),
        pytest.param(Measure.COA, Result.NAK, 401, 1, True, Step.DISCONNECT, id="unsupported attribute"),
        pytest.param(Measure.COA, Result.NAK, None, 1, True, Step.DISCONNECT, id="CoA-NAK without a cause"),
        pytest.param(Measure.COA, Result.NAK, 506, 1, True, Step.AGAIN, id="the NAS is short of something"),
        pytest.param(Measure.COA, Result.NAK, 506, 3, True, Step.DISCONNECT, id="and stays so"),
        pytest.param(Measure.DISCONNECT, Result.NAK, 404, 1, True, Step.AGAIN, id="Disconnect-NAK"),
        pytest.param(Measure.DISCONNECT, Result.NAK, 404, 5, True, Step.FAIL, id="Disconnect-NAK for the fifth time"),
        pytest.param(Measure.COA, Result.TIMEOUT, None, 99, False, Step.AGAIN, id="an unreachable NAS keeps its order"),
        pytest.param(Measure.DISCONNECT, Result.UNREACHABLE, None, 99, False, Step.AGAIN, id="for ever"),
        pytest.param(Measure.COA, Result.TIMEOUT, None, 2, True, Step.AGAIN, id="silent on this one only"),
        pytest.param(Measure.COA, Result.TIMEOUT, None, 3, True, Step.DISCONNECT, id="silent three times"),
        pytest.param(Measure.DISCONNECT, Result.TIMEOUT, None, 5, True, Step.FAIL, id="and on the disconnect too"),
    ],
)
def test_step_after_an_answer(kind, result, error_cause, attempts, nas_answers, expected):
    assert step_after(kind, result, error_cause, attempts, nas_answers=nas_answers) is expected


def test_pauses_double_from_five_seconds_to_five_minutes():
    pauses = [pause_after(attempts).total_seconds() for attempts in (1, 2, 3, 7, 50)]
    for pause, nominal in zip(pauses, (5, 10, 20, 300, 300), strict=True):
        assert nominal * 0.9 <= pause <= nominal * 1.1


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        pytest.param(None, True, id="a router that reports nothing"),
        pytest.param("5M/20M", True, id="the wanted rate"),
        pytest.param("5000000/20000000 0/0 0/0 0/0 8", True, id="the same, written otherwise"),
        pytest.param("20M/5M", False, id="the wrong way round"),
        pytest.param("256k/512k", False, id="the old rate"),
        pytest.param("fast", False, id="nonsense"),
    ],
)
def test_an_interim_update_proves_the_rate_it_reports(reported, expected):
    assert proves(reported, PLAN) is expected


def test_of_two_possible_states_the_worse_one_decides():
    assert stronger(None, Measure.COA) is Measure.COA
    assert stronger(Measure.COA, Measure.DISCONNECT) is Measure.DISCONNECT
    assert stronger(None, None) is None


@pytest.mark.parametrize(
    ("kind", "measure", "result", "error_cause", "attempts", "expected"),
    [
        pytest.param("ppp", "disconnect", "timeout", None, 3, True, id="silence, three times"),
        pytest.param("ppp", "disconnect", "timeout", None, 2, False, id="silence, not yet"),
        pytest.param("ppp", "coa", "unreachable", None, 3, True, id="a CoA port where nobody is"),
        pytest.param("ppp", "disconnect", "nak", 506, 3, True, id="refused"),
        pytest.param("ppp", "coa", "nak", None, 9, False, id="a refused CoA becomes a Disconnect first"),
        pytest.param("ppp", "disconnect", "nak", 503, 9, False, id="no such session"),
        pytest.param("ppp", "disconnect", "ack", None, 9, False, id="obeyed"),
        pytest.param("dhcp", "disconnect", "timeout", None, 2, True, id="DHCP obeys neither"),
    ],
)
def test_when_a_session_is_removed_through_the_api(kind, measure, result, error_cause, attempts, expected):
    assert by_api(AccessKind(kind), Measure(measure), Result(result), error_cause, attempts) is expected
