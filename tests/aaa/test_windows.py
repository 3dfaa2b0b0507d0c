from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from aaa.facts import TimeWindow
from aaa.windows import active_window, next_boundary
from core.rates import RateLimit

SANTIAGO = ZoneInfo("America/Santiago")
RATE = RateLimit(1, 1)
WINDOWS = st.lists(
    st.builds(
        TimeWindow,
        st.frozensets(st.integers(1, 7), min_size=1),
        st.times(timezones=st.none()).map(lambda moment: moment.replace(second=0, microsecond=0)),
        st.times(timezones=st.none()).map(lambda moment: moment.replace(second=0, microsecond=0)),
        st.just(RATE),
    ),
    max_size=3,
).map(tuple)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


def test_a_window_past_midnight_belongs_to_the_day_it_begins_on():
    friday_night = TimeWindow(frozenset({5}), time(22), time(6), RATE)
    saturday_four = datetime(2027, 3, 13, 4, tzinfo=SANTIAGO)
    friday_four = saturday_four - timedelta(days=1)
    assert active_window((friday_night,), saturday_four, SANTIAGO) is friday_night
    assert active_window((friday_night,), friday_four, SANTIAGO) is None


def test_a_window_of_equal_ends_lasts_the_whole_day():
    sunday = TimeWindow(frozenset({7}), time(0), time(0), RATE)
    assert active_window((sunday,), datetime(2027, 3, 14, 23, 59, tzinfo=SANTIAGO), SANTIAGO) is sunday
    assert active_window((sunday,), datetime(2027, 3, 15, 0, 0, tzinfo=SANTIAGO), SANTIAGO) is None


@given(WINDOWS, INSTANTS, st.floats(0, 0.999))
def test_nothing_changes_before_the_next_boundary(windows, now, part):
    boundary = next_boundary(windows, now, ZoneInfo("America/Bogota"))
    if boundary is not None:
        between = now + (boundary - now) * part
        zone = ZoneInfo("America/Bogota")
        assert active_window(windows, between, zone) == active_window(windows, now, zone)
