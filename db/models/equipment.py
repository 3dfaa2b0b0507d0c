"""Equipment: each device with a serial number or MAC address, and where it has been."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Mac, Tenanted

EQUIPMENT_STATES = ("stock", "technician", "installed", "returned", "broken", "lost")
EQUIPMENT_KINDS = ("cpe", "router", "antenna", "switch", "power", "other")

_STATES = "state IN ('stock', 'technician', 'installed', 'returned', 'broken', 'lost')"


class Equipment(Tenanted, Base):
    """One device. With a technician it names who (`staff_id`), installed it names where (`service_id`)."""

    __tablename__ = "equipment"
    __table_args__ = (
        CheckConstraint(_STATES, "state"),
        CheckConstraint("kind IN ('cpe', 'router', 'antenna', 'switch', 'power', 'other')", "kind"),
        CheckConstraint("serial <> '' OR mac IS NOT NULL", "has_a_name"),
        CheckConstraint("(state = 'technician') = (staff_id IS NOT NULL)", "with_technician"),
        CheckConstraint("(state = 'installed') = (subscriber_id IS NOT NULL)", "installed"),
        CheckConstraint("service_id IS NULL OR subscriber_id IS NOT NULL", "service"),
        Index(
            "uq_equipment_serial", "operator_id", text("lower(serial)"),
            unique=True, postgresql_where=text("serial <> ''"),
        ),
        Index("uq_equipment_mac", "operator_id", "mac", unique=True, postgresql_where=text("mac IS NOT NULL")),
        Index("ix_equipment_state", "operator_id", "state", "id"),
        Index("ix_equipment_subscriber_id", "subscriber_id"),
        Index("ix_equipment_service_id", "service_id"),
        Index("ix_equipment_staff_id", "staff_id"),
    )  # fmt: skip

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str] = mapped_column(server_default="cpe")
    model: Mapped[str]
    serial: Mapped[str] = mapped_column(server_default="")
    mac: Mapped[Mac | None]
    state: Mapped[str] = mapped_column(server_default="stock")
    place: Mapped[str] = mapped_column(server_default="")  # the shelf, the tower
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[int | None] = mapped_column(ForeignKey("service.id"))
    notes: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]
    moved_at: Mapped[Instant | None]

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class EquipmentMove(Tenanted, Base):
    """A device that changed hands: what it was, what it became, who did it, and by which work order."""

    __tablename__ = "equipment_move"
    __table_args__ = (Index("ix_equipment_move_equipment_id", "equipment_id", "id"),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    equipment_id: Mapped[BigInt] = mapped_column(ForeignKey("equipment.id", ondelete="CASCADE"))
    before: Mapped[str]  # a state; empty when it was entered
    after: Mapped[str]
    place: Mapped[str] = mapped_column(server_default="")
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))  # who has it since
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[int | None] = mapped_column(ForeignKey("service.id"))
    work_order_id: Mapped[int | None] = mapped_column(ForeignKey("work_order.id"))
    author: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    at: Mapped[Created]
