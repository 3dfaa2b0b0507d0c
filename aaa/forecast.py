"""When a data cap will be reached, if somebody goes on as lately.

The pace is that of the last days and not of the whole period: who got a new television on the 20th wants to know what
becomes of it, and not of the calm weeks before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

LATELY = timedelta(days=7)
"""What the pace is taken from, or the part of it since the period began."""
SHORTEST = timedelta(hours=6)
"""Less than this says nothing about a pace."""


@dataclass(frozen=True, slots=True)
class CapFacts:
    """Octets used in the period and allowed in it; `lately` are those used between `since` and `now`."""

    used: int
    cap: int
    lately: int
    since: datetime
    now: datetime
    period_ends: datetime


def lately_since(period_begins: datetime, now: datetime) -> datetime:
    """Return from when the pace is taken."""
    return max(period_begins, now - LATELY)


def cap_reached_at(facts: CapFacts) -> datetime | None:
    """Return when the cap is reached at the present pace; None where it is not before the period ends, or not known.

    A cap that is used up is reached now: nobody needs to know which hour it was.
    """
    left = facts.cap - facts.used
    if left <= 0:
        return facts.now
    length = facts.now - facts.since
    if facts.lately <= 0 or length < SHORTEST:
        return None
    seconds = left / facts.lately * length.total_seconds()
    if seconds >= (facts.period_ends - facts.now).total_seconds():
        return None
    return facts.now + timedelta(seconds=seconds)
