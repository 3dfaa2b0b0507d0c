"""How often somebody may try on the captive page: few at once from one device, and then with growing pauses.

Whether a code is right only radiusd says, which counts by the MAC address that the router vouches for; the page is no
shorter way to guess. What is counted here keeps a person from running into that limit, and slows down who drives the
page by a program. After FREE tries a device waits two seconds, then four, up to a minute. Where a whole router or
operator sees very many tries, a device has fewer free ones; but who just came always has one, so a venue is never shut.

Counts live where the portal's other limits do, and are forgotten after WINDOW seconds.
"""

from typing import Any

import structlog
from redis.exceptions import RedisError

from portal.auth import limiter
from portal.captive.place import Place

log = structlog.get_logger()
FREE, FREE_WHEN_BUSY = 5, 1
LONGEST_PAUSE = 60
WINDOW = 300
BUSY_ROUTER, BUSY_OPERATOR = 300, 3000
"""Tries within WINDOW from which on devices have fewer free ones."""


def pause(place: Place, mac: str, now: float) -> int:
    """Count a try of a device and return 0, or how many seconds it has to wait before the next one."""
    try:
        storage = limiter.storage
        device = f"captive/{place.operator.id}/{place.nas_id}/{mac}"
        until = storage.get(f"{device}/until")
        if until > now:
            return int(until - now) + 1
        tries = storage.incr(device, WINDOW)
        at_router = storage.incr(f"captive/{place.operator.id}/{place.nas_id}", WINDOW)
        at_operator = storage.incr(f"captive/{place.operator.id}", WINDOW)
        free = FREE_WHEN_BUSY if at_router > BUSY_ROUTER or at_operator > BUSY_OPERATOR else FREE
        if tries > free:
            wait = min(2 ** (tries - free), LONGEST_PAUSE)
            _set(storage, f"{device}/until", int(now) + wait, wait)
    except RedisError as problem:  # the page goes on without; radiusd counts by itself
        log.warning("captive_attempts_not_counted", why=type(problem).__name__)
    return 0


def forget(place: Place, mac: str) -> None:
    """Forget the tries of a device that was let in."""
    try:
        for name in ("", "/until"):
            limiter.storage.clear(f"captive/{place.operator.id}/{place.nas_id}/{mac}{name}")
    except RedisError as problem:
        log.warning("captive_attempts_not_counted", why=type(problem).__name__)


def _set(storage: Any, key: str, value: int, seconds: int) -> None:
    storage.clear(key)
    storage.incr(key, seconds, value)
