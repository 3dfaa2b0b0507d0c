"""Messages in the browser, turned on and off by the subscriber on the account's page."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.messages import tell_subscriber
from crm.notices import send_due
from crm.push import public_key
from db.models import PushBrowser, Subscriber
from db.session import make_sessions
from lab.push_service import Browser, PushService
from tests.portal.subscriber.conftest import Home

ANDROID = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"


def browsers(home: Home) -> list[PushBrowser]:
    with Session(home.system) as session:
        return list(session.scalars(select(PushBrowser).where(PushBrowser.operator_id == home.isp.operator_id)))


def key_of(home: Home) -> str:
    with Session(home.system) as session:
        found = public_key(session, home.settings.keyring, home.isp.operator_id)
        session.commit()
        return found


@pytest.fixture
def local_services(app, monkeypatch):
    """The push service of the lab stands on this machine, and speaks http."""
    shared = app.extensions["portico"]
    settings = shared.settings.model_copy(update={"local_gateways": True})
    monkeypatch.setitem(
        app.extensions, "portico", type(shared)(settings, shared.keyring, shared.engine, shared.tenancy)
    )
    return settings


def test_who_turns_messages_on_in_a_browser_is_told_there(ana, local_services):
    ana.browser.environ_base["HTTP_USER_AGENT"] = ANDROID
    page = ana.get("account").text
    assert f'data-key="{key_of(ana)}"' in page
    with PushService() as service:
        phone = service.browser(key_of(ana))
        assert ana.post("account/push", **phone.form).status_code == 302
        page = ana.get("account").text
        assert "Chrome 130 · Android" in page
        sessions = make_sessions(ana.system)
        with sessions() as session:
            person = session.get_one(Subscriber, ana.subscriber_id)
            tell_subscriber(session, ana.settings.keyring, person, "plan_granted", {"plan": "Hogar 20"})
            session.commit()
        send_due(sessions, local_services, utc_now())
        assert "Hogar 20" in phone.shown[0]["body"]
        assert phone.urgency == ["normal"]
    [kept] = browsers(ana)
    assert phone.endpoint.encode() not in kept.subscription, "sealed: whoever knows it may send"
    assert ana.post(f"account/push/{kept.id}/off").status_code == 302
    assert browsers(ana) == []


def test_a_browser_of_somebody_else_cannot_be_turned_off(ana, make_home, local_services):
    other = make_home("Luis Gil", ana.isp)
    other.sign_in()
    other.post("account/push", **Browser("https://push.example/luis", "", b"a" * 16).form)
    [kept] = browsers(ana)
    assert ana.post(f"account/push/{kept.id}/off").status_code == 404
    assert len(browsers(ana)) == 1


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:5432/", "javascript:alert(1)", ""])
def test_an_address_that_is_none_is_not_kept(ana, endpoint):
    wrong = Browser("https://push.example/1", "", b"a" * 16).form | {"endpoint": endpoint}
    ana.post("account/push", **wrong)
    assert browsers(ana) == []
    assert "gave no address" in ana.get("account").text
