"""Where a phone is: the operator and the hotspot that the address of a captive page names.

The address is signed (`billing.links`), so it names a NAS that the operator has, and nobody makes up another. What is
known of a place is kept for a few seconds: a whole festival asks for the same page, and none of it needs the database.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from flask import abort, g
from sqlalchemy.orm import Session

from billing.gateways.accounts import active_accounts
from billing.links import LinkFor, is_genuine, link_key, read_link, signed
from billing.rules import billing_is_on
from crm.brands import Branding, brand_of
from crm.captive import CaptiveTerms, captive_terms, login_hosts
from crm.incidents import incident_at
from db.models import Nas, Operator
from portal import context

KEPT = 3.0
"""Seconds that a place is remembered."""
_MOST = 1000


@dataclass(frozen=True, slots=True)
class OperatorOf:
    """What captive pages need of an operator's row."""

    id: int
    slug: str
    name: str
    locale: str
    timezone: str
    currency: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What is disturbed at a place, and up to when as far as is known."""

    title: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """The hotspot of a NAS. `hosts` are where its login page may be; `sells` is whether vouchers are sold there."""

    token: str
    operator: OperatorOf
    brand: Branding
    nas_id: int
    hosts: tuple[str, ...]
    terms: CaptiveTerms
    sells: bool
    incident: Fault | None = None


_places: dict[str, tuple[float, Place]] = {}


def place_of(token: str) -> Place:
    """Return the place that an address names; 404 where it is none of ours, or its NAS is gone or disabled."""
    # Applications of several installations may live in one process, as tests do.
    key, now = f"{id(context.portal())}/{token}", time.monotonic()
    kept = _places.get(key)
    if kept is not None and kept[0] > now:
        return kept[1]
    link = read_link(token)
    if link is None or link.purpose is not LinkFor.HOTSPOT:
        abort(404)
    with context.portal().tenancy.session(link.operator_id) as session:
        nas = session.get(Nas, link.subject_id) if is_genuine(session, context.keyring(), link) else None
        if nas is None or not nas.enabled:
            abort(404)
        found = _found(session, token, session.get_one(Operator, link.operator_id), nas)
    if len(_places) >= _MOST:
        _places.clear()
    _places[key] = (now + KEPT, found)
    return found


def hotspot_token(session: Session, operator_id: int, nas_id: int) -> str:
    """Return what stands behind /captive/ for a NAS. The caller commits."""
    return signed(link_key(session, context.keyring(), operator_id), LinkFor.HOTSPOT, operator_id, nas_id)


def place() -> Place:
    """Return the place of this request."""
    found: Place = g.place
    return found


def db() -> Session:
    """Return this request's session, bound to the operator of the place."""
    return context.open_for(place().operator.id)


def operator_of(operator: Operator) -> OperatorOf:
    return OperatorOf(operator.id, operator.slug, operator.name, operator.locale, operator.timezone, operator.currency)


def _found(session: Session, token: str, operator: Operator, nas: Nas) -> Place:
    terms = captive_terms(session, operator.id)
    sells = bool(
        terms.batch_ids and billing_is_on(session, operator.id) and active_accounts(session, operator.id)
    )  # fmt: skip
    incident = incident_at(session, operator.id, nas.id, context.now())
    fault = Fault(incident.title, incident.expected_until) if incident is not None else None
    hosts = login_hosts(session, nas.id)
    return Place(token, operator_of(operator), brand_of(session, operator), nas.id, hosts, terms, sells, fault)
