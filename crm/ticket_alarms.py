"""Telling staff of tickets: that one was given to them, and that a promise is near its end or was broken.

Of each due instant people are told once that it is near and once that it has passed; where it is moved, by another
priority or after a reopening, they are told anew. It goes to who has the ticket, or to the roles of its queue where
nobody has it yet; managers are told of what was broken, too.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.messages import tell_staff
from db.audit import Actor
from db.models import Staff, Subscriber, Ticket

SOON = timedelta(hours=1)
"""So long before the end of a promise people are told; a promise shorter than that is told of at its middle."""
_LATEST = timedelta(days=2)
_MOST = 200


def tell_of_promises(session: Session, keyring: Keyring, operator_id: int, now: datetime) -> int:
    """Tell of the promises of an operator that end soon or were broken, and return of how many. The caller commits."""
    query = (
        select(Ticket)
        .where(
            Ticket.operator_id == operator_id,
            Ticket.closed_at.is_(None),
            Ticket.due_at < now + SOON,
            Ticket.due_at > now - _LATEST,  # nobody is told of what was late when this was switched on
            Ticket.broken_told_of.is_distinct_from(Ticket.due_at),
        )
        .order_by(Ticket.due_at)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
    )
    told = 0
    for ticket in session.scalars(query).all():
        assert ticket.due_at is not None
        if ticket.due_at <= now:
            _tell(session, keyring, ticket, "ticket_late", "manager")
            ticket.broken_told_of = ticket.due_at
        elif ticket.warned_of != ticket.due_at and now >= ticket.due_at - _notice(ticket):
            _tell(session, keyring, ticket, "ticket_due")
            ticket.warned_of = ticket.due_at
        else:
            continue
        told += 1
    session.flush()
    return told


def tell_of_assignment(
    session: Session, keyring: Keyring, actor: Actor, ticket: Ticket, before: tuple[str, int | None]
) -> None:
    """Tell who a ticket was given to, where `before` (queue, staff member) says otherwise; nobody of what they did."""
    if (ticket.queue, ticket.assigned_id) == before:
        return
    if ticket.assigned_id is not None:
        if ticket.assigned_id not in (before[1], actor.staff_id):
            person = session.get_one(Staff, ticket.assigned_id)
            tell_staff(session, keyring, ticket.operator_id, person.email, "ticket_given", _values(session, ticket))
    elif ticket.queue != before[0]:
        tell_staff(session, keyring, ticket.operator_id, ticket.queue, "ticket_given", _values(session, ticket))


def _tell(session: Session, keyring: Keyring, ticket: Ticket, event: str, *besides: str) -> None:
    person = session.get(Staff, ticket.assigned_id) if ticket.assigned_id is not None else None
    told = {person.email if person is not None and person.active else ticket.queue, *besides}
    if person is not None and set(person.roles) & set(besides):
        told -= {person.email}  # who has it is one of those who are told anyway
    for role_or_email in sorted(told):
        tell_staff(session, keyring, ticket.operator_id, role_or_email, event, _values(session, ticket))


def _values(session: Session, ticket: Ticket) -> dict[str, str | datetime]:
    subscriber = session.get(Subscriber, ticket.subscriber_id) if ticket.subscriber_id is not None else None
    person = session.get(Staff, ticket.assigned_id) if ticket.assigned_id is not None else None
    return {
        "number": str(ticket.number),
        "title": ticket.subject,
        "subscriber": subscriber.name if subscriber is not None else ticket.sender or "–",
        "when": ticket.due_at if ticket.due_at is not None else "–",
        "who": person.name if person is not None else "–",
    }


def _notice(ticket: Ticket) -> timedelta:
    """Return how long before its end a promise is called near."""
    assert ticket.due_at is not None
    return min(SOON, (ticket.due_at - ticket.created_at) / 2)
