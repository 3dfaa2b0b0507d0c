"""Simple queues: each that limits one address is a client with a fixed address.

Queues that RouterOS made itself (for PPP, hotspot and RADIUS) are passed over; one that carries our marker says which
service it is for, and counts as a client only where that service is gone. A parent limits a group, and a target of
several addresses, a network or an interface is no single client: such queues are shown with that reason, for a person
to deal with.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from aaa.facts import AccessMethod
from core.rates import RateLimit
from network.api import RouterApi
from network.importing.candidate import Candidate, Finding, Findings, name_of_login, one_line, queue_rate, told_by
from network.provisioning.want import marked
from network.words import is_foreign

FIELDS = (
    "name", "target", "target-addresses", "parent", "max-limit", "burst-limit", "burst-threshold", "burst-time",
    "comment", "disabled", "dynamic",
)  # fmt: skip


def read(api: RouterApi) -> list[Candidate]:
    """Return the clients among a router's simple queues. Raises RouterProblem."""
    return candidates(api.rows("/queue/simple", *FIELDS))


def candidates(rows: Iterable[Mapping[str, str]]) -> list[Candidate]:
    rows = [row for row in rows if not said(row, "dynamic")]
    children = Counter(row["parent"] for row in rows if row.get("parent", "none") != "none")
    return [_candidate(line, row, children[row.get("name", "")]) for line, row in enumerate(rows, 1)]


def said(row: Mapping[str, str], flag: str) -> bool:
    """Return a boolean of a router's row; an absent one is false."""
    return row.get(flag) in ("true", "yes")


def text_findings(row: Mapping[str, str], *fields: str) -> Findings:
    """Return that the texts of a row were no UTF-8 on the router, where that is so."""
    return ((Finding.FOREIGN_TEXT, {}),) if any(is_foreign(row.get(field, "")) for field in fields) else ()


def rate_or_told(rate: RateLimit | None, *texts: str) -> tuple[RateLimit | None, Findings]:
    """Return the rate, or the one that a comment tells where the router has none."""
    if rate is not None:
        return rate, ()
    for text in texts:
        told = told_by(text)
        if told.download:
            return RateLimit(told.download, told.upload or told.download), (
                (Finding.RATE_FROM_TEXT, {"value": one_line(text)[:80]}),
            )
    return None, ()


def _candidate(line: int, row: Mapping[str, str], children: int) -> Candidate:
    name, comment = row.get("name", ""), row.get("comment", "")
    ours = marked(comment)
    if ours is not None:
        comment = " ".join(word for word in comment.split(" ") if marked(word) is None)
    address, findings = _target(row.get("target") or row.get("target-addresses", ""))
    if children:
        findings = ((Finding.PARENT, {"count": str(children)}),)
    rate, guessed = rate_or_told(queue_rate(row), comment, name)
    if rate is None:
        findings += ((Finding.UNLIMITED, {}),)
    if said(row, "disabled"):
        findings += ((Finding.DISABLED, {}),)
    said_in_comment, said_in_name = told_by(comment), told_by(name)
    return Candidate(
        line=line,
        access_method=AccessMethod.QUEUE,
        name=one_line(name) or (address or ""),
        key=one_line(name),
        framed_ip=address,
        rate=rate,
        comment=comment,
        disabled=said(row, "disabled"),
        subscriber=said_in_comment.name or name_of_login(said_in_name.name) or one_line(name),
        phone=said_in_comment.phone,
        email=said_in_comment.email,
        latitude=said_in_comment.latitude,
        longitude=said_in_comment.longitude,
        findings=findings + guessed + text_findings(row, "name", "comment"),
        ours=ours,
    )


def _target(text: str) -> tuple[str | None, Findings]:
    """Return the address that a queue is for, or why it is not for one."""
    targets: Sequence[str] = [part.strip() for part in text.split(",") if part.strip()]
    if not targets:
        return None, ((Finding.NO_ADDRESS, {}),)
    if len(targets) > 1:
        return None, ((Finding.SEVERAL_ADDRESSES, {"value": one_line(text)[:120]}),)
    try:
        network = ip_network(targets[0])
    except ValueError:
        return None, ((Finding.INTERFACE, {"value": one_line(text)[:120]}),)
    if network.prefixlen != network.max_prefixlen:
        return None, ((Finding.NETWORK, {"value": str(network)}),)
    if network.version != 4:
        return None, ((Finding.BAD_ADDRESS, {"value": str(network)}),)
    return str(network.network_address), ()
