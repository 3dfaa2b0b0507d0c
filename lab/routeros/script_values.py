"""Values of RouterOS's script language: how they are written as text, compared and reckoned with.

Text is a str, a number an int, an array a list or a dict, nothing is None. Fields of rows are text, but for the flags,
which are true or false. Comparing goes by the text, so `"1" = 1` holds, except that `yes` is `true`.
"""

import ipaddress
import operator
import re
from collections.abc import Callable

from lab.routeros.script_nodes import Code, Value

_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


class BadOperation(Exception):
    """An operator or command cannot take these values; `str()` is what the router says."""


def as_text(value: Value) -> str:
    """Return a value as `:put` and `.` write it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return ";".join(as_text(each) for each in value)
        case dict():
            return ";".join(f"{key}={as_text(each)}" for key, each in value.items())
        case Code():
            return value.source
        case _:
            return str(value)


def as_words(value: Value) -> str:
    """Return a value as the parameter of a command has it: an array with commas, a flag as `yes` or `no`."""
    if isinstance(value, list):
        return ",".join(as_text(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return as_text(value)


def as_number(value: Value) -> int | None:
    """Return a value as a number, None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return None


def as_bool(value: Value) -> bool | None:
    """Return a value as a truth value, None if it is none."""
    if isinstance(value, bool):
        return value
    return _FLAGS.get(value) if isinstance(value, str) else None


def is_met(condition: Value) -> bool:
    """Return whether a condition holds; one that is nothing does not. Raises BadOperation for other than a bool."""
    if condition is None:
        return False
    met = as_bool(condition)
    if met is None:
        raise BadOperation("conditional not boolean")
    return met


def type_of(value: Value) -> str:
    """Return what `:typeof` says."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "bool"
        case int():
            return "num"
        case list() | dict():
            return "array"
        case Code():
            return "code"
    if re.fullmatch(r"\*[0-9A-Fa-f]+", value):
        return "id"
    return "str"


def length(value: Value) -> int:
    """Return what `:len` says: items of an array, characters of anything else."""
    return len(value) if isinstance(value, list | dict) else len(as_text(value))


def equal(left: Value, right: Value) -> bool:
    """Return whether `=` holds."""
    if isinstance(left, bool) or isinstance(right, bool):
        return as_bool(left) is not None and as_bool(left) == as_bool(right)
    return as_text(left) == as_text(right)


def before(left: Value, right: Value) -> bool:
    """Return whether `<` holds: of numbers and addresses by value, else of texts."""
    numbers = as_number(left), as_number(right)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] < numbers[1]
    try:
        return int(ipaddress.IPv4Address(as_text(left))) < int(ipaddress.IPv4Address(as_text(right)))
    except ValueError:
        return as_text(left) < as_text(right)


def matches(value: Value, pattern: Value) -> bool:
    """Return whether `~` holds. Raises BadOperation for a bad regular expression."""
    try:
        return re.search(as_text(pattern), as_text(value)) is not None
    except re.error:
        raise BadOperation("bad regular expression") from None


def lies_in(value: Value, network: Value) -> bool:
    """Return whether `in` holds: an address or network lies in another. Raises BadOperation."""
    try:
        inner = ipaddress.ip_network(as_text(value), strict=False)
        outer = ipaddress.ip_network(as_text(network), strict=False)
    except ValueError:
        raise BadOperation("cannot compare if these are inside one another") from None
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def calculate(sign: str, left: Value, right: Value) -> Value:
    """Return what an arithmetic operator makes of numbers, or of an address and a number. Raises BadOperation."""
    first, second = as_number(left), as_number(right)
    if first is None and second is not None and sign in "+-":
        try:
            return str(ipaddress.ip_address(as_text(left)) + (second if sign == "+" else -second))
        except ValueError:
            pass
    if first is None or second is None:
        raise BadOperation(f"cannot {_VERBS[sign]} {type_of(left)} and {type_of(right)}")
    if sign in "/%" and second == 0:
        raise BadOperation("division by zero")
    return _ARITHMETIC[sign](first, second)


def join(left: Value, right: Value) -> Value:
    """Return what `,` makes: one array of both."""
    if isinstance(left, dict) and isinstance(right, dict):
        return {**left, **right}
    return [*_items(left), *_items(right)]


def item(array: Value, key: Value) -> Value:
    """Return what `->` finds: nothing where there is no such item. Raises BadOperation for what is no array."""
    if isinstance(array, dict):
        return array.get(as_text(key))
    if isinstance(array, list):
        at = as_number(key)
        return array[at] if at is not None and 0 <= at < len(array) else None
    if array is None:
        return None
    raise BadOperation("cannot pick from what is no array")


def to_array(value: Value) -> Value:
    """Return what `:toarray` makes: a text is taken apart at its commas."""
    if isinstance(value, list | dict):
        return value
    written = as_text(value)
    return [part.strip() for part in written.split(",")] if written else []


def _items(value: Value) -> list[Value]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


_VERBS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "divide",
    "<<": "shift",
    ">>": "shift",
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: int(left / right),
    "%": operator.mod,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
