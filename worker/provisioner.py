"""The part of a worker that keeps routers as they should be: it wakes when a queue service changes, and by the clock.

PostgreSQL tells of changes by NOTIFY and holds what is pending as rows, so nothing is lost with a worker or with
Redis. One event loop talks to all routers, so a dead one delays nobody: those that did not answer last time wait
among themselves, not before the others. Any number of workers may run; an advisory lock divides the routers.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import SecretUnreadable
from core.settings import Settings
from db.session import make_engine, make_sessions
from db.threads import ConnectionThreads
from network.provisioning.sweep import (
    ROUTER_LOCK,
    DueRouter,
    Situation,
    Visit,
    due_routers,
    read_situation,
    record_visit,
    visit_router,
)
from worker.loop_thread import LoopThread

CHANGED = "portico_provision"
DUE_LOOK = 1.0
"""Seconds between looks for routers whose time to be tried again has come."""
GATHER = 0.05
"""Seconds given to changes that come together, so that a router is visited once for all of them."""
AT_ONCE = 64
"""Routers talked to at the same time."""
TROUBLED_AT_ONCE = 64
"""Routers that did not answer last time, waited for at the same time."""
THREADS = 4
"""Database connections."""


log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


class Provisioner(LoopThread):
    """Runs on a thread of its own, between `start()` and `stop()`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("provisioner")
        assert settings.database_url is not None, "the settings are complete"
        self._settings = settings
        self._dsn = settings.database_url.get_secret_value()

    async def main(self) -> None:
        engine = make_engine(self._dsn, pool_size=THREADS, connect_args={"application_name": "provisioner"})
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="provisioner")
        locks = ConnectionThreads(self._dsn, 1, "router locks")
        try:
            await _Visits(self._settings, engine, threads, locks).run()
        finally:
            threads.shutdown()
            locks.close()
            engine.dispose()


class _Visits:
    """What the provisioner does all the time: listen, look for what is due, and visit routers."""

    def __init__(
        self, settings: Settings, engine: Engine, threads: ThreadPoolExecutor, locks: ConnectionThreads
    ) -> None:
        assert settings.database_url is not None
        self._settings = settings
        self._dsn = settings.database_url.get_secret_value()
        self._sessions = make_sessions(engine)
        self._threads = threads
        self._locks = locks
        self._changed = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._well, self._troubled = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(TROUBLED_AT_ONCE)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._dispatch())
        finally:
            for visit in self._under_way.values():
                visit.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5, application_name="provisioner listener"
                ) as connection:
                    await connection.execute(f"LISTEN {CHANGED}")
                    self._changed.set()
                    async for _ in connection.notifies():
                        self._changed.set()
            except psycopg.Error as problem:
                log.warning("database_unreachable", error=_first_line(problem))
            await asyncio.sleep(1)

    async def _dispatch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), DUE_LOOK)
                await asyncio.sleep(GATHER)
            self._changed.clear()
            try:
                routers = await self._database(due_routers, utc_now())
            except DBAPIError as problem:
                log.warning("provisioning_delayed", error=_first_line(problem))
                await asyncio.sleep(1)
                continue
            for router in routers:
                if router.nas_id not in self._under_way:
                    visit = asyncio.create_task(self._visit(router))
                    self._under_way[router.nas_id] = visit
                    visit.add_done_callback(partial(self._visited, router.nas_id))

    def _visited(self, nas_id: int, done: asyncio.Task[None]) -> None:
        del self._under_way[nas_id]
        if done.cancelled():
            return
        problem = done.exception()
        if isinstance(problem, psycopg.OperationalError | DBAPIError):
            log.warning("provisioning_delayed", nas_id=nas_id, error=_first_line(problem))
        elif problem is not None:
            log.error("visit_failed", nas_id=nas_id, exc_info=problem)
        else:
            self._changed.set()  # what became pending meanwhile is due now

    async def _visit(self, router: DueRouter) -> None:
        async with self._troubled if router.attempts else self._well:
            if not await self._locks(lock_router, router.nas_id):
                await asyncio.sleep(DUE_LOOK)  # another worker, or a job, is at it
                return
            try:
                await self._visit_locked(router.nas_id)
            finally:
                await self._locks(unlock_router, router.nas_id)

    async def _visit_locked(self, nas_id: int) -> None:
        try:
            situation = await self._database(read_situation, self._settings.keyring, nas_id)
        except SecretUnreadable:
            log.exception("router_password_unreadable", nas_id=nas_id)
            await asyncio.sleep(60)
            return
        if situation is None:
            return
        visit = Visit()
        await visit_router(situation, visit)
        await self._keep(situation, visit)

    async def _keep(self, situation: Situation, visit: Visit) -> None:
        """Record a visit. Were the database away for longer, the next visit would find the same and less to do."""
        for wait in (0.2, 1, 3):
            try:
                await self._database(_recorded, situation, visit)
            except DBAPIError as problem:
                log.warning("visit_not_recorded", nas_id=situation.nas_id, error=_first_line(problem))
                await asyncio.sleep(wait)
            else:
                return
        await self._database(_recorded, situation, visit)

    async def _database(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            with self._sessions() as session:
                result = function(session, *args, **kwargs)
                session.commit()
                return result

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def lock_router(connection: psycopg.Connection[object], nas_id: int) -> bool:
    """Take a router for this process, if no other has it. Held until `unlock_router` or the end of the connection."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s) AS taken", (ROUTER_LOCK, nas_id % 2**31)).fetchone()
    return row == (True,)


def unlock_router(connection: psycopg.Connection[object], nas_id: int) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", (ROUTER_LOCK, nas_id % 2**31))


def _recorded(session: Session, situation: Situation, visit: Visit) -> None:
    record_visit(session, situation, visit, utc_now())


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
