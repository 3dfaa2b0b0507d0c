"""RouterOS's versions: `7.14.3 (stable)`, `6.49.10 (long-term)`, `7.16rc1`."""

import re
from typing import NamedTuple

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


class Version(NamedTuple):
    """A version, compared part by part. A release candidate counts as its release."""

    major: int
    minor: int = 0
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" if self.patch else f"{self.major}.{self.minor}"


UNKNOWN = Version(0)
OLDEST = Version(6, 40)
"""The oldest that Portico speaks to; what is older knows neither its RADIUS attributes nor its queues."""

PLAIN_LOGIN = Version(6, 43)
MESSAGE_AUTHENTICATOR = Version(7, 15)
WIREGUARD = Version(7)


def parse_version(text: str) -> Version:
    """Read what `/system/resource` says; UNKNOWN where there is no number."""
    found = _VERSION.match(text.strip())
    if found is None:
        return UNKNOWN
    return Version(*(int(part) if part and len(part) < 6 else 0 for part in found.groups()))
