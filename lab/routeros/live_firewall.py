"""What the firewall of a box does to a packet of a subscriber: enough of it to suspend somebody and show them a page.

The first packet of a connection goes through dstnat and then forward, rule by rule. A rule with a matcher that is not
played here does not match. Address lists are matched by address, network and span, not by name.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from lab.routeros.box import Box
from lab.routeros.table import Row

_ENDING = frozenset({"accept", "drop", "reject", "tarpit", "return"})
_SILENT = frozenset(
    {"passthrough", "log", "fasttrack-connection", "add-src-to-address-list", "add-dst-to-address-list"}
)
_HARMLESS = _SILENT | {"accept", "return"}
_NOT_MATCHERS = frozenset(
    {
        "chain", "action", "to-addresses", "to-ports", "reject-with", "jump-target", "log", "log-prefix", "comment",
        "disabled", "dynamic", "invalid", "bytes", "packets", "address-list", "address-list-timeout", "hw-offload",
    }
)  # fmt: skip
_MOST_JUMPS = 8


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection."""

    source: str
    destination: str
    port: int
    protocol: str = "tcp"
    in_interface: str = ""
    out_interface: str = ""


Lists = Mapping[str, list[str]]


def address_lists(box: Box) -> Lists:
    """Return the address lists: what is on each."""
    lists: dict[str, list[str]] = {}
    for row in box.table("/ip/firewall/address-list"):
        if not row.is_true("disabled"):
            lists.setdefault(row.get("list"), []).append(row.get("address"))
    return lists


def forwarded(box: Box, packet: Packet, lists: Lists | None = None) -> Packet | None:
    """Return the packet as it leaves the router, its destination perhaps another; None if it does not leave.

    A `redirect` leaves it with the router, whose address is then `127.0.0.1`. Who asks about many gives the lists.
    """
    with box.lock:
        lists = address_lists(box) if lists is None else lists
        for row in box.table("/ip/firewall/nat"):
            if row.get("chain") != "dstnat" or not _matches(row, packet, lists):
                continue
            action = row.get("action", "accept")
            if action in ("dst-nat", "netmap"):
                target = row.get("to-addresses", packet.destination).partition("-")[0].partition("/")[0]
                port = int(row.get("to-ports", str(packet.port)).partition("-")[0])
                packet = replace(packet, destination=target, port=port)
                break
            if action == "redirect":
                return replace(packet, destination="127.0.0.1", port=int(row.get("to-ports", str(packet.port))))
            if action == "accept":
                break
        return packet if _passes(box, "forward", packet, lists) is not False else None


def passes(box: Box, address: str, in_interface: str, out_interface: str, lists: Lists | None = None) -> bool:
    """Return whether somebody at an address reaches the internet: a web server, by TLS."""
    return forwarded(box, Packet(address, "198.51.100.80", 443, "tcp", in_interface, out_interface), lists) is not None


def may_stop(box: Box) -> bool:
    """Return whether there is a rule that could stop anybody at all."""
    return any(
        row.get("chain") == "forward" and row.get("action", "accept") not in _HARMLESS and not row.is_true("disabled")
        for row in box.table("/ip/firewall/filter")
    )


def http_from(box: Box, address: str, destination: str = "198.51.100.80", port: int = 80) -> str | None:
    """Return which address and port a GET of a subscriber reaches, `host:port`; None if it is stopped on the way."""
    packet = forwarded(box, Packet(address, destination, port))
    return None if packet is None else f"{packet.destination}:{packet.port}"


def _passes(box: Box, chain: str, packet: Packet, lists: Lists, depth: int = 0) -> bool | None:
    """Return what a chain of the filter decides; None where it comes to its end."""
    for row in box.table("/ip/firewall/filter"):
        if row.get("chain") != chain or not _matches(row, packet, lists):
            continue
        action = row.get("action", "accept")
        if action == "jump" and depth < _MOST_JUMPS:
            decided = _passes(box, row.get("jump-target"), packet, lists, depth + 1)
            if decided is not None:
                return decided
        elif action == "return":
            return None
        elif action in _ENDING:
            return action == "accept"
        elif action not in _SILENT:
            return False
    return None


def _matches(row: Row, packet: Packet, lists: Lists) -> bool:
    if row.is_true("disabled") or row.is_true("invalid"):
        return False
    return all(
        _matcher(name, value, packet, lists)
        for name, value in row.fields.items()
        if name not in _NOT_MATCHERS and value not in ("", "false")
    )


def _matcher(name: str, value: str, packet: Packet, lists: Lists) -> bool:
    negated = value.startswith("!")
    wanted = value.removeprefix("!")
    match name:
        case "protocol":
            met = wanted in (packet.protocol, _NUMBERS.get(packet.protocol))
        case "src-address":
            met = _within(packet.source, wanted)
        case "dst-address":
            met = _within(packet.destination, wanted)
        case "src-address-list":
            met = _listed(lists, wanted, packet.source)
        case "dst-address-list":
            met = _listed(lists, wanted, packet.destination)
        case "dst-port":
            met = packet.protocol in ("tcp", "udp") and _port_among(packet.port, wanted)
        case "connection-state" | "connection-nat-state":
            met = "new" in wanted.split(",")
        case "in-interface":
            met = wanted == packet.in_interface
        case "out-interface":
            met = wanted == packet.out_interface
        case _:
            return False
    return met is not negated


_NUMBERS = {"icmp": "1", "tcp": "6", "udp": "17"}


def _port_among(port: int, written: str) -> bool:
    for part in written.split(","):
        first, dash, last = part.partition("-")
        if int(first) <= port <= int(last if dash else first):
            return True
    return False


def _listed(lists: Lists, name: str, address: str) -> bool:
    return any(_within(address, each) for each in lists.get(name, ()))


@lru_cache(maxsize=65_536)
def _within(address: str, written: str) -> bool:
    first, dash, last = written.partition("-")
    try:
        number = ipaddress.ip_address(address)
        if dash:
            return int(ipaddress.ip_address(first)) <= int(number) <= int(ipaddress.ip_address(last))
        return number in ipaddress.ip_network(written, strict=False)
    except ValueError:  # a name
        return False
