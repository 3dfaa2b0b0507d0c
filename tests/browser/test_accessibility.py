"""Every page that a manager can reach, in Spanish: it fits a phone, and axe finds nothing serious in it.

The walk begins at all addresses without arguments and follows the links it sees, until it has been once at each kind of
page. A page made tomorrow is walked tomorrow, without a line here.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser, Error, Page, ViewportSize
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from core.settings import Settings
from portal.i18n import LANGUAGE_COOKIE
from stack.demo import seed
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.browser.test_homes import answers
from tests.portal.conftest import app  # noqa: F401
from tests.system.conftest import wait_until

pytestmark = pytest.mark.browser

# What stands around each page is examined once, on the first.
EXAMINE = """first => axe.run(first ? document : (document.querySelector('main') ?? document), {
    resultTypes: ['violations'], runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']},
}).then(result => result.violations
    .filter(found => ['serious', 'critical'].includes(found.impact))
    .flatMap(found => found.nodes.map(node => `${found.id}: ${node.html.slice(0, 160)} (${node.failureSummary})`)))"""
AXE = f"() => {{ {files('axe_playwright_python').joinpath('axe.min.js').read_text(encoding='utf-8')} }}"
LINKS = "() => [...document.querySelectorAll('a[href]')].map(link => link.href)"
IS_PAGE = "() => document.doctype !== null"  # not a fragment that a page loads into itself
LEFT = {"static", "auth.sign_out"}
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 900}


@dataclass
class Walk:
    """What is still to be seen, and what was found so far."""

    routes: MapAdapter
    host: str
    todo: deque[tuple[str, str]]
    seen: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    pages: int = 0

    def follow(self, links: list[str]) -> None:
        """Take up what is linked and of a kind not seen yet."""
        for link in links:
            parts = urlsplit(link)
            if parts.netloc != self.host:
                continue
            try:
                endpoint, _arguments = self.routes.match(parts.path)
            except (HTTPException, RequestRedirect):
                continue
            if endpoint not in self.seen | LEFT:
                self.todo.append((endpoint, parts.path + (f"?{parts.query}" if parts.query else "")))


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture(scope="module")
def manager(installation: Settings, app: Flask) -> Iterator[tuple[str, str]]:  # noqa: F811
    """The demo's portal, and who manages it: e-mail address and password."""
    made = seed(installation)
    with RunningPiece(portal_piece(installation), installation.log_dir / "portal.log"):
        yield made.logins["manager"]


@contextmanager
def signed_in(chromium: Browser, url: str, login: tuple[str, str], language: str) -> Iterator[Page]:
    context = chromium.new_context()
    context.add_cookies([{"name": LANGUAGE_COOKIE, "value": language, "url": url}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    wait_until(lambda: answers(page, url), 30, "the portal to start")
    page.goto(f"{url}/sign-in")
    page.fill("[name=email]", login[0])
    page.fill("[name=password]", login[1])
    page.locator("[name=password]").press("Enter")
    page.locator("#tiles").wait_for()
    yield page
    context.close()


def html_at(page: Page, url: str) -> int | None:
    """Go there and return the status; None where nothing is shown but a file is sent."""
    try:
        answer = page.goto(url, wait_until="domcontentloaded")
    except Error as problem:
        if "Download is starting" in problem.message or "ERR_ABORTED" in problem.message:
            return None
        raise
    assert answer is not None, url
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return None
    return answer.status


def look(walk: Walk, page: Page, url: str, path: str) -> None:
    """Measure a page on a phone, examine it at a desk, and note where it leads."""
    page.set_viewport_size(PHONE)
    status = html_at(page, url + path)
    if status is None or not page.evaluate(IS_PAGE):
        return
    if status != 200:
        if status >= 500:
            walk.faults.append(f"{path}: {status}")
        return
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > PHONE["width"]:
        walk.faults.append(f"{path}: {width} px wide on a phone")
    page.set_viewport_size(DESK)
    page.evaluate(AXE)
    walk.faults += [f"{path}: {fault}" for fault in page.evaluate(EXAMINE, walk.pages == 0)]
    walk.pages += 1
    walk.follow(page.evaluate(LINKS))


def test_every_page_is_accessible_and_fits_a_phone(
    manager: tuple[str, str],
    installation: Settings,
    app: Flask,  # noqa: F811
    chromium: Browser,
) -> None:
    host = f"127.0.0.1:{installation.portal_port}"
    url = f"http://{host}"
    starts = [
        (rule.endpoint, rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.arguments and rule.endpoint not in LEFT
    ]
    walk = Walk(app.url_map.bind(host), host, deque(starts))
    with signed_in(chromium, url, manager, "es") as page:
        while walk.todo:
            endpoint, path = walk.todo.popleft()
            if endpoint in walk.seen:
                continue
            walk.seen.add(endpoint)
            look(walk, page, url, path)
    assert not walk.faults, "\n".join(walk.faults)
    assert walk.pages > 100
