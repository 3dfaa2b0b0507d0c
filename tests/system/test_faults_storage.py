"""The disk fails the pieces: the journal's is full, a record is torn, the image is deleted or damaged."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from bench.generator import Load, run_load, write_users
from bench.portico import Portico, portico
from bench.seed import system_url
from bench.site import make_users, open_site
from radius.image import CURRENT
from radius.journal import read_records, segments
from stack.pieces import PieceFailed
from tests.system.acknowledged import difference, promised, stored

pytestmark = [pytest.mark.system, pytest.mark.fault]

USERS = make_users(2000)
SERVICE_ROW = b"S\0\0\0\1n"


@pytest.fixture(scope="module")
def ours() -> Iterator[Portico]:
    with open_site() as site, ExitStack() as stack:
        write_users(site.directory / "users.csv", USERS)
        yield stack.enter_context(portico(site, USERS))


@pytest.fixture
def url(ours: Portico) -> str:
    return system_url(ours.site.settings)


def account(ours: Portico, prefix: str, packets: int, *options: str | float) -> tuple[Load, Path]:
    log = ours.site.directory / f"{prefix}acknowledged.csv"
    users = ours.site.directory / "users.csv"
    port = ours.site.settings.acct_port
    return run_load("acct", port, users, "-n", packets, "-x", prefix, "-A", str(log), *options), log


def log_in(ours: Portico, packets: int = 300) -> Load:
    return run_load("pap", ours.site.settings.auth_port, ours.site.directory / "users.csv", "-n", packets, "-d", 10)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def loader_report(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT report -> 'loader' FROM node").fetchone()
    return row[0] if row and row[0] else {}


@contextmanager
def small_disk(ours: Portico) -> Iterator[Path]:
    """Give radiusd a journal on a disk of half a MiB; the loader stands still meanwhile."""
    directory = ours.site.settings.journal_dir
    account_of = directory.stat()
    ours.loader.stop()
    ours.radiusd.stop()
    options = f"size=512k,mode=0700,uid={account_of.st_uid},gid={account_of.st_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        ours.radiusd.start()
        yield directory
    finally:
        ours.loader.stop()
        ours.radiusd.stop()
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        ours.radiusd.start()
        ours.loader.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_what_a_full_disk_did_not_take_is_not_acknowledged(ours: Portico, url: str) -> None:
    with small_disk(ours) as journal:
        first, first_log = account(ours, "full1-", 1200, "-w", 8, "-t", 0.05, "-r", 0, "-d", 30)
        assert 0 < first.acknowledged < 1200
        assert first.lost == 1200 - first.acknowledged
        assert sum(1 for segment in segments(journal) for _ in read_records(segment, 0, 10_000)) >= first.acknowledged

        # A login is answered all the same: only the list of requests will lack it.
        assert log_in(ours).accepted == 300

        # Room again, without a restart: what comes now is taken, and all that was promised is loaded.
        subprocess.run(["mount", "-o", "remount,size=64m", str(journal)], check=True)
        second, second_log = account(ours, "full2-", 1000, "-w", 8, "-d", 30)
        assert (second.acknowledged, second.lost) == (1000, 0)
        ours.loader.start()
        wait_for(lambda: not difference(stored(url, "full2-"), promised(second_log)), "the journal to be loaded")
        kept = stored(url, "full1-")
        assert {session for session in promised(first_log) if session not in kept} == set()
        for session, wanted in promised(first_log).items():
            # A packet that was written but not acknowledged in time may stand in the journal as well.
            assert kept[session].seconds >= wanted.seconds


def test_a_torn_record_is_set_aside_and_reported(ours: Portico, url: str) -> None:
    load, log = account(ours, "torn-", 500)
    assert load.lost == 0
    ours.loader.stop()
    ours.radiusd.kill()
    newest = segments(ours.site.settings.journal_dir)[-1]
    with newest.open("ab") as segment:
        segment.write(b"\x00\x02\x00\x00\xde\xad\xbe\xefonly the beginning of a record")
    ours.radiusd.start()
    ours.loader.start()
    later, later_log = account(ours, "whole-", 500)  # begins a segment, which closes the torn one
    assert later.lost == 0
    os.utime(newest, (time.time() - 60, time.time() - 60))  # as if that had been a minute ago
    wait_for(newest.with_suffix(".torn").exists, "the torn segment to be set aside")
    wait_for(lambda: loader_report(url).get("torn", 0) >= 1, "the report of the torn record")
    assert difference(stored(url, "torn-"), promised(log)) == {}
    wait_for(lambda: not difference(stored(url, "whole-"), promised(later_log)), "what came after it to be loaded")


def test_a_deleted_image_is_made_again_while_radiusd_goes_on(ours: Portico) -> None:
    directory = ours.site.settings.image_dir
    for path in directory.iterdir():
        path.unlink()
    assert log_in(ours).accepted == 300
    wait_for((directory / CURRENT).exists, "a new image")
    wait_for(lambda: not ours.publisher.running or (directory / CURRENT).resolve().exists(), "the image's file")
    pid = ours.radiusd.pid
    time.sleep(1)  # radiusd looks for a new image every half second
    assert log_in(ours).accepted == 300
    assert ours.radiusd.pid == pid


def test_without_an_image_radiusd_refuses_to_start_and_says_why(ours: Portico) -> None:
    directory = ours.site.settings.image_dir
    ours.publisher.stop()
    ours.radiusd.stop()
    for path in directory.iterdir():
        path.unlink()
    with pytest.raises(PieceFailed, match="no image"):
        ours.radiusd.start()
    ours.publisher.start()
    wait_for((directory / CURRENT).exists, "a new image")
    ours.radiusd.start()
    assert log_in(ours).accepted == 300


@pytest.mark.parametrize("damage", ["overwritten", "cut short", "emptied", "other file"])
def test_a_damaged_image_stops_the_start_until_it_is_made_again(ours: Portico, damage: str) -> None:
    image = (ours.site.settings.image_dir / CURRENT).resolve()
    ours.publisher.stop()
    ours.radiusd.stop()
    size = image.stat().st_size
    with image.open("r+b") as file:
        if damage == "overwritten":
            file.write(b"\xff" * 8192)
        elif damage == "cut short":
            file.truncate(size // 2)
        elif damage == "emptied":
            file.truncate(0)
        else:
            file.write(b"%PDF-1.4 something else entirely".ljust(size, b"."))
    with pytest.raises(PieceFailed, match="radiusd does not start"):
        ours.radiusd.start()
    ours.publisher.start()
    wait_for(lambda: (ours.site.settings.image_dir / CURRENT).resolve() != image, "a new image")
    ours.radiusd.start()
    assert log_in(ours).accepted == 300


def test_damage_under_way_is_never_answered_from(ours: Portico) -> None:
    """Rows are overwritten while radiusd maps them: silence, so that the NAS asks again, until there is a new image."""
    directory = ours.site.settings.image_dir
    image = (directory / CURRENT).resolve()
    pid = ours.radiusd.pid
    content = image.read_bytes()
    # A row of a service, as LMDB lays it out: length of the key, key, value.
    key = len(SERVICE_ROW + USERS[0][0].encode()).to_bytes(2, "little") + SERVICE_ROW + b"user0"
    with image.open("r+b") as file:
        found = content.find(key)
        assert found > 0
        while found > 0:
            file.seek(found + 2 + len(SERVICE_ROW) + len(USERS[0][0]))
            file.write(b"\x5a" * 24)
            found = content.find(key, found + 1)
    users = ours.site.directory / "users.csv"
    load = run_load("pap", ours.site.settings.auth_port, users, "-n", 300, "-d", 10, "-t", 0.3, "-r", 0)
    assert load.wrong == 0
    wait_for(lambda: (directory / CURRENT).resolve() != image, "a new image")
    time.sleep(1)
    assert log_in(ours).accepted == 300
    assert ours.radiusd.pid == pid
