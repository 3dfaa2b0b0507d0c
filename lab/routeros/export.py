"""`/export`: the configuration of a box as a script that would make it again.

What a new box has too, dynamic rows, what the router tells and never takes, users, files, certificates and the log are
left out, and interfaces stand in the menus of their kinds.
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

_LEFT_OUT = (
    "/interface",
    "/user",
    "/file",
    "/certificate",
    "/log",
    "/system/package",
    "/system/license",
    "/system/script/job",
)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,/*+@-]*")


def export(box: "Box", *, sensitive: bool, under: str = "") -> str:
    """Return the script, of all menus or of those under one path."""
    carton = box.as_new()
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
        commands = list(_commands(box, carton, MENUS[path], sensitive))
        if commands:
            lines.append(path.replace("/", " ").replace(" ", "/", 1))
            lines += commands
    return "\n".join(lines) + "\n"


def _place(path: str) -> tuple[int, str]:
    """Interfaces come first, then what refers to them, then the system."""
    first = ("/interface", "/queue/type", "/ip/pool", "/ipv6/pool", "/ppp/profile", "/ip/hotspot/profile")
    order = next((number for number, start in enumerate(first) if path.startswith(start)), len(first))
    return (order + 1 if path.startswith("/system") else order, path)


def _commands(box: "Box", carton: "Box", menu: Menu, sensitive: bool) -> Iterator[str]:
    known = box.fields(menu.path)
    for row in box.table(menu.path):
        if row.is_true("dynamic"):
            continue
        usual = _usual(carton, menu, row)
        if usual is None:
            yield " ".join(["add", *_words(known, row, sensitive, {})])
        elif words := list(_words(known, row, sensitive, usual)):
            yield " ".join(["set", *([] if menu.single else [_which(row)]), *words])


def _usual(carton: "Box", menu: Menu, row: Row) -> Mapping[str, str] | None:
    """Return what this row was when the box came out of its carton, None for a row that was not there."""
    name = "default-name" if row.get("default-name") else "name"
    for other in carton.table(menu.path):
        nameless = not row.get("name") and row.is_true("default") and other.is_true("default")
        if menu.single or nameless or (other.get(name) and other.get(name) == row.get(name)):
            return other.fields
    return {} if not menu.adds else None


def _which(row: Row) -> str:
    if row.is_true("default"):
        return f"[ find name={quoted(row['name'])} ]" if row.get("name") else "[ find default=yes ]"
    if row.get("default-name"):
        return f"[ find default-name={row['default-name']} ]"
    return quoted(row.get("name"))


def _words(known: Mapping[str, Field], row: Row, sensitive: bool, usual: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(known):
        spec = known[name]
        value = row.get(name)
        if spec.readonly or value == usual.get(name, spec.default or "") or (spec.sensitive and not sensitive):
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
