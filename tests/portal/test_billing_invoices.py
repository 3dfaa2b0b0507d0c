"""Invoices and the statement: what is shown, taken back and issued."""

import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from babel.dates import format_date
from pypdf import PdfReader
from sqlalchemy.orm import Session

from billing.jobs import JOBS
from db.models import Job, JobLine, Service
from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, service_of, start_billing, today
from tests.portal.conftest import add_subscriber, make_isp, post
from tests.portal.test_billing_payments import text_of
from worker.jobs import run_job


@pytest.fixture
def methods(system, isp) -> dict[str, int]:
    return start_billing(system, isp, taxes=[("IVA", "16", False)])


@pytest.fixture
def ana(system, installation, isp, methods) -> tuple[int, int]:
    """A subscriber with an overdue invoice of 300 and 48 of tax, and one of the present month."""
    made = billed_line(system, installation, isp, "Ana Peña", 45)
    bill(system, isp)
    return made


def test_the_statement_runs_from_the_first_invoice_to_what_is_owed(system, isp, sign_in, ana, methods):
    paid = pay(system, isp, ana[0], methods["Cash"], "500")
    browser = sign_in("finance")
    post(
        browser,
        f"/invoices/{invoices_of(system, ana[0])[1].id}/credit",
        **{"credit-amount": "96", "credit-reason": "two days off"},
    )
    post(browser, f"/payments/{paid}/refund", **{"refund-amount": "20", "refund-reason": "coins"})
    page = browser.get(f"/subscribers/{ana[0]}/billing/").text
    said = text_of(page)
    for line in ("two days off", "coins", "-$500.00", "$348.00", "Owes $120.00"):
        assert line in said, line
    last = max(invoice.period_last for invoice in invoices_of(system, ana[0]))
    assert f"Billed up to {format_date(last, 'medium', 'en')}" in said
    rows = page.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    assert "$120.00" in text_of(rows[0])  # the newest first, with what is owed by now
    assert "$348.00 $348.00" in text_of(rows[-1])


def test_the_statement_on_paper_goes_on_over_pages_with_its_head_and_whole_lines(system, isp, sign_in, ana, methods):
    paid, bounced = (pay(system, isp, ana[0], methods["Cash"], amount) for amount in ("500", "40"))
    browser = sign_in("finance")
    invoice = invoices_of(system, ana[0])[1]
    post(browser, f"/invoices/{invoice.id}/credit", **{"credit-amount": "96", "credit-reason": "two days off"})
    post(browser, f"/payments/{bounced}/void", **{"void-reason": "it bounced"})
    post(browser, f"/payments/{paid}/refund", **{"refund-amount": "20", "refund-reason": "coins"})
    for number in range(40):
        pay(system, isp, ana[0], methods["Transfer"], "1", reference=f"T-{number:03}")
    for language, words in {
        "en": ("Statement of account", "Payment voided", "two days off", "it bounced", "coins", "Left to pay $80.00"),
        "es": ("Estado de cuenta", "Pago anulado", "two days off", "it bounced", "coins", "Por pagar $80.00"),
    }.items():
        answer = browser.get(f"/subscribers/{ana[0]}/billing/statement.pdf?language={language}")
        assert answer.mimetype == "application/pdf"
        pages = [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(answer.data)).pages]
        assert len(pages) == 3
        head = {"en": "Date Document Charged Paid", "es": "Fecha Documento Cargo Pagado"}[language]
        assert all(head in page for page in pages), pages
        whole = " ".join(pages)
        for word in words:
            assert word in whole, word
        references = re.findall(r"T-\d{3}", whole)
        assert references == sorted(references), "the oldest first"
        assert len(references) == 40
        lines = [page.count(" $1.00 ") for page in pages]
        assert lines == [page.count("T-") for page in pages], "no line begins on one page and ends on the next"
    assert sign_in("technical").get(f"/subscribers/{ana[0]}/billing/statement.pdf").status_code == 403
    assert browser.get("/subscribers/999999/billing/statement.pdf").status_code == 404


def test_support_sees_what_is_owed_and_technical_does_not(sign_in, ana):
    assert "Owes $696.00" in text_of(sign_in("support").get(f"/subscribers/{ana[0]}").text)
    assert "Owes" not in text_of(sign_in("technical").get(f"/subscribers/{ana[0]}").text)


def test_the_list_tells_overdue_from_paid(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    first, second = invoices_of(system, ana[0])
    overdue = browser.get("/invoices/?state=overdue").text
    assert f'/invoices/{first.id}"' in overdue
    pay(system, isp, ana[0], methods["Cash"], "400")
    assert f'/invoices/{first.id}"' in browser.get("/invoices/?state=paid").text
    unpaid = browser.get("/invoices/?state=unpaid").text
    assert f'/invoices/{second.id}"' in unpaid
    assert f'/invoices/{first.id}"' not in unpaid
    assert f'/invoices/{second.id}"' in browser.get(f"/invoices/?q={second.number}").text
    rows = browser.get("/invoices/?format=csv&sort=due_on").text.splitlines()
    assert rows[1].endswith(",Ana Peña," + f"{first.due_on},300.0000,48.0000,348.0000,0.0000,MXN,paid")


def test_the_page_of_an_invoice_shows_lines_taxes_and_what_settled_it(system, isp, sign_in, ana, methods):
    pay(system, isp, ana[0], methods["Transfer"], "400", reference="T-9")
    first, second = invoices_of(system, ana[0])
    said = text_of(sign_in("support").get(f"/invoices/{first.id}").text)
    for part in ("Home 20", "IVA 16 % · on $300.00", "$48.00", "Receipt 1", "Paid"):
        assert part in said, part
    assert "$296.00 still to pay" in text_of(sign_in("support").get(f"/invoices/{second.id}").text)


def test_a_credit_note_is_at_most_what_is_left_and_needs_a_reason(system, sign_in, ana):
    browser, invoice = sign_in("finance"), invoices_of(system, ana[0])[0]
    url = f"/invoices/{invoice.id}/credit"
    assert "At most 348" in text_of(post(browser, url, **{"credit-amount": "349", "credit-reason": "x"}).text)
    assert 'id="credit-reason-error"' in post(browser, url, **{"credit-amount": "10", "credit-reason": ""}).text
    assert post(browser, url, **{"credit-amount": "348", "credit-reason": "gift"}).status_code == 302
    assert invoices_of(system, ana[0])[0].open == 0
    assert "Credited" in text_of(browser.get(f"/invoices/{invoice.id}").text)
    assert "This was done already." in post(browser, f"/invoices/{invoice.id}/void", **{"void-reason": "x"}).text


def test_a_cancelled_invoice_is_billed_again_if_so_chosen(system, isp, sign_in, ana):
    invoice = invoices_of(system, ana[0])[1]
    fields = {"void-reason": "wrong price", "void-bill_again": "y"}
    assert post(sign_in("finance"), f"/invoices/{invoice.id}/void", **fields).status_code == 302
    assert bill(system, isp) == 1
    assert invoices_of(system, ana[0])[2].period_first == invoice.period_first


def test_the_preview_is_what_the_job_then_issues(system, installation, isp, sign_in, ana):
    browser = sign_in("finance")
    assert "Nothing is due to be issued" in browser.get("/invoices/preview").text
    later = (today() + timedelta(days=40)).isoformat()
    said = text_of(browser.get(f"/invoices/preview?day={later}").text)
    assert "$348.00, of which $48.00 tax" in said
    assert "Issue now" not in said
    billed_line(system, installation, isp, "Luis", 3)
    answer = post(browser, "/invoices/issue")
    job_id = int(answer.location.rsplit("/", 1)[1])
    assert post(browser, "/invoices/issue").location == answer.location  # not a second one
    run_job(system, installation, job_id, JOBS)
    with Session(system) as session:
        job = session.get_one(Job, job_id)
        lines = session.query(JobLine).where(JobLine.job_id == job_id).all()
    assert (job.state, job.outcome) == ("done", {"invoices": 1, "followed": 1})
    assert "%(invoices)s invoices issued" in lines[0].message
    assert "1 invoices issued, 1 services followed." in text_of(browser.get(f"/jobs/{job_id}").text)


def test_the_next_invoices_are_shown_under_another_plan_and_nothing_changes(system, isp, sign_in, ana):
    browser = sign_in("support")
    url = f"/subscribers/{ana[0]}/billing/services/{ana[1]}/next"
    as_it_is = text_of(browser.get(url).text)
    assert as_it_is.count("$348.00") == 3
    proposed = text_of(browser.get(f"{url}?months=3&plan_id=&cut_off_day=").text)
    assert proposed.count("$1,044.00") == 3
    assert "As proposed" in proposed
    assert len(invoices_of(system, ana[0])) == 2


def test_charges_and_discounts_come_on_the_next_invoice(system, isp, sign_in, ana):
    browser = sign_in("finance")
    base = f"/subscribers/{ana[0]}/billing"
    charge = {
        "description": "Static address",
        "amount": "50",
        "recurring": "monthly",
        "service_id": ana[1],
        "ends_on": "",
    }
    assert post(browser, f"{base}/charges/new", **charge).status_code == 302
    gift = {"service_id": ana[1], "code": "", "description": "Neighbour", "percent": "10", "amount": "", "months": "2"}
    assert post(browser, f"{base}/discounts/new", **gift).status_code == 302
    said = text_of(browser.get(f"{base}/services/{ana[1]}/next").text)
    assert "Static address" in said
    assert "-$30.00" in said
    assert post(browser, f"{base}/charges/new", **{**charge, "amount": "-1"}).status_code == 422
    now = {**charge, "description": "Antenna", "amount": "100", "recurring": "now"}
    assert post(browser, f"{base}/charges/new", **now).status_code == 302
    assert invoices_of(system, ana[0])[-1].total == Decimal(116)
    said = text_of(browser.get(f"{base}/").text)
    assert "Neighbour" in said
    assert "2 months left" in said


def test_a_promise_brings_a_cut_service_back_and_has_limits(system, isp, sign_in, ana):
    with Session(system) as session:
        service = session.get_one(Service, ana[1])
        service.state, service.suspended_at, service.suspension_cause = "suspended", service.created_at, "overdue"
        session.commit()
    browser = sign_in("finance")
    url = f"/subscribers/{ana[0]}/billing/services/{ana[1]}/promise"
    far = post(browser, url, until=(today() + timedelta(days=30)).isoformat(), note="")
    assert "The latest day possible is" in far.text
    assert post(browser, url, until=(today() + timedelta(days=3)).isoformat(), note="pays Friday").status_code == 302
    assert service_of(system, ana[1]).state == "active"
    assert "Promised until" in browser.get(f"/subscribers/{ana[0]}/billing/").text
    assert post(browser, f"{url}/cancel").status_code == 302
    assert service_of(system, ana[1]).promised_until is None


def test_what_belongs_to_somebody_else_is_not_touched(system, installation, isp, sign_in, ana):
    other = add_subscriber(system, isp, "Luis")
    browser = sign_in("manager")
    assert browser.get(f"/subscribers/{other}/billing/services/{ana[1]}/next").status_code == 404
    assert post(browser, f"/subscribers/{other}/billing/services/{ana[1]}/promise/cancel").status_code == 404
    stranger = make_isp(system, installation)
    start_billing(system, stranger)
    invoice = invoices_of(system, ana[0])[0]
    browser = sign_in("manager", stranger)
    assert browser.get(f"/invoices/{invoice.id}").status_code == 404
    assert post(browser, f"/invoices/{invoice.id}/void", **{"void-reason": "x"}).status_code == 404
    assert "Ana" not in browser.get("/invoices/").text
