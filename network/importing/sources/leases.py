"""DHCP leases: each device that a router's DHCP server knows is a client told by its MAC address.

A static lease was made by a person, for a subscriber. A dynamic one may be anybody's telephone, so it is left out
unless it is chosen, and then without its address, which belongs to the pool.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from aaa.facts import AccessMethod
from core.mac import find_mac
from network.api import RouterApi
from network.importing.candidate import Candidate, Finding, Findings, one_line, router_rate, told_by
from network.importing.sources.queues import rate_or_told, said, text_findings

FIELDS = (
    "address", "mac-address", "client-id", "server", "rate-limit", "comment", "host-name", "disabled", "dynamic",
    "block-access", "blocked",
)  # fmt: skip


def read(api: RouterApi) -> list[Candidate]:
    """Return the clients among a router's DHCP leases. Raises RouterProblem."""
    return candidates(api.rows("/ip/dhcp-server/lease", *FIELDS))


def candidates(rows: Iterable[Mapping[str, str]]) -> list[Candidate]:
    return [_candidate(line, row) for line, row in enumerate(rows, 1)]


def _candidate(line: int, row: Mapping[str, str]) -> Candidate:
    comment, address = row.get("comment", ""), row.get("address", "")
    mac = find_mac(row.get("mac-address", "")) or find_mac(row.get("client-id", ""))
    findings: Findings = ()
    framed_ip = None
    if mac is None:
        findings = ((Finding.NO_MAC, {}),)
    if said(row, "dynamic"):
        findings += ((Finding.DYNAMIC, {"address": one_line(address)}),)
    else:
        framed_ip = _address(address)
    if said(row, "disabled"):
        findings += ((Finding.DISABLED, {}),)
    if said(row, "block-access") or said(row, "blocked"):
        findings += ((Finding.BLOCKED, {}),)
    rate, guessed = rate_or_told(router_rate(row.get("rate-limit", "")), comment)
    told = told_by(comment)
    return Candidate(
        line=line,
        access_method=AccessMethod.MAC,
        name=mac or "",
        key=one_line(address),
        framed_ip=framed_ip,
        mac=mac,
        rate=rate,
        comment=comment,
        disabled=said(row, "disabled"),
        subscriber=told.name or one_line(row.get("host-name", "")) or mac or one_line(address),
        phone=told.phone,
        email=told.email,
        latitude=told.latitude,
        longitude=told.longitude,
        findings=findings + guessed + text_findings(row, "comment", "host-name"),
    )


def _address(text: str) -> str | None:
    """Return the fixed address of a lease; None where it names a pool."""
    try:
        return str(IPv4Address(text))
    except ValueError:
        return None
