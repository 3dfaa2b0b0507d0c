"""Removing a subscriber and bringing one back: gone from everywhere meanwhile, and each service as it was after."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.broadcasts import Selection, selected
from crm.messages import tell_subscriber
from crm.problems import Invalid
from crm.undelete import bring_back, erase_due, remove_subscriber
from db.audit import Actor
from db.models import (
    AuditEntry,
    RetentionHold,
    Service,
    StoredFile,
    Subscriber,
    SubscriberDocument,
    SubscriberRemoval,
    WebhookEvent,
)
from db.session import make_engine, make_sessions
from network.importing.staging import known_services
from tests.portal.conftest import add_service, add_subscriber, post


@pytest.fixture
def ana(system, isp, installation):
    """Ana with four services, each in another state; the id of the subscriber."""
    number = add_subscriber(system, isp, "Ana Núñez", email="ana@example.com", latitude=1, longitude=1)
    for state in ("active", "suspended", "paused", "terminated"):
        service_id = add_service(system, installation, isp, number, f"ana-{state}")
        values = {"state": state}
        if state == "suspended":
            values |= {"suspended_at": utc_now(), "suspension_cause": "abuse", "suspension_detail": "spam"}
        with Session(system) as session:
            session.execute(update(Service).where(Service.id == service_id).values(values))
            session.commit()
    return number


def states(system, number):
    query = select(Service.name, Service.state, Service.suspension_cause).where(Service.subscriber_id == number)
    with Session(system) as session:
        return {name: (state, cause) for name, state, cause in session.execute(query)}


def removal(system, number):
    with Session(system) as session:
        return session.get(SubscriberRemoval, number)


def test_who_is_removed_is_nowhere_and_comes_back_as_before(sign_in, system, isp, ana):
    before = states(system, ana)
    browser = sign_in("manager")
    assert "ana-active" in browser.get("/services/").text
    post(browser, f"/subscribers/{ana}/remove", reason="entered twice")
    assert {state for state, _cause in states(system, ana).values()} == {"terminated"}
    for path in ("/subscribers/", "/services/", "/services/?state=terminated", "/search/suggest?q=Ana",
                 "/search/suggest?q=ana-active", "/search/?q=ana@example.com"):  # fmt: skip
        page = browser.get(path)
        # What the message of the removal says of her is read once, on the first page.
        assert "Ana Núñez" not in page.text.replace("Ana Núñez is removed", ""), path
        assert "ana-active" not in page.text, path
    assert browser.get(f"/subscribers/{ana}").headers["Location"] == f"/subscribers/removed/{ana}"
    listed = browser.get("/subscribers/removed").text
    assert "Ana Núñez" in listed
    assert "entered twice" in listed
    post(browser, f"/subscribers/removed/{ana}/bring-back")
    assert states(system, ana) == before
    assert "Ana Núñez" in browser.get("/subscribers/").text
    assert "Nobody was removed" in browser.get("/subscribers/removed").text
    with Session(system) as session:
        query = select(AuditEntry.action).where(
            AuditEntry.operator_id == isp.operator_id, AuditEntry.entity == "subscriber"
        )
        assert list(session.scalars(query.order_by(AuditEntry.id))) == ["subscriber.remove", "subscriber.bring_back"]


def test_nothing_comes_back_when_a_user_name_went_to_somebody_else(sign_in, system, isp, ana, installation):
    browser = sign_in("manager")
    post(browser, f"/subscribers/{ana}/remove")
    add_service(system, installation, isp, add_subscriber(system, isp, "Beto"), "ana-active")
    refused = post(browser, f"/subscribers/removed/{ana}/bring-back")
    assert refused.status_code == 409
    assert "ana-active" in refused.text
    assert "Beto" in refused.text
    assert {state for state, _cause in states(system, ana).values()} == {"terminated"}
    assert removal(system, ana) is not None


def test_a_service_of_who_is_removed_is_not_reinstated_by_hand(sign_in, system, ana):
    browser = sign_in("manager")
    post(browser, f"/subscribers/{ana}/remove")
    with Session(system) as session:
        service_id = session.scalar(select(Service.id).where(Service.name == "ana-active"))
    post(browser, f"/services/{service_id}/reinstate")
    assert {state for state, _cause in states(system, ana).values()} == {"terminated"}


def test_who_is_removed_is_on_no_map_in_no_broadcast_in_no_import_and_is_told_nothing(
    sign_in, system, isp, ana, sessions, installation
):
    alone = add_subscriber(system, isp, "Alma", latitude=1, longitude=1)  # who never had a service
    browser, around = sign_in("manager"), {"box": "0,0,2,2", "zoom": "9"}

    def seen():
        with sessions() as session:
            ended = selected(session, isp.operator_id, Selection(state="terminated"), utc_now().date())
            told = tell_subscriber(
                session,
                installation.keyring,
                session.get_one(Subscriber, ana),
                "wallet_low",
                {"last_day": "1", "price": "2", "wallet": "3"},
            )
            return (
                sum(browser.get("/map/points", query_string=around).json["counts"].values()),
                list(session.scalars(ended)),
                alone in {known.subscriber_id for known in known_services(session, isp.operator_id)},
                len(told) > 0,
            )

    before = seen()
    assert (before[0], before[1], before[2]) == (2, [ana], True)
    for number in (ana, alone):
        post(browser, f"/subscribers/{number}/remove")
    assert seen() == (0, [], False, False)


def test_who_presses_the_button_twice_at_once_reads_that_it_was_done(system, isp, ana, sessions):
    actor = Actor(isp.operator_id, "test")
    with sessions() as first, sessions() as second:
        remove_subscriber(first, actor, first.get_one(Subscriber, ana), "", utc_now())
        first.commit()
        removals = [session.get_one(SubscriberRemoval, ana) for session in (first, second)]
        bring_back(first, actor, removals[0])
        first.commit()
        with pytest.raises(Invalid, match="already_done"):
            bring_back(second, actor, removals[1])


def test_of_who_comes_back_programs_hear_what_each_service_is_and_not_more(sign_in, system, isp, ana, installation):
    waiting = add_service(system, installation, isp, ana, "ana-waiting", state="pending")
    with Session(system) as session:
        session.execute(
            text(
                "INSERT INTO webhook_endpoint (operator_id, url, events, secret)"
                " VALUES (:operator, 'https://erp.example/', '{*}', 's')"
            ),
            {"operator": isp.operator_id},
        )
        session.commit()
    browser = sign_in("manager")
    post(browser, f"/subscribers/{ana}/remove")
    with Session(system) as session:
        session.execute(delete(WebhookEvent))
        session.commit()
    post(browser, f"/subscribers/removed/{ana}/bring-back")
    with Session(system) as session:
        told = [(event.event, event.data.get("name")) for event in session.scalars(select(WebhookEvent))]
        assert session.get_one(Service, waiting).state == "pending"
    assert sorted(told) == [
        ("service.activated", "ana-active"),
        ("service.suspended", "ana-suspended"),
        ("subscriber.created", "Ana Núñez"),
    ]


def test_not_everybody_may_remove(sign_in, ana):
    browser = sign_in("sales")
    assert post(browser, f"/subscribers/{ana}/remove").status_code == 403
    assert browser.get("/subscribers/removed").status_code == 403


@pytest.fixture
def sessions(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


def test_after_30_days_the_person_is_erased_unless_something_stands_against_it(
    sign_in, system, isp, ana, sessions, installation
):
    browser = sign_in("manager")
    with sessions() as session:  # of the tests before
        session.execute(delete(SubscriberRemoval))
        session.commit()
    post(browser, f"/subscribers/{ana}/remove")
    soon, later = utc_now() + timedelta(days=29), utc_now() + timedelta(days=31)
    assert erase_due(sessions, installation.keyring, soon) == 0
    with sessions() as session:
        hold = RetentionHold(operator_id=isp.operator_id, subscriber_id=ana, reason="letter", author="a")
        session.add(hold)
        session.commit()
        assert erase_due(sessions, installation.keyring, later) == 0
        assert removal(system, ana).trouble == "hold"
        session.execute(text("UPDATE retention_hold SET lifted_at = now()"))
        session.commit()
    assert erase_due(sessions, installation.keyring, later) == 1
    assert erase_due(sessions, installation.keyring, later) == 0
    assert removal(system, ana).erased_at is not None
    with Session(system) as session:
        assert session.get(Subscriber, ana).name == f"– {ana}"
    assert "Nobody was removed" in browser.get("/subscribers/removed").text
    post(browser, f"/subscribers/removed/{ana}/bring-back")
    assert {state for state, _cause in states(system, ana).values()} == {"terminated"}


def test_somebody_with_whom_erasing_fails_keeps_nobody_else(sign_in, system, isp, ana, sessions, installation):
    beto, carla = (add_subscriber(system, isp, name) for name in ("Beto", "Carla"))
    browser = sign_in("manager")
    with sessions() as session:
        session.execute(delete(SubscriberRemoval))
        file = {"name": "a", "media_type": "text/plain", "size": 1, "sha256": "0", "content": b"x"}
        made = StoredFile(operator_id=isp.operator_id, **file)
        session.add(made)
        session.flush()
        for owner in (ana, carla):  # who is not removed: the file cannot go with Ana
            document = {"subscriber_id": owner, "kind": "other", "file_id": made.id, "author": "a"}
            session.add(SubscriberDocument(operator_id=isp.operator_id, **document))
        session.commit()
    for number in (ana, beto):
        post(browser, f"/subscribers/{number}/remove")
    assert erase_due(sessions, installation.keyring, utc_now() + timedelta(days=31)) == 1
    assert removal(system, ana).erased_at is None
    assert removal(system, beto).erased_at is not None
