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
from ipaddress import IPv6Network, ip_address
from socket import AF_INET, inet_pton
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


START, STOP, INTERIM, ON, OFF = Status  # naming a member through its class costs more


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
    key: tuple[int, str, str]  # NAS, Acct-Session-Id and User-Name as received; not unique over time
    calling_station_id: str  # as received
    event: float  # when what it tells happened
    session_time: int | None  # seconds
    input_octets: int | None
    output_octets: int | None
    input_packets: int
    output_packets: int
    cause: str | None  # Acct-Terminate-Cause
    framed_ip: str | None  # as received, like the two after it
    framed_ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    reported_rate: str | None
    description: Description | None

    @property
    def acct_session_id(self) -> str:
        return self.key[1]

    @property
    def user_name(self) -> str:
        return self.key[2]


def read_packet(at: float, nas_id: int, operator_id: int, attributes: Mapping[str, str], *, describe: bool) -> Packet:
    """Read one Accounting-Request that came at `at` (seconds since the epoch).

    With `describe` or for a Start, the packet carries a Description. Raises PacketUnusable.
    """
    get = attributes.get
    status = _STATUS.get(get("Acct-Status-Type", ""))
    if status is None:
        raise PacketUnusable("Acct-Status-Type")
    delay = get("Acct-Delay-Time")
    event = at if delay is None or delay == "0" else at - min(_number(delay) or 0, _LONGEST_DELAY)
    stamp = get("Event-Timestamp")
    if stamp is not None:
        claimed = _instant(stamp)
        if claimed is not None and -CLOCK_TOLERANCE <= claimed - event <= CLOCK_TOLERANCE:
            event = claimed
    if status is ON or status is OFF:
        return Packet(
            at, nas_id, operator_id, status, (nas_id, "", ""), "", event,
            None, None, None, 0, 0, None, None, None, None, None, None,
        )  # fmt: skip
    acct_session_id = get("Acct-Session-Id", "")
    if not acct_session_id:
        raise PacketUnusable("Acct-Session-Id")
    user_name = get("User-Name", "")
    calling_station_id = get("Calling-Station-Id", "")
    if not (acct_session_id.isprintable() and user_name.isprintable() and calling_station_id.isprintable()):
        acct_session_id, user_name = storable(acct_session_id), storable(user_name)
        calling_station_id = storable(calling_station_id)
    session_time: int | None = 0
    received = sent = None
    received_packets = sent_packets = 0
    if status is not START:
        try:
            session_time = int(attributes["Acct-Session-Time"])
            received = int(attributes["Acct-Input-Octets"])
            sent = int(attributes["Acct-Output-Octets"])
            wraps = get("Acct-Input-Gigawords", "0"), get("Acct-Output-Gigawords", "0")
            if wraps != _NO_WRAPS:
                received, sent = total_octets(received, int(wraps[0])), total_octets(sent, int(wraps[1]))
            received_packets = int(get("Acct-Input-Packets", "0"))
            sent_packets = int(get("Acct-Output-Packets", "0"))
            if session_time | received | sent | received_packets | sent_packets < 0:
                raise ValueError("a negative number")
        except (KeyError, ValueError):
            session_time = _number(get("Acct-Session-Time"))
            received = _counter(get("Acct-Input-Octets"), get("Acct-Input-Gigawords"))
            sent = _counter(get("Acct-Output-Octets"), get("Acct-Output-Gigawords"))
            received_packets = _number(get("Acct-Input-Packets")) or 0
            sent_packets = _number(get("Acct-Output-Packets")) or 0
        if session_time is not None and session_time > _LONGEST_SESSION:
            session_time = None
    return Packet(
        at,
        nas_id,
        operator_id,
        status,
        (nas_id, acct_session_id, user_name),
        calling_station_id,
        event,
        session_time,
        received,
        sent,
        received_packets,
        sent_packets,
        get("Acct-Terminate-Cause"),
        get("Framed-IP-Address"),
        get("Framed-IPv6-Prefix"),
        get("Delegated-IPv6-Prefix"),
        get("Mikrotik-Rate-Limit"),
        _describe(attributes) if describe or status is START else None,
    )


_NO_WRAPS = ("0", "0")
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
    """Return a counter in octets: the 32-bit attribute and the number of times it has wrapped.

    Raises ValueError if there are more wraps than any session can have: the packet is malformed.
    """
    if not 0 <= gigawords <= _MOST_GIGAWORDS:
        raise ValueError(gigawords)
    return (gigawords << 32) + octets


def _counter(octets: str | None, gigawords: str | None) -> int | None:
    """Return a counter, or None when the packet has none, or one that cannot be."""
    number = _number(octets)
    if number is None:
        return None
    try:
        return total_octets(number, _number(gigawords) or 0)
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _describe(attributes: Mapping[str, str]) -> Description:
    get = attributes.get
    nas_ip_address = get("NAS-IP-Address") or get("NAS-IPv6-Address")
    return Description(
        get("Class", ""),
        get("Called-Station-Id", ""),
        get("NAS-Port-Id", ""),
        get("NAS-Identifier", ""),
        None if nas_ip_address is None else address(nas_ip_address),
        access_kind(attributes).value,
        find_mac(get("Calling-Station-Id", "")),
    )


def address(text: str) -> str | None:
    """Return an IP address as it is stored, None when it is none."""
    try:
        inet_pton(AF_INET, text)
    except (OSError, ValueError):
        try:
            return str(ip_address(text))
        except ValueError:
            return None
    return text


def prefix(text: str) -> str | None:
    """Return an IPv6 prefix as it is stored, without the bits behind its length; None when it is none."""
    try:
        return str(IPv6Network(text, strict=False))
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
