"""Where the fault is: the verdict on a circuit, as a table of what was found."""

from dataclasses import replace

import pytest

from network.circuit import Facts, Fault, Others, Ping, Verdict, Way, Why, judge

FINE = Ping(5, 5, 3.0)
NONE_BACK = Ping(5, 0)
ONLINE = Facts(session=True, way=Way.REACHED, ping=FINE, seen=True, sector=Others(up=9), router=Others(up=20))
OFFLINE = replace(ONLINE, session=False, ping=None, seen=None)
STATIC = replace(ONLINE, session=None)


@pytest.mark.parametrize(
    ("facts", "fault", "why"),
    [
        pytest.param(ONLINE, Fault.NONE, Why.ALL_WELL, id="all is well"),
        pytest.param(STATIC, Fault.NONE, Why.ALL_WELL, id="a static address answers"),
        pytest.param(replace(OFFLINE, way=Way.OUT), Fault.ROUTER, Why.ROUTER_OUT, id="router off"),
        pytest.param(
            replace(OFFLINE, way=Way.OUT, routers=9, routers_out=1), Fault.ROUTER, Why.ROUTER_OUT,
            id="router off, and one other by chance",
        ),
        pytest.param(
            replace(OFFLINE, way=Way.OUT, routers=4, routers_out=2), Fault.NETWORK, Why.ROUTERS_OUT,
            id="half of the routers off",
        ),
        pytest.param(
            replace(OFFLINE, way=Way.OUT, account="reject"), Fault.ROUTER, Why.ROUTER_OUT,
            id="a dark router explains more than a suspension",
        ),
        pytest.param(replace(OFFLINE, account="reject"), Fault.ACCOUNT, Why.CLOSED, id="suspended"),
        pytest.param(
            replace(ONLINE, account="reject", session=False), Fault.ACCOUNT, Why.CLOSED,
            id="the device answers but the session is rejected",
        ),
        pytest.param(replace(ONLINE, account="garden"), Fault.ACCOUNT, Why.GARDEN, id="in the walled garden"),
        pytest.param(replace(OFFLINE, refused=True), Fault.ACCOUNT, Why.REFUSED, id="wrong password"),
        pytest.param(
            replace(OFFLINE, sector=Others(2, 7), router=Others(40, 7)), Fault.SECTOR, Why.SECTOR_DARK,
            id="most of the sector went",
        ),
        pytest.param(
            replace(OFFLINE, sector=Others(2, 4), router=Others(40, 4)), Fault.PREMISES, Why.ONLY_THIS,
            id="four are a coincidence",
        ),
        pytest.param(
            replace(OFFLINE, sector=Others(30, 7), router=Others(40, 7)), Fault.PREMISES, Why.ONLY_THIS,
            id="seven of many are no outage",
        ),
        pytest.param(
            replace(OFFLINE, sector=Others(0, 7), router=Others(2, 30)), Fault.ROUTER, Why.ROUTER_DARK,
            id="all sectors of a router that answers",
        ),
        pytest.param(
            replace(ONLINE, sector=Others(2, 7), router=Others(40, 7)), Fault.NONE, Why.ALL_WELL,
            id="a line that works is not part of its sector's outage",
        ),
        pytest.param(replace(ONLINE, ping=Ping(10, 5, 80.0)), Fault.PREMISES, Why.LOSES, id="half is lost"),
        pytest.param(replace(ONLINE, ping=Ping(100, 96, 80.0)), Fault.NONE, Why.ALL_WELL, id="four of a hundred"),
        pytest.param(
            replace(ONLINE, ping=Ping(10, 5), neighbours=3, neighbours_bad=2), Fault.SECTOR, Why.SECTOR_LOSES,
            id="the neighbours lose as much",
        ),
        pytest.param(
            replace(ONLINE, ping=Ping(10, 5), neighbours=3, neighbours_bad=1), Fault.PREMISES, Why.LOSES,
            id="one neighbour is bad too",
        ),
        pytest.param(replace(ONLINE, ping=NONE_BACK), Fault.PREMISES, Why.SILENT, id="online and silent"),
        pytest.param(
            replace(ONLINE, ping=NONE_BACK, stale=True), Fault.PREMISES, Why.GONE, id="online on paper only"
        ),
        pytest.param(replace(ONLINE, stale=True), Fault.NETWORK, Why.ACCOUNTING_LATE, id="accounting does not come"),
        pytest.param(replace(OFFLINE, ping=FINE), Fault.PREMISES, Why.NO_LOGIN, id="answers without a session"),
        pytest.param(replace(OFFLINE, seen=True), Fault.PREMISES, Why.NO_LOGIN, id="linked, does not log in"),
        pytest.param(replace(OFFLINE, seen=False), Fault.PREMISES, Why.NOT_SEEN, id="no ARP, no lease, no radio"),
        pytest.param(OFFLINE, Fault.PREMISES, Why.ONLY_THIS, id="the others are up"),
        pytest.param(
            replace(STATIC, ping=NONE_BACK, seen=True), Fault.PREMISES, Why.SILENT, id="a static address, linked"
        ),
        pytest.param(
            replace(STATIC, ping=NONE_BACK, seen=False), Fault.PREMISES, Why.NOT_SEEN, id="a static address, gone"
        ),
        pytest.param(
            replace(STATIC, ping=None, seen=None, way=Way.DEAF), Fault.UNSURE, Why.NOT_ASKED,
            id="a static address whose router could not be asked",
        ),
        pytest.param(
            replace(ONLINE, ping=None, seen=None, way=Way.DEAF), Fault.UNSURE, Why.NOT_ASKED,
            id="online, and the router could not be asked",
        ),
        pytest.param(Facts(), Fault.UNSURE, Why.NOTHING_KNOWN, id="never seen, nobody else there"),
    ],
)  # fmt: skip
def test_the_verdict_says_where_somebody_has_to_go(facts, fault, why):
    assert judge(facts) == Verdict(fault, why)


def test_nothing_sent_is_no_loss():
    assert (Ping(0, 0).loss, Ping(4, 3).loss) == (0.0, 25.0)
