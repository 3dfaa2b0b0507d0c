"""The firewall: rules in order, and address lists."""

from lab.routeros.menus.kinds import (
    address_or_range,
    duration,
    either,
    integer,
    mac,
    negated,
    several,
)
from lab.routeros.menus.spec import Field, Menu, choice, flag, reference, told, value, values

_PROTOCOLS = "tcp udp icmp gre ipsec-esp ipsec-ah ipencap igmp ospf icmpv6 sctp udp-lite vrrp l2tp"

_INTERFACES = ("in-interface", "out-interface")
_NOT_RAW = (
    "connection-limit connection-mark connection-nat-state connection-state layer7-protocol connection-bytes "
    "connection-rate connection-type realm routing-mark"
)
_ALL_OF_A_KIND = "all-ppp all-ethernet all-vlan all-wireless dynamic"


def _matchers(without: str = "") -> tuple[Field, ...]:
    """Return what a rule may ask of a packet, but for what this table does not know."""
    return tuple(each for each in _all_matchers() if each.name not in without.split())


def _all_matchers() -> tuple[Field, ...]:
    return (
        value("chain", required=True),
        value("protocol", negated(_protocol)),
        value("src-address", negated(address_or_range)),
        value("dst-address", negated(address_or_range)),
        value("src-address-list", negated(str)),
        value("dst-address-list", negated(str)),
        value("src-address-type"),
        value("dst-address-type"),
        value("src-port", negated(_ports)),
        value("dst-port", negated(_ports)),
        value("port", negated(_ports)),
        value("src-mac-address", negated(mac)),
        *(reference(name, "/interface", words=_ALL_OF_A_KIND, matched="interface") for name in _INTERFACES),
        *(reference(f"{name}-list", "/interface/list", matched="interface-list") for name in _INTERFACES),
        value("connection-state"),
        value("connection-nat-state"),
        value("connection-mark"),
        value("packet-mark"),
        value("connection-limit"),
        value("limit"),
        value("layer7-protocol"),
        value("content"),
        value("tls-host"),
        value("hotspot"),
        value("jump-target"),
        value("icmp-options"),
        value("tcp-flags"),
        value("tcp-mss"),
        value("time"),
        value("random", integer),
        value("nth"),
        *values("connection-bytes connection-rate connection-type dscp dst-limit fragment in-bridge-port"),
        *values("in-bridge-port-list ingress-priority ipsec-policy ipv4-options out-bridge-port out-bridge-port-list"),
        *values("packet-size per-connection-classifier priority psd realm routing-mark ttl"),
        value("address-list"),
        value("address-list-timeout"),
        flag("log", None),
        value("log-prefix"),
        flag("invalid", readonly=True),
        *told("bytes packets", "0"),
    )


def _protocol(word: str) -> str:
    if word not in _PROTOCOLS.split() and not (word.isdigit() and int(word) < 256):
        raise ValueError(word)
    return word


def _ports(text: str) -> str:
    for part in text.split(","):
        for end in part.split("-"):
            if not 0 <= int(end) <= 65_535:
                raise ValueError(text)
    return text


FILTER = Menu(
    "/ip/firewall/filter",
    (
        *_matchers(),
        choice(
            "action",
            "accept drop reject jump return log passthrough tarpit add-src-to-address-list add-dst-to-address-list "
            "fasttrack-connection",
            "accept",
        ),
        value("reject-with"),
    ),
    ordered=True,
    disables=True,
    quiet=True,
    dynamic=True,
)
NAT = Menu(
    "/ip/firewall/nat",
    (
        *_matchers("connection-nat-state connection-state tcp-flags tls-host"),
        choice(
            "action",
            "accept dst-nat src-nat masquerade redirect netmap same jump return log passthrough "
            "add-src-to-address-list add-dst-to-address-list",
            "accept",
        ),
        value("to-addresses", address_or_range),
        value("to-ports", _ports),
        flag("randomise-ports", None),
        value("same-not-by-dst"),
    ),
    ordered=True,
    disables=True,
    quiet=True,
    dynamic=True,
)
MANGLE = Menu(
    "/ip/firewall/mangle",
    (
        *_matchers(),
        choice(
            "action",
            "accept mark-connection mark-packet mark-routing change-mss change-ttl change-dscp set-priority jump "
            "return log passthrough add-src-to-address-list add-dst-to-address-list fasttrack-connection route",
            "accept",
        ),
        value("new-packet-mark"),
        value("new-connection-mark"),
        value("new-routing-mark"),
        value("new-mss"),
        *values("new-dscp new-priority new-ttl route-dst sniff-id sniff-target sniff-target-port"),
        flag("passthrough", None),
    ),
    ordered=True,
    disables=True,
    quiet=True,
    dynamic=True,
)
RAW = Menu(
    "/ip/firewall/raw",
    (*_matchers(_NOT_RAW), choice("action", "accept drop jump return log passthrough notrack", "accept")),
    ordered=True,
    disables=True,
    quiet=True,
    dynamic=True,
)
ADDRESS_LIST = Menu(
    "/ip/firewall/address-list",
    (
        value("list", required=True),
        value("address", either(address_or_range, lambda word: _host(word)), required=True),
        value("timeout", duration),
        *told("creation-time"),
    ),
    unique=((("address", "list"), "failure: already have such entry"),),
    clashes_disabled=False,
    disables=True,
    dynamic=True,
)
LAYER7 = Menu("/ip/firewall/layer7-protocol", (value("name", required=True), value("regexp")))
CONNECTION = Menu(
    "/ip/firewall/connection",
    told(
        "protocol src-address dst-address reply-src-address reply-dst-address timeout tcp-state orig-bytes repl-bytes"
    ),
    adds=False,
    sets=False,
    comments=False,
)
SERVICE_PORT = Menu(
    "/ip/firewall/service-port",
    (value("name", readonly=True), value("ports", several(integer))),
    adds=False,
    removes=False,
    disables=True,
    comments=False,
)
INTERFACE_LIST = Menu(
    "/interface/list",
    (value("name", required=True), value("include"), value("exclude"), flag("builtin", readonly=True)),
    unique=((("name",), "failure: already have such name"),),
    first=(
        {".id": "*2000000", "name": "all", "builtin": "true"},
        {".id": "*2000001", "name": "none", "builtin": "true"},
        {".id": "*2000002", "name": "dynamic", "builtin": "true"},
    ),
)
INTERFACE_LIST_MEMBER = Menu(
    "/interface/list/member",
    (reference("list", "/interface/list", required=True), reference("interface", "/interface", required=True)),
    unique=((("list", "interface"), "failure: already have such entry"),),
    disables=True,
    dynamic=True,
)


def _host(word: str) -> str:
    if not word or any(not (letter.isalnum() or letter in ".-_") for letter in word) or word.replace(".", "").isdigit():
        raise ValueError(word)
    return word


MENUS = (
    *(FILTER, NAT, MANGLE, RAW, ADDRESS_LIST, LAYER7, CONNECTION, SERVICE_PORT, INTERFACE_LIST),
    INTERFACE_LIST_MEMBER,
)
