"""Static clients behind an emulated router: what their queue lets through, and what the firewall makes of them."""

import time
from collections.abc import Callable

import pytest

from lab.network import BlockingNetwork
from lab.profile import NasProfile
from lab.routeros.live import LiveRouter
from lab.routeros.live_firewall import http_from
from lab.routeros.live_traffic import StaticClient
from lab.routeros.script_device import run_import
from lab.session import Session
from lab.subscriber import Demand, Subscriber

MakeProfile = Callable[..., NasProfile]
GARDEN = """
/ip firewall nat add chain=dstnat action=dst-nat protocol=tcp dst-port=80 src-address-list=suspended \\
    dst-address-list=!suspended-ok to-addresses=10.200.0.1 to-ports=8081
/ip firewall address-list add list=suspended-ok address=10.200.0.1
/ip firewall address-list add list=suspended-ok address=203.0.113.0/24
/ip firewall filter
add chain=forward action=accept connection-state=established,related
add chain=forward action=accept protocol=udp dst-port=53 src-address-list=suspended
add chain=forward action=accept src-address-list=suspended dst-address-list=suspended-ok
add chain=forward action=reject reject-with=tcp-reset protocol=tcp src-address-list=suspended
add chain=forward action=reject reject-with=icmp-admin-prohibited src-address-list=suspended
"""
CLIENT = "10.20.1.5"


@pytest.fixture
def router(network: BlockingNetwork, profile: MakeProfile) -> LiveRouter:
    network.add_nas(profile())
    made = network.add_router("tower")
    made.box.run("/queue/simple/add", {"name": "ana", "target": f"{CLIENT}/32", "max-limit": "1M/4M"})
    made.add_client(StaticClient(CLIENT, Demand(download=20_000_000, upload=500_000)))
    return made


def counted(router: LiveRouter, name: str = "ana") -> tuple[int, int]:
    (row,) = router.box.run("/queue/simple/print", {}, f"name={name}").rows
    up, _, down = row["bytes"].partition("/")
    return int(up), int(down)


def speeds(router: LiveRouter, seconds: float = 0.3) -> tuple[float, float]:
    """Return upload and download of the queue in bit/s, measured."""
    began, before = time.monotonic(), counted(router)
    time.sleep(seconds)
    passed, after = time.monotonic() - began, counted(router)
    return (after[0] - before[0]) * 8 / passed, (after[1] - before[1]) * 8 / passed


def test_a_queue_counts_what_its_client_wants_up_to_its_limit(router: LiveRouter) -> None:
    up, down = speeds(router)
    assert up == pytest.approx(500_000, rel=0.15)
    assert down == pytest.approx(4_000_000, rel=0.15)
    (row,) = router.box.rows("/queue/simple")
    assert row["rate"] == "500000/4000000"


def test_another_limit_counts_from_when_it_was_set_and_disabling_a_queue_frees_its_client(router: LiveRouter) -> None:
    (row,) = router.box.rows("/queue/simple")
    router.box.run("/queue/simple/set", {".id": row[".id"], "max-limit": "64k/64k"})
    assert speeds(router)[1] == pytest.approx(64_000, rel=0.15)
    router.box.run("/queue/simple/disable", {".id": row[".id"]})
    assert speeds(router) == (0, 0)
    (traffic,) = router.box.run("/interface/monitor-traffic", {"interface": "ether1", "once": ""}).rows
    assert traffic["rx-bits-per-second"] == "20000000"


def test_a_limit_of_zero_is_none_and_the_leaf_counts_before_its_parent(router: LiveRouter) -> None:
    box = router.box
    (row,) = box.rows("/queue/simple")
    parent = {"name": "all", "target": "10.20.0.0/16", "max-limit": "0/0", "place-before": row[".id"]}
    box.run("/queue/simple/add", parent)
    box.run("/queue/simple/set", {".id": row[".id"], "parent": "all", "max-limit": "0/0"})
    assert speeds(router)[1] == pytest.approx(20_000_000, rel=0.15)
    assert counted(router, "all") == (0, 0)


def test_who_is_suspended_gets_no_traffic_and_the_captive_page(router: LiveRouter) -> None:
    box = router.box
    assert router.http_from(CLIENT) == "198.51.100.80:80"
    assert run_import(box, GARDEN) is None
    assert router.http_from(CLIENT) == "198.51.100.80:80"
    assert speeds(router)[1] > 3_000_000
    listed = box.run("/ip/firewall/address-list/add", {"list": "suspended", "address": CLIENT}).ret
    assert listed is not None
    assert router.http_from(CLIENT) == "10.200.0.1:8081"
    assert router.http_from(CLIENT, "203.0.113.9") == "203.0.113.9:80"
    assert router.http_from(CLIENT, port=443) is None
    assert router.http_from("10.20.1.6", port=443) == "198.51.100.80:443"
    assert speeds(router) == (0, 0)
    box.run("/ip/firewall/address-list/remove", {".id": listed})
    assert speeds(router)[1] > 3_000_000
    assert router.http_from(CLIENT) == "198.51.100.80:80"


def test_the_list_alone_suspends_nobody_while_its_rules_are_missing_or_off(router: LiveRouter) -> None:
    box = router.box
    box.run("/ip/firewall/address-list/add", {"list": "suspended", "address": CLIENT})
    assert speeds(router)[1] > 3_000_000
    assert run_import(box, GARDEN) is None
    assert speeds(router) == (0, 0)
    assert run_import(box, "/ip firewall filter disable [find action=reject]") is None
    assert speeds(router)[1] > 3_000_000
    assert router.http_from(CLIENT) == "10.200.0.1:8081"


def test_an_accept_in_front_lets_the_suspended_out(router: LiveRouter) -> None:
    box = router.box
    assert run_import(box, GARDEN) is None
    box.run("/ip/firewall/address-list/add", {"list": "suspended", "address": "10.20.1.0-10.20.1.9"})
    assert http_from(box, CLIENT, port=443) is None
    first = box.rows("/ip/firewall/filter")[0][".id"]
    box.run("/ip/firewall/filter/add", {"chain": "forward", "action": "accept", "place-before": first})
    assert http_from(box, CLIENT, port=443) == "198.51.100.80:443"


def test_a_session_on_the_suspended_list_is_stopped_too(network: BlockingNetwork, router: LiveRouter) -> None:
    cpe = network.add_subscriber(Subscriber("pool", "secret", demand=Demand(8_000_000, 0), redial_after=None), "tower")
    session = network.dial(cpe)
    assert isinstance(session, Session)
    assert session.address is not None
    assert run_import(router.box, GARDEN) is None
    assert session.throughput[1] > 0
    router.box.run("/ip/firewall/address-list/add", {"list": "suspended", "address": session.address})
    network.eventually(lambda: session.throughput == (0.0, 0.0))
    assert run_import(router.box, "/ip firewall address-list remove [find list=suspended]") is None
    network.eventually(lambda: session.throughput[1] > 0)


def test_the_wan_carries_the_sum_and_can_be_congested(network: BlockingNetwork, router: LiveRouter) -> None:
    def wan() -> tuple[int, int]:
        (row,) = router.box.run("/interface/print", {}, "name=ether1").rows
        return int(row["rx-byte"]), int(row["tx-byte"])

    router.congest(80_000_000, 8_000_000)
    began, before = time.monotonic(), wan()
    time.sleep(0.3)
    passed, after = time.monotonic() - began, wan()
    assert (after[0] - before[0]) * 8 / passed == pytest.approx(84_000_000, rel=0.1)
    assert (after[1] - before[1]) * 8 / passed == pytest.approx(8_500_000, rel=0.1)
    quiet = int(router.box.rows("/system/resource")[0]["cpu-load"])
    router.congest(900_000_000, 50_000_000)
    assert int(router.box.rows("/system/resource")[0]["cpu-load"]) > quiet + 30


def test_a_static_client_is_in_the_arp_table_and_answers_a_ping(router: LiveRouter) -> None:
    (row,) = router.box.rows("/ip/arp")
    assert (row["address"], row["interface"]) == (CLIENT, "bridge-lan")
    assert router.pinged(CLIENT) is not None


def test_counters_begin_again_when_they_are_reset_or_the_router_boots(
    network: BlockingNetwork, router: LiveRouter
) -> None:
    time.sleep(0.2)
    (row,) = router.box.rows("/queue/simple")
    assert counted(router)[1] > 50_000
    router.box.run("/queue/simple/reset-counters", {".id": row[".id"]})
    assert counted(router)[1] < 50_000
    time.sleep(0.2)
    network.call(lambda _: router.box.reboot())
    assert counted(router)[1] < 50_000
