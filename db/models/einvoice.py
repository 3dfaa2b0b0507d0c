"""Electronic invoices: the operator's account with who passes them on to the tax office, and what became of each."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted

EINVOICE_STATES = ("waiting", "sent", "accepted", "refused", "cancelling", "cancelled")


class EinvoiceSettings(Tenanted, Base):
    """Whether and where an operator's invoices are issued electronically.

    `country` is the issuer's, as two letters of ISO 3166. An `emulated` account is the demo's, whose provider runs
    beside Portico.
    """

    __tablename__ = "einvoice_settings"
    __table_args__ = (
        CheckConstraint("format IN ('ubl')", "format"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", "country"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    starts_on: Mapped[date]  # invoices of an earlier day are not issued electronically
    format: Mapped[str] = mapped_column(server_default="ubl")
    country: Mapped[str]
    provider_url: Mapped[str]
    api_key: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "einvoice.key"
    emulated: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class Einvoice(Tenanted, Base):
    """One invoice or credit note on its way to the tax office; at most one row for each.

    `key` is our name for it at the provider, made from its number, so that it is the same however often it is sent.
    States: `waiting` (not sent yet), `sent` (sent, with no answer yet or one that said later), `accepted`, `refused`
    (a person decides), `cancelling`, `cancelled`. `xml` is what was sent, `stamped` what the provider made of it.
    """

    __tablename__ = "einvoice"
    __table_args__ = (
        Index("uq_einvoice_subject", "operator_id", "kind", "subject_id", unique=True),
        Index("uq_einvoice_key", "operator_id", "key", unique=True),
        Index(
            "ix_einvoice_due",
            "operator_id",
            "next_try_at",
            postgresql_where=text("state IN ('waiting', 'sent', 'cancelling')"),
        ),
        Index("ix_einvoice_state", "operator_id", "state", "id"),
        CheckConstraint("kind IN ('invoice', 'credit_note')", "kind"),
        CheckConstraint("state IN ('waiting', 'sent', 'accepted', 'refused', 'cancelling', 'cancelled')", "state"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    subject_id: Mapped[BigInt]  # of the invoice or the credit note
    number: Mapped[str]
    key: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    fiscal_id: Mapped[str] = mapped_column(server_default="")  # the tax office's name for it
    detail: Mapped[str] = mapped_column(server_default="")  # why it waits or was refused, in the provider's words
    cancel_refused: Mapped[bool] = mapped_column(server_default=text("false"))
    tries: Mapped[int] = mapped_column(server_default="0")  # without an answer, since the last one
    next_try_at: Mapped[Instant] = mapped_column(server_default=text("now()"))
    xml: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    stamped: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    accepted_at: Mapped[Instant | None]
    cancelled_at: Mapped[Instant | None]
    created_at: Mapped[Created]
