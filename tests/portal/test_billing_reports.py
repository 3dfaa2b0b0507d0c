"""Reports of finance: the pages, and the same rows as files."""

import io
from datetime import timedelta

import pytest
from openpyxl import load_workbook

from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, start_billing, today
from tests.portal.conftest import make_isp, post
from tests.portal.test_billing_payments import text_of


@pytest.fixture
def methods(system, isp) -> dict[str, int]:
    return start_billing(system, isp, taxes=[("IVA", "16", False)])


@pytest.fixture
def books(system, installation, isp, methods, sign_in):
    """Ana owes two overdue invoices, Luis has paid; a browser of finance."""
    ana, _line = billed_line(system, installation, isp, "Ana Peña", 45)
    luis, _line = billed_line(system, installation, isp, "Luis", 3)
    bill(system, isp)
    pay(system, isp, luis, methods["Cash"], "348")
    return sign_in("finance"), ana, luis


def test_the_first_page_says_what_came_in_and_what_is_overdue(books):
    browser, ana, _luis = books
    page = browser.get("/reports/").text
    said = text_of(page)
    assert "$348.00 came in today 1 payment" in said
    assert "$696.00 overdue 1 subscriber" in said
    assert f"/payments/new/{ana}" in page
    assert "$600.00 before discounts and taxes" in said


def test_aging_puts_each_debt_where_its_age_is(books):
    browser, _ana, _luis = books
    said = text_of(browser.get("/reports/aging").text)
    assert "Luis" not in said
    assert "Total $696.00" in said
    rows = browser.get("/reports/aging?format=csv").text.splitlines()
    assert rows[1].split(",")[0] == "Ana Peña"
    assert sum(float(value) for value in rows[1].split(",")[1:6]) == 696
    assert [float(value) for value in rows[1].split(",")[1:6]].count(348) == 2


@pytest.mark.parametrize(
    ("by", "line"),
    [("plan", "Home 20,3,900"), ("method", "Cash,1,348"), ("cashier", ",1,348"), ("month", f"{today():%Y-%m},1,348")],
)
def test_income_is_told_by_plan_method_cashier_and_month(books, by, line):
    browser, _ana, _luis = books
    days = f"&first={today() - timedelta(days=60)}&last={today()}"
    rows = browser.get(f"/reports/income?by={by}&format=csv{days}").text.splitlines()
    assert rows[1].startswith(line)
    assert browser.get(f"/reports/income?by={by}{days}").status_code == 200
    assert browser.get("/reports/income?by=nothing").status_code == 404


def test_taxes_are_of_invoices_less_credit_notes(system, books):
    browser, ana, _luis = books
    invoice = invoices_of(system, ana)[0]
    post(browser, f"/invoices/{invoice.id}/credit", **{"credit-amount": "116", "credit-reason": "x"})
    rows = browser.get("/reports/taxes?format=csv").text.splitlines()
    name, rate, base, amount = rows[1].split(",")
    assert (name, float(rate), float(base), float(amount)) == ("IVA", 16, 800, 128)


def test_the_months_are_a_table_a_graph_and_a_workbook(books):
    browser, _ana, _luis = books
    page = browser.get("/reports/months").text
    assert 'data-graph="months-drawn"' in page
    sheet = load_workbook(io.BytesIO(browser.get("/reports/months?format=xlsx").data)).active
    rows = list(sheet.iter_rows(values_only=True))
    assert len(rows) == 13
    assert rows[0][0] == "Month"
    assert (rows[12][1], rows[12][3], rows[12][4]) == (900, 348, 2)


def test_services_are_listed_with_billed_and_due_dates(books, system, installation, isp):
    browser, ana, _luis = books
    page = browser.get("/reports/due?standing=overdue").text
    assert f"/subscribers/{ana}/billing/" in page
    assert "Luis" not in page
    assert "Luis" in browser.get("/reports/due?q=luis").text
    billed_line(system, installation, isp, "Eva", 1)  # no run has seen her yet
    assert "Eva" in browser.get("/reports/due?standing=unbilled").text
    assert len(browser.get("/reports/due?format=csv").text.splitlines()) == 4


def test_the_journal_is_the_ledger_and_balances(books):
    browser, _ana, _luis = books
    rows = [line.split(",") for line in browser.get("/reports/journal?format=csv").text.splitlines()[1:]]
    assert sum(float(row[7]) for row in rows) == sum(float(row[8]) for row in rows) == 3 * 348 + 2 * 348
    assert browser.get("/reports/journal").status_code == 200


def test_days_that_make_no_sense_are_left_out(books):
    browser, _ana, _luis = books
    for days in ("first=x&last=y", "first=2027-05-01&last=2027-04-01", "first=0001-01-01&last=9999-12-31"):
        assert browser.get(f"/reports/taxes?{days}").status_code == 200
        assert browser.get(f"/reports/months?{days}").status_code == 200


def test_reports_are_of_one_operator_and_for_finance(system, installation, isp, books, sign_in):
    for role in ("sales", "support", "technical"):
        assert sign_in(role).get("/reports/aging").status_code == 403
    stranger = make_isp(system, installation)
    start_billing(system, stranger)
    browser = sign_in("finance", stranger)
    assert "Nobody owes anything" in browser.get("/reports/aging").text
    assert "Ana" not in browser.get("/reports/due").text
    assert len(browser.get("/reports/journal?format=csv").text.splitlines()) == 1


def test_the_journal_has_the_codes_of_the_operators_own_chart_of_accounts(books, sign_in):
    browser, _ana, _luis = books
    page = post(browser, "/reports/accounts/", **{"name-cash": "Caja", "code-receivable": "105-01"})
    assert page.status_code == 422
    assert "105-01" in page.text, "what was typed stays"
    codes = {"code-receivable": "105-01", "name-receivable": "Clientes", "code-income": "401-01", "code-tax": "208-01"}
    assert post(browser, "/reports/accounts/", **codes).status_code == 302
    rows = [line.split(",") for line in browser.get("/reports/journal?format=csv").text.splitlines()[1:]]
    assert {row[4] for row in rows} >= {"105-01", "401-01", "208-01", "cash"}
    assert {row[5] for row in rows if row[4] == "105-01"} == {"Clientes"}
    assert post(browser, "/reports/accounts/", **{"code-tax": "208-02"}).status_code == 302
    again = browser.get("/reports/journal?format=csv").text
    assert "208-02" in again
    assert "105-01" not in again
    assert sign_in("sales").get("/reports/accounts/").status_code == 403
