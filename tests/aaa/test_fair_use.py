from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.authorize import authorize, changes_at
from aaa.decision import Accept, Reason
from aaa.facts import AccessMethod, CapAction, DataCap, Plan, Policy, Service, ServiceState, Span, Step, UsedIn
from aaa.fair_use import (
    BonusHours,
    PastPeriod,
    Rung,
    crossed,
    free_octets,
    meet,
    rolled_over,
    slowed,
    span_of,
    weight_at,
    weights,
)
from core.rates import RateLimit

GB, M = 10**9, 10**6
NOW = datetime(2027, 3, 10, 15, tzinfo=UTC)
POLICY = Policy(1, "ISP", ZoneInfo("UTC"))
STEPS = (
    Step(Span.MONTH, 50 * GB, RateLimit(10 * M, 2 * M)),
    Step(Span.MONTH, 80 * GB, RateLimit(5 * M, 1 * M)),
    Step(Span.DAY, 5 * GB, RateLimit(4 * M, 3 * M)),
    Step(Span.WEEK, 20 * GB, RateLimit(8 * M, 2 * M)),
)
PLAN = Plan(
    1, "Home", RateLimit(20 * M, 5 * M), steps=STEPS, cap=DataCap(100 * GB, CapAction.THROTTLE, RateLimit(M, M))
)
ENDS = NOW + timedelta(days=20)
TONIGHT, SUNDAY = NOW + timedelta(hours=9), NOW + timedelta(days=4)


def using(month=0, day=0, week=0, extra=0) -> Service:
    return Service(
        1,
        1,
        AccessMethod.PPPOE,
        "ana",
        ServiceState.ACTIVE,
        PLAN,
        used_octets=month,
        extra_octets=extra,
        period_ends=ENDS,
        used_today=UsedIn(day, TONIGHT),
        used_this_week=UsedIn(week, SUNDAY),
    )


def rate(service: Service, now: datetime = NOW) -> tuple[int, int]:
    decision = authorize(service, POLICY, now)
    assert isinstance(decision, Accept)
    return decision.terms.rate.download // M, decision.terms.rate.upload // M


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        pytest.param(using(50 * GB - 1, 5 * GB - 1, 20 * GB - 1), (20, 5), id="an octet below each"),
        pytest.param(using(50 * GB), (10, 2), id="the first step"),
        pytest.param(using(80 * GB), (5, 1), id="the second"),
        pytest.param(using(100 * GB), (1, 1), id="the cap"),
        pytest.param(using(0, 5 * GB), (4, 3), id="a day"),
        pytest.param(using(80 * GB, 5 * GB), (4, 1), id="the slowest, each direction by itself"),
        pytest.param(using(0, 0, 20 * GB), (8, 2), id="a week"),
        pytest.param(using(80 * GB, extra=30 * GB), (10, 2), id="what was bought lifts a step"),
        pytest.param(using(80 * GB, extra=31 * GB), (20, 5), id="and the next"),
        pytest.param(using(0, 5 * GB, extra=30 * GB), (4, 3), id="but no day"),
    ],
)
def test_steps_slow_down_and_what_is_bought_lifts_those_of_the_period(service, expected):
    assert rate(service) == expected


def test_each_step_ends_with_its_span_and_the_clock_alone_tells_so():
    service = using(50 * GB, 5 * GB)
    assert changes_at(service, POLICY, NOW) == TONIGHT
    assert rate(service, TONIGHT) == (10, 2)
    assert changes_at(service, POLICY, TONIGHT) == ENDS
    assert rate(service, ENDS) == (20, 5)
    assert authorize(service, POLICY, NOW).reason is Reason.FAIR_USE


octets = st.integers(0, 120 * GB)


@given(octets, octets, octets, octets, octets, octets, st.lists(st.sampled_from(STEPS), max_size=4))
def test_more_use_never_gives_a_better_rate_and_more_allowance_never_a_worse(
    month, day, week, more, less, extra, steps
):
    plan = replace(PLAN, steps=tuple(steps))
    one = replace(using(month, day, week, extra), plan=plan)
    heavier = replace(using(month + more, day + more, week + less, extra), plan=plan)
    richer = replace(one, extra_octets=extra + more)
    assert all(mine >= theirs for mine, theirs in zip(rate(one), rate(heavier), strict=True))
    assert all(mine <= theirs for mine, theirs in zip(rate(one), rate(richer), strict=True))


rates = st.builds(RateLimit, st.integers(1, 9), st.integers(1, 9))


@given(rates, st.lists(rates))
def test_the_slowest_rate_does_not_depend_on_the_order(base, limits):
    found = slowed(base, limits)
    assert found == slowed(base, list(reversed(limits)))
    assert found.download == min(one.download for one in [base, *limits])


def test_a_free_night_runs_past_midnight_and_the_freest_of_two_holds():
    table = weights(
        [BonusHours(frozenset({7}), 22, 6, 50), BonusHours(frozenset({1}), 5, 7, 0), BonusHours(frozenset({3}), 0, 24)]
    )
    zone = ZoneInfo("America/Mexico_City")  # six hours behind
    for at, percent in (
        ("2027-03-08T03:59", 100),  # Sunday, 21:59
        ("2027-03-08T04:00", 50),
        ("2027-03-08T11:30", 0),  # Monday, 5:30, in both
        ("2027-03-08T13:00", 100),
        ("2027-03-10T06:00", 0),  # all of Wednesday
        ("2027-03-11T06:00", 100),
    ):
        assert weight_at(table, datetime.fromisoformat(at).replace(tzinfo=UTC), zone) == percent
    assert [free_octets(1001, percent) for percent in (0, 50, 100)] == [1001, 500, 0]


def test_days_and_weeks_are_the_operators():
    zone = ZoneInfo("America/Mexico_City")
    now = datetime(2027, 3, 8, 3, tzinfo=UTC)  # Sunday evening there
    assert span_of(Span.DAY, now, zone) == (datetime(2027, 3, 7, 6, tzinfo=UTC), datetime(2027, 3, 8, 6, tzinfo=UTC))
    assert span_of(Span.WEEK, now, zone)[0] == datetime(2027, 3, 1, 6, tzinfo=UTC)
    assert span_of(Span.WEEK, now + timedelta(hours=3), zone)[0] == datetime(2027, 3, 8, 6, tzinfo=UTC)


def month(number: int, used: int, cap: int | None = 100) -> PastPeriod:
    ends = datetime(2027 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return PastPeriod(datetime(2027, number, 1, tzinfo=UTC), ends, used, cap)


JUNE = datetime(2027, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("past", "periods", "most", "expected"),
    [
        pytest.param([month(5, 30)], 1, None, 70, id="what is left"),
        pytest.param([month(5, 130)], 1, None, 0, id="no debt rolls over"),
        pytest.param([month(5, 30)], 0, None, 0, id="not where the plan has none"),
        pytest.param([month(5, 30)], 1, 50, 50, id="at the most"),
        pytest.param([month(4, 30), month(5, 100)], 1, None, 0, id="one period only"),
        pytest.param([month(4, 30), month(5, 100)], 2, None, 70, id="two periods"),
        pytest.param([month(4, 30), month(5, 150)], 2, None, 20, id="used up by what went beyond"),
        pytest.param([month(3, 90), month(4, 30), month(5, 115)], 3, None, 65, id="the oldest first"),
        pytest.param([month(4, 30, None), month(5, 60, None)], 3, None, 0, id="no cap then"),
        pytest.param([month(4, 30)], 1, None, 100, id="a month without use leaves all of it"),
        pytest.param([], 3, None, 0, id="nothing before"),
    ],
)
def test_what_is_left_rolls_over(past, periods, most, expected):
    assert rolled_over(past, JUNE, periods, most) == expected


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 4), st.integers(0, 300))
def test_never_more_rolls_over_than_the_periods_allowed(used, periods, most):
    past = [month(number + 1, octets) for number, octets in enumerate(used)]
    begins = past[-1].ends if past else JUNE
    assert 0 <= rolled_over(past, begins, periods, most) <= min(most, 100 * min(periods, len(used)))


def test_a_crossing_is_told_once():
    assert [crossed((10, 20), *step) for step in ((0, 9), (9, 10), (10, 19), (5, 25), (20, 30))] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_simulation_tells_the_first_day_and_the_days_of_each_rung():
    first = date(2027, 3, 1)  # a Monday
    daily = [(first + timedelta(days=number), (6 if number == 8 else 2) * GB) for number in range(31)]
    rungs = (
        Rung(Span.MONTH, 50 * GB, RateLimit(M, M)),
        Rung(Span.DAY, 5 * GB, RateLimit(M, M)),
        Rung(Span.WEEK, 16 * GB, RateLimit(M, M)),
        Rung(Span.MONTH, 500 * GB, None),
    )
    hit = meet(7, daily, rungs)
    assert hit.octets == 66 * GB
    assert hit.first == (date(2027, 3, 23), date(2027, 3, 9), date(2027, 3, 13), None)
    assert hit.days == (9, 1, 2, 0)
