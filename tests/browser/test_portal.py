import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, sign_in
from tests.system.conftest import wait_until

pytestmark = pytest.mark.browser


def test_suspending_somebody_who_is_online_ends_the_session_and_undo_brings_it_back(
    page: Page, site: Site, complaints: list[str]
):
    cpe = site.connect("ana.lopez")
    sign_in(page, site)
    page.keyboard.press("/")
    page.keyboard.type("ana.lo")
    page.locator("#global-search-results").get_by_text("ana.lopez").first.click()
    service = page.get_by_role("region", name="ana.lopez")
    expect(service.get_by_text("Online", exact=True)).to_be_visible()

    service.get_by_role("link", name="Suspend").click()
    expect(page.get_by_text("The subscriber is disconnected and refused")).to_be_visible()
    expect(page.get_by_text("1 live session is changed within seconds")).to_be_visible()
    page.get_by_label("Note for your colleagues").fill("invoice 1041")
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("ana.lopez is suspended.")).to_be_visible()
    wait_until(lambda: cpe.session is None, 10, "the session to end on the router")

    def offline() -> bool:
        page.reload()
        return page.get_by_role("region", name="ana.lopez").get_by_text("Offline", exact=True).is_visible()

    page.get_by_role("link", name="Overview").click()  # a reload of the page with the message would show it again
    wait_until(offline, 15, "the page to show it")
    expect(page.get_by_text("invoice 1041").first).to_be_visible()

    page.get_by_role("button", name="Restore").first.click()
    expect(page.get_by_text("ana.lopez is restored.")).to_be_visible()
    wait_until(lambda: cpe.session is not None, 15, "the subscriber to be back")
    assert complaints == []


def test_every_page_of_the_navigation_works_in_both_languages_and_on_a_phone(
    page: Page, site: Site, complaints: list[str]
):
    site.connect("beto")
    sign_in(page, site)
    addresses = page.locator(".portal-nav a.nav-link").evaluate_all("links => links.map(link => link.href)")
    page.goto(f"{site.url}/settings/")
    addresses += page.locator("main a.card").evaluate_all("links => links.map(link => link.href)")
    assert len(addresses) >= 40
    for language in ("es", "en"):
        page.locator(f".portal-languages button[value={language}]").click()
        expect(page.locator("html")).to_have_attribute("lang", language)
        for width, height in ((1440, 900), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            for address in addresses:
                answer = page.goto(address)
                assert answer is not None
                assert answer.status == 200, address
                wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wider <= 0, f"{address} is {wider} px wider than a window of {width}"
        page.set_viewport_size({"width": 1440, "height": 900})
    assert complaints == []


def test_typing_into_a_list_narrows_it_and_stands_in_the_address(page: Page, site: Site, complaints: list[str]):
    for name in ("carla", "dario"):
        site.controller.isp.service(name)
    sign_in(page, site)
    page.goto(f"{site.url}/services/")
    expect(page.get_by_role("link", name="dario", exact=True)).to_be_visible()
    page.locator("#list-search").press_sequentially("carl")
    expect(page.get_by_role("link", name="dario", exact=True)).to_be_hidden()
    expect(page.get_by_role("link", name="carla", exact=True)).to_be_visible()
    expect(page).to_have_url(f"{site.url}/services/?q=carl&state=&plan=&access=")
    assert complaints == []


def test_light_and_dark_are_remembered(page: Page, site: Site):
    page.goto(f"{site.url}/sign-in")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    sign_in(page, site)
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_without_scripts_signing_in_and_suspending_still_work(site: Site, chromium):
    site.connect("elena")
    context = chromium.new_context(java_script_enabled=False, locale="en")
    page = context.new_page()
    sign_in(page, site)
    page.goto(f"{site.url}/search/?q=elena")
    page.get_by_role("region", name="elena").get_by_role("link", name="Suspend").click()
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("elena is suspended.")).to_be_visible()
    context.close()
