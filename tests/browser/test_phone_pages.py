"""The pages of subscribers and of the captive portal under axe, and on a phone of 390 px."""

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Browser
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from core.settings import Settings
from db.models import Brand, Operator, Subscriber
from portal.captive import place as places
from tests.browser.axe import faults_of
from tests.portal.billing_isp import bill, billed_line, cut_off, start_billing
from tests.portal.conftest import app, make_isp, system
from tests.portal.online import enter_accounts, listening
from tests.portal.subscriber.conftest import Home
from tests.portal.test_captive import GIVEN, make_hotspot

__all__ = ["app", "system"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    return new_installation().model_copy(update={"demo": True})


@pytest.mark.parametrize("language", ["es"])
def test_no_page_for_a_phone_is_hard_to_read_or_wider_than_the_phone(
    chromium: Browser, language, app: Flask, system: Engine, installation: Settings, monkeypatch
) -> None:
    monkeypatch.setattr(places, "KEPT", 0.0)
    isp = make_isp(system, installation)
    start_billing(system, isp)
    name = "José María Fernández-Villalobos de la Torre"
    subscriber_id, service_id = billed_line(system, installation, isp, name, 3)
    bill(system, isp)
    cut_off(system, isp, service_id)
    enter_accounts(system, installation, isp)
    email = f"jose.maria.fernandez-villalobos@isp-{isp.operator_id}.example"
    with Session(system) as session:
        slug = session.get_one(Operator, isp.operator_id).slug
        session.get_one(Subscriber, subscriber_id).email = email
        brand = {"phone": "55 1234 5678", "whatsapp": "525512345678", "terms": "Sea amable."}
        session.add(Brand(operator_id=isp.operator_id, **brand))
        session.execute(
            text(
                "INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind,"
                " mac, framed_ip, calling_station_id, updated_at) VALUES (now(), :operator, :nas, :service, 'a1', 'j',"
                " 'ppp', '02:00:00:00:00:01', '127.0.0.1', '', now())"
            ),
            {"operator": isp.operator_id, "nas": isp.nas_id, "service": service_id},
        )
        session.commit()
    hotspot = make_hotspot(app, system, isp)
    home = Home(system, installation, isp, slug, email, subscriber_id, service_id, app.test_client())
    home.sign_in()
    cookie = home.browser.get_cookie("portico_my", path=f"/my/{slug}/")
    assert cookie is not None
    given = "&".join(f"{key}={value}" for key, value in GIVEN.items()).replace("\\", "%5C")
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale=language)
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults: list[str] = []
    with listening(app, installation.portal_port) as address:
        context.add_cookies([{"name": "portico_my", "value": cookie.value, "url": f"{address}/my/{slug}/"}])
        mine = ("", "usage", "bills", "account", "account/change/email", "devices", "help/new")
        for path in (
            f"{hotspot.path}?{given}", f"{hotspot.path}/device?{given}", "/captive/why", "/captive/nobody",
            *(f"/my/{slug}/{each}" for each in mine),
        ):  # fmt: skip
            answer = page.goto(address + path)
            assert answer is not None
            assert answer.status == (404 if "nobody" in path else 200), path
            faults += faults_of(page, path.partition("?")[0], whole=True)
        manifest = page.evaluate("() => document.querySelector('link[rel=manifest]').href")
        found = page.request.get(manifest).json()
        assert {icon["sizes"] for icon in found["icons"]} >= {"192x192", "512x512"}
        assert (found["display"], found["start_url"], found["scope"]) == ("standalone", f"/my/{slug}/", f"/my/{slug}/")
        worker = page.evaluate("async () => (await navigator.serviceWorker.ready).scope")
        assert worker.endswith(f"/my/{slug}/")
        assert found["short_name"] == found["name"], "phones shorten it themselves, and not within a word"
        page.reload()  # the first page that the worker serves
        context.set_offline(True)
        page.goto(f"{address}/my/{slug}/bills")
        assert page.title().startswith("Sin conexión")
        assert name not in page.content()
        context.set_offline(False)
    context.close()
    assert faults == []
