"""Backups of routers: each configuration that was not the one before, and how the last try at a router went."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted


class RouterBackup(Tenanted, Base):
    """A router's configuration from `taken_at` on; at `seen_at` it was still the same.

    `content` is the text of network.backups_text, compressed, in base 85 and sealed: it holds the router's secrets.
    """

    __tablename__ = "router_backup"
    __table_args__ = (
        Index("ix_router_backup_nas_id", "nas_id", text("taken_at DESC")),
        Index("ix_router_backup_operator_id", "operator_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    taken_at: Mapped[Created]
    seen_at: Mapped[Created]
    version: Mapped[str] = mapped_column(server_default="")  # RouterOS's
    content: Mapped[bytes]  # sealed, purpose "router.backup"
    lines: Mapped[int]
    added: Mapped[int] = mapped_column(server_default="0")  # lines, against the one before
    removed: Mapped[int] = mapped_column(server_default="0")


class RouterBackupState(Tenanted, Base):
    """The last try at a router. `cause` is one of network.problems.Cause, empty when it went well."""

    __tablename__ = "router_backup_state"
    __table_args__ = (Index("ix_router_backup_state_operator_id", "operator_id"),)

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    tried_at: Mapped[Instant]
    done_at: Mapped[Instant | None]  # when the configuration was last read whole
    cause: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[str] = mapped_column(server_default="")
