"""Holding orders against accounting: an acknowledgement proves nothing, what the sessions do afterwards does.

A session that was to end is over when accounting closed it. A CoA is proved by a later interim update and, where the
NAS reports its rate, by the rate that was wanted.
"""

from datetime import datetime, timedelta

import structlog

from aaa.decision import Terms
from aaa.documents import terms_from_document
from radius.difference import OPEN
from radius.facts import Connection
from radius.orders import EFFECT_TRIES, Measure, proves

SETTLING = timedelta(seconds=2)
"""An interim update that comes so soon after the acknowledgement may have been made before it."""
SLACK = timedelta(seconds=30)

log = structlog.get_logger()


def verify(connection: Connection, now: datetime) -> int:
    """Hold orders against accounting; return how many were finished.

    Harmless at any time and in several processes at once: each statement moves an order from a state it was seen in.
    """
    with connection.transaction():
        finished = connection.execute(_ENDED, {"now": now}).rowcount
        finished += connection.execute(_WITHOUT_SESSION, {"now": now}).rowcount
        finished += connection.execute(_GRANTED_ANEW, {"now": now}).rowcount
        connection.execute(_STILL_THERE, {"now": now, "settling": SETTLING, "tries": EFFECT_TRIES})
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
SET state = CASE WHEN o.kind IN ('disconnect', 'api') THEN 'verified' ELSE 'superseded' END, finished_at = %(now)s
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

# Disconnect was acknowledged and the session goes on: ask again, in the end through the API where there is one.
_STILL_THERE = """
UPDATE enforcement_order o SET state = 'pending', outcome = 'no effect', next_attempt_at = %(now)s,
    kind = CASE WHEN o.attempts >= %(tries)s THEN 'api' ELSE o.kind END
FROM session x
WHERE o.state = 'acked' AND o.kind IN ('disconnect', 'api')
  AND x.id = o.session_id AND x.started_at = o.session_started_at
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
