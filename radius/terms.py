"""Terms as an id, and the Class attribute that carries the id.

The id is a hash of the content: equal terms have equal ids on every node, so comparing what a session was granted
with what it should have is comparing eight octets. Class comes back in every accounting packet (RFC 2865 §5.25);
it is short ASCII because some devices cut it.
"""

import json
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from aaa.decision import Terms
from aaa.documents import terms_document
from core.rates import RateLimit


class Grant(NamedTuple):
    """What a Class says: which service was let in, and on which terms (their id)."""

    service_id: int
    terms_id: bytes


def terms_id(terms: Terms) -> bytes:
    """Return the eight octets that stand for these terms.

    What is not set is not hashed, so a new kind of term in a later version leaves the ids of old terms as they are.
    """
    common = _common_digest(
        terms.rate,
        terms.address_list,
        terms.pool,
        terms.ipv6_pool,
        terms.delegated_ipv6_pool,
        terms.session_timeout,
        terms.idle_timeout,
        terms.interim_interval,
    )
    own = "".join(f"{name}={value!r};" for name in _OWN if (value := getattr(terms, name)))
    return blake2b(common + own.encode(), digest_size=8).digest()


_OWN = ("framed_ip", "framed_routes", "framed_ipv6_prefix", "delegated_ipv6_prefix", "extra")


@lru_cache(maxsize=4096)
def _common_digest(
    rate: RateLimit | None,
    address_list: str | None,
    pool: str | None,
    ipv6_pool: str | None,
    delegated_ipv6_pool: str | None,
    session_timeout: timedelta | None,
    idle_timeout: timedelta | None,
    interim_interval: timedelta,
) -> bytes:
    """Hash what many services have in common: a rebuild of the image asks a million times for a few plans."""
    terms = Terms(
        rate=rate,
        address_list=address_list,
        pool=pool,
        ipv6_pool=ipv6_pool,
        delegated_ipv6_pool=delegated_ipv6_pool,
        session_timeout=session_timeout,
        idle_timeout=idle_timeout,
        interim_interval=interim_interval,
    )
    return blake2b(json.dumps(terms_document(terms), sort_keys=True).encode(), digest_size=16).digest()


def class_value(service_id: int, terms: bytes) -> str:
    """Return the Class of an Access-Accept: `p1.<service>.<terms>`, both in hex."""
    return f"p1.{service_id:x}.{terms.hex()}"


def parse_class(value: str) -> Grant | None:
    """Read a Class as FreeRADIUS prints it (`0x…`) or as text; None when it is not one of ours."""
    try:
        text = bytes.fromhex(value[2:]).decode("ascii") if value.startswith("0x") else value
        mark, service, terms = text.split(".")
        if mark != "p1" or len(terms) != 16:
            return None
        return Grant(int(service, 16), bytes.fromhex(terms))
    except ValueError:
        return None
