"""Leaving messages that are not about the account: a signed link that needs no sign-in (RFC 8058), and coming back.

The link names operator and subscriber and is signed with a key of the operator, sealed in the database, so links in
old mails stay good when the installation's keys change.
"""

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.crypto import Keyring
from db.audit import Actor, record
from db.models import MessagePreference, MessageSettings, Subscriber

KEY_PURPOSE = "message.link"
_SHAPE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([a-z2-7]{26})")


def link_key(session: Session, keyring: Keyring, operator_id: int) -> bytes:
    """Return the key that signs an operator's links, made at its first use. The caller commits."""
    query = select(MessageSettings.link_key).where(MessageSettings.operator_id == operator_id)
    sealed = session.scalar(query)
    if sealed is None:
        made = keyring.seal(KEY_PURPOSE, secrets.token_hex(32))
        session.execute(
            insert(MessageSettings)
            .values(operator_id=operator_id, link_key=made)
            .on_conflict_do_update(
                index_elements=["operator_id"], set_={"link_key": made}, where=MessageSettings.link_key.is_(None)
            )
        )
        sealed = session.scalar(query)
    assert sealed is not None, "somebody has made it"
    return keyring.open(KEY_PURPOSE, sealed).encode()


def unsubscribe_text(key: bytes, operator_id: int, subscriber_id: int) -> str:
    """Return what stands in the link of one subscriber."""
    return f"{operator_id}-{subscriber_id}-{_signature(key, operator_id, subscriber_id)}"


def read_link(text: str) -> tuple[int, int] | None:
    """Return operator and subscriber that a link names, not yet believed; None for what is none."""
    found = _SHAPE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def is_genuine(session: Session, keyring: Keyring, text: str) -> bool:
    """Tell whether a link is one of ours."""
    found = read_link(text)
    if found is None:
        return False
    operator_id, subscriber_id = found
    sealed = session.scalar(select(MessageSettings.link_key).where(MessageSettings.operator_id == operator_id))
    if sealed is None:
        return False
    signature = _signature(keyring.open(KEY_PURPOSE, sealed).encode(), operator_id, subscriber_id)
    return hmac.compare_digest(signature, text.rpartition("-")[2])


def set_subscribed(session: Session, actor: Actor, subscriber: Subscriber, *, wanted: bool, now: datetime) -> None:
    """Let a subscriber have, or no longer have, what is not about the account. Done twice it is done once."""
    kept = session.get(MessagePreference, subscriber.id)
    before = kept is None or kept.unsubscribed_at is None
    if before == wanted:
        return
    at = None if wanted else now
    session.execute(
        insert(MessagePreference)
        .values(subscriber_id=subscriber.id, operator_id=subscriber.operator_id, unsubscribed_at=at)
        .on_conflict_do_update(index_elements=["subscriber_id"], set_={"unsubscribed_at": at})
    )
    session.expire_all()
    record(session, actor, "message.wish", "subscriber", subscriber.id, {"news": before}, {"news": wanted})


def _signature(key: bytes, operator_id: int, subscriber_id: int) -> str:
    digest = hmac.new(key, f"unsubscribe-{operator_id}-{subscriber_id}".encode(), hashlib.sha256).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()
