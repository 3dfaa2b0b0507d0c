"""What LibreQoS shapes an operator's subscribers by: `network.json`, the tree, and `ShapedDevices.csv`, the circuits.

A circuit is a service, and its id is the service's, which stays through changes of name and plan: LibreQoS reloads only
what has changed. Its rates are those of the standing decision, so a suspended subscriber is shaped at the garden's
rate, night speeds and caps hold, and what is refused is left out. Its addresses are the fixed ones, or those of its
open sessions. Rates are Mbit/s, and whole ones are written as whole numbers, since LibreQoS before 1.5 reads no others.
The tree has the routers, and below them the sectors that sessions come in by.

LibreQoS reads both files anew when they change, so each is replaced in one step and only when it differs.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from aaa.documents import terms_from_document
from db.models import (
    AccountingSession,
    Nas,
    RatePlan,
    Router,
    Service,
    ServiceGrant,
    Subscriber,
    TermsRecord,
)

NETWORK = "network.json"
DEVICES = "ShapedDevices.csv"
HEADER = (
    "Circuit ID", "Circuit Name", "Device ID", "Device Name", "Parent Node", "MAC", "IPv4", "IPv6",
    "Download Min Mbps", "Upload Min Mbps", "Download Max Mbps", "Upload Max Mbps", "Comment",
)  # fmt: skip
UNLIMITED = 10_000.0
"""Mbit/s of a router whose capacity nobody has entered, and of a service without a limit."""
SMALLEST = 0.2  # Mbit/s; LibreQoS takes no less for a maximum, nor than half of it for a guaranteed rate
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Site:
    """A router. Capacity in bit/s; None where it is not known."""

    nas_id: int
    name: str
    download: int | None
    upload: int | None


@dataclass(frozen=True, slots=True)
class Circuit:
    """A service and its addresses. Rates in bit/s; None is without a limit. `sector` is a port of the router."""

    service_id: int
    subscriber: str
    name: str
    plan: str
    nas_id: int | None
    sector: str
    macs: tuple[str, ...]
    addresses: tuple[str, ...]
    download: int | None
    upload: int | None
    minimum_download: int | None = None
    minimum_upload: int | None = None
    outcome: str = "accept"


@dataclass(frozen=True, slots=True)
class Tree:
    """The names of nodes: unique, as LibreQoS wants them, and stable while nobody renames a router."""

    sites: Mapping[int, str]
    sectors: Mapping[tuple[int, str], str]
    capacity: Mapping[int, Site] = field(default_factory=dict)


def tree(sites: Iterable[Site], circuits: Iterable[Circuit]) -> Tree:
    """Name the nodes. Two that would have one name are told apart by the id of the NAS."""
    known = {site.nas_id: site for site in sorted(sites, key=lambda site: site.nas_id)}
    taken: set[str] = set()

    def unique(name: str, nas_id: int) -> str:
        if name.casefold() in taken:
            name = f"{name} #{nas_id}"
        taken.add(name.casefold())
        return name

    names = {nas_id: unique(_plain(site.name) or f"NAS {nas_id}", nas_id) for nas_id, site in known.items()}
    pairs = sorted({(c.nas_id, c.sector) for c in circuits if c.nas_id in known and c.sector})
    sectors = {
        (nas_id, sector): unique(f"{names[nas_id]} / {_plain(sector)}", nas_id)
        for nas_id, sector in pairs
        if nas_id is not None
    }
    return Tree(names, sectors, known)


def network_json(nodes: Tree) -> str:
    """Return the text of network.json."""
    document: dict[str, object] = {}
    for nas_id, name in nodes.sites.items():
        site = nodes.capacity[nas_id]
        rates = {
            "downloadBandwidthMbps": _mbps(site.download),
            "uploadBandwidthMbps": _mbps(site.upload),
        }
        below = {
            sector: {**rates, "type": "AP", "children": {}}
            for (parent, _port), sector in nodes.sectors.items()
            if parent == nas_id
        }
        document[name] = {**rates, "type": "Site", "children": below}
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def shaped_devices(nodes: Tree, circuits: Iterable[Circuit]) -> str:
    """Return the text of ShapedDevices.csv: one row for each circuit that has an address."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for circuit in sorted(circuits, key=lambda each: each.service_id):
        if not circuit.addresses or circuit.outcome not in ("accept", "garden"):
            continue
        most = _mbps(circuit.download), _mbps(circuit.upload)
        least = _least(circuit.minimum_download, most[0]), _least(circuit.minimum_upload, most[1])
        parent = ""
        if circuit.nas_id is not None:
            parent = nodes.sectors.get((circuit.nas_id, circuit.sector)) or nodes.sites.get(circuit.nas_id, "")
        writer.writerow(
            [
                f"portico-{circuit.service_id}",
                _plain(f"{circuit.subscriber} ({circuit.name})"),
                f"portico-{circuit.service_id}-1",
                _plain(circuit.name),
                parent,
                ", ".join(circuit.macs),
                ", ".join(each for each in circuit.addresses if ":" not in each),
                ", ".join(each for each in circuit.addresses if ":" in each),
                *least,
                *most,
                "walled garden" if circuit.outcome == "garden" else _plain(circuit.plan),
            ]
        )
    return text.getvalue()


def read_shaper(session: Session, operator_id: int) -> tuple[list[Site], list[Circuit]]:
    """Return the routers and services of an operator, as they stand."""
    sites = [
        Site(*row)
        for row in session.execute(
            select(Nas.id, Nas.name, Router.wan_download, Router.wan_upload)
            .outerjoin(Router, Router.nas_id == Nas.id)
            .where(Nas.operator_id == operator_id, Nas.enabled)
        )
    ]
    live: dict[int, list[AccountingSession]] = {}
    for each in session.scalars(
        select(AccountingSession)
        .where(AccountingSession.operator_id == operator_id, AccountingSession.ended_at.is_(None))
        .order_by(AccountingSession.id)
    ):
        if each.service_id is not None:
            live.setdefault(each.service_id, []).append(each)
    terms = {
        row.id: terms_from_document(row.content)
        for row in session.scalars(select(TermsRecord).where(TermsRecord.operator_id == operator_id))
    }
    query = (
        select(Service, Subscriber.name.label("subscriber"), RatePlan, ServiceGrant.outcome, ServiceGrant.terms_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .outerjoin(ServiceGrant, ServiceGrant.service_id == Service.id)
        .where(Service.operator_id == operator_id, Service.state.in_(("active", "suspended")))
    )
    circuits = []
    for service, subscriber, plan, outcome, terms_id in session.execute(query):
        sessions = live.get(service.id, [])
        granted = terms.get(terms_id) if terms_id is not None else None
        own = service.rate_download or plan.download, service.rate_upload or plan.upload
        rate = granted.rate if granted is not None else None
        download, upload = (rate.download, rate.upload) if rate is not None else own
        fixed = (service.framed_ip, service.framed_ipv6_prefix, service.delegated_ipv6_prefix)
        found = [str(each) for each in fixed if each is not None]
        for each in sessions:
            for address in (each.framed_ip, each.framed_ipv6_prefix, each.delegated_ipv6_prefix):
                if address is not None and str(address) not in found:
                    found.append(str(address))
        circuits.append(
            Circuit(
                service.id, subscriber, service.name, plan.name,
                sessions[-1].nas_id if sessions else service.nas_id,
                (sessions[-1].nas_port_id or "") if sessions else "",
                tuple(dict.fromkeys(each.mac for each in sessions if each.mac)), tuple(found), download, upload,
                plan.minimum_download, plan.minimum_upload, outcome or "accept",
            )
        )  # fmt: skip
    return sites, circuits


def files(session: Session, operator_id: int) -> dict[str, str]:
    """Return the files of an operator by their names."""
    sites, circuits = read_shaper(session, operator_id)
    nodes = tree(sites, circuits)
    return {NETWORK: network_json(nodes), DEVICES: shaped_devices(nodes, circuits)}


def write_files(directory: Path, contents: Mapping[str, str]) -> list[str]:
    """Replace the files that differ, each in one step, and return their names. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in contents.items():
        path = directory / name
        if path.exists() and path.read_bytes() == text.encode():
            continue
        fresh = directory / f".{name}-{os.getpid()}"
        fresh.write_bytes(text.encode())
        fresh.replace(path)
        written.append(name)
    return written


def _mbps(rate: int | None) -> float:
    return _whole(UNLIMITED if rate is None else max(round(rate / _MEGA, 2), SMALLEST))


def _least(rate: int | None, most: float) -> float:
    """Return a guaranteed rate: what the plan promises, or a little; never above the most."""
    if rate:
        return min(_mbps(rate), most)
    return 1 if most >= 2 else SMALLEST / 2


def _whole(rate: float) -> float:
    """Return a rate as an int where it is whole, which is then written without a point."""
    return int(rate) if rate == int(rate) else rate


def _plain(text: str) -> str:
    """Return a text on one line that no spreadsheet takes for a formula, and no reader for a comment."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@", "#") else line
