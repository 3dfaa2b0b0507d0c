"""The watcher polls every router in its own rhythm, all on one event loop.

Each router has a task of its own, which waits out its own time-outs: a router that is dead delays nobody else. The
polls are spread over the interval, so that a thousand of them do not begin in the same second. A connection is kept
for the next poll; where it turns out to be gone, the poll is made over a new one before it counts as failed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from core.clock import utc_now
from network.api import AsyncRouterApi, RouterAccess, open_router_async
from network.monitoring.poll import Device, Known, Look, look, serial_number
from network.monitoring.sample import Reading, sample
from network.monitoring.states import Standing, after_poll, pause_after
from network.monitoring.store import Polled
from network.problems import Cause, RouterProblem

log = structlog.get_logger()
CONNECTING = 500
"""Connections being made at once; a router is not refused by our own limit of open files."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A router to be polled."""

    nas_id: int
    operator_id: int
    access: RouterAccess
    wan: str | None = None


class Watcher:
    """Polls the routers that it is told to, and hands each outcome to `done`."""

    def __init__(self, interval: timedelta, done: Callable[[Polled], None]) -> None:
        self.known: Mapping[int, Known] = {}
        self.begun = 0
        """Polls that were begun since the start."""
        self._interval = interval
        self._done = done
        self._connecting = asyncio.Semaphore(CONNECTING)
        self._tasks: dict[int, tuple[Watched, asyncio.Task[None]]] = {}

    def watch(self, routers: Mapping[int, Watched], standings: Mapping[int, Standing]) -> None:
        """Poll these routers from now on, and no others. One whose access has changed is begun anew."""
        for nas_id, (watched, task) in list(self._tasks.items()):
            if routers.get(nas_id) != watched:
                task.cancel()
                del self._tasks[nas_id]
        new = [watched for nas_id, watched in routers.items() if nas_id not in self._tasks]
        # Spread over the interval: few are begun at once, so that somebody who adds one sees it soon.
        spread = min(self._interval.total_seconds(), len(new) * 0.5)
        for number, watched in enumerate(new):
            standing = standings.get(watched.nas_id, Standing())
            task = asyncio.create_task(self._watch(watched, standing, spread * number / max(len(new), 1)))
            task.add_done_callback(_report)
            self._tasks[watched.nas_id] = (watched, task)

    async def close(self) -> None:
        tasks = [task for _watched, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _watch(self, watched: Watched, standing: Standing, delay: float) -> None:
        await asyncio.sleep(delay)
        loop = asyncio.get_running_loop()
        router = _Line(watched.access, self._connecting)
        before: Reading | None = None
        waiting: tuple[Device, ...] | None = None
        serial: str | None = None
        try:
            while True:
                due = loop.time()
                self.begun += 1
                known = self.known.get(watched.nas_id, Known())
                try:
                    seen = await router.poll(known)
                    if serial is None:
                        serial = await router.serial()
                except RouterProblem as problem:
                    now = utc_now()
                    standing = after_poll(standing, problem.cause, now)
                    polled = Polled(watched.nas_id, watched.operator_id, now, standing, detail=problem.detail)
                else:
                    reading = replace(seen.reading, serial=serial)
                    standing = after_poll(standing, None, reading.at)
                    polled = Polled(
                        watched.nas_id,
                        watched.operator_id,
                        reading.at,
                        standing,
                        reading,
                        sample(before, reading, watched.wan),
                        serial,
                        seen.waiting if seen.waiting != waiting else None,
                        fingerprint=router.fingerprint,
                    )
                    before, waiting = reading, seen.waiting
                self._done(polled)
                pause = pause_after(standing, self._interval)
                if pause == self._interval:
                    await asyncio.sleep(until_turn(watched.nas_id, pause.total_seconds(), time.time()))
                else:
                    await asyncio.sleep(max(due + pause.total_seconds() - loop.time(), 0.5))
        finally:
            await router.close()


def until_turn(nas_id: int, interval: float, now: float) -> float:
    """Return the seconds until a router's next turn.

    Its turn is at the same second of every interval, away from the ends: a router whose turn drifted over the end of a
    minute would have two samples in one minute and none in the next.
    """
    margin = interval / 30
    offset = margin + nas_id * 0.6180339887 % 1 * (interval - 3 * margin)  # the golden ratio spreads them evenly
    wait = (offset - now) % interval
    return wait if wait > margin / 2 else wait + interval  # it had its turn just now


class _Line:
    """The connection to one router, kept from poll to poll."""

    def __init__(self, access: RouterAccess, connecting: asyncio.Semaphore) -> None:
        self._access = access
        self._connecting = connecting
        self._stack: AsyncExitStack | None = None
        self._router: AsyncRouterApi | None = None

    async def poll(self, known: Known) -> Look:
        """Look at the router; over a new connection when the kept one is gone. Raises RouterProblem."""
        if self._router is not None and self._router.usable:
            try:
                return await look(self._router, known)
            except RouterProblem as problem:
                # Closed meanwhile: an idle time-out, a restart. Anything else would be as slow a second time.
                if problem.cause is not Cause.CLOSED:
                    await self.close()
                    raise
        await self.close()
        stack = AsyncExitStack()
        try:
            async with self._connecting:
                self._router = await stack.enter_async_context(open_router_async(self._access))
            self._stack = stack
            return await look(self._router, known)
        except BaseException:
            self._stack = None
            await stack.aclose()
            self._router = None
            raise

    @property
    def fingerprint(self) -> str | None:
        """The certificate that the router showed; None without TLS."""
        return self._router.fingerprint if self._router is not None else None

    async def serial(self) -> str:
        assert self._router is not None
        return await serial_number(self._router)

    async def close(self) -> None:
        stack, self._stack, self._router = self._stack, None, None
        if stack is not None:
            await stack.aclose()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("watching_failed", exc_info=task.exception())
