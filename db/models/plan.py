"""Rate plans."""

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Interval, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class RatePlan(Tenanted, Base):
    """Rates are bit/s as the subscriber sees them; the documents are read by radius.facts and radius.fair_use.

    `steps`: list of `{span: "day" | "week" | "month", octets, download, upload}`. `bonus_hours`: list of
    `{days: [1..7], begin: 0..23, until: 0..24, percent: 0..99}`, the percent that counts. `windows`: list of
    `{days: [1..7], begin: "HH:MM", until: "HH:MM", download, upload}`. `extra`: list of `[attribute, operator, value]`,
    checked against FreeRADIUS's dictionaries when saved.
    """

    __tablename__ = "rate_plan"
    __table_args__ = (
        Index("uq_rate_plan_name", "operator_id", "name", unique=True),
        CheckConstraint("download > 0 AND upload > 0", "rate"),
        CheckConstraint("priority BETWEEN 1 AND 8", "priority"),
        CheckConstraint("minimum_download <= download AND minimum_upload <= upload", "minimum"),
        CheckConstraint(
            "num_nulls(burst_download, burst_upload, burst_threshold_download, burst_threshold_upload, burst_seconds)"
            " IN (0, 5)",
            "burst_whole",
        ),
        CheckConstraint("cap_action IN ('nothing', 'throttle', 'block')", "cap_action"),
        CheckConstraint("cap_action <> 'throttle' OR (throttle_download > 0 AND throttle_upload > 0)", "throttle_rate"),
        CheckConstraint("price >= 0", "price"),
        CheckConstraint("num_nulls(top_up_octets, top_up_price) IN (0, 2)", "top_up_whole"),
        CheckConstraint("top_ups_automatic = 0 OR top_up_octets IS NOT NULL", "top_up_automatic"),
        CheckConstraint("rollover_periods BETWEEN 0 AND 12", "rollover_periods"),
        CheckConstraint("num_nulls(boost_download, boost_upload, boost_hours, boost_price) IN (0, 4)", "boost_whole"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    price: Mapped[Decimal] = mapped_column(Numeric(14, 4), server_default="0")
    price_currency: Mapped[str | None]  # where it is not the one of the books
    download: Mapped[BigInt]
    upload: Mapped[BigInt]
    burst_download: Mapped[BigInt | None]
    burst_upload: Mapped[BigInt | None]
    burst_threshold_download: Mapped[BigInt | None]
    burst_threshold_upload: Mapped[BigInt | None]
    burst_seconds: Mapped[int | None]
    priority: Mapped[int | None]
    minimum_download: Mapped[BigInt | None]
    minimum_upload: Mapped[BigInt | None]
    cap_octets: Mapped[BigInt | None]
    cap_action: Mapped[str] = mapped_column(server_default="nothing")
    throttle_download: Mapped[BigInt | None]
    throttle_upload: Mapped[BigInt | None]
    windows: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    steps: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    bonus_hours: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    rollover_periods: Mapped[int] = mapped_column(server_default="0")  # in which what is left may still be used
    rollover_most: Mapped[BigInt | None]
    top_up_octets: Mapped[BigInt | None]  # what may be bought on top of the cap, at `top_up_price`
    top_up_price: Mapped[Decimal | None] = mapped_column(Numeric(14, 4))
    top_ups_automatic: Mapped[int] = mapped_column(server_default="0")  # bought by themselves in a period, at the most
    boost_download: Mapped[BigInt | None]  # what a subscriber may buy for `boost_hours`, at `boost_price`
    boost_upload: Mapped[BigInt | None]
    boost_hours: Mapped[int | None]
    boost_price: Mapped[Decimal | None] = mapped_column(Numeric(14, 4))
    pool: Mapped[str | None]
    ipv6_pool: Mapped[str | None]
    delegated_ipv6_pool: Mapped[str | None]
    address_list: Mapped[str | None]
    session_timeout: Mapped[timedelta | None] = mapped_column(Interval)
    idle_timeout: Mapped[timedelta | None] = mapped_column(Interval)
    interim_interval: Mapped[timedelta] = mapped_column(Interval, server_default=text("interval '5 minutes'"))
    extra: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    archived: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class PlanItem(Tenanted, Base):
    """Something that is sold with a plan: a static address, the rental of a router, television.

    `price` is of a month, or once where `once`; None is in the plan's price. Prices have their taxes added or in them,
    as the plan's has. One that was taken out of the plan stays here, for who asks later what was sold.
    """

    __tablename__ = "plan_item"
    __table_args__ = (
        Index("ix_plan_item_plan_id", "plan_id", postgresql_where=text("ended_at IS NULL")),
        CheckConstraint("price > 0", "price"),
        CheckConstraint("NOT once OR price IS NOT NULL", "once"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("rate_plan.id"))
    name: Mapped[str]
    price: Mapped[Decimal | None] = mapped_column(Numeric(16, 4))
    once: Mapped[bool] = mapped_column(server_default=text("false"))
    tax_exempt: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]
    ended_at: Mapped[Instant | None]
