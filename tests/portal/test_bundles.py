from tests.portal.billing_isp import bill, billed_line, invoices_of, start_billing
from tests.portal.conftest import add_subscriber, post


def test_a_plan_becomes_a_bundle_is_compared_sold_and_billed(system, installation, isp, sign_in):
    start_billing(system, isp)
    browser = sign_in("manager")
    plan = f"/plans/{isp.plan_id}"
    post(browser, f"{plan}/items/", name="Router rental", price="50.50")
    post(browser, f"{plan}/items/", name="Static address")
    page = browser.get(plan).text
    assert "Static address" in page
    assert "350.50" in page
    ana = add_subscriber(system, isp, "Ana")
    compared = browser.get(f"/sales/plans?subscriber={ana}").text
    assert "Router rental" in compared
    assert "350.50" in compared
    assert "+ Router rental + Static address" in browser.get(f"/sales/{ana}").text
    beto, _ = billed_line(system, installation, isp, "Beto", 0)
    bill(system, isp)
    assert [str(invoice.net) for invoice in invoices_of(system, beto)] == ["350.5000"]


def test_an_item_without_a_name_or_with_a_bad_price_is_refused_with_the_reason(system, isp, sign_in):
    start_billing(system, isp)
    browser = sign_in("manager")
    post(browser, f"/plans/{isp.plan_id}/items/", name="TV", price="1.234,56")
    page = browser.get(f"/plans/{isp.plan_id}").text
    assert "alert-danger" in page
    assert "TV" not in page
    assert post(sign_in("support"), f"/plans/{isp.plan_id}/items/", name="TV").status_code == 403
