"""The RADIUS client of one NAS: a request goes out up to three times, `timeout` apart, and is then forgotten.

A retransmission is the same octets from the same port, so Event-Timestamp and Acct-Delay-Time stay what they were
(seen on RouterOS; RFC 2866 §5.2 would raise the delay). A reply that was not made with the secret, or lacks the
Message-Authenticator that RouterOS 7.15 wants, is counted as bad and dropped: the request then times out.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from lab.faults import Faults
from lab.packet import Code, Malformed, Packet, decode, is_answer

_IDS = 256
_READ_AT_ONCE = 64
_BUFFER = 4 << 20
_HELD_BACK = 1.0
_BLOCKING = (BlockingIOError, ConnectionRefusedError)  # a lost datagram either way: the retransmission heals it


@dataclass(slots=True)
class Counters:
    """What `/radius monitor` of RouterOS shows, and what the accounting client knows beside it."""

    requests: int = 0
    accepts: int = 0
    rejects: int = 0
    resends: int = 0
    timeouts: int = 0
    bad_replies: int = 0
    accounting_sent: int = 0
    accounting_acknowledged: int = 0
    accounting_forgotten: int = 0
    stops_lost: int = 0
    last_seconds: float = 0.0  # how long the last answer took


@dataclass(frozen=True, slots=True)
class Answer:
    """A genuine reply, how long after the first sending it came, and how often the request was sent."""

    packet: Packet
    seconds: float
    attempts: int


@dataclass(slots=True, eq=False)
class _Pending:
    port: "_Port"
    identifier: int
    octets: bytes
    authenticator: bytes
    answered: "asyncio.Future[Answer | None]"
    first_sent: float
    attempts: int = 0
    timer: asyncio.TimerHandle | None = None


class _Port:
    """One UDP source port with its 256 identifiers."""

    __slots__ = ("_next", "free", "pending", "socket")

    def __init__(self, source: str, destination: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.socket.bind((source, 0))
        self.socket.connect(destination)
        self.pending: list[_Pending | None] = [None] * _IDS
        self.free = _IDS
        self._next = 0

    def take_identifier(self) -> int:
        """Return the free identifier that was used longest ago."""
        while self.pending[self._next] is not None:
            self._next = (self._next + 1) % _IDS
        taken = self._next
        self._next = (taken + 1) % _IDS
        self.free -= 1
        return taken


@dataclass(slots=True)
class RadiusClient:
    """Sends the requests of one kind (access or accounting) of one NAS from its address to its server.

    More ports are opened as more requests are under way at once; `close()` shuts them all.
    """

    source: str
    destination: tuple[str, int]
    secret: bytes
    timeout: float
    tries: int
    wants_signature: bool
    faults: Faults
    counters: Counters
    randomness: random.Random
    _ports: list[_Port] = field(default_factory=list)

    def ask(self, build: Callable[[int], bytes], *, late: bool = False) -> "asyncio.Future[Answer | None]":
        """Send the packet that `build` makes for an identifier; the future gives the answer, or None for silence.

        `late` marks a packet that the fault `reorder_accounting` may hold back.
        """
        loop = asyncio.get_running_loop()
        port = self._port()
        identifier = port.take_identifier()
        octets = build(identifier)
        pending = _Pending(port, identifier, octets, octets[4:20], loop.create_future(), loop.time())
        port.pending[identifier] = pending
        if late and self.randomness.random() < self.faults.reorder_accounting:
            pending.timer = loop.call_later(_HELD_BACK, self._send, pending)
        else:
            self._send(pending)
        return pending.answered

    def forget_all(self) -> None:
        """Drop what is under way, as a power cut does; those who wait for it get None."""
        for port in self._ports:
            for pending in port.pending:
                if pending is not None:
                    self._finish(pending, None)

    def close(self) -> None:
        self.forget_all()
        loop = asyncio.get_running_loop()
        for port in self._ports:
            loop.remove_reader(port.socket)
            port.socket.close()
        self._ports.clear()

    def _port(self) -> _Port:
        for port in self._ports:
            if port.free:
                return port
        port = _Port(self.source, self.destination)
        self._ports.append(port)
        asyncio.get_running_loop().add_reader(port.socket, self._read, port)
        return port

    def _send(self, pending: _Pending) -> None:
        loop = asyncio.get_running_loop()
        if pending.attempts >= self.tries:
            self.counters.timeouts += 1
            self._finish(pending, None)
            return
        pending.attempts += 1
        if pending.attempts > 1:
            self.counters.resends += 1
        pending.timer = loop.call_later(self.timeout, self._send, pending)
        faults, randomness = self.faults, self.randomness
        if faults.loss and randomness.random() < faults.loss:
            return
        copies = 2 if faults.duplicate and randomness.random() < faults.duplicate else 1
        for _ in range(copies):
            if faults.delay:
                loop.call_later(randomness.uniform(0, faults.delay), self._put, pending.port, pending.octets)
            else:
                self._put(pending.port, pending.octets)

    def _put(self, port: _Port, octets: bytes) -> None:
        if port.socket.fileno() < 0:  # closed while the packet was late
            return
        with suppress(*_BLOCKING):
            port.socket.send(octets)

    def _read(self, port: _Port) -> None:
        for _ in range(_READ_AT_ONCE):
            try:
                octets = port.socket.recv(4096)
            except _BLOCKING:
                return
            if self.faults.loss and self.randomness.random() < self.faults.loss:
                continue
            self._take(port, octets)

    def _take(self, port: _Port, octets: bytes) -> None:
        try:
            packet = decode(octets)
        except Malformed:
            self.counters.bad_replies += 1
            return
        pending = port.pending[packet.identifier]
        if pending is None:  # late, or a second time
            return
        unsigned = packet.signed_at is None and self.wants_signature and packet.code != Code.ACCOUNTING_RESPONSE
        if unsigned or not is_answer(packet, pending.authenticator, self.secret):
            self.counters.bad_replies += 1
            return
        seconds = self.counters.last_seconds = asyncio.get_running_loop().time() - pending.first_sent
        self._finish(pending, Answer(packet, seconds, pending.attempts))

    def _finish(self, pending: _Pending, answer: Answer | None) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        pending.port.pending[pending.identifier] = None
        pending.port.free += 1
        if not pending.answered.done():
            pending.answered.set_result(answer)
