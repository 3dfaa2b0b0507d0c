"""Routers as their operator registers them: a NAS, and how RouterOS's API on the same box is reached.

The API's password is sealed and never shown again. Where it is sent to is part of what was entered with it: whoever
changes the address, the port or TLS enters the password again, so that nobody can have it sent to a box of their own.
"""

import ipaddress
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy.orm import Session, joinedload

from core.crypto import Keyring
from crm.nas import NasTerms, change_nas, create_nas, delete_nas
from crm.outbound import of_this_machine
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Nas, Router, RouterState
from network.access import PASSWORD_PURPOSE
from network.api import PORT, RouterAccess
from network.check import Check
from network.problems import NO_WAY, Cause
from network.vpn import tunnels_down

LONGEST = 100


@dataclass(frozen=True, slots=True)
class RouterTerms:
    """What somebody enters for the API of a router. Rates are in bit/s."""

    api_user: str
    api_address: str | None = None  # where the API is, when not at the NAS's address
    api_port: int = PORT
    api_tls: bool = False
    wan_interface: str | None = None
    wan_download: int | None = None
    wan_upload: int | None = None
    watched: bool = True


def terms_of_router(router: Router) -> RouterTerms:
    return RouterTerms(
        api_user=router.api_user,
        api_address=None if router.api_address is None else str(router.api_address),
        api_port=router.api_port,
        api_tls=router.api_tls,
        wan_interface=router.wan_interface,
        wan_download=router.wan_download,
        wan_upload=router.wan_upload,
        watched=router.watched,
    )


def create_router(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    nas_terms: NasTerms,
    secret: str,
    terms: RouterTerms,
    password: str,
) -> Router:
    """Register a NAS and its API at once. Raises Invalid with everything that is wrong on either side."""
    problems = _problems(terms, password)
    try:
        with session.begin_nested():
            nas = create_nas(session, actor, keyring, nas_terms, secret)
            if problems:
                raise Invalid(*problems)
    except Invalid as invalid:
        raise Invalid(*{(p.field, p.problem): p for p in (*invalid.problems, *problems)}.values()) from None
    return attach_router(session, actor, keyring, nas, terms, password)


def attach_router(
    session: Session, actor: Actor, keyring: Keyring, nas: Nas, terms: RouterTerms, password: str
) -> Router:
    """Say how the API of a registered NAS is reached. Raises Invalid."""
    problems = _problems(terms, password)
    if problems:
        raise Invalid(*problems)
    router = Router(
        nas_id=nas.id,
        nas=nas,
        operator_id=actor.operator_id,
        api_password=keyring.seal(PASSWORD_PURPOSE, password),
    )
    _apply(router, terms)
    session.add(router)
    session.flush()
    record(session, actor, "router.create", "router", nas.id, None, {"nas": nas.name, **asdict(terms)})
    return router


def change_router(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    router: Router,
    nas_terms: NasTerms,
    terms: RouterTerms,
    password: str | None,
) -> None:
    """Change a router and its NAS; without a password the stored one stays. Raises Invalid.

    The pinned certificate is forgotten when the API moves to another address or port, which has one of its own.
    """
    before = terms_of_router(router)
    came_from = destination(router)
    problems = _problems(terms, password)
    if not password and would_move(router, nas_terms.address, terms):
        problems.append(FieldProblem("api_password", Problem.PASSWORD_AGAIN))
    try:
        with session.begin_nested():
            change_nas(session, actor, router.nas, nas_terms)
            if problems:
                raise Invalid(*problems)
    except Invalid as invalid:
        raise Invalid(*{(p.field, p.problem): p for p in (*invalid.problems, *problems)}.values()) from None
    _apply(router, terms)
    if destination(router) != came_from:
        router.api_fingerprint = None
    if password:
        router.api_password = keyring.seal(PASSWORD_PURPOSE, password)
    session.flush()
    audited = {**asdict(before), "api_password": ""}, {**asdict(terms), "api_password": "changed" if password else ""}
    record(session, actor, "router.change", "router", router.nas_id, *audited)


def change_nas_alone(session: Session, actor: Actor, nas: Nas, terms: NasTerms) -> None:
    """Change a NAS and leave its API as it is. Raises Invalid.

    Where the API is asked at the NAS's own address, that address is changed with the password at hand: on the router.
    """
    router = session.get(Router, nas.id, options=[joinedload(Router.nas)])
    if router is not None and would_move(router, terms.address, terms_of_router(router)):
        raise Invalid(FieldProblem("address", Problem.ROUTER_PASSWORD))
    change_nas(session, actor, nas, terms)


def detach_router(session: Session, actor: Actor, router: Router) -> None:
    """Forget how the API is reached; the NAS stays and goes on answering for RADIUS."""
    audited = {"nas": router.nas.name, **asdict(terms_of_router(router))}
    session.delete(router)
    session.flush()
    record(session, actor, "router.delete", "router", router.nas_id, audited, None)


def delete_router(session: Session, actor: Actor, router: Router, move_to: Nas | None, now: datetime) -> None:
    """Delete a router and its NAS: its packets are not answered any more. Services go to `move_to`, or to any NAS.

    Raises Invalid where static addresses would be left without a router.
    """
    nas = router.nas
    with session.begin_nested():
        detach_router(session, actor, router)
        delete_nas(session, actor, nas, move_to, now)


def pin_certificate(session: Session, router: Router, fingerprint: str | None) -> None:
    """Remember the certificate that a router showed first; one that is remembered stays until somebody forgets it."""
    if router.api_tls and router.api_fingerprint is None and fingerprint is not None:
        router.api_fingerprint = fingerprint
        session.flush()


def forget_certificate(session: Session, actor: Actor, router: Router) -> None:
    """Take the next certificate that the router shows: somebody knows that it was made anew."""
    before = {"api_fingerprint": router.api_fingerprint}
    router.api_fingerprint = None
    session.flush()
    record(session, actor, "router.certificate", "router", router.nas_id, before, {"api_fingerprint": None})


def note_check(session: Session, router: Router, check: Check, now: datetime) -> RouterState:
    """Keep what a look at a stored router showed: online or why not, its version, the certificate first seen."""
    if check.logged_in:
        pin_certificate(session, router, check.fingerprint)
    state = session.get(RouterState, router.nas_id)
    if state is None:
        state = RouterState(nas_id=router.nas_id, operator_id=router.operator_id, status="unknown")
        session.add(state)
    status = "online" if check.logged_in else "offline"
    if state.status != status:
        state.status = status
        state.status_since = now
    state.cause = ""
    if check.problem is not None and not check.logged_in:
        cause = check.problem.cause
        if cause in NO_WAY and tunnels_down(session, (router.nas_id,)):
            cause = Cause.VPN
        state.cause = str(cause)
    state.detail = check.problem.detail if check.problem is not None and not check.logged_in else ""
    state.checked_at = now
    if check.logged_in:
        state.identity = check.identity
        state.version = check.version
        state.board = check.board
        state.serial = check.serial
    session.flush()
    return state


def destination(router: Router) -> tuple[str, int, bool]:
    """Return where the password of a router goes: address, port, whether under TLS."""
    address = router.api_address if router.api_address is not None else router.nas.address
    return str(address), router.api_port, router.api_tls


def would_move(router: Router, nas_address: str, terms: RouterTerms) -> bool:
    """Tell whether these terms would send the stored password elsewhere, or in another way, than it was entered for."""
    return _destination(nas_address, terms) != destination(router)


def entered_access(
    nas_address: str, terms: RouterTerms, password: str, timeout: float, fingerprint: str | None = None
) -> RouterAccess:
    """Return the access that somebody has typed and not saved. Raises Invalid."""
    problems = _problems(terms, password)
    address, port, tls = _destination(nas_address, terms)
    if not terms.api_address and not _is_host(address):
        problems.append(FieldProblem("address", Problem.NOT_AN_ADDRESS if nas_address.strip() else Problem.REQUIRED))
    if problems:
        raise Invalid(*problems)
    return RouterAccess(address, port, tls, fingerprint, terms.api_user, SecretStr(password), timeout)


def refuse_own_address(nas_address: str, terms: RouterTerms) -> None:
    """Raise Invalid where the API would be asked at this machine itself or on its link.

    Whoever enters routers could else look at what listens there for this machine alone.
    """
    address = _destination(nas_address, terms)[0]
    with suppress(ValueError):
        host = ipaddress.ip_address(address)
        mapped = getattr(host, "ipv4_mapped", None) or host
        if mapped.is_loopback or mapped.is_link_local or of_this_machine(mapped):
            raise Invalid(FieldProblem("api_address" if terms.api_address else "address", Problem.OWN_ADDRESS))


def _destination(nas_address: str, terms: RouterTerms) -> tuple[str, int, bool]:
    text = (terms.api_address or nas_address).strip()
    with suppress(ValueError):  # said beside its field
        text = str(ipaddress.ip_address(text))
    return text, terms.api_port, terms.api_tls


def _problems(terms: RouterTerms, password: str | None) -> list[FieldProblem]:
    problems = []
    if not terms.api_user.strip():
        problems.append(FieldProblem("api_user", Problem.REQUIRED))
    elif len(terms.api_user) > LONGEST:
        problems.append(FieldProblem("api_user", Problem.TOO_LONG, {"limit": str(LONGEST)}))
    if password == "":
        problems.append(FieldProblem("api_password", Problem.REQUIRED))
    elif password is not None and len(password) > 4 * LONGEST:
        problems.append(FieldProblem("api_password", Problem.TOO_LONG, {"limit": str(4 * LONGEST)}))
    if not 1 <= terms.api_port <= 65535:
        problems.append(FieldProblem("api_port", Problem.OUT_OF_RANGE, {"low": "1", "high": "65535"}))
    if terms.api_address and not _is_host(terms.api_address):
        problems.append(FieldProblem("api_address", Problem.NOT_AN_ADDRESS))
    if terms.wan_interface and len(terms.wan_interface) > LONGEST:
        problems.append(FieldProblem("wan_interface", Problem.TOO_LONG, {"limit": str(LONGEST)}))
    for name in ("wan_download", "wan_upload"):
        rate = getattr(terms, name)
        if rate is not None and rate <= 0:
            problems.append(FieldProblem(name, Problem.NOT_POSITIVE))
    return problems


def _is_host(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast)


def _apply(router: Router, terms: RouterTerms) -> None:
    values: dict[str, Any] = asdict(terms)
    values["api_address"] = ipaddress.ip_address(terms.api_address.strip()) if terms.api_address else None
    for name, value in values.items():
        setattr(router, name, value)
