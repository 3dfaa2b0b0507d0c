"""What tests stand on: a real PostgreSQL, Redis and radiusd of their own, in a directory of their own.

The servers start once for the whole run and are thrown away after it. Each test module gets its own `installation`:
a data directory, free ports and a copy of the migrated database, so that modules do not see each other's rows.
"""

import importlib
import importlib.util
import os
import random
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy.orm import Session

from core.settings import Settings
from db.session import make_engine
from stack.accounts import own_directory, piece_account, prepare_directories
from stack.installation import (
    DATABASE,
    OWNER_ROLE,
    PORTAL_ROLE,
    SUPERUSER,
    SYSTEM_ROLE,
    complete,
    make_secrets,
    private_redis_url,
    private_url,
)
from stack.pieces import RunningPiece
from stack.postgres import Cluster
from stack.radiusd import radiusd_piece
from stack.redis import redis_piece
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures for all

# An example is slow when the machine is busy, which says nothing about the code.
hypothesis.settings.register_profile("portico", deadline=None, print_blob=True)
hypothesis.settings.load_profile("portico")

REDIS_DATABASES = 64
PLENTY = 10 * 2**30
"""Octets of memory from which on databases are kept there."""
WORKER = (("PYTEST_XDIST_WORKER", 0), ("PYTEST_XDIST_WORKER_COUNT", 1))
"""Which process of a parallel run this is, and of how many: each takes ports of its own."""


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a port of the loopback interface that nobody has at the moment.

    It lies below those that the kernel gives to outgoing sockets (32768 and up): a server that is killed and started
    again must not find its port taken by one of the many clients of a load test.
    """
    worker, workers = (int(os.environ.get(name, "").lstrip("gw") or default) for name, default in WORKER)
    for port in random.sample(range(20_000 + worker, 32_000, workers), 100):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("a hundred ports tried, none of them free")


def fresh_settings(directory: Path) -> Settings:
    """Return settings on free loopback ports that owe nothing to the environment of who runs the tests."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PORTICO_")}
    try:
        return Settings(
            data_dir=directory,
            radius_address="127.0.0.1",
            auth_port=free_port(),
            acct_port=free_port(),
            portal_port=free_port(socket.SOCK_STREAM),
            lab_coa_port=free_port(),
            lab_api_port=free_port(socket.SOCK_STREAM),
            lab_gateway_port=free_port(socket.SOCK_STREAM),
            lab_mail_port=free_port(socket.SOCK_STREAM),
            lab_mail_page_port=free_port(socket.SOCK_STREAM),
            demo=False,
            local_routers=True,  # emulated ones
            vpn="off",
        )
    finally:
        os.environ.update(kept)


@dataclass
class Servers:
    """The PostgreSQL and Redis of this run; `settings` name the migrated database that the others are copied from."""

    settings: Settings
    postgres: RunningPiece
    redis: RunningPiece
    copies: int = field(default=0)

    def administer(self, *statements: sql.Composable) -> None:
        """Execute statements as the superuser, each by itself."""
        with psycopg.connect(private_url(self.settings, SUPERUSER, "postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def copy_database(self) -> str:
        """Return the name of a fresh copy of the migrated database."""
        self.copies += 1
        name = f"copy_{self.copies}"
        self.administer(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(DATABASE)
            ),
            # File by file: through the log, as is the default, it takes four times as long.
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE)
            ),
        )
        return name


def new_directory(parent: str = "/tmp") -> Path:
    """Return a new directory that the pieces' user owns; pytest's own are closed to it.

    Its path is short because sockets in it may have 107 octets only.
    """
    directory = Path(tempfile.mkdtemp(prefix="portico-", dir=parent))
    own_directory(directory, piece_account(Settings.model_construct(user="portico")))
    return directory


def place_for_databases() -> str:
    """Return where the databases of this run go: into memory where there is plenty of it.

    Each module's copy has 1,600 files, which a disk may take seconds to make and as long to remove; all of them
    together have about 4 GiB.
    """
    memory = Path("/dev/shm")
    available = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    if not memory.is_dir() or available is None:
        return "/tmp"
    free = min(int(available[1]) * 1024, shutil.disk_usage(memory).free)
    return str(memory) if free > PLENTY else "/tmp"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL (fsync off) and Redis, started for this run, with the schema in place."""
    directory = new_directory(place_for_databases())
    settings = fresh_settings(directory)
    prepare_directories(settings)
    make_secrets(settings)
    cluster = Cluster(settings, durable=False)
    cluster.prepare()
    # Installations of many modules share it, each with the pools of its applications.
    (cluster.directory / "postgresql.local.conf").write_text("max_connections = 200\n")
    (cluster.directory / "postgresql.local.conf").chmod(0o644)
    cluster.prepare()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres = stack.enter_context(RunningPiece(cluster.piece(), settings.log_dir / "postgres.log"))
        cluster.ensure_roles()
        redis = stack.enter_context(RunningPiece(redis_piece(settings), settings.log_dir / "redis.log"))
        settings = complete(settings)
        if importlib.util.find_spec("db.migrate"):
            importlib.import_module("db.migrate").migrate(settings)
        yield Servers(settings, postgres, redis)


@pytest.fixture(scope="session")
def new_installation(servers: Servers) -> Iterator[Callable[[], Settings]]:
    """A function that makes one more installation: for tests that need several, or one that they may ruin."""
    with ExitStack() as stack:

        def make() -> Settings:
            name = servers.copy_database()  # goes with the cluster: dropping each by itself took longer than a test
            directory = new_directory()
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            settings = fresh_settings(directory)
            prepare_directories(settings)
            return settings.model_copy(
                update={
                    # The same for all: the copied database holds what was derived from it.
                    "secret_keys": servers.settings.secret_keys,
                    "database_url": SecretStr(private_url(servers.settings, SYSTEM_ROLE, name)),
                    "portal_database_url": SecretStr(private_url(servers.settings, PORTAL_ROLE, name)),
                    "owner_database_url": SecretStr(private_url(servers.settings, OWNER_ROLE, name)),
                    "redis_url": SecretStr(private_redis_url(servers.settings, servers.copies % REDIS_DATABASES)),
                }
            )

        yield make


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    """Complete settings of this module's own installation: data directory, free ports, keys, database, Redis."""
    return new_installation()


@pytest.fixture(scope="module")
def system_dsn(installation: Settings) -> str:
    """libpq URL as `portico_system`, which row-level security does not bind."""
    assert installation.database_url is not None
    return installation.database_url.get_secret_value()


@pytest.fixture(scope="module")
def portal_dsn(installation: Settings) -> str:
    """libpq URL as `portico_portal`, which row-level security binds."""
    assert installation.portal_database_url is not None
    return installation.portal_database_url.get_secret_value()


@pytest.fixture(scope="module")
def owner_dsn(installation: Settings) -> str:
    """libpq URL as `portico_owner`, which owns the schema."""
    assert installation.owner_database_url is not None
    return installation.owner_database_url.get_secret_value()


@pytest.fixture
def database(new_installation: Callable[[], Settings]) -> Settings:
    """An installation for one test alone, for what a transaction that is rolled back cannot hold (COPY, NOTIFY)."""
    return new_installation()


@pytest.fixture
def radiusd() -> Iterator[Callable[[Settings], RunningPiece]]:
    """A function that starts the real radiusd for an installation and waits until it listens.

    It is stopped after the test; the returned piece can be killed and started again before.
    """
    with ExitStack() as stack:

        def start(settings: Settings) -> RunningPiece:
            piece = RunningPiece(radiusd_piece(settings), settings.log_dir / "radiusd.log").start()
            stack.callback(piece.stop)
            return piece

        yield start


@pytest.fixture(scope="module")
def running_radiusd(installation: Settings) -> Iterator[RunningPiece]:
    """The real radiusd of this module's installation."""
    with RunningPiece(radiusd_piece(installation), installation.log_dir / "radiusd.log") as piece:
        yield piece


@pytest.fixture
def rows(installation: Settings) -> Iterator[Session]:
    """A database session that sees every operator's rows, in a transaction that is rolled back after the test."""
    assert installation.database_url is not None
    engine = make_engine(installation.database_url.get_secret_value())
    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        transaction.rollback()
    engine.dispose()
