import re
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.voucher_cards import sealed_pdf
from core.clock import utc_now
from core.codes import grouped
from crm.vouchers import CODE_PURPOSE
from db.models import (
    AccountingSession,
    AuditEntry,
    Job,
    Payment,
    Staff,
    Voucher,
    VoucherBatch,
    VoucherPrint,
    VoucherSale,
)
from tests.portal.billing_isp import start_billing
from tests.portal.conftest import Isp, make_isp, post
from tests.portal.test_tables import pdf_text

BATCH = {
    "name": "Plaza 2 horas", "count": "3", "devices": "1", "lasts": "2", "lasts_unit": "hours", "online_unit": "hours",
    "price": "25", "activation": "sale", "template": "cards", "seller": "", "prefix": "plaza",
}  # fmt: skip


@pytest.fixture
def batch(isp: Isp, sign_in, system) -> int:
    answer = post(sign_in("finance"), "/vouchers/batches/new", **BATCH, plan_id=isp.plan_id)
    assert answer.status_code == 302, answer.text
    return int(answer.location.rsplit("/", 1)[1])


def vouchers(system, batch_id: int) -> list[Voucher]:
    with Session(system) as session:
        query = select(Voucher).where(Voucher.batch_id == batch_id).order_by(Voucher.number)
        return list(session.scalars(query))


def code_of(system, installation, batch_id: int, number: int = 0) -> str:
    return installation.keyring.open(CODE_PURPOSE, vouchers(system, batch_id)[number].code)


def test_a_batch_is_made_and_says_how_long_guessing_takes(batch, sign_in):
    page = sign_in("finance").get(f"/vouchers/batches/{batch}").text
    assert "2 h from the first login" in page
    assert re.search(r"would guess a first of 3 codes in about [\d,]+ year", page)
    assert "In stock" in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lasts": ""}, "This is needed"),
        ({"lasts": "two"}, "Enter a whole number"),
        ({"price": "25.0.0"}, "price"),
        ({"length": "6"}, "too short"),
        ({"best_before": "2020-01-01"}, "best_before"),
        ({"count": "99999999"}, "10000"),
        ({"prefix": "ñ"}, "prefix"),
        ({"plan_id": "0"}, "plan_id"),
        ({"seller": "s0"}, "seller"),
        ({"seller": "c999999"}, "seller"),
    ],
)
def test_what_is_wrong_with_a_batch_stands_beside_its_field(isp, sign_in, changes, said):
    answer = post(sign_in("finance"), "/vouchers/batches/new", **{**BATCH, "plan_id": isp.plan_id, **changes})
    assert answer.status_code == 422
    assert said in answer.text
    assert "is-invalid" in answer.text


def test_a_voucher_is_sold_with_one_click_and_once(system, installation, isp, batch, sign_in):
    methods = start_billing(system, isp, taxes=(("IVA", "16", True),))
    browser = sign_in("sales")
    page = browser.get("/vouchers/sell/").text
    once = page.split('name="once" value="')[1].split('"')[0]
    sale = {"once": once, "batch_id": batch, "method_id": methods["Cash"]}
    sold = post(browser, "/vouchers/sell/", **sale)
    code = code_of(system, installation, batch)
    assert grouped(code, "PLAZA") in sold.text
    again = post(browser, "/vouchers/sell/", **sale)
    assert grouped(code, "PLAZA") in again.text
    assert "no other was sold" in again.text
    with Session(system) as session:
        assert [sale.price for sale in session.scalars(select(VoucherSale))] == [25]
        assert [payment.amount for payment in session.scalars(select(Payment))] == [25]
    ticket = post(browser, f"/vouchers/sell/{vouchers(system, batch)[0].service_id}/ticket")
    assert ticket.data.startswith(b"%PDF-")
    assert post(sign_in("support"), f"/vouchers/sell/{vouchers(system, batch)[0].service_id}/ticket").status_code == 403
    report = sign_in("finance").get("/vouchers/sales").text
    assert "Plaza 2 horas" in report
    assert "Sales" in report
    rows = sign_in("finance").get("/vouchers/sales?format=csv").text.splitlines()
    assert rows[1].split(",")[1:6] == ["Sales", "Plaza 2 horas", "1", "0", "25.0000"]


def test_a_printed_card_is_sold_by_its_code_and_taken_back(system, installation, isp, batch, sign_in):
    browser = sign_in("finance")
    code = code_of(system, installation, batch, 1)
    assert (
        grouped(code, "PLAZA") in post(browser, "/vouchers/sell/", code=f" {code.lower()} ", once="x", batch_id="").text
    )
    service_id = vouchers(system, batch)[1].service_id
    twice = post(browser, "/vouchers/sell/", code=code, once="y", batch_id="")
    assert twice.status_code == 302
    assert "sold, used or cancelled before" in browser.get("/vouchers/sell/").text
    post(browser, f"/vouchers/codes/{service_id}/void", reason="misprint")
    page = browser.get(f"/vouchers/codes/{service_id}").text
    assert re.search(r"Give back \S*25.00", page)
    assert "misprint" in page


def test_a_code_is_found_by_typing_it_and_its_page_shows_the_sessions(system, installation, isp, batch, sign_in):
    voucher = vouchers(system, batch)[0]
    code = code_of(system, installation, batch)
    with Session(system) as session:
        session.get_one(Voucher, voucher.service_id).first_login_at = utc_now() - timedelta(minutes=30)
        session.add(
            AccountingSession(
                operator_id=isp.operator_id, nas_id=isp.nas_id, service_id=voucher.service_id, user_name="code:x",
                acct_session_id="80000001", kind="hotspot", mac="aa:bb:cc:00:00:09", updated_at=utc_now(),
                started_at=utc_now() - timedelta(minutes=30), octets_in=1000, octets_out=2_000_000,
            )
        )  # fmt: skip
        session.commit()
    browser = sign_in("support")
    found = post(browser, "/vouchers/find", code=code.lower().replace("0", "o"))
    assert found.location == f"/vouchers/codes/{voucher.service_id}"
    page = browser.get(found.location).text
    assert "aa:bb:cc:00:00:09" in page
    assert "tower-1" in page
    post(browser, "/vouchers/find", code="nothing")
    assert "No voucher has this code" in browser.get("/vouchers/").text


def test_codes_are_shown_and_exported_to_who_may_and_it_is_written_down(system, installation, isp, batch, sign_in):
    voucher, code = vouchers(system, batch)[2], code_of(system, installation, batch, 2)
    assert post(sign_in("support"), f"/vouchers/codes/{voucher.service_id}/reveal").status_code == 403
    assert post(sign_in("support"), f"/vouchers/batches/{batch}/codes.csv").status_code == 403
    browser = sign_in("finance")
    assert grouped(code, "PLAZA") in post(browser, f"/vouchers/codes/{voucher.service_id}/reveal").text
    rows = post(browser, f"/vouchers/batches/{batch}/codes.csv").text.splitlines()
    assert rows[3] == f"3,{code}"
    with Session(system) as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.operator_id == isp.operator_id, AuditEntry.entity == "voucher_batch")
        ).all()
    assert {entry.action for entry in entries} >= {"voucher_batch.reveal", "voucher_batch.export"}
    assert not any(code in str(entry.after) for entry in entries)


def test_cards_are_printed_by_a_job_and_the_sheet_is_read_by_who_may(system, installation, isp, batch, sign_in):
    browser = sign_in("finance")
    answer = post(browser, f"/vouchers/batches/{batch}/print", template="strips", first="1", last="2")
    job_id = int(answer.location.rsplit("/", 1)[1])
    with Session(system) as session:
        assert session.get_one(Job, job_id).parameters == {"batch": batch, "template": "strips", "first": 1, "last": 2}
        kept = VoucherPrint(
            operator_id=isp.operator_id, batch_id=batch, job_id=job_id,
            content=sealed_pdf(installation.keyring, b"%PDF-1.4 codes"), created_at=utc_now(),
        )  # fmt: skip
        session.add(kept)
        session.commit()
        print_id = kept.id
    assert browser.get(f"/vouchers/prints/{print_id}").data == b"%PDF-1.4 codes"
    assert sign_in("support").get(f"/vouchers/prints/{print_id}").status_code == 403


def test_a_batch_is_given_to_a_seller_activated_and_cancelled(system, installation, isp, batch, sign_in):
    browser = sign_in("finance")
    with Session(system) as session:
        sales = session.scalars(select(Staff.id).where(Staff.email == isp.staff["sales"])).one()
    post(browser, f"/vouchers/batches/{batch}/assign", seller=f"s{sales}")
    assert "Plaza 2 horas" in sign_in("sales").get("/vouchers/sell/").text
    assert "Plaza 2 horas" not in sign_in("support").get("/vouchers/sell/").text
    post(browser, f"/vouchers/batches/{batch}/activate")
    assert all(voucher.activated_at for voucher in vouchers(system, batch))
    post(browser, f"/vouchers/batches/{batch}/void", reason="")
    assert not any(voucher.voided_at for voucher in vouchers(system, batch))
    post(browser, f"/vouchers/batches/{batch}/void", reason="lost in the mail")
    assert all(voucher.voided_at for voucher in vouchers(system, batch))
    assert "Cancelled" in browser.get(f"/vouchers/batches/{batch}").text


def test_another_operator_sees_and_sells_none_of_it(system, installation, batch, sign_in):
    theirs = make_isp(system, installation)
    browser = sign_in("manager", theirs)
    code, service_id = code_of(system, installation, batch), vouchers(system, batch)[0].service_id
    assert browser.get(f"/vouchers/batches/{batch}").status_code == 404
    assert browser.get(f"/vouchers/codes/{service_id}").status_code == 404
    assert post(browser, "/vouchers/find", code=code).location == "/vouchers/"
    assert post(browser, "/vouchers/sell/", code=code, batch_id="", once="z").status_code == 302
    assert post(browser, "/vouchers/sell/", batch_id=batch, once="z").status_code == 302
    with Session(system) as session:
        assert not session.scalars(select(VoucherSale).where(VoucherSale.voucher_id == service_id)).all()


def test_pages_of_vouchers_are_in_spanish(isp, batch, sign_in, system):
    browser = sign_in("finance")
    post(browser, "/language", language="es", next="/vouchers/")
    for url in (
        "/vouchers/",
        "/vouchers/batches/new",
        f"/vouchers/batches/{batch}",
        "/vouchers/sell/",
        "/vouchers/sales",
    ):
        page = browser.get(url)
        assert page.status_code == 200
        assert "Fichas" in page.text or "fichas" in page.text, url
    printed = pdf_text(browser.get(f"/vouchers/batches/{batch}?format=pdf").data)
    assert printed.startswith("Fichas")
    assert "En existencia" in printed
    with Session(system) as session:
        assert session.scalars(select(VoucherBatch.name).where(VoucherBatch.id == batch)).one() == "Plaza 2 horas"
