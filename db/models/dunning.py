"""The dunning ladder of an operator, what it did for each invoice, and lines of bank statements.

When services are cut stands with the operator (`operator.cut_off_hour` and beside it), what a late fee is with the
rules of billing: both are read by more than the ladder.
"""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Instant, Tenanted

CHANNELS = ("email", "whatsapp", "sms")


class DunningSettings(Tenanted, Base):
    """What an operator's ladder does beside the cut-off. Without a row, or with `enabled` false, nothing."""

    __tablename__ = "dunning_settings"
    __table_args__ = (
        CheckConstraint("send_hour BETWEEN 0 AND 23", "send_hour"),
        CheckConstraint("terminate_months BETWEEN 1 AND 60", "terminate_months"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    send_hour: Mapped[int] = mapped_column(server_default="9")  # no reminder before it, in the operator's zone
    late_fees: Mapped[bool] = mapped_column(server_default=text("false"))
    terminate_months: Mapped[int | None]  # after so long without service for not paying; None is never
    alert_address: Mapped[str] = mapped_column(server_default="")  # e-mail, told when books and network disagree
    alerted_on: Mapped[date | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class DunningStep(Tenanted, Base):
    """A reminder: so many days after an invoice is due (below zero: before), by this channel."""

    __tablename__ = "dunning_step"
    __table_args__ = (
        Index("uq_dunning_step_days", "operator_id", "days", "channel", unique=True),
        CheckConstraint("days BETWEEN -60 AND 365", "days"),
        CheckConstraint("channel IN ('email', 'whatsapp', 'sms')", "channel"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    days: Mapped[int]
    channel: Mapped[str] = mapped_column(server_default="email")
    created_at: Mapped[Created]


class DunningText(Tenanted, Base):
    """What a reminder says in one language, where the operator changed it. Variables stand in braces."""

    __tablename__ = "dunning_text"

    step_id: Mapped[BigInt] = mapped_column(ForeignKey("dunning_step.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subject: Mapped[str]
    body: Mapped[str]


class DunningDone(Tenanted, Base):
    """A stage that an invoice has been through: once, whoever runs the ladder, and however often.

    `stage` is the days and the channel of a reminder, such as `-3 email`, so a step that is removed and entered again
    does not remind anew. `outcome`: `sent` (handed to the mail server by `notification_id`), `listed` (for a person to
    send), `done` (a person did), `passed` (a later one was due already), `unreachable` (no address).
    """

    __tablename__ = "dunning_done"
    __table_args__ = (
        Index("ix_dunning_done_operator_id", "operator_id", text("created_at DESC"), "invoice_id"),
        Index("ix_dunning_done_subscriber_id", "subscriber_id", text("created_at DESC")),
        Index("ix_dunning_done_listed", "operator_id", "created_at", postgresql_where=text("outcome = 'listed'")),
        CheckConstraint("outcome IN ('sent', 'listed', 'done', 'passed', 'unreachable')", "outcome"),
    )

    invoice_id: Mapped[BigInt] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    channel: Mapped[str]
    outcome: Mapped[str]
    address: Mapped[str] = mapped_column(server_default="")
    subject: Mapped[str] = mapped_column(server_default="")
    body: Mapped[str] = mapped_column(server_default="")
    notification_id: Mapped[BigInt | None]
    staff_id: Mapped[BigInt | None]  # who sent what was listed
    created_at: Mapped[Created]


class BankLine(Tenanted, Base):
    """A line of a bank statement: money that came in. `fingerprint` keeps it from being entered twice."""

    __tablename__ = "bank_line"
    __table_args__ = (
        Index("uq_bank_line_fingerprint", "operator_id", "fingerprint", unique=True),
        Index("ix_bank_line_operator_id", "operator_id", text("booked_on DESC"), "id"),
        CheckConstraint("amount > 0", "amount"),
        CheckConstraint("state IN ('waiting', 'booked', 'ignored')", "state"),
        CheckConstraint("(state = 'booked') = (payment_id IS NOT NULL)", "booked"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    fingerprint: Mapped[str]
    file_name: Mapped[str]
    booked_on: Mapped[date]
    amount: Mapped[Amount]
    reference: Mapped[str] = mapped_column(server_default="")
    payer: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="waiting")
    payment_id: Mapped[BigInt | None] = mapped_column(ForeignKey("payment.id"))
    staff_id: Mapped[BigInt | None]  # who booked it or put it aside
    created_at: Mapped[Created]
    ended_at: Mapped[Instant | None]
