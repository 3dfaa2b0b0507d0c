"""Terms as a document: JSON types, as the database keeps them beside their id."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from aaa.decision import Terms
from core.rates import Burst, RateLimit

_SECONDS = ("session_timeout", "idle_timeout", "interim_interval")


def terms_document(terms: Terms) -> dict[str, Any]:
    """Return terms as JSON types, without what is not set."""
    document = {key: value for key, value in asdict(terms).items() if value not in (None, (), [])}
    if terms.rate is not None:
        document["rate"] = {key: value for key, value in document["rate"].items() if value is not None}
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
