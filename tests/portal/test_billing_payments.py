"""Registering payments: what the form says before is what happens, and what cannot be is refused with a line."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry, BillingSettings
from tests.portal.billing_isp import (
    bill,
    billed_line,
    cut_off,
    invoices_of,
    pay,
    payments_of,
    service_of,
    start_billing,
    today,
)
from tests.portal.conftest import make_isp, post


@pytest.fixture
def methods(system, isp) -> dict[str, int]:
    return start_billing(system, isp)


@pytest.fixture
def ana(system, installation, isp, methods) -> tuple[int, int]:
    """A subscriber with two invoices, who was cut."""
    made = billed_line(system, installation, isp, "Ana Peña", 45)
    assert bill(system, isp) == 2
    cut_off(system, isp, made[1])
    return made


def typed(methods, **values: object) -> dict[str, object]:
    fields = {
        "amount": "600", "method_id": methods["Cash"], "paid_on": today().isoformat(), "reference": "",
        "collector_id": "", "note": "", "currency": "MXN",
    }  # fmt: skip
    return {**fields, **values}


def agreed(page: str) -> str:
    return re.search(r'name="agreed"[^>]*value="([0-9a-f]{32})"', page).group(1)


def text_of(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_form_says_what_the_payment_does_and_then_it_does_that(system, isp, sign_in, ana, methods):
    subscriber_id, service_id = ana
    browser = sign_in("finance")
    first, second = (str(invoice.number) for invoice in invoices_of(system, subscriber_id))
    page = browser.get(f"/payments/new/{subscriber_id}").text
    said = text_of(page)
    assert "Ana Peña owes $600.00." in said
    assert f"Pays invoices {first}, {second}" in said
    assert "Restores ana.peña at once" in said
    cut, until = re.search(
        r"Next cut-off of ana.peña: (\w+ \d+, \d{4}), 12:00.AM \(paid until ([^)]+)\)", said
    ).groups()
    days = [datetime.strptime(day, "%b %d, %Y").date() for day in (cut, until)]
    assert days[0] - days[1] == timedelta(days=1)  # without days of grace
    answer = post(browser, f"/payments/new/{subscriber_id}", agreed=agreed(page), **typed(methods))
    assert answer.status_code == 302, answer.text
    assert service_of(system, service_id).state == "active"
    assert [invoice.open for invoice in invoices_of(system, subscriber_id)] == [0, 0]
    receipt = text_of(browser.get(answer.location).text)
    assert "$600.00" in receipt
    assert f"Paid until {until}" in receipt
    with Session(system) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "payment.register")).all()[-1]
    assert entry.actor == isp.staff["finance"]


def test_nothing_is_saved_before_the_effects_were_seen(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    answer = post(browser, f"/payments/new/{ana[0]}", agreed="", **typed(methods, amount="300"))
    assert answer.status_code == 200
    assert "Pays invoice 1" in text_of(answer.text)
    assert payments_of(system, ana[0]) == []
    answer = post(browser, f"/payments/new/{ana[0]}", agreed=agreed(answer.text), **typed(methods, amount="300"))
    assert answer.status_code == 302
    assert service_of(system, ana[1]).state == "suspended"  # February is still open


def test_the_effects_are_told_while_somebody_types(sign_in, ana, methods):
    browser = sign_in("finance")
    answer = post(browser, f"/payments/new/{ana[0]}/effects", **typed(methods, amount="1,000"))
    assert "Leaves $400.00 of credit" in text_of(answer.text)
    answer = post(browser, f"/payments/new/{ana[0]}/effects", **typed(methods, amount="1.000,5"))
    assert "which sign separates the decimals" in text_of(answer.text)


def test_a_payment_that_would_do_something_else_by_now_is_shown_again(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    page = browser.get(f"/payments/new/{ana[0]}").text
    pay(system, isp, ana[0], methods["Transfer"], "600", reference="T-1")  # another cashier was quicker
    answer = post(browser, f"/payments/new/{ana[0]}", agreed=agreed(page), **typed(methods))
    assert answer.status_code == 409
    assert "it would do something else now" in answer.text
    assert len(payments_of(system, ana[0])) == 1


def test_a_double_click_registers_one_payment(system, isp, sign_in, ana, methods):
    browsers = [sign_in("finance") for _ in range(4)]
    given = agreed(browsers[0].get(f"/payments/new/{ana[0]}").text)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda one: post(one, f"/payments/new/{ana[0]}", agreed=given, **typed(methods)).status_code, browsers
            )
        )
    assert sorted(answers) == [302, 409, 409, 409]
    assert [payment.amount for payment in payments_of(system, ana[0])] == [Decimal(600)]


def test_what_looks_like_the_same_payment_is_warned_about(system, isp, sign_in, ana, methods):
    pay(system, isp, ana[0], methods["Cash"], "100")
    receipt = payments_of(system, ana[0])[0].number
    answer = post(sign_in("finance"), f"/payments/new/{ana[0]}", agreed="", **typed(methods, amount="100"))
    assert f"This looks like receipt {receipt}." in text_of(answer.text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"amount": "-5"}, "must be above zero. To give money back, refund or void", id="negative"),
        pytest.param({"amount": "0"}, "The amount must be above zero.", id="zero"),
        pytest.param({"amount": ""}, "Enter an amount.", id="nothing"),
        pytest.param({"amount": "99999999999"}, "more than anybody pays", id="huge"),
        pytest.param({"amount": "1.234,56"}, "which sign separates the decimals", id="separators of elsewhere"),
        pytest.param({"amount": "10.005"}, "does not have that many decimals", id="too precise"),
        pytest.param({"amount": "cien"}, "not an amount of money", id="words"),
        pytest.param({"amount": "NaN"}, "not an amount of money", id="not a number"),
        pytest.param({"paid_on": (today() + timedelta(days=1)).isoformat()}, "This day is still to come.", id="future"),
        pytest.param({"paid_on": "2001-01-01"}, "too long ago", id="long ago"),
        pytest.param({"paid_on": "yesterday"}, "Enter a date", id="no date"),
        pytest.param({"currency": "USD"}, "The amount must be in MXN.", id="wrong currency"),
        pytest.param({"method_id": "999999999"}, "Not a valid choice", id="unknown method"),
        pytest.param({"reference": "x" * 101}, "too long", id="long reference"),
    ],
)
def test_what_cannot_be_is_refused_with_a_clear_line(system, isp, sign_in, ana, methods, wrong, said):
    answer = post(sign_in("finance"), f"/payments/new/{ana[0]}", agreed="", **typed(methods, **wrong))
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert payments_of(system, ana[0]) == []


def test_amounts_are_read_as_people_write_them_where_the_operator_is(system, sign_in, ana, methods):
    browser = sign_in("finance")
    answer = post(browser, f"/payments/new/{ana[0]}", agreed="", **typed(methods, amount="$ 1,234.56"))
    post(browser, f"/payments/new/{ana[0]}", agreed=agreed(answer.text), **typed(methods, amount="$ 1,234.56"))
    assert [payment.amount for payment in payments_of(system, ana[0])] == [Decimal("1234.56")]


def test_a_transfer_needs_its_reference(sign_in, ana, methods):
    answer = post(
        sign_in("finance"), f"/payments/new/{ana[0]}", agreed="", **typed(methods, method_id=methods["Transfer"])
    )
    assert answer.status_code == 422
    assert 'id="reference-error"' in answer.text


def test_cash_needs_an_open_desk_where_that_is_the_rule(system, isp, sign_in, ana, methods):
    with Session(system) as session:
        session.get_one(BillingSettings, isp.operator_id).require_cash_desk = True
        session.commit()
    answer = post(sign_in("finance"), f"/payments/new/{ana[0]}", agreed="", **typed(methods))
    assert answer.status_code == 422
    assert "Your cash desk is closed. Open it before you take cash." in text_of(answer.text)


def test_a_void_opens_again_what_was_paid_and_says_why(system, isp, sign_in, ana, methods):
    payment_id = pay(system, isp, ana[0], methods["Cash"], "600")
    browser = sign_in("finance")
    answer = post(browser, f"/payments/{payment_id}/void", **{"void-reason": ""})
    assert answer.status_code == 422
    answer = post(browser, f"/payments/{payment_id}/void", **{"void-reason": "cheque bounced"})
    assert answer.status_code == 302
    assert [invoice.open for invoice in invoices_of(system, ana[0])] == [300, 300]
    assert "cheque bounced" in browser.get(f"/payments/{payment_id}").text
    again = post(browser, f"/payments/{payment_id}/void", **{"void-reason": "twice"})
    assert "This was done already." in again.text


def test_a_refund_is_at_most_what_was_paid(system, isp, sign_in, ana, methods):
    payment_id = pay(system, isp, ana[0], methods["Cash"], "600")
    browser = sign_in("finance")
    fields = {"refund-amount": "601", "refund-reason": "moved away"}
    answer = post(browser, f"/payments/{payment_id}/refund", **fields)
    assert "At most 600.00 is possible here." in text_of(answer.text)
    answer = post(browser, f"/payments/{payment_id}/refund", **{**fields, "refund-amount": "100"})
    assert answer.status_code == 302
    assert [invoice.open for invoice in invoices_of(system, ana[0])] == [0, 100]
    statement = text_of(browser.get(f"/subscribers/{ana[0]}/billing/").text)
    assert "moved away" in statement


def test_the_list_is_searched_filtered_and_exported(system, isp, sign_in, ana, methods):
    pay(system, isp, ana[0], methods["Transfer"], "200", reference="SPEI-77")
    voided = pay(system, isp, ana[0], methods["Cash"], "50")
    browser = sign_in("finance")
    post(browser, f"/payments/{voided}/void", **{"void-reason": "test"})
    assert "SPEI-77" in browser.get("/payments/?q=spei-77").text
    assert "SPEI-77" in browser.get("/payments/?q=Peña").text
    assert "SPEI-77" not in browser.get("/payments/?state=voided").text
    assert "SPEI-77" not in browser.get(f"/payments/?method={methods['Cash']}").text
    rows = browser.get(f"/payments/?format=csv&month={today():%Y-%m}").text.splitlines()
    assert len(rows) == 3
    assert ",200.0000,MXN," in rows[1] + rows[2]


def test_only_finance_and_managers_take_money(system, isp, sign_in, ana, methods):
    for role in ("sales", "support", "technical"):
        browser = sign_in(role)
        assert browser.get(f"/payments/new/{ana[0]}").status_code == 403
        assert post(browser, f"/payments/new/{ana[0]}", **typed(methods)).status_code == 403
    assert sign_in("technical").get("/payments/").status_code == 403
    assert sign_in("support").get("/payments/").status_code == 200


def test_nobody_sees_or_pays_for_another_operators_subscribers(system, installation, isp, sign_in, ana, methods):
    stranger = make_isp(system, installation)
    start_billing(system, stranger)
    payment_id = pay(system, isp, ana[0], methods["Cash"], "100")
    browser = sign_in("manager", stranger)
    assert browser.get(f"/payments/new/{ana[0]}").status_code == 404
    assert browser.get(f"/payments/{payment_id}").status_code == 404
    assert post(browser, f"/payments/{payment_id}/void", **{"void-reason": "x"}).status_code == 404
    assert browser.get(f"/subscribers/{ana[0]}/billing/").status_code == 404


def test_search_leads_to_the_payment_in_two_strokes(sign_in, ana):
    found = sign_in("finance").get("/search/suggest?q=Ana+Pe").text
    assert f'data-pay="/payments/new/{ana[0]}"' in found
    assert "data-pay" not in sign_in("support").get("/search/suggest?q=Ana+Pe").text


def test_where_billing_is_off_the_pages_say_what_to_do(system, installation, sign_in):
    stranger = make_isp(system, installation)
    subscriber_id, _service = billed_line(system, installation, stranger, "Luis", 10)
    browser = sign_in("manager", stranger)
    assert "Billing is not in use" in browser.get(f"/payments/new/{subscriber_id}").text
    assert f"/subscribers/{subscriber_id}/billing/" not in browser.get(f"/subscribers/{subscriber_id}").text
