"""Subscribers: the people and companies who have services."""

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, Numeric, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.types import Base, Created, Id, Instant, Tenanted, Updated

if TYPE_CHECKING:
    from db.models.custom_field import CustomValue
    from db.models.service import Service


class Subscriber(Tenanted, Base):
    __tablename__ = "subscriber"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    tax_id: Mapped[str | None]
    address: Mapped[str | None]
    latitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    language: Mapped[str | None]
    notes: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]
    removed_at: Mapped[Instant | None]  # see SubscriberRemoval; lists and searches leave them out
    updated_at: Mapped[Updated]
    search_text: Mapped[str] = mapped_column(  # what search_subscribers() looks in: folded, without accents
        Text, Computed("portico_subscriber_text(name, email, phone, tax_id, address)", persisted=True), deferred=True
    )

    services: Mapped[list["Service"]] = relationship(lazy="raise", viewonly=True, order_by="Service.id")
    own_values: Mapped[list["CustomValue"]] = relationship(lazy="raise", viewonly=True)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
    __table_args__ = (
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", "position_whole"),
        CheckConstraint("latitude BETWEEN -90 AND 90", "latitude"),
        CheckConstraint("longitude BETWEEN -180 AND 180", "longitude"),
        Index("ix_subscriber_name", "operator_id", text('name COLLATE "und-x-icu"'), "id"),
        Index("ix_subscriber_email", "operator_id", text("lower(email)")),
        Index("ix_subscriber_removed", "id", postgresql_where=text("removed_at IS NOT NULL")),
        Index("ix_subscriber_created_at", "operator_id", "created_at", "id"),
        Index(
            "ix_subscriber_position",
            "operator_id",
            "latitude",
            "longitude",
            postgresql_where=text("latitude IS NOT NULL"),
        ),
        Index(
            "ix_subscriber_search_text",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
    )
