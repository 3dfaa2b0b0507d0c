"""NAS: the routers that ask over RADIUS."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Instant, Tenanted


class Nas(Tenanted, Base):
    """A NAS is told by the source address of its packets, so the address is unique in the installation."""

    __tablename__ = "nas"
    __table_args__ = (
        Index("uq_nas_address", "address", unique=True),
        Index("uq_nas_name", "operator_id", "name", unique=True),
        CheckConstraint("coa_port BETWEEN 1 AND 65535", "coa_port"),
        CheckConstraint("coa_window BETWEEN 1 AND 200", "coa_window"),
        CheckConstraint("masklen(address) = CASE family(address) WHEN 4 THEN 32 ELSE 128 END", "address_is_host"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    address: Mapped[Inet]
    secret: Mapped[bytes]  # sealed, purpose "nas.secret"
    coa_address: Mapped[Inet | None]  # where CoA goes, when not to `address`
    coa_port: Mapped[int] = mapped_column(server_default="3799")
    coa_window: Mapped[int] = mapped_column(server_default="32")  # CoA requests in flight at once
    coa_message_authenticator: Mapped[bool] = mapped_column(server_default=text("false"))
    coa_session_id: Mapped[bool] = mapped_column(server_default=text("true"))  # whether Acct-Session-Id is sent
    require_message_authenticator: Mapped[bool] = mapped_column(server_default=text("false"))
    swap_directions: Mapped[bool] = mapped_column(server_default=text("false"))  # octets reported the other way round
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    notes: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]


class NasHeard(Tenanted, Base):
    """When a NAS last sent anything. Apart from its row, whose every change makes radiusd read it anew."""

    __tablename__ = "nas_heard"
    __table_args__ = (Index("ix_nas_heard_operator_id", "operator_id"),)

    nas_id: Mapped[BigInt] = mapped_column(primary_key=True, autoincrement=False)
    last_packet_at: Mapped[Instant]  # no finer than ten seconds
    talking_since: Mapped[Created]  # without a gap of more than ten minutes
