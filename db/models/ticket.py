"""Tickets of the help desk: what is asked, who answers, until when; the rules of the desk and its mailbox."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Computed, DateTime, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted

TICKET_STATES = ("new", "open", "waiting_subscriber", "waiting_others", "solved", "closed")
TICKET_PRIORITIES = ("urgent", "high", "normal", "low")
TICKET_SOURCES = ("staff", "portal", "email", "captive", "incident")
ENTRY_KINDS = ("message", "answer", "note", "call", "event")

_STATES = "state IN ('new', 'open', 'waiting_subscriber', 'waiting_others', 'solved', 'closed')"
_PRIORITIES = "priority IN ('urgent', 'high', 'normal', 'low')"
_QUEUES = "queue IN ('manager', 'sales', 'support', 'finance', 'technical')"


class HelpDesk(Tenanted, Base):
    """What an operator decided for its help desk.

    `hours` maps the day of the week ("1" is Monday) to the spans in which people work, each a pair of minutes after
    midnight in the operator's zone; a day that is missing is free. Public holidays are those of the operator.
    `targets` maps a priority to `{"first": minutes, "solve": minutes, "always": bool}` of working time; with `always`
    the clock runs at night, too. `last_number` is the number of the newest ticket.
    """

    __tablename__ = "help_desk"
    __table_args__ = (
        CheckConstraint("reopen_days BETWEEN 0 AND 365", "reopen_days"),
        CheckConstraint("close_days BETWEEN 1 AND 365", "close_days"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    last_number: Mapped[BigInt] = mapped_column(server_default="0")
    hours: Mapped[Json]
    targets: Mapped[Json]
    reopen_days: Mapped[int] = mapped_column(server_default="14")  # after which an answer begins a new ticket
    close_days: Mapped[int] = mapped_column(server_default="3")  # after which what is solved is closed by itself
    acknowledge: Mapped[bool] = mapped_column(server_default=text("true"))  # tell who wrote that it arrived
    version: Mapped[int] = mapped_column(server_default=text("1"))


class TicketCategory(Tenanted, Base):
    """What a ticket is about, in the operator's own words; it says whose queue it goes to, and how urgent it is."""

    __tablename__ = "ticket_category"
    __table_args__ = (
        Index("uq_ticket_category_name", "operator_id", text("lower(name)"), unique=True),
        CheckConstraint(_QUEUES, "queue"),
        CheckConstraint(_PRIORITIES, "priority"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    queue: Mapped[str] = mapped_column(server_default="support")
    priority: Mapped[str] = mapped_column(server_default="normal")
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default=text("1"))


class Ticket(Tenanted, Base):
    """Something a subscriber wants, from when it was asked until it is closed.

    The clocks of the first answer and of the solution run in working time. While one runs, `…_due_at` says when it
    breaches; while it is stopped, `…_left` holds the seconds of working time that remain. `…_met` is known once it is
    decided. `key` makes the links of this ticket hard to guess. Who wrote without being known as a subscriber stands
    in `sender`.
    """

    __tablename__ = "ticket"
    __table_args__ = (
        Index("uq_ticket_number", "operator_id", "number", unique=True),
        Index("ix_ticket_due_at", "operator_id", "due_at", "id", postgresql_where=text("closed_at IS NULL")),
        Index("ix_ticket_created_at", "operator_id", "created_at", "id"),
        Index("ix_ticket_subscriber_id", "subscriber_id", "id"),
        Index("ix_ticket_incident_id", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
        Index("ix_ticket_solved_at", "solved_at", postgresql_where=text("state = 'solved'")),
        CheckConstraint(_STATES, "state"),
        CheckConstraint(_PRIORITIES, "priority"),
        CheckConstraint(_QUEUES, "queue"),
        CheckConstraint("source IN ('staff', 'portal', 'email', 'captive', 'incident')", "source"),
        CheckConstraint("satisfaction BETWEEN 1 AND 5", "satisfaction"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    number: Mapped[BigInt]
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id", ondelete="SET NULL"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("ticket_category.id"))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incident.id", ondelete="SET NULL"))
    assigned_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("ticket.id"))
    source: Mapped[str]
    sender: Mapped[str] = mapped_column(server_default="")  # e-mail address of who is no subscriber
    subject: Mapped[str]
    language: Mapped[str] = mapped_column(server_default="en")
    priority: Mapped[str]
    queue: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="new")
    key: Mapped[str]
    first_due_at: Mapped[Instant | None]
    first_left: Mapped[int | None]
    first_met: Mapped[bool | None]
    solve_due_at: Mapped[Instant | None]
    solve_left: Mapped[int | None]
    solve_met: Mapped[bool | None]
    due_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), Computed("LEAST(first_due_at, solve_due_at)", persisted=True)
    )
    warned_of: Mapped[Instant | None]  # the `due_at` that staff were told is near
    broken_told_of: Mapped[Instant | None]  # the `due_at` that staff were told was missed
    reopened: Mapped[int] = mapped_column(server_default="0")
    satisfaction: Mapped[int | None]
    satisfaction_words: Mapped[str] = mapped_column(server_default="")
    rated_at: Mapped[Instant | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Instant]
    updated_at: Mapped[Instant]  # when it was last written to, by whomever
    first_answered_at: Mapped[Instant | None]
    solved_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]


class TicketEntry(Tenanted, Base):
    """Something said or done in a ticket.

    `message` came from the subscriber, `answer` goes to them, `note` is for the staff alone, `call` was spoken (a note
    for the staff), `event` is a change, with its values in `detail`. `quoted` is what a mail repeats of earlier ones.
    `message_id` is the Message-ID of the mail that it came with or went out as (RFC 5322 §3.6.4).
    """

    __tablename__ = "ticket_entry"
    __table_args__ = (
        Index("ix_ticket_entry_ticket_id", "ticket_id", "id"),
        Index("ix_ticket_entry_message_id", "operator_id", "message_id", postgresql_where=text("message_id <> ''")),
        CheckConstraint("kind IN ('message', 'answer', 'note', 'call', 'event')", "kind"),
        CheckConstraint("direction IN ('', 'in', 'out')", "direction"),
        CheckConstraint("(kind = 'call') = (direction <> '')", "call"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    ticket_id: Mapped[BigInt] = mapped_column(ForeignKey("ticket.id"))
    kind: Mapped[str]
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    author: Mapped[str]
    body: Mapped[str] = mapped_column(server_default="")
    quoted: Mapped[str] = mapped_column(server_default="")
    direction: Mapped[str] = mapped_column(server_default="")  # of a call: who rang
    seconds: Mapped[int | None]  # that a call lasted
    message_id: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[Instant]


class TicketFile(Tenanted, Base):
    """A file that came with an entry."""

    __tablename__ = "ticket_file"
    __table_args__ = (Index("ix_ticket_file_file_id", "file_id"),)

    entry_id: Mapped[BigInt] = mapped_column(ForeignKey("ticket_entry.id"), primary_key=True)
    file_id: Mapped[BigInt] = mapped_column(ForeignKey("stored_file.id"), primary_key=True)


class CannedAnswer(Tenanted, Base):
    """An answer that is given often. `texts` maps a language to its words, in which variables stand in braces."""

    __tablename__ = "canned_answer"
    __table_args__ = (Index("uq_canned_answer_title", "operator_id", text("lower(title)"), unique=True),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    title: Mapped[str]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("ticket_category.id"))
    texts: Mapped[Json]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default=text("1"))


class Mailbox(Tenanted, Base):
    """Where an operator's subscribers write to: an account read over IMAP (RFC 9051)."""

    __tablename__ = "mailbox"
    __table_args__ = (
        CheckConstraint("security IN ('tls', 'starttls', 'none')", "security"),
        CheckConstraint("port BETWEEN 1 AND 65535", "port"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    address: Mapped[str]  # what answers name as Reply-To
    host: Mapped[str]
    port: Mapped[int]
    security: Mapped[str] = mapped_column(server_default="tls")
    user_name: Mapped[str]
    password: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "mailbox.password"
    folder: Mapped[str] = mapped_column(server_default="INBOX")
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    read_at: Mapped[Instant | None]  # when it was last read without trouble
    trouble: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))


class ReceivedMail(Tenanted, Base):
    """A mail that was read, and what became of it; so that one that is read twice makes nothing twice."""

    __tablename__ = "received_mail"
    __table_args__ = (
        Index("ix_received_mail_created_at", "operator_id", "created_at"),
        CheckConstraint("outcome IN ('ticket', 'answer', 'ignored')", "outcome"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    sender: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")  # why it was ignored
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("ticket.id"))
    created_at: Mapped[Created]
