from sqlalchemy.orm import Session

from db.models import Service
from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, start_billing
from tests.portal.conftest import post


def test_a_service_is_made_prepaid_buys_from_the_wallet_and_goes_back_to_invoices(system, installation, isp, sign_in):
    methods = start_billing(system, isp)
    ana, line = billed_line(system, installation, isp, "Ana Peña", 0)
    browser = sign_in("finance")
    assert "Make prepaid" in browser.get(f"/subscribers/{ana}/billing/").text
    post(browser, f"/subscribers/{ana}/billing/services/{line}/prepaid", prepaid="1")
    assert bill(system, isp) == 0
    pay(system, isp, ana, methods["Cash"], "450")
    page = browser.get(f"/subscribers/{ana}/billing/").text
    assert "Prepaid" in page
    assert "In the wallet" in page
    assert "150.00" in page
    assert [invoice.total for invoice in invoices_of(system, ana)] == [300]
    post(browser, f"/subscribers/{ana}/billing/services/{line}/prepaid")
    with Session(system) as session:
        assert not session.get_one(Service, line).prepaid
    assert "Prepaid or by invoice" in sign_in("manager").get("/audit/").text


def test_who_may_not_bill_may_not_change_how_a_service_is_paid(system, installation, isp, sign_in):
    start_billing(system, isp)
    ana, line = billed_line(system, installation, isp, "Beto", 0)
    assert (
        post(sign_in("support"), f"/subscribers/{ana}/billing/services/{line}/prepaid", prepaid="1").status_code == 403
    )
