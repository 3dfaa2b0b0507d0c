"""What a box has as it comes out of its carton: rows, computed fields, and commands beyond those of every menu."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Container, Iterator
from typing import TYPE_CHECKING

from lab.routeros import interfaces, rules
from lab.routeros.commands import BAD_VALUE, GENERAL, Call, Trap, unknown_parameter
from lab.routeros.export import export
from lab.routeros.menus.kinds import seconds_of, time_text
from lab.routeros.policy import FULL, READ, WRITE, policy_text
from lab.routeros.table import Row
from lab.routeros.wire import octets, text

if TYPE_CHECKING:
    from lab.routeros.box import Box


def install(box: "Box") -> None:
    """Fill a new box."""
    _groups(box)
    _services(box)
    _system(box)
    rules.install(box)
    interfaces.install(box)
    box.command("/ping", ping, "test")
    box.command("/tool/ping", ping, "test")
    box.command("/interface/monitor-traffic", monitor_traffic, "read")
    box.command("/ip/dhcp-server/lease/make-static", make_static, "write")
    box.command("/radius/monitor", radius_monitor, "read")
    box.command("/radius/incoming/monitor", incoming_monitor, "read")
    box.command("/system/reboot", reboot, "reboot")
    box.command("/export", export_all, "read")
    if box.version.within((7, 13), ()):
        box.command("/file/read", read_file, "read")


_PING = {
    "address",
    "count",
    "interval",
    "size",
    "src-address",
    "interface",
    "arp-ping",
    "do-not-fragment",
    "dscp",
    "ttl",
}
_PING_6 = _PING | {"routing-table", ".proplist"}
_PING_7 = _PING | {"vrf", ".proplist"}
_CHUNK = 32_768
_CONTENTS_6 = 4_095
_CONTENTS_7 = 61_440


def _groups(box: "Box") -> None:
    groups = box.table("/user/group")
    for name, policies in (("read", READ), ("write", WRITE), ("full", FULL)):
        groups.put({"name": name, "policy": policy_text(policies, box.version), "skin": "default"})


def _services(box: "Box") -> None:
    services = box.table("/ip/service")
    ports = {
        "telnet": 23,
        "ftp": 21,
        "www": 80,
        "ssh": 22,
        "www-ssl": 443,
        "api": 8728,
        "winbox": 8291,
        "api-ssl": 8729,
    }
    limit = str(box.version.max_sessions or "")
    for name, port in ports.items():
        row = {"name": name, "port": str(port), "address": "", "max-sessions": limit, "invalid": "false"}
        row |= {"disabled": "true" if name == "www-ssl" else "false", "dynamic": "false"}
        services.put(row | ({"certificate": "none"} if name.endswith("-ssl") else {}))


def _system(box: "Box") -> None:
    made = box.hardware
    compute = box.compute
    resource = box.settings("/system/resource").fields
    resource.update(
        {
            "version": f"{box.version} (stable)",
            "build-time": box.version.instant(box.now),
            "free-memory": str(made.memory * 3 // 4),
            "total-memory": str(made.memory),
            "cpu": made.cpu,
            "cpu-count": str(made.cpu_count),
            "cpu-frequency": str(made.cpu_frequency),
            "cpu-load": "3",
            "free-hdd-space": str(made.storage * 4 // 5),
            "total-hdd-space": str(made.storage),
            "architecture-name": made.architecture,
            "board-name": made.board,
            "platform": "MikroTik",
        }
    )
    compute("/system/resource", "uptime", lambda _row: time_text(int(box.uptime)))
    compute("/system/clock", "date", lambda _row: box.version.day(box.now))
    compute("/system/clock", "time", lambda _row: f"{box.now:%H:%M:%S}")
    compute("/system/clock", "gmt-offset", lambda _row: f"{box.now:%z}"[:3] + ":" + f"{box.now:%z}"[3:5])
    box.settings("/system/clock").fields["time-zone-name"] = str(box.zone)
    if made.routerboard:
        board = box.settings("/system/routerboard").fields
        board.update({"routerboard": "true", "model": made.board, "serial-number": made.serial})
        board.update({"current-firmware": str(box.version), "upgrade-firmware": str(box.version)})
    compute("/file", "contents", _contents(_CONTENTS_7 if box.version.major >= 7 else _CONTENTS_6))
    packages = box.table("/system/package")
    for name in ("routeros", *sorted(box.packages)):
        packages.put({"name": name, "version": str(box.version), "disabled": "false"})
    health = box.table("/system/health")
    if box.version.major >= 7:
        health.put({"name": "temperature", "value": "41", "type": "C"})
        health.put({"name": "voltage", "value": "24.1", "type": "V"})
    else:
        health.put({"voltage": "24.1", "temperature": "41"})


def ping(call: Call) -> AsyncIterator[dict[str, str]]:
    """`/ping`: packets that all come back; what plays the network replaces `Box.pinged`."""
    known = _PING_7 if call.box.version.major >= 7 else _PING_6
    for name in call.arguments.keys() - known:
        raise unknown_parameter(call.box, name)
    address = call.argument("address")
    count = _number(call, "count", 0)
    interval = 1.0 if "interval" not in call.arguments else _seconds(call.argument("interval"))
    size = call.argument("size", default="56")
    return _pings(call.box.pinged, address, count, interval, size)


async def _pings(
    pinged: Callable[[str], float | None], address: str, count: int, interval: float, size: str
) -> AsyncIterator[dict[str, str]]:
    times: list[float] = []
    sent = 0
    while count == 0 or sent < count:
        took = pinged(address)
        row = {"seq": str(sent), "host": address}
        if took is None:
            row["status"] = "timeout"
        else:
            times.append(took)
            row |= {"size": size, "ttl": "64", "time": ping_time(took)}
        sent += 1
        lost = round(100 * (sent - len(times)) / sent)
        row |= {"sent": str(sent), "received": str(len(times)), "packet-loss": str(lost)}
        if times:
            row["min-rtt"] = ping_time(min(times))
            row["avg-rtt"] = ping_time(sum(times) / len(times))
            row["max-rtt"] = ping_time(max(times))
        yield row
        if sent != count:
            await asyncio.sleep(interval)


def ping_time(seconds: float) -> str:
    """Return a round trip as `/ping` prints it: `12ms345us`."""
    milliseconds, microseconds = divmod(round(seconds * 1_000_000), 1000)
    return (f"{milliseconds}ms" if milliseconds else "") + (
        f"{microseconds}us" if microseconds or not milliseconds else ""
    )


def a_ping(_address: str) -> float:
    """Return a round trip time in seconds, as over a local network."""
    return random.uniform(0.0004, 0.002)


def monitor_traffic(call: Call) -> Iterator[dict[str, str]] | AsyncIterator[dict[str, str]]:
    """`/interface/monitor-traffic`: rates of interfaces, once with `once`, each second without."""
    rows = [call.box.row_named(call.table, name) for name in call.argument("interface", ".id").split(",")]
    if "once" in call.arguments:
        return (_traffic(call.box, row) for row in rows)
    return _traffic_each_second(call.box, rows)


async def _traffic_each_second(box: "Box", rows: list[Row]) -> AsyncIterator[dict[str, str]]:
    while True:
        for row in rows:
            yield _traffic(box, row)
        await asyncio.sleep(1)


def _traffic(box: "Box", row: Row) -> dict[str, str]:
    counted = box.traffic(row)
    names = ("rx-packets-per-second", "rx-bits-per-second", "tx-packets-per-second", "tx-bits-per-second")
    return {"name": row["name"], **{name: str(counted.get(name, 0)) for name in names}}


def no_traffic(_row: Row) -> dict[str, int]:
    """Return the rates of an interface on which nothing happens."""
    return {}


def radius_monitor(call: Call) -> list[dict[str, str]]:
    """`/radius/monitor`: what was asked of a RADIUS server; here nothing, until something plays the NAS."""
    names = ("pending", "requests", "accepts", "rejects", "resends", "timeouts", "bad-replies")
    return [dict.fromkeys(names, "0") | {"last-request-rtt": "0ms"} for _row in call.targets()]


def incoming_monitor(call: Call) -> list[dict[str, str]]:
    """`/radius/incoming/monitor`: what RADIUS servers asked of the router."""
    return [dict.fromkeys(("requests", "bad-requests", "acks", "naks"), "0")]


def make_static(call: Call) -> None:
    """`make-static`: a dynamic lease stays when its device is gone."""
    for row in call.targets():
        if not row.is_true("dynamic"):
            raise Trap("failure: lease is not dynamic", GENERAL)
        call.table.change(row, {"dynamic": "false"}, user=call.caller.user)


def reboot(call: Call) -> None:
    """`/system/reboot`."""
    call.box.reboot()


def export_all(call: Call) -> None:
    """`/export`: into a file, which asks for the policy `ftp`. Without `file` the API answers nothing but `!done`."""
    name = call.arguments.get("file")
    if name is None:
        return
    if not call.caller.may("ftp"):
        raise Trap("not enough permissions (9)")
    name = name if name.endswith(".rsc") else f"{name}.rsc"
    contents = exported(call, call.arguments)
    files = call.box.table("/file")
    for old in files.find(name=name):
        files.drop(old)
    moment = {
        "last-modified" if call.box.version.major >= 7 else "creation-time": call.box.version.instant(call.box.now)
    }
    size = str(len(octets(contents)))
    files.put({"name": name, "type": "script", "size": size, "contents": contents, **moment}, user=call.caller.user)


def exported(call: Call, words: Container[str]) -> str:
    """Return the export asked for in these words, with secrets as the version and the policies have it."""
    shown = "show-sensitive" in words if call.box.version.major >= 7 else "hide-sensitive" not in words
    return export(call.box, sensitive=shown and call.caller.may("sensitive"))


def read_file(call: Call) -> list[dict[str, str]]:
    """`/file/read`: a piece of a file."""
    row = call.box.row_named(call.table, call.argument("file"))
    start, length = _number(call, "offset", 0), _number(call, "chunk-size", _CHUNK)
    contents = octets(row.get("contents"))
    return [{"data": text(contents[start : start + min(length, _CHUNK)])}]


def _contents(limit: int) -> Callable[[Row], str | None]:
    """Return a field that is shown of files that are not too long, as `/file print` has it."""

    def shown(row: Row) -> str | None:
        return row.get("contents") if len(octets(row.get("contents"))) <= limit else None

    return shown


def _number(call: Call, name: str, default: int) -> int:
    try:
        return int(call.argument(name, default="") or default)
    except ValueError:
        raise Trap(f"invalid value for argument {name}", BAD_VALUE) from None


def _seconds(value: str) -> float:
    try:
        return seconds_of(value)
    except ValueError:
        raise Trap("invalid value for argument interval", BAD_VALUE) from None
