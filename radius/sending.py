"""Carrying orders out: what is due at a NAS is sent, in a window of parallel requests, and the answers are recorded.

One process at a time talks to a NAS (an advisory lock). A NAS that answers nothing is left alone for a while, its
orders kept. Where there is another way to end a session (`Kick`: RouterOS's API), it is taken after requests that were
not answered or not obeyed; a router whose RADIUS is deaf and whose API answers is not left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
import structlog

from aaa.facts import AccessKind
from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from db.threads import ConnectionThreads
from radius.coa import Answer, Line, SessionIdentity, changing, identifying
from radius.concealed import has_concealed, reveal_names
from radius.enforcement import (
    Answered,
    DueOrder,
    Station,
    claim,
    images_follow,
    leave_alone,
    lock_nas,
    read_station,
    record,
    unlock_nas,
)
from radius.orders import Measure, Result, by_api, changes

GIVE_UP = 3
"""Unanswered requests, with no answer to any, after which a NAS is taken for unreachable."""
IMAGE_WAIT = 1.0
"""Seconds that a Disconnect waits for the images. Without it the CPE would redial into the terms it had."""

log = structlog.get_logger()


Kick = Callable[[int, SessionIdentity], Awaitable[Answer | None]]
"""Ends a session at a NAS without RADIUS. ACK: it was removed; NAK with Error-Cause 503: there is none; a NAK without:
it is not to be removed; unreachable: nobody could be asked. None: there is no such way at this NAS."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What carrying orders out needs of the process it runs in.

    `locks` is one thread, because the NAS that a process talks to are locked by one connection.
    """

    database: ConnectionThreads
    locks: ConnectionThreads
    keyring: Keyring
    source: str | None
    kick: Kick | None = None


async def enforce_nas(wiring: Wiring, nas_id: int, poked: asyncio.Event | None = None) -> None:
    """Carry out what is due at one NAS, and what becomes due meanwhile; at once when `poked` is set."""
    if not await wiring.locks(lock_nas, nas_id):
        return
    try:
        await _with_nas(wiring, nas_id, poked or asyncio.Event())
    finally:
        await wiring.locks(unlock_nas, nas_id)


async def _with_nas(wiring: Wiring, nas_id: int, poked: asyncio.Event) -> None:
    try:
        station = await wiring.database(read_station, nas_id, wiring.keyring, wiring.source)
    except SecretUnreadable:
        log.exception("nas_secret_unreadable", nas_id=nas_id)
        await wiring.database(leave_alone, nas_id, utc_now())
        return
    if station is None:
        return
    line = Line(station.peer)
    try:
        await line.open()
    except OSError as problem:
        log.error("coa_socket_failed", nas_id=nas_id, source=station.peer.source, problem=str(problem))
        await wiring.database(leave_alone, nas_id, utc_now())
        return
    try:
        await _Batch(wiring, station, line, poked).run()
    finally:
        line.close()


class _Batch:
    """The requests in flight at one NAS, from the first due order until none is left."""

    def __init__(self, wiring: Wiring, station: Station, line: Line, poked: asyncio.Event) -> None:
        self._wiring = wiring
        self._station = station
        self._line = line
        self._poked = poked
        self._under_way: dict[asyncio.Task[_Tried], DueOrder] = {}
        self._unanswered = 0
        self._one_kick = asyncio.Lock()  # routers take few API connections at once
        self._api_answers = False

    async def run(self) -> None:
        fresh = True
        while True:
            if not self._given_up:
                self._poked.clear()
                await self._begin(fresh=fresh)
                fresh = False
            if not self._under_way:
                break
            await self._wait()
            await self._record()
        if self._given_up:
            await self._wiring.database(leave_alone, self._station.id, utc_now())

    @property
    def _given_up(self) -> bool:
        limit = 1 if self._station.troubled else GIVE_UP
        return not self._line.heard and not self._api_answers and self._unanswered >= limit

    async def _begin(self, *, fresh: bool) -> None:
        """Send what the window has room for. A NAS that left its last requests unanswered gets one to begin with."""
        probing = self._station.troubled and not self._line.heard and not self._api_answers
        room = (1 if probing else self._station.peer.window) - len(self._under_way)
        if room <= 0:
            return
        busy = [order.session_id for order in self._under_way.values()]
        orders, snapshot = await self._wiring.database(claim, self._station.id, utc_now(), room, busy, fresh=fresh)
        if has_concealed(orders):
            orders = await self._wiring.database(reveal_names, self._wiring.keyring, orders)
        images = _Once(self._images, snapshot)
        for order in orders:
            self._under_way[asyncio.ensure_future(self._carry_out(order, images))] = order

    async def _carry_out(self, order: DueOrder, images: "_Once") -> "_Tried":
        if order.measure is Measure.API or (self._api_answers and not self._line.heard):
            kicked = await self._kick(order, images)
            if kicked is not None and kicked.result is not Result.UNREACHABLE:
                return _Tried(None, kicked)
        answer = await self._ask(order, images)
        if by_api(order.session.kind, order.measure, answer.result, answer.error_cause, order.attempts):
            return _Tried(answer, await self._kick(order, images))
        return _Tried(answer, None)

    async def _ask(self, order: DueOrder, images: "_Once") -> Answer:
        kind = order.measure if order.measure is not Measure.API else Measure.DISCONNECT
        attributes = identifying(order.session, names_session_id=self._station.peer.names_session_id)
        if kind is Measure.COA and order.wanted is not None:
            elapsed = utc_now() - order.session_started_at
            attributes |= changing(changes(order.granted, order.wanted, elapsed))
        else:
            await images.done()
        try:
            return await self._line.ask(kind, attributes)
        except ValueError as problem:  # a value that fits no attribute: only a person can mend that
            log.error("order_not_sendable", order_id=order.id, problem=str(problem))
            return Answer(Result.NAK)

    async def _kick(self, order: DueOrder, images: "_Once") -> Answer | None:
        if self._wiring.kick is None:
            return None
        await images.done()
        async with self._one_kick:
            answer = await self._wiring.kick(self._station.id, order.session)
        if answer is not None:
            self._api_answers = answer.result is not Result.UNREACHABLE
            log.info("session_kicked", nas_id=self._station.id, order_id=order.id, result=answer.result.value)
        return answer

    async def _images(self, snapshot: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + IMAGE_WAIT
        try:
            while not await self._wiring.database(images_follow, snapshot):
                if loop.time() > deadline:
                    log.warning("images_behind", nas_id=self._station.id)
                    return
                await asyncio.sleep(0.03)
        except psycopg.Error as problem:
            log.warning("images_unknown", nas_id=self._station.id, problem=str(problem))

    async def _wait(self) -> None:
        """Wait for an answer, or for word that there is more to do; then a moment for others to come in as well."""
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({*self._under_way, poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()
        await asyncio.sleep(0.005)

    async def _record(self) -> None:
        done = [task for task in self._under_way if task.done()]
        answered = []
        for task in done:
            order, tried = self._under_way.pop(task), task.result()
            silent = tried.answer is not None and tried.answer.result in (Result.TIMEOUT, Result.UNREACHABLE)
            if silent and order.session.kind is not AccessKind.DHCP:
                self._unanswered += 1
            answered.append(Answered(order, tried.answer, self._line.heard, tried.by_api))
        if answered:
            await self._keep(answered)

    async def _keep(self, answered: list[Answered]) -> None:
        """Record answers, trying again while PostgreSQL is away; who finds them lost would have to ask again."""
        for wait in (0.1, 0.5, 1, 2, 4, 8):
            try:
                await self._wiring.database(record, utc_now(), answered)
            except psycopg.OperationalError as problem:
                log.warning("answers_not_recorded", nas_id=self._station.id, problem=str(problem))
                await asyncio.sleep(wait)
            else:
                return
        await self._wiring.database(record, utc_now(), answered)


class _Tried(NamedTuple):
    answer: Answer | None  # None: no request was sent
    by_api: Answer | None


class _Once:
    """Something that several wait for and that is done once, when the first of them asks."""

    def __init__(self, function: Callable[[str], Coroutine[Any, Any, None]], argument: str) -> None:
        self._function = function
        self._argument = argument
        self._task: asyncio.Task[None] | None = None

    async def done(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._function(self._argument))
        await asyncio.shield(self._task)
