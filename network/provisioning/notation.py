"""RouterOS's notation for simple queues: pairs are `upload/download`, times `1d02:15:30`, `22m21s` or `10s`.

The API shows rates as plain bits, WinBox and scripts write `10M`; both are read. What cannot be read is a difference,
never an error: it is shown as it stands.
"""

import re

from core.rates import Burst, RateLimit

_RATE = re.compile(r"(\d+)([kKmMgG]?)\Z")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_SPAN = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z")
_CLOCK = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(\d+):(\d\d):(\d\d)\Z")

Pair = tuple[int, int]
"""Upload, download."""


def read_rates(text: str) -> Pair | None:
    """Read `10M/10M`; a single value counts for both. None: it cannot be read."""
    upload, slash, download = text.partition("/")
    pair = _rate(upload), _rate(download if slash else upload)
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


def read_spans(text: str) -> Pair | None:
    """Read `0s/0s` in seconds."""
    upload, slash, download = text.partition("/")
    pair = _span(upload), _span(download if slash else upload)
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


def read_priorities(text: str) -> Pair | None:
    """Read `8/8`, on old versions `8`."""
    upload, slash, download = text.partition("/")
    download = download if slash else upload
    return (int(upload), int(download)) if upload.isdecimal() and download.isdecimal() else None


def write_rates(upload: int, download: int) -> str:
    return f"{upload}/{download}"


def write_spans(seconds: int) -> str:
    return f"{seconds}s/{seconds}s"


def write_burst(burst: Burst | None) -> dict[str, str]:
    """Return the fields of a burst; all nought where there is none."""
    burst = burst or Burst(0, 0, 0, 0, 0)
    return {
        "burst-limit": write_rates(burst.upload, burst.download),
        "burst-threshold": write_rates(burst.threshold_upload, burst.threshold_download),
        "burst-time": write_spans(burst.seconds),
    }


def write_minimum(rate: RateLimit) -> str:
    return write_rates(rate.minimum_upload or 0, rate.minimum_download or 0)


def _rate(text: str) -> int | None:
    match = _RATE.match(text)
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _span(text: str) -> int | None:
    if text in ("", "none"):
        return 0
    match = _SPAN.match(text) or _CLOCK.match(text)
    if match is None:
        return None
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds
