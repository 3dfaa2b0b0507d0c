"""Quotes: what somebody who asked was offered, kept as it was offered."""

from datetime import date

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Json, Tenanted


class Quote(Tenanted, Base):
    """A plan offered to a lead at the prices of its day; never changed, a new offer is another row.

    `lines` are texts with their prices before taxes that are added, each month or once, `taxes` those that held.
    """

    __tablename__ = "quote"
    __table_args__ = (
        Index("uq_quote_number", "operator_id", "number", unique=True),
        Index("ix_quote_lead_id", "lead_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    number: Mapped[BigInt]
    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("rate_plan.id"))
    language: Mapped[str]  # that it is written in
    currency: Mapped[str]
    lines: Mapped[Json]
    taxes: Mapped[Json]
    monthly: Mapped[Amount]  # with taxes
    once: Mapped[Amount]  # with taxes
    made_on: Mapped[date]
    valid_until: Mapped[date]
    note: Mapped[str] = mapped_column(server_default="")
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[Created]
