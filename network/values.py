"""How RouterOS writes lengths of time, rates and pairs.

Pairs are written from the router's point of view: `max-limit=5M/20M` takes 5 Mbit/s from the subscriber (upload) and
gives 20 (download); `bytes=1/2` has the octets of the upload first. `core.rates.RateLimit` is the other way round.
"""

import re
from datetime import timedelta
from typing import NamedTuple

from core.rates import Burst, RateLimit

_RATE = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?([kKmMgG]?)(?:bps)?\Z", re.ASCII)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_CLOCK = re.compile(r"(\d+):(\d{2})(?::(\d{2}))?(?:\.(\d+))?\Z", re.ASCII)
_PARTS = re.compile(r"(\d+)(ms|us|ns|w|d|h|m|s)", re.ASCII)
_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LONGEST = 10**11


class NotAValue(ValueError):
    """The text is not what RouterOS writes for such a value."""


class Pair(NamedTuple):
    """Upload and download, in the order in which RouterOS writes them."""

    upload: int
    download: int

    def __str__(self) -> str:
        return f"{self.upload}/{self.download}"


def parse_duration(text: str) -> timedelta | None:
    """Read `3w4d12h23m12s`, `1d02:15:30`, `00:05:00`, `12ms345us`; None for `never`, `none` and nothing at all.

    Raises NotAValue.
    """
    rest = text.strip()
    if rest in ("", "never", "none"):
        return None
    sign = -1 if rest.startswith("-") else 1
    rest = whole = rest.removeprefix("-")
    seconds = 0.0
    while found := _PARTS.match(rest):
        seconds += int(found[1]) * _SECONDS[found[2]]
        rest = rest[found.end() :]
    if clock := _CLOCK.match(rest):
        seconds += int(clock[1]) * 3_600 + int(clock[2]) * 60 + int(clock[3] or 0) + float(f"0.{clock[4] or 0}")
    elif rest == whole and rest.isascii() and rest.isdigit():
        seconds = int(rest)
    elif rest:
        raise NotAValue(text)
    if seconds > _LONGEST:
        raise NotAValue(text)
    return timedelta(seconds=sign * seconds)


def format_duration(length: timedelta) -> str:
    """Return a length of time as RouterOS takes and shows it, `1d2h15m30s`; parts of a second are dropped."""
    seconds = int(length.total_seconds())
    parts = []
    for unit in ("w", "d", "h", "m", "s"):
        count, seconds = divmod(seconds, int(_SECONDS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_rate(text: str) -> int:
    """Read `10M`, `10240k`, `1.5M`, `2000000`, `5kbps` as bit/s. k is 1000. Raises NotAValue."""
    found = _RATE.match(text.strip())
    if found is None:
        raise NotAValue(text)
    size = _UNITS[found[3].lower()]
    fraction = (found[2] or "").ljust(6, "0")
    return int(found[1]) * size + int(fraction) * size // 1_000_000


def parse_pair(text: str) -> Pair:
    """Read a pair of rates: `10M/10M`, `512k/2M`; one alone stands for both. Raises NotAValue."""
    upload, slash, download = text.partition("/")
    first = parse_rate(upload)
    return Pair(first, parse_rate(download) if slash else first)


def parse_counters(text: str) -> Pair:
    """Read a pair of counters, such as `bytes` of a queue. Raises NotAValue."""
    upload, slash, download = text.partition("/")
    if not slash or not (upload + download).isascii() or not upload.isdigit() or not download.isdigit():
        raise NotAValue(text)
    return Pair(int(upload), int(download))


def format_pair(upload: int, download: int) -> str:
    """Return a pair of rates as RouterOS takes it, in whole units: `5M/20M`, `1500k/0`."""
    return f"{_short(upload)}/{_short(download)}"


def rate_of_queue(row: dict[str, str]) -> RateLimit | None:
    """Return the rate that a simple queue holds its targets to; None where it limits nothing (`0/0`).

    A direction that is 0 beside one that is not stays 0, which is unlimited to RouterOS. Raises NotAValue.
    """
    limit = parse_pair(row.get("max-limit", "0/0"))
    if limit == (0, 0):
        return None
    burst = parse_pair(row.get("burst-limit", "0/0"))
    threshold = parse_pair(row.get("burst-threshold", "0/0"))
    least = parse_pair(row.get("limit-at", "0/0"))
    priority = row.get("priority", "8/8").partition("/")[0]
    if not priority.isascii() or not priority.isdigit():
        raise NotAValue(priority)
    return RateLimit(
        download=limit.download,
        upload=limit.upload,
        burst=Burst(
            burst.download, burst.upload, threshold.download, threshold.upload, _seconds(row.get("burst-time", "0s/0s"))
        )
        if burst != (0, 0)
        else None,
        priority=int(priority) if int(priority) != 8 else None,
        minimum_download=least.download or None,
        minimum_upload=least.upload or None,
    )


def _seconds(text: str) -> int:
    """Return the longer of the two windows of `10s/10s`, in seconds: ours is the same in both directions."""
    windows = [parse_duration(part) or timedelta() for part in text.split("/")]
    return int(max(windows).total_seconds())


def _short(rate: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if rate and rate % size == 0:
            return f"{rate // size}{unit}"
    return str(rate)
