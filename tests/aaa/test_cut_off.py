"""When somebody who has not paid is cut: the grace, a day given, the operator's hour, weekends and holidays."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.cut_off import EVERY_DAY, CutOffRule, holiday_choices

MEXICO = ZoneInfo("America/Mexico_City")  # six hours behind UTC, all year
RULE = CutOffRule(MEXICO)
WORKDAYS = frozenset({1, 2, 3, 4, 5})
THURSDAY = date(2027, 3, 11)


def at(day: date, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=MEXICO).astimezone(UTC)


@pytest.mark.parametrize(
    ("rule", "paid_until", "spared_until", "expected"),
    [
        pytest.param(RULE, THURSDAY, None, at(date(2027, 3, 12)), id="when the day is over"),
        pytest.param(replace(RULE, grace_days=2), THURSDAY, None, at(date(2027, 3, 14)), id="grace"),
        pytest.param(RULE, THURSDAY, date(2027, 3, 15), at(date(2027, 3, 16)), id="a day was given"),
        pytest.param(RULE, THURSDAY, date(2027, 3, 1), at(date(2027, 3, 12)), id="a day given that is over"),
        pytest.param(replace(RULE, hour=10), THURSDAY, None, at(date(2027, 3, 12), 10), id="at ten"),
        pytest.param(
            replace(RULE, weekdays=WORKDAYS), date(2027, 3, 12), None, at(date(2027, 3, 15)), id="not at weekends"
        ),
        pytest.param(
            replace(RULE, weekdays=WORKDAYS, country="MX", hour=9),
            date(2027, 3, 12),
            None,
            at(date(2027, 3, 16), 9),
            id="nor on Benito Juárez's birthday",
        ),
        pytest.param(
            replace(RULE, days_off=frozenset({date(2027, 3, 12)})),
            THURSDAY,
            None,
            at(date(2027, 3, 13)),
            id="nor when the town's fair is",
        ),
        pytest.param(
            replace(RULE, country="ES", subdivision="MD"), date(2027, 5, 2), None, at(date(2027, 5, 4)), id="Madrid"
        ),
        pytest.param(replace(RULE, country="ES"), date(2027, 5, 2), None, at(date(2027, 5, 3)), id="Spain"),
    ],
)
def test_the_instant_of_the_cut_off(rule, paid_until, spared_until, expected):
    assert rule.cut_off(paid_until, spared_until) == expected


RULES = st.builds(
    CutOffRule,
    zone=st.sampled_from([MEXICO, ZoneInfo("America/Asuncion"), ZoneInfo("Europe/Madrid"), ZoneInfo("Asia/Kolkata")]),
    grace_days=st.integers(0, 10),
    hour=st.integers(0, 23),
    weekdays=st.sets(st.integers(1, 7), min_size=1).map(frozenset),
    country=st.sampled_from([None, "MX"]),
)


@given(RULES, st.dates(date(2027, 1, 1), date(2027, 12, 31)), st.integers(-20, 40), st.integers(0, 48))
def test_one_day_tells_who_is_cut_by_now(rule, paid_until, days, hours):
    """Lists compare a day with `first_day_on()`; the decision on an access compares an instant. They agree."""
    now = at(paid_until) + timedelta(days=days, hours=hours)
    assert (rule.last_day_on(paid_until) < rule.first_day_on(now)) is (rule.cut_off(paid_until) <= now)


def test_holidays_of_many_countries_are_known():
    assert "JAL" in holiday_choices()["MX"] or holiday_choices()["MX"] == []
    assert "MD" in holiday_choices()["ES"]
    assert {1, 2, 3, 4, 5, 6, 7} == EVERY_DAY
