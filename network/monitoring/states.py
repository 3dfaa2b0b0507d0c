"""Online or offline: what a row of polls says about a router, without crying wolf.

One missed poll is a lost packet or a busy router. A router is offline after `DOWN_AFTER` polls in a row that failed,
and online again after `UP_AFTER` that worked; a poll that failed is repeated sooner than the next would be, so that a
router that is really down is known to be within a minute. A router that comes and goes is told of once: further
times it is down only count after it stayed down for `UNSTABLE_HOLD`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from network.problems import Cause

DOWN_AFTER = 3
UP_AFTER = 2
UNSTABLE_WITHIN = timedelta(hours=1)
UNSTABLE_AFTER = 3
"""Times a router went offline within UNSTABLE_WITHIN, after which it counts as one that comes and goes."""
UNSTABLE_HOLD = timedelta(minutes=15)

UNKNOWN, ONLINE, OFFLINE = "unknown", "online", "offline"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is believed of a router, and the polls since that speak against it."""

    status: str = UNKNOWN
    since: datetime | None = None
    cause: Cause | None = None
    against: int = 0  # polls in a row that contradict `status`
    first_against: datetime | None = None
    went_down: tuple[datetime, ...] = ()


def after_poll(standing: Standing, cause: Cause | None, at: datetime) -> Standing:
    """Return what is believed after one more poll; `cause` says why it failed, None that it worked.

    The status dates from the first of the polls that changed it.
    """
    seen = ONLINE if cause is None else OFFLINE
    if seen == standing.status:
        return replace(standing, cause=cause, against=0, first_against=None)
    against = standing.against + 1
    first = standing.first_against or at
    needed = DOWN_AFTER if seen == OFFLINE else UP_AFTER if standing.status == OFFLINE else 1
    if against < needed:
        # While it is only suspected, the cause shown is that of the status believed.
        return replace(standing, against=against, first_against=first)
    went_down = tuple(when for when in standing.went_down if when > at - UNSTABLE_WITHIN)
    if seen == OFFLINE:
        went_down = (*went_down, first)
    return Standing(seen, first, cause, 0, None, went_down)


def is_unstable(went_down: int) -> bool:
    """Tell whether a router that went offline so many times within an hour comes and goes."""
    return went_down >= UNSTABLE_AFTER


def worth_telling(offline_since: datetime, times_down: int, now: datetime) -> bool:
    """Tell whether people should hear that a router is offline, given how often it was within the last hour."""
    return not is_unstable(times_down) or now - offline_since >= UNSTABLE_HOLD


def pause_after(standing: Standing, interval: timedelta) -> timedelta:
    """Return how long to wait for the next poll: a suspicion is settled sooner."""
    suspected = standing.against > 0 or standing.status == UNKNOWN
    return min(interval / 3, timedelta(seconds=20)) if suspected else interval
