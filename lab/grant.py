"""What an Access-Accept or a CoA-Request grants, as RouterOS understands it.

Only attributes that the RouterOS service takes have an effect: a DHCP lease knows no Idle-Timeout, a wireless client
no address. What is in the reply and not here the router ignores.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from aaa.facts import AccessKind
from core.rates import Burst, RateLimit
from lab import attributes as rad
from lab.packet import Attributes

_RATE = re.compile(r"(\d+)([kM]?)\Z")
_GIGAWORD = 1 << 32

# Which RouterOS service takes which attribute of an Access-Accept (RouterOS manual, RADIUS Client).
_ROUTED = frozenset({AccessKind.PPP, AccessKind.HOTSPOT, AccessKind.DHCP})
_METERED = frozenset({AccessKind.PPP, AccessKind.HOTSPOT})
_TAKEN_BY = {
    rad.FRAMED_IP_ADDRESS: _ROUTED,
    rad.FRAMED_POOL: _ROUTED,
    rad.IDLE_TIMEOUT: _ROUTED,
    rad.ACCT_INTERIM_INTERVAL: frozenset({AccessKind.PPP, AccessKind.HOTSPOT, AccessKind.WIRELESS}),
    rad.MIKROTIK_RATE_LIMIT: _ROUTED,
    rad.MIKROTIK_ADDRESS_LIST: _ROUTED,
    rad.MIKROTIK_RECV_LIMIT: _METERED,
    rad.MIKROTIK_XMIT_LIMIT: _METERED,
    rad.MIKROTIK_TOTAL_LIMIT: _METERED,
}
# What a CoA-Request can not change: the session has to end for it.
_FIXED_FOR_LIFE = (
    rad.FRAMED_POOL,
    rad.FRAMED_IP_NETMASK,
    rad.FRAMED_ROUTE,
    rad.FRAMED_IPV6_PREFIX,
    rad.FRAMED_IPV6_POOL,
    rad.DELEGATED_IPV6_PREFIX,
    rad.MIKROTIK_DELEGATED_IPV6_POOL,
)


class BadGrant(ValueError):
    """A value in the reply that RouterOS cannot read."""


class NotChangeable(ValueError):
    """A CoA-Request wants to change what only a new session can have."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The terms of a session. Lengths are seconds, 0 or None is no limit; volumes are octets."""

    rate: RateLimit | None = None
    rate_text: str | None = None
    address: str | None = None
    pool: str | None = None
    address_list: str | None = None
    session_timeout: int = 0
    idle_timeout: int = 0
    interim_interval: int = 0
    upload_limit: int | None = None
    download_limit: int | None = None
    total_limit: int | None = None
    class_values: tuple[bytes, ...] = ()
    ipv6_prefix: bytes | None = None
    delegated_ipv6_prefix: bytes | None = None


def read_grant(kind: AccessKind, reply: Attributes) -> Grant:
    """Return what an Access-Accept grants to a session of that service. Raises BadGrant or packet.Malformed."""

    def taken(code: int) -> bool:
        return kind in _TAKEN_BY.get(code, (kind,))

    address = reply.address(rad.FRAMED_IP_ADDRESS) if taken(rad.FRAMED_IP_ADDRESS) else None
    ppp = kind is AccessKind.PPP
    return Grant(
        **_changes(reply, taken),
        address=None if address is None or _means_the_pool(address) else address,
        pool=reply.text(rad.FRAMED_POOL) if taken(rad.FRAMED_POOL) else None,
        interim_interval=(reply.number(rad.ACCT_INTERIM_INTERVAL) or 0) if taken(rad.ACCT_INTERIM_INTERVAL) else 0,
        class_values=tuple(reply.all(rad.CLASS)),
        ipv6_prefix=reply.octets(rad.FRAMED_IPV6_PREFIX) if ppp else None,
        delegated_ipv6_prefix=reply.octets(rad.DELEGATED_IPV6_PREFIX) if ppp else None,
    )


def change_grant(grant: Grant, kind: AccessKind, wanted: Attributes, *, rate_obeyed: bool = True) -> Grant:
    """Return the terms after a CoA-Request. With `rate_obeyed` false the rate stays as it is, unsaid.

    A new address list takes the place of the old one; a request without one leaves the address where it is.

    Raises NotChangeable for an address, pool or route; BadGrant or packet.Malformed for a value that cannot be read.
    """
    for code in _FIXED_FOR_LIFE:
        if code in wanted:
            raise NotChangeable(code)

    def taken(code: int) -> bool:
        if code in (rad.MIKROTIK_RATE_LIMIT, rad.ASCEND_DATA_RATE) and not rate_obeyed:
            return False
        return kind in _TAKEN_BY.get(code, (kind,))

    return replace(grant, **_changes(wanted, taken))


def _changes(given: Attributes, taken: Callable[[int], bool]) -> dict[str, Any]:
    """Return the fields of a grant that both an Access-Accept and a CoA-Request can set, as far as they do."""
    changes: dict[str, Any] = {}
    rate = given.text(rad.MIKROTIK_RATE_LIMIT)
    if rate is not None and taken(rad.MIKROTIK_RATE_LIMIT):
        changes["rate"], changes["rate_text"] = parse_rate_limit(rate), rate
    elif taken(rad.ASCEND_DATA_RATE) and (rad.ASCEND_DATA_RATE in given or rad.ASCEND_XMIT_RATE in given):
        changes["rate"], changes["rate_text"] = _ascend_rate(given), None
    address_list = given.text(rad.MIKROTIK_ADDRESS_LIST)
    if address_list and taken(rad.MIKROTIK_ADDRESS_LIST):
        changes["address_list"] = address_list
    session_timeout = given.number(rad.SESSION_TIMEOUT)
    if session_timeout is not None:
        changes["session_timeout"] = session_timeout
    idle_timeout = given.number(rad.IDLE_TIMEOUT)
    if idle_timeout is not None and taken(rad.IDLE_TIMEOUT):
        changes["idle_timeout"] = idle_timeout
    for name, low, high in (
        ("upload_limit", rad.MIKROTIK_RECV_LIMIT, rad.MIKROTIK_RECV_LIMIT_GIGAWORDS),
        ("download_limit", rad.MIKROTIK_XMIT_LIMIT, rad.MIKROTIK_XMIT_LIMIT_GIGAWORDS),
        ("total_limit", rad.MIKROTIK_TOTAL_LIMIT, rad.MIKROTIK_TOTAL_LIMIT_GIGAWORDS),
    ):
        if (low in given or high in given) and taken(low):
            octets = (given.number(high) or 0) * _GIGAWORD + (given.number(low) or 0)
            changes[name] = octets or None
    return changes


def _ascend_rate(given: Attributes) -> RateLimit:
    """Read Ascend-Data-Rate and Ascend-Xmit-Rate, the only rates that a wireless client can be given.

    Together, Xmit is the download and Data the upload; Data alone is both. They come after Mikrotik-Rate-Limit.
    """
    data, transmit = given.number(rad.ASCEND_DATA_RATE), given.number(rad.ASCEND_XMIT_RATE)
    if transmit is None:
        return RateLimit(data or 0, data or 0)
    return RateLimit(download=transmit, upload=data or 0)


def _means_the_pool(address: str) -> bool:
    """Return whether RouterOS reads an address as "take the profile's pool": 127/8, 224/3 (255.255.255.254 is one)."""
    first = int(address.partition(".")[0])
    return first == 127 or first >= 224


@lru_cache(maxsize=1024)
def parse_rate_limit(written: str) -> RateLimit:
    """Read Mikrotik-Rate-Limit: `rx/tx [burst [threshold [seconds [priority [minimum]]]]]`.

    The router's view: rx is what the subscriber sends. A missing tx is the rx, a missing threshold the rate, a
    missing time one second; a burst of 0/0 is none. Raises BadGrant.
    """
    fields = written.split(" ")
    if not 1 <= len(fields) <= 6:
        raise BadGrant(f"Mikrotik-Rate-Limit {written!r} has {len(fields)} fields")
    upload, download = _pair(fields[0], written)
    burst = None
    if len(fields) > 1 and _pair(fields[1], written) != (0, 0):
        burst_upload, burst_download = _pair(fields[1], written)
        threshold_upload, threshold_download = _pair(fields[2], written) if len(fields) > 2 else (upload, download)
        seconds = max(_pair(fields[3], written)) if len(fields) > 3 else 1
        burst = Burst(burst_download, burst_upload, threshold_download, threshold_upload, seconds)
    priority = None
    if len(fields) > 4:
        if fields[4] not in {"1", "2", "3", "4", "5", "6", "7", "8"}:
            raise BadGrant(f"Mikrotik-Rate-Limit {written!r} has a priority other than 1 to 8")
        priority = int(fields[4])
    minimum_upload, minimum_download = _pair(fields[5], written) if len(fields) > 5 else (None, None)
    if (minimum_upload or 0) > upload or (minimum_download or 0) > download:
        raise BadGrant(f"Mikrotik-Rate-Limit {written!r} has a minimum above the rate")
    return RateLimit(download, upload, burst, priority, minimum_download, minimum_upload)


def _pair(field: str, written: str) -> tuple[int, int]:
    rx, slash, tx = field.partition("/")
    values = []
    for part in (rx, tx if slash else rx):
        match = _RATE.match(part)
        if match is None:
            raise BadGrant(f"Mikrotik-Rate-Limit {written!r}: {part!r} is no rate")
        values.append(int(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])
    return values[0], values[1]
