"""Minutes become spans of five minutes and of an hour: held against a model of a few lines."""

import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from network.monitoring.rollup import roll_up
from tests.factories import Isp

BEGIN = datetime(2027, 3, 14, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def isp(database):
    isp = Isp.create(database)
    yield isp
    isp.connection.close()


def minute(isp: Isp, number: int, cpu: float | None, received: float | None = None, requests: int | None = None):
    isp.connection.execute(
        "INSERT INTO router_sample (nas_id, operator_id, at, polls, answered, cpu, cpu_max, radius_requests)"
        " VALUES (%s, %s, %s, 1, %s, %s, %s, %s)",
        (isp.nas_id, isp.operator_id, BEGIN + number * MINUTE, int(cpu is not None), cpu, cpu, requests),
    )
    if received is not None:
        isp.connection.execute(
            "INSERT INTO interface_sample (nas_id, interface, operator_id, at, received, received_max)"
            " VALUES (%s, 'ether1', %s, %s, %s, %s)",
            (isp.nas_id, isp.operator_id, BEGIN + number * MINUTE, received, received),
        )


def rolled(isp: Isp, span: str):
    return isp.fetch(f"SELECT at, polls, answered, cpu, cpu_max, radius_requests FROM router_sample_{span} ORDER BY at")


def model(values: dict[int, float | None], length: int):
    """Return what the spans must hold, from the minutes, in plain Python."""
    spans: dict[int, list[float | None]] = {}
    for number, value in values.items():
        spans.setdefault(number // length, []).append(value)
    rows = []
    for number, found in sorted(spans.items()):
        known = [value for value in found if value is not None]
        average = sum(known) / len(known) if known else None
        rows.append((BEGIN + number * length * MINUTE, len(found), len(known), average, max(known, default=None)))
    return rows


def test_averages_maxima_and_gaps_are_those_of_the_minutes(isp):
    chance = random.Random(3)
    values = {n: chance.choice((None, float(chance.randrange(100)))) for n in range(180) if chance.random() < 0.7}
    values = {n: value for n, value in values.items() if not 60 <= n < 75}  # a quarter of an hour without anything
    for number, value in values.items():
        minute(isp, number, value)
    roll_up(isp.connection, BEGIN + 183 * MINUTE)
    for span, length in (("5m", 5), ("1h", 60)):
        found = [tuple(row[:5]) for row in rolled(isp, span)]
        expected = model(values, length)
        assert [row[:3] for row in found] == [row[:3] for row in expected]
        for (*_, average, highest), (*_, wanted, most) in zip(found, expected, strict=True):
            assert average == (None if wanted is None else pytest.approx(wanted))
            assert highest == most


def test_counts_are_added_up_and_interfaces_are_apart(isp):
    for number in range(10):
        minute(isp, number, 5.0, received=1e6 * number, requests=3)
    roll_up(isp.connection, BEGIN + 12 * MINUTE)
    assert [row[5] for row in rolled(isp, "5m")] == [15, 15]
    assert isp.fetch("SELECT interface, received, received_max FROM interface_sample_5m ORDER BY at") == [
        ("ether1", 2e6, 4e6),
        ("ether1", 7e6, 9e6),
    ]


def test_a_span_that_is_not_over_is_left_for_later(isp):
    for number in range(8):
        minute(isp, number, 5.0)
    roll_up(isp.connection, BEGIN + 8 * MINUTE)
    assert [row[0] for row in rolled(isp, "5m")] == [BEGIN]


def test_rolling_up_again_changes_nothing_and_a_late_minute_is_added(isp):
    for number in range(4):
        minute(isp, number, 10.0)
    now = BEGIN + 7 * MINUTE
    roll_up(isp.connection, now)
    before = rolled(isp, "5m")
    assert roll_up(isp.connection, now) == 0
    assert rolled(isp, "5m") == before
    minute(isp, 4, 60.0)
    for number in range(5, 10):
        minute(isp, number, 20.0)
    roll_up(isp.connection, BEGIN + 12 * MINUTE)
    assert [(row[1], row[3]) for row in rolled(isp, "5m")] == [(5, 20.0), (5, 20.0)]


def test_two_at_once_do_the_work_once(isp):
    for number in range(6):
        minute(isp, number, 10.0)
    with psycopg.connect(isp.settings.database_url.get_secret_value(), autocommit=True) as other:
        with isp.connection.transaction():
            roll_up(isp.connection, BEGIN + 7 * MINUTE)
            other.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                roll_up(other, BEGIN + 7 * MINUTE)
        assert roll_up(other, BEGIN + 7 * MINUTE) == 0
