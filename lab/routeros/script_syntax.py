"""RouterOS script, read as its terminal reads it: every menu, command and parameter must exist on this router.

A statement that does not parse is never begun, not even the part of it before the mistake, and `on-error` around it
catches nothing: RouterOS reads the whole of a statement, blocks and all, before it runs any of it. `:parse` is the way
out, as it is on the router: it reads its text when it runs.

Octets written as `\\F1` are kept as they are; text holds those that are not UTF-8 as surrogates (`surrogateescape`).
"""

import re
from collections.abc import Collection, Mapping

from lab.routeros.script_nodes import (
    LANGUAGE,
    ArrayOf,
    BadSyntax,
    Binary,
    Builtin,
    Call,
    Code,
    Command,
    Expression,
    Field,
    Interpolated,
    Invocation,
    Literal,
    Menus,
    Result,
    Statement,
    Unary,
    Value,
    Variable,
)

_NAMED = re.compile(r"(!?)([A-Za-z0-9.][A-Za-z0-9._-]*)=(?!=)")
_WORD = re.compile(r"[^\s;()\[\]{}\"$=]+")
_BARE = re.compile(r"[^\s;()\[\]{}\"$]+")
_OPERAND = re.compile(
    r"\*[0-9A-Fa-f]+|[A-Za-z0-9_:.][A-Za-z0-9_:.]*(?:/[0-9]+(?![A-Za-z.]))?(?:-[A-Za-z][A-Za-z0-9-]*)*"
)
_FIELD = re.compile(r"[.A-Za-z0-9][A-Za-z0-9.-]*")
_NAME = re.compile(r"[A-Za-z0-9]+")
_ESCAPES = {
    '"': b'"', "\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t", "$": b"$", "?": b"?", "_": b" ", "a": b"\a", "b": b"\b",
    "f": b"\f", "v": b"\v",
}  # fmt: skip
_BLOCKS = frozenset({"do", "else", "on-error", "command"})
_BINARY = (
    (("||", "or"),),
    (("&&", "and"),),
    (("<=", "<="), (">=", ">="), ("!=", "!="), ("=", "="), ("<", "<"), (">", ">"), ("~", "~"), ("in", "in")),
    ((".", "."), (",", ",")),
    (("<<", "<<"), (">>", ">>")),
    (("+", "+"), ("-", "-")),
    (("*", "*"), ("/", "/"), ("%", "%")),
)


class Reader:
    """Reads statements one after another. `path` is the menu that a relative command starts from."""

    def __init__(self, text: str, menus: Menus, path: str = "") -> None:
        self.text = text
        self.position = 0
        self.path = path
        self._menus = menus

    def statement(self) -> Statement | None:
        """Read the next statement; None at the end. One that only names a menu moves there. Raises BadSyntax."""
        while True:
            self._skip_separators()
            if self.position >= len(self.text):
                return None
            found = self._statement(closing="")
            if found is not None:
                return found

    def skip_line(self) -> None:
        """Go on after the line that holds the present position, and after the statement that reaches over it.

        A terminal that has refused a line takes the next for a new one, even inside what was meant as a block.
        """
        while self.position < len(self.text) and self.text[self.position] != "\n":
            step = _continuation(self.text, self.position)
            self.position += step or 1

    def where(self, position: int) -> tuple[int, int]:
        """Return line and column of a position, both from 1."""
        line = self.text.count("\n", 0, position) + 1
        return line, position - self.text.rfind("\n", 0, position)

    # Blanks.

    def _peek(self, length: int = 1) -> str:
        return self.text[self.position : self.position + length]

    def _skip_blanks(self) -> None:
        text = self.text
        while self.position < len(text):
            if step := _continuation(text, self.position):
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

    # Statements.

    def _statement(self, closing: str) -> Statement | None:
        start = self.position
        at = self._peek()
        found: Statement | None
        if at == "{":
            found = Invocation(start, Call(self._code(), {}, ()))
        elif at == "$" or at == "[":
            found = Invocation(start, self._invocation(closing))
        elif at == "(":
            if closing != "]":
                raise self._error("syntax error")
            found = Invocation(start, Call(self._primary(), {}, ()))
        elif at == ":":
            self.position += 1
            found = self._builtin(start, closing)
        else:
            found = self._menu_command(start, closing)
        self._end_of_command(closing)
        return found

    def _end_of_command(self, closing: str) -> None:
        self._skip_blanks()
        if closing == "]":
            while self._peek() == "\n":
                self.position += 1
                self._skip_blanks()
        at = self._peek()
        if at == "#" and self.text[self.position - 1 : self.position] in " \t\n":
            self._skip_comment()
        elif at not in ("", "\n", ";", closing or ""):
            raise self._error("expected end of command")

    def _error(self, message: str, position: int | None = None) -> BadSyntax:
        return BadSyntax(message, self.position if position is None else position)

    def _statements(self, closing: str) -> tuple[Statement, ...]:
        """Read statements up to a closing bracket, and go past it. A menu entered inside is left again."""
        outside = self.path
        opened = self.position - 1
        statements: list[Statement] = []
        while True:
            self._skip_separators()
            at = self._peek()
            if at == closing:
                self.position += 1
                self.path = outside
                return tuple(statements)
            if not at:
                raise self._error("expected closing " + ("brace" if closing == "}" else "bracket"), opened)
            statement = self._statement(closing)
            if statement is not None:
                statements.append(statement)

    def _code(self) -> Code:
        start = self.position
        self.position += 1
        statements = self._statements("}")
        return Code(statements, self.text[start + 1 : self.position - 1])

    def _invocation(self, closing: str) -> Expression:
        function = self._primary()
        arguments, unnamed, _ = self._arguments(None, closing, as_value=True)
        return Call(function, arguments, unnamed)

    # Commands.

    def _builtin(self, start: int, closing: str) -> Builtin:
        match = _WORD.match(self.text, self.position)
        name = match[0] if match else ""
        if name not in LANGUAGE:
            raise self._error(f"bad command name {name}", start)
        self.position += len(name)
        arguments, unnamed, _ = self._arguments(LANGUAGE[name], closing, as_value=name != "do", conditional=True)
        if name == "do" and unnamed and not isinstance(unnamed[0], Code):
            raise self._error("expected command", start)
        return Builtin(start, name, arguments, unnamed)

    def _menu_command(self, start: int, closing: str) -> Statement | None:
        """Read a path and a command below it. A path alone moves there and is None."""
        path = self.path
        if self._peek() == "/":
            path = ""
            self.position += 1
        first = True
        while True:
            self._skip_blanks()
            if self._peek(2) == "..":
                path = path.rpartition("/")[0]
                self.position += 2
                if self._peek() == "/":
                    self.position += 1
                first = False
                continue
            at = self.position
            match = _WORD.match(self.text, at)
            if match is None:
                if at == start:
                    raise self._error("syntax error")
                self.path = path
                return None
            word = match[0].partition("/")[0]
            if not word:
                raise self._error("syntax error")
            child = _meant(word, self._menus.children(path))
            command = _meant(word, self._menus.commands(path))
            exact = word in self._menus.children(path)
            if child is not None and (exact or command is None):
                path = f"{path}/{child}"
                self.position = at + len(word)
                if self._peek() == "/":
                    self.position += 1
                first = False
                continue
            if command is not None:
                self.position = at + len(word)
                return self._command_at(start, path, command, closing)
            if first and path == self.path and word in LANGUAGE:
                return self._builtin(start, closing)
            raise self._error(f"bad command name {word}", at)

    def _command_at(self, start: int, path: str, name: str, closing: str) -> Command:
        """Read what follows a command's name. Commands in its brackets start from its menu: `remove [find]`."""
        outside, self.path = self.path, path
        try:
            return self._command_in(start, path, name, closing)
        finally:
            self.path = outside

    def _command_in(self, start: int, path: str, name: str, closing: str) -> Command:
        if name == "find":
            return Command(start, path, name, where=self._where(path, closing))
        known = self._menus.parameters(path, name)
        if name == "print":
            return self._print(start, path, closing)
        arguments, unnamed, unset = self._arguments(known, closing, as_value=True)
        return Command(start, path, name, arguments, unnamed, unset)

    def _print(self, start: int, path: str, closing: str) -> Command:
        arguments: dict[str, Expression] = {}
        condition = None
        while True:
            self._skip_blanks()
            at = self.position
            match = _FIELD.match(self.text, at)
            if match is None:
                return Command(start, path, "print", arguments, where=condition)
            word = match[0]
            self.position = match.end()
            if word == "where":
                condition = self._where(path, closing, began=True)
            elif self._peek() == "=" and word in {"file", "from", "proplist", ".proplist", "interval", "follow"}:
                self.position += 1
                arguments[word] = self._value()
            elif word in _PRINT_FLAGS:
                arguments[word] = Literal(value=True)
            else:
                self.position = at
                condition = self._where(path, closing, began=True)
                if condition is None:
                    raise self._error("expected end of command", at)

    def _arguments(
        self, known: Collection[str] | None, closing: str, *, as_value: bool, conditional: bool = False
    ) -> tuple[dict[str, Expression], tuple[Expression, ...], tuple[str, ...]]:
        """Read `name=value`, `!name` and values without a name up to the end of the command."""
        named: dict[str, Expression] = {}
        unnamed: list[Expression] = []
        unset: list[str] = []
        while True:
            before = self.position
            self._skip_blanks()
            at = self._peek()
            if at in ("", "\n", ";") or at == closing:
                return named, tuple(unnamed), tuple(unset)
            if at == "#" and self.position > before:
                return named, tuple(unnamed), tuple(unset)
            if at in ")]}":
                return named, tuple(unnamed), tuple(unset)
            match = _NAMED.match(self.text, self.position)
            if match is not None and (known is None or not conditional or match[2] in known):
                name = match[2] if known is None else _meant(match[2], known)
                if name is None or match[1]:
                    raise self._error("expected end of command")
                self.position = match.end()
                named[name] = self._value(code=name in _BLOCKS or (name == "in" and self._is_onerror(known)))
                continue
            if at == "!" and not conditional:
                self.position += 1
                word = _FIELD.match(self.text, self.position)
                name = word and (word[0] if known is None else _meant(word[0], known))
                if word is None or name is None:
                    raise self._error("expected end of command")
                self.position = word.end()
                unset.append(name)
                continue
            unnamed.append(self._value(code=not as_value, loose=True, typed=conditional))

    @staticmethod
    def _is_onerror(known: Collection[str] | None) -> bool:
        return known is LANGUAGE["onerror"]

    # Values.

    def _value(self, *, code: bool = False, loose: bool = False, typed: bool = False) -> Expression:
        """Read the value of an argument; `loose` is one without a name, `typed` one whose `yes` or `5` is no text.

        A blank after `name=` is an empty value.
        """
        step = _continuation(self.text, self.position)
        while step:
            self.position += step
            step = _continuation(self.text, self.position)
        at = self._peek()
        if at == "{":
            return self._code() if code else self._braces()
        if at in ('"', "$", "[", "("):
            value = self._primary(index=False)
            if self._peek() not in _AFTER_VALUE:
                raise self._error("expected end of command")
            return value
        pieces = []
        while (match := _BARE.match(self.text, self.position)) is not None:
            word = match[0]
            cut = word.find("\\")
            if cut < 0:
                pieces.append(word)
                self.position = match.end()
                break
            pieces.append(word[:cut])
            self.position += cut
            step = _continuation(self.text, self.position)
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
            if self._peek() == '"' or _NAMED.match(self.text, self.position):
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
        match = _NAMED.match(self.text, before)
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
            if step := _continuation(self.text, self.position):
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

    # Conditions of find and print.

    def _where(self, path: str, closing: str, *, began: bool = False) -> Expression | None:
        """Read the conditions of `find` or `print where`; those that only stand beside one another must all hold."""
        self._skip_blanks()
        if not began and re.compile(r"where\b(?!=)").match(self.text, self.position):
            self.position += len("where")
        return self._alternatives(closing)

    def _alternatives(self, closing: str) -> Expression | None:
        left = self._conjunction(closing)
        while left is not None and self._condition_word(("||", "or")):
            right = self._conjunction(closing)
            if right is None:
                raise self._error("syntax error")
            left = Binary("or", left, right)
        return left

    def _conjunction(self, closing: str) -> Expression | None:
        left: Expression | None = None
        while True:
            self._condition_blanks(closing)
            joined = left is not None and self._condition_word(("&&", "and"))
            if joined:
                self._condition_blanks(closing)
            at = self._peek()
            if at in ("", "\n", ";", ")", "]", "}") or self._peek(2) == "||" or self._is_word("or"):
                if joined:
                    raise self._error("syntax error")
                return left
            condition = self._condition()
            left = condition if left is None else Binary("and", left, condition)

    def _condition_blanks(self, closing: str) -> None:
        if closing in ("]", ")"):
            self._skip_space()
        else:
            self._skip_blanks()

    def _condition_word(self, words: tuple[str, ...]) -> bool:
        self._skip_blanks()
        for word in words:
            if self._peek(len(word)) == word and (not word.isalpha() or self._is_word(word)):
                self.position += len(word)
                return True
        return False

    def _is_word(self, word: str) -> bool:
        after = self.text[self.position + len(word) : self.position + len(word) + 1]
        return self._peek(len(word)) == word and (after in " \t\n(" or not after)

    def _condition(self) -> Expression:
        at = self._peek()
        if at == "!":
            self.position += 1
            self._skip_blanks()
            return Unary("!", self._condition())
        if at == "(":
            self.position += 1
            inner = self._alternatives(")")
            self._skip_space()
            if inner is None or self._peek() != ")":
                raise self._error("syntax error")
            self.position += 1
            return inner
        if at in ("$", "[", '"'):
            left = self._primary()
        else:
            match = _FIELD.match(self.text, self.position)
            if match is None:
                raise self._error("syntax error")
            self.position = match.end()
            left = Field(match[0])
        self._skip_blanks()
        for operator in ("<=", ">=", "!=", "=", "~", "<", ">"):
            if self._peek(len(operator)) == operator:
                self.position += len(operator)
                self._skip_blanks()
                return Binary(operator, left, self._operand())
        if self._is_word("in"):
            self.position += 2
            self._skip_blanks()
            return Binary("in", left, self._operand())
        return left

    def _operand(self) -> Expression:
        if self._peek() in ('"', "$", "[", "("):
            return self._primary()
        match = _BARE.match(self.text, self.position)
        if match is None:
            return Literal("")
        self.position = match.end()
        return Literal(match[0])


_PRINT_FLAGS = frozenset(
    [
        "as-value",
        "brief",
        "detail",
        "terse",
        "count-only",
        "without-paging",
        "value-list",
        "stats",
        "once",
        "show-sensitive",
    ]
)
_AFTER_VALUE = ("", " ", "\t", "\r", "\n", ";", "]", "}", ")", "\\")
_CONSTANTS: Mapping[str, Value] = {"true": True, "yes": True, "false": False, "no": False}


def _meant(word: str, known: Collection[str]) -> str | None:
    """Return the name that a word stands for: itself, or the only one that begins so, as the terminal takes it."""
    if word in known:
        return word
    longer = [name for name in known if name.startswith(word)]
    return longer[0] if len(longer) == 1 else None


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


def _continuation(text: str, position: int) -> int:
    """Return the length of a `\\` at the end of its line and the indentation after it, 0 where there is none."""
    match = _CONTINUED.match(text, position)
    return len(match[0]) if match else 0


_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
