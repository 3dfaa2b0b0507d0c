"""What the homes show of leads, work orders and equipment."""

from datetime import timedelta

from flask import url_for
from flask_babel import format_time
from flask_babel import gettext as _
from sqlalchemy import func, or_, select

from core.clock import start_of_day
from core.i18n import N_
from crm.leads import OPEN as LEADS_OPEN
from db.models import WORK_OPEN, Equipment, Lead, Service, Subscriber, WorkOrder
from portal import context
from portal.formats import ago, local_day, number
from portal.home_tiles import Figure, Figures, Line, Lines, tile
from portal.labels import label
from portal.permissions import Permission
from portal.staff.work_orders.lists import late

SHOWN = 8


@tile("my_work", N_("My work orders"), ("technical",), Permission.WORK_ORDERS_OWN, order=10, wide=True)
def my_work() -> Lines:
    """Return the technician's visits of today, what is overdue from before, and what nobody has."""
    session, zone = context.db(), context.zone()
    tomorrow = start_of_day(context.now().astimezone(zone).date() + timedelta(days=1), zone)
    mine = or_(WorkOrder.technician_id == context.staff().id, WorkOrder.technician_id.is_(None))
    query = select(WorkOrder).where(
        WorkOrder.state.in_(WORK_OPEN), mine, or_(WorkOrder.window_start < tomorrow, WorkOrder.window_start.is_(None))
    )
    orders = session.scalars(query.order_by(WorkOrder.window_start.asc().nulls_last(), WorkOrder.id).limit(SHOWN))
    lines = [_line(order) for order in orders]
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return Lines(lines, _("No visits today."), url_for("work_orders.index", show="mine"), total)


@tile("work_waiting", N_("Work orders to be planned"), ("manager", "sales", "support"),
      Permission.WORK_ORDERS_EDIT, order=30)  # fmt: skip
def work_waiting() -> Lines:
    session = context.db()
    query = select(WorkOrder).where(WorkOrder.state == "open")
    orders = session.scalars(query.order_by(WorkOrder.created_at).limit(SHOWN))
    lines = [_line(order) for order in orders]
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return Lines(lines, _("Everything is planned."), url_for("work_orders.index", show="open"), total)


@tile("work_figures", N_("Work orders"), ("manager", "sales", "technical"), Permission.WORK_ORDERS_VIEW, order=15)
def work_figures() -> Figures:
    session = context.db()
    is_open = WorkOrder.state.in_(WORK_OPEN)
    row = session.execute(
        select(
            func.count().label("open"),
            func.count().filter(late()).label("late"),
            func.count().filter(WorkOrder.kind == "installation").label("installations"),
        ).where(is_open)
    ).one()
    return Figures([
        Figure(
            number(row.open), _("outstanding work orders"), "tools", url_for("work_orders.index"),
            note=_("%(count)s late", count=number(row.late)) if row.late else "", alarming=bool(row.late),
        ),
        Figure(
            number(row.installations), _("installations waiting"), "home-plus",
            url_for("work_orders.index", kind="installation"), colour="teal",
        ),
    ])  # fmt: skip


@tile("leads_next", N_("Leads to follow up"), ("sales", "manager"), Permission.LEADS_VIEW, order=20, wide=True)
def leads_next() -> Lines:
    """Return one's own leads by the day of their next step; a manager's are everybody's."""
    session = context.db()
    today = context.now().astimezone(context.zone()).date()
    query = select(Lead).where(Lead.state.in_(LEADS_OPEN))
    if "manager" not in context.staff().roles:
        query = query.where(or_(Lead.seller_id == context.staff().id, Lead.seller_id.is_(None)))
    leads = session.scalars(query.order_by(Lead.next_step_on.asc().nulls_first(), Lead.id).limit(SHOWN))
    lines = [
        Line(
            lead.name, url_for("leads.page", lead_id=lead.id), lead.next_step or lead.phone or "",
            local_day(lead.next_step_on) if lead.next_step_on else "", ("lead_state", lead.state),
            lead.next_step_on is not None and lead.next_step_on < today,
        )
        for lead in leads
    ]  # fmt: skip
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return Lines(lines, _("No leads are waiting."), url_for("leads.index"), total)


@tile("to_recover", N_("Equipment to recover"), ("technical", "manager"), Permission.EQUIPMENT_VIEW, order=60)
def to_recover() -> Lines | None:
    """Return devices that hang at services which ended, and for which nobody was sent yet."""
    sent = (
        select(WorkOrder.id)
        .where(
            WorkOrder.kind == "recovery",
            WorkOrder.state.in_(WORK_OPEN),
            WorkOrder.subscriber_id == Equipment.subscriber_id,
        )
        .exists()
    )
    query = (
        select(Equipment, Subscriber.name, Service.terminated_at)
        .join(Service, Service.id == Equipment.service_id)
        .join(Subscriber, Subscriber.id == Equipment.subscriber_id)
        .where(Equipment.state == "installed", Service.state == "terminated", ~sent)
        .order_by(Service.terminated_at)
    )
    rows = context.db().execute(query.limit(SHOWN)).all()
    if not rows:
        return None
    lines = [
        Line(
            name, url_for("equipment.page", equipment_id=device.id), f"{device.model} {device.mac or device.serial}",
            str(ago(ended)),
            action=(
                url_for("work_orders.create", kind="recovery", service=device.service_id), "package-import",
                _("Order its recovery"),
            ),
        )
        for device, name, ended in rows
    ]  # fmt: skip
    return Lines(lines)


def _line(order: WorkOrder) -> Line:
    when = ""
    if order.window_start is not None:
        when = f"{local_day(order.window_start)} {format_time(order.window_start, 'short')}"
    return Line(
        order.title,
        url_for("work_orders.page", order_id=order.id),
        f"{label('work_kind', order.kind)} · {order.address}" if order.address else label("work_kind", order.kind),
        when or str(local_day(order.created_at)),
        ("work_state", order.state),
        order.window_end is not None and order.window_end < context.now(),
    )
