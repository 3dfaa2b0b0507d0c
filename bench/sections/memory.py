"""Memory: the whole idle stack, and whether radiusd, loader and publisher grow with the packets they have seen."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.generator import run_load, write_users
from bench.machine import descendants, resident_mib
from bench.portico import Portico, first_login, portico
from bench.report import Section, Table, under
from bench.sections import Options
from bench.site import free_port, make_users, open_site

GROWTH_MIB = 20.0
_START_SECONDS = 180.0
_IDLE_SECONDS = 15.0


def measure(options: Options) -> Section:
    """Start the stack as `make run` does and let it idle; then send ten million packets through its pieces."""
    idle = _idle_stack(options.scaled(1, 0) * _IDLE_SECONDS + 5)
    packets = options.scaled(10_000_000, 60_000)
    samples = _samples(options, packets)
    rows = tuple(
        (f"{seen:,}", *(f"{memory[name]:.1f}" for name in ("radiusd", "loader", "publisher")))
        for seen, memory in samples
    )
    # The first tenth fills pools and caches; what comes after it would go on for ever.
    settled, last = samples[1][1], samples[-1][1]
    return Section(
        "memory",
        "Memory",
        (
            under("the whole idle stack of `make run`", 700, sum(idle.values()), "MiB"),
            *(
                under(
                    f"growth of {name} over {packets:,} packets",
                    GROWTH_MIB,
                    max(0.0, last[name] - settled[name]),
                    "MiB",
                )
                for name in ("radiusd", "loader", "publisher")
            ),
        ),
        (
            Table(("process, idle", "MiB"), tuple((name, f"{memory:.0f}") for name, memory in idle.items())),
            Table(("packets", "radiusd MiB", "loader MiB", "publisher MiB"), rows),
        ),
        (
            "Proportional set size (shared pages counted in part). The idle stack has the demo operator and its lab in"
            " it. Packets alternate between a mix of Access-Requests and accounting; memory is read when the journal is"
            " loaded and the requests that radiusd holds for duplicates have gone.",
        ),
    )


def _idle_stack(seconds: float) -> dict[str, float]:
    """Run `portico run` for a while and return the memory of its processes, added up by what they are."""
    directory = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    environment = {
        **os.environ,
        "PORTICO_DATA_DIR": str(directory),
        "PORTICO_RADIUS_ADDRESS": "127.0.0.1",
        "PORTICO_AUTH_PORT": str(free_port()),
        "PORTICO_ACCT_PORT": str(free_port()),
        "PORTICO_LAB_COA_PORT": str(free_port()),
        "PORTICO_LAB_API_PORT": str(free_port(socket.SOCK_STREAM)),
        "PORTICO_LAB_GATEWAY_PORT": str(free_port(socket.SOCK_STREAM)),
        "PORTICO_PORTAL_PORT": str(portal := free_port(socket.SOCK_STREAM)),
    }
    log = directory.with_suffix(".log")
    with log.open("wb") as output, ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(log.unlink)
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", "run"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _listens(portal):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-2000:])
                time.sleep(0.2)
            time.sleep(seconds)
            memory: dict[str, float] = {}
            for pid in descendants(process.pid):
                name = _name_of(pid)
                memory[name] = memory.get(name, 0.0) + resident_mib(pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    return {name: size for name, size in sorted(memory.items(), key=lambda item: -item[1]) if size}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _name_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").split()
    except OSError:
        return ""
    text = " ".join(words)
    for mark, name in _MARKS.items():
        if mark in text:
            return name
    return Path(words[0]).name if words else ""


_MARKS = {
    "postgres": "postgres",
    "redis-server": "redis",
    "freeradius": "radiusd",
    "gunicorn": "portal",
    "celery": "worker",
    "stack loader": "loader",
    "stack publisher": "publisher",
    "stack lab": "lab",
    "stack run": "supervisor",
}


def _samples(options: Options, packets: int) -> list[tuple[int, dict[str, float]]]:
    """Return the memory of the pieces after each tenth of the packets, beginning with none."""
    users = make_users(options.scaled(100_000, 2_000))
    with open_site() as site, ExitStack() as stack:
        users_file = write_users(site.directory / "users.csv", users)
        ours = stack.enter_context(portico(site, users))
        first_login(ours, users_file)
        samples = [(0, _memory(ours))]
        seen = 0
        for _ in range(10):
            for mode, port in (("mix", site.settings.auth_port), ("acct", site.settings.acct_port)):
                load = run_load(mode, port, users_file, "-n", packets // 20, "-d", 600)
                seen += load.answered
            _wait_until_idle(ours, options)
            samples.append((seen, _memory(ours)))
            print(
                f"  {seen:,} packets: " + ", ".join(f"{n} {m:.1f} MiB" for n, m in samples[-1][1].items()), flush=True
            )
    return samples


def _memory(ours: Portico) -> dict[str, float]:
    pieces = {"radiusd": ours.radiusd, "loader": ours.loader, "publisher": ours.publisher}
    return {name: resident_mib(piece.pid) for name, piece in pieces.items()}


def _wait_until_idle(ours: Portico, options: Options) -> None:
    while ours.backlog():
        time.sleep(0.1)
    time.sleep(options.scaled(6, 1))  # radiusd's cleanup_delay is five seconds
