"""What was promised and what PostgreSQL holds: the two sides of every test that injects a fault into accounting.

radload logs each packet that was acknowledged. Its counters follow from session and step, so the value that must be in
the database is known to the octet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

STOP = 2
STEP_SECONDS = 300
GIGAWORD = 1 << 32


@dataclass(frozen=True)
class Stored:
    """A session's last counters."""

    seconds: int
    octets_in: int
    octets_out: int
    ended: bool


def promised(log: Path) -> dict[str, Stored]:
    """Return each session as the last acknowledged packet told it."""
    steps: dict[str, int] = {}
    stopped = set()
    for line in log.read_text(encoding="ascii").splitlines():
        session, status, step = line.split(",")
        steps[session] = max(int(step), steps.get(session, 0))
        if int(status) == STOP:
            stopped.add(session)
    return {session: _after(session, step, session in stopped) for session, step in steps.items()}


def stored(url: str, prefix: str) -> dict[str, Stored]:
    """Return the sessions in the database whose id begins with `prefix`. Fails when one is there twice."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT acct_session_id, session_time, octets_in, octets_out, ended_at IS NOT NULL FROM session"
            " WHERE starts_with(acct_session_id, %s)",
            (prefix,),
        ).fetchall()
    found = {row[0]: Stored(*row[1:]) for row in rows}
    assert len(found) == len(rows), "a session is in the database twice"
    return found


def usage(url: str) -> tuple[int, int]:
    """Return the octets in and out of all hours."""
    return _two_numbers(url, "SELECT coalesce(sum(octets_in), 0), coalesce(sum(octets_out), 0) FROM usage_hour")


def session_octets(url: str) -> tuple[int, int]:
    """Return the octets in and out of all sessions of services."""
    return _two_numbers(
        url,
        "SELECT coalesce(sum(octets_in), 0), coalesce(sum(octets_out), 0) FROM session WHERE service_id IS NOT NULL",
    )


def difference(kept: Mapping[str, Stored], was_promised: Mapping[str, Stored]) -> dict[str, object]:
    """Return what is missing or other than promised; empty when everything acknowledged is there exactly."""
    return {
        session: (wanted, kept.get(session)) for session, wanted in was_promised.items() if kept.get(session) != wanted
    }


def _after(session: str, step: int, ended: bool) -> Stored:
    number = int(session.rpartition("-")[2], 16)
    seconds = step * STEP_SECONDS
    if step == 0:
        return Stored(0, 0, 0, ended)
    return Stored(seconds, seconds * 1000 + number, GIGAWORD + seconds * 9000 + number, ended)


def _two_numbers(url: str, query: str) -> tuple[int, int]:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
