"""The map before a real browser: fifty thousand subscribers without a stall, hostile names, dragging, the keyboard."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text

from core.settings import Settings
from db.migrate import migrate
from db.session import make_engine
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.browser.test_homes import answers
from tests.portal.conftest import PASSWORD, Isp, add_subscriber, make_isp
from tests.system.conftest import wait_until

MANY = 50_000
LONGEST_TASK = 1_000
"""Milliseconds that a browser may be busy at a stretch, on a machine that runs other tests beside it."""
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


@dataclass(frozen=True)
class Town:
    url: str
    isp: Isp
    hostile: int


@pytest.fixture(scope="module")
def system(installation: Settings) -> Iterator[Engine]:
    migrate(installation)
    engine = make_engine(installation.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def town(installation: Settings, system: Engine, chromium: Browser) -> Iterator[Town]:
    """An operator with fifty thousand subscribers around a tower, and one whose name is a script a little apart."""
    isp = make_isp(system, installation)
    with system.begin() as connection:
        values = {"operator": isp.operator_id, "plan": isp.plan_id, "nas": isp.nas_id, "many": MANY}
        connection.execute(
            text(
                "INSERT INTO subscriber (operator_id, name, latitude, longitude)"
                " SELECT :operator, 'Subscriber ' || n, 20 + (n % 250) / 1000.0, -98.8 + (n / 250) / 1000.0"
                " FROM generate_series(1, :many) AS n"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name, state, suspended_at)"
                " SELECT operator_id, id, :plan, 'line', 'line-' || id, CASE WHEN id % 10 = 0 THEN 'suspended'"
                " ELSE 'active' END, now() FROM subscriber WHERE operator_id = :operator"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO session (operator_id, nas_id, service_id, acct_session_id, user_name, kind, started_at,"
                " updated_at) SELECT :operator, :nas, id, id::text, 'u', 'dhcp', now(), now() FROM service"
                " WHERE operator_id = :operator AND id % 3 > 0"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO site (operator_id, name, latitude, longitude) VALUES (:operator, 'Cerro', 20.125, -98.7)"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO sector (operator_id, site_id, name, azimuth, beam_width, reach)"
                " SELECT operator_id, id, 'Norte', 0, 90, 4000 FROM site WHERE operator_id = :operator"
            ),
            values,
        )
    hostile = add_subscriber(system, isp, HOSTILE, latitude=21, longitude=-98)
    with RunningPiece(portal_piece(installation), installation.log_dir / "portal.log"):
        url = f"http://127.0.0.1:{installation.portal_port}"
        window = chromium.new_page()
        wait_until(lambda: answers(window, url), 30, "the portal to start")
        window.close()
        yield Town(url, isp, hostile)


@pytest.fixture
def window(chromium: Browser, town: Town) -> Iterator[tuple[Page, list[str]]]:
    """A window in which a supporter is signed in, and what it complained of."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en")
    page, complaints = context.new_page(), []
    page.set_default_timeout(15_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda problem: complaints.append(str(problem)))
    page.add_init_script(
        "window.stalls = []; new PerformanceObserver(list => list.getEntries().forEach("
        "entry => window.stalls.push(Math.round(entry.duration)))).observe({type: 'longtask', buffered: true});"
    )
    page.goto(f"{town.url}/sign-in")
    page.fill("[name=email]", town.isp.staff["support"])
    page.fill("[name=password]", PASSWORD)
    page.locator("[name=password]").press("Enter")
    page.locator("#tiles").wait_for()
    yield page, complaints
    context.close()


def in_view(page: Page) -> int:
    page.locator("#map[data-drawn]").wait_for()
    return int(page.locator("#map").get_attribute("data-drawn"))


def test_fifty_thousand_subscribers_do_not_stall_the_browser(town, window):
    page, complaints = window
    page.goto(f"{town.url}/map/")
    assert in_view(page) >= MANY
    assert page.locator(".map-cluster").count() > 10
    assert page.locator(".map-wedge").count() == 1
    drawn = in_view(page)
    while drawn > 1500:
        page.evaluate("delete document.getElementById('map').dataset.drawn")
        page.locator(".leaflet-control-zoom-in").click()
        drawn = in_view(page)
    page.locator(".leaflet-marker-icon .map-dot").first.wait_for()
    longest = max(page.evaluate("window.stalls"), default=0)
    print(f"longest task {longest} ms")
    assert longest < LONGEST_TASK
    page.select_option("[name=state]", "suspended")
    expect(page.locator("[data-map-count=online]")).to_have_text("0")
    assert "state=suspended" in page.url
    assert complaints == []


def test_a_hostile_name_is_text_and_the_keyboard_opens_its_card(town, window):
    page, complaints = window
    page.goto(f"{town.url}/map/?lat=21&lng=-98&zoom=16")
    entry = page.locator("[data-map-list] button")
    expect(entry).to_have_count(1)
    entry.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".leaflet-popup .map-card a").first).to_have_text(HOSTILE)
    assert page.title().startswith("Map")
    assert complaints == []


def test_a_subscriber_is_dragged_and_put_back(town, window, system):
    page, complaints = window
    page.goto(f"{town.url}/map/?lat=21&lng=-98&zoom=16")
    page.locator("[data-map-edit]").click()
    expect(page.locator("[data-map-edit]")).to_have_attribute("aria-pressed", "true")
    marker = page.locator(".leaflet-marker-draggable")
    box = marker.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=5)
    page.mouse.up()
    said = page.locator("[data-map-status]")
    expect(said).to_have_text(re.compile("Put there"))
    query = text("SELECT latitude, longitude FROM subscriber WHERE id = :id")
    with system.connect() as connection:
        row = connection.execute(query, {"id": town.hostile}).one()
    assert row.latitude < 21
    assert row.longitude > -98
    page.get_by_role("button", name="Undo").click()
    expect(said).to_have_text("Put there.")
    with system.connect() as connection:
        assert tuple(connection.execute(query, {"id": town.hostile}).one()) == (21, -98)
    assert complaints == []
