"""The homes before a real browser: the keyboard of a cashier, each role's home and day for all eyes and on a phone.

One page stands for each kind: a list, the page of a subscriber, forms, a ticket, a work order, the calendar, the map,
reports, settings. What many pages share, they show; a walk over every page took minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Error, Page, expect
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.tickets import open_ticket
from crm.work_orders import WorkOrderDetails, create_work_order
from db.audit import Actor
from db.migrate import migrate
from db.models import ROLES, Invoice, Subscriber
from db.session import make_engine
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.browser.axe import faults_of
from tests.portal.billing_isp import bill, billed_line, start_billing
from tests.portal.conftest import PASSWORD, Isp, make_isp
from tests.system.conftest import wait_until


@dataclass(frozen=True)
class Shop:
    url: str
    isp: Isp
    pages: tuple[str, ...]


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
    person, line = billed_line(system, installation, isp, "José María Fernández-Villalobos de la Torre", 45)
    bill(system, isp)
    with Session(system) as session:
        actor = Actor(isp.operator_id, "seller")
        ticket = open_ticket(session, actor, person, None, "Sin señal desde la tormenta", "No hay luz en la antena.")
        details = WorkOrderDetails("repair", "Antena torcida por el viento", subscriber_id=person, service_id=line)
        order = create_work_order(session, actor, details, utc_now())
        one = session.get_one(Subscriber, person)
        one.latitude, one.longitude = Decimal("20.967"), Decimal("-89.623")
        invoice = session.scalar(select(Invoice.id).where(Invoice.subscriber_id == person).limit(1))
        session.commit()
        pages = (
            "/subscribers/", f"/subscribers/{person}", f"/subscribers/{person}/edit", f"/services/{line}/terminate",
            f"/tickets/{ticket.id}", "/tickets/", "/work-orders/", f"/work-orders/{order.id}", "/work-orders/calendar",
            "/map/", "/reports/all/", "/reports/all/churn", f"/invoices/{invoice}", "/settings/fields", "/imports/new",
        )  # fmt: skip
    with RunningPiece(portal_piece(installation), installation.log_dir / "portal.log"):
        url = f"http://127.0.0.1:{installation.portal_port}"
        window = chromium.new_page()
        wait_until(lambda: answers(window, url), 30, "the portal to start")
        window.close()
        yield Shop(url, isp, pages)


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
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale="es-MX", reduced_motion="reduce")
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
def test_every_home_fits_a_phone_and_can_be_read_by_everybody(shop, window, role):
    page, complaints = window
    open_home(page, shop, role)
    faults = faults_of(page, role, whole=True, dark=role == "manager")
    assert not faults, "\n".join(faults)
    assert complaints == []


def test_a_days_pages_fit_a_phone_and_can_be_read_by_everybody(shop, window):
    page, complaints = window
    page.set_viewport_size({"width": 1440, "height": 900})
    open_home(page, shop, "manager")
    faults = []
    for number, address in enumerate(shop.pages):
        answer = page.goto(shop.url + address, wait_until="domcontentloaded")
        assert answer is not None
        assert answer.status == 200, address
        faults += faults_of(page, address, dark=number < 2)
    page.set_viewport_size({"width": 390, "height": 844})
    for address, columns in (("/tickets/", ("Due by", "State")), ("/work-orders/", ("When", "State"))):
        page.goto(shop.url + address, wait_until="domcontentloaded")
        for column in columns:
            expect(page.locator(f"td[data-title='{column}']").first).to_be_in_viewport(ratio=1)
    assert not faults, "\n".join(faults)
    assert complaints == []
