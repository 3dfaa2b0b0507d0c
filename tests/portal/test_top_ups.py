from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.top_ups import buy_automatic
from core.clock import utc_now
from db.models import Charge, RatePlan, UsagePeriod
from tests.portal.billing_isp import bill, billed_line, invoices_of, service_of, start_billing
from tests.portal.conftest import post

GB = 10**9


@pytest.fixture
def ana(system, installation, isp) -> tuple[int, int]:
    start_billing(system, isp)
    with Session(system) as session:
        plan = session.get_one(RatePlan, isp.plan_id)
        plan.cap_octets, plan.cap_action = 10 * GB, "block"
        plan.top_up_octets, plan.top_up_price, plan.top_ups_automatic = 5 * GB, 50, 2
        session.commit()
    return billed_line(system, installation, isp, "Ana Peña", 0)


def test_a_top_up_is_bought_once_a_click_and_charged_on_the_next_invoice(system, isp, ana, sign_in):
    browser = sign_in("support")
    url = f"/services/{ana[1]}/top-up/"
    assert "on the next invoice, once" in browser.get(url).text
    for _click in range(2):
        post(browser, url, seen="0")
    service = service_of(system, ana[1])
    assert service.top_up_octets == 5 * GB
    assert service.top_up_until > utc_now()
    assert bill(system, isp) == 1
    assert [invoice.total for invoice in invoices_of(system, ana[0])] == [350]


def test_top_ups_are_bought_by_themselves_as_often_as_the_plan_says(system, isp, ana):
    now = utc_now()
    with Session(system) as session:
        period = UsagePeriod(
            service_id=ana[1], operator_id=isp.operator_id, period_start=now - timedelta(days=1),
            period_end=now + timedelta(days=1), octets_out=10 * GB - 1,
        )  # fmt: skip
        session.add(period)
        session.commit()
        assert buy_automatic(session, now) == 0
        bought = []
        for used in (10, 14, 15, 20, 100):
            period.octets_out = used * GB
            session.commit()
            bought.append(buy_automatic(session, now))
        assert bought == [1, 0, 1, 0, 0]
        assert service_of(system, ana[1]).top_up_octets == 10 * GB
        assert len(session.scalars(select(Charge).where(Charge.service_id == ana[1])).all()) == 2
