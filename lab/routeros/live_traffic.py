"""Traffic on a box: static clients behind it, what their queues let through, and the counters of interfaces.

A static client has an address and would like some bits each second; it gets what the first enabled simple queue with
its address lets through (the last part of `max-limit` is its download), and nothing while the firewall stops it.
Traffic is steady between two changes, so it is reckoned when somebody looks. A queue or list that changes is seen at
the next look, which follows a tenth of a second later when nobody looks before.
"""

import asyncio
import ipaddress
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from lab.nas import Nas
from lab.routeros.box import Box
from lab.routeros.commands import Call
from lab.routeros.live_firewall import address_lists, may_stop, passes
from lab.routeros.live_sessions import SessionRows
from lab.routeros.table import Change, Row
from lab.session import Session, packets
from lab.subscriber import Demand, Profile

WAN = "ether1"
_LAN = "bridge-lan"
InLoop = Callable[[Callable[[], None]], None]
_WATCHED = ("/queue/simple", "/ip/firewall/address-list", "/ip/firewall/filter", "/ip/firewall/nat")
_NEXT_LOOK = 0.1
_FULL = 1_000_000_000  # bit/s at which the processor is busy


@dataclass(slots=True, eq=False)
class StaticClient:
    """Somebody with a fixed address and no session: the client of a simple queue.

    `share` is the part of its demand that it has at this hour, by its `profile`.
    """

    address: str
    demand: Demand
    mac: str = "02:00:5E:00:00:01"
    profile: Profile = Profile.STEADY
    share: float = 1.0
    uploaded: float = 0.0
    downloaded: float = 0.0
    rate: tuple[float, float] = (0.0, 0.0)  # octets a second, upload and download
    queue: Row | None = None


@dataclass(slots=True)
class _Counted:
    uploaded: float = 0.0
    downloaded: float = 0.0


@dataclass(slots=True)
class _Interface:
    """What has gone through the router: since it booted, and each second."""

    uploaded: float = 0.0
    downloaded: float = 0.0
    sessions: dict[str, tuple[int, int]] = field(default_factory=dict)


class Traffic:
    """Reckons the traffic of one box."""

    def __init__(self, box: Box, nas: Nas, rows: SessionRows, in_loop: InLoop, *, seed: int | None = None) -> None:
        self.clients: dict[str, StaticClient] = {}
        self.background = Demand()  # on the WAN beside what is known of
        self._box = box
        self._nas = nas
        self._rows = rows
        self._in_loop = in_loop
        self._random = random.Random(seed)
        self._settled = time.monotonic()
        self._stale_since: float | None = self._settled
        self._queues: dict[int, _Counted] = {}
        self._through = _Interface()
        for path in _WATCHED:
            box.watch(path, self._changed)
        for path in ("/queue/simple", "/interface"):
            box.refresh(path, lambda _table: self.look())
        for name in ("reset-counters", "reset-counters-all"):
            box.command(f"/queue/simple/{name}", self._reset_counters, "write")
        self._compute()
        box.traffic = self.monitor

    def add(self, client: StaticClient, *, arp: bool = True) -> StaticClient:
        """Put a static client behind the box; with `arp` the router has seen it."""
        with self._box.lock:
            self.look()
            self.clients[client.address] = client
            self.stale()
            if arp:
                row = {"address": client.address, "mac-address": client.mac.upper(), "interface": _LAN}
                self._box.fill("/ip/arp", row | {"dynamic": "true", "complete": "true"})
        return client

    def share_out(self, share: Callable[[Profile], float]) -> None:
        """Give the clients the part of their demand that they have at this hour, by their profiles."""
        with self._box.lock:
            self.look()
            for client in self.clients.values():
                client.share = share(client.profile)
            self.stale()

    def set_demand(self, address: str, demand: Demand) -> None:
        """Let a static client want more or less from now on. Raises KeyError."""
        with self._box.lock:
            self.look()
            self.clients[address].demand = demand
            self.stale()

    def congest(self, demand: Demand) -> None:
        """Let others load the WAN with so much, from now on."""
        with self._box.lock:
            self.look()
            self.background = demand

    def reset(self) -> None:
        """Begin all counters again, as a reboot does."""
        with self._box.lock:
            self._queues.clear()
            self._through = _Interface()
            self._settled = time.monotonic()
            self._stale_since = self._settled

    # Reckoning.

    def look(self) -> None:
        """Bring the counters up to now."""
        with self._box.lock:
            self._settle(time.monotonic())

    def stale(self) -> None:
        """Reckon anew who gets what, soon, and as if from now on."""
        with self._box.lock:
            if self._stale_since is None:
                self._settle(time.monotonic())
                self._stale_since = self._settled
                self._in_loop(self._look_later)

    def _look_later(self) -> None:
        asyncio.get_running_loop().call_later(_NEXT_LOOK, self.look)

    def _changed(self, _change: Change) -> None:
        self.stale()

    def _reset_counters(self, call: Call) -> None:
        self.look()
        for row in call.targets() if call.name == "reset-counters" else call.table:
            self._queues.pop(row.number, None)

    def _settle(self, now: float) -> None:
        if self._stale_since is not None:
            self._accrue(max(0.0, self._stale_since - self._settled))
            self._settled = max(self._settled, self._stale_since)
            self._stale_since = None
            self._decide()
        self._accrue(now - self._settled)
        self._settled = now
        self._count_sessions(now)

    def _accrue(self, seconds: float) -> None:
        for client in self.clients.values():
            up, down = client.rate
            if not (up or down):
                continue
            client.uploaded += up * seconds
            client.downloaded += down * seconds
            self._add(up * seconds, down * seconds)
            if client.queue is not None:
                counted = self._queues.setdefault(client.queue.number, _Counted())
                counted.uploaded += up * seconds
                counted.downloaded += down * seconds
        self._add(self.background.upload / 8 * seconds, self.background.download / 8 * seconds)

    def _add(self, uploaded: float, downloaded: float) -> None:
        self._through.uploaded += uploaded
        self._through.downloaded += downloaded

    def _decide(self) -> None:
        """Find out what each static client gets, and which sessions the firewall stops."""
        queues = _by_address(row for row in self._box.table("/queue/simple") if not row.is_true("disabled"))
        lists = address_lists(self._box)
        firewall = may_stop(self._box)

        def stopped(address: str, interface: str) -> bool:
            return firewall and not passes(self._box, address, interface, WAN, lists)

        for client in self.clients.values():
            client.queue = queues(client.address)
            up, down = client.demand.upload * client.share, client.demand.download * client.share
            if client.queue is not None:
                limits = [int(part) for part in client.queue.get("max-limit", "0/0").split("/")]
                up, down = min(up, limits[0] or up), min(down, limits[-1] or down)
            client.rate = (0.0, 0.0) if stopped(client.address, _LAN) else (up / 8, down / 8)
        for session in tuple(self._nas.sessions.values()):
            blocked = session.address is not None and stopped(session.address, "")
            if session.blocked is not blocked:
                self._in_loop(partial(self._nas.block, session, blocked=blocked))

    def _count_sessions(self, now: float) -> None:
        known = self._through.sessions
        seen = {}
        for session in tuple(self._nas.sessions.values()):
            up, down = seen[session.id] = session.octets(now)
            before = known.get(session.id, (0, 0))
            self._add(up - before[0], down - before[1])
        self._through.sessions = seen

    @property
    def throughput(self) -> tuple[float, float]:
        """What goes through the WAN at the moment: octets a second, upload and download."""
        rates = [client.rate for client in self.clients.values()]
        rates += [session.throughput for session in tuple(self._nas.sessions.values())]
        up = self.background.upload / 8 + sum(rate[0] for rate in rates)
        return up, self.background.download / 8 + sum(rate[1] for rate in rates)

    @property
    def cpu_load(self) -> int:
        """How busy the processor is, in percent: a little always, more with traffic."""
        busy = 2 + 88 * 8 * sum(self.throughput) / _FULL
        return max(1, min(100, round(busy + self._random.uniform(-1, 2))))

    # What is shown.

    def monitor(self, interface: Row) -> dict[str, int]:
        """Return an interface's rates, for `monitor-traffic`."""
        with self._box.lock:
            self.look()
            up, down = self._rates(interface)
        return {
            "rx-bits-per-second": round(8 * up),
            "tx-bits-per-second": round(8 * down),
            "rx-packets-per-second": packets(round(up)),
            "tx-packets-per-second": packets(round(down)),
        }

    def _rates(self, interface: Row) -> tuple[float, float]:
        """Return what an interface receives and sends, in octets a second."""
        session = self._session("/interface", interface)
        if session is not None:
            return session.throughput
        up, down = self.throughput
        match interface.get("name"):
            case "ether1":
                return down, up  # the WAN receives what the clients download
            case "ether2" | "bridge-lan":
                return up, down
            case _:
                return 0.0, 0.0

    def _session(self, path: str, row: Row) -> Session | None:
        return self._rows.session_of(path, row)

    def _octets(self, interface: Row) -> tuple[int, int] | None:
        session = self._session("/interface", interface)
        if session is not None:
            return session.octets(time.monotonic())
        up, down = int(self._through.uploaded), int(self._through.downloaded)
        match interface.get("name"):
            case "ether1":
                return down, up
            case "ether2" | "bridge-lan":
                return up, down
            case _:
                return None

    def _queue(self, row: Row) -> tuple[float, float] | None:
        """Return what a queue has counted: upload and download in octets."""
        session = self._session("/queue/simple", row)
        if session is not None:
            return session.octets(time.monotonic())
        counted = self._queues.get(row.number)
        return None if counted is None else (counted.uploaded, counted.downloaded)

    def _queue_rate(self, row: Row) -> tuple[float, float]:
        session = self._session("/queue/simple", row)
        if session is not None:
            return session.throughput
        served = [client.rate for client in self.clients.values() if client.queue is row]
        return sum(rate[0] for rate in served), sum(rate[1] for rate in served)

    def _compute(self) -> None:
        def bytes_of(position: int, name: str, of: Callable[[int], int]) -> Callable[[Row], str | None]:
            def shown(row: Row) -> str | None:
                counted = self._octets(row)
                return row.get(name) if counted is None else str(of(counted[position]))

            return shown

        for direction, position in (("rx", 0), ("tx", 1)):
            for suffix, of in (("byte", lambda octets: octets), ("packet", packets)):
                name = f"{direction}-{suffix}"
                self._box.compute("/interface", name, bytes_of(position, name, of))

        def queue(name: str, of: Callable[[Row], tuple[float, float] | None], scale: Callable[[float], int]) -> None:
            def shown(row: Row) -> str | None:
                counted = of(row)
                return row.get(name) if counted is None else f"{scale(counted[0])}/{scale(counted[1])}"

            self._box.compute("/queue/simple", name, shown)

        queue("bytes", self._queue, int)
        queue("packets", self._queue, lambda octets: packets(int(octets)))
        queue("rate", self._queue_rate, lambda octets: round(8 * octets))
        self._box.compute("/system/resource", "cpu-load", lambda _row: str(self.cpu_load))


def _by_address(queues: Iterable[Row]) -> Callable[[str], Row | None]:
    """Return a function that finds the first queue with an address among its targets."""
    single: dict[str, tuple[int, Row]] = {}
    networks: list[tuple[int, ipaddress.IPv4Network, Row]] = []
    for position, row in enumerate(queues):
        for target in row.get("target").split(","):
            if target.endswith("/32"):
                single.setdefault(target.removesuffix("/32"), (position, row))
                continue
            try:
                networks.append((position, ipaddress.IPv4Network(target, strict=False), row))
            except ValueError:  # an interface, or IPv6
                continue

    parents = {row.get("parent") for _, row in single.values()} | {row.get("parent") for _, _, row in networks}

    def find(address: str) -> Row | None:
        found = [single[address]] if address in single else []
        number = ipaddress.IPv4Address(address)
        found += [(position, row) for position, network, row in networks if number in network]
        # A parent has no packets of its own: its children take them.
        leaves = [each for each in found if each[1].get("name") not in parents] or found
        return min(leaves, key=lambda each: each[0])[1] if leaves else None

    return find
