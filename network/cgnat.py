"""Carrier-grade NAT by arithmetic: each private address has its public address and its ports, and nothing is logged.

Many subscribers share a public IPv4 address. When a court or an abuse desk asks who used an address and a port, a
router would have had to log each connection (RFC 6888 asks for that, or for this): here every private address has a
block of ports that follows from its place in the network (RFC 7422), so the plan alone answers, for as long as one
knows which plan held when. Addresses are filled one after the other, and within an address the blocks from the first
port upwards. Ports below 1024 stay out of it, and a block should hold 1,000 ports or more: a page opens dozens of
connections, and each is kept for minutes after its end.

TCP and UDP have the same block. What has no ports (ICMP is told apart by its identifier) leaves by the same public
address, so it can be told to all who share that.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MARK = "portico:cgnat"
MENU = "/ip/firewall/nat"
FEWEST_PORTS = 64
"""Of a subscriber: with less than that a telephone does not get through a page."""
MOST_SUBSCRIBERS = 65_536
"""Of a plan: one rule for each, twice, is all that a router should be asked to hold."""

Address = ipaddress.IPv4Address
Network = ipaddress.IPv4Network


class Outside(NamedTuple):
    """What the Internet sees of a subscriber: a public address, and its ports from the first to the last."""

    address: Address
    first_port: int
    last_port: int


class NoRoom(ValueError):
    """The public addresses have fewer blocks than there are private addresses: `blocks` and `needed`."""

    def __init__(self, blocks: int, needed: int) -> None:
        super().__init__(f"{needed} private addresses and {blocks} blocks of ports")
        self.blocks = blocks
        self.needed = needed


@dataclass(frozen=True, slots=True)
class PortPlan:
    """Blocks of `ports` for every address of `private`, on the public addresses from first to last.

    Every address of the network counts, its first and last too: over PPP they are addresses like any other.
    Raises NoRoom, and ValueError for what is no plan at all.
    """

    private: Network
    public_first: Address
    public_last: Address
    ports: int
    first_port: int = 1024
    last_port: int = 65_535

    def __post_init__(self) -> None:
        if self.public_last < self.public_first:
            raise ValueError("the last public address is before the first")
        if not 1 <= self.first_port <= self.last_port <= 65_535 or self.ports < 1:
            raise ValueError("no such ports")
        if self.subscribers > self.blocks:
            raise NoRoom(self.blocks, self.subscribers)

    @property
    def subscribers(self) -> int:
        return self.private.num_addresses

    @property
    def per_address(self) -> int:
        """How many subscribers share a public address."""
        return (self.last_port - self.first_port + 1) // self.ports

    @property
    def addresses(self) -> int:
        """Public addresses that there are."""
        return int(self.public_last) - int(self.public_first) + 1

    @property
    def addresses_used(self) -> int:
        """Public addresses that somebody comes out of."""
        return -(-self.subscribers // self.per_address)

    @property
    def blocks(self) -> int:
        """How many subscribers the public addresses could take."""
        return self.per_address * self.addresses

    @property
    def ports_left(self) -> int:
        """Ports of each address that are too few for one block more."""
        return (self.last_port - self.first_port + 1) % self.ports

    def outside(self, private: Address) -> Outside:
        """Return what a private address comes out as. Raises ValueError for one that is not in the network."""
        if private not in self.private:
            raise ValueError(f"{private} is not in {self.private}")
        index, block = divmod(int(private) - int(self.private.network_address), self.per_address)
        first = self.first_port + block * self.ports
        return Outside(self.public_first + index, first, first + self.ports - 1)

    def inside(self, public: Address, port: int) -> Address | None:
        """Return whose a public port is; None where the plan gives it to nobody."""
        if not self.public_first <= public <= self.public_last or port < self.first_port:
            return None
        block = (port - self.first_port) // self.ports
        if block >= self.per_address:
            return None
        number = (int(public) - int(self.public_first)) * self.per_address + block
        return self.private.network_address + number if number < self.subscribers else None

    def sharing(self, public: Address) -> list[Address]:
        """Return the private addresses that come out of a public one."""
        if not self.public_first <= public <= self.public_last:
            return []
        begin = (int(public) - int(self.public_first)) * self.per_address
        end = min(begin + self.per_address, self.subscribers)
        return [self.private.network_address + number for number in range(begin, end)]


# Rules of RouterOS.


def rules(plan: PortPlan, key: str) -> Iterator[dict[str, str]]:
    """Yield the rows of `/ip/firewall/nat` in their order; `key` tells the rows of one plan from those of others.

    A packet of a subscriber would be held against every rule before its own. So each public address has a chain, and
    the first rules lead into it by the private addresses that share it: RouterOS looks at some dozens of rules for
    the first packet of a connection, and at none for those that follow.
    """
    comment = f"{MARK}:{key}"
    for public in (plan.public_first + number for number in range(plan.addresses_used)):
        inside = plan.sharing(public)
        yield {
            "chain": "srcnat", "action": "jump", "jump-target": _chain(key, public),
            "src-address": _span(inside[0], inside[-1]), "comment": comment,
        }  # fmt: skip
    for public in (plan.public_first + number for number in range(plan.addresses_used)):
        chain = _chain(key, public)
        for private in plan.sharing(public):
            _address, first, last = plan.outside(private)
            for protocol in ("tcp", "udp"):
                yield {
                    "chain": chain, "action": "src-nat", "protocol": protocol, "src-address": str(private),
                    "to-addresses": str(public), "to-ports": f"{first}-{last}", "comment": comment,
                }  # fmt: skip
        yield {"chain": chain, "action": "src-nat", "to-addresses": str(public), "comment": comment}


def rule_count(plan: PortPlan) -> int:
    return 2 * plan.subscribers + 2 * plan.addresses_used


def script(plan: PortPlan, key: str) -> str:
    """Return the rules as a script for RouterOS 6 and 7. Ours are taken off first, so it may be run again.

    Rules are put before all others of the chain, because a masquerade rule that stands first would take every packet.
    """
    comment = f'comment="{MARK}:{key}"'
    lines = [
        f"# {plan.private} -> {plan.public_first}-{plan.public_last}: {plan.ports} ports, {rule_count(plan)} rules",
        "/ip firewall nat",
        f"remove [find {comment}]",
    ]
    lines += ["add " + " ".join(f"{name}={_quoted(value)}" for name, value in row.items()) for row in rules(plan, key)]
    lines += [
        "{",
        ':local other ""',
        ":foreach rule in=[find chain=srcnat dynamic=no] do={",
        f'  :if ($other = "" and [get $rule comment] != "{MARK}:{key}") do={{ :set other $rule }}',
        "}",
        f':if ($other != "") do={{ :foreach rule in=[find chain=srcnat {comment}] do={{ move $rule $other }} }}',
        "}",
    ]
    return "\n".join(lines) + "\n"


def compare(wanted: Sequence[Mapping[str, str]], found: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Tell whether a router has the rules of a plan, in their order, and none of ours beside them."""
    comment = f"{MARK}:{key}"
    ours = [row for row in found if row.get("comment") == comment]
    return [_meaning(row) for row in wanted] == [_meaning(row) for row in ours if row.get("disabled") != "true"]


_FIELDS = ("chain", "action", "jump-target", "protocol", "src-address", "to-addresses", "to-ports")


def _meaning(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row.get(name, "")).removesuffix("/32") for name in _FIELDS)


def _chain(key: str, public: Address) -> str:
    return f"cgnat-{key}-{public}"


def _span(first: Address, last: Address) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _quoted(value: str) -> str:
    return f'"{value}"' if ":" in value else value
