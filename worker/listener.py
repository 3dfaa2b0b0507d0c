"""A part of a worker that is told by PostgreSQL what waits, and has several threads to do it.

It looks by the clock as well: what was told while its connection was broken was told to nobody.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import structlog
from sqlalchemy import Engine

from core.settings import Settings
from core.status import beat
from db.session import make_engine

STOP_LOOK = 0.2
"""Seconds between looks whether it shall stop, while nothing is told."""

log = structlog.get_logger()


class Listener:
    """Calls `take_up()` when something was told on a channel and every `look` seconds, between `start()` and `stop()`.

    What is found is handed to `threads`, of which there are `at_once`. `pool` says how many connections they share.
    """

    def __init__(self, settings: Settings, name: str, channel: str, *, look: float, at_once: int, **pool: Any) -> None:
        assert settings.database_url is not None, "the settings are complete"
        self.settings = settings
        self.threads = ThreadPoolExecutor(at_once, name)
        self.stopping = threading.Event()
        self._dsn = settings.database_url.get_secret_value()
        self._name, self._channel, self._look, self._pool = name, channel, look, pool
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take up no more, and wait a little for what is under way. Whoever runs next begins again what did not end."""
        self.stopping.set()
        self._thread.join(seconds)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def take_up(self, engine: Engine) -> None:
        """Look what waits and hand it to the threads."""
        raise NotImplementedError

    def _listen(self) -> None:
        engine = make_engine(self._dsn, connect_args={"application_name": self._name}, **self._pool)
        while not self.stopping.is_set():
            try:
                with psycopg.connect(
                    self._dsn, autocommit=True, connect_timeout=5, application_name=f"{self._name} listener"
                ) as connection:
                    connection.execute(f"LISTEN {self._channel}")
                    while not self.stopping.is_set():
                        self.take_up(engine)
                        beat(self._name, 60)
                        self._wait(connection)
            except psycopg.Error as problem:
                log.warning("database_unreachable", error=str(problem).splitlines()[:1])
                self.stopping.wait(1)
            except Exception:  # a worker that no longer does its work must not look as if it did
                log.exception(f"{self._name}_failed")
                self.stopping.wait(1)
        self.threads.shutdown(cancel_futures=True)  # what is under way gives its connection back first
        engine.dispose()

    def _wait(self, connection: psycopg.Connection[Any]) -> None:
        """Wait until something is told, or for as long as may pass between two looks."""
        ends = time.monotonic() + self._look
        while not self.stopping.is_set() and time.monotonic() < ends:
            if any(connection.notifies(timeout=STOP_LOOK, stop_after=1)):
                return
