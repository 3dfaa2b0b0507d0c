"""The pages about webhooks: enter one, see its secret, try it, read what it was told and send it again."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.webhooks import EVENTS
from db.models import AuditEntry, WebhookDelivery, WebhookEndpoint, WebhookEvent
from db.session import make_sessions
from tests.portal.conftest import add_subscriber, make_isp, post
from tests.worker.test_webhooks import receiving
from worker.webhooks import deliver_next


@pytest.fixture(scope="module")
def installation(new_installation) -> Settings:
    return new_installation().model_copy(update={"local_gateways": True})


def enter(browser, url: str = "http://127.0.0.1:9/hook", **fields):
    """Enter a webhook, and return its page with the address of that."""
    page = post(browser, "/webhooks/new", address=url, notes="Ledger", **({"everything": "y"} | fields))
    assert page.status_code == 200, page.text
    return page.text, "/webhooks/" + re.search(r'action="/webhooks/(\d+)/test"', page.text)[1]


def refuse(handler) -> None:
    handler.send_response(500)
    handler.end_headers()
    handler.wfile.write(b"<b>")


def secret_on(page: str) -> str | None:
    found = re.search(r'value="(whsec_[^"]+)"', page)
    return found[1] if found else None


def test_a_manager_enters_a_webhook_and_sees_its_secret_this_once(sign_in, isp, system):
    browser = sign_in("manager")
    page, address = enter(browser)
    secret = secret_on(page)
    assert secret
    assert secret_on(browser.get(address).text) is None
    assert secret_on(post(browser, f"{address}/secret").text) == secret
    renewed = post(browser, f"{address}/new-secret").text
    assert secret_on(renewed) not in (None, secret)
    assert "signs as well until" in renewed
    assert "Ledger" in browser.get("/webhooks/").text
    with Session(system) as session:
        query = select(AuditEntry.action).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id)
        actions = [each for each in session.scalars(query) if each.startswith("webhook")]
    assert actions == ["webhook.create", "webhook.secret_shown", "webhook.secret"]


def test_a_test_arrives_and_its_delivery_shows_the_answer(sign_in, isp, system, installation):
    browser = sign_in("manager")
    with receiving() as receiver:
        _page, address = enter(browser, receiver.url)
        receiver.answer = lambda handler: (
            handler.send_response(500),
            handler.end_headers(),
            handler.wfile.write(b"<b>"),
        )
        shown = post(browser, f"{address}/test").headers["Location"]
        assert "It has not been tried yet." in browser.get(shown).text
        deliver_next(make_sessions(system), installation, int(address.rsplit("/", 1)[1]))
        page = browser.get(shown).text
        assert "&lt;b&gt;" in page
        assert "webhook.test" in page
        assert "It has failed 1 times in a row" in browser.get(address).text
    with Session(system) as session:
        session.execute(WebhookDelivery.__table__.update().values(state="failed"))
        session.commit()
    assert post(browser, f"{shown}/replay").status_code == 302
    with Session(system) as session:
        number = int(shown.rsplit("/", 1)[1])
        assert session.get_one(WebhookDelivery, number).state == "waiting"


def test_what_failed_in_a_day_is_sent_again_together(sign_in, isp, system):
    browser = sign_in("manager")
    _page, address = enter(browser)
    for name in ("Ana", "Luz", "Eva"):
        add_subscriber(system, isp, name)
    post(browser, f"{address}/switch")
    assert "told nothing" in browser.get(address).text
    answer = post(browser, f"{address}/replay", since="day")
    assert "3 are sent again" in browser.get(answer.headers["Location"]).text
    assert "Nothing failed" in browser.get(post(browser, f"{address}/replay", since="hour").headers["Location"]).text


def test_the_log_is_filtered_by_state_and_event(sign_in, isp, system):
    browser = sign_in("manager")
    _page, address = enter(browser)
    add_subscriber(system, isp, "Ana")
    post(browser, f"{address}/test")
    assert "deliveries/" in browser.get(f"{address}?event=subscriber.created&state=waiting").text
    assert "deliveries/" not in browser.get(f"{address}?event=ticket.opened").text
    export = browser.get(f"{address}?format=csv").text
    assert "subscriber.created" in export
    assert "webhook.test" in export


def test_a_bad_address_and_an_empty_choice_are_said_beside_their_fields(sign_in):
    browser = sign_in("manager")
    page = post(browser, "/webhooks/new", address="ftp://x.example/", notes="")
    assert page.status_code == 422
    assert "This is no address that webhooks may go to" in page.text
    assert 'id="events-error"' in page.text


def test_a_webhook_is_changed_and_deleted_with_its_log(sign_in, isp, system):
    browser = sign_in("manager")
    _page, address = enter(browser)
    add_subscriber(system, isp, "Ana")
    changed = post(browser, f"{address}/edit", address="http://127.0.0.1:9/other", notes="ERP", events="invoice.paid")
    assert changed.status_code == 302
    page = browser.get(address).text
    assert "invoice.paid" in page
    assert "/other" in page
    assert post(browser, f"{address}/delete").status_code == 302
    assert browser.get(address).status_code == 404
    with Session(system) as session:
        mine = WebhookEndpoint.operator_id == isp.operator_id
        assert session.scalars(select(WebhookEndpoint).where(mine)).all() == []


def test_each_event_has_its_example_on_the_page(sign_in):
    page = sign_in("manager").get("/webhooks/events").text
    assert all(f'id="{name}"' in page for name in EVENTS)


def test_webhooks_are_the_managers_and_of_one_operator(sign_in, isp, system, installation):
    _page, address = enter(sign_in("manager"))
    add_subscriber(system, isp, "Ana")
    with Session(system) as session:
        query = select(WebhookDelivery.id).join(WebhookEvent).where(WebhookEvent.operator_id == isp.operator_id)
        delivery = session.scalars(query).first()
    stranger = sign_in("manager", make_isp(system, installation))
    for url in (address, f"{address}/edit", f"/webhooks/deliveries/{delivery}"):
        assert stranger.get(url).status_code == 404
    assert post(stranger, f"{address}/secret").status_code == 404
    assert sign_in("finance").get("/webhooks/").status_code == 403
