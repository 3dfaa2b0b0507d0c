"""An emulated router as the script interpreter sees it: its menus with their parameters, its rows, its files."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from lab.routeros.box import Box, Collected
from lab.routeros.commands import Ret, Trap, shown_fields
from lab.routeros.menus import MENUS
from lab.routeros.menus.spec import Menu
from lab.routeros.policy import SYSTEM, Caller
from lab.routeros.script import Failure, Row, Terminal
from lab.routeros.script_language import Failed
from lab.routeros.script_nodes import Value

_NUMBERS = frozenset({"numbers", ".id"})
_TOPICS = frozenset({"debug", "error", "info", "warning"})
_FETCH = frozenset(
    {
        "url", "mode", "dst-path", "output", "as-value", "check-certificate", "http-method", "http-data", "address",
        "http-header-field", "keep-result", "user", "password", "host", "port", "src-path", "duration", "src-address",
    }
)  # fmt: skip
_FETCH_SECONDS = 10.0
_OWN: Mapping[str, frozenset[str]] = {
    "": frozenset({"import"}),
    "/log": _TOPICS,
    "/system/script": frozenset({"run"}),
    "/tool": frozenset({"fetch"}),
}


def terminal(box: Box, caller: Caller = SYSTEM) -> Terminal:
    """Return a terminal on a router, with the rights of that user (of everybody by default)."""
    return Terminal(BoxDevice(box, caller))


def paste(box: Box, text: str, caller: Caller = SYSTEM) -> list[Failure]:
    """Paste text into a new terminal of a router, and return the statements that failed."""
    return terminal(box, caller).paste(text)


def run_import(box: Box, text: str, caller: Caller = SYSTEM) -> Failure | None:
    """Import text as a file, and return the statement that it stopped at."""
    return terminal(box, caller).run_import(text)


class BoxDevice:
    """A `script.Device` that is a box. Its commands are those of the API, with the same rights."""

    def __init__(self, box: Box, caller: Caller = SYSTEM) -> None:
        self._box = box
        self._caller = caller
        self._own = {menu: set(names) for menu, names in _OWN.items()}
        for path in box._commands:
            menu, _, name = path.rpartition("/")
            if menu not in MENUS or box.has(menu):
                self._own.setdefault(menu, set()).add(name)
        self._paths = {path for path in MENUS if box.has(path)} | set(self._own)
        self._children: dict[str, set[str]] = {}
        for path in self._paths:
            while path:
                above, _, name = path.rpartition("/")
                self._children.setdefault(above, set()).add(name)
                path = above

    # What there is.

    def children(self, path: str) -> Collection[str]:
        """Return the menus below one."""
        return self._children.get(path, ())

    def commands(self, path: str) -> Collection[str]:
        """Return the commands of a menu."""
        standard = _standard(MENUS[path]) if path in MENUS and self._box.has(path) else frozenset()
        return standard | self._own.get(path, set())

    def parameters(self, path: str, command: str) -> Collection[str] | None:
        """Return the names of a command's parameters; None where any goes."""
        if (path, command) == ("/tool", "fetch"):
            return _FETCH
        if command in self._own.get(path, ()):
            return None
        settable = {name for name, each in self._box.fields(path).items() if not each.readonly}
        match command:
            case "add":
                return settable | {"place-before", "copy-from"}
            case "set":
                return settable if MENUS[path].single else settable | _NUMBERS
            case "comment":
                return _NUMBERS | {"comment"}
            case "move":
                return _NUMBERS | {"destination"}
            case "get":
                return _NUMBERS | {"number", "value-name"}
            case "unset":
                return _NUMBERS | {"value-name"}
            case "remove" | "enable" | "disable" | "reset-counters":
                return _NUMBERS
            case _:
                return None

    def is_single(self, path: str) -> bool:
        """Return whether a menu holds settings rather than rows."""
        return self._box.table(path).menu.single

    def rows(self, path: str) -> Sequence[Row]:
        """Return the rows of a menu as this user sees them."""
        box = self._box
        with box.lock:
            box.refreshed(path)
            table = box.table(path)
            shown = [(row.id, shown_fields(box, self._caller, table, row)) for row in table]
        single = table.menu.single
        return [("" if single else id_, {k: v for k, v in fields.items() if k != ".id"}) for id_, fields in shown]

    # What can be done.

    def call(self, path: str, command: str, arguments: Mapping[str, str]) -> Value:
        """Run a command as the API would. Raises Failed."""
        if (path, command) == ("/tool", "fetch"):
            return self._fetch(arguments)
        if path == "/log" and command in _TOPICS:
            self._box.log(f"script,{command}", arguments["message"])
            return None
        try:
            return _returned(command, self._run(f"{path}/{command}", arguments))
        except Trap as trap:
            raise Failed(trap.message) from None

    def _run(self, path: str, arguments: Mapping[str, str]) -> Collected:
        box = self._box
        answer = box.perform(path, arguments, (), self._caller)
        if answer is None:
            return Collected()
        if isinstance(answer, Ret):
            return Collected(ret=answer.value)
        if isinstance(answer, AsyncIterator | Awaitable):  # takes time: on a thread, since a loop may run on this one
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(asyncio.run, _whole(answer)).result()
        with box.lock:
            return Collected([dict(row) for row in answer])

    def resolve(self, name: str) -> str:
        """Return the address of a name: of the router's static ones, else of this machine's resolver."""
        if self._box.has("/ip/dns/static"):
            row = self._box.table("/ip/dns/static").first(name=name)
            if row is not None:
                return row["address"]
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass
        try:
            return socket.gethostbyname(name)
        except OSError:
            raise Failed("failure: dns name does not exist") from None

    def file(self, name: str) -> str:
        """Return what a file holds; `.rsc` may be left out. Raises Failed."""
        table = self._box.table("/file")
        row = table.first(name=name) or table.first(name=f"{name}.rsc")
        if row is None:
            raise Failed("failure: File does not exist!")
        return row.get("contents")

    def _fetch(self, arguments: Mapping[str, str]) -> Value:
        """Fetch by HTTP, without following redirects, into a file named after the last part of the path."""
        if not self._caller.may("test"):
            raise Failed("not enough permissions (9)")
        url = urlsplit(arguments.get("url", ""))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Failed("failure: bad URL")
        status, reason, body = self._request(url, arguments)
        if status != 200:
            raise Failed(f"failure: closing connection: <{status} {reason}> {url.hostname}:{_port(url)} (4)")
        text = body.decode("utf-8", "surrogateescape")
        if arguments.get("output") == "user":
            return {"status": "finished", "data": text}
        if arguments.get("output") != "none" and arguments.get("keep-result", "yes") != "no":
            name = arguments.get("dst-path") or url.path.rpartition("/")[2] or "index.html"
            self._store(name, text, len(body))
        return {"status": "finished", "downloaded": str(-(-len(body) // 1024)), "total": str(-(-len(body) // 1024))}

    def _request(self, url: SplitResult, arguments: Mapping[str, str]) -> tuple[int, str, bytes]:
        host, port = str(url.hostname), _port(url)
        connection: HTTPConnection
        if url.scheme == "https":
            context = ssl.create_default_context()
            if arguments.get("check-certificate", "no") == "no":
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            connection = HTTPSConnection(host, port, timeout=_FETCH_SECONDS, context=context)
        else:
            connection = HTTPConnection(host, port, timeout=_FETCH_SECONDS)
        method = arguments.get("http-method", "get").upper()
        body = arguments.get("http-data", "").encode("utf-8", "surrogateescape") or None
        try:
            connection.request(method, (url.path or "/") + (f"?{url.query}" if url.query else ""), body)
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.read()
        except (OSError, HTTPException) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else None
            raise Failed(f"failure: {(reason or str(problem) or 'connection closed').lower()}") from None
        finally:
            connection.close()

    def _store(self, name: str, text: str, size: int) -> None:
        files = self._box.table("/file")
        fields = {
            "name": name,
            "type": f".{name.rpartition('.')[2]} file" if "." in name else "file",
            "size": str(size),
            "contents": text,
        }
        with self._box.lock:
            row = files.first(name=name)
            if row is None:
                files.put(fields)
            else:
                files.change(row, fields)


async def _whole(answer: AsyncIterator[Mapping[str, str]] | Awaitable[Ret | None]) -> Collected:
    if isinstance(answer, AsyncIterator):
        return Collected([dict(row) async for row in answer])
    ret = await answer
    return Collected(ret=ret.value if ret is not None else None)


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _returned(command: str, answer: Collected) -> Value:
    """Return what a command is worth in a script: its text, its one row, or for a ping how many answers came."""
    if answer.ret is not None:
        return answer.ret
    if command == "ping":
        return int(answer.rows[-1].get("received", "0")) if answer.rows else 0
    rows: list[Value] = [dict(row) for row in answer.rows]
    return rows[0] if len(rows) == 1 else rows or None


def _standard(menu: Menu) -> frozenset[str]:
    """Return the commands that every menu of its kind has."""
    if menu.single:
        return frozenset({"print", "get", "set", "export"})
    names = {"print", "find", "get", "export"}
    names |= {"add"} if menu.adds else set()
    names |= {"set", "unset"} if menu.sets else set()
    names |= {"remove"} if menu.removes else set()
    names |= {"enable", "disable"} if menu.disables else set()
    names |= {"comment"} if menu.comments else set()
    names |= {"move"} if menu.ordered else set()
    return frozenset(names | {"reset-counters"})
