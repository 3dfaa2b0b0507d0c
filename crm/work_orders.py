"""Work orders: visits to subscribers and sites, who goes, when, and what became of it.

    open → scheduled → on the way → in work → done
                                            → failed, with a reason; can be opened again
    any that is not over                    → cancelled, with a reason; can be opened again

Steps may be left out: who is next door begins at once. A step comes with the time at which it was done and, from a
phone that was without coverage, with a key: the same key counts once, however often it arrives. What only adds (a
note, a photo, a tick) never conflicts; what changes the plan of the visit names the version that was seen.
"""

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import (
    WORK_KINDS,
    WORK_OPEN,
    WORK_PRIORITIES,
    Lead,
    Service,
    Staff,
    Subscriber,
    Ticket,
    WorkChecklist,
    WorkOrder,
    WorkOrderEvent,
    WorkSettings,
)

ENDED = ("done", "failed", "cancelled")
LONGEST_WINDOW = timedelta(days=14)
_LIMITS = {"title": 200, "description": 5000, "address": 500, "contact_name": 200, "contact_phone": 40}
_LONGEST_NOTE = 5000


class WrongOrderState(Exception):
    """The order's state does not allow the step: `state` is what it is, `step` what was asked."""

    def __init__(self, state: str, step: str) -> None:
        super().__init__(f"cannot {step} a work order that is {state}")
        self.state = state
        self.step = step


@dataclass(frozen=True, slots=True)
class WorkOrderDetails:
    """What somebody enters for a work order. Address, position and contact are the subscriber's where left empty."""

    kind: str
    title: str = ""
    description: str = ""
    priority: str = "normal"
    subscriber_id: int | None = None
    service_id: int | None = None
    lead_id: int | None = None
    ticket_id: int | None = None
    seller_id: int | None = None
    address: str = ""
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    contact_name: str = ""
    contact_phone: str | None = None
    technician_id: int | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None


def details_of_order(order: WorkOrder) -> WorkOrderDetails:
    return WorkOrderDetails(**{field.name: getattr(order, field.name) for field in fields(WorkOrderDetails)})


def create_work_order(
    session: Session, actor: Actor, details: WorkOrderDetails, now: datetime | None = None
) -> WorkOrder:
    """Enter a work order, scheduled when it has a window, with the checklist of its kind. Raises Invalid."""
    now = now or utc_now()
    details = _checked(session, actor.operator_id, _filled_in(session, actor.operator_id, details))
    order = WorkOrder(
        operator_id=actor.operator_id,
        number=_next_number(session, actor.operator_id),
        **asdict(details),
        state="open" if details.window_start is None else "scheduled",
        checklist=checklist_of(session, actor.operator_id, details.kind),
        created_by=actor.name,
        created_at=now,
    )
    session.add(order)
    session.flush()
    add_event(session, actor, order, "create", now)
    record(session, actor, "work_order.create", "work_order", order.id, None, _audited(order))
    return order


def change_work_order(
    session: Session, actor: Actor, order: WorkOrder, details: WorkOrderDetails, seen: int, now: datetime
) -> None:
    """Change what was entered, of version `seen`. Raises Invalid, ChangedMeanwhile and WrongOrderState."""
    begin_step(session, order, "change", WORK_OPEN)
    if order.version != seen:
        raise ChangedMeanwhile
    details = _checked(session, order.operator_id, details)
    before = _audited(order)
    if details.kind != order.kind:
        order.checklist = checklist_of(session, order.operator_id, details.kind)
    for name, value in asdict(details).items():
        if getattr(order, name) != value:
            setattr(order, name, value)
    _state_by_window(order)
    after = _audited(order)
    if before != after:
        add_event(session, actor, order, "change", now, detail=_difference(before, after))
        record(session, actor, "work_order.change", "work_order", order.id, before, after)
    session.flush()


def schedule(
    session: Session,
    actor: Actor,
    order: WorkOrder,
    technician_id: int | None,
    window: tuple[datetime, datetime] | None,
    now: datetime,
    seen: int | None = None,
    key: str = "",
) -> None:
    """Say who goes and when; neither may be known yet. With `seen`, of that version only.

    Raises Invalid, ChangedMeanwhile and WrongOrderState.
    """
    if not begin_step(session, order, "schedule", WORK_OPEN, key):
        return
    if seen is not None and order.version != seen:
        raise ChangedMeanwhile
    start, end = window if window is not None else (None, None)
    details = replace(
        details_of_order(order), technician_id=technician_id, window_start=start, window_end=end
    )  # fmt: skip
    _checked(session, order.operator_id, details)
    before = _audited(order)
    order.technician_id, order.window_start, order.window_end = technician_id, start, end
    _state_by_window(order)
    after = _audited(order)
    if before != after:
        add_event(session, actor, order, "schedule", now, detail=_difference(before, after), key=key)
        record(session, actor, "work_order.schedule", "work_order", order.id, before, after)
    session.flush()


def clashes(session: Session, order: WorkOrder) -> list[WorkOrder]:
    """Return the technician's other visits in the same hours."""
    if order.technician_id is None or order.window_start is None or order.window_end is None:
        return []
    query = select(WorkOrder).where(
        WorkOrder.operator_id == order.operator_id,
        WorkOrder.technician_id == order.technician_id,
        WorkOrder.state.in_(WORK_OPEN),
        WorkOrder.id != order.id,
        WorkOrder.window_start < order.window_end,
        WorkOrder.window_end > order.window_start,
    )
    return list(session.scalars(query.order_by(WorkOrder.window_start)))


# Steps.


def set_out(session: Session, actor: Actor, order: WorkOrder, now: datetime, key: str = "") -> None:
    """The technician is on the way. An order that was nobody's becomes theirs. Raises WrongOrderState."""
    if begin_step(session, order, "set_out", ("open", "scheduled"), key):
        order.state = "on_the_way"
        _take(actor, order)
        add_event(session, actor, order, "set_out", now, key=key)


def begin(session: Session, actor: Actor, order: WorkOrder, now: datetime, key: str = "") -> None:
    """The technician is there and begins. Raises WrongOrderState."""
    if begin_step(session, order, "begin", ("open", "scheduled", "on_the_way"), key):
        order.state, order.started_at = "in_work", now
        _take(actor, order)
        add_event(session, actor, order, "begin", now, key=key)


def fail(session: Session, actor: Actor, order: WorkOrder, reason: str, now: datetime, key: str = "") -> None:
    """The visit came to nothing: nobody at home, no line of sight. Raises Invalid and WrongOrderState."""
    _end(session, actor, order, "fail", "failed", reason, now, key)


def cancel(session: Session, actor: Actor, order: WorkOrder, reason: str, now: datetime, key: str = "") -> None:
    """Nobody goes any more. Raises Invalid and WrongOrderState."""
    _end(session, actor, order, "cancel", "cancelled", reason, now, key)


def open_again(session: Session, actor: Actor, order: WorkOrder, now: datetime) -> None:
    """Take a failed or cancelled order up again; when is to be agreed anew. Raises WrongOrderState."""
    begin_step(session, order, "open_again", ("failed", "cancelled"))
    before = _audited(order)
    order.state, order.ended_at, order.outcome = "open", None, ""
    order.window_start = order.window_end = order.started_at = None
    add_event(session, actor, order, "open_again", now)
    record(session, actor, "work_order.open_again", "work_order", order.id, before, _audited(order))
    session.flush()


def add_note(
    session: Session, actor: Actor, order: WorkOrder, text: str, now: datetime, step: str = "note", key: str = ""
) -> None:
    """Write something down; `step` is note or call. It may be added when the order is over, too. Raises Invalid."""
    text = text.replace("\0", "").strip()
    if not text:
        raise Invalid(FieldProblem("text", Problem.REQUIRED))
    if len(text) > _LONGEST_NOTE:
        raise Invalid(FieldProblem("text", Problem.TOO_LONG, {"limit": str(_LONGEST_NOTE)}))
    if begin_step(session, order, step, (*WORK_OPEN, *ENDED), key):
        add_event(session, actor, order, step, now, body=text, key=key)


# What other modules of the same subject build on.


def begin_step(session: Session, order: WorkOrder, step: str, states: tuple[str, ...], key: str = "") -> bool:
    """Lock an order for a step. False: the step with this key was done before. Raises WrongOrderState."""
    session.flush()
    session.refresh(order, with_for_update=True)
    if key and session.scalar(
        select(WorkOrderEvent.id).where(WorkOrderEvent.work_order_id == order.id, WorkOrderEvent.key == key)
    ):
        return False
    if order.state not in states:
        raise WrongOrderState(order.state, step)
    return True


def add_event(
    session: Session,
    actor: Actor,
    order: WorkOrder,
    step: str,
    at: datetime,
    *,
    body: str = "",
    detail: dict[str, Any] | None = None,
    key: str = "",
) -> None:
    """Write a step into the order's history. A phone's clock may be wrong: nothing was done in the future."""
    session.add(
        WorkOrderEvent(
            operator_id=order.operator_id, work_order_id=order.id, step=step, author=actor.name,
            staff_id=actor.staff_id, body=body, detail=detail or {}, key=key[:100], at=min(at, utc_now()),
        )
    )  # fmt: skip
    session.flush()


def events_of(session: Session, order: WorkOrder) -> list[WorkOrderEvent]:
    """Return the order's history, the newest first."""
    query = select(WorkOrderEvent).where(WorkOrderEvent.work_order_id == order.id)
    return list(session.scalars(query.order_by(WorkOrderEvent.at.desc(), WorkOrderEvent.id.desc())))


def checklist_of(session: Session, operator_id: int, kind: str) -> list[dict[str, Any]]:
    """Return the operator's checklist of a kind of work, nothing ticked off; empty where there is none."""
    items = session.scalar(
        select(WorkChecklist.items).where(WorkChecklist.operator_id == operator_id, WorkChecklist.kind == kind)
    )
    return [
        {"text": item["text"], "required": bool(item["required"]), "done_at": None, "done_by": ""}
        for item in items or ()
    ]


def settings_of(session: Session, operator_id: int) -> WorkSettings:
    """Return what the operator decided about work orders; the defaults are stored when first asked for."""
    settings = session.get(WorkSettings, operator_id)
    if settings is None:
        session.execute(insert(WorkSettings).values(operator_id=operator_id).on_conflict_do_nothing())
        settings = session.get_one(WorkSettings, operator_id)
    return settings


def technicians(session: Session, operator_id: int) -> list[Staff]:
    """Return who can be sent: active staff of the technical role."""
    query = select(Staff).where(Staff.operator_id == operator_id, Staff.active, Staff.roles.contains(["technical"]))
    return list(session.scalars(query.order_by(Staff.name)))


# Below here: what the above is made of.


def _next_number(session: Session, operator_id: int) -> int:
    """Return the next number of the operator; whoever asks at the same time waits."""
    settings = settings_of(session, operator_id)
    session.refresh(settings, with_for_update=True)
    settings.last_number += 1
    session.flush()
    return settings.last_number


def _filled_in(session: Session, operator_id: int, details: WorkOrderDetails) -> WorkOrderDetails:
    service = session.get(Service, details.service_id) if details.service_id is not None else None
    if service is not None and service.operator_id == operator_id and details.subscriber_id is None:
        details = replace(details, subscriber_id=service.subscriber_id)
    if details.subscriber_id is None:
        return details
    subscriber = session.get(Subscriber, details.subscriber_id)
    if subscriber is None or subscriber.operator_id != operator_id:
        return details
    if details.latitude is None and details.longitude is None and not details.address:
        details = replace(details, latitude=subscriber.latitude, longitude=subscriber.longitude)
    return replace(
        details,
        title=details.title or subscriber.name,
        address=details.address or subscriber.address or "",
        contact_name=details.contact_name or subscriber.name,
        contact_phone=details.contact_phone or subscriber.phone,
    )


def _checked(session: Session, operator_id: int, details: WorkOrderDetails) -> WorkOrderDetails:
    """Return the details as they are stored. Raises Invalid with everything that is wrong."""
    problems: list[FieldProblem] = []
    texts = {name: (getattr(details, name) or "").replace("\0", "").strip() for name in _LIMITS}
    for name, limit in _LIMITS.items():
        if len(texts[name]) > limit:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
    values: dict[str, Any] = {**texts, "contact_phone": texts["contact_phone"] or None}
    details = replace(details, **values)
    if not details.title:
        problems.append(FieldProblem("title", Problem.REQUIRED))
    if details.kind not in WORK_KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if details.priority not in WORK_PRIORITIES:
        problems.append(FieldProblem("priority", Problem.UNKNOWN_CHOICE))
    if details.kind in ("installation", "recovery") and details.subscriber_id is None:
        problems.append(FieldProblem("subscriber_id", Problem.REQUIRED))
    links: tuple[tuple[str, Any], ...] = (
        ("subscriber_id", Subscriber), ("service_id", Service), ("technician_id", Staff), ("seller_id", Staff),
        ("lead_id", Lead), ("ticket_id", Ticket),
    )  # fmt: skip
    for name, model in links:
        row_id = getattr(details, name)
        if row_id is not None and getattr(session.get(model, row_id), "operator_id", None) != operator_id:
            problems.append(FieldProblem(name, Problem.UNKNOWN_CHOICE))
    if details.service_id is not None and not problems:
        service = session.get_one(Service, details.service_id)
        if service.subscriber_id != details.subscriber_id:
            problems.append(FieldProblem("service_id", Problem.UNKNOWN_CHOICE))
    problems += _window_problems(details)
    problems += _position_problems(details.latitude, details.longitude)
    if problems:
        raise Invalid(*problems)
    return replace(
        details,
        latitude=None if details.latitude is None else details.latitude.quantize(Decimal("0.000001")),
        longitude=None if details.longitude is None else details.longitude.quantize(Decimal("0.000001")),
    )


def _window_problems(details: WorkOrderDetails) -> list[FieldProblem]:
    start, end = details.window_start, details.window_end
    if (start is None) != (end is None):
        return [FieldProblem("window_start" if start is None else "window_end", Problem.BOTH_OR_NEITHER)]
    if start is not None and end is not None and not timedelta(0) < end - start <= LONGEST_WINDOW:
        return [FieldProblem("window_end", Problem.WRONG_SPAN)]
    return []


def _position_problems(latitude: Decimal | None, longitude: Decimal | None) -> list[FieldProblem]:
    if (latitude is None) != (longitude is None):
        return [FieldProblem("latitude" if latitude is None else "longitude", Problem.BOTH_OR_NEITHER)]
    if latitude is not None and (not latitude.is_finite() or abs(latitude) > 90):
        return [FieldProblem("latitude", Problem.NOT_A_POSITION)]
    if longitude is not None and (not longitude.is_finite() or abs(longitude) > 180):
        return [FieldProblem("longitude", Problem.NOT_A_POSITION)]
    return []


def _state_by_window(order: WorkOrder) -> None:
    if order.state in ("open", "scheduled"):
        order.state = "open" if order.window_start is None else "scheduled"


def _take(actor: Actor, order: WorkOrder) -> None:
    if order.technician_id is None:
        order.technician_id = actor.staff_id


def _end(
    session: Session, actor: Actor, order: WorkOrder, step: str, state: str, reason: str, now: datetime, key: str
) -> None:
    reason = reason.replace("\0", "").strip()
    if not reason:
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 500:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
    if begin_step(session, order, step, WORK_OPEN, key):
        before = _audited(order)
        order.state, order.ended_at, order.outcome = state, now, reason
        add_event(session, actor, order, step, now, body=reason, key=key)
        record(session, actor, f"work_order.{step}", "work_order", order.id, before, _audited(order))


def _audited(order: WorkOrder) -> dict[str, Any]:
    return {**asdict(details_of_order(order)), "work_state": order.state, "outcome": order.outcome}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what changed, in a form that JSON holds."""
    return {
        name: [_plain(before[name]), _plain(after[name])] for name in after if before[name] != after[name]
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
