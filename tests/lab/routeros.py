"""Emulated routers for tests: a server thread with a loop of its own, and the box to look into.

`emulated_router(…)` is a fixture that all tests have. What is given goes to `Box`; `tls` may be an SSL context. The box
may be read and changed from the test, see `lab.routeros.box`.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest

from lab.routeros import ApiServer, Box, User

ADMIN = {"admin": User("secret")}


@dataclass(frozen=True)
class EmulatedRouter:
    """A router that answers on loopback."""

    box: Box
    server: ApiServer
    loop: asyncio.AbstractEventLoop
    user: str
    password: str

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def port(self) -> int:
        return self.server.port


class LoopThread:
    """An event loop on a thread of its own, for any number of servers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, name="emulated-routers", daemon=True)
        self._thread.start()

    def wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def running_router(
    loop: LoopThread,
    *,
    box: Box | None = None,
    users: Mapping[str, User] = ADMIN,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> Iterator[EmulatedRouter]:
    """Run one router on a loop that is there. `options` go to `Box`."""
    box = box or Box(users=users, **options)
    server = ApiServer(box, address, port, tls=tls)
    loop.wait(server.start())
    name, user = next(iter(users.items()))
    try:
        yield EmulatedRouter(box, server, loop.loop, name, user.password)
    finally:
        loop.wait(server.close())


@pytest.fixture(scope="session")
def router_loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


@pytest.fixture
def emulated_router(router_loop: LoopThread) -> Iterator[Callable[..., EmulatedRouter]]:
    """A function that starts a router and returns it; all of them end with the test."""
    with ExitStack() as routers:

        def start(**options: Any) -> EmulatedRouter:
            return routers.enter_context(running_router(router_loop, **options))

        yield start
