"""What a router says in shadow mode: whom its own secrets let in, how fast, and who logged in by them.

Read at short intervals while secrets are still the router's to decide, and held against what RADIUS would answer. What
a secret says is not only whether it is there: an ISP that cuts somebody off by hand disables the secret, and a speed
stands in its profile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from core.mac import find_mac
from core.rates import RateLimit
from network.api import RouterApi
from network.importing.candidate import router_rate
from network.shadow import ACTIVE, SECRETS, seen_of
from network.values import NotAValue, parse_duration

ACCEPT, REJECT, ASK = "accept", "reject", "ask"
SAME_LOGIN = timedelta(seconds=90)
"""How far the beginning of one login may seem to move: uptimes are read in whole seconds, and late on a busy router."""

_YES = ("true", "yes")


@dataclass(frozen=True, slots=True)
class Said:
    """What a router says of a name by itself: `ask` where it has no secret, so that RADIUS decides already."""

    outcome: str
    rate: RateLimit | None = None  # None is no limit


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody whom a router let in by its own secret."""

    session: str
    since: datetime
    mac: str | None
    address: str | None

    def is_the_same(self, before: Mapping[str, str] | None) -> bool:
        """Tell whether this is the login that was noted before; session ids begin anew when a router does."""
        if before is None or before.get("session") != self.session:
            return False
        return abs(self.since - datetime.fromisoformat(before["since"])) <= SAME_LOGIN

    def note(self) -> dict[str, str]:
        return {"session": self.session, "since": self.since.isoformat()}


@dataclass(frozen=True, slots=True)
class Look:
    """What was read at one moment."""

    at: datetime
    said: Mapping[str, Said]
    logins: Mapping[str, Login]
    online: Mapping[str, Mapping[str, object]]  # as `network.shadow.seen_of` has it, RADIUS's too

    def of(self, secret: str) -> Said:
        return self.said.get(secret, Said(ASK))


def look(api: RouterApi, at: datetime) -> Look:
    """Read a router's secrets and who is online by them. Raises RouterProblem."""
    secrets = api.rows(SECRETS, "name", "disabled", "profile")
    profiles = api.rows("/ppp/profile", "name", "rate-limit")
    active = api.rows(ACTIVE, "name", "caller-id", "address", "uptime", "session-id", "radius")
    return Look(at, said(secrets, profiles), logins(active, at), seen_of(active))


def said(secrets: Iterable[Mapping[str, str]], profiles: Iterable[Mapping[str, str]]) -> dict[str, Said]:
    rates = {profile.get("name", ""): router_rate(profile.get("rate-limit", "")) for profile in profiles}
    return {
        row.get("name", ""): Said(REJECT)
        if row.get("disabled") in _YES
        else Said(ACCEPT, rates.get(row.get("profile", "default")))
        for row in secrets
    }


def logins(rows: Iterable[Mapping[str, str]], at: datetime) -> dict[str, Login]:
    """Return who is online by a router's own secret, the newest login of each name."""
    found: dict[str, Login] = {}
    for row in rows:
        if row.get("radius") in _YES:
            continue
        name = row.get("name", "")
        login = Login(
            row.get("session-id", ""),
            at - _uptime(row.get("uptime", "")),
            find_mac(row.get("caller-id", "")),
            _address(row.get("address", "")),
        )
        if name not in found or found[name].since < login.since:
            found[name] = login
    return found


def _uptime(text: str) -> timedelta:
    try:
        return parse_duration(text) or timedelta()
    except NotAValue:
        return timedelta()


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
