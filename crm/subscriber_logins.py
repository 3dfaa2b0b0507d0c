"""Signing in of subscribers: the first login, passwords, codes and links by e-mail.

A subscriber is who has the e-mail address that the operator keeps for them. They prove it with a password of their
own, or with a code of six digits that is sent there; a password of a service is never asked for and never accepted.
Whoever asks for a code or a new password is told the same whether or not the address is known. A family may share an
address, so an address leads to several subscribers, of whom the person then chooses one.

Guessing: a code is good for ten minutes and five tries, and an address gets five codes an hour, which leaves one
chance in forty thousand an hour. A link holds 256 bits, is good once, and only its hash is kept. Passwords come here as
argon2 hashes, as those of staff do. Messages with a code or a link are seen by nobody but who gets them: the portal's
database role cannot read them, or whoever may see the log of messages could sign in as any subscriber.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES, N_, translator
from crm.brands import Branding, allowed_by, brand_of
from crm.notices import EMAIL, Message, checked_address, values_of
from crm.password_rules import require_strong_for_subscriber
from crm.problems import FieldProblem, Invalid, Problem
from crm.push import sign_off_others
from db.audit import Actor, record
from db.models import ImportRow, Notification, Operator, Service, SignInCode, SignInLink, Subscriber, SubscriberLogin

CODE_LASTS = timedelta(minutes=10)
CODE_TRIES = 5
CODES_AN_HOUR = 5
FIRST_LINK_LASTS = timedelta(days=14)
RECOVERY_LASTS = timedelta(hours=1)
NEWEST = timedelta(days=1)
"""A first login goes to who became active at most so long ago: after an outage nobody is greeted weeks late."""
KEPT = timedelta(days=30)
"""So long spent codes and links are kept."""

_HELLO = N_("Hello %(name)s,")
_FIRST_SUBJECT = N_("Your access to %(company)s")
_FIRST = (
    N_("on your own page you see whether you are online, what you owe and how much you use, and you can pay there."),
    N_("Choose a password (good until %(until)s, once): %(url)s"),
    N_("Or sign in without one: at %(home)s enter this e-mail address, and a code is sent to you."),
)
_RECOVERY_SUBJECT = N_("A new password for %(company)s")
_RECOVERY = (
    N_("somebody asked for a new password for your page. Choose one within an hour: %(url)s"),
    N_("If it was not you, leave this message alone: nothing changes."),
)
_CODE_SUBJECT = N_("%(code)s is your code for %(company)s")
_CODE = (
    N_("your code is %(code)s. It is good for ten minutes."),
    N_("Nobody of %(company)s will ever ask you for it. If you did not want to sign in, leave this message alone."),
)


@dataclass(frozen=True, slots=True)
class OpenLink:
    """A link that is still good, and whose it is."""

    id: int
    subscriber_id: int
    purpose: str


# The first login.


def give_login(
    session: Session, keyring: Keyring, subscriber: Subscriber, public_url: str, now: datetime
) -> SubscriberLogin | None:
    """Give a subscriber the first login, which is sent once; None where there is no address to send it to.

    Harmless when called again: who has one is left alone. `public_url` is `Settings.public_url`.
    """
    session.refresh(subscriber, with_for_update=True)  # of two workers, one sends it
    login = session.get(SubscriberLogin, subscriber.id, populate_existing=True)
    if login is not None and login.given_at is not None:
        return login
    address = _address(subscriber)
    if address is None:
        return None
    if login is None:
        login = SubscriberLogin(subscriber_id=subscriber.id, operator_id=subscriber.operator_id)
        session.add(login)
    login.given_at = now
    session.flush()
    operator = session.get_one(Operator, subscriber.operator_id)
    brand = brand_of(session, operator)
    home, language = brand.portal_url(public_url), language_of(subscriber, operator)
    said = {
        "url": _new_link(session, subscriber, "first", home, now + FIRST_LINK_LASTS),
        "home": home,
        "until": (now + FIRST_LINK_LASTS).date().isoformat(),
    }
    _send(session, keyring, brand, "login.first", address, language, subscriber.name, (_FIRST_SUBJECT, *_FIRST), said)
    actor = Actor(subscriber.operator_id, "subscriber logins")
    record(session, actor, "subscriber.login", "subscriber", subscriber.id, None, {"sent_to": address})
    return login


def without_login(session: Session, now: datetime, most: int = 200) -> list[Subscriber]:
    """Return subscribers of whom a service became active lately, who have an address and were sent no login.

    Those who came in by an import are left out: an operator who moves thousands of subscribers here tells them first,
    and sends the logins when it is ready (`give_login`).
    """
    imported = select(ImportRow.id).where(ImportRow.service_id == Service.id)
    sent = select(SubscriberLogin.subscriber_id).where(
        SubscriberLogin.subscriber_id == Subscriber.id, SubscriberLogin.given_at.is_not(None)
    )
    active = select(Service.subscriber_id).where(
        Service.state == "active",
        Service.activated_at > now - NEWEST,
        Service.access_method != "voucher",
        ~imported.exists(),
    )
    query = (
        select(Subscriber)
        .where(Subscriber.id.in_(active), Subscriber.email.is_not(None), ~sent.exists())
        .order_by(Subscriber.id)
        .limit(most)
    )
    return list(session.scalars(query))


def give_logins(session: Session, keyring: Keyring, public_url: str, now: datetime) -> int:
    """Send the first login to everybody who is due one, and return to how many. Commits each."""
    count = 0
    for subscriber in without_login(session, now):
        allowed = allowed_by(session, subscriber.operator_id)
        if not (allowed.enabled and allowed.send_logins):
            continue
        if give_login(session, keyring, subscriber, public_url, now) is not None:
            count += 1
        session.commit()
    return count


def forget_spent(session: Session, now: datetime) -> None:
    """Remove codes and links that have long been of no use."""
    session.execute(delete(SignInCode).where(SignInCode.expires_at < now - KEPT))
    session.execute(delete(SignInLink).where(SignInLink.expires_at < now - KEPT))


# Codes.


def send_code(session: Session, keyring: Keyring, operator: Operator, email: str, now: datetime) -> None:
    """Send a code to an address, if somebody of the operator's has it and it did not get too many.

    A row is written in any case, so nothing tells who is known.
    """
    email = email.strip().lower()
    recent = session.scalar(
        select(func.count())
        .select_from(SignInCode)
        .where(
            SignInCode.operator_id == operator.id,
            SignInCode.email == email,
            SignInCode.created_at > now - timedelta(hours=1),
        )
    )
    if (recent or 0) >= CODES_AN_HOUR:
        return
    code = f"{secrets.randbelow(10**6):06d}"
    session.add(
        SignInCode(
            operator_id=operator.id,
            email=email,
            code_hash=_code_hash(keyring, operator.id, email, code),
            expires_at=now + CODE_LASTS,
            created_at=now,
        )
    )
    session.flush()
    known = subscribers_of(session, email)
    address = _address(known[0]) if known else None
    if address is None:
        return
    language, brand = language_of(known[0], operator), brand_of(session, operator)
    name = known[0].name if len(known) == 1 else brand.name
    _send(session, keyring, brand, "login.code", address, language, name, (_CODE_SUBJECT, *_CODE), {"code": code})


def use_code(
    session: Session, keyring: Keyring, operator_id: int, email: str, typed: str, now: datetime
) -> list[Subscriber]:
    """Return the subscribers whom a code lets in, none for a wrong one. The caller commits in either case.

    Only the newest code of an address counts, and each try is counted before it is judged.
    """
    email, code = email.strip().lower(), "".join(one for one in typed if one.isdigit())
    newest = session.scalar(
        select(SignInCode)
        .where(SignInCode.operator_id == operator_id, SignInCode.email == email)
        .order_by(SignInCode.id.desc())
        .limit(1)
        .with_for_update()
    )
    if newest is None or newest.used_at is not None or newest.expires_at <= now or newest.attempts >= CODE_TRIES:
        return []
    newest.attempts += 1
    session.flush()
    if not hmac.compare_digest(newest.code_hash, _code_hash(keyring, operator_id, email, code)):
        return []
    newest.used_at = now
    session.flush()
    return subscribers_of(session, email)


def subscribers_of(session: Session, email: str) -> list[Subscriber]:
    """Return the subscribers with an e-mail address, of the operator that the session acts for."""
    ids = list(session.scalars(select(func.subscribers_of_email(email.strip().lower()))))
    return list(session.scalars(select(Subscriber).where(Subscriber.id.in_(ids)).order_by(Subscriber.id)))


# Passwords and links.


def send_recovery(
    session: Session, keyring: Keyring, operator: Operator, email: str, public_url: str, now: datetime
) -> None:
    """Send a link to choose a new password to each subscriber with an address; nothing for an address nobody has."""
    brand = brand_of(session, operator)
    for subscriber in subscribers_of(session, email):
        address = _address(subscriber)
        asked = session.scalar(
            select(func.count())
            .select_from(SignInLink)
            .where(SignInLink.subscriber_id == subscriber.id, SignInLink.created_at > now - timedelta(hours=1))
        )
        if address is None or (asked or 0) >= CODES_AN_HOUR:
            continue
        url = _new_link(session, subscriber, "recovery", brand.portal_url(public_url), now + RECOVERY_LASTS, now)
        texts = (_RECOVERY_SUBJECT, *_RECOVERY)
        language = language_of(subscriber, operator)
        _send(session, keyring, brand, "login.recovery", address, language, subscriber.name, texts, {"url": url})


def open_link(session: Session, operator_id: int, token: str, now: datetime) -> OpenLink | None:
    """Return a link by what stands in it, None when it is not good. Looking does not use it up: programs that check
    mails for viruses look, too."""
    found = session.scalar(
        select(SignInLink).where(
            SignInLink.operator_id == operator_id,
            SignInLink.token_hash == hashlib.sha256(token.encode()).digest(),
            SignInLink.used_at.is_(None),
            SignInLink.expires_at > now,
        )
    )
    return None if found is None else OpenLink(found.id, found.subscriber_id, found.purpose)


def use_link(
    session: Session,
    actor: Actor,
    token: str,
    password: str,
    password_hash: str,
    now: datetime,
    told_in: int | None = None,
) -> SubscriberLogin:
    """Set a password by a link, which is then spent, as are all others of the subscriber. Raises Invalid."""
    opened = open_link(session, actor.operator_id, token, now)
    if opened is None:
        raise Invalid(FieldProblem("password", Problem.LINK_SPENT))
    links = select(SignInLink).where(SignInLink.subscriber_id == opened.subscriber_id).order_by(SignInLink.id)
    mine = list(session.scalars(links.with_for_update().execution_options(populate_existing=True)))
    if any(link.id == opened.id and link.used_at is not None for link in mine):
        raise Invalid(FieldProblem("password", Problem.LINK_SPENT))  # by another tab, in the same moment
    login = login_of(session, actor.operator_id, opened.subscriber_id)
    change_password(session, actor, login, password, password_hash, told_in)
    for link in mine:
        link.used_at = link.used_at or now
    session.flush()
    return login


def login_of(session: Session, operator_id: int, subscriber_id: int) -> SubscriberLogin:
    """Return the login of a subscriber, made if there is none yet."""
    login = session.get(SubscriberLogin, subscriber_id)
    if login is None:
        login = SubscriberLogin(subscriber_id=subscriber_id, operator_id=operator_id, session_version=1)
        session.add(login)
        session.flush()
    return login


def change_password(
    session: Session,
    actor: Actor,
    login: SubscriberLogin,
    password: str,
    password_hash: str,
    told_in: int | None = None,
) -> None:
    """Change a subscriber's password and end all of their browsers' sessions. Raises Invalid.

    Messages come to none of these browsers any more but to `told_in`, before which the subscriber sits.
    """
    subscriber = session.get_one(Subscriber, login.subscriber_id)
    company = session.get_one(Operator, login.operator_id).name
    require_strong_for_subscriber(password, subscriber.name, subscriber.email or "", subscriber.phone or "", company)
    login.password_hash = password_hash
    login.session_version += 1
    sign_off_others(session, actor, subscriber, told_in)
    session.flush()
    record(session, actor, "subscriber.password", "subscriber", login.subscriber_id, None, {"password": "changed"})


def note_sign_in(session: Session, actor: Actor, login: SubscriberLogin, way: str, now: datetime) -> None:
    """Write down that a subscriber signed in. `way`: password, code, link."""
    login.last_login_at = now
    session.flush()
    record(session, actor, "subscriber.sign_in", "subscriber", login.subscriber_id, None, {"way": way})


def language_of(subscriber: Subscriber, operator: Operator) -> str:
    """Return the language that a subscriber is written to in."""
    wanted = (subscriber.language, operator.locale[:2])
    return next((language for language in wanted if language and language in LANGUAGES), DEFAULT_LANGUAGE)


# Below here: what the above is made of.


def _new_link(
    session: Session, subscriber: Subscriber, purpose: str, home: str, until: datetime, now: datetime | None = None
) -> str:
    token = secrets.token_urlsafe(32)
    made = SignInLink(
        operator_id=subscriber.operator_id,
        subscriber_id=subscriber.id,
        purpose=purpose,
        token_hash=hashlib.sha256(token.encode()).digest(),
        expires_at=until,
    )
    if now is not None:
        made.created_at = now
    session.add(made)
    session.flush()
    return f"{home}/link/{token}"


def _code_hash(keyring: Keyring, operator_id: int, email: str, code: str) -> bytes:
    """A hash that a copy of the database does not help to find the six digits of."""
    said = f"{operator_id}:{email}:{code}".encode()
    return hmac.new(keyring.derive("subscriber.code"), said, hashlib.sha256).digest()


def _address(subscriber: Subscriber) -> str | None:
    try:
        return checked_address(EMAIL, subscriber.email or "")
    except Invalid:
        return None


def _send(
    session: Session,
    keyring: Keyring,
    brand: Branding,
    kind: str,
    address: str,
    language: str,
    name: str,
    texts: tuple[str, ...],
    said: dict[str, str],
) -> None:
    translate = translator(language)
    values = {**said, "company": brand.name, "name": name}
    subject, *body = (translate(text) % values for text in texts)
    lines = [translate(_HELLO) % values, "", *body, "", brand.name, *filter(None, (brand.phone, brand.email))]
    message = Message(kind, EMAIL, address, language, subject, "\n".join(lines))
    # Not `deliver()`, which reads the row's id back: the portal's role may write such a message and not read it.
    session.execute(insert(Notification).values(**values_of(keyring, brand.operator_id, message)).inline())
