from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.quota import billing_period

ZONES = st.sampled_from([ZoneInfo("America/Mexico_City"), ZoneInfo("America/Santiago"), ZoneInfo("UTC")])
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(st.integers(1, 31), INSTANTS, ZONES)
def test_every_instant_lies_in_its_period_and_the_next_begins_where_it_ends(day, now, zone):
    start, end = billing_period(day, now, zone)
    assert start <= now < end
    assert billing_period(day, end, zone)[0] == end
    assert billing_period(day, start, zone) == (start, end)


@pytest.mark.parametrize(
    ("day", "now", "start", "end"),
    [
        (5, "2027-03-04", "2027-02-05", "2027-03-05"),
        (5, "2027-03-05", "2027-03-05", "2027-04-05"),
        (31, "2027-02-28", "2027-02-28", "2027-03-31"),
        (31, "2027-02-27", "2027-01-31", "2027-02-28"),
        (30, "2028-02-29", "2028-02-29", "2028-03-30"),
        (1, "2027-12-31", "2027-12-01", "2028-01-01"),
    ],
)
def test_short_months_begin_on_their_last_day(day, now, start, end):
    utc = ZoneInfo("UTC")
    found = billing_period(day, datetime.fromisoformat(now).replace(tzinfo=UTC), utc)
    assert [instant.date().isoformat() for instant in found] == [start, end]
