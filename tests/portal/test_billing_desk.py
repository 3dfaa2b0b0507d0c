"""A cashier's day, and collectors."""

import re
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.ledger import broken_entries
from db.models import CashDesk, Collector
from tests.portal.billing_isp import bill, billed_line, pay, payments_of, start_billing, today
from tests.portal.conftest import make_isp, post
from tests.portal.test_billing_payments import agreed, text_of, typed


@pytest.fixture
def methods(system, isp) -> dict[str, int]:
    return start_billing(system, isp)


@pytest.fixture
def ana(system, installation, isp, methods) -> int:
    subscriber_id, _service = billed_line(system, installation, isp, "Ana Peña", 45)
    bill(system, isp)
    return subscriber_id


def desk_of(system, isp) -> CashDesk:
    with Session(system) as session:
        return session.scalars(select(CashDesk).where(CashDesk.operator_id == isp.operator_id)).one()


def take(browser, subscriber_id, methods, **values) -> str:
    """Register a payment in a browser and return where it leads."""
    fields = typed(methods, **values)
    page = post(browser, f"/payments/new/{subscriber_id}", agreed="", **fields)
    answer = post(browser, f"/payments/new/{subscriber_id}", agreed=agreed(page.text), **fields)
    assert answer.status_code == 302, answer.text
    return answer.location


def move(browser, kind: str, amount: str, **values: object):
    fields = {"kind": kind, "amount": amount, "collector_id": "", "description": "", **values}
    return post(browser, "/desk/move", **{f"move-{name}": value for name, value in fields.items()})


def test_a_desk_is_opened_used_counted_and_its_report_printed(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    assert post(browser, "/desk/open", opening="500").status_code == 302
    take(browser, ana, methods, amount="300")
    take(browser, ana, methods, amount="100", method_id=methods["Transfer"], reference="T-1")
    assert move(browser, "deposit", "200", description="Banorte 7").status_code == 302
    assert "At most 600" in move(browser, "expense", "601").text
    said = text_of(browser.get("/desk/").text)
    assert "$600.00" in said
    assert "Banorte 7" in said
    closed = post(browser, "/desk/close", **{"close-counted": "599.50", "close-note": "a coin"})
    assert closed.status_code == 302
    report = text_of(browser.get(closed.location).text)
    for part in ("Opening $500.00", "Cash (1) $300.00", "Expected $600.00", "Counted $599.50",
                 "Difference -$0.50", "a coin", "Receipt 1 Ana Peña"):  # fmt: skip
        assert part in report, part
    assert re.search(r"Opened \w+ \d+, \d{4}, \d+:\d\d\s[AP]M Closed", report)  # nobody needs its seconds
    assert "T-1" not in report  # a transfer is in the bank, not in the till
    desk = desk_of(system, isp)
    assert (desk.expected, desk.counted) == (Decimal(600), Decimal("599.50"))
    with Session(system) as session:
        assert broken_entries(session, isp.operator_id) == []


def test_a_closed_desk_takes_nothing_more(system, isp, sign_in, methods):
    browser = sign_in("finance")
    assert "Your cash desk is closed." in browser.get(move(browser, "deposit", "1").location).text
    post(browser, "/desk/open", opening="0")
    assert post(browser, "/desk/open", opening="0").status_code == 422
    post(browser, "/desk/close", **{"close-counted": "0", "close-note": ""})
    assert post(browser, "/desk/close", **{"close-counted": "0", "close-note": ""}).status_code == 302
    with Session(system) as session:
        query = select(CashDesk).where(CashDesk.operator_id == isp.operator_id)
        assert [desk.counted for desk in session.scalars(query)] == [Decimal(0)]


@pytest.mark.parametrize("amount", ["-1", "", "x", "1.234,56"])
def test_what_is_no_amount_opens_no_desk(sign_in, methods, amount):
    answer = post(sign_in("finance"), "/desk/open", opening=amount)
    assert answer.status_code == 422
    assert 'id="opening-error"' in answer.text


def test_a_collector_owes_what_was_collected_less_the_commission(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    made = post(browser, "/collectors/new", name="Don Beto", commission="10", staff_id="", active="y")
    with Session(system) as session:
        beto = session.scalars(select(Collector.id).where(Collector.operator_id == isp.operator_id)).one()
    assert made.location == f"/collectors/{beto}"
    take(browser, ana, methods, amount="200", collector_id=beto)
    assert "Owes $180.00" in text_of(browser.get(made.location).text)
    said = text_of(browser.get(f"{made.location}/closing").text)
    assert "To hand over of these $180.00 Owes in all $180.00" in said
    post(browser, "/desk/open", opening="0")
    assert move(browser, "handover", "150").status_code == 422  # of whom?
    assert move(browser, "handover", "150", collector_id=beto).status_code == 302
    assert "Owes $30.00" in text_of(browser.get(made.location).text)
    said = text_of(browser.get(f"{made.location}/closing").text)
    assert "To hand over of these $0.00 Owes in all $30.00" in said, "a new sheet begins"
    said = text_of(browser.get(f"{made.location}/closing?day={today()}").text)
    assert "Collected $200.00" in said
    assert "$150.00" in text_of(browser.get("/desk/").text)
    assert post(browser, f"/collectors/{beto}/edit", name="", commission="120").status_code == 422
    assert payments_of(system, ana)[0].desk_id is None


def test_a_cashier_sees_no_desk_of_another_operator(system, installation, isp, sign_in, methods):
    browser = sign_in("finance")
    post(browser, "/desk/open", opening="5")
    desk = desk_of(system, isp)
    assert browser.get(f"/desk/{desk.id}").status_code == 200
    stranger = make_isp(system, installation)
    start_billing(system, stranger)
    assert sign_in("manager", stranger).get(f"/desk/{desk.id}").status_code == 404
    assert sign_in("support").get("/desk/").status_code == 403
    rows = browser.get("/desk/all?format=csv").text.splitlines()
    assert "Finance" in rows[1]


def test_a_voided_payment_leaves_the_till(system, isp, sign_in, ana, methods):
    browser = sign_in("finance")
    post(browser, "/desk/open", opening="0")
    paid = take(browser, ana, methods, amount="300")
    post(browser, f"{paid}/void", **{"void-reason": "wrong person"})
    said = text_of(browser.get("/desk/").text)
    assert "voided, not counted" in said
    assert "$0.00 Open" in said
    assert pay(system, isp, ana, methods["Cash"], "1", paid_on=today())
