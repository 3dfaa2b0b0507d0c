"""`/export`: the configuration of a box as a script that would make it again.

Defaults, dynamic rows, what the router tells and never takes, users, files, certificates and the log are left out.
RouterOS 7 shows secrets on demand, RouterOS 6 unless told not to. The order is fixed, so two exports of the same
configuration differ in their first line at most.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lab.routeros.menus import MENUS
from lab.routeros.menus.spec import Field, Menu
from lab.routeros.table import Row

if TYPE_CHECKING:
    from lab.routeros.box import Box

_LEFT_OUT = ("/user", "/file", "/certificate", "/log", "/system/package", "/system/license", "/system/script/job")
_GROUPS = ("read", "write", "full")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,/*+@-]*")


def export(box: "Box", *, sensitive: bool, under: str = "") -> str:
    """Return the script, of all menus or of those under one path."""
    lines = [
        f"# {box.version.instant(box.now)} by RouterOS {box.version}",
        f"# software id = {box.hardware.serial[:4]}-{box.hardware.serial[-4:]}",
        "#",
        f"# model = {box.hardware.board}",
        f"# serial number = {box.hardware.serial}",
    ]
    for path in sorted(MENUS, key=_place):
        if path in _LEFT_OUT or not path.startswith(under) or not box.has(path):
            continue
        commands = list(_commands(box, MENUS[path], sensitive))
        if commands:
            lines.append(path.replace("/", " ").replace(" ", "/", 1))
            lines += commands
    return "\n".join(lines) + "\n"


def _place(path: str) -> tuple[int, str]:
    """Interfaces come first, then what refers to them, then the system."""
    first = ("/interface", "/queue/type", "/ip/pool", "/ipv6/pool", "/ppp/profile", "/ip/hotspot/profile")
    order = next((number for number, start in enumerate(first) if path.startswith(start)), len(first))
    return (order + 1 if path.startswith("/system") else order, path)


def _commands(box: "Box", menu: Menu, sensitive: bool) -> Iterator[str]:
    known = box.fields(menu.path)
    for position, row in enumerate(box.table(menu.path)):
        if row.is_true("dynamic") or (menu.path == "/user/group" and row.get("name") in _GROUPS):
            continue
        made = menu.adds and not menu.single and not row.is_true("default") and not row.is_true("builtin")
        words = list(_words(known, row, sensitive, {} if made else _carton(menu, row, position)))
        if made:
            yield " ".join(["add", *words])
        elif words and menu.single:
            yield " ".join(["set", *words])
        elif words:
            yield " ".join(["set", _which(row), *(word for word in words if not word.startswith("name="))])


def _carton(menu: Menu, row: Row, position: int) -> dict[str, str]:
    """Return what this row was when the box came out of its carton."""
    if menu.single and not menu.first:
        return {}
    for first in menu.first:
        if first.get(".id") == row.id or (menu.single and position == 0):
            return dict(first)
    return {"name": row.get("default-name") or row.get("name")}


def _which(row: Row) -> str:
    if row.is_true("default"):
        return f"[ find default=yes name={quoted(row.get('name'))} ]"
    if row.get("default-name"):
        return f"[ find default-name={row['default-name']} ]"
    return quoted(row.get("name"))


def _words(known: Mapping[str, Field], row: Row, sensitive: bool, carton: dict[str, str]) -> Iterator[str]:
    for name in sorted(known):
        spec = known[name]
        value = row.get(name)
        usual = carton.get(name, spec.default or "")
        if spec.readonly or value == usual or (spec.sensitive and not sensitive):
            continue
        yield f"{name}={_written(value)}"


def _written(value: str) -> str:
    return quoted({"true": "yes", "false": "no"}.get(value, value))


def quoted(value: str) -> str:
    """Return a value as it stands in a script: in quotes where it holds more than letters, digits and a few signs."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + "".join(_escaped(letter) for letter in value) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\$?':
        return "\\" + letter
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
    if named:
        return named
    if " " <= letter <= "~":
        return letter
    return "".join(f"\\{octet:02X}" for octet in letter.encode("utf-8", "surrogateescape"))
