"""Accounts: operators as customers of the platform, which one operator is.

The platform's own people are the staff of that operator, and sign in, are invited and are audited like all others.
What they do to an operator stands in its audit log and in the platform's.

**Suspending** an operator keeps its staff out, who read why. Its subscribers notice nothing: they have paid, and
cutting them off would harm those who owe nothing to the platform. Their own pages stay open, so that they can pay.

**Consent** lets somebody of the platform, or of a reseller's parent, act in an operator's place for some hours: as a
staff member made for it, with every role but the manager's, so that they invite nobody and change no roles. It ends by
itself, and every manager ends it earlier.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from crm.staff import OperatorDetails, check_operator
from db.audit import Actor, record
from db.models import Account, AccountRequest, Consent, Operator, Staff

PLATFORM_SLUG = "platform"
GRACE = timedelta(days=30)
"""Between asking for the removal of an operator and the removal."""
MOST_HOURS = 168
ACTING_ROLES = ("finance", "sales", "support", "technical")


class ActFor(Protocol):
    """Makes a session act for an operator while a block runs (`db.session.Tenancy.acting_for`)."""

    def __call__(self, session: Session, operator_id: int) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Contact:
    """Who runs the installation, and how they are asked for more."""

    operator_id: int
    adviser: str
    whatsapp: str
    email: str

    def whatsapp_url(self) -> str | None:
        """Return the link that opens a chat with the adviser."""
        digits = "".join(each for each in self.whatsapp if each.isdigit())
        return f"https://wa.me/{digits}" if digits else None


def contact_of(session: Session) -> Contact | None:
    """Return how the platform is reached; None where there is none."""
    row = session.execute(text("SELECT * FROM platform_contact()")).one_or_none()
    return Contact(row.operator_id, row.adviser, row.whatsapp, row.contact_email) if row else None


def make_platform(session: Session, process: str, name: str) -> Operator:
    """Return the operator that is the platform, made the first time. Takes a session that sees all operators."""
    found = session.scalar(select(Operator).join(Account, Account.operator_id == Operator.id).where(Account.platform))
    if found is not None:
        return found
    operator = Operator(slug=PLATFORM_SLUG, name=name)
    session.add(operator)
    session.flush()
    session.add(Account(operator_id=operator.id, platform=True))
    session.flush()
    record(session, Actor(operator.id, process), "operator.create", "operator", operator.id, None, {"name": name})
    return operator


def account_of(session: Session, operator_id: int) -> Account:
    """Return an operator's account; one that was never stored stands for what came before there were accounts."""
    found = session.get(Account, operator_id)
    return found or Account(
        operator_id=operator_id, platform=False, suspended_reason="", removal_asked_by="", adviser="", whatsapp="",
        contact_email="", first_steps_hidden=False,
    )  # fmt: skip


def open_account(session: Session, details: OperatorDetails, country: str | None, places: int) -> int:
    """Enter an operator and return its id: of the platform a customer, of an operator a reseller. Raises Invalid."""
    check_operator(details)
    values = {
        "slug": details.slug, "name": details.name.strip(), "locale": details.locale, "currency": details.currency,
        "zone": details.timezone, "country": country, "places": places,
    }  # fmt: skip
    query = text("SELECT open_account(:slug, :name, :locale, :currency, :zone, :country, :places)")
    try:
        with session.begin_nested():
            made: int = session.execute(query, values).scalar_one()
    except IntegrityError:
        raise Invalid(FieldProblem("slug", Problem.TAKEN)) from None
    return made


def suspend(session: Session, actor: Actor, act_for: ActFor, operator_id: int, reason: str, now: datetime) -> None:
    """Keep an operator's staff out, and those of its resellers, who read the reason. Raises Invalid."""
    if not reason.strip():
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 500:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
    account = _account_to_change(session, operator_id)
    if account.suspended_at is not None:
        raise Invalid(FieldProblem("reason", Problem.ALREADY_DONE))
    resellers = select(Account).where(Account.parent_id == operator_id, Account.suspended_at.is_(None))
    for each in (account, *session.scalars(resellers.with_for_update()).all()):
        each.suspended_at, each.suspended_reason = now, reason.strip()
        _record_both(session, actor, act_for, each.operator_id, "operator.suspend", {"reason": reason.strip()})


def restore(session: Session, actor: Actor, act_for: ActFor, operator_id: int) -> None:
    """Let an operator's staff in again, and those of its resellers who were kept out with it."""
    account = _account_to_change(session, operator_id)
    if account.suspended_at is None:
        return
    together = select(Account).where(Account.parent_id == operator_id, Account.suspended_at == account.suspended_at)
    for each in (account, *session.scalars(together.with_for_update()).all()):
        each.suspended_at, each.suspended_reason = None, ""
        _record_both(session, actor, act_for, each.operator_id, "operator.restore", {})


def change_contact(session: Session, actor: Actor, adviser: str, whatsapp: str, email: str) -> None:
    """Say how operators reach the platform. Raises Invalid."""
    problems = []
    if whatsapp and not 7 <= sum(each.isdigit() for each in whatsapp) <= 15:
        problems.append(FieldProblem("whatsapp", Problem.NOT_A_PHONE))
    if email and ("@" not in email or any(each.isspace() for each in email) or len(email) > 254):
        problems.append(FieldProblem("contact_email", Problem.NOT_AN_EMAIL))
    if len(adviser) > 100:
        problems.append(FieldProblem("adviser", Problem.TOO_LONG, {"limit": "100"}))
    if problems:
        raise Invalid(*problems)
    account = session.get_one(Account, actor.operator_id)
    before = {name: getattr(account, name) for name in ("adviser", "whatsapp", "contact_email")}
    account.adviser, account.whatsapp, account.contact_email = adviser.strip(), whatsapp.strip(), email.strip()
    session.flush()
    after = {name: getattr(account, name) for name in before}
    record(session, actor, "platform.settings", "operator", actor.operator_id, before, after)


def write_to_platform(session: Session, actor: Actor, name: str, email: str, phone: str, words: str) -> AccountRequest:
    """Keep what an operator writes to the platform. Raises Invalid."""
    problems = []
    if not words.strip():
        problems.append(FieldProblem("words", Problem.REQUIRED))
    for field, value, most in (
        ("name", name, 200),
        ("email", email, 254),
        ("phone", phone, 40),
        ("words", words, 4000),
    ):
        if len(value) > most:
            problems.append(FieldProblem(field, Problem.TOO_LONG, {"limit": str(most)}))
    if "@" not in email:
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    if problems:
        raise Invalid(*problems)
    made = AccountRequest(
        operator_id=actor.operator_id, name=name.strip(), email=email.strip(), phone=phone.strip(), words=words.strip()
    )
    session.add(made)
    session.flush()
    record(session, actor, "account.request", "operator", actor.operator_id, None, {"words": made.words})
    return made


def ask_consent(
    session: Session, actor: Actor, act_for: ActFor, operator_id: int, reason: str, hours: int, now: datetime
) -> Consent:
    """Ask an operator to let the actor act in its place. Raises Invalid, also where it is asked already."""
    problems = []
    if not reason.strip():
        problems.append(FieldProblem("reason", Problem.REQUIRED))
    if not 1 <= hours <= MOST_HOURS:
        problems.append(FieldProblem("hours", Problem.OUT_OF_RANGE, {"low": "1", "high": str(MOST_HOURS)}))
    if not problems and session.scalar(
        select(Consent.id).where(
            Consent.operator_id == operator_id, Consent.asker_operator_id == actor.operator_id,
            Consent.ended_at.is_(None), Consent.granted_at.is_(None),
        )
    ):  # fmt: skip
        problems.append(FieldProblem("reason", Problem.ALREADY_DONE))
    if problems:
        raise Invalid(*problems)
    made = Consent(
        operator_id=operator_id, asker_operator_id=actor.operator_id, asked_by=actor.name, reason=reason.strip()[:500],
        hours=hours, created_at=now,
    )  # fmt: skip
    session.add(made)
    session.flush()
    _record_both(session, actor, act_for, operator_id, "consent.ask", {"reason": made.reason, "for_hours": hours})
    return made


def give_consent(session: Session, actor: Actor, asker_operator_id: int, hours: int, now: datetime) -> Consent:
    """Let the platform, or the parent, act here without having asked. Raises Invalid."""
    if not 1 <= hours <= MOST_HOURS:
        raise Invalid(FieldProblem("hours", Problem.OUT_OF_RANGE, {"low": "1", "high": str(MOST_HOURS)}))
    made = Consent(operator_id=actor.operator_id, asker_operator_id=asker_operator_id, hours=hours, created_at=now)
    session.add(made)
    session.flush()
    grant_consent(session, actor, made, now)
    return made


def grant_consent(session: Session, actor: Actor, consent: Consent, now: datetime) -> None:
    """Say yes: a staff member is made as whom they act, who has no password. Raises Invalid where it is too late."""
    session.refresh(consent, with_for_update=True)
    if consent.granted_at is not None or consent.ended_at is not None:
        raise Invalid(FieldProblem("hours", Problem.ALREADY_DONE))
    person = Staff(
        operator_id=consent.operator_id,
        email=f"consent-{consent.id}@{consent.operator_id}.invalid",  # RFC 2606: no mail ever goes there
        name=consent.asked_by or "Platform",
        password_hash="-",  # noqa: S106 - no password has this hash
        roles=list(ACTING_ROLES),
        awaits_password_since=now,
    )
    session.add(person)
    session.flush()
    consent.granted_at, consent.granted_by = now, actor.name
    consent.until, consent.staff_id = now + timedelta(hours=consent.hours), person.id
    session.flush()
    after = {"for_hours": consent.hours, "until": consent.until, "for": consent.asked_by}
    record(session, actor, "consent.give", "consent", consent.id, None, after)


def end_consent(session: Session, actor: Actor, consent: Consent, now: datetime) -> None:
    """Refuse what is asked, or end what was given: who acts is out with the next click."""
    session.refresh(consent, with_for_update=True)
    if consent.ended_at is not None:
        return
    consent.ended_at = now
    if consent.staff_id is not None:
        session.execute(
            update(Staff)
            .where(Staff.id == consent.staff_id)
            .values(active=False, session_version=Staff.session_version + 1)
        )
    session.flush()
    action = "consent.end" if consent.granted_at else "consent.refuse"
    record(session, actor, action, "consent", consent.id, None, {"for": consent.asked_by})


def holds(consent: Consent, now: datetime) -> bool:
    """Tell whether somebody may act by a consent now."""
    return consent.ended_at is None and consent.until is not None and consent.until > now


def ask_removal(session: Session, actor: Actor, typed: str, operator: Operator, now: datetime) -> datetime:
    """Have an operator removed with all it has after the days of grace. Raises Invalid unless its name is typed."""
    if typed.strip() != operator.name:
        raise Invalid(FieldProblem("typed", Problem.NOT_THE_SAME))
    account = session.get(Account, operator.id, with_for_update=True)
    if account is None or account.platform:
        raise Invalid(FieldProblem("typed", Problem.NOT_OFFERED))
    if session.scalar(text("SELECT count(*) FROM reseller_usage()")):
        raise Invalid(FieldProblem("typed", Problem.HAS_RESELLERS))
    if account.removes_at is not None:
        return account.removes_at
    account.removal_asked_at, account.removal_asked_by, account.removes_at = now, actor.name, now + GRACE
    session.flush()
    record(session, actor, "operator.remove", "operator", operator.id, None, {"on": account.removes_at})
    return account.removes_at


def keep_after_all(session: Session, actor: Actor, operator_id: int) -> None:
    """Take back that an operator is to be removed."""
    account = session.get(Account, operator_id, with_for_update=True)
    if account is None or account.removes_at is None:
        return
    account.removal_asked_at, account.removal_asked_by, account.removes_at = None, "", None
    session.flush()
    record(session, actor, "operator.keep", "operator", operator_id, None, {"removal": "taken back"})


def _account_to_change(session: Session, operator_id: int) -> Account:
    """Return the account of an operator that is not the platform; made where it came before accounts."""
    account = session.get(Account, operator_id, with_for_update=True)
    if account is None:
        account = Account(operator_id=operator_id)
        session.add(account)
        session.flush()
        session.refresh(account)
    if account.platform:
        raise Invalid(FieldProblem("reason", Problem.NOT_OFFERED))
    return account


def _record_both(
    session: Session, actor: Actor, act_for: ActFor, operator_id: int, action: str, after: dict[str, object]
) -> None:
    """Write what was done into the audit log of who did it, and into the operator's."""
    record(session, actor, action, "operator", operator_id, None, after)
    session.flush()
    with act_for(session, operator_id):
        record(
            session, Actor(operator_id, actor.name, None, actor.address), action, "operator", operator_id, None, after
        )
        session.flush()
