"""Connections for an event loop that may not block: a few threads, each with one of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg

Connection = psycopg.Connection[Any]

P = ParamSpec("P")
T = TypeVar("T")


class ConnectionThreads:
    """Runs functions of a connection on a few threads, each with a connection of its own, for a loop that may not
    block. A connection that broke is replaced at the next call; the call that found it broken raises.
    """

    def __init__(self, dsn: str, threads: int, name: str = "database") -> None:
        self._dsn = dsn
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        self._open: set[Connection] = set()

    async def __call__(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._run, lambda connection: function(connection, *args, **kwargs)
        )

    def _run(self, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
            self._local.connection = connection
            self._open.add(connection)
        try:
            return work(connection)
        finally:
            if connection.closed or connection.broken:
                self._open.discard(connection)
                connection.close()

    def close(self) -> None:
        """Wait for what is running and shut the connections."""
        self._threads.shutdown()
        for connection in self._open:
            connection.close()
