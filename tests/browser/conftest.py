"""A real Chromium before the real portal, with the whole stack and an emulated router behind it."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from core.settings import Settings
from lab.network import BlockingNetwork, Cpe
from lab.profile import NasProfile, Server
from lab.session import Session
from lab.subscriber import Method, Subscriber
from portal.auth import hasher
from stack.pieces import RunningPiece
from stack.programs import loader_piece, portal_piece, worker_piece
from tests.system.conftest import Controller, start_controller, wait_until

PASSWORD = "correct horse battery"
ARGUMENTS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@dataclass
class Site:
    """An ISP that refuses the suspended, its portal, and the router of one tower."""

    controller: Controller
    network: BlockingNetwork
    url: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def connect(self, name: str) -> Cpe:
        """Register a subscriber, let it connect, and wait until accounting has its session."""
        isp = self.controller.isp
        service = isp.service(name)
        self.controller.settle()
        mac = f"02:00:00:00:10:{next(self.numbers):02x}"
        subscriber = Subscriber(name, "secret", method=Method.CHAP, mac=mac, redial_after=0.5, retry_after=0.5)
        cpe = self.network.add_subscriber(subscriber, "tower")
        assert isinstance(self.network.dial(cpe), Session)
        query = "SELECT 1 FROM session WHERE service_id = %s AND ended_at IS NULL"
        wait_until(lambda: isp.fetch(query, service), 20, "the session to be loaded")
        return cpe


@pytest.fixture(scope="module")
def site(installation: Settings) -> Iterator[Site]:
    with ExitStack() as stack:
        controller = start_controller(installation, stack, address=None, suspended_action="reject")
        isp = controller.isp
        isp.insert(
            "staff",
            operator_id=isp.operator_id,
            email="ana@valle.example",
            name="Ana",
            password_hash=hasher.hash(PASSWORD),
            roles=["manager"],
        )
        network = stack.enter_context(BlockingNetwork())
        network.add_nas(
            NasProfile(
                "tower",
                "127.0.43.1",
                isp.secret,
                Server("127.0.0.1", installation.auth_port, installation.acct_port),
                coa_port=0,
            )
        )
        isp.nas("127.0.43.1", name="tower", coa_port=network.coa_port("tower"))
        for piece in (loader_piece, worker_piece, portal_piece):
            made = piece(installation)
            stack.enter_context(RunningPiece(made, installation.log_dir / f"{made.name}.log"))
        wait_until(lambda: isp.fetch("SELECT 1 FROM follower WHERE name = 'worker'"), 30, "the worker to start")
        yield Site(controller, network, f"http://127.0.0.1:{installation.portal_port}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: errors of scripts, files that were not there, what the CSP held back."""
    return []


@pytest.fixture
def page(site: Site, chromium: Browser, complaints: list[str]) -> Iterator[Page]:
    """A window of a new browser in which nobody is signed in."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en")
    window = context.new_page()
    window.set_default_timeout(15_000)
    window.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    window.on("pageerror", lambda problem: complaints.append(str(problem)))
    yield window
    context.close()


def sign_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")
    page.fill("[name=email]", "ana@valle.example")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Home").wait_for()
