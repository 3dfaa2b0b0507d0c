"""The day on which a cap is reached, as subscribers read it on their page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.forecast import CapFacts, cap_reached_at, lately_since

GB = 10**9
NOW = datetime(2027, 3, 15, 12, tzinfo=UTC)
BEGAN = datetime(2027, 3, 5, tzinfo=UTC)
ENDS = datetime(2027, 4, 5, tzinfo=UTC)
STEADY = CapFacts(used=60 * GB, cap=100 * GB, lately=70 * GB, since=NOW - timedelta(days=7), now=NOW, period_ends=ENDS)


@pytest.mark.parametrize(
    ("facts", "reached"),
    [
        pytest.param(STEADY, NOW + timedelta(days=4), id="ten a day leave four days"),
        pytest.param(replace(STEADY, used=100 * GB), NOW, id="used up"),
        pytest.param(replace(STEADY, used=130 * GB), NOW, id="more than used up"),
        pytest.param(replace(STEADY, lately=0), None, id="nothing used lately"),
        pytest.param(replace(STEADY, lately=7 * GB), None, id="lasts until the period ends"),
        pytest.param(replace(STEADY, since=NOW - timedelta(hours=5)), None, id="too young to tell"),
    ],
)
def test_the_pace_of_the_last_days_says_when_the_cap_is_reached(facts: CapFacts, reached: datetime | None) -> None:
    assert cap_reached_at(facts) == reached


def test_the_pace_is_of_seven_days_or_of_the_period_where_that_is_younger() -> None:
    assert lately_since(BEGAN, NOW) == NOW - timedelta(days=7)
    assert lately_since(NOW - timedelta(days=2), NOW) == NOW - timedelta(days=2)


@given(st.integers(0, 200 * GB), st.integers(0, 500 * GB), st.integers(0, 20 * GB))
def test_who_uses_more_never_lasts_longer(used: int, lately: int, more: int) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    earlier = cap_reached_at(replace(STEADY, used=used, lately=lately + more)) or last
    assert earlier <= (cap_reached_at(replace(STEADY, used=used, lately=lately)) or last)
    assert earlier == last or NOW <= earlier < ENDS
