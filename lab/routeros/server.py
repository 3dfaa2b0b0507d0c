"""The API service of a box: a TCP server that speaks sentences.

One server is one listening socket, plain or with TLS; many of them, also of many boxes, live in one event loop. A
connection logs in, gives commands, and gets for each of them rows (`!re`) and one `!done`. A command with a tag runs
beside the others and its answer carries the tag; commands without one are answered in the order in which they came.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping

from lab.routeros import script_commands
from lab.routeros.box import Box
from lab.routeros.commands import API_ERROR, INTERRUPTED, Fatal, Ret, Trap, shown_fields
from lab.routeros.login import answers, new_challenge
from lab.routeros.policy import Caller, address_allowed
from lab.routeros.query import BadQuery, compile_query
from lab.routeros.table import Change, Row
from lab.routeros.wire import Decoder, Malformed, encode_sentence, octets, text

ROWS_AT_ONCE = 64
_TURNS = 5  # of the event loop, from an accepted socket to a connection that is known
READ_OCTETS = 65_536


class ApiServer:
    """The API of one box on one port.

    `tls` is a context with the router's certificate (see `lab.routeros.tls`), None for the plain service.
    """

    def __init__(
        self, box: Box, address: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.box = box
        self.address = address
        self.port = port
        self.connections: set[Connection] = set()
        script_commands.install(box)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._turning: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def service(self) -> Row:
        """The row of `/ip/service` that stands for this server."""
        name = "api-ssl" if self._tls else "api"
        row = next(
            (row for row in self.box.table("/ip/service").find(name=name) if not row.is_true("connection")), None
        )
        assert row is not None
        return row

    async def start(self) -> None:
        """Listen; with port 0, `port` says afterwards which one it is. Raises OSError."""
        await self._listen()
        self._loop = asyncio.get_running_loop()
        self.box.on_reboot.append(self.drop_connections)
        self.box.watch("/ip/service", self._service_changed)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, ssl=self._tls, limit=READ_OCTETS, backlog=64
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._loop is None:
            return
        self.box.on_reboot.remove(self.drop_connections)
        self.box.unwatch("/ip/service", self._service_changed)
        await self._stop_listening()
        connections = list(self.connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(each.ended.wait() for each in connections))
        self._loop = None

    async def _stop_listening(self) -> None:
        """Close the port, once what was already accepted is a connection: asyncio would lose its socket otherwise."""
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        server.close()

    def _service_changed(self, change: Change) -> None:
        """Close the port with the service, and open it with it."""
        if change.row is self.service and self._loop is not None:
            self._loop.call_soon_threadsafe(self._follow_service)

    def _follow_service(self) -> None:
        self._turning = asyncio.ensure_future(self._turn(self._turning))

    async def _turn(self, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self.service.is_true("disabled"):
            await self._stop_listening()
        elif self._server is None and self._loop is not None:
            await self._listen()

    def drop_connections(self) -> None:
        """End all connections at once, as a reboot does. May be called from any thread."""
        assert self._loop is not None
        for connection in list(self.connections):
            self._loop.call_soon_threadsafe(connection.abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            connection.ended.set()

    def admits(self, peer: str) -> bool:
        """Whether a new connection (already counted) is served, or closed at once."""
        faults, service = self.box.faults, self.service
        if self.box.booting or faults.refuse_connections or service.is_true("disabled"):
            return False
        limit = faults.max_sessions if faults.max_sessions is not None else int(service.get("max-sessions", "0"))
        if limit and len(self.connections) > limit:
            return False
        return address_allowed(service.get("address"), peer)


class Connection:
    """One client."""

    def __init__(self, server: ApiServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.box = server.box
        self.ended = asyncio.Event()
        self._server = server
        self._reader = reader
        self._writer = writer
        self._peer = writer.get_extra_info("peername")[0]
        self._caller: Caller | None = None
        self._active: Row | None = None
        self._service: Row | None = None
        self._challenge = b""
        self._running: dict[asyncio.Task[None], str] = {}
        self._queue: asyncio.Queue[list[str]] = asyncio.Queue()
        self._sent = 0

    def abort(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def serve(self) -> None:
        """Serve until the client or the box has had enough."""
        in_order = asyncio.create_task(self._one_after_another())
        try:
            if self._server.admits(self._peer):
                await self._read()
        except (ConnectionError, ssl.SSLError, Malformed):
            pass  # the client is gone, or is none
        finally:
            tasks = [in_order, *self._running]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._logged_out()
            self._writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await self._writer.wait_closed()

    async def _read(self) -> None:
        decoder = Decoder()
        while data := await self._reader.read(READ_OCTETS):
            if self.box.faults.silent:
                continue
            for sentence in decoder.feed(data):
                try:
                    await self._take([text(word) for word in sentence])
                except Fatal as problem:
                    await self._say(["!fatal", str(problem)])
                    return

    async def _take(self, words: list[str]) -> None:
        """Begin what a sentence asks for. Raises Fatal."""
        command, tag = words[0], _tag(words)
        if command == "/quit":
            raise Fatal("session terminated on request")
        if command == "/login":
            await self._login(_arguments(words), tag)
            return
        if self._caller is None:
            raise Fatal("not logged in")
        if command == "/cancel":
            await self._cancel(_arguments(words).get("tag"), tag)
        elif tag or command.endswith("/listen"):
            self._start(words, tag)
        else:
            self._queue.put_nowait(words)

    def _start(self, words: list[str], tag: str) -> None:
        task = asyncio.create_task(self._answer(words, tag))
        self._running[task] = tag
        task.add_done_callback(lambda done: self._running.pop(done, None))

    async def _one_after_another(self) -> None:
        while True:
            words = await self._queue.get()
            task = asyncio.create_task(self._answer(words, ""))
            self._running[task] = ""
            try:
                await asyncio.wait([task])
            finally:
                self._running.pop(task, None)
                task.cancel()

    async def _cancel(self, wanted: str | None, tag: str) -> None:
        chosen = [task for task, its in self._running.items() if wanted is None or its == wanted]
        if wanted and not chosen:
            await self._trap(Trap("unknown tag", API_ERROR), tag)
        for task in chosen:
            task.cancel(msg=_CANCELLED)
        await asyncio.gather(*chosen, return_exceptions=True)
        await self._say(["!done"], tag)

    # Login

    async def _login(self, arguments: Mapping[str, str], tag: str) -> None:
        version = self.box.version
        if "name" not in arguments or ("response" not in arguments and not version.knows_plain_login):
            if not version.knows_challenge:
                await self._refuse(tag)
                return
            self._challenge = new_challenge()
            await self._say(["!done", f"=ret={self._challenge.hex()}"], tag)
            return
        user = self._user(arguments)
        if user is None:
            self.box.log(
                "system,error,critical", f"login failure for user {arguments['name']} from {self._peer} via api"
            )
            await self._refuse(tag)
            return
        self._logged_in(user)
        await self._say(["!done"], tag)

    async def _refuse(self, tag: str) -> None:
        await self._trap(Trap(self.box.version.refusal), tag)
        await self._say(["!done"], tag)

    def _user(self, arguments: Mapping[str, str]) -> Row | None:
        """Return the user who may come in with these words."""
        challenge, self._challenge = self._challenge, b""
        user = self.box.table("/user").first(name=arguments["name"])
        if user is None or user.is_true("disabled") or self.box.faults.refuse_logins:
            return None
        password = user.get("password")
        if "response" in arguments:
            known = self.box.version.knows_challenge and bool(challenge)
            if not known or not answers(arguments["response"], octets(password), challenge):
                return None
        elif arguments.get("password", "") != password:
            return None
        if not address_allowed(user.get("address"), self._peer) or "api" not in self.box.policies_of(user):
            return None
        return user

    def _logged_in(self, user: Row) -> None:
        box, name = self.box, user["name"]
        self._logged_out()
        with box.lock:
            self._caller = Caller(name, box.policies_of(user), self._peer)
            box.log("system,info,account", f"user {name} logged in from {self._peer} via api")
            user.fields["last-logged-in"] = box.version.instant(box.now)
            self._active = box.table("/user/active").put(
                {"when": box.version.instant(box.now), "name": name, "address": self._peer, "via": "api"}
                | {"group": user.get("group"), "radius": "false"}
            )
            if box.version.lists_connections:
                self._service = box.table("/ip/service").put(self._connection_row())

    def _connection_row(self) -> dict[str, str]:
        """Return the row of `/ip/service` that stands for this connection, under the name of the service itself."""
        service = self._server.service
        host, port = self._writer.get_extra_info("peername")[:2]
        own = self._writer.get_extra_info("sockname")
        flags = {"connection": "true", "dynamic": "true", "disabled": "false", "invalid": "false", "proto": "tcp"}
        return {"name": service["name"], "port": service["port"], "local": own[0], "remote": f"{host}:{port}", **flags}

    def _logged_out(self) -> None:
        if self._active is not None and self._caller is not None:
            self.box.table("/user/active").drop(self._active)
            if self._service is not None:
                self.box.table("/ip/service").drop(self._service)
            self.box.log("system,info,account", f"user {self._caller.user} logged out from {self._peer} via api")
        self._active = self._caller = None

    # Answers

    async def _answer(self, words: list[str], tag: str) -> None:
        """Carry out one command and answer it."""
        assert self._caller is not None
        path, faults = words[0], self.box.faults
        queries = [word[1:] for word in words[1:] if word.startswith("?")]
        try:
            if faults.reply_delay:
                await asyncio.sleep(faults.reply_delay)
            if path.endswith("/listen"):
                await self._tell_changes(path.removesuffix("/listen"), _arguments(words), queries, tag)
            answer = self.box.perform(path, _arguments(words), queries, self._caller)
            if isinstance(answer, Awaitable):
                answer = await answer
            if isinstance(answer, Ret):
                await self._say(["!done", f"=ret={answer.value}"], tag)
                return
            count = 0 if answer is None else await self._rows(answer, tag)
            if not count and path.endswith("/print") and self.box.version.says_empty:
                await self._say(["!empty"], tag)
        except Trap as trap:
            await self._trap(trap, tag)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_CANCELLED,):
                raise
            await self._trap(Trap("interrupted", INTERRUPTED), tag)
        except ConnectionError:
            return
        except Exception:
            self.abort()  # a mistake of the emulator's own: seen at both ends, and told by asyncio
            raise
        with contextlib.suppress(ConnectionError):
            await self._say(["!done"], tag)

    async def _rows(self, answer: Iterable[Mapping[str, str]] | AsyncIterator[Mapping[str, str]], tag: str) -> int:
        """Send rows, letting others speak after some of them. Returns how many."""
        delay, count, waiting = self.box.faults.row_delay, 0, bytearray()
        if isinstance(answer, AsyncIterator):
            async for row in answer:
                await self._say(_row_words(row), tag)
                count += 1
            return count
        for row in answer:
            count += 1
            waiting += _sentence(_row_words(row), tag)
            if delay:
                await asyncio.sleep(delay)
            if delay or count % ROWS_AT_ONCE == 0:
                await self._write(bytes(waiting))
                waiting.clear()
                await asyncio.sleep(0)
        if waiting:
            await self._write(bytes(waiting))
        return count

    async def _tell_changes(self, path: str, arguments: Mapping[str, str], queries: list[str], tag: str) -> None:
        """Tell what changes in a menu, until cancelled. Raises Trap."""
        assert self._caller is not None
        caller, table, loop = self._caller, self.box.table(path), asyncio.get_running_loop()
        if not caller.may(table.menu.reads):
            raise Trap("not enough permissions (9)")
        try:
            chosen = compile_query(queries)
        except BadQuery as problem:
            raise Trap(f"invalid query: {problem}", API_ERROR) from None
        names = [name for name in arguments.get(".proplist", "").split(",") if name]
        changes: asyncio.Queue[Change] = asyncio.Queue()

        def watch(change: Change) -> None:
            loop.call_soon_threadsafe(changes.put_nowait, change)

        table.watchers.append(watch)
        try:
            while True:
                change = await changes.get()
                if change.kind == "remove":
                    if chosen({**change.before, ".id": change.row.id}):
                        await self._say(["!re", f"=.id={change.row.id}", "=.dead=yes"], tag)
                    continue
                fields = shown_fields(self.box, caller, table, change.row)
                if chosen(fields):
                    shown = {name: fields[name] for name in names if name in fields} if names else fields
                    await self._say(_row_words(shown), tag)
        finally:
            table.watchers.remove(watch)

    async def _trap(self, trap: Trap, tag: str) -> None:
        category = [] if trap.category is None else [f"=category={trap.category}"]
        with contextlib.suppress(ConnectionError):
            await self._say(["!trap", *category, f"=message={trap.message}"], tag)

    async def _say(self, words: list[str], tag: str = "") -> None:
        await self._write(_sentence(words, tag))

    async def _write(self, data: bytes) -> None:
        """Send octets, unless a fault has something else in mind. Raises ConnectionError."""
        faults = self.box.faults
        if faults.garbage:
            data = faults.garbage
        if faults.stall_after is not None:
            data = data[: max(0, faults.stall_after - self._sent)]
        if faults.cut_after is not None and self._sent + len(data) >= faults.cut_after:
            self._writer.write(data[: max(0, faults.cut_after - self._sent)])
            await self._writer.drain()
            self._writer.close()
            raise ConnectionAbortedError
        self._sent += len(data)
        self._writer.write(data)
        await self._writer.drain()


_CANCELLED = "cancelled by the client"


def _sentence(words: list[str], tag: str) -> bytes:
    first, *rest = words
    tagged = [first, f".tag={tag}", *rest] if tag else words
    return encode_sentence([octets(word) for word in tagged])


def _row_words(row: Mapping[str, str]) -> list[str]:
    return ["!re", *(f"={name}={value}" for name, value in row.items())]


def _tag(words: list[str]) -> str:
    return next((word.removeprefix(".tag=") for word in words if word.startswith(".tag=")), "")


def _arguments(words: list[str]) -> dict[str, str]:
    return dict(_pairs(words))


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words[1:]:
        if word.startswith("="):
            name, _, value = word[1:].partition("=")
            yield name, value
