import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import Charge, RatePlan
from tests.portal.billing_isp import bill, billed_line, invoices_of, service_of, start_billing
from tests.portal.conftest import add_service, add_subscriber, make_isp, post

OFFER = {"boost_download": 60_000_000, "boost_upload": 20_000_000, "boost_hours": 24, "boost_price": 50}


def offer(system, isp, **values: object) -> None:
    with Session(system) as session:
        plan = session.get_one(RatePlan, isp.plan_id)
        for name, value in {**OFFER, **values}.items():
            setattr(plan, name, value)
        session.commit()


def seen_on(browser, service_id: int) -> str:
    """Return what the form of the boost carries."""
    return unescape(re.search(r'name="seen" value="([^"]*)"', browser.get(f"/services/{service_id}/boost/").text)[1])


@pytest.fixture
def ana(system, installation, isp) -> tuple[int, int]:
    start_billing(system, isp)
    offer(system, isp)
    return billed_line(system, installation, isp, "Ana Peña", 0)


def test_a_boost_makes_faster_for_its_hours_and_is_charged_once(system, isp, ana, sign_in):
    browser = sign_in("support")
    url = f"/services/{ana[1]}/boost/"
    page = browser.get(url).text
    assert "60\u00a0Mbit/s / 20\u00a0Mbit/s" in page
    assert "on the next invoice, once" in page
    seen = seen_on(browser, ana[1])
    for _click in range(2):
        post(browser, url, seen=seen)
    service = service_of(system, ana[1])
    assert (service.boost_download, service.boost_upload) == (60_000_000, 20_000_000)
    assert timedelta(hours=23) < service.boost_until - utc_now() <= timedelta(hours=24)
    assert "Boosted until" in browser.get(f"/subscribers/{ana[0]}").text
    assert bill(system, isp) == 1
    assert [invoice.total for invoice in invoices_of(system, ana[0])] == [350]


def test_another_boost_begins_where_the_first_ends_up_to_a_month(system, isp, ana, sign_in):
    browser = sign_in("support")
    for _day in range(31):
        post(browser, f"/services/{ana[1]}/boost/", seen=seen_on(browser, ana[1]))
    until = service_of(system, ana[1]).boost_until
    assert timedelta(days=29) < until - utc_now() <= timedelta(days=31)
    offer(system, isp, boost_hours=72)
    post(browser, f"/services/{ana[1]}/boost/", seen=seen_on(browser, ana[1]))
    assert service_of(system, ana[1]).boost_until == until


def test_a_boost_is_ended_early_and_what_was_charged_stays(system, isp, ana, sign_in):
    browser = sign_in("support")
    post(browser, f"/services/{ana[1]}/boost/", seen="")
    post(browser, f"/services/{ana[1]}/boost/end")
    assert service_of(system, ana[1]).boost_until is None
    with Session(system) as session:
        assert len(session.scalars(select(Charge).where(Charge.service_id == ana[1])).all()) == 1


def test_who_does_not_bill_boosts_for_nothing(system, installation, isp, sign_in):
    offer(system, isp)
    line = add_service(system, installation, isp, add_subscriber(system, isp, "Beto"), "beto")
    browser = sign_in("support")
    assert "It is not charged" in browser.get(f"/services/{line}/boost/").text
    post(browser, f"/services/{line}/boost/", seen="")
    assert service_of(system, line).boost_until is not None


def test_a_suspended_service_or_one_without_an_offer_is_not_boosted(system, installation, isp, sign_in):
    subscriber = add_subscriber(system, isp, "Beto")
    line = add_service(system, installation, isp, subscriber, "beto")
    off = add_service(
        system,
        installation,
        isp,
        subscriber,
        "off",
        state="suspended",
        suspended_at=utc_now(),
        suspension_cause="staff",
    )
    browser = sign_in("support")
    assert "offers no boost" in browser.get(f"/services/{line}/boost/").text
    post(browser, f"/services/{line}/boost/", seen="")
    offer(system, isp)
    post(browser, f"/services/{off}/boost/", seen="")
    post(browser, f"/services/{line}/boost/", seen="yesterday")
    assert [service_of(system, one).boost_until for one in (line, off)] == [None, None]


def test_a_boost_is_offered_whole_and_faster_than_the_plan(isp, sign_in):
    browser = sign_in("technical")
    plan = {
        "name": "Home 30", "price": "300", "download": ["30", "M"], "upload": ["10", "M"], "cap_action": "nothing",
        "interim_interval": "5", "priority": "",
        "boost_download": ["20", "M"], "boost_upload": ["10", "M"], "boost_hours": "24",
    }  # fmt: skip
    refused = post(browser, "/plans/new", **plan)
    assert refused.status_code == 422
    for field in ("boost_download", "boost_price"):
        assert f'id="{field}-error"' in refused.text
    saved = post(browser, "/plans/new", **{**plan, "boost_download": ["90", "M"], "boost_price": "50"})
    assert saved.status_code == 302
    assert 'name="boost_hours"' in browser.get(f"{saved.location}/edit").text


def test_nobody_boosts_the_service_of_another_operator(system, installation, isp, ana, sign_in):
    stranger = sign_in("manager", make_isp(system, installation))
    assert stranger.get(f"/services/{ana[1]}/boost/").status_code == 404
    assert post(stranger, f"/services/{ana[1]}/boost/", seen="").status_code == 404
