"""Router logins: with which name and rights a staff member logs in to routers through RADIUS."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, Created, Tenanted


class RouterLogin(Tenanted, Base):
    """A staff member's name and password on routers. `nas_ids` names the only NAS that let them in; None is all."""

    __tablename__ = "router_login"
    __table_args__ = (
        Index("uq_router_login_name", "operator_id", text("lower(name)"), unique=True),
        CheckConstraint("name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$'", "name"),
    )

    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    password: Mapped[bytes]  # sealed, purpose "router_login.password"
    nas_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BIGINT))
    changed_at: Mapped[Created]


class RouterGroup(Tenanted, Base):
    """The group of RouterOS that a role gets on routers. A role without a row gets into none."""

    __tablename__ = "router_group"
    __table_args__ = (CheckConstraint("router_group IN ('full', 'write', 'read')", "router_group"),)

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    router_group: Mapped[str]
