"""A phone at a hotspot: what it wanted is elsewhere, a code, and on line. In both languages, by a real radiusd."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.test_subscriber import fits
from tests.portal.conftest import app, system
from tests.system.test_captive import hotspot, installation, portal, router
from tests.system.test_enforcement import site
from tests.system.test_vouchers import sell

__all__ = ["app", "hotspot", "installation", "portal", "router", "site", "system"]

pytestmark = pytest.mark.browser

WORDS = {
    "en": ("Your code", "Connect", "You are online", "Time left"),
    "es": ("Su código", "Conectar", "Está en línea", "Tiempo restante"),
}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_phone_types_a_code_and_is_on_line(chromium: Browser, language, script, site, router, portal) -> None:
    code_label, connect, online, left = WORDS[language]
    (code,) = sell(site)
    servlet = router.hotspot
    context = chromium.new_context(
        viewport={"width": 390, "height": 844},
        locale=language,
        java_script_enabled=script,
        proxy={"server": f"http://{servlet.address}:{servlet.port}", "bypass": "127.0.0.1"},
    )
    context.clock.set_fixed_time(datetime(2001, 1, 1, tzinfo=UTC))  # a phone that was empty, and has no network yet
    phone = context.new_page()
    phone.set_default_timeout(15_000)
    complaints: list[str] = []
    phone.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    phone.goto("http://news.example/")
    field = phone.get_by_label(code_label)
    expect(field).to_be_visible()
    assert phone.locator("html").get_attribute("lang") == language
    if script:
        fits(phone, "login")
    field.fill(code.lower())
    phone.get_by_role("button", name=connect, exact=True).first.click()
    expect(phone.get_by_role("heading", name=online)).to_be_visible()
    expect(phone.get_by_text(left)).to_be_visible()
    phone.goto("http://news.example/")
    expect(phone.get_by_text(re.compile("the internet: news.example"))).to_be_visible()
    device = servlet.device("127.0.0.1")
    site.network.call(lambda _: router.nas.log_out(device.session))
    assert not complaints
    context.close()
