"""The way from a sale to a line in use: a service that waits, and a visit that puts it into use.

Selling gives a subscriber a service with the chosen plan. With the workflow the service is pending and an installation
is ordered; nobody is let in and nothing is billed until the technician completes it. An operator may switch the
workflow off for all sales, and a seller for one: then the service waits for somebody to enable it on the record, or is
active at once, as the seller says.
"""

import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from aaa.facts import AccessMethod
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.messages import Value, tell_staff
from crm.problems import FieldProblem, Invalid, Problem
from crm.service_terms import WITH_PASSWORD, ServiceTerms
from crm.services import activate, create_service, restore, suspend
from crm.work_orders import ENDED, WorkOrderDetails, create_work_order, settings_of
from crm.work_steps import NO_DEVICE
from db.audit import Actor, record
from db.models import (
    ROLES,
    WORK_KINDS,
    RatePlan,
    Service,
    Staff,
    Subscriber,
    WorkChecklist,
    WorkOrder,
    WorkSettings,
)

SOLD_METHODS = (AccessMethod.PPPOE, AccessMethod.MAC, AccessMethod.HOTSPOT)
"""What can be sold before anybody was there; lines and static addresses need what is found out on the spot."""
MOST_ITEMS = 40
_PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - none that look alike on a label
_NOT_IN_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Sale:
    """What a seller agrees on. Without `name` one is made of the subscriber's; without `password`, one is made up.

    `begins` says what becomes of the service: workflow (an installation is ordered), pending (somebody enables it) or
    active. `window` is when the technician comes, where that was agreed.
    """

    plan_id: int
    access_method: str = "pppoe"
    begins: str = "workflow"
    name: str = ""
    password: str = ""
    nas_id: int | None = None
    window: tuple[datetime, datetime] | None = None
    technician_id: int | None = None
    lead_id: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Sold:
    """What came of a sale; `order` is None without the workflow."""

    service: Service
    order: WorkOrder | None


def sell(session: Session, actor: Actor, keyring: Keyring, subscriber: Subscriber, sale: Sale, now: datetime) -> Sold:
    """Give a subscriber a service and, by the workflow, order its installation. Raises Invalid."""
    if sale.access_method not in SOLD_METHODS:
        raise Invalid(FieldProblem("access_method", Problem.UNKNOWN_CHOICE))
    if sale.begins not in ("workflow", "pending", "active"):
        raise Invalid(FieldProblem("begins", Problem.UNKNOWN_CHOICE))
    plan = session.get(RatePlan, sale.plan_id)
    if plan is None or plan.archived or plan.operator_id != actor.operator_id:
        raise Invalid(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    if sale.access_method == AccessMethod.MAC and not sale.name and sale.begins == "active":
        raise Invalid(FieldProblem("name", Problem.REQUIRED))
    terms = ServiceTerms(
        access_method=sale.access_method,
        name=sale.name or _name_for(session, subscriber, sale.access_method),
        plan_id=plan.id,
        nas_id=sale.nas_id,
    )
    password = (sale.password or new_password()) if sale.access_method in WITH_PASSWORD else None
    state = "active" if sale.begins == "active" else "pending"
    service = create_service(session, actor, keyring, subscriber, terms, password, state=state, now=now)
    if sale.begins != "workflow":
        return Sold(service, None)
    start, end = sale.window or (None, None)
    details = WorkOrderDetails(
        kind="installation",
        title=f"{subscriber.name} · {plan.name}"[:200],
        description=sale.description,
        subscriber_id=subscriber.id,
        service_id=service.id,
        lead_id=sale.lead_id,
        seller_id=actor.staff_id,
        technician_id=sale.technician_id,
        window_start=start,
        window_end=end,
    )
    order = create_work_order(session, actor, details, now)
    tell_of_order(session, keyring, order)
    return Sold(service, order)


def tell_of_order(session: Session, keyring: Keyring, order: WorkOrder) -> None:
    """Tell the technician of a new order, or where there is none yet, the roles that the operator named."""
    person = session.get(Staff, order.technician_id) if order.technician_id is not None else None
    told = [person.email] if person is not None else settings_of(session, order.operator_id).told
    for role_or_email in told:
        tell_staff(session, keyring, order.operator_id, role_or_email, "work_order", _told_of(order))


@dataclass(frozen=True, slots=True)
class Visit:
    """Who goes to an order and when, as it stands; nobody goes to one that is over."""

    technician_id: int | None
    window: tuple[datetime | None, datetime | None]


def visit_of(order: WorkOrder) -> Visit:
    goes = None if order.state in ENDED else order.technician_id
    return Visit(goes, (order.window_start, order.window_end))


def tell_of_change(session: Session, keyring: Keyring, actor: Actor, order: WorkOrder, before: Visit) -> None:
    """Tell who is to go now, or at another time, and who is not any more. Nobody is told what they did themselves."""
    now = visit_of(order)
    if now.technician_id not in (None, actor.staff_id) and now != before:
        tell_of_order(session, keyring, order)
    if before.technician_id in (None, actor.staff_id, now.technician_id):
        return
    gone = session.get_one(Staff, before.technician_id)
    values = {**_told_of(order), "when": before.window[0] or _not_agreed}
    tell_staff(session, keyring, order.operator_id, gone.email, "work_order_off", values)
    if now.technician_id is None and order.state not in ENDED:
        tell_of_order(session, keyring, order)


def _told_of(order: WorkOrder) -> dict[str, Value]:
    return {
        "number": str(order.number),
        "title": order.title,
        "address": order.address,
        "when": order.window_start if order.window_start is not None else _not_agreed,
    }


def _not_agreed(language: str) -> str:
    """Return what stands for the time of a visit that has none, in the reader's language."""
    return translator(language)(N_("not agreed yet"))


def set_enabled(session: Session, actor: Actor, service: Service, *, enabled: bool, now: datetime) -> None:
    """Let a service on line, or not, by hand: the box on the record.

    Enabling activates what is pending and restores what staff had cut off; what is cut off for another cause is not for
    this box. Raises Invalid and crm.problems.WrongState.
    """
    if not enabled:
        suspend(session, actor, service, "staff", "", now)
    elif service.state == "pending":
        if service.access_method == "mac" and service.name.startswith(NO_DEVICE):
            raise Invalid(FieldProblem("enabled", Problem.DEVICE_MISSING))
        activate(session, actor, service, now)
    elif service.state == "suspended" and service.suspension_cause != "staff":
        raise Invalid(FieldProblem("enabled", Problem.CUT_FOR_CAUSE))
    else:
        restore(session, actor, service)


# What the operator decides.


@dataclass(frozen=True, slots=True)
class WorkflowTerms:
    """What an operator decides about sales and installations; the fields of `WorkSettings`."""

    enabled: bool = True
    needs_device: bool = True
    needs_link_test: bool = False
    needs_photo: bool = False
    needs_signature: bool = True
    give_login: bool = True
    minutes: int = 120
    told: tuple[str, ...] = ("technical",)


def terms_of_workflow(settings: WorkSettings) -> WorkflowTerms:
    values = {name: getattr(settings, name) for name in WorkflowTerms.__slots__}
    return WorkflowTerms(**{**values, "told": tuple(values["told"])})


def change_workflow(session: Session, actor: Actor, terms: WorkflowTerms) -> None:
    """Change what the operator decided. Raises Invalid."""
    problems = []
    if not 15 <= terms.minutes <= 1440:
        problems.append(FieldProblem("minutes", Problem.OUT_OF_RANGE, {"low": "15", "high": "1440"}))
    if not set(terms.told) <= set(ROLES):
        problems.append(FieldProblem("told", Problem.UNKNOWN_ROLE))
    if problems:
        raise Invalid(*problems)
    settings = settings_of(session, actor.operator_id)
    before = _settings_audited(terms_of_workflow(settings))
    for name in WorkflowTerms.__slots__:
        value = getattr(terms, name)
        setattr(settings, name, list(value) if name == "told" else value)
    session.flush()
    record(session, actor, "workflow.settings", "operator", actor.operator_id, before, _settings_audited(terms))


def checklists(session: Session, operator_id: int) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the operator's checklist of each kind of work."""
    query = select(WorkChecklist).where(WorkChecklist.operator_id == operator_id)
    return {row.kind: row.items for row in session.scalars(query)}


def change_checklist(session: Session, actor: Actor, kind: str, text: str) -> None:
    """Write the checklist of a kind of work: a point a line, with a star in front where it must be ticked off.

    Orders that there are keep theirs. Raises Invalid.
    """
    if kind not in WORK_KINDS:
        raise Invalid(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    items = []
    for line in text.replace("\0", "").splitlines():
        words = " ".join(line.lstrip("* ").split())
        if words:
            items.append({"text": words, "required": line.lstrip().startswith("*")})
    if len(items) > MOST_ITEMS:
        raise Invalid(FieldProblem(kind, Problem.LIMIT_REACHED, {"limit": str(MOST_ITEMS)}))
    if any(len(str(item["text"])) > 200 for item in items):
        raise Invalid(FieldProblem(kind, Problem.TOO_LONG, {"limit": "200"}))
    before = checklists(session, actor.operator_id).get(kind, [])
    if items == before:
        return
    session.execute(
        delete(WorkChecklist).where(WorkChecklist.operator_id == actor.operator_id, WorkChecklist.kind == kind)
    )
    session.expire_all()
    if items:
        session.add(WorkChecklist(operator_id=actor.operator_id, kind=kind, items=items))
    session.flush()
    record(
        session, actor, "workflow.checklist", "operator", actor.operator_id,
        {kind: checklist_text(before)}, {kind: checklist_text(items)},
    )  # fmt: skip


def checklist_text(items: Sequence[Mapping[str, Any]]) -> str:
    """Return a checklist as it is typed."""
    return "\n".join(f"{'* ' if item['required'] else ''}{item['text']}" for item in items)


# Names and passwords.


def new_password() -> str:
    """Return a password that is read from a label and typed into a router without mistakes: 59 bits."""
    return "".join(secrets.choice(_PASSWORD_LETTERS) for _ in range(12))


def _name_for(session: Session, subscriber: Subscriber, access_method: str) -> str:
    """Return a free user name made of the subscriber's; of a service by MAC address, one that no device has."""
    if access_method == AccessMethod.MAC:
        return f"{NO_DEVICE}:{':'.join(f'{octet:02x}' for octet in secrets.token_bytes(3))}"
    plain = unicodedata.normalize("NFKD", subscriber.name).encode("ascii", "ignore").decode().lower()
    words = [word for word in _NOT_IN_NAME.split(plain) if word]
    base = ".".join(words[:2])[:40] or f"s{subscriber.id}"
    taken = set(
        session.scalars(
            select(Service.name).where(
                Service.operator_id == subscriber.operator_id,
                func.lower(Service.name).startswith(base, autoescape=True),
                Service.state != "terminated",
            )
        )
    )
    return next(
        name for name in (base, *(f"{base}{number}" for number in range(2, len(taken) + 3))) if name not in taken
    )


def _settings_audited(terms: WorkflowTerms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in WorkflowTerms.__slots__}
