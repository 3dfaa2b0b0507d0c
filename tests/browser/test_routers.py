"""Entering a router in a real browser: the test beside the form keeps what is typed, with scripts and without."""

import pytest
from playwright.sync_api import Page, expect

from lab.routeros import User
from tests.browser.conftest import Site, sign_in
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser

PASSWORD = "xyzzy Ñandú"


def fill(page: Page, site: Site, name: str, address: str, port: int) -> None:
    page.goto(f"{site.url}/routers/new")
    page.locator("#name").fill(name)
    page.locator("#address").fill(address)
    page.locator("#api_user").fill("portico")
    page.locator("#api_password").fill("wrong")
    page.locator("#api_port").fill(str(port))
    page.get_by_text("Watching, and for particular routers").click()
    page.locator("#api_address").fill("127.0.0.1")


def test_a_router_is_tested_corrected_and_saved_without_typing_anything_twice(
    page: Page,
    site: Site,
    complaints: list[str],
    emulated_router,  # noqa: F811
):
    router = emulated_router(users={"portico": User(PASSWORD)}, identity="Torre Norte")
    sign_in(page, site)
    page.get_by_role("link", name="Routers", exact=True).first.click()
    page.get_by_role("link", name="New router").first.click()
    fill(page, site, "Torre Norte", "127.0.44.1", router.port)

    page.get_by_role("button", name="Test connection").click()
    test = page.locator("#test")
    expect(test.get_by_text("Wrong user name or password")).to_be_visible()
    expect(test.get_by_text("invalid user name or password (6)")).to_be_visible()
    page.locator("#api_password").fill(PASSWORD)
    page.get_by_role("button", name="Test connection").click()
    expect(test.get_by_text("Logged in as portico")).to_be_visible()
    expect(page.locator("#api_password")).to_have_value(PASSWORD)

    page.locator("#name").press("Enter")
    expect(page.get_by_text("Torre Norte is registered.")).to_be_visible()
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("RouterOS 7.16 (stable)").first).to_be_visible()
    page.get_by_role("link", name="Routers", exact=True).first.click()
    expect(page.get_by_role("row", name="Torre Norte").get_by_text("Online")).to_be_visible()
    assert complaints == []


def test_without_scripts_the_connection_is_tested_too(site: Site, chromium, emulated_router):  # noqa: F811
    router = emulated_router(users={"portico": User("wrong")})
    context = chromium.new_context(java_script_enabled=False, locale="en")
    page = context.new_page()
    sign_in(page, site)
    fill(page, site, "Torre Sur", "127.0.44.2", router.port)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Logged in as portico")).to_be_visible()
    expect(page.locator("#name")).to_have_value("Torre Sur")
    expect(page.locator("#api_password")).to_have_value("")
    context.close()
