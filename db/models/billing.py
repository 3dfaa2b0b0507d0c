"""What an operator decided about billing, and what is billed of each service."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted

Amount = Annotated[Decimal, mapped_column(Numeric(16, 4))]
Percent = Annotated[Decimal, mapped_column(Numeric(7, 4))]


class BillingSettings(Tenanted, Base):
    """How an operator bills. Without a row, or with `enabled` false, nothing is billed and nobody's date moves."""

    __tablename__ = "billing_settings"
    __table_args__ = (
        CheckConstraint("cut_off IN ('operator', 'anchor')", "cut_off"),
        CheckConstraint("timing IN ('advance', 'arrears')", "timing"),
        CheckConstraint("first_period IN ('prorated', 'free', 'full')", "first_period"),
        CheckConstraint("months BETWEEN 1 AND 12", "months"),
        CheckConstraint("issue_days BETWEEN 0 AND 60", "issue_days"),
        CheckConstraint("issue_hour BETWEEN 0 AND 23", "issue_hour"),
        CheckConstraint("due_days BETWEEN 0 AND 60 AND first_due_days BETWEEN 0 AND 60", "due_days"),
        CheckConstraint("late_fee_percent BETWEEN 0 AND 100 AND late_fee_amount >= 0", "late_fee"),
        CheckConstraint("late_fee_days BETWEEN 0 AND 365", "late_fee_days"),
        CheckConstraint("prepaid_notice_days BETWEEN 0 AND 30", "prepaid_notice"),
        CheckConstraint("rate_days BETWEEN 0 AND 60", "rate_days"),
        CheckConstraint("promise_days BETWEEN 0 AND 90 AND promises_a_year BETWEEN 0 AND 100", "promises"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    starts_on: Mapped[date]  # no day before it is billed
    cut_off: Mapped[str] = mapped_column(server_default="operator")  # the operator's cut-off day, or each its anchor
    timing: Mapped[str] = mapped_column(server_default="advance")
    months: Mapped[int] = mapped_column(server_default="1")
    first_period: Mapped[str] = mapped_column(server_default="prorated")
    issue_days: Mapped[int] = mapped_column(server_default="5")  # before the due date
    issue_hour: Mapped[int] = mapped_column(server_default="6")  # of the day, in the operator's zone
    due_days: Mapped[int] = mapped_column(server_default="0")  # after the period begins, or ended in arrears
    first_due_days: Mapped[int] = mapped_column(server_default="5")  # the same for a service's first invoice
    bill_suspended: Mapped[bool] = mapped_column(server_default=text("true"))
    late_fee_percent: Mapped[Percent] = mapped_column(server_default="0")
    late_fee_amount: Mapped[Amount] = mapped_column(server_default="0")
    late_fee_days: Mapped[int] = mapped_column(server_default="5")  # after the due date
    promise_days: Mapped[int] = mapped_column(server_default="7")
    promises_a_year: Mapped[int] = mapped_column(server_default="3")  # of each service
    prepaid: Mapped[bool] = mapped_column(server_default=text("false"))  # new services are
    prepaid_notice_days: Mapped[int] = mapped_column(server_default="3")  # before the last day that the wallet buys
    require_cash_desk: Mapped[bool] = mapped_column(server_default=text("false"))
    rate_days: Mapped[int] = mapped_column(server_default="7")  # an exchange rate is good for
    legal_name: Mapped[str] = mapped_column(server_default="")
    tax_id: Mapped[str] = mapped_column(server_default="")
    address: Mapped[str] = mapped_column(server_default="")
    phone: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str] = mapped_column(server_default="")
    invoice_note: Mapped[str] = mapped_column(server_default="")
    receipt_note: Mapped[str] = mapped_column(server_default="")
    settled_rules: Mapped[str] = mapped_column(server_default="")  # what the services' dates were computed under
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class TaxRate(Tenanted, Base):
    """A tax on everything that is billed, in percent; `included` ones are in the prices already."""

    __tablename__ = "tax_rate"
    __table_args__ = (
        Index("ix_tax_rate_operator_id", "operator_id"),
        CheckConstraint("rate BETWEEN 0 AND 100", "rate"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    rate: Mapped[Percent]
    included: Mapped[bool] = mapped_column(server_default=text("false"))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class ServiceBilling(Tenanted, Base):
    """Where a service stands in its cycle: billed up to the day before `next_from`, on `plan_id`.

    `months`, `timing` and `price` are the service's own, in place of what the operator and the plan say. `stopped_on`
    is the last day billed of a service that is paused, terminated, or suspended where that is not billed.
    """

    __tablename__ = "service_billing"
    __table_args__ = (
        CheckConstraint("anchor_day BETWEEN 1 AND 31", "anchor_day"),
        CheckConstraint("months BETWEEN 1 AND 12", "months"),
        CheckConstraint("timing IN ('advance', 'arrears')", "timing"),
        CheckConstraint("price >= 0", "price"),
        Index(
            "ix_service_billing_due",
            "operator_id",
            "next_issue_on",
            "service_id",
            postgresql_where=text("stopped_on IS NULL"),
        ),
        Index("ix_service_billing_subscriber_id", "subscriber_id"),
    )

    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("rate_plan.id"))
    anchor_day: Mapped[int]
    months: Mapped[int | None]
    timing: Mapped[str | None]
    price: Mapped[Amount | None]
    tax_exempt: Mapped[bool] = mapped_column(server_default=text("false"))
    started_on: Mapped[date]  # of the cycle that runs: a pause begins another
    next_from: Mapped[date]
    next_issue_on: Mapped[date]
    stopped_on: Mapped[date | None]
    reminded_until: Mapped[date | None]  # a prepaid one: the last day on that its subscriber was told of
    created_at: Mapped[Created]


class ServicePeriod(Tenanted, Base):
    """Days of a service that are billed. A constraint of the database keeps any day from being billed twice.

    `net` is what the plan cost for these days less discounts, as priced, with what is sold with it and bears taxes;
    `exempt_net` what is sold with it and bears none. A change of plan or an early end shortens
    the period to the days that were used; what was given back stands in a credit note or on the next invoice.
    """

    __tablename__ = "service_period"
    __table_args__ = (
        CheckConstraint('"last" >= "first"', "order"),
        ExcludeConstraint(
            ("service_id", "="),
            (text('daterange("first", "last", \'[]\')'), "&&"),
            name="ex_service_period_days",
            using="gist",
            where=text("cancelled_at IS NULL"),
        ),
        Index("ix_service_period_invoice_id", "invoice_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id"))
    plan_id: Mapped[BigInt] = mapped_column(ForeignKey("rate_plan.id"))
    first: Mapped[date]
    last: Mapped[date]
    net: Mapped[Amount]
    exempt_net: Mapped[Amount] = mapped_column(server_default=text("0"))
    invoice_id: Mapped[BigInt | None] = mapped_column(ForeignKey("invoice.id"))  # None: nothing was to pay
    cancelled_at: Mapped[Instant | None]


class Charge(Tenanted, Base):
    """Something beside the plan. A one-off one waits until an invoice takes it; a recurring one is in each period."""

    __tablename__ = "charge"
    __table_args__ = (
        CheckConstraint("kind IN ('one_off', 'recurring', 'late_fee', 'plan')", "kind"),
        CheckConstraint("amount >= 0 OR kind = 'plan'", "amount"),
        CheckConstraint("ends_on >= starts_on", "order"),
        Index(
            "ix_charge_waiting",
            "subscriber_id",
            postgresql_where=text("invoice_id IS NULL AND cancelled_at IS NULL"),
        ),
        Index("ix_charge_invoice_id", "invoice_id"),
        Index(
            "uq_charge_late_fee",
            "source_invoice_id",
            unique=True,
            postgresql_where=text("kind = 'late_fee'"),
        ),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[BigInt | None] = mapped_column(ForeignKey("service.id"))
    kind: Mapped[str]
    description: Mapped[str]
    amount: Mapped[Amount]  # of a month, for a recurring one
    tax_exempt: Mapped[bool] = mapped_column(server_default=text("false"))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]  # the last day of a recurring one; the last day of what a plan's charge is for
    plan_id: Mapped[BigInt | None] = mapped_column(ForeignKey("rate_plan.id"))
    invoice_id: Mapped[BigInt | None] = mapped_column(ForeignKey("invoice.id"))
    source_invoice_id: Mapped[BigInt | None] = mapped_column(ForeignKey("invoice.id"))  # the one paid late
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
    cancelled_at: Mapped[Instant | None]


class Coupon(Tenanted, Base):
    """A code that gives a discount."""

    __tablename__ = "coupon"
    __table_args__ = (
        Index("uq_coupon_code", "operator_id", text("upper(code)"), unique=True),
        CheckConstraint("(percent IS NULL) <> (amount IS NULL)", "what"),
        CheckConstraint("percent BETWEEN 0 AND 100 AND amount >= 0", "range"),
        CheckConstraint("months > 0 AND uses_left >= 0", "counts"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    code: Mapped[str]
    description: Mapped[str]
    percent: Mapped[Percent | None]
    amount: Mapped[Amount | None]
    months: Mapped[int | None]  # None is for good
    valid_until: Mapped[date | None]
    uses_left: Mapped[int | None]
    created_at: Mapped[Created]


class Discount(Tenanted, Base):
    """Less to pay for a service's plan: percent of it, or an amount each month, for some months or for good."""

    __tablename__ = "discount"
    __table_args__ = (
        Index("ix_discount_service_id", "service_id", postgresql_where=text("ended_at IS NULL")),
        CheckConstraint("(percent IS NULL) <> (amount IS NULL)", "what"),
        CheckConstraint("percent BETWEEN 0 AND 100 AND amount >= 0", "range"),
        CheckConstraint("months_left >= 0", "months_left"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id"))
    description: Mapped[str]
    percent: Mapped[Percent | None]
    amount: Mapped[Amount | None]
    months_left: Mapped[int | None]
    coupon_id: Mapped[BigInt | None] = mapped_column(ForeignKey("coupon.id"))
    starts_on: Mapped[date]
    created_at: Mapped[Created]
    ended_at: Mapped[Instant | None]
