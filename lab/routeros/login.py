"""Both logins of the RouterOS API.

Since 6.43 the password comes as it is, with the name. Before, an empty `/login` was answered with a challenge of 16
octets, and the password came as `00` and the hex of MD5(0x00, password, challenge). 6.43 and 6.44 take both.
"""

import hmac
import secrets
from hashlib import md5

CHALLENGE_OCTETS = 16


def new_challenge() -> bytes:
    """Return the octets of a challenge."""
    return secrets.token_bytes(CHALLENGE_OCTETS)


def challenge_answer(password: bytes, challenge: bytes) -> str:
    """Return what `=response=` must hold."""
    return "00" + md5(b"\0" + password + challenge).hexdigest()


def answers(response: str, password: bytes, challenge: bytes) -> bool:
    """Whether a response shows that the password is known."""
    return hmac.compare_digest(response.lower().encode(), challenge_answer(password, challenge).encode())
