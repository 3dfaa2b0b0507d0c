"""Another e-mail address or phone, entered by the subscriber and theirs once a code that was sent there comes back.

An e-mail address lets somebody sign in, so nobody takes one over by a slip of the finger, nor by an open browser
unseen: the code goes to the new address, and who had the old one is told. A phone is confirmed the same way where the
operator's messages reach phones without a person (SMS, WhatsApp's API); where they do not, it is taken as it is.

A code is six digits for ten minutes, five tries, five an hour; the newest counts.
"""

import hashlib
import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_, translator
from crm.brands import brand_of
from crm.channels import channels_of, international
from crm.notices import EMAIL, Message, checked_address, values_of
from crm.problems import FieldProblem, Invalid, Problem
from crm.subscriber_logins import CODE_LASTS, CODE_TRIES, CODES_AN_HOUR, KEPT, language_of
from crm.subscribers import SubscriberDetails, change_subscriber, checked, details_of
from db.audit import Actor
from db.models import ContactChange, Notification, Operator, Subscriber

KINDS = ("email", "phone")
_CODE_SUBJECT = N_("%(code)s confirms this address for %(company)s")
_CODE = N_(
    "Hello %(name)s,\n\nyour code is %(code)s. It is good for ten minutes; with it this address becomes yours at"
    " %(company)s.\n\nIf you did not ask for it, leave this message alone: nothing changes."
)
_CODE_SHORT = N_("%(code)s is your code for %(company)s. If you did not ask for it, nothing changes.")
_NOTE_SUBJECT = N_("Your contact data at %(company)s were changed")
_NOTE = N_(
    "Hello %(name)s,\n\n%(what)s was changed on your page to %(wanted)s.\n\nIf it was not you, call us at once:"
    " %(phone)s"
)
_WHAT = {"email": N_("your e-mail address"), "phone": N_("your phone number")}


class TooMany(Exception):
    """So many codes were asked for in an hour that no more is sent."""


def needs_code(session: Session, operator_id: int, kind: str) -> bool:
    """Tell whether a code can be sent to a new address of this kind, and so has to come back."""
    return kind == "email" or _phone_channel(session, operator_id) is not None


def ask_for_change(
    session: Session, keyring: Keyring, subscriber: Subscriber, kind: str, wanted: str, now: datetime
) -> None:
    """Send a code to where a subscriber wants to be reached. Raises Invalid (field of the kind) and TooMany."""
    wanted = _checked(subscriber, kind, wanted)
    session.refresh(subscriber, with_for_update=True)  # of two at once, both count
    recent = select(func.count()).select_from(ContactChange).where(
        ContactChange.operator_id == subscriber.operator_id,
        ContactChange.subscriber_id == subscriber.id,
        ContactChange.created_at > now - timedelta(hours=1),
    )  # fmt: skip
    if (session.scalar(recent) or 0) >= CODES_AN_HOUR:
        raise TooMany
    code = f"{secrets.randbelow(10**6):06d}"
    session.add(
        ContactChange(
            operator_id=subscriber.operator_id,
            subscriber_id=subscriber.id,
            kind=kind,
            wanted=wanted,
            code_hash=_code_hash(keyring, subscriber.id, wanted, code),
            expires_at=now + CODE_LASTS,
            created_at=now,
        )
    )
    session.flush()
    short = kind == "phone"
    _tell(session, keyring, subscriber, kind, wanted, _CODE_SUBJECT, _CODE_SHORT if short else _CODE, {"code": code})


def waiting_change(session: Session, subscriber: Subscriber, kind: str, now: datetime) -> ContactChange | None:
    """Return the change whose code is awaited, None where none is."""
    newest = session.scalar(
        select(ContactChange)
        .where(
            ContactChange.operator_id == subscriber.operator_id,
            ContactChange.subscriber_id == subscriber.id,
            ContactChange.kind == kind,
        )
        .order_by(ContactChange.id.desc())
        .limit(1)
        .with_for_update()
    )
    if newest is None or newest.used_at is not None or newest.expires_at <= now or newest.attempts >= CODE_TRIES:
        return None
    return newest


def confirm_change(
    session: Session, keyring: Keyring, actor: Actor, subscriber: Subscriber, kind: str, typed: str, now: datetime
) -> bool:
    """Change what a code was sent to, and tell who had the old one; False for a wrong code, of which the try counts.

    The caller commits in either case.
    """
    change = waiting_change(session, subscriber, kind, now)
    if change is None:
        return False
    change.attempts += 1
    session.flush()
    code = "".join(one for one in typed if one.isdigit())
    if not hmac.compare_digest(change.code_hash, _code_hash(keyring, subscriber.id, change.wanted, code)):
        return False
    change.used_at = now
    take_change(session, keyring, actor, subscriber, kind, change.wanted)
    return True


def take_change(
    session: Session, keyring: Keyring, actor: Actor, subscriber: Subscriber, kind: str, wanted: str
) -> None:
    """Change an address that needs no code any more, and tell who had the old one. Raises Invalid."""
    wanted = _checked(subscriber, kind, wanted)
    session.refresh(subscriber, with_for_update=True)
    old = {"email": subscriber.email or "", "phone": subscriber.phone or ""}
    change_subscriber(session, actor, subscriber, _with(subscriber, kind, wanted), subscriber.version)
    operator = session.get_one(Operator, subscriber.operator_id)
    brand, say = brand_of(session, operator), translator(language_of(subscriber, operator))
    values = {"what": say(_WHAT[kind]), "wanted": wanted, "phone": brand.phone or brand.name}
    reached = {kind, "email"} if old["email"] else {kind}
    for each in sorted(reached):
        if old[each] and (each == "email" or needs_code(session, subscriber.operator_id, each)):
            _tell(session, keyring, subscriber, each, old[each], _NOTE_SUBJECT, _NOTE, values)


def forget_changes(session: Session, now: datetime) -> None:
    """Remove what has long been confirmed, or never was."""
    session.execute(delete(ContactChange).where(ContactChange.expires_at < now - KEPT))


def _checked(subscriber: Subscriber, kind: str, wanted: str) -> str:
    try:
        details = checked(_with(subscriber, kind, wanted.strip()))
        value = str(getattr(details, kind) or "")
        if kind == "email" and value:
            value = checked_address(EMAIL, value)
    except Invalid as invalid:
        renamed = (replace(each, field=kind) if each.field == "address" else each for each in invalid.problems)
        raise Invalid(*renamed) from None
    if not value:
        raise Invalid(FieldProblem(kind, Problem.REQUIRED))
    return value


def _with(subscriber: Subscriber, kind: str, wanted: str) -> SubscriberDetails:
    details = details_of(subscriber)
    return replace(details, email=wanted) if kind == "email" else replace(details, phone=wanted)


def _phone_channel(session: Session, operator_id: int) -> str | None:
    channels = channels_of(session, operator_id)
    return next((each for each in ("sms", "whatsapp") if channels.sends(each)), None)


def _tell(
    session: Session,
    keyring: Keyring,
    subscriber: Subscriber,
    kind: str,
    address: str,
    subject: str,
    body: str,
    said: dict[str, str],
) -> None:
    operator = session.get_one(Operator, subscriber.operator_id)
    brand, language = brand_of(session, operator), language_of(subscriber, operator)
    say, values = translator(language), {**said, "name": subscriber.name, "company": brand.name}
    channel = EMAIL
    if kind == "phone":
        channel = _phone_channel(session, operator.id) or EMAIL
        address = international(address, channels_of(session, operator.id).dial_prefix)
        if not address:
            raise Invalid(FieldProblem("phone", Problem.NOT_A_PHONE))
    words = Message(
        "login.contact", channel, address, language, say(subject) % values, f"{say(body) % values}\n\n{brand.name}"
    )
    # Not `deliver()`, which reads the row's id back: the portal's role may write such a message and not read it.
    session.execute(insert(Notification).values(**values_of(keyring, operator.id, words)).inline())


def _code_hash(keyring: Keyring, subscriber_id: int, wanted: str, code: str) -> bytes:
    """A hash that a copy of the database does not help to find the six digits of."""
    said = f"{subscriber_id}:{wanted}:{code}".encode()
    return hmac.new(keyring.derive("subscriber.contact"), said, hashlib.sha256).digest()
