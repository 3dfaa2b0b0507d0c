"""Policies of user groups, and who asks.

A group names what its users may do: `policy=read,write,!test`. What is not named in an `add` is denied; a `set` is
cumulative, and `!name` takes away. A change counts from the next login on.
"""

import ipaddress
from dataclasses import dataclass

from lab.routeros.versions import Version

COMMON = [
    "local",
    "telnet",
    "ssh",
    "ftp",
    "reboot",
    "read",
    "write",
    "policy",
    "test",
    "winbox",
    "password",
    "web",
    "sniff",
    "sensitive",
    "api",
    "romon",
]
MASK = "*****"


def known_policies(version: Version) -> tuple[str, ...]:
    """Return the names of the policies in this version."""
    return (*COMMON, "rest-api") if version.major >= 7 else (*COMMON, "dude", "tikapp")


FULL = frozenset((*COMMON, "rest-api", "dude", "tikapp"))
READ = FULL - {"write", "policy", "ftp", "password", "dude"} | {"password"}
WRITE = FULL - {"policy", "ftp", "dude"}


@dataclass(frozen=True, slots=True)
class User:
    """A user as a test names one. `group` is a group that the box has, or gets with `policies`."""

    password: str = ""
    group: str = "full"
    policies: frozenset[str] | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who gives a command: a user with the policies it had when it logged in."""

    user: str
    policies: frozenset[str]
    address: str = ""
    via: str = "api"

    def may(self, policy: str) -> bool:
        """Whether this policy is granted; the empty one always is."""
        return not policy or policy in self.policies


SYSTEM = Caller("*system", FULL, via="system")


def merge_policies(held: str, given: str, version: Version) -> str:
    """Return the text of a group's policies after `given` was set on it. Raises ValueError for an unknown name."""
    granted = {name for name in held.split(",") if name and not name.startswith("!")}
    for word in given.split(","):
        name = word.strip().removeprefix("!")
        if name not in known_policies(version):
            raise ValueError(given)
        if word.strip().startswith("!"):
            granted.discard(name)
        else:
            granted.add(name)
    return policy_text(frozenset(granted), version)


def policy_text(granted: frozenset[str], version: Version) -> str:
    """Return policies as `/user/group` prints them: those granted, then the others with an exclamation mark."""
    known = known_policies(version)
    return ",".join([name for name in known if name in granted] + [f"!{name}" for name in known if name not in granted])


def granted_by(policy: str) -> frozenset[str]:
    """Return the policies that such a text grants."""
    return frozenset(name for name in policy.split(",") if name and not name.startswith("!"))


def address_allowed(allowed: str, address: str) -> bool:
    """Whether an address is in one of these networks (commas between); nothing named allows all."""
    if not allowed:
        return True
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network, strict=False) for network in allowed.split(","))
