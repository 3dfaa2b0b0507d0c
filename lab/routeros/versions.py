"""RouterOS versions, and what differs between them.

The differences that concern a menu or a field stand with that menu (`since`, `until`); here are the few that concern
the protocol or the way values are written.
"""

import re
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """`6.49.10` or `7.16`; what follows the numbers (`rc1`, `(stable)`) does not count."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Raises ValueError if the text does not begin with a version."""
        match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
        if match is None:
            raise ValueError(f"{text!r} is no RouterOS version")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))

    def within(self, since: tuple[int, ...], until: tuple[int, ...]) -> bool:
        """Whether something that came with `since` and left with `until` (empty: never) is in this version."""
        mine = (self.major, self.minor, self.patch)
        return mine >= since and (not until or mine < until)

    @property
    def knows_challenge(self) -> bool:
        """Whether the login of before 6.43 works. 6.43 and 6.44 take both."""
        return self < Version(6, 45, 1)

    @property
    def knows_plain_login(self) -> bool:
        """Whether the password may come with the first word, as since 6.43."""
        return self >= Version(6, 43)

    @property
    def says_empty(self) -> bool:
        """Whether a print that finds nothing says `!empty` before `!done`."""
        return self >= Version(7, 18)

    @property
    def max_sessions(self) -> int | None:
        """How many connections the API service takes at once; None without a limit."""
        return 20 if self >= Version(7, 16) else None

    @property
    def lists_connections(self) -> bool:
        """Whether `/ip/service` has a row for each connection beside those of the services."""
        return self >= Version(7, 18)

    @property
    def refusal(self) -> str:
        """What a refused login is told."""
        return "invalid user name or password (6)" if self >= Version(6, 43) else "cannot log in"

    def instant(self, moment: datetime) -> str:
        """Return date and time as this version prints them: `mar/04/2026 18:23:45` before 7.10, ISO since."""
        return f"{self.day(moment)} {moment:%H:%M:%S}"

    def day(self, moment: datetime) -> str:
        """Return the date as this version prints it."""
        if self >= Version(7, 10):
            return f"{moment:%Y-%m-%d}"
        return f"{_MONTHS[moment.month - 1]}/{moment:%d/%Y}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + (f".{self.patch}" if self.patch else "")


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
