"""Usage: the growth of session counters, put into hours, and the volume counted against a cap."""

from sqlalchemy import Index
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
    """Octets of a service in one billing period; the period is half-open."""

    __tablename__ = "usage_period"
    __table_args__ = (Index("ix_usage_period_operator_id", "operator_id", "period_start"),)

    service_id: Mapped[BigInt] = mapped_column(primary_key=True)
    period_start: Mapped[Instant] = mapped_column(primary_key=True)
    period_end: Mapped[Instant]
    operator_id: Mapped[BigInt]
    octets_in: Mapped[BigInt] = mapped_column(server_default="0")
    octets_out: Mapped[BigInt] = mapped_column(server_default="0")
