"""Promises in working time: at night, over weekends, holidays and the change of the clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.problems import Invalid
from crm.working_time import WorkingHours, always, parse_spans, spans_text

MEXICO, MADRID = ZoneInfo("America/Mexico_City"), ZoneInfo("Europe/Madrid")
WEEK = dict.fromkeys(range(1, 6), ((540, 1080),))
HOURS = WorkingHours(MEXICO, WEEK)


def at(text: str, zone: ZoneInfo = MEXICO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        pytest.param("2027-03-02T10:00", 2, "2027-03-02T12:00", id="within a day"),
        pytest.param("2027-03-02T07:00", 1, "2027-03-02T10:00", id="before opening"),
        pytest.param("2027-03-02T17:00", 4, "2027-03-03T12:00", id="over night"),
        pytest.param("2027-03-05T17:00", 4, "2027-03-08T12:00", id="from Friday to Monday"),
        pytest.param("2027-03-06T11:00", 1, "2027-03-08T10:00", id="on Saturday"),
        pytest.param("2027-03-02T09:00", 9, "2027-03-02T18:00", id="exactly until closing"),
    ],
)
def test_a_promise_ends_when_people_have_worked_that_long(start, hours, end):
    assert HOURS.after(at(start), timedelta(hours=hours)) == at(end)


def test_a_holiday_is_no_working_day():
    hours = WorkingHours(MEXICO, WEEK, lambda day: day == date(2027, 3, 15))
    assert hours.after(at("2027-03-12T17:00"), timedelta(hours=2)) == at("2027-03-16T10:00")


def test_a_pause_at_noon_is_no_working_time():
    hours = WorkingHours(MEXICO, {2: ((540, 780), (900, 1140))})
    assert hours.after(at("2027-03-02T12:00"), timedelta(hours=2)) == at("2027-03-02T16:00")


def test_the_night_in_which_the_clock_is_put_forward_has_an_hour_less():
    night = WorkingHours(MADRID, {7: ((0, 360),)})
    assert night.between(at("2027-03-28T00:00", MADRID), at("2027-03-28T06:00", MADRID)) == timedelta(hours=5)


def test_without_any_hours_time_passes_all_the_same():
    assert WorkingHours(MEXICO, {}).after(at("2027-03-02T10:00"), timedelta(hours=4)) == at("2027-03-02T14:00")


def test_what_cannot_wait_knows_no_night():
    assert always(MEXICO).after(at("2027-03-05T23:00"), timedelta(hours=4)) == at("2027-03-06T03:00")


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)), st.integers(0, 60 * 24 * 30))
def test_the_time_until_a_promise_ends_is_what_was_promised(start, minutes):
    promised = timedelta(minutes=minutes)
    assert HOURS.between(start, HOURS.after(start, promised)) == promised


def test_hours_are_read_as_people_write_them():
    spans = parse_spans("9-13, 15:30–19:00")
    assert spans == [(540, 780), (930, 1140)]
    assert spans_text(spans) == "09:00-13:00, 15:30-19:00"
    assert parse_spans("") == []
    assert parse_spans("0-24") == [(0, 1440)]


@pytest.mark.parametrize("text", ["18-9", "9", "9-13, 12-14", "9-25", "nine to five", "9:60-10", "-", "9:5-10"])
def test_what_are_no_hours_is_refused(text):
    with pytest.raises(Invalid):
        parse_spans(text)
