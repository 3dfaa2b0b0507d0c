"""The tables of an existing FreeRADIUS: daloRADIUS, phpNuxBill, or rlm_sql alone.

They come as an SQL dump (mysqldump, phpMyAdmin, pg_dump) or as a CSV file for each table. Nothing of a dump is
executed: its INSERT and COPY statements are read as text.
"""

import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from aaa.facts import AccessMethod
from core.mac import find_mac
from core.rates import RateLimit
from network.importing.candidate import (
    Candidate,
    Finding,
    Findings,
    bits,
    name_of_login,
    one_line,
    router_rate,
    told_by,
)
from network.importing.sources.csv_file import day_in, fixed_address, take_apart

Table = list[tuple[int, dict[str, str]]]
"""Rows with the line of the file each stands at."""

CLEAR = ("cleartext-password", "user-password")
HASHED = (
    "crypt-password",
    "md5-password",
    "nt-password",
    "sha-password",
    "sha1-password",
    "smd5-password",
    "ssha-password",
)
TABLES = frozenset(
    {
        "radcheck", "radreply", "radgroupreply", "radgroupcheck", "radusergroup", "usergroup", "userinfo",
        "userbillinfo", "tbl_customers", "tbl_user_recharges", "tbl_plans", "tbl_bandwidth",
    }
)  # fmt: skip
_LAYOUT: Mapping[str, tuple[str, ...]] = {
    "radcheck": ("id", "username", "attribute", "op", "value"),
    "radreply": ("id", "username", "attribute", "op", "value"),
    "radgroupreply": ("id", "groupname", "attribute", "op", "value"),
    "radgroupcheck": ("id", "groupname", "attribute", "op", "value"),
}
_PHONES = ("mobilephone", "homephone", "workphone", "phone", "phonenumber")


def candidates(files: Mapping[str, str]) -> list[Candidate]:
    """Return the users of a dump, or of CSV files named after their tables (`radcheck.csv`)."""
    tables = read_tables(files)
    if tables["tbl_customers"]:
        return renumbered(_of_phpnuxbill(tables))
    return renumbered(_of_rlm_sql(tables))


def read_tables(files: Mapping[str, str]) -> dict[str, Table]:
    tables: dict[str, Table] = defaultdict(list)
    for name, text in files.items():
        stem = re.sub(r"\.[^.]*\Z", "", name.rsplit("/", 1)[-1]).lower()
        known = next((table for table in TABLES if stem == table or stem.endswith(f"_{table}")), None)
        if known and not re.search(r"^(?:INSERT INTO|COPY) ", text, re.MULTILINE | re.IGNORECASE):
            file = take_apart(text)
            titles = [title.lower() for title in file.titles]
            tables[known] += [(line, dict(zip(titles, row, strict=False))) for line, row in file.rows]
        else:
            for table, line, row in statements(text):
                if table in TABLES:
                    tables[table].append((line, row))
    return tables


_STATEMENT = re.compile(
    r"^\s*(?:INSERT\s+(?:IGNORE\s+)?INTO|CREATE\s+TABLE(?:\s+IF\s+NOT\s+EXISTS)?|COPY)\s+([^\s(]+)", re.IGNORECASE
)


def statements(text: str) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield (table, line, row) for each row that a dump would insert. NULL is an empty text."""
    columns: dict[str, tuple[str, ...]] = dict(_LAYOUT)
    position, line, counted = 0, 1, 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        found = _STATEMENT.match(text[position:end])
        if not found:
            position = end + 1
            continue
        line += text.count("\n", counted, position)
        counted = position
        table = found[1].strip('`"').rsplit(".", 1)[-1].strip('`"').lower()
        verb = text[position:end].lstrip()[:4].upper()
        begin = position + found.end()
        if verb == "COPY":
            position = yield from _copied(text, table, position, end, line, columns)
        elif verb == "CREA":
            stop = _end_of(text, begin)
            names = re.findall(r'^\s*[`"]?([A-Za-z_][A-Za-z0-9_]*)[`"]?\s+[a-z]', text[begin:stop], re.MULTILINE)
            kept = [name.lower() for name in names if name.upper() not in _NO_COLUMN]
            if kept:
                columns[table] = tuple(kept)
            position = stop + 1
        else:
            position = yield from _inserted(text, table, begin, line, columns)


_NO_COLUMN = frozenset({"PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "FULLTEXT", "FOREIGN"})


def _copied(
    text: str, table: str, begin: int, end: int, line: int, columns: Mapping[str, tuple[str, ...]]
) -> Generator[tuple[str, int, dict[str, str]], None, int]:
    """Read the rows of pg_dump's COPY … FROM stdin, up to `\\.`; returns where it ends."""
    listed = re.search(r"\(([^)]*)\)", text[begin:end])
    names = _names(listed[1]) if listed else columns.get(table, ())
    position = end + 1
    while position < len(text):
        stop = text.find("\n", position)
        stop = len(text) if stop < 0 else stop
        line += 1
        row = text[position:stop].rstrip("\r")
        position = stop + 1
        if row == "\\.":
            break
        values = ["" if value == "\\N" else _unescaped(value) for value in row.split("\t")]
        yield table, line, dict(zip(names, values, strict=False))
    return position


def _inserted(
    text: str, table: str, position: int, line: int, columns: Mapping[str, tuple[str, ...]]
) -> Generator[tuple[str, int, dict[str, str]], None, int]:
    """Read the tuples of an INSERT; returns where it ends."""
    listed = re.compile(r"\s*\(([^()]*)\)\s*VALUES\s*", re.IGNORECASE).match(text, position)
    plain = re.compile(r"\s*VALUES\s*", re.IGNORECASE).match(text, position)
    names = _names(listed[1]) if listed else columns.get(table, ())
    begun = listed or plain
    if begun is None:
        return _end_of(text, position) + 1
    counted, position = position, begun.end()
    while position < len(text) and text[position] == "(":
        line += text.count("\n", counted, position)
        counted = position
        values, position = _tuple(text, position + 1)
        yield table, line, dict(zip(names, values, strict=False))
        while position < len(text) and text[position] in ", \r\n\t":
            position += 1
    stop = text.find("\n", position)
    return len(text) if stop < 0 else stop + 1


_VALUE = re.compile(r"'((?:[^'\\]|\\.|'')*)'|([^,()']+)", re.DOTALL)


def _tuple(text: str, position: int) -> tuple[list[str], int]:
    """Return the values of one tuple and the position behind its bracket."""
    values: list[str] = []
    while position < len(text) and text[position] != ")":
        if text[position] in ", \r\n\t":
            position += 1
            continue
        found = _VALUE.match(text, position)
        if not found:
            break
        quoted, bare = found.groups()
        if quoted is not None:
            values.append(_unescaped(quoted.replace("''", "'")))
        else:
            values.append("" if bare.strip().upper() == "NULL" else bare.strip())
        position = found.end()
    return values, position + 1


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": ""}


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip().strip('`"').lower() for name in listed.split(","))


def _end_of(text: str, position: int) -> int:
    end = text.find(";", position)
    return len(text) if end < 0 else end


# rlm_sql and daloRADIUS.


def _of_rlm_sql(tables: Mapping[str, Table]) -> list[Candidate]:
    replies: dict[str, dict[str, str]] = defaultdict(dict)
    for _line, row in tables["radreply"]:
        replies[row.get("username", "")][row.get("attribute", "").lower()] = row.get("value", "")
    group_replies: dict[str, dict[str, str]] = defaultdict(dict)
    for _line, row in tables["radgroupreply"]:
        group_replies[row.get("groupname", "")][row.get("attribute", "").lower()] = row.get("value", "")
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for _line, row in [*tables["radusergroup"], *tables["usergroup"]]:
        priority = row.get("priority", "")
        groups[row.get("username", "")].append((int(priority) if priority.isdigit() else 1, row.get("groupname", "")))
    people = {row.get("username", ""): row for _line, row in tables["userinfo"]}
    checks: dict[str, dict[str, str]] = defaultdict(dict)
    lines: dict[str, int] = {}
    for line, row in tables["radcheck"]:
        name = row.get("username", "")
        lines.setdefault(name, line)
        checks[name][row.get("attribute", "").lower()] = row.get("value", "")
    found = []
    for name, line in lines.items():
        sorted_groups = [group for _priority, group in sorted(groups[name])]
        group = next(
            (one for one in sorted_groups if group_replies.get(one)), sorted_groups[0] if sorted_groups else ""
        )
        found.append(_user(line, name, checks[name], replies[name], group, group_replies[group], people.get(name, {})))
    return found


def _user(
    line: int,
    name: str,
    check: Mapping[str, str],
    reply: Mapping[str, str],
    group: str,
    group_reply: Mapping[str, str],
    person: Mapping[str, str],
) -> Candidate:
    password = next((check[attribute] for attribute in CLEAR if check.get(attribute)), None)
    hashed = next((attribute for attribute in HASHED if check.get(attribute)), None)
    mac = find_mac(name)
    by_mac = mac is not None and (password is None or find_mac(password) == mac)
    findings: Findings = ()
    if password is None and not by_mac:
        findings = ((Finding.HASHED_PASSWORD, {"attribute": hashed}),) if hashed else ((Finding.NO_PASSWORD, {}),)
    disabled = check.get("auth-type", "").lower() == "reject" or group.lower() in (
        "disabled",
        "daloradius-disabled-users",
    )
    if disabled:
        findings += ((Finding.DISABLED, {}),)
    framed_ip, bad = fixed_address(reply.get("framed-ip-address", ""), needed=False)
    paid_until, _ = day_in(check.get("expiration", ""))
    notes = person.get("notes", "")
    told = told_by(notes)
    called = one_line(f"{person.get('firstname', '')} {person.get('lastname', '')}") or one_line(
        person.get("company", "")
    )
    home = ", ".join(one_line(person[part]) for part in ("address", "city") if person.get(part))
    return Candidate(
        line=line,
        access_method=AccessMethod.MAC if by_mac else AccessMethod.PPPOE,
        name=(mac or name) if by_mac else name,
        key=one_line(name),
        password=None if by_mac else password,
        framed_ip=framed_ip,
        mac=mac if by_mac else find_mac(check.get("calling-station-id", "")),
        rate=router_rate(reply.get("mikrotik-rate-limit", "") or group_reply.get("mikrotik-rate-limit", "")),
        profile=one_line(group),
        comment=notes,
        disabled=disabled,
        subscriber=called or told.name or name_of_login(one_line(name)),
        phone=next((one_line(person[field]) for field in _PHONES if person.get(field)), told.phone),
        email=one_line(person.get("email", "")) or told.email,
        address=home or None,
        latitude=told.latitude,
        longitude=told.longitude,
        paid_until=paid_until,
        findings=findings + bad,
    )


# phpNuxBill.


def _of_phpnuxbill(tables: Mapping[str, Table]) -> list[Candidate]:
    bandwidths = {row.get("id", ""): _bandwidth(row) for _line, row in tables["tbl_bandwidth"]}
    plans = {row.get("id", ""): row for _line, row in tables["tbl_plans"]}
    recharges: dict[str, dict[str, str]] = {}
    for _line, row in tables["tbl_user_recharges"]:
        recharges[row.get("username", "")] = row  # the last is the one in force
    found = []
    for line, row in tables["tbl_customers"]:
        recharge = recharges.get(row.get("username", ""), {})
        plan = plans.get(recharge.get("plan_id", ""), {})
        found.append(_customer(line, row, recharge, plan, bandwidths.get(plan.get("id_bw", ""))))
    return found


def _customer(
    line: int, row: Mapping[str, str], recharge: Mapping[str, str], plan: Mapping[str, str], rate: RateLimit | None
) -> Candidate:
    name = row.get("pppoe_username") or row.get("username", "")
    password = row.get("pppoe_password") or row.get("password") or None
    findings: Findings = ()
    if password is None:
        findings = ((Finding.NO_PASSWORD, {}),)
    elif re.fullmatch(r"\$2[aby]\$.{56}|[0-9a-f]{40}", password):
        password, findings = None, ((Finding.HASHED_PASSWORD, {"attribute": "password"}),)
    disabled = row.get("status", "Active").lower() not in ("active", "")
    if disabled:
        findings += ((Finding.DISABLED, {}),)
    framed_ip, bad = fixed_address(row.get("pppoe_ip", ""), needed=False)
    position = told_by(row.get("coordinates", ""))
    hotspot = (row.get("service_type") or recharge.get("type", "")).lower() == "hotspot"
    home = ", ".join(one_line(row[part]) for part in ("address", "city") if row.get(part))
    return Candidate(
        line=line,
        access_method=AccessMethod.HOTSPOT if hotspot else AccessMethod.PPPOE,
        name=name,
        key=one_line(name),
        password=password,
        framed_ip=framed_ip,
        rate=rate,
        profile=one_line(recharge.get("namebp") or plan.get("name_plan", "")),
        disabled=disabled,
        subscriber=one_line(row.get("fullname", "")) or name_of_login(one_line(name)),
        phone=one_line(row.get("phonenumber", "")) or None,
        email=one_line(row.get("email", "")) or None,
        address=home or None,
        latitude=position.latitude,
        longitude=position.longitude,
        paid_until=_iso(recharge.get("expiration", "")),
        findings=findings + bad,
    )


def _iso(text: str) -> date | None:
    return day_in(text)[0]


def _bandwidth(row: Mapping[str, str]) -> RateLimit | None:
    download = bits(row.get("rate_down", ""), row.get("rate_down_unit", "M")[:1] or "M")
    upload = bits(row.get("rate_up", ""), row.get("rate_up_unit", "M")[:1] or "M")
    return RateLimit(download, upload) if download and upload else None


def renumbered(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates whose lines differ, as rows of one import must. A dump may hold thousands on one line."""
    used: set[int] = set()
    free: dict[int, int] = {}  # behind a line, the first that may still be free
    kept = []
    for candidate in found:
        line = free.get(candidate.line, candidate.line)
        while line in used:
            line += 1
        used.add(line)
        free[candidate.line] = line + 1
        kept.append(candidate if line == candidate.line else replace(candidate, line=line))
    return kept
