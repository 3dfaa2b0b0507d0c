"""Terms as a document and as an id, and the Class attribute that carries the id.

The id is a hash of the content: equal terms have equal ids on every node, so comparing what a session was granted
with what it should have is comparing eight octets. Class comes back in every accounting packet (RFC 2865 §5.25);
it is short ASCII because some devices cut it.
"""

import json
from dataclasses import asdict
from datetime import timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from aaa.decision import Terms
from core.rates import Burst, RateLimit

_SECONDS = ("session_timeout", "idle_timeout", "interim_interval")


class Grant(NamedTuple):
    """What a Class says: which service was let in, and on which terms (their id)."""

    service_id: int
    terms_id: bytes


def terms_document(terms: Terms) -> dict[str, Any]:
    """Return terms as JSON types, without what is not set."""
    document = {key: value for key, value in asdict(terms).items() if value not in (None, (), [])}
    for key in _SECONDS:
        if key in document:
            document[key] = int(document[key].total_seconds())
    return document


def terms_from_document(document: dict[str, Any]) -> Terms:
    fields = dict(document)
    for key in _SECONDS:
        if key in fields:
            fields[key] = timedelta(seconds=fields[key])
    if "rate" in fields:
        rate = dict(fields["rate"])
        rate["burst"] = Burst(**rate["burst"]) if rate.get("burst") else None
        fields["rate"] = RateLimit(**rate)
    if "framed_routes" in fields:
        fields["framed_routes"] = tuple(fields["framed_routes"])
    if "extra" in fields:
        fields["extra"] = tuple((name, operator, value) for name, operator, value in fields["extra"])
    return Terms(**fields)


def terms_id(terms: Terms) -> bytes:
    """Return the eight octets that stand for these terms."""
    text = json.dumps(terms_document(terms), sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).digest()


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
