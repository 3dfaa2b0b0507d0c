"""Carrying orders out: what is due at a NAS is sent, the answers are recorded, and accounting has to prove them.

One process at a time talks to a NAS (an advisory lock), with as many requests in flight as the NAS's window allows.
An acknowledgement is not the end: a Disconnect is done when accounting closed the session, a CoA when a later interim
update came and, where the NAS reports its rate, reports the wanted one. "Session not found" is the NAS's own word
that the session ended; silence never is. A NAS that answers nothing is left alone for a while, its orders kept.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg
import structlog

from aaa.decision import Terms
from aaa.documents import terms_from_document
from aaa.facts import AccessKind
from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from radius.coa import Answer, Line, Peer, SessionIdentity, changing, identifying
from radius.facts import Connection
from radius.orders import (
    EFFECT_TRIES,
    LONGEST_PAUSE,
    Measure,
    Result,
    Step,
    changes,
    pause_after,
    proves,
    step_after,
)
from radius.reconcile import OPEN

NAS_LOCK = 7463
CLAIM = timedelta(seconds=30)
"""How long a claimed order is not due for others; longer than a request with its retransmissions can take."""
GIVE_UP = 3
"""Unanswered requests, with no answer to any, after which a NAS is taken for unreachable."""
HEARD_SPACING = timedelta(seconds=10)
"""A NAS that sends packets but answers no CoA (port, firewall, secret) is tried again no more often than this."""
IMAGE_WAIT = 1.0
"""Seconds that a Disconnect waits for the images. Without it the CPE would redial into the terms it had."""
IMAGE_FRESH = timedelta(seconds=10)
SETTLING = timedelta(seconds=2)
"""An interim update that comes so soon after the acknowledgement may have been made before it."""
SLACK = timedelta(seconds=30)
TROUBLED = "('timeout', 'unreachable')"

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DueOrder:
    """An order that was claimed, with what its request is made of. `attempts` counts this one."""

    id: int
    operator_id: int
    session_id: int
    session_started_at: datetime
    service_id: int | None
    measure: Measure
    terms_id: bytes | None
    granted: Terms | None
    wanted: Terms | None
    attempts: int
    session: SessionIdentity


@dataclass(frozen=True, slots=True)
class Station:
    """A NAS as far as enforcement needs it. `troubled` says that it left the last requests unanswered."""

    id: int
    name: str
    peer: Peer
    troubled: bool


class Answered(NamedTuple):
    order: DueOrder
    answer: Answer
    nas_answers: bool


# What is due, and claiming it.


def due_nas(connection: Connection, now: datetime) -> list[int]:
    """Return the NAS that have orders to carry out now.

    Those with a claimed order are among them: who claimed it may have died. Where not, the NAS is still locked.
    """
    rows = connection.execute(
        "SELECT DISTINCT nas_id FROM enforcement_order WHERE state IN ('pending', 'sent')"
        " AND (next_attempt_at <= %s OR state = 'sent')",
        (now,),
    )
    return [row[0] for row in rows]


def lock_nas(connection: Connection, nas_id: int) -> bool:
    """Take a NAS for this process, if no other has it. Held until `unlock_nas` or the end of the connection."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (NAS_LOCK, nas_id % 2**31)).fetchone()
    return bool(row and row[0])


def unlock_nas(connection: Connection, nas_id: int) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", (NAS_LOCK, nas_id % 2**31))


def read_station(connection: Connection, nas_id: int, keyring: Keyring, source: str | None) -> Station | None:
    """Return a NAS; None when its row is gone, and then its orders are too. Raises SecretUnreadable."""
    row = connection.execute(_STATION, (nas_id,)).fetchone()
    if row is None:
        connection.execute(
            f"UPDATE enforcement_order SET state = 'cancelled', outcome = 'no nas', finished_at = %s"  # noqa: S608
            f" WHERE nas_id = %s AND state IN {OPEN}",
            (utc_now(), nas_id),
        )
        return None
    name, address, port, secret, window, signed, names_session_id, troubled = row
    peer = Peer(
        address=address,
        port=port,
        secret=keyring.open("nas.secret", bytes(secret)).encode(),
        source=source,
        window=window,
        message_authenticator=signed,
        names_session_id=names_session_id,
    )
    return Station(nas_id, name, peer, troubled)


_STATION = f"""
SELECT n.name, host(coalesce(n.coa_address, n.address)), n.coa_port, n.secret, n.coa_window,
       n.coa_message_authenticator, n.coa_session_id, EXISTS (
           SELECT FROM enforcement_order o
           JOIN session x ON x.id = o.session_id AND x.started_at = o.session_started_at AND x.kind <> 'dhcp'
           WHERE o.nas_id = n.id AND o.state IN {OPEN} AND o.outcome IN {TROUBLED})
FROM nas n WHERE n.id = %s
"""  # noqa: S608 - constants


def claim(
    connection: Connection, nas_id: int, now: datetime, limit: int, busy: Collection[int] = (), *, fresh: bool = False
) -> tuple[list[DueOrder], str]:
    """Take up to `limit` due orders of a NAS, restoring before anything else.

    `busy` are sessions with a request in flight. With `fresh`, orders that somebody claimed before are due as well:
    the caller holds the NAS, so nobody is carrying them out. Returned beside them is the snapshot they were read in.
    """
    with connection.transaction():
        rows = connection.execute(
            _CLAIM,
            {
                "nas": nas_id,
                "now": now,
                "until": now + CLAIM,
                "limit": limit,
                "busy": list(busy),
                "fresh": fresh,
            },
        ).fetchall()
        snapshot = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    assert snapshot is not None
    return [_due_order(row) for row in rows], snapshot[0]


_CLAIM = """
WITH due AS (
    SELECT o.id FROM enforcement_order o
    JOIN session x ON x.id = o.session_id AND x.started_at = o.session_started_at AND x.ended_at IS NULL
    WHERE o.nas_id = %(nas)s AND o.state IN ('pending', 'sent')
      AND (o.next_attempt_at <= %(now)s OR (%(fresh)s AND o.state = 'sent'))
      AND o.session_id <> ALL(%(busy)s::bigint[])
    ORDER BY o.cause = 'restored' DESC, o.next_attempt_at, o.id
    LIMIT %(limit)s FOR UPDATE OF o SKIP LOCKED
), claimed AS (
    UPDATE enforcement_order o
    SET state = 'sent', sent_at = %(now)s, attempts = o.attempts + 1, next_attempt_at = %(until)s
    FROM due WHERE o.id = due.id
    RETURNING o.*
)
SELECT c.id, c.operator_id, c.session_id, c.session_started_at, c.service_id, c.kind, c.terms_id, had.content,
       want.content, c.attempts, x.kind, x.user_name, x.acct_session_id, x.calling_station_id, host(x.framed_ip),
       host(x.nas_ip_address), x.nas_identifier
FROM claimed c
JOIN session x ON x.id = c.session_id AND x.started_at = c.session_started_at
LEFT JOIN terms had ON had.operator_id = x.operator_id AND had.id = x.terms_id
LEFT JOIN terms want ON want.operator_id = c.operator_id AND want.id = c.terms_id
ORDER BY c.cause = 'restored' DESC, c.id
"""


def _due_order(row: Sequence[Any]) -> DueOrder:
    wanted = terms_from_document(row[8]) if row[8] is not None else None
    return DueOrder(
        id=row[0],
        operator_id=row[1],
        session_id=row[2],
        session_started_at=row[3],
        service_id=row[4],
        measure=Measure(row[5]) if wanted is not None else Measure.DISCONNECT,
        terms_id=row[6],
        granted=terms_from_document(row[7]) if row[7] is not None else None,
        wanted=wanted,
        attempts=row[9],
        session=SessionIdentity(AccessKind(row[10]), *row[11:]),
    )


def images_follow(connection: Connection, snapshot: str) -> bool:
    """Tell whether every live node's image holds all changes that were visible in `snapshot`.

    A node whose publisher has not reported for a while is not waited for: it may be gone for good.
    """
    row = connection.execute(_IMAGES_BEHIND, {"snapshot": snapshot, "fresh": IMAGE_FRESH}).fetchone()
    return row is None


_IMAGES_BEHIND = """
SELECT n.name FROM node n
JOIN change_log c ON c.kind <> 'sessions' AND c.xid >= pg_snapshot_xmin(n.image_position::pg_snapshot)
    AND NOT pg_visible_in_snapshot(c.xid, n.image_position::pg_snapshot)
    AND pg_visible_in_snapshot(c.xid, %(snapshot)s::pg_snapshot)
WHERE n.image_position IS NOT NULL AND n.image_updated_at > now() - %(fresh)s
LIMIT 1
"""


# What the NAS said.


def record(connection: Connection, now: datetime, answered: Sequence[Answered]) -> None:
    """Record answers, and what follows from them, in one transaction."""
    if not answered:
        return
    outcomes = [_outcome(each, now) for each in answered]
    with connection.transaction():
        connection.execute(_RECORD_ATTEMPTS, _columns([outcome.attempt for outcome in outcomes]))
        connection.execute(_RECORD_ORDERS, _columns([outcome.order for outcome in outcomes]))
        granted = [
            (each.order.session_id, each.order.session_started_at, each.order.terms_id)
            for each, outcome in zip(answered, outcomes, strict=True)
            if outcome.step is Step.VERIFY and each.order.measure is Measure.COA
        ]
        if granted:
            connection.execute(_RECORD_GRANTED, _columns(granted))
        gone = [
            (each.order.session_id, each.order.session_started_at, now)
            for each, outcome in zip(answered, outcomes, strict=True)
            if outcome.step is Step.GONE
        ]
        if gone:
            _close_gone(connection, gone)
    for each, outcome in zip(answered, outcomes, strict=True):
        if outcome.step is Step.FAIL:
            log.error(
                "order_failed",
                order_id=each.order.id,
                service_id=each.order.service_id,
                kind=each.order.measure.value,
                outcome=each.answer.result.value,
                error_cause=each.answer.error_cause,
            )


class _Outcome(NamedTuple):
    step: Step
    attempt: tuple[Any, ...]
    order: tuple[Any, ...]


def _outcome(answered: Answered, now: datetime) -> _Outcome:
    """Return what an answer does to its order: the row of the attempt and the columns that change."""
    order, answer = answered.order, answered.answer
    unreliable = order.session.kind is AccessKind.DHCP  # its silence says nothing about the NAS
    step = step_after(
        order.measure,
        answer.result,
        answer.error_cause,
        order.attempts,
        nas_answers=answered.nas_answers or unreliable,
    )
    state, kind, due, outcome = "pending", order.measure, now, answer.result.value
    finished = None
    match step:
        case Step.VERIFY:
            state = "acked"
        case Step.GONE:
            state, outcome, finished = "verified" if kind is Measure.DISCONNECT else "superseded", "gone", now
        case Step.DISCONNECT:
            kind = Measure.DISCONNECT
        case Step.AGAIN:
            due = now + (LONGEST_PAUSE if unreliable else pause_after(order.attempts))
        case Step.FAIL:
            state, finished = "failed", now
    answered_at = now if answer.result in (Result.ACK, Result.NAK) else None
    return _Outcome(
        step,
        (order.operator_id, order.id, now, order.measure, answer.result, answer.error_cause, answer.milliseconds),
        (order.id, state, kind, outcome, answer.error_cause, due, answered_at, finished),
    )


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


_RECORD_ATTEMPTS = """
INSERT INTO enforcement_attempt (operator_id, order_id, at, kind, result, error_cause, milliseconds)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::int[], %s::int[])
"""

# An order that was superseded while its request was on the way keeps that state, and the answer.
_RECORD_ORDERS = """
UPDATE enforcement_order o
SET state = CASE WHEN o.state = 'sent' THEN w.state ELSE o.state END,
    kind = w.kind, outcome = w.outcome, error_cause = w.error_cause, next_attempt_at = w.due,
    answered_at = coalesce(w.answered_at, o.answered_at),
    finished_at = CASE WHEN o.state = 'sent' THEN w.finished_at ELSE o.finished_at END
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::timestamptz[], %s::timestamptz[],
            %s::timestamptz[])
    AS w (id, state, kind, outcome, error_cause, due, answered_at, finished_at)
WHERE o.id = w.id
"""

_RECORD_GRANTED = """
UPDATE session x SET terms_id = w.terms_id
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bytea[]) AS w (id, started_at, terms_id)
WHERE x.id = w.id AND x.started_at = w.started_at
"""


def _close_gone(connection: Connection, sessions: Sequence[tuple[int, datetime, datetime]]) -> None:
    """Close sessions that the NAS itself said it does not have; publishers learn it from the change log."""
    closed = connection.execute(
        "UPDATE session x SET ended_at = w.at, ended_by = 'gone'"
        " FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS w (id, started_at, at)"
        " WHERE x.id = w.id AND x.started_at = w.started_at AND x.ended_at IS NULL RETURNING x.service_id",
        _columns(sessions),
    ).fetchall()
    services = sorted({row[0] for row in closed if row[0] is not None})
    if services:
        connection.execute("INSERT INTO change_log (kind, ids) VALUES ('sessions', %s)", (services,))
        connection.execute("SELECT pg_notify('portico_change', 'sessions')")


def leave_alone(connection: Connection, nas_id: int, now: datetime) -> None:
    """Put off what is pending at a NAS that does not answer; the more often it did not, the longer."""
    row = connection.execute(
        f"SELECT max(attempts) FROM enforcement_order WHERE nas_id = %s AND state = 'pending'"  # noqa: S608
        f" AND outcome IN {TROUBLED}",
        (nas_id,),
    ).fetchone()
    until = now + pause_after((row[0] if row else None) or 1)
    connection.execute(
        "UPDATE enforcement_order SET next_attempt_at = %(until)s,"
        " outcome = CASE WHEN outcome = '' THEN 'unreachable' ELSE outcome END"
        " WHERE nas_id = %(nas)s AND state = 'pending' AND next_attempt_at < %(until)s",
        {"until": until, "nas": nas_id},
    )
    log.warning("nas_unreachable", nas_id=nas_id, until=until.isoformat())


def revive(connection: Connection, now: datetime) -> None:
    """Make the orders of a NAS due that was left alone and has sent something since: it is back."""
    connection.execute(
        f"UPDATE enforcement_order o SET next_attempt_at = %(now)s"  # noqa: S608
        f" WHERE o.state = 'pending' AND o.next_attempt_at > %(now)s AND o.outcome IN {TROUBLED}"
        " AND o.nas_id IN ("
        "  SELECT t.nas_id FROM ("
        "   SELECT nas_id, max(sent_at) AS sent_at FROM enforcement_order"
        f"   WHERE state = 'pending' AND outcome IN {TROUBLED} GROUP BY nas_id) t"
        "  WHERE t.sent_at < %(spaced)s AND EXISTS ("
        "   SELECT FROM session x WHERE x.nas_id = t.nas_id AND x.ended_at IS NULL AND x.updated_at > t.sent_at))"
        " AND EXISTS (SELECT FROM session x WHERE x.id = o.session_id AND x.started_at = o.session_started_at"
        "  AND x.kind <> 'dhcp')",
        {"now": now, "spaced": now - HEARD_SPACING},
    )


# What accounting shows.


def verify(connection: Connection, now: datetime) -> int:
    """Hold orders against accounting; return how many were finished.

    Harmless at any time and in several processes at once: each statement moves an order from a state it was seen in.
    """
    with connection.transaction():
        finished = connection.execute(_ENDED, {"now": now}).rowcount
        finished += connection.execute(_WITHOUT_SESSION, {"now": now}).rowcount
        finished += connection.execute(_GRANTED_ANEW, {"now": now}).rowcount
        connection.execute(_STILL_THERE, {"now": now, "settling": SETTLING})
        verified, unchanged, refused = _judge(connection)
        if verified:
            finished += connection.execute(
                "UPDATE enforcement_order SET state = 'verified', finished_at = %s WHERE id = ANY(%s)"
                " AND state = 'acked'",
                (now, verified),
            ).rowcount
        for ids, kind in ((unchanged, Measure.COA), (refused, Measure.DISCONNECT)):
            if ids:
                connection.execute(
                    "UPDATE enforcement_order SET state = 'pending', kind = %s, outcome = 'no effect',"
                    " next_attempt_at = %s WHERE id = ANY(%s) AND state = 'acked'",
                    (kind, now, ids),
                )
        overdue = connection.execute(_OVERDUE, {"now": now, "slack": SLACK}).fetchall()
    for order_id, nas_id, service_id, kind in overdue:
        log.error("order_not_verified", order_id=order_id, nas_id=nas_id, service_id=service_id, kind=kind)
    return finished + len(overdue)


def _judge(connection: Connection) -> tuple[list[int], list[int], list[int]]:
    """Return the acknowledged CoA that an interim proved, those to send again, and those to disconnect for."""
    verified: list[int] = []
    unchanged: list[int] = []
    refused: list[int] = []
    known: dict[tuple[int, bytes], Terms] = {}
    for order_id, attempts, operator_id, terms_id, content, reported, settled in connection.execute(
        _SEEN_SINCE, {"settling": SETTLING}
    ):
        key = (operator_id, bytes(terms_id))
        if key not in known:
            known[key] = terms_from_document(content)
        if proves(reported, known[key]):
            verified.append(order_id)
        elif settled:
            (refused if attempts >= EFFECT_TRIES else unchanged).append(order_id)
    return verified, unchanged, refused


_ENDED = f"""
UPDATE enforcement_order o
SET state = CASE WHEN o.kind = 'disconnect' THEN 'verified' ELSE 'superseded' END, finished_at = %(now)s
FROM session x
WHERE o.state IN {OPEN} AND x.id = o.session_id AND x.started_at = o.session_started_at AND x.ended_at IS NOT NULL
"""  # noqa: S608

_WITHOUT_SESSION = f"""
UPDATE enforcement_order o SET state = 'cancelled', outcome = 'no session', finished_at = %(now)s
WHERE o.state IN {OPEN} AND NOT EXISTS (
    SELECT FROM session x WHERE x.id = o.session_id AND x.started_at = o.session_started_at)
"""  # noqa: S608 - OPEN is a constant

# A DHCP lease that was renewed, or a client that asked again in its session, has the terms without any CoA.
_GRANTED_ANEW = """
WITH granted AS (
    SELECT o.id, o.session_id, o.session_started_at, o.terms_id FROM enforcement_order o
    JOIN session x ON x.id = o.session_id AND x.started_at = o.session_started_at
    WHERE o.state IN ('pending', 'sent', 'acked') AND x.kind = 'dhcp' AND EXISTS (
        SELECT FROM auth_event e WHERE e.service_id = o.service_id AND e.at > o.created_at
        AND e.nas_id = o.nas_id AND e.acct_session_id = x.acct_session_id AND e.terms_id = o.terms_id)
), known AS (
    UPDATE session x SET terms_id = g.terms_id FROM granted g
    WHERE x.id = g.session_id AND x.started_at = g.session_started_at
)
UPDATE enforcement_order o SET state = 'verified', outcome = 'granted anew', finished_at = %(now)s
FROM granted g WHERE o.id = g.id
"""

# Disconnect was acknowledged and the session goes on: ask again.
_STILL_THERE = """
UPDATE enforcement_order o SET state = 'pending', outcome = 'no effect', next_attempt_at = %(now)s
FROM session x
WHERE o.state = 'acked' AND o.kind = 'disconnect' AND x.id = o.session_id AND x.started_at = o.session_started_at
  AND x.ended_at IS NULL AND x.updated_at > o.answered_at + %(settling)s AND o.attempts < 5
"""

_SEEN_SINCE = """
SELECT o.id, o.attempts, o.operator_id, o.terms_id, t.content, x.reported_rate,
       x.updated_at > o.answered_at + %(settling)s
FROM enforcement_order o
JOIN session x ON x.id = o.session_id AND x.started_at = o.session_started_at AND x.ended_at IS NULL
JOIN terms t ON t.operator_id = o.operator_id AND t.id = o.terms_id
WHERE o.state = 'acked' AND o.kind = 'coa' AND x.updated_at > o.answered_at
"""

_OVERDUE = """
UPDATE enforcement_order o SET state = 'failed', finished_at = %(now)s, outcome = 'not verified'
FROM session x
WHERE o.state = 'acked' AND x.id = o.session_id AND x.started_at = o.session_started_at AND x.ended_at IS NULL
  AND o.answered_at + make_interval(secs => 2 * x.interim_interval) + %(slack)s < %(now)s
RETURNING o.id, o.nas_id, o.service_id, o.kind
"""


# Carrying out.


class ConnectionThreads:
    """Runs functions of a connection on a few threads, each with a connection of its own, for a loop that may not
    block. A connection that broke is replaced at the next call; the call that found it broken raises.
    """

    def __init__(self, dsn: str, threads: int, name: str = "database") -> None:
        self._dsn = dsn
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        self._open: set[Connection] = set()

    async def __call__(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._run, lambda connection: function(connection, *args, **kwargs)
        )

    def _run(self, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
            self._local.connection = connection
            self._open.add(connection)
        try:
            return work(connection)
        finally:
            if connection.closed or connection.broken:
                self._open.discard(connection)
                connection.close()

    def close(self) -> None:
        """Wait for what is running and shut the connections."""
        self._threads.shutdown()
        for connection in self._open:
            connection.close()


@dataclass(frozen=True, slots=True)
class Wiring:
    """What carrying orders out needs of the process it runs in.

    `locks` is one thread, because the NAS that a process talks to are locked by one connection.
    """

    database: ConnectionThreads
    locks: ConnectionThreads
    keyring: Keyring
    source: str | None


async def enforce_nas(wiring: Wiring, nas_id: int, poked: asyncio.Event | None = None) -> None:
    """Carry out what is due at one NAS, and what becomes due meanwhile; at once when `poked` is set."""
    if not await wiring.locks(lock_nas, nas_id):
        return
    try:
        await _with_nas(wiring, nas_id, poked or asyncio.Event())
    finally:
        await wiring.locks(unlock_nas, nas_id)


async def _with_nas(wiring: Wiring, nas_id: int, poked: asyncio.Event) -> None:
    try:
        station = await wiring.database(read_station, nas_id, wiring.keyring, wiring.source)
    except SecretUnreadable:
        log.exception("nas_secret_unreadable", nas_id=nas_id)
        await wiring.database(leave_alone, nas_id, utc_now())
        return
    if station is None:
        return
    line = Line(station.peer)
    try:
        await line.open()
    except OSError as problem:
        log.error("coa_socket_failed", nas_id=nas_id, source=station.peer.source, problem=str(problem))
        await wiring.database(leave_alone, nas_id, utc_now())
        return
    try:
        await _Batch(wiring, station, line, poked).run()
    finally:
        line.close()


class _Batch:
    """The requests in flight at one NAS, from the first due order until none is left."""

    def __init__(self, wiring: Wiring, station: Station, line: Line, poked: asyncio.Event) -> None:
        self._wiring = wiring
        self._station = station
        self._line = line
        self._poked = poked
        self._under_way: dict[asyncio.Task[Answer], DueOrder] = {}
        self._unanswered = 0

    async def run(self) -> None:
        fresh = True
        while True:
            if not self._given_up:
                self._poked.clear()
                await self._begin(fresh=fresh)
                fresh = False
            if not self._under_way:
                break
            await self._wait()
            await self._record()
        if self._given_up:
            await self._wiring.database(leave_alone, self._station.id, utc_now())

    @property
    def _given_up(self) -> bool:
        limit = 1 if self._station.troubled else GIVE_UP
        return not self._line.heard and self._unanswered >= limit

    async def _begin(self, *, fresh: bool) -> None:
        """Send what the window has room for. A NAS that left its last requests unanswered gets one to begin with."""
        probing = self._station.troubled and not self._line.heard
        room = (1 if probing else self._station.peer.window) - len(self._under_way)
        if room <= 0:
            return
        busy = [order.session_id for order in self._under_way.values()]
        orders, snapshot = await self._wiring.database(claim, self._station.id, utc_now(), room, busy, fresh=fresh)
        images = None
        if any(order.measure is Measure.DISCONNECT for order in orders):
            images = asyncio.ensure_future(self._images(snapshot))
        for order in orders:
            waits = images if order.measure is Measure.DISCONNECT else None
            self._under_way[asyncio.ensure_future(self._carry_out(order, waits))] = order

    async def _carry_out(self, order: DueOrder, images: asyncio.Future[None] | None) -> Answer:
        attributes = identifying(order.session, names_session_id=self._station.peer.names_session_id)
        if order.measure is Measure.COA and order.wanted is not None:
            elapsed = utc_now() - order.session_started_at
            attributes |= changing(changes(order.granted, order.wanted, elapsed))
        elif images is not None:
            await asyncio.shield(images)
        try:
            return await self._line.ask(order.measure, attributes)
        except ValueError as problem:  # a value that fits no attribute: only a person can mend that
            log.error("order_not_sendable", order_id=order.id, problem=str(problem))
            return Answer(Result.NAK)

    async def _images(self, snapshot: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + IMAGE_WAIT
        try:
            while not await self._wiring.database(images_follow, snapshot):
                if loop.time() > deadline:
                    log.warning("images_behind", nas_id=self._station.id)
                    return
                await asyncio.sleep(0.03)
        except psycopg.Error as problem:
            log.warning("images_unknown", nas_id=self._station.id, problem=str(problem))

    async def _wait(self) -> None:
        """Wait for an answer, or for word that there is more to do; then a moment for others to come in as well."""
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({*self._under_way, poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()
        await asyncio.sleep(0.005)

    async def _record(self) -> None:
        done = [task for task in self._under_way if task.done()]
        answered = []
        for task in done:
            order, answer = self._under_way.pop(task), task.result()
            silent = answer.result in (Result.TIMEOUT, Result.UNREACHABLE)
            if silent and order.session.kind is not AccessKind.DHCP:
                self._unanswered += 1
            answered.append(Answered(order, answer, self._line.heard))
        if answered:
            await self._keep(answered)

    async def _keep(self, answered: list[Answered]) -> None:
        """Record answers, trying again while PostgreSQL is away; who finds them lost would have to ask again."""
        for wait in (0.1, 0.5, 1, 2, 4, 8):
            try:
                await self._wiring.database(record, utc_now(), answered)
            except psycopg.OperationalError as problem:
                log.warning("answers_not_recorded", nas_id=self._station.id, problem=str(problem))
                await asyncio.sleep(wait)
            else:
                return
        await self._wiring.database(record, utc_now(), answered)
