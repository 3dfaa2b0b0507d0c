"""Sign-up: an ISP asks for an account, proves its e-mail address, and opens it.

Asking costs nothing and says nothing: whether an address is known, or has asked too often, the answer is the same, and
only the mail differs. The link in it is a random token of which the hash is kept; opening it shows a form, and only
the form's being sent uses it up, since mail scanners open links before people do.

Whoever opens an account gets an operator with the currency, zone, language, taxes and words of its country, a demo
licence, and is its manager.
"""

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.accounts import ActFor, open_account
from crm.countries import Country, country_of, is_tax_id
from crm.licences import DEMO_PLACES
from crm.problems import FieldProblem, Invalid, Problem
from crm.staff import MANAGER, OperatorDetails
from db.audit import Actor, record
from db.models import Operator, SignUp, Staff

LINK_HOLDS = timedelta(hours=48)
MOST_MAILS = 3
"""Of one address within an hour: more would be somebody else's doing."""
_EMAIL = re.compile(r"[^@\s<>\"]+@[^@\s<>\"]+\.[^@\s<>\"]+\Z")


_ADDRESS = re.compile(r"[/:@<>]|\w\.[^\W\d_]{2,}")
"""What programs for mail make a link of: a name like `www.example.com` needs no more than its dots."""


class LinkSpent(Exception):
    """A link that was used, has run out, or never was."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What somebody enters to open an account. `zone` empty is the country's first."""

    company: str
    country: str
    zone: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    operator_id: int
    staff_id: int
    country: Country


def check_asker(name: str, email: str) -> None:
    """Raise Invalid where nobody could be written to."""
    problems = []
    if not name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > 200 or not name.isprintable():
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "200"}))
    elif _ADDRESS.search(name):  # the mail greets by it, and must carry no stranger's address
        problems.append(FieldProblem("name", Problem.ADDRESS_IN_NAME))
    if not _EMAIL.match(email.strip()) or len(email) > 254:
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    if problems:
        raise Invalid(*problems)


def begin(
    session: Session, platform_id: int, name: str, email: str, language: str, address: str | None, now: datetime
) -> str | None:
    """Note that somebody asks, and return the token of the link to mail; None where the address asked too often.

    The session acts for the platform. Links sent before still work: the mail that arrives first may be the older one.
    """
    session.execute(select(func.pg_advisory_xact_lock(7440, func.hashtext(email.lower()))))
    recent = select(func.count()).where(
        SignUp.operator_id == platform_id,
        func.lower(SignUp.email) == email.lower(),
        SignUp.created_at > now - timedelta(hours=1),
    )
    if (session.scalar(recent) or 0) >= MOST_MAILS:
        return None
    token = secrets.token_urlsafe(32)
    session.add(
        SignUp(
            operator_id=platform_id,
            name=" ".join(name.split()),
            email=email,
            language=language if language in LANGUAGES else "en",
            token_hash=_hash(token),
            address=address,
            expires_at=now + LINK_HOLDS,
            created_at=now,
        )
    )
    session.flush()
    return token


def asked_by(session: Session, platform_id: int, token: str, now: datetime, *, lock: bool = False) -> SignUp:
    """Return the sign-up of a link. Raises LinkSpent. With `lock`, of two who use it at once the second waits."""
    query = select(SignUp).where(
        SignUp.operator_id == platform_id,
        SignUp.token_hash == _hash(token),
        SignUp.used_at.is_(None),
        SignUp.expires_at > now,
    )
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise LinkSpent
    return found


def check_opening(opening: Opening) -> Country:
    """Return the country of an opening. Raises Invalid with everything that is wrong."""
    problems = []
    country = country_of(opening.country)
    if not opening.company.strip():
        problems.append(FieldProblem("company", Problem.REQUIRED))
    elif len(opening.company) > 200 or not opening.company.isprintable():
        problems.append(FieldProblem("company", Problem.TOO_LONG, {"limit": "200"}))
    if country is None:
        problems.append(FieldProblem("country", Problem.UNKNOWN_CHOICE))
    else:
        if opening.zone and opening.zone not in country.zones:
            problems.append(FieldProblem("zone", Problem.UNKNOWN_ZONE))
        if opening.tax_id and not is_tax_id(country.code, opening.tax_id):
            detail = {"name": country.tax_id, "example": country.tax_id_example}
            problems.append(FieldProblem("tax_id", Problem.NOT_A_TAX_ID, detail))
    if problems or country is None:
        raise Invalid(*problems)
    return country


def open_asked(
    session: Session, act_for: ActFor, asked: SignUp, opening: Opening, password_hash: str, now: datetime
) -> Opened:
    """Open the account of a sign-up that `asked_by` has locked. Raises Invalid.

    The session acts for the platform; `billing.first_rules` gives the operator its taxes afterwards.
    """
    country = check_opening(opening)
    zone = opening.zone or country.zones[0]
    operator_id = _open_with_free_slug(session, opening.company, country, zone)
    asked.used_at, asked.made_operator_id = now, operator_id
    session.flush()
    after = {"company": opening.company.strip(), "country": country.code}
    record(session, Actor(asked.operator_id, "sign-up"), "account.open", "operator", operator_id, None, after)
    session.flush()
    with act_for(session, operator_id):
        operator = session.get_one(Operator, operator_id)
        operator.holiday_country = country.code
        person = Staff(
            operator_id=operator_id, email=asked.email, name=asked.name, password_hash=password_hash, roles=[MANAGER],
            language=asked.language,
        )  # fmt: skip
        session.add(person)
        session.flush()
        actor = Actor(operator_id, person.email, person.id, asked.address)
        made = {"name": operator.name, "slug": operator.slug, "timezone": zone, "country": country.code}
        record(session, actor, "operator.create", "operator", operator_id, None, made)
        staff = {"name": person.name, "email": person.email, "roles": person.roles}
        record(session, actor, "staff.create", "staff", person.id, None, staff)
    return Opened(operator_id, person.id, country)


def slug_of(company: str) -> str:
    """Return the short name of a company in addresses: its words without accents, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", company).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "isp"


def _open_with_free_slug(session: Session, company: str, country: Country, zone: str) -> int:
    """Enter the operator under its company's short name, with a number behind it where that is taken."""
    first = slug_of(company)
    for attempt in range(20):
        tail = "" if attempt == 0 else f"-{attempt + 1}" if attempt < 10 else f"-{secrets.token_hex(3)}"
        details = OperatorDetails(first + tail, company, country.language, country.currency, zone)
        try:
            return open_account(session, details, country.code, DEMO_PLACES)
        except Invalid as invalid:
            if [problem.field for problem in invalid.problems] != ["slug"]:
                raise
    raise Invalid(FieldProblem("company", Problem.TAKEN))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
