"""Accounts: an operator as a customer of the platform that it runs on, its licence, and its resellers.

One operator is the platform itself: its staff run the installation. What the platform may do with the rows of others
stands in policies beside those of tenancy (`portico_platform()`), and holds for these tables alone.
"""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class Account(Tenanted, Base):
    """An operator as a customer. Operators without a row came before there were accounts, and lack nothing."""

    __tablename__ = "account"
    __table_args__ = (
        Index("uq_account_platform", "platform", unique=True, postgresql_where=text("platform")),
        Index("ix_account_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        CheckConstraint("parent_id IS NULL OR (parent_id <> operator_id AND NOT platform)", "parent"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    platform: Mapped[bool] = mapped_column(server_default=text("false"))  # its staff run the installation
    parent_id: Mapped[BigInt | None] = mapped_column(ForeignKey("operator.id"))  # whose reseller it is
    country: Mapped[str | None]  # crm.countries
    suspended_at: Mapped[Instant | None]  # its staff are kept out; subscribers notice nothing
    suspended_reason: Mapped[str] = mapped_column(server_default="")
    removal_asked_at: Mapped[Instant | None]
    removal_asked_by: Mapped[str] = mapped_column(server_default="")
    removes_at: Mapped[Instant | None]  # all of it is removed then
    adviser: Mapped[str] = mapped_column(server_default="")  # of the platform's row: who says how to go on
    whatsapp: Mapped[str] = mapped_column(server_default="")
    contact_email: Mapped[str] = mapped_column(server_default="")
    first_steps_hidden: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class Licence(Tenanted, Base):
    """What an operator may have from an instant on; the newest row holds, those before it are its history."""

    __tablename__ = "licence"
    __table_args__ = (
        Index("ix_licence_operator_id", "operator_id", "id"),
        CheckConstraint("period IN ('demo', 'monthly', 'annual')", "period"),
        CheckConstraint("subscriber_limit > 0 AND price >= 0", "amounts"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    subscriber_limit: Mapped[int | None]  # None: as many as there are
    period: Mapped[str]
    price: Mapped[Amount] = mapped_column(server_default="0")
    currency: Mapped[str] = mapped_column(server_default="USD")
    until: Mapped[date | None]  # the last day; None: without end
    note: Mapped[str] = mapped_column(server_default="")
    made_by: Mapped[str]
    reminded: Mapped[int | None]  # the fewest days before the end of which was told
    created_at: Mapped[Created]


class SignUp(Tenanted, Base):
    """Somebody who asked for an account; a row of the platform."""

    __tablename__ = "sign_up"
    __table_args__ = (
        Index("uq_sign_up_token", "token_hash", unique=True),
        Index("ix_sign_up_email", text("lower(email)"), "created_at"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))  # the platform
    name: Mapped[str]
    email: Mapped[str]
    language: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256: who reads the table cannot use the links
    address: Mapped[str | None]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    made_operator_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class Consent(Tenanted, Base):
    """Leave that an operator gives somebody of the platform, or of its parent, to act in its place for some hours."""

    __tablename__ = "consent"
    __table_args__ = (
        Index("ix_consent_operator_id", "operator_id", "id"),
        Index("ix_consent_staff_id", "staff_id", unique=True, postgresql_where=text("staff_id IS NOT NULL")),
        Index("ix_consent_asker", "asker_operator_id"),
        CheckConstraint("hours BETWEEN 1 AND 168", "hours"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    asker_operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"))
    asked_by: Mapped[str] = mapped_column(server_default="")  # e-mail address; empty: given without being asked
    reason: Mapped[str] = mapped_column(server_default="")
    hours: Mapped[int]
    created_at: Mapped[Created]
    granted_at: Mapped[Instant | None]
    granted_by: Mapped[str] = mapped_column(server_default="")
    until: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]  # refused, ended early, or run out
    staff_id: Mapped[BigInt | None] = mapped_column(ForeignKey("staff.id"))  # as whom they act


class AccountRequest(Tenanted, Base):
    """What an operator wrote to the platform: that it wants more places, or has a question."""

    __tablename__ = "account_request"
    __table_args__ = (Index("ix_account_request_operator_id", "operator_id"),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str] = mapped_column(server_default="")
    words: Mapped[str]
    created_at: Mapped[Created]
    done_at: Mapped[Instant | None]


class WholesalePrice(Tenanted, Base):
    """A plan that a parent gives a reseller, and what the reseller pays a month for each service on it."""

    __tablename__ = "wholesale_price"
    __table_args__ = (
        Index("uq_wholesale_price_plan", "reseller_id", "plan_id", unique=True),
        Index("ix_wholesale_price_operator_id", "operator_id"),
        CheckConstraint("price >= 0", "price"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))  # the parent
    reseller_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"))
    plan_id: Mapped[BigInt] = mapped_column(ForeignKey("rate_plan.id", ondelete="CASCADE"))  # the parent's
    reseller_plan_id: Mapped[BigInt]  # what the reseller sells it as; it may have removed it
    name: Mapped[str]
    price: Mapped[Amount]
    created_at: Mapped[Created]


class WholesaleStatement(Tenanted, Base):
    """What a reseller owes its parent for a month: `lines` are plan, services, price and amount."""

    __tablename__ = "wholesale_statement"
    __table_args__ = (Index("uq_wholesale_statement_month", "reseller_id", "month", unique=True),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))  # the parent
    reseller_id: Mapped[BigInt]  # no foreign key: the parent's books outlive a reseller
    reseller: Mapped[str]
    month: Mapped[date]  # its first day
    lines: Mapped[Json]
    total: Mapped[Amount]
    currency: Mapped[str]
    created_at: Mapped[Created]


class SampleRow(Tenanted, Base):
    """One row that was made to look at, and goes with the other samples unless it has become real."""

    __tablename__ = "sample_row"

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    entity: Mapped[str] = mapped_column(primary_key=True)
    entity_id: Mapped[BigInt] = mapped_column(primary_key=True)
