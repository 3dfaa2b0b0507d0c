"""Staff: the people of an operator who sign in."""

from sqlalchemy import ForeignKey, Index, text
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
    created_at: Mapped[Created]

    __table_args__ = (
        Index("uq_staff_email", text("lower(email)"), unique=True),
        Index("ix_staff_operator_id", "operator_id"),
    )
