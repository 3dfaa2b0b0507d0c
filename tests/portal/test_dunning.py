"""The pages of dunning: tonight, by hand, messages, what does not match, and the ladder, as staff of each role."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import unquote

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.dunning import run_dunning
from core.clock import utc_now
from db.audit import Actor
from db.models import (
    BillingSettings,
    DunningDone,
    DunningStep,
    Invoice,
    Notification,
    Operator,
    PaymentMethod,
    RatePlan,
    Service,
)
from db.session import make_sessions
from tests.billing.isp import ZONE, BillingIsp
from tests.portal.conftest import add_service, add_subscriber, post
from tests.portal.online import enter_accounts

LADDER = {
    "enabled": "y",
    "send_hour": "0",
    "terminate_months": "3",
    "alert_address": "boss@isp.example",
    "cut_off_hour": "10",
    "weekdays": ["1", "2", "3", "4", "5"],
    "country": "MX",
    "subdivision": "",
    "days_off": "2027-04-30\n2027-05-03",
}


@pytest.fixture
def today():
    return utc_now().astimezone(ZONE).date()


@pytest.fixture
def owing(system, installation, isp, today):
    """A service that began so many days ago and owes since then, cut as the operator says."""

    def make(name, days=3, **values):
        subscriber = add_subscriber(system, isp, f"Ana {name}", email="ana@example.com", phone="+52 55 1234 5678")
        began = datetime.combine(today - timedelta(days=days), datetime.min.time(), ZONE).astimezone(UTC)
        service = add_service(system, installation, isp, subscriber, name, activated_at=began, **values)
        with Session(system, expire_on_commit=False) as session:
            if session.get(BillingSettings, isp.operator_id) is None:
                session.get_one(RatePlan, isp.plan_id).price = Decimal(300)
                settings = {"cut_off": "anchor", "first_due_days": 0, "starts_on": today - timedelta(days=60)}
                session.add(BillingSettings(operator_id=isp.operator_id, enabled=True, **settings))
                session.add(PaymentMethod(operator_id=isp.operator_id, name="Cash", account="cash"))
                session.flush()
            BillingIsp(session, isp.operator_id, Actor(isp.operator_id, "test"), 0).run(today)
            session.commit()
        return service, subscriber

    return make


def stored(system, service_id) -> Service:
    with Session(system) as session:
        return session.get_one(Service, service_id)


def test_who_is_cut_tonight_stands_on_the_page_with_what_is_owed(system, isp, sign_in, owing):
    owing("today", days=0)
    owing("next-week", days=0, paid_until=None)
    browser = sign_in("finance")
    page = browser.get("/billing/dunning/").text
    assert "Ana today" in page
    assert "$600.00" in page or "$600.00" in page  # the sum of both
    assert "$300.00" in page or "$300.00" in page


def test_a_hold_takes_a_service_off_tonights_list_and_is_audited(system, isp, sign_in, owing, today):
    service, _ = owing("held", days=0)
    browser = sign_in("finance")
    until = today + timedelta(days=5)
    answer = post(browser, f"/billing/dunning/hold/{service}", until=until.isoformat(), reason="pays on Friday")
    assert answer.status_code == 302
    assert stored(system, service).held_until == until
    assert "Nobody" in browser.get("/billing/dunning/").text
    assert "Held from dunning" in sign_in("manager").get("/audit/").text
    late = (today + timedelta(days=400)).isoformat()
    assert post(browser, f"/billing/dunning/hold/{service}", until=late).status_code == 422


def test_a_hold_brings_back_who_was_cut(system, isp, sign_in, owing, today):
    service, _ = owing("cut", state="suspended", suspended_at=utc_now(), suspension_cause="overdue")
    answer = post(sign_in("finance"), f"/billing/dunning/hold/{service}", until=today.isoformat())
    assert answer.status_code == 302
    assert stored(system, service).state == "active"


def test_a_service_managed_by_hand_waits_for_a_hand(system, isp, sign_in, owing):
    service, _ = owing("by-hand", management="manual")
    browser = sign_in("finance")
    assert "Ana by-hand" in browser.get("/billing/dunning/by-hand").text
    assert post(browser, f"/billing/dunning/by-hand/services/{service}/suspend").status_code == 302
    found = stored(system, service)
    assert (found.state, found.suspension_cause) == ("suspended", "overdue")
    assert "Ana by-hand" not in browser.get("/billing/dunning/by-hand").text
    assert post(sign_in("sales"), f"/billing/dunning/by-hand/services/{service}/restore").status_code == 403


def pass_ladder(system, installation, isp):
    return run_dunning(make_sessions(system), installation.keyring, isp.operator_id, utc_now(),
                       public_url=installation.public_url)  # fmt: skip


def test_the_ladder_is_set_a_reminder_goes_out_and_its_way_is_seen(system, installation, isp, sign_in, owing):
    _, subscriber = owing("late", days=2)
    browser = sign_in("finance")
    assert browser.get("/billing/dunning/ladder").status_code == 200
    assert post(browser, "/billing/dunning/ladder", **LADDER).status_code == 302
    with Session(system) as session:
        operator = session.get_one(Operator, isp.operator_id)
        assert (operator.cut_off_hour, operator.cut_off_weekdays) == (10, [1, 2, 3, 4, 5])
        assert (operator.holiday_country, len(operator.days_off)) == ("MX", 2)
        steps = session.scalars(select(DunningStep).where(DunningStep.operator_id == isp.operator_id)).all()
        assert sorted(step.days for step in steps) == [-3, 0, 2]
        after = next(step.id for step in steps if step.days == 2)
    address = f"/billing/dunning/ladder/steps/{after}/en"
    assert "{amount}" in browser.get(address).text
    refused = post(browser, address, subject="Hi", body="{nme}, pay")
    assert refused.status_code == 422
    assert "{nme} is none of the variables" in refused.text
    assert post(browser, address, subject="Pay {invoice}", body="{name} owes {amount}\n\n{pay}").status_code == 302
    enter_accounts(system, installation, isp)
    assert post(browser, "/billing/dunning/ladder/steps", days="2", channel="whatsapp").status_code == 302
    assert post(browser, "/billing/dunning/ladder/steps", days="2", channel="whatsapp").status_code == 422
    done = pass_ladder(system, installation, isp)
    assert (done.sent, done.listed) == (1, 1)
    with Session(system) as session:
        sent = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).one()
        assert sent.body.startswith("Ana late owes ")
    link = re.search(rf"{installation.public_url}(/pay/\S+)", sent.body)[1]
    page = browser.get(link).text
    assert ("Ana late" in page, "Pay with" in page) == (True, True), "the reminder leads to where it is paid"
    log = browser.get(f"/billing/dunning/messages?subscriber={subscriber}").text
    assert "Pay 1" in log
    assert "Waiting" in log
    hand = browser.get("/billing/dunning/by-hand").text
    assert "https://wa.me/525512345678?text=" in hand
    assert link in unquote(hand)
    with Session(system) as session:
        invoice = session.scalars(select(Invoice.id).where(Invoice.operator_id == isp.operator_id)).one()
    assert post(browser, f"/billing/dunning/by-hand/messages/{invoice}", stage="2 whatsapp").status_code == 302
    with Session(system) as session:
        assert session.get_one(DunningDone, (invoice, "2 whatsapp")).outcome == "done"
    assert post(browser, f"/billing/dunning/ladder/steps/{after}/remove").status_code == 302


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cut_off_hour", "24"),
        ("send_hour", "-1"),
        ("terminate_months", "0"),
        ("country", "XX"),
        ("subdivision", "NOWHERE"),
        ("days_off", "tomorrow"),
        ("alert_address", "nobody"),
        ("weekdays", []),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(isp, sign_in, field, value):
    answer = post(sign_in("finance"), "/billing/dunning/ladder", **{**LADDER, field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text


def test_paid_but_off_and_unpaid_but_on_are_listed_with_their_money_and_told(
    system, installation, isp, sign_in, owing, today
):
    browser = sign_in("finance")
    late, _ = owing("on-though-late")
    paid, _ = owing("off-though-paid", state="suspended", suspended_at=utc_now(), suspension_cause="overdue")
    with Session(system) as session:
        session.get_one(Service, paid).paid_until = today + timedelta(days=20)
        session.commit()
    page = browser.get("/billing/dunning/disagreement").text
    assert "Paid but off: " in page
    assert "Ana off-though-paid" in page
    assert "Ana on-though-late" in page
    post(
        browser,
        "/billing/dunning/ladder",
        **{**LADDER, "cut_off_hour": "0", "weekdays": list("1234567"), "country": ""},
    )
    from billing.dunning_lists import alert

    with Session(system) as session:
        assert alert(session, installation.keyring, isp.operator_id, utc_now())
        assert not alert(session, installation.keyring, isp.operator_id, utc_now())
        (told,) = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id))
        assert told.shown_address == "boss@isp.example"
        assert "Paid but off: 1" in told.body
        assert "Unpaid but on: 1" in told.body
        session.rollback()
    with Session(system) as session:
        for service_id, state in ((late, "suspended"), (paid, "active")):
            service = session.get_one(Service, service_id)
            service.state = state
            service.suspended_at, service.suspension_cause = (
                (utc_now(), "overdue") if service_id == late else (None, None)
            )
        session.commit()
    assert "Books and network agree" in browser.get("/billing/dunning/disagreement").text


def test_another_operators_rows_are_not_there(system, installation, isp, sign_in, owing):
    from tests.portal.conftest import make_isp

    service, _ = owing("mine")
    stranger = make_isp(system, installation)
    browser = sign_in("finance", stranger)
    assert "Ana mine" not in browser.get("/billing/dunning/").text
    assert post(browser, f"/billing/dunning/hold/{service}", until="").status_code == 404
