"""What an operator tells its subscribers, and how: channels, texts, wishes of each subscriber, broadcasts."""

from datetime import time

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Amount
from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted

CHANNELS = ("email", "sms", "whatsapp", "telegram")


class MessageSettings(Tenanted, Base):
    """The channels of an operator. Without a row: e-mail alone, at any hour, and incidents told by hand.

    `channels` are those in use, in the order in which they are tried. Addresses of gateways hold passwords.
    """

    __tablename__ = "message_settings"
    __table_args__ = (
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL) AND quiet_from <> quiet_until", "quiet"),
        CheckConstraint("sms_kind IN ('none', 'http', 'apprise')", "sms_kind"),
        CheckConstraint("incident_delay BETWEEN 0 AND 1440", "incident_delay"),
        CheckConstraint("incident_least BETWEEN 1 AND 100000", "incident_least"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    channels: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{email}'"))
    quiet_from: Mapped[time | None]  # in the operator's zone
    quiet_until: Mapped[time | None]
    dial_prefix: Mapped[str] = mapped_column(server_default="")  # of numbers without their country, such as +52
    sms_kind: Mapped[str] = mapped_column(server_default="none")
    sms_url: Mapped[bytes | None]  # sealed, purpose "message.gateway"; of the HTTP gateway, or of apprise
    sms_body: Mapped[str] = mapped_column(server_default="")  # what is posted; empty: the fields to and text
    sms_header: Mapped[str] = mapped_column(server_default="")  # the name of the header that holds the secret
    sms_secret: Mapped[bytes | None]  # sealed, purpose "message.gateway"
    whatsapp_phone: Mapped[str] = mapped_column(server_default="")  # the id of the sender's number; empty: no API
    whatsapp_token: Mapped[bytes | None]  # sealed, purpose "message.gateway"
    whatsapp_template: Mapped[str] = mapped_column(server_default="")  # with the text as its only parameter
    telegram_url: Mapped[bytes | None]  # sealed, purpose "message.gateway"; of apprise, with {chat} in it
    incident_tell: Mapped[bool] = mapped_column(server_default=text("false"))
    incident_delay: Mapped[int] = mapped_column(server_default="10")  # minutes that an outage must have lasted
    incident_least: Mapped[int] = mapped_column(server_default="5")  # subscribers that it must concern
    link_key: Mapped[bytes | None]  # sealed, purpose "message.link"; signs the links that unsubscribe
    push_key: Mapped[bytes | None]  # sealed, purpose "message.push"; signs for push services (RFC 8292)
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class MessageText(Tenanted, Base):
    """What an event says on a channel in a language, where the operator changed it. Variables stand in braces."""

    __tablename__ = "message_text"
    __table_args__ = (CheckConstraint("channel IN ('email', 'sms', 'whatsapp', 'telegram')", "channel"),)

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(server_default="")
    body: Mapped[str]


class MessagePreference(Tenanted, Base):
    """What a subscriber wants: by which channels, and whether also what is not about the account."""

    __tablename__ = "message_preference"

    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    channels: Mapped[list[str] | None] = mapped_column(ARRAY(TEXT))  # None: as the operator has it
    telegram_chat: Mapped[str] = mapped_column(server_default="")
    unsubscribed_at: Mapped[Instant | None]


class PushBrowser(Tenanted, Base):
    """A browser in which a subscriber asked for messages. Whoever knows its address may send to it."""

    __tablename__ = "push_browser"
    __table_args__ = (
        Index("uq_push_browser_address", "operator_id", "address_hash", unique=True),
        Index("ix_push_browser_subscriber_id", "subscriber_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"))
    address_hash: Mapped[bytes]  # SHA-256 of the push service's address, which tells browsers apart
    subscription: Mapped[bytes]  # sealed, purpose "push.browser": JSON of endpoint, p256dh and auth (RFC 8291)
    name: Mapped[str] = mapped_column(server_default="")  # browser and system, as far as they say
    created_at: Mapped[Created]


class Broadcast(Tenanted, Base):
    """One message to many. `token` comes with the form, so that sending the form twice makes one broadcast."""

    __tablename__ = "broadcast"
    __table_args__ = (
        Index("uq_broadcast_token", "operator_id", "token", unique=True),
        Index("ix_broadcast_operator_id", "operator_id", text("created_at DESC"), "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    title: Mapped[str]
    selection: Mapped[Json]  # crm.broadcasts.Selection
    texts: Mapped[Json]  # by language: subject and body
    about_account: Mapped[bool] = mapped_column(server_default=text("false"))  # goes also to who unsubscribed
    urgent: Mapped[bool] = mapped_column(server_default=text("false"))
    token: Mapped[str]
    job_id: Mapped[BigInt | None]
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]


class IncidentCredit(Tenanted, Base):
    """What a service was given for an incident, once."""

    __tablename__ = "incident_credit"
    __table_args__ = (CheckConstraint("days > 0 AND amount > 0", "amount"),)

    incident_id: Mapped[BigInt] = mapped_column(ForeignKey("incident.id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    discount_id: Mapped[BigInt | None] = mapped_column(ForeignKey("discount.id", ondelete="SET NULL"))
    days: Mapped[int]
    amount: Mapped[Amount]
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
