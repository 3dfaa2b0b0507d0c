"""What the pages of work orders share: the blueprint, the order of a page, who may do what, windows as people type."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from flask import Blueprint, abort
from flask_babel import format_date, format_time
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import TimeField
from wtforms.validators import Optional

from crm.problems import FieldProblem, Invalid, Problem
from crm.work_orders import settings_of, technicians
from db.models import Staff, WorkOrder
from portal import context
from portal.formats import local_day
from portal.forms import Form, choice, day
from portal.permissions import Permission

blueprint = Blueprint("work_orders", __name__, url_prefix="/work-orders")


def find(order_id: int) -> WorkOrder:
    """Return a work order of this operator, or answer 404."""
    return context.db().get(WorkOrder, order_id) or abort(404)


def may_do(order: WorkOrder) -> bool:
    """Tell whether who is signed in may do the steps of an order: anybody's, or their own and those of nobody."""
    if context.may(Permission.WORK_ORDERS_EDIT):
        return True
    return context.may(Permission.WORK_ORDERS_OWN) and order.technician_id in (None, context.staff().id)


def find_to_do(order_id: int) -> WorkOrder:
    """Return a work order whose steps this person may do, or answer 403."""
    order = find(order_id)
    if not may_do(order):
        abort(403)
    return order


class TimeOfDayField(TimeField):
    """A time of day, or None when nothing was typed."""

    def process_formdata(self, valuelist: list[str]) -> None:
        if not valuelist or not valuelist[0].strip():
            self.data = None
            return
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(_("Enter a time, such as 09:30.")) from None


class WindowForm(Form):
    """Who goes, and when: a day and two times of it, in the operator's zone."""

    technician_id = choice(_l("Technician"), numeric=True)
    day = day(_l("Day"))
    begin = TimeOfDayField(_l("From"), [Optional()])
    until = TimeOfDayField(_l("Until"), [Optional()])

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.technician_id.choices = [("", _("nobody yet")), *((person.id, person.name) for person in people())]

    def window(self) -> tuple[datetime, datetime] | None:
        """Return the window, or None when no day was typed. Raises Invalid where it is not whole.

        A visit of which only the beginning was typed lasts as long as the operator plans visits for.
        """
        on, begin, until = self.day.data, self.begin.data, self.until.data
        if on is None and begin is None and until is None:
            return None
        if on is None or begin is None:
            raise Invalid(FieldProblem("day" if on is None else "begin", Problem.REQUIRED))
        start = at(on, begin)
        if until is None:
            return start, start + timedelta(minutes=settings_of(context.db(), context.operator().id).minutes)
        end = at(on, until)
        if start >= end:
            raise Invalid(FieldProblem("until", Problem.WRONG_SPAN))
        return start, end


def window_fields(order: WorkOrder) -> dict[str, object]:
    """Return an order's technician and window as WindowForm holds them."""
    if order.window_start is None or order.window_end is None:
        return {"technician_id": order.technician_id}
    start, end = (instant.astimezone(context.zone()) for instant in (order.window_start, order.window_end))
    return {"technician_id": order.technician_id, "day": start.date(), "begin": start.time(), "until": end.time()}


def at(on: date, clock: time) -> datetime:
    """Return a time of a day in the operator's zone."""
    return datetime.combine(on, clock, context.zone())


def people() -> Sequence[Staff]:
    return technicians(context.db(), context.operator().id)


def position_of(text: str) -> tuple[Decimal, Decimal] | None:
    """Return a position typed or found by the phone, `19.4326, -99.1332`; None for nothing. Raises Invalid."""
    if not text.strip():
        return None
    parts = text.replace(";", ",").split(",")
    try:
        latitude, longitude = (Decimal(part.strip()) for part in parts)
    except (ValueError, ArithmeticError):
        raise Invalid(FieldProblem("position", Problem.NOT_A_POSITION)) from None
    return latitude, longitude


@blueprint.app_template_filter("clock")
def clock_text(instant: datetime) -> str:
    """Return the time of day in the operator's zone."""
    return str(format_time(instant, "short"))


@blueprint.app_template_filter("local_weekday")
def weekday_text(on: date) -> str:
    return str(format_date(on, "EEE d MMM", rebase=False))


@blueprint.app_template_filter("local_month")
def month_text(on: date) -> str:
    return str(format_date(on, "LLLL y", rebase=False))


@blueprint.app_template_global("window_text")
def window_text(order: WorkOrder) -> str:
    """Return when a visit is planned for: a day with its hours, or both ends where it takes longer than a day."""
    if order.window_start is None or order.window_end is None:
        return "–"
    start, end = order.window_start, order.window_end
    first, last = (instant.astimezone(context.zone()).date() for instant in (start, end))
    if first == last:
        return f"{local_day(first)}, {clock_text(start)}–{clock_text(end)}"
    return f"{local_day(first)}, {clock_text(start)} – {local_day(last)}, {clock_text(end)}"
