"""Steps that a technician's phone brings, perhaps a day after they were taken.

The phone names each step by a key, says when it was taken and of which plan: who goes, when, where, for what, and
whether the visit is still to be made. What only adds to an order (a note, a call, a photo) is taken whatever became
of the plan. All else is taken only of the plan that the technician had before their eyes; otherwise PlanChanged says
what became of it, and the technician decides. A step that came in before is done, even where the plan has changed
since.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.files import PICTURES, PNG, store_file
from crm.materials import use_material
from crm.problems import FieldProblem, Invalid, Problem
from crm.work_orders import ENDED, add_note, begin, fail, open_again, set_out
from crm.work_steps import add_photo, bind_device, complete, locate, recover_device, sign, tick
from db.audit import Actor
from db.models import WORK_OPEN, Equipment, Material, WorkOrder, WorkOrderEvent

ADDING = frozenset({"note", "call", "photo"})
KINDS = ADDING | {
    "set_out", "begin", "check", "device", "recover", "material", "locate", "sign", "complete", "fail", "open_again",
}  # fmt: skip
SIGNATURE_MOST = 400_000
"""Octets of a signature as the phone draws it."""
_PLAN = ("kind", "description", "subscriber_id", "service_id", "address", "contact_name", "contact_phone")


class PlanChanged(Exception):
    """The order is not what the phone saw: `how` is ended, reassigned or changed."""

    def __init__(self, how: str) -> None:
        super().__init__(f"the work order was {how} meanwhile")
        self.how = how


@dataclass(frozen=True, slots=True)
class FieldStep:
    """One step as a phone tells it. `values` are unjudged; `at` is by the clock of the phone, `plan` as `plan_of()`."""

    key: str
    order_id: int
    kind: str
    at: datetime
    plan: str
    values: Mapping[str, Any]
    file: bytes = b""


def plan_of(order: WorkOrder, staff_id: int | None) -> str:
    """Return a short text that differs when the plan of a visit does, as far as this technician is concerned.

    The steps themselves do not change it: whoever begins an order that was nobody's has it, and the place where the
    phone found itself is no other plan. Ending it does.
    """
    mine = order.technician_id is None or order.technician_id == staff_id
    window = [instant and instant.isoformat() for instant in (order.window_start, order.window_end)]
    ended = order.state if order.state in ENDED else ""
    points = [item["text"] for item in order.checklist]
    facts = [*(getattr(order, name) for name in _PLAN), window, ended, points, "" if mine else order.technician_id]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def was_taken(session: Session, order: WorkOrder, key: str) -> bool:
    """Tell whether the step with this key came in before."""
    query = select(WorkOrderEvent.id).where(WorkOrderEvent.work_order_id == order.id, WorkOrderEvent.key == key)
    return session.scalar(query) is not None


def take_step(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    order: WorkOrder,
    step: FieldStep,
    public_url: str,
    now: datetime,
) -> bool:
    """Do what a phone brings; False where it came in before.

    Raises PlanChanged, Invalid, StepsMissing, WrongOrderState and what completing raises. Whether the person may do the
    steps of this order is the caller's business.
    """
    session.refresh(order, with_for_update=True)
    if was_taken(session, order, step.key):
        return False
    if step.kind not in KINDS:
        raise Invalid(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if step.kind not in ADDING and step.plan != plan_of(order, actor.staff_id):
        raise PlanChanged(_how(order, actor.staff_id))
    _do(session, actor, keyring, order, step, public_url, now)
    return True


def _how(order: WorkOrder, staff_id: int | None) -> str:
    if order.state in ENDED:
        return "ended"
    return "changed" if order.technician_id in (None, staff_id) else "reassigned"


def _do(
    session: Session, actor: Actor, keyring: Keyring, order: WorkOrder, step: FieldStep, public_url: str, now: datetime
) -> None:
    at, key, values = min(step.at, now), step.key, step.values
    match step.kind:
        case "set_out":
            set_out(session, actor, order, at, key)
        case "begin":
            begin(session, actor, order, at, key)
        case "note" | "call":
            add_note(session, actor, order, _text(values, "text"), at, step.kind, key)
        case "check":
            tick(session, actor, order, _whole(values, "place"), done=values.get("done") is True, now=at, key=key)
        case "photo":
            file = store_file(session, actor.operator_id, "photo.jpg", step.file, PICTURES, field="photos")
            add_photo(
                session, actor, order, file, _text(values, "subject") or "site", at,
                caption=_text(values, "caption"), position=_position(values), key=key,
            )  # fmt: skip
        case "device":
            bind_device(session, actor, order, _text(values, "label"), at, key)
        case "recover":
            device = session.get(Equipment, _whole(values, "equipment_id"))
            if device is None:
                raise Invalid(FieldProblem("device", Problem.UNKNOWN_CHOICE))
            recover_device(session, actor, order, device, _text(values, "state"), at, key)
        case "material":
            material = session.get(Material, _whole(values, "material_id"))
            if material is None:
                raise Invalid(FieldProblem("material_id", Problem.UNKNOWN_CHOICE))
            use_material(session, actor, order, material, _amount(values, "quantity"), at, key)
        case "locate":
            position = _position(values)
            if position is None:
                raise Invalid(FieldProblem("position", Problem.REQUIRED))
            locate(session, actor, order, *position, at, key)
        case "sign":
            file = store_file(
                session, actor.operator_id, "signature.png", step.file, {PNG}, SIGNATURE_MOST, field="signature"
            )
            sign(session, actor, order, _text(values, "signed_name"), file, at, key)
        case "complete":
            complete(session, actor, keyring, order, public_url, now, done_at=at, key=key)
        case "fail":
            fail(session, actor, order, _text(values, "reason"), at, key)
        case "open_again":
            if order.state not in WORK_OPEN:
                open_again(session, actor, order, at)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    return value if isinstance(value, str) else ""


def _whole(values: Mapping[str, Any], name: str) -> int:
    """Return a number of the phone's. Raises Invalid."""
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise Invalid(FieldProblem(name, Problem.UNKNOWN_CHOICE))
    return value


def _amount(values: Mapping[str, Any], name: str) -> Decimal:
    """Return a quantity as it was typed. Raises Invalid."""
    try:
        amount = Decimal(_text(values, name).strip().replace(",", "."))
    except InvalidOperation:
        raise Invalid(FieldProblem(name, Problem.NOT_POSITIVE)) from None
    return amount


def _position(values: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    """Return where the phone was, of its `[latitude, longitude]`; None where it does not say. Raises Invalid."""
    place = values.get("position")
    if not place:
        return None
    if not isinstance(place, list) or len(place) != 2 or not all(isinstance(part, int | float) for part in place):
        raise Invalid(FieldProblem("position", Problem.NOT_A_POSITION))
    latitude, longitude = (Decimal(repr(float(part))) for part in place)
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise Invalid(FieldProblem("position", Problem.NOT_A_POSITION))
    return latitude, longitude
