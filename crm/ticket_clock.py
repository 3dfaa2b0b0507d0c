"""The clocks of a ticket: until when somebody must answer, and until when it must be solved.

Both run in working time. They stand still while the subscriber is asked something, and while the incident that the
ticket belongs to is open, since nobody at the desk can do anything about it then. A clock that has run out stays so:
what is too late is not made good by asking back.
"""

from datetime import datetime, timedelta

from crm.help_desk import DeskRules
from db.models import Ticket

OPEN_STATES = ("new", "open", "waiting_subscriber", "waiting_others")
_RUNNING = ("new", "open", "waiting_others")


def start(ticket: Ticket, rules: DeskRules, now: datetime) -> None:
    """Set both clocks of a new ticket going."""
    target, hours = rules.target(ticket.priority), rules.hours_for(ticket.priority)
    ticket.first_due_at = hours.after(now, target.first)
    start_solution(ticket, rules, now)


def start_solution(ticket: Ticket, rules: DeskRules, now: datetime) -> None:
    """Set the clock of the solution going from its beginning: of a new ticket, and of one that was reopened."""
    hours = rules.hours_for(ticket.priority)
    ticket.solve_due_at = hours.after(now, rules.target(ticket.priority).solve)
    ticket.solve_left = ticket.solve_met = None


def settle(ticket: Ticket, rules: DeskRules, now: datetime, *, incident_open: bool) -> None:
    """Make the clocks run or stand as the ticket's state and its incident say."""
    if ticket.state in _RUNNING and not incident_open:
        _run(ticket, rules, now)
    else:
        _stop(ticket, rules, now)


def answered(ticket: Ticket, now: datetime) -> None:
    """Note the first answer."""
    if ticket.first_answered_at is None:
        ticket.first_answered_at = now
        if ticket.first_met is None:
            ticket.first_met = ticket.first_due_at is None or now <= ticket.first_due_at
        ticket.first_due_at = ticket.first_left = None


def solved(ticket: Ticket, now: datetime) -> None:
    """Note that the ticket is solved: both clocks end. One that nobody answered was answered by solving it."""
    answered(ticket, now)
    if ticket.solve_met is None:
        ticket.solve_met = ticket.solve_due_at is None or now <= ticket.solve_due_at
    ticket.solve_due_at = ticket.solve_left = None


def abandoned(ticket: Ticket) -> None:
    """End both clocks without a verdict: the ticket became part of another."""
    ticket.first_due_at = ticket.first_left = ticket.solve_due_at = ticket.solve_left = None


def change_priority(ticket: Ticket, priority: str, rules: DeskRules, now: datetime) -> None:
    """Give the ticket another priority. What has passed of the old promise counts for the new one, too."""
    old, new = rules.target(ticket.priority), rules.target(priority)
    old_hours, new_hours = rules.hours_for(ticket.priority), rules.hours_for(priority)
    ticket.priority = priority
    for clock, before, after in (("first", old.first, new.first), ("solve", old.solve, new.solve)):
        due, left = getattr(ticket, f"{clock}_due_at"), getattr(ticket, f"{clock}_left")
        if due is not None:
            over = old_hours.between(due, now)
            passed = before + over if over else before - old_hours.between(now, due)
            remaining = after - passed
            moved = new_hours.after(now, remaining) if remaining > timedelta() else now
            setattr(ticket, f"{clock}_due_at", moved)
        elif left is not None:
            remaining = after - (before - timedelta(seconds=left))
            setattr(ticket, f"{clock}_left", max(int(remaining.total_seconds()), 0))


def is_late(ticket: Ticket, now: datetime) -> bool:
    """Tell whether a promise is broken and not yet made good."""
    return any(due is not None and due < now for due in (ticket.first_due_at, ticket.solve_due_at))


def _run(ticket: Ticket, rules: DeskRules, now: datetime) -> None:
    hours = rules.hours_for(ticket.priority)
    for clock in ("first", "solve"):
        left = getattr(ticket, f"{clock}_left")
        if left is not None:
            setattr(ticket, f"{clock}_due_at", hours.after(now, timedelta(seconds=left)))
            setattr(ticket, f"{clock}_left", None)


def _stop(ticket: Ticket, rules: DeskRules, now: datetime) -> None:
    hours = rules.hours_for(ticket.priority)
    for clock in ("first", "solve"):
        due = getattr(ticket, f"{clock}_due_at")
        if due is not None:
            if due < now:
                setattr(ticket, f"{clock}_met", False)
            setattr(ticket, f"{clock}_left", int(hours.between(now, due).total_seconds()))
            setattr(ticket, f"{clock}_due_at", None)
