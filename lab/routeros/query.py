"""Queries of the RouterOS API: words that push truth values on a stack, and operations on that stack.

`?name` asks whether the row has the field, `?-name` whether it has not, `?name=x`, `?<name=x` and `?>name=x` compare,
and `?#` takes operations: `!` turns the top value round, `&` and `|` take two and push one, a number pushes a copy of
the value at that depth (0 is the top) or, at the end of the word, becomes the only value; `.` pushes a copy of the top,
and after a number does nothing. A row is chosen when all that is left on the stack is true.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from lab.routeros.menus.kinds import bits_per_second, seconds_of

Fields = Mapping[str, str]
_Step = Callable[[Fields, list[bool]], None]
_OPERATION = re.compile(r"(\d+)|(.)", re.DOTALL)
_BOOLEANS = {"yes": "true", "no": "false"}


class BadQuery(Exception):
    """The words are no query: they take more from the stack than is on it, or hold an unknown operation."""


def compile_query(words: Sequence[str]) -> Callable[[Fields], bool]:
    """Return a function that tells whether a row is chosen. `words` come without their question mark.

    Raises BadQuery, when it is made or, for an empty stack, when it is asked.
    """
    steps = [_step(word) for word in words]

    def chosen(row: Fields) -> bool:
        stack: list[bool] = []
        for step in steps:
            try:
                step(row, stack)
            except IndexError:
                raise BadQuery("stack underflow") from None
        return all(stack)

    return chosen


def _step(word: str) -> _Step:
    if word.startswith("#"):
        return _operations(word[1:])
    if word.startswith("-"):
        name = word[1:]
        return lambda row, stack: stack.append(not row.get(name))
    comparison = word[0] if word[:1] in ("<", ">", "=") else "="
    name, equals, value = word.removeprefix(comparison).partition("=")
    if not equals:
        return lambda row, stack: stack.append(bool(row.get(name)))
    if comparison == "=":
        return lambda row, stack: stack.append(_equal(row.get(name), value))
    return lambda row, stack: stack.append(_beyond(row.get(name), value, comparison))


def _equal(held: str | None, asked: str) -> bool:
    if held is None:
        return not asked
    return held == asked or (held in ("true", "false") and held == _BOOLEANS.get(asked))


def _beyond(held: str | None, asked: str, comparison: str) -> bool:
    if held is None:
        return False
    left, right = _comparable(held), _comparable(asked)
    if isinstance(left, float) and isinstance(right, float):
        return left < right if comparison == "<" else left > right
    return held < asked if comparison == "<" else held > asked


def _comparable(value: str) -> float | None:
    try:
        return float(bits_per_second(value))
    except ValueError:
        pass
    try:
        return float(seconds_of(value))
    except ValueError:
        return None


def _operations(text: str) -> _Step:
    pieces = [(match[1], match[2], match.end()) for match in _OPERATION.finditer(text)]
    for _number, sign, _end in pieces:
        if sign and sign not in "!&|.":
            raise BadQuery(f"unknown operation {sign}")

    def apply(_row: Fields, stack: list[bool]) -> None:
        after_number = False
        for number, sign, end in pieces:
            if number:
                value = stack[-1 - int(number)]
                if end == len(text):
                    stack[:] = [value]
                else:
                    stack.append(value)
            elif sign == "!":
                stack[-1] = not stack[-1]
            elif sign == "&":
                first, second = stack.pop(), stack.pop()
                stack.append(first and second)
            elif sign == "|":
                first, second = stack.pop(), stack.pop()
                stack.append(first or second)
            elif not after_number:
                stack.append(stack[-1])
            after_number = bool(number)

    return apply
