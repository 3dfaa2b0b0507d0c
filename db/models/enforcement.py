"""Enforcement: what each service is granted now, and the orders that make the network agree."""

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class TermsRecord(Tenanted, Base):
    """Terms by the hash of their content (radius.terms), so that an id read back from Class says what was granted."""

    __tablename__ = "terms"

    operator_id: Mapped[BigInt] = mapped_column(primary_key=True)
    id: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    content: Mapped[Json]


class ServiceGrant(Tenanted, Base):
    """The standing decision of a service: what any of its sessions should have."""

    __tablename__ = "service_grant"
    __table_args__ = (Index("ix_service_grant_changes_at", "changes_at"),)

    service_id: Mapped[BigInt] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]
    outcome: Mapped[str]  # accept, garden, reject
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    terms_id: Mapped[bytes | None] = mapped_column(BYTEA)  # None: rejected
    changes_at: Mapped[Instant | None]  # when time alone will change it
    computed_at: Mapped[Created]


class EnforcementOrder(Tenanted, Base):
    """What must become true of one session. Done when accounting shows it (`verified`), not when the NAS says so."""

    __tablename__ = "enforcement_order"
    __table_args__ = (
        Index(
            "uq_enforcement_order_open",
            "session_id",
            unique=True,
            postgresql_where=text("state IN ('pending', 'sent', 'acked')"),
        ),
        Index(
            "ix_enforcement_order_due",
            "nas_id",
            "next_attempt_at",
            postgresql_where=text("state IN ('pending', 'sent', 'acked')"),
        ),
        Index("ix_enforcement_order_operator_id", "operator_id", text("created_at DESC"), "id"),
        Index("ix_enforcement_order_service_id", "service_id", text("created_at DESC")),
        CheckConstraint("kind IN ('coa', 'disconnect', 'api')", "kind"),
        CheckConstraint(
            "state IN ('pending', 'sent', 'acked', 'verified', 'failed', 'superseded', 'cancelled')", "state"
        ),
    )

    id: Mapped[Id]
    operator_id: Mapped[BigInt]
    nas_id: Mapped[BigInt]
    session_id: Mapped[BigInt]
    session_started_at: Mapped[Instant]
    service_id: Mapped[BigInt | None]
    kind: Mapped[str]
    cause: Mapped[str]  # a Reason, or plan, staff
    terms_id: Mapped[bytes | None] = mapped_column(BYTEA)  # wanted; None: nothing, the session must end
    state: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[Created]
    outcome: Mapped[str] = mapped_column(server_default="")  # ack, nak, timeout, unreachable, …
    error_cause: Mapped[int | None]  # RFC 5176 §3.5
    requested_by: Mapped[str] = mapped_column(server_default="")  # a person's name where a person asked
    created_at: Mapped[Created]
    sent_at: Mapped[Instant | None]
    answered_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]


class EnforcementAttempt(Tenanted, Base):
    """One request sent for an order and the answer to it."""

    __tablename__ = "enforcement_attempt"
    __table_args__ = (Index("ix_enforcement_attempt_order_id", "order_id"),)

    id: Mapped[Id]
    operator_id: Mapped[BigInt]
    order_id: Mapped[BigInt]
    at: Mapped[Created]
    kind: Mapped[str]
    result: Mapped[str]  # ack, nak, timeout, unreachable
    error_cause: Mapped[int | None]
    milliseconds: Mapped[int | None]
