"""Reports of finance: what is to be done today, and the months, the aging, income, taxes and due dates behind it.

Each report is a page with a table, drawn as a graph where there is one, and the same rows as CSV or Excel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, func, or_, select

from billing import reports
from billing.desks import desk_sums, open_desk_of
from db.models import Invoice, RatePlan, Service, ServiceBilling, Subscriber
from portal import context
from portal.labels import choices
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.tables import Column, Filter, Table, exported, matching, show

blueprint = Blueprint("reports", __name__, url_prefix="/reports")
blueprint.record_once(base.install)

HEADINGS = ("plan", "method", "cashier", "month")
SHOWN = 200
"""Rows of a report that a page shows; a file has all of them."""


@blueprint.get("/")
@requires(Permission.BILLING_REPORTS)
def index() -> ResponseReturnValue:
    """What finance does first: what came in today, what is overdue, and the cash desk."""
    session, today = context.db(), base.today()
    operator_id = context.staff().operator_id
    base.rules()
    first = today.replace(day=1)
    last_first = base.month_before(first)
    same_day = min(last_first + timedelta(days=today.day - 1), first - timedelta(days=1))
    overdue = session.execute(
        select(
            func.count(Invoice.id),
            func.coalesce(func.sum(Invoice.open), 0),
            func.count(Invoice.subscriber_id.distinct()),
        ).where(base.invoices_in("overdue"))
    ).one()
    desk = open_desk_of(session, context.staff().id)
    expected, collected = reports.expected_and_collected(session, operator_id, first, base.month_after(first) - _DAY)
    return render_template(
        "staff/billing/today.html",
        today_in=reports.came_in(session, operator_id, today, today),
        month_in=reports.came_in(session, operator_id, first, today),
        last_month_in=reports.came_in(session, operator_id, last_first, same_day),
        overdue=overdue,
        desk=desk,
        sums=desk_sums(session, desk) if desk else None,
        expected=expected,
        collected=collected,
        oldest=reports.aging(session, operator_id, today, 10),
        recurring=reports.monthly_recurring(session, operator_id, today),
    )


_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a report, both included."""

    first: date
    last: date


def span(months: int = 1) -> Span:
    """Return the days that the URL asks for; without any, so many calendar months up to today."""
    today = base.today()
    first = today.replace(day=1)
    for _number in range(months - 1):
        first = base.month_before(first)
    first = base.day_of(request.args.get("first", "")) or first
    last = base.day_of(request.args.get("last", "")) or today
    if last < first or (last - first).days > 1830:
        last = min(today, first + timedelta(days=1830)) if last >= first else first
    return Span(first, last)


MONTHS = Table(
    name="months",
    title=_l("Months"),
    columns=(
        Column("month", _l("Month"), lambda row: row.month),
        Column("invoiced", _l("Invoiced, net"), lambda row: row.invoiced, numeric=True),
        Column("credited", _l("Credited, net"), lambda row: row.credited, numeric=True),
        Column("collected", _l("Collected"), lambda row: row.collected, numeric=True),
        Column("services", _l("Services"), lambda row: row.services, numeric=True),
        Column("started", _l("New"), lambda row: row.started, numeric=True),
        Column("ended", _l("Left"), lambda row: row.ended, numeric=True),
        Column("arpu", _l("Net for each service"), lambda row: _rounded(row.arpu), numeric=True),
        Column("churn", _l("Left, percent"), lambda row: _percent(row.churn), numeric=True, money=False),
    ),
    order="month",
    tie=None,
)


def _rounded(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else round(amount, 2)


def _percent(share: Decimal | None) -> Decimal | None:
    return None if share is None else round(share * 100, 1)


@blueprint.get("/months")
@requires(Permission.BILLING_REPORTS)
def months() -> ResponseReturnValue:
    """Each month: invoiced, collected, services, new and lost ones, income for each, churn; and what is recurring."""
    session, days, operator_id = context.db(), span(12), context.staff().operator_id
    rows = reports.months(session, operator_id, context.zone().key, days.first, days.last)
    return _answer(
        MONTHS,
        rows,
        "staff/billing/months.html",
        days=days,
        recurring=reports.monthly_recurring(session, operator_id, base.today()),
        percent=_percent,
        epoch=date(1970, 1, 1),
    )


AGING = Table(
    name="aging",
    title=_l("Aging"),
    columns=(
        Column("name", _l("Subscriber"), lambda row: row.name),
        Column("not_due", _l("Not due yet"), lambda row: row.not_due, numeric=True),
        Column("to_30", _l("1–30 days"), lambda row: row.to_30, numeric=True),
        Column("to_60", _l("31–60 days"), lambda row: row.to_60, numeric=True),
        Column("to_90", _l("61–90 days"), lambda row: row.to_90, numeric=True),
        Column("over_90", _l("Over 90 days"), lambda row: row.over_90, numeric=True),
        Column("total", _l("Total"), lambda row: row.total, numeric=True),
        Column("oldest", _l("Oldest due"), lambda row: row.oldest_due_on),
    ),
    order="total",
    tie=None,
)
BUCKETS = ("not_due", "to_30", "to_60", "to_90", "over_90")


@blueprint.get("/aging")
@requires(Permission.BILLING_REPORTS)
def aging() -> ResponseReturnValue:
    """Who owes what, by how long it is overdue."""
    session, operator_id, today = context.db(), context.staff().operator_id, base.today()
    rows = reports.aging(session, operator_id, today, 1_000_000 if request.args.get("format") else SHOWN + 1)
    sums = reports.aging_sums(session, operator_id, today)
    return _answer(AGING, rows, "staff/billing/aging.html", sums=sums, buckets=BUCKETS)


INCOME = Table(
    name="income",
    title=_l("Income"),
    columns=(
        Column("label", _l("What"), lambda row: row.label),
        Column("count", _l("Documents"), lambda row: row.count, numeric=True),
        Column("amount", _l("Amount"), lambda row: row.amount, numeric=True),
    ),
    order="label",
    tie=None,
)


@blueprint.get("/income")
@requires(Permission.BILLING_REPORTS)
def income() -> ResponseReturnValue:
    """Income by plan (net, as invoiced), or by way to pay, cashier or month (as paid)."""
    by = request.args.get("by", "method")
    if by not in HEADINGS:
        abort(404)
    days = span(12 if by == "month" else 1)
    rows = reports.income(context.db(), context.staff().operator_id, by, days.first, days.last)
    if by == "plan":
        rows = [replace(row, label=_("Late fees")) if row.label == reports.LATE_FEES else row for row in rows]
    titles = {
        "plan": _("By plan"), "method": _("By way to pay"), "cashier": _("By cashier"), "month": _("By month")
    }  # fmt: skip
    return _answer(INCOME, rows, "staff/billing/income.html", days=days, by=by, titles=titles)


TAXES = Table(
    name="taxes",
    title=_l("Taxes"),
    columns=(
        Column("name", _l("Tax"), lambda row: row.name),
        Column("rate", _l("Percent"), lambda row: row.rate, numeric=True, money=False),
        Column("base", _l("On"), lambda row: row.base, numeric=True),
        Column("amount", _l("Amount"), lambda row: row.amount, numeric=True),
    ),
    order="name",
    tie=None,
)


@blueprint.get("/taxes")
@requires(Permission.BILLING_REPORTS)
def taxes() -> ResponseReturnValue:
    """Each tax of what was invoiced in these days, less what was credited in them."""
    days = span()
    rows = reports.taxes(context.db(), context.staff().operator_id, days.first, days.last)
    return _answer(TAXES, rows, "staff/billing/taxes.html", days=days)


JOURNAL = Table(
    name="journal",
    title=_l("Journal"),
    columns=tuple(
        Column(name, title, attrgetter(name))
        for name, title in (
            ("entry", _l("Entry")), ("booked_on", _l("Date")), ("kind", _l("Kind")), ("document", _l("Document")),
            ("account", _l("Account")), ("account_name", _l("Name of the account")), ("subscriber", _l("Subscriber")),
            ("debit", _l("Debit")), ("credit", _l("Credit")), ("reason", _l("Why")),
        )
    ),
    order="entry",
    tie=None,
)  # fmt: skip


@blueprint.get("/journal")
@requires(Permission.BILLING_REPORTS)
def journal() -> ResponseReturnValue:
    """The ledger's lines of some days, as accounting software takes them; the page shows the first of them."""
    session, days, operator_id = context.db(), span(), context.staff().operator_id
    if not request.args.get("format"):
        rows = list(reports.journal(session, operator_id, days.first, days.last, most=SHOWN))
        return _answer(JOURNAL, rows, "staff/billing/journal.html", days=days)
    rows, after = [], None
    while found := reports.journal(session, operator_id, days.first, days.last, after):
        rows += found
        after = (found[-1].booked_on, found[-1].entry)
    return _answer(JOURNAL, rows, "staff/billing/journal.html", days=days)


# Subscribers with what is billed of them: a list as large as all services, so PostgreSQL sorts and pages it.


def _search(words: str) -> ColumnElement[bool]:
    return or_(
        Service.subscriber_id.in_(matching(func.search_subscribers, words)),
        Service.id.in_(matching(func.search_services, words)),
    )


def _standing(value: str) -> ColumnElement[bool]:
    today = base.today()
    match value:
        case "overdue":
            return and_(Service.paid_until < today, Service.state != "terminated")
        case "soon":
            return Service.paid_until.between(today, today + timedelta(days=7))
        case "unbilled":
            return and_(ServiceBilling.service_id.is_(None), Service.state == "active")
    return Service.state == value


DUE = Table(
    name="due-dates",
    title=_l("Due dates"),
    columns=(
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber),
        Column("service", _l("Service"), lambda row: row.Service.name, Service.name),
        Column("plan", _l("Rate plan"), lambda row: row.plan, wide=True),
        Column("state", _l("State"), lambda row: row.Service.state, words="service_state"),
        Column("billed", _l("Billed up to"), lambda row: row.billed, ServiceBilling.next_from, wide=True),
        Column("due", _l("Paid until"), lambda row: row.Service.paid_until, Service.paid_until),
        Column("issue", _l("Next invoice"), lambda row: row.issue, ServiceBilling.next_issue_on, wide=True),
        Column("managed", _l("Cut-off"), lambda row: row.Service.management, wide=True, words="management"),
    ),
    order="service",
    tie=Service.id,
    filters=(
        Filter(
            "standing",
            _l("Everybody"),
            lambda: [
                ("overdue", _("Overdue")), ("soon", _("Due within 7 days")), ("unbilled", _("Active and not billed")),
                *choices("service_state"),
            ],
            _standing,
        ),
    ),
    search=_search,
    search_hint=_l("Name, phone, user name"),
    count_up_to=200_000,
)  # fmt: skip


@blueprint.get("/due")
@requires(Permission.BILLING_REPORTS)
def due() -> ResponseReturnValue:
    """Services with their state, how far they are billed, and until when they are paid."""
    query = (
        select(
            Service,
            Subscriber.name.label("subscriber"),
            RatePlan.name.label("plan"),
            func.coalesce(ServiceBilling.stopped_on, ServiceBilling.next_from - 1).label("billed"),
            ServiceBilling.next_issue_on.label("issue"),
        )
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .outerjoin(ServiceBilling, ServiceBilling.service_id == Service.id)
        .where(Service.access_method != "voucher")
    )
    return show(context.db(), DUE, query, "staff/billing/due.html", today=base.today())


def _answer(table: Table, rows: Sequence[Any], template: str, **values: Any) -> ResponseReturnValue:
    """Return the page of a report, or its rows as the file that the URL asks for."""
    wanted = request.args.get("format")
    if wanted is not None:
        return exported(table, rows, wanted)
    return render_template(template, table=table, rows=rows[:SHOWN], more=len(rows) > SHOWN, **values)
