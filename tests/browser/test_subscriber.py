"""A subscriber on a phone: a code by mail, what is owed, paying by card, a ticket. In both languages."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.settings import Settings
from db.models import Notification, Operator, Subscriber, Ticket
from tests.portal.billing_isp import bill, billed_line, cut_off, service_of, start_billing
from tests.portal.conftest import app, make_isp, system  # noqa: F401
from tests.portal.online import enter_accounts, listening, providers_of

pytestmark = pytest.mark.browser

WORDS = {
    "en": ("Send me a code", "Sign in", "Pay now", "Pay with", "My account", "You are not online", "Open a ticket",
           "Send", "has arrived"),
    "es": ("Envíenme un código", "Ingresar", "Pagar ahora", "Pagar con", "Mi cuenta", "No está en línea",
           "Abrir un ticket", "Enviar", "llegó"),
}  # fmt: skip


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    """An installation of the demo: accounts with emulated providers are good there alone."""
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture
def phone(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    language = request.getfixturevalue("language")
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale=language, has_touch=True)
    window = context.new_page()
    window.set_default_timeout(15_000)
    yield window
    context.close()


def fits(page: Page, name: str) -> None:
    """Nothing is wider than the phone."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_cut_off_subscriber_signs_in_pays_and_asks(
    phone: Page,
    language: str,
    app: Flask,  # noqa: F811
    system: Engine,  # noqa: F811
    installation: Settings,
) -> None:
    send, sign_in, pay_now, pay_with, my_account, offline, open_ticket, submit, arrived = WORDS[language]
    isp = make_isp(system, installation)
    start_billing(system, isp)
    subscriber_id, service_id = billed_line(system, installation, isp, "Ana Peña", 3)
    bill(system, isp)
    cut_off(system, isp, service_id)
    enter_accounts(system, installation, isp)
    email = f"ana@isp-{isp.operator_id}.example"
    with Session(system) as session:
        slug = session.get_one(Operator, isp.operator_id).slug
        session.get_one(Subscriber, subscriber_id).email = email
        session.commit()
    complaints: list[str] = []
    with listening(app, installation.portal_port) as address, providers_of(isp, installation):
        phone.on(
            "console",  # the provider's page is not ours
            lambda said: (
                complaints.append(said.text)
                if said.type in ("error", "warning") and said.location["url"].startswith(address)
                else None
            ),
        )
        phone.goto(f"{address}/my/{slug}/")
        fits(phone, "sign-in")
        phone.fill("[name=email]", email)
        phone.get_by_role("button", name=send).click()
        phone.locator("#code").wait_for()
        fits(phone, "code")
        with Session(system) as session:
            mail = session.scalars(select(Notification.body).where(Notification.shown_address == email)).one()
        phone.fill("#code", re.search(r"\b(\d{6})\b", mail)[1])
        phone.get_by_role("button", name=sign_in).click()
        expect(phone.locator("#balance")).to_contain_text("300")
        fits(phone, "home")
        phone.get_by_role("link", name=pay_now).first.click()
        phone.get_by_role("button", name=pay_with).first.click()
        phone.get_by_role("button", name="Pay", exact=True).click()  # at the provider
        phone.get_by_role("link", name=my_account).click()
        expect(phone.get_by_text(offline)).to_be_visible()
        assert service_of(system, service_id).state == "active"
        fits(phone, "paid")
        for tab in ("usage", "bills", "account", "devices", "help"):
            phone.goto(f"{address}/my/{slug}/{tab}")
            fits(phone, tab)
        phone.get_by_role("link", name=open_ticket).click()
        phone.fill("[name=subject]", "Wi-Fi")
        phone.fill("[name=text]", "Since Monday")
        phone.get_by_role("button", name=submit).click()
        expect(phone.get_by_text(arrived).first).to_be_visible()
        fits(phone, "ticket")
    with Session(system) as session:
        assert session.scalars(select(Ticket.subject).where(Ticket.subscriber_id == subscriber_id)).all() == ["Wi-Fi"]
    assert complaints == []


def test_what_is_pushed_to_a_phone_is_shown_though_nobody_is_signed_in(
    chromium: Browser,
    app: Flask,  # noqa: F811
    system: Engine,  # noqa: F811
    installation: Settings,
) -> None:
    """The browser's own push service is out of reach, so its developer tools hand over what it would deliver."""
    isp = make_isp(system, installation)
    with Session(system) as session:
        slug = session.get_one(Operator, isp.operator_id).slug
    with listening(app, installation.portal_port) as address:
        context = chromium.new_context(permissions=["notifications"])
        phone, scopes = context.new_page(), []
        phone.goto(f"{address}/my/{slug}/sign-in")
        tools = context.new_cdp_session(phone)
        tools.on("ServiceWorker.workerRegistrationUpdated", lambda told: scopes.extend(told["registrations"]))
        tools.send("ServiceWorker.enable")
        phone.evaluate("navigator.serviceWorker.ready.then(() => true)")
        while not scopes:
            phone.wait_for_timeout(20)
        said = {"title": "Red Valle", "body": "Una torre sin luz <b>", "tag": "7"}
        for data in (json.dumps(said), "not ours"):
            tools.send(
                "ServiceWorker.deliverPushMessage",
                {"origin": address, "registrationId": scopes[-1]["registrationId"], "data": data},
            )
        # wait_for_function() takes a promise itself for the answer it waits for.
        shown = phone.evaluate(
            """async () => {
                const worker = await navigator.serviceWorker.ready
                let all = []
                while (!all.length) {
                    await new Promise(done => setTimeout(done, 20))
                    all = await worker.getNotifications()
                }
                return all.map(each => ({title: each.title, body: each.body, tag: each.tag}))
            }"""
        )
        assert shown == [said]
        context.close()
