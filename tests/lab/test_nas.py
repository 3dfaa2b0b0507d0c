"""The emulated NAS before a FreeRADIUS that knows nothing of it: what it sends, believes, and ends."""

import time
from collections.abc import Callable

import pytest

from aaa.facts import AccessKind
from core.rates import RateLimit
from lab.attributes import TerminateCause
from lab.nas import Nas, Refusal, Refused
from lab.network import BlockingNetwork, Cpe, Network
from lab.profile import NasProfile
from lab.session import Session
from lab.subscriber import Demand, Method, Profile, Subscriber
from tests.lab.plain_radiusd import PlainRadiusd

MakeProfile = Callable[..., NasProfile]
ANA = {"name": "ana", "password": "secret", "redial_after": None, "retry_after": None}


def online(outcome: Session | Refused) -> Session:
    assert isinstance(outcome, Session), outcome
    return outcome


def start(network: BlockingNetwork, profile: NasProfile, subscriber: Subscriber) -> tuple[Nas, Cpe]:
    nas = network.add_nas(profile)
    return nas, network.add_subscriber(subscriber, profile.name)


def accounted(plain: PlainRadiusd, name: str, *, stops: int = 1) -> list[dict[str, str]]:
    """Return the accounting of a user name once so many sessions of it have stopped."""
    deadline = time.monotonic() + 10
    while True:
        records = plain.accounting(name)
        if sum(record["Acct-Status-Type"] == "Stop" for record in records) >= stops:
            return records
        assert time.monotonic() < deadline, records
        time.sleep(0.05)


@pytest.mark.parametrize("version", [(6, 49), (7, 16)])
@pytest.mark.parametrize("method", [Method.PAP, Method.CHAP, Method.MSCHAP1, Method.MSCHAP2])
def test_freeradius_accepts_the_right_password_and_no_other(
    network: BlockingNetwork, profile: MakeProfile, method: Method, version: tuple[int, int]
) -> None:
    network.add_nas(profile(version=version))
    session = online(network.connect(Subscriber(**ANA, method=method), "tower"))
    assert session.grant.rate == RateLimit(download=8_000_000, upload=2_000_000)
    assert (session.address, session.grant.address_list) == ("10.1.2.3", "active")
    wrong = network.connect(Subscriber("ana", "Secret", method=method, retry_after=None), "tower")
    assert isinstance(wrong, Refused)
    assert wrong.cause is Refusal.REJECTED


def test_pppoe_request_has_the_attributes_of_routeros_in_its_order(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    network.add_nas(profile())
    network.connect(Subscriber(**ANA), "tower")
    request = plain.requests("ana")[-1]
    assert list(request) == [
        "Packet-Type",
        "Service-Type",
        "Framed-Protocol",
        "NAS-Port",
        "NAS-Port-Type",
        "User-Name",
        "Calling-Station-Id",
        "Called-Station-Id",
        "NAS-Port-Id",
        "Acct-Session-Id",
        "CHAP-Challenge",
        "CHAP-Password",
        "NAS-Identifier",
        "NAS-IP-Address",
        "Message-Authenticator",
        "Timestamp",
    ]
    assert request["NAS-Port"] == "15728641"
    assert request["Acct-Session-Id"] == "81000001"


def test_hotspot_login_shows_the_subscribers_own_address(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    network.add_nas(profile())
    network.connect(Subscriber(**ANA, kind=AccessKind.HOTSPOT), "tower")
    request = plain.requests("ana")[-1]
    assert list(request)[1:8] == [
        "NAS-Port-Type",
        "Calling-Station-Id",
        "Called-Station-Id",
        "NAS-Port-Id",
        "User-Name",
        "NAS-Port",
        "Acct-Session-Id",
    ]
    assert (request["NAS-Port-Type"], request["Service-Type"]) == ("Wireless-802.11", "Login-User")
    assert request["NAS-Port"] == str(int(request["Acct-Session-Id"], 16))
    assert request["Framed-IP-Address"] == request["Mikrotik-Host-IP"] == "10.64.0.1"


@pytest.mark.parametrize(
    ("kind", "pattern", "name", "calling"),
    [
        (AccessKind.DHCP, "xxxxxxxxxxxx", "02:00:00:00:00:0A", "1:02:00:00:00:00:0a"),
        (AccessKind.HOTSPOT, "XX:XX:XX:XX:XX:XX", "02:00:00:00:00:0A", "02:00:00:00:00:0A"),
        (AccessKind.WIRELESS, "xxxx-xxxx-xxxx", "0200-0000-000a", "02-00-00-00-00-0A"),
    ],
)
def test_a_mac_is_spelled_as_the_service_spells_it_with_an_empty_password(
    network: BlockingNetwork,
    profile: MakeProfile,
    plain: PlainRadiusd,
    kind: AccessKind,
    pattern: str,
    name: str,
    calling: str,
) -> None:
    network.add_nas(profile())
    subscriber = Subscriber("cpe", kind=kind, method=Method.MAC, mac="02:00:00:00:00:0a", mac_format=pattern)
    online(network.connect(subscriber, "tower"))
    request = plain.requests(name)[-1]
    assert (request["Calling-Station-Id"], request["User-Password"]) == (calling, "")


def test_a_wireless_client_takes_ascend_rates_only_and_no_address(
    network: BlockingNetwork, profile: MakeProfile
) -> None:
    network.add_nas(profile())
    subscriber = Subscriber("radio", kind=AccessKind.WIRELESS, method=Method.MAC, mac="02:00:00:00:00:0c")
    session = online(network.connect(subscriber, "tower"))
    assert (session.grant.rate, session.address) == (RateLimit(download=8_000_000, upload=2_000_000), None)


def test_a_session_is_accounted_from_start_to_stop_with_its_class_and_rate(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    nas, cpe = start(network, profile("counted"), Subscriber(**ANA, demand=Demand(80_000_000, 1_000_000)))
    session = online(network.dial(cpe))
    network.eventually(lambda: nas.counters.accounting_acknowledged >= 2)  # Start, and an interim after 1 s
    network.hang_up(cpe)
    network.wait_for(nas.settled())
    records = [record for record in plain.accounting("ana") if record["NAS-Identifier"] == "counted"]
    assert [record["Acct-Status-Type"] for record in records] == ["Start", "Interim-Update", "Stop"]
    assert {record["Acct-Session-Id"] for record in records} == {session.id}
    assert {record["Class"] for record in records} == {"0x617070"}
    assert {record["Mikrotik-Rate-Limit"] for record in records} == {"2M/8M"}
    assert {record["Framed-IP-Address"] for record in records} == {"10.1.2.3"}
    assert records[2]["Acct-Terminate-Cause"] == "User-Request"
    # The download is cut to the granted 8 Mbit/s, the upload stays below its 2 Mbit/s.
    assert int(records[1]["Acct-Output-Octets"]) == pytest.approx(1_000_000, rel=0.1)
    assert int(records[1]["Acct-Input-Octets"]) == pytest.approx(125_000, rel=0.1)


def test_counters_go_on_past_four_gigabytes_in_gigawords(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    nas, cpe = start(network, profile("giga"), Subscriber(**ANA))
    session = online(network.dial(cpe))
    network.call(lambda _: session.count(uploaded=3, downloaded=(5 << 32) + 7))
    network.hang_up(cpe)
    network.wait_for(nas.settled())
    stop = next(
        record
        for record in plain.accounting("ana")
        if record["NAS-Identifier"] == "giga" and record["Acct-Status-Type"] == "Stop"
    )
    assert (stop["Acct-Output-Gigawords"], stop["Acct-Output-Octets"]) == ("5", "7")
    assert (stop["Acct-Input-Gigawords"], stop["Acct-Input-Octets"]) == ("0", "3")


@pytest.mark.parametrize(
    ("name", "cause"),
    [("short", TerminateCause.SESSION_TIMEOUT), ("idle", TerminateCause.IDLE_TIMEOUT)],
)
def test_a_session_ends_at_its_timeout(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd, name: str, cause: TerminateCause
) -> None:
    _, cpe = start(network, profile(), Subscriber(name, "secret", redial_after=None))
    online(network.dial(cpe))
    network.eventually(lambda: cpe.session is None, 5)
    assert cpe.last_cause is cause
    assert accounted(plain, name)[-1]["Acct-Terminate-Cause"] == cause.name.title().replace("_", "-")


def test_a_session_ends_when_both_directions_together_reach_the_total_limit(
    network: BlockingNetwork, profile: MakeProfile
) -> None:
    _, cpe = start(network, profile(), Subscriber("metered", "secret", redial_after=None))
    session = online(network.dial(cpe))
    assert session.grant.total_limit == 5_000_000_000
    network.call(lambda _: session.count(uploaded=1_000_000_000, downloaded=3_999_000_000))
    network.set_demand(cpe, Demand(download=8_000_000))
    network.eventually(lambda: cpe.session is None, 5)
    assert cpe.last_cause is TerminateCause.NAS_REQUEST


def test_a_pool_is_used_up_and_an_unknown_pool_has_no_address(network: BlockingNetwork, profile: MakeProfile) -> None:
    network.add_nas(profile())
    subscribers = [Subscriber("pool", "secret", mac=f"02:00:00:00:01:0{n}", retry_after=None) for n in range(3)]
    outcomes = [network.connect(subscriber, "tower") for subscriber in subscribers]
    assert [online(outcome).address for outcome in outcomes[:2]] == ["10.99.0.1", "10.99.0.2"]
    assert outcomes[2] == Refused(Refusal.NO_ADDRESS, "garden")
    elsewhere = network.connect(Subscriber("elsewhere", "secret", retry_after=None), "tower")
    assert elsewhere == Refused(Refusal.NO_ADDRESS, "not-here")


def test_a_rate_that_routeros_cannot_read_is_a_bad_reply(network: BlockingNetwork, profile: MakeProfile) -> None:
    network.add_nas(profile())
    outcome = network.connect(Subscriber("broken", "secret", retry_after=None), "tower")
    assert isinstance(outcome, Refused)
    assert outcome.cause is Refusal.BAD_REPLY


def test_an_unknown_subscriber_is_told_the_servers_message(network: BlockingNetwork, profile: MakeProfile) -> None:
    network.add_nas(profile())
    outcome = network.connect(Subscriber("nobody", "x", method=Method.PAP, retry_after=None), "tower")
    assert isinstance(outcome, Refused)
    assert (outcome.cause, outcome.message) == (Refusal.REJECTED, "who are you")


@pytest.mark.parametrize(("version", "connected"), [((7, 14), True), ((7, 15), False)])
def test_routeros_since_7_15_drops_an_accept_without_message_authenticator(
    network: BlockingNetwork, profile: MakeProfile, version: tuple[int, int], connected: bool
) -> None:
    nas, cpe = start(network, profile(version=version), Subscriber("unsigned", "secret", retry_after=None))
    outcome = network.dial(cpe)
    assert isinstance(outcome, Session) is connected
    if not connected:
        assert outcome == Refused(Refusal.NO_ANSWER)
        assert (nas.counters.bad_replies, nas.counters.resends, nas.counters.timeouts) == (3, 2, 1)


def test_with_the_wrong_secret_an_accept_is_thrown_away(network: BlockingNetwork, profile: MakeProfile) -> None:
    nas, cpe = start(network, profile(secret="another", version=(6, 49)), Subscriber(**ANA))
    assert network.dial(cpe) == Refused(Refusal.NO_ANSWER)
    assert nas.counters.bad_replies == 3


def test_a_local_secret_wins_over_radius(network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd) -> None:
    nas, cpe = start(
        network, profile(local_secrets=(("imported", "old"),)), Subscriber("imported", "old", retry_after=None)
    )
    online(network.dial(cpe))
    network.hang_up(cpe)
    assert plain.requests("imported") == plain.accounting("imported") == []
    assert nas.counters.requests == nas.counters.accounting_sent == 0


def test_unanswered_accounting_is_sent_three_times_and_forgotten_and_the_session_stays(
    network: BlockingNetwork, profile: MakeProfile
) -> None:
    nas, cpe = start(network, profile(timeout=0.1), Subscriber("pool", "secret", redial_after=None))
    session = online(network.dial(cpe))
    network.wait_for(nas.settled())
    network.call(lambda _: setattr(nas.faults, "loss", 1.0))
    began = time.monotonic()
    network.call(lambda _: nas.send_interim(session))
    network.wait_for(nas.settled())
    assert time.monotonic() - began == pytest.approx(0.3, abs=0.15)
    assert (nas.counters.resends, nas.counters.accounting_forgotten) == (2, 1)
    assert cpe.session is session


def test_a_power_cut_leaves_no_stop_and_moves_the_reboot_digit(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    _, cpe = start(network, profile("dark"), Subscriber(**ANA))
    before = online(network.dial(cpe)).id
    network.power_cut("dark")
    assert network.dial(cpe) == Refused(Refusal.POWER_OFF)
    network.power_on("dark", spread=0)
    network.eventually(lambda: cpe.session is not None)
    assert cpe.session is not None
    assert (before, cpe.session.id) == ("81000001", "81100001")
    records = [record for record in plain.accounting("ana") if record["NAS-Identifier"] == "dark"]
    assert "Stop" not in {record["Acct-Status-Type"] for record in records}


def test_a_cpe_dials_again_after_its_session_was_ended(network: BlockingNetwork, profile: MakeProfile) -> None:
    nas, cpe = start(network, profile(), Subscriber("pool", "secret", redial_after=0.1))
    first = online(network.dial(cpe))
    network.call(lambda _: nas.log_out(first, TerminateCause.ADMIN_RESET))
    network.eventually(lambda: cpe.session not in (None, first))


def test_a_dhcp_lease_is_asked_for_again_at_half_its_time(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    subscriber = Subscriber("cpe", kind=AccessKind.DHCP, method=Method.MAC, mac="02:00:00:00:00:0a")
    nas, cpe = start(network, profile("lease"), subscriber)
    session = online(network.dial(cpe))
    network.eventually(lambda: nas.counters.accepts == 2, 5)
    assert cpe.session is session
    requests = [each for each in plain.requests("02:00:00:00:00:0A") if each["NAS-Identifier"] == "lease"]
    assert [each["Acct-Session-Id"] for each in requests] == [session.id, session.id]


def test_swapped_octets_and_a_wrong_clock_show_in_accounting(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    nas, cpe = start(network, profile("odd"), Subscriber(**ANA))
    network.call(lambda _: setattr(nas.faults, "swapped_octets", True))
    network.call(lambda _: setattr(nas.faults, "clock_skew", -86400 * 365.0))
    session = online(network.dial(cpe))
    network.call(lambda _: session.count(uploaded=1, downloaded=1000))
    network.hang_up(cpe)
    network.wait_for(nas.settled())
    stop = [record for record in plain.accounting("ana") if record["NAS-Identifier"] == "odd"][-1]
    assert (stop["Acct-Input-Octets"], stop["Acct-Output-Octets"]) == ("1000", "1")
    assert str(time.gmtime().tm_year - 1) in stop["Event-Timestamp"]


def test_lossy_links_still_connect_by_retransmission(network: BlockingNetwork, profile: MakeProfile) -> None:
    nas = network.add_nas(profile(timeout=0.05, tries=20))
    network.call(lambda _: (setattr(nas.faults, "loss", 0.3), setattr(nas.faults, "duplicate", 0.3)))
    for n in range(20):
        online(network.connect(Subscriber("metered", "secret", mac=f"02:00:00:00:02:{n:02x}"), "tower"))
    assert nas.counters.resends > 0


def test_ipv6_prefixes_are_told_again_in_accounting(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    nas, cpe = start(network, profile(), Subscriber("six", "secret"))
    online(network.dial(cpe))
    network.wait_for(nas.settled())
    told = plain.accounting("six")[-1]
    assert told["Framed-IPv6-Prefix"] == "2001:db8:1::/64"
    assert told["Delegated-IPv6-Prefix"] == "2001:db8:100::/56"


def test_a_mac_can_be_its_own_password(network: BlockingNetwork, profile: MakeProfile) -> None:
    network.add_nas(profile())
    subscriber = Subscriber(
        "cpe",
        kind=AccessKind.HOTSPOT,
        method=Method.MAC,
        mac="02:00:00:00:00:0d",
        mac_format="XX-XX-XX-XX-XX-XX",
        mac_as_password=True,
    )
    online(network.connect(subscriber, "tower"))


def test_a_stop_can_be_lost_and_accounting_can_overtake_itself(
    network: BlockingNetwork, profile: MakeProfile, plain: PlainRadiusd
) -> None:
    nas, cpe = start(network, profile("untidy"), Subscriber(**ANA))
    network.call(lambda _: setattr(nas.faults, "lost_stops", 1.0))
    online(network.dial(cpe))
    network.hang_up(cpe)
    network.wait_for(nas.settled())
    assert nas.counters.stops_lost == 1
    network.call(lambda _: setattr(nas.faults, "lost_stops", 0.0))
    network.call(lambda _: setattr(nas.faults, "reorder_accounting", 1.0))
    last = online(network.dial(cpe))
    network.call(lambda _: setattr(nas.faults, "reorder_accounting", 0.0))
    network.hang_up(cpe)  # its Stop overtakes the Start that is held back
    network.wait_for(nas.settled())
    records = [record for record in plain.accounting("ana") if record["NAS-Identifier"] == "untidy"]
    assert [record["Acct-Status-Type"] for record in records] == ["Start", "Stop", "Start"]
    assert records[1]["Acct-Session-Id"] == records[2]["Acct-Session-Id"] == last.id


def test_demand_follows_the_hour_of_the_emulated_day(plain: PlainRadiusd, profile: MakeProfile) -> None:
    day = Network(day_seconds=86400.0, seed=1)  # it begins at six in the evening
    with BlockingNetwork(day) as network:
        network.add_nas(profile())
        sold = Demand(download=10_000_000)
        home = network.connect(Subscriber("pool", "secret", demand=sold, profile=Profile.HOME), "tower")
        office = network.connect(Subscriber("metered", "secret", demand=sold, profile=Profile.BUSINESS), "tower")
        assert 500_000 < online(home).demand.download < 6_000_000
        assert 0 < online(office).demand.download < 5_000_000
        assert network.call(lambda lab: lab.hour) == pytest.approx(18.0, abs=0.1)
