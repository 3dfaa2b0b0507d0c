"""One emulated router: its menus, users, versions and faults, without any socket.

**How other code takes part.** A box is open to whoever plays the rest of the router (sessions, traffic, devices):

- `box.table(path)` has the rows; `put`, `change` and `drop` there need no menu's leave and trouble no hook. Fields are
  text as RouterOS prints it (`"true"`, `"1h2m"`, `"5000000/40000000"`); a dynamic row has `"dynamic": "true"`.
- `box.fill(path, fields)` adds a row with the menu's defaults; `box.rows(path)` returns what a print shows.
- `box.settings(path)` is the one row of a menu of settings.
- `box.guard(path, function)` is asked before what a person does: `function(kind, call, row, fields)` with kind `add`,
  `set` or `remove`; it may raise `Trap` to refuse, and change `fields`, which are about to be stored (`row` is None for
  an add).
- `box.on(path, function)` is told after it: `function(change)`, see `table.Change`.
- `box.watch(path, function)` is told every change, also those made by code; `listen` stands on the same.
- `box.refresh(path, function)` is called before each print, find, get or count of that path, to bring its rows up to
  date.
- `box.compute(path, field, function)` gives a field when a row is shown: `function(row)` returns the text, None for
  absent.
- `box.command("/ping", function, policy="test")` adds or replaces a command: `function(call)` returns rows (a list, a
  generator, or an asynchronous generator for what takes time), `Ret(text)`, None, or an awaitable of the last two, and
  raises `Trap`.
- `box.pinged` and `box.traffic` say what `/ping` (seconds, None for no answer) and `monitor-traffic` find; replace
  them.
- `box.run(path, arguments, …)` gives a command as a client would, without a connection: for scripts and tests.
- `box.rebooted` functions are called after a reboot, `box.on_reboot` in the servers close their connections.

**Threads.** Everything here may be called from any thread: one lock, `box.lock`, is held while a command or a change is
carried out, hooks included. Hooks run on the thread of who gave the command, which is that of the server's loop for the
API; they must not wait. Hold `box.lock` yourself to do several things at once.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from threading import RLock
from zoneinfo import ZoneInfo

from lab.routeros import commands
from lab.routeros.commands import GENERAL, MISSING, Answer, Call, Command, Ret, Trap
from lab.routeros.faults import Faults
from lab.routeros.firmware import a_ping, install, no_traffic
from lab.routeros.menus import MENUS
from lab.routeros.menus.spec import Field, Menu
from lab.routeros.policy import SYSTEM, Caller, User, granted_by, policy_text
from lab.routeros.table import Change, Happened, Row, Table
from lab.routeros.versions import Version

Guard = Callable[[Happened, Call, Row | None, dict[str, str]], None]
Reaction = Callable[[Change], None]
Compute = Callable[[Row], str | None]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the box is made of."""

    board: str = "RB5009UG+S+"
    architecture: str = "arm64"
    serial: str = "HEX08PORTICO"
    cpu: str = "ARM64"
    cpu_count: int = 4
    cpu_frequency: int = 1400
    memory: int = 1_073_741_824
    storage: int = 1_073_741_824
    routerboard: bool = True  # False for a virtual machine, which has no such menu
    interfaces: tuple[str, ...] = ("ether1", "ether2", "ether3", "ether4", "ether5")


@dataclass(frozen=True, slots=True)
class Collected:
    """The whole answer to a command: its rows, and the text of `=ret=`."""

    rows: list[dict[str, str]] = field(default_factory=list)
    ret: str | None = None


class Box:
    """One router. What other code may do with it stands at the top of this module."""

    def __init__(
        self,
        *,
        version: str = "7.16",
        identity: str = "MikroTik",
        users: Mapping[str, User] | None = None,
        hardware: Hardware | None = None,
        packages: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        zone: str = "UTC",
    ) -> None:
        self.version = Version.parse(version)
        self.hardware = hardware or Hardware()
        self.packages = frozenset(packages)
        self.faults = Faults()
        self.lock = RLock()
        self.clock = clock
        self.zone = ZoneInfo(zone)
        self.booted_at = clock()
        self.boots = 0
        self.boot_time = 0.0  # seconds that the box lets nobody in after a reboot
        self.computed: dict[str, dict[str, Compute]] = {}
        self.rebooted: list[Callable[[], None]] = []
        self.on_reboot: list[Callable[[], None]] = []
        self.pinged: Callable[[str], float | None] = a_ping
        self.traffic: Callable[[Row], Mapping[str, int]] = no_traffic
        self._tables: dict[str, Table] = {}
        self._waiting: dict[str, list[Reaction]] = {}
        self._guards: dict[str, list[Guard]] = {}
        self._reactions: dict[str, list[Reaction]] = {}
        self._refreshers: dict[str, list[Callable[[Table], None]]] = {}
        self._commands: dict[str, tuple[Command, str]] = {}
        install(self)
        self.settings("/system/identity").fields["name"] = identity
        for name, user in (users if users is not None else {"admin": User()}).items():
            self.add_user(name, user)

    # What there is

    def has(self, path: str) -> bool:
        """Whether this version has the menu, with the packages that are installed."""
        menu = MENUS.get(path)
        return menu is not None and self._stands(menu)

    def table(self, path: str) -> Table:
        """Return the rows of a menu (`/ppp/secret`). Raises Trap, as the router answers, if there is none."""
        found = self._tables.get(path)
        if found is not None:
            return found
        menu = MENUS.get(path)
        if menu is None or not self._stands(menu):
            raise self._no_such(path)
        with self.lock:
            fields = self.fields(path)
            table = self._tables[path] = Table(menu, fields, self.lock)
            defaults = {name: each.default for name, each in fields.items() if each.default is not None}
            for row in menu.first or (({},) if menu.single else ()):
                kept = {name: value for name, value in row.items() if name in fields}
                table.put({**defaults, **kept}, number=int(row[".id"].removeprefix("*"), 16) if ".id" in row else None)
            table.watchers += self._waiting.pop(path, [])
        return table

    def settings(self, path: str) -> Row:
        """Return the one row of a menu of settings."""
        return next(iter(self.table(path)))

    def fields(self, path: str) -> Mapping[str, Field]:
        """Return the fields that a menu has in this version, by name."""
        return _fields_of(path, self.version)

    def fill(self, path: str, fields: Mapping[str, str]) -> Row:
        """Add a row with the menu's defaults for what is not given, and without any of its rules."""
        known = self.fields(path)
        defaults = {name: each.default for name, each in known.items() if each.default is not None}
        both = {**defaults, **fields}
        ordered = {name: both[name] for name in known if name in both}
        return self.table(path).put({**ordered, **both})

    def sensitive(self, path: str) -> tuple[str, ...]:
        """Return the names of the fields that are masked for who lacks the policy."""
        return _marked(path, self.version)[0]

    def unseen(self, path: str) -> tuple[str, ...]:
        """Return the names of the fields that nobody is shown."""
        return _marked(path, self.version)[1]

    def rows(self, path: str) -> list[dict[str, str]]:
        """Return a menu as somebody with all rights sees it, ids included."""
        return self.run(f"{path}/print").rows

    def row_named(self, table: Table, name: str) -> Row:
        """Return the row of an id (`*1A`) or of a name. Raises Trap if it is gone."""
        row = table.row(name) if name.startswith("*") else None
        if row is None and not name.startswith("*"):
            row = table.first(name=name)
        if row is None:
            raise Trap("no such item (4)" if self.version >= Version(6, 43) else "no such item", MISSING)
        return row

    # What other code adds

    def guard(self, path: str, function: Guard) -> None:
        """Ask this function before a person adds, sets or removes in a menu."""
        self._guards.setdefault(path, []).append(function)

    def on(self, path: str, function: Reaction) -> None:
        """Tell this function what a person did in a menu."""
        self._reactions.setdefault(path, []).append(function)

    def refresh(self, path: str, function: Callable[[Table], None]) -> None:
        """Call this function before the menu is read."""
        self._refreshers.setdefault(path, []).append(function)

    def compute(self, path: str, name: str, function: Compute) -> None:
        """Let this function say what a field holds when a row is shown."""
        self.computed.setdefault(path, {})[name] = function

    def command(self, path: str, function: Command, policy: str = "read") -> None:
        """Add or replace a command, named with its menu: `/ip/dhcp-server/lease/make-static`."""
        self._commands[path] = (function, policy)

    def watch(self, path: str, function: Reaction) -> None:
        """Tell this function every change in a menu, whoever made it, from when the menu is first looked at."""
        table = self._tables.get(path)
        if table is not None:
            table.watchers.append(function)
        else:
            self._waiting.setdefault(path, []).append(function)

    def unwatch(self, path: str, function: Reaction) -> None:
        """Take such a function away again."""
        for table in self.opened(path):
            if function in table.watchers:
                table.watchers.remove(function)

    def opened(self, path: str) -> list[Table]:
        """Return the table of a menu if anybody looked at it yet; tables are made when they are first wanted."""
        table = self._tables.get(path)
        return [table] if table is not None else []

    def add_user(self, name: str, user: User) -> Row:
        """Add a user, and the group it is in if it names policies of its own."""
        groups = self.table("/user/group")
        if user.policies is not None:
            text = policy_text(user.policies, self.version)
            group = groups.first(name=user.group)
            if group is None:
                groups.put({"name": user.group, "policy": text})
            else:
                groups.change(group, {"policy": text})
        fields = {"name": name, "password": user.password, "group": user.group, "disabled": "false"}
        return self.table("/user").put({**fields, "address": ",".join(user.addresses)})

    # What the commands ask

    def guarded(self, kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
        """Ask the guards of a menu. Raises Trap."""
        for guard in self._guards.get(call.path, ()):
            guard(kind, call, row, fields)

    def react(self, change: Change) -> None:
        """Tell what a person did."""
        for function in self._reactions.get(change.path, ()):
            function(change)

    def refreshed(self, path: str) -> None:
        """Bring a menu up to date before it is read."""
        for function in self._refreshers.get(path, ()):
            function(self.table(path))

    def policies_of(self, user: Row) -> frozenset[str]:
        """Return what the group of a user grants at the moment."""
        group = self.table("/user/group").first(name=user.get("group"))
        return granted_by(group.get("policy")) if group else frozenset()

    # Commands

    def perform(
        self, path: str, arguments: Mapping[str, str], queries: Iterable[str] = (), caller: Caller = SYSTEM
    ) -> Answer:
        """Carry out one command, named with its menu (`/ppp/secret/print`). Raises Trap."""
        if not path.startswith("/"):
            raise Trap("no such command", MISSING)
        if path in self.faults.traps:
            raise Trap(self.faults.traps[path], GENERAL)
        menu, _, name = path.rpartition("/")
        call = Call(self, caller, menu, name, dict(arguments), tuple(queries))
        with self.lock:
            own = self._commands.get(path)
            if own is not None:
                if menu in MENUS:
                    self.table(menu)
                function, policy = own
            else:
                spec = self.table(menu).menu
                standard = commands.STANDARD.get(name)
                if standard is None:
                    raise Trap("no such command", MISSING)
                function, policy = standard[0], spec.writes if standard[1] else spec.reads
            if not caller.may(policy):
                raise Trap("not enough permissions (9)", None)
            return function(call)

    def run(
        self, path: str, arguments: Mapping[str, str] | None = None, *queries: str, caller: Caller = SYSTEM
    ) -> Collected:
        """Carry out a command that answers at once and return all of its answer. Raises Trap."""
        answer = self.perform(path, arguments or {}, queries, caller)
        if isinstance(answer, Ret):
            return Collected(ret=answer.value)
        if isinstance(answer, Coroutine):
            answer.close()
        if isinstance(answer, AsyncIterator | Awaitable):
            raise TypeError(f"{path} takes time")
        with self.lock:
            return Collected([dict(row) for row in answer or ()])

    # Time

    @property
    def now(self) -> datetime:
        """The moment by the router's clock, in its zone."""
        return datetime.fromtimestamp(self.clock(), UTC).astimezone(self.zone)

    @property
    def uptime(self) -> float:
        """Seconds since the router was started."""
        return max(0.0, self.clock() - self.booted_at)

    def as_new(self) -> "Box":
        """Return a box of the same make as it comes out of its carton, without users."""
        made = {"hardware": self.hardware, "packages": self.packages, "clock": self.clock, "zone": self.zone.key}
        return Box(version=str(self.version), users={}, **made)  # type: ignore[arg-type]

    @property
    def booting(self) -> bool:
        """Whether the box was rebooted just now and lets nobody in yet."""
        return self.boots > 0 and self.uptime < self.boot_time

    def log(self, topics: str, message: str) -> None:
        """Write a line to the router's log, which keeps the last thousand."""
        with self.lock:
            table = self.table("/log")
            table.put({"time": self.version.instant(self.now), "topics": topics, "message": message})
            if len(table) > _LOG_LINES:
                table.drop(next(iter(table)))

    def reboot(self) -> None:
        """Start again: dynamic rows are gone, ids are others, the uptime is zero, all connections are closed."""
        with self.lock:
            self.boots += 1
            self.booted_at = self.clock()
            for path, table in self._tables.items():
                if path == "/log":
                    table.clear()
                elif not table.menu.single:
                    table.renumber(1 + self.boots)
            for function in (*self.on_reboot, *self.rebooted):
                function()
            self.log("system,info", "router rebooted")

    def _no_such(self, path: str) -> Trap:
        first = path.partition("/")[2].partition("/")[0]
        if self.version.major >= 7 and not any(known.split("/")[1] == first for known in MENUS):
            return Trap(f"no such command or directory ({first})", MISSING)
        return Trap("no such command prefix", MISSING)

    def _stands(self, menu: Menu) -> bool:
        if not menu.stands_in(self.version) or (menu.path == "/system/routerboard" and not self.hardware.routerboard):
            return False
        return not menu.package or menu.package in self.packages or self.version < _PACKAGES_APART


@cache
def _fields_of(path: str, version: Version) -> Mapping[str, Field]:
    """Boxes of one version share this; there may be a thousand of them."""
    return MENUS[path].fields_of(version)


@cache
def _marked(path: str, version: Version) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields that are masked, and of those that are not shown at all."""
    fields = _fields_of(path, version).values()
    return tuple(each.name for each in fields if each.sensitive), tuple(each.name for each in fields if each.unseen)


_PACKAGES_APART = Version(7, 13)  # until then the driver for wireless came with the system
_LOG_LINES = 1000
