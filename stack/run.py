"""`portico run`: everything on one machine, in the foreground.

The servers come first, then the schema and the demo (once), then the pieces. Nothing is left behind: a second start
finds the data directory as the first one made it and takes seconds, and Ctrl-C stops every piece in reverse order.
"""

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.settings import BadSettings, Settings
from stack.accounts import piece_account, prepare_directories
from stack.elsewhere import run_where_pieces_can_read
from stack.installation import (
    PROJECT,
    complete,
    has_private_database,
    has_private_redis,
    make_secrets,
    piece_environment,
)
from stack.pieces import Piece, PieceFailed
from stack.postgres import Cluster
from stack.programs import PROGRAMS
from stack.redis import redis_piece
from stack.supervisor import Supervisor
from stack.terminal import told as _

STATE_FILE = "pieces.json"


def run(settings: Settings) -> int:
    """Run the whole stack until SIGINT or SIGTERM and return the exit status. Raises BadSettings and PieceFailed."""
    prepare_directories(settings)
    run_where_pieces_can_read(settings, "run")
    with only_one(settings):
        check_ports(settings)
        make_secrets(settings)
        return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    begun = time.monotonic()
    stopping = asyncio.Event()
    supervisor = Supervisor(say, settings.run_dir / STATE_FILE)

    def asked_to_stop() -> None:
        if stopping.is_set():
            say("portico", "asked twice: killing what still runs")
            supervisor.kill()
        else:
            say("portico", "stopping; once more kills at once")
            stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop)
    try:
        starting = asyncio.create_task(_start_all(settings, supervisor))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 0
        stopped.cancel()
        demo = starting.result()
        greet(settings, demo, time.monotonic() - begun)
        await supervisor.watch(until=stopping)
    finally:
        await supervisor.stop()
    return 0


async def _start_all(settings: Settings, supervisor: Supervisor) -> dict[str, str]:
    """Start everything in order and return what the demo's seeding says. Raises PieceFailed for the servers."""
    if has_private_database(settings):
        cluster = Cluster(settings)
        if not cluster.directory.exists():
            say("portico", f"making a PostgreSQL cluster in {cluster.directory}")
        await asyncio.to_thread(cluster.prepare)
        await supervisor.start(cluster.piece())
    if has_private_redis(settings):
        await supervisor.start(redis_piece(settings))
    say("portico", "bringing the schema up to date")
    await _command(settings, "migrate")
    settings = with_demo_mail(complete(settings))
    demo = {}
    if settings.demo and is_there("stack.demo"):
        say("portico", "looking after the demo operator")
        demo = json.loads(await _command(settings, "demo"))
    for name, program in PROGRAMS.items():
        if name == "lab" and not settings.demo:
            continue
        if not is_there(program.module):
            say(name, f"left out: this version has no {program.module}")
            continue
        if program.left_out is not None and (reason := program.left_out(settings)) is not None:
            say(name, f"not started: {reason}")
            continue
        try:
            if program.prepare is not None:
                program.prepare(settings)
            await supervisor.start(program.piece(settings))
        except PieceFailed as problem:
            say("portico", f"{problem}; the others go on, and it is tried again")
    return demo


def with_demo_mail(settings: Settings) -> Settings:
    """Return the settings with the demo's own mail server (`lab.mail`), where there is a demo and no other one."""
    if not settings.demo or settings.smtp_host is not None:
        return settings
    values = {"smtp_host": settings.lab_address, "smtp_port": settings.lab_mail_port, "smtp_security": "none"}
    return settings.model_copy(update=values)


async def _command(settings: Settings, name: str) -> str:
    """Run a `portico` command to its end and return what it printed.

    A process of its own, because what it imports (SQLAlchemy, Alembic) would stay in the supervisor's memory.
    """
    piece = Piece(
        name,
        (sys.executable, "-m", "stack", name),
        piece_environment(settings),
        piece_account(settings),
        PROJECT,
    )
    process = await asyncio.create_subprocess_exec(
        *piece.full_command(),
        env=dict(piece.environment),
        cwd=piece.directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    output, errors = await process.communicate()
    for line in errors.decode("utf-8", "replace").splitlines():
        say(name, line)
    if process.returncode != 0:
        raise PieceFailed(f"`portico {name}` ended with status {process.returncode}")
    return output.decode()


def is_there(module: str) -> bool:
    """Tell whether a module of ours can be imported, without importing it."""
    path = PROJECT.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@dataclass(frozen=True, slots=True)
class Listening:
    """A port that a piece listens on, and the setting that says which."""

    piece: str
    setting: str
    kind: socket.SocketKind
    address: str
    port: int

    @property
    def protocol(self) -> str:
        return "TCP" if self.kind is socket.SOCK_STREAM else "UDP"


def wanted_ports(settings: Settings) -> list[Listening]:
    """Return every port that the pieces will listen on."""
    datagram, stream = socket.SOCK_DGRAM, socket.SOCK_STREAM
    ports = [
        Listening("radiusd", "PORTICO_AUTH_PORT", datagram, settings.radius_address, settings.auth_port),
        Listening("radiusd", "PORTICO_ACCT_PORT", datagram, settings.radius_address, settings.acct_port),
        Listening("portal", "PORTICO_PORTAL_PORT", stream, settings.portal_address, settings.portal_port),
    ]
    if settings.demo:
        ports.append(Listening("lab", "PORTICO_LAB_COA_PORT", datagram, settings.lab_address, settings.lab_coa_port))
        ports.append(Listening("lab", "PORTICO_LAB_API_PORT", stream, settings.lab_address, settings.lab_api_port))
        gateways = settings.lab_gateway_port
        ports.append(Listening("lab", "PORTICO_LAB_GATEWAY_PORT", stream, settings.lab_address, gateways))
    return ports


def check_ports(settings: Settings) -> None:
    """Raise BadSettings with one line for each port that another program holds."""
    problems = [
        f"{wanted.setting}: {problem}" for wanted in wanted_ports(settings) if (problem := port_problem(wanted))
    ]
    if problems:
        raise BadSettings("\n".join(problems))


def port_problem(wanted: Listening) -> str | None:
    """Return a line on why nothing can listen there now, or None when it can."""
    family = socket.AF_INET6 if ":" in wanted.address else socket.AF_INET
    with socket.socket(family, wanted.kind) as probe:
        if wanted.kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted.address, wanted.port))
        except OSError as problem:
            where = f"{wanted.protocol} port {wanted.port} on {wanted.address}"
            if problem.errno == errno.EADDRINUSE:
                return f"{where} is taken by another program; set another"
            return f"cannot listen on {where}: {problem.strerror}"
    return None


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, whoever it belongs to."""
    return Path(f"/proc/{pid}").exists()


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of the data directory. Raises BadSettings when another supervisor has it."""
    descriptor = os.open(settings.run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip()
            raise BadSettings(
                f"PORTICO_DATA_DIR: {settings.data_dir} is in use by `portico run`, process {holder}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def say(name: str, line: str) -> None:
    """Print one line of a piece."""
    print(f"{name:<9} | {line}", flush=True)


def greet(settings: Settings, demo: dict[str, str], seconds: float) -> None:
    """Say where everything is and how to try it."""
    host = f"[{settings.portal_address}]" if ":" in settings.portal_address else settings.portal_address
    lines = [
        "",
        _("Portico is up after %(seconds)s s. Ctrl-C stops it.", seconds=f"{seconds:.0f}"),
        "",
        f"  Portal    http://{host}:{settings.portal_port}/",
        f"  RADIUS    {settings.radius_address}, UDP {settings.auth_port} (auth) and {settings.acct_port} (acct)",
        f"  Data      {settings.data_dir}",
    ]
    if settings.demo:
        lines.append(f"  Sign up   http://{host}:{settings.portal_port}/sign-up")
    if with_demo_mail(settings) is not settings:
        lines.append(f"  Mail      http://{settings.lab_address}:{settings.lab_mail_page_port}/")
    lines += [f"  {title:<9} {text}" for title, text in demo.items()]
    print("\n".join([*lines, ""]), flush=True)
