"""The audit log has words for all that is written into it, in the code as it stands."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from portal.audit_actions import ACTIONS
from portal.audit_fields import FIELDS
from portal.staff.audit import ENTITIES

ROOT = Path(__file__).parents[2]
PACKAGES = ("aaa", "billing", "core", "crm", "network", "portal", "radius", "worker")


@cache
def functions() -> list[tuple[str, ast.AST]]:
    """Return the functions of the modules that write into the log."""
    found: list[tuple[str, ast.AST]] = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source = path.read_text()
            if "record(" in source:
                nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
                found += ((f"{path.relative_to(ROOT)}", node) for node in nodes)
    return found


def records(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of db.audit.record(session, actor, action, entity, id, before, after) inside a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "record":
            yield node


def test_every_action_has_words():
    found = {
        call.args[2].value: where
        for where, function in functions()
        for call in records(function)
        if isinstance(call.args[2], ast.Constant)
    }
    assert len(found) > 150
    assert {action: where for action, where in found.items() if action not in ACTIONS} == {}


def test_every_kind_of_thing_has_words():
    found = {
        call.args[3].value: where
        for where, function in functions()
        for call in records(function)
        if isinstance(call.args[3], ast.Constant)
    }
    assert len(found) > 40
    assert {kind: where for kind, where in found.items() if kind not in ENTITIES} == {}


def test_every_field_has_a_name():
    found = {}
    for where, function in functions():
        kept = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in records(function):
            for given in call.args[5:]:
                noted = kept.get(given.id) if isinstance(given, ast.Name) else given
                if isinstance(noted, ast.Dict):
                    found |= {key.value: where for key in noted.keys if isinstance(key, ast.Constant)}
    assert len(found) > 150
    assert {name: where for name, where in found.items() if name not in FIELDS} == {}
