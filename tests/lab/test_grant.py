"""How RouterOS reads the attributes of an Accept."""

import pytest

from core.rates import Burst, RateLimit
from lab.grant import BadGrant, parse_rate_limit


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("128k", RateLimit(128_000, 128_000)),
        ("64k/128M", RateLimit(download=128_000_000, upload=64_000)),
        ("64k 256k", RateLimit(64_000, 64_000, Burst(256_000, 256_000, 64_000, 64_000, 1))),
        ("64k/64k 256k/256k 128k/128k 10/10", RateLimit(64_000, 64_000, Burst(256_000, 256_000, 128_000, 128_000, 10))),
        (
            "5000000/6000000 0/0 0/0 0/0 5 4000000/5000000",
            RateLimit(6_000_000, 5_000_000, None, 5, 5_000_000, 4_000_000),
        ),
    ],
)
def test_rate_limits_are_read_upload_first(written: str, rate: RateLimit) -> None:
    assert parse_rate_limit(written) == rate


@pytest.mark.parametrize(
    "written", ["", "fast", "1.5M", "1G", "5M/", "5M/10M 0/0 0/0 0/0 9", "1M/1M 0/0 0/0 0/0 8 2M/2M", "5M  10M"]
)
def test_what_routeros_is_not_known_to_read_is_refused(written: str) -> None:
    with pytest.raises(BadGrant):
        parse_rate_limit(written)
