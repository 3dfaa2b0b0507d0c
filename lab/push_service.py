"""A push service of the lab, with the browsers whose messages it carries (RFC 8030, 8291, 8292).

`browser()` signs one up and hands out what a real one would. A message is taken only as a real service takes it: from
who signed for the key that the browser was signed up with, for this very service, with a TTL and no more than 4,096
octets. What was taken is opened with the browser's keys, which the service itself would not have, by steps written
from the RFC and not shared with who sends. Faults are attributes that a test sets.
"""

import base64
import hmac
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.web import WebRequest, WebServer

MOST = 4096


@dataclass
class Browser:
    """A browser that signed up with the key of one sender. `shown` is what it was told, `urgency` how."""

    endpoint: str
    sender: str
    auth: bytes
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    gone: bool = False
    shown: list[dict[str, Any]] = field(default_factory=list)
    urgency: list[str] = field(default_factory=list)

    @property
    def form(self) -> dict[str, str]:
        """What its page sends."""
        return {"endpoint": self.endpoint, "p256dh": encoded(self.point), "auth": encoded(self.auth)}

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def opened(self, body: bytes) -> bytes:
        """Return what a body says (RFC 8188 §2, RFC 8291 §3.4). Raises InvalidTag where it is for somebody else."""
        salt, length = body[:16], body[20]
        theirs = body[21 : 21 + length]
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
        keyed = _hash(_hash(self.auth, shared), b"WebPush: info\0" + self.point + theirs + b"\1")
        pseudo = _hash(salt, keyed)
        content_key = _hash(pseudo, b"Content-Encoding: aes128gcm\0\1")[:16]
        nonce = _hash(pseudo, b"Content-Encoding: nonce\0\1")[:12]
        return AESGCM(content_key).decrypt(nonce, body[21 + length :], None).rstrip(b"\0").removesuffix(b"\2")


class PushService(WebServer):
    """The service at a port of this machine. A context manager.

    Faults: `answers` (a status that every request gets instead).
    """

    def __init__(self) -> None:
        super().__init__(_Handler, self)
        self.browsers: dict[str, Browser] = {}
        self.asked = 0
        self.answers: int | None = None
        self._numbers = itertools.count(1)

    def browser(self, sender: str) -> Browser:
        """Sign a browser up for who has a key."""
        number = next(self._numbers)
        path = f"/send/{number}"
        self.browsers[path] = Browser(self.url + path, sender, auth=bytes([number]) * 16)
        return self.browsers[path]


class _Handler(WebRequest):
    lab: PushService
    methods = ("POST",)

    def serve(self, method: str) -> None:
        self.lab.asked += 1
        content = self.body()
        self.answer(self.lab.answers or self._status(content))

    def _status(self, content: bytes) -> int:
        browser = self.lab.browsers.get(self.path)
        if browser is None:
            return 404
        if browser.gone:
            return 410
        if not self._signed_by(browser.sender):
            return 403
        if not self.headers.get("TTL", "").isdigit() or self.headers.get("Content-Encoding") != "aes128gcm":
            return 400
        if len(content) > MOST:
            return 413
        browser.shown.append(json.loads(browser.opened(content)))
        browser.urgency.append(self.headers.get("Urgency", "normal"))
        return 201

    def _signed_by(self, sender: str) -> bool:
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme != "vapid" or parts.get("k") != sender:
            return False
        head, claims, signed = parts["t"].split(".")
        raw = decoded(signed)
        pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(sender))
        try:
            key.verify(pair, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        said = json.loads(decoded(claims))
        return bool(
            said["aud"] == self.lab.url
            and 0 < said["exp"] - time.time() <= 24 * 3600
            and said["sub"].startswith(("mailto:", "https:"))
        )


def encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _hash(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, "sha256")
