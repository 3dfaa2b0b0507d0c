"""Taking a payment with the keyboard alone, in a real browser."""

from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from billing.run import run_billing
from core.clock import local_date, utc_now
from core.settings import Settings
from db.models import BillingSettings, Operator, PaymentMethod, RatePlan, Service, Subscriber
from db.session import make_engine, make_sessions
from tests.billing.isp import ZONE
from tests.browser.conftest import Site, sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def debtor(site: Site, installation: Settings) -> int:
    """A subscriber who was cut for a month that is not paid; the id of the service."""
    engine = make_engine(installation.database_url.get_secret_value())
    operator_id, now = site.controller.isp.operator_id, utc_now()
    with Session(engine) as session:
        operator = session.get_one(Operator, operator_id)
        operator.timezone, operator.currency = ZONE.key, "MXN"
        starts_on = local_date(now, ZONE) - timedelta(days=20)
        session.add(BillingSettings(operator_id=operator_id, enabled=True, starts_on=starts_on, cut_off="anchor",
                                    issue_hour=0, first_due_days=0))  # fmt: skip
        session.add(PaymentMethod(operator_id=operator_id, name="Cash", account="cash"))
        plan = RatePlan(
            operator_id=operator_id, name="Home 50", download=50_000_000, upload=10_000_000, price=Decimal(450)
        )
        subscriber = Subscriber(operator_id=operator_id, name="Xóchitl Zaragoza")
        session.add_all([plan, subscriber])
        session.flush()
        service = Service(
            operator_id=operator_id, subscriber_id=subscriber.id, plan_id=plan.id, access_method="pppoe",
            name="xochitl", activated_at=now - timedelta(days=20),
            password=installation.keyring.seal("service.password", "secret"),
        )  # fmt: skip
        session.add(service)
        session.commit()
        service_id = service.id
        assert run_billing(make_sessions(engine), operator_id, now).invoices == 1
        session.refresh(service)
        service.state, service.suspended_at, service.suspension_cause = "suspended", now, "overdue"
        session.commit()
    engine.dispose()
    return service_id


def test_a_payment_is_taken_with_the_keyboard_alone(page: Page, site: Site, debtor: int, complaints: list[str]):
    sign_in(page, site)
    page.keyboard.press("/")
    page.keyboard.type("Xóchitl")
    page.locator("#global-search-results a").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("p")
    expect(page.get_by_role("heading", name="Register payment")).to_be_visible()
    expect(page.locator("#amount")).to_be_focused()
    effects = page.locator("#effects")
    expect(effects.get_by_text("Restores xochitl at once")).to_be_visible()
    page.keyboard.press("Control+A")
    page.keyboard.type("100")
    expect(effects.get_by_text("which stays open")).to_be_visible()
    page.keyboard.press("Control+A")
    page.keyboard.type("450")
    expect(effects.get_by_text("Restores xochitl at once")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Registered as receipt 1.")).to_be_visible()
    assert site.controller.isp.fetch("SELECT state FROM service WHERE id = %s", debtor) == [("active",)]
    assert complaints == []
