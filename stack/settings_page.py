"""The page of settings, written from the settings class so that it cannot say anything else."""

import types
from typing import Any, get_args

from pydantic_core import PydanticUndefined

from core.settings import Settings

_HEAD = """\
# Settings

Portico reads its settings from the environment. This page is what `portico settings` prints; do not edit it by hand.
A setting that is empty counts as unset. A value that cannot be used stops the start with one line that names it.

The secrets that are unset are made at the first start and kept in `secrets.env` in the data directory.
"""


def settings_page() -> str:
    """Return the page as Markdown."""
    sections = [_HEAD]
    for name, field in Settings.model_fields.items():
        lines = [f"## PORTICO_{name.upper()}", "", field.description or "", ""]
        lines.append(f"{_kind(field.annotation, field.metadata)} {_default(field.default)}")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _default(default: object) -> str:
    if default is None or default is PydanticUndefined:
        return "Unset by default."
    if isinstance(default, bool):
        return f"Default: `{str(default).lower()}`."
    return f"Default: `{default}`."


def _kind(annotation: Any, metadata: list[Any]) -> str:
    if isinstance(annotation, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    choices = get_args(annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if annotation is bool:
        return "`true` or `false`."
    if annotation is int:
        limits = {key: getattr(part, key) for part in _flat(metadata) for key in ("ge", "le") if hasattr(part, key)}
        return f"A whole number from {limits['ge']} to {limits['le']}." if len(limits) == 2 else "A whole number."
    return {"Path": "A path.", "SecretStr": "A secret."}.get(getattr(annotation, "__name__", ""), "Text.")


def _flat(metadata: list[Any]) -> list[Any]:
    """Return the constraints; pydantic wraps those of a reused Annotated type in a field of their own."""
    return [inner for part in metadata for inner in (getattr(part, "metadata", None) or [part])]
