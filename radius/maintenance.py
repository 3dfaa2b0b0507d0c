"""Sessions of which nothing has been heard.

RouterOS sends a Stop three times and then forgets it, so some sessions end without our hearing of it. Three missed
Interim-Updates say so. But when all of a NAS is silent, the way to it is broken and not its subscribers: then its
sessions are left alone for a day, and after it is back for as long as three Interim-Updates take.
"""

from datetime import datetime

from radius.facts import Connection
from radius.statements import SILENCE

MOST = 2_000  # sessions closed in one transaction

_CLOSE = f"""
WITH silent AS (
    SELECT s.id, s.started_at
    FROM session s
    LEFT JOIN nas_heard h ON h.nas_id = s.nas_id
    CROSS JOIN LATERAL (
        SELECT %(now)s - greatest(3 * s.interim_interval * interval '1 second', interval '15 minutes') AS expected
    ) e
    WHERE s.ended_at IS NULL AND s.updated_at < %(now)s - interval '15 minutes' AND s.updated_at < e.expected
      AND (s.updated_at < %(now)s - interval '24 hours'
           OR h.last_packet_at > %(now)s - interval '{SILENCE}' AND h.talking_since < e.expected)
    LIMIT %(most)s
    FOR UPDATE OF s SKIP LOCKED
), closed AS (
    UPDATE session s SET ended_at = greatest(s.updated_at, s.started_at), ended_by = 'stale'
    FROM silent
    WHERE s.id = silent.id AND s.started_at = silent.started_at AND s.ended_at IS NULL
    RETURNING s.service_id
), logged AS (
    INSERT INTO change_log (kind, ids)
    SELECT 'sessions', array_agg(DISTINCT service_id) FROM closed WHERE service_id IS NOT NULL
    HAVING count(*) > 0
    RETURNING pg_notify('portico_change', 'sessions')
)
SELECT (SELECT count(*) FROM closed), (SELECT count(*) FROM logged)
"""  # noqa: S608 - a constant


def close_stale(connection: Connection, now: datetime) -> int:
    """Close sessions that have gone silent and return how many; commits after every few thousand.

    `connection` must be in autocommit mode. A session that is heard of again is opened again by the loader.
    """
    total = 0
    while True:
        with connection.transaction():
            row = connection.execute(_CLOSE, {"now": now, "most": MOST}).fetchone()
        assert row is not None
        closed: int = row[0]
        total += closed
        if closed < MOST:
            return total
