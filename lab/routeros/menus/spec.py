"""What a menu is: its fields, which of them no two rows may share, what it allows, and which versions have it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.routeros.menus.kinds import Kind, anything, boolean
from lab.routeros.versions import Version

NEVER: tuple[int, ...] = ()
V7: tuple[int, ...] = (7,)


@dataclass(frozen=True, slots=True)
class Field:
    """One property.

    `default` is what a row has when nothing was given: None for a field that is absent then and when set to nothing,
    the empty text for one that is shown though empty. A `required` field must be given. A `readonly` one is never taken
    from a person. A `sensitive` one is masked for who lacks that policy. `refers` names the menus in whose
    `name` column the value must be, unless it is one of `words` or an address.
    """

    name: str
    kind: Kind = anything
    default: str | None = None
    required: bool = False
    readonly: bool = False
    sensitive: bool = False
    unseen: bool = False  # taken and never shown, as the password of a user
    refers: str = ""
    words: tuple[str, ...] = ()
    since: tuple[int, ...] = ()
    until: tuple[int, ...] = NEVER
    matched: str = ""  # how a wrong reference is named, where not by the field
    known_values: bool = False  # a wrong value is answered as one of a closed list is


def value(name: str, kind: Kind = anything, default: str | None = None, **more: object) -> Field:
    """Return a field that people set."""
    return Field(name, kind, default, **more)  # type: ignore[arg-type]


def values(names: str, **more: object) -> tuple[Field, ...]:
    """Return fields that people set to whatever they like, absent until then."""
    return tuple(Field(name, **more) for name in names.split())  # type: ignore[arg-type]


def choice(name: str, words: str, default: str | None = None, **more: object) -> Field:
    """Return a field that holds one of these words."""
    known = tuple(words.split())

    def read(given: str) -> str:
        if given not in known:
            raise ValueError(given)
        return given

    return Field(name, read, default, known_values=True, **more)  # type: ignore[arg-type]


def choices(name: str, words: str, default: str | None = None, **more: object) -> Field:
    """Return a field that holds some of these words, with commas between."""
    known = tuple(words.split())

    def read(given: str) -> str:
        chosen = [word for word in given.split(",") if word]
        if any(word not in known for word in chosen):
            raise ValueError(given)
        return ",".join(word for word in known if word in chosen)

    return Field(name, read, default, known_values=True, **more)  # type: ignore[arg-type]


def flag(name: str, default: str | None = "false", **more: object) -> Field:
    """Return a field that is true or false."""
    return Field(name, boolean, default, known_values=True, **more)  # type: ignore[arg-type]


def reference(name: str, menu: str, default: str | None = None, *, words: str = "", **more: object) -> Field:
    """Return a field that names a row of another menu, or one of `words`."""
    return Field(name, anything, default, refers=menu, words=tuple(words.split()), **more)  # type: ignore[arg-type]


def told(names: str, default: str | None = None, **more: object) -> tuple[Field, ...]:
    """Return fields that the router tells and nobody sets."""
    return tuple(Field(name, default=default, readonly=True, **more) for name in names.split())  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Menu:
    """One menu.

    `unique` are the groups of fields of which no two rows may have the same values, each with what RouterOS answers.
    `quiet` menus leave the flag `disabled` out until somebody has set it, as the firewall does. `single` menus hold
    settings rather than rows. `first` are the rows of a box as it comes out of its carton; a row whose `.id` is given
    gets that number.
    """

    path: str
    fields: tuple[Field, ...]
    unique: tuple[tuple[tuple[str, ...], str], ...] = ()
    clashes_disabled: bool = True  # whether rows that are disabled count for that
    single: bool = False
    adds: bool = True
    removes: bool = True
    sets: bool = True
    ordered: bool = False
    disables: bool = False
    comments: bool = True
    quiet: bool = False
    dynamic: bool = False  # rows carry the flag `dynamic`
    since: tuple[int, ...] = ()
    until: tuple[int, ...] = NEVER
    package: str = ""
    reads: str = "read"  # the policy that reading asks for
    writes: str = "write"
    keeps_dynamic: bool = False  # dynamic rows outlive a reboot
    first: tuple[Mapping[str, str], ...] = ()

    def stands_in(self, version: Version) -> bool:
        """Whether this version has the menu."""
        return version.within(self.since, self.until)

    def fields_of(self, version: Version) -> Mapping[str, Field]:
        """Return the fields that this version has, by name, the flags of the menu among them."""
        known = {each.name: each for each in self.fields if version.within(each.since, each.until)}
        if self.disables:
            known["disabled"] = _QUIETLY_DISABLED if self.quiet else _DISABLED
        if self.comments and not self.single:
            known["comment"] = _COMMENT
        if self.dynamic:
            known["dynamic"] = _DYNAMIC
        return known


_DISABLED = flag("disabled")
_QUIETLY_DISABLED = flag("disabled", None)
_COMMENT = value("comment")
_DYNAMIC = flag("dynamic", readonly=True)
