"""The part of a worker that makes the network agree: it wakes when something changes, and every few seconds anyway.

PostgreSQL tells of changes, orders and accounting by NOTIFY, and holds everything that must be done as rows, so Redis
has no part in this: with the broker flushed or gone a subscriber is restored no later. Any number of workers may run;
advisory locks decide who reconciles and who talks to which NAS, and where one dies another goes on.

A NAS that does not answer holds nothing up: all waiting is done by one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import psycopg
import structlog

from core.clock import utc_now
from core.settings import Settings
from core.status import beat
from db.threads import ConnectionThreads
from radius.coa import coa_source
from radius.enforcement import due_nas, revive
from radius.reconcile import next_change, reconcile
from radius.sending import Wiring, enforce_nas
from radius.verification import verify
from worker.kicking import ApiKick
from worker.loop_thread import LoopThread

CHANGED, ORDERED, ACCOUNTED = "portico_change", "portico_order", "portico_accounting"
SWEEP = 5.0
"""Seconds after which everything is looked at although nobody said that something changed."""
DUE_LOOK = 1.0
"""Seconds between looks for orders whose time to be tried again has come."""
GATHER = 0.02
"""Seconds given to changes that come together."""

log = structlog.get_logger()


class Enforcer(LoopThread):
    """Runs on a thread of its own, between `start()` and `stop()`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("enforcer")
        assert settings.database_url is not None, "the settings are complete"
        self._dsn = settings.database_url.get_secret_value()
        self._keyring = settings.keyring
        self._source = coa_source(settings)

    async def main(self) -> None:
        thinking = ConnectionThreads(self._dsn, 2, "reconciler")
        kick = ApiKick(self._dsn, self._keyring)
        wiring = Wiring(
            ConnectionThreads(self._dsn, 2, "orders"), ConnectionThreads(self._dsn, 1, "locks"), self._keyring,
            self._source, kick,
        )  # fmt: skip
        try:
            await _Loops(self._dsn, thinking, wiring).run()
        finally:
            for threads in (thinking, wiring.database, wiring.locks, kick):
                await asyncio.get_running_loop().run_in_executor(None, threads.close)


class _Loops:
    """What the enforcer does all the time: listen, reconcile, verify, and send a batch for each NAS with work."""

    def __init__(self, dsn: str, thinking: ConnectionThreads, wiring: Wiring) -> None:
        self._dsn = dsn
        self._thinking = thinking
        self._wiring = wiring
        self._changed = asyncio.Event()
        self._accounted = asyncio.Event()
        self._ordered = asyncio.Event()
        self._batches: dict[int, asyncio.Task[None]] = {}
        self._pokes: dict[int, asyncio.Event] = {}

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._repeat(self._reconcile, self._changed, SWEEP))
                tasks.create_task(self._repeat(self._verify, self._accounted, SWEEP))
                tasks.create_task(self._repeat(self._dispatch, self._ordered, DUE_LOOK))
        finally:
            for batch in self._batches.values():
                batch.cancel()
            await asyncio.gather(*self._batches.values(), return_exceptions=True)

    async def _listen(self) -> None:
        """Turn notifications into events. After a broken connection everything may have changed meanwhile."""
        events = {CHANGED: self._changed, ORDERED: self._ordered, ACCOUNTED: self._accounted}
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5, application_name="worker listener"
                ) as connection:
                    for channel in events:
                        await connection.execute(f"LISTEN {channel}")
                    for event in events.values():
                        event.set()
                    async for notification in connection.notifies():
                        events[notification.channel].set()
            except psycopg.Error as problem:
                log.warning("database_unreachable", error=_first_line(problem))
            await asyncio.sleep(1)

    async def _repeat(self, action: Callable[[], Awaitable[None]], event: asyncio.Event, seconds: float) -> None:
        """Act when `event` is set, at least every so many seconds, and at most half of the time."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
            event.clear()
            begun = loop.time()
            try:
                await action()
                failures = 0
                beat(action.__name__.strip("_"), 300)
            except Exception as problem:
                failures += 1
                step = action.__name__.strip("_")
                if isinstance(
                    problem, psycopg.Error
                ):  # PostgreSQL is away, or two transactions were in each other's way
                    log.warning("enforcement_delayed", step=step, error=_first_line(problem))
                else:
                    log.error("enforcement_failed", step=step, exc_info=problem)
                event.set()
                await asyncio.sleep(min(0.2 * 2**failures, SWEEP))
            await asyncio.sleep(min(max(GATHER, loop.time() - begun), SWEEP))

    async def _reconcile(self) -> None:
        outcome = await self._thinking(reconcile, utc_now())
        if outcome is None:  # another worker is at it, perhaps since before this change
            await asyncio.sleep(0.1)
            self._changed.set()
        elif outcome.orders:
            log.info("orders_made", orders=outcome.orders, superseded=outcome.superseded, services=outcome.services)
            self._ordered.set()
        due = await self._thinking(next_change, utc_now(), SWEEP)
        if due is not None:  # somebody's time is up before the next sweep: on the second, not when it comes round
            asyncio.get_running_loop().call_later(max((due - utc_now()).total_seconds(), 0.0), self._changed.set)

    async def _verify(self) -> None:
        await self._thinking(_verify_and_revive)
        self._ordered.set()

    async def _dispatch(self) -> None:
        for nas_id in await self._wiring.database(due_nas, utc_now()):
            if nas_id in self._batches:
                self._pokes[nas_id].set()
                continue
            poke = self._pokes[nas_id] = asyncio.Event()
            batch = asyncio.create_task(enforce_nas(self._wiring, nas_id, poke))
            self._batches[nas_id] = batch
            batch.add_done_callback(partial(self._batch_done, nas_id))

    def _batch_done(self, nas_id: int, done: asyncio.Task[None]) -> None:
        del self._batches[nas_id], self._pokes[nas_id]
        if done.cancelled():
            return
        problem = done.exception()
        if problem is not None:
            log.error("batch_failed", nas_id=nas_id, exc_info=problem)


def _verify_and_revive(connection: psycopg.Connection[object]) -> None:
    now = utc_now()
    revive(connection, now)
    verify(connection, now)


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
