"""A passkey made and used by a real Chromium, whose authenticator is a virtual one that signs for real."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from core.settings import Settings
from db.migrate import migrate
from portal.auth import hasher
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.browser.conftest import PASSWORD
from tests.factories import Isp

pytestmark = pytest.mark.browser
VIRTUAL = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": False,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def portal(installation: Settings) -> Iterator[tuple[str, Isp]]:
    """The portal under a name that passkeys may belong to: an address of digits may not."""
    migrate(installation)
    isp = Isp.create(installation, address=None)
    isp.insert(
        "staff", operator_id=isp.operator_id, email="ana@valle.example", name="Ana",
        password_hash=hasher.hash(PASSWORD), roles=["manager"],
    )  # fmt: skip
    with ExitStack() as stack:
        made = portal_piece(installation)
        stack.enter_context(RunningPiece(made, installation.log_dir / f"{made.name}.log"))
        urlopen(f"http://127.0.0.1:{installation.portal_port}/sign-in").close()  # until its worker answers
        yield f"http://localhost:{installation.portal_port}", isp
    isp.connection.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en")
    page = context.new_page()
    page.set_default_timeout(10_000)
    tools = context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": VIRTUAL})
    yield page
    context.close()


def type_password(page: Page, url: str) -> None:
    page.goto(f"{url}/sign-in")
    page.fill("[name=email]", "ana@valle.example")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_passkey_is_made_then_asked_for_and_a_stranger_has_none(portal: tuple[str, Isp], window: Page):
    url, isp = portal
    complaints: list[str] = []
    window.on("pageerror", lambda problem: complaints.append(str(problem)))
    window.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    type_password(window, url)
    window.goto(f"{url}/account/second-factor/")
    form = window.locator("form[action$='/passkeys/new']")
    form.locator("[name=present]").fill(PASSWORD)
    form.get_by_role("button", name="Add a passkey").click()
    window.get_by_label("What you call it").fill("Front desk")
    window.get_by_role("button", name="Make the passkey").click()
    expect(window.locator("#recovery-codes li")).to_have_count(10)
    window.get_by_role("link", name="I have them on paper").click()
    expect(window.get_by_text("Front desk")).to_be_visible()
    assert isp.fetch("SELECT name, sign_count FROM passkey")[0][0] == "Front desk"

    # The browser forgets who it is, and has the passkey still.
    window.context.clear_cookies()
    type_password(window, url)
    expect(window).to_have_url(re.compile("/sign-in/second$"))
    window.get_by_role("button", name="Use the passkey").click()
    window.get_by_role("heading", name="Home").wait_for()
    assert isp.fetch("SELECT used_at IS NOT NULL, sign_count > 0 FROM passkey") == [(True, True)]
    window.goto(f"{url}/account/sessions/")
    expect(window.get_by_text("password and passkey")).to_be_visible()

    # The answer to one challenge is none to the next, although the key is right.
    window.context.clear_cookies()
    type_password(window, url)
    window.evaluate("() => { HTMLFormElement.prototype.submit = function () { window.sent = this; }; }")
    window.get_by_role("button", name="Use the passkey").click()
    window.wait_for_function("() => window.sent")
    answer = window.input_value("[name=passkey]")
    window.reload()
    window.evaluate("answer => { document.querySelector('[name=passkey]').value = answer; }", answer)
    window.get_by_role("button", name="Go on").click()
    expect(window.get_by_text("That did not work")).to_be_visible()

    # Another browser with an authenticator of its own gets no further than the password.
    tools = window.context.new_cdp_session(window)
    tools.send("WebAuthn.disable")
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": VIRTUAL})
    window.get_by_role("button", name="Use the passkey").click()
    expect(window.get_by_text("The browser did not get a passkey")).to_be_visible()
    assert complaints == []
