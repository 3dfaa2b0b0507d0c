"""The demo's dollars: three rates, a plan that is priced in them, and a payment that came in them."""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from crm.currencies import NewRate, enter_rates, switch_on
from crm.plans import PlanTerms, create_plan
from db.audit import Actor
from db.models import ForeignCurrency, PaymentMethod, RatePlan, Service

RATES = ((10, "17.1000"), (4, "17.3200"), (0, "17.2500"))
"""How many days ago, and what a dollar was worth."""
PLAN = PlanTerms("Frontera 60 (USD)", 60_000_000, 20_000_000, price=Decimal(30), price_currency="USD")
PAYER = "mc.guerrero"
"""Pays months ahead, this time with a note of twenty dollars."""


def take_dollars(session: Session, operator_id: int, now: datetime) -> None:
    """Let the demo operator take dollars; nothing where somebody took another currency before."""
    if session.scalar(select(exists().where(ForeignCurrency.operator_id == operator_id))):
        return
    rules, actor = rules_of(session, operator_id), Actor(operator_id, "demo")
    if rules.currency == "USD":
        return
    today = rules.today(now)
    switch_on(session, actor, "USD")
    enter_rates(
        session, actor, [NewRate("USD", today - timedelta(days=days), Decimal(rate)) for days, rate in RATES], today
    )
    named = select(RatePlan.id).where(RatePlan.operator_id == operator_id, RatePlan.name == PLAN.name)
    if session.scalar(named) is None:
        create_plan(session, actor, PLAN)
    service = session.scalars(
        select(Service).where(Service.operator_id == operator_id, Service.name == PAYER)
    ).one_or_none()
    cash = session.scalar(
        select(PaymentMethod.id)
        .where(PaymentMethod.operator_id == operator_id, PaymentMethod.account == "cash", PaymentMethod.active)
        .order_by(PaymentMethod.id)
        .limit(1)
    )
    if service is not None and cash is not None:
        terms = PaymentTerms(service.subscriber_id, cash, Decimal(20), "USD", today, change=Decimal(45))
        register_payment(session, actor, rules, terms, now)
    session.flush()
