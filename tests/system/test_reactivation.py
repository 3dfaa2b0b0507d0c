"""What was bought and what was used changes the live session: who was cut for not paying is back within two seconds of
paying, at the counter, by card or into a wallet; who used more than is fair goes slower.

Everything is real but the router, which is emulated and speaks UDP, and the provider, which is the lab's: the portal's
application listens on a port, radiusd, publisher, loader and worker run as they do in production.
"""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import requests
from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.orm import Session as OrmSession

from core.clock import utc_now
from core.settings import Settings
from crm.brands import Allowed, change_allowed
from db.audit import Actor
from db.models import Staff
from lab.network import Cpe
from tests.billing.isp import ZONE
from tests.portal.billing_isp import bill, start_billing, today
from tests.portal.conftest import _HASH as PASSWORD_HASH
from tests.portal.conftest import PASSWORD, Isp, app, system
from tests.portal.online import enter_accounts, listening, pay_path, providers_of
from tests.system.conftest import wait_until
from tests.system.hotspot import Browser
from tests.system.test_enforcement import Site, seconds_until, site

__all__ = ["app", "site", "system"]

pytestmark = pytest.mark.system

MOST = 2.0
"""Seconds from paying to the session's being back on its list of who is paid up."""


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    """An installation of the demo: accounts with emulated providers are good there alone."""
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture(scope="module")
def billing(site: Site, app: Flask, system: Engine) -> Iterator[tuple[Isp, dict[str, int]]]:
    """The site's operator, who bills from now on; its portal listens, and it has an account with each provider."""
    site.isp.update("operator", site.isp.operator_id, timezone=ZONE.key, currency="MXN")
    staff = {"finance": "finance@reactivation.example"}
    isp = Isp(site.isp.operator_id, site.isp.plan_id, 0, staff)
    with OrmSession(system) as session:
        member = {"email": staff["finance"], "name": "Finance", "password_hash": PASSWORD_HASH, "roles": ["finance"]}
        session.add(Staff(operator_id=isp.operator_id, **member))
        session.commit()
    methods = start_billing(system, isp)
    enter_accounts(system, site.settings, isp)
    with listening(app, site.settings.portal_port):
        yield isp, methods


def cut(site: Site, system: Engine, isp: Isp, name: str, prepaid: bool = False) -> Cpe:
    """Connect a subscriber whose first month was due three days ago, or is bought before it; return the CPE once the
    cut-off has it.
    """
    _, nas = site.nas()
    cpe = site.connect(nas, name, activated_at=utc_now() - timedelta(days=3), prepaid=prepaid)
    assert site.address_list(cpe) == "portico-active"
    assert bill(system, isp) == (0 if prepaid else 1)
    seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the cut-off")
    proven(site, cpe, name, 1)
    return cpe


def proven(site: Site, cpe: Cpe, name: str, orders: int) -> None:
    """Wait until accounting has shown the effect of so many CoA-Requests; an update may have been made just before."""
    wait_until(lambda: site.order(name)[1] in ("acked", "verified"), 10, "the ACK")

    def shown() -> bool:
        site.interim(cpe)
        return site.orders(name) == [("coa", "verified", "ack")] * orders

    wait_until(shown, 10, "the proof")


def is_back(site: Site, cpe: Cpe, name: str, since: float) -> None:
    """Check that the same session has its terms back in time, and that accounting proves it."""
    session = cpe.session
    took = seconds_until(lambda: site.address_list(cpe) == "portico-active", "the way back", since=since)
    assert took < MOST
    assert cpe.session is session, "the session was never interrupted"
    assert session.grant.rate_text == "5M/20M"
    proven(site, cpe, name, 2)
    assert site.isp.fetch("SELECT state FROM service WHERE id = %s", site.isp.services[name]) == [("active",)]


def subscriber_of(site: Site, name: str) -> int:
    ((subscriber_id,),) = site.isp.fetch("SELECT subscriber_id FROM service WHERE id = %s", site.isp.services[name])
    return subscriber_id


@pytest.fixture(scope="module")
def clerk(site: Site, billing) -> requests.Session:
    """A clerk of finance who has signed in."""
    browser, address = requests.Session(), site.settings.public_url
    token = _field(browser.get(f"{address}/sign-in", timeout=10).text, "csrf_token")
    signing = {"csrf_token": token, "email": billing[0].staff["finance"], "password": PASSWORD}
    assert browser.post(f"{address}/sign-in", data=signing, timeout=10).status_code == 200
    return browser


def take(site: Site, clerk: requests.Session, method_id: int, name: str, amount: str) -> float:
    """Register a payment as a clerk does; return when the button was pressed that saves it."""
    form = f"{site.settings.public_url}/payments/new/{subscriber_of(site, name)}"
    fields = {
        "csrf_token": _field(clerk.get(form, timeout=10).text, "csrf_token"), "amount": amount,
        "method_id": method_id, "paid_on": today().isoformat(), "reference": "", "collector_id": "", "note": "",
        "currency": "MXN",
    }  # fmt: skip
    shown = clerk.post(form, data={**fields, "agreed": ""}, timeout=10)
    assert shown.status_code == 200, "what it will do is shown before it is done"
    since = time.monotonic()
    answer = clerk.post(
        form, data={**fields, "agreed": _field(shown.text, "agreed")}, timeout=10, allow_redirects=False
    )
    assert answer.status_code == 302, answer.text
    return since


def test_a_payment_at_the_counter_brings_the_live_session_back(site: Site, system: Engine, billing, clerk) -> None:
    isp, methods = billing
    cpe = cut(site, system, isp, "mostrador")
    is_back(site, cpe, "mostrador", take(site, clerk, methods["Cash"], "mostrador", "300"))


def test_a_wallet_that_is_filled_brings_a_prepaid_session_back(site: Site, system: Engine, billing, clerk) -> None:
    isp, methods = billing
    cpe = cut(site, system, isp, "prepago", prepaid=True)
    take(site, clerk, methods["Cash"], "prepago", "299")
    site.interim(cpe)
    assert site.address_list(cpe) == "portico-suspended", "a period is bought whole"
    is_back(site, cpe, "prepago", take(site, clerk, methods["Cash"], "prepago", "1"))
    ((paid_until,),) = site.isp.fetch("SELECT paid_until FROM service WHERE id = %s", site.isp.services["prepago"])
    assert paid_until >= today() + timedelta(days=27)


def test_a_card_brings_the_live_session_back(site: Site, system: Engine, billing) -> None:
    isp, _methods = billing
    cpe = cut(site, system, isp, "tarjeta")
    path = pay_path(system, site.settings, isp, subscriber_id=subscriber_of(site, "tarjeta"))
    with providers_of(isp, site.settings) as providers:
        browser, address = requests.Session(), site.settings.public_url
        token = _field(browser.get(address + path, timeout=10).text, "csrf_token")
        page = browser.post(f"{address}{path}/with/stripe", data={"csrf_token": token}, timeout=20).text
        url = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page)
        assert url is not None, page
        since = time.monotonic()
        providers.pay(url[1].rsplit("/", 1)[1])  # and its webhook
        assert providers.told == [200]
        is_back(site, cpe, "tarjeta", since)


def test_steps_of_fair_use_slow_the_live_session_within_two_seconds(site: Site) -> None:
    steps = [
        {"span": "day", "octets": 2_000_000, "download": 1_000_000, "upload": 500_000},
        {"span": "month", "octets": 1_000_000, "download": 4_000_000, "upload": 2_000_000},
    ]
    _, nas = site.nas()
    cpe = site.connect(nas, "justo", plan_id=site.isp.plan(steps=steps))
    session = cpe.session
    for used, rate in ((400_000, "5M/20M"), (700_000, "2M/4M"), (1_000_000, "500k/1M")):
        site.network.call(lambda _, used=used: session.count(used // 4, used - used // 4))
        since = time.monotonic()
        site.interim(cpe)
        took = seconds_until(lambda rate=rate: session.grant.rate_text == rate, f"the rate {rate}", since=since)
        assert took < MOST
    assert cpe.session is session, "the session was never interrupted"
    assert [order[0] for order in site.orders("justo")] == ["coa", "coa"]


PLANS = {
    "tope": {"cap_octets": 1_000_000, "cap_action": "block", "top_up_octets": 10**9, "top_up_price": 50},
    "lento": {
        "cap_octets": 1_000_000, "cap_action": "throttle", "throttle_download": 1_000_000, "throttle_upload": 500_000,
        "boost_download": 40_000_000, "boost_upload": 8_000_000, "boost_hours": 6, "boost_price": 30,
    },
}  # fmt: skip


def test_what_helps_on_the_captive_page_changes_the_live_session_within_two_seconds(
    site: Site, system: Engine, billing
) -> None:
    isp, _methods = billing
    with OrmSession(system) as session:
        change_allowed(session, Actor(isp.operator_id, "test"), Allowed(may_pause=True))
        session.commit()
    _, nas = site.nas(pools=(("default", "127.0.65.0/24"),))
    since = utc_now() - timedelta(days=3)
    lines = {name: site.connect(nas, name, plan_id=site.isp.plan(**plan)) for name, plan in PLANS.items()}
    lines |= {"pausa": site.connect(nas, "pausa"), "promesa": site.connect(nas, "promesa", activated_at=since)}
    assert bill(system, isp) >= 1
    site.update("pausa", state="paused")
    for name in PLANS:
        used = lines[name].session
        site.network.call(lambda _, used=used: used.count(400_000, 700_000))
        site.interim(lines[name])

    def stands(name: str, address_list: str, rate: str) -> bool:
        grant = lines[name].session.grant
        return (grant.address_list, grant.rate_text) == (address_list, rate)

    closed = ("portico-suspended", "512k/512k")
    before = {"tope": closed, "lento": ("portico-active", "500k/1M"), "pausa": closed, "promesa": closed}
    steps = {
        "tope": ("top_up", "5M/20M"), "lento": ("boost", "8M/40M"), "pausa": ("resume", "5M/20M"),
        "promesa": ("promise", "5M/20M"),
    }  # fmt: skip
    sessions = {name: cpe.session for name, cpe in lines.items()}
    for name, (step, rate) in steps.items():
        seconds_until(lambda name=name: stands(name, *before[name]), f"{name} to be turned away")
        browser = Browser(lines[name].session.address)
        page = browser.get(f"{site.settings.public_url}/captive/why").text
        form = re.search(rf'<form method="post" action="(/captive/why/{step})">.*?</form>', page, re.DOTALL)
        assert form is not None, page
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[0]))
        pressed = time.monotonic()
        answer = browser.session.post(f"{site.settings.public_url}{form[1]}", data=fields, timeout=10)
        assert 'role="status"' in answer.text, answer.text
        took = seconds_until(lambda name=name, rate=rate: stands(name, "portico-active", rate), step, since=pressed)
        assert took < MOST, step
    assert {name: cpe.session for name, cpe in lines.items()} == sessions, "no session was interrupted"


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]+)"', page)
    assert found is not None, page
    return found[1]
