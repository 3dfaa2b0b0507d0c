"""What would happen if a subscriber connected now, and why: the help desk's view of the decision.

The facts are those that the publisher and the worker decide from, and the rules are `aaa.authorize`'s own, so what
is read here is what the router is told. The access that is played through is the last one that was seen under that
name, with its NAS, its MAC address and what became of its password; without one the rules about the packet cannot
be asked, and the answer is the standing decision.

Beside the rules stands what a person on the telephone asks next: the last requests, the live sessions with the terms
they were granted, the usage against the cap, and the orders that are on their way to the routers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aaa.authorize import authorize, explain
from aaa.decision import Accept, Decision, Explanation, Reason, Terms, WalledGarden
from aaa.documents import terms_from_document
from aaa.facts import Access, AccessKind, AccessMethod, DataCap, Nas, Policy, Proof, Service
from core.codes import is_concealed
from core.mac import find_mac
from radius.facts import Connection, FactsReader
from radius.guessing import WINDOW
from radius.terms import terms_id

EVENTS = 10
ORDERS = 5
SESSIONS = 20
GUESSING = timedelta(seconds=WINDOW)  # how long a refused guess is taken for one that is still refused


@dataclass(frozen=True, slots=True)
class PastRequest:
    """An Access-Request that came, and what became of it. `reason` is None for a plain accept."""

    at: datetime
    nas_id: int
    nas_name: str
    user_name: str
    mac: str | None
    kind: str
    method: str
    outcome: str
    reason: Reason | None
    detail: dict[str, str]
    acct_session_id: str


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that accounting knows to be open. `granted` is None when what it was granted is not known."""

    id: int
    started_at: datetime
    updated_at: datetime
    nas_id: int
    nas_name: str
    acct_session_id: str
    kind: str
    mac: str | None
    framed_ip: str | None
    octets_in: int
    octets_out: int
    granted: Terms | None
    reported_rate: str | None
    as_decided: bool  # whether the terms granted are those that the decision would grant now


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """An order to a NAS about a session of the service."""

    id: int
    created_at: datetime
    kind: str
    cause: str
    state: str
    attempts: int
    outcome: str
    error_cause: int | None
    nas_name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose service it is."""

    service_id: int
    subscriber_id: int
    subscriber_name: str


@dataclass(frozen=True, slots=True)
class NameExplanation:
    """Everything the help desk is told about one name. `service` is None when nothing is registered under it."""

    name: str
    policy: Policy
    service: Service | None
    owner: Owner | None
    explanation: Explanation
    standing: Decision
    replayed: PastRequest | None
    requests: tuple[PastRequest, ...]
    sessions: tuple[LiveSession, ...]
    orders: tuple[PendingOrder, ...]

    @property
    def cap(self) -> DataCap | None:
        return self.service.plan.cap if self.service is not None else None

    @property
    def wanted(self) -> Terms | None:
        """The terms that a live session should have; None: it should not be there."""
        return terms_of(self.standing)


def terms_of(decision: Decision) -> Terms | None:
    return decision.terms if isinstance(decision, Accept | WalledGarden) else None


def resolve_name(connection: Connection, operator_id: int, text: str) -> str:
    """Return the name under which a service of the operator is registered that `text` points at, else `text`.

    The concealed name of a voucher points at the voucher. A MAC address, in any spelling, is a service's own name, or a
    device of a service: one that is bound to it, or one that it was last seen with.
    """
    if is_concealed(text):
        row = connection.execute(_NAME_CONCEALED, {"operator": operator_id, "name": text}).fetchone()
        return str(row[0]) if row else text
    mac = find_mac(text)
    exact = connection.execute(
        "SELECT name FROM service WHERE operator_id = %s AND name = ANY(%s) AND state <> 'terminated' LIMIT 1",
        (operator_id, [text] if mac is None else [text, mac]),
    ).fetchone()
    if exact:
        return str(exact[0])
    if mac is None:
        return text
    for query in (_NAME_BOUND_TO_MAC, _NAME_SEEN_WITH_MAC):
        row = connection.execute(query, {"operator": operator_id, "mac": mac}).fetchone()
        if row:
            return str(row[0])
    return mac


def explain_name(connection: Connection, operator_id: int, name: str, now: datetime) -> NameExplanation:
    """Explain what happens to accesses under exactly this name. Raises LookupError for an unknown operator."""
    facts = FactsReader(connection, now)
    stored = facts.service_named(operator_id, name)
    policy = stored.policy if stored else facts.policy(operator_id)
    service = stored.service if stored else None
    requests = _requests(connection, operator_id, service, name)
    replayed = requests[0] if requests else None
    access = _access(operator_id, service, name, replayed, now)
    open_sessions = facts.open_sessions([service.id]).get(service.id, ()) if service else ()
    standing = authorize(service, policy, now)
    return NameExplanation(
        name=name,
        policy=policy,
        service=service,
        owner=_owner(connection, service),
        explanation=explain(service, policy, now, access, open_sessions),
        standing=standing,
        replayed=replayed,
        requests=requests,
        sessions=_sessions(connection, operator_id, service, standing),
        orders=_orders(connection, service),
    )


def spellings(name: str) -> list[str]:
    """Return the user names under which requests for a name may have come: a MAC address in each spelling of RouterOS.

    Events keep user names as they were received (RouterOS manual, `radius-mac-format`), and are found by equality.
    """
    mac = find_mac(name)
    if mac is None:
        return [name]
    digits = mac.replace(":", "")
    spelt = [sign.join(re.findall("..", digits)) for sign in (":", "-", " ", "")]
    spelt += [":".join(re.findall("....", digits)), ".".join(re.findall("....", digits))]
    spelt += [f"{digits[:6]}{sign}{digits[6:]}" for sign in (":", "-")]
    return [name, *(form for text in spelt for form in (text, text.upper()))]


def _access(
    operator_id: int, service: Service | None, name: str, last: PastRequest | None, now: datetime
) -> Access | None:
    """Return the access to play through: the last request, as it would come again."""
    if last is None:
        if service is None and find_mac(name):
            unseen = Nas(0, operator_id, "")
            return Access(unseen, name, AccessKind.DHCP, Proof.NOT_NEEDED, find_mac(name))
        return None
    return Access(
        nas=Nas(last.nas_id, operator_id, last.nas_name),
        name=name,
        kind=AccessKind(last.kind),
        proof=_proof(service, name, last),
        mac=last.mac,
        acct_session_id=last.acct_session_id,
        guessing=last.reason is Reason.TOO_MANY_ATTEMPTS and now - last.at < GUESSING,
    )


def _proof(service: Service | None, name: str, last: PastRequest) -> Proof:
    if service is None:
        return Proof.NOT_NEEDED if find_mac(name) else Proof.CORRECT
    if service.access_method in (AccessMethod.MAC, AccessMethod.VOUCHER, AccessMethod.LINE):
        return Proof.NOT_NEEDED
    match last.reason:
        case Reason.WRONG_PASSWORD:
            return Proof.WRONG
        case Reason.NO_PASSWORD:
            return Proof.MISSING
    return Proof.CORRECT


_NAME_BOUND_TO_MAC = """
SELECT s.name FROM service_mac m JOIN service s ON s.id = m.service_id
WHERE m.operator_id = %(operator)s AND m.mac = %(mac)s::macaddr AND s.state <> 'terminated'
LIMIT 1
"""

_NAME_CONCEALED = """
SELECT s.name FROM auth_event e JOIN service s ON s.id = e.service_id
WHERE e.operator_id = %(operator)s AND e.user_name = %(name)s
ORDER BY e.at DESC LIMIT 1
"""

_NAME_SEEN_WITH_MAC = """
SELECT s.name FROM session x JOIN service s ON s.id = x.service_id
WHERE x.operator_id = %(operator)s AND x.mac = %(mac)s::macaddr AND s.state <> 'terminated'
ORDER BY x.started_at DESC LIMIT 1
"""

# A name that was moved from one service to another keeps the requests made under it, so they are found by either.
_REQUESTS = """
SELECT e.at, e.nas_id, coalesce(n.name, ''), e.user_name, e.mac::text, e.kind, e.method, e.outcome, e.reason, e.detail,
       e.acct_session_id
FROM (
    (SELECT * FROM auth_event WHERE service_id = %(service)s ORDER BY at DESC LIMIT %(limit)s)
    UNION
    (SELECT * FROM auth_event WHERE operator_id = %(operator)s AND user_name = ANY(%(names)s) AND kind <> 'login'
     ORDER BY at DESC LIMIT %(limit)s)
) e LEFT JOIN nas n ON n.id = e.nas_id
ORDER BY e.at DESC, e.id DESC LIMIT %(limit)s
"""

_SESSIONS = """
SELECT x.id, x.started_at, x.updated_at, x.nas_id, coalesce(n.name, ''), x.acct_session_id, x.kind, x.mac::text,
       host(x.framed_ip), x.octets_in, x.octets_out, x.reported_rate, x.terms_id, t.content
FROM session x
LEFT JOIN nas n ON n.id = x.nas_id
LEFT JOIN terms t ON t.operator_id = x.operator_id AND t.id = x.terms_id
WHERE x.ended_at IS NULL AND x.service_id = %(service)s AND x.operator_id = %(operator)s
ORDER BY x.started_at DESC LIMIT %(limit)s
"""

_ORDERS = """
SELECT o.id, o.created_at, o.kind, o.cause, o.state, o.attempts, o.outcome, o.error_cause, coalesce(n.name, '')
FROM enforcement_order o LEFT JOIN nas n ON n.id = o.nas_id
WHERE o.service_id = %s
ORDER BY o.created_at DESC LIMIT %s
"""


def _requests(connection: Connection, operator_id: int, service: Service | None, name: str) -> tuple[PastRequest, ...]:
    rows = connection.execute(
        _REQUESTS,
        {
            "service": service.id if service else None,
            "operator": operator_id,
            "names": spellings(name),
            "limit": EVENTS,
        },
    )
    return tuple(_request(row) for row in rows)


def _request(row: tuple[Any, ...]) -> PastRequest:
    at, nas_id, nas_name, user_name, mac, kind, method, outcome, reason, detail, acct_session_id = row
    return PastRequest(
        at, nas_id, nas_name, user_name, mac, kind, method, outcome, known_reason(reason), detail, acct_session_id
    )


def known_reason(text: str) -> Reason | None:
    """Return the reason that a row names; None for a plain accept, and for one that this version does not know."""
    return Reason(text) if text in _REASONS else None


_REASONS = frozenset(reason.value for reason in Reason)


def _owner(connection: Connection, service: Service | None) -> Owner | None:
    if service is None:
        return None
    row = connection.execute(
        "SELECT b.id, b.name FROM service s JOIN subscriber b ON b.id = s.subscriber_id WHERE s.id = %s", (service.id,)
    ).fetchone()
    return Owner(service.id, *row) if row else None


def _sessions(
    connection: Connection, operator_id: int, service: Service | None, standing: Decision
) -> tuple[LiveSession, ...]:
    if service is None:
        return ()
    wanted = terms_of(standing)
    wanted_id = terms_id(wanted) if wanted is not None else None
    rows: Iterable[tuple[Any, ...]] = connection.execute(
        _SESSIONS, {"service": service.id, "operator": operator_id, "limit": SESSIONS}
    )
    return tuple(_session(row, wanted_id) for row in rows)


def _session(row: tuple[Any, ...], wanted: bytes | None) -> LiveSession:
    (
        session_id, started_at, updated_at, nas_id, nas_name, acct_session_id, kind, mac, framed_ip, octets_in,
        octets_out, reported_rate, granted_id, content,
    ) = row  # fmt: skip
    return LiveSession(
        id=session_id,
        started_at=started_at,
        updated_at=updated_at,
        nas_id=nas_id,
        nas_name=nas_name,
        acct_session_id=acct_session_id,
        kind=kind,
        mac=mac,
        framed_ip=framed_ip,
        octets_in=octets_in,
        octets_out=octets_out,
        granted=terms_from_document(content) if content is not None else None,
        reported_rate=reported_rate,
        as_decided=granted_id is not None and granted_id == wanted,
    )


def _orders(connection: Connection, service: Service | None) -> tuple[PendingOrder, ...]:
    if service is None:
        return ()
    return tuple(PendingOrder(*row) for row in connection.execute(_ORDERS, (service.id, ORDERS)))
