"""How long an operator keeps what it knows, whom a court forbids to forget, and subscribers who were removed."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class RetentionRule(Tenanted, Base):
    """Rows of a kind (`crm.retention.KINDS`) go when they are older than so many days. Without a rule they stay."""

    __tablename__ = "retention_rule"
    __table_args__ = (CheckConstraint("days BETWEEN 1 AND 36500", "days"),)

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int]


class RetentionHold(Tenanted, Base):
    """A legal hold: nothing about the subscriber is deleted while it stands, whatever the rules say."""

    __tablename__ = "retention_hold"
    __table_args__ = (
        CheckConstraint("reason <> ''", "reason"),
        Index("uq_retention_hold_standing", "subscriber_id", unique=True, postgresql_where=text("lifted_at IS NULL")),
        Index("ix_retention_hold_operator_id", "operator_id", text("created_at DESC"), "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"))
    reason: Mapped[str]  # such as the number of the court's letter
    author: Mapped[str]
    created_at: Mapped[Created]
    lifted_at: Mapped[Instant | None]
    lifted_by: Mapped[str] = mapped_column(server_default="")


class RetentionRun(Tenanted, Base):
    """One night's deleting of a kind. `removed` is counted in the transactions that delete, so it is never too high.

    A run without an end was interrupted; whoever comes next goes on with it, with the same `before`.
    """

    __tablename__ = "retention_run"
    __table_args__ = (
        Index("ix_retention_run_operator_id", "operator_id", "kind", text("began_at DESC")),
        Index("uq_retention_run_open", "operator_id", "kind", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    before: Mapped[Instant]  # what is older goes
    began_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    removed: Mapped[BigInt] = mapped_column(server_default="0")
    partitions: Mapped[int] = mapped_column(server_default="0")  # dropped whole; their rows are in `removed` too


class SubscriberRemoval(Tenanted, Base):
    """A subscriber who was removed and can come back until `erase_at`.

    `services` are those that the removal ended, as `{"id", "state", "suspended_at", "cause", "detail"}`: what each was.
    `trouble` says why the time is over and the person is not erased: a word of `crm.personal_data.NotErasable`.
    """

    __tablename__ = "subscriber_removal"
    __table_args__ = (
        Index("ix_subscriber_removal_operator_id", "operator_id", text("removed_at DESC"), "subscriber_id"),
        Index("ix_subscriber_removal_erase_at", "erase_at", postgresql_where=text("erased_at IS NULL")),
    )

    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    removed_at: Mapped[Instant]
    erase_at: Mapped[Instant]
    reason: Mapped[str] = mapped_column(server_default="")
    author: Mapped[str]
    services: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    erased_at: Mapped[Instant | None]
    trouble: Mapped[str] = mapped_column(server_default="")
