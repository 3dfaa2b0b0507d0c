"""A network written down in TOML: the server, the NAS, their subscribers, and what happens when.

`docs/lab.md` describes the file. Every table is read strictly: a name that is not known is an error, so that a
misspelt option does not pass for one that does nothing.
"""

import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aaa.facts import AccessKind
from core.mac import NotAMac, parse_mac
from lab.faults import Faults
from lab.network import Network
from lab.profile import NasProfile, Server
from lab.routeros.live import SCENARIOS, RouterProfile
from lab.routeros.live_traffic import StaticClient
from lab.subscriber import Demand, Method, Profile, Subscriber


class BadScenario(Exception):
    """The file cannot be used; `str()` is one line that says where and why."""


@dataclass(frozen=True, slots=True)
class Event:
    """An order (see `lab.control`) to be carried out `at` seconds after the start."""

    at: float
    order: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A network to be built. `spread` is within how many seconds the subscribers dial for the first time."""

    nas: tuple[NasProfile, ...]
    subscribers: tuple[tuple[str, Subscriber], ...]  # the NAS's name, and who is behind it
    faults: Mapping[str, Faults] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    spread: float = 10.0
    day_seconds: float | None = None
    restlessness: float = 0.0
    seed: int | None = None
    control: Path | None = None
    routers: Mapping[str, RouterProfile] = field(default_factory=dict)  # by the name of the NAS
    clients: tuple[tuple[str, StaticClient], ...] = ()  # the NAS's name, and who is behind it without a session

    def network(self) -> Network:
        """Return the network, without anything in it yet."""
        return Network(day_seconds=self.day_seconds, restlessness=self.restlessness, seed=self.seed)

    def build(self, network: Network) -> None:
        """Start the NAS and put the subscribers behind them. Raises OSError when an address cannot be had.

        Each start counts as another boot of the NAS, or their session ids would begin again as if nothing had been.
        """
        boot = int(time.time()) if self.seed is None else self.seed
        for profile in self.nas:
            nas = network.add_nas(profile, reboots=boot)
            for name, value in _settings(self.faults.get(profile.name, Faults())).items():
                setattr(nas.faults, name, value)
        for nas_name, subscriber in self.subscribers:
            network.add_subscriber(subscriber, nas_name)

    async def build_routers(self, network: Network) -> None:
        """Make routers of those NAS that are, with what is behind them. Raises OSError like `build`."""
        for nas_name, profile in self.routers.items():
            router = await network.add_router(nas_name, profile)
            for subscriber in router.own_subscribers():
                network.add_subscriber(subscriber, nas_name)
        for nas_name, client in self.clients:
            network.router(nas_name).add_client(replace(client))


def read_scenario(path: Path, server: Mapping[str, Any] | None = None) -> Scenario:
    """Read a file. `server` stands in for a `[server]` that it does not have. Raises BadScenario."""
    try:
        with path.open("rb") as file:
            written = tomllib.load(file)
    except OSError as problem:
        raise BadScenario(f"{path}: {problem.strerror}") from None
    except tomllib.TOMLDecodeError as problem:
        raise BadScenario(f"{path}: {problem}") from None
    if server is not None:
        written.setdefault("server", server)
    return parse_scenario(written)


def parse_scenario(written: Mapping[str, Any]) -> Scenario:
    """Read a scenario from the tables of its file. Raises BadScenario."""
    tables = dict(written)
    server = _read(Server, tables.pop("server", {}), "[server]")
    options = tables.pop("lab", {})
    profiles, faults, routers = [], {}, {}
    for position, table in enumerate(_list(tables, "nas"), 1):
        described = dict(table)
        router = described.pop("router", None)
        profile, faulty = _read_nas(described, server, f"[[nas]] {position}")
        if router is not None:
            routers[profile.name] = _read_router(dict(router), f"[[nas]] {position} router")
        if profile.name in faults:
            raise BadScenario(f"[[nas]] {position}: the name {profile.name!r} stands twice")
        profiles.append(profile)
        faults[profile.name] = faulty
    subscribers = []
    for position, table in enumerate(_list(tables, "subscriber"), 1):
        where = f"[[subscriber]] {position}"
        for nas_name, subscriber in read_subscribers(dict(table), where):
            if nas_name not in faults:
                raise BadScenario(f"{where}: there is no NAS {nas_name!r}")
            subscribers.append((nas_name, subscriber))
    clients = []
    for position, table in enumerate(_list(tables, "client"), 1):
        where = f"[[client]] {position}"
        nas_name, client = _read_client(dict(table), where)
        if nas_name not in routers:
            raise BadScenario(f"{where}: there is no router {nas_name!r}")
        clients.append((nas_name, client))
    events = []
    for position, table in enumerate(_list(tables, "event"), 1):
        order = dict(table)
        at = order.pop("at", None)
        if not isinstance(at, (int, float)) or "do" not in order:
            raise BadScenario(f"[[event]] {position}: needs `at`, in seconds, and `do`")
        events.append(Event(float(at), order))
    if tables:
        raise BadScenario(f"{next(iter(tables))!r} is not known here")
    known = {"spread", "day_seconds", "restlessness", "seed", "control"}
    if unknown := set(options) - known:
        raise BadScenario(f"[lab]: {min(unknown)!r} is not known here")
    control = options.pop("control", None)
    return Scenario(
        tuple(profiles),
        tuple(subscribers),
        faults,
        tuple(events),
        control=None if control is None else Path(control),
        routers=routers,
        clients=tuple(clients),
        **options,
    )


def _list(tables: dict[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = tables.pop(name, [])
    if not isinstance(value, list) or not all(isinstance(table, Mapping) for table in value):
        raise BadScenario(f"{name!r} must be written as [[{name}]]")
    return value


def _read_nas(table: dict[str, Any], server: Server, where: str) -> tuple[NasProfile, Faults]:
    faults = _read(Faults, table.pop("faults", {}), f"{where} faults")
    version = str(table.pop("version", "7.16"))
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
    except ValueError:
        raise BadScenario(f"{where}: version {version!r} is not like 7.16") from None
    for name in ("pools", "local_secrets"):
        if name in table:
            if not isinstance(table[name], Mapping):
                raise BadScenario(f"{where}: {name} is a table of names and values")
            table[name] = tuple(table[name].items())
    profile: NasProfile = _read(NasProfile, {**table, "server": server, "version": (major, minor)}, where)
    return profile, faults


def _read_router(table: dict[str, Any], where: str) -> RouterProfile:
    users = table.get("users", {})
    if not isinstance(users, Mapping) or not all(isinstance(password, str) for password in users.values()):
        raise BadScenario(f"{where}: users is a table of names and passwords")
    if table.get("scenario", "") not in ("", *SCENARIOS):
        raise BadScenario(f"{where}: there is no scenario {table['scenario']!r}; there are {', '.join(SCENARIOS)}")
    if "packages" in table:
        table["packages"] = tuple(table["packages"])
    profile: RouterProfile = _read(RouterProfile, table, where)
    return profile


def _read_client(table: dict[str, Any], where: str) -> tuple[str, StaticClient]:
    nas = str(table.pop("nas", ""))
    demand = Demand(table.pop("download", 0), table.pop("upload", 0))
    try:
        IPv4Address(table.get("address", ""))
        if "profile" in table:
            table["profile"] = Profile(table["profile"])
    except ValueError as problem:
        raise BadScenario(f"{where}: {problem}") from None
    if unknown := set(table) - {"address", "mac", "profile"}:
        raise BadScenario(f"{where}: {min(unknown)!r} is not known here")
    return nas, StaticClient(demand=demand, **table)


def read_subscribers(table: dict[str, Any], where: str) -> list[tuple[str, Subscriber]]:
    """Read one table, which stands for `count` subscribers when it has one: `{n}` is then their number, from 1.

    Each comes with the name of its NAS. Their MAC addresses count up from the one given; `table` is used up. Raises
    BadScenario.
    """
    count = table.pop("count", 1)
    nas = table.pop("nas", None)
    if not isinstance(nas, str):
        raise BadScenario(f"{where}: `nas` says behind which NAS")
    demand = Demand(table.pop("download", 0), table.pop("upload", 0))
    try:
        for name, kind in (("kind", AccessKind), ("method", Method), ("profile", Profile)):
            if name in table:
                table[name] = kind(table[name])
        mac = int(parse_mac(table.pop("mac", "02:00:00:00:00:01")).replace(":", ""), 16)
    except NotAMac as problem:
        raise BadScenario(f"{where}: {str(problem)!r} is not a MAC address") from None
    except ValueError as problem:
        raise BadScenario(f"{where}: {problem}") from None
    for name in ("redial_after", "retry_after"):
        if table.get(name) is False:
            table[name] = None
    pattern: Subscriber = _read(Subscriber, table, where)
    if count == 1:
        return [(nas, replace(pattern, mac=_spell(mac), demand=demand))]
    return [
        (
            nas,
            replace(
                pattern,
                name=pattern.name.replace("{n}", str(number)),
                password=pattern.password.replace("{n}", str(number)),
                mac=_spell(mac + number - 1),
                demand=demand,
            ),
        )
        for number in range(1, count + 1)
    ]


def _spell(mac: int) -> str:
    return parse_mac(f"{mac:012x}")


def _read(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass of a table. Raises BadScenario for a name it does not have, or one that is missing."""
    known = {each.name for each in fields(kind)}
    if unknown := set(table) - known:
        raise BadScenario(f"{where}: {min(unknown)!r} is not known here")
    try:
        return kind(**table)
    except TypeError as problem:
        raise BadScenario(f"{where}: {str(problem).partition('() ')[2] or problem}") from None


def _settings(faults: Faults) -> dict[str, Any]:
    return {each.name: getattr(faults, each.name) for each in fields(faults)}
