"""A thousand emulated routers polled inside their minute by one process, with some of them dead."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection

import psycopg

from bench.machine import processor_seconds, resident_mib
from bench.report import Section, Table, Target, under
from bench.sections import Options
from bench.site import Site, open_site
from db.migrate import migrate
from stack.pieces import RunningPiece
from stack.programs import monitor_piece

MINUTES = 2
DEAD_SHARE = 0.02
"""Of the routers, so many take connections and never answer."""
SUBSCRIBERS, LEASES = 40, 20
PASSWORD = "portico-bench"


def measure(options: Options) -> Section:
    """Start the routers in a process of their own, then the monitor as it always runs, and look at what it wrote."""
    routers = options.scaled(1_000, 40)
    dead = max(1, int(routers * DEAD_SHARE))
    minutes = options.scaled(MINUTES, 1)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        ports = _start_routers(stack, routers, dead)
        _register(site, ports)
        piece = stack.enter_context(RunningPiece(monitor_piece(site.settings), site.settings.log_dir / "monitor.log"))
        # The first round makes the connections, and in the second every router comes to its turn.
        time.sleep(options.scaled(130, 90))
        begun, used = time.monotonic(), processor_seconds(piece.pid)
        oldest = _oldest(site, begun + 60 * minutes)
        seconds = time.monotonic() - begun
        share = (processor_seconds(piece.pid) - used) / seconds
        memory = resident_mib(piece.pid)
        polled = _complete(site, minutes)
    return Section(
        "polling",
        f"Polling of {routers:,} routers each minute, {dead} of them dead",
        (
            Target(
                "living routers with a sample in every whole minute", "all", f"{polled:,} of {routers - dead:,}",
                polled == routers - dead,
            ),
            under("processor of the monitor", 1.0, share, "cores"),
            under("longest time that a living router waited for its poll", 66, oldest, "s"),
        ),
        (
            Table(
                ("routers", "dead", "minutes", "longest s between polls", "cores", "MiB"),
                ((f"{routers:,}", f"{dead}", f"{minutes}", f"{oldest:.1f}", f"{share:.2f}", f"{memory:.0f}"),),
            ),
        ),
        (
            "Each router is emulated (`lab.routeros`) in one other process on the same machine, with"
            f" {SUBSCRIBERS} PPPoE sessions and {LEASES} leases; a poll is some twelve commands over a connection that"
            " is kept. The dead ones take the connection and say nothing, until the time-out.",
        ),
    )  # fmt: skip


def _start_routers(stack: ExitStack, routers: int, dead: int) -> Sequence[int]:
    """Start the emulated routers in another process and return their ports."""
    ours, theirs = socket.socketpair()
    program = f"from bench.sections.polling import serve; serve({theirs.fileno()}, {routers}, {dead})"
    process = subprocess.Popen([sys.executable, "-c", program], pass_fds=[theirs.fileno()])
    theirs.close()
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return Connection(ours.detach()).recv()  # type: ignore[no-any-return]


def serve(handle: int, routers: int, dead: int) -> None:
    """Be the emulated routers until terminated; the first `dead` of them never answer."""
    asyncio.run(_serve(Connection(handle), routers, dead))


async def _serve(told: Connection, routers: int, dead: int) -> None:
    from lab.routeros import ApiServer, Box, User

    ports = []
    servers = []
    for number in range(routers):
        box = Box(identity=f"router-{number}", users={"portico": User(PASSWORD)})
        box.faults.silent = number < dead
        active, leases = box.table("/ppp/active"), box.table("/ip/dhcp-server/lease")
        for line in range(SUBSCRIBERS):
            active.put({"name": f"user{line}", "service": "pppoe", "address": f"10.0.0.{line}"})
        for line in range(LEASES):
            leases.put({"address": f"10.1.0.{line}", "mac-address": f"02:00:00:00:00:{line:02X}", "status": "bound"})
        ether = box.table("/interface").first(name="ether1")
        assert ether is not None
        box.compute("/interface", "rx-byte", lambda _row: str(int(time.time() * 5_000_000)))
        box.compute("/interface", "tx-byte", lambda _row: str(int(time.time() * 1_000_000)))
        server = ApiServer(box)
        await server.start()
        servers.append(server)
        ports.append(server.port)
    told.send(ports)
    await asyncio.Event().wait()


def _register(site: Site, ports: Sequence[int]) -> None:
    sealed = site.settings.keyring.seal("router.password", PASSWORD)
    secret = site.settings.keyring.seal("nas.secret", "testing123")
    with psycopg.connect(site.database_url("portico"), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO operator (slug, name) VALUES ('bench', 'Bench') RETURNING id")
        row = cursor.fetchone()
        assert row is not None
        cursor.executemany(
            "WITH made AS (INSERT INTO nas (operator_id, name, address, secret)"
            " VALUES (%(operator)s, %(name)s, '10.200.0.0'::inet + %(number)s, %(secret)s) RETURNING id)"
            " INSERT INTO router (nas_id, operator_id, api_address, api_port, api_user, api_password, wan_interface,"
            " wan_download, wan_upload) SELECT id, %(operator)s, '127.0.0.1', %(port)s, 'portico', %(sealed)s,"
            " 'ether1', 100000000, 50000000 FROM made",
            [
                {
                    "operator": row[0],
                    "name": f"router {n}",
                    "number": n,
                    "secret": secret,
                    "port": port,
                    "sealed": sealed,
                }
                for n, port in enumerate(ports)
            ],
        )


def _oldest(site: Site, until: float) -> float:
    """Look every second at how long ago each living router was polled, and return the longest (s)."""
    longest = 0.0
    with psycopg.connect(site.database_url("portico"), autocommit=True) as connection:
        while time.monotonic() < until:
            row = connection.execute(
                "SELECT extract(epoch FROM max(now() - checked_at))::float8 FROM router_state WHERE status = 'online'"
            ).fetchone()
            assert row is not None
            longest = max(longest, row[0] or 0.0)
            time.sleep(1)
    return longest


def _complete(site: Site, minutes: int) -> int:
    """Return how many routers have a sample with a rate in each of the last whole minutes."""
    with psycopg.connect(site.database_url("portico")) as connection:
        row = connection.execute(
            "SELECT count(*) FROM (SELECT nas_id FROM router_sample WHERE answered > 0 AND wan_download IS NOT NULL"
            " AND at >= date_trunc('minute', now()) - %s * interval '1 minute' AND at < date_trunc('minute', now())"
            " GROUP BY nas_id HAVING count(*) = %s) AS whole",
            (minutes, minutes),
        ).fetchone()
    assert row is not None
    return int(row[0])
