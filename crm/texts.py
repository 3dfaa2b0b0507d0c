"""Texts that people write with variables in braces: checked when they are saved, filled in when they are sent.

A variable is a bare name of a list. Nothing is evaluated: no attributes, no formats, and what is filled in is not
looked at again, so a subscriber who is called `{amount}` is called that in the message.
"""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What a message says; variables stand in braces. Channels without subjects use the body alone."""

    subject: str
    body: str


class BadText(Exception):
    """A text that cannot be filled in; `variable` is the one that does not exist, empty where braces do not pair.

    `line` counts from one.
    """

    def __init__(self, variable: str, line: int = 1) -> None:
        super().__init__(variable)
        self.variable = variable
        self.line = line


def check_text(text: str, variables: Iterable[str]) -> None:
    """Raise BadText where a text names a variable that does not exist, or its braces do not pair."""
    known = set(variables)
    for line, part in enumerate(text.split("\n"), 1):
        try:
            parts = list(string.Formatter().parse(part))
        except ValueError:
            raise BadText("", line) from None
        for _literal, name, spec, conversion in parts:
            if name is not None and (name not in known or spec or conversion):
                raise BadText(name, line)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its variables filled in. Raises BadText."""
    check_text(text, values)
    return text.format_map(values).strip()


def one_line(text: str) -> str:
    """Return a value without line breaks and other characters that do not print."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
