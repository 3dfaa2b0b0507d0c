"""Quotes: a plan offered to a lead in writing, as it is made, read, sent and checked."""

import subprocess
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Lead, Notification, PlanItem, Quote, RatePlan
from tests.portal.billing_isp import start_billing, today
from tests.portal.conftest import make_isp, post


@pytest.fixture
def lead(system, isp) -> int:
    """Somebody who asked an operator that adds 16 % and sells a set-top box with its plan."""
    start_billing(system, isp, taxes=(("IVA", "16", False),))
    with Session(system) as session:
        row = Lead(operator_id=isp.operator_id, name="Rosa Díaz", phone="+52 55 1000 2000", email="rosa@example.com")
        session.add(row)
        for name, price, once in (("Set-top box", "40", False), ("Cable", "100", True), ("Support", None, False)):
            kept = {"price": price and Decimal(price), "once": once, "tax_exempt": name == "Cable"}
            session.add(PlanItem(operator_id=isp.operator_id, plan_id=isp.plan_id, name=name, **kept))
        session.commit()
        return row.id


def quotes(system, isp):
    with Session(system) as session:
        return list(session.scalars(select(Quote).where(Quote.operator_id == isp.operator_id).order_by(Quote.number)))


def make(browser, isp, lead, **typed):
    values = {
        "plan_id": isp.plan_id,
        "days": "10",
        "installation": "500",
        "note": "Within a week",
        "language": "en",
        **typed,
    }
    return post(browser, f"/leads/{lead}/quotes/new", **values)


def said(answer):
    assert answer.mimetype == "application/pdf"
    made = subprocess.run(["pdftotext", "-layout", "-", "-"], input=answer.data, capture_output=True, check=True)
    return " ".join(made.stdout.decode().split())


def test_a_quote_keeps_what_was_offered_and_reaches_the_lead(sign_in, system, isp, lead):
    browser = sign_in("sales")
    assert make(browser, isp, lead).status_code == 302
    [kept] = quotes(system, isp)
    assert (kept.number, kept.monthly, kept.once) == (1, Decimal("394.40"), Decimal("680.00"))
    assert kept.valid_until == today() + timedelta(days=10)
    with Session(system) as session:
        row = session.get_one(Lead, lead)
        assert (row.state, row.plan_id) == ("quoted", isp.plan_id)
        session.get_one(RatePlan, isp.plan_id).price = Decimal(999)
        session.commit()
    text = said(browser.get(f"/leads/{lead}/quotes/{kept.id}.pdf"))
    for part in ("Quote 1", "Rosa Díaz", "Set-top box", "$40.00", "Support", "included", "Installation", "$500.00",
                 "IVA 16 %", "$54.40", "$394.40", "$680.00", "Within a week"):  # fmt: skip
        assert part in text
    assert "999" not in text

    page = browser.get(f"/leads/{lead}").text
    assert f"/leads/{lead}/quotes/{kept.id}.pdf" in page
    assert post(browser, f"/leads/{lead}/quotes/{kept.id}/mail", address="rosa@example.com").status_code == 302
    with Session(system) as session:
        mail = session.scalars(select(Notification).where(Notification.kind == "document.quote")).one()
        assert "$394.40" in mail.body
        assert mail.state == "waiting"  # for the mail server, and for no person
        link = next(word for word in mail.body.split() if "/quotes/" in word)
    path = "/quotes/" + link.rsplit("/quotes/", 1)[1]
    assert "Rosa Díaz" in said(browser.application.test_client().get(path))
    whatsapp = browser.get(f"/leads/{lead}/quotes/{kept.id}/whatsapp").headers["Location"]
    assert whatsapp.startswith("https://wa.me/525510002000?text=")
    assert path.removeprefix("/quotes/").removesuffix(".pdf") in whatsapp
    assert browser.application.test_client().get(path.replace("fq-", "vi-")).status_code == 404
    assert browser.application.test_client().get(path.replace(".pdf", "a.pdf")).status_code == 404


@pytest.mark.parametrize(
    "typed",
    [
        {"days": "0"}, {"days": "366"}, {"days": "x"}, {"installation": "-1"}, {"installation": "1.001"},
        {"installation": "9999999999"}, {"note": "x" * 1001}, {"plan_id": "999999"},
        {"language": "tlh"},
    ],
)  # fmt: skip
def test_what_cannot_be_offered_is_said_and_nothing_is_kept(sign_in, system, isp, lead, typed):
    assert make(sign_in("sales"), isp, lead, **typed).status_code == 422
    assert quotes(system, isp) == []


def test_a_lead_that_is_won_gets_no_more_quotes_and_numbers_are_each_operators_own(sign_in, system, isp, lead):
    browser = sign_in("sales")
    assert make(browser, isp, lead).status_code == 302
    assert make(browser, isp, lead, installation="", language="es").status_code == 302
    assert [(each.number, each.once) for each in quotes(system, isp)] == [(1, Decimal(680)), (2, Decimal(100))]
    assert "Cotización 2" in said(browser.get(f"/leads/{lead}/quotes/{quotes(system, isp)[1].id}.pdf"))
    assert post(browser, f"/leads/{lead}/win").status_code == 302
    assert make(browser, isp, lead).status_code == 302
    assert len(quotes(system, isp)) == 2


def test_a_quote_of_another_operator_or_lead_is_not_there(sign_in, system, installation, isp, lead):
    browser = sign_in("sales")
    assert make(browser, isp, lead).status_code == 302
    [kept] = quotes(system, isp)
    with Session(system) as session:
        neighbour = Lead(operator_id=isp.operator_id, name="Luis", phone="1")
        session.add(neighbour)
        session.commit()
        assert browser.get(f"/leads/{neighbour.id}/quotes/{kept.id}.pdf").status_code == 404
    other = make_isp(system, installation)
    stranger = sign_in("sales", of=other)
    assert stranger.get(f"/leads/{lead}/quotes/{kept.id}.pdf").status_code == 404
    assert make(stranger, other, lead).status_code == 404
