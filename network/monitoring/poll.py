"""One look at a router over its API: what it says of itself, its interfaces, and who is connected to it.

A menu that a router does not have (no hotspot package, no sensors) is simply not told; only what keeps the router
from being reached at all is a problem. Where only a number is wanted the router counts (`count-only`), so a poll costs
the same for ten subscribers and for a thousand.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.clock import utc_now
from core.mac import parse_mac
from network.api import AsyncRouterApi
from network.monitoring.sample import Counters, RadiusCounters, Reading
from network.problems import RouterProblem
from network.values import NotAValue, parse_duration
from network.words import Row

MOST_INTERFACES = 64
"""Of a router's fixed interfaces, so many are kept; those of subscribers come and go and are not."""
_RADIUS = ("requests", "accepts", "rejects", "resends", "timeouts", "bad-replies")
_SUBSCRIBERS = ("pppoe-in", "l2tp-in", "pptp-in", "sstp-in", "ovpn-in", "ppp-in")


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is connected and that the router has not let in."""

    mac: str
    address: str | None
    source: str  # hotspot, dhcp
    server: str = ""
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a poll brought: the reading, and the devices that wait to be let in."""

    reading: Reading
    waiting: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """The subscribers' devices that belong at a router: they are connected and need not be let in by it."""

    macs: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


async def look(router: AsyncRouterApi, known: Known = Known()) -> Look:
    """Read a router. Raises RouterProblem when it cannot be reached or does not answer."""
    [resource] = await router.rows("/system/resource") or [{}]
    identity = (await _told(router.rows, "/system/identity", "name") or [{}])[0]
    interfaces = await _interfaces(router)
    ppp = await _count(router, "/ppp/active")
    hotspot = await _count(router, "/ip/hotspot/active")
    hosts = await _told(
        router.rows, "/ip/hotspot/host", "mac-address", "address", "server", "authorized", "bypassed", authorized=False
    )
    leases = await _told(
        router.rows,
        "/ip/dhcp-server/lease",
        *("mac-address", "active-mac-address", "address", "active-address", "server", "host-name", "radius"),
        status="bound",
    )
    by_radius = sum(lease.get("radius") == "true" for lease in leases or ())
    waiting = waiting_devices(hosts or (), leases or (), known)
    reading = Reading(
        at=utc_now(),
        uptime=_duration(resource.get("uptime", "")),
        identity=identity.get("name", ""),
        version=resource.get("version", ""),
        board=resource.get("board-name", ""),
        serial="",
        cpu=_number(resource.get("cpu-load")),
        memory_free=_whole(resource.get("free-memory")),
        memory_total=_whole(resource.get("total-memory")),
        temperature=await _temperature(router),
        authenticated=None if ppp is None and hotspot is None else (ppp or 0) + (hotspot or 0) + by_radius,
        waiting=None if hosts is None and leases is None else len(waiting),
        radius=await _radius(router),
        interfaces=interfaces,
    )
    return Look(reading, waiting)


async def serial_number(router: AsyncRouterApi) -> str:
    """Return the serial number of the board; empty for a virtual machine."""
    rows = await _told(router.rows, "/system/routerboard")
    return rows[0].get("serial-number", "") if rows else ""


def waiting_devices(hosts: Iterable[Row], leases: Iterable[Row], known: Known) -> tuple[Device, ...]:
    """Return who is connected and not let in: hotspot hosts that are not authorized, and leases of nobody we know.

    A hotspot's device has both a host and a lease, and counts once. What has no readable MAC address is no device.
    """
    found: dict[str, Device] = {}
    for host in hosts:
        mac = _mac(host.get("mac-address", ""))
        if mac and host.get("authorized") != "true" and host.get("bypassed") != "true":
            found[mac] = Device(mac, host.get("address"), "hotspot", host.get("server", ""))
    for lease in leases:
        mac = _mac(lease.get("active-mac-address") or lease.get("mac-address", ""))
        address = lease.get("active-address") or lease.get("address")
        if not mac or lease.get("radius") == "true" or mac in known.macs or address in known.addresses:
            continue
        if mac in found:
            found[mac] = Device(mac, found[mac].address, "hotspot", found[mac].server, lease.get("host-name", "")[:100])
        else:
            found[mac] = Device(mac, address, "dhcp", lease.get("server", ""), lease.get("host-name", "")[:100])
    return tuple(found.values())


async def _told(rows: Callable[..., Awaitable[list[Row]]], path: str, *fields: str, **equals: Any) -> list[Row] | None:
    """Return the rows of a menu; None where the router has no such menu or does not let us see it."""
    try:
        return await rows(path, *fields, **equals)
    except RouterProblem as problem:
        if problem.out_of_reach:
            raise
        return None


async def _count(router: AsyncRouterApi, path: str) -> int | None:
    answer = await _told(lambda _path: router.call(f"{path}/print", **{"count-only": ""}), path)
    return _whole(answer[-1].get("ret")) if answer else None


async def _interfaces(router: AsyncRouterApi) -> Mapping[str, Counters]:
    """Return the counters of the fixed interfaces.

    The router leaves out those of subscribers where it can; a version that knows no `dynamic` of them lists all.
    """
    fields = ("name", "type", "dynamic", "rx-byte", "tx-byte")
    rows = await _told(router.rows, "/interface", *fields, dynamic=False) or await _told(
        router.rows, "/interface", *fields
    )
    counters: dict[str, Counters] = {}
    for row in rows or ():
        received, sent = _whole(row.get("rx-byte")), _whole(row.get("tx-byte"))
        if row.get("dynamic") == "true" or row.get("type", "").startswith(_SUBSCRIBERS) or "name" not in row:
            continue
        if received is not None and sent is not None and len(counters) < MOST_INTERFACES:
            counters[row["name"]] = Counters(received, sent)
    return counters


async def _temperature(router: AsyncRouterApi) -> float | None:
    """Return the hottest temperature that the board tells, in degrees Celsius.

    RouterOS 7 lists sensors, 6 has one row with a field for each; some boards of the latter tell tenths.
    """
    rows = await _told(router.rows, "/system/health") or ()
    found: list[float | None] = []
    for row in rows:
        if row.get("type") == "C":
            found.append(_number(row.get("value")))
        else:
            found += [_number(value) for name, value in row.items() if name.endswith("temperature")]
    degrees = [value / 10 if value > 150 else value for value in found if value is not None]
    return max(degrees, default=None)


async def _radius(router: AsyncRouterApi) -> RadiusCounters | None:
    """Return what all RADIUS rows in use have counted together."""
    rows = await _told(router.rows, "/radius", "disabled")
    ids = [row[".id"] for row in rows or () if ".id" in row and row.get("disabled") != "true"]
    total = dict.fromkeys(_RADIUS, 0)
    told = False
    for id_ in ids[:8]:
        answer = await _told(lambda _path, id_=id_: router.call("/radius/monitor", **{".id": id_, "once": ""}), "")
        for row in answer or ():
            told = True
            for name in _RADIUS:
                total[name] += _whole(row.get(name)) or 0
    return RadiusCounters(*(total[name] for name in _RADIUS)) if told else None


def _mac(text: str) -> str | None:
    try:
        return parse_mac(text)
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text and len(text) < 20 else None
    except ValueError:
        return None
    return number if number is not None and -1e6 < number < 1e6 else None


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text)
    except NotAValue:
        return None
