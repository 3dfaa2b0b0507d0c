"""While a server has no news: who was good goes on, who was cut stays cut, and the operator may choose otherwise."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aaa.authorize import authorize, explain
from aaa.decision import Accept, Reason, Reject, WalledGarden
from aaa.facts import AccessKind, OpenSession, OutageAction, Proof, ServiceState
from aaa.outage import in_outage
from tests.aaa.test_authorize import ACCESS, NOW, OVERDUE, POLICY, SERVICE

KEEP, SPARE, REFUSE = OutageAction
HOUR = timedelta(hours=1)
MAC = "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("chosen", "age", "wanted"),
    [
        pytest.param(REFUSE, None, KEEP, id="there is news"),
        pytest.param(REFUSE, timedelta(minutes=59), KEEP, id="not for long enough"),
        pytest.param(REFUSE, HOUR, REFUSE, id="for long enough, to the second"),
        pytest.param(SPARE, timedelta(days=3), SPARE, id="for days"),
        pytest.param(KEEP, timedelta(days=3), KEEP, id="for days, and nothing was chosen"),
        pytest.param(REFUSE, timedelta(minutes=-5), KEEP, id="a clock that was put back"),
    ],
)
def test_what_was_chosen_holds_once_the_news_has_been_missing_for_so_long(chosen, age, wanted):
    policy = replace(POLICY, outage_action=chosen, outage_after=HOUR)
    assert in_outage(policy, None if age is None else NOW - age, NOW) is wanted


GOOD = SERVICE
CUT = replace(SERVICE, state=ServiceState.SUSPENDED, suspension=OVERDUE)
RAN_OUT_SINCE = replace(SERVICE, paid_until=NOW - timedelta(minutes=30))
RAN_OUT_BEFORE = replace(SERVICE, paid_until=NOW - timedelta(hours=5))


@pytest.mark.parametrize(
    ("service", "chosen", "kind", "reason"),
    [
        pytest.param(GOOD, KEEP, Accept, None, id="good, kept"),
        pytest.param(GOOD, SPARE, Accept, None, id="good, spared"),
        pytest.param(GOOD, REFUSE, Reject, Reason.OUT_OF_DATE, id="good, refused"),
        pytest.param(CUT, KEEP, WalledGarden, Reason.SUSPENDED_OVERDUE, id="cut, kept"),
        pytest.param(CUT, SPARE, WalledGarden, Reason.SUSPENDED_OVERDUE, id="cut, not spared"),
        pytest.param(CUT, REFUSE, WalledGarden, Reason.SUSPENDED_OVERDUE, id="cut, and told why"),
        pytest.param(RAN_OUT_SINCE, KEEP, WalledGarden, Reason.OVERDUE, id="a date that ran out since, kept"),
        pytest.param(RAN_OUT_SINCE, SPARE, Accept, None, id="a date that ran out since, spared"),
        pytest.param(RAN_OUT_SINCE, REFUSE, WalledGarden, Reason.OVERDUE, id="a date that ran out since, refused"),
        pytest.param(RAN_OUT_BEFORE, SPARE, WalledGarden, Reason.OVERDUE, id="a date that ran out before"),
    ],
)
def test_four_hours_without_news(service, chosen, kind, reason):
    policy = replace(POLICY, outage_action=chosen)
    decision = authorize(service, policy, NOW, replace(ACCESS, known_at=NOW - timedelta(hours=4)))
    assert (type(decision), decision.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("kind", "mac", "decision"),
    [
        pytest.param(AccessKind.DHCP, MAC, Accept, id="its lease is renewed"),
        pytest.param(AccessKind.DHCP, "02:00:00:00:00:99", Reject, id="another device"),
        pytest.param(AccessKind.DHCP, None, Reject, id="no device"),
        pytest.param(AccessKind.PPP, MAC, Reject, id="a new session"),
    ],
)
def test_who_is_on_line_keeps_the_lease_where_nobody_new_is_let_in(kind, mac, decision):
    policy = replace(POLICY, outage_action=REFUSE)
    access = replace(ACCESS, kind=kind, mac=mac, proof=Proof.NOT_NEEDED, known_at=NOW - timedelta(hours=4))
    on_line = (OpenSession(access.nas.id, access.nas.name, "8000002a", MAC),)
    assert isinstance(authorize(replace(GOOD, session_limit=0), policy, NOW, access, on_line), decision)


def test_the_standing_decision_and_explain_know_of_no_outage():
    policy = replace(POLICY, outage_action=REFUSE)
    assert isinstance(authorize(GOOD, policy, NOW), Accept)
    assert isinstance(explain(GOOD, policy, NOW, ACCESS).decision, Accept)
