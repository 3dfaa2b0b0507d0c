"""Tickets: opened, answered, handed on, merged, solved, reopened.

Whoever writes has a say in the state. What the subscriber writes puts a waiting ticket back to work and reopens one
that was solved lately; what we answer waits for the subscriber, unless it is said to solve. Notes and calls are for
the staff and change nothing. Each step stands in the ticket as an entry and in the audit log.

Two people may have the same ticket open. Who changes it second, or answers without having seen what was said
meanwhile, is shown that first (`TicketChanged`). Mails go out by `crm.ticket_mail`; nothing here sends any.
"""

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES
from crm import ticket_clock
from crm.help_desk import desk_of, rules_of
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.ticket_clock import OPEN_STATES
from crm.ticket_entries import SHOWN, add_entry, add_event, changes_since, entries_of
from db.audit import Actor, record
from db.models import (
    ROLES,
    TICKET_PRIORITIES,
    TICKET_SOURCES,
    HelpDesk,
    Incident,
    Operator,
    Staff,
    StoredFile,
    Subscriber,
    Ticket,
    TicketCategory,
    TicketEntry,
)

LONGEST_SUBJECT = 200
LONGEST_TEXT = 20_000


class TicketChanged(ChangedMeanwhile):
    """Others changed the ticket, or wrote in it, since it was shown: `entries` say what."""

    def __init__(self, entries: Sequence[TicketEntry]) -> None:
        super().__init__(f"{len(entries)} entries are new")
        self.entries = entries


@dataclass(frozen=True, slots=True)
class TicketDetails:
    """What people decide about a ticket. `state` is one of an open ticket's; solving has a function of its own."""

    subject: str
    category_id: int | None
    priority: str
    queue: str
    assigned_id: int | None
    state: str
    incident_id: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A phone call: `direction` is "in" or "out", `seconds` how long it lasted, if somebody looked."""

    direction: str
    said: str
    seconds: int | None = None


def open_ticket(
    session: Session,
    actor: Actor,
    subscriber_id: int | None,
    category: TicketCategory | int | None,
    subject: str,
    text: str,
    files: Iterable[StoredFile] = (),
    incident_id: int | None = None,
    source: str = "staff",
    *,
    priority: str | None = None,
    sender: str = "",
    language: str | None = None,
    message_id: str = "",
    quoted: str = "",
    now: datetime | None = None,
) -> Ticket:
    """Open a ticket with what the subscriber wants, and start its clocks.

    Queue and priority are the category's unless `priority` says otherwise. `sender` is the address of somebody who is
    no subscriber. Raises Invalid (`subject`, `text`, `category`, `subscriber_id`, `incident_id`, `files`).
    """
    now = now or utc_now()
    if source not in TICKET_SOURCES:
        raise ValueError(f"tickets do not come from {source!r}")
    subscriber = _of_operator(session, actor, Subscriber, subscriber_id, "subscriber_id")
    found: TicketCategory | None
    if isinstance(category, int):
        found = _of_operator(session, actor, TicketCategory, category, "category")
    else:
        found = category
    _of_operator(session, actor, Incident, incident_id, "incident_id")
    subject, text = _line(subject, "subject"), _text(text, "text")
    rules = rules_of(session, actor.operator_id)
    operator_language = session.get_one(Operator, actor.operator_id).locale.split("_")[0]
    language = language or (subscriber.language if subscriber else None) or operator_language
    ticket = Ticket(
        operator_id=actor.operator_id,
        number=_next_number(session, actor.operator_id),
        subscriber_id=subscriber_id,
        category_id=found.id if found else None,
        incident_id=incident_id,
        source=source,
        sender=sender,
        subject=subject,
        language=language if language in LANGUAGES else DEFAULT_LANGUAGE,
        priority=priority if priority in TICKET_PRIORITIES else found.priority if found else "normal",
        queue=found.queue if found else "support",
        state="new",
        key=base64.b32encode(secrets.token_bytes(15)).decode().lower(),
        reopened=0,
        version=1,
        created_at=now,
        updated_at=now,
    )
    ticket_clock.start(ticket, rules, now)
    ticket_clock.settle(ticket, rules, now, incident_open=_incident_open(session, incident_id))
    session.add(ticket)
    session.flush()
    author = subscriber.name if subscriber is not None and actor.staff_id is None else ""
    add_entry(session, actor, ticket, "message", text, files, now, author=author, message_id=message_id, quoted=quoted)
    record(session, actor, "ticket.open", "ticket", ticket.id, None, _values(ticket) | {"number": ticket.number})
    return ticket


def reply(
    session: Session,
    actor: Actor,
    ticket: Ticket,
    text: str,
    files: Iterable[StoredFile] = (),
    *,
    author: str = "",
    message_id: str = "",
    quoted: str = "",
    source: str = "portal",
    now: datetime | None = None,
) -> TicketEntry:
    """Add what the subscriber writes. A ticket that was closed too long ago stays so and another one is opened.

    The entry that is returned says in which ticket it stands: one that was merged hands on to the other.
    Raises Invalid.
    """
    now, text = now or utc_now(), _text(text, "text")
    ticket = merged_into(session, ticket)
    _lock(session, ticket)
    if ticket.state not in OPEN_STATES:
        rules = rules_of(session, actor.operator_id)
        if now - (ticket.solved_at or ticket.updated_at) > timedelta(days=rules.reopen_days):
            subject = ticket.subject
            category, subscriber_id = ticket.category_id, ticket.subscriber_id
            another = open_ticket(
                session, actor, subscriber_id, category, subject, text, files, source=source, sender=ticket.sender,
                language=ticket.language, message_id=message_id, quoted=quoted, now=now,
            )  # fmt: skip
            add_event(session, actor, another, {"what": "follows", "number": ticket.number}, now)
            return session.scalars(
                select(TicketEntry).where(TicketEntry.ticket_id == another.id, TicketEntry.kind == "message")
            ).one()
        reopen(session, actor, ticket, now=now)
    elif ticket.state == "waiting_subscriber":
        _move(session, actor, ticket, "open", now)
    return add_entry(
        session,
        actor,
        ticket,
        "message",
        text,
        files,
        now,
        author=author or actor.name,
        message_id=message_id,
        quoted=quoted,
    )


def answer(
    session: Session,
    actor: Actor,
    ticket: Ticket,
    text: str,
    files: Iterable[StoredFile] = (),
    *,
    state: str = "waiting_subscriber",
    seen_entry: int | None = None,
    now: datetime | None = None,
) -> TicketEntry:
    """Add what we answer, and put the ticket into `state`, which may be `solved`.

    `seen_entry` is the newest entry that who writes was shown. Raises Invalid, and TicketChanged when something that
    the subscriber can read was written since, or the ticket became part of another: nobody would read it there.
    """
    now, text = now or utc_now(), _text(text, "text")
    _lock(session, ticket)
    _refuse_merged(session, ticket)
    if seen_entry is not None:
        unseen = select(TicketEntry).where(
            TicketEntry.ticket_id == ticket.id, TicketEntry.id > seen_entry, TicketEntry.kind.in_(SHOWN)
        )
        if entries := session.scalars(unseen.order_by(TicketEntry.id)).all():
            raise TicketChanged(entries)
    if state not in (*OPEN_STATES, "solved"):
        raise Invalid(FieldProblem("state", Problem.UNKNOWN_CHOICE))
    entry = add_entry(session, actor, ticket, "answer", text, files, now)
    ticket_clock.answered(ticket, now)
    if ticket.assigned_id is None and actor.staff_id is not None:
        ticket.assigned_id = actor.staff_id
    if state == "solved":
        solve(session, actor, ticket, now=now)
    else:
        if ticket.state not in OPEN_STATES:
            reopen(session, actor, ticket, now=now)
        _move(session, actor, ticket, "open" if state == "new" else state, now)
    record(session, actor, "ticket.answer", "ticket", ticket.id, None, {"entry": entry.id})
    return entry


def note(
    session: Session, actor: Actor, ticket: Ticket, text: str, files: Iterable[StoredFile] = (), *,
    now: datetime | None = None,
) -> TicketEntry:  # fmt: skip
    """Add what only the staff read, to what a merged ticket became part of. Raises Invalid."""
    now, text = now or utc_now(), _text(text, "text")
    ticket = merged_into(session, ticket)
    entry = add_entry(session, actor, ticket, "note", text, files, now)
    record(session, actor, "ticket.note", "ticket", ticket.id, None, {"entry": entry.id})
    return entry


def log_call(session: Session, actor: Actor, ticket: Ticket, call: Call, *, now: datetime | None = None) -> TicketEntry:
    """Add a phone call, to what a merged ticket became part of. It counts as the first answer. Raises Invalid."""
    now, text = now or utc_now(), _text(call.said, "said")
    if call.direction not in ("in", "out"):
        raise Invalid(FieldProblem("direction", Problem.UNKNOWN_CHOICE))
    if call.seconds is not None and not 0 <= call.seconds <= 24 * 3600:
        raise Invalid(FieldProblem("minutes", Problem.OUT_OF_RANGE, {"low": "0", "high": "1440"}))
    ticket = merged_into(session, ticket)
    _lock(session, ticket)
    entry = add_entry(session, actor, ticket, "call", text, (), now, direction=call.direction, seconds=call.seconds)
    ticket_clock.answered(ticket, now)
    if ticket.state == "new":
        _move(session, actor, ticket, "open", now)
    record(session, actor, "ticket.call", "ticket", ticket.id, None, {"entry": entry.id})
    return entry


def details_of(ticket: Ticket) -> TicketDetails:
    return TicketDetails(**{name: getattr(ticket, name) for name in TicketDetails.__slots__})


def change_ticket(
    session: Session, actor: Actor, ticket: Ticket, details: TicketDetails, seen: int, *, now: datetime | None = None
) -> None:
    """Change what was decided about a ticket of which version `seen` was shown. Raises Invalid and TicketChanged."""
    now = now or utc_now()
    _lock(session, ticket)
    if ticket.version != seen:
        raise TicketChanged(changes_since(session, ticket, seen))
    subject = _line(details.subject, "subject")
    _of_operator(session, actor, TicketCategory, details.category_id, "category_id")
    _of_operator(session, actor, Staff, details.assigned_id, "assigned_id")
    _of_operator(session, actor, Incident, details.incident_id, "incident_id")
    if details.priority not in TICKET_PRIORITIES:
        raise Invalid(FieldProblem("priority", Problem.UNKNOWN_CHOICE))
    if details.queue not in ROLES:
        raise Invalid(FieldProblem("queue", Problem.UNKNOWN_CHOICE))
    if details.state != ticket.state and details.state not in OPEN_STATES:
        raise Invalid(FieldProblem("state", Problem.UNKNOWN_CHOICE))
    before, rules = _values(ticket), rules_of(session, actor.operator_id)
    if details.priority != ticket.priority:
        ticket_clock.change_priority(ticket, details.priority, rules, now)
    ticket.subject, ticket.category_id, ticket.queue = subject, details.category_id, details.queue
    ticket.assigned_id, ticket.incident_id = details.assigned_id, details.incident_id
    if details.state != ticket.state and ticket.state not in OPEN_STATES:
        reopen(session, actor, ticket, now=now)
    ticket.state = details.state
    if ticket.state in OPEN_STATES:
        ticket_clock.settle(ticket, rules, now, incident_open=_incident_open(session, ticket.incident_id))
    _changed(session, actor, ticket, "ticket.change", before, now)


def escalate(
    session: Session, actor: Actor, ticket: Ticket, queue: str, reason: str, *, now: datetime | None = None
) -> None:
    """Hand a ticket on to another role, with the reason why; nobody there has it yet.

    Raises Invalid, and TicketChanged when the ticket became part of another.
    """
    now, reason = now or utc_now(), _text(reason, "reason")
    if queue not in ROLES:
        raise Invalid(FieldProblem("queue", Problem.UNKNOWN_CHOICE))
    _lock(session, ticket)
    _refuse_merged(session, ticket)
    if ticket.state not in OPEN_STATES:
        reopen(session, actor, ticket, now=now)
    before = _values(ticket)
    ticket.queue, ticket.assigned_id = queue, None
    if ticket.state == "new":
        ticket.state = "open"
    _changed(session, actor, ticket, "ticket.escalate", before, now, reason=reason)


def solve(session: Session, actor: Actor, ticket: Ticket, *, now: datetime | None = None) -> bool:
    """Call a ticket solved; False where it was not open. The subscriber may still say otherwise."""
    now = now or utc_now()
    _lock(session, ticket)
    if ticket.state not in OPEN_STATES:
        return False
    before = _values(ticket)
    ticket.state, ticket.solved_at = "solved", now
    ticket_clock.solved(ticket, now)
    _changed(session, actor, ticket, "ticket.solve", before, now)
    return True


def close(session: Session, actor: Actor, ticket: Ticket, *, now: datetime | None = None) -> None:
    """Close a ticket, solved or not."""
    now = now or utc_now()
    _lock(session, ticket)
    if ticket.state == "closed":
        return
    before = _values(ticket)
    if ticket.state != "solved":
        ticket.solved_at = now
        ticket_clock.solved(ticket, now)
    ticket.state, ticket.closed_at = "closed", now
    _changed(session, actor, ticket, "ticket.close", before, now)


def reopen(session: Session, actor: Actor, ticket: Ticket, *, now: datetime | None = None) -> None:
    """Work on a ticket again. It was not solved, so the clock of the solution starts anew."""
    now = now or utc_now()
    _lock(session, ticket)
    if ticket.state in OPEN_STATES or ticket.merged_into_id is not None:
        return
    before, rules = _values(ticket), rules_of(session, actor.operator_id)
    ticket.state, ticket.solved_at, ticket.closed_at = "open", None, None
    ticket.reopened += 1
    ticket_clock.start_solution(ticket, rules, now)
    _changed(session, actor, ticket, "ticket.reopen", before, now)


def merge(session: Session, actor: Actor, ticket: Ticket, into: Ticket, *, now: datetime | None = None) -> None:
    """Make a ticket part of another one about the same thing: its entries move there, and it is closed.

    Raises Invalid (`into`): the other is the same, closed, or of another subscriber, or one of them is part of another.
    """
    now = now or utc_now()
    for each in sorted((ticket, into), key=lambda each: each.id):
        _lock(session, each)
    strangers = None not in (ticket.subscriber_id, into.subscriber_id) and ticket.subscriber_id != into.subscriber_id
    merged = ticket.merged_into_id is not None or into.merged_into_id is not None
    if ticket.id == into.id or merged or into.state not in OPEN_STATES or strangers:
        raise Invalid(FieldProblem("into", Problem.NOT_MERGEABLE))
    before = _values(ticket)
    session.execute(
        update(TicketEntry)
        .where(TicketEntry.ticket_id == ticket.id, TicketEntry.kind != "event")
        .values(ticket_id=into.id)
        .execution_options(synchronize_session=False)
    )
    if into.subscriber_id is None:
        into.subscriber_id = ticket.subscriber_id
    ticket.merged_into_id, ticket.state, ticket.closed_at = into.id, "closed", now
    ticket_clock.abandoned(ticket)
    _changed(session, actor, ticket, "ticket.merge", before, now, into=into.number)
    add_event(session, actor, into, {"what": "merged", "number": ticket.number}, now)


def merged_into(session: Session, ticket: Ticket) -> Ticket:
    """Return the ticket that one became part of, however often it was merged: itself, where it never was."""
    session.refresh(ticket, ["merged_into_id"])
    while ticket.merged_into_id is not None:
        ticket = session.get_one(Ticket, ticket.merged_into_id)
    return ticket


def give_subscriber(session: Session, actor: Actor, ticket: Ticket, subscriber: Subscriber) -> None:
    """Say whose ticket it is, of one that an unknown address wrote."""
    before, now = _values(ticket), utc_now()
    _lock(session, ticket)
    ticket.subscriber_id = subscriber.id
    if subscriber.language is not None and subscriber.language in LANGUAGES:
        ticket.language = subscriber.language
    _changed(session, actor, ticket, "ticket.change", before, now)


def rate(session: Session, actor: Actor, ticket: Ticket, stars: int, words: str, now: datetime) -> None:
    """Note how content the subscriber is, 1 to 5; the last word counts. Raises Invalid."""
    if not 1 <= stars <= 5:
        raise Invalid(FieldProblem("stars", Problem.OUT_OF_RANGE, {"low": "1", "high": "5"}))
    _lock(session, ticket)
    ticket.satisfaction, ticket.satisfaction_words, ticket.rated_at = stars, words.strip()[:2000], now
    add_event(session, actor, ticket, {"what": "rated", "stars": stars}, now)
    record(session, actor, "ticket.rate", "ticket", ticket.id, None, {"satisfaction": stars})


def _next_number(session: Session, operator_id: int) -> int:
    desk_of(session, operator_id)
    number = session.scalar(
        update(HelpDesk)
        .where(HelpDesk.operator_id == operator_id)
        .values(last_number=HelpDesk.last_number + 1)
        .returning(HelpDesk.last_number)
        .execution_options(synchronize_session=False)
    )
    assert number is not None, "desk_of() has made it"
    return number


def _lock(session: Session, ticket: Ticket) -> None:
    session.flush()
    session.refresh(ticket, with_for_update=True)


def _refuse_merged(session: Session, ticket: Ticket) -> None:
    """Raises TicketChanged when the ticket became part of another: what was merged there says so."""
    into = merged_into(session, ticket)
    if into is not ticket:
        raise TicketChanged([each for each in entries_of(session, into) if each.detail.get("what") == "merged"][-1:])


def _move(session: Session, actor: Actor, ticket: Ticket, state: str, now: datetime) -> None:
    """Put an open ticket into another state of an open one, and its clocks with it."""
    if ticket.state == state:
        return
    before = _values(ticket)
    ticket.state = state
    rules = rules_of(session, ticket.operator_id)
    ticket_clock.settle(ticket, rules, now, incident_open=_incident_open(session, ticket.incident_id))
    _changed(session, actor, ticket, "ticket.change", before, now)


def _changed(
    session: Session, actor: Actor, ticket: Ticket, action: str, before: dict[str, Any], now: datetime, **more: Any
) -> None:
    """Note a change in the ticket and in the audit log; nothing where nothing differs."""
    after = _values(ticket)
    changes = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    if not changes:
        return
    ticket.version += 1
    add_event(
        session,
        actor,
        ticket,
        {"what": action.partition(".")[2], "changes": changes, "version": ticket.version, **more},
        now,
    )
    record(session, actor, action, "ticket", ticket.id, before, after | more)


def _values(ticket: Ticket) -> dict[str, Any]:
    return {name: getattr(ticket, name) for name in (*TicketDetails.__slots__, "subscriber_id")}


def _incident_open(session: Session, incident_id: int | None) -> bool:
    if incident_id is None:
        return False
    incident = session.get(Incident, incident_id)
    return incident is not None and incident.closed_at is None


def _of_operator(session: Session, actor: Actor, model: Any, row_id: int | None, field: str) -> Any:
    """Return a row by its id, None for None. Raises Invalid where the operator has no such row."""
    if row_id is None:
        return None
    row = session.get(model, row_id)
    if row is None or row.operator_id != actor.operator_id:
        raise Invalid(FieldProblem(field, Problem.UNKNOWN_CHOICE))
    return row


def _line(text: str, field: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise Invalid(FieldProblem(field, Problem.REQUIRED))
    if len(text) > LONGEST_SUBJECT:
        raise Invalid(FieldProblem(field, Problem.TOO_LONG, {"limit": str(LONGEST_SUBJECT)}))
    return text


def _text(text: str, field: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise Invalid(FieldProblem(field, Problem.REQUIRED))
    if len(text) > LONGEST_TEXT:
        raise Invalid(FieldProblem(field, Problem.TOO_LONG, {"limit": str(LONGEST_TEXT)}))
    return text
