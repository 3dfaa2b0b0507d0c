"""The commands of RouterOS's script language: variables, conditions, loops, and functions of values."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from lab.routeros.script_nodes import Binary, Builtin, Code, Expression, Literal, Statement, Value
from lab.routeros.script_values import (
    BadOperation,
    as_bool,
    as_number,
    as_text,
    equal,
    is_met,
    item,
    length,
    to_array,
    type_of,
)

_MOST_ROUNDS = 100_000


class Failed(Exception):
    """A command failed while it ran; `str()` is what the router says."""


class Returned(Exception):
    """`:return` was reached, with this value."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class Scope:
    """Variables, as cells so that a global can be one of them."""

    def __init__(self, outer: "Scope | None" = None, row: Mapping[str, str] | None = None) -> None:
        self.cells: dict[str, list[Value]] = {}
        self.outer = outer
        self.row: Mapping[str, str] | None = row if row is not None or outer is None else outer.row

    def cell(self, name: str) -> list[Value] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.cells:
                return scope.cells[name]
            scope = scope.outer
        return None


class Language(ABC):
    """What a terminal does with the commands of the language. `output` is what was printed; global variables stay."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self._globals: dict[str, list[Value]] = {}

    @abstractmethod
    def _value(self, expression: Expression, scope: Scope) -> Value:
        """Return what an expression is worth."""

    @abstractmethod
    def _block(self, code: Expression | None, scope: Scope) -> Value:
        """Run a block, whose variables end with it."""

    @abstractmethod
    def _run_all(self, statements: Sequence[Statement], scope: Scope) -> Value:
        """Run statements one after another, and return what the last is worth."""

    @abstractmethod
    def _parse(self, text: str) -> Code:
        """Read text as code. Raises Failed."""

    @abstractmethod
    def _say(self, topic: str, message: str) -> Value:
        """Write to the router's log."""

    @abstractmethod
    def _resolve(self, name: str) -> str:
        """Return the address of a name. Raises Failed."""

    def _first(self, statement: Builtin, scope: Scope, name: str = "value", position: int = 0) -> Value:
        """Return the value of a parameter that is given by name or by position; nothing where it is not."""
        if name in statement.arguments:
            return self._value(statement.arguments[name], scope)
        return self._value(statement.unnamed[position], scope) if position < len(statement.unnamed) else None

    def _do_put(self, statement: Builtin, scope: Scope) -> Value:
        value = self._first(statement, scope, "message")
        self.output.append(as_text(value))
        return value

    def _do_log(self, statement: Builtin, scope: Scope) -> Value:
        return self._say(
            as_text(self._first(statement, scope, "topics")), as_text(self._first(statement, scope, "message", 1))
        )

    def _named(self, statement: Builtin) -> str:
        named = statement.arguments.get("name") or (statement.unnamed[0] if statement.unnamed else None)
        if not isinstance(named, Literal):
            raise Failed("expected variable name")
        return as_text(named.value)

    def _given(self, statement: Builtin, scope: Scope) -> Value:
        """Return the value that `:local`, `:global` or `:set` gives."""
        if "do" in statement.arguments:
            return self._value(statement.arguments["do"], scope)
        at = 0 if "name" in statement.arguments else 1
        return self._first(statement, scope, "value", at)

    def _do_local(self, statement: Builtin, scope: Scope) -> Value:
        scope.cells[self._named(statement)] = [self._given(statement, scope)]
        return None

    def _do_global(self, statement: Builtin, scope: Scope) -> Value:
        name = self._named(statement)
        cell = self._globals.setdefault(name, [None])
        if len(statement.unnamed) > 1 or {"value", "do"} & set(statement.arguments):
            cell[0] = self._given(statement, scope)
        scope.cells[name] = cell
        return None

    def _do_set(self, statement: Builtin, scope: Scope) -> Value:
        target = statement.unnamed[0] if statement.unnamed else None
        if isinstance(target, Binary) and target.operator == "->":
            array = self._value(target.left, scope)
            key = self._value(target.right, scope)
            value = self._given(statement, scope)
            if isinstance(array, dict):
                array[as_text(key)] = value
            elif isinstance(array, list) and (at := as_number(key)) is not None and 0 <= at <= len(array):
                array[at : at + 1] = [value]
            else:
                raise BadOperation("cannot set an item of what is no array")
            return None
        name = self._named(statement)
        cell = scope.cell(name)
        if cell is None:
            raise Failed(f"variable {name} is not declared")
        cell[0] = self._given(statement, scope)
        return None

    def _do_if(self, statement: Builtin, scope: Scope) -> Value:
        met = is_met(self._first(statement, scope, "condition"))
        return self._block(statement.arguments.get("do" if met else "else"), scope)

    def _do_do(self, statement: Builtin, scope: Scope) -> Value:
        body = statement.arguments.get("command") or (statement.unnamed[0] if statement.unnamed else None)
        again = statement.arguments.get("while")
        value: Value = None
        try:
            for _ in range(_MOST_ROUNDS):
                value = self._block(body, scope)
                if again is None or not is_met(self._value(again, scope)):
                    return value
            raise Failed("interrupted")
        except (Failed, BadOperation):
            if "on-error" not in statement.arguments:
                raise
            return self._block(statement.arguments["on-error"], scope)

    def _do_onerror(self, statement: Builtin, scope: Scope) -> Value:
        """`:onerror name in={…} do={…}`: false when all went well, else true."""
        try:
            self._block(statement.arguments.get("in"), scope)
        except (Failed, BadOperation) as problem:
            inner = Scope(scope)
            inner.cells[self._named(Builtin(0, "local", unnamed=statement.unnamed))] = [str(problem)]
            self._block(statement.arguments.get("do"), inner)
            return True
        return False

    def _do_foreach(self, statement: Builtin, scope: Scope) -> Value:
        names = as_text(self._first(statement, scope, "counter")).split(",")
        array = self._first(statement, scope, "in", 1)
        pairs: list[tuple[Value, Value]]
        if isinstance(array, dict):
            pairs = list(array.items())
        elif isinstance(array, list):
            pairs = list(enumerate(array))
        else:
            pairs = [] if array is None else [(0, array)]
        for key, value in pairs:
            inner = Scope(scope)
            inner.cells[names[-1]] = [value]
            if len(names) > 1:
                inner.cells[names[0]] = [key]
            self._block(statement.arguments.get("do"), inner)
        return None

    def _do_for(self, statement: Builtin, scope: Scope) -> Value:
        name = as_text(self._first(statement, scope, "counter"))
        first, last = (as_number(self._first(statement, scope, each, 9)) for each in ("from", "to"))
        if first is None or last is None:
            raise Failed("invalid value for argument from")
        step = as_number(self._first(statement, scope, "step", 9)) or (1 if first <= last else -1)
        for number in itertools.islice(range(first, last + (1 if step > 0 else -1), step), _MOST_ROUNDS):
            inner = Scope(scope)
            inner.cells[name] = [number]
            self._block(statement.arguments.get("do"), inner)
        return None

    def _do_while(self, statement: Builtin, scope: Scope) -> Value:
        for _ in range(_MOST_ROUNDS):
            if not is_met(self._first(statement, scope, "condition")):
                return None
            self._block(statement.arguments.get("do"), scope)
        raise Failed("interrupted")

    def _do_error(self, statement: Builtin, scope: Scope) -> Value:
        raise Failed(as_text(self._first(statement, scope, "message")))

    def _do_return(self, statement: Builtin, scope: Scope) -> Value:
        raise Returned(self._first(statement, scope))

    def _do_delay(self, statement: Builtin, scope: Scope) -> Value:
        self._first(statement, scope, "delay-time")
        return None

    def _do_len(self, statement: Builtin, scope: Scope) -> Value:
        return length(self._first(statement, scope))

    def _do_tostr(self, statement: Builtin, scope: Scope) -> Value:
        return as_text(self._first(statement, scope))

    def _do_tonum(self, statement: Builtin, scope: Scope) -> Value:
        return as_number(self._first(statement, scope))

    def _do_tobool(self, statement: Builtin, scope: Scope) -> Value:
        return as_bool(self._first(statement, scope))

    def _do_toarray(self, statement: Builtin, scope: Scope) -> Value:
        return to_array(self._first(statement, scope))

    def _do_toid(self, statement: Builtin, scope: Scope) -> Value:
        return as_text(self._first(statement, scope))

    _do_toip = _do_totime = _do_toid

    def _do_typeof(self, statement: Builtin, scope: Scope) -> Value:
        return type_of(self._first(statement, scope))

    def _do_pick(self, statement: Builtin, scope: Scope) -> Value:
        whole = self._first(statement, scope, "counter")
        begin = as_number(self._first(statement, scope, "begin", 1)) or 0
        end = as_number(self._first(statement, scope, "end", 2))
        if isinstance(whole, list):
            return whole[begin:end] if end is not None else item(whole, begin)
        return as_text(whole)[begin : begin + 1 if end is None else end]

    def _do_find(self, statement: Builtin, scope: Scope) -> Value:
        whole, part = self._first(statement, scope, "in"), self._first(statement, scope, "value", 1)
        begin = (as_number(self._first(statement, scope, "begin", 2)) or -1) + 1
        if isinstance(whole, list):
            return next((at for at in range(begin, len(whole)) if equal(whole[at], part)), None)
        at = as_text(whole).find(as_text(part), begin)
        return None if at < 0 else at

    def _do_resolve(self, statement: Builtin, scope: Scope) -> Value:
        return self._resolve(as_text(self._first(statement, scope, "domain-name")))

    def _do_parse(self, statement: Builtin, scope: Scope) -> Value:
        return self._parse(as_text(self._first(statement, scope)))

    def _do_execute(self, statement: Builtin, scope: Scope) -> Value:
        """Run text as a job of its own, whose failure nobody hears of."""
        try:
            self._run_all(self._parse(as_text(self._first(statement, scope, "script"))).statements, Scope())
        except (Failed, BadOperation, Returned):
            return None
        return None

    def _do_nothing(self, statement: Builtin, scope: Scope) -> Value:
        return None
