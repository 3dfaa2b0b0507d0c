"""The script that connects a router to this installation, and the one that undoes it.

Ready to paste into a terminal or to import, for the router's own version, and harmless when run twice. It touches
three kinds of things:

- rows of ours, told by a comment that begins with `portico-`; they are added, and later changed or replaced;
- settings that a router has once (`/ppp aaa`, `/radius incoming` …); what they were is first written into a script on
  the router itself, `portico-before-…`, which the undo script runs. A second run does not write it again;
- nothing else. What could lock somebody out (RADIUS on a live DHCP server, on a live wireless profile) is a step of
  its own that somebody has to choose.

The undo script needs to know nothing of the choices: it runs what stands in the saved scripts and removes our rows.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.i18n import N_
from network.scripts_text import comment, ensure, fields, find, put_first, quoted, remove, say, say_if
from network.version import MESSAGE_AUTHENTICATOR, WIREGUARD, Version
from network.vpn_plan import API_PORT, API_USER, Kind

INTERFACE = "portico-vpn"
GROUP = "portico"
_POLICY = ("api", "read", "write", "test", "sensitive")
# A group's policy only grows by `set`, so what it must not have is said as well.
_NOT_POLICY = ("local", "telnet", "ssh", "ftp", "reboot", "policy", "winbox", "password", "web", "sniff")
_BEFORE = "portico-before"
_PAGE, _LOGIN = "portico-login-page", "hotspot/login.html"
_WIFI = "portico-wifi"
_LISTEN_PORT = "13270"  # RouterOS's default, 13231, is often somebody else's interface already

Translate = Callable[[str], str]


class RadiusService(StrEnum):
    """A service of RouterOS that may ask RADIUS."""

    PPP = "ppp"
    HOTSPOT = "hotspot"
    DHCP = "dhcp"
    WIRELESS = "wireless"


@dataclass(frozen=True, slots=True)
class ServerSide:
    """This installation as the router sees it."""

    endpoint: str  # public name or address of the VPN server
    port: int
    address: str  # its private address, where RADIUS is and the API's calls come from
    public_key: str  # WireGuard's; empty for OpenVPN
    auth_port: int
    acct_port: int


@dataclass(frozen=True, slots=True)
class RouterSide:
    """The router's own part of the tunnel. Secrets may be placeholders, where the script is only shown."""

    name: str
    kind: Kind
    address: str
    user_name: str  # OpenVPN's
    vpn_secret: str  # empty where the router made its own WireGuard key
    api_password: str
    radius_secret: str
    coa_port: int = 3799


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody chose. The names are those on the router; None leaves a step out."""

    version: Version
    services: frozenset[RadiusService] = frozenset({RadiusService.PPP})
    only_vpn_api: bool = True  # nobody else may use the router's API
    hotspot_profile: str | None = None
    dhcp_server: str | None = None
    security_profile: str | None = None  # of the older wireless driver
    wifi_interface: str | None = None  # of the driver called wifi, from RouterOS 7.13
    portal_host: str | None = None  # for walled garden and login page
    portal_address: str | None = None  # where suspended subscribers are sent
    portal_port: int = 80
    suspended_lists: tuple[str, ...] = ("portico-suspended",)  # one or more, the operator's usual one first
    suspended_redirect: bool = False
    walled_garden: bool = False
    login_page: str | None = None  # URL
    ntp: str | None = None
    staff_login: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the script: a title for people, and its lines."""

    title: str
    lines: list[str] = field(default_factory=list)


def script(server: ServerSide, router: RouterSide, choices: Choices, translate: Translate = str) -> str:
    """Return the script as text with a line break at its end."""
    title = N_("Connects this router to Portico. It may be run again.")
    return _render(title, sections(server, router, choices, translate), router, translate)


def undo_script(router: RouterSide, choices: Choices, translate: Translate = str) -> str:
    """Return the script that takes everything back, the tunnel last."""
    return _render(
        N_("Takes back what Portico's script did."), _undo_sections(router, choices, translate), router, translate
    )


def sections(server: ServerSide, router: RouterSide, choices: Choices, _: Translate = str) -> list[Section]:
    """Return the parts of the script in their order."""
    made = [
        _tunnel(server, router),
        _api(server, router, choices, _),
        _firewall(server, router),
        _radius(server, router, choices),
    ]
    if RadiusService.PPP in choices.services:
        made.append(_ppp())
    if choices.hotspot_profile:
        made.append(_hotspot(choices.hotspot_profile, _))
    if choices.dhcp_server:
        made.append(_dhcp(choices.dhcp_server, _))
    if choices.security_profile:
        made.append(_wireless(choices.security_profile, _))
    if choices.wifi_interface:
        made.append(_wifi(choices.wifi_interface, _))
    if choices.walled_garden and choices.portal_host:
        made.append(_walled_garden(choices.portal_host))
    if choices.suspended_redirect and choices.portal_address:
        made.append(_suspended(choices.portal_address, choices.portal_port, choices.suspended_lists))
    if choices.login_page:
        made.append(_login_page(choices.login_page, choices.version, _))
    if choices.ntp:
        made.append(_ntp(choices.ntp, choices.version))
    if choices.staff_login:
        made.append(_staff_login())
    made.append(_findings(server, router, choices, _))
    return made


# --- What everybody gets ----------------------------------------------------------------------------------------------


def _tunnel(server: ServerSide, router: RouterSide) -> Section:
    mark = {"comment": quoted(INTERFACE)}
    name = f"name={quoted(INTERFACE)}"
    if router.kind is Kind.OPENVPN:
        values = {
            "connect-to": quoted(server.endpoint),
            "port": str(server.port),
            "mode": "ip",
            "user": quoted(router.user_name),
            "password": quoted(router.vpn_secret),
            "profile": "default",
            "auth": "sha1",
            "cipher": "aes256",
            "certificate": "none",
            "add-default-route": "no",
            "disabled": "no",
            **mark,
        }
        return Section(
            N_("Tunnel: OpenVPN over TCP"),
            [ensure("/interface ovpn-client", name, values, {"name": quoted(INTERFACE)})],
        )
    interface = {"mtu": "1420", "listen-port": _LISTEN_PORT, **mark}
    if router.vpn_secret:
        interface["private-key"] = quoted(router.vpn_secret)
    peer = {
        "interface": quoted(INTERFACE),
        "public-key": quoted(server.public_key),
        "endpoint-address": quoted(server.endpoint),
        "endpoint-port": str(server.port),
        "allowed-address": f"{server.address}/32",
        "persistent-keepalive": "25s",
        **mark,
    }
    address = {
        "address": f"{router.address}/32",
        "network": server.address,
        "interface": quoted(INTERFACE),
        **mark,
    }
    by_comment = f"comment={quoted(INTERFACE)}"
    return Section(
        N_("Tunnel: WireGuard"),
        [
            ensure("/interface wireguard", name, interface, {"name": quoted(INTERFACE)}),
            ensure("/interface wireguard peers", by_comment, peer),
            ensure("/ip address", by_comment, address),
        ],
    )


def _api(server: ServerSide, router: RouterSide, choices: Choices, _: Translate) -> Section:
    policy = ",".join(_POLICY)
    refused = (*_NOT_POLICY, "romon", "rest-api") if choices.version >= WIREGUARD else _NOT_POLICY
    user = {
        "group": quoted(GROUP),
        "password": quoted(router.api_password),
        "address": f"{server.address}/32",
        "comment": quoted("portico-api"),
    }
    groups, users, service = "/user group", "/user", "/ip service"
    ours = find(groups, f"name={quoted(GROUP)}")
    only_not = ",".join((policy, *(f"!{name}" for name in refused)))
    allowed = f" address={server.address}/32" if choices.only_vpn_api else ""
    lines = [
        f":if ([:len {ours}] = 0) do={{{groups} add name={quoted(GROUP)} policy={policy}}}"
        f" else={{{groups} set {ours} policy={only_not}}}",
        ensure(users, f"name={quoted(API_USER)}", user, {"name": quoted(API_USER)}),
        _save("api", f"{service} set api", service, ("disabled", "port"), item="api", listed="address"),
        f"{service} set api disabled=no port={API_PORT}{allowed}",
    ]
    if not choices.only_vpn_api:
        lines.append(
            say_if(
                f"[:len [:tostr [{service} get api address]]] > 0",
                _("/ip service api has an address list of its own: add %(address)s to it.")
                % {"address": server.address},
            )
        )
    return Section(N_("API: a user of its own with the least rights, from the tunnel only"), lines)


def _firewall(server: ServerSide, router: RouterSide) -> Section:
    base = {
        "chain": "input",
        "action": "accept",
        "in-interface": quoted(INTERFACE),
        "src-address": server.address,
        "comment": quoted("portico-input"),
    }
    rows: list[Mapping[str, str]] = [
        {**base, "protocol": "tcp", "dst-port": str(API_PORT)},
        {**base, "protocol": "udp", "dst-port": str(router.coa_port)},
        {**base, "protocol": "icmp"},
    ]
    return Section(
        N_("Firewall: API, CoA and ping from the server, in front of all other rules"),
        [put_first("/ip firewall filter", f"comment={quoted('portico-input')}", rows)],
    )


def _radius(server: ServerSide, router: RouterSide, choices: Choices) -> Section:
    services = [service.value for service in RadiusService if service in choices.services]
    if choices.staff_login:
        services.append("login")
    row = {
        "service": ",".join(services),
        "address": server.address,
        "secret": quoted(router.radius_secret),
        "src-address": router.address,
        "authentication-port": str(server.auth_port),
        "accounting-port": str(server.acct_port),
        "timeout": "3s",
        "comment": quoted("portico-radius"),
    }
    if choices.version >= MESSAGE_AUTHENTICATOR:
        row["require-message-auth"] = "yes-for-request-resp"
    lines = [remove("/radius", f"comment ~ {quoted('^portico')}")]
    if services:
        lines.append(f"/radius add {fields(row)}")
    lines += [
        _save("incoming", "/radius incoming set", "/radius incoming", ("accept", "port")),
        f"/radius incoming set accept=yes port={router.coa_port}",
    ]
    return Section(N_("RADIUS"), lines)


def _ppp() -> Section:
    return Section(
        N_("PPP asks RADIUS"),
        [
            _save("ppp", "/ppp aaa set", "/ppp aaa", ("use-radius", "accounting", "interim-update")),
            "/ppp aaa set use-radius=yes accounting=yes interim-update=5m",
        ],
    )


# --- What somebody has to choose --------------------------------------------------------------------------------------


def _hotspot(profile: str, _: Translate) -> Section:
    wanted = {
        "use-radius": "yes",
        "radius-accounting": "yes",
        "radius-interim-update": "received",
        "nas-port-type": "wireless-802.11",
        "radius-mac-format": "XX:XX:XX:XX:XX:XX",
        "login-by": "mac,cookie,http-chap,http-pap",
        "mac-auth-mode": "mac-as-username-and-password",
    }
    plain = tuple(name for name in wanted if name != "login-by")
    title = N_("Hotspot asks RADIUS")
    return _of_a_row(title, "hotspot", "/ip hotspot profile", profile, wanted, plain, _, "login-by")


def _dhcp(server_name: str, _: Translate) -> Section:
    section = _of_a_row(
        N_("DHCP asks RADIUS: devices that are not registered get no address"),
        "dhcp", "/ip dhcp-server", server_name, {"use-radius": "yes"}, ("use-radius",), _,
    )  # fmt: skip
    config = "/ip dhcp-server config"
    section.lines.extend(
        [
            _save("dhcp-config", f"{config} set", config, ("accounting", "interim-update")),
            f"{config} set accounting=yes interim-update=5m",
        ]
    )
    return section


def _wireless(profile: str, _: Translate) -> Section:
    wanted = {
        "radius-mac-authentication": "yes",
        "radius-mac-accounting": "yes",
        "radius-mac-format": "XX:XX:XX:XX:XX:XX",
        "radius-mac-mode": "as-username",
        "interim-update": "5m",
    }
    return _of_a_row(
        N_("Wireless asks RADIUS: CPE that are not registered are turned away"),
        "wireless", "/interface wireless security-profiles", profile, wanted, tuple(wanted), _,
    )  # fmt: skip


def _wifi(interface: str, _: Translate) -> Section:
    """One interface asks RADIUS, after the operator's own access-list rows: whom these accept is not asked about."""
    interfaces, access, aaa = "/interface wifi", "/interface wifi access-list", "/interface wifi aaa"
    there = find(interfaces, f"name={quoted(interface)}")
    missing = _("There is no %(menu)s with the name %(name)s: that step was left out.") % {
        "menu": interfaces, "name": interface,
    }  # fmt: skip
    format_ = {"username-format": quoted("AA:AA:AA:AA:AA:AA"), "password-format": quoted(""), "interim-update": "5m"}
    row = {
        "action": "query-radius", "radius-accounting": "yes", "interface": quoted(interface),
        "comment": quoted(_WIFI),
    }  # fmt: skip
    script_name = quoted(f"{_BEFORE}-wifi-{zlib.crc32(interface.encode()):08x}")
    itself = f"{interfaces} set [find name={quoted(interface)}]"
    # A field that had no value is unset: RouterOS takes no empty one there.
    save = (
        f":if ([:len {find('/system script', f'name={script_name}')}] = 0) do={{"
        f":local had [:tostr [{interfaces} get {there} aaa]]; :local back {quoted(itself + ' !aaa')};"
        f" :if ([:len $had] > 0) do={{:set back ({quoted(itself + ' aaa=' + chr(34))} . $had . {quoted(chr(34))})}};"
        f" /system script add name={script_name} comment={quoted(_BEFORE)} source=$back}}"
    )
    steps = [
        save,
        ensure(aaa, f"name={quoted(_WIFI)}", format_, {"name": quoted(_WIFI)}),
        ensure(access, f"comment={quoted(_WIFI)}", row),
        f"{interfaces} set {there} aaa={quoted(_WIFI)}",
    ]
    return Section(
        N_("WiFi asks RADIUS: devices that are not registered are turned away"),
        [f":if ([:len {there}] > 0) do={{{'; '.join(steps)}}} else={{{say(missing)}}}"],
    )


def _walled_garden(host: str) -> Section:
    mark = {"comment": quoted("portico-garden")}
    by_comment = f"comment={quoted('portico-garden')}"
    garden, garden_ip = "/ip hotspot walled-garden", "/ip hotspot walled-garden ip"
    return Section(
        N_("Walled garden: the portal opens without a login"),
        [
            ensure(garden, by_comment, {"action": "allow", "dst-host": quoted(host), **mark}),
            ensure(garden_ip, by_comment, {"action": "accept", "dst-host": quoted(host), **mark}),
        ],
    )


def _suspended(address: str, port: int, lists: tuple[str, ...]) -> Section:
    """Five rules for each list: the notice by http, names, what they may reach, and a quick no to all else.

    All are replaced together, so that those of a list that is not used any more go with them.
    """
    mark = {"comment": quoted("portico-suspended")}
    by_comment = f"comment={quoted('portico-suspended')}"
    allowed = f"{lists[0]}-ok"
    while allowed in lists:
        allowed += "-ok"
    nat: list[Mapping[str, str]] = []
    rules: list[Mapping[str, str]] = []
    for listed in lists:
        source = {"src-address-list": quoted(listed)}
        nat.append(
            {
                "chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "80", **source,
                "dst-address-list": quoted(f"!{allowed}"), "to-addresses": address, "to-ports": str(port), **mark,
            }
        )  # fmt: skip
        forward = {"chain": "forward", **source, **mark}
        rules += [
            {**forward, "action": "accept", "protocol": "udp", "dst-port": "53"},
            {**forward, "action": "accept", "dst-address-list": quoted(allowed)},
            {**forward, "action": "reject", "reject-with": "tcp-reset", "protocol": "tcp"},
            {**forward, "action": "reject", "reject-with": "icmp-admin-prohibited"},
        ]
    return Section(
        N_("Suspended subscribers see the portal's notice"),
        [
            ensure("/ip firewall address-list", by_comment, {"list": quoted(allowed), "address": address, **mark}),
            put_first("/ip firewall nat", by_comment, nat),
            put_first("/ip firewall filter", by_comment, rules),
        ],
    )


def _login_page(url: str, version: Version, _: Translate) -> Section:
    """The page that is there is kept first: as a script that is never run, since old versions cannot copy files."""
    failed = _("The login page could not be fetched; the hotspot keeps the one that it has.")
    too_long = _("The login page on the router is too long to be kept. Rename it under Files and run this again.")
    kept = find("/system script", f"name={quoted(_PAGE)}")
    add = f"/system script add name={quoted(_PAGE)} comment={quoted(_PAGE)} source=$text"
    # Of longer files RouterOS does not tell `contents`, or only their beginning.
    longest = 60_000 if version >= MESSAGE_AUTHENTICATOR else 4_095
    keep = (
        ":local text [/file get $page contents];"
        f" :if ([/file get $page size] <= {longest}) do={{{add}}} else={{:set kept false; {say(too_long)}}}"
    )
    return Section(
        N_("Hotspot's login page, from the portal"),
        [
            f":do {{:local page {find('/file', f'name={quoted(_LOGIN)}')}; :local kept true;"
            f" :if ([:len $page] > 0 and [:len {kept}] = 0) do={{{keep}}};"
            f" :if ($kept) do={{/tool fetch url={quoted(url)} dst-path={quoted(_LOGIN)}}}}}"
            f" on-error={{{say(failed)}}}"
        ],
    )


def _ntp(server_name: str, version: Version) -> Section:
    menu = "/system ntp client"
    servers = "servers" if version >= WIREGUARD else "server-dns-names"
    return Section(
        N_("Clock: time limits and certificates need it"),
        [
            _save("ntp", f"{menu} set", menu, ("enabled",), listed=servers),
            f"{menu} set enabled=yes {servers}={quoted(server_name)}",
        ],
    )


def _staff_login() -> Section:
    return Section(
        N_("Router logins ask RADIUS; keep a local user with all rights"),
        [
            _save("login", "/user aaa set", "/user aaa", ("use-radius", "accounting", "default-group")),
            "/user aaa set use-radius=yes accounting=yes default-group=read",
        ],
    )


# --- What the script finds --------------------------------------------------------------------------------------------


def _findings(server: ServerSide, router: RouterSide, choices: Choices, _: Translate) -> Section:
    radius_of_others = find("/radius", f"!disabled and comment!={quoted('portico-radius')}")
    fasttrack = find("/ip firewall filter", "action=fasttrack-connection and !disabled")
    lines = [
        say_if(
            f"[:len {radius_of_others}] > 0",
            _("There are other /radius rows. Those above ours are asked first: disable them, or Portico is not asked."),
        ),
        say_if(
            f"[:len {fasttrack}] > 0",
            _("FastTrack is on: what it forwards passes by the queues, so rates do not hold. Disable that rule."),
        ),
    ]
    if RadiusService.PPP in choices.services:
        lines.append(
            say_if(
                f"[:len {find('/ppp secret', '!disabled')}] > 0",
                _("There are local PPP secrets. They win over RADIUS: import them into Portico and take them over."),
            )
        )
    if choices.version >= MESSAGE_AUTHENTICATOR:
        wanted = []
        if choices.hotspot_profile or choices.walled_garden or choices.login_page:
            wanted.append("hotspot")
        if choices.login_page:
            wanted.append("fetch")
        lines += [
            say_if(
                f"[/system device-mode get {feature}] = false",
                _("Device mode forbids %(feature)s: /system device-mode update %(feature)s=yes, then press the button.")
                % {"feature": feature},
            )
            for feature in wanted
        ]
    if router.kind is Kind.WIREGUARD:
        key = f"[/interface wireguard get {find('/interface wireguard', f'name={quoted(INTERFACE)}')} public-key]"
        announced = quoted(_("The router's public key") + ": ")
        lines.append(f":put ({announced} . {key})")
    lines.append(say(_("Portico: done. The tunnel's other end is %(address)s.") % {"address": server.address}))
    return Section(N_("What the script found"), lines)


# --- Undo -------------------------------------------------------------------------------------------------------------


def _undo_sections(router: RouterSide, choices: Choices, _: Translate) -> list[Section]:
    scripts = "/system script"
    saved = f"comment={quoted(_BEFORE)}"
    unrestored = _("One setting could not be put back; see /system script.")
    restore = [
        f":foreach one in={find(scripts, saved)} do={{:do {{{scripts} run [{scripts} get $one name]}}"
        f" on-error={{{say(unrestored)}}}}}",
        remove(scripts, saved),
        _former_page(_),
    ]
    rows = [
        remove("/radius", f"comment ~ {quoted('^portico')}"),
        remove("/ip firewall nat", f"comment={quoted('portico-suspended')}"),
        remove("/ip firewall filter", f"comment={quoted('portico-suspended')}"),
        remove("/ip firewall address-list", f"comment={quoted('portico-suspended')}"),
    ]
    if choices.walled_garden:
        rows += [
            remove("/ip hotspot walled-garden", f"comment={quoted('portico-garden')}"),
            remove("/ip hotspot walled-garden ip", f"comment={quoted('portico-garden')}"),
        ]
    if choices.wifi_interface:
        rows += [
            remove("/interface wifi access-list", f"comment={quoted(_WIFI)}"),
            remove("/interface wifi aaa", f"name={quoted(_WIFI)}"),
        ]
    last = [
        remove("/user", f"name={quoted(API_USER)} and comment={quoted('portico-api')}"),
        remove("/user group", f"name={quoted(GROUP)}"),
        remove("/ip firewall filter", f"comment={quoted('portico-input')}"),
    ]
    if router.kind is Kind.OPENVPN:
        last.append(remove("/interface ovpn-client", f"name={quoted(INTERFACE)}"))
    else:
        last += [
            remove("/ip address", f"comment={quoted(INTERFACE)}"),
            remove("/interface wireguard peers", f"comment={quoted(INTERFACE)}"),
            remove("/interface wireguard", f"name={quoted(INTERFACE)}"),
        ]
    return [
        Section(N_("Settings as they were"), restore),
        Section(N_("Rows of ours"), rows),
        Section(N_("API user and tunnel, last"), last),
    ]


def _former_page(_: Translate) -> str:
    """Return the line that puts the former login page back, where one was kept."""
    lost = _("The former login page could not be put back; its text is in /system script %(name)s.") % {"name": _PAGE}
    kept, page = find("/system script", f"name={quoted(_PAGE)}"), find("/file", f"name={quoted(_LOGIN)}")
    back = f"/file set {page} contents=[/system script get $kept source]; /system script remove $kept"
    return (
        f":local kept {kept}; :if ([:len $kept] > 0) do={{:do {{:if ([:len {page}] > 0) do={{{back}}}"
        f" else={{{say(lost)}}}}} on-error={{{say(lost)}}}}}"
    )


# --- Shared -----------------------------------------------------------------------------------------------------------


def _of_a_row(
    title: str,
    name: str,
    path: str,
    row: str,
    wanted: Mapping[str, str],
    plain: Iterable[str],
    _: Translate,
    listed: str = "",
) -> Section:
    """Return the section that changes one row of the operator's own, told by its name."""
    there = find(path, f"name={quoted(row)}")
    missing = _("There is no %(menu)s with the name %(name)s: that step was left out.") % {"menu": path, "name": row}
    label = f"{name}-{zlib.crc32(row.encode()):08x}"
    saved = _save(label, f"{path} set [find name={quoted(row)}]", path, plain, item=there, listed=listed)
    return Section(
        title,
        [
            f":if ([:len {there}] > 0) do={{{saved}; {path} set {there} {fields(wanted)}}} else={{{say(missing)}}}",
        ],
    )


def _save(label: str, command: str, path: str, names: Iterable[str], *, item: str = "", listed: str = "") -> str:
    """Return the line that writes the present settings into a script on the router, unless one is there.

    `command` is what sets them, `item` which row has them. `listed` is one whose value may be a list: RouterOS shows
    lists with `;` between and reads them with commas.
    """
    script_name = quoted(f"{_BEFORE}-{label}")
    scripts = "/system script"
    got = f"{path} get {item}".strip()
    parts = [quoted(command)]
    for name in names:
        parts += [quoted(f" {name}=" + '"'), f"[:tostr [{got} {name}]]", quoted('"')]
    prepare = ""
    if listed:
        prepare = (
            f':local text [:tostr [{got} {listed}]]; :local list "";'
            " :if ([:len $text] > 0) do={:for at from=0 to=([:len $text] - 1) do={"
            ':local sign [:pick $text $at]; :if ($sign = ";") do={:set sign ","}; :set list ($list . $sign)}}; '
        )
        parts += [quoted(f" {listed}=" + '"'), "$list", quoted('"')]
    source = " . ".join(parts)
    return (
        f":if ([:len {find(scripts, f'name={script_name}')}] = 0) do={{{prepare}"
        f"{scripts} add name={script_name} comment={quoted(_BEFORE)} source=({source})}}"
    )


def _render(title: str, made: list[Section], router: RouterSide, translate: Translate) -> str:
    lines = [comment(translate(title)), comment(router.name)]
    for section in made:
        lines += ["", comment(translate(section.title)), *section.lines]
    return "\n".join(lines) + "\n"
