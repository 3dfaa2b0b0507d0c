"""The cut-off: everybody is suspended at once while online, and one who paid is let back."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.generator import SECRET
from bench.portico import Portico, portico
from bench.report import Section, Table, Target, under
from bench.sections import Options
from bench.seed import system_url
from bench.site import Site, make_users, open_site
from stack.pieces import RunningPiece
from stack.programs import worker_piece
from stack.redis import redis_piece

COA_PORT = 41299
INTERIM_SECONDS = 30
"""How often the plan asks for interim updates: an acknowledged CoA is verified by the one that follows."""
_PATIENCE = 300.0


def measure(options: Options) -> Section:
    """Suspend 10,000 live sessions on 20 NAS, into the walled garden and by disconnecting them; restore one."""
    sessions, nas = options.scaled(10_000, 200), options.scaled(20, 4)
    users = make_users(sessions)
    addresses = [f"127.2.0.{number}" for number in range(1, nas + 1)]
    with open_site() as site, ExitStack() as stack:
        ours = stack.enter_context(
            portico(site, users, [(address, COA_PORT) for address in addresses], session_limit=1)
        )
        _execute(site, f"UPDATE rate_plan SET interim_interval = interval '{INTERIM_SECONDS} seconds'")
        stack.enter_context(RunningPiece(redis_piece(site.settings), site.settings.log_dir / "redis.log"))
        stack.enter_context(RunningPiece(worker_piece(site.settings), site.settings.log_dir / "worker.log"))
        control = stack.enter_context(_network(site, users, addresses))
        _wait(lambda: _open_sessions(site) == sessions, f"{sessions} sessions to be open", ours)
        garden = _suspend_all(site, ours, sessions)
        restored = [
            _restore(site, control, users, number * 7 % sessions, nas) for number in range(options.scaled(5, 2))
        ]
        _execute(site, "UPDATE operator SET suspended_action = 'reject'")
        disconnected = _suspend_all(site, ours, sessions - len(restored), suspend=False)
    return Section(
        "cutoff",
        f"Cut-off, {sessions:,} live sessions on {nas} NAS",
        (
            under("last verified order, walled garden by CoA", 60, garden.verified, "s"),
            under("last verified order, disconnected", 60, disconnected.verified, "s"),
            Target("orders verified", f"{sessions:,}", f"{garden.count:,}", garden.count == sessions),
            under("one restore in force at the NAS, slowest of several", 1, max(restored), "s"),
        ),
        (
            Table(
                ("", "orders", "last answered s", "last verified s", "most attempts"),
                tuple(
                    (label, f"{phase.count:,}", f"{phase.answered:.1f}", f"{phase.verified:.1f}", str(phase.attempts))
                    for label, phase in (("walled garden by CoA", garden), ("disconnected", disconnected))
                ),
            ),
        ),
        (
            "Seconds from the COMMIT that suspended everybody. An order is verified when accounting shows its effect: a"
            f" CoA by the next interim update (here every {INTERIM_SECONDS} s), a disconnection by its Stop. Afterwards"
            " the operator turns from the walled garden to rejecting, which disconnects those who are in the garden."
            f" Restores, one after the other: {', '.join(f'{seconds:.2f}' for seconds in restored)} s from COMMIT to"
            " the router having the subscriber back in the list of the active.",
        ),
    )


class _Phase:
    """How the orders of one mass change ended; lengths are seconds since its COMMIT."""

    def __init__(self, rows: tuple[int, float, float, int]) -> None:
        self.count, self.answered, self.verified, self.attempts = rows


def _suspend_all(site: Site, ours: Portico, sessions: int, *, suspend: bool = True) -> _Phase:
    """Suspend every active service in one transaction (or let what was just changed work) and wait for all orders."""
    with psycopg.connect(system_url(site.settings)) as connection:
        row = connection.execute("SELECT coalesce(max(id), 0), clock_timestamp() FROM enforcement_order").fetchone()
    assert row is not None
    last, begun = row
    if suspend:
        _execute(
            site,
            "UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'overdue',"
            " version = version + 1 WHERE state = 'active'",
        )

    def finished() -> bool:
        with psycopg.connect(system_url(site.settings)) as connection:
            query = "SELECT count(*) FROM enforcement_order WHERE id > %s AND state = 'verified'"
            row = connection.execute(query, (last,)).fetchone()
        return row is not None and row[0] >= sessions

    _wait(finished, f"{sessions} orders to be verified", ours)
    with psycopg.connect(system_url(site.settings)) as connection:
        row = connection.execute(
            "SELECT count(*), extract(epoch FROM max(answered_at) - %(begun)s)::float,"
            " extract(epoch FROM max(finished_at) - %(begun)s)::float, max(attempts)"
            " FROM enforcement_order WHERE id > %(last)s AND state = 'verified'",
            {"begun": begun, "last": last},
        ).fetchone()
    assert row is not None
    return _Phase(row)


def _restore(site: Site, control: Path, users: list[tuple[str, str]], number: int, nas_count: int) -> float:
    """Restore one subscriber and return the seconds until the NAS has it back in the list of the active."""
    name = users[number][0]
    _execute(
        site,
        "UPDATE service SET state = 'active', suspended_at = NULL, suspension_cause = NULL, version = version + 1"
        " WHERE name = %s",
        name,
    )
    begun = time.monotonic()
    nas = nas_name(number % nas_count)
    while time.monotonic() - begun < _PATIENCE:
        told = _tell(control, do="sessions", nas=nas)["sessions"]
        if any(one["subscriber"] == name and one["address_list"] == "portico-active" for one in told):
            return time.monotonic() - begun
        time.sleep(0.01)
    raise TimeoutError(f"{name} was not restored")


def nas_name(number: int) -> str:
    return f"nas-{number + 1}"


@contextmanager
def _network(site: Site, users: list[tuple[str, str]], addresses: list[str]) -> Iterator[Path]:
    """Run the lab with all subscribers, dealt out to the NAS in turn; yield its control socket."""
    control, scenario = site.directory / "lab.sock", site.directory / "lab.toml"
    lines = [
        "[lab]",
        "spread = 10.0",
        f'control = "{control}"',
        "[server]",
        f"auth_port = {site.settings.auth_port}",
        f"acct_port = {site.settings.acct_port}",
    ]
    for number, address in enumerate(addresses):
        lines += ["[[nas]]", f'name = "{nas_name(number)}"', f'address = "{address}"', f'secret = "{SECRET}"']
        lines += [f"coa_port = {COA_PORT}", "logins_at_once = 10", "timeout = 3.0"]
    for number, (name, password) in enumerate(users):
        lines += ["[[subscriber]]", f'nas = "{nas_name(number % len(addresses))}"', f'name = "{name}"']
        lines += [f'password = "{password}"', f'mac = "02{number:010x}"']
    scenario.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (site.settings.log_dir / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "lab", "run", str(scenario), "--control", str(control)]
        lab = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield control
        finally:
            lab.terminate()
            lab.wait(30)


def _tell(control: Path, **order: object) -> dict[str, Any]:
    """Give the lab an order and return its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(connection.makefile().readline())
    assert answer["ok"], answer
    return answer


def _open_sessions(site: Site) -> int:
    with psycopg.connect(system_url(site.settings)) as connection:
        row = connection.execute("SELECT count(*) FROM session WHERE ended_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])


def _execute(site: Site, statement: str, *values: object) -> None:
    with psycopg.connect(system_url(site.settings)) as connection:
        connection.execute(statement.encode(), values or None)


def _wait(condition: Callable[[], bool], what: str, ours: Portico) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_PATIENCE:g} s for {what}; loader: {ours.loader.last_lines()}")
        time.sleep(0.1)
