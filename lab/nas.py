"""An emulated NAS that behaves as RouterOS does towards its RADIUS server.

It asks RADIUS only for subscribers that its own secrets do not know, repeats the attributes of the Access-Request in
accounting, sends interim updates at the granted interval, ends sessions at their limits with RouterOS's causes, and
obeys CoA and Disconnect. It never sends Accounting-On or -Off: a reboot shows only in the session ids, whose third
digit counts them.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from aaa.facts import AccessKind
from lab import attributes as rad
from lab.attributes import StatusType, TerminateCause
from lab.client import Answer, Counters, RadiusClient
from lab.faults import Faults
from lab.grant import BadGrant, Grant, read_grant
from lab.packet import Code, Malformed, access_request, address, chap_response, number, sealed_request, text
from lab.pools import Pools
from lab.profile import NasProfile, RadiusRow, Terms
from lab.requests import accounting_attributes, after_the_proof, identity, prove, user_name
from lab.session import Session
from lab.subscriber import Demand, Subscriber

# RouterOS names the service in the first two digits of a session id; DHCP's were never seen and are a guess.
_SESSION_PREFIX = {AccessKind.HOTSPOT: "80", AccessKind.PPP: "81", AccessKind.WIRELESS: "82", AccessKind.DHCP: "84"}
_REBOOTS = 16
_SESSIONS_A_BOOT = 1 << 20
_LOOK_AGAIN = 0.02


class Refusal(StrEnum):
    REJECTED = "rejected"
    NO_ANSWER = "no answer"
    BAD_REPLY = "bad reply"  # an attribute that cannot be read, or a server that does not know the password
    NO_ADDRESS = "no address"  # the pool is unknown here, or used up
    LOCAL_PASSWORD = "local password"  # noqa: S105
    NOT_ASKED = "not asked"  # unknown here, and the NAS is not set up to ask RADIUS
    POWER_OFF = "power off"


@dataclass(frozen=True, slots=True)
class Refused:
    """A login that did not come to a session; `message` is the server's Reply-Message."""

    cause: Refusal
    message: str = ""
    seconds: float = 0.0


class Observer(Protocol):
    """Somebody who follows what happens on a NAS."""

    def began(self, session: Session) -> None: ...

    def changed(self, session: Session) -> None: ...

    def ended(self, session: Session, cause: TerminateCause | None) -> None: ...

    def refused(self, subscriber: Subscriber, refusal: Refused) -> None: ...

    def powered(self, on: bool) -> None: ...


SessionEnded = Callable[[Session, TerminateCause | None], None]


def _nobody(session: Session, cause: TerminateCause | None) -> None:
    """Stand in for a listener."""


class Nas:
    """One running NAS. Its methods belong to the event loop that started it.

    `on_end` is told of each session that ended and why; None is a power cut. `on_answer` gets each Access-Request's
    answer time and number of attempts. `chap_identifier` is that of the last (MS-)CHAP exchange; it counts up.
    `terms` may be replaced by what a router's menus say.
    """

    def __init__(self, profile: NasProfile, *, reboots: int = 0, seed: int | None = None) -> None:
        self.profile = profile
        self.faults = Faults()
        self.counters = Counters()
        self.sessions: dict[str, Session] = {}
        self.terms = Terms(profile)
        self.observers: list[Observer] = []
        self.powered = True
        self.reboots = reboots % _REBOOTS
        self.on_end: SessionEnded = _nobody
        self.on_answer: Callable[[Answer], None] | None = None
        self._sessions_begun = 0
        self.chap_identifier = 0
        self.pools = Pools(profile.pools)
        self._turns = asyncio.Semaphore(profile.logins_at_once) if profile.logins_at_once else None
        self._random = random.Random(seed)
        self._clients: dict[tuple[RadiusRow, int], RadiusClient] = {}

    def _client(self, row: RadiusRow, port: int) -> RadiusClient:
        client = self._clients.get((row, port))
        if client is None:
            client = self._clients[row, port] = RadiusClient(
                source=bindable(row.source, self.profile.address),
                destination=(row.server.address, port),
                secret=row.secret.encode(),
                timeout=row.timeout,
                tries=self.profile.tries,
                wants_signature=self.profile.signs,
                faults=self.faults,
                counters=self.counters,
                randomness=self._random,
            )
        return client

    # Sessions.

    async def login(self, subscriber: Subscriber) -> Session | Refused:
        """Let a subscriber connect: by the NAS's own secrets, else by RADIUS."""
        if self._turns is None:
            return await self._login(subscriber)
        async with self._turns:
            return await self._login(subscriber)

    async def _login(self, subscriber: Subscriber) -> Session | Refused:
        if not self.powered:
            return Refused(Refusal.POWER_OFF)
        outcome = await self._admit(subscriber)
        for observer in self.observers:
            if isinstance(outcome, Refused):
                observer.refused(subscriber, outcome)
        return outcome

    async def _admit(self, subscriber: Subscriber) -> Session | Refused:
        session_id = self._next_session_id(subscriber.kind)
        name = user_name(subscriber)
        own = self.terms.local(subscriber, name)
        if own is not None:
            if own.password is not None and not has_password(subscriber, own.password):
                return Refused(Refusal.LOCAL_PASSWORD)
            return self._open(session_id, subscriber, name, own.grant, b"", local=True)
        rows = self.terms.radius(subscriber.kind)
        if not rows:
            return Refused(Refusal.NOT_ASKED)
        offered = None
        if subscriber.kind in {AccessKind.DHCP, AccessKind.HOTSPOT}:  # these have their address before they ask
            offered = subscriber.address or self.pools.take(self.profile.pool)
            if offered is None:
                return Refused(Refusal.NO_ADDRESS)
        echoed = identity(self.terms.identifier, subscriber, session_id, name, offered)
        outcome = await self._authenticate(subscriber, name, echoed, rows)
        if isinstance(outcome, Refused):
            self.pools.give_back(offered)
            return outcome
        session = self._open(session_id, subscriber, name, outcome, echoed, offered=offered)
        if isinstance(session, Session):
            self._account(session, StatusType.START)
        return session

    def let_in(self, subscriber: Subscriber, grant: Grant) -> Session | Refused:
        """Open a session without asking anybody, as a hotspot does for a trial."""
        return self._open(
            self._next_session_id(subscriber.kind), subscriber, subscriber.name, grant, b"", offered=subscriber.address,
            local=True,
        )  # fmt: skip

    def log_out(self, session: Session, cause: TerminateCause = TerminateCause.USER_REQUEST) -> None:
        """End a session, with its Stop. A session that is gone already is left alone."""
        if self.sessions.get(session.id) is not session:
            return
        self._close(session)
        if self._random.random() < self.faults.lost_stops:
            self.counters.stops_lost += 1
        else:
            self._account(session, StatusType.STOP, cause)
        self._tell_end(session, cause)

    def _tell_end(self, session: Session, cause: TerminateCause | None) -> None:
        for observer in self.observers:
            observer.ended(session, cause)
        self.on_end(session, cause)

    def power_cut(self) -> None:
        """Lose everything at once: no Stop is sent, nothing is answered until `power_on()`."""
        self.powered = False
        for client in self._clients.values():
            client.forget_all()
        gone = list(self.sessions.values())
        for session in gone:
            self._close(session)
        self.pools.forget()
        for session in gone:
            self._tell_end(session, None)
        for observer in self.observers:
            observer.powered(False)

    def power_on(self) -> None:
        """Boot: the counter of reboots moves on, that of sessions begins again."""
        if self.powered:
            return
        self.powered = True
        self.reboots = (self.reboots + 1) % _REBOOTS
        self._sessions_begun = 0
        for observer in self.observers:
            observer.powered(True)

    async def settled(self) -> None:
        """Wait until every Accounting-Request was acknowledged or given up."""
        counters = self.counters
        while counters.accounting_sent > counters.accounting_acknowledged + counters.accounting_forgotten:
            await asyncio.sleep(_LOOK_AGAIN)

    def close(self) -> None:
        """Vanish: sessions are dropped silently and the sockets shut."""
        for session in self.sessions.values():
            session.stop_timers()
        self.sessions.clear()
        self.powered = False
        for client in self._clients.values():
            client.close()

    def set_demand(self, session: Session, demand: Demand) -> None:
        """Let the subscriber want more or less from now on."""
        session.settle(asyncio.get_running_loop().time())
        session.demand = demand
        self._watch_limits(session)

    def change(self, session: Session, grant: Grant) -> None:
        """Put other terms in force on a live session, as a CoA-Request does."""
        session.settle(asyncio.get_running_loop().time())
        session.grant = grant
        self._watch_end(session)
        self._watch_limits(session)
        for observer in self.observers:
            observer.changed(session)

    def block(self, session: Session, *, blocked: bool) -> None:
        """Let the firewall stop or pass a session's traffic from now on."""
        if session.blocked is not blocked:
            session.settle(asyncio.get_running_loop().time())
            session.blocked = blocked
            self._watch_limits(session)

    def send_interim(self, session: Session) -> None:
        """Send an Interim-Update now."""
        self._account(session, StatusType.INTERIM_UPDATE)

    # Access-Request.

    async def _authenticate(
        self, subscriber: Subscriber, name: str, echoed: bytes, rows: Sequence[RadiusRow]
    ) -> Grant | Refused:
        """Ask the servers from the top; a reject is an answer, silence is not."""
        outcome: Grant | Refused = Refused(Refusal.NO_ANSWER)
        for row in rows:
            outcome = await self._ask(subscriber, name, echoed, row)
            if not isinstance(outcome, Refused) or outcome.cause is not Refusal.NO_ANSWER:
                break
        return outcome

    async def _ask(self, subscriber: Subscriber, name: str, echoed: bytes, row: RadiusRow) -> Grant | Refused:
        authenticator = os.urandom(16)
        self.chap_identifier = (self.chap_identifier + 1) % 256
        secret, signed = row.secret.encode(), self.profile.signs
        proof = prove(subscriber, name, self.chap_identifier, secret, authenticator)
        attributes = echoed + proof.attributes + after_the_proof(subscriber.kind)
        attributes += text(rad.NAS_IDENTIFIER, self.terms.identifier) + address(rad.NAS_IP_ADDRESS, row.source)
        self.counters.requests += 1
        answer = await self._client(row, row.server.auth_port).ask(
            lambda identifier: access_request(identifier, authenticator, attributes, secret, signed=signed)
        )
        if answer is None:
            return Refused(Refusal.NO_ANSWER if self.powered else Refusal.POWER_OFF)
        if self.on_answer is not None:
            self.on_answer(answer)
        reply = answer.packet
        if reply.code != Code.ACCESS_ACCEPT:
            self.counters.rejects += 1
            return Refused(Refusal.REJECTED, reply.attributes.text(rad.REPLY_MESSAGE) or "", answer.seconds)
        self.counters.accepts += 1
        if proof.expected is not None and reply.attributes.octets(rad.MS_CHAP2_SUCCESS) != proof.expected:
            return Refused(Refusal.BAD_REPLY, "MS-CHAP2-Success", answer.seconds)
        try:
            return self.terms.completed(subscriber.kind, read_grant(subscriber.kind, reply.attributes))
        except (BadGrant, Malformed) as problem:
            return Refused(Refusal.BAD_REPLY, str(problem), answer.seconds)

    # Accounting-Request.

    def _account(self, session: Session, status: StatusType, cause: TerminateCause | None = None) -> None:
        rows = self.terms.radius(session.kind)
        if session.local or not self.powered or not rows or not self.terms.accounts(session.kind):
            return
        attributes = accounting_attributes(
            session,
            status,
            cause,
            loop_time=asyncio.get_running_loop().time(),
            clock=time.time() + self.faults.clock_skew,
            reports_rate=self.profile.reports_rate,
            swapped=self.faults.swapped_octets,
        )
        attributes += text(rad.NAS_IDENTIFIER, self.terms.identifier) + number(rad.ACCT_DELAY_TIME, 0)
        self.counters.accounting_sent += 1
        self._send_accounting(attributes, rows)

    def _send_accounting(self, attributes: bytes, rows: Sequence[RadiusRow]) -> None:
        """Send to the first of the servers, and to the next when it is silent."""
        row, *others = rows
        secret, whole = row.secret.encode(), attributes + address(rad.NAS_IP_ADDRESS, row.source)

        def answered(answer: "asyncio.Future[Answer | None]") -> None:
            if answer.result() is not None:
                self.counters.accounting_acknowledged += 1
            elif others and self.powered:
                self._send_accounting(attributes, others)
            else:
                self.counters.accounting_forgotten += 1

        self._client(row, row.server.acct_port).ask(
            lambda identifier: sealed_request(Code.ACCOUNTING_REQUEST, identifier, whole, secret), late=True
        ).add_done_callback(answered)

    # The life of a session.

    def _open(
        self,
        session_id: str,
        subscriber: Subscriber,
        name: str,
        grant: Grant,
        echoed: bytes,
        *,
        offered: str | None = None,
        local: bool = False,
    ) -> Session | Refused:
        if not self.powered:
            return Refused(Refusal.POWER_OFF)
        framed: str | None
        if subscriber.kind is AccessKind.WIRELESS:
            framed = None  # a wireless client gets its address later, from DHCP
        elif grant.address is not None:
            framed = grant.address
            self.pools.give_back(offered)
        elif grant.pool is not None or offered is None:
            framed = self.pools.take(grant.pool or self.profile.pool)
            self.pools.give_back(offered)
        else:
            framed = offered
        if framed is None and subscriber.kind is not AccessKind.WIRELESS:
            return Refused(Refusal.NO_ADDRESS, grant.pool or self.profile.pool)
        if framed is not None and framed != offered and subscriber.kind is not AccessKind.PPP:
            echoed = identity(self.terms.identifier, subscriber, session_id, name, framed)
        now = asyncio.get_running_loop().time()
        session = Session(session_id, subscriber, name, grant, framed, echoed, now, local)
        self.sessions[session_id] = session
        self._watch_end(session)
        self._watch_limits(session)
        self._watch_interim(session)
        for observer in self.observers:
            observer.began(session)
        return session

    def _close(self, session: Session) -> None:
        session.settle(asyncio.get_running_loop().time())
        session.stop_timers()
        self.sessions.pop(session.id, None)
        self.pools.give_back(session.address)

    def _watch_interim(self, session: Session) -> None:
        interval = session.grant.interim_interval or self.terms.interim_update(session.kind)
        if interval:
            self._later(session, "interim", interval, lambda: self._interim_due(session))

    def _interim_due(self, session: Session) -> None:
        self.send_interim(session)
        self._watch_interim(session)

    def _watch_end(self, session: Session) -> None:
        """Set the clock of Session-Timeout, which runs from the session's start.

        On DHCP it is the lease time: at half of it the client renews, and RADIUS is asked again (RFC 2131 §4.4.5).
        """
        self._cancel(session, "end")
        timeout = session.grant.session_timeout
        if not timeout:
            return
        if session.kind is AccessKind.DHCP:
            self._later(session, "end", timeout / 2, lambda: self._renewal_due(session))
            return
        passed = asyncio.get_running_loop().time() - session.started
        left = max(0.0, timeout - passed)
        self._later(session, "end", left, lambda: self.log_out(session, TerminateCause.SESSION_TIMEOUT))

    def _renewal_due(self, session: Session) -> None:
        session.renewal = asyncio.get_running_loop().create_task(self._renew(session))

    async def _renew(self, session: Session) -> None:
        """Ask again for a DHCP lease. Silence leaves the lease as it is, until it is asked for again."""
        rows = self.terms.radius(session.kind)
        if not rows:
            self._watch_end(session)
            return
        outcome = await self._authenticate(session.subscriber, session.user_name, session.echoed, rows)
        if self.sessions.get(session.id) is not session:
            return
        if isinstance(outcome, Refused):
            if outcome.cause is Refusal.REJECTED:
                self.log_out(session, TerminateCause.LOST_SERVICE)
            else:
                self._watch_end(session)
            return
        if outcome.address not in (None, session.address) or outcome.pool != session.grant.pool:
            self.log_out(session, TerminateCause.LOST_SERVICE)  # the client is told no (DHCPNAK) and begins anew
            return
        self.change(session, replace(outcome, address=session.grant.address))

    def _watch_limits(self, session: Session) -> None:
        """Set the clocks of the volume limits and Idle-Timeout for the present traffic."""
        now = asyncio.get_running_loop().time()
        self._cancel(session, "limit")
        wait = session.seconds_to_limit(now)
        if wait is not None:
            self._later(session, "limit", wait, lambda: self._limit_due(session))
        idle = session.grant.idle_timeout
        if not idle or any(session.throughput):
            self._cancel(session, "idle")
        elif "idle" not in session.timers:
            self._later(session, "idle", idle, lambda: self.log_out(session, TerminateCause.IDLE_TIMEOUT))

    def _limit_due(self, session: Session) -> None:
        wait = session.seconds_to_limit(asyncio.get_running_loop().time())
        if wait is not None and wait < 0.001:  # what rounding leaves is not waited for
            self.log_out(session, TerminateCause.NAS_REQUEST)
        else:
            self._watch_limits(session)

    def _later(self, session: Session, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._cancel(session, name)
        session.timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    @staticmethod
    def _cancel(session: Session, name: str) -> None:
        timer = session.timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    # Ids.

    def _next_session_id(self, kind: AccessKind) -> str:
        """Return eight lower-case hexadecimal digits: service, counter of reboots, counter of sessions."""
        self._sessions_begun = (self._sessions_begun + 1) % _SESSIONS_A_BOOT
        return f"{_SESSION_PREFIX[kind]}{self.reboots:x}{self._sessions_begun:05x}"


def has_password(subscriber: Subscriber, password: str) -> bool:
    """Tell whether a subscriber proved to have a password that the NAS knows."""
    answer = subscriber.chap
    if answer is None:
        return subscriber.password == password
    return chap_response(answer.identifier, password.encode(), answer.challenge)[1:] == answer.response


def bindable(wanted: str, usual: str) -> str:
    """Return an address that packets can come from: the one wanted if this machine has it."""
    if wanted == usual:
        return usual
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attempt:
        try:
            attempt.bind((wanted, 0))
        except OSError:
            return usual
    return wanted
