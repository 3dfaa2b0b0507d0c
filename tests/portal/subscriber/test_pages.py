"""What subscribers see and do on their own pages, and that all of it is theirs."""

import io
import re
from datetime import date, timedelta
from decimal import Decimal

import pytest
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.tickets import answer, note, open_ticket, solve
from db.audit import Actor
from db.models import (
    AuditEntry,
    Charge,
    ExchangeRate,
    ForeignCurrency,
    PaymentMethod,
    PlanRequest,
    RatePlan,
    Service,
    ServiceMac,
    Subscriber,
    Ticket,
    TicketCategory,
    TicketEntry,
    UsageHour,
    UsagePeriod,
)
from tests.portal.billing_isp import bill, cut_off, invoices_of, pay, payments_of, service_of, today
from tests.portal.conftest import post
from tests.portal.test_shell import INLINE

GB = 10**9


def add_plan(home, name: str, price: str, download: int = 50_000_000) -> int:
    with Session(home.system) as session:
        plan = RatePlan(
            operator_id=home.isp.operator_id, name=name, download=download, upload=10_000_000, price=Decimal(price)
        )
        session.add(plan)
        session.commit()
        return plan.id


def change(home, model, row_id, **values) -> None:
    with Session(home.system) as session:
        row = session.get_one(model, row_id)
        for name, value in values.items():
            setattr(row, name, value)
        session.commit()


def test_a_subscriber_sees_what_they_owe_and_gets_the_documents(ana):
    bill(ana.system, ana.isp)
    (invoice,) = invoices_of(ana.system, ana.subscriber_id)
    home = ana.get().text
    assert "300" in re.search(r'id="balance">([^<]+)<', home)[1]
    pdf = ana.get(f"documents/invoice/{invoice.id}.pdf")
    assert pdf.data.startswith(b"%PDF-")
    assert "inline" in pdf.headers["Content-Disposition"]
    assert ana.url("statement.pdf") in ana.get("bills").text
    (page,) = PdfReader(io.BytesIO(ana.get("statement.pdf").data)).pages
    statement = " ".join(page.extract_text().split())
    assert "Left to pay" in statement
    assert "$300.00" in statement
    with Session(ana.system) as session:
        method = session.scalars(select(PaymentMethod.id).where(
            PaymentMethod.operator_id == ana.isp.operator_id, PaymentMethod.name == "Cash")).one()  # fmt: skip
    pay(ana.system, ana.isp, ana.subscriber_id, method, "300")
    assert "Nothing to pay" in ana.get().text
    (payment,) = payments_of(ana.system, ana.subscriber_id)
    bills = ana.get("bills").text
    assert f"/documents/receipt/{payment.id}.pdf" in bills
    assert "settled" in bills


def test_who_is_suspended_reads_why_and_what_to_do(ana):
    bill(ana.system, ana.isp)
    cut_off(ana.system, ana.isp, ana.service_id)
    page = ana.get().text
    assert "a payment is overdue" in page
    assert "It was due on" in page
    assert "next due" not in page.lower(), "nothing that is over is still to come"
    assert ana.url("pay") in page
    way = ana.get("pay").headers["Location"]
    assert way.startswith("/pay/pb-")
    paid = ana.browser.get(way)
    assert paid.status_code == 200
    assert ana.url() in paid.text  # the way back
    (invoice,) = invoices_of(ana.system, ana.subscriber_id)
    assert ana.get(f"pay?invoice={invoice.id}").headers["Location"].startswith("/pay/pi-")
    until = today() + timedelta(days=3)
    assert ana.post(f"services/{ana.service_id}/promise", until=until.isoformat()).status_code == 302
    assert (service_of(ana.system, ana.service_id).state, service_of(ana.system, ana.service_id).promised_until) == (
        "active",
        until,
    )
    assert "Without a payment it is cut on" in ana.get().text
    late = ana.post(f"services/{ana.service_id}/promise", until=(today() + timedelta(days=60)).isoformat())
    assert "The latest day possible" in ana.browser.get(late.headers["Location"]).text
    ana.allow(may_promise=False)
    assert ana.post(f"services/{ana.service_id}/promise", until=until.isoformat()).status_code == 404


def test_every_address_of_somebody_else_is_not_there(ana, make_home):
    """Another subscriber of the same operator, and one of another operator, by every id that stands in an address."""
    neighbour, stranger = make_home("Beto Ruiz", ana.isp), make_home("Otto Otro")
    for other in (neighbour, stranger):
        bill(other.system, other.isp)
        (invoice,) = invoices_of(other.system, other.subscriber_id)
        with Session(other.system) as session:
            actor = Actor(other.isp.operator_id, "test")
            ticket = open_ticket(session, actor, other.subscriber_id, None, "Slow", "Since Monday")
            session.commit()
            ticket_id = ticket.id
        ana.allow(may_pause=True, offered_plans=(ana.isp.plan_id,))
        for path in (
            f"documents/invoice/{invoice.id}.pdf", f"documents/receipt/{invoice.id}.pdf",
            f"pay?invoice={invoice.id}", f"services/{other.service_id}/plan", f"services/{other.service_id}/promise",
            f"services/{other.service_id}/boost", f"services/{other.service_id}/pause", f"help/{ticket_id}",
            f"help/{ticket_id}/files/1",
        ):  # fmt: skip
            assert ana.get(path).status_code == 404, path
        for path in (
            f"services/{other.service_id}/plan", f"services/{other.service_id}/plan/withdraw",
            f"services/{other.service_id}/promise", f"services/{other.service_id}/boost",
            f"services/{other.service_id}/pause", f"services/{other.service_id}/resume",
            f"services/{other.service_id}/devices/forget", f"help/{ticket_id}", f"help/{ticket_id}/rate",
        ):  # fmt: skip
            form = {"mac": "02:00:00:00:00:01", "text": "x", "stars": "1", "plan": ana.isp.plan_id}
            assert ana.post(path, until=today().isoformat(), **form).status_code == 404, path
        assert service_of(other.system, other.service_id).state == "active"
        assert other.slug == ana.slug or ana.browser.get(other.url()).status_code == 302
    for page in ("", "usage", "bills", "help", "devices", "account"):
        assert "Beto" not in ana.get(page).text, page
        assert "beto" not in ana.get(page).text, page


def test_the_day_on_which_the_cap_is_reached_is_said_before(ana):
    plan = add_plan(ana, "Ahorro", "300", download=5_000_000)
    change(ana, RatePlan, plan, cap_octets=100 * GB, cap_action="throttle")
    change(ana, Service, ana.service_id, plan_id=plan)
    now = utc_now()
    with Session(ana.system) as session:
        values = {"service_id": ana.service_id, "operator_id": ana.isp.operator_id}
        session.add(UsagePeriod(**values, period_start=now - timedelta(days=10), period_end=now + timedelta(days=20),
                                octets_in=10 * GB, octets_out=50 * GB))  # fmt: skip
        session.add(UsageHour(**values, hour=(now - timedelta(hours=30)).replace(minute=0, second=0, microsecond=0),
                              octets_in=10 * GB, octets_out=46 * GB))  # fmt: skip
        session.commit()
    page = ana.get().text.replace("\u00a0", " ")
    assert re.search(r"60(\.0)? GB of 100(\.0)? GB", page), page
    assert "At this pace it is used up on" in page  # 56 GB in seven days leave 40 GB for five more
    usage = ana.get("usage?span=month").text
    assert re.search(r"46(\.0)? GB", usage.replace("\u00a0", " "))
    rows = {span: ana.get(f"usage?span={span}").text.count('<td data-value="') for span in ("day", "week", "month")}
    assert rows == {"day": 0, "week": 7 * 24 + 1, "month": 32}, "an hour without traffic is one of nothing, not a gap"


def test_a_plan_is_changed_at_the_price_that_was_shown_before(ana):
    bill(ana.system, ana.isp)
    larger = add_plan(ana, "Home 50", "600")
    hidden = add_plan(ana, "Staff only", "1")
    assert ana.get(f"services/{ana.service_id}/plan").status_code == 404
    ana.allow(plan_change="at_once", offered_plans=(larger, ana.isp.plan_id))
    page = ana.get(f"services/{ana.service_id}/plan?plan={larger}").text
    assert "Staff only" not in page
    shown = Decimal(re.search(r'id="offer-today">[^0-9]*([0-9.,]+)', page)[1].replace(",", ""))
    then = re.search(r'id="offer-then">[^0-9]*([0-9.,]+)', page)[1]
    assert shown > 0
    assert then == "600.00"
    assert len(invoices_of(ana.system, ana.subscriber_id)) == 1  # looking costs nothing
    refused = ana.post(f"services/{ana.service_id}/plan", plan=hidden)
    assert "does not offer this" in ana.browser.get(refused.headers["Location"]).text
    assert service_of(ana.system, ana.service_id).plan_id == ana.isp.plan_id
    ana.post(f"services/{ana.service_id}/plan", plan=larger)
    assert service_of(ana.system, ana.service_id).plan_id == larger
    _first, second = invoices_of(ana.system, ana.subscriber_id)
    assert second.open == shown
    again = ana.post(f"services/{ana.service_id}/plan", plan=larger)  # the other tab
    assert "already" in ana.browser.get(again.headers["Location"]).text
    assert len(invoices_of(ana.system, ana.subscriber_id)) == 2
    with Session(ana.system) as session:
        (who,) = session.scalars(select(AuditEntry.actor).where(
            AuditEntry.action == "service.plan", AuditEntry.entity_id == ana.service_id)).all()  # fmt: skip
    assert who == "Ana Peña (subscriber)"


def test_a_plan_whose_rate_is_too_old_is_neither_priced_nor_taken(ana):
    bill(ana.system, ana.isp)
    dollars = add_plan(ana, "Home 50", "30")
    with Session(ana.system) as session:
        operator_id = session.get_one(RatePlan, dollars).operator_id
        session.get_one(RatePlan, dollars).price_currency = "USD"
        session.add(ForeignCurrency(operator_id=operator_id, currency="USD"))
        old = {"day": date(2026, 1, 2), "rate": Decimal("17.25")}
        session.add(ExchangeRate(operator_id=operator_id, currency="USD", books_currency="MXN", **old))
        session.commit()
    ana.allow(plan_change="at_once", offered_plans=(dollars,))
    assert 'id="offer-today"' not in ana.get(f"services/{ana.service_id}/plan?plan={dollars}").text
    refused = ana.post(f"services/{ana.service_id}/plan", plan=dollars)
    assert "does not offer this" in ana.browser.get(refused.headers["Location"]).text
    assert service_of(ana.system, ana.service_id).plan_id == ana.isp.plan_id


def test_a_wish_waits_for_staff_who_grant_or_refuse_it(ana, sign_in):
    larger, largest = add_plan(ana, "Home 50", "600"), add_plan(ana, "Home 100", "900")
    ana.allow(plan_change="ask", offered_plans=(larger, largest))
    ana.post(f"services/{ana.service_id}/plan", plan=larger)
    ana.post(f"services/{ana.service_id}/plan", plan=largest)
    assert "Home 100" in ana.get().text
    with Session(ana.system) as session:
        states = session.scalars(
            select(PlanRequest.state).where(PlanRequest.service_id == ana.service_id).order_by(PlanRequest.id)
        ).all()
        assert states == ["withdrawn", "open"]
        waiting = (PlanRequest.service_id == ana.service_id, PlanRequest.state == "open")
        wish = session.scalars(select(PlanRequest.id).where(*waiting)).one()
    staff = sign_in("support", ana.isp)
    assert "Home 100" in staff.get("/settings/subscriber-portal/requests").text
    other = sign_in("support")  # of another operator
    assert post(other, f"/settings/subscriber-portal/requests/{wish}/grant").status_code == 404
    post(staff, f"/settings/subscriber-portal/requests/{wish}/grant")
    assert service_of(ana.system, ana.service_id).plan_id == largest
    assert "Home 100" in ana.mails("plan_granted")[0].body
    post(staff, f"/settings/subscriber-portal/requests/{wish}/refuse")
    assert ana.mails("plan_refused") == []
    assert service_of(ana.system, ana.service_id).plan_id == largest


def test_a_boost_is_bought_once_however_often_it_is_clicked(ana):
    plan = ana.isp.plan_id
    change(ana, RatePlan, plan, boost_download=40_000_000, boost_upload=10_000_000, boost_hours=6,
           boost_price=Decimal(30))  # fmt: skip
    page = ana.get(f"services/{ana.service_id}/boost").text
    assert "30" in page
    seen = re.search(r'name="seen" value="([^"]*)"', page)[1]
    ana.post(f"services/{ana.service_id}/boost", seen=seen)
    until = service_of(ana.system, ana.service_id).boost_until
    again = ana.post(f"services/{ana.service_id}/boost", seen=seen)
    assert "already" in ana.browser.get(again.headers["Location"]).text
    assert service_of(ana.system, ana.service_id).boost_until == until
    assert "Faster until" in ana.get().text
    ana.allow(may_boost=False)
    assert ana.post(f"services/{ana.service_id}/boost", seen="").status_code == 404


def test_data_is_topped_up_once_however_many_tabs_ask_and_comes_on_the_next_invoice(ana, make_home):
    address = f"services/{ana.service_id}/top-up"
    assert ana.get(address).status_code == 404  # this plan offers none
    change(ana, RatePlan, ana.isp.plan_id, cap_octets=10 * GB, cap_action="block", top_up_octets=5 * GB,
           top_up_price=Decimal(50))  # fmt: skip
    tabs = [re.search(r'name="seen" value="([^"]*)"', ana.get(address).text)[1] for _tab in range(2)]
    for seen, said in zip(tabs, ("You have more data", "already"), strict=True):
        assert said in ana.browser.get(ana.post(address, seen=seen).headers["Location"]).text
    for forged in ("", "-1", "9" * 40, "x"):
        ana.post(address, seen=forged)
    service = service_of(ana.system, ana.service_id)
    assert (service.top_up_octets, service.top_up_until > utc_now()) == (5 * GB, True)
    assert "You have bought" in ana.get(address).text
    for stranger in (make_home("Otra Persona", ana.isp), make_home("De otro proveedor")):
        stranger.sign_in()
        assert stranger.get(address).status_code == stranger.post(address, seen=str(5 * GB)).status_code == 404
    with Session(ana.system) as session:
        charges = session.scalars(select(Charge.amount).where(Charge.service_id == ana.service_id)).all()
    assert charges == [Decimal(50)]
    ana.allow(may_boost=False)
    assert ana.post(address, seen=str(5 * GB)).status_code == 404


def test_a_pause_is_the_subscribers_own_where_it_is_allowed(ana):
    assert ana.post(f"services/{ana.service_id}/pause").status_code == 404
    ana.allow(may_pause=True)
    ana.post(f"services/{ana.service_id}/pause")
    assert service_of(ana.system, ana.service_id).state == "paused"
    assert "Your service is paused" in ana.get().text
    cut_off(ana.system, ana.isp, ana.service_id)
    ana.post(f"services/{ana.service_id}/resume")
    assert service_of(ana.system, ana.service_id).state == "suspended"  # a pause does not hide a debt
    change(ana, Service, ana.service_id, state="paused", suspended_at=None, suspension_cause=None)
    ana.post(f"services/{ana.service_id}/resume")
    assert service_of(ana.system, ana.service_id).state == "active"


def test_a_learned_device_is_forgotten_and_an_entered_one_stays(ana):
    learned, entered = "02:00:00:00:00:01", "02:00:00:00:00:02"
    change(ana, Service, ana.service_id, mac_binding="learn")
    with Session(ana.system) as session:
        for mac in (learned, entered):
            session.add(ServiceMac(service_id=ana.service_id, mac=mac, operator_id=ana.isp.operator_id,
                                   learned=mac == learned))  # fmt: skip
        session.commit()
    for mac in (learned, entered, "02:00:00:00:00:03"):
        assert ana.post(f"services/{ana.service_id}/devices/forget", mac=mac).status_code == 302
    assert ana.post(f"services/{ana.service_id}/devices/forget", mac="no mac").status_code == 400
    with Session(ana.system) as session:
        left = session.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == ana.service_id)).all()
    assert left == [entered]


def test_who_does_not_choose_what_it_is_about_reaches_support_and_not_the_first_in_the_alphabet(ana):
    with Session(ana.system) as session:
        session.add(TicketCategory(operator_id=ana.isp.operator_id, name="Address", queue="sales", priority="low"))
        session.commit()
    page = ana.get("help/new").text
    options = re.findall(r"<option([^>]*)>", page.partition('name="category"')[2].partition("</select>")[0])
    assert len(options) == 2
    assert 'value=""' in options[0], "nothing is chosen beforehand"
    assert "selected" not in options[1]
    sent = ana.browser.post(
        ana.url("help/new"),
        data={"subject": "No internet", "text": "?", "category": "", "csrf_token": ana.token()},
    )
    assert sent.status_code == 302
    with Session(ana.system) as session:
        ticket = session.scalar(select(Ticket).where(Ticket.operator_id == ana.isp.operator_id))
        assert ticket is not None
        assert (ticket.queue, ticket.category_id) == ("support", None)


def test_a_ticket_is_opened_with_a_photo_answered_and_judged(ana):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    form = {"subject": "No internet", "text": "Since <b>Monday</b>", "category": "", "csrf_token": ana.token()}
    sent = ana.browser.post(ana.url("help/new"), data={**form, "files": (picture, "cpe.png")})
    assert sent.status_code == 302, sent.text
    way = sent.headers["Location"].removeprefix(ana.url())
    page = ana.get(way).text
    assert "Since &lt;b&gt;Monday&lt;/b&gt;" in page
    file = ana.get(re.search(rf'href="{ana.url()}({way}/files/[0-9]+)"', page)[1])
    assert file.headers["Content-Type"] == "image/png"
    number = int(way.rpartition("/")[2])
    with Session(ana.system) as session:
        actor = Actor(ana.isp.operator_id, "support")
        ticket = session.get_one(Ticket, number)
        answer(session, actor, ticket, "Please restart it.")
        note(session, actor, ticket, "He never pays.")
        solve(session, actor, ticket)
        session.commit()
    page = ana.get(way).text
    assert "Please restart it." in page
    assert "He never pays." not in page
    ana.post(f"{way}/rate", stars="4", words="Quick")
    assert ana.post(f"{way}/rate", stars="9").status_code == 400
    ana.post(way, text="It is gone again")
    with Session(ana.system) as session:
        ticket = session.get_one(Ticket, number)
        assert (ticket.satisfaction, ticket.state, ticket.source) == (4, "open", "portal")
        said = session.scalar(select(func.count()).select_from(TicketEntry).where(
            TicketEntry.ticket_id == number, TicketEntry.kind == "message"))  # fmt: skip
    assert said == 2
    form = {**form, "csrf_token": ana.token(), "files": (io.BytesIO(b"MZ\x90\x00"), "photo.png")}
    assert ana.browser.post(ana.url("help/new"), data=form).status_code == 422


def test_the_language_is_changed_unless_somebody_else_changed_something_meanwhile(ana):
    page = ana.get("account").text
    version = re.search(r'name="version"[^>]*value="(\d+)"', page)[1]
    saved = ana.post("account/contact", language="es", version=version)
    assert saved.status_code == 302
    assert "Cuenta" in ana.get("account").text
    ana.post("account/contact", language="en", version=version)
    with Session(ana.system) as session:
        person = session.get_one(Subscriber, ana.subscriber_id)
        version = str(person.version)
        assert (person.language, person.name) == ("es", "Ana Peña")
    assert ana.post("account/contact", language="xx", version=version).status_code == 422


@pytest.mark.parametrize("path", ["", "usage", "bills", "help", "help/new", "devices", "account", "terms"])
def test_no_page_needs_inline_scripts_or_other_sites(ana, path):
    page = ana.get(path)
    assert page.status_code == 200
    assert INLINE.search(page.text) is None
    assert re.findall(r'(?:src|href)="(?:https?:)?//[^"]+"', page.text) == []


def test_the_brand_stands_on_the_pages_and_what_cannot_be_taken_is_refused(ana, sign_in, make_home):
    staff = sign_in("manager", ana.isp)
    good = {"name": "Valle Net", "colour": "#ffee00", "phone": "33 1234 5678", "whatsapp": "+52 33 1234 5678",
            "email": "help@valle.example", "host": "My.Valle.example", "terms": "<b>Be kind</b>"}  # fmt: skip
    assert post(staff, "/settings/subscriber-portal/", **good).status_code == 302
    page = ana.get().text
    assert "Valle Net" in page
    assert "https://wa.me/523312345678" in page
    css = ana.get("brand.css").text
    assert "--my-on-colour: #000000" in css
    assert "--tblr-link-color: #ffee00" not in css.splitlines()[1]  # yellow on white cannot be read
    assert "&lt;b&gt;Be kind" in ana.get("terms").text
    for field, value in (("colour", "red; }"), ("host", "localhost"), ("whatsapp", "none"), ("email", "x")):
        refused = post(staff, "/settings/subscriber-portal/", **{**good, field: value})
        assert refused.status_code == 422, field
    other = sign_in("manager", make_home("Otto Otro").isp)
    taken = post(other, "/settings/subscriber-portal/", **good)
    assert "in use already" in taken.text
    picture = {**good, "csrf_token": ana.token(), "logo": (io.BytesIO(b"<svg onload='x'/>"), "logo.png")}
    page = staff.get("/settings/subscriber-portal/").text
    picture["csrf_token"] = page.split('name="csrf_token" value="')[1].split('"')[0]
    assert staff.post("/settings/subscriber-portal/", data=picture).status_code == 422
    rights = {"enabled": "y", "plan_change": "at_once", "offered_plans": [ana.isp.plan_id], "may_pause": "y"}
    assert post(staff, "/settings/subscriber-portal/rights", **rights).status_code == 302
    assert 'value="at_once" selected' in re.sub(r"selected value=\"(\w+)\"", r'value="\1" selected',
                                                staff.get("/settings/subscriber-portal/rights").text)  # fmt: skip
    assert post(sign_in("support", ana.isp), "/settings/subscriber-portal/", **good).status_code == 403
