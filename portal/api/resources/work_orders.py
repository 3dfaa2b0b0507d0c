"""Work orders: entering, planning and cancelling visits."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from crm.work_orders import (
    WorkOrderDetails,
    add_note,
    cancel,
    change_work_order,
    create_work_order,
    details_of_order,
    events_of,
)
from crm.work_steps import missing_steps
from crm.workflow import tell_of_change, tell_of_order, visit_of
from db.models import WorkOrder
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import Kind
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Given, Instant, Page, PageAsked, RowId, Shown, string

TAG = "Work orders"
WorkKind = Literal["installation", "maintenance", "repair", "move", "recovery", "expansion"]
State = Literal["open", "scheduled", "on_the_way", "in_work", "done", "failed", "cancelled"]
Priority = Literal["urgent", "high", "normal", "low"]


class WorkOrderShown(Shown):
    """A visit, from when it was asked for."""

    id: int
    number: int
    kind: WorkKind
    state: State
    priority: Priority
    title: str
    description: str
    subscriber_id: int | None
    service_id: int | None
    ticket_id: int | None
    address: str
    contact_name: str
    contact_phone: str | None
    technician_id: int | None
    window_start: datetime | None
    window_end: datetime | None
    outcome: str = Field(description="Why it failed or was cancelled.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class StepShown(Shown):
    """Something that happened to an order."""

    step: str
    author: str
    body: str
    at: datetime


class PointShown(Shown):
    """A point of the checklist; its place, from 0, is that in the list."""

    text: str
    required: bool
    done_at: datetime | None
    done_by: str


class MissingShown(Shown):
    """A step without which an order is not complete; `text` is which point of the checklist, or empty."""

    step: Literal["checklist", "device", "service", "link_test", "photo", "signature", "recover"]
    text: str


class WholeWorkOrderShown(WorkOrderShown):
    """A work order with what is to be done and what happened to it."""

    checklist: list[PointShown]
    device_mac: str | None
    signed_name: str
    signed_at: datetime | None
    override_reason: str = Field(description="Why it was completed without a step.")
    missing: list[MissingShown] = Field(description="What is yet to be done before it is complete.")
    steps: list[StepShown]


class WorkOrderChange(Given):
    """What to change of an order that is not over; what is left out stays."""

    title: string(200) = ""  # type: ignore[valid-type]
    description: string(5000) = ""  # type: ignore[valid-type]
    priority: Priority = "normal"
    address: string(500) = ""  # type: ignore[valid-type]
    contact_name: string(200) = ""  # type: ignore[valid-type]
    contact_phone: string(40) | None = None  # type: ignore[valid-type]
    technician_id: RowId | None = None
    window_start: Instant | None = Field(None, description="Both of the window, or neither.")
    window_end: Instant | None = None


class WorkOrderGiven(WorkOrderChange):
    """A work order to be entered. Address and contact are the subscriber's where they are left out."""

    kind: WorkKind = Field(examples=["repair"])
    subscriber_id: RowId | None = None
    service_id: RowId | None = None
    ticket_id: RowId | None = None


class WorkOrderNoteGiven(Given):
    text: string(5000, 1)  # type: ignore[valid-type]


class Cancelling(Given):
    reason: string(500, 1) = Field(examples=["The subscriber has moved."])  # type: ignore[valid-type]


class WorkOrdersAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    technician_id: RowId | Absent = None
    state: State | Absent = None
    kind: WorkKind | Absent = None
    created_since: Instant | Absent = None


def _shown(rows: Sequence[WorkOrder]) -> list[WorkOrderShown]:
    return [WorkOrderShown.model_validate(row) for row in rows]


def whole(order: WorkOrder) -> WholeWorkOrderShown:
    """Return an order as it is now, after what this request did."""
    session = frame.db()
    session.flush()
    session.refresh(order)
    steps = [StepShown.model_validate(each) for each in events_of(session, order)]
    over = order.state in ("done", "failed", "cancelled")
    return WholeWorkOrderShown(
        steps=steps,
        checklist=[PointShown.model_validate(each) for each in order.checklist],
        missing=[] if over else [MissingShown.model_validate(each) for each in missing_steps(session, order)],
        **{name: getattr(order, name) for name in ("device_mac", "signed_name", "signed_at", "override_reason")},
        **WorkOrderShown.model_validate(order).model_dump(),
    )


@operation("GET", "/work-orders", Scope.WORK_ORDERS_READ, tag=TAG, summary="List work orders",
           answer=Page[WorkOrderShown])  # fmt: skip
def index(query: WorkOrdersAsked) -> Page[WorkOrderShown]:
    found = select(WorkOrder)
    for name in ("subscriber_id", "technician_id", "state", "kind"):
        if getattr(query, name) is not None:
            found = found.where(getattr(WorkOrder, name) == getattr(query, name))
    if query.created_since is not None:
        found = found.where(WorkOrder.created_at >= query.created_since)
    return page_of(frame.db(), found, [WorkOrder.id], query, _shown)


@operation("GET", "/work-orders/<int:order_id>", Scope.WORK_ORDERS_READ, tag=TAG, summary="Read a work order",
           answer=WholeWorkOrderShown, single=True)  # fmt: skip
def show(order_id: int) -> WholeWorkOrderShown:
    return whole(one(WorkOrder, order_id))


@operation("POST", "/work-orders", Scope.WORK_ORDERS_WRITE, tag=TAG, summary="Enter a work order",
           answer=WholeWorkOrderShown, status=201, location="/work-orders/{id}")  # fmt: skip
def create(body: WorkOrderGiven) -> WholeWorkOrderShown:
    """With a window it is scheduled, without one it is open."""
    details = WorkOrderDetails(**body.model_dump())
    order = create_work_order(frame.db(), frame.actor(), details, context.now())
    tell_of_order(frame.db(), context.keyring(), order)
    return whole(order)


@operation("PATCH", "/work-orders/<int:order_id>", Scope.WORK_ORDERS_WRITE, tag=TAG, summary="Change a work order",
           answer=WholeWorkOrderShown, shown_by=show, gives=(Kind.WRONG_STATE,))  # fmt: skip
def change(order_id: int, body: WorkOrderChange) -> WholeWorkOrderShown:
    order = one(WorkOrder, order_id)
    details = replace(details_of_order(order), **body.model_dump(exclude_unset=True))
    before = visit_of(order)
    change_work_order(frame.db(), frame.actor(), order, details, order.version, context.now())
    tell_of_change(frame.db(), context.keyring(), frame.actor(), order, before)
    return whole(order)


@operation("POST", "/work-orders/<int:order_id>/notes", Scope.WORK_ORDERS_WRITE, tag=TAG,
           summary="Add a note to a work order", answer=WholeWorkOrderShown, status=201)  # fmt: skip
def note(order_id: int, body: WorkOrderNoteGiven) -> WholeWorkOrderShown:
    order = one(WorkOrder, order_id)
    add_note(frame.db(), frame.actor(), order, body.text, context.now())
    return whole(order)


@operation("POST", "/work-orders/<int:order_id>/cancel", Scope.WORK_ORDERS_WRITE, tag=TAG,
           summary="Cancel a work order", answer=WholeWorkOrderShown, gives=(Kind.WRONG_STATE,))  # fmt: skip
def cancel_one(order_id: int, body: Cancelling) -> WholeWorkOrderShown:
    """Nobody goes any more."""
    order = one(WorkOrder, order_id)
    before = visit_of(order)
    cancel(frame.db(), frame.actor(), order, body.reason, context.now())
    tell_of_change(frame.db(), context.keyring(), frame.actor(), order, before)
    return whole(order)
