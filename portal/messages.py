"""Messages that appear after a step: what was done, and where it can be undone, the button that undoes it."""

from typing import Any

from flask import flash


def done(text: str, undo: str | None = None, **fields: Any) -> None:
    """Say that a step is done. `undo` is the address that a click on Undo posts to, with hidden `fields`."""
    _say("success", text, undo, fields)


def warn(text: str) -> None:
    """Say something that the person should act on."""
    _say("warning", text)


def refuse(text: str) -> None:
    """Say that nothing was done, and why."""
    _say("danger", text)


def _say(category: str, text: str, undo: str | None = None, fields: Any = None) -> None:
    message: Any = {"text": text, "undo": undo, "fields": fields or {}}
    flash(message, category)
