"""RouterOS's script language, written: texts that stay texts, and statements that may be run twice.

Whatever comes from a person or a router stands in a quoted string, in which `$` would begin a variable or a command
and `"` end it; so everything but plain letters, digits and harmless signs is written as its octets in hexadecimal.
Each statement is one line: in a terminal a variable lives no longer than its line, and a block that is pasted with
line breaks falls apart at its first mistake.
"""

from collections.abc import Mapping

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;/_+=@^()<>-*!#%&'|~{}[]")


def quoted(text: str) -> str:
    """Return a text as a string of RouterOS. Its octets are UTF-8's."""
    written = "".join(chr(octet) if octet in _PLAIN else f"\\{octet:02X}" for octet in text.encode())
    return f'"{written}"'


def fields(values: Mapping[str, str]) -> str:
    """Return `name=value …`; the values are RouterOS source, so texts come quoted."""
    return " ".join(f"{name}={value}" for name, value in values.items())


def find(path: str, condition: str) -> str:
    return f"[{path} find {condition}]"


def ensure(path: str, condition: str, values: Mapping[str, str], fixed: Mapping[str, str] | None = None) -> str:
    """Return the line that adds a row, or changes the one that is there; `fixed` is given when it is added only."""
    added = fields({**values, **(fixed or {})})
    there = find(path, condition)
    return f":if ([:len {there}] = 0) do={{{path} add {added}}} else={{{path} set {there} {fields(values)}}}"


def remove(path: str, condition: str) -> str:
    return f"{path} remove {find(path, condition)}"


def put_first(path: str, condition: str, rows: list[Mapping[str, str]]) -> str:
    """Return the line that replaces rows by these, in front of every rule that is not the router's own.

    Rows are moved rather than added in place: `place-before` fails on an empty list, and in front of the rules that
    RouterOS makes itself.
    """
    adds = "; ".join(f"{path} add {fields(row)}" for row in rows)
    move = f"{path} move {find(path, condition)} destination=[:pick $rules 0]"
    return (
        f":do {{{remove(path, condition)}; :local rules {find(path, '!dynamic')}; {adds};"
        f" :if ([:len $rules] > 0) do={{{move}}}}}"
    )


def say(text: str) -> str:
    """Return the statements that tell who runs the script something, and leave it in the log."""
    return f":put {quoted(text)}; :log info {quoted(text)}"


def say_if(condition: str, text: str) -> str:
    """Return the line that says something where a condition holds; where it cannot be asked, nothing is said."""
    return f":do {{:if ({condition}) do={{{say(text)}}}}} on-error={{}}"


def comment(text: str) -> str:
    """Return a line that RouterOS passes over, whatever stands in the text."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return f"# {shown}"
