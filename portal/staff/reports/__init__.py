"""Reports: all of them by area with what each answers, those of operations as lists, and which are sent by mail.

A report asks the permission of what it shows, so each person finds those that they may read. What stands on pages of
its own (finance, tickets, sales) is linked here and not made twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_date
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, func, or_, select, true
from sqlalchemy.sql.selectable import Subquery

from core.i18n import N_
from crm.problems import Invalid
from crm.roles import changed_permissions
from db.models import ReportSchedule, ReportSending
from portal import context, tables
from portal.errors import problem_text
from portal.formats import local_day, local_minute, money, number, octets
from portal.messages import done, refuse
from portal.navigation import may_open
from portal.permissions import Permission, permissions_of, requires, signed_in
from portal.tables import Filter, Table, exported, show
from worker.reports import REPORTS, Column, Report, Scope
from worker.reports.base import HELP_DESK, MONEY, NETWORK, SUBSCRIBERS, WORDS, WORK
from worker.reports.sending import FORMATS, PERIODS, ScheduleDetails, cancel_schedule, schedule_report

blueprint = Blueprint("operations", __name__, url_prefix="/reports/all")

SPANS = {
    "2": _l("Today and yesterday"),
    "7": _l("Last 7 days"),
    "30": _l("Last 30 days"),
    "90": _l("Last 90 days"),
    "365": _l("Last 365 days"),
}
"""Each by its number of days, of which today is the last."""
DEFAULT_SPAN = "30"
MOST_POINTS = 400
_EPOCH = date(1970, 1, 1)
_LINKS = {
    "subscriber": ("subscribers.page", "subscriber_id", "subscriber_id"),
    "invoice": ("invoices.page", "invoice_id", "id"),
    "number": ("work_orders.page", "order_id", "id"),
    "subject": ("tickets.page", "ticket_id", "id"),
    "router": ("routers.page", "nas_id", "id"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A report that stands on a page of its own."""

    area: str
    endpoint: str
    title: str
    answers: str


PAGES = (
    Page(MONEY, "reports.index", N_("Finance today"), N_("What came in today, what is overdue, what is due next.")),
    Page(MONEY, "reports.months", N_("Revenue by month"), N_("Invoiced and collected per month, with ARPU and churn.")),
    Page(MONEY, "reports.income", N_("Income"), N_("What was paid in some days, by method, plan or collector.")),
    Page(MONEY, "reports.taxes", N_("Taxes"), N_("What was invoiced by tax and rate.")),
    Page(MONEY, "reports.aging", N_("Aging of debts"), N_("Who owes for how long.")),
    Page(MONEY, "reports.due", N_("What falls due"), N_("Which invoices are due, in which days.")),
    Page(MONEY, "collectors.index", N_("Collectors"), N_("What each collector brought, and the commission.")),
    Page(WORK, "work_orders.reports", N_("Sales and installations"),
         N_("Sales per month and seller, installations per technician, and how long they took.")),
    Page(HELP_DESK, "ticket_reports.index", N_("Tickets"),
         N_("What came in by category, how long answers and solutions took, and how content people were.")),
    Page(NETWORK, "monitoring.index", N_("Traffic of routers"), N_("Rates, load and clients, from an hour to a year.")),
    Page(NETWORK, "sessions.index", N_("Live sessions"), N_("Who is on line now, where and with which address.")),
    Page(NETWORK, "incidents.index", N_("Incidents"), N_("Outages: since when, how long, and who was hit.")),
)  # fmt: skip


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    areas: dict[str, list[tuple[str, str, str, bool]]] = {
        area: [] for area in (SUBSCRIBERS, MONEY, WORK, HELP_DESK, NETWORK)
    }
    for report in REPORTS.values():
        if _may_read(report):
            areas[report.area].append((url_for(".page", key=report.key), report.title, report.answers, True))
    for page in PAGES:
        if may_open(page.endpoint):
            areas[page.area].append((url_for(page.endpoint), page.title, page.answers, False))
    sent = select(func.max(ReportSending.sent_at)).where(ReportSending.schedule_id == ReportSchedule.id)
    query = select(ReportSchedule, sent.scalar_subquery().label("sent_at")).order_by(ReportSchedule.id)
    schedules = context.db().execute(query.where(ReportSchedule.staff_id == context.staff().id)).all()
    return render_template(
        "staff/reports/index.html",
        shelves=[(area, found) for area, found in areas.items() if found],
        schedules=[(row.ReportSchedule, row.sent_at, REPORTS.get(row.ReportSchedule.report)) for row in schedules],
        when=_when,
        formats=FORMATS,
        stopped=STOPPED,
    )


@blueprint.get("/<key>")
@signed_in
def page(key: str) -> ResponseReturnValue:
    """Show a report, or with `format` the whole of what is filtered as a file."""
    report = _find(key)
    scope = _scope(request.args.get("days", ""))
    rows = report.query(scope).subquery()
    query: Select[*tuple[Any, ...]] = select(rows)
    table = _table(report, rows)
    if request.args.get("format"):
        if not context.may(Permission.EXPORT):
            abort(403)
        narrowed, _chosen = tables.filtered(table, query, request.args)
        ordered = narrowed.order_by(*_order(report, rows)).execution_options(yield_per=1000)
        return exported(table, context.db().execute(ordered), request.args["format"])
    return show(
        context.db(),
        table,
        query,
        "staff/reports/page.html",
        report=report,
        scope=scope,
        cell=_cell,
        link=_link,
        points=_points(report, query, rows),
        counted=all(column.kind == "count" for column in report.columns if column.key in report.chart),
        titles={column.key: _(column.title) for column in report.columns},
        periods=PERIODS,
        formats=FORMATS,
        weekdays=_weekdays(),
    )


@blueprint.post("/<key>/schedule")
@requires(Permission.EXPORT)
def schedule(key: str) -> ResponseReturnValue:
    """Have a report sent to who asks, in their language."""
    report = _find(key)
    every = request.form.get("every", "")
    day = request.form.get("weekday" if every == "week" else "day", "1")
    details = ScheduleDetails(
        report.key, request.form.get("format", ""), every, _whole(day), _whole(request.form.get("hour", ""))
    )
    person = context.staff()
    granted = [role for role in person.roles if Permission(report.permission) in permissions_of([role], _changed(role))]
    try:
        made = schedule_report(context.db(), context.actor(), person, details, granted)
    except Invalid as invalid:
        context.db().rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        return redirect(url_for(".page", key=key))
    when = _when(made)
    context.db().commit()
    done(
        _("%(report)s will be sent to %(address)s: %(when)s.", report=_(report.title), address=person.email, when=when)
    )
    return redirect(url_for(".index"))


@blueprint.post("/schedules/<int:schedule_id>/delete")
@signed_in
def unschedule(schedule_id: int) -> ResponseReturnValue:
    session = context.db()
    found = session.get(ReportSchedule, schedule_id)
    if found is None or found.staff_id != context.staff().id:
        abort(404)
    cancel_schedule(session, context.actor(), found)
    session.commit()
    done(_("It is no longer sent."))
    return redirect(url_for(".index"))


STOPPED = {
    "gone": N_("Stopped: the account is switched off."),
    "permission": N_("Stopped: your roles no longer let you read it."),
    "report": N_("Stopped: this report no longer exists."),
}


def _find(key: str) -> Report:
    report = REPORTS.get(key) or abort(404)
    if not _may_read(report):
        abort(403)
    return report


def _may_read(report: Report) -> bool:
    return context.may(Permission(report.permission))


def _changed(role: str) -> dict[str, dict[str, bool]]:
    return changed_permissions(context.db(), context.staff().operator_id, [role])


def _scope(days: str) -> Scope:
    last = context.now().astimezone(context.zone()).date()
    length = int(days if days in SPANS else DEFAULT_SPAN)
    return Scope(context.staff().operator_id, context.zone(), last - timedelta(days=length - 1), last, context.now())


def _table(report: Report, rows: Subquery) -> Table:
    filters = []
    if report.spans:
        others = [(days, text) for days, text in SPANS.items() if days != DEFAULT_SPAN]
        filters.append(Filter("days", _l("Days"), lambda: others, lambda _value: true(), SPANS[DEFAULT_SPAN]))
    if report.choice:
        column = next(column for column in report.columns if column.key == report.choice)
        words = [(value, _(word)) for value, word in WORDS[column.words].items()]
        filters.append(Filter("only", _(column.title), lambda: words, lambda value: rows.c[report.choice] == value))
    texts = [rows.c[column.key] for column in report.columns if column.kind == "text" and not column.words]

    def search(words: str) -> ColumnElement[bool]:
        return or_(*(func.portico_fold(text).contains(func.portico_fold(words), autoescape=False) for text in texts))

    return Table(
        name=report.key,
        columns=tuple(
            tables.Column(
                column.key,
                _(column.title),
                _value(column),
                rows.c[column.key],
                numeric=column.numeric,
                wide=column.wide,
                money=column.kind == "money",
            )
            for column in report.columns
        ),
        order=report.order,
        tie=rows.c.id,
        filters=tuple(filters),
        search=search if texts else None,
        title=_(report.title),
    )


def _order(report: Report, rows: Subquery) -> tuple[Any, Any]:
    """Return the order that a URL asks for, or the report's own."""
    wanted = request.args.get("sort", "") or report.order
    if wanted.lstrip("-") not in {column.key for column in report.columns}:
        wanted = report.order
    column = rows.c[wanted.lstrip("-")]
    return (column.desc().nulls_last() if wanted.startswith("-") else column.asc()), rows.c.id


def _value(column: Column) -> Callable[[Any], object]:
    """Return what a column exports: words in the reader's language, all else plain."""

    def value(row: Any) -> object:
        found = getattr(row, column.key)
        if found is not None and column.words:
            word = WORDS[column.words].get(found)
            return _(word) if word else found
        return found

    return value


def _cell(column: Column, row: Any) -> str:
    """Return a value as the page shows it."""
    value = getattr(row, column.key)
    if value is None:
        return "–"
    if column.words:
        word = WORDS[column.words].get(value)
        return _(word) if word else str(value)
    match column.kind:
        case "day":
            return local_day(value)
        case "month":
            return str(format_date(value, "LLLL y"))
        case "instant":
            return local_minute(value)
        case "money":
            return money(Decimal(value))
        case "octets":
            return octets(int(value))
        case "percent":
            return f"{number(float(value))} %"
        case "decimal":
            return number(round(float(value), 1))
        case "count":
            return number(int(value))
    return str(value) or "–"


def _link(column: Column, row: Any) -> str:
    endpoint, argument, key = _LINKS.get(column.key, ("", "", ""))
    found = getattr(row, key, None) if endpoint and may_open(endpoint) else None
    return url_for(endpoint, **{argument: found}) if found is not None else ""


def _points(report: Report, query: Select[*tuple[Any, ...]], rows: Subquery) -> list[tuple[int, list[Any]]]:
    """Return what is drawn: seconds since 1970 of each day or month, and the values of the columns of the chart."""
    if not report.chart:
        return []
    first = report.columns[0].key
    found = context.db().execute(query.order_by(rows.c[first].desc()).limit(MOST_POINTS)).all()
    return [
        ((getattr(row, first) - _EPOCH).days * 86400, [getattr(row, key) for key in report.chart])
        for row in reversed(found)
    ]


def _when(made: ReportSchedule) -> str:
    hour = f"{made.hour:02d}:00"
    if made.every == "day":
        return str(_("each day at %(hour)s", hour=hour))
    if made.every == "week":
        return str(_("each %(weekday)s at %(hour)s", weekday=_weekdays()[made.day], hour=hour))
    return str(_("each month on day %(day)s at %(hour)s", day=made.day, hour=hour))


def _weekdays() -> dict[int, str]:
    monday = date(2024, 1, 1)
    return {day: str(format_date(monday + timedelta(days=day - 1), "EEEE")) for day in range(1, 8)}


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
