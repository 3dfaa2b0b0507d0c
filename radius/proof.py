"""Whether a password proves who asks: PAP and CHAP here; MS-CHAP is left to FreeRADIUS's C module and the right one."""

from collections.abc import Mapping
from hashlib import md5
from hmac import compare_digest

from aaa.facts import Proof
from radius.request import Method, method


def proof_of(attributes: Mapping[str, str], right: bytes, how: Method) -> tuple[Proof, bytes]:
    """Return what became of the password, and the right one where it is still needed or came."""
    if how is Method.PAP:
        correct = compare_digest(attributes["User-Password"].encode(), right)
    elif how is Method.CHAP:
        given, challenge = _chap(attributes)
        correct = compare_digest(_chap_response(given, challenge, right), given[1:])
    elif how is Method.NONE:
        return Proof.MISSING, b""
    else:
        return Proof.LEFT_TO_MSCHAP, right
    return (Proof.CORRECT, right) if correct else (Proof.WRONG, b"")


def with_password(attributes: Mapping[str, str], user_name: str) -> bool:
    """Tell whether a password came that is one: codes come with none, or with themselves as their password."""
    if "User-Password" in attributes:
        return attributes["User-Password"] not in ("", user_name)
    if "CHAP-Password" in attributes:
        given, challenge = _chap(attributes)
        return all(_chap_response(given, challenge, each) != given[1:] for each in (b"", user_name.encode()))
    return method(attributes) is not Method.NONE


def _chap(attributes: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return identifier and response, and the challenge; preprocess supplies a missing challenge."""
    return bytes.fromhex(attributes["CHAP-Password"][2:]), bytes.fromhex(attributes["CHAP-Challenge"][2:])


def _chap_response(given: bytes, challenge: bytes, password: bytes) -> bytes:
    """Return MD5 over identifier, password and challenge (RFC 2865 §2.2)."""
    return md5(given[:1] + password + challenge, usedforsecurity=False).digest()
