"""What can go wrong between us and a router, told apart by what somebody would do about it.

A router that cannot be reached, that refuses the password or that answers nonsense is an everyday event: it is an
error on that router, with its likely cause, and never more than that.
"""

from enum import StrEnum


class Cause(StrEnum):
    """Why something asked of a router did not happen."""

    REFUSED = "refused"  # nothing listens: the API is off, or on another port
    TIMEOUT = "timeout"  # no connection in time: VPN down, router off, a firewall that drops
    VPN = "vpn"  # no connection, and the tunnel it would go through is down
    UNREACHABLE = "unreachable"  # no way there is known here, or a router on the way says so
    CLOSED = "closed"  # taken and closed at once: address filter or session limit; or closed in the middle (reboot)
    SILENT = "silent"  # connected, and then no whole answer in time
    TLS = "tls"  # no TLS there, no certificate, or another certificate than the one pinned
    PASSWORD = "password"  # noqa: S105 - user name or password refused
    PERMISSION = "permission"  # the API user's group lacks a policy
    VERSION = "version"  # the menu or command is not in this version, or its package is not installed
    NO_SUCH_ITEM = "no_such_item"  # the row is gone, or its id has changed
    DUPLICATE = "duplicate"  # there is such a row already
    GARBAGE = "garbage"  # what came is not RouterOS's API
    TRAP = "trap"  # RouterOS refused, for a reason that stands in its own words


class Stage(StrEnum):
    """How far somebody came on the way to a command."""

    CONNECT = "connect"
    TLS = "tls"
    LOGIN = "login"
    COMMAND = "command"


class RouterProblem(Exception):
    """A router did not do what was asked. `detail` is the router's or the system's own words, and holds no secret."""

    def __init__(self, cause: Cause, detail: str = "", stage: Stage = Stage.COMMAND) -> None:
        super().__init__(f"{cause}: {detail}" if detail else str(cause))
        self.cause = cause
        self.detail = detail
        self.stage = stage

    @property
    def out_of_reach(self) -> bool:
        """Whether the router as a whole could not be talked to: it is offline, and a later try may succeed."""
        return self.cause not in ANSWERED


class CertificateChanged(RouterProblem):
    """The router shows another certificate than the one pinned. Both are SHA-256 in lower-case hex."""

    def __init__(self, pinned: str, shown: str) -> None:
        super().__init__(Cause.TLS, f"pinned {pinned}, shown {shown}", Stage.TLS)
        self.pinned = pinned
        self.shown = shown


ANSWERED = frozenset((Cause.PERMISSION, Cause.VERSION, Cause.NO_SUCH_ITEM, Cause.DUPLICATE, Cause.TRAP))
"""Causes that a router gives itself, after a login that worked."""

NO_WAY = frozenset((Cause.TIMEOUT, Cause.UNREACHABLE, Cause.VPN))
"""Causes of a connection that did not come about, which a tunnel that is down explains."""

# RouterOS's messages change with its versions, so they are known by a part of them, in any case.
_MESSAGES = (
    ("not enough permissions", Cause.PERMISSION),
    ("cannot log in", Cause.PASSWORD),
    ("invalid user name or password", Cause.PASSWORD),
    ("no such command", Cause.VERSION),
    ("unknown parameter", Cause.VERSION),
    ("no such item", Cause.NO_SUCH_ITEM),
    ("already have", Cause.DUPLICATE),
    ("already exists", Cause.DUPLICATE),
)


def trap(message: str) -> RouterProblem:
    """Return the problem that the message of a `!trap` tells of."""
    known = message.lower()
    cause = next((cause for part, cause in _MESSAGES if part in known), Cause.TRAP)
    return RouterProblem(cause, message)
