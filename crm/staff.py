"""Operators and their staff: entered by whoever runs the installation, and what staff change of their own account.

Passwords come here as argon2 hashes; only the portal, which checks them, makes them. The clear text comes along to be
judged and goes nowhere.
"""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.numbers import list_currencies
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ROLES, Operator, Staff

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200  # argon2 takes its time over what it is given
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class OperatorDetails:
    """What is entered for an operator."""

    slug: str
    name: str
    locale: str = "en"
    currency: str = "USD"
    timezone: str = "UTC"


def create_operator(session: Session, process: str, details: OperatorDetails) -> Operator:
    """Enter an operator. `process` is who does it, for the audit log. Raises Invalid."""
    problems = []
    if not _SLUG.match(details.slug):
        problems.append(FieldProblem("slug", Problem.NOT_A_SLUG))
    elif session.scalar(select(Operator.id).where(Operator.slug == details.slug)) is not None:
        problems.append(FieldProblem("slug", Problem.TAKEN))
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
    operator = Operator(
        slug=details.slug,
        name=details.name.strip(),
        locale=details.locale,
        currency=details.currency,
        timezone=details.timezone,
    )
    session.add(operator)
    session.flush()
    after = {"name": operator.name, "slug": operator.slug, "timezone": operator.timezone}
    record(session, Actor(operator.id, process), "operator.create", "operator", operator.id, None, after)
    return operator


def create_staff(
    session: Session, actor: Actor, email: str, name: str, roles: list[str], password: str, password_hash: str
) -> Staff:
    """Enter a staff member. Raises Invalid."""
    email = email.strip()
    problems = _password_problems("password", password)
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


def change_own_password(session: Session, actor: Actor, person: Staff, password: str, password_hash: str) -> None:
    """Change a staff member's password and end all of their browsers' sessions. Raises Invalid."""
    problems = _password_problems("new", password)
    if problems:
        raise Invalid(*problems)
    person.password_hash = password_hash
    person.session_version += 1
    session.flush()
    record(session, actor, "staff.password", "staff", person.id, None, {"password": "changed"})


def _password_problems(field: str, password: str) -> list[FieldProblem]:
    if len(password) < SHORTEST_PASSWORD:
        return [FieldProblem(field, Problem.TOO_SHORT, {"limit": str(SHORTEST_PASSWORD)})]
    if len(password) > LONGEST_PASSWORD:
        return [FieldProblem(field, Problem.TOO_LONG, {"limit": str(LONGEST_PASSWORD)})]
    return []
