"""The tiles of the home pages: what waits and what is late, put there by the area that knows.

Each role lands on a home made for its day. An area adds to it with one function, next to its own pages:

    @tile("my_tickets", N_("My tickets"), ("support",), Permission.TICKETS_VIEW, order=20)
    def my_tickets() -> Lines:
        return Lines([Line(ticket.subject, url_for("tickets.page", ticket_id=ticket.id)) for ticket in …])

The function runs in the request, under the rights of who is signed in, and returns one of

- `Figures`: numbers, drawn in a row on top of the page, each leading to the list that explains it;
- `Lines`: a card with a short list, whose title leads to the whole of it;
- `Part`: a card of one's own making, a template with its values (it starts inside the card);
- None: there is nothing to show here for this operator (billing is off), which leaves no gap.

A tile is shown on the homes of its roles, to people who have its permission. Homes are asked for many times a day by
everybody, so a tile reads a few rows through an index; what is dearer goes through `remembered`.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from portal import context
from portal.permissions import Permission


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with what it counts; `alarming` draws it red. All texts are translated already."""

    value: str
    title: str
    icon: str
    url: str = ""
    note: str = ""
    colour: str = "blue"
    alarming: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a list: what it is, where it leads, and what stands small beneath and at its end.

    `badge` is a kind and value of `portal.labels.BADGES`; `action` a second link (address, icon, text), the next thing
    that is usually done.
    """

    text: str
    url: str = ""
    note: str = ""
    end: str = ""
    badge: tuple[str, str] | None = None
    alarming: bool = False
    action: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """A short list. `empty` is said where there are no lines; `url` leads to all, of which there are `total`."""

    lines: Sequence[Line]
    empty: str = ""
    url: str = ""
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


Content = Figures | Lines | Part


@dataclass(frozen=True, slots=True)
class Tile:
    """What stands on some roles' homes. `title` is a message id (N_); lower `order` stands first; `wide` takes two
    thirds of the page."""

    name: str
    title: str
    roles: tuple[str, ...]
    permission: Permission
    function: Callable[[], Content | None]
    order: int = 50
    wide: bool = False


TILES: dict[str, Tile] = {}


def tile(
    name: str,
    title: str,
    roles: Iterable[str],
    permission: Permission,
    *,
    order: int = 50,
    wide: bool = False,
) -> Callable[[Callable[[], Content | None]], Callable[[], Content | None]]:
    """Put a function's content on the homes of some roles. Raises ValueError when the name is taken."""

    def put(function: Callable[[], Content | None]) -> Callable[[], Content | None]:
        if name in TILES and TILES[name].function is not function:
            raise ValueError(f"there are two tiles called {name!r}")
        TILES[name] = Tile(name, title, tuple(roles), permission, function, order, wide)
        return function

    return put


def tiles_of(role: str) -> list[Tile]:
    """Return the tiles of a role's home that who is signed in may see, in their order."""
    found = [each for each in TILES.values() if role in each.roles and context.may(each.permission)]
    return sorted(found, key=lambda each: (each.order, each.name))


class Remembered:
    """Values that are costly to count, kept for a moment for all of an operator's people."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[datetime, Any]] = {}

    def give(self, name: str, operator_id: int, keep: timedelta, count: Callable[[], Any]) -> Any:
        """Return what was counted not longer than `keep` ago, else count anew."""
        with self._lock:
            kept = self._kept.get((name, operator_id))
        if kept is not None and context.now() - kept[0] < keep:
            return kept[1]
        counted = count()
        with self._lock:
            self._kept[name, operator_id] = context.now(), counted
        return counted

    def forget(self, name: str, operator_id: int) -> None:
        """Count anew at the next time, since what was counted has just been changed."""
        with self._lock:
            self._kept.pop((name, operator_id), None)


remembered = Remembered()
