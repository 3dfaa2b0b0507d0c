"""Work orders: what technicians are sent to do, what they did there, and what the operator decided about them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Numeric, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted

WORK_KINDS = ("installation", "maintenance", "repair", "move", "recovery", "expansion")
WORK_STATES = ("open", "scheduled", "on_the_way", "in_work", "done", "failed", "cancelled")
WORK_OPEN = ("open", "scheduled", "on_the_way", "in_work")
WORK_PRIORITIES = ("urgent", "high", "normal", "low")

_KINDS = "kind IN ('installation', 'maintenance', 'repair', 'move', 'recovery', 'expansion')"
_STATES = "state IN ('open', 'scheduled', 'on_the_way', 'in_work', 'done', 'failed', 'cancelled')"
_OPEN = "state IN ('open', 'scheduled', 'on_the_way', 'in_work')"


class WorkSettings(Tenanted, Base):
    """What an operator decided about work orders. `told` are the roles that hear of a new one.

    `enabled` says whether a sale begins an installation. Of what an installation needs before it is completed,
    `needs_…` names the parts that are left to the operator. `minutes` is how long a visit is planned for.
    """

    __tablename__ = "work_settings"
    __table_args__ = (CheckConstraint("minutes BETWEEN 15 AND 1440", "minutes"),)

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    last_number: Mapped[BigInt] = mapped_column(server_default="0")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    needs_device: Mapped[bool] = mapped_column(server_default=text("true"))
    needs_link_test: Mapped[bool] = mapped_column(server_default=text("false"))
    needs_photo: Mapped[bool] = mapped_column(server_default=text("false"))
    needs_signature: Mapped[bool] = mapped_column(server_default=text("true"))
    give_login: Mapped[bool] = mapped_column(server_default=text("true"))
    minutes: Mapped[int] = mapped_column(server_default="120")
    told: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{technical}'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))


class WorkChecklist(Tenanted, Base):
    """What is ticked off in one kind of work: a list of `{"text": …, "required": bool}` in the operator's words."""

    __tablename__ = "work_checklist"
    __table_args__ = (CheckConstraint(_KINDS, "kind"),)

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    items: Mapped[Json]


class WorkOrder(Tenanted, Base):
    """A visit, from when it was asked for until it is done, has failed or is cancelled.

    `checklist` is the operator's list as it was when the order was made, with what was ticked off since:
    `{"text", "required", "done_at", "done_by"}`, told apart by their place. `missing` names the steps without which it
    was completed, and `override_reason` why. Who signed, and when, stays with it for good.
    """

    __tablename__ = "work_order"
    __table_args__ = (
        CheckConstraint(_KINDS, "kind"),
        CheckConstraint(_STATES, "state"),
        CheckConstraint("priority IN ('urgent', 'high', 'normal', 'low')", "priority"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", "position_whole"),
        CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", "window_whole"),
        CheckConstraint("window_end > window_start", "window"),
        CheckConstraint("state <> 'scheduled' OR window_start IS NOT NULL", "scheduled"),
        CheckConstraint("(state IN ('done', 'failed', 'cancelled')) = (ended_at IS NOT NULL)", "ended"),
        CheckConstraint("(signed_at IS NULL) = (signed_name = '')", "signed"),
        Index("uq_work_order_number", "operator_id", "number", unique=True),
        Index("ix_work_order_window", "operator_id", "window_start", "id"),
        Index("ix_work_order_open", "operator_id", "created_at", "id", postgresql_where=text(_OPEN)),
        Index("ix_work_order_technician_id", "technician_id", "window_start"),
        Index("ix_work_order_subscriber_id", "subscriber_id", "id"),
        Index("ix_work_order_service_id", "service_id"),
        Index("ix_work_order_ended_at", "operator_id", "ended_at"),
        Index("ix_work_order_ticket_id", "ticket_id", postgresql_where=text("ticket_id IS NOT NULL")),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    number: Mapped[BigInt]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    priority: Mapped[str] = mapped_column(server_default="normal")
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[int | None] = mapped_column(ForeignKey("service.id"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id"))
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("ticket.id"))
    seller_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))  # whose sale it is
    address: Mapped[str] = mapped_column(server_default="")
    latitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    contact_name: Mapped[str] = mapped_column(server_default="")
    contact_phone: Mapped[str | None]
    technician_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    window_start: Mapped[Instant | None]
    window_end: Mapped[Instant | None]
    checklist: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    device_mac: Mapped[str | None]  # canonical, of what was installed
    circuit_test_id: Mapped[BigInt | None]  # the link test made on the spot
    login_given_at: Mapped[Instant | None]
    signed_name: Mapped[str] = mapped_column(server_default="")
    signature_id: Mapped[int | None] = mapped_column(ForeignKey("stored_file.id"))
    signed_at: Mapped[Instant | None]
    outcome: Mapped[str] = mapped_column(server_default="")  # why it failed or was cancelled
    missing: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    override_reason: Mapped[str] = mapped_column(server_default="")
    created_by: Mapped[str]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Instant]
    started_at: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class WorkOrderEvent(Tenanted, Base):
    """Something that happened to an order. `key` is given by who may send the same step twice: it counts once."""

    __tablename__ = "work_order_event"
    __table_args__ = (
        Index("ix_work_order_event_work_order_id", "work_order_id", "id"),
        Index("uq_work_order_event_key", "work_order_id", "key", unique=True, postgresql_where=text("key <> ''")),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    work_order_id: Mapped[BigInt] = mapped_column(ForeignKey("work_order.id"))
    step: Mapped[str]  # create, schedule, set_out, begin, check, note, call, photo, material, …
    author: Mapped[str]
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    body: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    key: Mapped[str] = mapped_column(server_default="")
    at: Mapped[Instant]  # when it was done, which may be long before it came in
    created_at: Mapped[Created]


class WorkOrderPhoto(Tenanted, Base):
    """A picture taken on the spot, with where the phone was; `subject` says of what."""

    __tablename__ = "work_order_photo"
    __table_args__ = (
        CheckConstraint("subject IN ('site', 'device', 'identity', 'other')", "subject"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", "position_whole"),
    )

    work_order_id: Mapped[BigInt] = mapped_column(ForeignKey("work_order.id"), primary_key=True)
    file_id: Mapped[BigInt] = mapped_column(ForeignKey("stored_file.id"), primary_key=True)
    subject: Mapped[str] = mapped_column(server_default="site")
    caption: Mapped[str] = mapped_column(server_default="")
    latitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    taken_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Material(Tenanted, Base):
    """What is used up and counted, not followed one by one: cable, plugs, masts."""

    __tablename__ = "material"
    __table_args__ = (
        Index("uq_material_name", "operator_id", text("lower(name)"), unique=True),
        CheckConstraint("reorder_at >= 0", "reorder_at"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    unit: Mapped[str]
    stock: Mapped[Decimal] = mapped_column(Numeric(12, 2), server_default="0")  # may fall below zero: uncounted
    reorder_at: Mapped[Decimal] = mapped_column(Numeric(12, 2), server_default="0")
    active: Mapped[bool] = mapped_column(server_default=text("true"))


class WorkOrderMaterial(Tenanted, Base):
    """What an order used of a material; a correction is another row, below zero."""

    __tablename__ = "work_order_material"
    __table_args__ = (
        Index("ix_work_order_material_work_order_id", "work_order_id"),
        CheckConstraint("quantity <> 0", "quantity"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    work_order_id: Mapped[BigInt] = mapped_column(ForeignKey("work_order.id"))
    material_id: Mapped[BigInt] = mapped_column(ForeignKey("material.id"))
    quantity: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    author: Mapped[str]
    created_at: Mapped[Created]
