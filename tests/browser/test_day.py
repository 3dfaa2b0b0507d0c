"""A working day of an ISP, walked by those who work it: from somebody who asks to the report on what became of it.

In English at a desk, and in Spanish on a phone, where the technician has no coverage at the subscriber's house.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from core.clock import local_date, utc_now
from core.i18n import translator
from core.settings import Settings
from db.models import ROLES
from lab.nas import Refused
from lab.network import BlockingNetwork
from lab.profile import NasProfile, Server
from lab.subscriber import Method, Subscriber
from portal.auth import hasher
from portal.i18n import LANGUAGE_COOKIE
from stack.pieces import RunningPiece
from stack.programs import loader_piece, portal_piece, worker_piece
from tests.browser.conftest import PASSWORD
from tests.system.conftest import Controller, start_controller, wait_until

pytestmark = pytest.mark.browser

SIZES = {"en": {"width": 1440, "height": 900}, "es": {"width": 390, "height": 844}}
NAMES = {"en": "Emma Ortega", "es": "José Peña"}
PHONES = {"en": "+52 55 4321 8765", "es": "+52 33 1234 5678"}
USERS = {"en": "emma.ortega", "es": "jose.pena"}


@dataclass
class Office:
    """The ISP: its controller, the network behind it, and where its portal is."""

    controller: Controller
    network: BlockingNetwork
    url: str
    slug: str


@pytest.fixture(scope="module")
def office(installation: Settings) -> Iterator[Office]:
    with ExitStack() as stack:
        controller = start_controller(installation, stack, address=None, currency="MXN")
        isp = controller.isp
        for role in ROLES:
            isp.insert(
                "staff", operator_id=isp.operator_id, email=f"{role}@valle.example", name=role.title(),
                password_hash=hasher.hash(PASSWORD), roles=[role],
            )  # fmt: skip
        isp.update("rate_plan", isp.plan_id, price=Decimal(300))
        isp.insert(
            "billing_settings", returning="operator_id", operator_id=isp.operator_id, enabled=True,
            starts_on=today() - timedelta(days=30), cut_off="anchor", issue_days=0, issue_hour=0, first_due_days=0,
        )  # fmt: skip
        network = stack.enter_context(BlockingNetwork())
        radius = Server("127.0.0.1", installation.auth_port, installation.acct_port)
        network.add_nas(NasProfile("tower", "127.0.44.1", isp.secret, radius, coa_port=0))
        isp.nas("127.0.44.1", name="tower", coa_port=network.coa_port("tower"))
        for piece in (loader_piece, worker_piece, portal_piece):
            made = piece(installation)
            stack.enter_context(RunningPiece(made, installation.log_dir / f"{made.name}.log"))
        wait_until(lambda: isp.fetch("SELECT 1 FROM follower WHERE name = 'worker'"), 30, "the worker to start")
        ((slug,),) = isp.fetch("SELECT slug FROM operator WHERE id = %s", isp.operator_id)
        yield Office(controller, network, f"http://127.0.0.1:{installation.portal_port}", slug)


def today() -> date:
    return local_date(utc_now(), ZoneInfo("UTC"))


class Desk:
    """A window of the size and language of a story, and what its pages complained of."""

    def __init__(self, chromium: Browser, office: Office, language: str) -> None:
        self.chromium, self.office, self.language = chromium, office, language
        self.say = translator(language)
        self.complaints: list[str] = []

    @contextmanager
    def window(self) -> Iterator[Page]:
        context = self.chromium.new_context(viewport=SIZES[self.language], locale=self.language)
        context.add_cookies([{"name": LANGUAGE_COOKIE, "value": self.language, "url": self.office.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("dialog", lambda dialog: dialog.accept())
        yield page
        context.close()

    @contextmanager
    def of(self, role: str, path: str) -> Iterator[Page]:
        """Somebody of that role signs in and goes to a page."""
        with self.window() as page:
            page.goto(f"{self.office.url}/sign-in")
            page.fill("[name=email]", f"{role}@valle.example")
            page.fill("[name=password]", PASSWORD)
            page.locator("[name=password]").press("Enter")
            page.locator("#tiles").wait_for()
            page.goto(self.office.url + path)
            yield page
            self.fits(page)

    def press(self, page: Page, words: str, **how: Any) -> None:
        """Press the button of these words, on a page that fits the window."""
        self.fits(page)
        page.get_by_role("button", name=self.say(words), exact=True, **how).first.click()

    def fits(self, page: Page) -> None:
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= SIZES[self.language]["width"], page.url


def draw(page: Page, pad: str) -> None:
    """Sign on a canvas."""
    canvas = page.locator(pad)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=5)
    page.mouse.up()


def sold(desk: Desk, plan_id: int, name: str, email: str) -> int:
    """Sales: somebody asked, and buys. Return the work order."""
    with desk.of("sales", "/leads/new") as page:
        page.fill("[name=name]", name)
        page.fill("[name=phone]", PHONES[desk.language])
        page.fill("[name=email]", email)
        page.fill("[name=address]", "Calle Hidalgo 12")
        page.select_option("[name=plan_id]", str(plan_id))
        desk.press(page, "Save")
        desk.press(page, "Make a subscriber")
        page.locator("[name=day]").fill(today().isoformat())
        page.locator("[name=begin]").fill("00:00")
        page.locator("[name=until]").fill("23:30")
        page.locator("[name=technician_id]").select_option(label="Technical")
        page.locator("details.portal-more summary").click()
        page.locator("[name=password]").fill("secret-of-the-line")
        desk.press(page, "Sell")
        page.wait_for_url(re.compile(r"/work-orders/\d+$"))
        return int(page.url.rsplit("/", 1)[1])


def install_at_a_desk(desk: Desk, order: int, mac: str, name: str) -> None:
    with desk.of("technical", f"/work-orders/{order}") as page:
        desk.press(page, "Begin")
        page.fill("#label", mac)
        desk.press(page, "Bind")
        page.fill("#signed-name", name)
        draw(page, "canvas[data-signature]")
        desk.press(page, "Sign")
        desk.press(page, "Complete")
        expect(page.get_by_text(desk.say("What was sold is in force now"))).to_be_visible()


def install_without_coverage(desk: Desk, order: int, mac: str, name: str) -> None:
    say = desk.say
    with desk.of("technical", "/t/") as page:
        page.locator(".visit").first.wait_for()
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        page.locator(f"a[href='#o{order}']").wait_for()
        page.context.set_offline(True)
        page.reload()
        page.locator(f"a[href='#o{order}']").click()
        page.get_by_role("button", name=say("Begin"), exact=True).click()
        page.locator("[name=label]").fill(mac)
        page.locator("#bind").click()
        draw(page, "canvas.pad")
        page.get_by_role("button", name=say("Sign"), exact=True).click()
        expect(page.locator("#signed")).to_contain_text(name)
        page.locator("#complete").click()
        expect(page.locator("#end")).to_have_count(0)
        assert desk.office.controller.isp.fetch("SELECT state FROM work_order WHERE id = %s", order) != [("done",)]
        page.context.set_offline(False)
        done = "SELECT 1 FROM work_order WHERE id = %s AND state = 'done'"
        wait_until(
            lambda: page.wait_for_timeout(50) or desk.office.controller.isp.fetch(done, order), 15, "what waited"
        )


def billed(desk: Desk, name: str) -> None:
    """Finance: see what is due, issue it, and find the invoice."""
    with desk.of("finance", "/invoices/preview") as page:
        desk.press(page, "Issue now")
        query = "SELECT 1 FROM invoice i JOIN subscriber s ON s.id = i.subscriber_id WHERE s.name = %s"
        wait_until(lambda: desk.office.controller.isp.fetch(query, name), 20, "the invoice")
        page.goto(f"{desk.office.url}/invoices/")
        expect(page.get_by_text(name).first).to_be_visible()


def complained(desk: Desk, email: str, subject: str) -> None:
    """The subscriber: a code by mail, the invoice, and a ticket."""
    office = desk.office
    with desk.window() as page:
        page.goto(f"{office.url}/my/{office.slug}/")
        page.fill("[name=email]", email)
        desk.press(page, "Send me a code")
        page.locator("#code").wait_for()
        query = "SELECT body FROM notification WHERE shown_address = %s ORDER BY id"
        bodies = [body for (body,) in office.controller.isp.fetch(query, email)]
        page.fill("#code", [found for body in bodies for found in re.findall(r"\b(\d{6})\b", body)][-1])
        desk.press(page, "Sign in")
        expect(page.locator("#balance")).to_contain_text("300")
        desk.fits(page)
        page.goto(f"{office.url}/my/{office.slug}/help/new")
        page.fill("[name=subject]", subject)
        page.fill("[name=text]", "Desde la mañana.")
        desk.press(page, "Send")
        expect(page.get_by_text(subject).first).to_be_visible()
        desk.fits(page)


def escalated(desk: Desk, subject: str) -> None:
    """Support: read it, and hand it on to the technicians with a reason."""
    with desk.of("support", "/tickets/") as page:
        page.get_by_role("link", name=subject).first.click()
        page.locator("details", has=page.locator("[name=on-queue]")).locator("summary").click()
        page.select_option("[name=on-queue]", "technical")
        page.fill("[name=on-reason]", "The mast does not answer.")
        desk.press(page, "Hand on")
        expect(page.locator(".portal-event").last).to_contain_text("The mast does not answer.")


def opened(desk: Desk, title: str, subject: str) -> None:
    """Technical: open an incident, tie the ticket to it, and close it with its cause."""
    with desk.of("technical", "/monitoring/incidents/new") as page:
        page.fill("[name=title]", title)
        page.select_option("[name=nas_id]", label="tower")
        desk.press(page, "Open the incident")
        expect(page.get_by_role("heading", name=title).first).to_be_visible()
        incident = page.url
        page.goto(f"{desk.office.url}/tickets/")
        page.get_by_role("link", name=subject).first.click()
        page.locator("details", has=page.locator("[name=change-incident_id]")).locator("summary").click()
        choice = page.locator("[name=change-incident_id] option", has_text=title).get_attribute("value")
        page.select_option("[name=change-incident_id]", choice)
        desk.press(page, "Save")
        expect(page.locator(".alert-danger")).to_be_visible()
        page.goto(incident)
        page.fill("#close-cause", "Power")
        desk.press(page, "It is solved")
        expect(page.get_by_text(desk.say("Lasted")).first).to_be_visible()


def reported(desk: Desk) -> None:
    """The manager: what was sold and installed, and what was asked."""
    with desk.of("manager", "/work-orders/reports") as page:
        expect(page.get_by_text("Sales").first).to_be_visible()
        desk.fits(page)
        page.goto(f"{desk.office.url}/tickets/reports/")
        expect(page.get_by_role("heading", name=desk.say("Reports of tickets")).first).to_be_visible()


@pytest.mark.parametrize("language", ["en", "es"])
def test_from_a_lead_to_the_report(office: Office, chromium: Browser, language: str) -> None:
    desk, isp = Desk(chromium, office, language), office.controller.isp
    name, user = NAMES[language], USERS[language]
    email, mac = f"{user}@example.com", f"02:00:00:00:20:{len(language) + len(user):02x}"

    order = sold(desk, isp.plan_id, name, email)
    cpe = office.network.add_subscriber(
        Subscriber(user, "secret-of-the-line", method=Method.CHAP, mac=mac, retry_after=0.5), "tower"
    )
    office.controller.settle()
    assert isinstance(office.network.dial(cpe), Refused)  # before anybody was there
    (install_at_a_desk if language == "en" else install_without_coverage)(desk, order, mac, name)
    wait_until(lambda: cpe.session is not None, 15, "the line to come up")
    online = "SELECT 1 FROM session s JOIN service v ON v.id = s.service_id WHERE v.name = %s AND s.ended_at IS NULL"
    wait_until(lambda: isp.fetch(online, user), 20, "its session to be loaded")

    billed(desk, name)
    subject = {"en": "No internet since noon", "es": "Sin internet desde el mediodía"}[language]
    complained(desk, email, subject)
    escalated(desk, subject)
    opened(desk, {"en": "The mast has no power", "es": "La torre está sin luz"}[language], subject)
    reported(desk)
    assert isp.fetch("SELECT state, queue, source FROM ticket WHERE subject = %s", subject) == [
        ("open", "technical", "portal")
    ]
    assert desk.complaints == []
