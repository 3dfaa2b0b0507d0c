"""RouterOS scripts, run on an emulated router: pasted into its terminal, or imported from a file.

The two differ as they do on a router. `/import` stops at the first statement that fails and says its line. A terminal
goes on with the next line, takes `:local` variables as gone at the end of the line that made them, and after a line
that does not parse reads the next one anew, even inside what was meant as a block.

What a script does to menus goes through the functions that the API uses, as the user who runs it. `/tool fetch` is
a real request; `:delay` does not wait. Two readings are strict, as RouterOS is believed to be: `on-error` catches
nothing that does not parse (see `script_syntax`), and inside `find` and `where` a variable named like a field of the
row is that field.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from lab.routeros.script_language import Failed, Language, Returned, Scope
from lab.routeros.script_nodes import (
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
from lab.routeros.script_syntax import Reader
from lab.routeros.script_values import (
    BadOperation,
    as_bool,
    as_number,
    as_text,
    as_words,
    before,
    calculate,
    equal,
    is_met,
    item,
    join,
    lies_in,
    matches,
)

_ON_ROWS = frozenset({"set", "remove", "enable", "disable", "unset", "move", "comment", "reset-counters"})
Row = tuple[str, Mapping[str, str]]  # id and fields


class Device(Menus, Protocol):
    """The router that a script runs on."""

    def rows(self, path: str) -> Sequence[Row]:
        """Return the rows of a menu in their order; a menu of settings has one, whose id is empty."""

    def is_single(self, path: str) -> bool:
        """Return whether a menu holds settings rather than rows."""

    def call(self, path: str, command: str, arguments: Mapping[str, str]) -> Value:
        """Run a command and return what it returns; `.id` names rows, with commas between. Raises Failed."""

    def resolve(self, name: str) -> str:
        """Return the address of a name. Raises Failed."""

    def file(self, name: str) -> str:
        """Return what a file holds. Raises Failed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A statement that failed, with the line and column (from 1) where, and how the router puts it."""

    message: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.message} (line {self.line} column {self.column})"


class Terminal(Language):
    """Somebody's terminal on a router. `output` is what was printed; global variables stay."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device
        self._builtins: dict[str, Callable[[Builtin, Scope], Value]] = {
            name.removeprefix("_do_").replace("_", "-"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }

    def paste(self, text: str) -> list[Failure]:
        """Run text as pasted into a terminal, and return what failed on the way."""
        failures: list[Failure] = []
        reader = Reader(text, self._device)
        scope, line = Scope(), 0
        while True:
            start, failure = reader.position, None
            statement = None
            try:
                statement = reader.statement()
                if statement is None:
                    return failures
                if reader.where(statement.position)[0] != line:
                    scope = self._line_scope()
                self._run(statement, scope)
            except BadSyntax as problem:
                failure = Failure(problem.message, *reader.where(problem.position))
                reader.position = max(problem.position, start)
                reader.skip_line()
            except (Failed, BadOperation) as problem:
                failure = Failure(str(problem), *reader.where(statement.position if statement else start))
            except Returned:
                pass
            line = reader.where(reader.position)[0]
            if failure is not None:
                failures.append(failure)
                self.output.append(str(failure))

    def _line_scope(self) -> Scope:
        """Return the variables that a new line of a terminal sees: those that are global."""
        scope = Scope()
        scope.cells = self._globals
        return Scope(scope)

    def run_import(self, text: str) -> Failure | None:
        """Run text as `/import` does: up to the first statement that fails, which is returned."""
        reader = Reader(text, self._device)
        scope = Scope()
        statement = None
        try:
            while (statement := reader.statement()) is not None:
                self._run(statement, scope)
        except BadSyntax as problem:
            return Failure(problem.message, *reader.where(problem.position))
        except (Failed, BadOperation) as problem:
            assert statement is not None
            return Failure(str(problem), *reader.where(statement.position))
        except Returned:
            pass
        return None

    # Running.

    def _run_all(self, statements: Sequence[Statement], scope: Scope) -> Value:
        value: Value = None
        for statement in statements:
            value = self._run(statement, scope)
        return value

    def _run(self, statement: Statement, scope: Scope) -> Value:
        match statement:
            case Builtin():
                return self._builtins[statement.name](statement, scope)
            case Command():
                return self._command(statement, scope)
            case Invocation(call=Call(function=Code() as code)):
                return self._run_all(code.statements, Scope(scope))
            case Invocation():
                return self._value(statement.call, scope)
            case _:
                assert_never(statement)

    def _block(self, code: Expression | None, scope: Scope) -> Value:
        """Run a block, whose variables end with it."""
        if isinstance(code, Code):
            return self._run_all(code.statements, Scope(scope))
        if code is None:
            return None
        value = self._value(code, scope)
        return self._run_all(value.statements, Scope(scope)) if isinstance(value, Code) else value

    def _value(self, expression: Expression, scope: Scope) -> Value:
        match expression:
            case Literal():
                return expression.value
            case Variable():
                return self._variable(expression.name, scope)
            case Field():
                return _flag((scope.row or {}).get(expression.name))
            case Interpolated():
                return "".join(
                    part if isinstance(part, str) else as_text(self._value(part, scope)) for part in expression.parts
                )
            case Result():
                return self._run_all(expression.statements, scope)
            case Call():
                return self._call(expression, scope)
            case Unary():
                return self._unary(expression, scope)
            case Binary():
                return self._binary(expression, scope)
            case ArrayOf():
                return self._array(expression, scope)
            case Code():
                return expression
            case _:
                assert_never(expression)

    def _variable(self, name: str, scope: Scope) -> Value:
        if scope.row is not None and name in scope.row:
            return _flag(scope.row[name])
        cell = scope.cell(name)
        return cell[0] if cell is not None else None

    def _call(self, call: Call, scope: Scope) -> Value:
        function = self._value(call.function, scope)
        if not isinstance(function, Code):
            return function
        inner = Scope()
        for name, argument in call.arguments.items():
            inner.cells[name] = [self._value(argument, scope)]
        for number, argument in enumerate(call.unnamed, 1):
            inner.cells[str(number)] = [self._value(argument, scope)]
        try:
            return self._run_all(function.statements, inner)
        except Returned as returned:
            return returned.value

    def _unary(self, expression: Unary, scope: Scope) -> Value:
        value = self._value(expression.operand, scope)
        match expression.operator:
            case "!":
                return not _holds(value) if scope.row is not None else not is_met(value)
            case "-":
                return calculate("-", 0, value)
            case _:
                number = as_number(value)
                if number is None:
                    raise BadOperation("cannot invert what is no number")
                return ~number

    def _binary(self, expression: Binary, scope: Scope) -> Value:
        sign = expression.operator
        left = self._value(expression.left, scope)
        if sign in ("and", "or"):
            met = _holds if scope.row is not None else is_met
            if met(left) == (sign == "or"):
                return sign == "or"
            return met(self._value(expression.right, scope))
        right = self._value(expression.right, scope)
        match sign:
            case "=":
                return _same(left, right)
            case "!=":
                return not _same(left, right)
            case "<":
                return before(left, right)
            case ">":
                return before(right, left)
            case "<=":
                return not before(right, left)
            case ">=":
                return not before(left, right)
            case "~":
                return matches(left, right)
            case "in":
                return lies_in(left, right)
            case ".":
                return as_text(left) + as_text(right)
            case ",":
                return join(left, right)
            case "->":
                return item(left, right)
            case _:
                return calculate(sign, left, right)

    def _array(self, expression: ArrayOf, scope: Scope) -> Value:
        if any(key is not None for key, _ in expression.items):
            return {
                key if key is not None else str(position): self._value(each, scope)
                for position, (key, each) in enumerate(expression.items)
            }
        return [self._value(each, scope) for _, each in expression.items]

    # Commands of menus.

    def _command(self, command: Command, scope: Scope) -> Value:
        match command.name:
            case "find":
                return [id_ for id_, _ in self._chosen(command, scope)]
            case "print":
                return self._print(command, scope)
            case "get":
                return self._get(command, scope)
        arguments = {name: as_words(self._value(each, scope)) for name, each in command.arguments.items()}
        unnamed = [self._value(each, scope) for each in command.unnamed]
        if command.name in _ON_ROWS and not self._device.is_single(command.path):
            return self._on_rows(command, arguments, unnamed, scope)
        if (command.path, command.name) == ("", "import"):
            return self._import(arguments.get("file-name") or as_text(unnamed[0] if unnamed else None))
        if (command.path, command.name) == ("/system/script", "run"):
            return self._run_script(as_text(unnamed[0] if unnamed else arguments.get("number")))
        if command.path == "/log":
            return self._say(command.name, as_text(unnamed[0]) if unnamed else arguments.get("message", ""))
        for name in command.unset:
            arguments[name] = ""
        names = _POSITIONAL.get((command.path, command.name), ())
        for name, value in zip(names, unnamed, strict=False):
            arguments.setdefault(name, as_words(value))
        if len(unnamed) > len(names):
            raise Failed("expected end of command")
        if command.name == "add" and "place-before" in arguments:
            arguments["place-before"] = self._places(command, "place-before", scope)
        return self._device.call(command.path, command.name, arguments)

    def _places(self, command: Command, name: str, scope: Scope) -> str:
        """Return the id that a place is meant by: an id, a number in the order, or what `find` found."""
        ids = self._ids(command.path, self._value(command.arguments[name], scope))
        if not ids:
            raise Failed("no such item")
        return ids[0]

    def _on_rows(self, command: Command, arguments: dict[str, str], unnamed: list[Value], scope: Scope) -> Value:
        """Run a command on rows: those named first, or by `numbers`. Nothing found is nothing done."""
        numbers: Value
        if "numbers" in command.arguments:
            numbers = self._value(command.arguments["numbers"], scope)
            arguments.pop("numbers")
        elif ".id" in command.arguments:
            numbers = self._value(command.arguments[".id"], scope)
        elif unnamed:
            numbers = unnamed.pop(0)
        else:
            raise Failed("missing value(s) of argument(s) numbers")
        ids = self._ids(command.path, numbers)
        name = command.name
        if name == "move":
            if "destination" in command.arguments:
                arguments["destination"] = self._places(command, "destination", scope)
            elif unnamed:
                arguments["destination"] = ",".join(self._ids(command.path, unnamed.pop(0))[:1])
        if unnamed:
            raise Failed("expected end of command")
        if not ids:
            return None
        if name == "comment":
            name = "set"
        if name == "unset" or not command.unset:
            return self._device.call(command.path, name, {**arguments, ".id": ",".join(ids)})
        return self._device.call(
            command.path, name, {**arguments, **dict.fromkeys(command.unset, ""), ".id": ",".join(ids)}
        )

    def _ids(self, path: str, numbers: Value) -> list[str]:
        """Return the ids of the rows that a command names: by id, by name, or by place in the order.

        Raises Failed when one of them is not there.
        """
        if isinstance(numbers, list):
            named = [as_text(each) for each in numbers]
        else:
            named = [part for part in as_text(numbers).split(",") if part]
        if all(name.startswith("*") for name in named):
            return named
        rows = self._device.rows(path)
        by_name = {fields["name"]: id_ for id_, fields in rows if "name" in fields}
        ids = []
        for name in named:
            if name.startswith("*"):
                ids.append(name)
            elif name in by_name:
                ids.append(by_name[name])
            elif name.isdigit() and int(name) < len(rows):
                ids.append(rows[int(name)][0])
            else:
                raise Failed("no such item")
        return ids

    def _chosen(self, command: Command, scope: Scope) -> Iterator[Row]:
        for id_, fields in self._device.rows(command.path):
            row = {**fields, ".id": id_}
            if command.where is None or _holds(self._value(command.where, Scope(scope, row))):
                yield id_, fields

    def _get(self, command: Command, scope: Scope) -> Value:
        unnamed = [self._value(each, scope) for each in command.unnamed]
        named = {name: self._value(each, scope) for name, each in command.arguments.items()}
        rows = self._device.rows(command.path)
        if self._device.is_single(command.path):
            fields = rows[0][1]
        else:
            numbers = named.get("number", named.get("numbers"))
            if numbers is None:
                if not unnamed:
                    raise Failed("missing value(s) of argument(s) number")
                numbers = unnamed.pop(0)
            ids = self._ids(command.path, numbers)
            found = [fields for id_, fields in rows if id_ == ids[0]] if len(ids) == 1 else []
            if not found:
                raise Failed("no such item" if len(ids) < 2 else "invalid internal item number")
            fields = found[0]
        wanted = named.get("value-name", unnamed[0] if unnamed else None)
        if wanted is None:
            return {name: _flag(value) for name, value in fields.items()}
        return _flag(fields.get(as_text(wanted)))

    def _print(self, command: Command, scope: Scope) -> Value:
        """Print rows, a line each. `as-value` and `count-only` return instead."""
        chosen = list(self._chosen(command, scope))
        if "count-only" in command.arguments:
            self.output.append(str(len(chosen)))
            return len(chosen)
        if "as-value" in command.arguments:
            return [{".id": id_, **{name: _flag(value) for name, value in fields.items()}} for id_, fields in chosen]
        for number, (_, fields) in enumerate(chosen):
            self.output.append(" ".join([f"{number:2}", *(f"{name}={value}" for name, value in fields.items())]))
        return None

    def _import(self, name: str) -> Value:
        failure = self.run_import(self._device.file(name))
        if failure is not None:
            raise Failed(str(failure))
        self.output.append("Script file loaded and executed successfully")
        return None

    def _run_script(self, name: str) -> Value:
        for _, fields in self._device.rows("/system/script"):
            if fields.get("name") == name:
                return self._run_all(self._parse(fields.get("source", "")).statements, Scope())
        raise Failed("no such item")

    def _parse(self, text: str) -> Code:
        reader = Reader(text, self._device)
        statements = []
        try:
            while (statement := reader.statement()) is not None:
                statements.append(statement)
        except BadSyntax as problem:
            raise Failed(str(Failure(problem.message, *reader.where(problem.position)))) from None
        return Code(tuple(statements), text)

    def _resolve(self, name: str) -> str:
        return self._device.resolve(name)

    def _say(self, topic: str, message: str) -> Value:
        return self._device.call("/log", topic, {"message": message})


def _flag(text: str | None) -> Value:
    """Return a field of a row as a value: `true` and `false` are no text."""
    return {"true": True, "false": False}.get(text, text) if text is not None else None


def _holds(value: Value) -> bool:
    """Return whether a condition of `find` holds: a field alone asks whether it is there and not false."""
    flag = as_bool(value)
    return flag if flag is not None else value not in (None, "", [])


def _same(left: Value, right: Value) -> bool:
    """Return whether two values are equal; a row's absent field is like an empty one."""
    return equal("" if left is None else left, "" if right is None else right)


# Parameters that may be given without their names.
_POSITIONAL: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "ping"): ("address",),
    ("", "import"): ("file-name",),
    ("/tool", "ping"): ("address",),
    ("/tool", "fetch"): ("url",),
    ("/interface", "monitor-traffic"): ("interface",),
    ("/ip/dhcp-server/lease", "make-static"): (".id",),
}
