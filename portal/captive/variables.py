r"""What a hotspot's login page says of a phone, checked, and the answer to its challenge.

The router fills the variables in, but they come by the phone, so anybody may write anything there. A login is sent
only to the addresses that belong to the router's hotspot: else a forged link would collect codes and passwords. The
challenge of CHAP is printed as octal escapes (`\357\015…`), one octet of id and sixteen of challenge; the answer is
the MD5 of id, password and challenge in lower-case hex (RouterOS manual, Hotspot customisation; RFC 1994 §4.1).

Nothing here reads a clock or a database.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode, urlsplit

from core.mac import NotAMac, parse_mac

LONGEST = {
    "mac": 17, "ip": 45, "login": 200, "id": 4, "challenge": 64, "trial": 10, "var": 100, "error": 300, "user": 253,
}  # fmt: skip
NAMES = ("mac", "ip", "login", "id", "challenge", "trial", "var", "error", "user")
KEPT = ("mac", "ip", "login", "id", "challenge", "trial")
"""What a form of the page hands on."""
_OCTET = re.compile(r"\\([0-3][0-7]{2})")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?\Z")
_USUAL_PORTS = (None, 80, 443)


class Flaw(StrEnum):
    """What is wrong with variables."""

    MISSING = "missing"  # not from a login page of ours
    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    FOREIGN = "foreign"  # the login would go to an address that is not the router's


class BadVariables(Exception):
    """The variables cannot be used. `host` is where a login would have gone, if that is what is wrong."""

    def __init__(self, flaw: Flaw, host: str = "") -> None:
        super().__init__(flaw)
        self.flaw, self.host = flaw, host


@dataclass(frozen=True, slots=True)
class Visit:
    """A phone at a hotspot's login page. Without a challenge the hotspot takes passwords as they are."""

    mac: str
    ip: str
    login: str  # where logins go: link-login-only
    chap: tuple[bytes, bytes] | None
    trial: bool
    error: str = ""
    var: str = ""
    user: str = ""

    @property
    def origin(self) -> str:
        """Scheme and host of the router's pages."""
        parts = urlsplit(self.login)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def secure(self) -> bool:
        return self.login.startswith("https:")

    def login_url(self, user: str, password: str, back: str, var: str = "") -> str:
        """Return the address that logs somebody in, for CHAP and for names that need no password.

        `var` comes back with the login page, if it is refused.
        """
        said = {"username": user, "password": self.proof(password), "dst": back} | ({"var": var} if var else {})
        return f"{self.login}?{urlencode(said)}"

    def proof(self, password: str) -> str:
        """Return the password as it goes to the router: the answer to its challenge, where it gave one."""
        if self.chap is None:
            return password
        identifier, challenge = self.chap
        return hashlib.md5(identifier + password.encode() + challenge, usedforsecurity=False).hexdigest()

    def trial_url(self, back: str) -> str:
        """Return the address that begins the router's own free trial."""
        return f"{self.login}?{urlencode({'username': f'T-{self.mac.upper()}', 'dst': back})}"


def visit_of(given: Mapping[str, str], hosts: Collection[str]) -> Visit:
    """Read the variables of a login page. `hosts` are those of the router's hotspot. Raises BadVariables."""
    values = {name: given.get(name, "").strip() for name in NAMES}
    for name, longest in LONGEST.items():
        if len(values[name]) > longest:
            raise BadVariables(Flaw.OVERSIZED)
    if not values["mac"] or not values["login"]:
        raise BadVariables(Flaw.MISSING)
    try:
        mac = parse_mac(values["mac"])
        ip = str(ipaddress.ip_address(values["ip"])) if values["ip"] else ""
    except (NotAMac, ValueError):
        raise BadVariables(Flaw.MALFORMED) from None
    chap = None
    if values["id"] or values["challenge"]:
        identifier, challenge = octets(values["id"]), octets(values["challenge"])
        if len(identifier) != 1 or len(challenge) != 16:
            raise BadVariables(Flaw.MALFORMED)
        chap = (identifier, challenge)
    login = _login(values["login"], hosts)
    said = {name: _printable(values[name]) for name in ("error", "var", "user")}
    return Visit(mac, ip, login, chap, values["trial"] == "yes", **said)


def octets(text: str) -> bytes:
    """Return the octets that RouterOS printed. Raises BadVariables."""
    found = _OCTET.findall(text)
    if "".join(f"\\{digits}" for digits in found) != text:
        raise BadVariables(Flaw.MALFORMED)
    return bytes(int(digits, 8) for digits in found)


def host_of(text: str) -> str | None:
    """Return a name or address of a hotspot as it is kept, or None for what is none."""
    host = text.strip().lower().removeprefix("http://").removeprefix("https://").rstrip("/")
    return host if _HOST.match(host) else None


def _login(text: str, hosts: Collection[str]) -> str:
    """Return link-login-only if it is one, and the router's."""
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise BadVariables(Flaw.MALFORMED) from None
    plain = parts.scheme in ("http", "https") and parts.path == "/login" and not (parts.query or parts.fragment)
    named = f"{host}:{port}" if port is not None else host
    if not plain or not host or parts.netloc.lower() != named or not _HOST.match(named):
        raise BadVariables(Flaw.MALFORMED)
    if named not in hosts and not (port in _USUAL_PORTS and host in hosts):
        raise BadVariables(Flaw.FOREIGN, named)
    return f"{parts.scheme}://{named}/login"


def _printable(text: str) -> str:
    return "".join(one for one in text if one.isprintable())
