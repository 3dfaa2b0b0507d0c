"""Interfaces are seen twice: in the menu of their kind, and in `/interface`. Here the two are kept the same.

A name that anything refers to is a link in RouterOS: who renames a profile renames it in the secrets, and where it is
removed the secrets show its dead id.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.routeros.commands import GENERAL, Call, Trap
from lab.routeros.menus import MENUS
from lab.routeros.table import Change, Happened, Row

if TYPE_CHECKING:
    from lab.routeros.box import Box

# The menus of interfaces: what `/interface` calls their type, and how they are named when nobody does.
KINDS: dict[str, tuple[str, str]] = {
    "/interface/bridge": ("bridge", "bridge"),
    "/interface/vlan": ("vlan", "vlan"),
    "/interface/wireguard": ("wg", "wireguard"),
    "/interface/ovpn-client": ("ovpn-out", "ovpn-out"),
    "/interface/l2tp-client": ("l2tp-out", "l2tp-out"),
    "/interface/sstp-client": ("sstp-out", "sstp-out"),
    "/interface/pppoe-client": ("pppoe-out", "pppoe-out"),
    "/interface/wireless": ("wlan", "wlan"),
    "/interface/wifi": ("wifi", "wifi"),
    "/interface/ethernet": ("ether", "ether"),
}
_SHARED = ("name", "disabled", "comment", "running", "mac-address", "mtu")
_UNNAMED = {"/queue/simple": "queue", "/ip/hotspot": "hotspot"}
_DIALLED = ("ovpn-out", "l2tp-out", "sstp-out", "pppoe-out")

REFERRERS: dict[str, list[tuple[str, str]]] = defaultdict(list)
for _menu in MENUS.values():
    for _field in _menu.fields:
        for _path in _field.refers.split():
            if (_menu.path, _field.name) not in REFERRERS[_path]:
                REFERRERS[_path].append((_menu.path, _field.name))


def install(box: "Box") -> None:
    """Keep the menus of a new box in step."""
    for path, (kind, prefix) in KINDS.items():
        if not box.has(path):
            continue
        box.guard(path, _named(prefix, "/interface"))
        box.watch(path, _mirror(box, kind))
    for path, prefix in _UNNAMED.items():
        box.guard(path, _named(prefix, path))
    box.watch("/interface", _mirrored(box))
    for path in REFERRERS:
        if box.has(path):
            box.watch(path, _relink(box, path))
    _ethernet(box)


def _ethernet(box: "Box") -> None:
    for number, name in enumerate(box.hardware.interfaces):
        mac = f"48:A9:8A:{hash_octet(box.hardware.serial):02X}:10:{number:02X}"
        box.fill("/interface/ethernet", {"name": name, "default-name": name, "mac-address": mac, "running": "true"})
        seen = box.table("/interface").first(name=name)
        assert seen is not None
        seen.fields |= {"default-name": name, "l2mtu": "1596", "last-link-up-time": box.version.instant(box.now)}


def hash_octet(text: str) -> int:
    """Return an octet that is the same for the same text on every run."""
    return sum(text.encode()) % 256


def _named(prefix: str, among: str) -> Callable[[Happened, Call, Row | None, dict[str, str]], None]:
    """Return a guard that gives a name where none was given, and refuses one that another interface has."""

    def guard(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
        table = call.box.table(among)
        if kind == "add" and (
            not fields.get("name") or (fields["name"] == f"{prefix}1" and "name" not in call.arguments)
        ):
            number = 1
            while table.first(name=f"{prefix}{number}"):
                number += 1
            fields["name"] = f"{prefix}{number}"
            return
        chosen, held = fields.get("name", ""), row.get("name") if row else ""
        if kind != "remove" and among == "/interface" and chosen not in ("", held) and table.first(name=chosen):
            raise Trap("failure: already have interface with such name", GENERAL)

    return guard


def _mirror(box: "Box", kind: str) -> Callable[[Change], None]:
    """Return a watcher that shows an interface of one kind in `/interface`."""

    def watch(change: Change) -> None:
        interfaces = box.table("/interface")
        seen = interfaces.first(name=change.before.get("name", "")) or interfaces.first(name=change.row.get("name"))
        if change.kind == "remove":
            if seen is not None:
                interfaces.drop(seen)
            return
        fields = {name: change.row.get(name) for name in _SHARED}
        fields["mtu"] = fields["mtu"] if fields["mtu"].isdigit() else "1500"
        fields["running"] = "false" if change.row.is_true("disabled") else fields["running"] or "false"
        if seen is not None:
            interfaces.change(seen, fields)
            return
        actual = "1450" if kind in _DIALLED else fields["mtu"]
        counters = ("rx-byte", "tx-byte", "rx-packet", "tx-packet", "rx-drop", "tx-drop", "rx-error", "tx-error")
        box.fill(
            "/interface",
            fields | {"type": kind, "actual-mtu": actual, "link-downs": "0"} | dict.fromkeys(counters, "0"),
        )

    return watch


def _mirrored(box: "Box") -> Callable[[Change], None]:
    """Return a watcher that carries what is done in `/interface` to the menu of the kind."""

    def watch(change: Change) -> None:
        carried = ("name", "disabled", "comment")
        if change.kind != "set" or all(change.before.get(name) == change.row.fields.get(name) for name in carried):
            return
        for path in KINDS:
            own = next((each for table in box.opened(path) for each in table.find(name=change.before["name"])), None)
            if own is not None:
                box.table(path).change(own, {name: change.row.get(name) for name in carried})
                return

    return watch


def _relink(box: "Box", path: str) -> Callable[[Change], None]:
    """Return a watcher that writes a new name, or the dead id, into the rows that refer to a row."""

    def watch(change: Change) -> None:
        old = change.before.get("name", "")
        new = change.row.id if change.kind == "remove" else change.row.get("name")
        if change.kind == "add" or not old or old == new:
            return
        if change.kind == "remove" and box.table(path).first(name=old):
            return
        for menu, field in REFERRERS[path]:
            for table in box.opened(menu):
                for row in table:
                    if row.get(field) == old and field != "name":
                        table.change(row, {field: new})

    return watch
