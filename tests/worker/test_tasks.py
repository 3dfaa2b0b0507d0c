"""The tasks of the timer, called as the worker calls them: with nothing but the environment."""

from datetime import UTC, date, datetime, timedelta
from importlib import import_module

import psycopg
import pytest

from radius import tasks
from stack.installation import settings_environment
from tests.factories import Isp
from worker.app import app
from worker.schedule import SCHEDULE


@pytest.fixture
def isp(database, monkeypatch):
    for name, value in settings_environment(database).items():
        monkeypatch.setenv(name, value)
    isp = Isp.create(database, "127.0.41.1")
    yield isp
    isp.connection.close()


def test_every_scheduled_task_exists():
    for entry in SCHEDULE.values():
        module, _, name = entry["task"].rpartition(".")
        assert module in app.conf.include, "the worker would not know it"
        assert getattr(import_module(module), name).name == entry["task"]


def test_who_is_overdue_is_suspended(isp):
    isp.service("ana", paid_until=date(2020, 1, 1))
    tasks.suspend_overdue_services()
    assert isp.fetch("SELECT state FROM service") == [("suspended",)]


def test_a_task_that_another_worker_is_doing_is_left_to_it(isp):
    isp.service("ana", paid_until=date(2020, 1, 1))
    with psycopg.connect(isp.settings.database_url.get_secret_value(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (tasks.TASK_LOCK, tasks._DUNNING))
        tasks.suspend_overdue_services()
        assert isp.fetch("SELECT state FROM service") == [("active",)]
        other.execute("SELECT pg_advisory_unlock_all()")
    tasks.suspend_overdue_services()
    assert isp.fetch("SELECT state FROM service") == [("suspended",)]


def test_partitions_that_are_missing_are_made(isp):
    month = datetime.now(UTC).replace(day=1) + timedelta(days=62)
    partition = f"session_{month:%Y_%m}"
    with psycopg.connect(isp.settings.owner_database_url.get_secret_value(), autocommit=True) as owner:
        owner.execute(f"DROP TABLE {partition}")
    tasks.make_partitions()
    assert isp.fetch("SELECT to_regclass(%s) IS NOT NULL", partition) == [(True,)]


def test_the_change_log_is_purged_of_what_is_older_than_it_is_kept(isp):
    isp.connection.execute("UPDATE change_log SET at = now() - interval '8 days'")
    tasks.purge_change_log()
    assert isp.fetch("SELECT FROM change_log") == []


def test_the_sweep_orders_what_was_missed(isp):
    service = isp.service("ana")
    isp.insert(
        "session",
        operator_id=isp.operator_id,
        nas_id=isp.nas_id,
        service_id=service,
        acct_session_id="81000001",
        user_name="ana",
        kind="ppp",
        started_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
    )
    isp.update("service", service, state="terminated", terminated_at=datetime.now(UTC))
    isp.connection.execute("DELETE FROM change_log")
    tasks.sweep()
    assert isp.fetch("SELECT kind, cause FROM enforcement_order") == [("disconnect", "terminated")]


def test_a_session_that_nothing_was_heard_of_for_days_is_closed(isp):
    long_ago = datetime.now(UTC) - timedelta(days=3)
    isp.insert(
        "session",
        operator_id=isp.operator_id,
        nas_id=isp.nas_id,
        acct_session_id="81000001",
        user_name="ana",
        kind="ppp",
        started_at=long_ago,
        updated_at=long_ago,
    )
    tasks.close_stale_sessions()
    assert isp.fetch("SELECT ended_by FROM session") == [("stale",)]
