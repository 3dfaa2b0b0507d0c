import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Coupon, Discount
from tests.portal.billing_isp import bill, billed_line, invoices_of, start_billing, today
from tests.portal.conftest import make_isp, post

SUMMER = {"code": "summer-27", "description": "Summer", "percent": "50", "months": "2", "uses": "1"}


@pytest.fixture
def ana(system, installation, isp) -> tuple[int, int]:
    start_billing(system, isp)
    return billed_line(system, installation, isp, "Ana Peña", 5)


def coupon_of(system, isp) -> Coupon:
    with Session(system) as session:
        return session.scalars(select(Coupon).where(Coupon.operator_id == isp.operator_id)).one()


def redeem(browser, line: tuple[int, int], code: str):
    return post(browser, f"/subscribers/{line[0]}/billing/discounts/new", service_id=line[1], code=code)


def test_a_coupon_is_made_redeemed_and_seen_on_the_invoice(system, isp, ana, sign_in):
    browser = sign_in("finance")
    assert post(browser, "/promotions/coupons/new", **SUMMER).location == "/promotions/"
    assert redeem(browser, ana, "Summer-27").status_code == 302
    page = browser.get("/promotions/").text
    assert "SUMMER-27" in page
    assert "Used up" in page
    assert "Ana Peña" in browser.get("/promotions/discounts").text
    assert bill(system, isp) == 1
    assert [invoice.total for invoice in invoices_of(system, ana[0])] == [150]


def test_a_coupon_that_is_used_up_or_expired_is_refused_and_who_has_it_keeps_it(
    system, installation, isp, ana, sign_in
):
    browser = sign_in("finance")
    beto = billed_line(system, installation, isp, "Beto", 5)
    post(browser, "/promotions/coupons/new", **SUMMER)
    redeem(browser, ana, "SUMMER-27")
    answer = redeem(browser, beto, "SUMMER-27")
    assert answer.status_code == 422
    assert "limit" in answer.text
    coupon = coupon_of(system, isp)
    post(browser, f"/promotions/coupons/{coupon.id}/expire")
    assert coupon_of(system, isp).valid_until < today()
    assert (
        "expired already"
        in browser.post(
            f"/promotions/coupons/{coupon.id}/expire", data={"csrf_token": token(browser)}, follow_redirects=True
        ).text
    )
    assert redeem(browser, beto, "SUMMER-27").status_code == 422
    with Session(system) as session:
        kept = session.scalars(select(Discount).where(Discount.operator_id == isp.operator_id)).one()
    assert (kept.service_id, kept.ended_at) == (ana[1], None)


def token(browser) -> str:
    return browser.get("/account/").text.split('name="csrf_token" value="')[1].split('"')[0]


@pytest.mark.parametrize(
    ("field", "typed", "line"),
    [
        ("code", "a b", "Three to 32 letters"),
        ("percent", "", "a percentage or an amount"),
        ("percent", "101", "from 0 to 100"),
        ("percent", "-5", "from 0 to 100"),
        ("amount", "100", "a percentage or an amount"),
        ("months", "0", "from 1 to 120"),
        ("uses", "0", "from 1 to"),
        ("valid_until", "2001-01-01", "too long ago"),
        ("description", "", "This is needed"),
    ],
)
def test_what_cannot_be_a_coupon_is_said_beside_the_field(ana, sign_in, field, typed, line):
    answer = post(sign_in("finance"), "/promotions/coupons/new", **{**SUMMER, field: typed})
    assert answer.status_code == 422
    assert line in answer.text


def test_a_code_exists_once_however_it_is_spelt(ana, sign_in):
    browser = sign_in("finance")
    post(browser, "/promotions/coupons/new", **SUMMER)
    answer = post(browser, "/promotions/coupons/new", **{**SUMMER, "code": "Summer-27"})
    assert "in use already" in answer.text


def test_extras_that_recur_or_wait_are_listed_and_exported(system, installation, isp, ana, sign_in):
    browser = sign_in("manager")
    ana = billed_line(system, installation, isp, "Dora Peña", 0)
    url = f"/subscribers/{ana[0]}/billing/charges/new"
    post(browser, url, description="Static address", amount="80", recurring="monthly", service_id=ana[1])
    post(browser, url, description="Installation", amount="450", recurring="", service_id="")
    page = browser.get("/promotions/extras").text
    assert ("Static address" in page, "Installation" in page) == (True, True)
    assert "Static address" not in browser.get("/promotions/extras?kind=one_off").text
    assert "Dora Peña" in browser.get("/promotions/extras?format=csv").text
    assert bill(system, isp) == 2
    assert [invoice.total for invoice in invoices_of(system, ana[0])] == [830]
    after = browser.get("/promotions/extras").text
    assert ("Static address" in after, "Installation" in after) == (True, False)


def test_coupons_are_made_by_finance_and_belong_to_one_operator(system, installation, isp, ana, sign_in):
    post(sign_in("finance"), "/promotions/coupons/new", **SUMMER)
    assert "SUMMER-27" in sign_in("sales").get("/promotions/").text
    assert post(sign_in("sales"), "/promotions/coupons/new", **SUMMER).status_code == 403
    other = make_isp(system, installation)
    start_billing(system, other)
    stranger = sign_in("manager", other)
    assert "SUMMER-27" not in stranger.get("/promotions/").text
    assert post(stranger, f"/promotions/coupons/{coupon_of(system, isp).id}/expire").status_code == 404
