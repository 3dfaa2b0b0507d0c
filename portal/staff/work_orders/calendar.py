"""The calendar: a week or a day, a row for each technician and one for what is nobody's; what has no day stands beside.

Moving a visit is a form in its card: another day, other hours, another technician.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from core.clock import start_of_day
from db.models import WORK_OPEN, Staff, WorkOrder
from portal import context
from portal.permissions import Permission, requires
from portal.staff.work_orders.base import WindowForm, blueprint, people, window_fields

MOST_UNPLANNED = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A technician's visits by day; `person` is None for those that are nobody's."""

    person: Staff | None
    days: dict[date, list[WorkOrder]]


@blueprint.get("/calendar")
@requires(Permission.WORK_ORDERS_VIEW)
def calendar() -> ResponseReturnValue:
    session, zone = context.db(), context.zone()
    today = context.now().astimezone(zone).date()
    span = "day" if request.args.get("span") == "day" else "week"
    first = _day(request.args.get("day", ""), today)
    if span == "week":
        first -= timedelta(days=first.weekday())
    days = [first + timedelta(days=number) for number in range(7 if span == "week" else 1)]
    start, end = start_of_day(days[0], zone), start_of_day(days[-1] + timedelta(days=1), zone)
    planned = session.scalars(
        select(WorkOrder)
        .where(WorkOrder.window_start < end, WorkOrder.window_end > start, WorkOrder.state != "cancelled")
        .order_by(WorkOrder.window_start, WorkOrder.id)
    ).all()
    by_person: dict[int | None, dict[date, list[WorkOrder]]] = defaultdict(lambda: defaultdict(list))
    for order in planned:
        assert order.window_start is not None
        assert order.window_end is not None
        for on in days:
            morning, night = start_of_day(on, zone), start_of_day(on + timedelta(days=1), zone)
            if order.window_start < night and order.window_end > morning:
                by_person[order.technician_id][on].append(order)
    staff = {person.id: person for person in people()}
    gone = [session.get(Staff, number) for number in by_person if number is not None and number not in staff]
    rows = [Row(person, by_person.get(person.id, {})) for person in (*staff.values(), *gone) if person is not None]
    unplanned = session.scalars(
        select(WorkOrder)
        .where(WorkOrder.state.in_(WORK_OPEN), WorkOrder.window_start.is_(None))
        .order_by(WorkOrder.created_at)
        .limit(MOST_UNPLANNED)
    ).all()
    step = timedelta(days=len(days))
    return render_template(
        "staff/work_orders/calendar.html",
        rows=[Row(None, by_person[None]), *rows] if None in by_person else rows,
        days=days,
        span=span,
        today=today,
        unplanned=unplanned,
        earlier=(first - step).isoformat(),
        later=(first + step).isoformat(),
        first=first,
        form_of=lambda order: WindowForm(formdata=None, data=window_fields(order)),
    )


def _day(text: str, otherwise: date) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return otherwise
    return found if 2000 <= found.year <= 2100 else otherwise
