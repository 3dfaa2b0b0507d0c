"""What a RouterOS script consists of, once it is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Union

Value = Union[str, int, bool, None, "list[Value]", "dict[str, Value]", "Code"]

# The commands of the language, and the parameters that each has by name.
LANGUAGE: Mapping[str, frozenset[str]] = {
    name: frozenset(parameters.split())
    for name, parameters in {
        "put": "message", "local": "name value do", "global": "name value do", "set": "name value do",
        "if": "condition do else", "do": "command while on-error", "foreach": "counter in do",
        "for": "counter from to step do", "while": "condition do", "error": "message", "return": "value",
        "delay": "delay-time", "log": "topics message", "len": "value", "tostr": "value", "tonum": "value",
        "tobool": "value", "toarray": "value", "toid": "value", "toip": "value", "totime": "value", "typeof": "value",
        "pick": "counter begin end", "find": "value begin", "resolve": "domain-name server", "parse": "value",
        "execute": "script", "nothing": "", "onerror": "error in do",
    }.items()
}  # fmt: skip


class BadSyntax(Exception):
    """The text does not parse. `position` counts characters from 0; `message` is the router's."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class Menus(Protocol):
    """What a router knows: its menus (`/ip/firewall/nat`, the root is empty), their commands and parameters."""

    def children(self, path: str) -> Collection[str]: ...

    def commands(self, path: str) -> Collection[str]: ...

    def parameters(self, path: str, command: str) -> Collection[str] | None:
        """Return the names of a command's parameters; None where any goes."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value


@dataclass(frozen=True, slots=True)
class Variable:
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the row that `where` looks at."""

    name: str


@dataclass(frozen=True, slots=True)
class Interpolated:
    """Quoted text with `$name`, `$[…]` and `$(…)` in it."""

    parts: tuple["str | Expression", ...]


@dataclass(frozen=True, slots=True)
class Result:
    """`[…]`: what the command returns."""

    statements: tuple["Statement", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`$function name=value`: code in a variable, called."""

    function: "Expression"
    arguments: Mapping[str, "Expression"]
    unnamed: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """`{1; 2; "key"=3}`."""

    items: tuple[tuple[str | None, "Expression"], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """`{ … }` as code, with its text."""

    statements: tuple["Statement", ...]
    source: str


Expression = Literal | Variable | Field | Interpolated | Result | Call | Unary | Binary | ArrayOf | Code


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a menu. `unset` are the parameters written as `!name`."""

    position: int
    path: str
    name: str
    arguments: Mapping[str, Expression] = field(default_factory=dict)
    unnamed: tuple[Expression, ...] = ()
    unset: tuple[str, ...] = ()
    where: Expression | None = None


@dataclass(frozen=True, slots=True)
class Builtin:
    """A command of the language, such as `:put`."""

    position: int
    name: str
    arguments: Mapping[str, Expression] = field(default_factory=dict)
    unnamed: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Invocation:
    """A function or a block that stands where a command would."""

    position: int
    call: Expression


Statement = Command | Builtin | Invocation
