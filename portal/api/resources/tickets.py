"""Tickets of the help desk: opening, answering, solving and closing them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from crm.ticket_entries import entries_of
from crm.tickets import (
    answer,
    close,
    note,
    open_ticket,
    solve,
)
from db.models import Ticket, TicketCategory
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Given, Instant, Nothing, Page, PageAsked, RowId, Shown, string

TAG = "Tickets"
State = Literal["new", "open", "waiting_subscriber", "waiting_others", "solved", "closed"]
Priority = Literal["urgent", "high", "normal", "low"]
_LONGEST = 20_000


class TicketShown(Shown):
    """Something that a subscriber wants."""

    id: int
    number: int
    subscriber_id: int | None
    category_id: int | None
    subject: str
    state: State
    priority: Priority
    queue: Literal["manager", "sales", "support", "finance", "technical"] = Field(description="The role that has it.")
    source: Literal["staff", "portal", "email", "captive", "incident"]
    first_due_at: datetime | None = Field(description="When the first answer is due; null while the clock stands.")
    solve_due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    first_answered_at: datetime | None
    solved_at: datetime | None
    closed_at: datetime | None


class EntryShown(Shown):
    """Something said or done in a ticket. Of `note` and `call`, subscribers see nothing."""

    id: int
    kind: Literal["message", "answer", "note", "call", "event"]
    author: str
    body: str
    created_at: datetime


class WholeTicketShown(TicketShown):
    """A ticket with what was said in it."""

    entries: list[EntryShown]


class TicketGiven(Given):
    """A ticket to be opened, with what the subscriber wants."""

    subscriber_id: RowId | None = None
    category_id: RowId | None = Field(None, description="One of /ticket-categories; it says queue and priority.")
    subject: string(200, 1) = Field(examples=["No internet since this morning"])  # type: ignore[valid-type]
    text: string(_LONGEST, 1) = Field(examples=["The lights are on, no page opens."])  # type: ignore[valid-type]
    priority: Priority | None = None


class AnswerGiven(Given):
    text: string(_LONGEST, 1) = Field(examples=["We have restarted your antenna."])  # type: ignore[valid-type]
    state: Literal["open", "waiting_subscriber", "waiting_others", "solved"] = "waiting_subscriber"


class TicketNoteGiven(Given):
    text: string(_LONGEST, 1)  # type: ignore[valid-type]


class TicketsAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    state: State | Absent = None
    updated_since: Instant | Absent = Field(None, description="Written to at or after.")


class CategoryShown(Shown):
    id: int
    name: str
    queue: str
    priority: Priority
    active: bool


class CategoriesShown(Shown):
    items: list[CategoryShown]


def _shown(rows: Sequence[Ticket]) -> list[TicketShown]:
    return [TicketShown.model_validate(row) for row in rows]


def _whole(ticket: Ticket) -> WholeTicketShown:
    session = frame.db()
    session.flush()
    session.refresh(ticket)
    entries = [EntryShown.model_validate(each) for each in entries_of(session, ticket)]
    return WholeTicketShown(entries=entries, **TicketShown.model_validate(ticket).model_dump())


@operation("GET", "/ticket-categories", Scope.TICKETS_READ, tag=TAG, summary="List the categories of tickets",
           answer=CategoriesShown)  # fmt: skip
def categories() -> CategoriesShown:
    rows = frame.db().scalars(select(TicketCategory).order_by(TicketCategory.id))
    return CategoriesShown(items=[CategoryShown.model_validate(row) for row in rows])


@operation("GET", "/tickets", Scope.TICKETS_READ, tag=TAG, summary="List tickets", answer=Page[TicketShown])
def index(query: TicketsAsked) -> Page[TicketShown]:
    found = select(Ticket)
    if query.subscriber_id is not None:
        found = found.where(Ticket.subscriber_id == query.subscriber_id)
    if query.state is not None:
        found = found.where(Ticket.state == query.state)
    if query.updated_since is not None:
        found = found.where(Ticket.updated_at >= query.updated_since)
    return page_of(frame.db(), found, [Ticket.id], query, _shown)


@operation("GET", "/tickets/<int:ticket_id>", Scope.TICKETS_READ, tag=TAG, summary="Read a ticket",
           answer=WholeTicketShown, single=True)  # fmt: skip
def show(ticket_id: int) -> WholeTicketShown:
    return _whole(one(Ticket, ticket_id))


@operation("POST", "/tickets", Scope.TICKETS_WRITE, tag=TAG, summary="Open a ticket", answer=WholeTicketShown,
           status=201, location="/tickets/{id}")  # fmt: skip
def create(body: TicketGiven) -> WholeTicketShown:
    ticket = open_ticket(
        frame.db(),
        frame.actor(),
        body.subscriber_id,
        body.category_id,
        body.subject,
        body.text,
        priority=body.priority,
        now=context.now(),
    )
    return _whole(ticket)


@operation("POST", "/tickets/<int:ticket_id>/answers", Scope.TICKETS_WRITE, tag=TAG, summary="Answer a ticket",
           answer=WholeTicketShown, status=201)  # fmt: skip
def answer_one(ticket_id: int, body: AnswerGiven) -> WholeTicketShown:
    """The subscriber is sent it."""
    ticket = one(Ticket, ticket_id)
    answer(frame.db(), frame.actor(), ticket, body.text, state=body.state, now=context.now())
    return _whole(ticket)


@operation("POST", "/tickets/<int:ticket_id>/notes", Scope.TICKETS_WRITE, tag=TAG, summary="Add a note to a ticket",
           answer=WholeTicketShown, status=201)  # fmt: skip
def note_one(ticket_id: int, body: TicketNoteGiven) -> WholeTicketShown:
    """For the staff alone."""
    ticket = one(Ticket, ticket_id)
    note(frame.db(), frame.actor(), ticket, body.text, now=context.now())
    return _whole(ticket)


@operation("POST", "/tickets/<int:ticket_id>/solve", Scope.TICKETS_WRITE, tag=TAG, summary="Call a ticket solved",
           answer=WholeTicketShown)  # fmt: skip
def solve_one(ticket_id: int, body: Nothing) -> WholeTicketShown:
    """One that is not open stays as it is."""
    ticket = one(Ticket, ticket_id)
    solve(frame.db(), frame.actor(), ticket, now=context.now())
    return _whole(ticket)


@operation("POST", "/tickets/<int:ticket_id>/close", Scope.TICKETS_WRITE, tag=TAG, summary="Close a ticket",
           answer=WholeTicketShown)  # fmt: skip
def close_one(ticket_id: int, body: Nothing) -> WholeTicketShown:
    """Solved or not; one that is closed stays so."""
    ticket = one(Ticket, ticket_id)
    close(frame.db(), frame.actor(), ticket, now=context.now())
    return _whole(ticket)
