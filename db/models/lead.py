"""Leads: people who may become subscribers, from the first call until they are won or lost."""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, Created, Id, Instant, Tenanted

LEAD_STATES = ("new", "contacted", "quoted", "won", "lost")
LEAD_SOURCES = ("phone", "walk_in", "website", "referral", "campaign", "door", "other")


class Lead(Tenanted, Base):
    """Somebody who asked. `subscriber_id` is who they became; `next_step_on` is a day in the operator's zone."""

    __tablename__ = "lead"
    __table_args__ = (
        CheckConstraint("state IN ('new', 'contacted', 'quoted', 'won', 'lost')", "state"),
        CheckConstraint("source IN ('phone', 'walk_in', 'website', 'referral', 'campaign', 'door', 'other')", "source"),
        CheckConstraint("(state = 'won') = (subscriber_id IS NOT NULL)", "won"),
        CheckConstraint("(state IN ('won', 'lost')) = (closed_at IS NOT NULL)", "closed"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", "position_whole"),
        Index("ix_lead_state", "operator_id", "state", "id"),
        Index("ix_lead_created_at", "operator_id", "created_at", "id"),
        Index("ix_lead_subscriber_id", "subscriber_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    phone: Mapped[str | None]
    email: Mapped[str | None]
    address: Mapped[str | None]
    latitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    source: Mapped[str] = mapped_column(server_default="other")
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("rate_plan.id"))  # wished for
    seller_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    state: Mapped[str] = mapped_column(server_default="new")
    lost_reason: Mapped[str] = mapped_column(server_default="")
    next_step: Mapped[str] = mapped_column(server_default="")
    next_step_on: Mapped[date | None]
    notes: Mapped[str] = mapped_column(server_default="")
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]
    closed_at: Mapped[Instant | None]

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
