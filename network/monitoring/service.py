"""`portico monitor`: polls the routers, keeps what they say, tells of what is wrong, and sends notices.

One process does it for the installation; a second one waits for an advisory lock and takes over when the first is gone.
PostgreSQL may be away for a while: polls go on, and what they brought is written when it is back.
"""

import asyncio
import resource
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import joinedload

from core.clock import utc_now
from core.crypto import SecretUnreadable
from core.settings import Settings
from core.status import beat
from crm.incident_messages import tell_due
from crm.notices import Outbox
from db.models import Nas, Operator, Router, RouterState
from db.session import make_engine, make_sessions
from network.access import access_of
from network.api import RouterAccess
from network.monitoring.alerts import evaluate, follow_incidents, open_incident, propose_incident
from network.monitoring.live import Live
from network.monitoring.losses import Losses
from network.monitoring.poll import Known
from network.monitoring.rollup import roll_up
from network.monitoring.states import Standing
from network.monitoring.store import Polled, store
from network.monitoring.watcher import Watched, Watcher
from network.problems import Cause

LOCK = 7465
ROUTERS, WRITING, LOSSES, ALERTS, ROLLUP, INCIDENTS, NOTICES = 10.0, 1.0, 15.0, 15.0, 60.0, 10.0, 3.0
"""Seconds between two turns of each kind of work."""
STAND_BY = 5.0
"""Seconds between two looks at the lock: of who waits for it, and of who holds it."""
AT_ONCE = 500
"""Outcomes written in one transaction."""
KEPT = 200_000
"""Outcomes kept while PostgreSQL is away: some hours of a thousand routers."""

log = structlog.get_logger()


class Monitor:
    """All of the watching, until cancelled."""

    def __init__(self, settings: Settings, interval: timedelta | None = None) -> None:
        assert settings.database_url is not None, "the settings are complete"
        self._settings = settings
        self._dsn = settings.database_url.get_secret_value()
        self._engine = make_engine(self._dsn, pool_size=3)
        self._sessions = make_sessions(self._engine)
        self._outcomes: deque[Polled] = deque(maxlen=KEPT)
        self._losses = Losses()
        self._routers: dict[int, Watched] = {}
        self._standings: dict[int, Standing] = {}
        self._threads = ThreadPoolExecutor(7, "monitor")
        self._outbox = Outbox(self._sessions, settings)
        self.watcher = Watcher(interval or timedelta(seconds=settings.monitor_interval), self._outcomes.append)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._repeat("routers", self._load, ROUTERS, self._apply))
                tasks.create_task(self._repeat("samples", self._write, WRITING))
                tasks.create_task(self._repeat("losses", self._look_for_losses, LOSSES, self._share_known))
                tasks.create_task(self._repeat("alerts", self._evaluate, ALERTS))
                tasks.create_task(self._repeat("rollup", self._roll_up, ROLLUP))
                tasks.create_task(self._repeat("incidents", self._tell, INCIDENTS))
                tasks.create_task(self._repeat("notices", self._send, NOTICES))
                tasks.create_task(self._live())
        finally:
            await self.watcher.close()
            await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._outbox.close()
        self._threads.shutdown(wait=True)
        try:
            self._write()
        except (psycopg.Error, OperationalError):
            log.warning("samples_lost", count=len(self._outcomes))
        self._engine.dispose()

    async def _repeat(
        self, name: str, work: Callable[[], None], seconds: float, then: Callable[[], None] | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await loop.run_in_executor(self._threads, work)
                if then is not None:
                    then()
                beat(name, max(10 * seconds, 120))
            except (psycopg.Error, OperationalError) as problem:
                log.warning("monitoring_delayed", step=name, error=_first_line(problem))
            except Exception:  # one step that fails must not end the others
                log.exception("monitoring_failed", step=name)
            await asyncio.sleep(max(begun + seconds - loop.time(), 0.1))

    async def _live(self) -> None:
        live = Live(self._dsn, self._access)
        while True:
            try:
                await live.run()
            except psycopg.Error as problem:
                log.warning("monitoring_delayed", step="live", error=_first_line(problem))
            await asyncio.sleep(2)

    def _access(self, nas_id: int) -> RouterAccess | None:
        watched = self._routers.get(nas_id)
        return watched.access if watched is not None else None

    # Each of these runs on a thread.

    def _load(self) -> None:
        """Read which routers are to be polled, and what was believed of the new ones."""
        routers: dict[int, Watched] = {}
        with self._sessions() as session:
            query = (
                select(Router)
                .join(Nas, Nas.id == Router.nas_id)
                .join(Operator, Operator.id == Router.operator_id)
                .where(Router.watched, Nas.enabled, Operator.active)
                .options(joinedload(Router.nas))
            )
            for router in session.scalars(query):
                try:
                    access = access_of(router, self._settings.keyring)
                except SecretUnreadable:
                    log.warning("router_password_unreadable", nas_id=router.nas_id)
                    continue
                routers[router.nas_id] = Watched(router.nas_id, router.operator_id, access, router.wan_interface)
            new = routers.keys() - self._routers.keys()
            states = session.scalars(select(RouterState).where(RouterState.nas_id.in_(new))) if new else ()
            self._standings = {state.nas_id: _standing(state) for state in states}
        self._routers = routers

    def _apply(self) -> None:
        self.watcher.watch(self._routers, self._standings)

    def _write(self) -> None:
        while self._outcomes:
            some = [self._outcomes.popleft() for _ in range(min(len(self._outcomes), AT_ONCE))]
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
                    self._store(connection, some)
            except psycopg.OperationalError:
                self._outcomes.extendleft(reversed(some))
                raise

    @staticmethod
    def _store(connection: psycopg.Connection[Any], some: list[Polled]) -> None:
        """Write outcomes; where PostgreSQL takes one of them not, the others are written all the same."""
        try:
            store(connection, some)
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            for one in some:
                try:
                    store(connection, [one])
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as problem:
                    log.error("sample_refused", nas_id=one.nas_id, error=_first_line(problem))

    def _look_for_losses(self) -> None:
        now = utc_now()
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            outages = self._losses.look(connection, now)
        with self._sessions() as session:
            for outage in outages:
                open_incident(session, self._settings.keyring, outage, now)
                log.info("outage_found", nas_id=outage.nas_id, sector=outage.sector, lost=len(outage.members))
            for gathering in self._losses.gatherings:
                propose_incident(session, gathering, now)
            follow_incidents(session, self._settings.keyring, now)
            session.commit()

    def _share_known(self) -> None:
        """Tell the watcher whose devices belong where."""
        losses, routers = self._losses, self._routers
        self.watcher.known = {
            nas_id: Known(
                losses.known.get(nas_id, Known()).macs,
                losses.known.get(nas_id, Known()).addresses | losses.addresses.get(watched.operator_id, frozenset()),
            )
            for nas_id, watched in routers.items()
        }

    def _evaluate(self) -> None:
        with self._sessions() as session:
            evaluate(session, self._settings.keyring, utc_now())
            session.commit()

    def _roll_up(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            roll_up(connection, utc_now())

    def _tell(self) -> None:
        written = tell_due(self._sessions, self._settings.keyring, utc_now())
        if written:
            log.info("subscribers_told", messages=written)

    def _send(self) -> None:
        self._outbox.look()


def main(settings: Settings) -> None:
    """Watch until SIGTERM."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, 65_536)), hard))
    asyncio.run(_main(settings))


async def _main(settings: Settings) -> None:
    current = asyncio.current_task()
    assert current is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, current.cancel)
    assert settings.database_url is not None
    try:
        await stand_by(settings.database_url.get_secret_value(), lambda: Monitor(settings).run())
    except asyncio.CancelledError:
        log.info("monitor_stopped")


async def stand_by(dsn: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for the lock that one monitor holds, then work for as long as it is held.

    With its connection, the lock is lost as well, and another may hold it: so the work ends soon after, and the lock is
    waited for anew. That two work for some seconds does no harm, since what they write replaces itself.
    """
    waiting = False
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, connect_timeout=5, application_name="monitor"
            ) as connection:
                row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))).fetchone()
                if row and row[0]:
                    log.info("monitor_started")
                    await _while_held(connection, run())
                    return
                if not waiting:
                    log.info("monitor_waits", why="another one is at work")
                    waiting = True
        except psycopg.Error as problem:
            log.warning("database_unreachable", error=_first_line(problem))
        await asyncio.sleep(STAND_BY)


async def _while_held(connection: psycopg.AsyncConnection[Any], work: Coroutine[Any, Any, None]) -> None:
    """Work until it is done. Raises psycopg.Error when the connection is gone."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=STAND_BY))[0]:
            await connection.execute("SELECT")
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _standing(state: RouterState) -> Standing:
    try:
        cause = Cause(state.cause) if state.cause else None
    except ValueError:
        cause = None
    return Standing(state.status, state.status_since, cause)


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
