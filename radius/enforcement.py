"""Orders as rows: which are due at a NAS, claiming them, and what the answers make of them.

`radius.sending` carries them out, one process at a time for each NAS (an advisory lock); `radius.verification` holds
them against accounting.
An acknowledgement is not the end: a Disconnect is done when accounting closed the session, a CoA when a later interim
update came and, where the NAS reports its rate, reports the wanted one. "Session not found" is the NAS's own word
that the session ended; silence never is. A NAS that answers nothing is left alone for a while, its orders kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from aaa.decision import Terms
from aaa.documents import terms_from_document
from aaa.facts import AccessKind
from core.clock import utc_now
from core.crypto import Keyring
from radius.coa import Answer, Peer, SessionIdentity
from radius.difference import OPEN
from radius.facts import Connection
from radius.orders import LONGEST_PAUSE, ErrorCause, Measure, Result, Step, pause_after, step_after

NAS_LOCK = 7463
CLAIM = timedelta(seconds=30)
"""How long a claimed order is not due for others; longer than a request with its retransmissions can take."""
HEARD_SPACING = timedelta(seconds=10)
"""A NAS that sends packets but answers no CoA (port, firewall, secret) is tried again no more often than this."""
IMAGE_FRESH = timedelta(seconds=10)
TROUBLED = "('timeout', 'unreachable')"

log = structlog.get_logger()


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
    """What came of one try: the answer to the request, if one was sent, and to the API, if that was tried as well."""

    order: DueOrder
    answer: Answer | None
    nas_answers: bool
    by_api: Answer | None = None


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
        measure=Measure.DISCONNECT if wanted is None and row[5] == Measure.COA else Measure(row[5]),
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
        connection.execute(
            _RECORD_ATTEMPTS, _columns([attempt for outcome in outcomes for attempt in outcome.attempts])
        )
        connection.execute(_RECORD_ORDERS, _columns([outcome.order for outcome in outcomes]))
        granted = [
            (each.order.session_id, each.order.session_started_at, each.order.terms_id)
            for each, outcome in zip(answered, outcomes, strict=True)
            if outcome.step is Step.VERIFY and outcome.order[2] is Measure.COA
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
                outcome=outcome.order[3],
                error_cause=outcome.order[4],
            )


class _Outcome(NamedTuple):
    step: Step
    attempts: list[tuple[Any, ...]]
    order: tuple[Any, ...]


def _outcome(answered: Answered, now: datetime) -> _Outcome:
    """Return what the answers do to their order: the rows of the attempts and the columns that change.

    What the API did counts; where it could not be asked, or could do nothing, the answer to the request does.
    """
    order, api = answered.order, answered.by_api
    asked = order.measure if order.measure is not Measure.API else Measure.DISCONNECT
    tries = [(asked, answered.answer), (Measure.API, api)]
    if api is not None and (answered.answer is None or _settles(api)):
        kind, answer = Measure.API, api
    else:
        assert answered.answer is not None, "something was tried"
        kind, answer = asked, answered.answer
    unreliable = order.session.kind is AccessKind.DHCP  # its silence says nothing about the NAS
    step = step_after(
        kind,
        answer.result,
        answer.error_cause,
        order.attempts,
        nas_answers=answered.nas_answers or unreliable,
    )
    if step is Step.FAIL and api is not None and api.result in (Result.TIMEOUT, Result.UNREACHABLE):
        step = Step.AGAIN  # could not be asked: nobody said that it cannot be done
    state, due, outcome = "pending", now, answer.result.value
    finished = None
    match step:
        case Step.VERIFY:
            state = "acked"
        case Step.GONE:
            state, outcome, finished = "superseded" if kind is Measure.COA else "verified", "gone", now
        case Step.DISCONNECT:
            kind = Measure.DISCONNECT
        case Step.AGAIN:
            kind = order.measure
            due = now + (LONGEST_PAUSE if unreliable else pause_after(order.attempts))
        case Step.FAIL:
            state, finished = "failed", now
    answered_at = now if answer.result in (Result.ACK, Result.NAK) else None
    return _Outcome(
        step,
        [
            (order.operator_id, order.id, now, measure, each.result, each.error_cause, each.milliseconds)
            for measure, each in tries
            if each is not None
        ],
        (order.id, state, kind, outcome, answer.error_cause, due, answered_at, finished),
    )


def _settles(answer: Answer) -> bool:
    """Tell whether the API ended the session, or found it over."""
    return answer.result is Result.ACK or answer.error_cause == ErrorCause.SESSION_CONTEXT_NOT_FOUND


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
