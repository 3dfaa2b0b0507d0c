"""The rules of billing: set, refused, changed by two people, and tried before they are decided."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import BillingSettings, DocumentSeries, PaymentMethod, TaxRate
from tests.portal.billing_isp import bill, billed_line, invoices_of, start_billing
from tests.portal.conftest import make_isp, post
from tests.portal.test_billing_payments import text_of

TYPED = {
    "enabled": "y", "starts_on": "2026-01-01", "cut_off": "operator", "timing": "advance", "months": "1",
    "first_period": "prorated", "issue_days": "5", "issue_hour": "6", "due_days": "0", "first_due_days": "5",
    "bill_suspended": "y", "late_fee_percent": "2,5", "late_fee_amount": "0", "late_fee_days": "5",
    "promise_days": "7", "promises_a_year": "3", "prepaid_notice_days": "3",
    "legal_name": "Valle Net S.A.", "version": "",
}  # fmt: skip


def stored(system, isp) -> BillingSettings | None:
    with Session(system) as session:
        return session.get(BillingSettings, isp.operator_id)


def test_a_manager_switches_billing_on_and_finds_ways_to_pay(system, isp, sign_in):
    browser = sign_in("manager")
    assert "Billing is not in use" in browser.get("/invoices/preview").text
    assert post(browser, "/settings/billing/", **TYPED).status_code == 302
    kept = stored(system, isp)
    assert (kept.enabled, str(kept.late_fee_percent), kept.legal_name) == (True, "2.5000", "Valle Net S.A.")
    page = browser.get("/settings/billing/").text
    assert all(name in page for name in ("Cash", "Transfer", "Deposit", "Card", "Another way"))
    assert 'value="2.5"' in page
    assert "Billing rules changed" in browser.get("/audit/").text


@pytest.mark.parametrize(
    ("name", "value"),
    [("months", "13"), ("issue_hour", "24"), ("issue_days", "-1"), ("late_fee_percent", "101"), ("starts_on", "soon"),
     ("timing", "never"), ("due_days", "x")],
)  # fmt: skip
def test_what_cannot_be_is_said_beside_its_field(system, isp, sign_in, name, value):
    answer = post(sign_in("manager"), "/settings/billing/", **{**TYPED, name: value})
    assert answer.status_code == 422
    assert f'id="{name}-error"' in answer.text
    assert stored(system, isp) is None


def test_the_second_of_two_people_is_told_before_their_rules_replace_the_others(system, isp, sign_in):
    post(sign_in("manager"), "/settings/billing/", **TYPED)
    seen = stored(system, isp).version
    post(sign_in("finance"), "/settings/billing/", **{**TYPED, "version": seen, "promise_days": "9"})
    answer = post(sign_in("manager"), "/settings/billing/", **{**TYPED, "version": seen, "promise_days": "3"})
    assert answer.status_code == 409
    assert "Somebody else changed these rules meanwhile" in answer.text
    assert stored(system, isp).promise_days == 9


def test_a_tax_is_on_the_next_invoices_and_ends(system, installation, isp, sign_in):
    start_billing(system, isp)
    browser = sign_in("finance")
    typed = {"tax-name": "IVA", "tax-rate": "16", "tax-included": ""}
    assert post(browser, "/settings/billing/taxes", **{**typed, "tax-rate": "160"}).status_code == 422
    assert post(browser, "/settings/billing/taxes", **{"tax-name": "IVA", "tax-rate": "16"}).status_code == 302
    ana, _service = billed_line(system, installation, isp, "Ana", 3)
    bill(system, isp)
    assert str(invoices_of(system, ana)[0].total) == "348.0000"
    with Session(system) as session:
        tax_id = session.scalars(select(TaxRate.id).where(TaxRate.operator_id == isp.operator_id)).one()
    assert post(browser, f"/settings/billing/taxes/{tax_id}/end").status_code == 302
    assert "No taxes are billed." in browser.get("/settings/billing/").text


def test_numbers_get_a_prefix_and_go_on(system, installation, isp, sign_in):
    start_billing(system, isp)
    browser = sign_in("finance")
    assert post(browser, "/settings/billing/series/invoice", prefix="A-").status_code == 302
    ana, _service = billed_line(system, installation, isp, "Ana", 3)
    bill(system, isp)
    assert (invoices_of(system, ana)[0].prefix, invoices_of(system, ana)[0].number) == ("A-", 1)
    post(browser, "/settings/billing/series/invoice", prefix="x" * 21)
    assert post(browser, "/settings/billing/series/nothing", prefix="B-").status_code == 404
    with Session(system) as session:
        assert session.get_one(DocumentSeries, (isp.operator_id, "invoice")).prefix == "A-"


def test_ways_to_pay_are_entered_renamed_and_switched_off(system, isp, sign_in):
    cash = start_billing(system, isp)["Cash"]
    browser = sign_in("finance")
    url = "/settings/billing/methods"
    assert post(browser, f"{url}/new", name="OXXO", account="bank", active="y").status_code == 302
    assert "in use already" in post(browser, f"{url}/new", name="oxxo", account="bank", active="y").text
    assert post(browser, f"{url}/{cash}", name="Cash", account="bank", active="y").status_code == 422
    assert post(browser, f"{url}/{cash}", name="Efectivo", account="cash").status_code == 302
    with Session(system) as session:
        method = session.get_one(PaymentMethod, cash)
        assert (method.name, method.active) == ("Efectivo", False)


def test_a_proposal_shows_the_difference_and_changes_nothing(system, installation, isp, sign_in):
    start_billing(system, isp)
    ana, _service = billed_line(system, installation, isp, "Ana", 3)
    bill(system, isp)
    browser = sign_in("finance")
    as_it_is = text_of(browser.get("/settings/billing/simulation").text)
    assert "$300.00" in as_it_is
    assert "Difference" not in as_it_is
    proposed = text_of(browser.get("/settings/billing/simulation?price_percent=10&tax=16").text)
    assert "$382.80" in proposed  # 330 and 16 %
    assert "$82.80" in proposed
    assert len(invoices_of(system, ana)) == 1


def test_rules_are_for_finance_and_managers_and_of_one_operator(system, installation, isp, sign_in):
    method = start_billing(system, isp)["Cash"]
    for role in ("sales", "support", "technical"):
        assert sign_in(role).get("/settings/billing/").status_code == 403
    browser = sign_in("manager", make_isp(system, installation))
    assert browser.get(f"/settings/billing/methods/{method}").status_code == 404
    assert post(browser, "/settings/billing/taxes/1/end").status_code == 404
