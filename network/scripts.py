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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.i18n import N_
from network.scripts_hotspot import (
    captive_option,
    former_page,
    hotspot,
    hotspot_users,
    login_page,
    remove_captive_option,
    suspended,
    walled_garden,
)
from network.scripts_services import WIFI, dhcp, ppp, wifi, wireless
from network.scripts_steps import BEFORE, Section, Translate, save
from network.scripts_text import comment, ensure, fields, find, put_first, quoted, remove, say, say_if
from network.version import MESSAGE_AUTHENTICATOR, WIREGUARD, Version
from network.vpn_plan import API_PORT, API_USER, Kind

INTERFACE = "portico-vpn"
GROUP = "portico"
_POLICY = ("api", "read", "write", "test", "sensitive")
# A group's policy only grows by `set`, so what it must not have is said as well.
_NOT_POLICY = ("local", "telnet", "ssh", "ftp", "reboot", "policy", "winbox", "password", "web", "sniff")
_LISTEN_PORT = "13270"  # RouterOS's default, 13231, is often somebody else's interface already


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
    remember_days: int = 0  # how long the hotspot remembers a device; 0 is not at all
    offer_trial: bool = False
    dhcp_server: str | None = None
    security_profile: str | None = None  # of the older wireless driver
    wifi_interface: str | None = None  # of the driver called wifi, from RouterOS 7.13
    portal_host: str | None = None  # for walled garden and login page
    portal_address: str | None = None  # where suspended subscribers are sent
    portal_port: int = 80
    suspended_lists: tuple[str, ...] = ("portico-suspended",)  # one or more, the operator's usual one first
    suspended_redirect: bool = False
    walled_garden: bool = False
    open_hosts: tuple[str, ...] = ()  # what else opens before a login, as patterns of the walled garden
    open_names: tuple[str, ...] = ()  # what suspended subscribers may reach besides the portal
    captive_api: str | None = None  # URL that phones are told by DHCP
    captive_network: str | None = None  # to those who get an address of this network
    login_page: str | None = None  # URL
    ntp: str | None = None
    staff_login: bool = False


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
        made.append(ppp())
    if choices.hotspot_profile:
        made.append(hotspot(choices.hotspot_profile, choices.remember_days, choices.offer_trial, _))
        made.append(hotspot_users(choices.remember_days, _))
    if choices.dhcp_server:
        made.append(dhcp(choices.dhcp_server, _))
    if choices.security_profile:
        made.append(wireless(choices.security_profile, _))
    if choices.wifi_interface:
        made.append(wifi(choices.wifi_interface, _))
    if choices.walled_garden and choices.portal_host:
        made.append(walled_garden(choices.portal_host, choices.open_hosts))
    if choices.captive_api and choices.captive_network:
        made.append(captive_option(choices.captive_api, choices.captive_network, _))
    if choices.suspended_redirect and choices.portal_address:
        made.append(suspended(choices.portal_address, choices.portal_port, choices.suspended_lists, choices.open_names))
    if choices.login_page:
        made.append(login_page(choices.login_page, choices.version, _))
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
        save("api", f"{service} set api", service, ("disabled", "port"), item="api", listed="address"),
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
        save("incoming", "/radius incoming set", "/radius incoming", ("accept", "port")),
        f"/radius incoming set accept=yes port={router.coa_port}",
    ]
    return Section(N_("RADIUS"), lines)


# --- What somebody has to choose --------------------------------------------------------------------------------------


def _ntp(server_name: str, version: Version) -> Section:
    menu = "/system ntp client"
    servers = "servers" if version >= WIREGUARD else "server-dns-names"
    return Section(
        N_("Clock: time limits and certificates need it"),
        [
            save("ntp", f"{menu} set", menu, ("enabled",), listed=servers),
            f"{menu} set enabled=yes {servers}={quoted(server_name)}",
        ],
    )


def _staff_login() -> Section:
    return Section(
        N_("Router logins ask RADIUS; keep a local user with all rights"),
        [
            save("login", "/user aaa set", "/user aaa", ("use-radius", "accounting", "default-group")),
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
    saved = f"comment={quoted(BEFORE)}"
    unrestored = _("One setting could not be put back; see /system script.")
    restore = [
        f":foreach one in={find(scripts, saved)} do={{:do {{{scripts} run [{scripts} get $one name]}}"
        f" on-error={{{say(unrestored)}}}}}",
        remove(scripts, saved),
        former_page(_),
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
    rows.append(remove_captive_option())
    if choices.wifi_interface:
        rows += [
            remove("/interface wifi access-list", f"comment={quoted(WIFI)}"),
            remove("/interface wifi aaa", f"name={quoted(WIFI)}"),
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


# --- Shared -----------------------------------------------------------------------------------------------------------


def _render(title: str, made: list[Section], router: RouterSide, translate: Translate) -> str:
    lines = [comment(translate(title)), comment(router.name)]
    for section in made:
        lines += ["", comment(translate(section.title)), *section.lines]
    return "\n".join(lines) + "\n"
