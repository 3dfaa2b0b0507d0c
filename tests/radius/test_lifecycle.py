"""Suspending who is overdue, on a real PostgreSQL, in every operator's own time."""

from datetime import UTC, date, datetime

import pytest

from db.audit import broken_links
from db.session import make_engine, make_sessions
from radius import lifecycle
from radius.facts import FactsReader
from radius.lifecycle import restore_paid, suspend_overdue
from tests.factories import Isp

NOW = datetime(2027, 3, 11, 12, 0, tzinfo=UTC)


@pytest.fixture
def isp(database):
    isp = Isp.create(database, "127.0.41.1")
    yield isp
    isp.connection.close()


def states(isp: Isp) -> dict[str, str]:
    return dict(isp.fetch("SELECT name, state FROM service"))


def test_who_has_not_paid_is_suspended_since_the_day_the_grace_was_over(isp):
    isp.update("operator", isp.operator_id, grace_days=2, timezone="America/Asuncion")
    late = isp.service("late", paid_until=date(2027, 3, 8))
    isp.service("within the grace", paid_until=date(2027, 3, 9))
    isp.service("by hand", paid_until=date(2027, 1, 1), management="manual")
    isp.service("undated")
    assert suspend_overdue(isp.connection, NOW) == 1
    assert states(isp) == {
        "late": "suspended",
        "within the grace": "active",
        "by hand": "active",
        "undated": "active",
    }
    assert isp.fetch("SELECT suspended_at, suspension_cause, version FROM service WHERE id = %s", late) == [
        (datetime(2027, 3, 11, 3, 0, tzinfo=UTC), "overdue", 2)
    ]


def test_the_day_ends_when_it_ends_where_the_operator_is(isp):
    isp.update("operator", isp.operator_id, timezone="Pacific/Auckland")
    isp.service("ana", paid_until=date(2027, 3, 11))
    assert suspend_overdue(isp.connection, datetime(2027, 3, 11, 10, 59, tzinfo=UTC)) == 0
    assert suspend_overdue(isp.connection, datetime(2027, 3, 11, 11, 0, tzinfo=UTC)) == 1


def test_each_suspension_is_audited_and_the_chain_holds(isp, monkeypatch):
    monkeypatch.setattr(lifecycle, "CHUNK", 2)
    ids = [isp.service(f"s{number}", paid_until=date(2027, 3, 1)) for number in range(5)]
    assert suspend_overdue(isp.connection, NOW) == 5
    assert isp.fetch("SELECT entity_id, action, actor FROM audit_entry ORDER BY id") == [
        (service, "service.suspend", "worker") for service in ids
    ]
    engine = make_engine(isp.settings.database_url.get_secret_value())
    with make_sessions(engine)() as session:
        assert broken_links(session, isp.operator_id) == []
    engine.dispose()


def test_running_twice_changes_nothing_more(isp):
    isp.service("ana", paid_until=date(2027, 3, 1))
    assert suspend_overdue(isp.connection, NOW) == 1
    assert suspend_overdue(isp.connection, NOW) == 0
    assert len(isp.fetch("SELECT FROM audit_entry")) == 1


def test_who_paid_is_restored_and_who_did_not_is_not(isp):
    paid, unpaid = isp.service("paid", paid_until=date(2027, 3, 1)), isp.service("unpaid", paid_until=date(2027, 3, 1))
    suspend_overdue(isp.connection, NOW)
    isp.update("service", paid, paid_until=date(2027, 4, 1))
    assert restore_paid(isp.connection, [paid, unpaid], NOW) == 1
    assert states(isp) == {"paid": "active", "unpaid": "suspended"}


def test_the_state_and_the_access_change_at_the_operators_hour_and_not_on_a_sunday(isp):
    isp.update("operator", isp.operator_id, timezone="UTC", cut_off_hour=10, cut_off_weekdays=[1, 2, 3, 4, 5, 6])
    ana = isp.service("ana", paid_until=date(2027, 3, 13))  # a Saturday
    for now in (datetime(2027, 3, 14, 12, tzinfo=UTC), datetime(2027, 3, 15, 9, 59, 59, tzinfo=UTC)):
        assert suspend_overdue(isp.connection, now) == 0
    now = datetime(2027, 3, 15, 10, tzinfo=UTC)
    (stored,) = FactsReader(isp.connection, now).services([ana])
    assert stored.service.paid_until == now
    assert suspend_overdue(isp.connection, now) == 1
    isp.update("service", ana, paid_until=date(2027, 4, 13))
    assert restore_paid(isp.connection, [ana], now) == 1


def test_a_day_that_staff_gave_keeps_a_service_on(isp):
    isp.update("operator", isp.operator_id, timezone="UTC")
    isp.service("ana", paid_until=date(2027, 3, 1), held_until=date(2027, 3, 11), promised_until=date(2027, 3, 5))
    assert suspend_overdue(isp.connection, NOW) == 0
    assert suspend_overdue(isp.connection, datetime(2027, 3, 12, tzinfo=UTC)) == 1
