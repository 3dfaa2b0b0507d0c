from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.authorize import authorize, changes_at
from aaa.decision import Accept, Reason, Reject
from aaa.facts import (
    Access,
    AccessKind,
    AccessMethod,
    Nas,
    OpenSession,
    OpenUse,
    Plan,
    Policy,
    Proof,
    Service,
    ServiceState,
    Voucher,
)
from aaa.vouchers import (
    GRACE,
    REPORTS,
    VoucherState,
    ends_by_itself,
    octets_granted,
    octets_left,
    refusal,
    time_left,
    voucher_state,
)
from core.rates import RateLimit
from tests.radius.facts import vouchers

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)
POLICY = Policy(1, "ISP", ZoneInfo("America/Mexico_City"))
PHONE, OTHER = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"
HERE, THERE = Nas(1, 1, "plaza"), Nas(2, 1, "cafe")


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def ago(number: float) -> datetime:
    return NOW - minutes(number)


def service(voucher: Voucher, **values) -> Service:
    plan = Plan(1, "hotspot", RateLimit(5_000_000, 1_000_000))
    return Service(1, 1, AccessMethod.VOUCHER, "#1-1", ServiceState.ACTIVE, plan, voucher=voucher, **values)


def ask(voucher: Voucher, mac: str = PHONE, nas: Nas = HERE, sessions=(), **values):
    access = Access(nas, "CODE", AccessKind.HOTSPOT, Proof.NOT_NEEDED, mac, "80000002")
    return authorize(service(voucher, **values), POLICY, NOW, access, sessions)


HOUR = Voucher("l", lasts=minutes(60))
ONLINE = Voucher("l", online=minutes(60))
UNTIL = Voucher("l", ends=NOW + minutes(30))
DATA = Voucher("l", octets=1000)


@pytest.mark.parametrize(
    ("voucher", "time", "octets"),
    [
        pytest.param(HOUR, minutes(60), None, id="the first login starts the clock"),
        pytest.param(replace(HOUR, first_login=ago(45)), minutes(15), None, id="the clock runs, online or not"),
        pytest.param(ONLINE, minutes(60), None, id="time online, unused"),
        pytest.param(
            replace(ONLINE, first_login=ago(9_000), online_used=minutes(50)), minutes(10), None, id="the clock stood"
        ),
        pytest.param(
            replace(ONLINE, first_login=ago(20), open=(OpenUse(ago(20), ago(5), OTHER),)),
            minutes(40),
            None,
            id="another device is online, and was last heard of five minutes ago",
        ),
        pytest.param(
            replace(ONLINE, first_login=ago(20), open=(OpenUse(ago(20), ago(5), PHONE),)),
            minutes(45),
            None,
            id="the session of this device is replaced",
        ),
        pytest.param(UNTIL, minutes(30), None, id="up to a date"),
        pytest.param(DATA, None, 1000, id="data, without a limit of time"),
        pytest.param(replace(DATA, octets_used=999), None, 1, id="the last octet"),
        pytest.param(
            replace(DATA, first_login=ago(20), octets_used=400, open=(OpenUse(ago(20), ago(5), OTHER),)),
            None,
            300,
            id="half of what is left, beside another device",
        ),
        pytest.param(
            replace(
                DATA,
                open=(OpenUse(ago(9), ago(5), OTHER), OpenUse(ago(8), ago(5), None), OpenUse(ago(7), ago(5), PHONE)),
            ),
            None,
            333,
            id="a third, beside two; this device's own session is replaced",
        ),
        pytest.param(
            replace(DATA, octets_used=999, open=(OpenUse(ago(20), ago(5), OTHER),)), None, 1, id="never nothing"
        ),
        pytest.param(
            replace(HOUR, ends=NOW + minutes(30), octets=7, online=minutes(29)), minutes(29), 7, id="whichever is first"
        ),
    ],
)
def test_a_session_is_granted_what_is_left(voucher, time, octets):
    decision = ask(voucher, session_limit=0)
    assert isinstance(decision, Accept)
    assert (decision.time_left, decision.octets_left) == (time, octets)


@pytest.mark.parametrize(
    ("voucher", "reason"),
    [
        pytest.param(replace(HOUR, first_login=ago(60)), Reason.CODE_EXPIRED, id="the hour is over"),
        pytest.param(
            replace(HOUR, first_login=ago(60) + timedelta(seconds=0.9)),
            Reason.CODE_EXPIRED,
            id="less than a second is left, which Session-Timeout cannot say",
        ),
        pytest.param(replace(UNTIL, ends=NOW), Reason.CODE_EXPIRED, id="the date has come"),
        pytest.param(replace(HOUR, best_before=NOW), Reason.CODE_EXPIRED, id="never used, and too old"),
        pytest.param(replace(ONLINE, online_used=minutes(60)), Reason.TIME_USED_UP, id="time online used up"),
        pytest.param(
            replace(ONLINE, online_used=minutes(30), open=(OpenUse(ago(30), ago(30), OTHER),)),
            Reason.TIME_USED_UP,
            id="used up by a session of which no accounting came yet",
        ),
        pytest.param(replace(DATA, octets_used=1000), Reason.VOLUME_USED_UP, id="data used up"),
        pytest.param(replace(HOUR, nas_ids=frozenset({2})), Reason.OTHER_ROUTER, id="only at another router"),
    ],
)
def test_a_voucher_is_refused(voucher, reason):
    assert ask(voucher, session_limit=0) == Reject(reason, detail=ask(voucher, session_limit=0).detail)


def test_best_before_is_no_limit_of_one_that_is_in_use():
    assert isinstance(ask(replace(HOUR, best_before=ago(1), first_login=ago(30))), Accept)


@pytest.mark.parametrize("state", [ServiceState.PENDING, ServiceState.TERMINATED])
def test_a_code_that_is_in_stock_or_cancelled_lets_nobody_on(state):
    decision = authorize(replace(service(HOUR), state=state), POLICY, NOW)
    wanted = Reason.PENDING if state is ServiceState.PENDING else Reason.CODE_VOID
    assert decision == Reject(wanted)


def test_the_second_device_is_refused_and_the_first_may_roam():
    there = (OpenSession(2, "cafe", "80000001", OTHER),)
    refused = ask(HOUR, sessions=there)
    assert isinstance(refused, Reject)
    assert (refused.reason, refused.detail["nas"]) == (Reason.CODE_IN_USE, "cafe")
    assert isinstance(ask(HOUR, mac=OTHER, sessions=there), Accept)
    assert isinstance(ask(HOUR, sessions=there, session_limit=2), Accept)


@given(vouchers)
def test_what_is_granted_is_never_more_than_what_was_bought(voucher):
    first = None if voucher.first_login is None else min(voucher.first_login, NOW)
    decision = ask(replace(voucher, nas_ids=frozenset(), first_login=first), session_limit=0)
    if isinstance(decision, Reject):
        return
    assert decision.time_left is None or decision.time_left >= timedelta(seconds=1)
    for bought in (voucher.lasts, voucher.online):
        assert bought is None or (decision.time_left is not None and decision.time_left <= bought)
    assert voucher.octets is None or 0 < decision.octets_left <= voucher.octets - voucher.octets_used
    if voucher.ends is not None:
        assert NOW + decision.time_left <= voucher.ends


@given(st.integers(1, 10**12), st.integers(1, 20))
def test_devices_that_come_one_after_the_other_are_not_granted_a_volume_once_each(octets, devices):
    voucher, granted = Voucher("l", octets=octets), []
    for number in range(devices):
        mac = f"aa:bb:cc:00:01:{number:02x}"
        granted.append(octets_granted(voucher, mac))
        voucher = replace(voucher, open=(*voucher.open, OpenUse(NOW, NOW, mac)))
    assert granted[0] == octets
    assert all(share <= max(1, octets // number) for number, share in enumerate(granted, 1))
    assert octets_granted(voucher, mac) == granted[-1], "who comes back gets the same share"


@pytest.mark.parametrize(
    ("voucher", "devices", "reports"),
    [(DATA, 1, False), (DATA, 2, True), (DATA, 0, True), (HOUR, 2, False)],
)
def test_devices_that_share_a_volume_report_each_minute(voucher, devices, reports):
    decision = ask(voucher, session_limit=devices)
    assert isinstance(decision, Accept)
    assert (decision.terms.interim_interval == REPORTS) is reports


@given(vouchers, st.integers(0, 100_000))
def test_a_voucher_that_is_over_stays_over(voucher, seconds):
    voucher = replace(voucher, open=())
    later = NOW + timedelta(seconds=seconds)
    if refusal(voucher, NOW) is not None:
        assert refusal(voucher, later) is not None


@given(vouchers)
def test_live_sessions_end_by_themselves_exactly_when_the_decision_changes(voucher):
    if voucher.first_login is None or refusal(voucher, NOW) is not None:
        return
    voucher = replace(voucher, first_login=min(voucher.first_login, NOW))
    voucher = replace(voucher, open=tuple(use for use in voucher.open if use.started <= NOW))
    if refusal(voucher, NOW) is not None:
        return
    end = ends_by_itself(voucher, NOW)
    if end is None:
        assert time_left(voucher, NOW) is None or not voucher.open
        return
    assert refusal(voucher, end + timedelta(milliseconds=1)) is not None
    assert refusal(voucher, end - timedelta(milliseconds=1)) is None


def test_the_router_ends_a_session_a_second_before_the_worker_would():
    voucher = replace(HOUR, first_login=ago(59))
    assert changes_at(service(voucher), POLICY, NOW) == NOW + minutes(1) + GRACE
    assert octets_left(voucher) is None


@pytest.mark.parametrize(
    ("voucher", "state", "wanted"),
    [
        (HOUR, ServiceState.PENDING, VoucherState.STOCK),
        (HOUR, ServiceState.ACTIVE, VoucherState.UNUSED),
        (replace(HOUR, first_login=ago(5)), ServiceState.ACTIVE, VoucherState.ACTIVE),
        (replace(DATA, first_login=ago(5), octets_used=2000), ServiceState.ACTIVE, VoucherState.USED_UP),
        (replace(ONLINE, first_login=ago(5), online_used=minutes(61)), ServiceState.ACTIVE, VoucherState.USED_UP),
        (replace(HOUR, first_login=ago(61)), ServiceState.ACTIVE, VoucherState.EXPIRED),
        (replace(HOUR, best_before=ago(1)), ServiceState.PENDING, VoucherState.EXPIRED),
        (HOUR, ServiceState.TERMINATED, VoucherState.VOID),
    ],
)
def test_the_state_of_a_voucher(voucher, state, wanted):
    assert voucher_state(voucher, state, NOW) is wanted
