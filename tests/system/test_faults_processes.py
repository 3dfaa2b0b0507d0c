"""Each piece is killed in the middle of accounting load: what was acknowledged is in PostgreSQL exactly once."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import psycopg
import pytest

from bench.generator import Load, load_command, read_load, run_load, write_users
from bench.portico import Portico, portico
from bench.seed import system_url
from bench.site import make_users, open_site
from stack.pieces import PieceFailed, RunningPiece
from tests.system.acknowledged import difference, promised, session_octets, stored, usage

pytestmark = [pytest.mark.system, pytest.mark.fault]

USERS = make_users(300)
_numbers = count(1)


@pytest.fixture(scope="module")
def ours() -> Iterator[Portico]:
    with open_site() as site, ExitStack() as stack:
        write_users(site.directory / "users.csv", USERS)
        yield stack.enter_context(portico(site, USERS))


@pytest.fixture
def users(ours: Portico) -> Path:
    return ours.site.directory / "users.csv"


@pytest.fixture
def url(ours: Portico) -> str:
    return system_url(ours.site.settings)


def kill_and_restart(piece: RunningPiece, dead_for: float = 0.3) -> None:
    piece.kill()
    time.sleep(dead_for)
    for attempt in range(20):  # PostgreSQL's children need a moment to notice that their parent is gone
        try:
            piece.start()
        except PieceFailed:
            if attempt == 19:
                raise
            time.sleep(0.25)
        else:
            return


def load_with_faults(
    ours: Portico, users: Path, faults: Callable[[], None], rate: int = 1500
) -> tuple[Load, Path, str]:
    """Send accounting for four seconds while `faults` happen; return the result, the log and the sessions' prefix."""
    prefix = f"f{next(_numbers)}-"
    log = ours.site.directory / f"{prefix}acknowledged.csv"
    options = ("-d", 4, "-R", rate, "-t", 0.5, "-r", 20, "-x", prefix, "-A", str(log))
    command = load_command("acct", ours.site.settings.acct_port, users, *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(1)
        faults()
        output, _ = process.communicate(timeout=60)
    return read_load(output), log, prefix


def settle(ours: Portico, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while ours.backlog():
        assert time.monotonic() < deadline, f"{ours.backlog()} octets of the journal were not loaded"
        assert ours.loader.running, ours.loader.last_lines()
        time.sleep(0.05)


def assert_everything_acknowledged_is_stored_once(ours: Portico, url: str, load: Load, log: Path, prefix: str) -> None:
    settle(ours)
    assert load.acknowledged > 3000
    assert load.lost == 0
    kept = stored(url, prefix)
    assert difference(kept, promised(log)) == {}
    assert usage(url) == session_octets(url)


@pytest.mark.parametrize("name", ["radiusd", "loader", "publisher"])
def test_a_killed_piece_loses_and_doubles_nothing(ours: Portico, users: Path, url: str, name: str) -> None:
    piece = getattr(ours, name)

    def faults() -> None:
        for _ in range(3):
            kill_and_restart(piece)
            time.sleep(0.3)

    assert_everything_acknowledged_is_stored_once(ours, url, *load_with_faults(ours, users, faults))


def test_a_killed_postgresql_loses_and_doubles_nothing(ours: Portico, users: Path, url: str) -> None:
    def faults() -> None:
        for _ in range(2):
            kill_and_restart(ours.site.postgres)
            time.sleep(0.5)

    assert_everything_acknowledged_is_stored_once(ours, url, *load_with_faults(ours, users, faults))


def test_everything_killed_at_once_loses_and_doubles_nothing(ours: Portico, users: Path, url: str) -> None:
    def faults() -> None:
        pieces = (ours.radiusd, ours.loader, ours.publisher, ours.site.postgres)
        for piece in pieces:
            piece.kill()
        for piece in reversed(pieces):
            kill_and_restart(piece, dead_for=0)

    assert_everything_acknowledged_is_stored_once(ours, url, *load_with_faults(ours, users, faults))


def test_without_postgresql_everyone_connects_and_accounting_is_kept(ours: Portico, users: Path, url: str) -> None:
    settings = ours.site.settings
    logins: list[Load] = []

    def log_in() -> None:
        logins.append(run_load("mix", settings.auth_port, users, "-d", 4, "-R", 300))

    def faults() -> None:
        ours.site.postgres.kill()
        ours.radiusd.kill()  # a radiusd that starts meanwhile has only the image to go by
        ours.radiusd.start()
        logging_in = threading.Thread(target=log_in)
        logging_in.start()
        logging_in.join()
        kill_and_restart(ours.site.postgres)

    with psycopg.connect(url) as connection:
        before = _events(connection)
    load, log, prefix = load_with_faults(ours, users, faults, rate=1000)
    assert (logins[0].rejected, logins[0].lost) == (0, 0)
    assert logins[0].accepted > 1000
    assert_everything_acknowledged_is_stored_once(ours, url, load, log, prefix)
    with psycopg.connect(url) as connection:
        assert _events(connection) - before == logins[0].accepted


def _events(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM auth_event WHERE outcome = 'accept'").fetchone()
    assert row is not None
    return int(row[0])
