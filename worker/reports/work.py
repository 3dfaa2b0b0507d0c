"""Reports of work orders: what waits, what was sold and installed, by whom, and how long it took.

A sale counts when its work order is entered, for the seller whom that names; see also `crm.work_reports`.
"""

from typing import Any

from sqlalchemy import Date, Integer, Numeric, Select, case, cast, func, literal, select, union_all

from core.i18n import N_
from db.models import WORK_OPEN, Lead, Staff, Subscriber, WorkOrder
from worker.reports.base import WORK as AREA
from worker.reports.base import Column, Report, Scope


def _outstanding(scope: Scope) -> Select[*tuple[Any, ...]]:
    entered = func.timezone(scope.zone.key, WorkOrder.created_at)
    return (
        select(
            WorkOrder.number.label("number"),
            WorkOrder.kind.label("kind"),
            WorkOrder.title.label("title"),
            Subscriber.name.label("subscriber"),
            WorkOrder.priority.label("priority"),
            Staff.name.label("technician"),
            WorkOrder.window_start.label("planned"),
            cast(cast(scope.today, Date) - cast(entered, Date), Integer).label("days"),
            Subscriber.id.label("subscriber_id"),
            WorkOrder.id.label("id"),
        )
        .select_from(WorkOrder)
        .outerjoin(Subscriber, Subscriber.id == WorkOrder.subscriber_id)
        .outerjoin(Staff, Staff.id == WorkOrder.technician_id)
        .where(WorkOrder.operator_id == scope.operator_id, WorkOrder.state.in_(WORK_OPEN))
    )


def _sales(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Count per month and seller what was sold, what of it is installed by now, and the leads that ended."""
    none: Any = literal(0)
    ordered = _by_month(scope, WorkOrder.created_at, WorkOrder.seller_id, WorkOrder.operator_id).add_columns(
        func.count().label("sold"),
        func.count().filter(WorkOrder.state == "done").label("installed"),
        none.label("won"),
        none.label("lost"),
    )
    closed = _by_month(scope, Lead.closed_at, Lead.seller_id, Lead.operator_id).add_columns(
        none.label("sold"),
        none.label("installed"),
        func.count().filter(Lead.state == "won").label("won"),
        func.count().filter(Lead.state == "lost").label("lost"),
    )
    both = union_all(ordered.where(WorkOrder.kind == "installation", WorkOrder.state != "cancelled"), closed).subquery()
    return select(
        both.c.month,
        both.c.person.label("seller"),
        *(cast(func.sum(both.c[name]), Integer).label(name) for name in ("sold", "installed", "won", "lost")),
        func.row_number().over(order_by=(both.c.month, both.c.person)).label("id"),
    ).group_by(both.c.month, both.c.person)


def _installs(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Count per month and technician, with the days from the order to its completion."""
    days = case((WorkOrder.state == "done", func.extract("epoch", WorkOrder.ended_at - WorkOrder.created_at) / 86400))

    def within(share: float) -> Any:
        return func.round(cast(func.percentile_cont(share).within_group(days), Numeric), 1)

    one = (
        _by_month(scope, WorkOrder.ended_at, WorkOrder.technician_id, WorkOrder.operator_id)
        .where(WorkOrder.kind == "installation", WorkOrder.state.in_(("done", "failed")))
        .add_columns(
            func.count().filter(WorkOrder.state == "done").label("installed"),
            func.count().filter(WorkOrder.state == "failed").label("failed"),
            within(0.5).label("median"),
            within(0.9).label("slowest"),
        )
        .subquery()
    )
    return select(
        one.c.month, one.c.person.label("technician"), one.c.installed, one.c.failed, one.c.median, one.c.slowest,
        func.row_number().over(order_by=(one.c.month, one.c.person)).label("id"),
    )  # fmt: skip


def _by_month(scope: Scope, instant: Any, person: Any, operator: Any) -> Select[*tuple[Any, ...]]:
    """Return what happened in the days of the scope by month and person; nobody is an empty name."""
    month = cast(func.date_trunc("month", func.timezone(scope.zone.key, instant)), Date)
    name = func.coalesce(Staff.name, "")
    return (
        select(month.label("month"), name.label("person"))
        .select_from(operator.class_)
        .outerjoin(Staff, Staff.id == person)
        .where(operator == scope.operator_id, instant >= scope.since, instant < scope.until)
        .group_by(month, name)
    )


WORK = (
    Report(
        "work_orders", AREA, N_("Outstanding work orders"),
        N_("Which visits are not done yet, whose they are, and how many days ago they were entered."),
        "work_orders.view",
        (
            Column("number", N_("Number"), "count"),
            Column("kind", N_("Kind"), words="work_kind"),
            Column("title", N_("Title"), wide=True),
            Column("subscriber", N_("Subscriber")),
            Column("priority", N_("Priority"), words="work_priority"),
            Column("technician", N_("Technician"), wide=True),
            Column("planned", N_("Planned for"), "instant"),
            Column("days", N_("Days since entered"), "count"),
        ),
        _outstanding, "-days", choice="kind",
    ),
    Report(
        "sales", AREA, N_("Sales per month and seller"),
        N_("What each seller sold in each month, what of it is installed by now, and which leads were won and lost."),
        "work_orders.view",
        (
            Column("month", N_("Month"), "month"),
            Column("seller", N_("Seller")),
            Column("sold", N_("Sold"), "count"),
            Column("installed", N_("Of these installed"), "count"),
            Column("won", N_("Leads won"), "count", wide=True),
            Column("lost", N_("Leads lost"), "count", wide=True),
        ),
        _sales, "-month", spans=True,
    ),
    Report(
        "installs", AREA, N_("Installations per month and technician"),
        N_("What each technician installed in each month, and how many days passed from the order to its completion."),
        "work_orders.view",
        (
            Column("month", N_("Month"), "month"),
            Column("technician", N_("Technician")),
            Column("installed", N_("Installed"), "count"),
            Column("failed", N_("Not done"), "count"),
            Column("median", N_("Days to install, half of them"), "decimal"),
            Column("slowest", N_("Days to install, nine in ten"), "decimal", wide=True),
        ),
        _installs, "-month", spans=True,
    ),
)  # fmt: skip
