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


def turn_on(home, endpoint):
    """Turn messages on in the subscriber's browser."""
    assert home.post("account/push", **Browser(endpoint, "", b"a" * 16).form).status_code == 302


def told(home):
    """Whose messages go to a browser of the operator's."""
    return [each.subscriber_id for each in browsers(home)]


def test_who_signs_out_of_a_browser_is_told_nothing_in_it_any_more(ana, local_services):
    phone = ana.browser
    turn_on(ana, "https://push.example/phone")
    ana.browser = ana.browser.application.test_client()
    ana.sign_in()
    turn_on(ana, "https://push.example/desk")
    assert told(ana) == [ana.subscriber_id] * 2
    ana.post("sign-out")
    assert told(ana) == [ana.subscriber_id]  # the phone is still hers
    ana.browser = phone
    ana.post("sign-out")
    assert told(ana) == []


def test_nor_is_she_where_somebody_else_signs_in_after_her_session_ran_out(ana, make_home, local_services):
    turn_on(ana, "https://push.example/shared")
    ana.browser.delete_cookie("portico_my", path=ana.url())
    luis = make_home("Luis Gil", ana.isp)
    luis.browser = ana.browser
    luis.sign_in()
    assert told(ana) == []
    turn_on(luis, "https://push.example/shared")
    assert told(ana) == [luis.subscriber_id]
    luis.sign_in()
    assert told(ana) == [luis.subscriber_id]  # who signs in again is told as before


def test_a_new_password_ends_messages_in_the_browsers_that_it_signs_out(ana, local_services):
    turn_on(ana, "https://push.example/stolen")
    ana.browser = ana.browser.application.test_client()
    ana.sign_in()
    turn_on(ana, "https://push.example/mine")
    strong = "correcto caballo batería grapa"
    answer = ana.post("account/password", current="", password=strong, again=strong)
    assert answer.status_code == 302, answer.text
    [kept] = browsers(ana)
    cookie = ana.browser.get_cookie("portico_my_push", path=ana.url())
    assert cookie is not None
    ana.post("sign-out")
    assert told(ana) == [], kept.name
