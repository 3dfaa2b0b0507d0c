"""From a decision to the attributes of the answer.

Every value leaves here as text that FreeRADIUS parses: one that does not would go out as zero (Session-Timeout 0,
address 0.0.0.0), so what cannot be written is left out here and named by the publisher when it builds the image.
The pairs are split in those that many services share and those that are one service's own, because the image stores
the former once.
"""

from datetime import timedelta
from functools import lru_cache

from aaa.decision import Accept, Decision, Terms, WalledGarden
from aaa.extras import LONGEST_TEXT
from aaa.facts import AccessKind
from core.rates import RateLimit
from radius.mikrotik import mikrotik_rate_limit
from radius.terms import class_value

Pair = tuple[str, str, str]
Pairs = tuple[Pair, ...]


def shared_pairs(terms: Terms) -> Pairs:
    """Return what every service with such terms is told; Message-Authenticator first (CVE-2024-3596)."""
    return _shared_pairs(
        terms.rate,
        terms.address_list,
        terms.pool,
        terms.ipv6_pool,
        terms.delegated_ipv6_pool,
        terms.session_timeout,
        terms.idle_timeout,
        terms.interim_interval,
    )


@lru_cache(maxsize=4096)
def _shared_pairs(
    rate: RateLimit | None,
    address_list: str | None,
    pool: str | None,
    ipv6_pool: str | None,
    delegated_ipv6_pool: str | None,
    session_timeout: timedelta | None,
    idle_timeout: timedelta | None,
    interim_interval: timedelta,
) -> Pairs:
    pairs: list[Pair] = [("Message-Authenticator", ":=", "0x00")]
    if rate is not None:
        pairs.append(("Mikrotik-Rate-Limit", ":=", mikrotik_rate_limit(rate)))
    _text(pairs, "Mikrotik-Address-List", address_list)
    _text(pairs, "Framed-Pool", pool)
    _text(pairs, "Framed-IPv6-Pool", ipv6_pool)
    _text(pairs, "Mikrotik-Delegated-IPv6-Pool", delegated_ipv6_pool)
    _seconds(pairs, "Session-Timeout", session_timeout)
    _seconds(pairs, "Idle-Timeout", idle_timeout)
    _seconds(pairs, "Acct-Interim-Interval", interim_interval)
    return tuple(pairs)


def own_pairs(service_id: int, terms: Terms, terms_id: bytes) -> Pairs:
    """Return what this service alone is told: its address, what else is its own, and Class."""
    return prepared_pairs(service_id, terms.framed_ip, rare_pairs(terms), terms_id)


def prepared_pairs(service_id: int, framed_ip: str | None, rare: Pairs, terms_id: bytes) -> Pairs:
    """Return `own_pairs` from the parts that the image keeps; no netmask is sent, a PPP client is a single host."""
    # Class is octets: FreeRADIUS takes text that does not begin with 0x as it stands.
    mark = ("Class", ":=", class_value(service_id, terms_id))
    if framed_ip is None:
        return (*rare, mark)
    return (("Framed-IP-Address", ":=", framed_ip), *rare, mark)


def rare_pairs(terms: Terms) -> Pairs:
    """Return what few services have of their own: routes, IPv6 prefixes, extra attributes."""
    pairs: list[Pair] = []
    pairs.extend(("Framed-Route", "+=", route) for route in terms.framed_routes)
    if terms.framed_ipv6_prefix is not None:
        pairs.append(("Framed-IPv6-Prefix", ":=", terms.framed_ipv6_prefix))
    if terms.delegated_ipv6_prefix is not None:
        pairs.append(("Delegated-IPv6-Prefix", ":=", terms.delegated_ipv6_prefix))
    pairs.extend(terms.extra)
    return tuple(pairs)


def momentary_pairs(decision: Decision, kind: AccessKind) -> Pairs:
    """Return what depends on this moment or packet: a DHCP lease, what is left of a voucher, a wireless rate."""
    pairs: list[Pair] = []
    if isinstance(decision, Accept | WalledGarden):
        left = decision.time_left if isinstance(decision, Accept) else None
        if decision.lease is not None or left is not None:
            timeouts = (decision.lease, left, decision.terms.session_timeout)
            _seconds(pairs, "Session-Timeout", min(timeout for timeout in timeouts if timeout is not None))
    if isinstance(decision, Accept) and decision.octets_left is not None:
        # Both words are sent, 0 included: RouterOS adds them up (RouterOS vendor dictionary, 17 and 18).
        pairs.append(("Mikrotik-Total-Limit", ":=", str(decision.octets_left & 0xFFFFFFFF)))
        pairs.append(("Mikrotik-Total-Limit-Gigawords", ":=", str(decision.octets_left >> 32)))
    if kind is AccessKind.WIRELESS and isinstance(decision, Accept | WalledGarden) and decision.terms.rate is not None:
        # The access list does not know Mikrotik-Rate-Limit (RouterOS manual, RADIUS Client); Xmit is tx, download.
        pairs.append(("Ascend-Data-Rate", ":=", str(min(decision.terms.rate.upload, 0xFFFFFFFF))))
        pairs.append(("Ascend-Xmit-Rate", ":=", str(min(decision.terms.rate.download, 0xFFFFFFFF))))
    return tuple(pairs)


def _text(pairs: list[Pair], attribute: str, value: str | None) -> None:
    if value and "\0" not in value and len(value.encode()) <= LONGEST_TEXT:
        pairs.append((attribute, ":=", value))


def _seconds(pairs: list[Pair], attribute: str, value: timedelta | None) -> None:
    if value is not None:
        seconds = int(value.total_seconds())
        if 0 < seconds <= 0xFFFFFFFF:
            pairs.append((attribute, ":=", str(seconds)))
