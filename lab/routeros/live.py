"""One emulated router that is router and NAS at once, with who and what is behind it.

`LiveRouter` joins a `Box` (the API's side) to a `Nas` (RADIUS's side). What the NAS half does shows in the box's menus;
what is done to the menus, by the API or a script, the NAS half obeys:

- sessions: see `live_sessions`; who is let in, and which RADIUS server is asked: see `live_terms`;
- `/radius/incoming` opens, moves and closes the CoA port; `/ip/pool` makes pools; `/system/identity` names the NAS;
- `/radius/monitor` and `/radius/incoming/monitor` count; traffic: see `live_traffic`; suspension: see `live_firewall`;
- `/ping` is answered for addresses with a session, a static client, an ARP row or a neighbour behind them, for the
  router's own, and for those on the internet;
- `/system/reboot` ends the sessions (Admin-Reboot), takes router and NAS away for a while, and brings them back with
  other ids and another digit in the session ids.

Box, servers and NAS share one event loop; hooks that come from another thread are handed over to it.
"""

import asyncio
import ipaddress
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.attributes import TerminateCause
from lab.client import Counters
from lab.dynamic import DynamicListener
from lab.nas import Nas, Refused
from lab.routeros.box import Box, Hardware
from lab.routeros.commands import Call
from lab.routeros.hotspot import Hotspot
from lab.routeros.live_firewall import http_from
from lab.routeros.live_sessions import SessionRows
from lab.routeros.live_terms import MenuTerms
from lab.routeros.live_traffic import StaticClient, Traffic
from lab.routeros.policy import User
from lab.routeros.scenarios import LARGE, SMALL, Size, fill
from lab.routeros.server import ApiServer
from lab.routeros.table import Change, Row
from lab.routeros.tls import self_signed
from lab.session import Session
from lab.subscriber import Demand, Profile, Subscriber

FEW = Size(queues=6, secrets=5, leases=4)
SCENARIOS = {"few": FEW, "small": SMALL, "large": LARGE}
_BOOT_SECONDS = 5.0
_TEMPERATURE = 38.0


@dataclass(frozen=True, slots=True)
class RouterProfile:
    """The router's side of a NAS.

    The API is served at `api_address` (the NAS's own if empty) and `api_port`; `users` are names and passwords, with
    all rights; with `api_tls_port` it is served by TLS as well. With a `hotspot_port` (0 is any free one) browsers that
    come to the NAS's address by HTTP are at its hotspot. `scenario` names what else the router holds, `""` for
    nothing; so many of its queues (`busy_queues`) have a client behind them, and so many of its secrets
    (`dialling_secrets`) somebody who dials. A router that `asks_radius` has been set up for it; one that does not is
    as an ISP brings it, with nothing but its own records. `wan_demand` is what others take of the WAN, in bit/s.
    """

    api_port: int = 8728
    api_address: str = ""
    api_tls_port: int = 0
    users: Mapping[str, str] = field(default_factory=lambda: {"admin": "admin"}, repr=False)
    identity: str = ""
    board: str = "RB5009UG+S+"
    serial: str = "HEX08PORTICO"
    packages: tuple[str, ...] = ()
    scenario: str = ""
    scenario_seed: int = 1
    busy_queues: int = 0
    dialling_secrets: int = 0
    asks_radius: bool = True
    wan_demand: int = 0  # down; a tenth of it up
    boot_seconds: float = _BOOT_SECONDS
    hotspot_port: int | None = None


class LiveRouter:
    """A box and a NAS that are one. Make it inside the event loop that runs both."""

    def __init__(self, profile: RouterProfile, nas: Nas, listener: DynamicListener, *, box: Box | None = None) -> None:
        self.profile = profile
        self.nas = nas
        self.unreachable: set[str] = set()  # addresses that are there and do not answer a ping
        self.on_up: Callable[[], None] = nas.power_on  # a network lets the CPEs dial again, too
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(profile.scenario_seed)
        self._reboots_itself = False
        version = ".".join(str(part) for part in nas.profile.version)
        self.box = box or Box(
            version=version,
            identity=profile.identity or nas.profile.name,
            users={name: User(password) for name, password in profile.users.items()},
            hardware=Hardware(board=profile.board, serial=profile.serial),
            packages=profile.packages,
        )
        address = profile.api_address or nas.profile.address
        self.server = ApiServer(self.box, address, profile.api_port)
        self.tls_server: ApiServer | None = None
        if profile.api_tls_port:
            certificate = self_signed(profile.identity or nas.profile.name)
            self.tls_server = ApiServer(self.box, address, profile.api_tls_port, tls=certificate.context())
        if box is None:
            self._set_up()
        self.hotspot: Hotspot | None = None
        if profile.hotspot_port is not None:
            self.hotspot = Hotspot(self.box, nas, nas.profile.address, profile.hotspot_port)
            nas.observers.append(self.hotspot)
            if box is None:
                self.box.fill("/ip/address", {"address": f"{nas.profile.address}/24", "interface": "bridge-hotspot"})
        terms = nas.terms = MenuTerms(nas.profile, self.box)
        self.sessions = SessionRows(self.box, nas, terms, self.in_loop)
        self.traffic = Traffic(self.box, nas, self.sessions, self.in_loop, seed=profile.scenario_seed)
        if profile.wan_demand:
            self.congest(profile.wan_demand, profile.wan_demand // 10)
        self._add_busy_queues(profile.busy_queues)
        nas.observers.append(self)
        self._follow()

    async def start(self) -> None:
        """Serve the API. Raises OSError when the address cannot be had."""
        await self.server.start()
        if self.tls_server is not None:
            await self.tls_server.start()
        if self.hotspot is not None:
            await self.hotspot.start()

    async def close(self) -> None:
        """Stop serving the API."""
        await self.server.close()
        if self.tls_server is not None:
            await self.tls_server.close()
        if self.hotspot is not None:
            await self.hotspot.close()

    def in_loop(self, work: Callable[[], None]) -> None:
        """Do something in the router's loop: at once when already there, else soon."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            work()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    # What a person of the lab does.

    def add_client(self, client: StaticClient) -> StaticClient:
        """Put a static client behind the router."""
        return self.traffic.add(client)

    def congest(self, download: int, upload: int) -> None:
        """Load the WAN with so many bit/s of others; 0 and 0 end it."""
        self.traffic.congest(Demand(download, upload))

    def http_from(self, address: str, destination: str = "198.51.100.80", port: int = 80) -> str | None:
        """Return where a GET of a subscriber arrives, as `host:port`; None if the firewall stops it."""
        return http_from(self.box, address, destination, port)

    def own_subscribers(self) -> list[Subscriber]:
        """Return those who dial with the router's own secrets, as its profile says."""
        subscribers: list[Subscriber] = []
        for row in self.box.table("/ppp/secret"):
            if len(subscribers) == self.profile.dialling_secrets:
                break
            if row.is_true("disabled") or row.get("caller-id") or "=" in row["name"]:
                continue
            number = len(subscribers) + 1
            demand = Demand(self._random.randint(2, 12) * 1_000_000, 800_000)
            mac = f"60:e3:27:{self.profile.scenario_seed & 255:02x}:{number >> 8:02x}:{number & 255:02x}"
            dialling = Subscriber(row["name"], row.get("password"), mac=mac, demand=demand, profile=Profile.HOME)
            subscribers.append(dialling)
        return subscribers

    # What the NAS half tells.

    def began(self, session: Session) -> None:
        self.sessions.began(session)
        self.traffic.stale()

    def changed(self, session: Session) -> None:
        self.sessions.changed(session)

    def ended(self, session: Session, cause: TerminateCause | None) -> None:
        self.sessions.ended(session, cause)

    def refused(self, subscriber: Subscriber, refusal: Refused) -> None:
        self.sessions.refused(subscriber, refusal)

    def powered(self, on: bool) -> None:
        """Go silent with the NAS, and come back as after any other boot."""
        self.sessions.powered(on)
        self.box.faults.silent = not on
        self.box.faults.refuse_connections = False
        if not on:
            for server in filter(None, (self.server, self.tls_server)):
                server.drop_connections()
            return
        if not self._reboots_itself:
            self._reboots_itself = True
            self.box.reboot()
        self._reboots_itself = False

    # Setting up.

    def _set_up(self) -> None:
        """Give a new box what a router that serves subscribers has."""
        box, profile = self.box, self.nas.profile
        box.fill("/interface", {"name": "bridge-hotspot", "type": "bridge", "running": "true"})
        if self.profile.scenario:
            fill(box, SCENARIOS[self.profile.scenario], seed=self.profile.scenario_seed)
        else:
            box.fill("/interface", {"name": "bridge-lan", "type": "bridge", "running": "true"})
        if profile.local_secrets:
            for name, password in profile.local_secrets:
                box.fill("/ppp/secret", {"name": name, "password": password, "profile": "default", "service": "pppoe"})
        pools = box.table("/ip/pool")
        for name, network in profile.pools:
            if pools.first(name=name) is None:
                hosts = ipaddress.ip_network(network, strict=False)
                box.fill("/ip/pool", {"name": name, "ranges": f"{hosts[1]}-{hosts[-2]}"})
        box.fill("/interface/pppoe-server/server", {"service-name": "pppoe-in", "interface": "ether2"})
        if not self.profile.asks_radius:
            return
        row = {
            "service": "ppp,hotspot,wireless,dhcp",
            "address": profile.server.address,
            "secret": profile.secret,
            "authentication-port": str(profile.server.auth_port),
            "accounting-port": str(profile.server.acct_port),
            "timeout": f"{round(profile.timeout * 1000)}ms" if profile.timeout % 1 else f"{int(profile.timeout)}s",
            "comment": "portico",
        }
        box.fill("/radius", {name: value for name, value in row.items() if name in box.table("/radius").known})
        interval = f"{profile.interim_update}s"
        self._set("/radius/incoming", {"accept": "true", "port": str(self._listener.port)})
        self._set("/ppp/aaa", {"use-radius": "true", "accounting": "true", "interim-update": interval})
        self._set("/ip/dhcp-server/config", {"accounting": "true", "interim-update": interval})
        lan = next(iter(box.table("/ip/dhcp-server")), None)
        if lan is None:
            lan = box.fill(
                "/ip/dhcp-server", {"name": "dhcp1", "interface": "bridge-lan", "address-pool": profile.pool}
            )
        box.table("/ip/dhcp-server").change(lan, {"use-radius": "yes"})
        hotspot = box.table("/ip/hotspot/profile").first(name="default")
        if hotspot is not None:
            usual = {"use-radius": "true", "radius-accounting": "true", "radius-interim-update": interval}
            box.table("/ip/hotspot/profile").change(hotspot, usual | {"login-by": "http-chap,http-pap,mac"})
        box.fill("/ip/hotspot", {"name": "hotspot1", "interface": "bridge-hotspot", "profile": "default"})
        if box.has("/interface/wireless/security-profiles"):
            for security in box.table("/interface/wireless/security-profiles"):
                box.table("/interface/wireless/security-profiles").change(
                    security, {"radius-mac-authentication": "true"}
                )

    def _add_busy_queues(self, count: int) -> None:
        """Put clients behind the first queues that are somebody's own."""
        for row in self.box.table("/queue/simple"):
            target = row.get("target")
            if len(self.traffic.clients) == count:
                return
            if row.is_true("disabled") or not target.endswith("/32") or "," in target:
                continue
            number = len(self.traffic.clients)
            down = self._random.randint(2, 18) * 1_000_000
            demand = Demand(down, down // 6)
            mac = f"B8:69:F4:77:{number >> 8:02X}:{number & 255:02X}"
            self.add_client(StaticClient(target.removesuffix("/32"), demand, mac, profile=Profile.HOME))

    def _set(self, path: str, fields: dict[str, str]) -> None:
        table = self.box.table(path)
        known = {name: value for name, value in fields.items() if name in table.known}
        table.change(self.box.settings(path), known)

    def _follow(self) -> None:
        """Let the NAS half obey the menus, and the menus show the NAS half."""
        box = self.box
        box.watch("/radius/incoming", lambda _change: self.in_loop(self._listen))
        box.watch("/ip/pool", self._pool_changed)
        for row in box.table("/ip/pool"):
            self._take_pool(row)
        box.rebooted.append(lambda: self.in_loop(self._rebooted))
        box.pinged = self.pinged
        box.command("/radius/monitor", self._radius_monitor)
        box.command("/radius/incoming/monitor", self._incoming_monitor)
        box.compute("/system/resource", "free-memory", lambda _row: str(self._free_memory()))
        if "value" in box.table("/system/health").known and box.version.major >= 7:
            box.compute("/system/health", "value", self._health)
        else:
            box.compute("/system/health", "temperature", lambda _row: str(round(self._warmth())))

    def _listen(self) -> None:
        settings = self.box.settings("/radius/incoming")
        wanted = int(settings["port"]) if settings.is_true("accept") else None
        if (wanted or 0) != self._listener.port:
            try:
                self._listener.listen(wanted)
            except OSError as problem:
                self.box.log("radius,error", f"cannot listen on {wanted}: {problem.strerror}")

    def _pool_changed(self, change: Change) -> None:
        if change.kind == "remove":
            self.nas.pools.set(change.row["name"], None)
        else:
            self._take_pool(change.row)

    def _take_pool(self, row: Row) -> None:
        try:
            self.nas.pools.set(row["name"], row["ranges"])
        except ValueError:  # a pool of IPv6, or none yet
            self.nas.pools.set(row["name"], None)

    # Booting.

    def _rebooted(self) -> None:
        """End the sessions as an orderly reboot does, and stay away while the router boots."""
        self.traffic.reset()
        if self._reboots_itself:
            return
        self._reboots_itself = True
        for session in tuple(self.nas.sessions.values()):
            self.nas.log_out(session, TerminateCause.ADMIN_REBOOT)
        self.nas.power_cut()
        self._loop.call_later(self.profile.boot_seconds, self._up)

    def _up(self) -> None:
        self.on_up()

    # What the router tells of itself.

    def pinged(self, address: str) -> float | None:
        """Return how long a ping takes, in seconds; None if nobody answers."""
        try:
            wanted = ipaddress.ip_address(address)
        except ValueError:
            return None
        if address in self.unreachable:
            return None
        if wanted.is_loopback or wanted.is_global or wanted in ipaddress.ip_network("198.51.100.0/24"):
            return self._random.uniform(0.009, 0.030)
        known = any(session.address == address for session in tuple(self.nas.sessions.values()))
        known = known or address in self.traffic.clients or address == self.nas.profile.address
        for path, name in (("/ip/arp", "address"), ("/ip/neighbor", "address"), ("/ip/address", "address")):
            known = known or any(row.get(name).partition("/")[0] == address for row in self.box.table(path))
        return self._random.uniform(0.001, 0.020) if known else None

    def _radius_monitor(self, call: Call) -> list[dict[str, str]]:
        """Count what the NAS half has asked, at the row that it asks by: the first that is enabled."""
        table = self.box.table("/radius")
        asked = next((row for row in table if not row.is_true("disabled")), None)
        named = call.arguments.get(".id") or call.arguments.get("numbers")
        counters = self.nas.counters if not named or (asked is not None and asked.id == named) else Counters()
        told = {
            "pending": 0,
            "requests": counters.requests + counters.accounting_sent,
            "accepts": counters.accepts,
            "rejects": counters.rejects,
            "resends": counters.resends,
            "timeouts": counters.timeouts,
            "bad-replies": counters.bad_replies,
        }
        rtt = f"{round(counters.last_seconds * 1000)}ms"
        return [{name: str(value) for name, value in told.items()} | {"last-request-rtt": rtt}]

    def _incoming_monitor(self, _call: Call) -> list[dict[str, str]]:
        counters = self._listener.counters
        told = {"requests": counters.requests, "bad-requests": counters.bad_requests}
        return [{name: str(value) for name, value in (told | {"acks": counters.acks, "naks": counters.naks}).items()}]

    def _free_memory(self) -> int:
        total = self.box.hardware.memory
        used = 0.2 + 0.05 * math.sin(time.monotonic() / 300) + 0.00005 * len(self.nas.sessions)
        return int(total * max(0.05, 1 - used))

    def _warmth(self) -> float:
        return _TEMPERATURE + 3 * math.sin(time.monotonic() / 600) + 0.12 * self.traffic.cpu_load

    def _health(self, row: Row) -> str:
        return str(round(self._warmth())) if row.get("name") == "temperature" else row.get("value")
