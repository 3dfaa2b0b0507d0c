"""Webhooks: the addresses that an operator has told of what happens, the events, and each delivery."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted

DELIVERY_STATES = ("waiting", "delivered", "failed")


class WebhookEndpoint(Tenanted, Base):
    """An address that is told of `events` (`*` is each of them), and with what it is told.

    The secret before this one signs as well until `previous_until`. While it fails, `failing_since` says since when,
    `failures` how often in a row, and until `paused_until` nothing is sent to it. `off_why` is `person`, `gone` (it
    answered 410) or `failing`.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        Index("ix_webhook_endpoint_operator_id", "operator_id", "id"),
        CheckConstraint("active = (off_why = '')", "off_why"),
        CheckConstraint("off_why IN ('', 'person', 'gone', 'failing')", "why"),
        CheckConstraint("num_nulls(previous_secret, previous_until) IN (0, 2)", "previous_whole"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    url: Mapped[str]
    notes: Mapped[str] = mapped_column(server_default="")
    events: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "webhook.secret"
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # sealed, purpose "webhook.secret"
    previous_until: Mapped[Instant | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    off_why: Mapped[str] = mapped_column(server_default="")
    failures: Mapped[int] = mapped_column(server_default="0")
    failing_since: Mapped[Instant | None]
    paused_until: Mapped[Instant | None]
    created_at: Mapped[Created]


class WebhookEvent(Tenanted, Base):
    """Something that happened, as it is told. `key` is the webhook-id by which a receiver knows a repeated one."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        Index("ix_webhook_event_created_at", "created_at"),
        Index("ix_webhook_event_subscriber_id", "subscriber_id", postgresql_where=text("subscriber_id IS NOT NULL")),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    key: Mapped[str] = mapped_column(server_default=text("'msg_' || replace(gen_random_uuid()::text, '-', '')"))
    event: Mapped[str]
    data: Mapped[Json]
    subscriber_id: Mapped[BigInt | None]  # whom it is about; no foreign key, so that a removal can be told
    created_at: Mapped[Created]


class WebhookDelivery(Tenanted, Base):
    """An event on its way to one endpoint. `tries` are all attempts: {at, status, error, ms}; `answer` is the last."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_operator_id", "operator_id", text("id DESC")),
        Index("ix_webhook_delivery_endpoint_id", "endpoint_id", text("id DESC")),
        Index("ix_webhook_delivery_event_id", "event_id"),
        Index(
            "ix_webhook_delivery_due",
            "endpoint_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("state = 'waiting'"),
        ),
        CheckConstraint("state IN ('waiting', 'delivered', 'failed')", "state"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    event_id: Mapped[BigInt] = mapped_column(ForeignKey("webhook_event.id", ondelete="CASCADE"))
    endpoint_id: Mapped[BigInt] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[Created]
    status: Mapped[int | None]  # of HTTP; None where nothing came back
    error: Mapped[str] = mapped_column(server_default="")
    answer: Mapped[str] = mapped_column(server_default="")
    tries: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    created_at: Mapped[Created]
    finished_at: Mapped[Instant | None]
