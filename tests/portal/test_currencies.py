"""Currencies beside the one of the books, on the pages of finance."""

import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from pypdf import PdfReader
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.ledger import broken_entries, discrepancies
from billing.run import run_billing
from core.clock import utc_now
from crm.currencies import NewRate, enter_rates, switch_on
from db.audit import Actor
from db.models import ExchangeRate, RatePlan, Service
from db.session import make_sessions
from tests.portal.api.conftest import Program, make_token
from tests.portal.billing_isp import bill, billed_line, invoices_of, payments_of, start_billing, today
from tests.portal.conftest import post
from tests.portal.test_billing_desk import take
from tests.portal.test_billing_payments import agreed, text_of, typed
from tests.portal.test_plans import FORM

DOLLARS = {"currency": "USD", "change": ""}


@pytest.fixture
def methods(system, isp) -> dict[str, int]:
    return start_billing(system, isp)


@pytest.fixture
def ana(system, installation, isp, methods) -> int:
    subscriber_id, _service = billed_line(system, installation, isp, "Ana Peña", 3)
    bill(system, isp)
    return subscriber_id


def take_dollars(system, isp, day) -> None:
    with Session(system) as session:
        actor = Actor(isp.operator_id, "test")
        switch_on(session, actor, "USD")
        enter_rates(session, actor, [NewRate("USD", day, Decimal("17.25"))], day)
        session.commit()


@pytest.fixture
def dollars(system, isp, methods) -> None:
    take_dollars(system, isp, today())


def rates_of(system, isp) -> list[str]:
    with Session(system) as session:
        query = select(ExchangeRate.rate).where(ExchangeRate.operator_id == isp.operator_id).order_by(ExchangeRate.id)
        return [f"{rate.normalize():f}" for rate in session.scalars(query)]


def test_without_another_currency_no_page_of_money_has_a_word_of_one(sign_in, ana, methods):
    browser = sign_in("finance")
    post(browser, "/desk/open", opening="0")
    for page in (f"/payments/new/{ana}", "/desk/", "/reports/accounts/", "/collectors/"):
        said = browser.get(page).text
        assert 'name="currency" value="MXN"' in said or 'name="currency"' not in said, page
        for word in ("change", "foreign-", "counted-", "opening-", "exchange_difference", "foreign_cash"):
            assert not re.search(rf'name="{word}|code-{word}', said), (page, word)
        assert "Cash of other currencies" not in said


def test_a_currency_is_switched_on_and_a_rate_that_jumps_is_asked_about(system, isp, sign_in, methods):
    browser = sign_in("finance")
    assert post(browser, "/settings/currencies/", currency="MXN").status_code == 422
    assert post(browser, "/settings/currencies/", currency="USD").status_code == 302
    assert "There is no rate yet" in browser.get("/settings/currencies/").text
    typed_in = {"currency": "USD", "day": today().isoformat()}
    for wrong, said in (("x", "This is not an exchange rate."), ("0", "above zero"), ("", "This is needed.")):
        answer = post(browser, "/settings/currencies/rates", rate=wrong, **typed_in)
        assert answer.status_code == 422
        assert said in answer.text
    assert post(browser, "/settings/currencies/rates", rate="17.25", **typed_in).status_code == 302
    assert "1 USD = 17.2500 MXN" in browser.get("/settings/currencies/").text
    asked = post(browser, "/settings/currencies/rates", rate="0.058", **typed_in)
    assert asked.status_code == 409
    assert "1 USD = 0.0580 MXN, where it was 1 USD = 17.2500 MXN (-99.7 %)" in text_of(asked.text)
    sure = re.search(r'name="sure" value="([^"]+)"', asked.text).group(1)
    other = post(browser, "/settings/currencies/rates", rate="0.0058", sure=sure, **typed_in)
    assert other.status_code == 409  # what was confirmed is another number
    assert rates_of(system, isp) == ["17.25"]
    assert post(browser, "/settings/currencies/rates", rate="19", sure="19", **typed_in).status_code == 302
    assert rates_of(system, isp) == ["17.25", "19"]


def test_a_file_of_rates_is_shown_before_it_is_saved(system, isp, sign_in, dollars):
    browser = sign_in("finance")
    content = f"date,currency,rate\n{today()},USD,17.30\n".encode()
    page = post(browser, "/settings/currencies/file", file=(io.BytesIO(content), "rates.csv"), content="", sure="")
    assert "1 USD = 17.3000 MXN" in text_of(page.text)
    assert rates_of(system, isp) == ["17.25"]
    bad = post(browser, "/settings/currencies/file", content=f"{today()},USD,17.30\nyesterday,USD,17\n", sure="yes")
    assert "Line 2 cannot be read." in bad.text
    saved = post(browser, "/settings/currencies/file", content=content.decode(), sure="yes")
    assert saved.status_code == 302
    assert rates_of(system, isp) == ["17.25", "17.3"]


def test_dollars_are_taken_shown_refunded_counted_and_printed(system, isp, sign_in, ana, methods, dollars):
    browser = sign_in("finance")
    post(browser, "/desk/open", **{"opening": "500", "opening-USD": "0"})
    shown = post(browser, f"/payments/new/{ana}", agreed="", **typed(methods, amount="20", currency="USD", change="45"))
    said = text_of(shown.text)
    assert "20.00 USD are $345.00: 1 USD = 17.2500 MXN, the rate of" in said
    assert "$45.00 of it are given back as change, $300.00 are paid" in said
    page = browser.get(take(browser, ana, methods, amount="20", currency="USD", change="45"))
    (payment,) = payments_of(system, ana)
    assert (payment.amount, payment.foreign_amount, payment.change_given) == (300, 20, 45)
    for part in ("$300.00", "Came in 20.00 USD", "1 USD = 17.2500 MXN", "Change given back $45.00"):
        assert part in text_of(page.text), part
    pdf = browser.get(f"/documents/receipts/{payment.id}?language=es&paper=ticket")
    roll = " ".join(" ".join(each.extract_text() for each in PdfReader(io.BytesIO(pdf.data)).pages).split())
    for part in ("20.00 USD", "1 USD = 17.2500 MXN", "$45.00", "$300.00"):
        assert part in roll.replace("\u00a0", " "), part
    refused = post(browser, f"/payments/{payment.id}/refund", **{"refund-amount": "18", "refund-reason": "x"})
    assert "At most 17.39 USD is possible here." in refused.text
    post(browser, f"/payments/{payment.id}/refund", **{"refund-amount": "2", "refund-reason": "x"})
    foreign = {"kind": "exchange", "amount": "10", "currency": "USD", "got": "170", "into": "till",
               "collector_id": "", "description": "Banorte"}  # fmt: skip
    booked = post(browser, "/desk/foreign", **{f"foreign-{name}": value for name, value in foreign.items()})
    assert booked.status_code == 302, text_of(booked.text)
    assert post(browser, "/desk/close", **{"close-counted": "625", "close-note": ""}).status_code == 422
    closed = post(browser, "/desk/close", **{"close-counted": "625", "close-note": "", "counted-USD": "7"})
    report = text_of(browser.get(closed.location + "?paper=80").text)
    for part in ("Change given back for other currencies -$45.00", "Expected $625.00", "Difference $0.00",
                 "USD Opening 0.00 USD", "Payments in cash (1) 20.00 USD", "Refunds -2.00 USD",
                 "Other movements -10.00 USD", "Expected 8.00 USD", "Counted 7.00 USD",
                 "Difference -1.00 USD"):  # fmt: skip
        assert part in report, part
    with Session(system) as session:
        assert broken_entries(session, isp.operator_id) == []
        assert discrepancies(session, isp.operator_id) == []


def test_what_was_shown_at_one_rate_is_not_saved_at_another(system, isp, sign_in, ana, methods, dollars):
    browser = sign_in("finance")
    fields = typed(methods, amount="10", **DOLLARS)
    seen = agreed(post(browser, f"/payments/new/{ana}", agreed="", **fields).text)
    typed_in = {"currency": "USD", "day": today().isoformat(), "rate": "17.40"}
    assert post(browser, "/settings/currencies/rates", **typed_in).status_code == 302
    again = post(browser, f"/payments/new/{ana}", agreed=seen, **fields)
    assert again.status_code == 409
    assert "10.00 USD are $174.00" in text_of(again.text)
    assert payments_of(system, ana) == []


def test_a_plan_in_dollars_is_entered_and_its_invoices_wait_without_a_rate(system, installation, isp, sign_in, methods):
    take_dollars(system, isp, today() - timedelta(days=8))
    browser = sign_in("manager")
    form = browser.get("/plans/new").text
    assert re.search(r'<option[^>]*value="USD"', form)
    given = {**FORM, "name": "Border 20", "price": "20", "price_currency": "USD"}
    made = post(browser, "/plans/new", **given)
    assert made.status_code == 302, text_of(made.text)
    page = text_of(browser.get(made.location).text)
    assert "20.00 USD" in page
    assert "$345.00" in page
    with Session(system) as session:
        plan = session.scalars(select(RatePlan).where(RatePlan.name == "Border 20")).one()
        assert (plan.price, plan.price_currency) == (20, "USD")
        pesos, border = session.get_one(RatePlan, isp.plan_id), plan.id
        assert pesos.price == 300
        for path, dear_first in (("/plans/?sort=price", False), ("/plans/?sort=-price", True), ("/sales/plans", False)):
            listed = browser.get(path).text
            assert (listed.index("Border 20") < listed.index(pesos.name)) == dear_first, path
        pesos.price_currency = "USD"
        session.commit()
    subscriber_id, service = billed_line(system, installation, isp, "Luz", 0)
    run = run_billing(make_sessions(system), isp.operator_id, utc_now())
    assert (run.invoices, run.waiting) == (0, 1)
    changed = post(browser, f"/services/{service}/plan", plan_id=str(border))
    assert "The last exchange rate of USD is of" in text_of(browser.get(changed.location).text)
    with Session(system) as session:
        assert session.get_one(Service, service).plan_id == isp.plan_id
    assert "1 invoice waits for a rate" in text_of(sign_in("finance").get("/").text)
    typed_in = {"currency": "USD", "day": today().isoformat(), "rate": "17.40"}
    assert post(sign_in("finance"), "/settings/currencies/rates", **typed_in).status_code == 302
    again = run_billing(make_sessions(system), isp.operator_id, utc_now())
    assert (again.invoices, again.waiting) == (1, 0)
    (invoice,) = invoices_of(system, subscriber_id)
    shown = text_of(browser.get(f"/invoices/{invoice.id}").text).replace("\u00a0", " ")
    assert "300.00 USD, 1 USD = 17.4000 MXN" in shown
    assert "$5,220.00" in shown


def test_a_program_registers_dollars_and_gives_them_back(system, isp, installation, app, ana, methods, dollars):
    erp = Program(app, make_token(system, installation, isp)[1])
    given = {
        "subscriber_id": ana,
        "method_id": methods["Cash"],
        "amount": {"value": "20.00", "currency": "USD"},
        "change": {"value": "45.00", "currency": "MXN"},
    }
    paid = erp.post("/payments", given, Idempotency_Key="usd-1")
    assert paid.status_code == 201, paid.text
    shown = {name: paid.json[name] for name in ("amount", "came_in", "exchange_rate", "change_given")}
    assert shown == {
        "amount": {"value": "300.00", "currency": "MXN"},
        "came_in": {"value": "20.00", "currency": "USD"},
        "exchange_rate": "17.25",
        "change_given": {"value": "45.00", "currency": "MXN"},
    }
    euros = {**given, "amount": {"value": "20.00", "currency": "EUR"}}
    assert erp.post("/payments", euros, Idempotency_Key="eur-1").json["errors"][0]["rule"] == "wrong_currency"
    at = f"/payments/{paid.json['id']}/refunds"
    pesos = {"amount": {"value": "2.00", "currency": "MXN"}, "reason": "x"}
    assert erp.post(at, pesos, Idempotency_Key="r-1").json["errors"][0]["rule"] == "wrong_currency"
    back = erp.post(at, {**pesos, "amount": {"value": "2.00", "currency": "USD"}}, Idempotency_Key="r-2")
    assert back.status_code == 201, back.text
    assert (back.json["amount"]["value"], back.json["given"]) == ("34.50", {"value": "2.00", "currency": "USD"})
