"""Whether a line reaches the speed that was sold, by the counters of its router while somebody downloads.

Nothing is sent through the line: a test of ours would measure the way to us. The technician begins a speed test on the
subscriber's device, and the router counts what goes through. Where hardly anything did, nothing is claimed.
"""

import time
from dataclasses import dataclass

from network.api import RouterApi
from network.monitoring.live import Line, places
from network.values import NotAValue, Pair

STEPS = 5
APART = 1.0
"""The counters are read so many times more, so many seconds apart."""
REACHED = 0.8
"""Of the rate that was sold: overhead, and the second in which a download begins, take the rest."""
IDLE = 0.1
"""Below this share of it nobody was downloading, and nothing can be said."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The highest rates of one interval, in bit/s."""

    download: int
    upload: int

    def judged(self, sold: int) -> str:
        """Return reached, short or idle, against a download rate in bit/s."""
        if self.download >= sold * REACHED:
            return "reached"
        return "short" if self.download >= sold * IDLE else "idle"


def measure(router: RouterApi, line: Line) -> Measured | None:
    """Watch a line's counters for some seconds; None where the router has none of it. Raises RouterProblem."""
    before, at = _counters(router, line), time.monotonic()
    if before is None:
        return None
    download = upload = 0
    for _step in range(STEPS):
        time.sleep(APART)
        now, instant = _counters(router, line), time.monotonic()
        if now is None:
            return None
        passed = instant - at
        # Counters begin anew when a session does; a rate below zero is none.
        download = max(download, round(8 * (now.download - before.download) / passed))
        upload = max(upload, round(8 * (now.upload - before.upload) / passed))
        before, at = now, instant
    return Measured(download, upload)


def _counters(router: RouterApi, line: Line) -> Pair | None:
    for place in places(line):
        for row in router.rows(place.path, *place.fields, **place.equals):
            try:
                found = place.read(row)
            except (ValueError, NotAValue):
                continue
            if found is not None:
                return found
    return None
