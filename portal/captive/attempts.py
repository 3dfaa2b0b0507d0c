"""How often somebody may try on the captive page: few at once from one device, and then with growing pauses.

Whether a code is right only radiusd says, which counts by the MAC address that the router vouches for; the page is no
shorter way to guess. What is counted here keeps a person from running into that limit, and slows down who drives the
page by a program. After FREE tries a device waits two seconds, then four, up to a minute. Where a whole router or
operator sees very many tries, a device has fewer free ones; but who just came always has one, so a venue is never shut.

Counts live where the portal's other limits do, and are forgotten after WINDOW seconds.
"""

from functools import cache
from typing import Any

import structlog
from limits.storage import RedisStorage
from redis.exceptions import RedisError

from portal.auth import limiter
from portal.captive.place import Place

log = structlog.get_logger()
FREE, FREE_WHEN_BUSY = 5, 1
LONGEST_PAUSE = 60
WINDOW = 300
BUSY_ROUTER, BUSY_OPERATOR = 300, 3000
"""Tries within WINDOW from which on devices have fewer free ones."""

# All that a try needs, in one question: four of them were a third of what sending a code cost the portal.
_COUNT = """
local waits = tonumber(redis.call("get", KEYS[1]) or "0")
if waits > tonumber(ARGV[1]) then return {waits, 0, 0, 0} end
local counts = {0}
for place = 2, #KEYS do
    counts[place] = redis.call("incr", KEYS[place])
    if counts[place] == 1 then redis.call("expire", KEYS[place], ARGV[2]) end
end
return counts
"""


def pause(place: Place, mac: str, now: float) -> int:
    """Count a try of a device and return 0, or how many seconds it has to wait before the next one."""
    try:
        storage = limiter.storage
        operator = f"captive/{place.operator.id}"
        router = f"{operator}/{place.nas_id}"
        device = f"{router}/{mac}"
        until, tries, at_router, at_operator = _counted(storage, (f"{device}/until", device, router, operator), now)
        if until > now:
            return int(until - now) + 1
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


def _counted(storage: Any, keys: tuple[str, ...], now: float) -> tuple[int, int, int, int]:
    """Return until when the first key says to wait, else 0 and the other keys counted one up."""
    if isinstance(storage, RedisStorage):
        until, tries, at_router, at_operator = _script(storage)([*map(storage.prefixed_key, keys)], (now, WINDOW))
        return until, tries, at_router, at_operator
    until = storage.get(keys[0])
    if until > now:
        return until, 0, 0, 0
    tries, at_router, at_operator = (storage.incr(key, WINDOW) for key in keys[1:])
    return 0, tries, at_router, at_operator


@cache
def _script(storage: RedisStorage) -> Any:
    return storage.storage.register_script(_COUNT)


def _set(storage: Any, key: str, value: int, seconds: int) -> None:
    storage.clear(key)
    storage.incr(key, seconds, value)
