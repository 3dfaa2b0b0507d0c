import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from network.monitoring.sample import Counters, RadiusCounters, Rate, Reading, sample

NOON = datetime(2027, 3, 14, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def reading(minutes: float, received: int = 0, sent: int = 0, **values) -> Reading:
    at = NOON + minutes * MINUTE
    defaults = {"uptime": timedelta(days=3) + minutes * MINUTE, "interfaces": {"ether1": Counters(received, sent)}}
    return Reading(at=at, **{**defaults, **values})


def test_a_rate_is_what_was_counted_between_two_readings():
    taken = sample(reading(0, 1_000, 500), reading(1, 7_501_000, 750_500), "ether1")
    assert taken.interfaces == {"ether1": Rate(1_000_000.0, 100_000.0)}
    assert (taken.wan_download, taken.wan_upload) == (1_000_000.0, 100_000.0)


def test_the_first_reading_has_no_rate_and_is_not_zero():
    taken = sample(None, reading(0, 1_000, cpu=17.0), "ether1")
    assert (taken.wan_download, taken.cpu) == (None, 17.0)


def test_a_counter_that_went_back_is_a_gap():
    assert sample(reading(0, 4_294_967_000), reading(1, 5_000), "ether1").interfaces == {}


def test_a_reboot_is_a_gap_even_when_the_counter_has_passed_its_old_value():
    rebooted = reading(1, 900_000_000, uptime=timedelta(seconds=40))
    taken = sample(reading(0, 1_000, radius=RadiusCounters(5)), replace(rebooted, radius=RadiusCounters(9)), "ether1")
    assert (taken.wan_download, taken.radius_requests) == (None, None)


def test_readings_an_hour_apart_are_a_gap():
    assert sample(reading(0, 0), reading(60, 10**9), "ether1").wan_download is None


def test_an_interface_that_is_new_or_gone_is_left_out():
    before = reading(0, interfaces={"ether1": Counters(0, 0), "ether2": Counters(0, 0)})
    now = reading(1, interfaces={"ether1": Counters(60, 0), "ether3": Counters(10**12, 0)})
    assert sample(before, now, "ether2").interfaces == {"ether1": Rate(8.0, 0.0)}


def test_a_rate_no_router_has_is_a_gap():
    assert sample(reading(0, 0), reading(1, 2**63), "ether1").interfaces == {}


def test_memory_is_the_share_in_use():
    assert sample(None, reading(0, memory_free=64, memory_total=256), None).memory == 75.0
    assert sample(None, reading(0, memory_free=None, memory_total=256), None).memory is None


def test_radius_counters_count_what_is_new():
    before = reading(0, radius=RadiusCounters(100, 80, 10, 2, 3, 1))
    taken = sample(before, reading(1, radius=RadiusCounters(130, 100, 15, 2, 8, 2)), None)
    assert (taken.radius_requests, taken.radius_rejects) == (30, 5)
    assert (taken.radius_timeouts, taken.radius_bad_replies) == (5, 1)
    assert sample(before, reading(1, radius=RadiusCounters(5)), None).radius_requests is None


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), min_size=2, max_size=20))
def test_whatever_the_counters_do_no_rate_is_negative_or_above_what_was_counted(counted):
    readings = [reading(number, received, sent) for number, (received, sent) in enumerate(counted)]
    for before, now in itertools.pairwise(readings):
        taken = sample(before, now, "ether1")
        if taken.wan_download is not None:
            assert 0 <= taken.wan_download <= now.interfaces["ether1"].received * 8 / 60
