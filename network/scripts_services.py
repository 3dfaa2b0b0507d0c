"""PPP, DHCP and wireless ask RADIUS: those parts of a router's script.

PPP is what everybody gets. The others would turn away every device that is not known here yet, so somebody chooses
them.
"""

import zlib

from core.i18n import N_
from network.scripts_steps import BEFORE, Section, Translate, of_a_row, save
from network.scripts_text import ensure, find, quoted, say

WIFI = "portico-wifi"


def ppp() -> Section:
    return Section(
        N_("PPP asks RADIUS"),
        [
            save("ppp", "/ppp aaa set", "/ppp aaa", ("use-radius", "accounting", "interim-update")),
            "/ppp aaa set use-radius=yes accounting=yes interim-update=5m",
        ],
    )


def dhcp(server_name: str, _: Translate) -> Section:
    section = of_a_row(
        N_("DHCP asks RADIUS: devices that are not registered get no address"),
        "dhcp", "/ip dhcp-server", server_name, {"use-radius": "yes"}, ("use-radius",), _,
    )  # fmt: skip
    config = "/ip dhcp-server config"
    section.lines.extend(
        [
            save("dhcp-config", f"{config} set", config, ("accounting", "interim-update")),
            f"{config} set accounting=yes interim-update=5m",
        ]
    )
    return section


def wireless(profile: str, _: Translate) -> Section:
    wanted = {
        "radius-mac-authentication": "yes",
        "radius-mac-accounting": "yes",
        "radius-mac-format": "XX:XX:XX:XX:XX:XX",
        "radius-mac-mode": "as-username",
        "interim-update": "5m",
    }
    return of_a_row(
        N_("Wireless asks RADIUS: CPE that are not registered are turned away"),
        "wireless", "/interface wireless security-profiles", profile, wanted, tuple(wanted), _,
    )  # fmt: skip


def wifi(interface: str, _: Translate) -> Section:
    """One interface asks RADIUS, after the operator's own access-list rows: whom these accept is not asked about."""
    interfaces, access, aaa = "/interface wifi", "/interface wifi access-list", "/interface wifi aaa"
    there = find(interfaces, f"name={quoted(interface)}")
    missing = _("There is no %(menu)s with the name %(name)s: that step was left out.") % {
        "menu": interfaces, "name": interface,
    }  # fmt: skip
    format_ = {"username-format": quoted("AA:AA:AA:AA:AA:AA"), "password-format": quoted(""), "interim-update": "5m"}
    row = {
        "action": "query-radius", "radius-accounting": "yes", "interface": quoted(interface),
        "comment": quoted(WIFI),
    }  # fmt: skip
    script_name = quoted(f"{BEFORE}-wifi-{zlib.crc32(interface.encode()):08x}")
    itself = f"{interfaces} set [find name={quoted(interface)}]"
    # A field that had no value is unset: RouterOS takes no empty one there.
    save = (
        f":if ([:len {find('/system script', f'name={script_name}')}] = 0) do={{"
        f":local had [:tostr [{interfaces} get {there} aaa]]; :local back {quoted(itself + ' !aaa')};"
        f" :if ([:len $had] > 0) do={{:set back ({quoted(itself + ' aaa=' + chr(34))} . $had . {quoted(chr(34))})}};"
        f" /system script add name={script_name} comment={quoted(BEFORE)} source=$back}}"
    )
    steps = [
        save,
        ensure(aaa, f"name={quoted(WIFI)}", format_, {"name": quoted(WIFI)}),
        ensure(access, f"comment={quoted(WIFI)}", row),
        f"{interfaces} set {there} aaa={quoted(WIFI)}",
    ]
    return Section(
        N_("WiFi asks RADIUS: devices that are not registered are turned away"),
        [f":if ([:len {there}] > 0) do={{{'; '.join(steps)}}} else={{{say(missing)}}}"],
    )
