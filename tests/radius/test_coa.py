"""CoA and Disconnect on the wire: read by FreeRADIUS's own decoder, and answered by an emulated NAS."""

import asyncio
import socket
import struct
import subprocess
from datetime import timedelta

import pytest
from pyrad.dictionary import Dictionary
from pyrad.packet import CoANAK, CoAPacket

from aaa.facts import AccessKind
from core.settings import Settings
from radius.coa import (
    DICTIONARY,
    Answer,
    Line,
    Peer,
    SessionIdentity,
    changing,
    coa_source,
    dictionary,
    identifying,
    request_packet,
)
from radius.orders import Changes, Measure, Result

SESSION = SessionIdentity(
    kind=AccessKind.PPP,
    user_name="José 100%d",
    acct_session_id="81c00002",
    calling_station_id="EC:F4:BB:FA:36:C9",
    framed_ip="10.64.0.7",
    nas_ip_address="192.168.88.1",
    nas_identifier="tower-3",
)
CHANGES = Changes("5M/20M", "portico-active", timedelta(days=3), None)


def decoded_by_freeradius(tmp_path, octets: bytes, secret: str) -> list[str]:
    """Return the attributes that FreeRADIUS's radsniff reads in a packet, in its own names."""
    udp = struct.pack("!HHHH", 40000, 3799, 8 + len(octets), 0) + octets
    source, destination = bytes((10, 0, 0, 9)), bytes((10, 0, 0, 2))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, destination)
    frame = bytes(12) + b"\x08\x00" + ip + udp
    capture = tmp_path / "packet.pcap"
    capture.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        + struct.pack("<IIII", 0, 0, len(frame), len(frame))
        + frame
    )
    command = ["radsniff", "-x", "-I", str(capture), "-s", secret, "-D", "/usr/share/freeradius", "-p", "3799"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.splitlines()
    return [line.strip() for line in lines if " = " in line and "Authenticator" not in line]


def test_freeradius_reads_a_coa_request_as_it_was_meant(tmp_path):
    peer = Peer("10.0.0.2", 3799, b"s3cret", message_authenticator=True)
    attributes = identifying(SESSION, names_session_id=True) | changing(CHANGES)
    _, octets = request_packet(peer, Measure.COA, 3, attributes)
    assert sorted(decoded_by_freeradius(tmp_path, octets, "s3cret")) == [
        'Acct-Session-Id = "81c00002"',
        "Framed-IP-Address = 10.64.0.7",
        'Mikrotik-Address-List = "portico-active"',
        'Mikrotik-Rate-Limit = "5M/20M"',
        "NAS-IP-Address = 192.168.88.1",
        'NAS-Identifier = "tower-3"',
        "Session-Timeout = 259200",
        'User-Name = "José 100%d"',
    ]


def test_the_dictionary_is_a_subset_of_freeradiuss():
    ours = Dictionary(str(DICTIONARY))
    theirs = Dictionary(
        *(f"/usr/share/freeradius/dictionary.{name}" for name in ("rfc2865", "rfc2866", "rfc2869", "rfc3162")),
        *(f"/usr/share/freeradius/dictionary.{name}" for name in ("rfc3576", "mikrotik")),
    )
    for name, attribute in ours.attributes.items():
        same = theirs.attributes[name]
        assert (attribute.code, attribute.vendor, attribute.type) == (same.code, same.vendor, same.type), name


def test_a_wireless_association_is_named_without_an_address():
    wireless = SessionIdentity(
        AccessKind.WIRELESS, "EC:F4:BB:FA:36:C9", "8220001c", "EC-F4-BB-FA-36-C9", None, None, ""
    )
    assert identifying(wireless, names_session_id=False) == {
        "User-Name": "EC:F4:BB:FA:36:C9",
        "Calling-Station-Id": "EC-F4-BB-FA-36-C9",
    }


def test_the_session_id_is_left_out_where_the_nas_stumbles_over_it():
    named = identifying(SESSION, names_session_id=False)
    assert "Acct-Session-Id" not in named
    assert named["Framed-IP-Address"] == "10.64.0.7"


def test_a_nas_with_an_ipv6_address_is_named_by_it():
    named = identifying(
        SessionIdentity(AccessKind.PPP, "a", "1", "", "10.0.0.1", "2001:db8::1", ""), names_session_id=True
    )
    assert named["NAS-IPv6-Address"] == "2001:db8::1"
    assert "NAS-IP-Address" not in named


@pytest.mark.parametrize(
    ("radius_address", "wanted", "expected"),
    [("0.0.0.0", None, None), ("10.8.0.1", None, "10.8.0.1"), ("0.0.0.0", "10.8.0.9", "10.8.0.9"), ("::", None, None)],
)
def test_packets_leave_from_the_address_the_routers_know(radius_address, wanted, expected):
    assert coa_source(Settings(radius_address=radius_address, coa_source=wanted)) == expected


class Router(asyncio.DatagramProtocol):
    """A NAS of a few lines: `reply` makes the answer to the packet received as number n, or None for silence."""

    def __init__(self, reply, secret: bytes = b"s3cret") -> None:
        self.secret = secret
        self.reply = reply
        self.received: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        self.under_way = self.most_under_way = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.received.append(data)
        self.sources.append(addr)
        request = CoAPacket(packet=data, secret=self.secret, dict=dictionary())
        answer = self.reply(request, len(self.received)) if request.VerifyCoARequest() else None
        if answer is not None:
            self.transport.sendto(answer, addr)


def ack(request, number):
    return request.CreateReply().ReplyPacket()


def nak(cause):
    def answer(request, number):
        reply = request.CreateReply()
        reply.code = CoANAK
        reply["Error-Cause"] = cause
        return reply.ReplyPacket()

    return answer


def ask(
    router: Router, *, requests: int = 1, secret: bytes = b"s3cret", window: int = 32, source=None, tries=3, pause=0.1
):
    """Ask a router and return the answers."""

    async def run() -> list[Answer]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: router, local_addr=("127.0.41.1", 0))
        port = transport.get_extra_info("sockname")[1]
        line = Line(Peer("127.0.41.1", port, secret, source, window), tries=tries, try_seconds=pause)
        await line.open()
        try:
            attributes = identifying(SESSION, names_session_id=True)
            return list(await asyncio.gather(*(line.ask(Measure.DISCONNECT, attributes) for _ in range(requests))))
        finally:
            line.close()
            transport.close()

    return asyncio.run(run())


def test_an_ack_is_heard():
    (answer,) = ask(Router(ack))
    assert answer.result is Result.ACK
    assert answer.milliseconds is not None
    assert answer.milliseconds < 100


def test_a_nak_brings_its_error_cause():
    (answer,) = ask(Router(nak(503)))
    assert (answer.result, answer.error_cause) == (Result.NAK, 503)


def test_a_lost_request_is_sent_again_unchanged():
    router = Router(lambda request, number: ack(request, number) if number == 3 else None)
    (answer,) = ask(router)
    assert answer.result is Result.ACK
    assert len(router.received) == 3
    assert len(set(router.received)) == 1


def test_three_times_silence_is_a_timeout():
    router = Router(lambda request, number: None)
    assert ask(router) == [Answer(Result.TIMEOUT)]
    assert len(router.received) == 3


def test_a_wrong_secret_is_silence():
    assert ask(Router(ack), secret=b"other") == [Answer(Result.TIMEOUT)]


def test_an_answer_made_with_another_secret_is_not_believed():
    def forged(request, number):
        request.secret = b"guessed"
        return ack(request, number)

    assert ask(Router(forged)) == [Answer(Result.TIMEOUT)]


@pytest.mark.parametrize("octets", [b"", b"\x29", bytes(20), b"\x29\x00\x00\xff" + bytes(40)])
def test_octets_that_are_no_answer_are_passed_over(octets):
    assert ask(Router(lambda request, number: octets), tries=1) == [Answer(Result.TIMEOUT)]


def test_no_more_requests_are_in_flight_than_the_window_allows():
    seen: list[int] = []

    def count(request, number):
        seen.append(number)
        return ack(request, number) if len(seen) > 2 else None  # the first two wait for their second try

    router = Router(count)
    answers = ask(router, requests=20, window=2)
    assert [answer.result for answer in answers] == [Result.ACK] * 20
    assert len({packet[1] for packet in router.received[:2]}) == 2
    assert router.received[2] in router.received[:2]  # nothing new was sent while two were unanswered


def test_a_thousand_requests_use_the_256_identifiers_over_and_over():
    router = Router(ack)
    answers = ask(router, requests=1000, window=200, pause=2)  # a busy machine is not what is tried here
    assert [answer.result for answer in answers] == [Result.ACK] * 1000


def test_requests_leave_from_the_source_address():
    router = Router(ack)
    ask(router, source="127.0.41.9")
    assert router.sources[0][0] == "127.0.41.9"


def test_a_closed_port_is_unreachable_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.41.1", 0))
        port = probe.getsockname()[1]

    async def run() -> Answer:
        line = Line(Peer("127.0.41.1", port, b"s3cret"))
        await line.open()
        try:
            return await line.ask(Measure.COA, identifying(SESSION, names_session_id=True))
        finally:
            line.close()

    assert asyncio.run(asyncio.wait_for(run(), 1)) == Answer(Result.UNREACHABLE)


def test_a_name_too_long_for_an_attribute_is_an_error_and_blocks_nothing():
    async def run() -> None:
        line = Line(Peer("127.0.41.1", 41699, b"s3cret", window=1))
        await line.open()
        try:
            for _ in range(2):
                with pytest.raises(ValueError, match="253"):
                    await asyncio.wait_for(line.ask(Measure.COA, {"User-Name": "x" * 254}), 1)
        finally:
            line.close()

    asyncio.run(run())
