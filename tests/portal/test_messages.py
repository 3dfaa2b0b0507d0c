"""Pages about messages: the log, texts with their preview, channels, broadcasts, and the link that unsubscribes."""

import re

import pytest
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.i18n import LANGUAGES
from crm.broadcasts import send_broadcast, stop_broadcast
from crm.jobs import Cancelled, RunningJob
from crm.message_events import EVENTS
from crm.messages import tell_subscriber
from crm.unsubscribing import link_key, unsubscribe_text
from db.audit import Actor
from db.models import (
    Broadcast,
    Job,
    MessagePreference,
    MessageSettings,
    MessageText,
    Notification,
    Sector,
    Service,
    Site,
    Subscriber,
)
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def told(system, installation, isp):
    """A subscriber with a service who was told of an outage; the number of the message."""
    number = add_subscriber(
        system, isp, "Ana <script>", email="ana@example.com", phone="+52 55 1234 5678", language="es"
    )
    add_service(system, installation, isp, number, f"ana{isp.operator_id}")
    with Session(system) as session:
        [row] = tell_subscriber(session, installation.keyring, session.get_one(Subscriber, number), "incident", {})
        session.commit()
        return row.id


def mark(system, number, **values):
    with Session(system) as session:
        row = session.get_one(Notification, number)
        for name, value in values.items():
            setattr(row, name, value)
        session.commit()


def test_the_log_shows_what_became_of_a_message_and_sends_it_again(system, sign_in, told):
    mark(system, told, state="failed", error="550 no such <user>")
    browser = sign_in("support")
    page = browser.get("/messages/?state=failed").text
    assert "550 no such &lt;user&gt;" in page
    assert "Ana &lt;script&gt;" in page
    assert "Outage: told to those concerned" in page
    answer = post(browser, f"/messages/{told}/again", next="/messages/?state=failed")
    assert answer.location == "/messages/?state=failed"
    with Session(system) as session:
        assert (session.get_one(Notification, told).state, session.get_one(Notification, told).attempts) == (
            "waiting",
            0,
        )
    assert post(browser, f"/messages/{told}/again", next="https://evil.example/").location == "/messages/"


def test_who_may_look_may_not_send(sign_in, told):
    browser = sign_in("technical")
    assert browser.get("/messages/").status_code == 200
    assert "Send again" not in browser.get("/messages/").text
    for path in (f"/messages/{told}/again", f"/messages/{told}/sent"):
        assert post(browser, path).status_code == 403
    assert browser.get("/broadcasts/").status_code == 403
    assert browser.get("/message-texts/").status_code == 403


def test_nobody_sees_messages_of_another_operator(system, installation, sign_in, told):
    other = sign_in("manager", make_isp(system, installation))
    assert "Ana" not in other.get("/messages/").text
    assert post(other, f"/messages/{told}/again").status_code == 404


def test_a_message_by_hand_opens_in_whatsapp_and_is_done_once(system, installation, sign_in, told):
    address = installation.keyring.seal("notification.address", "+525512345678")
    mark(system, told, state="by_hand", channel="whatsapp", body="¿Hola & adiós?", address=address)
    browser = sign_in("support")
    assert "https://wa.me/525512345678?text=%C2%BFHola%20%26%20adi%C3%B3s%3F" in browser.get("/messages/by-hand").text
    assert "messages to send by hand" in browser.get("/", follow_redirects=True).text
    post(browser, f"/messages/{told}/sent")
    assert "wa.me" not in browser.get("/messages/by-hand").text
    post(browser, f"/messages/{told}/sent")
    assert "Somebody sent this message already." in browser.get("/messages/by-hand").text


def test_a_subscribers_page_shows_messages_and_keeps_wishes(system, sign_in, told):
    with Session(system) as session:
        number = session.get_one(Notification, told).subscriber_id
    browser, path = sign_in("support"), f"/subscribers/{number}/messages"
    assert "Tenemos una falla en su zona" in browser.get(path).text
    assert post(browser, path, channels=["sms", "telegram"], telegram_chat="no good!").status_code == 422
    assert post(browser, path, channels=["sms", "telegram"], telegram_chat="4711").status_code == 302
    with Session(system) as session:
        wish = session.get_one(MessagePreference, number)
        assert (wish.channels, wish.telegram_chat, wish.unsubscribed_at is not None) == (
            ["sms", "telegram"],
            "4711",
            True,
        )
    post(browser, path, news="y")
    with Session(system) as session:
        wish = session.get_one(MessagePreference, number)
        assert (wish.channels, wish.unsubscribed_at) == (None, None)
    assert post(sign_in("technical"), path, news="y").status_code == 403


# Texts.


def test_every_text_has_a_page_with_its_variables_and_a_preview(system, sign_in, isp, told):
    browser = sign_in("manager")
    index = browser.get("/message-texts/").text
    for key, event in EVENTS.items():
        assert f"/message-texts/{key}/email/en" in index
        for language in LANGUAGES:
            page = browser.get(f"/message-texts/{key}/email/{language}")
            assert page.status_code == 200
            assert all(f"{{{name}}}" in page.text for name in event.allowed)
    shown = browser.get("/message-texts/incident/email/es").text
    assert "Hola, Ana &lt;script&gt;:" in shown
    assert browser.get("/message-texts/incident/pigeon/es").status_code == 404
    add_subscriber(system, isp, "Zoe Paz")
    add_subscriber(system, isp, "Leo")
    assert "Hola, Zoe Paz:" in browser.get("/message-texts/incident/email/es?subscriber=paz").text


def test_a_text_is_checked_line_by_line_before_it_is_kept(system, sign_in, isp, told):
    browser, path = sign_in("manager"), "/message-texts/incident/sms/es"
    refused = post(browser, path, body="Hola {name}\n{nombre}", do="save")
    assert refused.status_code == 422
    assert "Line 2: {nombre} is none of the variables" in refused.text
    shown = post(browser, path, body="Hola {name}: {what}", do="preview")
    assert "Hola Ana &lt;script&gt;: [" in shown.text
    with Session(system) as session:
        assert session.get(MessageText, (isp.operator_id, "incident", "sms", "es")) is None
    seen = value(browser.get(path).text, "version")
    assert post(browser, path, body="Hola {name}: {what}", do="save", version=seen).status_code == 302
    second = post(browser, path, body="Buenas {name}", do="save", version=seen)  # who had it open, too
    assert second.status_code == 409
    assert "Hola {name}: {what}" in second.text
    assert "Buenas {name}" in second.text
    with Session(system) as session:
        assert session.get_one(MessageText, (isp.operator_id, "incident", "sms", "es")).body == "Hola {name}: {what}"
    post(browser, f"{path}/restore")
    assert "desde el {began}" in browser.get(path).text


def test_a_test_goes_to_who_writes(system, sign_in, isp, told):
    browser = sign_in("manager")
    post(browser, "/message-texts/incident/email/es", subject="Falla", body="Hola {name}", do="test")
    with Session(system) as session:
        row = session.query(Notification).filter_by(operator_id=isp.operator_id, kind="test").one()
        assert (row.shown_address, row.body) == (isp.staff["manager"], "Hola Ana <script>")


# Channels.

GOOD = {
    "channels": ["email", "sms"], "dial_prefix": "+52", "quiet_from": "21:00", "quiet_until": "08:00",
    "sms_kind": "http", "sms_url": "https://sms.example.com/send?key=s3cret",
    "sms_body": '{"to":"{phone}","m":"{text}"}',
    "sms_header": "X-Key", "sms_secret": "hush", "incident_delay": "5", "incident_least": "2", "incident_tell": "y",
}  # fmt: skip


def test_channels_are_kept_and_their_secrets_not_shown(system, installation, sign_in, isp):
    browser = sign_in("manager")
    seen = value(browser.get("/message-texts/channels").text, "version")
    assert post(browser, "/message-texts/channels", **GOOD, version=seen).status_code == 302
    page = browser.get("/message-texts/channels").text
    assert "s3cret" not in page
    assert "hush" not in page
    changed = {**GOOD, "sms_url": "", "sms_secret": "", "forget_sms_secret": "on"}
    second = post(browser, "/message-texts/channels", **{**changed, "quiet_until": "07:30", "version": seen})
    assert second.status_code == 409
    assert ("<ins>08:00</ins>" in second.text, "<ins>07:30</ins>" in second.text) == (True, True)
    post(browser, "/message-texts/channels", **changed, version=value(second.text, "version"))
    with Session(system) as session:
        kept = session.get_one(MessageSettings, isp.operator_id)
        assert installation.keyring.open("message.gateway", kept.sms_url) == GOOD["sms_url"]
        assert (kept.sms_secret, kept.channels, f"{kept.quiet_from:%H:%M}", kept.incident_tell) == (
            None, ["email", "sms"], "21:00", True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"channels": []}, "This is needed."),
        ({"dial_prefix": "52"}, "not a phone number"),
        ({"quiet_until": ""}, "Enter both of the pair"),
        ({"sms_url": "file:///etc/passwd"}, "not an address of the web"),
        ({"sms_url": "http://sms.example.com/send?key=s3cret"}, "It must begin with https"),
        ({"sms_body": '{"to":"{phone}","m":{text}}'}, "This is not JSON"),
        ({"sms_body": '{"to":"{phone}"}'}, "{phone} and {text} must stand in it"),
        ({"sms_kind": "apprise", "sms_url": "syslog://{phone}"}, "not the address of a channel"),
        ({"sms_kind": "none"}, "This is needed."),
        ({"sms_header": "X Key\r\nHost: x"}, "Leave out line breaks"),
        ({"channels": ["telegram"]}, "This is needed."),
        (
            {"whatsapp_phone": "12345", "whatsapp_token": "t", "whatsapp_template": "Bad Name"},
            "not the name of a template",
        ),
        ({"incident_delay": "5000"}, "from 0 to 1440"),
    ],
)
def test_channels_that_could_not_work_are_not_kept(sign_in, changed, sentence):
    answer = post(sign_in("manager"), "/message-texts/channels", **{**GOOD, **changed})
    assert answer.status_code == 422
    assert sentence in answer.text


# Broadcasts.


def people(system, installation, isp):
    """Five subscribers: by e-mail in two languages, one who left, one without an address, one of another plan."""
    made = {}
    for name, values in {
        "ana": {"email": "ana@example.com", "language": "es", "address": "Calle Juárez 5"},
        "bob": {"email": "bob@example.com", "language": "en", "address": "calle juarez 7"},
        "carla": {"email": "carla@example.com"},
        "dora": {},
        "eva": {"email": "eva@example.com"},
    }.items():
        made[name] = add_subscriber(system, isp, name, **values)
        if name != "eva":
            gone = {"state": "suspended", "suspended_at": utc_now()} if name == "bob" else {}
            add_service(system, installation, isp, made[name], f"{name}{isp.operator_id}", **gone)
    with Session(system) as session:
        session.add(
            MessagePreference(subscriber_id=made["carla"], operator_id=isp.operator_id, unsubscribed_at=utc_now())
        )
        session.commit()
    return made


TEXT = {
    "title": "Fibre", "plan_id": "", "nas_id": "", "state": "", "en_subject": "News for {name}",
    "en_body": "Fibre comes.", "es_subject": "Fibra", "es_body": "Llega la fibra.",
}  # fmt: skip


def value(page, name):
    return re.search(rf'name="{name}"[^>]*value="([^"]*)"', page)[1]


def run(system, installation, job_id):
    with Session(system, expire_on_commit=False) as session:
        job = session.get_one(Job, job_id)
    return send_broadcast(RunningJob(system, installation, job))


def subjects(system, isp):
    with Session(system) as session:
        rows = session.query(Notification).filter_by(operator_id=isp.operator_id).order_by(Notification.id)
        return [(row.shown_address.split("@")[0], row.subject) for row in rows]


def test_a_broadcast_is_previewed_sent_once_and_reaches_each_in_their_language(system, installation, sign_in, isp):
    people(system, installation, isp)
    browser = sign_in("support")
    page = post(browser, "/broadcasts/new", **TEXT, token="t" * 32, do="preview")
    assert "2 of 4 subscribers" in page.text
    assert "1 has no address" in page.text
    assert "1 unsubscribed" in page.text
    assert "News for ana" in page.text
    assert subjects(system, isp) == []
    sent = {**TEXT, "token": "t" * 32, "do": "send", "seen": value(page.text, "seen")}
    first, second = (post(browser, "/broadcasts/new", **sent) for _ in range(2))
    assert first.location == second.location
    with Session(system) as session:
        [broadcast] = session.query(Broadcast).filter_by(operator_id=isp.operator_id)
        assert session.query(Job).filter_by(operator_id=isp.operator_id).count() == 1
    assert run(system, installation, broadcast.job_id) == {"told": 2, "unreached": 2}
    run(system, installation, broadcast.job_id)  # a worker that was killed is followed by another
    assert subjects(system, isp) == [("ana", "Fibra"), ("bob", "News for bob")]
    assert "Fibre comes." in browser.get(first.location).text
    assert "News for bob" in browser.get(f"/messages/?broadcast={broadcast.id}").text


@pytest.mark.parametrize(
    ("chosen", "reached"),
    [
        ({"state": "suspended"}, "1 of 1"),
        ({"area": "JUAREZ"}, "2 of 2"),
        ({"overdue": "y"}, "0 of 0"),
        ({"about_account": "y"}, "3 of 4"),
    ],
)
def test_a_selection_finds_whom_it_says(system, installation, sign_in, isp, chosen, reached):
    people(system, installation, isp)
    page = post(sign_in("support"), "/broadcasts/new", **{**TEXT, **chosen, "token": "x", "do": "preview"})
    assert f"{reached} subscriber" in page.text


def test_a_broadcast_goes_to_those_who_hang_on_a_site_or_sector(system, installation, sign_in, isp):
    made = people(system, installation, isp)
    with Session(system) as session:
        site = Site(operator_id=isp.operator_id, name="Cerro", latitude=20, longitude=-98)
        session.add(site)
        session.flush()
        sectors = [Sector(operator_id=isp.operator_id, site_id=site.id, name=name) for name in ("Norte", "Sur")]
        session.add_all(sectors)
        session.flush()
        for service in session.query(Service).filter(Service.subscriber_id.in_((made["ana"], made["bob"]))):
            service.sector_id = sectors[service.subscriber_id == made["bob"]].id
        session.commit()
        site_id, south = site.id, sectors[1].id
    browser = sign_in("support")
    for place, reached in ((f"site-{site_id}", "2 of 2"), (f"sector-{south}", "1 of 1")):
        page = post(browser, "/broadcasts/new", **TEXT, place=place, token=place * 4, do="preview")
        assert f"{reached} subscriber" in page.text
    sent = {**TEXT, "place": place, "token": "s" * 32, "do": "send", "seen": value(page.text, "seen")}
    assert "Cerro · Sur" in browser.get(post(browser, "/broadcasts/new", **sent).location).text
    assert post(browser, "/broadcasts/new", **TEXT, place="sector-0", token="x" * 32).status_code == 422


@pytest.mark.fault
def test_what_changed_since_the_preview_is_not_sent(system, installation, sign_in, isp):
    people(system, installation, isp)
    page = post(sign_in("support"), "/broadcasts/new", **TEXT, token="x", do="send", seen="99")
    assert "Nothing is sent yet" in page.text
    assert subjects(system, isp) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"en_body": "{amount}"}, "Line 1: {amount} is none of the variables"),
        ({"en_subject": ""}, "This is needed."),
        ({"title": ""}, "This is needed."),
        ({"en_subject": "", "en_body": "", "es_subject": "", "es_body": ""}, "This is needed."),
        ({"sector": "ether1"}, "This is needed."),
    ],
)
def test_a_broadcast_that_says_nothing_is_not_sent(sign_in, changed, sentence):
    answer = post(sign_in("support"), "/broadcasts/new", **{**TEXT, **changed, "token": "x", "do": "preview"})
    assert (answer.status_code, sentence in answer.text) == (422, True)


@pytest.mark.fault
def test_a_broadcast_that_is_stopped_takes_back_what_has_not_left(system, installation, sign_in, isp):
    people(system, installation, isp)
    browser = sign_in("support")
    answer = post(browser, "/broadcasts/new", **TEXT, token="x", do="send", seen="2")
    with Session(system) as session:
        [broadcast] = session.query(Broadcast).filter_by(operator_id=isp.operator_id)
        job_id = broadcast.job_id
    run(system, installation, job_id)
    with Session(system) as session:
        row = session.query(Notification).filter_by(operator_id=isp.operator_id).first()
        row.state = "sent"
        session.commit()
        stop_broadcast(session, Actor(isp.operator_id, "x"), session.get_one(Broadcast, broadcast.id), utc_now())
        session.commit()
    with pytest.raises(Cancelled):
        run(system, installation, job_id)
    assert post(browser, f"{answer.location}/stop").status_code == 302
    with Session(system) as session:
        rows = session.query(Notification).filter_by(operator_id=isp.operator_id).order_by(Notification.id)
        assert [row.state for row in rows] == ["sent", "dropped"]


# Unsubscribing.


def test_the_link_of_a_message_unsubscribes_without_signing_in(system, installation, app, isp):
    number = add_subscriber(system, isp, "Ana", language="es")
    with Session(system) as session:
        text = unsubscribe_text(link_key(session, installation.keyring, isp.operator_id), isp.operator_id, number)
        session.commit()
    browser = app.test_client()
    assert "Cancelar" in browser.get(f"/unsubscribe/{text}").text
    left = []
    for fields in ({"List-Unsubscribe": "One-Click"}, {"do": "return"}, {"do": "leave"}):
        answer = browser.post(f"/unsubscribe/{text}", data=fields)
        with Session(system) as session:
            left.append((answer.status_code, session.get_one(MessagePreference, number).unsubscribed_at is not None))
    assert left == [(200, True), (302, False), (302, True)]
    forged = text.replace(f"-{number}-", f"-{number + 1}-")
    assert [browser.get(f"/unsubscribe/{bad}").status_code for bad in (forged, "x", text[:-1])] == [404, 404, 404]
    assert browser.post(f"/unsubscribe/{forged}").status_code == 404
