"""Providers that take payments online, what was asked of them, and what they told."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Instant, Tenanted

GATEWAYS = ("stripe", "mercadopago")


class Gateway(Tenanted, Base):
    """An operator's account with a provider. `emulated` ones are the demo's: their provider runs beside Portico."""

    __tablename__ = "gateway"
    __table_args__ = (
        Index("uq_gateway_kind", "operator_id", "kind", unique=True),
        CheckConstraint("kind IN ('stripe', 'mercadopago')", "kind"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    method_id: Mapped[BigInt] = mapped_column(ForeignKey("payment_method.id"))
    secret_key: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "gateway.key": what we show the provider
    webhook_secret: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "gateway.webhook": what it signs with
    emulated: Mapped[bool] = mapped_column(server_default=text("false"))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class Checkout(Tenanted, Base):
    """One payment that was begun with a provider, for an invoice or for all that a subscriber owes.

    `reference` is our name for it, which the provider sends back. States: `new` (the provider has not answered),
    `open`, `paid`, `mismatch` (another amount or currency was paid: a person decides), `refused`, `ended`.
    """

    __tablename__ = "checkout"
    __table_args__ = (
        Index("uq_checkout_reference", "reference", unique=True),
        Index("ix_checkout_operator_id", "operator_id", "id"),
        Index("ix_checkout_subscriber_id", "subscriber_id", "id"),
        Index("ix_checkout_waiting", "created_at", postgresql_where=text("state IN ('new', 'open')")),
        CheckConstraint("state IN ('new', 'open', 'paid', 'mismatch', 'refused', 'ended')", "state"),
        CheckConstraint("amount > 0", "amount"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    gateway_id: Mapped[BigInt] = mapped_column(ForeignKey("gateway.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    invoice_id: Mapped[BigInt | None] = mapped_column(ForeignKey("invoice.id"))
    reference: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Amount]
    state: Mapped[str] = mapped_column(server_default="new")
    provider_id: Mapped[str | None]  # of the checkout
    url: Mapped[str | None]  # where the subscriber pays
    payment_id: Mapped[BigInt | None] = mapped_column(ForeignKey("payment.id"))
    detail: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]
    looked_at: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]


class GatewayEvent(Tenanted, Base):
    """What a provider told, once for each of its events, and what came of it."""

    __tablename__ = "gateway_event"
    __table_args__ = (
        Index("uq_gateway_event", "gateway_id", "event_id", unique=True),
        Index("ix_gateway_event_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    gateway_id: Mapped[BigInt] = mapped_column(ForeignKey("gateway.id"))
    event_id: Mapped[str]
    kind: Mapped[str]
    outcome: Mapped[str]
    provider_payment: Mapped[str | None]  # the provider's id of the payment that it is about
    times: Mapped[int] = mapped_column(server_default="1")  # how often it was told
    created_at: Mapped[Created]
