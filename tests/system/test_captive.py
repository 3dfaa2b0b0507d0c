"""Phones at an emulated hotspot: real HTTP through its servlet, the captive page, and a real radiusd behind it."""

import html
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.orm import Session as OrmSession

from billing.gateways.hosts import HOSTS
from core.clock import utc_now
from core.codes import grouped
from core.settings import Settings
from crm.captive import CaptiveTerms, change_captive_terms, change_hosts
from crm.passes import A_DAY
from crm.vouchers import BatchTerms, create_batch
from db.audit import Actor
from db.models import Brand
from lab.gateways import Providers
from lab.routeros.live import LiveRouter, RouterProfile
from lab.routeros.script_device import run_import
from network.scripts_hotspot import hotspot as login_methods_of
from network.scripts_hotspot import hotspot_users, walled_garden
from portal.captive import attempts
from portal.captive import place as places
from portal.captive.place import hotspot_token
from tests.billing.isp import ZONE
from tests.portal.billing_isp import bill, start_billing
from tests.portal.conftest import Isp as PortalIsp
from tests.portal.conftest import app, system
from tests.portal.online import enter_accounts, listening, providers_of
from tests.system.conftest import wait_until
from tests.system.hotspot import Browser, Phone
from tests.system.test_enforcement import Site, seconds_until, site
from tests.system.test_vouchers import sell

__all__ = ["app", "site", "system"]

pytestmark = pytest.mark.system

_addresses = count(1)


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture(scope="module")
def portal(site: Site, app: Flask) -> Iterator[str]:
    kept, places.KEPT = places.KEPT, 0.0
    with listening(app, site.settings.portal_port) as address:
        yield address
    places.KEPT = kept


@pytest.fixture(scope="module")
def hotspot(site: Site, app: Flask, system: Engine, portal: str) -> Callable[[], LiveRouter]:
    """A function that makes a router with a hotspot whose login page is the portal's."""

    def make(**login_by: str) -> LiveRouter:
        nas_id, nas = site.nas()
        router = site.network.add_router(nas.profile.name, RouterProfile(api_port=0, hotspot_port=0))
        with OrmSession(system) as session, app.test_request_context():
            hosts = (f"{router.hotspot.address}:{router.hotspot.port}",)
            change_hosts(session, Actor(site.isp.operator_id, "test"), nas_id, hosts)
            token = hotspot_token(session, site.isp.operator_id, nas_id)
            session.commit()
        page = Phone(router, "127.0.0.1", portal).session.get(f"{portal}/captive/{token}/login.html", timeout=5)
        assert page.status_code == 200
        router.box.fill("/file", {"name": "hotspot/login.html", "contents": page.text})
        if login_by:
            table = router.box.table("/ip/hotspot/profile")
            table.change(table.first(name="default"), {"login-by": login_by["login_by"]})
        router.token = token
        return router

    return make


@pytest.fixture(scope="module")
def router(hotspot: Callable[[], LiveRouter]) -> LiveRouter:
    return hotspot()


@pytest.fixture
def phone(router: LiveRouter, portal: str) -> Phone:
    return new_phone(router, portal)


def new_phone(router: LiveRouter, portal: str, **values: Any) -> Phone:
    return Phone(router, f"127.0.44.{next(_addresses)}", portal, **values)


def decide(site: Site, system: Engine, **terms: Any) -> None:
    with OrmSession(system) as session:
        change_captive_terms(session, Actor(site.isp.operator_id, "test"), CaptiveTerms(**terms))
        session.commit()


def alert_of(phone: Phone) -> str:
    found = re.search(r'role="alert">([^<]+)<', phone.page)
    return html.unescape(found[1]) if found is not None else ""


def test_a_phone_is_led_to_the_page_types_a_code_and_surfs_until_it_logs_out(site, phone):
    (code,) = sell(site, lasts=timedelta(hours=1), octets=500_000_000)
    assert not phone.surf()
    assert phone.at == f"/captive/{phone.router.token}"
    assert "Your code" in phone.page
    phone.send(code=f" {grouped(code).lower()} ")
    assert phone.at.endswith("/status"), phone.page
    wait_until(lambda: "Time left" in phone.get(phone.url), 5, "accounting to tell of the login")
    assert "59\u00a0min" in phone.page
    assert "500\u00a0MB" in phone.page
    status = phone.url
    assert phone.surf()
    phone.get(status)
    phone.send()
    assert not phone.surf()
    wait_until(lambda: "not online" in phone.get(status), 5, "the Stop")


def test_the_other_language_is_the_phones(router, portal):
    phone = new_phone(router, portal, language="es-MX,es;q=0.9")
    assert not phone.surf()
    assert '<html lang="es">' in phone.page


def test_a_wrong_code_comes_back_with_words_about_codes_to_be_mended_and_the_right_one_still_works(site, phone):
    (code,) = sell(site)
    phone.surf()
    phone.send(code="NOTACODE99")
    assert phone.at.startswith("/captive/")
    assert alert_of(phone) == "This code is not valid here. Compare it letter by letter with your card."
    assert 'value="N0TAC0DE99"' in phone.page, "as it was compared"
    phone.send(code=code)
    assert phone.surf()


def test_user_and_password_go_by_chap_and_the_password_is_never_in_an_address(site, phone):
    site.isp.service("rosa", access_method="hotspot")
    site.controller.settle()
    phone.surf()
    phone.send(1, user="rosa", password="wrong one")
    assert alert_of(phone) == "User name or password is wrong."
    assert 'name="user" value="rosa"' in phone.page
    phone.send(1, user="rosa", password="secret")
    assert not any("secret" in url for url in phone.seen)
    assert phone.surf()


def test_without_a_challenge_a_password_is_not_sent_in_clear_but_a_code_works(site, hotspot, portal):
    router = hotspot(login_by="http-pap")
    phone = new_phone(router, portal)
    phone.surf()
    phone.send(1, user="rosa", password="secret")
    assert "where others can read it" in phone.page
    (code,) = sell(site)
    phone.send(code=code)
    assert phone.surf()


def test_a_second_device_is_refused_with_a_clear_line_and_roaming_goes_on(site, phone, hotspot, portal):
    (code,) = sell(site)
    phone.surf()
    phone.send(code=code)
    assert phone.surf()
    other = new_phone(phone.router, portal)
    other.surf()
    other.send(code=code)
    assert "already in use on another device" in other.page
    there = hotspot()
    roaming = Phone(there, phone.address, portal)
    roaming.surf()
    roaming.send(code=code)
    assert roaming.surf()


def test_a_voucher_that_runs_out_ends_the_session_and_the_page_says_so(site, phone):
    (code,) = sell(site, octets=10_000_000)
    phone.surf()
    phone.send(code=code)
    device = phone.router.hotspot.device(phone.address)
    session = device.session

    def use_up() -> None:
        session.count(4_000_000, 7_000_000)
        phone.router.nas.send_interim(session)

    site.network.call(lambda _network: use_up())
    wait_until(lambda: device.session is None, 5, "the session to end")
    assert not phone.surf()
    wait_until(lambda: "data of this code is used up" in (phone.surf(), phone.send(code=code))[1], 5, "the reason")


def test_radius_that_does_not_answer_is_not_the_guests_fault(site, hotspot, portal):
    router = hotspot()
    row = next(iter(router.box.table("/radius")))
    router.box.table("/radius").change(row, {"authentication-port": "9", "timeout": "100ms"})
    phone = new_phone(router, portal)
    phone.surf()
    phone.send(code="ANYCODE")
    assert "your code is not lost" in phone.page


def test_a_device_is_remembered_as_long_as_the_operator_says_and_goes_with_the_logout(site, hotspot, portal):
    router = hotspot()

    def set_up(days: int) -> None:
        parts = (login_methods_of("default", days, False, str), hotspot_users(days, str))
        assert run_import(router.box, "\n".join(line for part in parts for line in part.lines)) is None

    (code,) = sell(site)
    set_up(0)
    phone = new_phone(router, portal)
    phone.surf()
    phone.send(code=code)
    device = router.hotspot.device(phone.address)
    site.network.call(lambda _: router.nas.log_out(device.session))
    assert not phone.surf(), "nothing is remembered unless the operator wants it"
    set_up(7)
    phone.send(code=code)
    _who, until = device.remembered
    assert until - time.time() == pytest.approx(7 * 86_400, abs=30)
    status = phone.url
    site.network.call(lambda _: router.nas.log_out(device.session))  # out of reach for a while
    assert phone.surf(), "the router remembers it"
    phone.get(status)
    wait_until(lambda: "Log out" in phone.get(status), 5, "accounting")
    phone.send()
    assert not phone.surf()
    assert not router.box.table("/ip/hotspot/cookie").find()
    phone.send(code=code)
    site.network.call(lambda _: router.nas.log_out(device.session))
    set_up(0)
    assert not phone.surf(), "what is remembered goes with the operator's decision"


def test_the_pages_to_pay_at_open_before_a_login_and_nothing_else_does(router, portal):
    section = walled_garden("portal.example.net", HOSTS["stripe"].patterns)
    assert run_import(router.box, "\n".join(section.lines)) is None
    phone = new_phone(router, portal)
    assert "the internet: checkout.stripe.com" in phone.get("http://checkout.stripe.com/c/pay")
    assert "the internet: portal.example.net" in phone.get("http://portal.example.net/")
    for host in ("stripe.com.evil.example", "evil-stripe.com", "news.example"):
        assert "the internet" not in phone.get(f"http://{host}/")


def test_terms_are_to_be_accepted_and_a_trial_is_offered_where_both_want_it(site, system, hotspot, portal):
    router = hotspot(login_by="http-chap,trial")
    (code,) = sell(site)
    phone = new_phone(router, portal)
    phone.surf()
    assert "Try it for free" not in phone.page
    with OrmSession(system) as session:
        session.add(Brand(operator_id=site.isp.operator_id, terms="Be kind to each other."))
        session.commit()
    decide(site, system, ask_terms=True, offer_trial=True)
    phone.surf()
    assert "Be kind to each other." in phone.page
    phone.send(code=code)
    assert "Accept the terms" in phone.page
    phone.send(code=code, agree="yes")
    assert phone.surf()
    trying = new_phone(router, portal)
    trying.surf()
    trial = trying.page.split('href="')
    url = next(each.split('"')[0] for each in trial if "username=T-" in each).replace("&amp;", "&")
    trying.get(url)
    assert trying.surf()
    decide(site, system)


def test_a_phone_asks_by_itself_whether_it_is_captive(site, phone, portal):
    (code,) = sell(site)
    url = f"{portal}/captive/{phone.router.token}/api"
    answer = phone.session.get(url, timeout=5)
    assert answer.headers["Content-Type"] == "application/captive+json"
    assert answer.json()["captive"] is True
    assert answer.json()["user-portal-url"] == f"{portal}/captive/{phone.router.token}"
    phone.surf()
    phone.send(code=code)
    wait_until(lambda: not json.loads(phone.get(url))["captive"], 5, "accounting to tell of the login")
    assert 3500 < json.loads(phone.page)["seconds-remaining"] <= 3600


def test_who_tries_often_waits_and_nobody_else_does(site, router, portal):
    eager, other = new_phone(router, portal), new_phone(router, portal)
    (code,) = sell(site)
    eager.surf()
    for number in range(attempts.FREE + 1):
        eager.send(code=f"WRONG{number:04}")
    eager.send(code=code)
    assert "Wait" in eager.page
    assert eager.status == 429
    other.surf()
    other.send(code=code)
    assert other.surf()


# Buying.

CODES = 4


@pytest.fixture(scope="module")
def shop(site: Site, app: Flask, system: Engine, portal: str) -> Iterator[tuple[PortalIsp, Providers, int]]:
    """The operator bills, has accounts with the emulated providers, and sells four codes on its page."""
    site.isp.update("operator", site.isp.operator_id, timezone=ZONE.key, currency="MXN")
    isp = PortalIsp(site.isp.operator_id, site.isp.plan_id, 0, {})
    start_billing(system, isp)
    enter_accounts(system, site.settings, isp)
    with OrmSession(system) as session:
        terms = BatchTerms("Day pass", CODES, site.isp.plan_id, Decimal("50.00"), lasts=timedelta(days=1))
        batch = create_batch(session, Actor(isp.operator_id, "test"), site.settings.keyring, terms, utc_now())
        session.commit()
        batch_id = batch.id
    decide(site, system, batch_ids=(batch_id,))
    site.controller.settle()
    with providers_of(isp, site.settings) as providers:
        yield isp, providers, batch_id


def sold(site: Site) -> list[tuple]:
    return site.isp.fetch("SELECT reference, price FROM voucher_sale ORDER BY id")


def test_a_code_is_bought_shown_mailed_and_logged_in_and_a_replay_sells_nothing_twice(site, phone, shop, portal):
    _isp, providers, batch_id = shop
    phone.surf()
    url = re.search(r'href="([^"]+/buy[^"]+)"', phone.page)
    phone.get(portal + html.unescape(url[1]))
    assert "Day pass" in phone.page
    form = {"batch": str(batch_id), "email": "guest@example.net", "with": "stripe"}
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', phone.page))
    fields = {name: html.unescape(value) for name, value in fields.items()} | form
    address = phone.url.partition("?")[0]
    pages = [phone.session.post(address, data=fields, timeout=10).text for _ in range(2)]  # a second click
    urls = {re.search(r"url=([^\"]+)\"", page)[1] for page in pages}
    assert len(urls) == 1, "the second click leads to the first checkout"
    sale_id = urls.pop().rsplit("/", 1)[1]
    back = providers.sales[sale_id].back_url
    assert "Waiting for your payment" in phone.get(back)
    providers.pay(sale_id)
    providers.tell(providers.sales[sale_id])
    providers.tell(providers.sales[sale_id])
    assert len(sold(site)) == 1
    phone.get(back)
    assert "This is your code" in phone.page
    code = re.search(r'class="shown">([^<]+)<', phone.page)[1]
    ((mail, body),) = site.isp.fetch("SELECT subject, body FROM notification WHERE kind = 'voucher'")
    assert "code" in mail
    assert back in body
    assert code not in body
    connect = html.unescape(re.search(r'class="button" href="([^"]+/login\?var=[^"]+)"', phone.page)[1])
    site.controller.settle()
    phone.get(connect)
    assert phone.at.endswith("/status"), phone.page
    assert phone.surf()
    wait_until(lambda: "has been used" in phone.get(back), 5, "the code to be hidden after its first login")
    assert code not in phone.page


def begin_to_pay(phone: Phone, portal: str, batch_id: int) -> str:
    """Choose a code and to be on line while paying; return where the phone is led."""
    phone.surf()
    phone.get(portal + html.unescape(re.search(r'href="([^"]+/buy[^"]+)"', phone.page)[1]))
    phone.send(batch=str(batch_id), **{"with": "stripe", "pass": "yes"})
    led = re.search(r'http-equiv="refresh" content="2; url=([^"]+)"', phone.page)
    return html.unescape(led[1]) if led is not None else ""


def test_a_guest_whose_bank_asks_elsewhere_is_on_line_slowly_to_pay_and_then_by_the_code(
    site, system, phone, router, shop, portal
):
    _isp, providers, batch_id = shop
    led = begin_to_pay(phone, portal, batch_id)
    site.controller.settle()
    other = new_phone(router, portal)
    other.surf()
    other.get(led)
    assert not other.surf(), "a pass is its device's"
    checkout = dict(parse_qsl(urlsplit(led).query))["dst"]
    assert "the internet" in phone.get(led)
    assert phone.url == checkout, "the router leads on to where it is paid"
    assert "the internet: acs.bank.example" in phone.get("http://acs.bank.example/3ds")
    device = router.hotspot.device(phone.address)
    assert device.session.grant.rate_text == "512k/1M"
    assert device.session.grant.session_timeout <= 300
    sale = checkout.rsplit("/", 1)[1]
    assert "Go on paying" in phone.get(providers.sales[sale].back_url)
    providers.pay(sale)
    phone.get(providers.sales[sale].back_url)
    connect = html.unescape(re.search(r'class="button" href="([^"]+/login\?var=[^"]+)"', phone.page)[1])
    wait_until(lambda: device.session is None, 5, "the pass to end")
    site.controller.settle()
    phone.get(connect)
    assert phone.surf()
    assert device.session.grant.rate_text == "5M/20M"
    site.network.call(lambda _: router.nas.log_out(device.session))
    for _again in range(A_DAY - 1):
        assert begin_to_pay(phone, portal, batch_id)
    assert not begin_to_pay(phone, portal, batch_id)
    assert "too often today" in phone.page
    batch_ids = (batch_id,)
    decide(site, system, batch_ids=batch_ids, paying_minutes=0)
    phone.surf()
    assert "My bank asks" not in phone.get(portal + html.unescape(re.search(r'href="([^"]+/buy[^"]+)"', phone.page)[1]))
    decide(site, system, batch_ids=batch_ids)


def test_a_pass_that_the_router_does_not_take_leads_to_pay_all_the_same(site, router, shop, portal):
    _isp, _providers, batch_id = shop
    phone, other = new_phone(router, portal), new_phone(router, portal)
    led = begin_to_pay(phone, portal, batch_id)
    site.controller.settle()
    other.surf()
    other.get(led)
    assert dict(parse_qsl(urlsplit(led).query))["dst"] in other.seen


def test_tabs_buy_a_code_each_and_one_that_is_paid_when_none_is_left_waits_for_a_person(site, phone, shop, portal):
    _isp, providers, batch_id = shop
    phone.surf()
    url = portal + html.unescape(re.search(r'href="([^"]+/buy[^"]+)"', phone.page)[1])
    sales: list[str] = []
    before = len(sold(site))
    for _tab in range(CODES - before + 1):
        phone.get(url)
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', phone.page))
        fields = {name: html.unescape(value) for name, value in fields.items()}
        fields |= {"batch": str(batch_id), "with": "mercadopago"}
        page = phone.session.post(url.partition("?")[0], data=fields, timeout=10).text
        sales.append(re.search(r"url=([^\"]+)\"", page)[1].rsplit("/", 1)[1])
    for sale in sales:
        providers.pay(sale)
    assert len(sold(site)) == CODES > before + 1
    phone.get(providers.sales[sales[-1]].back_url)
    assert "We have to look at your payment" in phone.page
    assert site.isp.fetch("SELECT count(*) FROM checkout WHERE state = 'mismatch'") == [(1,)]
    (payments,) = site.isp.fetch("SELECT count(*) FROM payment WHERE external_id IS NOT NULL")
    assert payments == (len(sold(site)),), "what bought nothing is not booked"


# Reasons.


def test_a_suspended_subscriber_is_led_to_the_reason_promises_and_pays_and_is_back(site, system, shop, portal):
    isp, providers, _batch = shop
    _, nas = site.nas(pools=(("default", "127.0.60.0/24"),))
    cpe = site.connect(nas, "morosa", activated_at=utc_now() - timedelta(days=3))
    browser = Browser(cpe.session.address)
    assert browser.get(portal + "/", Host="news.example").status_code == 200, "nobody is led anywhere who is on line"
    assert bill(system, isp) >= 1
    seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the cut-off")
    answer = browser.get(portal + "/some/page?q=1", Host="news.example")
    assert answer.url == f"{portal}/captive/why"
    assert "a payment is overdue" in answer.text
    assert "$300.00" in answer.text
    spanish = browser.get(answer.url, **{"Accept-Language": "es"}).text
    assert '<html lang="es">' in spanish
    pay = html.unescape(re.search(r'href="(/pay/[^"]+)"', answer.text)[1])
    page = browser.get(portal + pay)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
    assert "My bank asks me" in page.text
    session, since = cpe.session, time.monotonic()
    form = {"csrf_token": token, "pass": "yes"}
    page = browser.session.post(f"{portal}{pay}/with/stripe", data=form, timeout=10).text
    sale = re.search(r'content="0; url=([^"]+)"', page)[1].rsplit("/", 1)[1]
    took = seconds_until(lambda: site.address_list(cpe) == "portico-active", "the pass", since=since)
    assert took < 2.0
    assert session.grant.rate_text == "512k/1M"
    assert "You are on line to pay" in browser.get(f"{portal}/captive/why").text
    site.update("morosa", paying_until=utc_now() + timedelta(seconds=1))
    seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the end of the pass")
    since = time.monotonic()
    providers.pay(sale)
    took = seconds_until(lambda: site.address_list(cpe) == "portico-active", "the way back", since=since)
    assert took < 2.0
    assert session.grant.rate_text == "5M/20M"
    assert cpe.session is session
    assert "Everything is in order" in browser.get(f"{portal}/captive/why").text


def test_who_is_paused_resumes_and_who_may_not_asks_and_nobody_else_can_send_the_form(site, system, shop, portal):
    _, nas = site.nas(pools=(("default", "127.0.61.0/24"),))
    cpe = site.connect(nas, "lejos")
    browser, other = Browser(cpe.session.address), Browser("127.0.62.9")
    site.update("lejos", state="paused")
    page = browser.get(f"{portal}/captive/why").text
    assert "Your service is paused" in page
    made = re.search(r'name="made" value="([^"]+)"', page)[1]
    asked = {"made": made, "text": "When will I be back?"}
    assert browser.session.post(f"{portal}/captive/why/ask", data={"text": "x"}, timeout=5).status_code == 400
    assert other.session.post(f"{portal}/captive/why/ask", data=asked, timeout=5).status_code == 404
    assert browser.session.post(f"{portal}/captive/why/pay", data=asked, timeout=5).status_code == 400
    assert "has arrived" in browser.session.post(f"{portal}/captive/why/ask", data=asked, timeout=5).text
    assert site.isp.fetch("SELECT source FROM ticket") == [("captive",)]
    site.update("lejos", state="suspended", suspended_at=utc_now(), suspension_cause="staff")
    assert "done by a person" in browser.get(f"{portal}/captive/why").text
    values = {"access_method": "queue", "framed_ip": "127.0.63.5", "nas_id": site.isp.nas("127.0.63.1")}
    site.isp.service("cola", None, state="pending", **values)
    assert "not installed yet" in Browser("127.0.63.5").get(f"{portal}/captive/why").text
    site.update("lejos", state="active", suspended_at=None)
    site.isp.connection.execute(
        "INSERT INTO incident (operator_id, scope, before, lost, by_hand, title, tell)"
        " VALUES (%s, 'network', 1, 1, true, 'A fibre is cut', true)",
        (site.isp.operator_id,),
    )
    assert "A fibre is cut" in browser.get(f"{portal}/captive/why").text
