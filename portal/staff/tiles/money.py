"""Money on the homes: what came in, who is not paying, the cash desk, and what waits for finance."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import func, select

from billing import reports
from billing.desks import desk_sums, open_desk_of
from billing.run import waiting_for_rates
from core.i18n import N_
from db.models import BankLine, Invoice, Payment, PaymentMethod, Promise, Service, Subscriber
from portal import context
from portal.formats import local_day, money, number
from portal.home_tiles import Figure, Figures, Line, Lines, remembered, tile
from portal.navigation import may_open
from portal.permissions import Permission
from portal.staff.billing import base

SHOWN = 8


@tile("money", N_("Money"), ("manager", "finance"), Permission.BILLING_REPORTS, order=12)
def money_figures() -> Figures | None:
    """What came in today, this month against the last one up to the same day, and what is overdue."""
    if not base.is_on():
        return None
    session, operator_id, today = context.db(), context.staff().operator_id, base.today()
    first = today.replace(day=1)
    last_first = base.month_before(first)
    same_day = min(last_first + timedelta(days=today.day - 1), first - timedelta(days=1))
    count, amount = reports.came_in(session, operator_id, today, today)
    _payments, month = reports.came_in(session, operator_id, first, today)
    _payments, last = reports.came_in(session, operator_id, last_first, same_day)
    debtors, overdue = remembered.give("overdue", operator_id, timedelta(minutes=1), _overdue)
    return Figures(
        (
            Figure(
                money(amount),
                _("came in today"),
                "cash",
                url_for("payments.index"),
                ngettext("%(num)s payment", "%(num)s payments", count),
                "green",
            ),
            Figure(
                money(month),
                _("this month"),
                "chart-line",
                url_for("reports.months"),
                _("%(amount)s by this day of the last one", amount=money(last)) + _against(month, last),
                "teal",
            ),
            Figure(
                money(overdue),
                _("overdue"),
                "alert-triangle",
                url_for("invoices.index", state="overdue"),
                ngettext("%(num)s subscriber", "%(num)s subscribers", debtors),
                alarming=debtors > 0,
            ),
        )
    )


def _against(month: Decimal, last: Decimal) -> str:
    """Return how much more or less that is in percent, where there was something to compare with."""
    if not last:
        return ""
    percent = round((month - last) / last * 100)
    return f" ({'+' if percent > 0 else ''}{number(percent)}\u00a0%)"


def _overdue() -> tuple[int, Decimal]:
    """Return how many subscribers have something overdue, and how much."""
    row = (
        context.db()
        .execute(
            select(func.count(Invoice.subscriber_id.distinct()), func.coalesce(func.sum(Invoice.open), 0)).where(
                base.invoices_in("overdue")
            )
        )
        .one()
    )
    return row[0], row[1]


@tile("desk", N_("Your cash desk"), ("finance",), Permission.DESK, order=13)
def desk_figure() -> Figures | None:
    if not base.is_on():
        return None
    desk = open_desk_of(context.db(), context.staff().id)
    value = money(desk_sums(context.db(), desk).expected) if desk is not None else "–"
    note = "" if desk is not None else _("closed")
    return Figures((Figure(value, _("in your cash desk"), "cash-register", url_for("desk.index"), note),))


@tile("debtors", N_("Who owes most"), ("manager", "finance"), Permission.BILLING_REPORTS, order=25, wide=True)
def debtors() -> Lines | None:
    if not base.is_on():
        return None
    operator_id = context.staff().operator_id
    rows: list[Any] = remembered.give("debtors", operator_id, timedelta(minutes=1), _debtors)
    return Lines(
        [
            Line(
                row.name,
                url_for("statement.page", subscriber_id=row.subscriber_id),
                _("due %(day)s", day=local_day(row.oldest_due_on)),
                money(row.total),
                action=pay_action(row.subscriber_id),
            )
            for row in rows
        ],
        _("Nobody owes anything"),
        url_for("reports.aging"),
    )


def _debtors() -> list[Any]:
    return list(reports.aging(context.db(), context.staff().operator_id, base.today(), SHOWN))


def pay_action(subscriber_id: int) -> tuple[str, str, str] | None:
    """Return the button that leads to registering a payment, for who may."""
    if not may_open("payments.create_page"):
        return None
    return url_for("payments.create_page", subscriber_id=subscriber_id), "cash", _("Register payment")


@tile("due_today", N_("Due today"), ("finance",), Permission.BILLING_VIEW, order=22, wide=True)
def due_today() -> Lines | None:
    """Invoices whose last day is today: who pays now stays on."""
    if not base.is_on():
        return None
    due = (Invoice.due_on == base.today(), Invoice.open > 0)
    session = context.db()
    rows = session.execute(
        select(Invoice.subscriber_id, Subscriber.name, Subscriber.phone, func.sum(Invoice.open).label("open"))
        .join(Subscriber, Subscriber.id == Invoice.subscriber_id)
        .where(*due)
        .group_by(Invoice.subscriber_id, Subscriber.name, Subscriber.phone)
        .order_by(func.sum(Invoice.open).desc())
        .limit(SHOWN)
    ).all()
    return Lines(
        [
            Line(
                row.name,
                url_for("statement.page", subscriber_id=row.subscriber_id),
                row.phone or "",
                money(row.open),
                action=pay_action(row.subscriber_id),
            )
            for row in rows
        ],
        _("Nothing is due today"),
        url_for("invoices.index", state="unpaid"),
        session.scalar(select(func.count(Invoice.subscriber_id.distinct())).where(*due)),
    )


@tile("payments_today", N_("Payments today"), ("finance",), Permission.BILLING_VIEW, order=20)
def payments_today() -> Lines | None:
    if not base.is_on():
        return None
    rows = context.db().execute(
        select(Payment, Subscriber.name, PaymentMethod.name.label("method"))
        .join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .join(PaymentMethod, PaymentMethod.id == Payment.method_id)
        .where(Payment.paid_on == base.today(), Payment.voided_at.is_(None))
        .order_by(Payment.id.desc())
        .limit(SHOWN)
    )
    return Lines(
        [
            Line(
                row.name,
                url_for("payments.page", payment_id=row.Payment.id),
                f"{base.number_of(row.Payment)} · {row.method}",
                money(row.Payment.amount),
            )
            for row in rows
        ],
        _("No payment yet today"),
        url_for("payments.index"),
    )


@tile("finance_waits", N_("What waits"), ("finance", "manager"), Permission.BILLING_EDIT, order=28)
def finance_waits() -> Lines | None:
    """Promises that end, lines of bank statements that nobody has assigned, and invoices without an exchange rate."""
    if not base.is_on():
        return None
    session, today, lines = context.db(), base.today(), []
    waiting = session.scalar(select(func.count()).select_from(BankLine).where(BankLine.state == "waiting")) or 0
    if waiting and may_open("bank.index"):
        said = ngettext("%(num)s line of bank statements", "%(num)s lines of bank statements", waiting)
        lines.append(Line(said, url_for("bank.index"), _("Say whose payment it is.")))
    for currency, count in waiting_for_rates(session, base.rules(), context.now()).items():
        said = ngettext("%(num)s invoice waits for a rate", "%(num)s invoices wait for a rate", count)
        note = _("There is no recent exchange rate of %(currency)s.", currency=currency)
        lines.append(Line(said, url_for("currencies.index"), note, alarming=True))
    promises = session.execute(
        select(Promise.until, Subscriber.id, Subscriber.name)
        .join(Service, Service.id == Promise.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(Promise.state == "open", Promise.until <= today + timedelta(days=1))
        .order_by(Promise.until)
        .limit(SHOWN)
    )
    for row in promises:
        note = _("promised to pay by %(day)s", day=local_day(row.until))
        url = url_for("statement.page", subscriber_id=row.id)
        lines.append(Line(row.name, url, note, alarming=row.until < today, action=pay_action(row.id)))
    return Lines(lines, _("No promise ends, and no line of a bank statement waits"))
