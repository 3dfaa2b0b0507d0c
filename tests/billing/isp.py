"""An operator that bills, for tests: in a session, with services whose dates a test chooses."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.following import different_services, follow_services
from billing.payments import PaymentTerms, Registered, register_payment
from billing.rules import BillingRules, rules_of
from billing.run import issue_batch
from billing.wallets import renew, renewals
from db.audit import Actor
from db.models import BillingSettings, Invoice, PaymentMethod, Service, Staff, TaxRate
from tests.rows import add_operator, add_plan, add_service, add_subscriber

ZONE = ZoneInfo("America/Mexico_City")


def noon(day: date) -> datetime:
    """Noon of a day in the operator's zone."""
    return datetime.combine(day, time(12), ZONE).astimezone(UTC)


@dataclass
class BillingIsp:
    """Cut-off day 5, billed in advance, no taxes unless told. Days are the operator's; acts happen at noon."""

    session: Session
    operator_id: int
    actor: Actor
    cash: int
    plans: dict[str, int] = field(default_factory=dict)

    @classmethod
    def create(cls, session: Session, starts_on: date = date(2027, 1, 1), **settings: Any) -> "BillingIsp":
        operator = {"timezone": "America/Mexico_City", "currency": "MXN", "cut_off_day": 5, "locale": "es"}
        for name in ("cut_off_day", "grace_days", "currency", "timezone"):
            if name in settings:
                operator[name] = settings.pop(name)
        operator_id = add_operator(session, **operator)
        taxes = settings.pop("taxes", ())
        session.add(BillingSettings(operator_id=operator_id, enabled=True, starts_on=starts_on, **settings))
        for name, rate, included in taxes:
            session.add(TaxRate(operator_id=operator_id, name=name, rate=Decimal(rate), included=included))
        method = PaymentMethod(operator_id=operator_id, name="Cash", account="cash")
        session.add(method)
        session.flush()
        return cls(session, operator_id, Actor(operator_id, "test"), method.id)

    @property
    def rules(self) -> BillingRules:
        self.session.flush()
        self.session.expire_all()
        return rules_of(self.session, self.operator_id)

    def plan(self, price: str) -> int:
        if price not in self.plans:
            self.plans[price] = add_plan(self.session, self.operator_id, price=Decimal(price))
        return self.plans[price]

    def service(self, activated: date, price: str = "300", **values: Any) -> Service:
        number = self.session.execute(text("SELECT nextval('operator_id_seq')")).scalar_one()
        if "subscriber_id" not in values:
            values["subscriber_id"] = add_subscriber(self.session, self.operator_id)
        values = {"activated_at": noon(activated), **values}
        service_id = add_service(self.session, self.operator_id, self.plan(price), f"line-{number}", **values)
        return self.session.get_one(Service, service_id)

    def staff(self) -> int:
        """Enter a staff member and return the id."""
        member = Staff(
            operator_id=self.operator_id,
            email=f"c{self.operator_id}@isp.example",
            name="Cashier",
            password_hash="x",
            roles=["finance"],
        )
        self.session.add(member)
        self.session.flush()
        return member.id

    def run(self, day: date) -> int:
        """Let the billing run of a day pass, at noon; return how many invoices it made."""
        rules, now, count = self.rules, noon(day), 0
        while found := different_services(self.session, rules, 0, 1000):
            follow_services(self.session, self.actor, rules, found, now)
        for _, subscriber_id in renewals(self.session, rules, rules.today(now), 0, 1000):
            count += renew(self.session, self.actor, rules, [subscriber_id], now)
        while True:
            batch = issue_batch(self.session, rules, now, 0)
            count += batch.invoices
            if not batch.services:
                return count

    def run_until(self, first: date, last: date) -> int:
        """Let the runs of all days pass."""
        return sum(self.run(first + timedelta(days=number)) for number in range((last - first).days + 1))

    def pay(self, subscriber_id: int, amount: str, day: date, now: datetime | None = None) -> Registered:
        terms = PaymentTerms(subscriber_id, self.cash, Decimal(amount), self.rules.currency, day)
        return register_payment(self.session, self.actor, self.rules, terms, now or noon(day))

    def invoices(self, service: Service) -> list[Invoice]:
        query = select(Invoice).where(Invoice.service_id == service.id).order_by(Invoice.id)
        return list(self.session.scalars(query.execution_options(populate_existing=True)))

    def commit_checks(self) -> None:
        """Have the deferred constraints speak, as a commit would."""
        self.session.flush()
        self.session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        self.session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
