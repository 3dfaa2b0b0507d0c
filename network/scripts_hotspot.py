"""Hotspots and walled gardens: those parts of a router's script.

What a hotspot is told here, `network.hotspots` compares afterwards with what the router has.
"""

from collections.abc import Mapping

from core.i18n import N_
from network.scripts_steps import Section, Translate, of_a_row
from network.scripts_text import ensure, fields, find, put_first, quoted, remove, say
from network.version import MESSAGE_AUTHENTICATOR, Version

GARDEN, OPTION = "portico-garden", "portico-captive"
USERS = "/ip hotspot user profile"
_PAGE, _LOGIN = "portico-login-page", "hotspot/login.html"


def login_methods(remember_days: int, offer_trial: bool) -> tuple[str, ...]:
    """Return by what a hotspot lets somebody in: `login-by` of its profile."""
    remembered = remember_days > 0
    methods = {
        "mac": True, "cookie": remembered, "http-chap": True, "http-pap": True, "trial": offer_trial,
        "mac-cookie": remembered,
    }  # fmt: skip
    return tuple(name for name, wanted in methods.items() if wanted)


def hotspot(profile: str, remember_days: int, offer_trial: bool, _: Translate) -> Section:
    wanted = {
        "use-radius": "yes",
        "radius-accounting": "yes",
        "radius-interim-update": "received",
        "nas-port-type": "wireless-802.11",
        "radius-mac-format": "XX:XX:XX:XX:XX:XX",
        "login-by": ",".join(login_methods(remember_days, offer_trial)),
        "mac-auth-mode": "mac-as-username-and-password",
    }
    if remember_days:
        wanted["http-cookie-lifetime"] = f"{remember_days}d"
    plain = (*(name for name in wanted if name not in ("login-by", "http-cookie-lifetime")), "http-cookie-lifetime")
    title = N_("Hotspot asks RADIUS")
    return of_a_row(title, "hotspot", "/ip hotspot profile", profile, wanted, plain, _, "login-by")


def hotspot_users(remember_days: int, _: Translate) -> Section:
    """Whom RADIUS lets in has the user profile `default`, which says whether a device is remembered."""
    wanted = {"add-mac-cookie": "yes" if remember_days else "no"}
    if remember_days:
        wanted["mac-cookie-timeout"] = f"{remember_days}d"
    return of_a_row(
        N_("How long the hotspot remembers a device"),
        "hotspot-users", USERS, "default", wanted, ("add-mac-cookie", "mac-cookie-timeout"), _,
    )  # fmt: skip


def walled_garden(host: str, open_hosts: tuple[str, ...]) -> Section:
    """The portal by any protocol, and what else opens by http and https. All rows are replaced together."""
    mark = {"comment": quoted(GARDEN)}
    by_comment = f"comment={quoted(GARDEN)}"
    hosts = dict.fromkeys((host, *open_hosts))
    rows: list[Mapping[str, str]] = [{"action": "allow", "dst-host": quoted(each), **mark} for each in hosts]
    return Section(
        N_("Walled garden: the portal and the pages to pay at open without a login"),
        [
            put_first("/ip hotspot walled-garden", by_comment, rows),
            ensure("/ip hotspot walled-garden ip", by_comment, {"action": "accept", "dst-host": quoted(host), **mark}),
        ],
    )


def captive_option(url: str, network: str, _: Translate) -> Section:
    """DHCP option 114 (RFC 8910): phones ask there by themselves whether they are on line, and where to log in."""
    options, networks = "/ip dhcp-server option", "/ip dhcp-server network"
    name = f"name={quoted(OPTION)}"
    values = {"code": "114", "value": quoted(f"'{url}'")}
    section = of_a_row(
        N_("Phones are told of the captive page by DHCP"),
        "captive-option", networks, network, {"dhcp-option": quoted(OPTION)}, (), _, "dhcp-option", "address",
    )  # fmt: skip
    section.lines.insert(0, ensure(options, name, values, {"name": quoted(OPTION)}))
    return section


def remove_captive_option() -> str:
    """Return the line that removes the option, where no network names it any more."""
    return remove("/ip dhcp-server option", f"name={quoted(OPTION)}")


def suspended(address: str, port: int, lists: tuple[str, ...], open_names: tuple[str, ...] = ()) -> Section:
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
            remove("/ip firewall address-list", by_comment),
            *(
                f"/ip firewall address-list add {fields({'list': quoted(allowed), 'address': each, **mark})}"
                for each in (address, *map(quoted, open_names))
            ),
            put_first("/ip firewall nat", by_comment, nat),
            put_first("/ip firewall filter", by_comment, rules),
        ],
    )


def login_page(url: str, version: Version, _: Translate) -> Section:
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


def former_page(_: Translate) -> str:
    """Return the line that puts the former login page back, where one was kept."""
    lost = _("The former login page could not be put back; its text is in /system script %(name)s.") % {"name": _PAGE}
    kept, page = find("/system script", f"name={quoted(_PAGE)}"), find("/file", f"name={quoted(_LOGIN)}")
    back = f"/file set {page} contents=[/system script get $kept source]; /system script remove $kept"
    return (
        f":local kept {kept}; :if ([:len $kept] > 0) do={{:do {{:if ([:len {page}] > 0) do={{{back}}}"
        f" else={{{say(lost)}}}}} on-error={{{say(lost)}}}}}"
    )
