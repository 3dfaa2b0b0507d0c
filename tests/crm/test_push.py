"""Messages to browsers: what a push service takes, who is told where, and what is forgotten. Over a real socket."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from core.clock import utc_now
from crm.broadcasts import BroadcastTerms, Selection, preview
from crm.problems import Invalid
from crm.push import (
    MOST_BROWSERS,
    Subscription,
    browsers_of,
    encrypted,
    public_key,
    read_subscription,
    sign_off,
    sign_up,
)
from crm.texts import Words
from db.audit import Actor
from db.models import PushBrowser, Subscriber
from lab.push_service import Browser, PushService, decoded
from tests.crm.test_messages import isp, send, sessions, stored, subscriber, tell  # noqa: F401

pytestmark = pytest.mark.usefixtures("isp")


@pytest.fixture
def service() -> Iterator[PushService]:
    with PushService() as made:
        yield made


@pytest.fixture
def signed_up(isp, sessions, service):  # noqa: F811
    """A function that signs a new browser of a subscriber up and returns it."""

    def sign(number: int, name: str = "Chrome 130 · Android", found: Browser | None = None) -> Browser:
        with sessions() as session:
            keyring = isp.settings.keyring
            browser = found or service.browser(public_key(session, keyring, isp.operator_id))
            person = session.get_one(Subscriber, number)
            wanted = read_subscription(**browser.form, local=True)
            sign_up(session, keyring, Actor(isp.operator_id, "test"), person, wanted, name)
            session.commit()
        return browser

    return sign


def count(isp, sessions) -> int:  # noqa: F811
    with sessions() as session:
        return session.scalar(select(func.count(PushBrowser.id)).where(PushBrowser.operator_id == isp.operator_id))


def test_the_example_of_rfc_8291_comes_out_octet_for_octet():
    """Section 5 and appendix A: keys, salt and the whole body."""
    own = ec.derive_private_key(
        int.from_bytes(decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    browser = Subscription(
        "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
        decoded("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
        decoded("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    body = encrypted(
        b"When I grow up, I want to be a watermelon", browser, own=own, salt=decoded("DGv6ra1nlYgDCS1FRnbzlw")
    )
    assert body == decoded(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A"
        "_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_browser_is_told_beside_the_mail_and_says_who_speaks(isp, sessions, service, signed_up):  # noqa: F811
    number = subscriber(isp)
    phone, computer = signed_up(number), signed_up(number, "Firefox 131 · Linux")
    stranger = signed_up(subscriber(isp, email="otra@example.com"))
    mail, push = (stored(sessions, one) for one in tell(isp, sessions, number))
    assert (mail.channel, push.channel, push.shown_address) == (
        "email",
        "push",
        "Chrome 130 · Android, Firefox 131 · Linux",
    )
    send(isp, sessions, local_gateways=True)
    assert stored(sessions, push.id).state == "sent"
    [said] = phone.shown
    assert (said["title"], "una torre sin luz" in said["body"]) == ("Red Valle", True)
    assert not said["body"].startswith("Red Valle")
    assert phone.urgency == ["high"]
    assert computer.shown == phone.shown
    assert stranger.shown == []


def test_who_has_no_address_at_all_is_told_in_the_browser(isp, sessions, signed_up):  # noqa: F811
    number = subscriber(isp, email=None, phone=None)
    assert tell(isp, sessions, number) == []
    browser = signed_up(number)
    tell(isp, sessions, number, values={"what": "ñ" * 3000})
    send(isp, sessions, local_gateways=True)
    assert 500 < len(browser.shown[0]["body"]) <= 1000


@pytest.mark.fault
@pytest.mark.parametrize("how", ["gone", "unknown"])
def test_a_browser_that_its_service_calls_gone_is_forgotten(isp, sessions, service, signed_up, how):  # noqa: F811
    number = subscriber(isp, email=None)
    lost, kept = signed_up(number), signed_up(number)
    if how == "gone":
        lost.gone = True
    else:
        del service.browsers[lost.endpoint.removeprefix(service.url)]
    [first] = tell(isp, sessions, number)
    send(isp, sessions, local_gateways=True)
    assert (stored(sessions, first).state, len(kept.shown), count(isp, sessions)) == ("sent", 1, 1)
    kept.gone = True
    [second] = tell(isp, sessions, number)
    send(isp, sessions, local_gateways=True)
    assert (stored(sessions, second).state, count(isp, sessions)) == ("failed", 0)
    assert tell(isp, sessions, number) == [], "nobody is left to tell"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("answers", "state"), [(500, "waiting"), (429, "waiting"), (403, "failed"), (413, "failed"), (302, "failed")]
)
def test_what_a_push_service_answers_decides_whether_it_is_tried_again(
    isp, sessions, service, signed_up, answers, state  # noqa: F811
):  # fmt: skip
    number = subscriber(isp, email=None)
    signed_up(number)
    [one] = tell(isp, sessions, number)
    service.answers = answers
    send(isp, sessions, local_gateways=True)
    row = stored(sessions, one)
    assert (row.state, str(answers) in row.error, count(isp, sessions)) == (state, True, 1)


def test_an_address_of_this_machine_is_not_asked(isp, sessions, service, signed_up):  # noqa: F811
    number = subscriber(isp, email=None)
    signed_up(number)
    [one] = tell(isp, sessions, number)
    send(isp, sessions, local_gateways=False)
    assert (stored(sessions, one).state, service.asked) == ("failed", 0)


def test_an_address_that_a_subscriber_gave_is_not_asked_in_networks_that_staffs_gateways_may_be_in(
    isp, sessions, service, signed_up  # noqa: F811
):  # fmt: skip
    number = subscriber(isp, email=None)
    with sessions() as session:
        sender = public_key(session, isp.settings.keyring, isp.operator_id)
        session.commit()
    signed_up(number, found=Browser(f"{service.url.replace('http:', 'https:')}/router", sender, b"a" * 16))
    [one] = tell(isp, sessions, number)
    send(isp, sessions, local_gateways=False, outbound_networks="127.0.0.0/8")
    row = stored(sessions, one)
    assert (row.state, "not a public address" in row.error) == ("failed", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://push.example/1"},
        {"endpoint": "https://"},
        {"endpoint": "file:///etc/passwd"},
        {"p256dh": "AAAA"},
        {"p256dh": "ñ"},
        {"auth": "AAAA"},
        {"auth": ""},
    ],
    ids=str,
)
def test_what_no_browser_would_send_is_refused(wrong):
    good = Browser("https://push.example/1", "", b"a" * 16).form
    read_subscription(**good, local=False)
    with pytest.raises(Invalid):
        read_subscription(**good | wrong, local=False)


def test_a_browser_that_changes_hands_tells_the_new_one_alone(isp, sessions, signed_up):  # noqa: F811
    ana, luis = subscriber(isp, email=None), subscriber(isp, email=None)
    browser = signed_up(ana)
    signed_up(luis, found=browser)
    assert tell(isp, sessions, ana) == []
    assert len(tell(isp, sessions, luis)) == 1


def test_the_oldest_browser_gives_way_to_an_eleventh_and_one_can_be_signed_off(isp, sessions, signed_up):  # noqa: F811
    number = subscriber(isp)
    for each in range(MOST_BROWSERS + 1):
        signed_up(number, f"browser {each}")
    with sessions() as session:
        kept = browsers_of(session, session.get_one(Subscriber, number))
        assert [each.name for each in kept] == [f"browser {each}" for each in range(1, MOST_BROWSERS + 1)]
        sign_off(session, Actor(isp.operator_id, "test"), kept[0])
        session.commit()
    assert count(isp, sessions) == MOST_BROWSERS - 1


def test_the_preview_of_a_broadcast_counts_browsers(isp, sessions, signed_up):  # noqa: F811
    people = subscriber(isp, email=None), subscriber(isp)
    for number in people:
        isp.service(f"line {number}", subscriber_id=number)
    signed_up(people[0])
    terms = BroadcastTerms("t", Selection(), {"es": Words("a", "b")}, about_account=True)
    with sessions() as session:
        found = preview(session, isp.settings.keyring, isp.operator_id, terms, utc_now())
    assert (found.subscribers, found.reached, found.by_channel) == (2, 2, {"email": 1, "push": 1})
