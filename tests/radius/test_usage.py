"""Growth put into hours and billing periods."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.usage import Calendar, Usage

HOUR = 3600


def instant(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def usage(zone="UTC", day=1) -> Usage:
    return Usage(Calendar({1: (zone, day)}).period_of)


def hours(counted: Usage) -> dict[str, list[int]]:
    return {
        f"{datetime.fromtimestamp(hour * HOUR, UTC):%m-%d %H}": sums for (_, hour, _), sums in counted.hours.items()
    }


def periods(counted: Usage) -> dict[str, list[int]]:
    return {
        f"{datetime.fromtimestamp(begin, UTC):%m-%d %H:%M}": sums[:2]
        for (_, begin, _, _), sums in counted.periods.items()
    }


def test_growth_within_an_hour_is_counted_in_that_hour():
    counted = usage()
    counted.add(1, 7, 10, 20, instant("2027-03-05 10:10"), instant("2027-03-05 10:15"))
    assert hours(counted) == {"03-05 10": [10, 20]}
    assert periods(counted) == {"03-01 00:00": [10, 20]}


def test_growth_across_a_full_hour_is_split_by_the_seconds():
    counted = usage()
    counted.add(1, 7, 100, 1000, instant("2027-03-05 10:45"), instant("2027-03-05 11:05"))
    assert hours(counted) == {"03-05 10": [75, 750], "03-05 11": [25, 250]}


def test_a_session_across_the_months_end_counts_towards_both_months():
    counted = usage()
    counted.add(1, 7, 0, 240, instant("2027-03-31 20:00"), instant("2027-04-01 04:00"))
    assert periods(counted) == {"03-01 00:00": [0, 120], "04-01 00:00": [0, 120]}
    assert len(counted.hours) == 8


def test_a_period_ends_at_midnight_of_the_operators_zone():
    counted = usage("America/Mexico_City", day=15)
    counted.add(1, 7, 0, 100, instant("2027-06-15 05:50"), instant("2027-06-15 06:10"))
    assert periods(counted) == {"05-15 06:00": [0, 50], "06-15 06:00": [0, 50]}


def test_a_period_may_end_within_an_hour():
    counted = usage("Asia/Kathmandu")  # 5:45 ahead of UTC
    counted.add(1, 7, 0, 600, instant("2027-04-30 18:10"), instant("2027-04-30 18:20"))
    assert hours(counted) == {"04-30 18": [0, 600]}
    assert periods(counted) == {"03-31 18:15": [0, 300], "04-30 18:15": [0, 300]}


def test_what_grew_in_a_year_is_put_into_the_last_two_months():
    counted = usage()
    counted.add(1, 7, 0, 10**12, instant("2026-03-05 10:00"), instant("2027-03-05 10:00"))
    assert len(counted.hours) == 62 * 24
    assert sum(sums[1] for sums in counted.hours.values()) == 10**12


@pytest.mark.parametrize("boundary", ["2027-04-01 00:00", "2027-04-02 07:00"])
def test_growth_that_ends_on_the_hour_belongs_to_the_hour_before(boundary):
    counted = usage()
    counted.add(1, 7, 5, 6, instant(boundary) - 60, instant(boundary))
    assert list(counted.hours) == [(7, int(instant(boundary)) // HOUR - 1, 1)]


@given(
    octets_in=st.integers(0, 1 << 56),
    octets_out=st.integers(0, 1 << 56),
    since=st.floats(1_700_000_000, 1_710_000_000),
    length=st.floats(0, 40 * 86_400),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
    day=st.integers(1, 31),
)
def test_the_pieces_add_up_to_the_growth(octets_in, octets_out, since, length, zone, day):
    counted = usage(zone, day)
    counted.add(1, 7, octets_in, octets_out, since, since + length)
    for pieces in (counted.hours, counted.periods):
        assert all(part >= 0 for sums in pieces.values() for part in sums)
        assert [sum(column) for column in zip(*pieces.values(), strict=True)][:2] == [octets_in, octets_out]
    for _, begin, end, _ in counted.periods:
        assert begin <= since + length
        assert end > since
    for _, hour, _ in counted.hours:
        assert since // HOUR <= hour <= (since + length) // HOUR
