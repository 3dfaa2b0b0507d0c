"""What is kept on routers by the API: what waits for them, how the last look went, and where they differ."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Instant, Tenanted


class RouterQueue(Tenanted, Base):
    """A queue service at a router that is to hold it, or held it. Triggers make what has changed pending.

    `changes` grows with each change: a change that comes while an earlier one is being carried out is not lost.
    """

    __tablename__ = "router_queue"
    __table_args__ = (
        Index("ix_router_queue_service_id", "service_id"),
        Index("ix_router_queue_operator_id", "operator_id"),
        Index("ix_router_queue_pending", "nas_id", postgresql_where=text("pending_since IS NOT NULL")),
    )

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    changes: Mapped[BigInt] = mapped_column(server_default="1")
    pending_since: Mapped[Instant | None]  # None: the router has what is wanted, as far as is known
    problem: Mapped[str] = mapped_column(server_default="")  # why the router refused it, in its own words
    applied_at: Mapped[Instant | None]


class RouterSync(Tenanted, Base):
    """How the last try at a router went. `cause` is one of network.problems.Cause, empty when it went well."""

    __tablename__ = "router_sync"
    __table_args__ = (
        Index("ix_router_sync_operator_id", "operator_id"),
        CheckConstraint("attempts >= 0", "attempts"),
    )

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    looked_at: Mapped[Instant | None]  # when all of the router was last compared
    attempts: Mapped[int] = mapped_column(server_default="0")  # that failed since
    next_attempt_at: Mapped[Created]
    cause: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[str] = mapped_column(server_default="")
    queues: Mapped[int] = mapped_column(server_default="0")  # of ours, at the last look
    foreign_queues: Mapped[int] = mapped_column(server_default="0")  # made by the ISP's own people


class QueueDrift(Tenanted, Base):
    """A difference between a router and what is wanted of it, which waits for a person."""

    __tablename__ = "queue_drift"
    __table_args__ = (Index("ix_queue_drift_operator_id", "operator_id"),)

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[BigInt] = mapped_column(primary_key=True)  # as the marker says: perhaps of no service
    field: Mapped[str] = mapped_column(primary_key=True)  # network.provisioning.diff.Field
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    item: Mapped[str] = mapped_column(server_default="")  # its name on the router
    wanted: Mapped[str] = mapped_column(server_default="")
    found: Mapped[str] = mapped_column(server_default="")
    found_at: Mapped[Created]
