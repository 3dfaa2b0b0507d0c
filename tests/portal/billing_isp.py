"""An operator that bills, for the pages of finance: in the portal's own database, with the days of now."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from billing.run import run_billing
from core.clock import local_date, utc_now
from core.settings import Settings
from db.audit import Actor
from db.models import BillingSettings, Invoice, Payment, PaymentMethod, RatePlan, Service, Staff, TaxRate
from db.session import make_sessions
from tests.billing.isp import ZONE
from tests.portal.conftest import Isp, add_service, add_subscriber


def today() -> date:
    return local_date(utc_now(), ZONE)


def start_billing(system: Engine, isp: Isp, price: str = "300", **settings: Any) -> dict[str, int]:
    """Let an operator bill its plan in advance, each service from the day it began; return its ways to pay."""
    with Session(system) as session:
        session.get_one(RatePlan, isp.plan_id).price = Decimal(price)
        taxes = settings.pop("taxes", ())
        values = {"cut_off": "anchor", "issue_days": 0, "issue_hour": 0, "first_due_days": 0, **settings}
        starts_on = today() - timedelta(days=400)
        session.add(BillingSettings(operator_id=isp.operator_id, enabled=True, starts_on=starts_on, **values))
        for name, rate, included in taxes:
            session.add(TaxRate(operator_id=isp.operator_id, name=name, rate=Decimal(rate), included=included))
        methods = [
            PaymentMethod(operator_id=isp.operator_id, name="Cash", account="cash"),
            PaymentMethod(operator_id=isp.operator_id, name="Transfer", account="bank", needs_reference=True),
        ]
        session.add_all(methods)
        session.commit()
        return {method.name: method.id for method in methods}


def billed_line(system: Engine, installation: Settings, isp: Isp, name: str, days_ago: int) -> tuple[int, int]:
    """Enter a subscriber with a service that began so many days ago; return their ids."""
    subscriber_id = add_subscriber(system, isp, name)
    since = utc_now() - timedelta(days=days_ago)
    user = name.lower().replace(" ", ".")
    return subscriber_id, add_service(system, installation, isp, subscriber_id, user, activated_at=since)


def bill(system: Engine, isp: Isp) -> int:
    """Let the billing run pass; return how many invoices it made."""
    return run_billing(make_sessions(system), isp.operator_id, utc_now()).invoices


def pay(system: Engine, isp: Isp, subscriber_id: int, method_id: int, amount: str, **values: Any) -> int:
    """Register a payment beside the portal; return its id."""
    with Session(system) as session:
        rules = rules_of(session, isp.operator_id)
        terms = PaymentTerms(subscriber_id, method_id, Decimal(amount), "MXN", values.pop("paid_on", today()))
        registered = register_payment(
            session, Actor(isp.operator_id, "test"), rules, replace(terms, **values), utc_now()
        )
        session.commit()
        return registered.payment.id


def cut_off(system: Engine, isp: Isp, service_id: int) -> None:
    """Suspend a service as the date does."""
    with Session(system) as session:
        service = session.get_one(Service, service_id)
        service.state, service.suspended_at, service.suspension_cause = "suspended", utc_now(), "overdue"
        session.commit()


def service_of(system: Engine, service_id: int) -> Service:
    with Session(system) as session:
        return session.get_one(Service, service_id)


def invoices_of(system: Engine, subscriber_id: int) -> list[Invoice]:
    with Session(system) as session:
        query = select(Invoice).where(Invoice.subscriber_id == subscriber_id).order_by(Invoice.id)
        return list(session.scalars(query))


def payments_of(system: Engine, subscriber_id: int) -> list[Payment]:
    with Session(system) as session:
        query = select(Payment).where(Payment.subscriber_id == subscriber_id).order_by(Payment.id)
        return list(session.scalars(query))


def staff_id(system: Engine, isp: Isp, role: str) -> int:
    with Session(system) as session:
        return session.scalars(select(Staff.id).where(Staff.email == isp.staff[role])).one()
