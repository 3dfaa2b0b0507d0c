"""The ledger: double entries that are only ever added.

An entry is sealed when its transaction commits: a deferred trigger checks that its lines balance, numbers it after the
operator's last and binds it to that by a hash over itself and its lines. A sealed entry takes no lines and no change.
"""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Tenanted

ACCOUNTS = (
    "receivable",  # what subscribers owe
    "credit",  # what subscribers have with us
    "income",
    "late_fees",
    "tax",
    "cash",
    "bank",
    "card",  # with a payment provider, on its way to us
    "collectors",  # with collectors
    "commissions",
    "expenses",
    "cash_difference",
    "foreign_cash",  # cash of other currencies, at the rates it came in
    "exchange_difference",  # what exchanging it gained (credit) or lost
)


class LedgerAccount(Tenanted, Base):
    """What an operator's accountant calls an account."""

    __tablename__ = "ledger_account"

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")


class LedgerEntry(Tenanted, Base):
    """One event of the books. `source` and `source_id` name its document: invoice, credit_note, payment, …"""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        Index("uq_ledger_entry_number", "operator_id", "number", unique=True),
        Index("ix_ledger_entry_booked_on", "operator_id", "booked_on", "number"),
        Index("ix_ledger_entry_source", "source_id", "source"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    number: Mapped[BigInt | None]  # counts the operator's entries without a gap, from 1
    booked_on: Mapped[date]
    kind: Mapped[str]  # invoice, credit_note, payment, application, void, refund, cash, commission
    source: Mapped[str]
    source_id: Mapped[BigInt]
    currency: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]
    hash: Mapped[bytes | None] = mapped_column(LargeBinary)


class LedgerLine(Tenanted, Base):
    """An amount on an account: debit above zero, credit below."""

    __tablename__ = "ledger_line"
    __table_args__ = (
        CheckConstraint("amount <> 0", "amount"),
        CheckConstraint("account IN (" + ", ".join(f"'{name}'" for name in ACCOUNTS) + ")", "account"),
        Index(
            "ix_ledger_line_subscriber_id",
            "subscriber_id",
            "account",
            postgresql_where=text("subscriber_id IS NOT NULL"),
        ),
    )

    entry_id: Mapped[BigInt] = mapped_column(ForeignKey("ledger_entry.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]  # the entry's; a trigger compares them
    account: Mapped[str]
    subscriber_id: Mapped[BigInt | None]
    amount: Mapped[Amount]
