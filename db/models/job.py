"""Jobs: long work that a person started and may watch, leave, and come back to."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class Job(Tenanted, Base):
    """`kind` says which function does it, `parameters` is all that the function is told."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", "state"),
        CheckConstraint("done >= 0 AND failed >= 0 AND total >= 0", "counts"),
        Index("ix_job_operator_id", "operator_id", "id"),
        Index("ix_job_open", "id", postgresql_where=text("state IN ('queued', 'running')")),
        Index("ix_job_untold", "staff_id", postgresql_where=text("NOT told")),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(server_default="")  # what it is about, a router's name for example
    parameters: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    state: Mapped[str] = mapped_column(server_default="queued")
    total: Mapped[int] = mapped_column(server_default="0")
    done: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    outcome: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    cancel_asked: Mapped[bool] = mapped_column(server_default=text("false"))
    told: Mapped[bool] = mapped_column(server_default=text("false"))  # whoever started it has seen how it ended
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[Created]
    started_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]


class JobLine(Tenanted, Base):
    """A line of a job's log: what happened to which item. `message` is a msgid, `values` fill it in."""

    __tablename__ = "job_line"
    __table_args__ = (
        CheckConstraint("level IN ('info', 'warning', 'error')", "level"),
        Index("ix_job_line_job_id", "job_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    job_id: Mapped[BigInt] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    level: Mapped[str]
    item: Mapped[str] = mapped_column(server_default="")
    message: Mapped[str]
    values: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    at: Mapped[Created]
