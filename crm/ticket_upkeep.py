"""What becomes of tickets by the clock alone: clocks run on when an incident is over, and what was solved is closed."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm import ticket_clock
from crm.help_desk import desk_of, rules_of
from crm.tickets import close
from db.audit import Actor
from db.models import Incident, Ticket


def settle_incident_tickets(session: Session, operator_id: int, now: datetime) -> int:
    """Let the clocks run on of tickets whose incident is over, from when it ended; return how many there were."""
    rules = rules_of(session, operator_id)
    query = (
        select(Ticket, Incident.closed_at)
        .join(Incident, Incident.id == Ticket.incident_id)
        .where(
            Ticket.operator_id == operator_id,
            Ticket.state.in_(("new", "open", "waiting_others")),
            Ticket.solve_left.is_not(None),
            Incident.closed_at.is_not(None),
        )
        .with_for_update(of=Ticket)
    )
    rows = session.execute(query).all()
    for ticket, closed_at in rows:
        over = min(closed_at, now) if closed_at is not None else now
        ticket_clock.settle(ticket, rules, over, incident_open=False)
    session.flush()
    return len(rows)


def close_solved(session: Session, actor: Actor, now: datetime, most: int = 200) -> int:
    """Close the tickets that were solved days ago and about which nobody complained; return how many."""
    days = desk_of(session, actor.operator_id).close_days
    query = (
        select(Ticket)
        .where(
            Ticket.operator_id == actor.operator_id,
            Ticket.state == "solved",
            Ticket.solved_at <= now - timedelta(days=days),
        )
        .order_by(Ticket.solved_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    tickets = session.scalars(query).all()
    for ticket in tickets:
        close(session, actor, ticket, now=now)
    return len(tickets)
