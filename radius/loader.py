"""The loader: moves the journal into PostgreSQL.

It reads the segments in order, many records at a time, and stores each batch in one transaction together with the
position behind it (`radius.batch`). A segment is deleted once a newer one exists and all of it has been in the
database for a while. While PostgreSQL is away the journal grows and nothing is lost; the loader tries again for ever.

What cannot be loaded is set aside beside the journal, said in the log and in the node's report, and never blocks what
comes after it: a torn end of a segment (`.torn`, nobody acknowledged it), a segment that another version of Python
wrote or that is no journal (`.unreadable`), a single record that the database refuses (`.rejected`, found by halving
the batch).
"""

import gc
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from core.settings import BadSettings, Settings
from core.status import beat
from radius.batch import Batch, PositionMoved, Store
from radius.journal import (
    ACCOUNTING,
    AUTHENTICATION,
    Authentication,
    SegmentUnreadable,
    first_position,
    read_records,
    segments,
)
from radius.packet import PacketUnusable, read_packet

log = structlog.get_logger()

MOST = 10_000  # records in a batch
PACE = 0.2  # seconds between the beginnings of two batches that are not full
POLL = 0.05  # seconds between looks at an idle journal
REPORT_INTERVAL = 1.0
REFRESH_INTERVAL = 10.0
KEEP = 15.0  # seconds for which a segment that is loaded is kept: the database may lose its last moments in a crash
LONGEST_PAUSE = 5.0
_NODE_LOCK = 7472
_POSITIONS_KEPT = 7 * 86_400 * 10**9  # nanoseconds

Connection = psycopg.Connection[Any]

# What one record can be to blame for. Everything else is the database's or the network's trouble, and passes.
_RECORD_AT_FAULT = (
    psycopg.DataError,
    psycopg.IntegrityError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class Loader:
    """Loads one node's journal over one connection."""

    def __init__(self, directory: Path, connection: Connection, *, keep: float = KEEP, node: str | None = None) -> None:
        self._directory = directory
        self._node = node or socket.gethostname()
        self._connection = connection
        self._keep = keep
        self._journal = journal_identity(directory)
        self._store = Store(connection, self._journal)
        self._limit = MOST
        self._failed: dict[str, int] = {"torn": 0, "unreadable": 0, "rejected": 0}
        self._reported = 0.0
        self._refreshed = 0.0
        self._unusable = 0
        self._warned: set[str] = set()
        self._loaded: dict[str, float] = {}  # closed segments, since when they are in the database
        self._positions: dict[str, int] = {}
        self._reader = ThreadPoolExecutor(1, "reader")
        self._ahead: Future[Batch] | None = None

    def close(self) -> None:
        self._forget_ahead()
        self._reader.shutdown()

    def begin(self) -> bool:
        """Take the journal over; False while another loader holds it."""
        locked = self._connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_NODE_LOCK, self._journal)
        ).fetchone()
        if locked is None or not locked[0]:
            return False
        rows = self._connection.execute(
            "SELECT segment, position FROM journal_position WHERE node = %s", (self._journal,)
        ).fetchall()
        self._positions = dict(rows)
        self._count_set_aside()
        return True

    def step(self) -> int:
        """Load one batch and return how many records it had."""
        tried = self._limit
        try:
            batch = self._next_batch(tried)
            tried = min(tried, batch.records)
            if batch.moved:
                self._store.put(batch)
        except _RECORD_AT_FAULT as problem:
            self._forget_ahead()
            if tried > 1:
                log.warning("batch_failed", records=tried, error=_first_line(problem))
                self._limit = tried // 2
                return 1
            return self._reject(problem)
        self._limit = min(MOST, self._limit * 2)
        for segment, (_, behind) in batch.moved.items():
            self._positions[segment] = behind
        self._unusable += batch.unusable
        return batch.records

    @property
    def recovering(self) -> bool:
        """Whether a record at fault is being looked for."""
        return self._limit < MOST

    def tidy(self) -> None:
        """Delete what is loaded and set aside what cannot be; report to the database. Cheap to call often."""
        now = time.monotonic()
        if now - self._reported < REPORT_INTERVAL:
            return
        self._reported = now
        backlog = 0
        present = segments(self._directory)
        for segment in present:
            rest = segment.stat().st_size - self._positions.get(segment.name, 0)
            if segment is present[-1] or not self._untouched(segment) or not self._finish(segment, rest):
                backlog += max(0, rest)
        self._connection.execute(_REPORT, (self._node, backlog, Jsonb({"loader": self._failed})))
        if now - self._refreshed >= REFRESH_INTERVAL:
            self._refreshed = now
            if self._unusable:
                log.warning("accounting_unusable", packets=self._unusable)
                self._unusable = 0
            gc.collect()
            self._store.refresh_operators()
            self._forget_positions(present)

    def idle(self) -> bool:
        """Tell whether everything readable is loaded."""
        return all(
            segment.stat().st_size <= self._positions.get(segment.name, 0) for segment in segments(self._directory)
        )

    # Reading.

    def _next_batch(self, limit: int) -> Batch:
        """Return the next records. While a backlog is loaded they were read during the transaction before."""
        ahead, self._ahead = self._ahead, None
        batch = self._read(self._positions, limit) if ahead is None else ahead.result()
        if batch.records == MOST:
            after = {**self._positions, **{segment: behind for segment, (_, behind) in batch.moved.items()}}
            self._ahead = self._reader.submit(self._read, after, MOST)
        return batch

    def _forget_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.exception()
            self._ahead = None

    def _read(self, positions: Mapping[str, int], limit: int) -> Batch:
        """Read up to `limit` records from behind the given positions."""
        batch = Batch()
        described: set[tuple[Any, ...]] = set()
        present = segments(self._directory)
        for segment in present:
            before = positions.get(segment.name, 0)
            try:
                if segment.stat().st_size <= before:
                    continue
            except FileNotFoundError:
                continue  # put away a moment ago
            behind = before
            try:
                for position, record in read_records(segment, before, limit):
                    _add(batch, record, described)
                    behind = position
                    limit -= 1
            except SegmentUnreadable as problem:
                if segment is present[-1]:
                    self._warn("segment_unreadable", segment, str(problem))
                else:
                    self._set_aside(segment, "unreadable", str(problem))
            if behind != before:
                batch.moved[segment.name] = before, behind
            if limit <= 0:
                break
        return batch

    # What cannot be loaded, and what is done with.

    def _reject(self, problem: Exception) -> int:
        """Set a single record aside that cannot be stored."""
        for segment in segments(self._directory):
            before = self._positions.get(segment.name, 0)
            if segment.stat().st_size <= before:
                continue
            for behind, record in read_records(segment, before, 1):
                with segment.with_suffix(".rejected").open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{record!r}\n")
                    file.flush()
                    os.fsync(file.fileno())
                self._failed["rejected"] += 1
                log.error("record_rejected", segment=segment.name, position=before, error=_first_line(problem))
                self._store.put(Batch(moved={segment.name: (before, behind)}))
                self._positions[segment.name] = behind
                self._limit = 2
                return 1
        raise problem

    def _untouched(self, segment: Path) -> bool:
        """Tell whether no process writes to a segment any more: radiusd that is stopping may outlive a newer one."""
        return time.time() - segment.stat().st_mtime >= self._keep

    def _finish(self, segment: Path, rest: int) -> bool:
        """Put a closed segment away if nothing more is to be read from it; tell whether that is so.

        One that is loaded is deleted, one whose end is torn is set aside.
        """
        if rest <= 0:
            since = self._loaded.setdefault(segment.name, time.monotonic())
            if time.monotonic() - since >= self._keep:
                segment.unlink()
                del self._loaded[segment.name]
            return True
        position = self._positions.get(segment.name, 0)
        try:
            if next(read_records(segment, position, 1), None) is not None:
                return False
            empty = position == 0 and segment.stat().st_size == first_position(segment)
        except SegmentUnreadable:
            return False  # the next step sets it aside
        if empty:
            segment.unlink()
        else:
            self._set_aside(segment, "torn", f"{rest} octets after {position}")
        return True

    def _set_aside(self, segment: Path, why: str, detail: str) -> None:
        segment.rename(segment.with_suffix(f".{why}"))
        self._failed[why] += 1
        log.error(f"segment_{why}", segment=segment.name, detail=detail)

    def _warn(self, event: str, segment: Path, detail: str) -> None:
        if segment.name not in self._warned:
            self._warned.add(segment.name)
            log.error(event, segment=segment.name, detail=detail)

    def _count_set_aside(self) -> None:
        """Count what earlier runs set aside: it stays in the report until somebody has removed the files."""
        for why in ("torn", "unreadable"):
            self._failed[why] = sum(1 for _ in self._directory.glob(f"*.{why}"))
        rejected = 0
        for path in self._directory.glob("*.rejected"):
            rejected += path.read_bytes().count(b"\n")
        self._failed["rejected"] = rejected

    def _forget_positions(self, present: list[Path]) -> None:
        """Drop the positions of segments that are long gone. A file that comes back before is not loaded again."""
        oldest = f"{time.time_ns() - _POSITIONS_KEPT:020d}"
        self._connection.execute(
            "DELETE FROM journal_position WHERE node = %s AND segment < %s AND segment <> ALL(%s)",
            (self._journal, oldest, [segment.name for segment in present]),
        )


_REPORT = """
INSERT INTO node AS n (name, journal_backlog, loaded_at, report) VALUES (%s, %s, now(), %s)
ON CONFLICT (name) DO UPDATE SET
    journal_backlog = excluded.journal_backlog, loaded_at = now(), report = n.report || excluded.report
"""


def journal_identity(directory: Path) -> str:
    """Return the name under which a journal's positions are kept: its own, since machines change their names."""
    path = directory / "identity"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        with unfinished.open("w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        return path.read_text(encoding="ascii").strip()


def _add(batch: Batch, record: tuple[Any, ...], described: set[tuple[Any, ...]]) -> None:
    """Read one record of the journal into the batch."""
    kind, at, nas_id, operator_id, *_ = record
    batch.heard[nas_id] = at, operator_id
    if kind == ACCOUNTING:
        attributes = dict(record[4])
        get = attributes.get
        key = nas_id, get("Acct-Session-Id"), get("User-Name"), get("Calling-Station-Id")
        try:
            packet = read_packet(at, nas_id, operator_id, attributes, describe=key not in described)
        except PacketUnusable:
            batch.unusable += 1
            return
        batch.packets.append(packet)
        if packet.description is not None:
            described.add(key)
    elif kind == AUTHENTICATION:
        batch.events.append(Authentication(*record[1:]))
    else:
        raise ValueError(f"a record of kind {kind!r}")


def main(settings: Settings) -> None:
    """Run until SIGTERM, which lets the batch at hand finish. Raises BadSettings."""
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    sys.setswitchinterval(0.001)  # the reader must not keep the thread that talks to PostgreSQL waiting
    gc.disable()  # batches are large and hold no cycles; what errors leave behind is collected with the report
    stopping = _stop_on_signals()
    pause = 0.1
    while not stopping:
        try:
            with (
                connect(settings.database_url.get_secret_value()) as connection,
                closing(
                    Loader(settings.journal_dir, connection, keep=settings.journal_keep, node=settings.node)
                ) as loader,
            ):
                while not stopping and not loader.begin():
                    _sleep(1.0, stopping)
                log.info("loader_started")
                while not stopping:
                    begun = time.monotonic()
                    records = loader.step()
                    loader.tidy()
                    beat("loading", 60)
                    pause = 0.1
                    if records < MOST // 2 and not loader.recovering:
                        _sleep(PACE - (time.monotonic() - begun), stopping)
                        while not stopping and loader.idle():
                            _sleep(POLL, stopping)
                            beat("loading", 60)
                            loader.tidy()
        except (psycopg.Error, OSError, PositionMoved) as problem:
            log.warning("loader_interrupted", error=_first_line(problem), again_in=pause)
            _sleep(pause, stopping)
            pause = min(pause * 2, LONGEST_PAUSE)
    log.info("loader_stopped")


def connect(url: str) -> Connection:
    """Return a connection as the loader uses it.

    Its commits need not wait for the disk: after a crash of PostgreSQL the positions in the journal go back together
    with the rows, and the segments are still there. A batch is small beside the tables: what it looks up is found by
    indexes, also where the statistics of a young table would have PostgreSQL read all of it.
    """
    return psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        application_name="loader",
        connect_timeout=5,
        options="-c synchronous_commit=off -c timezone=UTC -c jit=off -c enable_hashjoin=off -c enable_mergejoin=off",
    )


def _sleep(seconds: float, stopping: list[int]) -> None:
    """Sleep, but not on when a signal has come."""
    deadline = time.monotonic() + seconds
    while not stopping and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [repr(problem)])[0]


def _stop_on_signals() -> list[int]:
    received: list[int] = []

    def handler(number: int, _frame: object) -> None:
        received.append(number)

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return received
