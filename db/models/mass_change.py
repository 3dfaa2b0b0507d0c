"""Changes of many services at once, and what became of each service."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Json, Tenanted


class MassChange(Tenanted, Base):
    """One change that a person asked for. `terms` is what it changes to (crm.mass_change.Change)."""

    __tablename__ = "mass_change"
    __table_args__ = (
        CheckConstraint("kind IN ('plan', 'suspend', 'restore', 'management', 'paid_until')", "kind"),
        Index("ix_mass_change_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    terms: Mapped[Json]
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class MassChangeRow(Tenanted, Base):
    """A service of a mass change. `before` is what an undo goes back to, `problem` why nothing was changed."""

    __tablename__ = "mass_change_row"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'done', 'kept', 'refused', 'undone')", "state"),
        Index("ix_mass_change_row_state", "mass_change_id", "state", "service_id"),
        Index("ix_mass_change_row_service_id", "service_id"),
    )

    mass_change_id: Mapped[int] = mapped_column(ForeignKey("mass_change.id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[int] = mapped_column(ForeignKey("service.id"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    state: Mapped[str] = mapped_column(server_default="waiting")
    before: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    problem: Mapped[str] = mapped_column(server_default="")
