"""Vouchers: batches of access codes, the codes, and their sales.

A voucher is a service (access method `voucher`), so that sessions, orders and explanations are the same as everybody's.
Its code is nowhere in clear: `lookup` is its keyed hash, by which radiusd and the staff find it, and `code` the code
itself, sealed, until the first login. Both keys are outside the database.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import BigInteger

from db.models.billing import Amount
from db.models.service import Service
from db.types import Base, BigInt, Created, Id, Instant, Tenanted


class VoucherSettings(Tenanted, Base):
    """What an operator's vouchers stand on: the key of its codes, and whose services and sales they are."""

    __tablename__ = "voucher_settings"

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    code_key: Mapped[bytes]  # sealed, purpose "voucher.key"
    stock_subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))  # has the services
    counter_subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))  # buys over the counter
    created_at: Mapped[Created]


class VoucherBatch(Tenanted, Base):
    """Vouchers that were made together. Lengths are seconds; None is no limit of that sort."""

    __tablename__ = "voucher_batch"
    __table_args__ = (
        Index("uq_voucher_batch_name", "operator_id", "name", unique=True),
        CheckConstraint("num_nulls(lasts, online, ends_at, octets) < 4", "limited"),
        CheckConstraint("lasts > 0 AND online > 0 AND octets > 0", "limits"),
        CheckConstraint("price >= 0", "price"),
        CheckConstraint("activation IN ('sale', 'print', 'now')", "activation"),
        CheckConstraint("num_nulls(seller_staff_id, collector_id) > 0", "one_seller"),
        CheckConstraint("template IN ('cards', 'strips', 'ticket')", "template"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(server_default="")
    length: Mapped[int]  # of the part that is random
    count: Mapped[int]
    lasts: Mapped[BigInt | None]
    online: Mapped[BigInt | None]
    ends_at: Mapped[Instant | None]
    octets: Mapped[BigInt | None]
    best_before: Mapped[Instant | None]
    nas_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))
    price: Mapped[Amount]
    activation: Mapped[str] = mapped_column(server_default="sale")
    template: Mapped[str] = mapped_column(server_default="cards")
    seller_staff_id: Mapped[BigInt | None] = mapped_column(ForeignKey("staff.id"))
    collector_id: Mapped[BigInt | None] = mapped_column(ForeignKey("collector.id"))
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
    printed_at: Mapped[Instant | None]
    voided_at: Mapped[Instant | None]


class Voucher(Tenanted, Base):
    """One access code; what it buys is its batch's. `online_seconds` and `octets` are of all its sessions."""

    __tablename__ = "voucher"
    __table_args__ = (
        Index("uq_voucher_lookup", "operator_id", "lookup", unique=True),
        Index("uq_voucher_number", "batch_id", "number", unique=True),
        Index("ix_voucher_in_stock", "batch_id", "number", postgresql_where=text("activated_at IS NULL")),
    )

    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    batch_id: Mapped[BigInt] = mapped_column(ForeignKey("voucher_batch.id"))
    number: Mapped[int]  # in its batch, from 1
    lookup: Mapped[str]
    code: Mapped[bytes | None]  # sealed, purpose "voucher.code"; gone with the first login
    activated_at: Mapped[Instant | None]
    first_login_at: Mapped[Instant | None]
    online_seconds: Mapped[BigInt] = mapped_column(server_default="0")
    octets: Mapped[BigInt] = mapped_column(server_default="0")
    voided_at: Mapped[Instant | None]
    void_reason: Mapped[str] = mapped_column(server_default="")

    batch: Mapped[VoucherBatch] = relationship(lazy="raise")
    service: Mapped[Service] = relationship(lazy="raise")


class VoucherSale(Tenanted, Base):
    """A voucher that was sold. Where the operator bills, an invoice and a payment stand behind it."""

    __tablename__ = "voucher_sale"
    __table_args__ = (
        Index("uq_voucher_sale_open", "voucher_id", unique=True, postgresql_where=text("refunded_at IS NULL")),
        Index("uq_voucher_sale_reference", "operator_id", "reference", unique=True),
        Index("ix_voucher_sale_operator_id", "operator_id", text("sold_at DESC")),
        CheckConstraint("price >= 0", "price"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    voucher_id: Mapped[BigInt] = mapped_column(ForeignKey("voucher.service_id"))
    batch_id: Mapped[BigInt] = mapped_column(ForeignKey("voucher_batch.id"))
    staff_id: Mapped[BigInt | None]
    collector_id: Mapped[BigInt | None] = mapped_column(ForeignKey("collector.id"))
    currency: Mapped[str]
    price: Mapped[Amount]
    sold_at: Mapped[Created]
    reference: Mapped[str | None]  # of the checkout that it was bought with, which buys once
    invoice_id: Mapped[BigInt | None] = mapped_column(ForeignKey("invoice.id"))
    payment_id: Mapped[BigInt | None] = mapped_column(ForeignKey("payment.id"))
    refunded_at: Mapped[Instant | None]


class VoucherPrint(Tenanted, Base):
    """A PDF of cards that a job made. It shows codes, so it is sealed, and deleted after a day."""

    __tablename__ = "voucher_print"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    batch_id: Mapped[BigInt] = mapped_column(ForeignKey("voucher_batch.id"))
    job_id: Mapped[BigInt] = mapped_column(ForeignKey("job.id"), unique=True)
    content: Mapped[bytes]  # sealed, purpose "voucher.print"
    created_at: Mapped[Created]
