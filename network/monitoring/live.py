"""The rate of one subscriber now: asked of the router each second while somebody looks, by however many.

Who looks keeps a row of `live_watch` wanted for a few seconds more; while it is, one task asks the router and writes
what it finds into the row. When nobody looks any more the task ends and hangs up. Rates are differences of the
counters of the subscriber's interface (PPP), hotspot login or queue; of an interface, rx is what the subscriber sends.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from network.api import AsyncRouterApi, RouterAccess, open_router_async
from network.problems import RouterProblem
from network.values import NotAValue, Pair, parse_counters
from network.words import Row

log = structlog.get_logger()
STEP = 1.0
PATIENCE = 5.0
NOT_ONLINE, NO_ROUTER, NOT_FOUND = "not_online", "no_router", "not_found"
"""Why there is no rate, beside the causes of network.problems."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a service is on a router just now."""

    service_id: int
    nas_id: int
    user_name: str
    kind: str  # ppp, hotspot, dhcp, queue
    address: str | None


WANTED = """
SELECT w.service_id, coalesce(s.nas_id, v.nas_id), coalesce(s.user_name, v.name), coalesce(s.kind, 'queue'),
       host(coalesce(s.framed_ip, v.framed_ip)), s.id IS NULL AND v.access_method <> 'queue'
FROM live_watch w JOIN service v ON v.id = w.service_id
LEFT JOIN LATERAL (
    SELECT * FROM session WHERE session.service_id = w.service_id AND session.ended_at IS NULL
    ORDER BY started_at DESC LIMIT 1) s ON true
WHERE w.wanted_until > now()
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a router may count a line: rows of a path, which to ask for, and how the octets stand in one."""

    path: str
    fields: tuple[str, ...]
    equals: Mapping[str, str]
    read: Callable[[Row], Pair | None]


def places(line: Line) -> Iterator[Place]:
    """Return where a router may count the octets of a line, in the order in which to look."""
    if line.kind == "ppp":
        for protocol in ("pppoe", "l2tp", "pptp", "sstp", "ovpn"):
            name = f"<{protocol}-{line.user_name}>"
            yield Place("/interface", ("rx-byte", "tx-byte"), {"name": name}, _pair("rx-byte", "tx-byte"))
    if line.kind == "hotspot":

        def at_address(row: Row) -> Pair | None:
            return _pair("bytes-in", "bytes-out")(row) if line.address in (None, row.get("address")) else None

        fields = ("bytes-in", "bytes-out", "address")
        yield Place("/ip/hotspot/active", fields, {"user": line.user_name}, at_address)
    if line.address is not None:
        for target in (f"{line.address}/32", line.address):
            yield Place(
                "/queue/simple", ("bytes",), {"target": target},
                lambda row: parse_counters(row["bytes"]) if "bytes" in row else None,
            )  # fmt: skip


def _pair(upload: str, download: str) -> Callable[[Row], Pair | None]:
    return lambda row: Pair(int(row[upload]), int(row[download])) if upload in row else None


async def read_counters(router: AsyncRouterApi, line: Line) -> Pair | None:
    """Return the octets of a subscriber so far, upload first; None where the router does not have it."""
    for place in places(line):
        for row in await router.rows(place.path, *place.fields, **place.equals):
            if (found := place.read(row)) is not None:
                return found
    return None


class Live:
    """Follows the rows that are wanted. `access` gives how to reach a router, None where its API is not known."""

    def __init__(self, dsn: str, access: Callable[[int], RouterAccess | None]) -> None:
        self._dsn = dsn
        self._access = access
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lines: dict[int, Line] = {}
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def run(self) -> None:
        """Follow until cancelled. Raises psycopg.Error."""
        async with await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=5, application_name="monitor live"
        ) as connection:
            self._connection = connection
            try:
                while True:
                    await self._follow(connection)
                    await asyncio.sleep(STEP)
            finally:
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)
                self._tasks.clear()

    async def _follow(self, connection: psycopg.AsyncConnection[Any]) -> None:
        wanted = {}
        for service_id, nas_id, user, kind, address, offline in await (await connection.execute(WANTED)).fetchall():
            if offline or nas_id is None:
                await self._write(service_id, problem=NOT_ONLINE if offline else NO_ROUTER)
            elif self._access(nas_id) is None:
                await self._write(service_id, problem=NO_ROUTER)
            else:
                wanted[service_id] = Line(service_id, nas_id, user, kind, address)
        for service_id, task in list(self._tasks.items()):
            if task.done() or wanted.get(service_id) != self._lines[service_id]:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del self._tasks[service_id]
        for service_id, line in wanted.items():
            if service_id not in self._tasks:
                self._lines[service_id] = line
                self._tasks[service_id] = asyncio.create_task(self._ask(line))

    async def _ask(self, line: Line) -> None:
        """Ask for one subscriber until cancelled; after a problem it is begun anew by the next look."""
        access = self._access(line.nas_id)
        assert access is not None
        try:
            async with open_router_async(access) as router:
                router.timeout = PATIENCE
                before: tuple[float, Pair] | None = None
                while True:
                    begun = time.monotonic()
                    counted = await read_counters(router, line)
                    now = time.monotonic()
                    if counted is None:
                        await self._write(line.service_id, problem=NOT_FOUND)
                        before = None
                    elif before is not None:
                        grown = Pair(*(later - earlier for later, earlier in zip(counted, before[1], strict=True)))
                        bits = 8 / (now - before[0])
                        if min(grown) >= 0:  # else it logged in again, and counts from zero
                            await self._write(line.service_id, grown.download * bits, grown.upload * bits)
                    before = (now, counted) if counted is not None else None
                    await asyncio.sleep(max(begun + STEP - time.monotonic(), 0.2))
        except RouterProblem as problem:
            await self._write(line.service_id, problem=str(problem.cause))
            await asyncio.sleep(PATIENCE)
        except (NotAValue, ValueError):
            await self._write(line.service_id, problem=NOT_FOUND)
            await asyncio.sleep(PATIENCE)

    async def _write(
        self, service_id: int, download: float | None = None, upload: float | None = None, problem: str = ""
    ) -> None:
        assert self._connection is not None
        await self._connection.execute(
            "UPDATE live_watch SET measured_at = clock_timestamp(), download = %s, upload = %s, problem = %s"
            " WHERE service_id = %s",
            (download, upload, problem, service_id),
        )
