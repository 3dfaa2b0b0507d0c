"""What stands in a ticket: messages and answers, which the subscriber reads; notes, calls and changes for the staff."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import Staff, StoredFile, Ticket, TicketEntry, TicketFile

SHOWN = ("message", "answer")
"""Kinds of entries that the subscriber may read."""
_MOST_FILES = 10


def entries_of(session: Session, ticket: Ticket) -> list[TicketEntry]:
    """Return all entries of a ticket, for the staff."""
    query = select(TicketEntry).where(TicketEntry.ticket_id == ticket.id)
    return list(session.scalars(query.order_by(TicketEntry.created_at, TicketEntry.id)))


def public_entries(session: Session, ticket: Ticket) -> list[TicketEntry]:
    """Return what the subscriber may read of a ticket: messages and answers, never notes, calls or changes."""
    return [entry for entry in entries_of(session, ticket) if entry.kind in SHOWN]


def files_of(session: Session, entries: Iterable[TicketEntry]) -> dict[int, list[StoredFile]]:
    """Return the files of entries, by the entry's id, without their content."""
    query = (
        select(TicketFile.entry_id, StoredFile)
        .join(StoredFile, StoredFile.id == TicketFile.file_id)
        .where(TicketFile.entry_id.in_([entry.id for entry in entries]))
        .order_by(StoredFile.id)
    )
    found: dict[int, list[StoredFile]] = {}
    for entry_id, file in session.execute(query):
        found.setdefault(entry_id, []).append(file)
    return found


def add_entry(
    session: Session,
    actor: Actor,
    ticket: Ticket,
    kind: str,
    text: str,
    files: Iterable[StoredFile],
    now: datetime,
    *,
    author: str = "",
    **columns: Any,
) -> TicketEntry:
    files = list(files)
    if len(files) > _MOST_FILES:
        raise Invalid(FieldProblem("files", Problem.LIMIT_REACHED, {"limit": str(_MOST_FILES)}))
    entry = TicketEntry(
        operator_id=ticket.operator_id,
        ticket_id=ticket.id,
        kind=kind,
        staff_id=actor.staff_id,
        author=author or _name_of(session, actor),
        body=text,
        created_at=now,
        **columns,
    )
    session.add(entry)
    session.flush()
    session.add_all(TicketFile(operator_id=ticket.operator_id, entry_id=entry.id, file_id=file.id) for file in files)
    ticket.updated_at = now
    session.flush()
    return entry


def _name_of(session: Session, actor: Actor) -> str:
    """Return the name by which people know who acts; the audit log has the address."""
    person = session.get(Staff, actor.staff_id) if actor.staff_id is not None else None
    return person.name if person is not None else actor.name


def add_event(session: Session, actor: Actor, ticket: Ticket, detail: dict[str, Any], now: datetime) -> None:
    add_entry(session, actor, ticket, "event", "", (), now, detail=detail)


def changes_since(session: Session, ticket: Ticket, seen: int) -> list[TicketEntry]:
    entries = entries_of(session, ticket)
    return [entry for entry in entries if entry.kind == "event" and entry.detail.get("version", 0) > seen]
