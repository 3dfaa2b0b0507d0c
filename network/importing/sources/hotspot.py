"""Users of a router's hotspot: from its API, or from the text of `/ip hotspot user export`, as Mikhmon leaves them.

Mikhmon keeps its books in comments: `vc-…` is a ticket whose password is its user name, `up-…` a user with a password
of its own, and once somebody has logged in, the comment is the instant at which the time is over. Users go on working:
a hotspot, too, asks RADIUS only for names that it has no user of its own for.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from aaa.facts import AccessMethod
from core.mac import find_mac
from network.api import RouterApi
from network.importing.candidate import Candidate, Finding, Findings, name_of_login, one_line, router_rate, told_by
from network.importing.sources.csv_file import fixed_address
from network.importing.sources.queues import rate_or_told, said, text_findings
from network.importing.sources.secrets import masked
from network.importing.sources.user_manager import commands

USERS, PROFILES = "/ip/hotspot/user", "/ip/hotspot/user/profile"
FIELDS = ("name", "password", "profile", "address", "mac-address", "disabled", "comment")
TRIAL = "default-trial"
"""The user that RouterOS makes itself, to count those who try the hotspot."""

_LEDGER = re.compile(r"(?:vc|up)-")
_OVER = re.compile(r"(\d{4}-\d{2}-\d{2}|[a-z]{3}/\d{2}/\d{4}) \d{2}:\d{2}:\d{2}\b", re.IGNORECASE)


def read(api: RouterApi) -> list[Candidate]:
    """Return the users of a router's hotspot. Raises RouterProblem."""
    profiles = api.rows(PROFILES, "name", "rate-limit")
    return candidates(api.rows(USERS, *FIELDS), profiles)


def is_export(text: str) -> bool:
    """Tell whether a text is a RouterOS export that holds users of a hotspot."""
    return re.search(r"^/ip[ /]hotspot[ /]user\s*(?:add\b.*)?$", text, re.MULTILINE) is not None


def from_export(text: str) -> list[Candidate]:
    """Return the users of an export, each with the line at which it begins."""
    users: list[tuple[int, Mapping[str, str]]] = []
    profiles: list[Mapping[str, str]] = []
    for command in commands(text):
        menu = command.menu.replace("/", " ")
        if menu == "ip hotspot user":
            users.append((command.line, command.arguments))
        elif menu == "ip hotspot user profile":
            profiles.append(command.arguments)
    return _all(users, profiles)


def candidates(rows: Iterable[Mapping[str, str]], profiles: Iterable[Mapping[str, str]]) -> list[Candidate]:
    return _all(list(enumerate(rows, 1)), profiles)


def expiry(comment: str) -> date | None:
    """Return the day at which Mikhmon ends a user, or None where the comment is something else."""
    found = _OVER.match(comment.strip())
    if found is None:
        return None
    for form in ("%Y-%m-%d", "%b/%d/%Y"):
        try:
            return datetime.strptime(found[1].title(), form).date()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None


def _all(rows: list[tuple[int, Mapping[str, str]]], profiles: Iterable[Mapping[str, str]]) -> list[Candidate]:
    rows = [(line, row) for line, row in rows if row.get("name") != TRIAL]
    rates = {profile.get("name", ""): router_rate(profile.get("rate-limit", "")) for profile in profiles}
    hidden = bool(rows) and all(masked(row.get("password")) for _line, row in rows)
    return [_candidate(line, row, rates, hidden) for line, row in rows]


def _candidate(line: int, row: Mapping[str, str], rates: Mapping[str, object], hidden: bool) -> Candidate:
    name, comment, profile = row.get("name", ""), row.get("comment", ""), row.get("profile", "default")
    password = row.get("password") or None
    findings: Findings = ()
    if not name:
        findings += ((Finding.NO_NAME, {}),)
    if hidden or masked(password):
        password, findings = None, (*findings, (Finding.MASKED_PASSWORD, {}))
    elif password is None:
        findings += ((Finding.NO_PASSWORD, {}),)
    disabled = said(row, "disabled")
    if disabled:
        findings += ((Finding.DISABLED, {}),)
    framed_ip, found = fixed_address(row.get("address", "").replace("0.0.0.0", ""), needed=False)  # noqa: S104
    # What Mikhmon keeps in a comment is no name, telephone or rate, though it may look like one.
    ledger = _LEDGER.match(comment) is not None or expiry(comment) is not None
    told = told_by("" if ledger else comment)
    rate, guessed = rate_or_told(rates.get(profile), profile, "" if ledger else comment)  # type: ignore[arg-type]
    return Candidate(
        line=line,
        access_method=AccessMethod.HOTSPOT,
        name=name,
        key=one_line(name),
        password=password,
        framed_ip=framed_ip,
        mac=find_mac(row.get("mac-address", "")),
        rate=rate,
        profile=one_line(profile),
        comment=comment,
        disabled=disabled,
        subscriber=told.name or name_of_login(one_line(name)),
        phone=told.phone,
        email=told.email,
        latitude=told.latitude,
        longitude=told.longitude,
        paid_until=expiry(comment),
        findings=findings + found + guessed + text_findings(row, "name", "comment", "password"),
    )
