"""The publisher: keeps this node's image the same as the database.

It follows the change log. Transactions commit in another order than they wrote, so its position is a snapshot
(`pg_current_snapshot()`), kept in the image in the same LMDB transaction as the rows it brought: what that snapshot
could not see is what is new. PostgreSQL's NOTIFY wakes it; a second's tick covers a lost one.
"""

import heapq
import signal
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import psycopg
import structlog

from core.clock import utc_now
from core.settings import BadSettings, Settings
from core.status import beat
from radius.facts import FactsReader, StoredService
from radius.facts_codec import plain_plan, plain_policy, plain_sessions
from radius.image import (
    DAMAGED,
    GENERATION,
    HEADER,
    Change,
    ImageDamaged,
    ImageMissing,
    ImageWriter,
    code_key,
    header,
    live_key,
    login_key,
    name_key,
    nas_key,
    pack,
    plan_key,
    policy_key,
    rebuild,
    unpack,
)
from radius.prepare import prepare

log = structlog.get_logger()

TICK = 1.0  # seconds
CHUNK = 5_000
OLDEST = 6 * 86_400  # seconds; the change log is kept for a week
_FOR_EVER = 1e11

# The timeline is part of it: a promoted standby may lack the last transactions of the server that it replaces, and give
# their numbers to others, which the position in the image would hide for ever.
_INSTALLATION = """
SELECT (SELECT system_identifier FROM pg_control_system()) || '.' || oid || '.'
    || left(pg_walfile_name(pg_current_wal_lsn()), 8)
FROM pg_database WHERE datname = current_database()
"""
_CHANGES = """
SELECT kind, ids FROM change_log
WHERE xid >= pg_snapshot_xmin(%(position)s::pg_snapshot)
  AND NOT pg_visible_in_snapshot(xid, %(position)s::pg_snapshot)
"""
_NAS = """
SELECT id, operator_id, name, host(address), secret, require_message_authenticator FROM nas WHERE enabled
"""
# Who is not active, or has no role with a group, is not in the image at all.
_LOGINS = """
SELECT l.operator_id, l.name, l.staff_id, l.password, l.nas_ids, array_agg(DISTINCT g.router_group)
FROM router_login l
JOIN staff s ON s.id = l.staff_id AND s.operator_id = l.operator_id AND s.active
JOIN router_group g ON g.operator_id = l.operator_id AND g.role = ANY(s.roles)
GROUP BY l.staff_id
"""
_VOUCHERS = "SELECT service_id FROM voucher WHERE service_id = ANY(%s)"
_GROUPS = ("full", "write", "read")  # who has several gets the one that may most
_REPORT = """
INSERT INTO node (name, image_position, image_updated_at) VALUES (%s, %s, now())
ON CONFLICT (name) DO UPDATE SET image_position = excluded.image_position, image_updated_at = now()
"""

Connection = psycopg.Connection[Any]
Entry = tuple[bytes, bytes]


class Publisher:
    """One node's publisher over one database connection."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._directory = settings.image_dir
        self._connection = connection
        self._keyring = settings.keyring
        self._node = settings.node
        self._writer: ImageWriter | None = None
        self._due: list[tuple[float, int]] = []  # when a prepared answer ends, and whose

    def open(self) -> None:
        """Take up the image where it was left, or make a new one when it cannot be continued."""
        try:
            self._writer = ImageWriter.open(self._directory, self._keyring)
            installation, _ = self._writer.position()
            if installation != self._installation():
                raise ImageMissing("the image is of another database")
            self._remember()
        except (ImageMissing, ImageDamaged) as problem:
            log.info("image_rebuild", why=str(problem))
            self.rebuild()

    def step(self) -> int:
        """Bring the image up to date; return how many services were written."""
        if self._writer is None or not self._writer.is_current or (self._directory / DAMAGED).exists():
            log.warning("image_rebuild", why="deleted or reported damaged")
            self.rebuild()
        assert self._writer is not None
        written = self._follow(self._writer) + self._renew_due(self._writer)
        self._connection.execute(_REPORT, (self._node, self._writer.position()[1]))
        self._connection.commit()
        return written

    def rebuild(self) -> None:
        """Write a whole new image from the database, in one snapshot of it."""
        begun = time.monotonic()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._due.clear()
        with self._snapshot():
            self._writer = rebuild(self._directory, self._keyring, self._everything())
        (self._directory / DAMAGED).unlink(missing_ok=True)
        log.info("image_rebuilt", seconds=round(time.monotonic() - begun, 2))

    # The whole.

    def _everything(self) -> Iterator[Entry]:
        now = utc_now()
        reader = FactsReader(self._connection, now)
        yield HEADER, pack(HEADER, self._header())
        yield GENERATION, pack(GENERATION, time.time_ns())
        yield from self._nas_entries()
        yield from self._login_entries()
        yield from self._policy_entries(reader)
        for (plan_id,) in self._connection.execute("SELECT id FROM rate_plan").fetchall():
            yield _plan_entry(reader, plan_id)
        shared_seen: set[bytes] = set()
        for stored in reader.all_services():
            prepared = prepare(stored, now)
            yield prepared.key, prepared.row
            yield prepared.name_key, prepared.name
            if prepared.shared_key is not None and prepared.shared_key not in shared_seen:
                assert prepared.shared is not None
                shared_seen.add(prepared.shared_key)
                yield prepared.shared_key, prepared.shared
            self._schedule(stored, prepared.ready_until)
        yield from self._live_entries(reader, self._services_online())

    def _services_online(self) -> Iterator[list[int]]:
        rows = self._connection.execute("SELECT DISTINCT service_id FROM session WHERE ended_at IS NULL")
        ids = iter([service_id for (service_id,) in rows if service_id is not None])
        while chunk := list(islice(ids, CHUNK)):
            yield chunk

    # The difference.

    def _follow(self, writer: ImageWriter) -> int:
        installation, position = writer.position()
        with self._snapshot():
            changed: dict[str, set[int]] = {}
            for kind, ids in self._connection.execute(_CHANGES, {"position": position}):
                changed.setdefault(kind, set()).update(ids)
            new = self._header()
            reader = FactsReader(self._connection, utc_now())
            written = 0
            with writer.change() as transaction:
                if changed.keys() & {"nas", "plan", "operator"}:
                    transaction.put(GENERATION, pack(GENERATION, time.time_ns()))
                if "nas" in changed:
                    self._write_few(transaction, b"N", self._nas_entries())
                if "login" in changed:
                    self._write_few(transaction, b"R", self._login_entries())
                if "operator" in changed:
                    for key, value in self._policy_entries(reader):
                        transaction.put(key, value)
                for plan_id in changed.get("plan", ()):
                    self._write_plan(transaction, reader, plan_id)
                for chunk in self._services_concerned(changed):
                    written += self._write_services(transaction, reader, chunk)
                online = sorted(changed.get("sessions", ()))
                self._write_live(transaction, reader, online)
                transaction.put(HEADER, pack(HEADER, new))
        assert installation == new["installation"]
        return written

    def _services_concerned(self, changed: dict[str, set[int]]) -> Iterator[list[int]]:
        """Yield, in chunks, the ids of the services that the changes concern."""
        ids = changed.get("service", set())
        if "sessions" in changed:  # what is left of a voucher depends on its open sessions
            rows = self._connection.execute(_VOUCHERS, (list(changed["sessions"]),))
            ids = ids | {service_id for (service_id,) in rows}
        for kind, column in (("plan", "plan_id"), ("operator", "operator_id")):
            if kind in changed:
                rows = self._connection.execute(
                    f"SELECT id FROM service WHERE {column} = ANY(%s) AND state <> 'terminated'",  # noqa: S608
                    (list(changed[kind]),),
                )
                ids = ids | {service_id for (service_id,) in rows}
        remaining = iter(sorted(ids))
        while chunk := list(islice(remaining, CHUNK)):
            yield chunk

    def _write_services(self, transaction: Change, reader: FactsReader, ids: list[int]) -> int:
        now = utc_now()
        gone = set(ids)
        for stored in reader.services(ids):
            if stored.service.state == "terminated" and stored.service.voucher is None:
                continue
            gone.discard(stored.service.id)
            prepared = prepare(stored, now)
            self._forget_old_name(transaction, prepared.name_key, prepared.key)
            transaction.put(prepared.key, prepared.row)
            transaction.put(prepared.name_key, prepared.name)
            if prepared.shared_key is not None:
                assert prepared.shared is not None
                transaction.put(prepared.shared_key, prepared.shared)
            self._schedule(stored, prepared.ready_until)
        for service_id in gone:
            self._forget_old_name(transaction, name_key(service_id), None)
            transaction.delete(name_key(service_id))
        return len(ids)

    @staticmethod
    def _forget_old_name(transaction: Change, own_name: bytes, key: bytes | None) -> None:
        """Remove the row under the name that a service had, unless another service has taken that name."""
        value = transaction.get(own_name)
        if value is None:
            return
        old = unpack(own_name, value)
        if old == key:
            return
        row = transaction.get(old)
        if row is not None and name_key(unpack(old, row)[0]) == own_name:
            transaction.delete(old)

    def _renew_due(self, writer: ImageWriter) -> int:
        """Prepare anew the answers that have run out, a moment after they did."""
        now = time.time()
        ids: set[int] = set()
        while self._due and self._due[0][0] <= now and len(ids) < CHUNK:
            ids.add(heapq.heappop(self._due)[1])
        if not ids:
            return 0
        with self._snapshot(), writer.change() as transaction:
            return self._write_services(transaction, FactsReader(self._connection, utc_now()), sorted(ids))

    @staticmethod
    def _write_few(transaction: Change, letter: bytes, entries: Iterable[Entry]) -> None:
        """Write all entries of a kind of which there are few; one that is not there any more must go."""
        wanted = dict(entries)
        for key in [key for key in transaction.keys(letter) if key not in wanted]:
            transaction.delete(key)
        for key, value in wanted.items():
            transaction.put(key, value)

    @staticmethod
    def _write_plan(transaction: Change, reader: FactsReader, plan_id: int) -> None:
        try:
            key, value = _plan_entry(reader, plan_id)
        except LookupError:
            transaction.delete(plan_key(plan_id))
        else:
            transaction.put(key, value)

    def _write_live(self, transaction: Change, reader: FactsReader, ids: list[int]) -> None:
        remaining = iter(ids)
        while chunk := list(islice(remaining, CHUNK)):
            entries = dict(self._live_entries(reader, [chunk]))
            for service_id in chunk:
                key = live_key(service_id)
                if key in entries:
                    transaction.put(key, entries[key])
                else:
                    transaction.delete(key)

    # Entries.

    def _nas_entries(self) -> Iterator[Entry]:
        for nas_id, operator_id, name, address, secret, required in self._connection.execute(_NAS).fetchall():
            key = nas_key(address)
            yield key, pack(key, (nas_id, operator_id, name, secret, required))

    def _login_entries(self) -> Iterator[Entry]:
        for operator_id, name, staff_id, password, nas_ids, groups in self._connection.execute(_LOGINS).fetchall():
            key = login_key(operator_id, name)
            group = min(groups, key=_GROUPS.index)
            yield key, pack(key, (staff_id, password, group, None if nas_ids is None else tuple(nas_ids)))

    def _policy_entries(self, reader: FactsReader) -> Iterator[Entry]:
        for operator_id, locale in self._connection.execute("SELECT id, locale FROM operator").fetchall():
            key = policy_key(operator_id)
            yield key, pack(key, plain_policy(reader.policy(operator_id), locale))
        for operator_id, sealed in self._connection.execute("SELECT operator_id, code_key FROM voucher_settings"):
            key = code_key(operator_id)
            yield key, pack(key, sealed)

    @staticmethod
    def _live_entries(reader: FactsReader, chunks: Iterable[list[int]]) -> Iterator[Entry]:
        for chunk in chunks:
            for service_id, sessions in reader.open_sessions(chunk).items():
                key = live_key(service_id)
                yield key, pack(key, plain_sessions(sessions))

    # Small things.

    def _snapshot(self) -> Any:
        """Return a context in which every query sees the database at one moment."""
        self._connection.commit()
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return self._connection.transaction()

    def _header(self) -> dict[str, Any]:
        row = self._connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        return {**header(self._installation(), row[0]), "at": time.time()}

    def _installation(self) -> str:
        row = self._connection.execute(_INSTALLATION).fetchone()
        assert row is not None
        return str(row[0])

    def _schedule(self, stored: StoredService, until: float) -> None:
        if 0 < until < _FOR_EVER:
            heapq.heappush(self._due, (until, stored.service.id))

    def _remember(self) -> None:
        """Find in the image, after a restart, whose prepared answers will run out."""
        assert self._writer is not None
        with self._writer.change() as transaction:
            for key, packed in transaction.entries(b"S"):
                row = unpack(key, packed)
                if 0 < row[2] < _FOR_EVER:
                    self._due.append((row[2], row[0]))
        heapq.heapify(self._due)


def _plan_entry(reader: FactsReader, plan_id: int) -> Entry:
    key = plan_key(plan_id)
    return key, pack(key, plain_plan(reader.plan(plan_id)))


def main(settings: Settings) -> None:
    """Run until SIGTERM. PostgreSQL may go away and come back; the image stays as it was meanwhile."""
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    stopping = _stop_on_signals()
    pause = 0.2
    while not stopping:
        try:
            with psycopg.connect(settings.database_url.get_secret_value(), application_name="publisher") as connection:
                _publish(settings, connection, stopping)
        except psycopg.OperationalError as problem:
            log.warning("database_unreachable", error=str(problem).strip().splitlines()[0])
            deadline = time.monotonic() + pause
            while not stopping and time.monotonic() < deadline:
                time.sleep(0.05)
            pause = min(pause * 2, 5.0)


def _publish(settings: Settings, connection: Connection, stopping: list[int]) -> None:
    publisher = Publisher(settings, connection)
    with psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True) as listener:
        listener.execute("LISTEN portico_change")
        publisher.open()
        while not stopping:
            publisher.step()
            beat("publishing", 60)
            for _ in listener.notifies(timeout=TICK, stop_after=1):
                pass


def _stop_on_signals() -> list[int]:
    received: list[int] = []

    def handler(number: int, _frame: object) -> None:
        received.append(number)

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return received
