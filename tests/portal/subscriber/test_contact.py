"""Another e-mail address or phone, by the subscriber: a code goes there, and who had the old one is told."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.contact_changes import forget_changes
from crm.notices import ADDRESS_PURPOSE
from crm.subscriber_logins import CODES_AN_HOUR, KEPT
from db.models import ContactChange, MessageSettings, Notification, Subscriber
from tests.portal.subscriber.conftest import Home

NEW = "ana.nueva@example.com"


def told(home: Home) -> list[tuple[str, str, str]]:
    """Return channel, address and text of the messages about contact data, in their order."""
    keyring: Keyring = home.settings.keyring
    with Session(home.system) as session:
        query = select(Notification).where(
            Notification.operator_id == home.isp.operator_id, Notification.kind == "login.contact"
        )
        return [
            (row.channel, keyring.open(ADDRESS_PURPOSE, row.address), f"{row.subject}\n{row.body}")
            for row in session.scalars(query.order_by(Notification.id))
        ]


def code_in(text: str) -> str:
    return re.search(r"\b([0-9]{6})\b", text)[1]


def person(home: Home) -> Subscriber:
    with Session(home.system) as session:
        return session.get_one(Subscriber, home.subscriber_id)


def test_an_address_is_changed_by_the_code_that_went_there_and_the_old_one_is_told(ana):
    page = ana.post("account/change/email", email=f" {NEW} ")
    assert page.headers["Location"].endswith("/account/confirm/email")
    [(channel, address, text)] = told(ana)
    assert (channel, address) == ("email", NEW)
    assert NEW in ana.get("account/confirm/email").text
    assert person(ana).email == ana.email, "nothing is changed before the code came back"
    assert ana.post("account/confirm/email", code=f"{int(code_in(text)) ^ 1:06d}").status_code == 401
    saved = ana.post("account/confirm/email", code=f" {code_in(text)[:3]} {code_in(text)[3:]} ")
    assert saved.status_code == 302
    assert person(ana).email == NEW
    _code, (channel, address, text) = told(ana)
    assert (channel, address) == ("email", ana.email)
    assert NEW in text
    again = ana.post("account/confirm/email", code=code_in(_code[2]))
    assert again.headers["Location"].endswith("/account/change/email"), "a code is good once"
    assert ana.get("account").status_code == 200, "this browser stays signed in"


@pytest.mark.parametrize("wrong", ["", "ana", "ana@", "ana@example", "a b@example.com", "x" * 300 + "@example.com"])
def test_what_is_no_address_is_refused_and_gets_no_code(ana, wrong):
    assert ana.post("account/change/email", email=wrong).status_code == 422
    assert told(ana) == []


def test_codes_end_after_ten_minutes_after_five_tries_and_with_the_next_one(ana):
    ana.post("account/change/email", email="first@example.com")
    ana.post("account/change/email", email=NEW)
    first, second = (code_in(text) for _channel, _address, text in told(ana))
    if first != second:
        assert ana.post("account/confirm/email", code=first).status_code == 401
    for _try in range(4):
        ana.post("account/confirm/email", code="000000")
    assert ana.post("account/confirm/email", code=second).headers["Location"].endswith("/account/change/email")
    ana.post("account/change/email", email=NEW)
    with Session(ana.system) as session:
        earlier = {"expires_at": ContactChange.expires_at - timedelta(minutes=11)}
        session.execute(update(ContactChange).where(ContactChange.subscriber_id == ana.subscriber_id).values(earlier))
        session.commit()
    late = ana.post("account/confirm/email", code=code_in(told(ana)[-1][2]))
    assert late.headers["Location"].endswith("/account/change/email")
    assert person(ana).email == ana.email


def test_no_address_is_flooded_with_codes(ana):
    for number in range(CODES_AN_HOUR + 1):
        ana.post("account/change/email", email=f"other{number}@example.com")
    assert len(told(ana)) == CODES_AN_HOUR
    assert "Wait an hour" in ana.get("account").text


def test_a_phone_is_confirmed_where_messages_reach_phones_and_taken_as_it_is_where_not(ana):
    assert ana.post("account/change/phone", phone="call me").status_code == 422
    assert ana.post("account/change/phone", phone="33 1234 5678").status_code == 302
    assert person(ana).phone == "33 1234 5678"
    [(channel, address, text)] = told(ana)
    assert (channel, address) == ("email", ana.email)
    assert "33 1234 5678" in text
    with Session(ana.system) as session:
        session.merge(MessageSettings(operator_id=ana.isp.operator_id, channels=["email", "sms"], dial_prefix="+52"))
        session.commit()
    assert ana.post("account/change/phone", phone="33 8765 4321").status_code == 302
    assert person(ana).phone == "33 1234 5678"
    channel, address, text = told(ana)[-1]
    assert (channel, address) == ("sms", "+523387654321")
    assert ana.post("account/confirm/phone", code=code_in(text)).status_code == 302
    assert person(ana).phone == "33 8765 4321"
    assert sorted((channel, address) for channel, address, _ in told(ana)[-2:]) == [
        ("email", ana.email), ("sms", "+523312345678"),
    ]  # fmt: skip


def test_a_change_is_the_subscribers_own_and_is_forgotten_in_time(ana, make_home):
    ana.post("account/change/email", email=NEW)
    code = code_in(told(ana)[0][2])
    other = make_home("Eva Luna")
    other.sign_in()
    assert other.post("account/confirm/email", code=code).headers["Location"].endswith("/account/change/email")
    assert ana.get("account/change/name").status_code == 404
    with Session(ana.system) as session:
        mine = select(ContactChange).where(ContactChange.subscriber_id == ana.subscriber_id)
        change = session.scalars(mine).one()
        assert change.wanted == NEW
        assert code.encode() not in change.code_hash
        forget_changes(session, change.expires_at + KEPT + timedelta(seconds=1))
        assert session.scalars(mine).all() == []


def test_no_code_stands_in_the_log_of_messages(ana, sign_in):
    ana.post("account/change/email", email=NEW)
    assert code_in(told(ana)[0][2]) not in sign_in("manager").get("/messages/").text
