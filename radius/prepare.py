"""A service's row of the image: its standing answer prepared, and the facts for when that does not do.

The prepared answer is `authorize()`'s own, with the instant until which it holds. It is given without deciding again
when nothing about the packet can change it; tests hold the two ways to the same answer.
"""

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from marshal import dumps
from typing import NamedTuple

from aaa.authorize import authorize, changes_at
from aaa.decision import Accept, Reject
from aaa.facts import AccessMethod, MacBinding, Policy, Service
from radius.facts import StoredService
from radius.facts_codec import pack_service
from radius.image import ServiceRow, name_key, pack, service_key, shared_key
from radius.reply import Pairs, rare_pairs, shared_pairs
from radius.request import namespace_of
from radius.terms import terms_id

_FOR_EVER = 1e11


class Prepared(NamedTuple):
    """Entries of the image for one service, packed."""

    key: bytes
    row: bytes
    shared_key: bytes | None
    shared: bytes | None
    name_key: bytes
    name: bytes
    ready_until: float


def prepare(stored: StoredService, now: datetime) -> Prepared:
    service = stored.service
    name = service.name if service.voucher is None else service.voucher.lookup
    key = service_key(service.operator_id, namespace_of(service.access_method), name)
    row, shared = service_row(stored, now)
    at = shared_key(row.shared) if shared is not None else None
    own_name = name_key(service.id)
    return Prepared(
        key,
        pack(key, tuple(row)),
        at,
        _packed(at, shared) if at is not None and shared is not None else None,
        own_name,
        pack(own_name, key),
        row.ready_until,
    )


def service_row(stored: StoredService, now: datetime) -> tuple[ServiceRow, Pairs | None]:
    """Return the row and the shared pairs that it names, None when no answer is prepared."""
    service, policy, password = stored
    facts = pack_service(service)
    decision = authorize(service, policy, now)
    # A walled garden's particulars (since when, which invoice) belong into the journal, which has no room for them
    # beside a prepared answer; there are few, so they are decided each time.
    if isinstance(decision, Reject) or decision.detail or not _always_the_same(service):
        return ServiceRow(service.id, password, 0.0, b"", None, (), b"", "", "", service.session_limit, facts), None
    identity = terms_id(decision.terms)
    shared = shared_pairs(decision.terms)
    row = ServiceRow(
        service.id,
        password,
        _until(service, policy, now),
        _digest(shared),
        decision.terms.framed_ip,
        rare_pairs(decision.terms),
        identity,
        "accept" if isinstance(decision, Accept) else "garden",
        decision.reason.value if decision.reason else "",
        service.session_limit,
        facts,
    )
    return row, shared


@lru_cache(maxsize=4096)
def _digest(shared: Pairs) -> bytes:
    return blake2b(dumps(shared, 2), digest_size=8).digest()


@lru_cache(maxsize=4096)
def _packed(key: bytes, shared: Pairs) -> bytes:
    return pack(key, shared)


def _always_the_same(service: Service) -> bool:
    """Whether no rule looks at the packet beyond password and open sessions, which the caller checks itself."""
    return (
        service.mac_binding is MacBinding.ANY
        and service.router_id is None
        and service.octets_left is None
        and service.voucher is None
        and service.access_method is not AccessMethod.QUEUE
    )


def _until(service: Service, policy: Policy, now: datetime) -> float:
    change = changes_at(service, policy, now)
    return _FOR_EVER if change is None else change.timestamp()
