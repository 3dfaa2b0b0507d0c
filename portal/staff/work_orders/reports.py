"""Reports of sales and installations, as pages and as files."""

from datetime import date, timedelta
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from crm.work_reports import installs, outstanding, sales
from portal import context
from portal.permissions import Permission, requires
from portal.staff.work_orders.base import blueprint
from portal.tables import Column, Table, exported

MONTHS = 12


def _name(value: str) -> str:
    return value or _("nobody")


SALES = Table(
    name="sales",
    title=_l("Sales per month and seller"),
    columns=(
        Column("month", _l("Month"), lambda row: row.month),
        Column("seller", _l("Seller"), lambda row: _name(row.seller)),
        Column("sold", _l("Sold"), lambda row: row.sold),
        Column("installed", _l("Of these installed"), lambda row: row.installed),
        Column("won", _l("Leads won"), lambda row: row.won),
        Column("lost", _l("Leads lost"), lambda row: row.lost),
    ),
    order="month",
    tie=None,
)
INSTALLS = Table(
    name="installations",
    title=_l("Installations per month and technician"),
    columns=(
        Column("month", _l("Month"), lambda row: row.month),
        Column("technician", _l("Technician"), lambda row: _name(row.technician)),
        Column("installed", _l("Installed"), lambda row: row.installed),
        Column("failed", _l("Not done"), lambda row: row.failed),
        Column("median", _l("Days to install, half of them"), lambda row: _days(row.median)),
        Column("slowest", _l("Days to install, nine in ten"), lambda row: _days(row.slowest)),
        Column("overridden", _l("Completed without a step"), lambda row: row.overridden),
    ),
    order="month",
    tie=None,
)


def _days(length: timedelta | None) -> float | None:
    return None if length is None else round(length / timedelta(days=1), 1)


@blueprint.get("/reports")
@requires(Permission.WORK_ORDERS_VIEW)
def reports() -> ResponseReturnValue:
    """Show the last twelve months, or with `format` and `report` one table of them as a file."""
    session, operator_id, zone = context.db(), context.operator().id, context.zone()
    today = context.now().astimezone(zone).date()
    first = _months_before(today, MONTHS - 1)
    sold, installed = sales(session, operator_id, zone, first), installs(session, operator_id, zone, first)
    wanted = request.args.get("format")
    if wanted is not None:
        table, rows = (INSTALLS, installed) if request.args.get("report") == "installations" else (SALES, sold)
        return exported(table, _each(rows), wanted)
    return render_template(
        "staff/work_orders/reports.html", sales=sold, installs=installed,
        ages=outstanding(session, operator_id, context.now()), in_days=_days,
    )  # fmt: skip


def _each(rows: Any) -> Any:
    return iter(rows)


def _months_before(day: date, months: int) -> date:
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)
