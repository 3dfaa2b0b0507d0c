"""Sessions of staff: each sign-in is a row that can be seen and ended, and ends by itself.

The cookie holds a key of 256 bits and the table its hash, so a session lives on the server: one that is revoked ends
at its next request. It ends when nothing was heard of it for some hours, when it is some days old whatever was heard,
and with all others when the password or the second factor changes, the roles change or the person is switched off.

A browser is told from others by a cookie of its own. The first sign-in from a new browser, or from a part of the
internet that the person has not signed in from before, is told to them by e-mail, so that somebody who guessed or
stole a password does not stay unnoticed. A known browser is also what guessing by others cannot lock out.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.audit import Actor, record
from db.models import LoginDevice, LoginSession, Staff

TRUSTED_FOR = timedelta(days=30)
"""So long a browser that asked for it needs no second factor."""
KEPT = timedelta(days=180)
"""So long an ended session stays in the list of those that were, and a place counts as known."""
_SEEN_EVERY = timedelta(minutes=1)
_LONGEST_AGENT = 300
_BROWSERS = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"), ("curl", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lasts without a request, and at most."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun: the keys for the browser's two cookies, and what is new about it.

    `news` is "device", "place", or empty where there is nothing to tell: at the very first sign-in, too.
    """

    id: int
    key: str
    device: str
    news: str


def begin_session(
    session: Session,
    person: Staff,
    device: str | None,
    user_agent: str,
    address: str | None,
    factor: str,
    now: datetime,
    *,
    trust: bool = False,
) -> Begun:
    """Begin a session. `device` is what the browser's cookie says, `factor` what stands beside the password.

    `trust`: ask this browser for no second factor for `TRUSTED_FOR`.
    """
    _forget_old(session, person, now)
    known = device_of(session, person.id, device)
    news = _news(session, person, known, address)
    if known is None or device is None:
        device = secrets.token_urlsafe(32)
        known = LoginDevice(
            operator_id=person.operator_id,
            staff_id=person.id,
            token_hash=_hashed(device),
            user_agent=user_agent[:_LONGEST_AGENT],
            seen_at=now,
        )
        session.add(known)
        session.flush()
    known.seen_at, known.user_agent = now, user_agent[:_LONGEST_AGENT]
    if trust:
        known.trusted_until = now + TRUSTED_FOR
    key = secrets.token_urlsafe(32)
    begun = LoginSession(
        operator_id=person.operator_id,
        staff_id=person.id,
        device_id=known.id,
        key_hash=_hashed(key),
        address=_parsed(address),
        user_agent=user_agent[:_LONGEST_AGENT],
        factor=factor,
        created_at=now,
        seen_at=now,
    )
    session.add(begun)
    session.flush()
    return Begun(begun.id, key, device, news)


def device_of(session: Session, staff_id: int, device: str | None) -> LoginDevice | None:
    """Return the known browser of a person that a cookie names, or None."""
    if not device:
        return None
    return session.scalar(
        select(LoginDevice).where(LoginDevice.staff_id == staff_id, LoginDevice.token_hash == _hashed(device))
    )


def person_of(
    session: Session, staff_id: int, key: str, limits: Limits, now: datetime
) -> tuple[Staff, LoginSession] | None:
    """Return whose session a key opens, or None when it has ended. Commits what it notes: when it was last seen."""
    found = session.execute(
        select(Staff, LoginSession)
        .join(LoginSession, LoginSession.staff_id == Staff.id)
        .where(Staff.id == staff_id, LoginSession.key_hash == _hashed(key), LoginSession.ended_at.is_(None))
    ).one_or_none()
    if found is None:
        return None
    person, begun = found
    why = (
        "idle" if begun.seen_at + limits.idle <= now else "too_old" if begun.created_at + limits.absolute <= now else ""
    )
    if why:
        begun.ended_at, begun.ended_why = now, why
        session.commit()
        return None
    if begun.seen_at + _SEEN_EVERY <= now:
        begun.seen_at = now
        session.commit()
    return person, begun


def sessions_of(session: Session, staff_id: int, limits: Limits, now: datetime) -> list[LoginSession]:
    """Return the sessions of a person that have not ended, the one seen last first."""
    return list(
        session.scalars(
            select(LoginSession)
            .where(
                LoginSession.staff_id == staff_id,
                LoginSession.ended_at.is_(None),
                LoginSession.seen_at > now - limits.idle,
                LoginSession.created_at > now - limits.absolute,
            )
            .order_by(LoginSession.seen_at.desc(), LoginSession.id.desc())
        )
    )


def end_session(session: Session, actor: Actor, staff_id: int, session_id: int, why: str, now: datetime) -> bool:
    """End one session of a person, whose browser is trusted no more unless it signed out; False where there is none."""
    found = session.scalar(
        select(LoginSession).where(
            LoginSession.id == session_id, LoginSession.staff_id == staff_id, LoginSession.ended_at.is_(None)
        )
    )
    if found is None:
        return False
    found.ended_at, found.ended_why = now, why
    if why == "revoked":
        session.execute(update(LoginDevice).where(LoginDevice.id == found.device_id).values(trusted_until=None))
        record(session, actor, "staff.session_end", "staff", staff_id, None, {"sessions": 1})
    session.flush()
    return True


def end_sessions(
    session: Session, person: Staff, why: str, now: datetime | None = None, keep: int | None = None
) -> int:
    """End all sessions of a person but the one with the id `keep`, trust none of their browsers, and return how many.

    To be called with every change after which a browser that is signed in proves nothing any more.
    """
    instant = func.now() if now is None else now
    ended = session.execute(
        update(LoginSession)
        .where(
            LoginSession.staff_id == person.id, LoginSession.ended_at.is_(None), LoginSession.id.is_distinct_from(keep)
        )
        .values(ended_at=instant, ended_why=why)
        .returning(LoginSession.id)
    ).all()
    session.execute(update(LoginDevice).where(LoginDevice.staff_id == person.id).values(trusted_until=None))
    return len(ended)


def device_words(user_agent: str) -> tuple[str, str]:
    """Return browser and system as people call them; each is empty where the browser does not say."""
    browser = next((name for sign, name in _BROWSERS if f"{sign}/" in user_agent), "")
    version = re.search(r"(?:Edg|OPR|SamsungBrowser|Firefox|FxiOS|CriOS|Chrome|Version)/(\d+)", user_agent)
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    return (f"{browser} {version[1]}" if browser and version else browser), system


def block_of(address: object) -> str:
    """Return the part of the internet that an address belongs to, as coarse as providers give them out."""
    parsed = _parsed(str(address)) if address is not None else None
    if parsed is None:
        return ""
    return str(ip_network(f"{parsed}/{16 if parsed.version == 4 else 32}", strict=False))


def _news(session: Session, person: Staff, known: LoginDevice | None, address: str | None) -> str:
    before = session.scalars(
        select(LoginSession.address).where(LoginSession.staff_id == person.id).distinct().limit(500)
    ).all()
    if not before:
        return ""
    if known is None:
        return "device"
    return "" if block_of(address) in {block_of(each) for each in before} else "place"


def _forget_old(session: Session, person: Staff, now: datetime) -> None:
    session.execute(delete(LoginSession).where(LoginSession.staff_id == person.id, LoginSession.seen_at < now - KEPT))
    session.execute(delete(LoginDevice).where(LoginDevice.staff_id == person.id, LoginDevice.seen_at < now - KEPT))


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _parsed(address: str | None) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address) if address else None
    except ValueError:
        return None
