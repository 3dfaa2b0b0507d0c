"""Invoices and credit notes: never changed once issued, except for how much of them is settled."""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount, Percent
from db.models.currency import Rate
from db.types import Base, BigInt, Created, Id, Json, Tenanted


class DocumentSeries(Tenanted, Base):
    """Where numbers come from. The row is locked by who takes one, so a number is used or it is not taken."""

    __tablename__ = "document_series"
    __table_args__ = (CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", "kind"),)

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(server_default="")
    next_number: Mapped[BigInt] = mapped_column(server_default="1")


class Invoice(Tenanted, Base):
    """What a subscriber owes. `details` are the names, addresses and tax numbers of both, as they were that day.

    `kind` is `period` (a service's days, with whatever waited) or `charges` (charges alone).
    """

    __tablename__ = "invoice"
    __table_args__ = (
        Index("uq_invoice_number", "operator_id", "prefix", "number", unique=True),
        Index("ix_invoice_number", "operator_id", "number"),
        Index("ix_invoice_operator_id", "operator_id", text("issued_on DESC"), text("id DESC")),
        Index("ix_invoice_due_on", "operator_id", "due_on", "id"),  # as these three, the list may be sorted
        Index("ix_invoice_total", "operator_id", "total", "id"),
        Index("ix_invoice_open_sum", "operator_id", "open", "id"),
        Index("ix_invoice_subscriber_id", "subscriber_id", "id"),
        Index("ix_invoice_service_id", "service_id", "id"),
        Index(
            "ix_invoice_open",
            "operator_id",
            "due_on",
            "id",
            postgresql_where=text("paid + credited < total"),
        ),
        CheckConstraint("kind IN ('period', 'charges')", "kind"),
        CheckConstraint("net + tax = total AND total >= 0", "sum"),
        CheckConstraint("paid >= 0 AND credited >= 0 AND paid + credited <= total", "settled"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[BigInt | None] = mapped_column(ForeignKey("service.id"))
    kind: Mapped[str]
    prefix: Mapped[str]
    number: Mapped[BigInt]
    issued_on: Mapped[date]
    due_on: Mapped[date]
    period_first: Mapped[date | None]
    period_last: Mapped[date | None]
    currency: Mapped[str]
    net: Mapped[Amount]
    tax: Mapped[Amount]
    total: Mapped[Amount]
    paid: Mapped[Amount] = mapped_column(server_default="0")
    credited: Mapped[Amount] = mapped_column(server_default="0")
    open: Mapped[Decimal] = mapped_column(Numeric(16, 4), Computed("total - paid - credited", persisted=True))
    details: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[Created]


class InvoiceLine(Tenanted, Base):
    """`kind`: plan, charge, recurring, late_fee, discount. `description` is a name; the days stand beside it.

    Of a plan that is priced in another currency: which, its price a month there, and the rate it was billed at.
    """

    __tablename__ = "invoice_line"
    __table_args__ = (CheckConstraint("net + tax = total", "sum"),)

    invoice_id: Mapped[BigInt] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]  # the invoice's; a trigger compares them
    kind: Mapped[str]
    description: Mapped[str]
    plan_id: Mapped[BigInt | None]
    first: Mapped[date | None]
    last: Mapped[date | None]
    net: Mapped[Amount]
    tax: Mapped[Amount]
    total: Mapped[Amount]
    foreign_currency: Mapped[str | None]
    foreign_price: Mapped[Amount | None]
    exchange_rate: Mapped[Rate | None]


class InvoiceTax(Tenanted, Base):
    """One tax of an invoice: the sum of what its lines bear."""

    __tablename__ = "invoice_tax"

    invoice_id: Mapped[BigInt] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]  # the invoice's; a trigger compares them
    name: Mapped[str]
    rate: Mapped[Percent]
    base: Mapped[Amount]
    amount: Mapped[Amount]


class CreditNote(Tenanted, Base):
    """Takes back an invoice, or a part of it. `lines`: list of {kind, description, first, last, net, tax, total}."""

    __tablename__ = "credit_note"
    __table_args__ = (
        Index("uq_credit_note_number", "operator_id", "prefix", "number", unique=True),
        Index("ix_credit_note_invoice_id", "invoice_id"),
        Index("ix_credit_note_subscriber_id", "subscriber_id", "id"),
        CheckConstraint("net + tax = total AND total > 0", "sum"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    invoice_id: Mapped[BigInt] = mapped_column(ForeignKey("invoice.id"))
    prefix: Mapped[str]
    number: Mapped[BigInt]
    issued_on: Mapped[date]
    currency: Mapped[str]
    net: Mapped[Amount]
    tax: Mapped[Amount]
    total: Mapped[Amount]
    lines: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    taxes: Mapped[Json] = mapped_column(server_default=text("'[]'"))  # {name, rate, base, amount}
    reason: Mapped[str]
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
