"""Circuit tests: what was found on the way to a subscriber's device, and where the fault was."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Instant, Json, Tenanted


class CircuitTest(Tenanted, Base):
    """One test of one service, kept for good. `steps` are added as they come in, the verdict when all have.

    A step is `{"step": …, "mark": …, "finding": …, "values": {…}, "words": …}`: the enumerations of network.circuit,
    and in `words` what the router said itself.
    """

    __tablename__ = "circuit_test"
    __table_args__ = (
        CheckConstraint("(verdict IS NULL) = (finished_at IS NULL)", "finished"),
        Index("ix_circuit_test_service_id", "service_id", text("started_at DESC")),
        Index("ix_circuit_test_operator_id", "operator_id", text("started_at DESC"), "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    service_id: Mapped[int] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    nas_id: Mapped[BigInt | None]  # the router that was asked; it may be gone since
    nas_name: Mapped[str] = mapped_column(server_default="")
    sector: Mapped[str] = mapped_column(server_default="")
    address: Mapped[Inet | None]  # that was pinged
    job_id: Mapped[BigInt | None]
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    steps: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    verdict: Mapped[str | None]  # network.circuit.Fault; None while it is under way
    why: Mapped[str] = mapped_column(server_default="")  # network.circuit.Why
    started_at: Mapped[Created]
    finished_at: Mapped[Instant | None]
