"""Who was cut for not paying is back on the live session within two seconds of paying, at the counter or by card.

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
from db.models import Staff
from lab.network import Cpe
from tests.billing.isp import ZONE
from tests.portal.billing_isp import bill, start_billing, today
from tests.portal.conftest import _HASH as PASSWORD_HASH
from tests.portal.conftest import PASSWORD, Isp, app, system
from tests.portal.online import enter_accounts, listening, pay_path, providers_of
from tests.system.conftest import wait_until
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
    with listening(app, site.settings):
        yield isp, methods


def cut(site: Site, system: Engine, isp: Isp, name: str) -> Cpe:
    """Connect a subscriber whose first month was due three days ago; return the CPE once the cut-off has it."""
    _, nas = site.nas()
    cpe = site.connect(nas, name, activated_at=utc_now() - timedelta(days=3))
    assert site.address_list(cpe) == "portico-active"
    assert bill(system, isp) == 1
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


def test_a_payment_at_the_counter_brings_the_live_session_back(site: Site, system: Engine, billing) -> None:
    isp, methods = billing
    cpe = cut(site, system, isp, "mostrador")
    browser, address = requests.Session(), site.settings.public_url
    token = _field(browser.get(f"{address}/sign-in", timeout=10).text, "csrf_token")
    signing = {"csrf_token": token, "email": isp.staff["finance"], "password": PASSWORD}
    assert browser.post(f"{address}/sign-in", data=signing, timeout=10).status_code == 200
    ((subscriber_id,),) = site.isp.fetch(
        "SELECT subscriber_id FROM service WHERE id = %s", site.isp.services["mostrador"]
    )
    form = f"{address}/payments/new/{subscriber_id}"
    page = browser.get(form, timeout=10).text
    fields = {
        "csrf_token": _field(page, "csrf_token"), "agreed": _field(page, "agreed"), "amount": "300",
        "method_id": methods["Cash"], "paid_on": today().isoformat(), "reference": "", "collector_id": "", "note": "",
        "currency": "MXN",
    }  # fmt: skip
    since = time.monotonic()
    answer = browser.post(form, data=fields, timeout=10, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    is_back(site, cpe, "mostrador", since)


def test_a_card_brings_the_live_session_back(site: Site, system: Engine, billing) -> None:
    isp, _methods = billing
    cpe = cut(site, system, isp, "tarjeta")
    ((subscriber_id,),) = site.isp.fetch(
        "SELECT subscriber_id FROM service WHERE id = %s", site.isp.services["tarjeta"]
    )
    path = pay_path(system, site.settings, isp, subscriber_id=subscriber_id)
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


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]+)"', page)
    assert found is not None, page
    return found[1]
