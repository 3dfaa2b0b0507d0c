"""Carrying orders out: what is due at a NAS is sent, in a window of parallel requests, and the answers are recorded.

One process at a time talks to a NAS (an advisory lock). A NAS that answers nothing is left alone for a while, its
orders kept.
"""

import asyncio
from dataclasses import dataclass

import psycopg
import structlog

from aaa.facts import AccessKind
from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from db.threads import ConnectionThreads
from radius.coa import Answer, Line, changing, identifying
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
from radius.orders import Measure, Result, changes

GIVE_UP = 3
"""Unanswered requests, with no answer to any, after which a NAS is taken for unreachable."""
IMAGE_WAIT = 1.0
"""Seconds that a Disconnect waits for the images. Without it the CPE would redial into the terms it had."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wiring:
    """What carrying orders out needs of the process it runs in.

    `locks` is one thread, because the NAS that a process talks to are locked by one connection.
    """

    database: ConnectionThreads
    locks: ConnectionThreads
    keyring: Keyring
    source: str | None


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
        self._under_way: dict[asyncio.Task[Answer], DueOrder] = {}
        self._unanswered = 0

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
        return not self._line.heard and self._unanswered >= limit

    async def _begin(self, *, fresh: bool) -> None:
        """Send what the window has room for. A NAS that left its last requests unanswered gets one to begin with."""
        probing = self._station.troubled and not self._line.heard
        room = (1 if probing else self._station.peer.window) - len(self._under_way)
        if room <= 0:
            return
        busy = [order.session_id for order in self._under_way.values()]
        orders, snapshot = await self._wiring.database(claim, self._station.id, utc_now(), room, busy, fresh=fresh)
        images = None
        if any(order.measure is Measure.DISCONNECT for order in orders):
            images = asyncio.ensure_future(self._images(snapshot))
        for order in orders:
            waits = images if order.measure is Measure.DISCONNECT else None
            self._under_way[asyncio.ensure_future(self._carry_out(order, waits))] = order

    async def _carry_out(self, order: DueOrder, images: asyncio.Future[None] | None) -> Answer:
        attributes = identifying(order.session, names_session_id=self._station.peer.names_session_id)
        if order.measure is Measure.COA and order.wanted is not None:
            elapsed = utc_now() - order.session_started_at
            attributes |= changing(changes(order.granted, order.wanted, elapsed))
        elif images is not None:
            await asyncio.shield(images)
        try:
            return await self._line.ask(order.measure, attributes)
        except ValueError as problem:  # a value that fits no attribute: only a person can mend that
            log.error("order_not_sendable", order_id=order.id, problem=str(problem))
            return Answer(Result.NAK)

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
            order, answer = self._under_way.pop(task), task.result()
            silent = answer.result in (Result.TIMEOUT, Result.UNREACHABLE)
            if silent and order.session.kind is not AccessKind.DHCP:
                self._unanswered += 1
            answered.append(Answered(order, answer, self._line.heard))
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
