"""The private Redis of an installation: Celery's broker on a local socket.

It holds nothing that may not be lost (what must be done is a row in PostgreSQL), so it writes nothing to the disk.
"""

import socket

from core.settings import Settings
from stack.accounts import piece_account
from stack.installation import piece_environment
from stack.pieces import Piece

PROGRAM = "/usr/bin/redis-server"


def redis_piece(settings: Settings) -> Piece:
    """Return Redis as a piece. When its memory is full it refuses new tasks, which a sweep then finds."""
    path = settings.run_dir / "redis.sock"
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(settings.run_dir),
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "noeviction",
        "databases": "64",
        "daemonize": "no",
        "loglevel": "warning",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            try:
                connection.connect(str(path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    return Piece(
        "redis",
        (PROGRAM, *arguments),
        piece_environment(settings),
        piece_account(settings),
        settings.data_dir,
        ready=answers,
    )
