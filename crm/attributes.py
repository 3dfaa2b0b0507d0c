"""Extra RADIUS attributes of a rate plan or a service, checked before they are saved.

FreeRADIUS sends a value that does not parse as zero, and drops an attribute it does not know with a line in a log
that nobody reads; the Access-Accept goes out all the same. So what an operator types is held here against the same
dictionaries that radiusd loads: the name, the operator, and the value by the attribute's type.

What would break the answer is refused: whatever carries a password or proves the packet, what a NAS sends rather
than receives (RFC 2865 §5.44), and what Portico sets itself from the fields of the plan, the service or the NAS. A
value may hold the placeholders of aaa.extras, such as `{name}`; it is tried with an example of each.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from aaa.extras import LONGEST_TEXT, PLACEHOLDER
from aaa.facts import Extra
from core.i18n import N_

DICTIONARIES = Path("/usr/share/freeradius")
OPERATORS = ("=", ":=", "+=")
MOST = 32  # attributes of one plan or service


class Flaw(StrEnum):
    """What is wrong with an extra attribute, in words that the person who typed it can use."""

    UNKNOWN = N_("FreeRADIUS knows no attribute of this name")
    OPERATOR = N_("the operator must be =, := or +=")
    OWN_FIELD = N_("Portico sends this attribute itself: use the field for it")
    FORBIDDEN = N_("this attribute would break the answer to the router")
    NOT_IN_ACCEPT = N_("an Access-Accept may not carry this attribute (RFC 2865 §5.44)")
    EMPTY = N_("a value is missing")
    TOO_LONG = N_("the value is longer than 247 octets")
    TEXT = N_("the value holds a character that cannot be sent")
    INTEGER = N_("the value is not a whole number in the attribute's range, nor one of its names")
    IPV4 = N_("the value is not an IPv4 address, for example 10.0.0.1")
    IPV6 = N_("the value is not an IPv6 address, for example 2001:db8::1")
    IPV4_PREFIX = N_("the value is not an IPv4 prefix, for example 10.0.0.0/24")
    IPV6_PREFIX = N_("the value is not an IPv6 prefix, for example 2001:db8::/56")
    OCTETS = N_("the value is not octets in hexadecimal, for example 0x00ff")
    MAC = N_("the value is not a MAC address, for example aa:bb:cc:dd:ee:ff")
    INTERFACE_ID = N_("the value is not an interface id, for example 0:0:0:1")
    PLACEHOLDER = N_("there is no such placeholder in braces")
    UNSUPPORTED = N_("values of this attribute's type cannot be entered here")
    TOO_MANY = N_("at most 32 extra attributes")


class BadAttribute(ValueError):
    """An extra attribute cannot be sent; `name` is what was typed, `flaw` what is wrong with it."""

    def __init__(self, name: str, flaw: Flaw) -> None:
        super().__init__(f"{name}: {flaw.value}")
        self.name = name
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Attribute:
    """One entry of FreeRADIUS's dictionaries. `number` is the attribute's within its vendor, "" is no vendor."""

    name: str
    number: int
    type: str
    vendor: str
    encrypted: bool = False
    values: dict[str, int] = field(default_factory=dict, compare=False)


# Set by Portico from fields of its own; a second value would contradict the terms that live sessions are held
# against.
OWN_FIELDS = frozenset(
    {
        "acct-interim-interval",
        "class",
        "delegated-ipv6-prefix",
        "framed-ip-address",
        "framed-ipv6-pool",
        "framed-ipv6-prefix",
        "framed-pool",
        "framed-route",
        "idle-timeout",
        "mikrotik-address-list",
        "mikrotik-delegated-ipv6-pool",
        "mikrotik-rate-limit",
        "mikrotik-total-limit",
        "mikrotik-total-limit-gigawords",
        "session-timeout",
        "wispr-session-terminate-time",
    }
)

# Part of proving who asks, or of the packet itself.
_FORBIDDEN = re.compile(
    r"(.*-)?(password|passwd|secret)(-.*)?\Z|eap-.*|chap-.*|ms-chap.*|ms-mppe-.*|message-authenticator\Z|state\Z"
    r"|proxy-state\Z|auth-type\Z|response-packet-type\Z|packet-.*|user-name\Z|digest-.*|arap-.*|freeradius-.*"
)

# Attributes without a vendor that an Access-Accept may carry: RFC 2865 §5.44, 2868 §3, 2869 §5.19, 3162 §2, 4675,
# 4849, 6572, 6911. Others are refused, because the server's own (Simultaneous-Use, Pool-Name) have no vendor either.
_IN_ACCEPT = frozenset(
    {
        "callback-id",
        "callback-number",
        "configuration-token",
        "delegated-ipv6-prefix-pool",
        "dns-server-ipv6-address",
        "egress-vlan-name",
        "egress-vlanid",
        "filter-id",
        "framed-compression",
        "framed-interface-id",
        "framed-ip-netmask",
        "framed-ipv6-address",
        "framed-ipv6-route",
        "framed-management",
        "framed-mtu",
        "framed-protocol",
        "framed-routing",
        "ingress-filters",
        "login-ip-host",
        "login-ipv6-host",
        "login-service",
        "login-tcp-port",
        "management-policy-id",
        "management-privilege-level",
        "nas-filter-rule",
        "port-limit",
        "reply-message",
        "route-ipv6-information",
        "service-type",
        "stateful-ipv6-address-pool",
        "termination-action",
        "tunnel-assignment-id",
        "tunnel-client-auth-id",
        "tunnel-client-endpoint",
        "tunnel-medium-type",
        "tunnel-preference",
        "tunnel-private-group-id",
        "tunnel-server-auth-id",
        "tunnel-server-endpoint",
        "tunnel-type",
        "user-priority-table",
    }
)

_INTEGERS = {
    "byte": (0, 2**8 - 1),
    "short": (0, 2**16 - 1),
    "integer": (0, 2**32 - 1),
    "signed": (-(2**31), 2**31 - 1),
    "integer64": (0, 2**64 - 1),
    "date": (0, 2**32 - 1),
}


_EXAMPLES = {
    "name": "ana",
    "service": "1",
    "plan": "Home",
    "address": "192.0.2.1",
    "download": "10000000",
    "upload": "2000000",
    "download_kbps": "10000",
    "upload_kbps": "2000",
}
"""What an attribute's type is tried with where a value has placeholders; the names are those of aaa.extras."""


@cache
def dictionary() -> dict[str, Attribute]:
    """Return FreeRADIUS's attributes by their name in lower case; read once a process (about 0.06 s)."""
    found: dict[str, Attribute] = {}
    names: dict[str, list[tuple[str, int]]] = {}
    _read(DICTIONARIES / "dictionary", "", found, names)
    for attribute, values in names.items():
        if attribute in found:
            found[attribute].values.update(values)
    return found


def check_extra(entries: Iterable[tuple[str, str, str]]) -> tuple[Extra, ...]:
    """Return the attributes as they are stored: the dictionary's spelling of name and named value.

    Raises BadAttribute for the first that cannot be sent.
    """
    checked = tuple(_checked(name.strip(), operator.strip(), value.strip()) for name, operator, value in entries)
    if len(checked) > MOST:
        raise BadAttribute(checked[MOST][0], Flaw.TOO_MANY)
    return checked


def parse_extra(text: str) -> tuple[Extra, ...]:
    """Read attributes as people write them, one a line: `Filter-Id := kids`. Empty lines are passed over.

    Raises BadAttribute.
    """
    entries = []
    for line in text.splitlines():
        if not line.strip():
            continue
        match = re.match(r"\s*(\S+?)\s*(:=|\+=|==|=)\s*(.*)\Z", line)
        if match is None:
            raise BadAttribute(line.strip(), Flaw.OPERATOR)
        name, operator, value = match.groups()
        entries.append((name, operator, _unquoted(value.strip())))
    return check_extra(entries)


def format_extra(extra: Iterable[Iterable[str]]) -> str:
    """Return stored attributes as `parse_extra` reads them."""
    return "\n".join(" ".join(entry) for entry in extra)


def _checked(name: str, operator: str, value: str) -> Extra:
    base, _, tag = name.partition(":")
    lowered = base.lower()
    if lowered in OWN_FIELDS:
        raise BadAttribute(name, Flaw.OWN_FIELD)
    if _FORBIDDEN.match(lowered):
        raise BadAttribute(name, Flaw.FORBIDDEN)
    attribute = dictionary().get(lowered)
    if attribute is None or (tag and not (tag.isascii() and tag.isdigit() and int(tag) <= 31)):
        raise BadAttribute(name, Flaw.UNKNOWN)
    if attribute.encrypted:
        raise BadAttribute(name, Flaw.FORBIDDEN)
    if not attribute.vendor and lowered not in _IN_ACCEPT:
        raise BadAttribute(name, Flaw.NOT_IN_ACCEPT)
    if operator not in OPERATORS:
        raise BadAttribute(name, Flaw.OPERATOR)
    spelled = attribute.name + (f":{int(tag)}" if tag else "")
    placeholders = PLACEHOLDER.findall(value)
    if not placeholders:
        return spelled, operator, _value(attribute, name, value)
    if not all(placeholder in _EXAMPLES for placeholder in placeholders):
        raise BadAttribute(name, Flaw.PLACEHOLDER)
    _value(attribute, name, PLACEHOLDER.sub(lambda match: _EXAMPLES[match[1]], value))
    return spelled, operator, value


def _value(attribute: Attribute, name: str, value: str) -> str:
    if not value:
        raise BadAttribute(name, Flaw.EMPTY)
    match attribute.type:
        case "string":
            return _text(name, value)
        case kind if kind in _INTEGERS:
            return _integer(attribute, name, value)
        case "ipaddr":
            return _address(name, value, 4, Flaw.IPV4)
        case "ipv6addr":
            return _address(name, value, 6, Flaw.IPV6)
        case "combo-ip":
            return _address(name, value, None, Flaw.IPV4)
        case "ipv4prefix":
            return _prefix(name, value, 4, Flaw.IPV4_PREFIX)
        case "ipv6prefix":
            return _prefix(name, value, 6, Flaw.IPV6_PREFIX)
        case "octets":
            if not re.fullmatch(r"0x([0-9a-fA-F]{2}){1,247}", value):
                raise BadAttribute(name, Flaw.OCTETS)
            return value.lower()
        case "ether":
            if not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", value):
                raise BadAttribute(name, Flaw.MAC)
            return value.lower()
        case "ifid":
            if not re.fullmatch(r"([0-9a-fA-F]{1,4}:){3}[0-9a-fA-F]{1,4}", value):
                raise BadAttribute(name, Flaw.INTERFACE_ID)
            return value.lower()
    raise BadAttribute(name, Flaw.UNSUPPORTED)


def _text(name: str, value: str) -> str:
    if len(value.encode()) > LONGEST_TEXT:
        raise BadAttribute(name, Flaw.TOO_LONG)
    # A control character has no business in a router's configuration, and a NUL would end the value.
    if not value.isprintable():
        raise BadAttribute(name, Flaw.TEXT)
    return value


def _integer(attribute: Attribute, name: str, value: str) -> str:
    for named in attribute.values:
        if named.lower() == value.lower():
            return named
    least, most = _INTEGERS[attribute.type]
    if not re.fullmatch(r"-?[0-9]{1,20}", value, re.ASCII) or not least <= int(value) <= most:
        raise BadAttribute(name, Flaw.INTEGER)
    return str(int(value))


def _address(name: str, value: str, version: int | None, flaw: Flaw) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise BadAttribute(name, flaw) from None
    if version is not None and address.version != version:
        raise BadAttribute(name, flaw)
    return str(address)


def _prefix(name: str, value: str, version: int, flaw: Flaw) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        raise BadAttribute(name, flaw) from None
    if network.version != version or "/" not in value:
        raise BadAttribute(name, flaw)
    return str(network)


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _read(path: Path, vendor: str, found: dict[str, Attribute], names: dict[str, list[tuple[str, int]]]) -> None:
    """Read one dictionary file and what it includes. Attributes inside a TLV are left out: they are never entered."""
    inside_tlv = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        match words[0].upper():
            case "$INCLUDE" | "$INCLUDE-":
                included = path.parent / words[1]
                if included.is_file():
                    _read(included, vendor, found, names)
            case "BEGIN-VENDOR":
                vendor = words[1]
            case "END-VENDOR":
                vendor = ""
            case "BEGIN-TLV":
                inside_tlv += 1
            case "END-TLV":
                inside_tlv -= 1
            case "ATTRIBUTE" if not inside_tlv and len(words) >= 4 and words[2].isdigit():
                flags = words[4].split(",") if len(words) > 4 else []
                encrypted = any(flag.startswith("encrypt=") and flag != "encrypt=0" for flag in flags)
                kind = words[3].lower().partition("[")[0]
                found[words[1].lower()] = Attribute(words[1], int(words[2]), kind, vendor, encrypted)
            case "VALUE" if len(words) >= 4:
                number = words[3]
                try:
                    value = int(number, 0)
                except ValueError:
                    continue
                names.setdefault(words[1].lower(), []).append((words[2], value))
