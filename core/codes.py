"""Access codes, without keeping them in clear.

A code is found by its keyed hash (HMAC-SHA256, RFC 2104), so who has a copy of the database has no code. The same key
conceals the names under which vouchers log in wherever sessions and requests are kept: AES-SIV (RFC 5297) turns a name
into the same text each time, so that packets of a session are still told to belong together, and a CoA can name the
session as its router does. The key is each operator's own, sealed in the database under a key that is not in it.
"""

import base64
import binascii
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALPHABET = "23456789ACDEFGHJKMNPQRTVWXY"
"""No two of these look alike on paper: of 8 and B, 5 and S, 2 and Z, U and V one each; none of 0, O, 1, I and L."""
CONCEALED = "code:"
KEY_OCTETS = 32
_LOOKUP_DIGITS = 32
_SHOWN, _SHORTEST, _LONGEST = 2, 5, 60
_LOOK_ALIKES = str.maketrans("OIL", "011")


class NotConcealed(ValueError):
    """A text is not one that this key concealed."""


def fold_code(code: str) -> str:
    """Return a code as it is compared: without blanks and dashes, capitals, O read as 0 and I and L as 1."""
    return code.replace(" ", "").replace("-", "").upper().translate(_LOOK_ALIKES)


def grouped(code: str, prefix: str = "") -> str:
    """Return a code as it is printed: its prefix, and the rest in groups of four, a shorter one first."""
    rest = code.removeprefix(prefix)
    first = len(rest) % 4
    groups = [prefix, rest[:first], *(rest[start : start + 4] for start in range(first, len(rest), 4))]
    return "-".join(group for group in groups if group)


def random_code(prefix: str, length: int) -> str:
    """Return a new code: the prefix, and so many characters that nobody can foresee."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def blurred(text: str) -> str:
    """Return what was typed in place of a code so that nobody redeems it: how it begins, and how long it is.

    A code with one wrong letter is a right code but for a few guesses, and one of another operator's is a right code
    there. Two characters and the length are what a person at the help desk compares with the card.
    """
    code = fold_code(text)
    return code[:_SHOWN] + "*" * max(len(code) - _SHOWN, 0)


def like_a_code(name: str) -> bool:
    """Tell whether a name that nobody has may be a mistyped code: long enough, of letters and digits, with a digit or
    without a small letter, as cards are printed."""
    code = fold_code(name)
    plain = code.isascii() and code.isalnum() and _SHORTEST <= len(code) <= _LONGEST
    return plain and (any(one.isdigit() for one in name) or name == name.upper())


def is_concealed(name: str) -> bool:
    return name.startswith(CONCEALED)


class CodeKey:
    """An operator's key of its codes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESSIV(HKDF(hashes.SHA256(), 64, salt=None, info=b"code.name").derive(key))

    @staticmethod
    def generate() -> bytes:
        return secrets.token_bytes(KEY_OCTETS)

    @classmethod
    def from_hex(cls, digits: str) -> "CodeKey":
        """Read a key as it is sealed: a text, as all that a keyring seals."""
        return cls(bytes.fromhex(digits))

    def lookup(self, code: str) -> str:
        """Return the name under which a code is found, however it was typed."""
        return hmac.digest(self._key, fold_code(code).encode(), "sha256").hex()[:_LOOKUP_DIGITS]

    def conceal(self, name: str) -> str:
        """Return a name so that only this key can read it; the same name always becomes the same text."""
        sealed = self._cipher.encrypt(name.encode(), [CONCEALED.encode()])
        return CONCEALED + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def reveal(self, concealed: str) -> str:
        """Return the name. Raises NotConcealed."""
        text = concealed.removeprefix(CONCEALED)
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return self._cipher.decrypt(sealed, [CONCEALED.encode()]).decode()
        except (binascii.Error, InvalidTag, ValueError):
            raise NotConcealed from None
