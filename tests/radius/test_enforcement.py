"""Claiming orders, recording answers and holding both against accounting, on a real PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from aaa.decision import Terms
from aaa.documents import terms_document
from core.crypto import SecretUnreadable
from core.rates import RateLimit
from radius.coa import Answer
from radius.enforcement import (
    Answered,
    DueOrder,
    claim,
    due_nas,
    images_follow,
    leave_alone,
    lock_nas,
    read_station,
    record,
    revive,
    unlock_nas,
)
from radius.orders import Measure, Result
from radius.terms import terms_id
from radius.verification import verify
from tests.factories import Isp

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)
STARTED = NOW - timedelta(hours=1)
PLAN = Terms(rate=RateLimit(20_000_000, 5_000_000), address_list="portico-active")
GARDEN = Terms(rate=RateLimit(512_000, 512_000), address_list="portico-suspended")


@pytest.fixture
def isp(database):
    isp = Isp.create(database, "127.0.41.1")
    for terms in (PLAN, GARDEN):
        isp.connection.execute(
            "INSERT INTO terms (operator_id, id, content) VALUES (%s, %s, %s)",
            (isp.operator_id, terms_id(terms), Jsonb(terms_document(terms))),
        )
    yield isp
    isp.connection.close()


def session(isp: Isp, **values) -> int:
    number = len(isp.fetch("SELECT FROM session"))
    defaults = {
        "operator_id": isp.operator_id,
        "nas_id": isp.nas_id,
        "service_id": 1000 + number,
        "acct_session_id": f"81{number:06x}",
        "user_name": f"user {number}",
        "calling_station_id": "EC:F4:BB:FA:36:C9",
        "nas_identifier": "tower-3",
        "nas_ip_address": "192.168.88.1",
        "framed_ip": "10.64.0.7",
        "kind": "ppp",
        "started_at": STARTED,
        "updated_at": NOW - timedelta(minutes=4),
        "terms_id": terms_id(PLAN),
    }
    return isp.insert("session", **defaults | values)


def order(isp: Isp, session_id: int, **values) -> int:
    ((service_id, nas_id),) = isp.fetch("SELECT service_id, nas_id FROM session WHERE id = %s", session_id)
    defaults = {
        "operator_id": isp.operator_id,
        "nas_id": nas_id,
        "session_id": session_id,
        "session_started_at": STARTED,
        "service_id": service_id,
        "kind": "coa",
        "cause": "plan",
        "terms_id": terms_id(GARDEN),
        "next_attempt_at": NOW,
        "created_at": NOW,
    }
    return isp.insert("enforcement_order", **defaults | values)


def state(isp: Isp, columns: str = "kind, state, outcome") -> tuple:
    (row,) = isp.fetch(f"SELECT {columns} FROM enforcement_order")
    return row


def answer(isp: Isp, result: Result, error_cause: int | None = None, *, now=NOW, nas_answers=True, attempts=None):
    """Claim the one order that is due and record an answer to it."""
    (due,), _ = claim(isp.connection, isp.nas_id, now, 10)
    if attempts is not None:
        due = replace(due, attempts=attempts)
    record(isp.connection, now, [Answered(due, Answer(result, error_cause, 12), nas_answers)])
    return due


# Claiming.


def test_an_order_is_claimed_with_the_session_as_the_nas_named_it(isp):
    session_id = session(isp, user_name="José 100%d", acct_session_id="81C00002")
    order_id = order(isp, session_id)
    (due,), _ = claim(isp.connection, isp.nas_id, NOW, 10)
    assert isinstance(due, DueOrder)
    assert (due.id, due.measure, due.granted, due.wanted, due.attempts) == (order_id, Measure.COA, PLAN, GARDEN, 1)
    assert due.session.user_name == "José 100%d"
    assert due.session.acct_session_id == "81C00002"
    assert (due.session.framed_ip, due.session.nas_ip_address) == ("10.64.0.7", "192.168.88.1")
    assert state(isp, "state, sent_at, attempts") == ("sent", NOW, 1)


def test_what_is_claimed_is_not_claimed_again(isp):
    order(isp, session(isp))
    assert len(claim(isp.connection, isp.nas_id, NOW, 10)[0]) == 1
    assert claim(isp.connection, isp.nas_id, NOW, 10)[0] == []


def test_what_a_dead_worker_had_claimed_is_taken_by_the_next_one_that_holds_the_nas(isp):
    order(isp, session(isp))
    claim(isp.connection, isp.nas_id, NOW, 10)
    assert due_nas(isp.connection, NOW) == [isp.nas_id]
    assert len(claim(isp.connection, isp.nas_id, NOW, 10, fresh=True)[0]) == 1


def test_restoring_goes_before_cutting(isp):
    for _ in range(3):
        order(isp, session(isp))
    back = order(isp, session(isp), cause="restored", next_attempt_at=NOW)
    orders, _ = claim(isp.connection, isp.nas_id, NOW, 2)
    assert orders[0].id == back


def test_a_session_with_a_request_in_flight_gets_no_second_one(isp):
    session_id = session(isp)
    order(isp, session_id)
    assert claim(isp.connection, isp.nas_id, NOW, 10, busy=[session_id])[0] == []


def test_one_worker_at_a_time_talks_to_a_nas(isp):
    with psycopg.connect(isp.settings.database_url.get_secret_value(), autocommit=True) as other:
        assert lock_nas(isp.connection, isp.nas_id)
        assert not lock_nas(other, isp.nas_id)
        unlock_nas(isp.connection, isp.nas_id)
        assert lock_nas(other, isp.nas_id)


def test_a_station_is_read_with_its_secret_opened(isp):
    isp.update("nas", isp.nas_id, coa_address="10.8.0.3", coa_port=1700, coa_window=8, coa_session_id=False)
    station = read_station(isp.connection, isp.nas_id, isp.settings.keyring, "10.8.0.1")
    assert station.peer.secret == b"testing123"
    assert (station.peer.address, station.peer.port, station.peer.window) == ("10.8.0.3", 1700, 8)
    assert not station.peer.names_session_id
    assert not station.troubled


def test_a_secret_that_does_not_open_is_said(isp):
    isp.update("nas", isp.nas_id, secret=b"rubbish")
    with pytest.raises(SecretUnreadable):
        read_station(isp.connection, isp.nas_id, isp.settings.keyring, None)


def test_orders_of_a_nas_that_was_removed_are_cancelled(isp):
    order(isp, session(isp))
    isp.connection.execute("DELETE FROM nas")
    assert read_station(isp.connection, isp.nas_id, isp.settings.keyring, None) is None
    assert state(isp) == ("coa", "cancelled", "no nas")


# Answers.


def test_an_acknowledged_coa_is_what_the_session_has_and_waits_for_proof(isp):
    order(isp, session(isp))
    answer(isp, Result.ACK)
    assert state(isp, "kind, state, outcome, answered_at, finished_at") == ("coa", "acked", "ack", NOW, None)
    assert isp.fetch("SELECT terms_id FROM session") == [(terms_id(GARDEN),)]
    assert isp.fetch("SELECT kind, result, error_cause, milliseconds FROM enforcement_attempt") == [
        ("coa", "ack", None, 12)
    ]


def test_an_unsupported_coa_becomes_a_disconnect_at_once(isp):
    order(isp, session(isp))
    answer(isp, Result.NAK, 401)
    assert state(isp, "kind, state, outcome, error_cause, next_attempt_at") == (
        "disconnect",
        "pending",
        "nak",
        401,
        NOW,
    )
    due = answer(isp, Result.ACK)
    assert due.measure is Measure.DISCONNECT
    assert isp.fetch("SELECT terms_id FROM session") == [(terms_id(PLAN),)]


def test_a_session_the_nas_does_not_know_is_closed_and_publishers_are_told(isp):
    session_id = session(isp)
    order(isp, session_id, kind="disconnect", terms_id=None)
    isp.connection.execute("DELETE FROM change_log")
    answer(isp, Result.NAK, 503)
    assert state(isp) == ("disconnect", "verified", "gone")
    assert isp.fetch("SELECT ended_at, ended_by FROM session") == [(NOW, "gone")]
    assert isp.fetch("SELECT kind, ids FROM change_log") == [("sessions", [1000])]


def test_silence_keeps_the_order_and_the_session(isp):
    order(isp, session(isp))
    answer(isp, Result.TIMEOUT, nas_answers=False, attempts=40)
    kind, outcome_state, outcome, due = state(isp, "kind, state, outcome, next_attempt_at")
    assert (kind, outcome_state, outcome) == ("coa", "pending", "timeout")
    assert timedelta(minutes=4) < due - NOW < timedelta(minutes=6)
    assert isp.fetch("SELECT ended_at FROM session") == [(None,)]


def test_the_fifth_refused_disconnect_fails(isp):
    order(isp, session(isp), kind="disconnect", terms_id=None)
    answer(isp, Result.NAK, 404, attempts=5)
    assert state(isp, "state, outcome, error_cause, finished_at") == ("failed", "nak", 404, NOW)


def test_an_answer_to_a_superseded_order_is_kept_and_changes_its_state_no_more(isp):
    order(isp, session(isp))
    (due,), _ = claim(isp.connection, isp.nas_id, NOW, 10)
    isp.connection.execute("UPDATE enforcement_order SET state = 'superseded', finished_at = %s", (NOW,))
    record(isp.connection, NOW, [Answered(due, Answer(Result.ACK, None, 3), True)])
    assert state(isp) == ("coa", "superseded", "ack")
    assert isp.fetch("SELECT terms_id FROM session") == [(terms_id(GARDEN),)]


def test_a_lease_that_is_silent_is_asked_again_when_it_may_have_been_renewed(isp):
    order(isp, session(isp, kind="dhcp"))
    answer(isp, Result.TIMEOUT, nas_answers=False)
    assert state(isp, "state, next_attempt_at") == ("pending", NOW + timedelta(minutes=5))


# Unreachable.


def test_a_nas_that_does_not_answer_is_left_alone_as_a_whole_and_tried_when_heard(isp):
    tried, waiting = session(isp), session(isp)
    order(isp, tried, state="pending", outcome="timeout", attempts=3, sent_at=NOW - timedelta(seconds=30))
    order(isp, waiting)
    leave_alone(isp.connection, isp.nas_id, NOW)
    assert due_nas(isp.connection, NOW + timedelta(seconds=15)) == []
    assert read_station(isp.connection, isp.nas_id, isp.settings.keyring, None).troubled
    revive(isp.connection, NOW)
    assert due_nas(isp.connection, NOW) == [], "nothing was heard since"
    isp.connection.execute("UPDATE session SET updated_at = %s WHERE id = %s", (NOW - timedelta(seconds=1), waiting))
    revive(isp.connection, NOW)
    assert due_nas(isp.connection, NOW) == [isp.nas_id]


def test_a_nas_that_talks_but_takes_no_coa_is_not_tried_with_every_packet(isp):
    session_id = session(isp, updated_at=NOW)
    due = NOW + timedelta(minutes=5)
    order(isp, session_id, outcome="timeout", attempts=9, sent_at=NOW - timedelta(seconds=9), next_attempt_at=due)
    revive(isp.connection, NOW)
    assert state(isp, "next_attempt_at") == (due,)


# Proof.


def acked(isp: Isp, **values) -> int:
    session_id = session(isp, **values)
    order(isp, session_id, state="acked", outcome="ack", answered_at=NOW, attempts=1)
    return session_id


def heard(isp: Isp, seconds: float, **values) -> None:
    isp.connection.execute("UPDATE session SET updated_at = %s", (NOW + timedelta(seconds=seconds),))
    for column, value in values.items():
        isp.connection.execute(f"UPDATE session SET {column} = %s", (value,))


def test_an_interim_update_after_the_ack_verifies_a_coa(isp):
    acked(isp)
    assert verify(isp.connection, NOW + timedelta(seconds=60)) == 0
    heard(isp, 60)
    assert verify(isp.connection, NOW + timedelta(seconds=61)) == 1
    assert state(isp) == ("coa", "verified", "ack")


def test_the_reported_rate_has_to_be_the_wanted_one(isp):
    acked(isp, reported_rate="5M/20M")
    heard(isp, 60)
    verify(isp.connection, NOW + timedelta(seconds=61))
    assert state(isp) == ("coa", "pending", "no effect")
    isp.connection.execute(
        "UPDATE enforcement_order SET state = 'acked', attempts = 2, answered_at = %s", (NOW + timedelta(seconds=62),)
    )
    heard(isp, 360)
    verify(isp.connection, NOW + timedelta(seconds=361))
    assert state(isp) == ("disconnect", "pending", "no effect")


def test_an_old_rate_that_was_on_its_way_proves_nothing(isp):
    acked(isp, reported_rate="5M/20M")
    heard(isp, 1)
    verify(isp.connection, NOW + timedelta(seconds=1))
    assert state(isp, "state") == ("acked",)
    heard(isp, 60, reported_rate="512k/512k")
    verify(isp.connection, NOW + timedelta(seconds=61))
    assert state(isp, "state") == ("verified",)


def test_a_disconnect_is_done_when_the_session_was_closed(isp):
    order(isp, session(isp), kind="disconnect", terms_id=None, state="acked", answered_at=NOW)
    assert verify(isp.connection, NOW) == 0
    isp.connection.execute("UPDATE session SET ended_at = %s, ended_by = 'stop'", (NOW,))
    assert verify(isp.connection, NOW) == 1
    assert state(isp, "state") == ("verified",)


def test_a_session_that_goes_on_after_its_disconnect_was_acknowledged_is_disconnected_again(isp):
    order(isp, session(isp), kind="disconnect", terms_id=None, state="acked", answered_at=NOW, attempts=1)
    heard(isp, 60)
    verify(isp.connection, NOW + timedelta(seconds=61))
    assert state(isp) == ("disconnect", "pending", "no effect")


def test_an_order_that_nothing_proves_in_two_interim_intervals_fails(isp):
    acked(isp, interim_interval=60)
    assert verify(isp.connection, NOW + timedelta(seconds=149)) == 0
    assert verify(isp.connection, NOW + timedelta(seconds=151)) == 1
    assert state(isp) == ("coa", "failed", "not verified")


def test_a_coa_for_a_session_that_ended_meanwhile_is_not_needed(isp):
    order(isp, session(isp, ended_at=NOW))
    verify(isp.connection, NOW)
    assert state(isp, "state") == ("superseded",)


def test_an_order_without_its_session_is_cancelled(isp):
    session_id = session(isp)
    order(isp, session_id)
    isp.connection.execute("DELETE FROM session")
    verify(isp.connection, NOW)
    assert state(isp) == ("coa", "cancelled", "no session")


# Images.


def test_a_disconnect_waits_for_the_images_of_live_nodes(isp):
    def snapshot() -> str:
        return isp.fetch("SELECT pg_current_snapshot()::text")[0][0]

    isp.connection.execute("INSERT INTO node (name, image_position) VALUES ('radius-1', pg_current_snapshot()::text)")
    isp.connection.execute("INSERT INTO node (name) VALUES ('new, without an image')")
    assert images_follow(isp.connection, snapshot())
    isp.connection.execute("INSERT INTO change_log (kind, ids) VALUES ('sessions', '{1}')")
    assert images_follow(isp.connection, snapshot()), "sessions do not change what is granted"
    before = snapshot()
    isp.service("ana")
    assert images_follow(isp.connection, before), "a change that the order does not depend on"
    assert not images_follow(isp.connection, snapshot())
    isp.connection.execute("UPDATE node SET image_position = pg_current_snapshot()::text WHERE image_position <> ''")
    assert images_follow(isp.connection, snapshot())
    isp.service("eva")
    isp.connection.execute("UPDATE node SET image_updated_at = now() - interval '1 minute'")
    assert images_follow(isp.connection, snapshot()), "a node whose publisher is dead is not waited for"


# Through the API.


def through_api(isp: Isp, asked: Result | None, api: Result, error_cause: int | None = None, attempts: int = 3):
    (due,), _ = claim(isp.connection, isp.nas_id, NOW, 10)
    answer = Answer(asked) if asked else None
    record(isp.connection, NOW, [Answered(replace(due, attempts=attempts), answer, False, Answer(api, error_cause, 9))])


def attempts_of(isp: Isp) -> list[tuple]:
    return isp.fetch("SELECT kind, result FROM enforcement_attempt ORDER BY id")


def test_a_session_removed_through_the_api_waits_for_the_proof_as_any_other(isp):
    session_id = session(isp)
    order(isp, session_id, kind="disconnect")
    through_api(isp, Result.TIMEOUT, Result.ACK)
    assert state(isp) == ("api", "acked", "ack")
    assert attempts_of(isp) == [("disconnect", "timeout"), ("api", "ack")]
    isp.connection.execute("UPDATE session SET ended_at = %s, ended_by = 'stop'", (NOW,))
    verify(isp.connection, NOW + timedelta(seconds=1))
    assert state(isp)[:2] == ("api", "verified")


def test_a_session_that_the_router_does_not_have_is_over(isp):
    order(isp, session(isp), kind="disconnect")
    through_api(isp, Result.TIMEOUT, Result.NAK, 503)
    assert state(isp) == ("api", "verified", "gone")
    assert isp.fetch("SELECT ended_by FROM session") == [("gone",)]


def test_a_router_that_could_not_be_asked_says_nothing_about_the_session(isp):
    order(isp, session(isp), kind="disconnect")
    through_api(isp, Result.TIMEOUT, Result.UNREACHABLE, attempts=40)
    assert state(isp) == ("disconnect", "pending", "timeout")
    assert attempts_of(isp) == [("disconnect", "timeout"), ("api", "unreachable")]
    assert isp.fetch("SELECT ended_at FROM session") == [(None,)]


def test_a_coa_that_could_not_be_asked_for_stays_a_coa(isp):
    order(isp, session(isp))
    through_api(isp, Result.TIMEOUT, Result.UNREACHABLE)
    assert state(isp)[:2] == ("coa", "pending")


def test_a_disconnect_that_was_acknowledged_twice_without_effect_goes_through_the_api(isp):
    session_id = session(isp)
    order(isp, session_id, kind="disconnect")
    for attempts, kind in ((1, "disconnect"), (2, "api")):
        isp.connection.execute("UPDATE enforcement_order SET next_attempt_at = %s", (NOW,))
        answer(isp, Result.ACK, attempts=attempts)
        isp.connection.execute("UPDATE enforcement_order SET attempts = %s", (attempts,))
        isp.connection.execute("UPDATE session SET updated_at = %s", (NOW + timedelta(seconds=5),))
        verify(isp.connection, NOW + timedelta(seconds=6))
        assert state(isp) == (kind, "pending", "no effect")
