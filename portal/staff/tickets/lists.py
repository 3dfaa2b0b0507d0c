"""The list of tickets: what it shows, and what it can be narrowed to. What breaches soon stands first."""

from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, false, func, or_, select, true
from sqlalchemy.orm import aliased

from crm.help_desk import categories
from crm.ticket_clock import is_late
from db.models import Staff, Subscriber, Ticket, TicketCategory
from portal import context
from portal.labels import choices, label
from portal.tables import Column, Filter, Table, matching

Assigned = aliased(Staff)


def _whose() -> list[tuple[str, Any]]:
    return [
        ("mine", _("My own")),
        ("queue", _("Queues of my roles")),
        ("nobody", _("Nobody's")),
        ("unknown", _("Unknown sender")),
        ("late", _("Running late")),
    ]


def _whose_where(value: str) -> ColumnElement[bool]:
    person = context.staff()
    match value:
        case "mine":
            return Ticket.assigned_id == person.id
        case "queue":
            return Ticket.queue.in_(person.roles)
        case "nobody":
            return Ticket.assigned_id.is_(None)
        case "unknown":
            return Ticket.subscriber_id.is_(None)
        case "late":
            return Ticket.due_at < context.now()
    return false()


def _states() -> list[tuple[str, Any]]:
    return [*choices("ticket_state"), ("all", _("All, closed ones too"))]


def _category_choices() -> list[tuple[str, Any]]:
    return [(str(each.id), each.name) for each in categories(context.db(), context.staff().operator_id)]


def _in_category(value: str) -> ColumnElement[bool]:
    return Ticket.category_id == int(value) if value.isascii() and value.isdigit() and len(value) < 18 else false()


def _search(words: str) -> ColumnElement[bool]:
    found = or_(
        Ticket.subject.icontains(words, autoescape=True),
        Ticket.sender.icontains(words, autoescape=True),
        Ticket.subscriber_id.in_(matching(func.search_subscribers, words)),
    )
    number = words.lstrip("#")
    return (
        or_(Ticket.number == int(number), found)
        if number.isascii() and number.isdigit() and len(number) < 18
        else found
    )


TABLE = Table(
    name="tickets",
    columns=(
        Column("number", _l("No."), lambda row: row.Ticket.number, Ticket.number, numeric=True, wide=True),
        Column("subject", _l("Subject"), lambda row: row.Ticket.subject),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber or row.Ticket.sender),
        Column("due", _l("Due by"), lambda row: row.Ticket.due_at, Ticket.due_at),
        Column("state", _l("State"), lambda row: label("ticket_state", row.Ticket.state)),
        Column("priority", _l("Priority"), lambda row: label("ticket_priority", row.Ticket.priority)),
        Column("queue", _l("Queue"), lambda row: label("role", row.Ticket.queue), wide=True),
        Column("assigned", _l("Assigned to"), lambda row: row.assigned, wide=True),
        Column("category", _l("Category"), lambda row: row.category, exported_only=True),
        Column("opened", _l("Came in on"), lambda row: row.Ticket.created_at, Ticket.created_at, wide=True),
        Column("source", _l("Came by"), lambda row: label("ticket_source", row.Ticket.source), exported_only=True),
        Column("answered", _l("First answer"), lambda row: row.Ticket.first_answered_at, exported_only=True),
        Column("solved", _l("Solved"), lambda row: row.Ticket.solved_at, exported_only=True),
        Column("satisfaction", _l("Satisfaction"), lambda row: row.Ticket.satisfaction, exported_only=True),
    ),
    order="due",
    tie=Ticket.id,
    filters=(
        Filter("whose", _l("Anybody's"), _whose, _whose_where),
        Filter("state", _l("Open ones"), _states, lambda value: true() if value == "all" else Ticket.state == value),
        Filter("queue", _l("Any queue"), lambda: choices("role"), lambda value: Ticket.queue == value),
        Filter("priority", _l("Any priority"), lambda: choices("ticket_priority"), lambda v: Ticket.priority == v),
        Filter("category", _l("Any category"), _category_choices, _in_category),
    ),
    search=_search,
    search_hint=_l("Number, subject, subscriber"),
)


def listed() -> Select[*tuple[Any, ...]]:
    """Return the query of a list of tickets: with the names of subscriber, category and who has it."""
    query: Select[*tuple[Any, ...]] = (
        select(
            Ticket,
            Subscriber.name.label("subscriber"),
            TicketCategory.name.label("category"),
            Assigned.name.label("assigned"),
        )
        .outerjoin(Subscriber, Subscriber.id == Ticket.subscriber_id)
        .outerjoin(TicketCategory, TicketCategory.id == Ticket.category_id)
        .outerjoin(Assigned, Assigned.id == Ticket.assigned_id)
    )
    return query


def runs_late(ticket: Ticket) -> bool:
    return is_late(ticket, context.now())
