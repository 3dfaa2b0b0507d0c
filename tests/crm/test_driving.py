from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.driving import Visit, driving_order, kilometres

MORNING = datetime(2027, 6, 1, 9, tzinfo=UTC)


def visit(number: int, along: float | None, hours: tuple[int, int] | None = None, *, begun: bool = False) -> Visit:
    """A visit on a straight road, so many degrees along it, with a window in hours after nine."""
    start, end = (MORNING + timedelta(hours=hour) for hour in hours) if hours else (None, None)
    return Visit(number, None if along is None else (19.0, along), start, end, begun)


@pytest.mark.parametrize(
    ("visits", "order"),
    [
        pytest.param([], [], id="a day off"),
        pytest.param([visit(1, 3, (0, 8)), visit(2, 9, (0, 8)), visit(3, 4, (0, 8))], [1, 3, 2], id="the nearest next"),
        pytest.param([visit(1, 0, (0, 2)), visit(2, 1, (4, 6)), visit(3, 9, (2, 4))], [1, 3, 2], id="windows first"),
        pytest.param([visit(1, 0, (2, 4)), visit(2, 9, (0, 8))], [2, 1], id="whose window begins first is first"),
        pytest.param([visit(1, 0, (0, 2)), visit(2, 5, begun=True)], [2, 1], id="the one in work goes on"),
        pytest.param([visit(1, 0, (0, 8)), visit(2, 2, (0, 8)), visit(3, 1)], [1, 3, 2], id="no window fits anywhere"),
        pytest.param([visit(1, 0, (0, 2)), visit(2, None, (2, 4)), visit(3, 1, (4, 6))], [1, 2, 3], id="no place"),
    ],
)
def test_the_route(visits, order):
    assert [one.id for one in driving_order(visits)] == order


places = st.one_of(st.none(), st.floats(-179, 179))
windows = st.one_of(st.none(), st.tuples(st.integers(0, 8), st.integers(1, 4)).map(lambda two: (two[0], sum(two))))


@given(st.lists(st.tuples(places, windows), max_size=8))
def test_everybody_is_visited_once_and_nobody_after_a_window_that_follows(stops):
    visits = [visit(number, along, hours) for number, (along, hours) in enumerate(stops)]
    route = driving_order(visits)
    assert sorted(one.id for one in route) == [one.id for one in visits]
    for place, earlier in enumerate(route):
        for later in route[place + 1 :]:
            overtaken = later.end is not None and earlier.start is not None and later.end <= earlier.start
            assert not overtaken


def test_a_degree_of_the_equator_is_111_kilometres():
    assert kilometres((0.0, 0.0), (0.0, 1.0)) == pytest.approx(111.2, abs=0.1)
