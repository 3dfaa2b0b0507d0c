"""Bank statements in the browser: read, proposed, booked once, put aside."""

import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.audit import Actor
from db.models import BankLine, BillingSettings, Invoice, Payment, PaymentMethod, RatePlan, Service
from tests.billing.isp import ZONE, BillingIsp
from tests.portal.conftest import add_service, add_subscriber, csrf_token, make_isp, post


@pytest.fixture
def books(system, installation, isp):
    """Two subscribers who owe 300 each since ten days ago, one of them cut; and a way to pay at the bank."""
    today = utc_now().astimezone(ZONE).date()
    began = datetime.combine(today - timedelta(days=10), datetime.min.time(), ZONE).astimezone(UTC)
    people = {}
    for name in ("Ana López", "Beto Ruiz"):
        people[name] = add_subscriber(system, isp, name)
        add_service(system, installation, isp, people[name], name.split()[0].lower(), activated_at=began)
    with Session(system, expire_on_commit=False) as session:
        session.get_one(RatePlan, isp.plan_id).price = Decimal(300)
        settings = {"cut_off": "anchor", "first_due_days": 0, "starts_on": today - timedelta(days=60)}
        session.add(BillingSettings(operator_id=isp.operator_id, enabled=True, **settings))
        session.add(PaymentMethod(operator_id=isp.operator_id, name="Transfer", account="bank"))
        session.flush()
        BillingIsp(session, isp.operator_id, Actor(isp.operator_id, "test"), 0).run(today)
        ana = session.scalars(select(Service).where(Service.subscriber_id == people["Ana López"])).one()
        ana.state, ana.suspended_at, ana.suspension_cause = "suspended", utc_now(), "overdue"
        session.commit()
    return people, today


def upload(browser, content, name="statement.csv", **fields):
    data = {"csrf_token": csrf_token(browser), "file": (io.BytesIO(content.encode()), name), **fields}
    return browser.post("/billing/bank/", data=data)


def lines(system, isp):
    with Session(system) as session:
        query = select(BankLine).where(BankLine.operator_id == isp.operator_id).order_by(BankLine.id)
        return session.scalars(query).all()


def test_a_statement_is_read_a_line_booked_once_and_the_service_is_back(system, isp, sign_in, books):
    people, today = books
    browser = sign_in("finance")
    with Session(system) as session:
        number = session.scalar(select(Invoice.number).where(Invoice.subscriber_id == people["Beto Ruiz"]))
        method = session.scalar(select(PaymentMethod.id).where(PaymentMethod.operator_id == isp.operator_id))
    rows = (f"{today},300,pago,ana lopez", f"{today},300,factura {number},Tercero", f"{today},77,?,?")
    content = "\n".join(("Fecha,Abono,Concepto,Ordenante", *rows))
    assert upload(browser, content).status_code == 302
    assert upload(browser, content).status_code == 302
    named, by_number, nobody = lines(system, isp)
    page = browser.get("/billing/bank/").text
    assert "3 lines wait" in page
    ana, beto = (page.index(f'value="{people[name]}" checked') for name in ("Ana López", "Beto Ruiz"))
    assert ana < beto
    fields = {"subscriber_id": people["Ana López"], "method_id": method}
    answer = post(browser, f"/billing/bank/{named.id}/book", **fields)
    assert answer.status_code == 302
    assert "is back" in browser.get("/billing/bank/").text
    post(browser, f"/billing/bank/{named.id}/book", **fields)
    assert "This was done already." in browser.get("/billing/bank/").text
    assert post(browser, f"/billing/bank/{nobody.id}/aside").status_code == 302
    assert f'/billing/bank/{by_number.id}"' in browser.get("/billing/bank/").text
    post(browser, f"/billing/bank/{by_number.id}/book", subscriber_id="", method_id=method)
    assert "Choose who has paid." in browser.get("/billing/bank/").text
    assert [line.state for line in lines(system, isp)] == ["booked", "waiting", "ignored"]
    with Session(system) as session:
        (payment,) = session.scalars(select(Payment).where(Payment.operator_id == isp.operator_id))
        assert (payment.amount, payment.paid_on, payment.reference) == (300, today, "pago")
        assert session.scalar(select(Service.state).where(Service.subscriber_id == people["Ana López"])) == "active"


def test_a_line_of_which_nothing_is_known_is_booked_for_whom_a_person_finds(system, isp, sign_in, books):
    people, today = books
    browser = sign_in("finance")
    upload(browser, f"Fecha,Abono,Concepto,Ordenante\n{today},77,?,?\n")
    (line,) = lines(system, isp)
    url = f"/billing/bank/{line.id}"
    assert f'href="{url}"' in browser.get("/billing/bank/").text
    found = browser.get(f"{url}?q=beto").text
    assert f'name="subscriber_id" value="{people["Beto Ruiz"]}"' in found
    assert "Ana López" not in found
    method = re.search(r'name="method_id" value="(\d+)"', found)[1]
    assert post(browser, f"{url}/book", subscriber_id=people["Beto Ruiz"], method_id=method).status_code == 302
    assert [each.state for each in lines(system, isp)] == ["booked"]
    assert browser.get(url).location == "/billing/bank/"
    assert "This was done already." in browser.get("/billing/bank/").text


def test_a_file_without_its_columns_is_refused_until_they_are_named(system, isp, sign_in, books):
    _, today = books
    browser = sign_in("finance")
    content = f"Cuando,Cuanto\n{today},300\n"
    refused = upload(browser, content)
    assert refused.status_code == 422
    assert "Name the file&#39;s columns below." in refused.text
    assert upload(browser, content, day="Cuando", amount="Cuanto").status_code == 302
    assert [line.amount for line in lines(system, isp)] == [300]


def test_another_operators_lines_cannot_be_booked(system, installation, isp, sign_in, books):
    _, today = books
    upload(sign_in("finance"), f"Date,Amount\n{today},300\n")
    (line,) = lines(system, isp)
    stranger = sign_in("finance", make_isp(system, installation))
    post(stranger, f"/billing/bank/{line.id}/book", subscriber_id="1", method_id="1")
    assert post(stranger, f"/billing/bank/{line.id}/aside").status_code == 404
    assert lines(system, isp)[0].state == "waiting"
