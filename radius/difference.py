"""Standing decisions, and the orders that bring open sessions to them.

The decision on each service is computed anew, kept in `service_grant`, and compared with its open sessions. Each
difference becomes an order, one at a time for each session; an order for terms that are no longer wanted is
superseded.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from aaa.authorize import authorize, changes_at
from aaa.decision import Accept, Decision, Reason, Terms, WalledGarden
from aaa.documents import terms_document, terms_from_document
from aaa.facts import AccessKind
from radius.facts import Connection, FactsReader, StoredService
from radius.orders import Measure, measure, stronger
from radius.terms import terms_id

TERMS_KEPT = 20_000
DISCONNECT_SPACING = timedelta(seconds=60)
"""A service is disconnected at most once in this time. Were radiusd to grant the old terms again (its image stuck),
the CPE would otherwise be thrown out as fast as it dials."""

OPEN = "('pending', 'sent', 'acked')"
"""The states of an order that is not finished."""


@dataclass(slots=True)
class Outcome:
    """What one run did."""

    services: int = 0  # whose decision was computed
    orders: int = 0  # made
    superseded: int = 0


class _Pair(NamedTuple):
    """An open session beside the grant of its service and the order that is open for it."""

    session_id: int
    started_at: datetime
    operator_id: int
    nas_id: int
    service_id: int
    kind: str
    session_terms: bytes | None
    outcome: str
    reason: str
    grant_terms: bytes | None
    decided_at: datetime
    order_id: int | None
    order_terms: bytes | None
    order_state: str | None
    order_attempts: int | None
    order_created_at: datetime | None
    ordered_by: str | None


class _Order(NamedTuple):
    pair: _Pair
    measure: Measure
    cause: str


class Difference:
    """Decides and compares, keeping for the length of one run what many services share."""

    def __init__(self, connection: Connection, now: datetime, outcome: Outcome) -> None:
        self._connection = connection
        self._now = now
        self._outcome = outcome
        self._facts = FactsReader(connection, now)
        self._ids: dict[Terms, bytes] = {}
        self._stored: set[tuple[int, bytes]] = set()
        self._terms: dict[tuple[int, bytes], Terms] = {}
        self._restored: set[int] = set()

    def _forget(self) -> None:
        """Let go of terms when they have become many: with fixed addresses every service has its own."""
        if len(self._ids) + len(self._terms) + len(self._stored) > TERMS_KEPT:
            self._ids.clear()
            self._terms.clear()
            self._stored.clear()

    def undecided(self, services: Sequence[int]) -> list[int]:
        """Return those of the services that have no standing decision yet."""
        rows = self._connection.execute(
            "SELECT id FROM unnest(%s::bigint[]) AS id WHERE NOT EXISTS"
            " (SELECT FROM service_grant g WHERE g.service_id = id)",
            (list(services),),
        )
        return [row[0] for row in rows]

    def decide(self, services: Sequence[int]) -> None:
        """Compute the standing decision of each service and keep it."""
        if not services:
            return
        self._forget()
        self._outcome.services += len(services)
        rows = [self._grant(stored) for stored in self._facts.services(services)]
        self._store_terms(rows)
        before = dict(
            self._connection.execute(
                "SELECT service_id, outcome FROM service_grant WHERE service_id = ANY(%s)", (list(services),)
            ).fetchall()
        )
        self._restored = {row.service_id for row in rows if row.outcome == "accept"} & {
            service_id for service_id, outcome in before.items() if outcome != "accept"
        }
        columns = list(zip(*((*row[:7], self._now) for row in rows), strict=True)) if rows else []
        if columns:
            self._connection.execute(_STORE_GRANTS, [list(column) for column in columns])
        if removed := set(services) - {row.service_id for row in rows}:
            self._connection.execute(
                "UPDATE service_grant SET outcome = 'reject', reason = %s, detail = '{}', terms_id = NULL,"
                " changes_at = NULL, computed_at = %s WHERE service_id = ANY(%s) AND outcome <> 'reject'",
                (Reason.UNKNOWN_SUBSCRIBER, self._now, list(removed)),
            )

    def compare(self, services: Sequence[int]) -> None:
        """Order what brings the open sessions of the services to what was decided."""
        pairs = [_Pair(*row) for row in self._connection.execute(_PAIRS, {"services": list(services)})]
        self._load_terms(pairs)
        superseded: list[int] = []
        orders: list[_Order] = []
        for pair in pairs:
            unheard = False
            if pair.order_id is not None:
                if self._stands(pair):
                    continue
                superseded.append(pair.order_id)
                unheard = bool(pair.order_attempts) and pair.order_state != "acked"
            wanted = self._measure(pair, pair.session_terms)
            if unheard:  # a request whose answer was never heard may have been obeyed
                wanted = stronger(wanted, self._measure(pair, pair.order_terms))
            if wanted is not None:
                cause = pair.reason or ("restored" if pair.service_id in self._restored else "plan")
                orders.append(_Order(pair, wanted, cause))
        if superseded:
            self._outcome.superseded += self._connection.execute(
                f"UPDATE enforcement_order SET state = 'superseded', finished_at = %s WHERE id = ANY(%s)"  # noqa: S608
                f" AND state IN {OPEN}",
                (self._now, superseded),
            ).rowcount
        if orders:
            self._outcome.orders += self._insert(orders)

    def _grant(self, stored: StoredService) -> "_Grant":
        decision = authorize(stored.service, stored.policy, self._now)
        terms = _terms(decision)
        return _Grant(
            stored.service.id,
            stored.service.operator_id,
            _word(decision),
            decision.reason or "",
            json.dumps(decision.detail),
            self._id(terms) if terms is not None else None,
            changes_at(stored.service, stored.policy, self._now),
            terms,
        )

    def _id(self, terms: Terms) -> bytes:
        known = self._ids.get(terms)
        if known is None:
            known = self._ids[terms] = terms_id(terms)
        return known

    def _store_terms(self, rows: Sequence["_Grant"]) -> None:
        new = {
            (row.operator_id, row.terms_id): row.terms
            for row in rows
            if row.terms_id is not None
            and row.terms is not None
            and (row.operator_id, row.terms_id) not in self._stored
        }
        if new:
            with self._connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO terms (operator_id, id, content) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    [(*key, json.dumps(terms_document(terms))) for key, terms in new.items()],
                )
            self._stored.update(new)

    def _load_terms(self, pairs: Iterable[_Pair]) -> None:
        wanted = {
            (pair.operator_id, bytes(each))
            for pair in pairs
            for each in (pair.session_terms, pair.grant_terms, pair.order_terms)
            if each is not None
        } - self._terms.keys()
        if wanted:
            operators, ids = zip(*wanted, strict=True)
            for operator_id, each, content in self._connection.execute(
                "SELECT t.operator_id, t.id, t.content FROM terms t"
                " JOIN unnest(%s::bigint[], %s::bytea[]) AS w (operator_id, id) USING (operator_id, id)",
                (list(operators), list(ids)),
            ):
                self._terms[operator_id, bytes(each)] = terms_from_document(content)

    def _lookup(self, operator_id: int, terms: bytes | None) -> Terms | None:
        return self._terms.get((operator_id, bytes(terms))) if terms is not None else None

    def _measure(self, pair: _Pair, granted: bytes | None) -> Measure | None:
        if granted is not None and pair.grant_terms is not None and bytes(granted) == bytes(pair.grant_terms):
            return None
        return measure(
            AccessKind(pair.kind),
            self._lookup(pair.operator_id, granted),
            self._lookup(pair.operator_id, pair.grant_terms),
            garden=pair.outcome == "garden",
        )

    def _stands(self, pair: _Pair) -> bool:
        """Tell whether the open order of a session is still what is wanted."""
        if pair.ordered_by and pair.order_created_at is not None and pair.order_created_at > pair.decided_at:
            return True  # a person's own wish holds until the decision changes after it
        return _same(pair.order_terms, pair.grant_terms)

    def _insert(self, orders: Sequence[_Order]) -> int:
        columns: list[list[Any]] = [[] for _ in range(8)]
        for order in orders:
            pair = order.pair
            values = (
                pair.operator_id, pair.nas_id, pair.session_id, pair.started_at, pair.service_id, order.measure,
                order.cause, pair.grant_terms,
            )  # fmt: skip
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        return self._connection.execute(_INSERT_ORDERS, (self._now, self._now, DISCONNECT_SPACING, *columns)).rowcount


class _Grant(NamedTuple):
    service_id: int
    operator_id: int
    outcome: str
    reason: str
    detail: str
    terms_id: bytes | None
    changes_at: datetime | None
    terms: Terms | None


def _terms(decision: Decision) -> Terms | None:
    return decision.terms if isinstance(decision, Accept | WalledGarden) else None


def _word(decision: Decision) -> str:
    match decision:
        case Accept():
            return "accept"
        case WalledGarden():
            return "garden"
    return "reject"


def _same(one: bytes | None, other: bytes | None) -> bool:
    if one is None or other is None:
        return one is other
    return bytes(one) == bytes(other)


# `computed_at` is when the decision last became another one, not when it was last looked at.
_STORE_GRANTS = """
INSERT INTO service_grant AS g
    (service_id, operator_id, outcome, reason, detail, terms_id, changes_at, computed_at)
SELECT service_id, operator_id, outcome, reason, detail::jsonb, terms_id, changes_at, computed_at
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::timestamptz[],
            %s::timestamptz[])
    AS w (service_id, operator_id, outcome, reason, detail, terms_id, changes_at, computed_at)
ON CONFLICT (service_id) DO UPDATE SET
    outcome = excluded.outcome, reason = excluded.reason, detail = excluded.detail, terms_id = excluded.terms_id,
    changes_at = excluded.changes_at,
    computed_at = CASE WHEN g.outcome = excluded.outcome AND g.terms_id IS NOT DISTINCT FROM excluded.terms_id
                       THEN g.computed_at ELSE excluded.computed_at END
WHERE (g.outcome, g.reason, g.detail, g.terms_id, g.changes_at)
      IS DISTINCT FROM (excluded.outcome, excluded.reason, excluded.detail, excluded.terms_id, excluded.changes_at)
"""

# A session that a person gave other terms keeps them until the decision changes after that.
_PAIRS = f"""
SELECT x.id, x.started_at, x.operator_id, x.nas_id, x.service_id, x.kind, x.terms_id,
       g.outcome, g.reason, g.terms_id, g.computed_at,
       o.id, o.terms_id, o.state, o.attempts, o.created_at, o.requested_by
FROM session x
JOIN service_grant g ON g.service_id = x.service_id
LEFT JOIN enforcement_order o ON o.session_id = x.id AND o.state IN {OPEN}
WHERE x.ended_at IS NULL AND x.service_id = ANY(%(services)s)
  AND (g.terms_id IS NULL OR x.terms_id IS DISTINCT FROM g.terms_id OR o.id IS NOT NULL)
  AND NOT EXISTS (
      SELECT FROM enforcement_order s WHERE s.session_id = x.id AND s.service_id = x.service_id
      AND s.requested_by <> '' AND s.state = 'verified' AND s.kind = 'coa' AND s.created_at > g.computed_at
      AND s.terms_id = x.terms_id)
ORDER BY x.id
"""  # noqa: S608 - OPEN is a constant

_INSERT_ORDERS = f"""
INSERT INTO enforcement_order
    (operator_id, nas_id, session_id, session_started_at, service_id, kind, cause, terms_id, created_at,
     next_attempt_at)
SELECT w.operator_id, w.nas_id, w.session_id, w.session_started_at, w.service_id, w.kind, w.cause, w.terms_id, %s,
       greatest(%s, CASE WHEN w.kind = 'disconnect' THEN (
           SELECT max(p.finished_at) + %s FROM enforcement_order p
           WHERE p.service_id = w.service_id AND p.kind IN ('disconnect', 'api') AND p.state = 'verified'
             AND p.created_at > now() - interval '1 hour' AND p.terms_id IS NOT DISTINCT FROM w.terms_id) END)
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::text[], %s::text[],
            %s::bytea[])
    AS w (operator_id, nas_id, session_id, session_started_at, service_id, kind, cause, terms_id)
ON CONFLICT (session_id) WHERE state IN {OPEN} DO NOTHING
"""  # noqa: S608 - OPEN is a constant
