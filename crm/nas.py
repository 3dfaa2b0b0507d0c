"""NAS: the routers that ask over RADIUS, as their operator registers them.

A packet's source address says which NAS it is, so an address belongs to one NAS of the whole installation. The
shared secret is made here, shown once, and sealed; whoever reads it again later is written down.
"""

import ipaddress
import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from aaa.facts import AccessMethod, ServiceState
from core.crypto import Keyring
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import AccountingSession, EnforcementOrder, Nas, Service

SECRET_PURPOSE = "nas.secret"  # noqa: S105 - the name of a purpose
SHORTEST_SECRET = 16
LONGEST_NAME = 60
# RouterOS's console would read $, ", \ and ? of a pasted secret in its own way.
_SECRET = re.compile(r"[A-Za-z0-9._~+/=:@%,-]+\Z")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class NasTerms:
    """What somebody enters for a NAS."""

    name: str
    address: str
    coa_address: str | None = None
    coa_port: int = 3799
    coa_window: int = 32
    coa_message_authenticator: bool = False
    coa_session_id: bool = True
    require_message_authenticator: bool = False
    swap_directions: bool = False
    enabled: bool = True
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Dependents:
    """What hangs on a NAS."""

    services: int  # tied to this router
    live_sessions: int


def new_secret() -> str:
    """Return a secret of 32 letters and digits: 190 bits, and nothing that a router's console would misread."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(32))


def terms_of_nas(nas: Nas) -> NasTerms:
    values = {field.name: getattr(nas, field.name) for field in fields(NasTerms)}
    return NasTerms(**{**values, "address": str(nas.address), "coa_address": _text(nas.coa_address)})


def create_nas(session: Session, actor: Actor, keyring: Keyring, terms: NasTerms, secret: str) -> Nas:
    """Register a NAS with its shared secret. Raises Invalid."""
    nas = Nas(operator_id=actor.operator_id, secret=keyring.seal(SECRET_PURPOSE, _checked_secret(secret)))
    with _address_of_its_own(session):
        _apply(session, nas, terms)
        session.add(nas)
        session.flush()
    record(session, actor, "nas.create", "nas", nas.id, None, _audited(terms_of_nas(nas)))
    return nas


def change_nas(session: Session, actor: Actor, nas: Nas, terms: NasTerms) -> None:
    """Change a NAS; its packets are judged by the new row within a second. Raises Invalid."""
    before = _audited(terms_of_nas(nas))
    with _address_of_its_own(session):
        _apply(session, nas, terms)
        session.flush()
    record(session, actor, "nas.change", "nas", nas.id, before, _audited(terms_of_nas(nas)))


def change_secret(session: Session, actor: Actor, keyring: Keyring, nas: Nas, secret: str) -> None:
    """Give a NAS another shared secret; the router must get it too, or its packets are dropped. Raises Invalid."""
    nas.secret = keyring.seal(SECRET_PURPOSE, _checked_secret(secret))
    session.flush()
    record(session, actor, "nas.change_secret", "nas", nas.id, {"secret": "…"}, {"secret": "changed"})


def reveal_secret(session: Session, actor: Actor, keyring: Keyring, nas: Nas) -> str:
    """Return the shared secret, and write down who read it. Raises core.crypto.SecretUnreadable."""
    clear = keyring.open(SECRET_PURPOSE, nas.secret)
    record(session, actor, "nas.reveal_secret", "nas", nas.id)
    return clear


def dependents(session: Session, nas: Nas) -> Dependents:
    """Return what would lose its router if the NAS were deleted."""
    services = session.scalar(
        select(func.count()).select_from(Service).where(Service.nas_id == nas.id, Service.state != "terminated")
    )
    live = session.scalar(
        select(func.count())
        .select_from(AccountingSession)
        .where(AccountingSession.nas_id == nas.id, AccountingSession.ended_at.is_(None))
    )
    return Dependents(services or 0, live or 0)


def delete_nas(session: Session, actor: Actor, nas: Nas, move_to: Nas | None, now: datetime) -> None:
    """Delete a NAS: from now on its packets are not answered.

    Services tied to it are tied to `move_to`, or to no router, which means any. Its open sessions are closed as by
    staff, since no Stop of theirs will be believed any more, and its open orders are given up. Static addresses are
    queues on a router: where there are any, somebody must say which it is from now on. Raises Invalid.
    """
    if move_to is None and _has_queues(session, nas):
        raise Invalid(FieldProblem("move_to", Problem.QUEUES_STAY))
    audited = _audited(terms_of_nas(nas))
    moved = session.scalars(
        update(Service)
        .where(Service.nas_id == nas.id)
        .values(nas_id=move_to.id if move_to else None, version=Service.version + 1)
        .returning(Service.id)
    ).all()
    session.execute(
        update(AccountingSession)
        .where(AccountingSession.nas_id == nas.id, AccountingSession.ended_at.is_(None))
        .values(ended_at=now, ended_by="staff")
    )
    session.execute(
        update(EnforcementOrder)
        .where(EnforcementOrder.nas_id == nas.id, EnforcementOrder.state.in_(("pending", "sent", "acked")))
        .values(state="cancelled", finished_at=now, outcome="no nas")
    )
    session.delete(nas)
    session.flush()
    audited["services"] = len(moved)
    audited["moved_to"] = move_to.name if move_to else None
    record(session, actor, "nas.delete", "nas", nas.id, audited, None)


def routeros_snippet(nas: Nas, secret: str, server: str, auth_port: int, acct_port: int) -> str:
    """Return commands for the router's console that make it ask this installation.

    They may be pasted again: the row of an earlier paste is removed by its comment first, because `/radius add` twice
    leaves two rows, of which the old one is asked first. Nothing in them needs RouterOS 7, but for the last line,
    which older versions pass over.
    """
    source = nas.address
    port = nas.coa_port
    return "\n".join(
        (
            "/radius remove [find comment=portico]",
            f"/radius add service=ppp,hotspot,dhcp,wireless address={server} secret={_quoted(secret)}"
            f" src-address={source} authentication-port={auth_port} accounting-port={acct_port} timeout=3s"
            " comment=portico",
            f"/radius incoming set accept=yes port={port}",
            "/ppp aaa set use-radius=yes accounting=yes interim-update=5m",
            f"/ip firewall filter remove [find comment={_quoted('portico coa')}]",
            f"/ip firewall filter add chain=input action=accept protocol=udp dst-port={port} src-address={server}"
            f" comment={_quoted('portico coa')}",
            ":do {/radius set [find comment=portico] require-message-auth=yes-for-request-resp} on-error={}",
        )
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


def _has_queues(session: Session, nas: Nas) -> bool:
    return bool(
        session.scalar(
            select(
                exists().where(
                    Service.nas_id == nas.id,
                    Service.access_method == AccessMethod.QUEUE.value,
                    Service.state != ServiceState.TERMINATED.value,
                )
            )
        )
    )


def _text(address: object) -> str | None:
    return None if address is None else str(address)


def _audited(terms: NasTerms) -> dict[str, Any]:
    return {field.name: getattr(terms, field.name) for field in fields(terms)}


def _checked_secret(secret: str) -> str:
    if len(secret) < SHORTEST_SECRET:
        raise Invalid(FieldProblem("secret", Problem.TOO_SHORT, {"limit": str(SHORTEST_SECRET)}))
    if len(secret) > 64:
        raise Invalid(FieldProblem("secret", Problem.TOO_LONG, {"limit": "64"}))
    if not _SECRET.match(secret):
        raise Invalid(FieldProblem("secret", Problem.NAME_CHARACTERS))
    return secret


def _apply(session: Session, nas: Nas, terms: NasTerms) -> None:
    """Put what was entered into the row. Raises Invalid with everything that is wrong."""
    problems: list[FieldProblem] = []
    name = terms.name.strip()
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > LONGEST_NAME:
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": str(LONGEST_NAME)}))
    elif _taken(session, nas, name):
        problems.append(FieldProblem("name", Problem.TAKEN))
    address = _address("address", terms.address, problems)
    coa_address = _address("coa_address", terms.coa_address, problems) if terms.coa_address else None
    problems += _range("coa_port", terms.coa_port, 1, 65535)
    problems += _range("coa_window", terms.coa_window, 1, 200)
    if problems:
        raise Invalid(*problems)
    nas.name = name
    # An unchanged address is left alone: only what changes is written, and the publisher told.
    if nas.address != address:
        nas.address = address
    if nas.coa_address != coa_address:
        nas.coa_address = coa_address
    nas.coa_port = terms.coa_port
    nas.coa_window = terms.coa_window
    nas.coa_message_authenticator = terms.coa_message_authenticator
    nas.coa_session_id = terms.coa_session_id
    nas.require_message_authenticator = terms.require_message_authenticator
    nas.swap_directions = terms.swap_directions
    nas.enabled = terms.enabled
    nas.notes = terms.notes


def _taken(session: Session, nas: Nas, name: str) -> bool:
    with session.no_autoflush:
        found = session.scalar(select(Nas.id).where(Nas.operator_id == nas.operator_id, Nas.name == name))
    return found is not None and found != nas.id


def _address(field: str, text: str, problems: list[FieldProblem]) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        problems.append(FieldProblem(field, Problem.REQUIRED if not text.strip() else Problem.NOT_AN_ADDRESS))
        return None
    if address.is_unspecified or address.is_multicast:
        problems.append(FieldProblem(field, Problem.NOT_AN_ADDRESS))
    return address


def _range(name: str, value: int, low: int, high: int) -> list[FieldProblem]:
    if low <= value <= high:
        return []
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)})]


@contextmanager
def _address_of_its_own(session: Session) -> Iterator[None]:
    """Write a row in a savepoint; the address may be another operator's, whose rows only the index sees here."""
    try:
        with session.begin_nested():
            yield
    except IntegrityError as refused:
        if "uq_nas_address" in str(refused.orig):
            raise Invalid(FieldProblem("address", Problem.TAKEN)) from None
        raise
