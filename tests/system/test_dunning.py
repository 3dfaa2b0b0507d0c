"""Who does not pay loses service on the operator's days, and has it back within two seconds of paying."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from core.clock import utc_now
from db.audit import Actor
from db.models import BillingSettings, PaymentMethod, RatePlan, Service
from db.session import make_engine
from radius.lifecycle import suspend_overdue
from tests.billing.isp import ZONE, BillingIsp
from tests.system.conftest import Controller, wait_until


def test_a_payment_puts_who_was_cut_back_on_line_within_two_seconds(controller: Controller):
    isp, now = controller.isp, utc_now()
    isp.update("operator", isp.operator_id, timezone=ZONE.key)
    today = now.astimezone(ZONE).date()
    began = datetime.combine(today - timedelta(days=3), datetime.min.time(), ZONE).astimezone(UTC)
    service_id = isp.service("moroso", "x", activated_at=began)
    engine = make_engine(controller.settings.database_url.get_secret_value())
    with Session(engine) as session:
        service = session.get_one(Service, service_id)
        session.get_one(RatePlan, service.plan_id).price = Decimal(300)
        settings = {"cut_off": "anchor", "first_due_days": 0, "starts_on": today - timedelta(days=30)}
        session.add(BillingSettings(operator_id=isp.operator_id, enabled=True, **settings))
        cash = PaymentMethod(operator_id=isp.operator_id, name="Cash", account="cash")
        session.add(cash)
        session.flush()
        books = BillingIsp(session, isp.operator_id, Actor(isp.operator_id, "test"), cash.id)
        books.run(today)
        session.commit()
        controller.settle()
        assert controller.client.login("moroso", "x")["Mikrotik-Address-List"] == "portico-suspended"
        assert suspend_overdue(isp.connection, now) == 1

        session.expire_all()
        began_paying = time.monotonic()
        registered = books.pay(service.subscriber_id, "300", today, utc_now())
        session.commit()
        assert [each.restored for each in registered.effects.services] == [True]
        wait_until(
            lambda: controller.client.login("moroso", "x")["Mikrotik-Address-List"] == "portico-active",
            2 - (time.monotonic() - began_paying),
            "the service to be back",
        )
    engine.dispose()


def test_nobody_is_turned_away_on_a_day_on_which_the_operator_does_not_cut(controller: Controller):
    isp, here = controller.isp, datetime.now(ZONE)
    isp.update("operator", isp.operator_id, timezone=ZONE.key)
    isp.service("hasta-ayer", "x", paid_until=here.date() - timedelta(days=1))
    for off, expected in ((here.isoweekday(), "portico-active"), (None, "portico-suspended")):
        days = [day for day in range(1, 8) if day != off]
        isp.update("operator", isp.operator_id, cut_off_weekdays=days)
        controller.settle()
        assert controller.client.login("hasta-ayer", "x")["Mikrotik-Address-List"] == expected
