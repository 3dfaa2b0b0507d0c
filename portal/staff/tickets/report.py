"""Reports of the help desk: one page with what came in, how long people waited, and how content they were."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from core.clock import start_of_day
from crm.ticket_reports import DeskLine, desk_days, desk_lines, open_by_state
from portal import context
from portal.labels import label
from portal.permissions import Permission, requires
from portal.tables import Column, Table, exported

blueprint = Blueprint("ticket_reports", __name__, url_prefix="/tickets/reports")
SPANS = {"7": _l("Last 7 days"), "30": _l("Last 30 days"), "90": _l("Last 90 days"), "365": _l("Last 365 days")}
GROUPS = {"category": _l("Category"), "queue": _l("Queue"), "staff": _l("Person")}
_EPOCH = date(1970, 1, 1)


def _hours(name: str) -> Callable[[DeskLine], object]:
    def hours(line: DeskLine) -> object:
        length = getattr(line, name)
        return round(length.total_seconds() / 3600, 2) if length is not None else None

    return hours


TABLE = Table(
    name="tickets-report",
    columns=(
        Column("name", _l("Group"), lambda line: _name(line)),
        Column("opened", _l("Came in"), lambda line: line.opened, numeric=True),
        Column("still_open", _l("Still open"), lambda line: line.still_open, numeric=True),
        Column("first_median", _l("First answer, median (h)"), _hours("first_median"), numeric=True),
        Column("first_p90", _l("First answer, 90 % within (h)"), _hours("first_p90"), numeric=True),
        Column("solve_median", _l("Solution, median (h)"), _hours("solve_median"), numeric=True),
        Column("solve_p90", _l("Solution, 90 % within (h)"), _hours("solve_p90"), numeric=True),
        Column("first_late", _l("First answer late"), lambda line: line.first_late, numeric=True),
        Column("solve_late", _l("Solution late"), lambda line: line.solve_late, numeric=True),
        Column("reopened", _l("Reopened"), lambda line: line.reopened, numeric=True),
        Column("satisfaction", _l("Satisfaction"), lambda line: line.satisfaction, numeric=True),
        Column("ratings", _l("Ratings"), lambda line: line.ratings, numeric=True),
    ),
    order="",
    tie=None,
)


@blueprint.get("/")
@requires(Permission.TICKETS_VIEW)
def index() -> ResponseReturnValue:
    session, operator_id, now = context.db(), context.staff().operator_id, context.now()
    span = request.args.get("days", "")
    by = request.args.get("by", "")
    span, by = span if span in SPANS else "30", by if by in GROUPS else "category"
    last = now.astimezone(context.zone()).date()
    first = last - timedelta(days=int(span) - 1)
    since = start_of_day(first, context.zone())
    lines = desk_lines(session, operator_id, since, _end(last), now, by)
    wanted = request.args.get("format")
    if wanted is not None:
        return exported(TABLE, lines, wanted)
    [all_of_them] = desk_lines(session, operator_id, since, _end(last), now)
    return render_template(
        "staff/tickets/report.html",
        lines=lines,
        total=all_of_them,
        states=open_by_state(session, operator_id),
        days=desk_days(session, operator_id, first, last, context.zone()),
        seconds=lambda day: (day - _EPOCH).days * 86400,
        name=_name,
        span=span,
        by=by,
        spans=SPANS,
        groups=GROUPS,
        here=lambda **changes: url_for(".index", **{"days": span, "by": by, **changes}),
    )


def _end(last: date) -> datetime:
    return start_of_day(last + timedelta(days=1), context.zone())


def _name(line: Any) -> str:
    """Return what a group is called; queues are roles."""
    if line.name is None:
        return str(_("None"))
    return label("role", line.name) if request.args.get("by") == "queue" else str(line.name)
