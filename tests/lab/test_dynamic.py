"""CoA and Disconnect to the emulated NAS, sent by pyrad."""

import socket
from collections.abc import Callable

import pytest
from pyrad import packet as pyrad_packet
from pyrad.dictionary import Dictionary

from aaa.facts import AccessKind
from core.rates import RateLimit
from lab.attributes import TerminateCause
from lab.network import BlockingNetwork, Cpe
from lab.profile import NasProfile
from lab.session import Session
from lab.subscriber import Method, Subscriber
from tests.lab.plain_radiusd import SECRET

MakeProfile = Callable[..., NasProfile]
Attributes = dict[int | tuple[int, int], bytes]

USER_NAME, NAS_IP, FRAMED_IP, SESSION_TIMEOUT, NAS_ID, SESSION_ID, FRAMED_POOL = 1, 4, 8, 27, 32, 44, 88
RATE, ADDRESS_LIST = (14988, 8), (14988, 19)
DISCONNECT, COA = pyrad_packet.DisconnectRequest, pyrad_packet.CoARequest
ERROR_CAUSE = 101
SILENCE = None


class Controller:
    """Sends one request to a NAS and returns the code and Error-Cause of its reply, or None for silence."""

    def __init__(self, port: int, nas: str = "127.0.1.1", source: str = "127.0.0.1") -> None:
        self.destination = (nas, port)
        self.source = source
        self.last_reply = b""

    def send(self, code: int, attributes: Attributes, secret: str = SECRET) -> tuple[int, int | None] | None:
        request = pyrad_packet.CoAPacket(code=code, secret=secret.encode(), dict=Dictionary())
        for number, value in attributes.items():
            request[number] = [value]
        return self.send_octets(request.RequestPacket(), request)

    def send_octets(
        self, octets: bytes, request: pyrad_packet.CoAPacket | None = None
    ) -> tuple[int, int | None] | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((self.source, 0))
            sender.settimeout(0.3)
            sender.sendto(octets, self.destination)
            try:
                self.last_reply = sender.recv(4096)
            except TimeoutError:
                return SILENCE
        reply = pyrad_packet.Packet(packet=self.last_reply, secret=SECRET.encode(), dict=Dictionary())
        assert request is None or request.VerifyReply(reply, self.last_reply)
        causes = reply.get(ERROR_CAUSE)
        return reply.code, int.from_bytes(causes[0], "big") if causes else None


class Line:
    """A connected subscriber and a controller that may change its session."""

    def __init__(self, network: BlockingNetwork, profile: NasProfile, subscriber: Subscriber) -> None:
        self.network = network
        self.nas = network.add_nas(profile)
        self.cpe: Cpe = network.add_subscriber(subscriber, profile.name)
        outcome = network.dial(self.cpe)
        assert isinstance(outcome, Session), outcome
        self.session = outcome
        self.controller = Controller(network.coa_port(profile.name), profile.address)

    @property
    def names(self) -> Attributes:
        """What names the session well enough."""
        named: Attributes = {USER_NAME: self.session.user_name.encode(), SESSION_ID: self.session.id.encode()}
        if self.session.address is not None:
            named[FRAMED_IP] = socket.inet_aton(self.session.address)
        return named


@pytest.fixture
def line(network: BlockingNetwork, profile: MakeProfile) -> Line:
    return Line(network, profile(), Subscriber("ana", "secret", redial_after=None))


def mac_line(network: BlockingNetwork, profile: NasProfile, kind: AccessKind) -> Line:
    mac = "02:00:00:00:00:0b"
    return Line(network, profile, Subscriber("cpe", kind=kind, method=Method.MAC, mac=mac, redial_after=None))


def test_a_disconnect_is_acknowledged_in_twenty_octets_and_ends_the_session(line: Line) -> None:
    assert line.controller.send(DISCONNECT, line.names) == (pyrad_packet.DisconnectACK, None)
    assert len(line.controller.last_reply) == 20
    assert (line.cpe.session, line.cpe.last_cause) == (None, TerminateCause.ADMIN_RESET)


def test_a_second_disconnect_is_told_that_the_session_is_gone(line: Line) -> None:
    line.controller.send(DISCONNECT, line.names)
    assert line.controller.send(DISCONNECT, line.names) == (pyrad_packet.DisconnectNAK, 503)


def test_a_repeated_request_gets_the_same_answer_and_is_not_carried_out_again(line: Line) -> None:
    request = pyrad_packet.CoAPacket(code=DISCONNECT, secret=SECRET.encode(), dict=Dictionary())
    for number, value in line.names.items():
        request[number] = [value]
    octets = request.RequestPacket()
    assert line.controller.send_octets(octets) == line.controller.send_octets(octets)
    assert line.network.call(lambda network: network.listeners["tower"].counters.acks) == 1


def test_a_coa_changes_rate_list_and_timeout_in_place(line: Line) -> None:
    wanted: Attributes = {RATE: b"256k/512k", ADDRESS_LIST: b"suspended", SESSION_TIMEOUT: bytes((0, 0, 2, 88))}
    assert line.controller.send(COA, line.names | wanted) == (pyrad_packet.CoAACK, None)
    grant = line.session.grant
    assert grant.rate == RateLimit(download=512_000, upload=256_000)
    assert (grant.address_list, grant.session_timeout) == ("suspended", 600)
    assert line.cpe.session is line.session


def test_a_coa_without_a_list_leaves_the_address_on_the_one_it_had(line: Line) -> None:
    line.controller.send(COA, line.names | {ADDRESS_LIST: b"suspended"})
    line.controller.send(COA, line.names | {RATE: b"4M/8M"})
    assert line.session.grant.address_list == "suspended"
    line.controller.send(COA, line.names | {ADDRESS_LIST: b"active"})
    assert line.session.grant.address_list == "active"


def test_a_pool_cannot_be_changed_on_a_live_session(line: Line) -> None:
    assert line.controller.send(COA, line.names | {FRAMED_POOL: b"garden"}) == (pyrad_packet.CoANAK, 401)


def test_a_rate_that_cannot_be_read_is_an_invalid_request(line: Line) -> None:
    assert line.controller.send(COA, line.names | {RATE: b"1.5M/3M"}) == (pyrad_packet.CoANAK, 404)
    assert line.session.grant.rate == RateLimit(8_000_000, 2_000_000)


@pytest.mark.parametrize(
    ("named", "answer"),
    [
        pytest.param({USER_NAME: b"ana"}, 402, id="name alone"),
        pytest.param({SESSION_ID: b"81000001"}, 402, id="session id alone"),
        pytest.param({USER_NAME: b"ana", FRAMED_IP: bytes((10, 1, 2, 4))}, 503, id="another address"),
        pytest.param({USER_NAME: b"Ana", FRAMED_IP: bytes((10, 1, 2, 3))}, 503, id="another spelling"),
        pytest.param({USER_NAME: b"ana", SESSION_ID: b"0x81000001"}, 503, id="session id as the API spells it"),
        pytest.param(
            {USER_NAME: b"ana", FRAMED_IP: bytes((10, 1, 2, 3)), NAS_IP: bytes((10, 9, 9, 9))}, 403, id="another NAS"
        ),
        pytest.param({USER_NAME: b"ana", FRAMED_IP: bytes((10, 1, 2, 3)), NAS_ID: b"tower"}, None, id="name, address"),
        pytest.param({USER_NAME: b"ana", SESSION_ID: b"81000001"}, None, id="name and session id"),
    ],
)
def test_a_session_must_be_named_well_enough(line: Line, named: Attributes, answer: int | None) -> None:
    code = pyrad_packet.CoAACK if answer is None else pyrad_packet.CoANAK
    assert line.controller.send(COA, {**named, RATE: b"1M/1M"}) == (code, answer)


def test_a_wrong_secret_a_broken_packet_and_a_stranger_get_silence(line: Line) -> None:
    assert line.controller.send(DISCONNECT, line.names, secret="wrong") is SILENCE
    assert line.controller.send_octets(b"\x28\x01\x00\x14") is SILENCE
    stranger = Controller(line.network.coa_port("tower"), source="127.0.0.99")
    assert stranger.send(DISCONNECT, line.names) is SILENCE
    assert line.cpe.session is line.session
    counters = line.network.call(lambda network: network.listeners["tower"].counters)
    assert (counters.requests, counters.bad_requests, counters.acks, counters.naks) == (3, 3, 0, 0)


def test_dhcp_sessions_do_not_answer_unless_told_to(network: BlockingNetwork, profile: MakeProfile) -> None:
    deaf = mac_line(network, profile("deaf"), AccessKind.DHCP)
    assert deaf.controller.send(DISCONNECT, deaf.names) is SILENCE
    hearing = mac_line(network, profile("hearing", address="127.0.1.2", dhcp_obeys_coa=True), AccessKind.DHCP)
    assert hearing.controller.send(DISCONNECT, hearing.names) == (pyrad_packet.DisconnectACK, None)


def test_a_hotspot_may_acknowledge_a_rate_and_not_obey(network: BlockingNetwork, profile: MakeProfile) -> None:
    subscriber = Subscriber("ana", "secret", kind=AccessKind.HOTSPOT, redial_after=None)
    line = Line(network, profile(hotspot_obeys_rate=False), subscriber)
    wanted: Attributes = {RATE: b"256k/512k", ADDRESS_LIST: b"suspended"}
    assert line.controller.send(COA, line.names | wanted) == (pyrad_packet.CoAACK, None)
    assert line.session.grant.rate == RateLimit(8_000_000, 2_000_000)
    assert line.session.grant.address_list == "suspended"


def test_the_name_of_a_mac_alone_cuts_the_wireless_link_and_not_the_hotspot(
    network: BlockingNetwork, profile: MakeProfile
) -> None:
    hotspot = mac_line(network, profile(), AccessKind.HOTSPOT)
    wireless = Subscriber(
        "radio", kind=AccessKind.WIRELESS, method=Method.MAC, mac="02:00:00:00:00:0b", redial_after=None
    )
    radio = network.add_subscriber(wireless, "tower")
    assert isinstance(network.dial(radio), Session)
    assert hotspot.controller.send(DISCONNECT, {USER_NAME: b"02:00:00:00:00:0B"}) == (pyrad_packet.DisconnectACK, None)
    assert (radio.session, hotspot.cpe.session) == (None, hotspot.session)


def test_a_router_without_power_says_nothing(line: Line) -> None:
    line.network.power_cut("tower")
    assert line.controller.send(DISCONNECT, line.names) is SILENCE
