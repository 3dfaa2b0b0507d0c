"""The commands that every menu has, with the rules that RouterOS keeps: kinds of values, duplicates, references, ids.

A command is a function of a `Call`. It returns rows, one text (`Ret`), or nothing, and raises `Trap` for what RouterOS
answers with `!trap`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.routeros.menus.kinds import address_or_range
from lab.routeros.menus.spec import Field, Menu
from lab.routeros.policy import MASK, Caller
from lab.routeros.query import BadQuery, compile_query
from lab.routeros.table import Change, Row, Table

if TYPE_CHECKING:
    from lab.routeros.box import Box

Fields = Mapping[str, str]

# Categories of a trap, as the manual numbers them.
MISSING, BAD_VALUE, INTERRUPTED, SCRIPT, GENERAL, API_ERROR = 0, 1, 2, 3, 4, 5


class Trap(Exception):
    """What goes to the client as `!trap`. Not every message has a category."""

    def __init__(self, message: str, category: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.category = category


class Fatal(Exception):
    """What goes to the client as `!fatal`, after which the connection is closed."""


@dataclass(frozen=True, slots=True)
class Ret:
    """The one value of an answer: `!done =ret=…`."""

    value: str


Answer = Iterable[Fields] | AsyncIterator[Fields] | Awaitable[Ret | None] | Ret | None
Command = Callable[["Call"], Answer]


@dataclass(frozen=True, slots=True)
class Call:
    """One command: the menu and the name of the command, its arguments, its queries, and who gives it."""

    box: "Box"
    caller: Caller
    path: str
    name: str
    arguments: dict[str, str] = field(default_factory=dict)
    queries: tuple[str, ...] = ()

    @property
    def menu(self) -> Menu:
        """The menu of the command."""
        return self.table.menu

    @property
    def table(self) -> Table:
        """The rows of the menu."""
        return self.box.table(self.path)

    def argument(self, *names: str, default: str | None = None) -> str:
        """Return an argument by any of its names. Raises Trap if it is missing and there is no default."""
        for name in names:
            if name in self.arguments:
                return self.arguments[name]
        if default is None and names[0] == ".id":
            raise Trap("missing =.id=", MISSING)
        if default is None:
            raise Trap(f"missing value(s) of argument(s) {names[0]}", MISSING)
        return default

    def target(self) -> Row:
        """Return the one row that `.id` or `numbers` names. Raises Trap."""
        return self.targets()[0]

    def targets(self) -> list[Row]:
        """Return the rows that `.id` or `numbers` names, by id or by name, with commas between. Raises Trap."""
        if self.menu.single:
            return [self.box.settings(self.path)]
        named = self.argument(".id", "numbers")
        return [self.box.row_named(self.table, each) for each in named.split(",")] if named else []


# What `print` takes besides fields.
PRINT_WORDS = {"detail", "stats", "terse", "brief", "value-list", "without-paging", "show-ids", "stats-detail"}
PRINT_WORDS |= {
    "count-only",
    "from",
    "numbers",
    ".proplist",
    "proplist",
    ".id",
    "as-value",
    "interval",
    "once",
    "where",
}


def print_rows(call: Call) -> Answer:
    """`print` and `getall`: the rows that the queries choose, with the fields of `.proplist`."""
    _unknown(call, call.arguments.keys() - PRINT_WORDS)
    rows = _chosen(call)
    if "count-only" in call.arguments:
        return Ret(str(sum(1 for _ in rows)))
    names = call.arguments.get(".proplist", call.arguments.get("proplist", ""))
    return (_only(fields, names) for fields in rows)


def find(call: Call) -> Ret:
    """`find`: the ids of the rows that the queries choose, and of which each argument is a field."""
    wanted = {name: value for name, value in call.arguments.items() if not name.startswith(".")}
    found = (row[".id"] for row in _chosen(call) if all(row.get(name) == value for name, value in wanted.items()))
    return Ret(",".join(found))


def get(call: Call) -> Ret:
    """`get`: one field of one row, empty where the row has none."""
    shown = shown_fields(call.box, call.caller, call.table, call.target())
    return Ret(shown.get(call.argument("value-name"), ""))


def add(call: Call) -> Ret:
    """`add`: a row; its id comes back."""
    menu = call.menu
    if menu.single or not menu.adds:
        raise Trap("no such command", MISSING)
    given = dict(call.arguments)
    place = given.pop("place-before", "") if menu.ordered else ""
    copied = given.pop("copy-from", "")
    known = call.box.fields(call.path)
    fields = {name: each.default for name, each in known.items() if each.default is not None}
    if copied:
        source = call.box.row_named(call.table, copied)
        fields |= {name: value for name, value in source.fields.items() if not known[name].readonly}
    fields |= read_fields(call, known, given)
    for each in known.values():
        if each.required and not fields.get(each.name):
            raise Trap(f"missing value(s) of argument(s) {each.name}", MISSING)
    call.box.guarded("add", call, None, fields)
    _refuse_duplicate(call.table, fields, None)
    before = call.box.row_named(call.table, place) if place else None
    ordered = {name: fields[name] for name in known if name in fields}
    row = call.table.put(ordered, before=before, user=call.caller.user)
    call.box.react(Change("add", call.path, row, {}, given, call.caller.user))
    return Ret(row.id)


def change(call: Call) -> None:
    """`set`: fields of rows, or of the settings."""
    if not call.menu.sets:
        raise Trap("no such command", MISSING)
    given = {name: value for name, value in call.arguments.items() if name not in (".id", "numbers")}
    _apply(call, call.targets(), given)


def comment(call: Call) -> None:
    """`comment`: the same as setting the comment."""
    _apply(call, call.targets(), {"comment": call.argument("comment", default="")})


def unset(call: Call) -> None:
    """`unset`: take a field away."""
    name = call.argument("value-name")
    known = call.box.fields(call.path)
    if name not in known:
        raise unknown_parameter(call.box, name)
    if known[name].required or known[name].readonly:
        raise Trap(f"failure: cannot unset {name}", GENERAL)
    for row in call.targets():
        _store(call, row, {name: known[name].default or ""}, {name: ""})


def enable(call: Call) -> None:
    """`enable`."""
    _switch(call, "no")


def disable(call: Call) -> None:
    """`disable`."""
    _switch(call, "yes")


def remove(call: Call) -> None:
    """`remove`: rows; nothing happens to any of them if one is not there."""
    if call.menu.single or not call.menu.removes:
        raise Trap("no such command", MISSING)
    rows = call.targets()
    for row in rows:
        if row.is_true("default") or row.is_true("builtin"):
            raise Trap("failure: can not remove default entry", GENERAL)
        call.box.guarded("remove", call, row, {})
    for row in rows:
        call.table.drop(row, user=call.caller.user)
        call.box.react(Change("remove", call.path, row, row.fields, {}, call.caller.user))


def move(call: Call) -> None:
    """`move`: rows before another, in the order in which they are named; to the end where the other is not there."""
    if not call.menu.ordered:
        raise Trap("no such command", MISSING)
    rows = call.targets()
    before = call.table.row(call.argument("destination", default=""))
    if before in rows:
        raise Trap("failure: can not move object before itself", GENERAL)
    call.table.move(rows, before)


def reset_counters(call: Call) -> None:
    """`reset-counters` and `reset-counters-all`: what the row counts begins again."""
    rows = call.targets() if call.name == "reset-counters" else list(call.table)
    for row in rows:
        zeroed: dict[str, str] = {
            name: "/".join("0" for _ in row[name].split("/")) for name in ("bytes", "packets") if name in row.fields
        }
        call.table.change(row, zeroed, user=call.caller.user)


STANDARD: dict[str, tuple[Command, bool]] = {  # command, and whether it writes
    "print": (print_rows, False),
    "getall": (print_rows, False),
    "find": (find, False),
    "get": (get, False),
    "add": (add, True),
    "set": (change, True),
    "unset": (unset, True),
    "comment": (comment, True),
    "enable": (enable, True),
    "disable": (disable, True),
    "remove": (remove, True),
    "move": (move, True),
    "reset-counters": (reset_counters, True),
    "reset-counters-all": (reset_counters, True),
}


def shown_fields(box: "Box", caller: Caller, table: Table, row: Row) -> dict[str, str]:
    """Return a row as this caller sees it: the id first, computed fields filled in, secrets masked, nothing empty."""
    shown = {} if table.menu.single else {".id": row.id}
    shown.update(row.fields)
    for name, compute in box.computed.get(table.menu.path, {}).items():
        value = compute(row)
        if value:
            shown[name] = value
        else:
            shown.pop(name, None)
    for name in box.unseen(table.menu.path):
        shown.pop(name, None)
    if not caller.may("sensitive"):
        for name in box.sensitive(table.menu.path):
            if shown.get(name):
                shown[name] = MASK
    return shown


def read_fields(call: Call, known: Mapping[str, Field], given: Fields) -> dict[str, str]:
    """Return what was given as it is stored. Raises Trap for unknown or read-only fields and wrong values."""
    _unknown(call, given.keys() - {name for name, each in known.items() if not each.readonly})
    return {name: _read(call.box, known[name], value) for name, value in given.items()}


def _read(box: "Box", spec: Field, value: str) -> str:
    if value == "" and not spec.default:
        return ""
    if spec.refers and not (value in spec.words or _is_address(value)):
        name = value.removeprefix("!") if spec.matched else value
        if not any(box.table(menu).first(name=name) for menu in spec.refers.split() if box.has(menu)):
            raise Trap(f"input does not match any value of {spec.matched or spec.name}", BAD_VALUE)
        return value
    if value in spec.words:
        return value
    try:
        return spec.kind(value)
    except ValueError:
        if spec.known_values:
            raise Trap(f"input does not match any value of {spec.name}", BAD_VALUE) from None
        raise Trap(f"invalid value for argument {spec.name}", BAD_VALUE) from None


def _is_address(value: str) -> bool:
    try:
        address_or_range(value)
    except ValueError:
        return False
    return True


def _unknown(call: Call, names: Iterable[str]) -> None:
    for name in sorted(names):
        if not name.startswith("."):
            raise unknown_parameter(call.box, name)


def unknown_parameter(box: "Box", name: str) -> Trap:
    """Return what an unknown argument is answered with: RouterOS 6 does not say which."""
    return Trap(f"unknown parameter {name}" if box.version.major >= 7 else "unknown parameter", MISSING)


def _chosen(call: Call) -> Iterator[dict[str, str]]:
    try:
        chosen = compile_query(call.queries)
    except BadQuery as problem:
        raise Trap(f"invalid query: {problem}", API_ERROR) from None
    call.box.refreshed(call.path)
    wanted = call.arguments.get("from") or call.arguments.get("numbers") or call.arguments.get(".id")
    rows = [call.box.row_named(call.table, each) for each in wanted.split(",")] if wanted else list(call.table)
    return _matching(call, chosen, rows)


def _matching(call: Call, chosen: Callable[[Fields], bool], rows: list[Row]) -> Iterator[dict[str, str]]:
    for row in rows:
        fields = shown_fields(call.box, call.caller, call.table, row)
        try:
            if chosen(fields):
                yield fields
        except BadQuery as problem:
            raise Trap(f"invalid query: {problem}", API_ERROR) from None


def _only(fields: dict[str, str], names: str) -> dict[str, str]:
    if not names:
        return fields
    return {name: fields[name] for name in names.split(",") if name in fields}


def _apply(call: Call, rows: list[Row], given: Fields) -> None:
    fields = read_fields(call, call.box.fields(call.path), given)
    for row in rows:
        _store(call, row, fields, given)


def _store(call: Call, row: Row, fields: dict[str, str], given: Fields) -> None:
    if row.is_true("dynamic") and not call.menu.keeps_dynamic:
        raise Trap("failure: can not change dynamic entry", GENERAL)
    fields = dict(fields)
    call.box.guarded("set", call, row, fields)
    _refuse_duplicate(call.table, {**row.fields, **fields}, row)
    before = row.fields
    call.table.change(row, fields, user=call.caller.user)
    call.box.react(Change("set", call.path, row, before, given, call.caller.user))


def _switch(call: Call, disabled: str) -> None:
    if "disabled" not in call.box.fields(call.path) or call.menu.single:
        raise Trap("no such command", MISSING)
    _apply(call, call.targets(), {"disabled": disabled})


def _refuse_duplicate(table: Table, fields: Fields, itself: Row | None) -> None:
    if not table.menu.clashes_disabled and fields.get("disabled") == "true":
        return
    for group, (names, message) in enumerate(table.menu.unique):
        if not all(fields.get(name) for name in names[:1]):
            continue
        clashes = table.menu.clashes_disabled
        if any(row is not itself and (clashes or not row.is_true("disabled")) for row in table.like(fields, group)):
            raise Trap(message, GENERAL)
