"""Reports of subscribers and of what they owe."""

from typing import Any

from sqlalchemy import (
    Date,
    DateTime,
    Integer,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased

from core.i18n import N_
from crm.currencies import in_books
from db.models import Invoice, RatePlan, Service, Subscriber, UsageHour
from worker.reports.base import HUNDRED, MONEY, SUBSCRIBERS, Column, Report, Scope

IS_LINE = Service.access_method != "voucher"
"""Vouchers are services of the stock: nobody holds them who could be billed, be late or leave."""


def _subscribers(scope: Scope) -> Select[*tuple[Any, ...]]:
    billed = (
        select(Invoice.service_id, func.max(Invoice.issued_on).label("billed_on"), func.sum(Invoice.open).label("open"))
        .where(Invoice.operator_id == scope.operator_id, Invoice.service_id.is_not(None))
        .group_by(Invoice.service_id)
        .subquery()
    )
    late = and_(Service.paid_until < scope.today, Service.management == "automatic")
    return (
        select(
            Subscriber.name.label("subscriber"),
            Subscriber.phone.label("phone"),
            Service.name.label("service"),
            RatePlan.name.label("plan"),
            Service.state.label("state"),
            billed.c.billed_on.label("billed_on"),
            Service.paid_until.label("due_on"),
            case((late, scope.today - Service.paid_until)).label("days_late"),
            func.coalesce(billed.c.open, 0).label("open"),
            Subscriber.id.label("subscriber_id"),
            Service.id.label("id"),
        )
        .select_from(Service)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .outerjoin(billed, billed.c.service_id == Service.id)
        .where(Service.operator_id == scope.operator_id, Service.state != "terminated", IS_LINE)
    )


def _invoices(scope: Scope) -> Select[*tuple[Any, ...]]:
    state = case(
        (and_(Invoice.open == 0, Invoice.credited == Invoice.total, Invoice.total > 0), "credited"),
        (Invoice.open == 0, "paid"),
        (Invoice.due_on < scope.today, "overdue"),
        (Invoice.paid > 0, "part"),
        else_="open",
    )
    return (
        select(
            (Invoice.prefix + cast(Invoice.number, _text())).label("invoice"),
            Subscriber.name.label("subscriber"),
            Invoice.issued_on.label("issued_on"),
            Invoice.due_on.label("due_on"),
            state.label("state"),
            Invoice.total.label("total"),
            Invoice.paid.label("paid"),
            Invoice.open.label("open"),
            Subscriber.id.label("subscriber_id"),
            Invoice.id.label("id"),
        )
        .join(Subscriber, Subscriber.id == Invoice.subscriber_id)
        .where(
            Invoice.operator_id == scope.operator_id,
            Invoice.issued_on >= scope.first,
            Invoice.issued_on <= scope.last,
        )
    )


def _text() -> Any:
    return Subscriber.name.type


def _leavers(scope: Scope) -> Select[*tuple[Any, ...]]:
    reason = func.coalesce(func.nullif(Service.suspension_cause, ""), "asked")
    left = type_coerce(cast(func.timezone(scope.zone.key, Service.terminated_at), Date), Date)
    begun = func.coalesce(Service.activated_at, Service.created_at)
    return (
        select(
            left.label("left_on"),
            Subscriber.name.label("subscriber"),
            Service.name.label("service"),
            RatePlan.name.label("plan"),
            reason.label("reason"),
            Service.leave_reason.label("said"),
            Service.leave_note.label("note"),
            cast(func.extract("epoch", Service.terminated_at - begun) / 86400, Integer).label("days"),
            func.coalesce(literal_column(in_books("rate_plan.price", "rate_plan"), Numeric), 0).label("price"),
            Subscriber.id.label("subscriber_id"),
            Service.id.label("id"),
        )
        .select_from(Service)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .where(
            Service.operator_id == scope.operator_id,
            IS_LINE,
            Service.terminated_at >= scope.since,
            Service.terminated_at < scope.until,
        )
    )


def _leaving(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Count what ended for each reason. Nobody was asked where a job ended it: the cause of the cut-off stands then."""
    one = _leavers(scope).subquery()
    ended = func.count()
    said = func.coalesce(func.nullif(one.c.said, ""), case((one.c.reason == "overdue", "overdue"), else_="unsaid"))
    return select(
        said.label("said"),
        ended.label("left"),
        func.round(HUNDRED * ended / func.nullif(func.sum(ended).over(), 0), 1).label("share"),
        func.sum(one.c.price).label("price"),
        cast(func.avg(one.c.days), Integer).label("days"),
        func.min(one.c.id).label("id"),
    ).group_by(said)


def _churn(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Count, for each month that the days touch, who was there at its beginning, came, and left."""
    month = (
        select(
            func.generate_series(
                cast(scope.first.replace(day=1), DateTime),
                cast(scope.last, DateTime),
                literal_column("interval '1 month'"),
            ).label("month")
        )
        .subquery()
        .c.month
    )
    begin = func.timezone(scope.zone.key, month)
    end = func.timezone(scope.zone.key, month + literal_column("interval '1 month'"))
    service = aliased(Service)
    born = func.coalesce(service.activated_at, service.created_at)
    there = func.count(service.id).filter(
        born < begin, (service.terminated_at.is_(None)) | (service.terminated_at >= begin)
    )
    came = func.count(service.id).filter(born >= begin, born < end)
    gone = and_(service.terminated_at >= begin, service.terminated_at < end)
    left = func.count(service.id).filter(gone)
    unpaid = func.count(service.id).filter(gone, service.suspension_cause == "overdue")
    return (
        select(
            cast(month, Date).label("month"),
            there.label("there"),
            came.label("came"),
            left.label("left"),
            unpaid.label("unpaid"),
            func.round(HUNDRED * left / func.nullif(there, 0), 1).label("churn"),
            cast(func.extract("epoch", month), Integer).label("id"),
        )
        .outerjoin(
            service,
            and_(
                service.operator_id == scope.operator_id,
                service.state != "pending",
                service.access_method != "voucher",
            ),
        )
        .group_by(month)
    )


def _usage(scope: Scope) -> Select[*tuple[Any, ...]]:
    received, sent = func.sum(UsageHour.octets_out), func.sum(UsageHour.octets_in)
    people = func.count(Service.subscriber_id.distinct())
    return (
        select(
            RatePlan.name.label("plan"),
            people.label("subscribers"),
            type_coerce(received, Integer).label("received"),
            type_coerce(sent, Integer).label("sent"),
            type_coerce(func.round((received + sent) / func.nullif(people, 0)), Integer).label("each"),
            RatePlan.id.label("id"),
        )
        .select_from(UsageHour)
        .join(Service, Service.id == UsageHour.service_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .where(UsageHour.operator_id == scope.operator_id, UsageHour.hour >= scope.since, UsageHour.hour < scope.until)
        .group_by(RatePlan.id, RatePlan.name)
    )


PEOPLE = (
    Report(
        "subscribers", SUBSCRIBERS, N_("Subscribers and due dates"),
        N_("Who is connected on which plan, when they were billed last and until when they have paid."),
        "subscribers.view",
        (
            Column("subscriber", N_("Subscriber")),
            Column("phone", N_("Phone"), wide=True),
            Column("service", N_("Service"), wide=True),
            Column("plan", N_("Rate plan"), wide=True),
            Column("state", N_("State"), words="service_state"),
            Column("billed_on", N_("Billed on"), "day"),
            Column("due_on", N_("Paid until"), "day"),
            Column("days_late", N_("Days late"), "count"),
            Column("open", N_("Open amount"), "money"),
        ),
        _subscribers, "subscriber", choice="state",
    ),
    Report(
        "churn", SUBSCRIBERS, N_("Subscribers who came and left"),
        N_("Per month: services at its beginning, new ones, ended ones, and what share of them left."),
        "subscribers.view",
        (
            Column("month", N_("Month"), "month"),
            Column("there", N_("At the beginning"), "count"),
            Column("came", N_("New"), "count"),
            Column("left", N_("Services that left"), "count"),
            Column("unpaid", N_("Of these did not pay"), "count", wide=True),
            Column("churn", N_("Churn"), "percent"),
        ),
        _churn, "-month", spans=True, chart=("came", "left"),
    ),
    Report(
        "leavers", SUBSCRIBERS, N_("Who left, and why"),
        N_("Services that were ended, for which reason, how long they lasted and what they paid a month."),
        "subscribers.view",
        (
            Column("left_on", N_("Ended on"), "day"),
            Column("subscriber", N_("Subscriber")),
            Column("service", N_("Service"), wide=True),
            Column("plan", N_("Rate plan"), wide=True),
            Column("said", N_("Reason")),
            Column("note", N_("Note"), wide=True),
            Column("reason", N_("How it ended"), words="left", wide=True),
            Column("days", N_("Days with us"), "count"),
            Column("price", N_("Price of the plan"), "money", wide=True),
        ),
        _leavers, "-left_on", spans=True, choice="reason",
    ),
    Report(
        "leaving", SUBSCRIBERS, N_("Reasons for leaving"),
        N_("How many services were ended for which reason, and what they paid a month."),
        "subscribers.view",
        (
            Column("said", N_("Reason"), words="unsaid"),
            Column("left", N_("Services that left"), "count"),
            Column("share", N_("Of all that ended"), "percent"),
            Column("price", N_("Price of their plans"), "money"),
            Column("days", N_("Days with us, on average"), "count", wide=True),
        ),
        _leaving, "-left", spans=True,
    ),
    Report(
        "usage", SUBSCRIBERS, N_("Usage by plan"),
        N_("What the subscribers of each plan received and sent, and what one of them used."),
        "subscribers.view",
        (
            Column("plan", N_("Rate plan")),
            Column("subscribers", N_("Subscribers"), "count"),
            Column("received", N_("Received"), "octets"),
            Column("sent", N_("Sent"), "octets"),
            Column("each", N_("Each subscriber"), "octets"),
        ),
        _usage, "-received", spans=True,
    ),
    Report(
        "invoices", MONEY, N_("Invoices and their payment"),
        N_("Which invoices were issued, and which of them are paid, partly paid, open or overdue."),
        "billing.view",
        (
            Column("invoice", N_("Invoice")),
            Column("subscriber", N_("Subscriber")),
            Column("issued_on", N_("Issued on"), "day"),
            Column("due_on", N_("Due on"), "day", wide=True),
            Column("state", N_("State"), words="paid"),
            Column("total", N_("Total"), "money"),
            Column("paid", N_("Paid"), "money", wide=True),
            Column("open", N_("Open amount"), "money"),
        ),
        _invoices, "-issued_on", spans=True, choice="state",
    ),
)  # fmt: skip
