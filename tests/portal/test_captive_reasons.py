"""Why a line or a device is closed, as whoever is behind it sees it, with each of the ways to help oneself."""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from gettext import NullTranslations
from itertools import count

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import force_locale, get_translations
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from aaa.decision import Reason
from core.clock import utc_now
from core.i18n import DECLARED, Language, languages_of
from core.settings import Settings
from crm.brands import Allowed, change_allowed
from db.audit import Actor
from db.models import Brand, Charge, Operator, Promise, RatePlan, Service, Ticket, TicketEntry
from portal.auth import limiter
from portal.captive import place as places
from portal.captive.devices import LONGEST_CONTACT
from portal.captive.refused import DEVICE_TROUBLES, LATELY
from radius.messages import reply_message
from tests.portal.billing_isp import bill, billed_line, cut_off, service_of, start_billing
from tests.portal.conftest import Isp, make_isp
from tests.portal.online import enter_accounts
from tests.portal.test_captive import GIVEN, MAC, Hotspot, make_hotspot

GB = 10**9
_lines = count(10)


@pytest.fixture(autouse=True)
def nothing_is_remembered(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "KEPT", 0.0)
    with app.app_context():
        limiter.reset()


@dataclass
class Line:
    """A line with a live session, and a browser behind it."""

    app: Flask
    system: Engine
    isp: Isp
    subscriber_id: int
    service_id: int
    address: str
    browser: FlaskClient

    def get(self, path: str = "/captive/why", **headers: str) -> TestResponse:
        return self.browser.get(path, environ_base={"REMOTE_ADDR": self.address}, headers=headers)

    def send(self, step: str, page: str | None = None, **fields: str) -> TestResponse:
        """Send one of the page's forms, with what is hidden in it."""
        form = re.search(rf'<form method="post" action="/captive/why/{step}">.*?</form>', page or self.get().text, re.S)
        assert form is not None, f"no form for {step}"
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
        url = f"/captive/why/{step}"
        return self.browser.post(url, data={**hidden, **fields}, environ_base={"REMOTE_ADDR": self.address})

    def change(self, model: type, row: int, **values: object) -> None:
        with Session(self.system) as session:
            found = session.get_one(model, row)
            for name, value in values.items():
                setattr(found, name, value)
            session.commit()

    def allow(self, **wanted: object) -> None:
        with Session(self.system) as session:
            change_allowed(session, Actor(self.isp.operator_id, "test"), Allowed(**wanted))
            session.commit()


@pytest.fixture
def make_line(app: Flask, system: Engine, installation: Settings) -> Callable[..., Line]:
    def make(name: str = "Ana Peña", days_ago: int = 3) -> Line:
        isp = make_isp(system, installation)
        start_billing(system, isp)
        subscriber_id, service_id = billed_line(system, installation, isp, name, days_ago)
        address = f"10.77.1.{next(_lines)}"
        with Session(system) as session:
            session.add(Brand(operator_id=isp.operator_id, phone="55 1234 5678", whatsapp="525512345678"))
            session.execute(
                text(
                    "INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name,"
                    " kind, framed_ip, calling_station_id, updated_at)"
                    " VALUES (now() - interval '1 hour', :operator, :nas,"
                    " :service, 'a1', 'ana', 'ppp', :address, '', now())"
                ),
                {"operator": isp.operator_id, "nas": isp.nas_id, "service": service_id, "address": address},
            )
            session.commit()
        return Line(app, system, isp, subscriber_id, service_id, address, app.test_client())

    return make


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    return make_line()


def use(line: Line, octets: int, **plan: object) -> None:
    """Give the line's plan a cap, and let the line have used so much of it."""
    line.change(RatePlan, line.isp.plan_id, **plan)
    now = utc_now()
    with Session(line.system) as session:
        session.execute(
            text(
                "INSERT INTO usage_period (service_id, operator_id, period_start, period_end, octets_in, octets_out)"
                " VALUES (:service, :operator, :begin, :end, 0, :octets)"
            ),
            {"service": line.service_id, "operator": line.isp.operator_id, "octets": octets,
             "begin": now - timedelta(days=1), "end": now + timedelta(days=9)},
        )  # fmt: skip
        session.commit()


def rows(line: Line, model: type) -> list:
    with Session(line.system, expire_on_commit=False) as session:
        return list(session.scalars(select(model).where(model.operator_id == line.isp.operator_id)))


def test_who_is_capped_buys_more_data_once_however_often_it_is_clicked(line):
    assert "Everything is in order" in line.get().text
    use(line, 11 * GB, cap_octets=10 * GB, cap_action="block", top_up_octets=5 * GB, top_up_price=Decimal(50))
    page = line.get().text
    assert "Your data for this period is used up" in page
    assert "More data or a larger plan opens it at once." in page
    assert "Make it faster" not in page
    assert re.search(r"5[.0-9]*.GB more for (MX)?\$50\.00", page)
    assert "You have more data" in line.send("top_up", page).text
    assert line.send("top_up", page).status_code in (400, 422), "the second click buys nothing"
    assert service_of(line.system, line.service_id).top_up_octets == 5 * GB
    assert "Everything is in order" in line.get().text
    assert [charge.amount for charge in rows(line, Charge)] == [50]


def test_what_the_operator_does_not_offer_is_neither_shown_nor_taken(line):
    use(line, 11 * GB, cap_octets=10 * GB, cap_action="block", top_up_octets=5 * GB, top_up_price=Decimal(50))
    page = line.get().text
    line.allow(may_boost=False)
    assert "more for" not in line.get().text
    assert line.send("top_up", page).status_code == 400
    assert service_of(line.system, line.service_id).top_up_octets in (None, 0)


def test_who_is_slow_boosts_the_line_once(line):
    boost = {"boost_download": 40_000_000, "boost_upload": 10_000_000, "boost_hours": 6, "boost_price": Decimal(30)}
    slow = {"throttle_download": 1_000_000, "throttle_upload": 500_000}
    use(line, 11 * GB, cap_octets=10 * GB, cap_action="throttle", **slow, **boost)
    page = line.get().text
    assert "You are online at a lower speed" in page
    assert "Your line is faster now" in line.send("boost", page).text
    until = service_of(line.system, line.service_id).boost_until
    assert line.send("boost", page).status_code in (400, 422)
    assert service_of(line.system, line.service_id).boost_until == until


def test_who_owes_promises_to_pay_and_is_on_until_then(line):
    assert bill(line.system, line.isp) == 1
    cut_off(line.system, line.isp, line.service_id)
    page = line.get().text
    assert "a payment is overdue" in page
    assert "$300.00" in page
    assert re.search(r'href="/pay/[^"]+"', page)
    latest = re.search(r'name="until" value="([^"]+)"', page)[1]
    assert line.send("promise", page, until="never").status_code == 400
    assert line.send("promise", page, until="2090-01-01").status_code == 422
    assert "stays on until the end of" in line.send("promise", page, until=latest).text
    assert service_of(line.system, line.service_id).state == "active"
    assert len(rows(line, Promise)) == 1
    assert "Everything is in order" in line.get().text
    cut_off(line.system, line.isp, line.service_id)
    line.allow(may_promise=False)
    assert "Promise to pay" not in line.get().text


def weight(line: Line, page: TestResponse) -> int:
    """Return the octets of a page and of all that it loads, which has to be ours."""
    loaded = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="([^"]+)"', page.text)
    assert len(loaded) > 1
    size = len(page.data)
    for address in loaded:
        if address != "data:,":
            with line.get(html.unescape(address)) as part:
                assert part.status_code == 200, address
                size += len(part.data)
    return size


def test_what_a_closed_line_loads_up_to_the_provider_is_small_and_from_here(line, app, system, installation):
    bill(line.system, line.isp)
    cut_off(line.system, line.isp, line.service_id)
    enter_accounts(system, installation, line.isp)
    why = line.get()
    pay = line.get(html.unescape(re.search(r'href="(/pay/[^"]+)"', why.text)[1]))
    assert "My bank asks me" in pay.text
    assert "Pay with Stripe" in pay.text
    assert "<script" not in pay.text + why.text
    assert weight(line, why) < 60_000
    assert weight(line, pay) < 60_000


def test_who_is_paused_resumes_where_that_is_allowed(line):
    line.change(Service, line.service_id, state="paused")
    assert "Resume" not in line.get().text
    line.allow(may_pause=True)
    assert "is active again" in line.send("resume").text
    assert service_of(line.system, line.service_id).state == "active"


def test_who_is_not_installed_or_suspended_by_a_person_reads_it_writes_calls_and_uses_whatsapp(line):
    line.change(Service, line.service_id, state="pending", activated_at=None)
    page = line.get().text
    assert "Your line is not installed yet" in page
    assert 'href="tel:5512345678"' in page
    assert re.search(r'href="https://wa\.me/525512345678\?text=My%20line%20ana', page)
    assert "has arrived" in line.send("ask", page, text="When do you come?").text
    [ticket] = rows(line, Ticket)
    assert (ticket.source, ticket.subscriber_id) == ("captive", line.subscriber_id)
    line.change(Service, line.service_id, state="suspended", suspended_at=utc_now(), suspension_cause="staff")
    spanish = line.get(**{"Accept-Language": "es-MX"}).text
    assert '<html lang="es">' in spanish
    assert "Promise to pay" not in line.get().text, "what a person did, a person undoes"


def test_an_outage_stands_on_the_page_whatever_else_is_wrong(line, app, system):
    hotspot = make_hotspot(app, system, line.isp)
    with Session(system) as session:
        session.execute(
            text(
                "INSERT INTO incident (operator_id, scope, before, lost, by_hand, title, tell)"
                " VALUES (:operator, 'network', 1, 1, true, 'The uplink is cut', true)"
            ),
            {"operator": line.isp.operator_id},
        )
        session.commit()
    assert "The uplink is cut" in line.get().text
    for path in ("", "/device"):
        page = line.browser.get(hotspot.path + path, query_string=GIVEN).text
        assert "The uplink is cut" in page
        assert "working on it" in page
    assert "the network is disturbed" in line.browser.get(f"{hotspot.path}/login.html").text


def test_forms_of_another_line_another_operator_or_nobody_are_refused(make_line):
    ana, other = make_line(), make_line("Eva Luna")
    for each in (ana, other):
        each.change(Service, each.service_id, state="paused")
        each.allow(may_pause=True)
    page = ana.get().text
    made = re.search(r'name="made" value="([^"]+)"', page)[1]
    url = "/captive/why/resume"
    for address in (other.address, "10.99.9.9"):
        answer = ana.browser.post(url, data={"made": made}, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code in (400, 404), address
    assert other.send("unknown", page=page.replace("why/resume", "why/unknown")).status_code == 400
    assert service_of(other.system, other.service_id).state == "paused"
    assert service_of(ana.system, ana.service_id).state == "paused"


def test_an_address_of_the_network_that_no_line_has_is_told_so_by_its_operator(line):
    assert line.browser.get("/captive/why", environ_base={"REMOTE_ADDR": "10.88.0.7"}).status_code == 404
    with Session(line.system) as session:
        session.execute(
            text(
                "INSERT INTO address_pool (operator_id, name, kind, network, prefix_length, assignment)"
                " VALUES (:operator, 'guests', 'ipv4', '10.88.0.0/24', 32, 'dynamic')"
            ),
            {"operator": line.isp.operator_id},
        )
        session.commit()
        name = session.get_one(Operator, line.isp.operator_id).name
    stranger = {"environ_base": {"REMOTE_ADDR": "10.88.0.7"}}
    page = line.browser.get("/captive/why", **stranger).text
    assert "This connection is not registered" in page
    assert name in page
    assert 'href="tel:5512345678"' in page
    assert "<form" not in page
    led = line.browser.get("/", headers={"Host": "news.example"}, **stranger)
    assert led.headers["Location"].endswith("/captive/why")


# Devices at a hotspot.


@pytest.fixture
def hotspot(app: Flask, system: Engine, line: Line) -> Hotspot:
    return make_hotspot(app, system, line.isp)


def refuse(
    line: Line, reason: str, name: str = MAC.upper(), outcome: str = "reject", ago: timedelta = timedelta(0)
) -> None:
    """Have RADIUS have refused the device of `GIVEN`."""
    values = {"at": utc_now() - ago, "operator": line.isp.operator_id, "nas": line.isp.nas_id, "name": name, "mac": MAC,
              "outcome": outcome, "reason": reason}  # fmt: skip
    with Session(line.system) as session:
        session.execute(
            text(
                "INSERT INTO auth_event (at, operator_id, nas_id, user_name, mac, kind, method, outcome, reason) VALUES"
                " (:at, :operator, :nas, :name, :mac, 'hotspot', 'pap', :outcome, :reason)"
            ),
            values,
        )
        session.commit()


def test_a_guest_sees_nothing_of_devices_and_a_subscriber_whose_device_is_refused_reads_why(line, hotspot):
    browser = line.browser
    refuse(line, "mac_not_registered")
    page = browser.get(hotspot.path, query_string=GIVEN).text
    assert "not registered" not in page
    assert "my device is not let in" in page
    page = browser.get(f"{hotspot.path}/device", query_string=GIVEN).text
    assert "This device is not registered" in page
    assert MAC.upper() in page
    assert "wa.me/525512345678?text=My%20device%20" in page
    refuse(line, "suspended_overdue")
    page = browser.get(hotspot.path, query_string=GIVEN).text
    assert "a payment is overdue" in page
    assert "What helps" in page
    assert "Pay now" in browser.get(f"{hotspot.path}/device", query_string=GIVEN).text
    refuse(line, "", outcome="accept")
    assert "a payment is overdue" not in browser.get(hotspot.path, query_string=GIVEN).text


def test_what_was_long_ago_of_another_device_or_another_place_is_not_told(line, hotspot, make_line):
    other = make_line("Eva Luna")
    refuse(line, "pending", ago=LATELY + timedelta(seconds=5))
    refuse(other, "pending")
    for given in (GIVEN, GIVEN | {"mac": "02:00:00:00:00:99"}):
        assert "not installed" not in line.browser.get(f"{hotspot.path}/device", query_string=given).text
    refuse(line, "pending")
    assert "not installed" in line.browser.get(f"{hotspot.path}/device", query_string=GIVEN).text
    strange = GIVEN | {"mac": "02:00:00:00:00:99"}
    assert "not installed" not in line.browser.get(f"{hotspot.path}/device", query_string=strange).text


@pytest.mark.parametrize("reason", DEVICE_TROUBLES)
def test_every_reason_has_a_page_of_its_own_in_both_languages(line, hotspot, reason):
    refuse(line, reason, name="rosa")
    given = GIVEN | {"user": "rosa"}
    url = f"{hotspot.path}/device"
    pages = [line.browser.get(url, query_string=given | {"lang": lang}).text for lang in ("en", "es")]
    assert len({page.split("<h1>")[1].split("<")[0] for page in pages}) == 2, "said in both languages, not the same"


def test_who_holds_a_refused_device_writes_and_staff_read_its_number(line, hotspot):
    refuse(line, "wrong_password", name="rosa")
    form = GIVEN | {"user": "rosa"}
    url = f"{hotspot.path}/device"
    assert line.browser.post(url, data=form | {"contact": "", "text": "x"}).status_code == 422
    sent = line.browser.post(url, data=form | {"contact": "Rosa 55 1111 2222", "text": "It does <b>not</b> work" * 200})
    assert "has arrived" in sent.text
    [ticket] = rows(line, Ticket)
    assert (ticket.source, ticket.subscriber_id) == ("captive", None)
    assert MAC.upper() in ticket.subject
    with Session(line.system) as session:
        body = session.scalars(select(TicketEntry.body).where(TicketEntry.ticket_id == ticket.id)).first()
    assert body.startswith("Rosa 55 1111 2222")
    assert len(body) < 2_000 + LONGEST_CONTACT + 100
    foreign = form | {"login": "http://evil.example/login", "contact": "x", "text": "y"}
    assert line.browser.post(url, data=foreign).status_code == 400
    for _again in range(12):
        answer = line.browser.post(url, data=form | {"contact": "x", "text": "y"})
    assert answer.status_code == 429


# A language that only these pages have.

LIMITED = [language for language in DECLARED.values() if "captive" in language.areas]


class Untranslated(NullTranslations):
    """Stands behind a catalogue and remembers what it did not have."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    def gettext(self, message: str) -> str:
        self.texts.add(message)
        return message


@pytest.fixture
def untranslated(app: Flask, language: Language) -> Iterator[set[str]]:
    """The texts that a page had to show in English instead of in a language."""
    behind = Untranslated()
    with app.test_request_context(), force_locale(language.code):
        catalogue = get_translations()
        catalogue.add_fallback(behind)
        yield behind.texts
        catalogue._fallback = None


@pytest.mark.parametrize("language", LIMITED, ids=lambda language: language.code)
def test_a_language_of_these_pages_alone_is_the_phones_and_is_complete(app, line, hotspot, language, untranslated):
    visitor, spoken = app.test_client(), {"Accept-Language": f"{language.code}-BR,{language.code};q=0.9,en;q=0.8"}
    pages = [visitor.get(hotspot.path, query_string=GIVEN, headers=spoken)]
    pages += [visitor.get(hotspot.path, headers=spoken), visitor.get("/captive/nobody", headers=spoken)]
    pages += [visitor.get(f"{hotspot.path}/login.html", headers=spoken)]
    plain = {"user": "ana", "password": "x", "id": "", "challenge": ""}
    for typed in ({"code": ""}, {"code": "x" * 300}, {"user": "ana"}, plain):
        pages.append(visitor.post(hotspot.path, data=GIVEN | typed, headers=spoken))
    told = [reply_message(reason, "es", to_code=to_code) for reason in Reason for to_code in (True, False)]
    for error in ("invalid username or password", "RADIUS server is not responding", "no more sessions", *told):
        pages.append(visitor.get(hotspot.path, query_string=GIVEN | {"error": error}, headers=spoken))
    for reason in DEVICE_TROUBLES:
        refuse(line, reason)
        pages.append(visitor.get(f"{hotspot.path}/device", query_string=GIVEN, headers=spoken))
    pages.append(line.get(**spoken))
    line.change(Service, line.service_id, state="paused")
    line.allow(may_pause=True)
    pages.append(line.get(**spoken))
    pages += [line.send(step, pages[-1].text, text="", lang=language.code) for step in ("ask", "resume")]
    assert [page.status_code for page in pages[-2:]] == [422, 200]
    assert [page.request.url for page in pages if f'<html lang="{language.code}">' not in page.text] == []
    assert untranslated == set()


@pytest.mark.parametrize("language", LIMITED, ids=lambda language: language.code)
def test_the_languages_of_these_pages_are_on_their_switch_and_nowhere_else(app, hotspot, language):
    visitor = app.test_client()
    names = dict(re.findall(r'<a href="[^"]*lang=(\w+)[^"]*" lang="\w+">(.*?)</a>',
                            visitor.get(hotspot.path, query_string=GIVEN).text))  # fmt: skip
    assert names == {code: name for code, name in languages_of("captive").items() if code != "en"}
    assert names[language.code] == language.name
    chosen = visitor.get(hotspot.path, query_string=GIVEN | {"lang": language.code}).text
    assert f'<html lang="{language.code}">' in chosen
    assert f'<input type="hidden" name="lang" value="{language.code}">' in chosen, "a form keeps it"
    staff = visitor.get("/sign-in", headers={"Accept-Language": language.code}, follow_redirects=True).text
    assert '<html lang="en"' in staff
    assert language.name not in staff
