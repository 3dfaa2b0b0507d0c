"""Operators and their staff: who is entered, invited, given other roles, switched off.

Somebody who is invited, or whose password is reset, chooses one by a link that works once and for some days; a newer
link ends the ones before it. Nobody gives roles that they could not have, and an operator always keeps one manager who
can sign in.

Passwords come here as argon2 hashes; only the portal, which checks them, makes them. The clear text comes along to be
judged and goes nowhere.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.numbers import list_currencies
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.login_sessions import end_sessions
from crm.password_rules import require_strong
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ROLES, Account, Operator, Staff, StaffLink

LINK_HOLDS = timedelta(days=7)
MANAGER = "manager"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?\Z")


class LinkUnusable(Exception):
    """A link to choose a password that was used, has run out, was replaced, or never was."""


@dataclass(frozen=True, slots=True)
class StaffDetails:
    """What is entered for a staff member. Without a language they get the operator's."""

    email: str
    name: str
    roles: Sequence[str]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorDetails:
    """What is entered for an operator."""

    slug: str
    name: str
    locale: str = "en"
    currency: str = "USD"
    timezone: str = "UTC"


def check_operator(details: OperatorDetails) -> None:
    """Raise Invalid with everything that is wrong with an operator's details but a slug that is taken."""
    problems = []
    if not _SLUG.match(details.slug):
        problems.append(FieldProblem("slug", Problem.NOT_A_SLUG))
    if not details.name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    try:
        ZoneInfo(details.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(FieldProblem("timezone", Problem.UNKNOWN_ZONE))
    try:
        Locale.parse(details.locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        problems.append(FieldProblem("locale", Problem.UNKNOWN_CHOICE))
    if details.currency not in list_currencies():
        problems.append(FieldProblem("currency", Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)


def create_operator(session: Session, process: str, details: OperatorDetails) -> Operator:
    """Enter an operator. `process` is who does it, for the audit log. Raises Invalid."""
    check_operator(details)
    if session.scalar(select(Operator.id).where(Operator.slug == details.slug)) is not None:
        raise Invalid(FieldProblem("slug", Problem.TAKEN))
    operator = Operator(
        slug=details.slug,
        name=details.name.strip(),
        locale=details.locale,
        currency=details.currency,
        timezone=details.timezone,
    )
    session.add(operator)
    session.flush()
    session.add(Account(operator_id=operator.id))
    after = {"name": operator.name, "slug": operator.slug, "timezone": operator.timezone}
    record(session, Actor(operator.id, process), "operator.create", "operator", operator.id, None, after)
    return operator


def create_staff(
    session: Session, actor: Actor, email: str, name: str, roles: list[str], password: str, password_hash: str
) -> Staff:
    """Enter a staff member. Raises Invalid."""
    email = email.strip()
    company = _company(session, actor.operator_id)
    problems = _password_problems("password", password, StaffDetails(email, name, roles), company)
    if not _EMAIL.match(email) or len(email) > 254:
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    elif session.scalar(select(Staff.id).where(func.lower(Staff.email) == email.lower())) is not None:
        problems.append(FieldProblem("email", Problem.TAKEN))
    if not name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    if not roles or not set(roles) <= set(ROLES):
        problems.append(FieldProblem("roles", Problem.UNKNOWN_ROLE))
    if problems:
        raise Invalid(*problems)
    person = Staff(
        operator_id=actor.operator_id, email=email, name=name.strip(), password_hash=password_hash, roles=sorted(roles)
    )
    session.add(person)
    session.flush()
    after = {"name": person.name, "email": email, "roles": person.roles}
    record(session, actor, "staff.create", "staff", person.id, None, after)
    return person


def invite_staff(
    session: Session, actor: Actor, details: StaffDetails, may_give: Collection[str], unusable_hash: str, now: datetime
) -> Staff:
    """Enter somebody who will choose their password by a link (`new_staff_link`). Raises Invalid.

    `may_give` are the roles that the actor could have; `unusable_hash` is the hash of a password that nobody knows.
    """
    problems = _detail_problems(details) + _role_problems(details.roles, (), may_give)
    if problems:
        raise Invalid(*problems)
    person = Staff(
        operator_id=actor.operator_id,
        email=details.email.strip(),
        name=details.name.strip(),
        roles=sorted(set(details.roles)),
        language=details.language,
        password_hash=unusable_hash,
        awaits_password_since=now,
    )
    try:
        # Addresses are unique among all operators, whose staff this session cannot see.
        with session.begin_nested():
            session.add(person)
            session.flush()
    except IntegrityError:
        raise Invalid(FieldProblem("email", Problem.TAKEN)) from None
    record(session, actor, "staff.invite", "staff", person.id, None, _audited(person))
    return person


def change_staff(
    session: Session, actor: Actor, person: Staff, details: StaffDetails, may_give: Collection[str]
) -> None:
    """Change name, address, roles and language. Raises Invalid, also when no manager would be left.

    With another address the links end that were sent to the one before; with other roles the person signs in again.
    """
    problems = _detail_problems(details) + _role_problems(details.roles, person.roles, may_give)
    if MANAGER in person.roles and MANAGER not in details.roles and not _another_manager(session, person):
        problems.append(FieldProblem("roles", Problem.LAST_MANAGER))
    if problems:
        raise Invalid(*problems)
    before = _audited(person)
    if set(details.roles) != set(person.roles) and person.id != actor.staff_id:
        end_sessions(session, person, "staff")
    if details.email.strip() != person.email:
        _end_links(session, person, None)  # whoever has the mail that went to the other address
    try:
        with session.begin_nested():
            person.email = details.email.strip()
            person.name = details.name.strip()
            person.roles = sorted(set(details.roles))
            person.language = details.language
            session.flush()
    except IntegrityError:
        raise Invalid(FieldProblem("email", Problem.TAKEN)) from None
    record(session, actor, "staff.change", "staff", person.id, before, _audited(person))


def switch_staff(session: Session, actor: Actor, person: Staff, *, active: bool, may_give: Collection[str]) -> None:
    """Let somebody sign in again, or not any more: then their browsers are signed out and their links end.

    Raises Invalid when no manager would be left, or for somebody whose roles the actor could not have.
    """
    problems = _role_problems(person.roles, person.roles, may_give)
    if not active and MANAGER in person.roles and not _another_manager(session, person):
        problems.append(FieldProblem("roles", Problem.LAST_MANAGER))
    if problems:
        raise Invalid(*problems)
    if person.active == active:
        return
    person.active = active
    if not active:
        person.session_version += 1
        end_sessions(session, person, "staff")
        _end_links(session, person, None)
    session.flush()
    action = "staff.switch_on" if active else "staff.switch_off"
    record(session, actor, action, "staff", person.id, {"active": not active}, {"active": active})


def reset_password(
    session: Session, actor: Actor, person: Staff, may_give: Collection[str], unusable_hash: str, now: datetime
) -> None:
    """Take somebody's password away and sign their browsers out; a new link lets them choose another.

    Raises Invalid when no manager who can sign in would be left, or for roles that the actor could not have.
    """
    problems = _role_problems(person.roles, person.roles, may_give)
    if MANAGER in person.roles and not _another_manager(session, person):
        problems.append(FieldProblem("roles", Problem.LAST_MANAGER))
    if problems:
        raise Invalid(*problems)
    person.password_hash = unusable_hash
    person.session_version += 1
    person.awaits_password_since = now
    end_sessions(session, person, "staff", now)
    session.flush()
    record(session, actor, "staff.reset", "staff", person.id, None, {"password": "taken away"})


def demand_new_password(session: Session, actor: Actor, person: Staff, may_give: Collection[str]) -> None:
    """Have somebody choose another password before they do anything else; the one they have lets them in until then.

    Raises Invalid for roles that the actor could not have.
    """
    problems = _role_problems(person.roles, person.roles, may_give)
    if problems:
        raise Invalid(*problems)
    person.must_change_password = True
    session.flush()
    record(session, actor, "staff.must_change", "staff", person.id, None, {"password": "to be changed"})


def require_power_over(person: Staff, may_give: Collection[str]) -> None:
    """Raise Invalid for somebody whose roles the actor could not have."""
    problems = _role_problems(person.roles, person.roles, may_give)
    if problems:
        raise Invalid(*problems)


def new_staff_link(session: Session, actor: Actor, person: Staff, now: datetime, holds: timedelta = LINK_HOLDS) -> str:
    """Return the token of a link by which somebody chooses a password; the ones before it end.

    It is shown or sent and not kept: the table has its hash.
    """
    _end_links(session, person, now)
    token = secrets.token_urlsafe(32)
    session.add(
        StaffLink(
            operator_id=person.operator_id,
            staff_id=person.id,
            token_hash=_token_hash(token),
            made_by=actor.name,
            expires_at=now + holds,
        )
    )
    session.flush()
    record(session, actor, "staff.link", "staff", person.id, None, {"until": now + holds})
    return token


def person_of_link(session: Session, operator_id: int, token: str, now: datetime) -> Staff:
    """Return whom a link is for. Raises LinkUnusable."""
    return session.get_one(Staff, _usable_link(session, operator_id, token, now).staff_id)


def use_staff_link(
    session: Session,
    operator_id: int,
    token: str,
    password: str,
    password_hash: str,
    address: str | None,
    now: datetime,
) -> Staff:
    """Give the person of a link the password that they chose, and end the link. Raises Invalid and LinkUnusable."""
    link = _usable_link(session, operator_id, token, now)
    person = session.get_one(Staff, link.staff_id)
    problems = _password_problems("new", password, person, _company(session, operator_id))
    if problems:
        raise Invalid(*problems)
    person.password_hash = password_hash
    person.session_version += 1
    person.awaits_password_since = None
    person.must_change_password = False
    end_sessions(session, person, "password", now)
    _end_links(session, person, now)
    session.flush()
    actor = Actor(operator_id, person.email, person.id, address)
    record(session, actor, "staff.password", "staff", person.id, None, {"password": "chosen by a link"})
    return person


def _usable_link(session: Session, operator_id: int, token: str, now: datetime) -> StaffLink:
    """Return a link that may be used now; its row is locked, so that of two who use it one finds it used."""
    link = session.scalar(
        select(StaffLink)
        .join(Staff, Staff.id == StaffLink.staff_id)
        .where(
            StaffLink.operator_id == operator_id,
            StaffLink.token_hash == _token_hash(token),
            StaffLink.used_at.is_(None),
            StaffLink.expires_at > now,
            Staff.active,
        )
        .with_for_update(of=StaffLink)
    )
    if link is None:
        raise LinkUnusable
    return link


def _end_links(session: Session, person: Staff, now: datetime | None) -> None:
    session.execute(
        update(StaffLink)
        .where(StaffLink.staff_id == person.id, StaffLink.used_at.is_(None))
        .values(used_at=func.now() if now is None else now)
    )


def _token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _another_manager(session: Session, person: Staff) -> bool:
    """Tell whether the operator has a manager besides this person who can sign in.

    All managers' rows are locked, in one order: of two managers who remove each other at once, the second is refused.
    """
    rows = session.execute(
        select(Staff.id, Staff.awaits_password_since)
        .where(Staff.operator_id == person.operator_id, Staff.active, Staff.roles.contains([MANAGER]))
        .order_by(Staff.id)
        .with_for_update()
    ).all()
    return any(row.id != person.id and row.awaits_password_since is None for row in rows)


def _detail_problems(details: StaffDetails) -> list[FieldProblem]:
    problems = []
    email = details.email.strip()
    if not _EMAIL.match(email) or len(email) > 254:
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    if not details.name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(details.name) > 200:
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "200"}))
    if details.language is not None and details.language not in LANGUAGES:
        problems.append(FieldProblem("language", Problem.UNKNOWN_CHOICE))
    return problems


def _role_problems(wanted: Sequence[str], present: Sequence[str], may_give: Collection[str]) -> list[FieldProblem]:
    """Return what is wrong with giving somebody roles; neither giving nor taking one is possible beyond one's own."""
    if not wanted or not set(wanted) <= set(ROLES):
        return [FieldProblem("roles", Problem.UNKNOWN_ROLE)]
    if not (set(wanted) | set(present)) <= set(may_give):
        return [FieldProblem("roles", Problem.MORE_THAN_OWN)]
    return []


def _audited(person: Staff) -> dict[str, Any]:
    return {"name": person.name, "email": person.email, "roles": person.roles, "language": person.language}


def change_own_password(
    session: Session, actor: Actor, person: Staff, password: str, password_hash: str, keep: int | None = None
) -> None:
    """Change a staff member's password and end all of their sessions but the one with the id `keep`. Raises Invalid."""
    problems = _password_problems("new", password, person, _company(session, person.operator_id))
    if problems:
        raise Invalid(*problems)
    person.password_hash = password_hash
    person.session_version += 1
    person.must_change_password = False
    end_sessions(session, person, "password", keep=keep)
    session.flush()
    record(session, actor, "staff.password", "staff", person.id, None, {"password": "changed"})


def _password_problems(field: str, password: str, person: StaffDetails | Staff, company: str) -> list[FieldProblem]:
    """Return what is wrong with a password for somebody."""
    try:
        require_strong(password, person.name, person.email, company, field=field)
    except Invalid as invalid:
        return list(invalid.problems)
    return []


def _company(session: Session, operator_id: int) -> str:
    return session.get_one(Operator, operator_id).name
