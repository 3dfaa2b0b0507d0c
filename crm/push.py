"""Messages to browsers (Web Push): a subscriber turns them on in the portal, on each phone or computer for itself.

A browser hands out an address at its maker's push service and two keys. What is said is encrypted for these keys
(RFC 8291), so the service carries what it cannot read, and signed with a key of the operator (RFC 8292), so nobody
else can send there. One message of the queue goes to all browsers of the subscriber; it counts as sent when one of
them was reached. A browser that its service calls gone (404, 410) is forgotten.

The encryption is written here: it is four derivations and one AES-GCM, proven by the example of the RFC.
"""

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.crypto import Keyring
from core.settings import Settings
from crm.delivery import Refused, TryAgain
from crm.outbound import NoAnswer, NotAllowed, post
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import MessageSettings, Notification, PushBrowser, Subscriber

PUSH = "push"
KEY_PURPOSE = "message.push"
BROWSER_PURPOSE = "push.browser"
MOST_BROWSERS = 10
"""Browsers of one subscriber; the oldest gives way."""
LONGEST_TEXT = 1000
"""Characters: with what stands around them they fit into the 4,096 octets that every service takes (RFC 8030 §7.2)."""
KEPT_FOR = timedelta(days=1)
"""How long a service keeps a message for a browser that is off."""
_SIGNED_FOR = timedelta(hours=12)
_TIMEOUT = 10.0
_RECORD = 4096
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser hands out: the address to post to, its public key, and a secret shared with it alone."""

    endpoint: str
    p256dh: bytes
    auth: bytes


def public_key(session: Session, keyring: Keyring, operator_id: int) -> str:
    """Return the key by which browsers know an operator, made at its first use. The caller commits."""
    return _encoded(_point(_own_key(session, keyring, operator_id)))


def read_subscription(endpoint: str, p256dh: str, auth: str, *, local: bool) -> Subscription:
    """Return what a browser sent. Raises Invalid (`endpoint`): not an address of the web, or keys that are none.

    `local` takes http as well. Whether the address is a public one is looked at whenever something is sent to it.
    """
    found = Subscription(endpoint.strip(), _decoded(p256dh), _decoded(auth))
    try:
        parts = urlsplit(found.endpoint)
        good = parts.scheme in (("https", "http") if local else ("https",)) and bool(parts.hostname)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), found.p256dh)
    except ValueError:
        good = False
    if not good or len(found.endpoint) > 2000 or len(found.auth) != 16:
        raise Invalid(FieldProblem("endpoint", Problem.NOT_A_WEB_ADDRESS))
    return found


def sign_up(
    session: Session, keyring: Keyring, actor: Actor, subscriber: Subscriber, found: Subscription, name: str
) -> int:
    """Send a subscriber's messages to a browser from now on, and return its id. One that was another's is this
    subscriber's now."""
    values = {
        "subscriber_id": subscriber.id,
        "subscription": keyring.seal(
            BROWSER_PURPOSE,
            json.dumps({"endpoint": found.endpoint, "p256dh": _encoded(found.p256dh), "auth": _encoded(found.auth)}),
        ),
        "name": name[:100] or "?",
    }
    key = {
        "operator_id": subscriber.operator_id,
        "address_hash": hashlib.sha256(found.endpoint.encode()).digest(),
    }
    kept: int = session.execute(
        insert(PushBrowser)
        .values(**key, **values)
        .on_conflict_do_update(index_elements=["operator_id", "address_hash"], set_=values)
        .returning(PushBrowser.id)
    ).scalar_one()
    session.expire_all()
    surplus = browsers_of(session, subscriber)[:-MOST_BROWSERS]
    for each in surplus:
        session.delete(each)
    record(session, actor, "message.push_on", "subscriber", subscriber.id, None, {"browser": name[:100]})
    return kept


def sign_off(session: Session, actor: Actor, browser: PushBrowser) -> None:
    """Send nothing more to a browser."""
    session.delete(browser)
    record(session, actor, "message.push_off", "subscriber", browser.subscriber_id, {"browser": browser.name}, None)


def sign_off_others(session: Session, actor: Actor, subscriber: Subscriber, but: int | None) -> None:
    """Send nothing more to all browsers of a subscriber but one: they are signed out."""
    for browser in browsers_of(session, subscriber):
        if browser.id != but:
            sign_off(session, actor, browser)


def browsers_of(session: Session, subscriber: Subscriber) -> Sequence[PushBrowser]:
    """Return the browsers of a subscriber, the oldest first."""
    query = select(PushBrowser).where(
        PushBrowser.operator_id == subscriber.operator_id, PushBrowser.subscriber_id == subscriber.id
    )
    return session.scalars(query.order_by(PushBrowser.created_at, PushBrowser.id)).all()


def anybody_signed_up(session: Session, operator_id: int) -> bool:
    """Tell whether any subscriber of an operator did, so that the others need not be asked one by one."""
    return bool(session.scalar(select(exists().where(PushBrowser.operator_id == operator_id))))


def signed_up(session: Session, operator_id: int, subscriber_id: int | None = None) -> dict[int, str]:
    """Return who is told in browsers, of all subscribers or one: the names of the browsers, for the delivery log."""
    query = select(PushBrowser.subscriber_id, PushBrowser.name).where(PushBrowser.operator_id == operator_id)
    if subscriber_id is not None:
        query = query.where(PushBrowser.subscriber_id == subscriber_id)
    found: dict[int, list[str]] = {}
    for number, name in session.execute(query.order_by(PushBrowser.id)):
        found.setdefault(number, []).append(name)
    return {number: ", ".join(dict.fromkeys(names)) for number, names in found.items()}


def send_push(
    sessions: sessionmaker[Session], settings: Settings, kept: MessageSettings | None, notification: Notification
) -> None:
    """Send a message to all browsers of its subscriber. Raises TryAgain and Refused where none of them has it."""
    if kept is None or kept.push_key is None:
        raise Refused("no browser is signed up")
    key = _read_key(settings.keyring.open(KEY_PURPOSE, kept.push_key))
    with sessions() as session:
        rows = session.scalars(
            select(PushBrowser).where(
                PushBrowser.operator_id == notification.operator_id,
                PushBrowser.subscriber_id == notification.subscriber_id,
            )
        ).all()
    said = json.dumps(
        {"title": notification.subject, "body": notification.body[:LONGEST_TEXT], "tag": str(notification.id)},
        ensure_ascii=False,
    ).encode()
    reached, gone, troubles, again = 0, [], [], False
    for row in rows:
        kept_keys = json.loads(settings.keyring.open(BROWSER_PURPOSE, row.subscription))
        found = Subscription(kept_keys["endpoint"], _decoded(kept_keys["p256dh"]), _decoded(kept_keys["auth"]))
        try:
            _send(settings, key, found, said, urgent=notification.urgent)
            reached += 1
        except _Gone:
            gone.append(row.id)
        except (Refused, TryAgain) as problem:
            again |= isinstance(problem, TryAgain)
            troubles.append(str(problem))
    if gone:
        with sessions() as session:
            session.execute(delete(PushBrowser).where(PushBrowser.id.in_(gone)))
            session.commit()
    if not reached:
        raise (TryAgain if again else Refused)("; ".join(troubles) or "no browser is signed up")


class _Gone(Exception):
    """The browser has signed off at its push service."""


def _send(
    settings: Settings, key: ec.EllipticCurvePrivateKey, found: Subscription, said: bytes, *, urgent: bool
) -> None:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(int(KEPT_FOR.total_seconds())),
        "Urgency": "high" if urgent else "normal",
        "Authorization": signature(key, found.endpoint, settings, utc_now()),
    }
    local = settings.local_gateways
    try:
        # Not into the networks that staff's gateways may be in: this address was given by a subscriber.
        answer = post(found.endpoint, encrypted(said, found), headers, local=local, timeout=_TIMEOUT, secure=not local)
    except NotAllowed as problem:
        raise Refused(str(problem)) from None
    except NoAnswer as problem:
        raise TryAgain(str(problem)) from None
    if answer.status in (404, 410):
        raise _Gone
    if not 200 <= answer.status < 300:
        host = urlsplit(found.endpoint).hostname
        later = answer.status >= 500 or answer.status in (401, 408, 429)
        raise (TryAgain if later else Refused)(f"{host}: {answer.status}")


# RFC 8291 and RFC 8188: a record that the browser alone can open. RFC 8292: who sends it.


def encrypted(
    said: bytes, to: Subscription, *, own: ec.EllipticCurvePrivateKey | None = None, salt: bytes | None = None
) -> bytes:
    """Return a message as it is posted. `own` and `salt` are made anew for each, and given only by who checks this."""
    own, salt = own or ec.generate_private_key(ec.SECP256R1()), salt or secrets.token_bytes(16)
    shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), to.p256dh))
    keyed = _derived(to.auth, shared, b"WebPush: info\0" + to.p256dh + _point(own), 32)
    content_key = _derived(salt, keyed, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(salt, keyed, b"Content-Encoding: nonce\0", 12)
    header = salt + _RECORD.to_bytes(4, "big") + bytes([65]) + _point(own)
    return header + AESGCM(content_key).encrypt(nonce, said + b"\x02", None)  # 2: the last record


def signature(key: ec.EllipticCurvePrivateKey, endpoint: str, settings: Settings, now: datetime) -> str:
    """Return the Authorization of a request to a push service: who sends, to which service, until when."""
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + _SIGNED_FOR).timestamp()),
        "sub": settings.public_url
        if settings.public_url.startswith("https://")
        else f"mailto:{parseaddr(settings.smtp_sender)[1]}",
    }
    signed = ".".join(_encoded(json.dumps(each).encode()) for each in ({"typ": "JWT", "alg": "ES256"}, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    token = f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    return f"vapid t={token}, k={_encoded(_point(key))}"


def _derived(salt: bytes, secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, purpose).derive(secret)


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _own_key(session: Session, keyring: Keyring, operator_id: int) -> ec.EllipticCurvePrivateKey:
    query = select(MessageSettings.push_key).where(MessageSettings.operator_id == operator_id)
    sealed = session.scalar(query)
    if sealed is None:
        made = ec.generate_private_key(ec.SECP256R1())
        text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        values = {"push_key": keyring.seal(KEY_PURPOSE, text)}
        session.execute(
            insert(MessageSettings)
            .values(operator_id=operator_id, **values)
            .on_conflict_do_update(
                index_elements=["operator_id"], set_=values, where=MessageSettings.push_key.is_(None)
            )
        )
        sealed = session.scalar(query)
    assert sealed is not None, "somebody has made it"
    return _read_key(keyring.open(KEY_PURPOSE, sealed))


def _read_key(text: str) -> ec.EllipticCurvePrivateKey:
    found = load_pem_private_key(text.encode(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Return the octets of base64url, with or without its padding; none where it is not."""
    if not _BASE64URL.fullmatch(text):
        return b""
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        return b""
