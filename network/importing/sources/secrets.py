"""PPPoE secrets: user name, password, and the rate of their profile.

RouterOS shows passwords only to a user whose group has the policy `sensitive`; to others it sends asterisks or
nothing. A mask is never taken for a password.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from aaa.facts import AccessMethod
from core.mac import find_mac
from core.rates import RateLimit
from network.api import RouterApi
from network.importing.candidate import Candidate, Finding, Findings, name_of_login, one_line, router_rate, told_by
from network.importing.sources.queues import rate_or_told, said, text_findings

FIELDS = (
    "name", "service", "caller-id", "password", "profile", "remote-address", "disabled", "comment",
)  # fmt: skip
PPPOE = ("any", "pppoe", "")


def read(api: RouterApi) -> list[Candidate]:
    """Return the clients among a router's PPP secrets. Raises RouterProblem."""
    profiles = api.rows("/ppp/profile", "name", "rate-limit")
    return candidates(api.rows("/ppp/secret", *FIELDS), profiles)


def candidates(rows: Iterable[Mapping[str, str]], profiles: Iterable[Mapping[str, str]]) -> list[Candidate]:
    rows = list(rows)
    rates = {profile.get("name", ""): router_rate(profile.get("rate-limit", "")) for profile in profiles}
    # A secret may have no password; where none has one, they are being hidden.
    hidden = bool(rows) and all(masked(row.get("password")) or "password" not in row for row in rows)
    return [_candidate(line, row, rates.get(row.get("profile", "")), hidden) for line, row in enumerate(rows, 1)]


def masked(password: str | None) -> bool:
    """Tell whether a value is what RouterOS shows in place of a password."""
    return password is not None and password != "" and set(password) <= {"*"}


def _candidate(line: int, row: Mapping[str, str], rate: RateLimit | None, hidden: bool) -> Candidate:
    name, comment, profile = row.get("name", ""), row.get("comment", ""), row.get("profile", "")
    findings: Findings = ()
    password = row.get("password") or None
    if hidden or masked(password):
        password, findings = None, ((Finding.MASKED_PASSWORD, {}),)
    elif password is None:
        findings = ((Finding.NO_PASSWORD, {}),)
    if row.get("service", "") not in PPPOE:
        findings += ((Finding.OTHER_SERVICE, {"service": one_line(row["service"])}),)
    if said(row, "disabled"):
        findings += ((Finding.DISABLED, {}),)
    rate, guessed = rate_or_told(rate, profile, comment)
    told = told_by(comment)
    return Candidate(
        line=line,
        access_method=AccessMethod.PPPOE,
        name=name,
        key=one_line(name),
        password=password,
        framed_ip=_fixed_address(row.get("remote-address", "")),
        mac=find_mac(row.get("caller-id", "")),
        rate=rate,
        profile=one_line(profile),
        comment=comment,
        disabled=said(row, "disabled"),
        subscriber=told.name or name_of_login(one_line(name)),
        phone=told.phone,
        email=told.email,
        latitude=told.latitude,
        longitude=told.longitude,
        findings=findings + guessed + text_findings(row, "name", "comment", "password"),
    )


def _fixed_address(text: str) -> str | None:
    """Return the address of a secret; None where it names a pool, or nothing."""
    try:
        return str(IPv4Address(text))
    except ValueError:
        return None
