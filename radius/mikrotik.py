"""RouterOS's own notation for rates.

`Mikrotik-Rate-Limit` (14988/8) is written from the router's point of view: the first of each pair is rx, what the
client sends (upload), the second tx (download). RouterOS manual, RADIUS Client; grammar and examples in its
section on Mikrotik-Rate-Limit.
"""

import re

from core.rates import Burst, RateLimit

_RATE = re.compile(r"(\d+)([kKmMgG]?)\Z")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


class NotARateLimit(ValueError):
    """The text does not follow the grammar of Mikrotik-Rate-Limit."""


def mikrotik_rate_limit(rate: RateLimit) -> str:
    """Return the value of Mikrotik-Rate-Limit: `rx/tx [burst [threshold [time [priority [minimum]]]]]`.

    Fields are positional, so whatever stands before a field that is wanted is written too; `0/0` is "no burst".
    """
    parts = [_pair(rate.upload, rate.download)]
    wants_minimum = rate.minimum_upload is not None or rate.minimum_download is not None
    if rate.burst or rate.priority is not None or wants_minimum:
        burst = rate.burst or Burst(0, 0, 0, 0, 0)
        parts += [
            _pair(burst.upload, burst.download),
            _pair(burst.threshold_upload, burst.threshold_download),
            f"{burst.seconds}/{burst.seconds}",
        ]
    if rate.priority is not None or wants_minimum:
        parts.append(str(rate.priority or 8))
    if wants_minimum:
        parts.append(_pair(rate.minimum_upload or 0, rate.minimum_download or 0))
    return " ".join(parts)


def parse_rate_limit(text: str) -> RateLimit:
    """Read a Mikrotik-Rate-Limit as RouterOS does, with its defaults for what is missing.

    Raises NotARateLimit.
    """
    fields = text.split()
    if not 1 <= len(fields) <= 6:
        raise NotARateLimit(text)
    upload, download = _read_pair(fields[0])
    burst = None
    if len(fields) > 1:
        burst_up, burst_down = _read_pair(fields[1])
        threshold_up, threshold_down = _read_pair(fields[2]) if len(fields) > 2 else (upload, download)
        seconds = _read_pair(fields[3])[0] if len(fields) > 3 else 1
        if burst_up or burst_down:
            burst = Burst(burst_down, burst_up, threshold_down, threshold_up, seconds)
    priority = int(_number(fields[4])) if len(fields) > 4 else None
    minimum_up, minimum_down = _read_pair(fields[5]) if len(fields) > 5 else (None, None)
    return RateLimit(download, upload, burst, priority, minimum_down, minimum_up)


def same_rate(left: str, right: str) -> bool:
    """Tell whether two Mikrotik-Rate-Limit texts mean the same rate; unreadable ones only when identical."""
    if left == right:
        return True
    try:
        one, other = parse_rate_limit(left), parse_rate_limit(right)
    except NotARateLimit:
        return False
    return (one.download, one.upload, one.burst) == (other.download, other.upload, other.burst)


def _pair(rx: int, tx: int) -> str:
    return f"{_short(rx)}/{_short(tx)}"


def _short(rate: int) -> str:
    """Write whole units only: RouterOS's reading of fractions and of G is not documented."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if rate and rate % size == 0:
            return f"{rate // size}{unit}"
    return str(rate)


def _read_pair(text: str) -> tuple[int, int]:
    rx, slash, tx = text.partition("/")
    return (_number(rx), _number(tx)) if slash else (_number(rx), _number(rx))


def _number(text: str) -> int:
    match = _RATE.match(text)
    if match is None:
        raise NotARateLimit(text)
    return int(match[1]) * _UNITS[match[2].lower()]
