"""What changes queue services, and the decisions on them, lock the rows of router_queue in one order."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from core.clock import utc_now
from core.settings import Settings
from radius.reconcile import reconcile
from tests.factories import Isp

DECIDE = (
    "INSERT INTO service_grant AS g (service_id, operator_id, outcome, reason, detail, computed_at)"
    " SELECT id, %s, 'reject', 'suspended', '{}', now() FROM unnest(%s::bigint[]) AS id"
    " ON CONFLICT (service_id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason"
)
MOVE_ALL = "UPDATE service SET framed_ip = framed_ip + 50 FROM unnest(%s::bigint[]) AS x (wanted) WHERE id = wanted"

AS_WITH_MANY = "-c enable_mergejoin=off -c enable_nestloop=off -c enable_indexscan=off -c enable_bitmapscan=off"
"""Two rows are joined in the order of a key, thousands in whatever order a hash yields."""


@pytest.fixture(scope="module")
def isp(installation: Settings) -> Iterator[Isp]:
    isp = Isp.create(installation)
    with isp.connection:
        yield isp


@pytest.fixture
def other(system_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(system_dsn) as connection:
        yield connection


@pytest.mark.parametrize(("bulk", "net"), [("decisions", "10.20.0"), ("addresses", "10.20.1")])
def test_many_services_at_once_and_one_after_the_other_do_not_lock_each_other_out(isp, other, system_dsn, bulk, net):
    first, second = (
        isp.service(f"{bulk} {number}", None, access_method="queue", nas_id=isp.nas_id, framed_ip=f"{net}.{number}")
        for number in (5, 6)
    )
    isp.update("service", first, leave_note="stands behind the second in the table from now on")
    assert reconcile(isp.connection, utc_now()) is not None
    backwards = [second, first]
    statement, values = (DECIDE, (isp.operator_id, backwards)) if bulk == "decisions" else (MOVE_ALL, (backwards,))
    problems: list[psycopg.Error] = []

    def at_once() -> None:
        try:
            with psycopg.connect(
                system_dsn, autocommit=True, application_name="at once", options=AS_WITH_MANY
            ) as connection:
                connection.execute(statement, values)
        except psycopg.Error as problem:
            problems.append(problem)

    # A change that has the first and wants the second, while the others have the second, or want the first.
    other.execute("UPDATE router_queue SET changes = changes + 1 WHERE service_id = %s", (first,))
    thread = threading.Thread(target=at_once)
    thread.start()
    _wait_until_it_waits(isp.connection)
    other.execute("UPDATE router_queue SET changes = changes + 1 WHERE service_id = %s", (second,))
    other.commit()
    thread.join(5)
    assert problems == []
    assert isp.fetch("SELECT changes FROM router_queue WHERE service_id IN (%s, %s)", first, second) == [(4,), (4,)]


def _wait_until_it_waits(connection: psycopg.Connection[Any]) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'at once' AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 5
    while connection.execute(waiting).fetchone() is None:
        assert time.monotonic() < deadline, "the others never waited"
        time.sleep(0.01)
