"""What changes in the database becomes orders, on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from aaa.decision import Terms
from aaa.documents import terms_document
from core.clock import utc_now
from core.rates import RateLimit
from radius import reconcile as module
from radius.reconcile import find_drift, purge_log, reconcile
from radius.terms import terms_id
from tests.factories import Isp

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)


@pytest.fixture
def isp(database) -> Iterator[Isp]:
    isp = Isp.create(database, "127.0.41.1")
    run(isp)  # the first run looks at everything; what follows is the difference
    yield isp
    isp.connection.close()


def run(isp: Isp, now: datetime = NOW):
    return reconcile(isp.connection, now)


def online(isp: Isp, service_id: int | None, granted: Terms | bytes | None = b"as decided", **values) -> int:
    """Put a session of a service online, by default with the terms that its grant has now."""
    if granted == b"as decided":
        run(isp)
        ((granted,),) = isp.fetch("SELECT terms_id FROM service_grant WHERE service_id = %s", service_id)
    elif isinstance(granted, Terms):
        key = terms_id(granted)
        isp.connection.execute(
            "INSERT INTO terms (operator_id, id, content) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (isp.operator_id, key, Jsonb(terms_document(granted))),
        )
        granted = key
    number = len(isp.fetch("SELECT FROM session"))
    values = {
        "operator_id": isp.operator_id,
        "nas_id": isp.nas_id,
        "service_id": service_id,
        "acct_session_id": f"81{number:06x}",
        "user_name": "ana",
        "kind": "ppp",
        "framed_ip": f"10.64.0.{number + 2}",
        "started_at": NOW - timedelta(hours=1),
        "updated_at": NOW - timedelta(minutes=1),
        "terms_id": granted,
        **values,
    }
    session_id = isp.insert("session", **values)
    isp.connection.execute("INSERT INTO change_log (kind, ids) VALUES ('sessions', %s)", ([service_id or 0],))
    return session_id


def orders(isp: Isp, columns: str = "kind, cause, state") -> list[tuple]:
    return isp.fetch(f"SELECT {columns} FROM enforcement_order ORDER BY id")


def wanted(isp: Isp, order: int = -1) -> dict | None:
    rows = isp.fetch("SELECT t.content FROM enforcement_order o LEFT JOIN terms t ON t.id = o.terms_id ORDER BY o.id")
    return rows[order][0]


def test_a_session_with_the_terms_it_should_have_is_left_alone(isp):
    online(isp, isp.service("ana"))
    run(isp)
    assert orders(isp) == []


def test_a_suspended_subscriber_is_led_into_the_garden_by_coa(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    assert run(isp).orders == 1
    assert orders(isp) == [("coa", "suspended_by_staff", "pending")]
    assert wanted(isp)["address_list"] == "portico-suspended"
    assert isp.fetch("SELECT outcome, reason FROM service_grant WHERE service_id = %s", service) == [
        ("garden", "suspended_by_staff")
    ]


def test_a_suspended_subscriber_is_disconnected_where_the_operator_refuses(isp):
    isp.update("operator", isp.operator_id, suspended_action="reject")
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    run(isp)
    assert orders(isp, "kind, terms_id") == [("disconnect", None)]


def test_the_same_change_is_ordered_once(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    run(isp)
    isp.update("service", service, suspension_detail="talked to him")
    run(isp)
    assert len(orders(isp)) == 1


def test_restoring_before_the_cut_was_sent_leaves_nothing_to_do(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    run(isp)
    isp.update("service", service, state="active", suspended_at=None)
    run(isp)
    assert orders(isp) == [("coa", "suspended_by_staff", "superseded")]


def test_restoring_after_a_request_nobody_answered_is_sent_all_the_same(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    run(isp)
    isp.connection.execute("UPDATE enforcement_order SET attempts = 1, outcome = 'timeout'")
    isp.update("service", service, state="active", suspended_at=None)
    run(isp)
    assert orders(isp) == [("coa", "suspended_by_staff", "superseded"), ("coa", "restored", "pending")]
    assert wanted(isp)["address_list"] == "portico-active"


def test_a_changed_plan_reaches_all_who_have_it(isp):
    ana, eva, bob = isp.service("ana"), isp.service("eva"), isp.service("bob", plan_id=isp.plan())
    for service in (ana, eva, bob):
        online(isp, service)
    isp.update("rate_plan", isp.plan_id, download=50_000_000)
    run(isp)
    assert orders(isp, "service_id, kind, cause") == [(ana, "coa", "plan"), (eva, "coa", "plan")]


def test_a_change_of_plan_to_another_pool_needs_a_new_session(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, plan_id=isp.plan(pool="shops"))
    run(isp)
    assert orders(isp) == [("disconnect", "plan", "pending")]
    assert wanted(isp)["pool"] == "shops"


def test_a_changed_operator_reaches_all_its_subscribers(isp):
    ana, eva = isp.service("ana"), isp.service("eva", state="suspended", suspended_at=NOW, suspension_cause="staff")
    online(isp, ana)
    online(isp, eva)
    isp.update("operator", isp.operator_id, garden_download=128_000)
    run(isp)
    assert orders(isp, "service_id, kind") == [(eva, "coa")]


def test_a_time_window_switches_live_sessions_when_it_begins_and_ends(isp):
    night = {"days": [1, 2, 3, 4, 5, 6, 7], "begin": "22:00", "until": "06:00", "download": 100, "upload": 50}
    service = isp.service("ana", plan_id=isp.plan(windows=[night]))
    session = online(isp, service)
    run(isp, NOW)
    assert orders(isp) == []
    run(isp, NOW.replace(hour=22))
    assert orders(isp) == [("coa", "time_window", "pending")]
    assert wanted(isp)["rate"]["download"] == 100
    carried_out(isp, session)
    run(isp, NOW.replace(hour=6) + timedelta(days=1))
    assert orders(isp)[1:] == [("coa", "plan", "pending")]


def test_the_end_of_what_was_paid_for_cuts_without_any_job_having_run(isp):
    service = isp.service("ana", paid_until=date(2027, 3, 12))
    online(isp, service)
    run(isp, datetime(2027, 3, 12, 23, 59, tzinfo=UTC))
    assert orders(isp) == []
    run(isp, datetime(2027, 3, 13, 0, 0, tzinfo=UTC))
    assert orders(isp) == [("coa", "overdue", "pending")]


def test_a_payment_restores_who_was_cut_by_date(isp):
    cut = datetime(2027, 3, 2, tzinfo=UTC)
    service = isp.service(
        "ana", paid_until=date(2027, 3, 1), state="suspended", suspended_at=cut, suspension_cause="overdue"
    )
    online(isp, service)
    isp.update("service", service, paid_until=date(2027, 3, 31))
    run(isp)
    assert isp.fetch("SELECT state, suspended_at, version FROM service WHERE id = %s", service) == [("active", None, 2)]
    assert orders(isp) == [("coa", "restored", "pending")]
    assert isp.fetch("SELECT action, actor, entity_id, after FROM audit_entry") == [
        ("service.restore", "worker", service, {"state": "active", "cause": None})
    ]


def test_a_payment_does_not_restore_who_was_suspended_by_a_person(isp):
    service = isp.service(
        "ana",
        paid_until=date(2027, 3, 1),
        state="suspended",
        suspended_at=NOW + timedelta(minutes=7),  # cut-offs by date stand on a whole hour
        suspension_cause="overdue",
    )
    isp.update("service", service, paid_until=date(2027, 3, 31))
    run(isp)
    assert isp.fetch("SELECT state FROM service WHERE id = %s", service) == [("suspended",)]


def test_a_cap_that_is_reached_throttles_the_live_session(isp):
    plan = isp.plan(cap_octets=1000, cap_action="throttle", throttle_download=256_000, throttle_upload=128_000)
    service = isp.service("ana", plan_id=plan)
    online(isp, service)
    isp.connection.execute(
        "INSERT INTO usage_period (service_id, operator_id, period_start, period_end, octets_in, octets_out)"
        " VALUES (%s, %s, %s, %s, 400, 600)",
        (service, isp.operator_id, datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)),
    )
    isp.connection.execute("INSERT INTO change_log (kind, ids) VALUES ('service', %s)", ([service],))
    run(isp)
    assert orders(isp) == [("coa", "cap_throttled", "pending")]
    carried_out(isp, isp.fetch("SELECT id FROM session")[0][0])
    run(isp, datetime(2027, 4, 1, tzinfo=UTC))
    assert orders(isp)[1:] == [("coa", "plan", "pending")]


def test_a_session_that_came_up_with_yesterdays_terms_is_corrected(isp):
    service = isp.service("ana")
    online(isp, service, Terms(rate=RateLimit(1_000_000, 1_000_000), address_list="portico-active"))
    run(isp)
    assert orders(isp) == [("coa", "plan", "pending")]


def test_a_session_whose_terms_are_unknown_is_only_ended_where_it_may_not_be(isp):
    service = isp.service("ana")
    online(isp, service, None)
    run(isp)
    assert orders(isp) == []
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    run(isp)
    assert orders(isp, "kind") == [("disconnect",)]


def test_a_terminated_service_is_disconnected(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="terminated", terminated_at=NOW)
    run(isp)
    assert orders(isp) == [("disconnect", "terminated", "pending")]


def test_a_deleted_service_is_disconnected(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.connection.execute("DELETE FROM service WHERE id = %s", (service,))
    run(isp)
    assert orders(isp) == [("disconnect", "unknown_subscriber", "pending")]


def test_a_service_is_not_disconnected_over_and_over(isp):
    service = isp.service("ana", plan_id=isp.plan(pool="homes"))
    isp.update("service", service, pool="shops")
    first = online(isp, service, Terms(pool="homes"))
    run(isp)
    isp.connection.execute("UPDATE enforcement_order SET state = 'verified', finished_at = %s", (NOW,))
    isp.connection.execute("UPDATE session SET ended_at = %s WHERE id = %s", (NOW, first))
    online(isp, service, Terms(pool="homes"))
    run(isp, NOW + timedelta(seconds=5))
    assert orders(isp, "kind, next_attempt_at")[1] == ("disconnect", NOW + timedelta(seconds=60))


def test_what_a_person_ordered_stands_until_the_decision_changes(isp):
    service = isp.service("ana")
    session = online(isp, service)
    faster = Terms(rate=RateLimit(90_000_000, 9_000_000), address_list="portico-active")
    isp.connection.execute(
        "INSERT INTO terms (operator_id, id, content) VALUES (%s, %s, %s)",
        (isp.operator_id, terms_id(faster), Jsonb(terms_document(faster))),
    )
    isp.insert(
        "enforcement_order",
        operator_id=isp.operator_id,
        nas_id=isp.nas_id,
        session_id=session,
        session_started_at=NOW - timedelta(hours=1),
        service_id=service,
        kind="coa",
        cause="staff",
        terms_id=terms_id(faster),
        requested_by="nora@example.net",
        created_at=NOW + timedelta(seconds=1),
    )
    touch(isp, service)
    run(isp, NOW + timedelta(seconds=2))
    assert orders(isp) == [("coa", "staff", "pending")]
    carried_out(isp, session)
    touch(isp, service)
    run(isp, NOW + timedelta(seconds=3))
    assert len(orders(isp)) == 1
    isp.update("rate_plan", isp.plan_id, download=30_000_000)
    run(isp, NOW + timedelta(seconds=4))
    assert orders(isp)[1:] == [("coa", "plan", "pending")]


def touch(isp: Isp, service: int) -> None:
    isp.connection.execute("INSERT INTO change_log (kind, ids) VALUES ('service', %s)", ([service],))


def carried_out(isp: Isp, session: int) -> None:
    """Let the open order of a session have been acknowledged and verified."""
    isp.connection.execute(
        "WITH done AS (UPDATE enforcement_order SET state = 'verified', finished_at = now() WHERE session_id = %s"
        " AND state = 'pending' RETURNING session_id, terms_id)"
        " UPDATE session SET terms_id = done.terms_id FROM done WHERE session.id = done.session_id",
        (session,),
    )


def test_a_transaction_that_committed_late_is_not_missed(isp):
    """Its change has a lower number than those that were read before it was visible."""
    early, late = isp.service("early"), isp.service("late")
    online(isp, early)
    online(isp, late)
    with psycopg.connect(isp.settings.database_url.get_secret_value()) as slow:
        slow.execute(
            "UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'staff' WHERE id = %s",
            (late,),
        )
        isp.update("service", early, state="suspended", suspended_at=NOW, suspension_cause="staff")
        run(isp)
        assert orders(isp, "service_id") == [(early,)]
        slow.commit()
    run(isp)
    assert orders(isp, "service_id") == [(early,), (late,)]


def test_two_workers_do_not_reconcile_at_once(isp):
    with psycopg.connect(isp.settings.database_url.get_secret_value(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, 0)", (module.LOCK,))
        assert run(isp) is None
        other.execute("SELECT pg_advisory_unlock_all()")
    assert run(isp) is not None


def test_many_services_are_done_in_chunks(isp, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    for number in range(10):
        online(isp, isp.service(f"s{number}"))
    isp.update("rate_plan", isp.plan_id, upload=6_000_000)
    outcome = run(isp)
    assert (outcome.services, outcome.orders) == (10, 10)


def test_who_pays_in_the_middle_of_a_large_change_does_not_wait_for_its_end(isp, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    other = isp.service("paid", plan_id=isp.plan(), state="suspended", suspended_at=NOW, suspension_cause="staff")
    online(isp, other)
    for number in range(6):
        online(isp, isp.service(f"s{number}"))
    isp.update("rate_plan", isp.plan_id, upload=6_000_000)
    compare = module.Difference.compare

    def compare_and_pay(self, services):
        compare(self, services)
        isp.connection.execute("UPDATE service SET state = 'active' WHERE id = %s AND state <> 'active'", (other,))

    monkeypatch.setattr(module.Difference, "compare", compare_and_pay)
    run(isp)
    assert [service for (service,) in orders(isp, "service_id")].index(other) == 2
    run(isp)
    assert len(orders(isp)) == 7


def test_who_has_not_read_the_log_for_as_long_as_it_is_kept_starts_over(isp):
    service = isp.service("ana")
    online(isp, service)
    isp.update("service", service, state="suspended", suspended_at=NOW, suspension_cause="staff")
    isp.connection.execute("DELETE FROM change_log")
    run(isp)
    assert orders(isp) == []
    run(isp, NOW + timedelta(days=8))
    assert len(orders(isp)) == 1


def test_the_sweep_finds_a_difference_that_no_change_told_of(isp):
    service = isp.service("ana")
    session = online(isp, service)
    run(isp)
    isp.connection.execute("UPDATE session SET terms_id = '\\x0102030405060708' WHERE id = %s", (session,))
    old = terms_document(Terms(rate=RateLimit(1, 1), address_list="portico-active"))
    isp.connection.execute(
        "INSERT INTO terms (operator_id, id, content) VALUES (%s, '\\x0102030405060708', %s)",
        (isp.operator_id, Jsonb(old)),
    )
    run(isp)
    assert orders(isp, "kind") == []
    find_drift(isp.connection, NOW)
    assert orders(isp, "kind") == [("coa",)]
    find_drift(isp.connection, NOW)
    assert len(orders(isp)) == 1


def test_the_log_is_purged_of_what_everybody_has_read(isp):
    isp.connection.execute("UPDATE change_log SET at = %s", (utc_now() - timedelta(days=8),))
    isp.service("ana")
    assert purge_log(isp.connection, utc_now()) > 0
    assert isp.fetch("SELECT kind FROM change_log") == [("service",)]
