"""The order in which a technician drives: to the nearest next, but to nobody after their window.

It begins with the visit whose window begins first, or where the technician is in work already. From there each time
to the nearest that may be next: whoever's window is over before another one's begins is visited before. Distances are
as the crow flies, which is good enough to put a day's visits in order; a visit whose place is not known comes when
its window says so, and is thought to be where the one before was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import asin, cos, radians, sin, sqrt

EARTH = 6371.0
"""Its radius in kilometres."""
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Visit:
    """One stop. `place` is (latitude, longitude) in degrees; `begun` is where the technician is, or is going to."""

    id: int
    place: tuple[float, float] | None = None
    start: datetime | None = None
    end: datetime | None = None
    begun: bool = False


def driving_order(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits as they are best driven to."""
    left = sorted(visits, key=lambda visit: (not visit.begun, visit.start or _LAST, visit.end or _LAST, visit.id))
    route: list[Visit] = []
    here: tuple[float, float] | None = None
    while left:
        next_visit = left[0] if not route or left[0].begun else _nearest(here, left)
        left.remove(next_visit)
        route.append(next_visit)
        here = next_visit.place or here
    return route


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return how far two places are from each other, by the haversine formula."""
    (latitude, longitude), (to_latitude, to_longitude) = (tuple(map(radians, place)) for place in (one, other))
    across = sin((to_latitude - latitude) / 2) ** 2
    across += cos(latitude) * cos(to_latitude) * sin((to_longitude - longitude) / 2) ** 2
    return 2 * EARTH * asin(min(1.0, sqrt(across)))


def _nearest(here: tuple[float, float] | None, left: Sequence[Visit]) -> Visit:
    possible = [visit for visit in left if not any(_before(other, visit) for other in left)]
    # Of those as far, or whose distance is not known, the one with the earlier window: `left` is in that order.
    return min(possible, key=lambda visit: kilometres(here, visit.place) if here and visit.place else 0.0)


def _before(one: Visit, other: Visit) -> bool:
    return one.end is not None and other.start is not None and one.end <= other.start
