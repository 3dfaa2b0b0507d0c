"""The audit log: only ever added to, each entry bound to the one before it by a hash (made by a trigger)."""

from sqlalchemy import Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Json, Tenanted


class AuditEntry(Tenanted, Base):
    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_operator_id", "operator_id", text("at DESC"), "id"),
        Index("uq_audit_entry_chain", "operator_id", "id", unique=True),
        Index("ix_audit_entry_entity", "operator_id", "entity", "entity_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[BigInt]
    at: Mapped[Created]
    actor: Mapped[str]  # a staff member's e-mail address, or the process
    staff_id: Mapped[BigInt | None]
    address: Mapped[Inet | None]  # where the person sat
    action: Mapped[str]  # service.suspend, nas.create, …
    entity: Mapped[str]
    entity_id: Mapped[BigInt | None]
    before: Mapped[Json | None]
    after: Mapped[Json | None]
    hash: Mapped[bytes] = mapped_column(LargeBinary, server_default=text("''"))
