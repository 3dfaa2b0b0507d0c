"""Usage: the growth of session counters, put into hours, and the volume counted against a cap."""

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Instant, Tenanted


class UsageHour(Tenanted, Base):
    """Octets of a service in the hour that begins at `hour`. Partitioned by month."""

    __tablename__ = "usage_hour"
    __table_args__ = (
        Index("ix_usage_hour_operator_id", "operator_id", "hour"),
        {"postgresql_partition_by": "RANGE (hour)"},
    )

    service_id: Mapped[BigInt] = mapped_column(primary_key=True)
    hour: Mapped[Instant] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]
    octets_in: Mapped[BigInt] = mapped_column(server_default="0")
    octets_out: Mapped[BigInt] = mapped_column(server_default="0")


class UsagePeriod(Tenanted, Base):
    """Octets of a service in one billing period; the period is half-open.

    `octets_free` of them do not count. `cap_octets` and `rolled_over` are set when the period begins, where the plan's
    cap rolls over: what the plan allows, and what comes from earlier periods.
    """

    __tablename__ = "usage_period"
    __table_args__ = (Index("ix_usage_period_operator_id", "operator_id", "period_start"),)

    service_id: Mapped[BigInt] = mapped_column(primary_key=True)
    period_start: Mapped[Instant] = mapped_column(primary_key=True)
    period_end: Mapped[Instant]
    operator_id: Mapped[BigInt]
    octets_in: Mapped[BigInt] = mapped_column(server_default="0")
    octets_out: Mapped[BigInt] = mapped_column(server_default="0")
    octets_free: Mapped[BigInt] = mapped_column(server_default="0")
    cap_octets: Mapped[BigInt | None]
    rolled_over: Mapped[BigInt] = mapped_column(server_default="0")

    @property
    def counted(self) -> int:
        """What counts of them."""
        return max(0, self.octets_in + self.octets_out - self.octets_free)


class UsageSpan(Tenanted, Base):
    """What counts of a service in the latest day and week, where its plan has a step for such a span."""

    __tablename__ = "usage_span"
    __table_args__ = (CheckConstraint("span IN ('day', 'week')", "span"),)

    service_id: Mapped[BigInt] = mapped_column(primary_key=True)
    span: Mapped[str] = mapped_column(primary_key=True)
    begins: Mapped[Instant]
    ends: Mapped[Instant]
    operator_id: Mapped[BigInt]
    octets: Mapped[BigInt] = mapped_column(server_default="0")
