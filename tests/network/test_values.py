"""How RouterOS writes lengths of time, rates, pairs and versions."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rates import Burst, RateLimit
from network.values import (
    NotAValue,
    Pair,
    format_duration,
    format_pair,
    parse_counters,
    parse_duration,
    parse_pair,
    parse_rate,
    rate_of_queue,
)
from network.version import UNKNOWN, Version, parse_version


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("3w4d12h23m12s", timedelta(weeks=3, days=4, hours=12, minutes=23, seconds=12)),
        ("22m21s", timedelta(minutes=22, seconds=21)),
        ("1d02:15:30", timedelta(days=1, hours=2, minutes=15, seconds=30)),
        ("00:05:00", timedelta(minutes=5)),
        ("12ms345us", timedelta(milliseconds=12, microseconds=345)),
        ("0s", timedelta()),
        ("300", timedelta(seconds=300)),
        ("00:00:01.500", timedelta(seconds=1.5)),
        ("-5s", timedelta(seconds=-5)),
        ("never", None),
        ("none", None),
        ("", None),
    ],
)
def test_lengths_of_time_are_read_in_every_spelling(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["soon", "5x", "1h-2m", "::", "1:2", "5s5", "9" * 40 + "w", "٣s٣"])
def test_what_is_no_length_of_time_is_none(text):
    with pytest.raises(NotAValue):
        parse_duration(text)


@given(st.timedeltas(timedelta(), timedelta(days=3000)))
def test_a_length_of_time_survives_being_written(length):
    whole = timedelta(seconds=int(length.total_seconds()))
    assert parse_duration(format_duration(length)) == whole


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("10M/10M", (10_000_000, 10_000_000)),
        ("10240k/10240k", (10_240_000, 10_240_000)),
        ("5000000/40000000", (5_000_000, 40_000_000)),
        ("512K/2m", (512_000, 2_000_000)),
        ("1.5M/1G", (1_500_000, 1_000_000_000)),
        ("8M", (8_000_000, 8_000_000)),
        ("0/0", (0, 0)),
        ("0bps/3kbps", (0, 3_000)),
    ],
)
def test_pairs_of_rates_have_the_upload_first(text, pair):
    assert parse_pair(text) == Pair(upload=pair[0], download=pair[1])


@pytest.mark.parametrize("text", ["", "/", "10M/", "fast/slow", "-1/5", "1e3/5", "5 M/5 M", "1/2/3", "٣/٣", "9" * 30])
def test_what_is_no_pair_of_rates_is_none(text):
    with pytest.raises(NotAValue):
        parse_pair(text)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_pair_survives_being_written(upload, download):
    assert parse_pair(format_pair(upload, download)) == (upload, download)


def test_whole_units_are_written_short():
    assert format_pair(1_500_000, 20_000_000) == "1500k/20M"
    assert parse_rate("1500k") == 1_500_000


def test_counters_are_whole_numbers():
    assert parse_counters("1/18446744073709551615") == Pair(1, 18_446_744_073_709_551_615)
    for text in ("", "5", "5/", "5k/6", "-1/0"):
        with pytest.raises(NotAValue):
            parse_counters(text)


@pytest.mark.parametrize(
    ("row", "rate"),
    [
        ({"max-limit": "5M/20M", "priority": "8/8", "burst-limit": "0/0"}, RateLimit(20_000_000, 5_000_000)),
        ({"max-limit": "0/0", "burst-limit": "0/0"}, None),
        ({"name": "no limit at all"}, None),
        ({"max-limit": "0/10M"}, RateLimit(10_000_000, 0)),
        (
            {
                "max-limit": "1M/4M",
                "limit-at": "256k/512k",
                "burst-limit": "2M/8M",
                "burst-threshold": "750k/3M",
                "burst-time": "8s/16s",
                "priority": "5/5",
            },
            RateLimit(
                download=4_000_000,
                upload=1_000_000,
                burst=Burst(8_000_000, 2_000_000, 3_000_000, 750_000, 16),
                priority=5,
                minimum_download=512_000,
                minimum_upload=256_000,
            ),
        ),
    ],
)
def test_the_rate_of_a_queue_is_the_subscribers(row, rate):
    assert rate_of_queue(row) == rate


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("7.14.3 (stable)", (7, 14, 3)),
        ("6.49.10 (long-term)", (6, 49, 10)),
        ("7.16rc1 (testing)", (7, 16, 0)),
        ("7.1beta6", (7, 1, 0)),
        ("7", (7, 0, 0)),
        ("", UNKNOWN),
        ("beta", UNKNOWN),
        ("99999999999.1", (0, 1, 0)),
    ],
)
def test_versions_are_read_with_whatever_follows(text, version):
    assert parse_version(text) == version


def test_versions_are_compared_by_number():
    assert Version(7, 9) < Version(7, 15) < Version(7, 15, 1)
    assert str(Version(7, 15, 1)) == "7.15.1"
