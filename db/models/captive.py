"""What an operator's captive pages do, where its hotspots are, and what was bought on them."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted


class CaptiveSettings(Tenanted, Base):
    """What an operator decided about its captive pages. No row: as the defaults say."""

    __tablename__ = "captive_settings"
    __table_args__ = (
        CheckConstraint("remember_days BETWEEN 0 AND 30", "remember_days"),
        CheckConstraint("paying_minutes BETWEEN 0 AND 15", "paying_minutes"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    ask_terms: Mapped[bool] = mapped_column(server_default=text("false"))  # to be accepted before the login
    offer_trial: Mapped[bool] = mapped_column(server_default=text("false"))  # where the router offers one
    remember_days: Mapped[int] = mapped_column(server_default="0")  # how long a MAC cookie lasts; 0 is none
    batch_ids: Mapped[list[int]] = mapped_column(ARRAY(BIGINT), server_default=text("'{}'"))  # sold on the page
    paying_minutes: Mapped[int] = mapped_column(server_default="5")  # on line while paying; 0 is not at all
    pass_batch_id: Mapped[BigInt | None] = mapped_column(ForeignKey("voucher_batch.id"))  # has guests' passes
    created_at: Mapped[Created]


class CaptiveHotspot(Tenanted, Base):
    """The hotspot of a NAS: the names and addresses under which its login page is, so that logins go nowhere else.

    `hosts` were entered by staff, `found_hosts` read from the router at `looked_at`; `look_problem` is why it could not
    be read then (network.problems.Cause), empty where it could. `refused_host` is the last one that a phone named and
    that is not among them.
    """

    __tablename__ = "captive_hotspot"

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), index=True)
    hosts: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    found_hosts: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    looked_at: Mapped[Instant | None]
    look_problem: Mapped[str] = mapped_column(server_default="")
    refused_host: Mapped[str | None]
    refused_at: Mapped[Instant | None]
    created_at: Mapped[Created]


class CaptivePurchase(Tenanted, Base):
    """A voucher that somebody is buying on a captive page. `key` is what the page drew: a second click is the same."""

    __tablename__ = "captive_purchase"
    __table_args__ = (
        Index("uq_captive_purchase_key", "operator_id", "key", unique=True),
        Index("uq_captive_purchase_checkout", "checkout_id", unique=True),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt]
    batch_id: Mapped[BigInt] = mapped_column(ForeignKey("voucher_batch.id"))
    checkout_id: Mapped[BigInt] = mapped_column(ForeignKey("checkout.id"))
    key: Mapped[str]
    email: Mapped[str | None]
    language: Mapped[str]
    created_at: Mapped[Created]


class PayingPass(Tenanted, Base):
    """That somebody was let on line for some minutes to pay: a subscriber's line, or a guest's device by a voucher.

    `device` is the guest's MAC address, by which passes are counted; empty for a line, which is counted by itself.
    """

    __tablename__ = "paying_pass"
    __table_args__ = (
        Index("ix_paying_pass_operator_id", "operator_id", "begun_at"),
        Index("ix_paying_pass_service_id", "service_id"),
        Index("uq_paying_pass_checkout", "checkout_id", unique=True),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    checkout_id: Mapped[BigInt] = mapped_column(ForeignKey("checkout.id", ondelete="CASCADE"))
    nas_id: Mapped[BigInt | None]  # of a guest's hotspot
    device: Mapped[str] = mapped_column(server_default="")
    begun_at: Mapped[Created]
    until: Mapped[Instant]
