"""Writing the audit log: who changed what, before and after.

Entries are only ever added; a trigger chains each to the one before it by a hash, and `broken_links()` follows the
chain. Secrets never stand in an entry: a changed password is the word `changed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.models import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a staff member at an address, or a process by its name."""

    operator_id: int
    name: str
    staff_id: int | None = None
    address: str | None = None


def record(
    session: Session,
    actor: Actor,
    action: str,
    entity: str,
    entity_id: int | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add one entry. `action` is `entity.verb`, such as `service.suspend`.

    Of `before` and `after`, only what differs is kept. Where both are given and nothing differs, nothing is written.
    """
    if before is not None and after is not None:
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if not changed:
            return
        before = {key: value for key, value in before.items() if key in changed}
        after = {key: value for key, value in after.items() if key in changed}
    session.add(
        AuditEntry(
            operator_id=actor.operator_id,
            actor=actor.name,
            staff_id=actor.staff_id,
            address=actor.address,
            action=action,
            entity=entity,
            entity_id=entity_id,
            before=_plain(before),
            after=_plain(after),
        )
    )


def broken_links(session: Session, operator_id: int, limit: int = 20) -> list[int]:
    """Return the ids of the operator's entries whose hash does not follow from the entry before: they were altered."""
    rows = session.execute(
        text(
            "SELECT id FROM ("
            " SELECT entry.id, entry.hash = audit_hash(lag(entry.hash) OVER (ORDER BY entry.id), entry) AS sound"
            " FROM audit_entry AS entry WHERE entry.operator_id = :operator_id) AS links"
            " WHERE NOT sound ORDER BY id LIMIT :limit"
        ),
        {"operator_id": operator_id, "limit": limit},
    )
    return [row.id for row in rows]


def _plain(values: Any) -> Any:
    """Return values as JSON can hold them."""
    match values:
        case None | bool() | int() | str():
            return values
        case Mapping():
            return {str(key): _plain(value) for key, value in values.items()}
        case list() | tuple():
            return [_plain(value) for value in values]
        case set() | frozenset():
            return sorted(str(value) for value in values)
        case datetime() | date():
            return values.isoformat()
        case timedelta():
            return values.total_seconds()
        case Decimal() | IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            return str(values)
    raise TypeError(f"the audit log holds no {type(values).__name__}")
