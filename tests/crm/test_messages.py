"""Messages to subscribers: their language, their channels, their hours, over real sockets to real (local) services."""

import json
from datetime import UTC, datetime, time, timedelta
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest

from core.clock import utc_now
from crm.brands import BrandDetails, change_brand
from crm.channels import GATEWAY_PURPOSE, international, quiet_until
from crm.message_events import EVENTS, default_words
from crm.message_settings import ChannelTerms, change_channels
from crm.messages import tell_staff, tell_subscriber
from crm.notices import send_again, send_due, sent_by_hand
from crm.outbound import NoAnswer, NotAllowed, check_host, post
from crm.texts import BadText, check_text, fill
from crm.unsubscribing import is_genuine, set_subscribed
from db.audit import Actor
from db.models import MessagePreference, Notification, Subscriber
from db.session import make_engine, make_sessions
from lab.messengers import Messengers
from tests.crm.test_notices import MailServer, mailing, web_hook
from tests.factories import Isp

NOON = datetime(2027, 3, 1, 18, 0, tzinfo=UTC)  # in Mexico City


@pytest.fixture
def isp(installation):
    made = Isp.create(installation, address=None, timezone="America/Mexico_City", locale="es")
    made.update("operator", made.operator_id, name="Red Valle")
    made.connection.execute("DELETE FROM notification")
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def sessions(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


def subscriber(isp, **values):
    values = {
        "name": "Ana <b>Ruiz</b>",
        "email": "ana@example.com",
        "phone": "55 1234 5678",
        "language": "es",
        **values,
    }
    return isp.insert("subscriber", operator_id=isp.operator_id, **values)


def channels(isp, **values):
    secrets = ("sms_url", "sms_secret", "whatsapp_token", "telegram_url")
    sealed = {
        name: isp.settings.keyring.seal(GATEWAY_PURPOSE, value) if name in secrets else value
        for name, value in values.items()
    }
    isp.insert("message_settings", "operator_id", operator_id=isp.operator_id, dial_prefix="+52", **sealed)


def tell(isp, sessions, number, event="incident", values=None, **options):
    said = {"what": "una torre sin luz", "began": NOON, "expected": "", **(values or {})}
    with sessions() as session:
        person = session.get_one(Subscriber, number)
        found = [one.id for one in tell_subscriber(session, isp.settings.keyring, person, event, said, **options)]
        session.commit()
    return found


def stored(sessions, number):
    with sessions() as session:
        return session.get_one(Notification, number)


def send(isp, sessions, now=None, **settings):
    return send_due(sessions, isp.settings.model_copy(update=settings), now or utc_now())


# Texts.


def test_every_event_can_be_said_on_every_channel_in_every_language():
    for key, event in EVENTS.items():
        for language in ("en", "es"):
            for channel in ("email", "sms"):
                words = default_words(key, channel, language)
                values = dict.fromkeys(event.allowed, "x")
                assert fill(words.body, values)
                assert bool(fill(words.subject, values)) == (channel == "email")


@pytest.mark.parametrize(
    ("text", "variable", "line"),
    [
        ("Hello {name},\nyou owe {ammount}", "ammount", 2),
        ("{name.__class__}", "name.__class__", 1),
        ("{name!r}", "name", 1),
        ("{name:>10}", "name", 1),
        ("{}", "", 1),
        ("one\ntwo {name", "", 2),
        ("{{7*7}} is {config}", "config", 1),
    ],
)
def test_a_text_with_an_unknown_variable_or_a_stray_brace_is_refused_with_its_line(text, variable, line):
    with pytest.raises(BadText) as refused:
        check_text(text, ("name", "amount"))
    assert (refused.value.variable, refused.value.line) == (variable, line)


def test_what_is_filled_in_is_not_looked_at_again():
    assert fill("{name}: {{x}}", {"name": "{amount}", "amount": "5"}) == "{amount}: {x}"


def test_a_message_is_in_the_readers_language_and_the_operators_time(isp, sessions):
    spanish, english = (subscriber(isp, language=language) for language in ("es", "en"))
    [one], [other] = (tell(isp, sessions, number) for number in (spanish, english))
    assert "Desde el 1 de marzo, 12:00 hay una falla" in stored(sessions, one).body
    assert "since March 1, 12:00 there is a fault" in stored(sessions, other).body
    assert stored(sessions, one).body.startswith("Hola, Ana <b>Ruiz</b>:")


def test_the_operators_own_words_go_before_ours(isp, sessions):
    isp.insert(
        "message_text", "operator_id", operator_id=isp.operator_id, event="incident", channel="email", language="es",
        subject="Falla: {what}", body="{operator} avisa",
    )  # fmt: skip
    [number] = tell(isp, sessions, subscriber(isp), values={"what": "línea\r\nBcc: todos@example.com"})
    row = stored(sessions, number)
    assert (row.subject, row.body) == ("Falla: línea Bcc: todos@example.com", "Red Valle avisa")


def test_a_text_that_no_longer_fits_its_event_is_not_sent_in_pieces(isp, sessions):
    isp.insert(
        "message_text", "operator_id", operator_id=isp.operator_id, event="incident", channel="email", language="es",
        subject="x", body="{gone}",
    )  # fmt: skip
    [number] = tell(isp, sessions, subscriber(isp))
    assert "fault in our network" in stored(sessions, number).body


def test_staff_of_a_role_are_told_each_in_their_language(isp, sessions):
    for email, roles, language, active in (
        ("boss", ["manager"], "en", True), ("jefa", ["manager", "sales"], None, True),
        ("left", ["manager"], "en", False), ("tech", ["technical"], "en", True),
    ):  # fmt: skip
        isp.insert("staff", operator_id=isp.operator_id, email=f"{email}@{isp.operator_id}.example", name=email,
                   password_hash="x", roles=roles, language=language, active=active)  # fmt: skip
    with sessions() as session:
        rows = tell_staff(session, isp.settings.keyring, isp.operator_id, "manager", "incident", {"what": "x"})
        assert [(row.shown_address.split("@")[0], row.language) for row in rows] == [("boss", "en"), ("jefa", "es")]


# By which channels.


def test_by_the_first_channel_that_reaches_and_by_all_when_it_is_urgent(isp, sessions):
    channels(isp, channels=["sms", "email"], sms_kind="http", sms_url="http://sms.example/")
    both, mail_only, nothing = (
        subscriber(isp), subscriber(isp, phone=None), subscriber(isp, phone="1", email=None)
    )  # fmt: skip

    def told(number, **options):
        return [stored(sessions, each).channel for each in tell(isp, sessions, number, **options)]

    assert told(both, urgent=False) == ["sms"]
    assert told(both) == ["sms", "email"]
    assert told(mail_only, urgent=False) == ["email"]
    assert told(nothing) == []


def test_a_subscriber_who_chose_channels_is_told_by_these(isp, sessions):
    channels(isp, channels=["sms", "email", "whatsapp"])
    number = subscriber(isp)
    isp.insert("message_preference", "operator_id", operator_id=isp.operator_id, subscriber_id=number,
               channels=["whatsapp", "email"])  # fmt: skip
    told = [stored(sessions, each) for each in tell(isp, sessions, number, urgent=False)]
    assert [(row.channel, row.state) for row in told] == [("email", "waiting"), ("whatsapp", "by_hand")]


def test_what_a_person_sends_by_hand_waits_for_them_and_is_noted_once(isp, sessions):
    channels(isp, channels=["whatsapp"])
    [number] = tell(isp, sessions, subscriber(isp))
    assert send(isp, sessions) == 0
    with sessions() as session:
        row = session.get_one(Notification, number)
        assert row.shown_address == "+525512345678"
        assert [sent_by_hand(session, row, 7, NOON) for _ in range(2)] == [True, False]
        assert (row.state, row.staff_id) == ("sent", 7)


@pytest.mark.parametrize(
    ("phone", "prefix", "dialled"),
    [
        ("+52 55 1234 5678", "", "+525512345678"),
        ("0055 11 1234-5678", "+52", "+551112345678"),
        ("055 1234 5678", "+52", "+525512345678"),
        ("55 1234 5678 ext. 12", "+52", "+525512345678"),
        ("55 1234 5678", "", ""),
        ("12", "+52", ""),
        ("", "+52", ""),
    ],
)
def test_a_number_is_dialled_as_the_world_does(phone, prefix, dialled):
    assert international(phone, prefix) == dialled


# Gateways.


def test_an_sms_goes_to_the_gateway_as_it_wants_it(isp, sessions):
    with Messengers() as lab:
        channels(isp, channels=["sms"], sms_kind="http", sms_url=f"{lab.url}/sms?to={{phone}}", sms_header="X-Api-Key",
                 sms_secret="key", sms_body='{"to": ["{phone}"], "text": "{text}", "nested": {"a": 1}}')  # fmt: skip
        [number] = tell(isp, sessions, subscriber(isp), values={"what": 'torre "Norte" {phone} \\ 50 % más'})
        send(isp, sessions, local_gateways=True)
        assert stored(sessions, number).state == "sent"
        [taken] = lab.texts
    assert (taken["path"], taken["type"]) == ("/sms?to=%2B525512345678", "application/json")
    body = json.loads(taken["body"])
    assert (body["to"], body["nested"]) == (["+525512345678"], {"a": 1})
    assert 'torre "Norte" {phone} \\ 50 % más' in body["text"]


def test_a_gateway_that_wants_a_form_gets_one(isp, sessions):
    with Messengers() as lab:
        channels(isp, channels=["sms"], sms_kind="http", sms_url=f"{lab.url}/sms", sms_header="X-Api-Key",
                 sms_secret="key", sms_body="From=Red&To={phone}&Body={text}")  # fmt: skip
        tell(isp, sessions, subscriber(isp), values={"what": "a&To=+1"})
        send(isp, sessions, local_gateways=True)
        [taken] = lab.texts
    form = parse_qs(taken["body"])
    assert (form["To"], form["From"]) == (["+525512345678"], ["Red"])
    assert "a&To=+1" in form["Body"][0]


def test_whatsapp_takes_the_approved_template_in_the_readers_language(isp, sessions):
    with Messengers() as lab:
        channels(isp, channels=["whatsapp"], whatsapp_phone="1055", whatsapp_token="token", whatsapp_template="notice")
        isp.insert("message_text", "operator_id", operator_id=isp.operator_id, event="incident", channel="whatsapp",
                   language="es", body="Falla:\n\n{what}")  # fmt: skip
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions, whatsapp_url=f"{lab.url}/whatsapp")
        assert stored(sessions, number).state == "sent"
        assert lab.texts == [
            {
                "path": "/whatsapp/1055/messages",
                "to": "525512345678",
                "language": "es",
                "text": "Falla: una torre sin luz",
            }
        ]


@pytest.fixture
def telegram(isp, monkeypatch):
    """The Bot API of the lab in Telegram's place: apprise knows no other host than Telegram's own."""
    with Messengers() as lab:
        monkeypatch.setattr("apprise.plugins.telegram.NotifyTelegram.notify_url", f"{lab.url}/bot")
        channels(isp, channels=["telegram"], telegram_url=f"tgram://{lab.bot}/{{chat}}")
        yield lab


def in_chat(isp, chat):
    number = subscriber(isp, email=None)
    isp.insert("message_preference", "operator_id", operator_id=isp.operator_id, subscriber_id=number,
               telegram_chat=str(chat))  # fmt: skip
    return number


def test_telegram_goes_through_apprise_and_shows_brackets_as_they_are(isp, sessions, telegram):
    [number] = tell(isp, sessions, in_chat(isp, 4711), values={"what": "<script>1</script> & *más*"})
    assert send(isp, sessions, local_gateways=True) == 1
    assert stored(sessions, number).state == "sent"
    [taken] = telegram.texts
    assert taken["chat"] == 4711
    assert "<script>1</script> & *más*" in taken["text"]


def test_the_token_of_a_bot_is_enough(isp, sessions, telegram):
    with sessions() as session:
        terms = ChannelTerms(channels=("telegram",), telegram_url=f" {telegram.bot} ")
        change_channels(session, isp.settings, Actor(isp.operator_id, "test"), terms)
        session.commit()
    tell(isp, sessions, in_chat(isp, 4711))
    send(isp, sessions, local_gateways=True)
    assert [each["chat"] for each in telegram.texts] == [4711]


@pytest.mark.fault
@pytest.mark.parametrize("chat", [pytest.param(4712, id="unknown"), pytest.param(4713, id="blocked the bot")])
def test_who_cannot_be_reached_by_telegram_holds_up_nobody_else(isp, sessions, telegram, chat):
    telegram.blocked.add(4713)
    [lost] = tell(isp, sessions, in_chat(isp, chat))
    [good] = tell(isp, sessions, in_chat(isp, 4711))
    send(isp, sessions, local_gateways=True)
    assert [stored(sessions, number).state for number in (lost, good)] == ["failed", "sent"]
    assert ("chat not found" if chat == 4712 else "blocked by the user") in stored(sessions, lost).error


@pytest.mark.fault
@pytest.mark.parametrize(("answers", "error"), [(None, "Unauthorized"), (429, "retry after 30"), (500, "Internal")])
def test_a_wrong_token_too_many_messages_and_a_telegram_that_is_down_are_tried_again(
    isp, sessions, telegram, answers, error
):
    sender, telegram.answers = telegram.bot, answers
    if answers is None:
        telegram.bot = "123456789:another_token_than_that"
    first, second = (tell(isp, sessions, in_chat(isp, 4711))[0] for _ in range(2))
    send(isp, sessions, local_gateways=True)
    rows = [stored(sessions, number) for number in (first, second)]
    assert [row.state for row in rows] == ["waiting", "waiting"]
    assert telegram.asked == 1  # what is out of order for one is so for all
    assert all(error in row.error and sender not in row.error for row in rows)


def test_a_text_longer_than_telegram_takes_is_cut(isp, sessions, telegram):
    tell(isp, sessions, in_chat(isp, 4711), values={"what": "ñ" * 5000})
    send(isp, sessions, local_gateways=True)
    assert len(telegram.texts[0]["text"]) == 4096


@pytest.mark.fault
@pytest.mark.parametrize(
    ("status", "state", "error"),
    [
        (500, "waiting", "500 an internal error"),
        (429, "waiting", "429"),
        (401, "waiting", "401"),
        (422, "failed", "422"),
    ],
)
def test_what_a_gateway_answers_decides_whether_it_is_tried_again(isp, sessions, status, state, error):
    with Messengers() as lab:
        lab.answers = status
        channels(isp, channels=["sms"], sms_kind="http", sms_url=f"{lab.url}/sms", sms_header="X", sms_secret="s3cret")
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions, local_gateways=True)
    row = stored(sessions, number)
    assert (row.state, row.error.startswith(error), "s3cret" in row.error) == (state, True, False)


@pytest.mark.fault
def test_a_gateway_that_is_away_is_asked_once_in_a_round_and_holds_up_no_mail(isp, sessions):
    with Messengers() as lab, MailServer() as mail:
        lab.answers = 503
        channels(isp, channels=["sms", "email"], sms_kind="http", sms_url=f"{lab.url}/sms")
        for _ in range(4):
            tell(isp, sessions, subscriber(isp))
        settings = mailing(isp.settings, mail.server_address[1], local_gateways=True)
        assert send_due(sessions, settings, utc_now()) == 8
        assert (lab.asked, len(mail.mails)) == (1, 4)


@pytest.mark.fault
def test_a_wrong_token_of_whatsapp_is_ours_to_mend_and_sent_again_when_it_is(isp, sessions):
    with Messengers() as lab:
        channels(isp, channels=["whatsapp"], whatsapp_phone="1055", whatsapp_token="old", whatsapp_template="notice")
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions, whatsapp_url=f"{lab.url}/whatsapp")
        row = stored(sessions, number)
        assert (row.state, row.error) == ("waiting", "401 (#190) Invalid OAuth access token")
        lab.token = "old"
        with sessions() as session:
            assert send_again(session, session.get_one(Notification, number), 7, utc_now())
            session.commit()
        send(isp, sessions, whatsapp_url=f"{lab.url}/whatsapp")
    assert stored(sessions, number).state == "sent"


@pytest.mark.fault
@pytest.mark.parametrize(
    "url", ["{url}/sms", "http://localhost:9/sms", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest"]
)
def test_a_gateway_at_a_private_address_is_not_asked(isp, sessions, url):
    with Messengers() as lab:
        channels(isp, channels=["sms"], sms_kind="http", sms_url=url.format(url=lab.url).replace("http:", "https:"))
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions)
        row = stored(sessions, number)
        assert (row.state, "not a public address" in row.error, lab.asked) == ("failed", True, 0)


def test_http_is_sent_to_a_modem_in_a_network_that_the_installation_allows_and_to_nobody_else(isp, sessions):
    with Messengers() as lab:
        url = f"{lab.url}/sms"
        channels(isp, channels=["sms"], sms_kind="http", sms_url=url, sms_header="X-Api-Key", sms_secret="key")
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions)
        assert (stored(sessions, number).error, lab.asked) == ("not https", 0)
        [number] = tell(isp, sessions, subscriber(isp, email="eva@example.com"))
        send(isp, sessions, outbound_networks="127.0.0.0/8")
        assert (stored(sessions, number).state, lab.asked) == ("sent", 1)


@pytest.mark.fault
def test_apprise_of_an_operator_does_not_reach_this_machine_either(isp, sessions):
    with web_hook() as (port, taken):
        channels(isp, channels=["sms"], sms_kind="apprise", sms_url=f"json://127.0.0.1:{port}/{{phone}}")
        [number] = tell(isp, sessions, subscriber(isp))
        send(isp, sessions)
    assert (stored(sessions, number).state, taken) == ("failed", [])


@pytest.mark.fault
def test_a_redirection_is_not_followed_and_a_slow_server_does_not_hold():
    with Messengers() as lab:
        lab.moved = f"{lab.url}/elsewhere"
        assert (post(f"{lab.url}/sms", b"", {}, local=True).status, lab.asked) == (302, 1)
        lab.delay = 2
        with pytest.raises(NoAnswer):
            post(f"{lab.url}/sms", b"", {}, local=True, timeout=0.1)


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "//x", "http://u:p@example.com/", "http://x:99999/"]
)
def test_what_is_no_address_of_the_web_is_not_asked(url):
    with pytest.raises(NotAllowed):
        post(url, b"", {}, local=True)


def test_a_public_address_may_be_asked():
    assert check_host("93.184.216.34", 443, local=False) == "93.184.216.34"


# Quiet hours.


@pytest.mark.parametrize(
    ("clock", "begins", "ends", "until"),
    [
        ("22:30", "21:00", "08:00", "2027-03-02 08:00"),
        ("03:00", "21:00", "08:00", "2027-03-01 08:00"),
        ("08:00", "21:00", "08:00", None),
        ("20:59", "21:00", "08:00", None),
        ("13:00", "12:00", "14:00", "2027-03-01 14:00"),
        ("14:00", "12:00", "14:00", None),
    ],
)
def test_quiet_hours_end_when_they_say(clock, begins, ends, until):
    zone = ZoneInfo("America/Mexico_City")
    now = datetime.combine(datetime(2027, 3, 1).date(), time.fromisoformat(clock), zone)
    found = quiet_until(now, zone, time.fromisoformat(begins), time.fromisoformat(ends))
    assert (found and f"{found.astimezone(zone):%Y-%m-%d %H:%M}") == until


def test_in_quiet_hours_only_what_is_urgent_goes(isp, sessions):
    now = utc_now() + timedelta(seconds=1)
    local = now.astimezone(ZoneInfo("America/Mexico_City"))
    begins, ends = (local - timedelta(hours=1)).time(), (local + timedelta(hours=2)).time()
    channels(isp, channels=["email"], quiet_from=begins, quiet_until=ends)
    [calm] = tell(isp, sessions, subscriber(isp), urgent=False)
    [urgent] = tell(isp, sessions, subscriber(isp), urgent=True)
    with MailServer() as mail:
        settings = mailing(isp.settings, mail.server_address[1])
        send_due(sessions, settings, now)
        assert [stored(sessions, each).state for each in (calm, urgent)] == ["waiting", "sent"]
        later = stored(sessions, calm).next_attempt_at
        assert abs(later - now - timedelta(hours=2)) < timedelta(minutes=1)
        send_due(sessions, settings, later)
        assert stored(sessions, calm).state == "sent"


# Unsubscribing.


def test_who_unsubscribed_is_told_of_the_account_and_of_nothing_else(isp, sessions, monkeypatch):
    monkeypatch.setitem(EVENTS, "offer", EVENTS["incident_planned"].__class__(
        "Offer", "New: {what}", "Hello {name}: {what}", "{what}", {"what": "it"}, about_account=False))  # fmt: skip
    number = subscriber(isp)
    [first] = tell(isp, sessions, number, "offer")
    with MailServer() as mail:
        send_due(sessions, mailing(isp.settings, mail.server_address[1], portal_url="https://isp.example"), utc_now())
        [sent] = mail.mails
    link = sent["List-Unsubscribe"].strip(" <>")
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link in sent.get_content()
    text = link.removeprefix("https://isp.example/unsubscribe/")
    with sessions() as session:
        assert is_genuine(session, isp.settings.keyring, text)
        forged = text.replace(f"-{number}-", f"-{number + 1}-")
        assert not any(
            is_genuine(session, isp.settings.keyring, bad) for bad in (forged, text[:-4] + "0000", "1-1", "")
        )
        person, actor = session.get_one(Subscriber, number), Actor(isp.operator_id, "link")
        for _ in range(2):
            set_subscribed(session, actor, person, wanted=False, now=NOON)
        session.commit()
        assert session.get_one(MessagePreference, number).unsubscribed_at == NOON
    assert tell(isp, sessions, number, "offer") == []
    assert len(tell(isp, sessions, number)) == 1
    assert stored(sessions, first).unsubscribe == text
    assert isp.fetch(
        "SELECT count(*) FROM audit_entry WHERE action = 'message.wish' AND operator_id = %s", isp.operator_id
    ) == [(1,)]


def test_messages_speak_in_the_name_of_the_brand(isp, sessions):
    with sessions() as session:
        change_brand(session, Actor(isp.operator_id, "test"), BrandDetails(name="Red Sol"))
        session.commit()
    [message] = tell(isp, sessions, subscriber(isp))
    body = stored(sessions, message).body
    assert "Red Sol" in body
    assert isp.fetch("SELECT name FROM operator WHERE id = %s", isp.operator_id)[0][0] not in body
