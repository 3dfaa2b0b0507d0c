"""Reports: those that the portal shows under Reports, with plain values."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from flask_babel import gettext as _
from pydantic import Field
from sqlalchemy import select

from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import next_after, place_of
from portal.api.problems import ApiProblem, Kind
from portal.api.scopes import Scope
from portal.api.values import PageAsked, Shown
from portal.permissions import Permission
from worker.reports import REPORTS, Report
from worker.reports import Scope as Span

TAG = "Reports"
ColumnKind = Literal["text", "day", "month", "instant", "count", "decimal", "money", "percent", "octets"]
Value = str | int | float | bool | None


class ReportColumn(Shown):
    key: str
    title: str
    kind: ColumnKind = Field(description="`money` is a decimal text in the operator's currency.")


class ReportShown(Shown):
    """A question that a table answers."""

    key: str
    title: str
    answers: str
    spans: bool = Field(description="It is about the last `days`, else about now.")
    columns: list[ReportColumn]


class ReportsShown(Shown):
    """The reports that the token's maker may read."""

    items: list[ReportShown]


class RunShown(Shown):
    """A page of what a report found; `items` have a member for each column."""

    report: str
    first: date
    last: date
    columns: list[ReportColumn]
    items: list[dict[str, Value]]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


class RunAsked(PageAsked):
    days: int = Field(30, ge=1, le=366, description="Before today, for a report that spans days.")


def _described(report: Report) -> ReportShown:
    return ReportShown(
        key=report.key,
        title=_(report.title),
        answers=_(report.answers),
        spans=report.spans,
        columns=[ReportColumn(key=each.key, title=_(each.title), kind=each.kind) for each in report.columns],
    )


@operation("GET", "/reports", Scope.REPORTS_READ, tag=TAG, summary="List the reports", answer=ReportsShown)
def index() -> ReportsShown:
    may = frame.makers_permissions()
    return ReportsShown(items=[_described(each) for each in REPORTS.values() if Permission(each.permission) in may])


@operation("GET", "/reports/<string:report>", Scope.REPORTS_READ, tag=TAG, summary="Run a report", answer=RunShown)
def run(report: str, query: RunAsked) -> RunShown:
    """A report asks the permission of what it shows, of the token's maker."""
    found = REPORTS.get(report)
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    if Permission(found.permission) not in frame.makers_permissions():
        raise ApiProblem(Kind.SCOPE_MISSING, scope=Scope.REPORTS_READ.value, why="lost")
    zone, now = context.zone(), context.now()
    today = now.astimezone(zone).date()
    span = Span(frame.token().operator_id, zone, today - timedelta(days=query.days), today, now)
    rows = found.query(span).subquery()
    wanted = select(rows)
    last = place_of(query.cursor, [int])
    if last is not None:
        wanted = wanted.where(rows.c.id > last[0])
    listed = frame.db().execute(wanted.order_by(rows.c.id).limit(query.limit + 1)).all()
    shown = _described(found)
    return RunShown(
        report=found.key,
        first=span.first,
        last=span.last,
        columns=shown.columns,
        items=[{each.key: _plain(getattr(row, each.key)) for each in found.columns} for row in listed[: query.limit]],
        next=next_after([listed[query.limit - 1].id]) if len(listed) > query.limit else None,
    )


def _plain(value: Any) -> Value:
    match value:
        case None | bool() | int() | str() | float():
            return value
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
    return str(value)
