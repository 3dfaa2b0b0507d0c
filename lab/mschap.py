"""MS-CHAP of a PPP peer: version 1 (RFC 2433) and version 2 (RFC 2759).

OpenSSL 3 no longer gives out MD4, so it is here (RFC 1320); DES comes from `cryptography` as a Triple-DES of one key.
"""

import struct
from functools import lru_cache
from hashlib import sha1

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_TO_CLIENT = b"Magic server to client signing constant"
_TO_CLIENT_MORE = b"Pad to make it do more than one iteration"
_MASK = 0xFFFFFFFF
_ROUNDS = (
    (0, (3, 7, 11, 19), tuple(range(16))),
    (0x5A827999, (3, 5, 9, 13), (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)),
    (0x6ED9EBA1, (3, 9, 11, 15), (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)),
)


def md4(message: bytes) -> bytes:
    """Return the MD4 digest (RFC 1320)."""
    padded = message + b"\x80" + bytes((55 - len(message)) % 64) + struct.pack("<Q", len(message) * 8)
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        a, b, c, d = state
        for constant, shifts, order in _ROUNDS:
            for step, index in enumerate(order):
                if constant == 0:
                    mixed = b & c | ~b & d
                elif constant == 0x5A827999:
                    mixed = b & c | b & d | c & d
                else:
                    mixed = b ^ c ^ d
                total = (a + mixed + words[index] + constant) & _MASK
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> 32 - shift) & _MASK, b, c
        state = ((state[0] + a) & _MASK, (state[1] + b) & _MASK, (state[2] + c) & _MASK, (state[3] + d) & _MASK)
    return struct.pack("<4I", *state)


@lru_cache(maxsize=65536)
def nt_hash(password: str) -> bytes:
    """Return NtPasswordHash (RFC 2759 §8.3)."""
    return md4(password.encode("utf-16-le"))


@lru_cache(maxsize=65536)
def _nt_hash_hash(password: str) -> bytes:
    return md4(nt_hash(password))


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """Return the 24 octets that answer an 8-octet challenge (RFC 2433 §A.5, RFC 2759 §8.5)."""
    padded = password_hash + bytes(5)
    return b"".join(_des(padded[start : start + 7], challenge) for start in (0, 7, 14))


def _des(key: bytes, block: bytes) -> bytes:
    """Encrypt one block under a 56-bit key, spread over eight octets (parity is ignored, RFC 2759 §8.6)."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    encryptor = Cipher(TripleDES(spread * 3), modes.ECB()).encryptor()  # noqa: S305 - one block, as the RFC has it
    return encryptor.update(block)


def version1_response(identifier: int, password: str, challenge: bytes) -> bytes:
    """Return MS-CHAP-Response (RFC 2548 §2.1.3): identifier, flag 1, no LAN Manager part, NT-Response."""
    return bytes((identifier, 1)) + bytes(24) + challenge_response(challenge, nt_hash(password))


def version2_response(identifier: int, name: str, password: str, challenge: bytes, peer_challenge: bytes) -> bytes:
    """Return MS-CHAP2-Response (RFC 2548 §2.3.2) to the NAS's 16-octet challenge."""
    hashed = _challenge_hash(name, challenge, peer_challenge)
    nt_response = challenge_response(hashed, nt_hash(password))
    return bytes((identifier, 0)) + peer_challenge + bytes(8) + nt_response


def version2_success(identifier: int, name: str, password: str, challenge: bytes, response: bytes) -> bytes:
    """Return the MS-CHAP2-Success that proves the server knows the password (RFC 2759 §8.7).

    `response` is the MS-CHAP2-Response that was sent.
    """
    peer_challenge, nt_response = response[2:18], response[26:50]
    digest = sha1(_nt_hash_hash(password) + nt_response + _TO_CLIENT).digest()
    digest = sha1(digest + _challenge_hash(name, challenge, peer_challenge) + _TO_CLIENT_MORE).digest()
    return bytes((identifier,)) + b"S=" + digest.hex().upper().encode()


def _challenge_hash(name: str, challenge: bytes, peer_challenge: bytes) -> bytes:
    """Return ChallengeHash (RFC 2759 §8.2); a Windows domain in front of the name does not count."""
    bare = name.rpartition("\\")[2]
    return sha1(peer_challenge + challenge + bare.encode()).digest()[:8]
