from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cycles import (
    Cycle,
    Period,
    Timing,
    due_on,
    issue_on,
    month_start,
    months_in,
    next_month_start,
    period_from,
)

DAYS = st.dates(date(2024, 1, 1), date(2032, 12, 31))
ANCHORS = st.integers(1, 31)


def periods(cycle: Cycle, count: int) -> list[Period]:
    found, first = [], cycle.started_on
    for _ in range(count):
        found.append(period_from(first, cycle))
        first = found[-1].last + timedelta(days=1)
    return found


def test_anchor_day_31_survives_february():
    january, february, march = periods(Cycle(31, date(2027, 1, 31)), 3)
    assert january == Period(date(2027, 1, 31), date(2027, 2, 27))
    assert february == Period(date(2027, 2, 28), date(2027, 3, 30))
    assert march == Period(date(2027, 3, 31), date(2027, 4, 29))


def test_a_leap_year_has_its_29th():
    found = periods(Cycle(30, date(2028, 1, 30)), 3)
    assert [period.first for period in found] == [date(2028, 1, 30), date(2028, 2, 29), date(2028, 3, 30)]


def test_a_service_that_begins_within_a_month_is_billed_to_its_end_first():
    found = periods(Cycle(5, date(2027, 3, 18)), 2)
    assert found == [Period(date(2027, 3, 18), date(2027, 4, 4)), Period(date(2027, 4, 5), date(2027, 5, 4))]


def test_several_months_at_once_follow_the_short_first_period():
    found = periods(Cycle(5, date(2027, 3, 18), months=6), 2)
    assert found == [Period(date(2027, 3, 18), date(2027, 4, 4)), Period(date(2027, 4, 5), date(2027, 10, 4))]


@given(DAYS, ANCHORS, st.integers(1, 12))
def test_periods_leave_no_gap_and_no_overlap(started_on, anchor_day, months):
    found = periods(Cycle(anchor_day, started_on, months), 30)
    for this, following in pairwise(found):
        assert following.first == this.last + timedelta(days=1)
        assert this.days > 0
    for period in found[1:]:
        assert month_start(period.first, anchor_day) == period.first
        assert months_in(period, anchor_day) == months


@given(DAYS, ANCHORS)
def test_a_day_is_in_the_month_that_holds_it(day, anchor_day):
    begin, end = month_start(day, anchor_day), next_month_start(day, anchor_day)
    assert begin <= day < end
    assert 28 <= (end - begin).days <= 31
    assert month_start(end, anchor_day) == end
    assert month_start(end - timedelta(days=1), anchor_day) == begin


@given(DAYS, ANCHORS, st.integers(0, 400), st.integers(0, 400))
def test_two_parts_cost_what_the_whole_costs(first, anchor_day, one, two):
    middle = first + timedelta(days=one)
    whole = Period(first, middle + timedelta(days=two + 1))
    parts = Period(first, middle), Period(middle + timedelta(days=1), whole.last)
    assert sum(months_in(part, anchor_day) for part in parts) == months_in(whole, anchor_day)


def test_a_day_of_february_costs_more_than_one_of_march():
    assert months_in(Period(date(2027, 2, 1), date(2027, 2, 7)), 1) == Fraction(1, 4)
    assert months_in(Period(date(2027, 3, 1), date(2027, 3, 7)), 1) == Fraction(7, 31)


APRIL = Period(date(2027, 4, 5), date(2027, 5, 4))
FIRST = Period(date(2027, 3, 18), date(2027, 4, 4))
STARTED = date(2027, 3, 18)


@pytest.mark.parametrize(
    ("period", "cycle", "issued", "due"),
    [
        pytest.param(APRIL, Cycle(5, STARTED, issue_days=5), date(2027, 3, 31), date(2027, 4, 5), id="in advance"),
        pytest.param(
            APRIL, Cycle(5, STARTED, issue_days=5, due_days=10), date(2027, 4, 10), date(2027, 4, 15), id="ten days"
        ),
        pytest.param(
            FIRST, Cycle(5, STARTED, issue_days=5, first_due_days=7), STARTED, date(2027, 3, 25), id="the first one"
        ),
        pytest.param(FIRST, Cycle(5, STARTED, first_due_days=7), STARTED, date(2027, 3, 25), id="the first, at once"),
        pytest.param(
            APRIL, Cycle(5, STARTED, timing=Timing.ARREARS, issue_days=5), date(2027, 5, 5), date(2027, 5, 5),
            id="in arrears not before the end",
        ),
        pytest.param(
            APRIL, Cycle(5, STARTED, timing=Timing.ARREARS, issue_days=5, due_days=10), date(2027, 5, 10),
            date(2027, 5, 15), id="in arrears",
        ),
    ],
)  # fmt: skip
def test_when_an_invoice_is_made_and_due(period, cycle, issued, due):
    assert (issue_on(period, cycle), due_on(period, cycle)) == (issued, due)
