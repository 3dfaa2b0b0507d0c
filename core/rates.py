"""Rate limits, in whole bits per second, from the subscriber's point of view.

`download` is what reaches the subscriber. RouterOS writes the pair the other way round, because it looks from the
router (rx is what the client sends); only `radius.mikrotik` knows that.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """RouterOS burst: above the limit while the average over `seconds` stays below the threshold.

    `seconds` is the averaging window, not the length of the burst (RouterOS manual, Queue Burst).
    """

    download: int
    upload: int
    threshold_download: int
    threshold_upload: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a service may use, in bit/s.

    `priority` is RouterOS's, 1 is served first and 8 last. `minimum_*` is the guaranteed rate (limit-at); it may
    not exceed the limit.
    """

    download: int
    upload: int
    burst: Burst | None = None
    priority: int | None = None
    minimum_download: int | None = None
    minimum_upload: int | None = None


def format_rate(bits_per_second: int) -> str:
    """Return a rate as people write it: `20 Mbit/s`, `512 kbit/s`, `1.5 Mbit/s`."""
    for size, unit in ((1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")):
        if bits_per_second >= size:
            return f"{bits_per_second / size:g} {unit}"
    return f"{bits_per_second} bit/s"
