"""Reports of operations: each answers, under the rights of who asks; what is exported is what is filtered."""

import io
import re
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from pypdf import PdfReader
from sqlalchemy import select
from sqlalchemy.orm import Session

import portal
from core.clock import utc_now
from db.models import (
    CircuitTest,
    Lead,
    Operator,
    ReportSchedule,
    Router,
    Service,
    Staff,
    Ticket,
    TicketCategory,
    WorkOrder,
)
from tests.portal.billing_isp import bill, billed_line, pay, start_billing
from tests.portal.conftest import add_service, add_subscriber, post
from worker.reports import REPORTS

TEMPLATES = Path(portal.__file__).parent / "templates"


def test_every_list_that_can_be_taken_as_csv_can_be_taken_as_pdf():
    """If this fails: the page has a table that only a program can read. Add a button with format='pdf'."""
    pages = (TEMPLATES / "staff").rglob("*.html")
    offered = {page.name: page.read_text() for page in pages if "format='csv'" in page.read_text()}
    assert len(offered) >= 3
    assert [name for name, text in offered.items() if "format='pdf'" not in text] == []


def test_a_report_with_a_page_of_its_own_is_a_pdf_with_its_title(sign_in, busy):
    browser = sign_in("manager", busy)
    browser.set_cookie("portico_language", "es")
    for path, title in (
        ("/tickets/reports/?by=queue", "Reportes de tickets"),
        ("/work-orders/reports?report=sales", "Ventas por mes y vendedor"),
        ("/work-orders/reports?report=installations", "Instalaciones por mes y técnico"),
        ("/vouchers/sales?first=2027-01-01", "Ventas de fichas"),
    ):
        answer = browser.get(f"{path}&format=pdf")
        assert answer.mimetype == "application/pdf"
        assert title in " ".join(PdfReader(io.BytesIO(answer.data)).pages[0].extract_text().split())


@pytest.fixture
def busy(system, isp, installation):
    """An operator with something for every report: Ana owes two invoices' worth, Zoe paid hers, Leo has left."""
    now = utc_now()
    methods = start_billing(system, isp)
    ana, first = billed_line(system, installation, isp, "=Ana Núñez", 45)
    zoe, _second = billed_line(system, installation, isp, "Zoe", 5)
    bill(system, isp)
    pay(system, isp, zoe, methods["Cash"], "300")
    leo = add_subscriber(system, isp, "Leo Paz")
    gone = add_service(system, installation, isp, leo, "leo", state="terminated", suspension_cause="overdue")
    with Session(system) as session:
        session.add(CircuitTest(operator_id=isp.operator_id, service_id=first, nas_name="tower-1"))
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="p", api_password=b"x"))
        order = {"number": 7, "kind": "repair", "title": "No light", "subscriber_id": ana, "created_by": "a"}
        session.add(WorkOrder(operator_id=isp.operator_id, created_at=now - timedelta(days=3), **order))
        left = session.get_one(Service, gone)
        left.created_at, left.terminated_at = now - timedelta(days=100), now
        session.get_one(Service, first).paid_until = now.date() - timedelta(days=9)
        session.commit()
    return isp


def test_every_report_answers_and_can_be_taken_out(sign_in, busy):
    browser = sign_in("manager")
    index = browser.get("/reports/all/")
    assert index.status_code == 200
    for key, report in REPORTS.items():
        assert f'href="/reports/all/{key}"' in index.text
        for column in (report.columns[0], report.columns[-1]):
            sorted_page = browser.get(f"/reports/all/{key}?days=365&q=e&sort=-{column.key}")
            assert sorted_page.status_code == 200, (key, column.key)
        book = browser.get(f"/reports/all/{key}?days=365&format=xlsx")
        sheet = openpyxl.load_workbook(io.BytesIO(book.data)).active
        assert sheet.max_column == len(report.columns), key


def test_subscribers_stand_with_state_billed_and_due_day_and_a_formula_stays_text(sign_in, busy):
    browser = sign_in("manager")
    page = browser.get("/reports/all/subscribers").text
    assert "=Ana Núñez" in page
    assert "Leo Paz" not in page  # has left
    csv = browser.get("/reports/all/subscribers?format=csv").get_data(as_text=True)
    assert "'=Ana Núñez" in csv
    line = next(line for line in csv.splitlines() if "Ana" in line).split(",")
    assert int(line[7]) in (8, 9, 10)  # days late, whatever the hour in Mexico
    assert "Leo Paz" in browser.get("/reports/all/leavers?only=overdue").text
    assert "Leo Paz" not in browser.get("/reports/all/leavers?only=asked").text


def test_invoices_are_told_by_their_payment(sign_in, busy):
    browser = sign_in("finance")
    overdue = browser.get("/reports/all/invoices?only=overdue&days=90").text
    assert ("=Ana" in overdue, "Zoe" in overdue) == (True, False)
    paid = browser.get("/reports/all/invoices?only=paid&days=90&format=csv").get_data(as_text=True)
    assert ("=Ana" in paid, "Zoe" in paid) == (False, True)


def test_a_visit_says_how_many_days_ago_it_was_entered(sign_in, busy, system):
    with Session(system) as session:
        order = session.scalars(select(WorkOrder).where(WorkOrder.operator_id == busy.operator_id)).one()
        zone = ZoneInfo(session.get_one(Operator, busy.operator_id).timezone)
        midnight = datetime.combine(utc_now().astimezone(zone).date(), time(), zone)
        for entered, days in ((midnight, 0), (midnight - timedelta(seconds=1), 1), (midnight - timedelta(days=3), 3)):
            order.created_at = entered
            session.commit()
            csv = sign_in("manager").get("/reports/all/work_orders?format=csv").get_data(as_text=True)
            assert csv.splitlines()[1].rpartition(",")[2] == str(days)


def test_the_desk_and_the_sales_can_be_sent_as_all_reports(sign_in, busy, system):
    now, of = utc_now(), {"operator_id": busy.operator_id}
    with Session(system) as session:
        category = TicketCategory(name="Cámaras", **of)
        eva = session.scalars(select(Staff).where(Staff.email == busy.staff["sales"])).one()
        eva.name = "Eva"
        session.add(category)
        session.flush()
        for number, hours, met in ((901, 2, True), (902, 6, False), (903, None, None)):
            ticket = Ticket(
                number=number, subject=f"No {number}", source="staff", priority="low", queue="technical",
                key=f"k{number}", category_id=category.id, first_met=met, satisfaction=4 if met else None, **of,
            )  # fmt: skip
            ticket.created_at = ticket.updated_at = now - timedelta(hours=8)
            if hours is not None:
                ticket.first_answered_at = ticket.solved_at = ticket.created_at + timedelta(hours=hours)
                ticket.state = "solved"
            session.add(ticket)
        for number, state in ((21, "done"), (22, "open"), (23, "cancelled"), (24, "failed")):
            order = WorkOrder(
                number=number, kind="installation", title="New", created_by="a", state=state, seller_id=eva.id,
                technician_id=eva.id, created_at=now - timedelta(hours=36), **of,
            )  # fmt: skip
            order.ended_at = None if state == "open" else now
            session.add(order)
        session.add(Lead(name="Rosa", state="lost", seller_id=eva.id, closed_at=now, **of))
        session.commit()

    def lines(key):
        csv = sign_in("manager").get(f"/reports/all/{key}?days=90&format=csv").get_data(as_text=True)
        return [line.split(",") for line in csv.splitlines()[1:]]

    assert lines("ticket_categories") == [["Cámaras", "3", "1", "4.0", "4.0", "1", "0", "4.0"]]
    tickets = {line[1]: line[5:] for line in lines("tickets")}
    assert tickets["902"] == ["Solved", "Technical", "", "6.0", "6.0", ""]
    assert tickets["903"][3:] == ["", "", ""]
    sums = [sum(int(line[at]) for line in lines("sales")) for at in (2, 3, 4, 5)]
    assert sums == [3, 1, 0, 1]  # what was called off was not sold
    assert {line[1] for line in lines("sales")} == {"Eva"}
    assert [line[1:] for line in lines("installs")] == [["Eva", "1", "1", "1.5", "1.5"]]
    assert 'href="/tickets/' in sign_in("support").get("/reports/all/tickets?only=solved").text


def test_a_span_has_the_days_that_it_says(sign_in, busy):
    browser = sign_in("manager")
    for length, days in (("2", 2), ("7", 7), ("90", 90), ("nonsense", 30)):
        page = browser.get(f"/reports/all/connected?days={length}").text
        first, last = re.search(r"([A-Z][a-z]+ \d+, \d{4}) – ([A-Z][a-z]+ \d+, \d{4})", page).groups()
        span = datetime.strptime(last, "%b %d, %Y") - datetime.strptime(first, "%b %d, %Y")
        assert span.days == days - 1


def test_who_came_and_left_is_counted_by_month(sign_in, busy):
    csv = sign_in("manager").get("/reports/all/churn?days=365&format=csv").get_data(as_text=True).splitlines()
    months = [[float(cell or 0) for cell in line.split(",")[1:]] for line in csv[1:]]
    assert len(months) in (12, 13)
    assert sum(month[1] for month in months) == 3  # all three came in this year
    assert months[0][2:4] == [1, 1]  # one left this month, and had not paid
    assert months[-1][:3] == [0, 0, 0]


def test_nobody_reads_a_report_of_what_they_may_not_see(sign_in, busy):
    technical = sign_in("technical")
    assert "/reports/all/invoices" not in technical.get("/reports/all/").text
    assert technical.get("/reports/all/invoices").status_code == 403
    assert technical.get("/reports/all/nonsense").status_code == 404
    assert technical.get("/reports/all/gateways").status_code == 200
    assert technical.get("/reports/all/gateways?format=csv").status_code == 403  # may not export
    assert post(technical, "/reports/all/gateways/schedule", every="day", hour="7", format="xlsx").status_code == 403


def test_a_report_is_scheduled_shown_and_stopped_by_its_reader_alone(sign_in, busy, system):
    browser = sign_in("manager")
    chosen = {"every": "week", "weekday": "3", "day": "1", "hour": "6", "format": "pdf"}
    answer = post(browser, "/reports/all/subscribers/schedule", **chosen)
    assert answer.status_code == 302
    with Session(system) as session:
        made = session.scalars(select(ReportSchedule).where(ReportSchedule.operator_id == busy.operator_id)).one()
    assert (made.every, made.day, made.hour, made.format, made.granted_by) == ("week", 3, 6, "pdf", ["manager"])
    assert "each Wednesday at 06:00" in browser.get("/reports/all/").text
    assert post(browser, "/reports/all/subscribers/schedule", **{**chosen, "hour": "25"}).status_code == 302
    assert post(sign_in("finance"), f"/reports/all/schedules/{made.id}/delete").status_code == 404
    assert post(browser, f"/reports/all/schedules/{made.id}/delete").status_code == 302
    with Session(system) as session:
        assert session.get(ReportSchedule, made.id) is None
