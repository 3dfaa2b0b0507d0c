"""The pieces that are ours: which program each one is.

`portico run` starts them under its supervisor; `portico worker`, `portico portal` and so on become them, for systemd
and containers. Both use these descriptions.
"""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from core.settings import BadSettings, Settings
from core.status import udp_port_is_bound
from stack.accounts import become, piece_account, prepare_directories
from stack.installation import PROJECT, piece_environment, programs_directory
from stack.pieces import Piece
from stack.radiusd import radiusd_piece
from stack.vpn import left_out, prepare_vpn, vpn_piece

WORKER_THREADS = 8
"""What a worker does is waiting for routers and PostgreSQL, so threads serve it, and cost the least memory."""


@dataclass(frozen=True, slots=True)
class Program:
    """A piece of ours: the module without which it cannot run, and its description for some settings.

    `prepare` is what root does for it before it gives up its rights. `left_out` says in one line why it is not
    started here, and raises BadSettings where the settings insist on it.
    """

    module: str
    piece: Callable[[Settings], Piece]
    prepare: Callable[[Settings], None] | None = None
    left_out: Callable[[Settings], str | None] | None = None


def loader_piece(settings: Settings) -> Piece:
    return _portico(settings, "loader")


def publisher_piece(settings: Settings) -> Piece:
    """The publisher is ready once there is an image at all: radiusd does not start without one."""
    return _portico(settings, "publisher", ready=(settings.image_dir / "current").exists)


def monitor_piece(settings: Settings) -> Piece:
    return _portico(settings, "monitor")


def backups_piece(settings: Settings) -> Piece:
    return _portico(settings, "backups")


def no_backups(settings: Settings) -> str | None:
    """Say why no backups are made. Raises BadSettings where a directory is set and nobody to encrypt them for."""
    if settings.backup_dir is None:
        return "PORTICO_BACKUP_DIR is not set"
    if settings.backup_recipient is None:
        raise BadSettings("PORTICO_BACKUP_RECIPIENT is not set; `portico backup key` makes a key and prints the value")
    return None


def lab_piece(settings: Settings) -> Piece:
    return _portico(settings, "lab", ready=lambda: udp_port_is_bound(settings.lab_coa_port))


def worker_piece(settings: Settings) -> Piece:
    """Celery, with its beat and the enforcer on threads: one process, which leaves none behind when it is killed."""
    return _piece(
        settings,
        "worker",
        str(programs_directory() / "celery"),
        "--quiet",  # no banner
        "--app=worker.app",
        "worker",
        "--pool=threads",
        f"--concurrency={WORKER_THREADS}",
        "--without-gossip",
        "--without-mingle",
        f"--loglevel={settings.log_level}",
        stop_seconds=30.0,
    )


def portal_piece(settings: Settings) -> Piece:
    """gunicorn with threads: one process holds the application once, and a page waits for PostgreSQL mostly."""
    host = f"[{settings.portal_address}]" if ":" in settings.portal_address else settings.portal_address

    def listens() -> bool:
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.portal_address, settings.portal_address)  # noqa: S104
        try:
            socket.create_connection((address, settings.portal_port), timeout=1).close()
        except OSError:
            return False
        return True

    return _piece(
        settings,
        "portal",
        str(programs_directory() / "gunicorn"),
        "--worker-class=gthread",
        "--workers=1",
        f"--threads={settings.portal_threads}",
        f"--bind={host}:{settings.portal_port}",
        f"--worker-tmp-dir={settings.run_dir}",
        "--no-control-socket",
        "--graceful-timeout=5",
        "--error-logfile=-",
        f"--log-level={settings.log_level.lower()}",
        "portal.wsgi:app",
        ready=listens,
    )


PROGRAMS: dict[str, Program] = {
    # The publisher comes first: radiusd answers from the image that it makes.
    "publisher": Program("radius.publisher", publisher_piece),
    "radiusd": Program("radius.hooks", radiusd_piece),
    "loader": Program("radius.loader", loader_piece),
    "worker": Program("worker.app", worker_piece),
    "monitor": Program("network.monitoring.service", monitor_piece),
    "portal": Program("portal.wsgi", portal_piece),
    "vpn": Program("network.vpn_server", vpn_piece, prepare_vpn, left_out),
    "backups": Program("stack.backup", backups_piece, left_out=no_backups),
    "lab": Program("lab.__main__", lab_piece),
}
"""Our pieces in the order in which they start; they stop in the reverse order."""


def become_piece(piece: Piece, settings: Settings) -> None:
    """Turn this process into a piece, as its user. Does not return."""
    prepare_directories(settings)
    become(piece_account(settings))
    os.chdir(piece.directory)
    os.execve(piece.command[0], piece.command, dict(piece.environment))  # noqa: S606 - no shell is wanted


def _portico(settings: Settings, command: str, *, ready: Callable[[], bool] | None = None) -> Piece:
    return _piece(settings, command, sys.executable, "-m", "stack", command, ready=ready)


def _piece(
    settings: Settings,
    name: str,
    *command: str,
    stop_seconds: float = 10.0,
    ready: Callable[[], bool] | None = None,
) -> Piece:
    return Piece(
        name,
        command,
        piece_environment(settings),
        piece_account(settings),
        PROJECT,
        stop_seconds=stop_seconds,
        ready=ready,
    )
