"""How subscribers sign in to their own pages: a password, a code sent by e-mail, a link sent by e-mail."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted


class SubscriberLogin(Tenanted, Base):
    """A subscriber who may sign in. The password is theirs alone: no password of a service is ever one."""

    __tablename__ = "subscriber_login"
    __table_args__ = (Index("ix_subscriber_login_operator_id", "operator_id"),)

    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    password_hash: Mapped[str | None]  # argon2id; None: they sign in by codes
    session_version: Mapped[int] = mapped_column(server_default="1")  # raising it signs out every browser
    given_at: Mapped[Instant | None]  # when the first login was sent
    last_login_at: Mapped[Instant | None]
    created_at: Mapped[Created]


class SignInCode(Tenanted, Base):
    """A code of six digits that was asked for an e-mail address, whether or not a subscriber has that address."""

    __tablename__ = "sign_in_code"
    __table_args__ = (Index("ix_sign_in_code_email", "operator_id", "email", "id"),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    email: Mapped[str]  # in small letters
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)  # HMAC-SHA256 under a key of the installation
    attempts: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    created_at: Mapped[Created]


class SignInLink(Tenanted, Base):
    """A link by which a subscriber sets a password, good once. Only the hash of what stands in it is kept."""

    __tablename__ = "sign_in_link"
    __table_args__ = (
        CheckConstraint("purpose IN ('first', 'recovery')", "purpose"),
        Index("uq_sign_in_link_token_hash", "token_hash", unique=True),
        Index("ix_sign_in_link_subscriber_id", "subscriber_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    created_at: Mapped[Created]


class ContactChange(Tenanted, Base):
    """Another e-mail address or phone that a subscriber asked for, until a code that was sent there comes back."""

    __tablename__ = "contact_change"
    __table_args__ = (
        CheckConstraint("kind IN ('email', 'phone')", "kind"),
        Index("ix_contact_change_operator_id", "operator_id"),
        Index("ix_contact_change_subscriber_id", "subscriber_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"))
    kind: Mapped[str]
    wanted: Mapped[str]
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)  # HMAC-SHA256 under a key of the installation
    attempts: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    created_at: Mapped[Created]
