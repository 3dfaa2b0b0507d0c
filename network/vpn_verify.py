"""OpenVPN asks this whether a router's password is right: `python -I vpn_verify.py CREDENTIALS GIVEN`.

GIVEN is OpenVPN's file with the user name on its first line and the password on its second. CREDENTIALS has
`user salt hash` on each line; the hash is SHA-256 over salt and password. A fast hash is enough for passwords that
are 190 random bits. Nothing but the standard library is imported: this starts anew for every router that comes in.
"""

import hashlib
import hmac
import sys
from pathlib import Path


def password_hash(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()


def is_right(credentials: str, given: str) -> bool:
    """Tell whether the name and password on the two lines of `given` are among the credentials."""
    lines = given.splitlines()
    if len(lines) < 2:
        return False
    for line in credentials.splitlines():
        user, salt, wanted = line.split()
        if user == lines[0]:
            return hmac.compare_digest(password_hash(salt, lines[1]), wanted)
    return False


if __name__ == "__main__":
    texts = [Path(name).read_text(encoding="utf-8", errors="replace") for name in sys.argv[1:3]]
    sys.exit(0 if is_right(texts[0], texts[1]) else 1)
