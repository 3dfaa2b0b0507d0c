"""Where measurements take place: a directory with a private PostgreSQL, made as `portico run` makes it, and durable.

The baselines with a database use the same cluster, so they have the same settings of PostgreSQL and the same disk.
"""

import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from core.settings import Settings
from stack.accounts import own_directory, piece_account, prepare_directories
from stack.installation import SUPERUSER, complete, make_secrets, private_url
from stack.pieces import RunningPiece
from stack.postgres import Cluster

FIRST_PORT, LAST_PORT = 41200, 41299
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass
class Site:
    """One directory, its settings, and the PostgreSQL that runs in it."""

    settings: Settings
    postgres: RunningPiece

    @property
    def directory(self) -> Path:
        return self.settings.data_dir

    def room(self, name: str) -> Path:
        """Return a new directory that the pieces' user can write to."""
        directory = self.directory / name
        own_directory(directory, piece_account(self.settings))
        return directory

    def database_url(self, database: str) -> str:
        """Return the superuser's libpq URL for a database of the cluster."""
        return private_url(self.settings, SUPERUSER, database)

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.database_url(name)


@contextmanager
def open_site() -> Iterator[Site]:
    """Make the directory and start PostgreSQL; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    settings = Settings(
        data_dir=directory,
        radius_address="127.0.0.1",
        auth_port=free_port(),
        acct_port=free_port(),
        portal_port=free_port(socket.SOCK_STREAM),
        lab_coa_port=free_port(),
        demo=False,
        log_level="WARNING",
    )
    try:
        directory.chmod(0o711)
        prepare_directories(settings)
        make_secrets(settings)
        cluster = Cluster(settings)
        cluster.prepare()
        with RunningPiece(cluster.piece(), settings.log_dir / "postgres.log") as postgres:
            cluster.ensure_roles()
            yield Site(complete(settings), postgres)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_taken: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a port of the range kept for measurements that nobody has, each one once."""
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port in _taken:
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
    raise OSError(f"no free port from {FIRST_PORT} to {LAST_PORT}")


def make_users(count: int) -> list[tuple[str, str]]:
    """Return names and passwords, the same ones each time."""
    chance = random.Random(7)
    return [(f"user{number:07d}", "".join(chance.choices(_ALPHABET, k=10))) for number in range(count)]
