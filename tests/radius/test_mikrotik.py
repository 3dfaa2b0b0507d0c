import pytest
from hypothesis import given

from core.rates import Burst, RateLimit
from radius.mikrotik import NotARateLimit, mikrotik_rate_limit, parse_rate_limit, same_rate
from tests.radius.facts import rates


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (RateLimit(40_000_000, 5_000_000), "5M/40M"),
        (RateLimit(1_000_000, 100_000), "100k/1M"),
        (RateLimit(1_500_000, 512_000), "512k/1500k"),
        (RateLimit(1_234_567, 1), "1/1234567"),
        (
            RateLimit(256_000, 64_000, Burst(512_000, 256_000, 192_000, 48_000, 8)),
            "64k/256k 256k/512k 48k/192k 8/8",
        ),
        (RateLimit(5_000_000, 5_000_000, priority=5), "5M/5M 0/0 0/0 0/0 5"),
        (RateLimit(5_000_000, 5_000_000, None, None, 1_000_000, 500_000), "5M/5M 0/0 0/0 0/0 8 500k/1M"),
    ],
)
def test_the_router_reads_upload_before_download(rate, text):
    assert mikrotik_rate_limit(rate) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("128k", RateLimit(128_000, 128_000)),
        ("64k/128M", RateLimit(128_000_000, 64_000)),
        ("64k 256k", RateLimit(64_000, 64_000, Burst(256_000, 256_000, 64_000, 64_000, 1))),
        (
            "512K/1024K 1M/2M 256K/512K 32/32 5",
            RateLimit(1_024_000, 512_000, Burst(2_000_000, 1_000_000, 512_000, 256_000, 32), 5),
        ),
    ],
)
def test_what_other_servers_write_is_read_as_routeros_does(text, rate):
    assert parse_rate_limit(text) == rate


@given(rates)
def test_a_rate_is_read_back_as_it_was_written(rate):
    again = parse_rate_limit(mikrotik_rate_limit(rate))
    assert (again.download, again.upload, again.burst) == (rate.download, rate.upload, rate.burst)
    assert same_rate(mikrotik_rate_limit(rate), mikrotik_rate_limit(again))


@pytest.mark.parametrize("text", ["", "fast", "1.5M/2M", "1/2/3", "-1/2", "1 2 3 4 5 6 7"])
def test_other_text_is_refused(text):
    with pytest.raises(NotARateLimit):
        parse_rate_limit(text)
