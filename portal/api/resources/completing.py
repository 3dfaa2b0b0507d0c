"""Doing work orders: setting out, beginning, what is done on the spot, and completing or failing.

What a technician's page does step by step may come here in one request, for programs that bring a finished visit: the
points ticked, the device, the signature. Either all of it is kept or nothing.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import Field

from crm.files import PNG, store_file
from crm.problems import FieldProblem, Invalid, Problem
from crm.work_orders import begin, fail, open_again, set_out
from crm.work_steps import bind_device, complete, sign, tick
from db.models import StoredFile, WorkOrder
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.problems import Kind
from portal.api.resources.rows import one
from portal.api.resources.work_orders import TAG, WholeWorkOrderShown, whole
from portal.api.scopes import Scope
from portal.api.values import Given, Instant, Nothing, string

Step = TypeVar("Step", bound=Callable[..., Any])


class Failing(Given):
    reason: string(500, 1) = Field(examples=["Nobody was at home."])  # type: ignore[valid-type]


class TickGiven(Given):
    place: int = Field(ge=0, le=200, description="Of the point in `checklist`, from 0.")
    done: bool = True


class DeviceGiven(Given):
    device: string(100, 1) = Field(  # type: ignore[valid-type]
        description="Its MAC address, or the serial number of one in the inventory.", examples=["AA:BB:CC:00:11:22"]
    )


class SignatureGiven(Given):
    name: string(200, 1) = Field(description="Who signed.", examples=["Ana Gómez"])  # type: ignore[valid-type]
    picture: string(200_000, 1) = Field(  # type: ignore[valid-type]
        description="A PNG in base64.",
        examples=["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="],
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )


class Completing(Given):
    """A finished visit. What is left out was done before, or is not needed."""

    ticked: list[int] = Field([], max_length=200, description="Places of points that are done, from 0.")
    device: string(100, 1) | None = None  # type: ignore[valid-type]
    signature: SignatureGiven | None = None
    done_at: Instant | None = Field(None, description="When it was done, where that is not now.")
    override_reason: string(500) = Field(  # type: ignore[valid-type]
        "", description="Why steps may be missing; needs `work_orders:override`."
    )


def _step(path: str, summary: str, status: int = 200) -> Callable[[Step], Step]:
    return operation(
        "POST", f"/work-orders/<int:order_id>/{path}", Scope.WORK_ORDERS_WRITE, tag=TAG, summary=summary,
        answer=WholeWorkOrderShown, status=status, gives=(Kind.WRONG_STATE, Kind.STEPS_MISSING),
    )  # fmt: skip


@_step("set-out", "Set out for a visit")
def set_out_one(order_id: int, body: Nothing) -> WholeWorkOrderShown:
    order = one(WorkOrder, order_id)
    set_out(frame.db(), frame.actor(), order, context.now())
    return whole(order)


@_step("begin", "Begin the work")
def begin_one(order_id: int, body: Nothing) -> WholeWorkOrderShown:
    order = one(WorkOrder, order_id)
    begin(frame.db(), frame.actor(), order, context.now())
    return whole(order)


@_step("checklist", "Tick off a point of the checklist")
def tick_one(order_id: int, body: TickGiven) -> WholeWorkOrderShown:
    """Or take the tick back."""
    order = one(WorkOrder, order_id)
    tick(frame.db(), frame.actor(), order, body.place, done=body.done, now=context.now())
    return whole(order)


@_step("device", "Bind a device to the order's service")
def bind_one(order_id: int, body: DeviceGiven) -> WholeWorkOrderShown:
    """It is let in from now on, and stands in the inventory as installed there."""
    order = one(WorkOrder, order_id)
    bind_device(frame.db(), frame.actor(), order, body.device, context.now())
    return whole(order)


@_step("signature", "Keep who signed")
def sign_one(order_id: int, body: SignatureGiven) -> WholeWorkOrderShown:
    order = one(WorkOrder, order_id)
    sign(frame.db(), frame.actor(), order, body.name, _picture(body.picture, "picture"), context.now())
    return whole(order)


@_step("complete", "Complete a work order")
def complete_one(order_id: int, body: Completing) -> WholeWorkOrderShown:
    """An installation activates its service, billing follows, and the login of the subscriber's page goes out. Where
    steps are missing nothing is done, and `errors` names them."""
    session, actor, order, now = frame.db(), frame.actor(), one(WorkOrder, order_id), context.now()
    if body.override_reason:
        frame.require(Scope.WORK_ORDERS_OVERRIDE)
    for place in body.ticked:
        if not 0 <= place < len(order.checklist):
            raise Invalid(FieldProblem("ticked", Problem.UNKNOWN_CHOICE))
        tick(session, actor, order, place, done=True, now=now)
    if body.device is not None:
        bind_device(session, actor, order, body.device, now)
    if body.signature is not None:
        sign(session, actor, order, body.signature.name, _picture(body.signature.picture, "signature"), now)
    complete(
        session, actor, context.keyring(), order, context.portal().settings.public_url, now,
        override_reason=body.override_reason, done_at=body.done_at,
    )  # fmt: skip
    return whole(order)


@_step("fail", "Say that a visit came to nothing")
def fail_one(order_id: int, body: Failing) -> WholeWorkOrderShown:
    """Nobody at home, no line of sight. It can be opened again."""
    order = one(WorkOrder, order_id)
    fail(frame.db(), frame.actor(), order, body.reason, context.now())
    return whole(order)


@_step("open", "Open a work order again")
def open_one(order_id: int, body: Nothing) -> WholeWorkOrderShown:
    """One that failed or was cancelled."""
    order = one(WorkOrder, order_id)
    open_again(frame.db(), frame.actor(), order, context.now())
    return whole(order)


def _picture(written: str, field: str) -> StoredFile:
    """Keep a picture that came in base64, drawn anew. Raises Invalid."""
    try:
        content = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(FieldProblem(field, Problem.NOT_A_PICTURE)) from None
    return store_file(frame.db(), frame.token().operator_id, "signature.png", content, {PNG}, field=field)
