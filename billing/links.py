"""Links that people get without an account: to check a document, to fetch it, to pay.

A link names what it is for, the operator and the number of the thing, and ends with a signature over that, made with
the operator's own key (`letterhead.link_key`). It says nothing that is secret, cannot be guessed or altered, and a
link for one purpose opens nothing of another: whoever can check that a receipt is genuine cannot read it.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.crypto import Keyring
from db.models import Letterhead

KEY_PURPOSE = "document.link"
_SHAPE = re.compile(r"([a-z]{2})-([0-9]{1,18})-([0-9]{1,18})-([a-z2-7]{26})")


class LinkFor(StrEnum):
    """What a link opens: its first two letters."""

    CHECK_INVOICE = "vi"
    CHECK_CREDIT_NOTE = "vc"
    CHECK_RECEIPT = "vr"
    FETCH_INVOICE = "fi"
    FETCH_CREDIT_NOTE = "fc"
    FETCH_RECEIPT = "fr"
    FETCH_QUOTE = "fq"
    PAY_INVOICE = "pi"
    PAY_BALANCE = "pb"  # the number is the subscriber's
    HOTSPOT = "hs"  # the captive page of a NAS


@dataclass(frozen=True, slots=True)
class Link:
    """What the text of a link says, not yet believed."""

    purpose: LinkFor
    operator_id: int
    subject_id: int
    signature: str


def link_key(session: Session, keyring: Keyring, operator_id: int) -> bytes:
    """Return the key that signs an operator's links, made at its first use. The caller commits."""
    query = select(Letterhead.link_key).where(Letterhead.operator_id == operator_id)
    sealed = session.scalar(query)
    if sealed is None:
        made = keyring.seal(KEY_PURPOSE, secrets.token_hex(32))
        values = {"operator_id": operator_id, "link_key": made}
        session.execute(insert(Letterhead).values(values).on_conflict_do_nothing())
        sealed = session.scalar(query)
    assert sealed is not None, "somebody has made it"
    return keyring.open(KEY_PURPOSE, sealed).encode()


def signed(key: bytes, purpose: LinkFor, operator_id: int, subject_id: int) -> str:
    """Return the text of a link, in letters that survive being typed from paper."""
    said = f"{purpose}-{operator_id}-{subject_id}"
    return f"{said}-{_signature(key, said)}"


def read_link(text: str) -> Link | None:
    """Return what a link says, or None for what is none. `is_signed()` tells whether to believe it."""
    found = _SHAPE.fullmatch(text)
    if found is None or found[1] not in set(LinkFor):
        return None
    return Link(LinkFor(found[1]), int(found[2]), int(found[3]), found[4])


def is_signed(key: bytes, link: Link) -> bool:
    said = f"{link.purpose}-{link.operator_id}-{link.subject_id}"
    return hmac.compare_digest(_signature(key, said), link.signature)


def is_genuine(session: Session, keyring: Keyring, link: Link) -> bool:
    """Tell whether a link is one of ours, in a session that is bound to the operator it names."""
    sealed = session.scalar(select(Letterhead.link_key).where(Letterhead.operator_id == link.operator_id))
    return sealed is not None and is_signed(keyring.open(KEY_PURPOSE, sealed).encode(), link)


def pay_url(
    session: Session,
    keyring: Keyring,
    base_url: str,
    operator_id: int,
    *,
    subscriber_id: int | None = None,
    invoice_id: int | None = None,
) -> str:
    """Return where an invoice, or all that a subscriber owes, is paid without signing in. The caller commits.

    `base_url` is `Settings.public_url`. Raises ValueError unless exactly one of the two is named.
    """
    if (subscriber_id is None) == (invoice_id is None):
        raise ValueError("a link to pay is for an invoice or for a subscriber")
    purpose = LinkFor.PAY_BALANCE if invoice_id is None else LinkFor.PAY_INVOICE
    key = link_key(session, keyring, operator_id)
    return f"{base_url}/pay/{signed(key, purpose, operator_id, invoice_id or subscriber_id or 0)}"


def _signature(key: bytes, said: str) -> str:
    digest = hmac.new(key, said.encode(), hashlib.sha256).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()
