"""Enforcement is a difference: what each live session was granted, held against what it should have now.

The reconciler follows the change log as the publisher does: it remembers the snapshot it last read and asks for what
that snapshot could not see. For every service that something changed about, and for those whose time has come (a
window, the end of what was paid for, the end of a billing period), the difference is worked out (radius.difference).

One process does this at a time (an advisory lock), in chunks: a plan change that concerns a million services holds no
lock for long, and when it is interrupted the next run begins again at the same snapshot and finds the same
differences.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from radius.difference import OPEN, Difference, Outcome
from radius.facts import Connection
from radius.lifecycle import restore_paid

FOLLOWER = "worker"
CHUNK = 2000
LOCK = 7462
LOG_KEPT = timedelta(days=7)
"""How long the change log is kept. Who has not read it for longer starts over with everything."""
SETTLED = timedelta(minutes=10)
"""The drift search leaves a session alone for so long after an order for it was finished."""


@dataclass(slots=True)
class _Work:
    """What the change log and the clock ask for."""

    position: str
    everything: bool = False
    services: set[int] = field(default_factory=set)  # the decision may be another
    sessions: set[int] = field(default_factory=set)  # services whose sessions came, went or changed
    plans: set[int] = field(default_factory=set)
    operators: set[int] = field(default_factory=set)
    nas: set[int] = field(default_factory=set)


def reconcile(connection: Connection, now: datetime) -> Outcome | None:
    """Follow the change log up to the present and order what it takes; None when another process is at it.

    `connection` must be in autocommit mode: each chunk commits by itself, the position in the log last.
    """
    if not _locked(connection):
        return None
    try:
        work = _read_work(connection, now)
        outcome = Outcome()
        run = Difference(connection, now, outcome)
        seen = work.position
        for number, chunk in enumerate(_chunks(connection, work)):
            if number:
                seen = _overtake(connection, seen, now, outcome)
            with connection.transaction():
                restore_paid(connection, chunk, now)
                run.decide(chunk)
                run.compare(chunk)
        # Where only sessions changed the decision that stands is the one to hold them against, if there is one yet.
        sessions = sorted(work.sessions - work.services) if not work.everything else []
        for chunk in _sliced(sessions):
            with connection.transaction():
                run.decide(run.undecided(chunk))
                run.compare(chunk)
        with connection.transaction():
            if work.nas:
                _try_again(connection, work.nas, now)
            connection.execute(
                "INSERT INTO follower (name, position, updated_at) VALUES (%s, %s, %s) ON CONFLICT (name)"
                " DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at",
                (FOLLOWER, work.position, now),
            )
        return outcome
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s, 0)", (LOCK,))


def _overtake(connection: Connection, seen: str, now: datetime, outcome: Outcome) -> str:
    """Between two chunks of a large change, see to single services that changed since `seen`; return the new position.

    Whoever paid does not wait until a million others have their new speed. The next run reads these changes again.
    """
    row = connection.execute(_CHANGED_SINCE, {"seen": seen}).fetchone()
    assert row is not None
    services = sorted(set(row[1] or ()))[:CHUNK]
    if services:
        run = Difference(connection, now, outcome)
        with connection.transaction():
            restore_paid(connection, services, now)
            run.decide(services)
            run.compare(services)
    return str(row[0])


_CHANGED_SINCE = """
SELECT pg_current_snapshot()::text, (
    SELECT array_agg(id) FROM change_log, unnest(ids) AS id
    WHERE kind = 'service' AND xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(seen)s::pg_snapshot))
"""


def find_drift(connection: Connection, now: datetime) -> Outcome | None:
    """Compare every open session with its service's grant: what was missed for whatever reason is ordered now.

    None when another process is reconciling.
    """
    if not _locked(connection):
        return None
    try:
        outcome = Outcome()
        run = Difference(connection, now, outcome)
        drifted = [row[0] for row in connection.execute(_DRIFTED, {"since": now - SETTLED})]
        for chunk in _sliced(drifted):
            with connection.transaction():
                run.decide(chunk)
                run.compare(chunk)
        return outcome
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s, 0)", (LOCK,))


def next_change(connection: Connection, now: datetime, within: float) -> datetime | None:
    """Return when the next standing decision changes by time alone, if that is within so many seconds."""
    row = connection.execute(
        "SELECT min(changes_at) FROM service_grant WHERE changes_at > %s AND changes_at <= %s",
        (now, now + timedelta(seconds=within)),
    ).fetchone()
    return row[0] if row else None


def purge_log(connection: Connection, now: datetime) -> int:
    """Delete what the change log keeps no longer; return how many entries went."""
    return connection.execute("DELETE FROM change_log WHERE at < %s", (now - LOG_KEPT,)).rowcount


_DRIFTED = f"""
SELECT DISTINCT x.service_id
FROM session x LEFT JOIN service_grant g ON g.service_id = x.service_id
WHERE x.ended_at IS NULL AND x.service_id IS NOT NULL
  AND (g.service_id IS NULL OR g.terms_id IS NULL OR x.terms_id IS DISTINCT FROM g.terms_id)
  AND NOT EXISTS (
      SELECT FROM enforcement_order o WHERE o.session_id = x.id AND o.service_id = x.service_id
      AND (o.state IN {OPEN} OR (o.finished_at > %(since)s AND o.terms_id IS NOT DISTINCT FROM g.terms_id)))
ORDER BY x.service_id
"""  # noqa: S608 - OPEN is a constant


def _locked(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, 0)", (LOCK,)).fetchone()
    return bool(row and row[0])


# What there is to do.


def _read_work(connection: Connection, now: datetime) -> _Work:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute(
            "SELECT pg_current_snapshot()::text, f.position, f.updated_at,"
            " pg_snapshot_xmax(f.position::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())"
            " FROM (VALUES (1)) one LEFT JOIN follower f ON f.name = %s",
            (FOLLOWER,),
        ).fetchone()
        assert row is not None
        work = _Work(position=row[0])
        last_read, ahead = row[2], row[3]
        # A position ahead of the server's own transactions comes from another cluster: a restored backup.
        if last_read is None or ahead or now - last_read > LOG_KEPT - timedelta(days=1):
            work.everything = True
            return work
        for kind, changed in connection.execute(
            "SELECT kind, ids FROM change_log WHERE xid >= pg_snapshot_xmin(%(position)s::pg_snapshot)"
            " AND NOT pg_visible_in_snapshot(xid, %(position)s::pg_snapshot)",
            {"position": row[1]},
        ):
            match kind:
                case "service":
                    work.services.update(changed)
                case "sessions":
                    work.sessions.update(changed)
                case "plan":
                    work.plans.update(changed)
                case "operator":
                    work.operators.update(changed)
                case "nas":
                    work.nas.update(changed)
        work.services.update(
            row[0] for row in connection.execute("SELECT service_id FROM service_grant WHERE changes_at <= %s", (now,))
        )
        work.services.update(  # what is left of a voucher depends on its open sessions
            row[0]
            for row in connection.execute(
                "SELECT service_id FROM voucher WHERE service_id = ANY(%s)", (list(work.sessions),)
            )
        )
    return work


def _chunks(connection: Connection, work: _Work) -> Iterator[list[int]]:
    """Yield the services to decide on, each once or (when named by itself and by its plan) twice."""
    if not work.everything:
        yield from _sliced(sorted(work.services))
        if not work.plans and not work.operators:
            return
    after = 0
    while True:
        rows = connection.execute(
            "SELECT id FROM service WHERE id > %s AND state <> 'terminated'"
            " AND (%s OR plan_id = ANY(%s) OR operator_id = ANY(%s))"
            " ORDER BY id LIMIT %s",
            (after, work.everything, list(work.plans), list(work.operators), CHUNK),
        ).fetchall()
        if not rows:
            return
        yield [row[0] for row in rows]
        after = rows[-1][0]


def _sliced(ids: Iterable[int]) -> Iterator[list[int]]:
    iterator = iter(ids)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _try_again(connection: Connection, nas_ids: set[int], now: datetime) -> None:
    """Try a NAS at once whose row somebody has just corrected."""
    connection.execute(
        "UPDATE enforcement_order SET next_attempt_at = %s"
        " WHERE nas_id = ANY(%s) AND state = 'pending' AND next_attempt_at > %s",
        (now, list(nas_ids), now),
    )
