"""What commands say to whoever typed them, in the language of the terminal.

Help, answers and refusals are translated, click's own words too. Logs, the lines of `portico doctor` and documents for
programs (JSON) are not: they are searched for, and copied into a question.
"""

import os

from core.i18n import LANGUAGES, N_, translator

CLICKS = (
    "Usage:", "Options", "Commands", "Show this message and exit.", "default: {default}", "Aborted!", "required",
    "Error: {message}", "Try '{command} {option}' for help.", "No such command {name!r}.", "No such option {name!r}.",
    "Missing argument", "Missing option", "Missing parameter", "Missing command.", "Invalid value: {message}",
    "Invalid value for {param_hint}: {message}", "{value!r} is not a valid {number_type}.",
    "{value} is not in the range {range}.", "{name} {filename!r} does not exist.", "{name} {filename!r} is a file.",
    "file", "directory", "path", "Option {name!r} does not take a value.", "Repeat for confirmation",
    "Error: The two entered values do not match.",
)  # fmt: skip
"""What click says itself: on each page of help, and to who mistyped."""

CLICKS_PLURALS = (
    ("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    ("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
)


def terminal_language() -> str:
    """Return the language that the environment asks for, where it is one of ours; else English."""
    asked = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return asked[:2] if asked[:2] in LANGUAGES else "en"


def told(text: str, **values: object) -> str:
    """Return a text in the language of the terminal, with its values filled in."""
    return translator(terminal_language())(text) % values


__all__ = ["CLICKS", "CLICKS_PLURALS", "N_", "terminal_language", "told"]
