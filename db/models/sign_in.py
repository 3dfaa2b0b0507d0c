"""Signing in of staff: their sessions and devices, their second factors, and what an operator demands of them."""

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Instant, Tenanted


class LoginDevice(Tenanted, Base):
    """A browser from which somebody has signed in, told by a cookie that holds nothing else."""

    __tablename__ = "login_device"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256
    user_agent: Mapped[str]
    trusted_until: Mapped[Instant | None]  # no second factor is asked for before
    created_at: Mapped[Created]
    seen_at: Mapped[Instant]

    __table_args__ = (Index("uq_login_device_token", "staff_id", "token_hash", unique=True),)


class LoginSession(Tenanted, Base):
    """One sign-in, from the password to the sign-out. The cookie holds the key; here is its hash."""

    __tablename__ = "login_session"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    device_id: Mapped[int] = mapped_column(ForeignKey("login_device.id", ondelete="CASCADE"))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256
    address: Mapped[Inet | None]  # from which it began
    user_agent: Mapped[str]
    factor: Mapped[str]  # password, device, code, recovery, passkey: what the sign-in rests on beside the password
    created_at: Mapped[Created]
    seen_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    ended_why: Mapped[str | None]  # signed_out, revoked, idle, too_old, password, staff

    __table_args__ = (
        Index("uq_login_session_key", "key_hash", unique=True),
        Index("ix_login_session_staff_id", "staff_id", "seen_at"),
    )


class Authenticator(Tenanted, Base):
    """An app that shows codes of six digits (TOTP, RFC 6238)."""

    __tablename__ = "authenticator"

    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "staff.authenticator"
    confirmed_at: Mapped[Instant | None]  # before, it is being set up and asks nobody for anything
    last_step: Mapped[BigInt] = mapped_column(server_default=text("0"))  # of thirty seconds: a code is good once
    created_at: Mapped[Created]


class RecoveryCode(Tenanted, Base):
    """A code on paper, for the day on which the second factor is lost. Good once."""

    __tablename__ = "recovery_code"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256 of 80 bits of chance
    used_at: Mapped[Instant | None]
    created_at: Mapped[Created]

    __table_args__ = (Index("ix_recovery_code_staff_id", "staff_id"),)


class Passkey(Tenanted, Base):
    """A key that a device or a security key holds for one name of the portal (WebAuthn)."""

    __tablename__ = "passkey"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[BigInt] = mapped_column(server_default=text("0"))
    name: Mapped[str]
    created_at: Mapped[Created]
    used_at: Mapped[Instant | None]

    __table_args__ = (Index("uq_passkey_credential", "staff_id", "credential_id", unique=True),)


class SignInRule(Tenanted, Base):
    """What an operator demands of its staff when they sign in."""

    __tablename__ = "sign_in_rule"

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    factor_roles: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))  # need a second factor
