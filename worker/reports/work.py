"""Reports of work orders. Those of sales, installations and tickets have pages of their own."""

from typing import Any

from sqlalchemy import Date, Integer, Select, cast, func, select

from core.i18n import N_
from db.models import WORK_OPEN, Staff, Subscriber, WorkOrder
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
)  # fmt: skip
