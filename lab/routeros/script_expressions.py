"""How RouterOS writes values: words, text in quotes, variables, arrays, and expressions in brackets.

Octets written as `\\F1` are kept as they are; text holds those that are not UTF-8 as surrogates (`surrogateescape`).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping

from lab.routeros.script_nodes import (
    ArrayOf,
    BadSyntax,
    Binary,
    Code,
    Expression,
    Interpolated,
    Literal,
    Result,
    Statement,
    Unary,
    Value,
    Variable,
)

NAMED = re.compile(r"(!?)([A-Za-z0-9.][A-Za-z0-9._-]*)=(?!=)")
WORD = re.compile(r"[^\s;()\[\]{}\"$=]+")
BARE = re.compile(r"[^\s;()\[\]{}\"$]+")
_OPERAND = re.compile(
    r"\*[0-9A-Fa-f]+|[A-Za-z0-9_:.][A-Za-z0-9_:.]*(?:/[0-9]+(?![A-Za-z.]))?(?:-[A-Za-z][A-Za-z0-9-]*)*"
)
FIELD = re.compile(r"[.A-Za-z0-9][A-Za-z0-9.-]*")
_NAME = re.compile(r"[A-Za-z0-9]+")
_ESCAPES = {
    '"': b'"', "\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t", "$": b"$", "?": b"?", "_": b" ", "a": b"\a", "b": b"\b",
    "f": b"\f", "v": b"\v",
}  # fmt: skip
_BINARY = (
    (("||", "or"),),
    (("&&", "and"),),
    (("<=", "<="), (">=", ">="), ("!=", "!="), ("=", "="), ("<", "<"), (">", ">"), ("~", "~"), ("in", "in")),
    ((".", "."), (",", ",")),
    (("<<", "<<"), (">>", ">>")),
    (("+", "+"), ("-", "-")),
    (("*", "*"), ("/", "/"), ("%", "%")),
)


class Expressions(ABC):
    """Reads values from a text, from `position` on. What stands in `[…]` and `{…}` is read by who knows commands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @abstractmethod
    def _statements(self, closing: str) -> tuple[Statement, ...]:
        """Read statements up to a closing bracket, and go past it."""

    @abstractmethod
    def _code(self) -> Code:
        """Read a block, from its opening bracket on."""

    def _error(self, message: str, position: int | None = None) -> BadSyntax:
        return BadSyntax(message, self.position if position is None else position)

    # Blanks.

    def _peek(self, length: int = 1) -> str:
        return self.text[self.position : self.position + length]

    def _skip_blanks(self) -> None:
        text = self.text
        while self.position < len(text):
            if step := continuation(text, self.position):
                self.position += step
            elif text[self.position] in " \t\r":
                self.position += 1
            else:
                return

    def _skip_space(self) -> None:
        """Skip blanks and line ends, as between brackets of an expression."""
        self._skip_blanks()
        while self._peek() == "\n":
            self.position += 1
            self._skip_blanks()

    def _skip_separators(self) -> None:
        while True:
            self._skip_blanks()
            at = self._peek()
            if at == "#":
                self._skip_comment()
            elif at and at in "\n;":
                self.position += 1
            else:
                return

    def _skip_comment(self) -> None:
        """Skip to the end of the line; a `\\` before it does not continue a comment."""
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end

    # Values.

    def _value(self, *, code: bool = False, loose: bool = False, typed: bool = False) -> Expression:
        """Read the value of an argument; `loose` is one without a name, `typed` one whose `yes` or `5` is no text.

        A blank after `name=` is an empty value.
        """
        step = continuation(self.text, self.position)
        while step:
            self.position += step
            step = continuation(self.text, self.position)
        at = self._peek()
        if at == "{":
            return self._code() if code else self._braces()
        if at in ('"', "$", "[", "("):
            value = self._primary(index=False)
            if self._peek() not in _AFTER_VALUE:
                raise self._error("expected end of command")
            return value
        pieces = []
        while (match := BARE.match(self.text, self.position)) is not None:
            word = match[0]
            cut = word.find("\\")
            if cut < 0:
                pieces.append(word)
                self.position = match.end()
                break
            pieces.append(word[:cut])
            self.position += cut
            step = continuation(self.text, self.position)
            if not step:
                raise self._error("syntax error")
            self.position += step
        if not pieces and loose:
            raise self._error("syntax error")
        written = "".join(pieces)
        return Literal(_literal(written) if typed else written)

    def _braces(self) -> Expression:
        """Read `{…}` in a value: an array, or where it does not read as one, code (of a script or an event)."""
        start = self.position
        try:
            return self._array()
        except BadSyntax:
            self.position = start
            return self._code()

    def _array(self) -> ArrayOf:
        opened = self.position
        self.position += 1
        items: list[tuple[str | None, Expression]] = []
        while True:
            self._skip_space()
            while self._peek() == ";":
                self.position += 1
                self._skip_space()
            if self._peek() == "}":
                self.position += 1
                return ArrayOf(tuple(items))
            if not self._peek():
                raise self._error("expected closing brace", opened)
            key = None
            if self._peek() == '"' or NAMED.match(self.text, self.position):
                key = self._key()
            items.append((key, self._item()))
            self._skip_space()
            if self._peek() not in (";", "}"):
                raise self._error("syntax error")

    def _key(self) -> str | None:
        before = self.position
        if self._peek() == '"':
            quoted = self._quoted()
            if self._peek() == "=" and isinstance(quoted, Literal):
                self.position += 1
                return str(quoted.value)
            self.position = before
            return None
        match = NAMED.match(self.text, before)
        assert match is not None
        self.position = match.end()
        return match[2]

    def _item(self) -> Expression:
        at = self._peek()
        if at == "{":
            return self._array()
        if at in ('"', "$", "[", "("):
            return self._primary()
        match = re.compile(r"[^\s;()\[\]{}\"$]+").match(self.text, self.position)
        if match is None:
            raise self._error("syntax error")
        self.position = match.end()
        return Literal(_literal(match[0]))

    def _quoted(self) -> Expression:
        """Read text in quotes. Raises BadSyntax when it has no end."""
        opened = self.position
        self.position += 1
        parts: list[str | Expression] = []
        octets = bytearray()

        def flush() -> None:
            if octets:
                parts.append(octets.decode("utf-8", "surrogateescape"))
                octets.clear()

        while True:
            at = self._peek()
            if not at:
                raise self._error("expected closing quote", opened)
            if at == '"':
                self.position += 1
                flush()
                if all(isinstance(part, str) for part in parts):
                    return Literal("".join(part for part in parts if isinstance(part, str)))
                return Interpolated(tuple(parts))
            if step := continuation(self.text, self.position):
                self.position += step
            elif at == "\\":
                octets += self._escape()
            elif at == "$":
                flush()
                parts.append(self._interpolated())
            else:
                octets += at.encode("utf-8", "surrogateescape")
                self.position += 1

    def _escape(self) -> bytes:
        following = self.text[self.position + 1 : self.position + 3]
        if re.fullmatch(r"[0-9A-F]{2}", following):
            self.position += 3
            return bytes.fromhex(following)
        if following[:1] not in _ESCAPES or not following:
            raise self._error("syntax error")
        self.position += 2
        return _ESCAPES[following[0]]

    def _interpolated(self) -> Expression:
        following = self.text[self.position + 1 : self.position + 2]
        if following == "[":
            self.position += 2
            return Result(self._statements("]"))
        if following == "(":
            self.position += 1
            return self._parenthesised()
        return self._variable()

    def _variable(self) -> Variable:
        """Read `$name` or `$"name with other characters"`."""
        self.position += 1
        if self._peek() == '"':
            name = self._quoted()
            if isinstance(name, Literal):
                return Variable(str(name.value))
            raise self._error("syntax error")
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise self._error("expected variable name")
        self.position = match.end()
        return Variable(match[0])

    # Expressions.

    def _parenthesised(self) -> Expression:
        opened = self.position
        self.position += 1
        self._skip_space()
        if self._peek() == ")":
            self.position += 1
            return Literal([])
        inner = self._expression()
        self._skip_space()
        if self._peek() != ")":
            raise self._error("syntax error") if self._peek() else self._error("expected closing parenthesis", opened)
        self.position += 1
        return inner

    def _expression(self, level: int = 0) -> Expression:
        if level == len(_BINARY):
            return self._unary()
        left = self._expression(level + 1)
        while True:
            self._skip_space()
            operator = self._operator(level)
            if operator is None:
                return left
            self._skip_space()
            left = Binary(operator, left, self._expression(level + 1))

    def _operator(self, level: int) -> str | None:
        for spelling, meaning in _BINARY[level]:
            for written in {spelling, meaning}:
                if self._peek(len(written)) != written:
                    continue
                after = self.text[self.position + len(written) : self.position + len(written) + 1]
                if written.isalpha() and (after.isalnum() or after == "-"):
                    continue
                if (written in "<>" and after == written) or (written == "-" and after == ">"):
                    continue  # a shift, or the arrow
                self.position += len(written)
                return meaning
        return None

    def _unary(self) -> Expression:
        at = self._peek()
        if at in ("!", "-", "~"):
            self.position += 1
            self._skip_space()
            return Unary(at, self._unary())
        if re.compile(r"not[\s(]").match(self.text, self.position):
            self.position += 3
            self._skip_space()
            return Unary("!", self._unary())
        return self._primary(arrow=True)

    def _primary(self, *, index: bool = True, arrow: bool = False) -> Expression:
        at = self._peek()
        found: Expression
        if at == '"':
            found = self._quoted()
        elif at == "$":
            found = self._variable()
        elif at == "[":
            self.position += 1
            found = Result(self._statements("]"))
        elif at == "(":
            found = self._parenthesised()
        elif at == "{":
            found = self._array()
        else:
            match = _OPERAND.match(self.text, self.position)
            if match is None:
                raise self._error("syntax error")
            self.position = match.end()
            found = Literal(_literal(match[0]))
        while (index or arrow) and self._arrow():
            self._skip_space()
            found = Binary("->", found, self._primary(index=False))
        return found

    def _arrow(self) -> bool:
        before = self.position
        self._skip_blanks()
        if self._peek(2) == "->":
            self.position += 2
            return True
        self.position = before
        return False


_AFTER_VALUE = ("", " ", "\t", "\r", "\n", ";", "]", "}", ")", "\\")
_CONSTANTS: Mapping[str, Value] = {"true": True, "yes": True, "false": False, "no": False}


def _literal(written: str) -> Value:
    if written in _CONSTANTS:
        return _CONSTANTS[written]
    if written in ("nil", "nothing"):
        return None
    if re.fullmatch(r"\d+", written):
        return int(written)
    if re.fullmatch(r"0x[0-9A-Fa-f]+", written):
        return int(written, 16)
    return written


def continuation(text: str, position: int) -> int:
    """Return the length of a `\\` at the end of its line and the indentation after it, 0 where there is none."""
    match = _CONTINUED.match(text, position)
    return len(match[0]) if match else 0


_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
