"""Undoing an import: what it made goes, what it changed is put back, all of it or nothing.

It can be undone until something depends on it: somebody edited what it made, a subscriber was online, an invoice or a
payment stands in the books. Which tables point at services and subscribers is asked of PostgreSQL itself, so that
whatever is added to Portico later is asked too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import TextClause, delete, select, text, update
from sqlalchemy.orm import Session

from db.audit import Actor, record
from db.models import CustomValue, ImportBatch, ImportRow, Service, Subscriber

_OWN = ("service", "service_mac", "shadow_secret", "import_row")


class Obstacle(StrEnum):
    """Why an import cannot be undone any more."""

    CHANGED = "changed"  # the service, or its subscriber, was edited since
    SESSIONS = "sessions"  # was online
    USAGE = "usage"
    MORE_SERVICES = "more_services"  # its subscriber was given another service
    REFERENCED = "referenced"  # rows of another table depend on it; detail: table
    TAKEN_OVER = "taken_over"  # its secret on the router is disabled: give it back first


@dataclass(frozen=True, slots=True)
class Hindrance:
    """One obstacle: to how many rows, and the names of a few of them."""

    obstacle: Obstacle
    rows: int
    examples: tuple[str, ...]
    table: str = ""


class CannotUndo(Exception):
    """Something depends on the import; nothing was undone."""

    def __init__(self, hindrances: list[Hindrance]) -> None:
        super().__init__(", ".join(f"{one.obstacle}: {one.rows}" for one in hindrances))
        self.hindrances = hindrances


def hindrances(session: Session, batch: ImportBatch) -> list[Hindrance]:
    """Return what keeps an import from being undone. Tables that the session may not read are not asked."""
    found = [_ask(session, batch, obstacle, query) for obstacle, query in _QUERIES.items()]
    for table, column, kind in session.execute(_REFERENCES, {"own": list(_OWN)}):
        query = text(
            f"SELECT count(*) AS number, (array_agg(r.name ORDER BY r.line))[1:3] AS names FROM import_row r"  # noqa: S608
            f" WHERE r.batch_id = :batch AND r.state = 'created'"
            f" AND EXISTS (SELECT FROM {table} x WHERE x.{column} = r.{kind}_id)"
        )
        found.append(_ask(session, batch, Obstacle.REFERENCED, query, table))
    return [one for one in found if one.rows]


def undo(session: Session, actor: Actor, batch: ImportBatch, now: datetime) -> Mapping[str, int]:
    """Undo a written import and return how many services went and were put back. The caller commits.

    Harmless when run twice. Raises CannotUndo.
    """
    session.refresh(batch, with_for_update=True)
    if batch.state == "undone":
        return {"removed": 0, "put_back": 0}
    for table, kind in (("service", "service"), ("subscriber", "subscriber")):
        # Held until the end: nobody edits them between the question and the answer.
        session.execute(
            text(
                f"SELECT 1 FROM {table} WHERE id IN (SELECT {kind}_id FROM import_row"  # noqa: S608
                " WHERE batch_id = :batch AND state IN ('created', 'updated')) ORDER BY id FOR UPDATE"
            ),
            {"batch": batch.id},
        )
    if found := hindrances(session, batch):
        raise CannotUndo(found)
    put_back = _put_back(session, batch)
    made = {"batch": batch.id}
    for statement in _REMOVE:
        removed = session.execute(text(statement), made)
    session.execute(
        update(ImportRow)
        .where(ImportRow.batch_id == batch.id, ImportRow.state.in_(("created", "updated")))
        .values(state="undone", previous_password=None)
    )
    batch.state, batch.undone_at = "undone", now
    session.flush()
    counts = {"removed": int(getattr(removed, "rowcount", 0)), "put_back": put_back}
    record(session, actor, "import.undo", "import", batch.id, None, {"source": batch.title, **counts})
    return counts


def _ask(session: Session, batch: ImportBatch, obstacle: Obstacle, query: TextClause, table: str = "") -> Hindrance:
    row = session.execute(query, {"batch": batch.id}).one()
    return Hindrance(obstacle, row.number, tuple(row.names or ()), table)


def _put_back(session: Session, batch: ImportBatch) -> int:
    rows = session.scalars(select(ImportRow).where(ImportRow.batch_id == batch.id, ImportRow.state == "updated")).all()
    services = _by_id(session, Service, [row.service_id for row in rows])
    people = _by_id(session, Subscriber, [row.subscriber_id for row in rows])
    for row in rows:
        service, person = services[row.service_id], people[row.subscriber_id]
        before: dict[str, Any] = row.before or {"service": {}, "subscriber": []}
        for name, value in before["service"].items():
            setattr(service, name, value)
        for name in before["subscriber"]:
            setattr(person, name, None)
        session.execute(delete(CustomValue).where(CustomValue.id.in_(before.get("own", ()))))
        if row.previous_password is not None:
            service.password = row.previous_password
    session.flush()
    return len(rows)


def _by_id(session: Session, model: Any, ids: list[int | None]) -> dict[int | None, Any]:
    return {row.id: row for row in session.scalars(select(model).where(model.id.in_(ids)))}


_START = "SELECT count(*) AS number, (array_agg(r.name ORDER BY r.line))[1:3] AS names FROM import_row r"

_QUERIES: Mapping[Obstacle, TextClause] = {
    Obstacle.CHANGED: text(
        f"{_START} LEFT JOIN service s ON s.id = r.service_id JOIN subscriber p ON p.id = r.subscriber_id"
        " WHERE r.batch_id = :batch AND r.state IN ('created', 'updated')"
        " AND (s.version <> r.service_version OR p.version <> r.subscriber_version)"
    ),
    Obstacle.SESSIONS: text(
        f"{_START} WHERE r.batch_id = :batch AND r.state = 'created'"
        " AND EXISTS (SELECT FROM session x WHERE x.service_id = r.service_id)"
    ),
    Obstacle.USAGE: text(
        f"{_START} WHERE r.batch_id = :batch AND r.state = 'created'"
        " AND EXISTS (SELECT FROM usage_period x WHERE x.service_id = r.service_id)"
    ),
    Obstacle.MORE_SERVICES: text(
        f"{_START} WHERE r.batch_id = :batch AND r.state = 'created' AND EXISTS ("  # noqa: S608 - a constant
        "SELECT FROM service x WHERE x.subscriber_id = r.subscriber_id AND x.id IS DISTINCT FROM r.service_id)"
    ),
    Obstacle.TAKEN_OVER: text(
        f"{_START} JOIN shadow_secret x ON x.service_id = r.service_id AND x.state = 'portico'"
        # What others had disabled on the router was never ours to give back.
        " AND x.problem <> 'not_ours' WHERE r.batch_id = :batch AND r.state = 'created'"
    ),
}

# What goes with a service by itself (ON DELETE CASCADE, SET NULL) depends on nothing; the rest keeps it.
_REFERENCES = text("""
SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'f' AND c.confdeltype IN ('a', 'r') AND c.conparentid = 0
  AND c.confrelid IN ('service'::regclass, 'subscriber'::regclass)
  AND c.conrelid::regclass::text <> ALL(:own)
  AND has_column_privilege(c.conrelid, a.attname, 'SELECT')
ORDER BY 1, 2
""")

_MADE = "(SELECT service_id FROM import_row WHERE batch_id = :batch AND state = 'created')"
_REMOVE = (
    "DELETE FROM shadow_secret WHERE (state = 'local' OR problem = 'not_ours') AND service_id IN"
    " (SELECT service_id FROM import_row WHERE batch_id = :batch AND state IN ('created', 'updated'))",
    f"DELETE FROM service_mac WHERE service_id IN {_MADE}",  # noqa: S608
    f"DELETE FROM service_grant WHERE service_id IN {_MADE}",  # noqa: S608
    f"DELETE FROM service WHERE id IN {_MADE}",  # noqa: S608
    "DELETE FROM subscriber WHERE id IN"
    " (SELECT subscriber_id FROM import_row WHERE batch_id = :batch AND state = 'created')",
)
