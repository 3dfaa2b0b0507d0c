"""The homes before a real browser: the keyboard of a cashier, and every role's home on a phone."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Error, Page, expect
from sqlalchemy import Engine

from core.settings import Settings
from db.migrate import migrate
from db.models import ROLES
from db.session import make_engine
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.portal.billing_isp import bill, billed_line, start_billing
from tests.portal.conftest import PASSWORD, Isp, make_isp
from tests.system.conftest import wait_until


@dataclass(frozen=True)
class Shop:
    url: str
    isp: Isp


@pytest.fixture(scope="module")
def system(installation: Settings) -> Iterator[Engine]:
    migrate(installation)
    engine = make_engine(installation.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def shop(installation: Settings, system: Engine, chromium: Browser) -> Iterator[Shop]:
    """An operator to whom somebody with a long name owes six figures."""
    isp = make_isp(system, installation)
    start_billing(system, isp, price="123456.78")
    billed_line(system, installation, isp, "José María Fernández-Villalobos de la Torre", 45)
    bill(system, isp)
    with RunningPiece(portal_piece(installation), installation.log_dir / "portal.log"):
        url = f"http://127.0.0.1:{installation.portal_port}"
        window = chromium.new_page()
        wait_until(lambda: answers(window, url), 30, "the portal to start")
        window.close()
        yield Shop(url, isp)


def answers(window: Page, url: str) -> bool:
    try:
        return window.request.get(f"{url}/sign-in").ok
    except Error:  # gunicorn is not up yet
        return False


def open_home(page: Page, shop: Shop, role: str) -> None:
    page.goto(f"{shop.url}/sign-in")
    page.fill("[name=email]", shop.isp.staff[role])
    page.fill("[name=password]", PASSWORD)
    page.locator("[name=password]").press("Enter")
    page.locator("#tiles").wait_for()


@pytest.fixture
def window(chromium: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A window, and what it complained of."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale="es-MX")
    page, complaints = context.new_page(), []
    page.set_default_timeout(15_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda problem: complaints.append(str(problem)))
    yield page, complaints
    context.close()


def test_finance_comes_from_a_name_to_the_payment_in_two_key_strokes(shop, window):
    page, complaints = window
    page.set_viewport_size({"width": 1440, "height": 900})
    open_home(page, shop, "finance")
    expect(page.locator("#home-pay")).to_be_focused()
    page.keyboard.type("fernandez jose")
    page.locator("#home-pay-results a").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/payments/new/*")
    expect(page.locator("#amount")).to_be_focused()
    assert complaints == []


@pytest.mark.parametrize("role", ROLES)
def test_every_home_fits_a_phone(shop, window, role):
    page, complaints = window
    open_home(page, shop, role)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []
