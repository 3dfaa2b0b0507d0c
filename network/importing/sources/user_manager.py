"""MikroTik User Manager: the text of its `export`, of RouterOS 6 (`/tool user-manager`) and 7 (`/user-manager`).

A user's rate stands three tables away: the user has a profile, the profile has limitations, a limitation has rates.
RouterOS names them from its own side, so `rate-limit-rx` is what the subscriber sends.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aaa.facts import AccessMethod
from core.mac import find_mac
from core.rates import RateLimit
from network.importing.candidate import Candidate, Finding, Findings, bits, name_of_login, one_line, told_by
from network.importing.sources.csv_file import fixed_address


@dataclass(frozen=True, slots=True)
class Command:
    """One `add` of an export: its menu, its arguments, and the line it begins at."""

    line: int
    menu: str
    arguments: Mapping[str, str]


@dataclass(slots=True)
class _Tables:
    users: list[Command] = field(default_factory=list)
    profiles_of: dict[str, str] = field(default_factory=dict)  # user: profile, the last given
    limitations_of: dict[str, list[str]] = field(default_factory=dict)  # profile: limitations
    limitations: dict[str, RateLimit] = field(default_factory=dict)


def is_export(text: str) -> bool:
    """Tell whether a text is a RouterOS export that holds User Manager's users."""
    return re.search(r"^/(?:tool )?user-manager\b", text, re.MULTILINE) is not None


def candidates(text: str) -> list[Candidate]:
    """Return the users of an export."""
    tables = _Tables()
    for command in commands(text):
        _sort_in(tables, command)
    return [_candidate(user, tables) for user in tables.users]


def commands(text: str) -> Iterator[Command]:
    """Yield the `add` commands of an export, whichever way its menus and line breaks are written."""
    menu = ""
    for line, words in _lines(text):
        if words[0].startswith("/"):
            path = [words[0]]
            while len(words) > len(path) and words[len(path)] not in ("add", "set") and "=" not in words[len(path)]:
                path.append(words[len(path)])
            menu = " ".join(path).lstrip("/").replace("/", " ").strip()
            words = words[len(path) :]
        if words[:1] == ["add"]:
            yield Command(line, menu, dict(_argument(word) for word in words[1:] if "=" in word))


def _argument(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each command and the line it begins at; a backslash at a line's end continues it."""
    joined = ""
    begun = 1
    for number, raw in enumerate(text.splitlines(), 1):
        if not joined:
            begun = number
        part = raw.lstrip() if joined else raw
        if part.rstrip().endswith("\\") and not part.rstrip().endswith("\\\\"):
            joined += part.rstrip()[:-1]
            continue
        joined += part
        if joined.strip() and not joined.lstrip().startswith("#"):
            words = _words(joined)
            if words:
                yield begun, words
        joined = ""


def _words(line: str) -> list[str]:
    """Split a command as RouterOS does: blanks separate, double quotes hold together, a backslash escapes."""
    words: list[str] = []
    word: list[str] = []
    quoted = begun = False
    position = 0
    octets: list[int] = []

    def flush() -> None:
        if octets:
            data = bytes(octets)
            try:
                word.append(data.decode())
            except UnicodeDecodeError:
                word.append(data.decode("cp1252", errors="replace"))
            octets.clear()

    while position < len(line):
        sign = line[position]
        if sign == "\\" and position + 1 < len(line):
            escaped = line[position + 1 : position + 3]
            if re.fullmatch(r"[0-9A-F]{2}", escaped):
                octets.append(int(escaped, 16))
                position += 3
                begun = True
                continue
            flush()
            word.append({"n": "\n", "r": "\r", "t": "\t", "_": " "}.get(line[position + 1], line[position + 1]))
            position += 2
            begun = True
            continue
        flush()
        if sign == '"':
            quoted, begun = not quoted, True
        elif sign.isspace() and not quoted:
            if begun:
                words.append("".join(word))
            word, begun = [], False
        else:
            word.append(sign)
            begun = True
        position += 1
    flush()
    if begun:
        words.append("".join(word))
    return words


def _sort_in(tables: _Tables, command: Command) -> None:
    menu = command.menu.removeprefix("tool ").removeprefix("user-manager").strip()
    given = command.arguments
    if menu == "user":
        tables.users.append(command)
    elif menu in ("user-profile", "user profile"):
        tables.profiles_of[given.get("user", "")] = given.get("profile", "")
    elif menu in ("profile-limitation", "profile profile-limitation"):
        tables.limitations_of.setdefault(given.get("profile", ""), []).append(given.get("limitation", ""))
    elif menu in ("limitation", "profile limitation"):
        download, upload = bits(given.get("rate-limit-tx", "")), bits(given.get("rate-limit-rx", ""))
        if download and upload:
            tables.limitations[given.get("name", "")] = RateLimit(download, upload)


def _candidate(user: Command, tables: _Tables) -> Candidate:
    given = user.arguments
    name = given.get("name") or given.get("username") or ""
    profile = tables.profiles_of.get(name) or given.get("actual-profile") or given.get("profile") or ""
    rates = [
        tables.limitations[limitation]
        for limitation in tables.limitations_of.get(profile, [])
        if limitation in tables.limitations
    ]
    comment = given.get("comment", "")
    person = f"{given.get('first-name', '')} {given.get('last-name', '')}".strip()
    told = told_by(comment)
    framed_ip, findings = _fixed(given)
    if not name:
        findings += ((Finding.NO_NAME, {}),)
    if not given.get("password"):
        findings += ((Finding.NO_PASSWORD, {}),)
    disabled = given.get("disabled") == "yes"
    if disabled:
        findings += ((Finding.DISABLED, {}),)
    return Candidate(
        line=user.line,
        access_method=AccessMethod.PPPOE,
        name=name,
        key=one_line(name),
        password=given.get("password") or None,
        framed_ip=framed_ip,
        mac=find_mac(given.get("caller-id", "")),
        rate=rates[0] if rates else None,
        profile=one_line(profile),
        comment=comment,
        disabled=disabled,
        subscriber=one_line(person) or told.name or name_of_login(one_line(name)),
        phone=one_line(given.get("phone", "")) or told.phone,
        email=one_line(given.get("email", "")) or told.email,
        address=one_line(given.get("location", "")) or None,
        latitude=told.latitude,
        longitude=told.longitude,
        findings=findings,
    )


def _fixed(given: Mapping[str, str]) -> tuple[str | None, Findings]:
    """Return the address of a user: `ip-address` of RouterOS 6, an attribute of RouterOS 7."""
    address = given.get("ip-address", "")
    if not address and (found := re.search(r"Framed-IP-Address:([0-9.]+)", given.get("attributes", ""))):
        address = found[1]
    return fixed_address(address, needed=False)
