"""Secrets at rest: PPPoE passwords, RADIUS secrets, API passwords.

RADIUS needs these in clear (CHAP, RFC 2865 §2.2; the shared secret, §3), so they cannot be hashed. They are sealed
with AES-256-GCM under a key from the settings. A sealed value is one octet of key id, a 12-octet nonce and the
ciphertext with its tag; the purpose is authenticated with it, so a value moved to another kind of column does not
open. Several keys may be known at once: the first seals, all open, which is what makes rotation possible.
"""

import base64
import binascii
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
_KEY = 32


class SecretUnreadable(Exception):
    """A sealed value does not open: its key is unknown, or the value was altered."""


class BadKeyring(ValueError):
    """The text of the keyring setting cannot be used."""


class Keyring:
    """The keys that open sealed values, and the one that seals new ones."""

    def __init__(self, keys: Mapping[int, bytes], sealing: int) -> None:
        self._sealing = sealing
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._sealing_key = keys[sealing]

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read `id:base64[,id:base64…]`; the first key seals.

        Raises BadKeyring when a part is not an id from 1 to 255 and 32 octets in base64.
        """
        keys: dict[int, bytes] = {}
        for part in text.split(","):
            key_id, _, encoded = part.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise BadKeyring("a key is not base64") from None
            if not key_id.isascii() or not key_id.isdigit() or not 1 <= int(key_id) <= 255:
                raise BadKeyring("a key's id is not a number from 1 to 255")
            if len(key) != _KEY:
                raise BadKeyring(f"key {key_id} has {len(key)} octets, not {_KEY}")
            if int(key_id) in keys:
                raise BadKeyring(f"key id {key_id} stands twice")
            keys[int(key_id)] = key
        return cls(keys, next(iter(keys)))

    @staticmethod
    def generate(key_id: int = 1) -> str:
        """Return the text of a new keyring of one random key."""
        return f"{key_id}:{base64.b64encode(os.urandom(_KEY)).decode()}"

    @property
    def sealing_id(self) -> int:
        """The id of the key that seals new values."""
        return self._sealing

    def seal(self, purpose: str, clear: str) -> bytes:
        nonce = os.urandom(_NONCE)
        cipher = self._ciphers[self._sealing]
        return bytes((self._sealing,)) + nonce + cipher.encrypt(nonce, clear.encode(), purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> str:
        """Return the clear text. Raises SecretUnreadable."""
        return self.open_bytes(purpose.encode(), sealed).decode()

    def open_bytes(self, purpose: bytes, sealed: bytes) -> bytes:
        """Return the clear octets; the form for callers that do this for every packet. Raises SecretUnreadable."""
        try:
            return self._ciphers[sealed[0]].decrypt(sealed[1:13], sealed[13:], purpose)
        except (KeyError, IndexError, InvalidTag, ValueError):
            raise SecretUnreadable(purpose.decode()) from None

    def derive(self, purpose: str) -> bytes:
        """Return 32 octets bound to the sealing key and a purpose (RFC 5869), for example to sign cookies."""
        return HKDF(hashes.SHA256(), _KEY, salt=None, info=purpose.encode()).derive(self._sealing_key)
