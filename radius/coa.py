"""CoA-Request and Disconnect-Request (RFC 5176) to one NAS over UDP.

The session is named as RouterOS found it in the field: User-Name, Framed-IP-Address and Acct-Session-Id octet for
octet as accounting had them, with the NAS's own identity; a wireless association by User-Name and Calling-Station-Id
alone. Nothing is built from normalised copies.

A request is retransmitted unchanged, so a NAS that did hear the first one knows it again (same identifier and
authenticator, RFC 5176 §2.3). Packets leave from the address that the routers know as their RADIUS server; many drop
what comes from another. A wrong shared secret looks like silence, because the NAS may not answer it.
"""

import asyncio
import ipaddress
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pyrad import packet as pyrad_packet
from pyrad.dictionary import Dictionary

from aaa.facts import AccessKind
from core.settings import Settings
from radius.orders import Changes, Measure, Result

DICTIONARY = Path(__file__).parent / "dictionary" / "dictionary"
TRIES = 3
TRY_SECONDS = 2.0
_IDENTIFIERS = 256
_CODES = {Measure.COA: pyrad_packet.CoARequest, Measure.DISCONNECT: pyrad_packet.DisconnectRequest}
_RESULTS = {
    pyrad_packet.CoAACK: Result.ACK,
    pyrad_packet.DisconnectACK: Result.ACK,
    pyrad_packet.CoANAK: Result.NAK,
    pyrad_packet.DisconnectNAK: Result.NAK,
}
_LONGEST_SECONDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a NAS takes requests, and what it is known to need. `source` None leaves the choice to the route."""

    address: str
    port: int
    secret: bytes = field(repr=False)
    source: str | None = None
    window: int = 32  # requests in flight at once
    message_authenticator: bool = False
    names_session_id: bool = True


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """A session as the NAS itself named it in accounting."""

    kind: AccessKind
    user_name: str
    acct_session_id: str
    calling_station_id: str
    framed_ip: str | None
    nas_ip_address: str | None
    nas_identifier: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `milliseconds` is from the first transmission to the answer."""

    result: Result
    error_cause: int | None = None
    milliseconds: int | None = None


def coa_source(settings: Settings) -> str | None:
    """Return the address that requests leave from, or None where the route decides."""
    if settings.coa_source is not None:
        return settings.coa_source
    listens_on = ipaddress.ip_address(settings.radius_address)
    return None if listens_on.is_unspecified else settings.radius_address


def identifying(session: SessionIdentity, *, names_session_id: bool) -> dict[str, Any]:
    """Return the attributes that tell a NAS which session is meant."""
    attributes: dict[str, Any] = {"User-Name": session.user_name}
    if session.kind is AccessKind.WIRELESS:
        attributes["Calling-Station-Id"] = session.calling_station_id
    elif session.framed_ip:
        attributes["Framed-IP-Address"] = session.framed_ip
    if names_session_id:
        attributes["Acct-Session-Id"] = session.acct_session_id
    if session.nas_ip_address:
        version = ipaddress.ip_address(session.nas_ip_address).version
        attributes["NAS-IP-Address" if version == 4 else "NAS-IPv6-Address"] = session.nas_ip_address
    if session.nas_identifier:
        attributes["NAS-Identifier"] = session.nas_identifier
    return {name: value for name, value in attributes.items() if value != ""}


def changing(changes: Changes) -> dict[str, Any]:
    """Return the attributes of a CoA-Request that say what is to be different."""
    attributes = {
        "Mikrotik-Rate-Limit": changes.rate,
        "Mikrotik-Address-List": changes.address_list,
        "Session-Timeout": _seconds(changes.session_timeout),
        "Idle-Timeout": _seconds(changes.idle_timeout),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else min(int(length.total_seconds()), _LONGEST_SECONDS)


@cache
def dictionary() -> Dictionary:
    return Dictionary(str(DICTIONARY))


def request_packet(
    peer: Peer, kind: Measure, identifier: int, attributes: Mapping[str, Any]
) -> tuple[pyrad_packet.CoAPacket, bytes]:
    """Return a request and its octets. Raises ValueError for a value that does not fit an attribute."""
    packet = pyrad_packet.CoAPacket(
        code=_CODES[kind], id=identifier, secret=peer.secret, authenticator=bytes(16), dict=dictionary()
    )
    for name, value in attributes.items():
        packet[name] = value
    if peer.message_authenticator:
        packet.add_message_authenticator()
    return packet, packet.RequestPacket()


@dataclass(slots=True, eq=False)
class _Pending:
    packet: pyrad_packet.CoAPacket
    octets: bytes
    answered: "asyncio.Future[Answer]"
    first_sent: float
    tries: int = 0
    timer: asyncio.TimerHandle | None = None


class Line(asyncio.DatagramProtocol):
    """One NAS and the requests that are on their way to it, through a socket of their own.

    Belongs to the event loop that opened it. `heard` tells whether any valid answer came.
    """

    def __init__(self, peer: Peer, *, tries: int = TRIES, try_seconds: float = TRY_SECONDS) -> None:
        self.peer = peer
        self.heard = False
        self._tries = tries
        self._try_seconds = try_seconds
        self._room = asyncio.Semaphore(peer.window)
        self._free = deque(random.sample(range(_IDENTIFIERS), _IDENTIFIERS))
        self._pending: dict[int, _Pending] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Make the socket. Raises OSError, for example when `peer.source` is no address of this machine."""
        loop = asyncio.get_running_loop()
        peer = self.peer
        source = (peer.source, 0) if peer.source and (":" in peer.source) == (":" in peer.address) else None
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=source, remote_addr=(peer.address, peer.port)
        )

    def close(self) -> None:
        for identifier in list(self._pending):
            self._finish(identifier, Answer(Result.UNREACHABLE))
        if self._transport is not None:
            self._transport.close()

    async def ask(self, kind: Measure, attributes: Mapping[str, Any]) -> Answer:
        """Send a request when the window has room, and return what came of it.

        Raises ValueError for a value that does not fit an attribute.
        """
        async with self._room:
            assert self._transport is not None
            identifier = self._free.popleft()
            try:
                packet, octets = request_packet(self.peer, kind, identifier, attributes)
            except ValueError:
                self._free.append(identifier)
                raise
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._pending[identifier] = _Pending(packet, octets, answered, time.monotonic())
            self._send(identifier)
            return await answered

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if len(data) < 20:
            return
        pending = self._pending.get(data[1])
        if pending is None:  # late, or a second time
            return
        try:
            reply = pending.packet.CreateReply(packet=data)
            genuine = pending.packet.VerifyReply(reply, data)
        except Exception:  # noqa: BLE001 - whatever a stranger's octets do to the decoder, they are not an answer
            return
        result = _RESULTS.get(reply.code)
        if not genuine or result is None:
            return
        self.heard = True
        milliseconds = round((time.monotonic() - pending.first_sent) * 1000)
        self._finish(data[1], Answer(result, _error_cause(reply) if result is Result.NAK else None, milliseconds))

    def error_received(self, exc: Exception) -> None:
        """The network said that nobody listens there (ICMP); it does not say to which request."""
        for identifier in list(self._pending):
            self._finish(identifier, Answer(Result.UNREACHABLE))

    def _send(self, identifier: int) -> None:
        pending = self._pending[identifier]
        if pending.tries >= self._tries:
            self._finish(identifier, Answer(Result.TIMEOUT))
            return
        pending.tries += 1
        wait = self._try_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret
        pending.timer = asyncio.get_running_loop().call_later(wait, self._send, identifier)
        assert self._transport is not None
        self._transport.sendto(pending.octets)

    def _finish(self, identifier: int, answer: Answer) -> None:
        pending = self._pending.pop(identifier)
        self._free.append(identifier)  # at the far end, so that an identifier is long out of use when it returns
        if pending.timer is not None:
            pending.timer.cancel()
        if not pending.answered.done():
            pending.answered.set_result(answer)


def _error_cause(reply: pyrad_packet.Packet) -> int | None:
    values = reply.get("Error-Cause") if "Error-Cause" in reply else None
    return int(values[0]) if values and isinstance(values[0], int) else None
