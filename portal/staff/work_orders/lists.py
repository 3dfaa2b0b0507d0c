"""Work orders as a list: what is outstanding comes first, what is late in it stands out."""

from datetime import timedelta
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, String, and_, cast, or_, select

from core.clock import start_of_day
from db.models import WORK_OPEN, Equipment, Staff, Subscriber, WorkOrder
from portal import context
from portal.labels import choices, label
from portal.permissions import Permission, requires
from portal.staff.subscribers import find as find_subscriber
from portal.staff.subscribers import live_sessions, services_of
from portal.staff.work_orders.base import blueprint, people
from portal.tables import Column, Filter, Table, show

OPEN = WorkOrder.state.in_(WORK_OPEN)


def late() -> ColumnElement[bool]:
    """What should have been over by now, or was never planned for three days."""
    now = context.now()
    unplanned = and_(WorkOrder.state == "open", WorkOrder.created_at < now - timedelta(days=3))
    return and_(OPEN, or_(WorkOrder.window_end < now, unplanned))


def _shown(value: str) -> ColumnElement[bool]:
    match value:
        case "all":
            return WorkOrder.id.is_not(None)
        case "late":
            return late()
        case "mine":
            return and_(OPEN, WorkOrder.technician_id == context.staff().id)
        case "today":
            today = context.now().astimezone(context.zone()).date()
            start, end = (start_of_day(today + timedelta(days=days), context.zone()) for days in (0, 1))
            return and_(OPEN, WorkOrder.window_start >= start, WorkOrder.window_start < end)
    return WorkOrder.state == value


def _shown_choices() -> list[tuple[str, Any]]:
    return [
        ("mine", _("Mine")), ("today", _("Today")), ("late", _("Late")), *choices("work_state"), ("all", _("All")),
    ]  # fmt: skip


def _technicians() -> list[tuple[str, Any]]:
    return [("nobody", _("Nobody yet")), *((str(person.id), person.name) for person in people())]


def _with(value: str) -> ColumnElement[bool]:
    return WorkOrder.technician_id.is_(None) if value == "nobody" else WorkOrder.technician_id == int(value)


def _search(words: str) -> ColumnElement[bool]:
    return or_(
        WorkOrder.title.icontains(words, autoescape=True),
        WorkOrder.address.icontains(words, autoescape=True),
        cast(WorkOrder.number, String) == words.lstrip("#"),
        WorkOrder.device_mac == words.lower(),
    )


TABLE = Table(
    name="work-orders",
    columns=(
        Column("number", _l("No."), lambda row: row.WorkOrder.number, WorkOrder.number, wide=True),
        Column("title", _l("What"), lambda row: row.WorkOrder.title, WorkOrder.title),
        Column("kind", _l("Kind"), lambda row: label("work_kind", row.WorkOrder.kind), WorkOrder.kind, wide=True),
        Column("state", _l("State"), lambda row: label("work_state", row.WorkOrder.state)),
        Column("priority", _l("Priority"), lambda row: label("work_priority", row.WorkOrder.priority), wide=True),
        Column("window", _l("When"), lambda row: row.WorkOrder.window_start, WorkOrder.window_start),
        Column("technician", _l("Technician"), lambda row: row.technician),
        Column("address", _l("Address"), lambda row: row.WorkOrder.address, wide=True),
        Column("created", _l("Since"), lambda row: row.WorkOrder.created_at, WorkOrder.created_at),
        Column("ended", _l("Ended"), lambda row: row.WorkOrder.ended_at, exported_only=True),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, exported_only=True),
        Column("outcome", _l("Why"), lambda row: row.WorkOrder.outcome, exported_only=True),
    ),
    order="created",
    tie=WorkOrder.id,
    filters=(
        Filter("show", _l("Outstanding"), _shown_choices, _shown),
        Filter("kind", _l("Any kind"), lambda: choices("work_kind"), lambda value: WorkOrder.kind == value),
        Filter("technician", _l("Anybody"), _technicians, _with),
        Filter("priority", _l("Any priority"), lambda: choices("work_priority"), lambda v: WorkOrder.priority == v),
    ),
    search=_search,
    search_hint=_l("Number, name, address, MAC"),
)


def with_people() -> Select[*tuple[Any, ...]]:
    """Return a query of work orders with the names of technician and subscriber."""
    return (
        select(WorkOrder, Staff.name.label("technician"), Subscriber.name.label("subscriber"))
        .outerjoin(Staff, Staff.id == WorkOrder.technician_id)
        .outerjoin(Subscriber, Subscriber.id == WorkOrder.subscriber_id)
    )


@blueprint.get("/")
@requires(Permission.WORK_ORDERS_VIEW)
def index() -> ResponseReturnValue:
    query = with_people()
    if not request.args.get("show") and not request.args.get("q"):
        query = query.where(OPEN)
    return show(context.db(), TABLE, query, "staff/work_orders/index.html")


@blueprint.app_template_global("is_late")
def is_late(order: WorkOrder) -> bool:
    """Tell whether an order is among those that `late()` finds."""
    if order.state not in WORK_OPEN:
        return False
    if order.window_end is not None:
        return order.window_end < context.now()
    return order.created_at < context.now() - timedelta(days=3)


@blueprint.get("/of/<int:subscriber_id>")
@requires(Permission.WORK_ORDERS_VIEW)
def of_subscriber(subscriber_id: int) -> ResponseReturnValue:
    """The tab of a subscriber's page: their work orders and the equipment they have."""
    subscriber = find_subscriber(subscriber_id)
    services = services_of(subscriber)
    orders = with_people().where(WorkOrder.subscriber_id == subscriber.id).order_by(WorkOrder.id.desc()).limit(100)
    devices = select(Equipment).where(Equipment.subscriber_id == subscriber.id, Equipment.state == "installed")
    return render_template(
        "staff/work_orders/subscriber.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        orders=context.db().execute(orders).all(),
        devices=list(context.db().scalars(devices.order_by(Equipment.id))),
    )
