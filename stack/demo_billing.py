"""The demo's books: two months of invoices and payments, made once, as the billing run and a cashier would have.

Most of the demo's lines are paid a year ahead and are billed when that is over, so that the network is alive whenever
somebody comes back to it. Some are billed now: who pays each month, who paid months in advance, a company that is
cut by hand and owes its last invoice, and the two that are cut off for what they owe.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.charges import ChargeTerms, DiscountTerms, add_charge, add_discount
from billing.dunning_settings import change_ladder, terms_of_ladder
from billing.following import different_services, follow_services
from billing.methods import CollectorTerms, save_collector
from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from billing.run import issue_batch
from billing.settings import add_tax, change_settings, settings_of
from billing.top_ups import top_up, topped_up
from billing.wallets import set_prepaid
from core.clock import local_date
from core.i18n import translator
from crm.plan_items import ItemTerms, add_item
from db.audit import Actor
from db.models import Collector, Invoice, Operator, PaymentMethod, RatePlan, Service, Staff, Subscriber

# Who pays each month, and by which of the ways that an operator begins with.
MONTHLY = {"tere.nanez": 1, "hector.urrutia": 0, "ana.rodriguez": 0, "miguel.ocampo": 3, "sofia.castaneda": 1,
           "vero.dominguez": 3, "mc.guerrero": 2}  # fmt: skip
AHEAD = {"ana.rodriguez": 6, "miguel.ocampo": 12, "sofia.castaneda": 3, "vero.dominguez": 12, "mc.guerrero": 6}
OWES_THE_LAST = "ferreteria"
BUNDLE = "Hogar 20 Plus"
"""Sold with a router, and with the installation charged once."""
TOP_UPS = {"Básico 20 GB": (5, Decimal(49)), "Ahorro 5 (50 GB)": (10, Decimal(79))}
"""Gigabytes that plans with a cap sell on top, and for how much."""
TOPPED_UP = "jl.valdivia"
BOOSTED, BOOST = "Hogar 10", {"boost_download": 30_000_000, "boost_upload": 10_000_000, "boost_hours": 24}
"""A plan that is sold faster for a day, at `BOOST_PRICE`."""
BOOST_PRICE = Decimal(25)
PREPAID = "sofia.castaneda"
"""Has paid three months ahead, and buys each period from that."""
UNREGISTERED = ("mc.guerrero", "XXXX000000XX0")
"""Whose electronic invoices are refused: the tax office of the lab does not know the number."""
OVERDUE = ("jp.itza", "arturo.benitez")
SETTINGS = {
    "enabled": True,
    "late_fee_percent": Decimal(5),
    "legal_name": "Demo Wireless, S.A. de C.V.",
    "tax_id": "DWI270101AB1",
    "address": "Av. Juárez 100, Centro, 42000 Pachuca, Hgo.",
    "phone": "+52 771 555 0100",
    "email": "cobranza@demo.example",
    "receipt_note": "Gracias por su pago.",
}


def bill_demo(session: Session, operator_id: int, now: datetime) -> None:
    """Let the demo operator bill, with the past two months booked; nothing where somebody looked at billing before."""
    if settings_of(session, operator_id) is not None:
        return
    operator = session.get_one(Operator, operator_id)
    zone = ZoneInfo(operator.timezone)
    today = local_date(now, zone)
    starts_on = _cut_off(_cut_off(today, operator.cut_off_day) - timedelta(days=20), operator.cut_off_day)
    cashier = session.scalars(
        select(Staff).where(Staff.operator_id == operator_id, Staff.roles.contains(["finance"])).limit(1)
    ).one_or_none()
    actor = Actor(operator_id, cashier.email if cashier else "demo", cashier.id if cashier else None)
    billed = (*MONTHLY, OWES_THE_LAST, *OVERDUE)
    session.execute(
        update(Service)
        .where(Service.operator_id == operator_id, Service.name.in_(billed))
        .values(paid_until=starts_on - timedelta(days=1))
    )
    session.expire_all()
    cut = select(Service).where(Service.operator_id == operator_id, Service.name.in_(OVERDUE))
    how = {row.id: (row.state, row.suspended_at, row.suspension_cause, row.suspension_detail)
           for row in session.scalars(cut)}  # fmt: skip
    name, tax_id = UNREGISTERED
    for service in session.scalars(select(Service).where(Service.operator_id == operator_id, Service.name == name)):
        session.get_one(Subscriber, service.subscriber_id).tax_id = tax_id
    change_settings(session, actor, {**SETTINGS, "starts_on": starts_on}, None, starts_on)
    _name_methods(session, operator_id)
    add_tax(session, actor, "IVA", Decimal(16), included=True)
    beto = save_collector(session, actor, CollectorTerms("Beto Ramírez", Decimal(5)), None)
    session.flush()
    _extras(session, actor, _noon(starts_on, zone))
    for day in _days(starts_on, today):
        at = min(_noon(day, zone), now)
        _run(session, actor, at)
        if day >= _cut_off(day, operator.cut_off_day) and day.day in (operator.cut_off_day, operator.cut_off_day + 2):
            _pay(session, actor, at, last=(today - day).days < 31, collector=beto)
    # Two months ago they were not cut yet, so billing brought them back; cut they were since.
    for service in session.scalars(cut.execution_options(populate_existing=True)):
        service.state, service.suspended_at, service.suspension_cause, service.suspension_detail = how[service.id]
    wallet = select(Service).where(Service.operator_id == operator_id, Service.name == PREPAID)
    for service in session.scalars(wallet):
        set_prepaid(session, actor, rules_of(session, operator_id), service, True, now)
    bundle = select(RatePlan).where(RatePlan.operator_id == operator_id, RatePlan.name == BUNDLE)
    for plan in session.scalars(bundle):
        for item in (ItemTerms("Router en comodato"), ItemTerms("Instalación", Decimal(500), once=True)):
            add_item(session, actor, plan, item)
    _sell_top_ups(session, actor, now)
    ladder = terms_of_ladder(session, operator)
    change_ladder(session, actor, operator, replace(ladder, enabled=True, late_fees=True))
    session.flush()


def _name_methods(session: Session, operator_id: int) -> None:
    """Name the ways to pay in the language of the demo's subscribers, in which their receipts say them."""
    say = translator("es")
    for method in session.scalars(select(PaymentMethod).where(PaymentMethod.operator_id == operator_id)):
        method.name = say(method.name)
    session.flush()


def _extras(session: Session, actor: Actor, at: datetime) -> None:
    """A static address each month, and a discount."""
    rules = rules_of(session, actor.operator_id)
    services = {row.name: row for row in session.scalars(
        select(Service).where(Service.operator_id == actor.operator_id, Service.state != "terminated")
    )}  # fmt: skip
    company, family = services.get(OWES_THE_LAST), services.get("tere.nanez")
    if company is not None:
        terms = ChargeTerms(company.subscriber_id, "IP fija", Decimal(150), recurring=True, service_id=company.id)
        add_charge(session, actor, rules, terms, at)
    if family is not None:
        add_discount(session, actor, rules, family, DiscountTerms("Promoción vecinos", Decimal(10), months=6), at)


def _sell_top_ups(session: Session, actor: Actor, now: datetime) -> None:
    """Let plans offer more data or more speed, and one subscriber buy some."""
    for name, (gigabytes, price) in TOP_UPS.items():
        plans = select(RatePlan).where(RatePlan.operator_id == actor.operator_id, RatePlan.name == name)
        for plan in session.scalars(plans):
            plan.top_up_octets, plan.top_up_price = gigabytes * 10**9, price
    for plan in session.scalars(
        select(RatePlan).where(RatePlan.operator_id == actor.operator_id, RatePlan.name == BOOSTED)
    ):
        for field, value in BOOST.items():
            setattr(plan, field, value)
        plan.boost_price = BOOST_PRICE
    session.flush()
    buyer = select(Service).where(
        Service.operator_id == actor.operator_id, Service.name == TOPPED_UP, Service.state == "active"
    )
    for service in session.scalars(buyer):
        top_up(session, actor, service, topped_up(service, now), now)


def _run(session: Session, actor: Actor, at: datetime) -> None:
    """Let the billing run pass."""
    rules = rules_of(session, actor.operator_id)
    while found := different_services(session, rules, 0, 1000):
        if not follow_services(session, actor, rules, found, at):
            break
    while issue_batch(session, rules, at, 0).services:
        session.flush()


def _pay(session: Session, actor: Actor, at: datetime, *, last: bool, collector: Collector) -> None:
    """Let the payers pay what they owe; some of them, the `last` time, months in advance too."""
    rules = rules_of(session, actor.operator_id)
    methods = session.scalars(
        select(PaymentMethod.id).where(PaymentMethod.operator_id == actor.operator_id).order_by(PaymentMethod.id)
    ).all()
    payers = {**MONTHLY, **({} if last else {OWES_THE_LAST: 1})}
    for name, method in payers.items():
        service = session.scalars(
            select(Service).where(Service.operator_id == actor.operator_id, Service.name == name)
        ).one_or_none()
        owed = session.scalars(
            select(Invoice).where(Invoice.service_id == (service.id if service else 0), Invoice.open > 0)
        ).all()
        if service is None or not owed:
            continue
        amount = sum((invoice.open for invoice in owed), Decimal(0))
        if last:
            amount += owed[-1].total * AHEAD.get(name, 0)
        on_the_road = name == "hector.urrutia"
        terms = PaymentTerms(
            service.subscriber_id,
            methods[method],
            amount,
            rules.currency,
            rules.today(at),
            reference="" if method == 0 else f"{rules.today(at):%y%m%d}-{service.id:05d}",
            collector_id=collector.id if on_the_road else None,
        )
        register_payment(session, actor, rules, terms, at)
    session.flush()


def _cut_off(day: date, cut_off_day: int) -> date:
    """Return the latest cut-off day that is not after a day."""
    if day.day >= cut_off_day:
        return day.replace(day=cut_off_day)
    return (day.replace(day=1) - timedelta(days=1)).replace(day=cut_off_day)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def _noon(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(12), zone).astimezone(UTC)
