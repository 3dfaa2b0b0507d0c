"""Currencies beside the one of an operator's books: which are taken, their rates, and the notes that came in."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Tenanted

Rate = Annotated[Decimal, mapped_column(Numeric(20, 10))]
"""How much of the books' currency one unit of another is worth."""


class ForeignCurrency(Tenanted, Base):
    """A currency that an operator takes and prices in beside the one of the books. Switched off, its past stays."""

    __tablename__ = "foreign_currency"

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class ExchangeRate(Tenanted, Base):
    """What one unit of a currency was worth on a day. Never changed: the last one entered for a day is its rate."""

    __tablename__ = "exchange_rate"
    __table_args__ = (
        Index("ix_exchange_rate_day", "operator_id", "currency", text("day DESC"), text("id DESC")),
        CheckConstraint("rate > 0", "rate"),
        CheckConstraint("source IN ('typed', 'file')", "source"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    currency: Mapped[str]
    books_currency: Mapped[str]
    day: Mapped[date]
    rate: Mapped[Rate]
    source: Mapped[str] = mapped_column(server_default="typed")
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class ForeignCash(Tenanted, Base):
    """Cash of another currency that came in (above zero) or went out, and what it is worth in the books.

    `value` is in the books' currency, at the rate the cash came in at. What a collector holds is not on the company's
    account yet. `desk_id` is the till it lies in, where it is one that was open. `settled` is of no cash: what was left
    of the value when the last of it was gone.
    """

    __tablename__ = "foreign_cash"
    __table_args__ = (
        Index("ix_foreign_cash_currency", "operator_id", "currency", "id"),
        Index("ix_foreign_cash_desk_id", "desk_id", postgresql_where=text("desk_id IS NOT NULL")),
        Index("ix_foreign_cash_collector_id", "collector_id", postgresql_where=text("collector_id IS NOT NULL")),
        CheckConstraint(
            "kind IN ('payment', 'void', 'refund', 'deposit', 'expense', 'handover', 'added', 'exchange', 'counted',"
            " 'settled')",
            "kind",
        ),
        CheckConstraint("(amount = 0) = (kind = 'settled')", "amount"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    currency: Mapped[str]
    kind: Mapped[str]
    amount: Mapped[Amount]
    value: Mapped[Amount]
    got: Mapped[Amount | None]  # of an exchange: what the bank gave for it, in the books' currency
    desk_id: Mapped[BigInt | None] = mapped_column(ForeignKey("cash_desk.id"))
    collector_id: Mapped[BigInt | None] = mapped_column(ForeignKey("collector.id"))
    payment_id: Mapped[BigInt | None] = mapped_column(ForeignKey("payment.id"))
    description: Mapped[str] = mapped_column(server_default="")
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class DeskCurrency(Tenanted, Base):
    """What of another currency was in a till when it was opened, and what was counted when it was closed."""

    __tablename__ = "desk_currency"
    __table_args__ = (
        CheckConstraint("opening >= 0 AND counted >= 0", "amounts"),
        CheckConstraint("num_nulls(expected, counted) IN (0, 2)", "closing_whole"),
    )

    desk_id: Mapped[BigInt] = mapped_column(ForeignKey("cash_desk.id"), primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    opening: Mapped[Amount]
    expected: Mapped[Amount | None]
    counted: Mapped[Amount | None]
