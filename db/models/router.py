"""Routers: what is needed to speak RouterOS's API to a NAS, and what was last seen of it."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.nas import Nas
from db.types import Base, BigInt, Created, Inet, Instant, Json, Tenanted


class Router(Tenanted, Base):
    """The RouterOS side of a NAS. Apart from its row, whose every change makes radiusd read the NAS anew."""

    __tablename__ = "router"
    __table_args__ = (
        Index("ix_router_operator_id", "operator_id"),
        CheckConstraint("api_port BETWEEN 1 AND 65535", "api_port"),
        CheckConstraint("wan_download > 0 AND wan_upload > 0", "wan_rate"),
    )

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    api_address: Mapped[Inet | None]  # where the API is, when not at the NAS's address
    api_port: Mapped[int] = mapped_column(server_default="8728")
    api_tls: Mapped[bool] = mapped_column(server_default=text("false"))
    api_fingerprint: Mapped[str | None]  # SHA-256 of the certificate, lower-case hex; pinned when first seen
    api_user: Mapped[str]
    api_password: Mapped[bytes]  # sealed, purpose "router.password"
    wan_interface: Mapped[str | None]
    wan_download: Mapped[BigInt | None]  # capacity in bit/s
    wan_upload: Mapped[BigInt | None]
    watched: Mapped[bool] = mapped_column(server_default=text("true"))  # polled, and alerted about
    created_at: Mapped[Created]

    nas: Mapped[Nas] = relationship(lazy="raise")


class RouterState(Tenanted, Base):
    """What the last look at a router showed. `cause` is one of network.problems.Cause, empty while it is online."""

    __tablename__ = "router_state"
    __table_args__ = (
        Index("ix_router_state_operator_id", "operator_id"),
        CheckConstraint("status IN ('unknown', 'online', 'offline')", "status"),
    )

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("router.nas_id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    status: Mapped[str] = mapped_column(server_default="unknown")
    cause: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[str] = mapped_column(server_default="")  # the router's or the system's own words
    status_since: Mapped[Created]
    checked_at: Mapped[Instant | None]
    identity: Mapped[str] = mapped_column(server_default="")
    version: Mapped[str] = mapped_column(server_default="")
    board: Mapped[str] = mapped_column(server_default="")
    serial: Mapped[str] = mapped_column(server_default="")
    facts: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # uptime, memory, interfaces: as last polled
