"""Reports that are sent by a schedule, and what was sent."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted


class ReportSchedule(Tenanted, Base):
    """A report that a staff member is sent by e-mail, at an hour of the operator's zone.

    `day` is the day of the week (1 is Monday) or of the month, and means nothing for a daily one. `granted_by` are the
    roles that let the person read the report when it was scheduled; `permission` is the one it needs. `stopped` says
    why nothing is sent any more.
    """

    __tablename__ = "report_schedule"
    __table_args__ = (
        CheckConstraint("every IN ('day', 'week', 'month')", "every"),
        CheckConstraint("format IN ('xlsx', 'pdf')", "format"),
        CheckConstraint("hour BETWEEN 0 AND 23", "hour"),
        CheckConstraint("day BETWEEN 1 AND CASE every WHEN 'week' THEN 7 ELSE 28 END", "day"),
        CheckConstraint("stopped IN ('', 'gone', 'permission', 'report')", "stopped"),
        Index("ix_report_schedule_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))
    report: Mapped[str]  # a key of worker.reports.REPORTS
    format: Mapped[str]
    every: Mapped[str]
    day: Mapped[int] = mapped_column(server_default="1")
    hour: Mapped[int]
    permission: Mapped[str]
    granted_by: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    stopped: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]


class ReportSending(Tenanted, Base):
    """One period of a schedule that was dealt with. That it is unique is what keeps a report from being sent twice."""

    __tablename__ = "report_sending"
    __table_args__ = (
        Index("uq_report_sending_period", "schedule_id", "period", unique=True),
        Index("ix_report_sending_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    schedule_id: Mapped[BigInt] = mapped_column(ForeignKey("report_schedule.id", ondelete="CASCADE"))
    period: Mapped[date]  # the day, in the operator's zone, on which it was due
    notification_id: Mapped[BigInt | None]
    rows: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[Instant]
