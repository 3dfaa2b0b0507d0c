"""An Accounting-Request as a value, read from the pairs that FreeRADIUS hands over.

Counters are octets: the Gigawords attributes count the wraps of the 32-bit ones (RFC 2869 §5.1, §5.2) and may be
absent below 4 GiB. Which of Input and Output is upload is not decided here, because some NAS have it the other way
round.

An event has happened when Event-Timestamp (RFC 2869 §5.3) says so, as long as that is within two minutes of our own
clock: a router whose clock is wrong must not move a subscriber's traffic into another month. Otherwise it happened
Acct-Delay-Time before the packet came.

Every packet of a busy network passes through here, hence the plain dictionary look-ups.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from core.mac import find_mac
from radius.request import access_kind

CLOCK_TOLERANCE = 120.0  # seconds
_LONGEST_SESSION = 10 * 365 * 86_400
_MOST_GIGAWORDS = 1 << 24  # 64 PiB in one session; more is a malformed packet
_LONGEST_DELAY = 7 * 86_400


class Status(IntEnum):
    """What an Accounting-Request tells (RFC 2866 §5.1)."""

    START = 1
    STOP = 2
    INTERIM = 3
    ON = 7
    OFF = 8


class PacketUnusable(Exception):
    """An Accounting-Request that says nothing about a session: `str()` says why."""


class Description(NamedTuple):
    """What stays the same through a session, told by its first packet."""

    class_value: str
    called_station_id: str
    nas_port_id: str
    nas_identifier: str
    nas_ip_address: str | None
    kind: str  # aaa.facts.AccessKind
    mac: str | None


class Packet(NamedTuple):
    """One Accounting-Request. Counters are None where the packet does not carry them."""

    at: float  # when it came, by our clock
    nas_id: int
    operator_id: int
    status: Status
    acct_session_id: str  # as received
    user_name: str  # as received
    calling_station_id: str  # as received
    event: float  # when what it tells happened
    session_time: int | None  # seconds
    input_octets: int | None
    output_octets: int | None
    input_packets: int
    output_packets: int
    cause: str | None  # Acct-Terminate-Cause
    framed_ip: str | None
    framed_ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    reported_rate: str | None
    description: Description | None

    @property
    def key(self) -> tuple[int, str, str]:
        """NAS, Acct-Session-Id and user name: what sessions are looked up by. Not unique over time."""
        return self.nas_id, self.acct_session_id, self.user_name


def read_packet(at: float, nas_id: int, operator_id: int, attributes: Mapping[str, str], *, describe: bool) -> Packet:
    """Read one Accounting-Request that came at `at` (seconds since the epoch).

    With `describe` or for a Start, the packet carries a Description. Raises PacketUnusable.
    """
    get = attributes.get
    status = _STATUS.get(get("Acct-Status-Type", ""))
    if status is None:
        raise PacketUnusable("Acct-Status-Type")
    event = at - _number(get("Acct-Delay-Time"), _LONGEST_DELAY)
    stamp = get("Event-Timestamp")
    if stamp is not None:
        claimed = _instant(stamp)
        if claimed is not None and -CLOCK_TOLERANCE <= claimed - event <= CLOCK_TOLERANCE:
            event = claimed
    if status is Status.ON or status is Status.OFF:
        return Packet(
            at, nas_id, operator_id, status, "", "", "", event,
            None, None, None, 0, 0, None, None, None, None, None, None,
        )  # fmt: skip
    acct_session_id = storable(get("Acct-Session-Id", ""))
    if not acct_session_id:
        raise PacketUnusable("Acct-Session-Id")
    start = status is Status.START
    seconds = None if start else get("Acct-Session-Time")
    session_time = int(seconds) if seconds is not None and seconds.isdecimal() else None
    if session_time is not None and session_time > _LONGEST_SESSION:
        session_time = None
    framed_ip = get("Framed-IP-Address")
    framed_ipv6_prefix = get("Framed-IPv6-Prefix")
    delegated = get("Delegated-IPv6-Prefix")
    return Packet(
        at,
        nas_id,
        operator_id,
        status,
        acct_session_id,
        storable(get("User-Name", "")),
        storable(get("Calling-Station-Id", "")),
        event,
        0 if start else session_time,
        None if start else _counter(get("Acct-Input-Octets"), get("Acct-Input-Gigawords")),
        None if start else _counter(get("Acct-Output-Octets"), get("Acct-Output-Gigawords")),
        _number(get("Acct-Input-Packets"), 1 << 32),
        _number(get("Acct-Output-Packets"), 1 << 32),
        get("Acct-Terminate-Cause"),
        None if framed_ip is None else _address(framed_ip),
        None if framed_ipv6_prefix is None else _prefix(framed_ipv6_prefix),
        None if delegated is None else _prefix(delegated),
        get("Mikrotik-Rate-Limit"),
        _describe(attributes) if describe or start else None,
    )


_STATUS = {
    "Start": Status.START,
    "Stop": Status.STOP,
    "Interim-Update": Status.INTERIM,
    "Alive": Status.INTERIM,  # the older name of the same number
    "Accounting-On": Status.ON,
    "Accounting-Off": Status.OFF,
}


def storable(text: str) -> str:
    """Return the text without what PostgreSQL cannot keep: NUL, and surrogates, which are no characters."""
    if text.isprintable():
        return text
    return text.replace("\0", "").encode(errors="replace").decode()


def total_octets(octets: int, gigawords: int = 0) -> int:
    """Return a counter in octets: the 32-bit attribute and the number of times it has wrapped."""
    return (gigawords << 32) + octets


def _counter(octets: str | None, gigawords: str | None) -> int | None:
    """Return a counter, or None when the packet has none, or one that cannot be."""
    if octets is None or not octets.isdecimal():
        return None
    if gigawords is None or gigawords == "0":
        return int(octets)
    wraps = _number(gigawords, _MOST_GIGAWORDS + 1)
    return total_octets(int(octets), wraps) if wraps <= _MOST_GIGAWORDS else None


def _number(text: str | None, most: int) -> int:
    return min(int(text), most) if text is not None and text.isdecimal() else 0


def _describe(attributes: Mapping[str, str]) -> Description:
    get = attributes.get
    nas_ip_address = get("NAS-IP-Address") or get("NAS-IPv6-Address")
    return Description(
        get("Class", ""),
        get("Called-Station-Id", ""),
        get("NAS-Port-Id", ""),
        get("NAS-Identifier", ""),
        None if nas_ip_address is None else _address(nas_ip_address),
        access_kind(attributes).value,
        find_mac(get("Calling-Station-Id", "")),
    )


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _prefix(text: str) -> str | None:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return None


_MONTHS = {
    month: number
    for number, month in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}


@lru_cache(maxsize=4096)
def _instant(text: str) -> float | None:
    """Read a date as FreeRADIUS prints it, `Nov 14 2023 22:13:20 UTC`, or a number of seconds."""
    if text.isdecimal():
        return float(text)
    try:
        month, day, year, clock, zone = text.split()
        hour, minute, second = clock.split(":")
        if zone not in ("UTC", "GMT"):
            return None
        instant = datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
        )
    except (ValueError, KeyError):
        return None
    return instant.timestamp()
