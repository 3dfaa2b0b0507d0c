"""A router's configuration as text, read menu by menu through the API, and that text as people may see it.

RouterOS's API cannot fetch an export: `/export` writes a file, which a user with the least rights may neither write nor
read. So the menus below are printed, and each row becomes the command that would make it again. What changes by
itself (counters, states, dynamic rows) is left out, and rows whose order means nothing are sorted: the same
configuration always gives the same text, so that two texts differ only where somebody changed something.

The text holds the router's secrets, without which it could not be put back. `masked()` is what a page shows: a secret
becomes a short mark that changes when the secret does.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from network.api import RouterApi
from network.problems import Cause, RouterProblem
from network.words import ForeignText, Row


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu of RouterOS. `ordered` where the order of its rows means something.

    `named` is the field that tells rows which the router has by itself; they are changed, never added.
    """

    path: str
    ordered: bool = False
    named: str = ""


MENUS = (
    Menu("/system/identity"),
    Menu("/interface/bridge"),
    Menu("/interface/ethernet", named="default-name"),
    Menu("/interface/vlan"),
    Menu("/interface/bonding"),
    Menu("/interface/eoip"),
    Menu("/interface/gre"),
    Menu("/interface/wireless/security-profiles"),
    Menu("/interface/wireless"),
    Menu("/interface/wireless/access-list", ordered=True),
    Menu("/interface/wireless/connect-list", ordered=True),
    Menu("/interface/wifi/security"),
    Menu("/interface/wifi/aaa"),
    Menu("/interface/wifi/configuration"),
    Menu("/interface/wifi"),
    Menu("/interface/wifi/access-list", ordered=True),
    Menu("/interface/wireguard"),
    Menu("/interface/wireguard/peers"),
    Menu("/interface/ovpn-client"),
    Menu("/interface/l2tp-client"),
    Menu("/interface/sstp-client"),
    Menu("/interface/pppoe-client"),
    Menu("/interface/list"),
    Menu("/interface/list/member"),
    Menu("/interface/bridge/port"),
    Menu("/interface/bridge/vlan"),
    Menu("/interface/bridge/filter", ordered=True),
    Menu("/ip/pool"),
    Menu("/ipv6/pool"),
    Menu("/queue/type"),
    Menu("/ppp/profile"),
    Menu("/ip/hotspot/profile"),
    Menu("/ip/hotspot/user/profile"),
    Menu("/interface/pppoe-server/server"),
    Menu("/interface/l2tp-server/server"),
    Menu("/interface/ovpn-server/server"),
    Menu("/ip/address"),
    Menu("/ipv6/address"),
    Menu("/ip/arp"),
    Menu("/ip/cloud"),
    Menu("/ip/dhcp-client"),
    Menu("/ip/dhcp-server"),
    Menu("/ip/dhcp-server/config"),
    Menu("/ip/dhcp-server/network"),
    Menu("/ip/dhcp-server/option"),
    Menu("/ip/dhcp-server/lease"),
    Menu("/ip/dns"),
    Menu("/ip/dns/static", ordered=True),
    Menu("/ip/firewall/address-list"),
    Menu("/ip/firewall/filter", ordered=True),
    Menu("/ip/firewall/mangle", ordered=True),
    Menu("/ip/firewall/nat", ordered=True),
    Menu("/ip/firewall/raw", ordered=True),
    Menu("/ip/firewall/service-port", named="name"),
    Menu("/ipv6/firewall/address-list"),
    Menu("/ipv6/firewall/filter", ordered=True),
    Menu("/ip/hotspot"),
    Menu("/ip/hotspot/user"),
    Menu("/ip/hotspot/ip-binding", ordered=True),
    Menu("/ip/hotspot/walled-garden", ordered=True),
    Menu("/ip/hotspot/walled-garden/ip", ordered=True),
    Menu("/ip/ipsec/profile"),
    Menu("/ip/ipsec/proposal"),
    Menu("/ip/ipsec/peer"),
    Menu("/ip/ipsec/identity"),
    Menu("/ip/ipsec/policy", ordered=True),
    Menu("/ip/neighbor/discovery-settings"),
    Menu("/ip/route"),
    Menu("/ipv6/route"),
    Menu("/ip/service", named="name"),
    Menu("/ip/settings"),
    Menu("/ppp/aaa"),
    Menu("/ppp/secret"),
    Menu("/queue/simple", ordered=True),
    Menu("/queue/tree"),
    Menu("/radius", ordered=True),
    Menu("/radius/incoming"),
    Menu("/routing/ospf/instance"),
    Menu("/routing/ospf/area"),
    Menu("/routing/ospf/interface-template", ordered=True),
    Menu("/routing/bgp/connection"),
    Menu("/routing/filter/rule", ordered=True),
    Menu("/routing/rule", ordered=True),
    Menu("/snmp"),
    Menu("/snmp/community"),
    Menu("/system/clock"),
    Menu("/system/logging"),
    Menu("/system/logging/action"),
    Menu("/system/note"),
    Menu("/system/ntp/client"),
    Menu("/system/ntp/server"),
    Menu("/system/scheduler"),
    Menu("/system/script"),
    Menu("/tool/e-mail"),
    Menu("/tool/mac-server"),
    Menu("/tool/netwatch"),
    Menu("/user/group"),
    Menu("/user"),
    Menu("/user/aaa"),
)

# What a router tells and never takes, wherever it stands.
_TOLD = frozenset(
    """
    .id .nextid .about dynamic invalid inactive active running default builtin slave complete expired hw-offload
    bytes packets rate packet-rate queued-bytes queued-packets dropped total-bytes total-packets total-rate
    total-packet-rate total-queued-bytes total-queued-packets total-dropped borrows lends pcq-queues bytes-in
    bytes-out packets-in packets-out uptime idle-time creation-time last-seen expires-after status state
    last-link-up-time last-link-down-time link-downs actual-mtu actual-l2mtu max-l2mtu actual-interface
    active-address active-mac-address active-client-id active-server host-name radius blocked class-id age
    last-logged-out last-logged-in last-caller-id last-disconnect-reason encoding current-endpoint-address
    current-endpoint-port last-handshake rx tx role designated-bridge designated-cost designated-port-number
    edge-port edge-port-discovery external-fdb-status forwarding learning point-to-point-port port-number
    root-path-cost sending-rstp actual-path-cost debug-info discard-transitions topology-change-ack
    multicast-router-status immediate-gw gateway-status ecmp hw-offloaded bgp ospf dhcp connect static
    local-address-actual contribution route-tag-actual used total available lease-count cache-used dynamic-servers
    dhcp-server-v6 gateway dhcp-options-received primary-dns secondary-dns freq-drift synced-server synced-stratum
    system-offset active-server-name last-adjustment last-bad-packet-before last-bad-packet-from
    last-bad-packet-reason last-update-before last-update-from poll-interval orig-mac-address bound radio-mac
    match-count ac-name DHCP agent-remote-id agent-circuit-id ip-of-dns-name proxy-status HTTPS bypassed owner
    next-run run-count last-started since done-tests failed-tests sent-count response-count gmt-offset dst-active
    public-address public-address-ipv6 warning ph2-count ph2-state engine-id-actual hits
    """.split()  # noqa: SIM905 - a page of words reads better than a page of quotation marks
)
# The same words are settings in these menus.
_TAKEN_HERE = {
    "/interface/wireless/access-list": {"forwarding"},
    "/interface/wireless/connect-list": {"forwarding"},
    "/ip/dhcp-server/network": {"gateway"},
    "/ip/route": {"gateway"},
    "/ipv6/route": {"gateway"},
    "/routing/bgp/connection": {"connect"},
}
_DIALLED = {"local-address", "remote-address", "mtu", "mru"}
_TOLD_HERE = {
    "/interface/bridge": {"mac-address", "l2mtu"},
    "/interface/vlan": {"mac-address", "l2mtu"},
    "/interface/wifi": {"mac-address", "master"},
    "/interface/wireguard": {"public-key"},
    "/interface/wireless": {"interface-type"},
    "/interface/l2tp-client": _DIALLED,
    "/interface/ovpn-client": _DIALLED,
    "/interface/pppoe-client": _DIALLED,
    "/interface/sstp-client": _DIALLED,
    "/ip/cloud": {"dns-name"},
    "/ip/dhcp-client": {"address"},
    "/ip/dhcp-server/lease": {"src-mac-address"},
    "/ip/dhcp-server/option": {"raw-value"},
    "/ip/hotspot/walled-garden": {"dst-address"},
    "/ip/route": {"local-address"},
    "/ip/service": {"local", "remote", "connection", "proto"},
    "/system/clock": {"time", "date"},
    "/system/ntp/client": {"active-server"},
}
_COUNTED = re.compile(r"(driver-)?(fp-)?[rt]x-(?!flow-control|power|chains|packets-per)|(ft|last)-.*-(time|count)\Z")
# What makes a row of a menu the router's own, so that it is changed and never added.
_BUILT_IN = ("default", "builtin")
_GROUPS = ("full", "read", "write")
_FIRST = ("name", "chain", "action", "list", "interface", "address", "dst-address", "target")

_WORDS = {"true": "yes", "false": "no"}
_READABLE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;/_+=@^()<>-*!#%&'|~{}[]")
_HIDDEN = (
    r"(?:[a-z0-9-]*password|[a-z0-9.-]*secret|[a-z0-9.-]*passphrase|private-key|[a-z0-9.-]*pre-?shared-key"
    r"|static-key-\d|authentication-key|auth-key|tcp-md5-key|wpa2?-pre-shared-key"
    r"|management-protection-key|api-key|token)"
)
_SECRET_FIELD = re.compile(rf'(?<= )({_HIDDEN})="([^"]+)"')
# The same inside a script's source, where a quotation mark is written \22.
_SECRET_WITHIN = re.compile(rf"\b({_HIDDEN})=(\\22.*?\\22|[^\s\\\";\])}}]+)")
_SOURCES = re.compile(r'(?<= )(source|script|lease-script|up-script|down-script|on-[a-z]+)="([^"]+)"')
_HIGH = re.compile(r"(?:\\[89A-F][0-9A-F])+")


def read_configuration(router: RouterApi, between: Callable[[], None] = lambda: None) -> str:
    """Return the configuration. A menu that this router lacks, or that the user may not read, is passed over.

    `between` is called before each menu. Raises RouterProblem where the router goes away, or refuses them all.
    """
    parts = []
    refused: RouterProblem | None = None
    for menu in MENUS:
        between()
        try:
            rows = router.rows(menu.path)
        except RouterProblem as problem:
            if problem.cause is Cause.PERMISSION:
                refused = problem
            if problem.out_of_reach:
                raise
            continue
        lines = list(_commands(menu, rows))
        if lines:
            parts.append("\n".join([menu.path.replace("/", " ").replace(" ", "/", 1), *lines]))
    if not parts:
        raise refused or RouterProblem(Cause.GARBAGE, "the router shows no configuration")
    return "\n".join(parts) + "\n"


def _commands(menu: Menu, rows: Sequence[Row]) -> Iterator[str]:
    made = []
    for row in rows:
        if row.get("dynamic") == "true":
            continue
        fields = {name: value for name, value in row.items() if _is_set(menu.path, name)}
        if ".id" not in row:
            command = "set"
        elif menu.path == "/user/group" and row.get("name") in _GROUPS:
            command = f"set [find name={_quoted(fields.pop('name'))}]"
        elif name := (menu.named or next(("name" for flag in _BUILT_IN if row.get(flag) == "true"), "")):
            which = row.get(name, "")
            command = f"set [find {name}={_quoted(which)}]" if which else "set [find default=yes]"
            fields.pop(name, None)
        else:
            command = "add"
        words = [f"{name}={_quoted(fields[name])}" for name in sorted(fields, key=_place)]
        if words:
            made.append(" ".join([command, *words]))
    yield from made if menu.ordered else sorted(made)


def _is_set(path: str, name: str) -> bool:
    if name in _TAKEN_HERE.get(path, ()):
        return True
    return not (name in _TOLD or name in _TOLD_HERE.get(path, ()) or _COUNTED.match(name))


def _place(name: str) -> tuple[int, str]:
    """The fields that tell a row apart stand in front, its comment at the end."""
    if name in _FIRST:
        return _FIRST.index(name), name
    return (len(_FIRST) + 1 if name in ("comment", "disabled") else len(_FIRST), name)


def _quoted(value: str) -> str:
    """Return a value as a string of RouterOS, on one line, with the very octets that the router has."""
    octets = value.octets if isinstance(value, ForeignText) else _WORDS.get(value, value).encode()
    return '"' + "".join(chr(octet) if octet in _READABLE else f"\\{octet:02X}" for octet in octets) + '"'


def masked(text: str, key: bytes) -> str:
    """Return a configuration without its secrets, and with other letters than ASCII's readable.

    A mark in the place of a secret is made with `key`, which nobody who sees it has, so it tells nothing but change.
    """

    def hidden(secret: str) -> str:
        return f"<hidden {hmac.new(key, secret.encode(), hashlib.sha256).hexdigest()[:4]}>"

    def without(found: re.Match[str]) -> str:
        return f'{found[1]}="{hidden(found[2])}"'

    def source_without(found: re.Match[str]) -> str:
        return f'{found[1]}="{_SECRET_WITHIN.sub(lambda each: f"{each[1]}={hidden(each[2])}", found[2])}"'

    return _HIGH.sub(_letters, _SOURCES.sub(source_without, _SECRET_FIELD.sub(without, text)))


def _letters(found: re.Match[str]) -> str:
    """Return octets as the letters they are in UTF-8; those that are none stay as they are."""
    try:
        letters = bytes.fromhex(found[0].replace("\\", "")).decode()
    except UnicodeDecodeError:
        return found[0]
    return letters if letters.isprintable() else found[0]
