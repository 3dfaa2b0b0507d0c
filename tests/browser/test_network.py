"""A router from its first day to its first failure, as its ISP sees it: entered, imported, cut off, drawn, gone."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from lab.routeros import User
from stack.pieces import RunningPiece
from stack.programs import monitor_piece
from tests.browser.conftest import Site, sign_in
from tests.lab.routeros import EmulatedRouter, emulated_router, router_loop  # noqa: F401 - fixtures
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.fault]

PASSWORD = "xyzzy Ñandú"
NAME, ADDRESS = "Zoila Núñez", "10.20.0.7"


@pytest.fixture
def monitor(site: Site) -> Iterator[RunningPiece]:
    settings = site.controller.isp.settings
    with RunningPiece(monitor_piece(settings), settings.log_dir / "monitor.log") as piece:
        yield piece


def queue(router: EmulatedRouter) -> tuple[str, str]:
    """Return rate and comment of the subscriber's queue on the router."""
    [row] = [row.fields for row in router.box.table("/queue/simple") if row.fields["name"] == NAME]
    return row["max-limit"], row["comment"]


def lists(router: EmulatedRouter) -> list[str]:
    rows = router.box.table("/ip/firewall/address-list")
    return [row.fields["list"] for row in rows if row.fields.get("address") == ADDRESS]


def test_a_router_is_entered_imported_enforced_drawn_and_missed(
    page: Page,
    site: Site,
    complaints: list[str],
    monitor: RunningPiece,
    emulated_router,  # noqa: F811
):
    router = emulated_router(users={"portico": User(PASSWORD)}, identity="Torre Vieja")
    router.box.fill(
        "/queue/simple", {"name": NAME, "target": f"{ADDRESS}/32", "max-limit": "4M/15M", "comment": "paga el 5"}
    )
    sign_in(page, site)

    page.goto(f"{site.url}/routers/new")
    for field, value in {
        "name": "Torre Vieja",
        "address": "127.0.45.1",
        "api_user": "portico",
        "api_password": PASSWORD,
        "api_port": str(router.port),
    }.items():
        page.locator(f"#{field}").fill(value)
    page.get_by_text("Watching, and for particular routers").click()
    page.locator("#api_address").fill("127.0.0.1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Torre Vieja is registered.")).to_be_visible()
    router_page = page.url

    page.locator("#content").get_by_role("link", name="Import").click()
    expect(page.locator("#nas_id")).to_have_value(router_page.rsplit("/", 1)[1])
    page.get_by_text("Simple queues", exact=True).click()
    page.get_by_role("button", name="Read the router").click()
    page.get_by_label("Name of the new plan").fill("Hogar 15")
    page.get_by_role("button", name="Use", exact=True).click()
    expect(page.get_by_text("1 row has the plan Hogar 15 now.")).to_be_visible()
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("button", name="Write the import").click()
    expect(page.get_by_role("link", name="Undo the whole import").or_(page.get_by_text("Written"))).to_be_visible()
    wait_until(lambda: lists(router) == ["portico-active"], 15, "the queue to be Portico's")
    assert queue(router)[0] == "4M/15M"  # what says the same is not written anew
    assert queue(router)[1].startswith("paga el 5 portico:s=")

    page.goto(f"{site.url}/services/?q=Zoila")
    page.get_by_role("link", name=NAME).first.click()
    page.get_by_role("link", name="Suspend").click()
    expect(page.get_by_text("Its queue on the router changes within seconds")).to_be_visible()
    page.get_by_role("button", name="Suspend").click()
    wait_until(lambda: lists(router) == ["portico-suspended"], 15, "the router to cut the subscriber off")
    assert queue(router)[0] == "64000/64000"  # this ISP refuses the suspended
    page.get_by_role("button", name="Restore").first.click()
    wait_until(
        lambda: (lists(router), queue(router)[0]) == (["portico-active"], "4000000/15000000"),
        15,
        "the router to let in",
    )

    # Who does not pay is cut off by date, and let in by the payment.
    isp = site.controller.isp
    [(service,)] = isp.fetch("SELECT id FROM service WHERE name = %s", NAME)
    isp.update("service", service, paid_until="2026-01-01")
    wait_until(lambda: lists(router) == ["portico-suspended"], 20, "the router to cut off who did not pay")
    isp.update("service", service, paid_until="2099-01-01")
    wait_until(lambda: lists(router) == ["portico-active"], 20, "the router to let in who paid")

    nas_id = int(router_page.rsplit("/", 1)[1])
    fetch = site.controller.isp.fetch
    wait_until(lambda: fetch("SELECT 1 FROM router_sample WHERE nas_id = %s AND cpu IS NOT NULL", nas_id), 40, "a poll")
    page.goto(f"{site.url}/monitoring/routers/{nas_id}")
    expect(page.locator(".u-over").first).to_be_visible()
    assert page.locator("#load-numbers tbody tr").count() >= 1

    asyncio.run_coroutine_threadsafe(router.server.close(), router.loop).result(10)
    page.goto(router_page)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Offline").first).to_be_visible()
    expect(page.get_by_text("The API is switched off, or on another port").first).to_be_visible()
    assert complaints == []
