"""A router that is NAS and API at once: what RADIUS grants shows in its menus, and what is done there counts."""

import socket
from collections.abc import Callable
from contextlib import suppress

import librouteros
import pytest
from librouteros.api import Api

from aaa.facts import AccessKind
from lab.attributes import (
    FRAMED_IP_ADDRESS,
    MIKROTIK_ADDRESS_LIST,
    MIKROTIK_RATE_LIMIT,
    USER_NAME,
    StatusType,
    TerminateCause,
)
from lab.nas import Refusal, Refused
from lab.network import BlockingNetwork
from lab.packet import Code, address, decode, sealed_request, text
from lab.profile import NasProfile
from lab.routeros.live import LiveRouter, RouterProfile
from lab.session import Session
from lab.subscriber import Demand, Method, Subscriber
from tests.lab.plain_radiusd import SECRET, PlainRadiusd
from tests.lab.test_nas import accounted

MakeProfile = Callable[..., NasProfile]
ANA = {"name": "ana", "password": "secret", "redial_after": None, "retry_after": None}
BUSY = Demand(download=20_000_000, upload=20_000_000)


@pytest.fixture
def router(network: BlockingNetwork, profile: MakeProfile) -> LiveRouter:
    network.add_nas(profile())
    return network.add_router("tower")


def api(router: LiveRouter) -> Api:
    return librouteros.connect("127.0.1.1", "admin", "admin", port=router.server.port, timeout=5, encoding="utf-8")


def one(router: LiveRouter, path: str, **wanted: str) -> dict[str, str]:
    rows = [row for row in router.box.rows(path) if all(row.get(name) == value for name, value in wanted.items())]
    assert len(rows) == 1, rows
    return rows[0]


def online(outcome: Session | Refused) -> Session:
    assert isinstance(outcome, Session), outcome
    return outcome


def coa(network: BlockingNetwork, router: LiveRouter, attributes: bytes) -> int:
    """Send a CoA-Request to the router and return the code of its answer; raises TimeoutError for silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.5)
        sender.bind(("127.0.0.1", 0))
        sender.sendto(
            sealed_request(Code.COA_REQUEST, 7, attributes, SECRET.encode()), ("127.0.1.1", network.coa_port("tower"))
        )
        return decode(sender.recv(4096)).code


def test_a_pppoe_session_is_seen_in_every_menu_that_a_router_shows_it_in(
    network: BlockingNetwork, router: LiveRouter
) -> None:
    session = online(network.connect(Subscriber(**ANA, mac="02:00:00:00:00:0a", demand=BUSY), "tower"))
    active = one(router, "/ppp/active", name="ana")
    assert active["address"] == "10.1.2.3"
    assert active["caller-id"] == "02:00:00:00:00:0A"
    assert active["session-id"] == f"0x{int(session.id, 16):X}"
    assert active["radius"] == "true"
    assert active["uptime"].endswith("s")
    queue = one(router, "/queue/simple", name="<pppoe-ana>")
    assert (queue["max-limit"], queue["dynamic"]) == ("2000000/8000000", "true")
    listed = one(router, "/ip/firewall/address-list", list="active")
    assert (listed["address"], listed["dynamic"]) == ("10.1.2.3", "true")
    network.call(lambda _: session.count(uploaded=1_000_000, downloaded=5_000_000))
    interface = one(router, "/interface", name="<pppoe-ana>")
    assert (interface["type"], interface["running"]) == ("pppoe-in", "true")
    assert 1_000_000 <= int(interface["rx-byte"]) < 2_000_000
    assert 5_000_000 <= int(interface["tx-byte"]) < 9_000_000
    assert int(one(router, "/interface", name="ether1")["rx-byte"]) >= 5_000_000
    (traffic,) = router.box.run("/interface/monitor-traffic", {"interface": "<pppoe-ana>", "once": ""}).rows
    assert traffic["tx-bits-per-second"] == "8000000"


def test_removing_the_active_row_by_api_ends_the_session_and_accounts_for_it(
    network: BlockingNetwork, router: LiveRouter, plain: PlainRadiusd
) -> None:
    cpe = network.add_subscriber(Subscriber("ana", "secret", redial_after=None, mac="02:00:00:00:11:01"), "tower")
    online(network.dial(cpe))
    connection = api(router)
    active = connection.path("ppp", "active")
    active.remove(*(row[".id"] for row in active))
    connection.close()
    network.eventually(lambda: cpe.session is None)
    assert cpe.last_cause is TerminateCause.ADMIN_RESET
    assert accounted(plain, "ana")[-1]["Acct-Terminate-Cause"] == "Admin-Reset"
    for path, name in (("/interface", "<pppoe-ana>"), ("/queue/simple", "<pppoe-ana>")):
        assert not [row for row in router.box.rows(path) if row.get("name") == name]
    assert not router.box.rows("/ppp/active")
    assert not router.box.rows("/ip/firewall/address-list")


def test_a_coa_changes_queue_and_list_in_place(network: BlockingNetwork, router: LiveRouter) -> None:
    online(network.connect(Subscriber(**ANA), "tower"))
    before = one(router, "/queue/simple", name="<pppoe-ana>")
    named = text(USER_NAME, "ana") + address(FRAMED_IP_ADDRESS, "10.1.2.3")
    wanted = named + text(MIKROTIK_RATE_LIMIT, "1M/4M") + text(MIKROTIK_ADDRESS_LIST, "slow")
    assert coa(network, router, wanted) == Code.COA_ACK
    after = one(router, "/queue/simple", name="<pppoe-ana>")
    assert (after[".id"], after["max-limit"]) == (before[".id"], "1000000/4000000")
    assert one(router, "/ip/firewall/address-list")["list"] == "slow"
    (counted,) = router.box.run("/radius/incoming/monitor").rows
    assert (counted["requests"], counted["acks"]) == ("1", "1")


def test_dynamic_rows_are_not_a_person_to_remove(network: BlockingNetwork, router: LiveRouter) -> None:
    online(network.connect(Subscriber(**ANA), "tower"))
    connection = api(router)
    queues = connection.path("queue", "simple")
    with pytest.raises(librouteros.exceptions.TrapError, match="can not remove dynamic"):
        queues.remove(*(row[".id"] for row in queues))
    connection.close()


def test_a_local_secret_answers_without_radius_until_it_is_disabled(
    network: BlockingNetwork, router: LiveRouter
) -> None:
    box = router.box
    box.run("/ppp/profile/add", {"name": "hogar", "rate-limit": "3M/10M", "address-list": "own"})
    secret = {"name": "ana", "password": "mine", "profile": "hogar", "remote-address": "10.9.9.9"}
    added = box.run("/ppp/secret/add", secret).ret
    assert added is not None
    cpe = network.add_subscriber(Subscriber("ana", "mine", redial_after=None, retry_after=None), "tower")
    session = online(network.dial(cpe))
    assert (session.local, session.address) == (True, "10.9.9.9")
    assert one(router, "/ppp/active", name="ana")["radius"] == "false"
    assert one(router, "/queue/simple", name="<pppoe-ana>")["max-limit"] == "3000000/10000000"
    assert router.nas.counters.requests == 0
    network.hang_up(cpe)
    refused = network.connect(Subscriber("ana", "secret", retry_after=None), "tower")
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.LOCAL_PASSWORD
    box.run("/ppp/secret/disable", {".id": added})
    session = online(network.connect(Subscriber(**ANA), "tower"))
    assert (session.local, session.address) == (False, "10.1.2.3")


def test_radius_is_asked_as_the_menus_say(network: BlockingNetwork, router: LiveRouter) -> None:
    box = router.box

    def outcome() -> str:
        found = network.connect(Subscriber(**ANA), "tower")
        if isinstance(found, Refused):
            return found.cause
        network.call(lambda _: router.nas.log_out(found))
        return "online"

    box.run("/ppp/aaa/set", {"use-radius": "no"})
    assert outcome() == Refusal.NOT_ASKED
    box.run("/ppp/aaa/set", {"use-radius": "yes"})
    assert outcome() == "online"
    (row,) = box.rows("/radius")
    box.run("/radius/set", {".id": row[".id"], "secret": "another"})
    assert outcome() == Refusal.NO_ANSWER
    assert router.nas.counters.timeouts == 1
    box.run("/radius/set", {".id": row[".id"], "secret": SECRET})
    assert outcome() == "online"
    box.run("/radius/disable", {".id": row[".id"]})
    assert outcome() == Refusal.NOT_ASKED
    (counted,) = box.run("/radius/monitor").rows
    assert int(counted["accepts"]) == 2
    assert int(counted["timeouts"]) == 1


def test_a_stale_radius_row_in_front_keeps_everybody_out(network: BlockingNetwork, router: LiveRouter) -> None:
    (row,) = router.box.rows("/radius")
    stale = {
        "service": "ppp",
        "address": row["address"],
        "secret": "old",
        "timeout": "100ms",
        "place-before": row[".id"],
    }
    stale |= {name: row[name] for name in ("authentication-port", "accounting-port")}
    router.box.run("/radius/add", stale)
    refused = network.connect(Subscriber(**ANA), "tower")
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.NO_ANSWER


def test_incoming_can_be_closed_and_moved(network: BlockingNetwork, router: LiveRouter) -> None:
    online(network.connect(Subscriber(**ANA), "tower"))
    named = text(USER_NAME, "ana") + address(FRAMED_IP_ADDRESS, "10.1.2.3") + text(MIKROTIK_RATE_LIMIT, "1M/1M")
    port = network.coa_port("tower")
    router.box.run("/radius/incoming/set", {"accept": "no"})
    network.eventually(lambda: network_port(router) == 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.3)
        sender.sendto(sealed_request(Code.COA_REQUEST, 7, named, SECRET.encode()), ("127.0.1.1", port))
        with pytest.raises(OSError):  # noqa: PT011 - refused or silent, as the kernel likes
            sender.recv(4096)
    router.box.run("/radius/incoming/set", {"accept": "yes"})
    network.eventually(lambda: network_port(router) == port)
    assert coa(network, router, named) == Code.COA_ACK


def network_port(router: LiveRouter) -> int:
    return router._listener.port


def test_a_hotspot_guest_is_host_active_and_in_the_arp_table(network: BlockingNetwork, router: LiveRouter) -> None:
    guest = Subscriber(**ANA, kind=AccessKind.HOTSPOT, mac="02:00:00:00:00:77")
    stranger = Subscriber("bob", "?", AccessKind.HOTSPOT, mac="02:00:00:00:00:78", retry_after=None)
    session = online(network.connect(guest, "tower"))
    assert isinstance(network.connect(stranger, "tower"), Refused)
    active = one(router, "/ip/hotspot/active")
    assert (active["user"], active["address"], active["radius"]) == ("ana", "10.1.2.3", "true")
    hosts = {row["mac-address"]: row["authorized"] for row in router.box.rows("/ip/hotspot/host")}
    assert hosts == {"02:00:00:00:00:77": "true", "02:00:00:00:00:78": "false"}
    assert one(router, "/ip/arp", address="10.1.2.3")["mac-address"] == "02:00:00:00:00:77"
    assert one(router, "/queue/simple")["name"] == "<hotspot-ana>"
    router.box.run("/ip/hotspot/active/remove", {".id": active[".id"]})
    network.eventually(lambda: session.id not in router.nas.sessions)
    assert not router.box.rows("/ip/hotspot/active")


def test_a_local_hotspot_user_needs_no_radius(network: BlockingNetwork, router: LiveRouter) -> None:
    box = router.box
    box.run("/ip/hotspot/user/profile/add", {"name": "hora", "rate-limit": "512k/1M"})
    added = box.run("/ip/hotspot/user/add", {"name": "ana", "password": "mine", "profile": "hora"}).ret
    assert added is not None
    guest = Subscriber("ana", "mine", AccessKind.HOTSPOT, mac="02:00:00:00:00:79", redial_after=None, retry_after=None)
    cpe = network.add_subscriber(guest, "tower")
    assert online(network.dial(cpe)).local
    assert one(router, "/ip/hotspot/active")["radius"] == "false"
    assert one(router, "/queue/simple")["max-limit"] == "512000/1000000"
    network.hang_up(cpe)
    box.run("/ip/hotspot/user/disable", {".id": added})
    refused = network.dial(cpe)
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.REJECTED


def test_a_dhcp_client_has_a_lease_of_radius_and_a_static_lease_needs_none(
    network: BlockingNetwork, router: LiveRouter
) -> None:
    by_radius = Subscriber("", kind=AccessKind.DHCP, method=Method.MAC, mac="02:00:00:00:00:0c", redial_after=None)
    online(network.connect(by_radius, "tower"))
    lease = one(router, "/ip/dhcp-server/lease")
    assert (lease["radius"], lease["dynamic"], lease["status"]) == ("true", "true", "bound")
    assert lease["rate-limit"] == "1M/4M"
    assert one(router, "/queue/simple")["name"] == "dhcp-ds<02:00:00:00:00:0C>"
    assert one(router, "/ip/arp")["DHCP"] == "true"
    static = {"address": "10.64.0.200", "mac-address": "02:00:00:00:00:99", "rate-limit": "2M/2M", "server": "dhcp1"}
    router.box.run("/ip/dhcp-server/lease/add", static)
    own = Subscriber("", kind=AccessKind.DHCP, method=Method.MAC, mac="02:00:00:00:00:99", redial_after=None)
    cpe = network.add_subscriber(own, "tower")
    session = online(network.dial(cpe))
    assert (session.local, session.address) == (True, "10.64.0.200")
    lease = one(router, "/ip/dhcp-server/lease", address="10.64.0.200")
    assert (lease["status"], lease.get("radius", "false")) == ("bound", "false")
    network.hang_up(cpe)
    assert one(router, "/ip/dhcp-server/lease", address="10.64.0.200")["status"] == "waiting"


def test_a_reboot_ends_the_sessions_and_changes_ids_and_the_digit_of_session_ids(
    network: BlockingNetwork, router: LiveRouter, plain: PlainRadiusd
) -> None:
    cpe = network.add_subscriber(Subscriber("pool", "secret", mac="02:00:00:00:12:01", redial_after=0.1), "tower")
    before = online(network.dial(cpe))
    (row,) = router.box.rows("/radius")
    connection = api(router)
    with suppress(librouteros.exceptions.LibRouterosError, OSError):
        tuple(connection("/system/reboot"))
    connection.close()
    network.eventually(lambda: cpe.session is not None and cpe.session is not before)
    after = cpe.session
    assert after is not None
    assert before.id[2] != after.id[2]
    (renewed,) = router.box.rows("/radius")
    assert renewed[".id"] != row[".id"]
    assert one(router, "/ppp/active")["session-id"] == f"0x{int(after.id, 16):X}"
    assert "s" in router.box.rows("/system/resource")[0]["uptime"]
    stops = [
        each
        for each in plain.accounting("pool")  # others use the name too, with devices of their own
        if (each["Acct-Status-Type"], each["Calling-Station-Id"]) == (StatusType.STOP.name.title(), "02:00:00:00:12:01")
    ]
    assert [each["Acct-Terminate-Cause"] for each in stops] == ["Admin-Reboot"]


def test_without_power_the_api_is_silent(network: BlockingNetwork, router: LiveRouter) -> None:
    network.power_cut("tower")
    with pytest.raises((OSError, librouteros.exceptions.LibRouterosError)):
        librouteros.connect("127.0.1.1", "admin", "admin", port=router.server.port, timeout=0.3)
    network.power_on("tower")
    api(router).close()


def test_pings_are_answered_by_who_is_there(network: BlockingNetwork, router: LiveRouter) -> None:
    online(network.connect(Subscriber(**ANA), "tower"))
    assert router.pinged("10.1.2.3") is not None
    assert router.pinged("10.1.2.4") is None
    assert router.pinged("8.8.8.8") is not None
    router.unreachable.add("10.1.2.3")
    assert router.pinged("10.1.2.3") is None
    connection = api(router)
    (answer,) = connection("/ping", address="10.1.2.4", count=1)
    assert answer["status"] == "timeout"
    connection.close()


def test_a_pool_made_by_api_can_be_granted(network: BlockingNetwork, router: LiveRouter) -> None:
    refused = network.connect(Subscriber("elsewhere", "secret", retry_after=None), "tower")
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.NO_ADDRESS
    router.box.run("/ip/pool/add", {"name": "not-here", "ranges": "10.77.0.5-10.77.0.6"})
    session = online(network.connect(Subscriber("elsewhere", "secret", redial_after=None), "tower"))
    assert session.address == "10.77.0.5"


def test_a_router_as_an_isp_brings_it_asks_nobody(network: BlockingNetwork, profile: MakeProfile) -> None:
    network.add_nas(profile("vieja", address="127.0.1.2"))
    old = RouterProfile(api_port=0, identity="Torre Vieja", asks_radius=False, scenario="small")
    router = network.add_router("vieja", old)
    usable = (row for row in router.box.table("/ppp/secret") if not row.is_true("disabled"))
    secret = next(row for row in usable if row.get("service") == "pppoe" and not row.get("caller-id"))
    session = online(network.connect(Subscriber(secret["name"], secret["password"], redial_after=None), "vieja"))
    assert session.local
    refused = network.connect(Subscriber("ana", "secret", retry_after=None), "vieja")
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.NOT_ASKED
    assert router.nas.counters.requests == 0
