"""Reports of the help desk: the tickets that came in, and by category how long their subscribers waited.

Lengths are those of the calendar, in hours; promises are counted in working time. A ticket that became part of another
is not counted.
"""

from typing import Any

from sqlalchemy import Numeric, Select, cast, func, or_, select

from core.i18n import N_
from db.models import Staff, Subscriber, Ticket, TicketCategory
from worker.reports.base import HELP_DESK as AREA
from worker.reports.base import Column, Report, Scope


def _tickets(scope: Scope) -> Select[*tuple[Any, ...]]:
    return _of(
        scope,
        select(
            Ticket.number.label("ticket"),
            Ticket.created_at.label("opened"),
            Ticket.subject.label("subject"),
            func.coalesce(Subscriber.name, Ticket.sender).label("subscriber"),
            func.coalesce(TicketCategory.name, "").label("category"),
            Ticket.state.label("state"),
            Ticket.queue.label("queue"),
            func.coalesce(Staff.name, "").label("assigned"),
            _hours(Ticket.first_answered_at).label("answered"),
            _hours(Ticket.solved_at).label("solved"),
            Ticket.satisfaction.label("stars"),
            Subscriber.id.label("subscriber_id"),
            Ticket.id.label("id"),
        )
        .outerjoin(Subscriber, Subscriber.id == Ticket.subscriber_id)
        .outerjoin(Staff, Staff.id == Ticket.assigned_id),
    )


def _categories(scope: Scope) -> Select[*tuple[Any, ...]]:
    def late(met: Any, due: Any) -> Any:
        return func.count().filter(or_(met.is_(False), due < scope.now))

    def middle(until: Any) -> Any:
        return func.round(cast(func.percentile_cont(0.5).within_group(_hours(until)), Numeric), 1)

    return _of(
        scope,
        select(
            func.coalesce(TicketCategory.name, "").label("category"),
            func.count().label("opened"),
            func.count().filter(Ticket.closed_at.is_(None), Ticket.state != "solved").label("still_open"),
            middle(Ticket.first_answered_at).label("answered"),
            middle(Ticket.solved_at).label("solved"),
            late(Ticket.first_met, Ticket.first_due_at).label("first_late"),
            late(Ticket.solve_met, Ticket.solve_due_at).label("solve_late"),
            func.round(func.avg(Ticket.satisfaction), 1).label("stars"),
            func.min(Ticket.id).label("id"),
        ).group_by(TicketCategory.name),
    )


def _of(scope: Scope, query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Return a query of tickets narrowed to those that came in during the days, with their categories."""
    return (
        query.select_from(Ticket)
        .outerjoin(TicketCategory, TicketCategory.id == Ticket.category_id)
        .where(
            Ticket.operator_id == scope.operator_id,
            Ticket.merged_into_id.is_(None),
            Ticket.created_at >= scope.since,
            Ticket.created_at < scope.until,
        )
    )


def _hours(until: Any) -> Any:
    """Return the hours from when a ticket came in; NULL where what they end with is still to come."""
    return func.round(cast(func.extract("epoch", until - Ticket.created_at) / 3600, Numeric), 1)


DESK = (
    Report(
        "tickets", AREA, N_("Tickets that came in"),
        N_("Each ticket with its state, whose it is, and after how many hours it was answered and solved."),
        "tickets.view",
        (
            Column("subject", N_("Subject")),
            Column("ticket", N_("Number"), "count", wide=True),
            Column("opened", N_("Came in on"), "instant"),
            Column("subscriber", N_("Subscriber")),
            Column("category", N_("Category"), wide=True),
            Column("state", N_("State"), words="ticket_state"),
            Column("queue", N_("Queue"), words="role", wide=True),
            Column("assigned", N_("Assigned to"), wide=True),
            Column("answered", N_("Answered after (h)"), "decimal"),
            Column("solved", N_("Solved after (h)"), "decimal"),
            Column("stars", N_("Satisfaction"), "count", wide=True),
        ),
        _tickets, "-opened", spans=True, choice="state",
    ),
    Report(
        "ticket_categories", AREA, N_("Tickets by category"),
        N_("What people complain about, how long they wait for an answer and a solution, and what was late."),
        "tickets.view",
        (
            Column("category", N_("Category")),
            Column("opened", N_("Came in"), "count"),
            Column("still_open", N_("Still open"), "count"),
            Column("answered", N_("First answer, median (h)"), "decimal"),
            Column("solved", N_("Solution, median (h)"), "decimal"),
            Column("first_late", N_("First answer late"), "count", wide=True),
            Column("solve_late", N_("Solution late"), "count", wide=True),
            Column("stars", N_("Satisfaction"), "decimal", wide=True),
        ),
        _categories, "-opened", spans=True,
    ),
)  # fmt: skip
