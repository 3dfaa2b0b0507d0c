"""What a phone takes along: the technician's visits in driving order, and all that their steps need, as JSON.

Whatever the phone shows is said here in the reader's language, so that the phone has no words of its own for it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from sqlalchemy import and_, func, or_, select

from core.clock import start_of_day
from crm.driving import Visit, driving_order, kilometres
from crm.field_steps import plan_of
from crm.materials import used_by
from crm.work_orders import events_of, settings_of
from crm.work_steps import IN_ORDER, SIGNED_KINDS, has_no_device, missing_steps
from db.models import (
    WORK_OPEN,
    AccountingSession,
    CircuitTest,
    Equipment,
    Material,
    RatePlan,
    SeenDevice,
    Service,
    Staff,
    WorkOrder,
    WorkOrderPhoto,
)
from portal import context
from portal.circuit_words import STEPS, step_words, verdict_title
from portal.formats import ago, dialled, local_minute, rate
from portal.labels import label
from portal.permissions import Permission, requires
from portal.staff.work_orders.base import may_do, window_text

blueprint = Blueprint("technician", __name__, url_prefix="/t")

MOST_ORDERS = 60
NOTES = 20
SEEN = 30


@blueprint.get("/day")
@requires(Permission.WORK_ORDERS_OWN)
def day() -> ResponseReturnValue:
    """The visits of today and tomorrow, what is overdue or has no day yet, and what was ended today."""
    session, person = context.db(), context.staff()
    orders = _orders()
    answer = {
        "owner": owner(),
        "name": person.name,
        "token": generate_csrf(),
        "at": context.now().isoformat(),
        "orders": [
            {**order_facts(order), "group": group, "distance": distance} for group, order, distance in _grouped(orders)
        ],
        "materials": [
            {"id": one.id, "name": one.name, "unit": one.unit}
            for one in session.scalars(select(Material).where(Material.active).order_by(Material.name))
        ],
        "seen": [_seen_facts(device) for device in _seen()] if context.may(Permission.DEVICES_VIEW) else [],
    }
    session.commit()  # the operator's settings, where they were asked for the first time
    return jsonify(answer)


def owner() -> str:
    """Return whose steps a phone keeps: of one person at one operator, and of nobody else who signs in on it."""
    person = context.staff()
    return f"{person.operator_id}:{person.id}"


def _day_start(days: int = 0) -> datetime:
    today = context.now().astimezone(context.zone()).date()
    return start_of_day(today + timedelta(days=days), context.zone())


def _orders() -> Sequence[WorkOrder]:
    mine = WorkOrder.technician_id == context.staff().id
    soon = or_(WorkOrder.window_start.is_(None), WorkOrder.window_start < _day_start(2))
    nobodys = and_(WorkOrder.technician_id.is_(None), WorkOrder.window_start < _day_start(1))
    outstanding = and_(WorkOrder.state.in_(WORK_OPEN), or_(and_(mine, soon), nobodys))
    query = select(WorkOrder).where(or_(outstanding, and_(mine, WorkOrder.ended_at >= _day_start())))
    return context.db().scalars(query.order_by(WorkOrder.window_start, WorkOrder.id).limit(MOST_ORDERS)).all()


def _grouped(orders: Sequence[WorkOrder]) -> list[tuple[str, WorkOrder, float | None]]:
    """Return each order with its heading and the kilometres from the one before, as it is driven to."""
    groups: dict[str, list[WorkOrder]] = {name: [] for name in ("today", "nobodys", "tomorrow", "unplanned", "ended")}
    for order in orders:
        groups[_group(order)].append(order)
    found: list[tuple[str, WorkOrder, float | None]] = []
    for group, members in groups.items():
        by_id = {order.id: order for order in members}
        before = None
        for visit in driving_order([visit_of(order) for order in members]):
            far: float | None = kilometres(before, visit.place) if before and visit.place else None
            found.append((group, by_id[visit.id], None if far is None else round(far, 1)))
            before = visit.place or before
    return found


def _group(order: WorkOrder) -> str:
    if order.state not in WORK_OPEN:
        return "ended"
    if order.technician_id is None:
        return "nobodys"
    if order.state in ("on_the_way", "in_work"):
        return "today"
    if order.window_start is None:
        return "unplanned"
    return "today" if order.window_start < _day_start(1) else "tomorrow"


def visit_of(order: WorkOrder) -> Visit:
    known = order.latitude is not None and order.longitude is not None
    place = (float(order.latitude or 0), float(order.longitude or 0)) if known else None
    begun = order.state in ("on_the_way", "in_work")
    return Visit(order.id, place, order.window_start, order.window_end, begun)


def order_facts(order: WorkOrder) -> dict[str, Any]:
    """Return all that the phone shows of an order, and the plan that its steps will name."""
    session = context.db()
    service = session.get(Service, order.service_id) if order.service_id is not None else None
    plan = session.get(RatePlan, service.plan_id) if service is not None else None
    technician = session.get(Staff, order.technician_id) if order.technician_id is not None else None
    photos = session.scalar(
        select(func.count()).select_from(WorkOrderPhoto).where(WorkOrderPhoto.work_order_id == order.id)
    )
    settings = settings_of(session, order.operator_id)
    signed_kind = order.kind in SIGNED_KINDS
    needs = {
        "device": order.kind == "installation"
        and (settings.needs_device or (service is not None and has_no_device(service))),
        "link_test": signed_kind and settings.needs_link_test,
        "photo": signed_kind and settings.needs_photo,
        "signature": signed_kind and settings.needs_signature,
    }
    return {
        "id": order.id,
        "number": order.number,
        "plan": plan_of(order, context.staff().id),
        "open": order.state in WORK_OPEN,
        "state": order.state,
        "state_text": label("work_state", order.state),
        "kind": order.kind,
        "kind_text": label("work_kind", order.kind),
        "urgent": label("work_priority", order.priority) if order.priority in ("urgent", "high") else "",
        "title": order.title,
        "description": order.description,
        "address": order.address,
        "position": None if order.latitude is None else [str(order.latitude), str(order.longitude)],
        "contact": order.contact_name,
        "phone": order.contact_phone or "",
        "dialled": dialled(order.contact_phone or ""),
        "window": window_text(order) if order.window_start else "",
        "technician": technician.name if technician is not None else "",
        "checklist": [
            {"text": item["text"], "required": item["required"], "done": bool(item["done_at"])}
            for item in order.checklist
        ],
        "device": order.device_mac or "",
        "service": _service_facts(service, plan),
        "hanging": [_device_facts(device) for device in _hanging(order)],
        "used": [
            f"{quantity.normalize():f} {material.unit} {material.name}"
            for material, quantity in used_by(session, order)
        ],
        "photos": photos or 0,
        "signed": order.signed_name,
        "needs": needs,
        "missing": [_missing_text(one.step, one.text) for one in missing_steps(session, order)]
        if order.state in WORK_OPEN
        else [],
        "outcome": order.outcome,
        "link": link_facts(order),
        "notes": [
            {"at": str(local_minute(event.at)), "by": event.author, "text": event.body}
            for event in events_of(session, order)
            if event.step in ("note", "call") and event.body
        ][:NOTES],
        "may_reopen": order.state in ("failed", "cancelled") and context.may(Permission.WORK_ORDERS_EDIT),
        "may_do": may_do(order),
    }


def _missing_text(step: str, text: str) -> str:
    return text or label("work_missing", step)


def _service_facts(service: Service | None, plan: RatePlan | None) -> dict[str, Any] | None:
    if service is None:
        return None
    return {
        "name": "" if has_no_device(service) else service.name,
        "method": label("access_method", service.access_method),
        "state": label("service_state", service.state),
        "plan": "" if plan is None else f"{plan.name} · ↓ {rate(plan.download)} ↑ {rate(plan.upload)}",
    }


def _hanging(order: WorkOrder) -> Sequence[Equipment]:
    """Return what hangs at the subscriber's, which a visit of these kinds may take down."""
    if order.kind not in ("recovery", "repair", "move", "maintenance") or order.subscriber_id is None:
        return []
    query = select(Equipment).where(Equipment.subscriber_id == order.subscriber_id, Equipment.state == "installed")
    if order.service_id is not None:
        query = query.where(Equipment.service_id == order.service_id)
    return context.db().scalars(query.order_by(Equipment.id)).all()


def _device_facts(device: Equipment) -> dict[str, Any]:
    name = device.model or label("equipment_kind", device.kind)
    return {"id": device.id, "text": " ".join(filter(None, (name, device.mac, device.serial)))}


def _seen() -> Sequence[SeenDevice]:
    return context.db().scalars(select(SeenDevice).order_by(SeenDevice.last_seen_at.desc()).limit(SEEN)).all()


def _seen_facts(device: SeenDevice) -> dict[str, str]:
    return {
        "mac": device.mac,
        "where": device.nas_port_id or device.called_station_id,
        "at": str(local_minute(device.last_seen_at)),
    }


def link_facts(order: WorkOrder) -> dict[str, Any] | None:
    """Return whether the line is up just now, and what the order's link test found so far."""
    if order.service_id is None:
        return None
    session = context.db()
    up = session.scalars(
        select(AccountingSession)
        .where(AccountingSession.service_id == order.service_id, AccountingSession.ended_at.is_(None))
        .order_by(AccountingSession.started_at.desc())
        .limit(1)
    ).one_or_none()
    test = session.get(CircuitTest, order.circuit_test_id) if order.circuit_test_id is not None else None
    return {
        "up": up is not None,
        "address": "" if up is None or up.framed_ip is None else str(up.framed_ip),
        "since": "" if up is None else str(local_minute(up.started_at)),
        "test": None if test is None else _test_facts(test),
    }


def _test_facts(test: CircuitTest) -> dict[str, Any]:
    steps: list[Mapping[str, Any]] = list(test.steps)
    return {
        "running": test.verdict is None,
        "good": test.verdict == IN_ORDER,
        "at": _plain(ago(test.started_at)),
        "verdict": "" if test.verdict is None else verdict_title(test.why),
        "steps": [
            {"name": _step_name(step), "mark": str(step["mark"]), "text": _plain(step_words(step))} for step in steps
        ],
    }


def _step_name(step: Mapping[str, Any]) -> str:
    name = STEPS.get(step["step"], str(step["step"]))
    return str(_(name))


def _plain(text: str | Markup) -> str:
    """Return words that were put together for a page, for one that builds its own."""
    return text.striptags() if isinstance(text, Markup) else text
