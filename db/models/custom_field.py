"""Fields that an operator adds to its subscribers and services, and documents that hang on a subscriber."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Tenanted


class CustomField(Tenanted, Base):
    """A field of the operator's own. `subject` says what has it; `choices` are the words of a `choice`."""

    __tablename__ = "custom_field"
    __table_args__ = (
        CheckConstraint("subject IN ('subscriber', 'service')", "subject"),
        CheckConstraint("kind IN ('text', 'number', 'date', 'choice', 'yes_no')", "kind"),
        Index("uq_custom_field_title", "operator_id", "subject", text("lower(title)"), unique=True),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subject: Mapped[str]
    title: Mapped[str]
    kind: Mapped[str]
    choices: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    required: Mapped[bool] = mapped_column(server_default=text("false"))
    listed: Mapped[bool] = mapped_column(
        server_default=text("false")
    )  # a column of the list of subscribers or services
    position: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[Created]


class CustomValue(Tenanted, Base):
    """What stands in a field: a number as digits with a point, a day as YYYY-MM-DD, `yes` or `no`, or the text."""

    __tablename__ = "custom_value"
    __table_args__ = (
        CheckConstraint("num_nulls(subscriber_id, service_id) = 1", "one_subject"),
        Index("uq_custom_value_subscriber", "field_id", "subscriber_id", unique=True),
        Index("uq_custom_value_service", "field_id", "service_id", unique=True),
        Index("ix_custom_value_subscriber_id", "subscriber_id"),
        Index("ix_custom_value_service_id", "service_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    field_id: Mapped[BigInt] = mapped_column(ForeignKey("custom_field.id", ondelete="CASCADE"))
    subscriber_id: Mapped[BigInt | None] = mapped_column(ForeignKey("subscriber.id", ondelete="CASCADE"))
    service_id: Mapped[BigInt | None] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    value: Mapped[str]


class SubscriberDocument(Tenanted, Base):
    """A document of a subscriber: a contract, an identity card, a bill that proves the address."""

    __tablename__ = "subscriber_document"
    __table_args__ = (
        CheckConstraint("kind IN ('identity', 'contract', 'address', 'photo', 'other')", "kind"),
        Index("ix_subscriber_document_subscriber_id", "subscriber_id", "id"),
        Index("ix_subscriber_document_file_id", "file_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[BigInt] = mapped_column(ForeignKey("subscriber.id"))
    file_id: Mapped[BigInt] = mapped_column(ForeignKey("stored_file.id"))
    kind: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    author: Mapped[str]  # e-mail address of who brought it
    created_at: Mapped[Created]
