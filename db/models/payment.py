"""Payments, what they pay, the desks and people who take them, and promises to pay."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount, Percent
from db.models.currency import Rate
from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted

METHOD_ACCOUNTS = ("cash", "bank", "card")


class PaymentMethod(Tenanted, Base):
    """A way to pay that an operator takes; `account` is where the money lands in the ledger."""

    __tablename__ = "payment_method"
    __table_args__ = (
        Index("uq_payment_method_name", "operator_id", "name", unique=True),
        CheckConstraint("account IN ('cash', 'bank', 'card')", "account"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    account: Mapped[str]
    needs_reference: Mapped[bool] = mapped_column(server_default=text("false"))
    gateway: Mapped[str | None]  # stripe, mercadopago: payments come from it, not from staff
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class Collector(Tenanted, Base):
    """Somebody who collects payments on the road and owes them to the operator, less a commission."""

    __tablename__ = "collector"
    __table_args__ = (CheckConstraint("commission BETWEEN 0 AND 100", "commission"),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    staff_id: Mapped[BigInt | None] = mapped_column(ForeignKey("staff.id"))
    commission: Mapped[Percent] = mapped_column(server_default="0")  # percent of what was collected
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class CashDesk(Tenanted, Base):
    """A cashier's till, from its opening to its closing: a row for each. `expected` is what should be in it."""

    __tablename__ = "cash_desk"
    __table_args__ = (
        Index("uq_cash_desk_open", "staff_id", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_cash_desk_operator_id", "operator_id", text("opened_at DESC")),
        CheckConstraint("opening >= 0 AND counted >= 0", "amounts"),
        CheckConstraint("num_nulls(closed_at, counted, expected) IN (0, 3)", "closing_whole"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[BigInt] = mapped_column(ForeignKey("staff.id"))
    currency: Mapped[str]
    opened_at: Mapped[Created]
    opening: Mapped[Amount]
    closed_at: Mapped[Instant | None]
    expected: Mapped[Amount | None]
    counted: Mapped[Amount | None]
    note: Mapped[str] = mapped_column(server_default="")


class Payment(Tenanted, Base):
    """Money of a subscriber. `unapplied` is what no invoice has taken yet: the subscriber's credit.

    `external_id` is the provider's own id of an online payment, taken once however often it is told. One that came in
    another currency keeps it: `amount` is `foreign_amount` at `exchange_rate`, less the change that was given back, and
    like everything else of a payment in the currency of the books.
    """

    __tablename__ = "payment"
    __table_args__ = (
        Index("uq_payment_receipt", "operator_id", "prefix", "number", unique=True),
        Index("uq_payment_external_id", "operator_id", "method_id", "external_id", unique=True),
        Index("ix_payment_number", "operator_id", "number"),
        Index(
            "ix_payment_reference",
            "operator_id",
            text("lower(reference)"),
            postgresql_where=text("reference <> ''"),
        ),
        Index("ix_payment_operator_id", "operator_id", text("paid_on DESC"), text("id DESC")),
        Index("ix_payment_amount", "operator_id", "amount", "id"),
        Index("ix_payment_subscriber_id", "subscriber_id", "id"),
        Index("ix_payment_unapplied", "subscriber_id", "id", postgresql_where=text("unapplied > 0")),
        Index("ix_payment_desk_id", "desk_id"),
        Index("ix_payment_collector_id", "collector_id"),
        CheckConstraint("amount > 0", "amount"),
        CheckConstraint("unapplied >= 0 AND refunded >= 0 AND unapplied + refunded <= amount", "left"),
        CheckConstraint("(voided_at IS NULL) = (void_reason = '')", "void"),
        CheckConstraint("num_nulls(foreign_currency, foreign_amount, exchange_rate) IN (0, 3)", "foreign_whole"),
        CheckConstraint("change_given >= 0 AND (change_given = 0 OR foreign_amount IS NOT NULL)", "change"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    method_id: Mapped[BigInt] = mapped_column(ForeignKey("payment_method.id"))
    prefix: Mapped[str]
    number: Mapped[BigInt]  # of the receipt
    currency: Mapped[str]
    amount: Mapped[Amount]
    unapplied: Mapped[Amount]
    refunded: Mapped[Amount] = mapped_column(server_default="0")
    paid_on: Mapped[date]
    reference: Mapped[str] = mapped_column(server_default="")
    note: Mapped[str] = mapped_column(server_default="")
    external_id: Mapped[str | None]
    desk_id: Mapped[BigInt | None] = mapped_column(ForeignKey("cash_desk.id"))
    collector_id: Mapped[BigInt | None] = mapped_column(ForeignKey("collector.id"))
    commission: Mapped[Amount] = mapped_column(server_default="0")
    staff_id: Mapped[BigInt | None]
    foreign_currency: Mapped[str | None]
    foreign_amount: Mapped[Amount | None]
    exchange_rate: Mapped[Rate | None]
    change_given: Mapped[Amount] = mapped_column(server_default="0")
    effects: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # what it did, as its receipt shows it
    created_at: Mapped[Created]
    voided_at: Mapped[Instant | None]
    void_reason: Mapped[str] = mapped_column(server_default="")


class PaymentApplication(Tenanted, Base):
    """What a payment pays of an invoice; below zero where it was taken back."""

    __tablename__ = "payment_application"
    __table_args__ = (
        Index("ix_payment_application_payment_id", "payment_id"),
        Index("ix_payment_application_invoice_id", "invoice_id"),
        CheckConstraint("amount <> 0", "amount"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    payment_id: Mapped[BigInt] = mapped_column(ForeignKey("payment.id"))
    invoice_id: Mapped[BigInt] = mapped_column(ForeignKey("invoice.id"))
    amount: Mapped[Amount]
    created_at: Mapped[Created]


class Refund(Tenanted, Base):
    """Money of a payment that was given back."""

    __tablename__ = "refund"
    __table_args__ = (
        Index("ix_refund_payment_id", "payment_id"),
        Index("uq_refund_external_id", "payment_id", "external_id", unique=True),
        CheckConstraint("amount > 0", "amount"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    payment_id: Mapped[BigInt] = mapped_column(ForeignKey("payment.id"))
    amount: Mapped[Amount]
    foreign_amount: Mapped[Amount | None]  # of a payment in another currency: what of it was given back
    refunded_on: Mapped[date]
    reason: Mapped[str]
    external_id: Mapped[str | None]
    desk_id: Mapped[BigInt | None] = mapped_column(ForeignKey("cash_desk.id"))
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class CashMovement(Tenanted, Base):
    """Cash that comes into a till or leaves it other than by payments and refunds: taken to the bank, spent, added."""

    __tablename__ = "cash_movement"
    __table_args__ = (
        Index("ix_cash_movement_desk_id", "desk_id"),
        CheckConstraint("kind IN ('deposit', 'expense', 'handover', 'added', 'exchange')", "kind"),
        CheckConstraint("(amount > 0) = (kind IN ('handover', 'added', 'exchange')) AND amount <> 0", "amount"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    desk_id: Mapped[BigInt | None] = mapped_column(ForeignKey("cash_desk.id"))
    kind: Mapped[str]
    amount: Mapped[Amount]  # above zero comes in
    description: Mapped[str] = mapped_column(server_default="")
    collector_id: Mapped[BigInt | None] = mapped_column(ForeignKey("collector.id"))  # who hands over
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class Promise(Tenanted, Base):
    """A promise to pay: until that day, that day included, the service is not cut."""

    __tablename__ = "promise"
    __table_args__ = (
        Index("ix_promise_service_id", "service_id", "id"),
        Index("uq_promise_open", "service_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_promise_operator_id", "operator_id", "until"),
        CheckConstraint("state IN ('open', 'kept', 'broken', 'cancelled')", "state"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id"))
    until: Mapped[date]
    note: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="open")
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
    ended_at: Mapped[Instant | None]


class RenderedDocument(Tenanted, Base):
    """A PDF that was made of an invoice, credit note or receipt, kept so that it is made once."""

    __tablename__ = "rendered_document"
    __table_args__ = (CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", "kind"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[BigInt] = mapped_column(primary_key=True)
    paper: Mapped[str] = mapped_column(primary_key=True)  # a4, ticket
    language: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    fingerprint: Mapped[str]  # of what it shows; another one means it is to be made again
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Created]
