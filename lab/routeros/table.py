"""Rows of one menu, with the ids that RouterOS gives them.

A table takes what it is given: the rules of the menu (kinds, duplicates, what may be changed) are kept by the commands,
so that a scenario can hold what a real router holds and nobody could enter today.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Literal

from lab.routeros.menus.spec import Field, Menu

Happened = Literal["add", "set", "remove"]


class Row:
    """One row: its number, of which the id is made, and its fields as RouterOS prints them."""

    __slots__ = ("fields", "number")

    def __init__(self, number: int, fields: dict[str, str]) -> None:
        self.number = number
        self.fields = fields

    @property
    def id(self) -> str:
        """The id as the API has it: `*1A`."""
        return f"*{self.number:X}"

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    def get(self, name: str, default: str = "") -> str:
        """Return a field, or `default` where the row has none."""
        return self.fields.get(name, default)

    def is_true(self, name: str) -> bool:
        """Whether a flag is set."""
        return self.fields.get(name) == "true"

    def __repr__(self) -> str:
        return f"<Row {self.id} {self.fields}>"


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a row. `before` are its fields until then (empty for a new one), `given` what was asked for."""

    kind: Happened
    path: str
    row: Row
    before: Mapping[str, str]
    given: Mapping[str, str]
    user: str = ""  # empty when no person did it


class Table:
    """The rows of a menu in their order. All methods may be called from any thread."""

    def __init__(self, menu: Menu, fields: Mapping[str, Field], lock: RLock) -> None:
        self.menu = menu
        self.watchers: list[Callable[[Change], None]] = []
        self.known = frozenset(fields)
        self._shown_empty = frozenset(name for name, each in fields.items() if each.default == "")
        self._lock = lock
        self._rows: dict[int, Row] = {}
        self._next = 1
        self._index: dict[tuple[int, tuple[str, ...]], list[int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        with self._lock:
            return iter(list(self._rows.values()))

    def row(self, id_: str) -> Row | None:
        """Return the row of an id (`*1A`), None if there is none."""
        try:
            return self._rows.get(int(id_.removeprefix("*"), 16))
        except ValueError:
            return None

    def find(self, **fields: str) -> list[Row]:
        """Return the rows whose fields are these; in names an underscore stands for a dash."""
        wanted = {name.replace("_", "-"): value for name, value in fields.items()}
        return [row for row in self if all(row.get(name) == value for name, value in wanted.items())]

    def first(self, **fields: str) -> Row | None:
        """Return the first such row, None if there is none."""
        found = self.find(**fields)
        return found[0] if found else None

    def put(
        self, fields: Mapping[str, str], *, before: Row | None = None, number: int | None = None, user: str = ""
    ) -> Row:
        """Add a row as it is, without the menu's rules and defaults. Empty fields are left out where unshown."""
        with self._lock:
            chosen = self._next if number is None else number
            self._next = max(self._next, chosen + 1) if chosen < _FIXED else self._next
            row = Row(chosen, self._shown(fields))
            if before is None:
                self._rows[chosen] = row
            else:
                self._insert_before(row, before)
            self._remember(row)
            self._tell(Change("add", self.menu.path, row, {}, fields, user))
            return row

    def change(self, row: Row, fields: Mapping[str, str], *, user: str = "") -> None:
        """Set fields of a row as they are; an empty value takes the field away. Does nothing to a row that is gone."""
        with self._lock:
            before = row.fields
            if all(before.get(name, "") == value for name, value in fields.items()):
                return
            if row.number not in self._rows:
                return
            self._forget(row)
            row.fields = self._shown({**before, **fields})
            self._remember(row)
            self._tell(Change("set", self.menu.path, row, before, fields, user))

    def drop(self, row: Row, *, user: str = "") -> None:
        """Take a row away; does nothing if it is gone."""
        with self._lock:
            if self._rows.pop(row.number, None) is None:
                return
            self._forget(row)
            self._tell(Change("remove", self.menu.path, row, row.fields, {}, user))

    def clear(self) -> None:
        """Take all rows away."""
        for row in self:
            self.drop(row)

    def move(self, rows: list[Row], before: Row | None) -> None:
        """Put rows before another, or at the end."""
        with self._lock:
            moving = {row.number for row in rows}
            kept = [row for row in self._rows.values() if row.number not in moving]
            at = kept.index(before) if before in kept else len(kept)
            ordered = kept[:at] + rows + kept[at:]
            self._rows = {row.number: row for row in ordered}

    def like(self, fields: Mapping[str, str], group: int) -> list[Row]:
        """Return the rows that agree with `fields` in the menu's unique group of that number."""
        with self._lock:
            numbers = self._index.get((group, self._key(fields, group)), ())
            return [self._rows[number] for number in numbers]

    def renumber(self, first: int) -> None:
        """Give the rows new ids, from `first` on in their order, and forget those that are dynamic."""
        with self._lock:
            rows = [row for row in self._rows.values() if self.menu.keeps_dynamic or not row.is_true("dynamic")]
            self._rows, self._index, self._next = {}, {}, first
            for row in rows:
                if row.number < _FIXED:
                    row.number = self._next
                    self._next += 1
                self._rows[row.number] = row
                self._remember(row)

    def _shown(self, fields: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in fields.items() if value != "" or name in self._shown_empty}

    def _insert_before(self, row: Row, before: Row) -> None:
        rows: dict[int, Row] = {}
        for each in self._rows.values():
            if each is before:
                rows[row.number] = row
            rows[each.number] = each
        rows.setdefault(row.number, row)
        self._rows = rows

    def _key(self, fields: Mapping[str, str], group: int) -> tuple[str, ...]:
        names, _message = self.menu.unique[group]
        return tuple(fields.get(name, "") for name in names)

    def _remember(self, row: Row) -> None:
        for group in range(len(self.menu.unique)):
            self._index.setdefault((group, self._key(row.fields, group)), []).append(row.number)

    def _forget(self, row: Row) -> None:
        for group in range(len(self.menu.unique)):
            key = (group, self._key(row.fields, group))
            self._index[key].remove(row.number)
            if not self._index[key]:
                del self._index[key]

    def _tell(self, change: Change) -> None:
        for watcher in list(self.watchers):
            watcher(change)


_FIXED = 0xFFFF0000  # ids from here on belong to rows that RouterOS made itself, such as `*FFFFFFFE`
