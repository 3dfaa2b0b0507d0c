"""RouterOS script, read as its terminal reads it: every menu, command and parameter must exist on this router.

A statement that does not parse is never begun, not even the part of it before the mistake, and `on-error` around it
catches nothing: RouterOS reads the whole of a statement, blocks and all, before it runs any of it. `:parse` is the way
out, as it is on the router: it reads its text when it runs.
"""

import re
from collections.abc import Collection

from lab.routeros.script_expressions import BARE, FIELD, NAMED, WORD, Expressions, continuation
from lab.routeros.script_nodes import (
    LANGUAGE,
    Binary,
    Builtin,
    Call,
    Code,
    Command,
    Expression,
    Field,
    Invocation,
    Literal,
    Menus,
    Statement,
    Unary,
)

_BLOCKS = frozenset({"do", "else", "on-error", "command"})
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


class Reader(Expressions):
    """Reads statements one after another. `path` is the menu that a relative command starts from."""

    def __init__(self, text: str, menus: Menus, path: str = "") -> None:
        super().__init__(text)
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
            step = continuation(self.text, self.position)
            self.position += step or 1

    def where(self, position: int) -> tuple[int, int]:
        """Return line and column of a position, both from 1."""
        line = self.text.count("\n", 0, position) + 1
        return line, position - self.text.rfind("\n", 0, position)

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
        match = WORD.match(self.text, self.position)
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
            match = WORD.match(self.text, at)
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
            match = FIELD.match(self.text, at)
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
            match = NAMED.match(self.text, self.position)
            if match is not None and (known is None or not conditional or match[2] in known):
                name = match[2] if known is None else _meant(match[2], known)
                if name is None or match[1]:
                    raise self._error("expected end of command")
                self.position = match.end()
                named[name] = self._value(code=name in _BLOCKS or (name == "in" and self._is_onerror(known)))
                continue
            if at == "!" and not conditional:
                self.position += 1
                word = FIELD.match(self.text, self.position)
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
            match = FIELD.match(self.text, self.position)
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
        match = BARE.match(self.text, self.position)
        if match is None:
            return Literal("")
        self.position = match.end()
        return Literal(match[0])


def _meant(word: str, known: Collection[str]) -> str | None:
    """Return the name that a word stands for: itself, or the only one that begins so, as the terminal takes it."""
    if word in known:
        return word
    longer = [name for name in known if name.startswith(word)]
    return longer[0] if len(longer) == 1 else None
