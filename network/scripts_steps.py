"""What the parts of a router's script have in common: a section, and settings that are written down before a change."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from network.scripts_text import fields, find, quoted, say

BEFORE = "portico-before"
"""The comment of the scripts on the router that hold what a setting was, and how their names begin."""

Translate = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the script: a title for people, and its lines."""

    title: str
    lines: list[str] = field(default_factory=list)


def of_a_row(
    title: str,
    name: str,
    path: str,
    row: str,
    wanted: Mapping[str, str],
    plain: Iterable[str],
    _: Translate,
    listed: str = "",
    by: str = "name",
) -> Section:
    """Return the section that changes one row of the operator's own, told by its name or another field."""
    there = find(path, f"{by}={quoted(row)}")
    missing = _("There is no %(menu)s with the name %(name)s: that step was left out.") % {"menu": path, "name": row}
    label = f"{name}-{zlib.crc32(row.encode()):08x}"
    saved = save(label, f"{path} set [find {by}={quoted(row)}]", path, plain, item=there, listed=listed)
    return Section(
        title,
        [
            f":if ([:len {there}] > 0) do={{{saved}; {path} set {there} {fields(wanted)}}} else={{{say(missing)}}}",
        ],
    )


def save(label: str, command: str, path: str, names: Iterable[str], *, item: str = "", listed: str = "") -> str:
    """Return the line that writes the present settings into a script on the router, unless one is there.

    `command` is what sets them, `item` which row has them. `listed` is one whose value may be a list: RouterOS shows
    lists with `;` between and reads them with commas.
    """
    script_name = quoted(f"{BEFORE}-{label}")
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
        f"{scripts} add name={script_name} comment={quoted(BEFORE)} source=({source})}}"
    )
