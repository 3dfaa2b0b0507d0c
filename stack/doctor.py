"""`portico doctor`: is this installation well, and what to do where it is not.

Each check is a function from what was seen to a `Finding`, so that it can be tried on machines that we do not have;
`examine` looks at this one. A check that cannot look says so instead of guessing.
"""

import json
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.settings import BadSettings, Settings
from stack.accounts import piece_account
from stack.backup import BackupFailed, backups
from stack.doctor_security import examine_security
from stack.finding import Finding, Level
from stack.installation import complete, has_private_database, has_private_redis, secrets_file
from stack.offsite import copies
from stack.pieces import PieceFailed
from stack.postgres import LEAST_VERSION, program
from stack.programs import no_backups
from stack.radiusd import PROGRAM as RADIUSD
from stack.redis import PROGRAM as REDIS
from stack.run import STATE_FILE, is_running, port_problem, wanted_ports
from stack.vpn import OFF, left_out

__all__ = ["Finding", "Level", "examine"]

GIB = 1 << 30
VPN_STATUS = {
    "no_rights": "lacks CAP_NET_ADMIN",
    "no_tun": "may not open /dev/net/tun",
    "no_program": "lacks a program",
    "port_taken": "finds its port taken",
    "interface_taken": "finds its interface taken",
    "failed": "could not be started",
}
Version = tuple[int, ...]


# --- Versions ---------------------------------------------------------------------------------------------------------


def check_freeradius(version: Version | None) -> Finding:
    subject = "FreeRADIUS"
    if version is None:
        return Finding(Level.FAIL, subject, "is not installed", "run stack/setup.sh")
    shown = dotted(version)
    if version < (3, 2) or version >= (4,):
        return Finding(Level.FAIL, subject, f"{shown}; Portico needs 3.2", "install Debian 12's freeradius")
    if version in ((3, 2, 9), (3, 2, 10)):
        return Finding(
            Level.FAIL,
            subject,
            f"{shown} sends empty reply attributes: it reads what Python returns only in debug mode",
            "go back to Debian 12's 3.2.1, or to a release after 3.2.10",
        )
    return Finding(Level.OK, subject, shown)


def check_message_authenticator(version: Version | None, lenient: int | None) -> Finding:
    """BlastRADIUS (CVE-2024-3596): who stands between NAS and radiusd may turn a reject into an accept.

    Replies are always signed. Requests are checked where the row of the NAS demands it; `lenient` counts those that
    do not. FreeRADIUS before 3.2.5 has no `limit_proxy_state`, which would protect these too.
    """
    subject = "Message-Authenticator"
    older = version is not None and version < (3, 2, 5)
    if lenient is None:
        return Finding(Level.WARN, subject, "the NAS could not be counted: no database", "start Portico and ask again")
    if lenient == 0:
        return Finding(Level.OK, subject, "every NAS must send it, every reply carries it")
    return Finding(
        Level.WARN,
        subject,
        f"{lenient} NAS may send requests without it"
        + (f", and FreeRADIUS {dotted(version)} knows no limit_proxy_state" if older and version else ""),
        "demand it in the NAS's form where RouterOS is 7.15 or newer (/radius require-message-auth), or use a VPN",
    )


def check_embedded_python(libraries: str | None) -> Finding:
    """`libraries` is what ldd says about rlm_python3."""
    subject = "Python in FreeRADIUS"
    if libraries is None:
        return Finding(Level.FAIL, subject, "rlm_python3 is not installed", "run stack/setup.sh")
    found = re.search(r"libpython(3\.\d+)", libraries)
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found is None or found[1] != ours:
        return Finding(
            Level.FAIL,
            subject,
            f"is {found[1] if found else 'unknown'}, the virtual environment's {ours}",
            "remove the virtual environment and run stack/setup.sh",
        )
    return Finding(Level.OK, subject, ours)


def check_postgres(version: Version | None) -> Finding:
    if version is None:
        return Finding(Level.FAIL, "PostgreSQL", "does not answer", "see what `portico run` says about postgres")
    if version[0] < LEAST_VERSION:
        return Finding(
            Level.FAIL, "PostgreSQL", f"{dotted(version)}; Portico needs {LEAST_VERSION}", "upgrade the server"
        )
    return Finding(Level.OK, "PostgreSQL", dotted(version))


def check_redis(version: Version | None) -> Finding:
    if version is None:
        return Finding(Level.FAIL, "Redis", "is not installed", "run stack/setup.sh, or set PORTICO_REDIS_URL")
    if version < (6,):
        return Finding(Level.WARN, "Redis", f"{dotted(version)} is older than any we tried", "use 6 or newer")
    return Finding(Level.OK, "Redis", dotted(version))


def check_backups(problem: str | None, newest: datetime | None, now: datetime) -> Finding:
    """`problem` is why none are made, `newest` when the last one was."""
    subject = "Backups"
    if problem is not None:
        return Finding(Level.WARN, subject, f"none are made: {problem}", "see docs/backup.md")
    if newest is None:
        return Finding(Level.FAIL, subject, "there is none yet", "`portico backup` makes one and says what is wrong")
    age = now - newest
    if age > timedelta(hours=26):
        text = f"the newest is {age.days} days and {age.seconds // 3600} hours old"
        return Finding(Level.FAIL, subject, text, "`portico backup` makes one and says what is wrong")
    return Finding(Level.OK, subject, f"the newest is of {newest:%Y-%m-%d %H:%M} UTC; try a restore now and then")


def check_copies(problem: str | None, newest: datetime | None, now: datetime) -> Finding:
    """`problem` is why the storage could not be asked, `newest` of when its newest backup is."""
    subject = "Backups elsewhere"
    if problem is not None:
        return Finding(Level.FAIL, subject, problem, "see docs/backup.md")
    if newest is None or now - newest > timedelta(hours=26):
        text = "there is none yet" if newest is None else f"the newest is of {newest:%Y-%m-%d %H:%M} UTC"
        return Finding(Level.FAIL, subject, text, "the log of the piece backups says why none was copied")
    return Finding(Level.OK, subject, f"the newest is of {newest:%Y-%m-%d %H:%M} UTC")


def check_vpn(problem: str | None, halves: Mapping[str, str] | None) -> Finding:
    """`problem` is why it is not started here; `halves` what each half last said, None when nothing was heard of it."""
    subject = "VPN"
    if problem == OFF:
        return Finding(Level.OK, subject, f"{OFF}: routers cannot dial in")
    if problem is not None:
        return Finding(Level.WARN, subject, problem, "or set PORTICO_VPN=off")
    if halves is None:
        return Finding(Level.WARN, subject, "does not run, so routers cannot dial in", "see what `portico vpn` says")
    down = [f"{name} {VPN_STATUS.get(status, status)}" for name, status in halves.items() if status != "on"]
    if down:
        return Finding(Level.WARN, subject, "; ".join(down), "see docs/vpn.md, and what `portico vpn` says")
    return Finding(Level.OK, subject, "WireGuard and OpenVPN wait for routers")


# --- The machine ------------------------------------------------------------------------------------------------------


def check_port(name: str, problem: str | None, *, ours: bool) -> Finding:
    """`problem` is why nothing can listen there now; that is as it should be while our own piece does."""
    if problem is None:
        if ours:
            return Finding(Level.FAIL, name, "nothing listens there, although Portico runs", "see what the piece says")
        return Finding(Level.OK, name, "free")
    if ours:
        return Finding(Level.OK, name, "held by Portico")
    return Finding(Level.FAIL, name, problem, "stop that program, or set another port")


def check_permissions(path: Path, mode: int | None, owner: int, wanted_owner: int) -> Finding:
    """`mode` is None when there is no such file."""
    subject = path.name
    if mode is None:
        return Finding(Level.WARN, subject, f"{path} is not there yet", "`portico run` makes it")
    if mode & 0o077:
        return Finding(Level.FAIL, subject, f"{path} is open to others ({mode:o})", f"chmod go= {path}")
    if owner != wanted_owner:
        return Finding(Level.FAIL, subject, f"{path} belongs to user {owner}, not {wanted_owner}", f"chown it: {path}")
    return Finding(Level.OK, subject, f"{path} is closed to others")


def check_clock(now: datetime, synchronized: bool | None) -> Finding:
    """A wrong clock shifts every session, bill and time window. `synchronized` is None when nothing can tell."""
    subject = "Clock"
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < 2026:
        return Finding(Level.FAIL, subject, f"says {shown}, which is past", "set it and switch NTP on")
    if synchronized is False:
        return Finding(Level.WARN, subject, f"{shown}, not synchronised", "timedatectl set-ntp true")
    if synchronized is None:
        return Finding(Level.OK, subject, f"{shown} (whether NTP keeps it, this machine does not tell)")
    return Finding(Level.OK, subject, f"{shown}, kept by NTP")


def check_disk(free: int, total: int) -> Finding:
    """Without room for the journal radiusd acknowledges no accounting, and the NAS drop what they cannot deliver."""
    text = f"{free / GIB:.1f} GiB free of {total / GIB:.0f} where the journal is"
    advice = "make room: a full disk stops accounting"
    if free < GIB:
        return Finding(Level.FAIL, "Disk", text, advice)
    if free < 5 * GIB:
        return Finding(Level.WARN, "Disk", text, advice)
    return Finding(Level.OK, "Disk", text)


# --- The pieces -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PieceState:
    """A piece as the supervisor last wrote it down, and whether its process is there."""

    name: str
    alive: bool
    restarts: int
    seconds: float


def check_piece(state: PieceState) -> Finding:
    subject = f"Piece {state.name}"
    if not state.alive:
        return Finding(Level.FAIL, subject, "does not run", f"see what `portico run` says about {state.name}")
    text = f"up {duration(state.seconds)}"
    if state.restarts:
        text += f", started again {state.restarts} times"
        if state.seconds < 600:
            return Finding(Level.WARN, subject, text, f"see what `portico run` says about {state.name}")
    return Finding(Level.OK, subject, text)


def check_image(problem: str | None, seconds: float | None) -> Finding:
    """`problem` is why the image cannot be answered from; `seconds` how long ago it was last written."""
    if problem is not None:
        return Finding(Level.FAIL, "Image", problem, "`portico image rebuild` makes a new one")
    return Finding(Level.OK, "Image", "whole" + (f", written {duration(seconds)} ago" if seconds is not None else ""))


def check_journal(octets: int, oldest_seconds: float | None) -> Finding:
    """A journal that only grows means that the loader does not load. Traffic of a minute is nothing unusual."""
    if oldest_seconds is None:
        return Finding(Level.OK, "Journal", "empty")
    text = f"{octets / (1 << 20):.1f} MiB, the oldest segment from {duration(oldest_seconds)} ago"
    if octets > 256 << 20:
        return Finding(Level.WARN, "Journal", text, "see what the loader says; nothing is lost while the disk has room")
    return Finding(Level.OK, "Journal", text)


# --- Looking at this machine ------------------------------------------------------------------------------------------


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at this machine and installation; yields as it goes, since some looks take a second."""
    freeradius = _version([RADIUSD, "-v"], r"Version (\d+(?:\.\d+)+)")
    yield check_freeradius(freeradius)
    yield check_embedded_python(_output(["ldd", "/usr/lib/freeradius/rlm_python3.so"]))
    try:
        server, lenient = _ask_database(complete(settings))
    except BadSettings:
        server, lenient = None, None
    if server is None and has_private_database(settings):
        # Whether it runs is another question, which the pieces answer.
        with suppress(PieceFailed):
            server = _version([str(program("postgres")), "--version"], r"(\d+(?:\.\d+)+)")
    yield check_postgres(server)
    if has_private_redis(settings) or Path(REDIS).exists():
        yield check_redis(_version([REDIS, "--version"], r"v=(\d+(?:\.\d+)+)"))
    yield check_message_authenticator(freeradius, lenient)
    yield from examine_security(settings)

    states = read_states(settings.run_dir / STATE_FILE, is_running, time.time())
    running = {state.name for state in states if state.alive}
    for wanted in wanted_ports(settings):
        name = f"{wanted.protocol} port {wanted.port}"
        yield check_port(name, port_problem(wanted), ours=wanted.piece in running)

    try:
        problem = left_out(settings)
    except BadSettings as refused:
        problem = str(refused)
    yield check_vpn(problem, _ask_vpn(settings))

    try:
        problem = no_backups(settings)
    except BadSettings as refused:
        problem = str(refused)
    yield check_backups(problem, next((made.made_at for made in backups(settings)), None), datetime.now(UTC))
    if settings.backup_s3_bucket is not None:
        newest, problem = None, None
        try:
            newest = next((copy.made_at for copy in copies(settings)), None)
        except (BackupFailed, BadSettings) as refused:
            problem = str(refused)
        yield check_copies(problem, newest, datetime.now(UTC))

    account = piece_account(settings)
    for path in (settings.data_dir, secrets_file(settings)):
        mode, owner = _mode_and_owner(path)
        yield check_permissions(path, mode, owner, account.uid)
    yield check_clock(datetime.now(UTC), _clock_is_synchronized())
    there = next(path for path in (settings.journal_dir, *settings.journal_dir.parents) if path.exists())
    usage = shutil.disk_usage(there)
    yield check_disk(usage.free, usage.total)

    if not states:
        yield Finding(Level.WARN, "Pieces", "no `portico run` here; under systemd ask systemctl", "`portico run`")
    for state in states:
        yield check_piece(state)
    yield check_image(*_look_at_image(settings))
    yield check_journal(*_look_at_journal(settings.journal_dir))


def read_states(path: Path, is_alive: Callable[[int], bool], now: float) -> list[PieceState]:
    """Return what the supervisor wrote down; nothing when no supervisor runs here."""
    try:
        pieces: Mapping[str, Mapping[str, float | None]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        PieceState(
            name,
            state["pid"] is not None and is_alive(int(state["pid"])),
            int(state["restarts"] or 0),
            now - (state["since"] or now),
        )
        for name, state in pieces.items()
    ]


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _version(command: list[str], pattern: str) -> Version | None:
    found = re.search(pattern, _output(command) or "")
    return tuple(int(part) for part in found[1].split(".")) if found else None


def _ask_database(settings: Settings) -> tuple[Version | None, int | None]:
    """Return the server's version and how many NAS need not send Message-Authenticator; None for what it cannot say."""
    import psycopg

    assert settings.database_url is not None
    try:
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=3) as connection:
            number = connection.info.server_version
            version = (number // 10000, number % 10000)
            try:
                row = connection.execute("SELECT count(*) FROM nas WHERE NOT require_message_authenticator").fetchone()
            except psycopg.Error:
                return version, None
            return version, int(row[0]) if row else None
    except psycopg.OperationalError:
        return None, None


def _ask_vpn(settings: Settings) -> Mapping[str, str] | None:
    """Return what the halves of the VPN server last said; None when it was not heard of for a minute."""
    import psycopg

    try:
        url = complete(settings).database_url
        assert url is not None
        with psycopg.connect(url.get_secret_value(), connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT wireguard_status, openvpn_status FROM vpn_server WHERE seen_at > now() - interval '1 minute'"
            ).fetchone()
    except (psycopg.Error, BadSettings):
        return None
    return {"WireGuard": row[0], "OpenVPN": row[1]} if row else None


def _clock_is_synchronized() -> bool | None:
    return {"yes": True, "no": False}.get(
        (_output(["timedatectl", "show", "--property=NTPSynchronized", "--value"]) or "").strip()
    )


def _mode_and_owner(path: Path) -> tuple[int | None, int]:
    try:
        found = path.stat()
    except OSError:
        return None, 0
    return stat.S_IMODE(found.st_mode), found.st_uid


def _look_at_image(settings: Settings) -> tuple[str | None, float | None]:
    from radius.image import CURRENT, Image, ImageDamaged, ImageMissing

    try:
        Image(settings.image_dir, complete(settings).keyring).close()
        return None, time.time() - (settings.image_dir / CURRENT).stat().st_mtime
    except (BadSettings, ImageMissing, ImageDamaged, OSError) as problem:
        return str(problem), None


def _look_at_journal(directory: Path) -> tuple[int, float | None]:
    from radius.journal import segments

    octets, oldest = 0, None
    for segment in segments(directory) if directory.exists() else []:
        try:
            found = segment.stat()
        except FileNotFoundError:
            continue  # loaded and removed while we looked
        octets += found.st_size
        oldest = max(oldest or 0.0, time.time() - found.st_mtime)
    return octets, oldest
