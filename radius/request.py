"""What an Access-Request asks, read from the pairs that FreeRADIUS hands over.

RouterOS does not say which of its services asks; the attributes that each one sends do (RouterOS manual, RADIUS
Client; packets seen in the field): PPP sends Service-Type Framed-User and Framed-Protocol, the hotspot Service-Type
Login-User and Mikrotik-Host-IP, wireless a Called-Station-Id of access point and SSID, DHCP none of these.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from aaa.facts import AccessKind
from core.codes import fold_code
from core.mac import find_mac

Attributes = Mapping[str, str]


class Method(StrEnum):
    """How the password came."""

    PAP = "pap"
    CHAP = "chap"
    MSCHAP = "mschap"
    MSCHAPV2 = "mschapv2"
    NONE = "none"


class Name(NamedTuple):
    """One way to read the User-Name: the namespace of the image it is looked up in, and the name there.

    A voucher's code (VOUCHER) is looked up by its keyed hash (core.codes).
    """

    namespace: bytes
    name: str


def access_kind(attributes: Attributes) -> AccessKind:
    """Return the kind of access; a request that says nothing and names no MAC address is a login like PPP's."""
    if "Framed-Protocol" in attributes:
        return AccessKind.PPP
    if "Mikrotik-Host-IP" in attributes or attributes.get("Service-Type") == "Login-User":
        return AccessKind.HOTSPOT
    if find_mac(attributes.get("User-Name", "")) is None or attributes.get("Service-Type") == "Framed-User":
        return AccessKind.PPP
    if attributes.get("NAS-Port-Type", "").startswith("Wireless"):
        return AccessKind.WIRELESS
    return AccessKind.DHCP


def is_router_login(attributes: Attributes) -> bool:
    """Tell whether somebody logs in to the router itself, by WinBox, SSH, the API or its web pages.

    The manual does not say which attributes that service sends. So it is told by what every other service of RouterOS
    sends and a login cannot have: PPP's protocol, the name of the hotspot's, the DHCP's or the wireless server that is
    called, an address given, and a device's MAC address as who calls.
    """
    if "Framed-Protocol" in attributes or "Mikrotik-Host-IP" in attributes or "Called-Station-Id" in attributes:
        return False
    service, caller = attributes.get("Service-Type"), attributes.get("Calling-Station-Id", "")
    if service is None and not caller:
        return False  # says nothing at all: as before, a login like PPP's
    return (
        service in (None, "Login-User", "Administrative-User", "NAS-Prompt-User")
        and "Framed-IP-Address" not in attributes
        and find_mac(caller) is None
        and find_mac(attributes.get("User-Name", "")) is None
    )


def method(attributes: Attributes) -> Method:
    if "User-Password" in attributes:
        return Method.PAP
    if "CHAP-Password" in attributes:
        return Method.CHAP
    if "MS-CHAP2-Response" in attributes:
        return Method.MSCHAPV2
    if "MS-CHAP-Response" in attributes:
        return Method.MSCHAP
    return Method.NONE


def names(user_name: str, kind: AccessKind, mac: str | None) -> tuple[Name, ...]:
    """Return the ways to read a User-Name, the first that is registered counts.

    A user name is matched exactly. A MAC address is a credential without a password, so it counts only where the
    router itself vouches for it: not over PPP, and not for another device than the one calling.
    """
    as_mac = find_mac(user_name)
    vouched = as_mac is not None and kind is not AccessKind.PPP and mac in (None, as_mac)
    if kind in (AccessKind.DHCP, AccessKind.WIRELESS):
        return (Name(b"m", as_mac),) if as_mac is not None and vouched else ()
    exact = Name(b"n", user_name)
    if kind is AccessKind.PPP:
        return (exact,)
    if as_mac is not None and vouched:
        return (Name(b"m", as_mac), exact)
    return (exact, Name(VOUCHER, fold_code(user_name)))


def line_name(attributes: Attributes) -> str | None:
    """Return the name of the line that a DHCP relay says the request came in by, or None where none says so.

    RouterOS passes option 82 (RFC 3046) on as Agent-Remote-Id and Agent-Circuit-Id of vendor 2352 (RouterOS manual,
    RADIUS Client). The name is `remote-id/circuit-id`; one that is missing is left empty, and octets that are no
    printable text are written in hex.
    """
    remote, circuit = attributes.get("Agent-Remote-Id"), attributes.get("Agent-Circuit-Id")
    if remote is None and circuit is None:
        return None
    return f"{_printable(remote or '0x')}/{_printable(circuit or '0x')}"


def _printable(octets: str) -> str:
    """Return octets, which FreeRADIUS writes as `0x…`, as text where they are printable ASCII."""
    text = bytes.fromhex(octets.removeprefix("0x")).decode("latin-1")
    return text if text.isascii() and text.isprintable() else octets


LINE = b"l"
"""The namespace of lines."""
VOUCHER = b"v"
"""The namespace of vouchers."""


def namespace_of(access_method: str) -> bytes:
    """Return the namespace in which a service of this access method is found."""
    return {"mac": b"m", "voucher": VOUCHER, "line": LINE}.get(access_method, b"n")


def readable(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Decode the strings that are not UTF-8, which FreeRADIUS hands over in hex and marks by a last pair.

    Old clients send the name in the code page of their system; Latin-1 is the one seen in the field, and it turns
    any octets into text.
    """
    if pairs[-1] != ("Tmp-String-2", "hex"):
        return pairs
    decoded = []
    for name, value in pairs:
        decoded.append((name, _decoded(value[3:], value) if value.startswith("=0x") else value))
    return tuple(decoded)


def _decoded(digits: str, instead: str) -> str:
    """Return the text of octets in hex; `instead` when they are none: somebody typed a name that begins like one."""
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        return instead
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")
