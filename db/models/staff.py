"""Staff: the people of an operator who sign in, the links they first come by, and what their roles may do here."""

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, Created, Id, Instant, Tenanted

ROLES = ("manager", "sales", "support", "finance", "technical")


class Staff(Tenanted, Base):
    __tablename__ = "staff"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str]  # argon2id
    roles: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    language: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    session_version: Mapped[int] = mapped_column(server_default="1")  # raising it signs out every browser
    last_login_at: Mapped[Instant | None]
    must_change_password: Mapped[bool] = mapped_column(server_default=text("false"))  # before anything else
    awaits_password_since: Mapped[Instant | None]  # invited or reset: nobody can sign in before a link is used
    created_at: Mapped[Created]

    __table_args__ = (
        Index("uq_staff_email", text("lower(email)"), unique=True),
        Index("ix_staff_operator_id", "operator_id"),
    )


class StaffLink(Tenanted, Base):
    """A link that lets somebody choose a password, once. A later link of the same person ends it."""

    __tablename__ = "staff_link"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256: who reads the table cannot use the links
    made_by: Mapped[str]  # e-mail address
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]  # or when another took its place
    created_at: Mapped[Created]

    __table_args__ = (
        Index("uq_staff_link_token", "operator_id", "token_hash", unique=True),
        Index("ix_staff_link_staff_id", "staff_id"),
    )


class RolePermission(Tenanted, Base):
    """Where an operator's role differs from what that role may do everywhere: one permission more, or one less."""

    __tablename__ = "role_permission"

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    permission: Mapped[str] = mapped_column(primary_key=True)
    allowed: Mapped[bool]
