"""RouterOS's API, as everything here speaks it: one connection, one command at a time, all values text.

librouteros writes; what comes back is read by `network.words`. A command has one deadline for the whole
of it, however slowly its answer drips in, and every way in which it can fail is a RouterProblem. Who connects to
many routers at once uses `open_router_async`, which has the same shape.

    with open_router(access) as router:
        for secret in router.rows("/ppp/secret", "name", "profile", service="pppoe"):
            router.set("/ppp/secret", secret[".id"], **{"rate-limit": "5M/20M"})
"""

import asyncio
import hashlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from librouteros.connections import AsyncSocketTransport, SocketTransport
from librouteros.exceptions import LibRouterosError
from librouteros.protocol import ApiProtocol, AsyncApiProtocol, encode_sentence
from pydantic import SecretStr

from network.problems import Cause, CertificateChanged, RouterProblem, Stage
from network.version import Version, parse_version
from network.words import Reply, Row, Sentences, Value, attribute, query

PORT = 8728
TLS_PORT = 8729
TIMEOUT = 10.0
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class RouterAccess:
    """How to reach a router's API.

    `timeout` is in seconds, for connecting and logging in together and then for each command as a whole.
    `fingerprint` is the SHA-256 of the certificate that the router must show, lower-case hex; None takes any.
    """

    address: str
    port: int
    tls: bool
    fingerprint: str | None
    user: str
    password: SecretStr
    timeout: float = TIMEOUT


class _Shared:
    """What both kinds of connection know about themselves."""

    def __init__(self, access: RouterAccess) -> None:
        self.timeout = access.timeout
        """Seconds that one command may take as a whole; may be changed between commands (`ping`, a long list)."""
        self.fingerprint: str | None = None
        """SHA-256 of the certificate that the router showed, where TLS is spoken."""
        self._access = access
        self._sentences = Sentences()
        self._usable = True
        self._version: Version | None = None

    @property
    def usable(self) -> bool:
        """Whether the connection can take another command. After a missed deadline it is out of step, for good."""
        return self._usable

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._access.address}:{self._access.port}>"

    def _check_usable(self) -> None:
        if not self._usable:
            raise RouterProblem(Cause.CLOSED, "the connection is closed")

    def _check_certificate(self, certificate: bytes | None) -> None:
        """Note the certificate, before anything secret is sent to whoever shows it. Raises RouterProblem."""
        if not certificate:
            raise RouterProblem(Cause.TLS, "the router shows no certificate", Stage.TLS)
        self.fingerprint = hashlib.sha256(certificate).hexdigest()
        pinned = self._access.fingerprint
        if pinned is not None and pinned != self.fingerprint:
            raise CertificateChanged(pinned, self.fingerprint)


class RouterApi(_Shared):
    """A connection that is logged in. Not for two threads at once."""

    def __init__(self, access: RouterAccess, connection: socket.socket) -> None:
        super().__init__(access)
        self._socket = connection
        self._protocol = _Writing(SocketTransport(connection), encoding="latin-1")

    @property
    def version(self) -> Version:
        """RouterOS's version, asked for once. Raises RouterProblem."""
        if self._version is None:
            self._version = _version_in(self.rows("/system/resource", "version"))
        return self._version

    def rows(self, path: str, /, *fields: str, **equals: Value) -> list[Row]:
        """Return the rows of a menu, or its one row without ".id"; only `fields`, only those whose fields are equal.

        Fields without a value are absent. Name the fields: RouterOS takes long for some. Raises RouterProblem.
        """
        return self._run(f"{path}/print", *_print_words(fields, equals))

    def add(self, path: str, /, **fields: Value) -> str:
        """Add a row and return its id; empty where RouterOS tells none. Raises RouterProblem."""
        return _returned(self._run(f"{path}/add", *_words(fields)))

    def set(self, path: str, id_: str | None = None, /, **fields: Value) -> None:
        """Change a row, or with None a menu that has but one. Raises RouterProblem."""
        self._run(f"{path}/set", *_words({".id": id_, **fields} if id_ is not None else fields))

    def remove(self, path: str, /, *ids: str) -> None:
        """Remove rows; none is no command. Raises RouterProblem."""
        if ids:
            self._run(f"{path}/remove", attribute(".id", ",".join(ids)))

    def call(self, path: str, /, **arguments: Value) -> list[Row]:
        """Run any command, such as `/ip/dhcp-server/lease/make-static`, and return what it answers.

        A command that goes on by itself (`ping`, `monitor-traffic`) must be given its `count` or `once`: an answer is
        returned when it is whole. Raises RouterProblem.
        """
        return self._run(path, *_words(arguments))

    def close(self) -> None:
        self._usable = False
        self._socket.close()

    def _run(self, command: str, *words: str) -> list[Row]:
        self._check_usable()
        return self._answered(time.monotonic() + self.timeout, command, *words)

    def _answered(self, deadline: float, command: str, *words: str) -> list[Row]:
        """Send a command and return its whole answer. Whatever interrupts it leaves the connection closed."""
        whole = False
        try:
            with _as_problems("no whole answer in time"):
                self._socket.settimeout(_remaining(deadline))
                self._protocol.writeSentence(command, *words)
                reply = Reply()
                while True:
                    sentence = self._sentences.next()
                    if sentence is None:
                        self._socket.settimeout(_remaining(deadline))
                        octets = self._socket.recv(_PIECE)
                        if not octets:
                            _closed(self._sentences, reply)
                        self._sentences.feed(octets)
                    elif reply.take(sentence):
                        break
            whole = True
        finally:
            if not whole:
                self.close()
        return reply.result()

    def _log_in(self, deadline: float) -> None:
        access = self._access
        with _not_its_secrets():
            answer = self._answered(deadline, "/login", *_plain_login(access))
            challenge = _returned(answer)
            if challenge:
                self._answered(deadline, "/login", *_challenge_login(access, challenge))


@contextmanager
def open_router(access: RouterAccess) -> Iterator[RouterApi]:
    """Connect, log in, and close in the end. Raises RouterProblem, here and from every command."""
    deadline = time.monotonic() + access.timeout
    with _reached(access, deadline) as router:
        router._log_in(deadline)
        yield router


def shown_certificate(access: RouterAccess) -> str | None:
    """Return the SHA-256 of the certificate that a router shows, None where no TLS is spoken.

    Nothing is sent to it, so that a router's first certificate can be remembered before its password goes anywhere.
    Raises RouterProblem.
    """
    with _reached(access, time.monotonic() + access.timeout) as router:
        return router.fingerprint


@contextmanager
def _reached(access: RouterAccess, deadline: float) -> Iterator[RouterApi]:
    """Connect to a router that has shown the certificate it must show, and close in the end. Raises RouterProblem."""
    with _as_problems("no answer to the connection", Stage.CONNECT):
        connection = socket.create_connection((access.address, access.port), timeout=access.timeout)
    try:
        if access.tls:
            with _as_problems("no TLS handshake in time", Stage.TLS):
                connection.settimeout(_remaining(deadline))
                connection = _tls_context().wrap_socket(connection)
        router = RouterApi(access, connection)
        if isinstance(connection, ssl.SSLSocket):
            router._check_certificate(connection.getpeercert(binary_form=True))
        try:
            yield router
        finally:
            router.close()
    finally:
        connection.close()


class AsyncRouterApi(_Shared):
    """A connection that is logged in, for an event loop. One command at a time."""

    def __init__(self, access: RouterAccess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(access)
        self._reader = reader
        self._writer = writer
        self._protocol = _AsyncWriting(AsyncSocketTransport(reader, writer), encoding="latin-1")

    async def version(self) -> Version:
        """Return RouterOS's version, asked for once. Raises RouterProblem."""
        if self._version is None:
            self._version = _version_in(await self.rows("/system/resource", "version"))
        return self._version

    async def rows(self, path: str, /, *fields: str, **equals: Value) -> list[Row]:
        """As RouterApi.rows."""
        return await self._run(f"{path}/print", *_print_words(fields, equals))

    async def add(self, path: str, /, **fields: Value) -> str:
        """As RouterApi.add."""
        return _returned(await self._run(f"{path}/add", *_words(fields)))

    async def set(self, path: str, id_: str | None = None, /, **fields: Value) -> None:
        """As RouterApi.set."""
        await self._run(f"{path}/set", *_words({".id": id_, **fields} if id_ is not None else fields))

    async def remove(self, path: str, /, *ids: str) -> None:
        """As RouterApi.remove."""
        if ids:
            await self._run(f"{path}/remove", attribute(".id", ",".join(ids)))

    async def call(self, path: str, /, **arguments: Value) -> list[Row]:
        """As RouterApi.call."""
        return await self._run(path, *_words(arguments))

    def close(self) -> None:
        """Drop the connection at once: a router that no longer listens would hold up a polite end."""
        self._usable = False
        self._writer.transport.abort()

    async def _run(self, command: str, *words: str) -> list[Row]:
        self._check_usable()
        with _as_problems("no whole answer in time"):
            async with asyncio.timeout(self.timeout):
                return await self._answered(command, *words)

    async def _answered(self, command: str, *words: str) -> list[Row]:
        whole = False
        try:
            with _as_problems("no whole answer in time"):
                await self._protocol.writeSentence(command, *words)
                reply = Reply()
                while True:
                    sentence = self._sentences.next()
                    if sentence is None:
                        octets = await self._reader.read(_PIECE)
                        if not octets:
                            _closed(self._sentences, reply)
                        self._sentences.feed(octets)
                    elif reply.take(sentence):
                        break
            whole = True
        finally:
            if not whole:
                self.close()
        return reply.result()

    async def _log_in(self) -> None:
        access = self._access
        with _not_its_secrets():
            answer = await self._answered("/login", *_plain_login(access))
            challenge = _returned(answer)
            if challenge:
                await self._answered("/login", *_challenge_login(access, challenge))


@asynccontextmanager
async def open_router_async(access: RouterAccess) -> AsyncIterator[AsyncRouterApi]:
    """Connect, log in, and close in the end, in an event loop. Raises RouterProblem, here and from every command."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + access.timeout
    connection = socket.socket(socket.AF_INET6 if ":" in access.address else socket.AF_INET)
    api: AsyncRouterApi | None = None
    try:
        connection.setblocking(False)
        with _as_problems("no answer to the connection", Stage.CONNECT):
            async with asyncio.timeout_at(deadline):
                await loop.sock_connect(connection, (access.address, access.port))
        with _as_problems("no TLS handshake in time", Stage.TLS):
            async with asyncio.timeout_at(deadline):
                tls: dict[str, Any] = {"ssl": _tls_context(), "server_hostname": ""} if access.tls else {}
                reader, writer = await asyncio.open_connection(sock=connection, **tls)
        api = AsyncRouterApi(access, reader, writer)
        if access.tls:
            api._check_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        with _as_problems("no whole answer in time", Stage.LOGIN):
            async with asyncio.timeout_at(deadline):
                await api._log_in()
        yield api
    finally:
        if api is not None:
            api.close()
        else:
            connection.close()


class _Writing(ApiProtocol):  # type: ignore[misc] # librouteros has no types
    """librouteros's protocol without its log, which would hold passwords."""

    def writeSentence(self, cmd: str, *words: str) -> None:  # noqa: N802 - librouteros's name
        self.transport.write(encode_sentence(cmd, *words, encoding=self.encoding))


class _AsyncWriting(AsyncApiProtocol):  # type: ignore[misc]
    async def writeSentence(self, cmd: str, *words: str) -> None:  # noqa: N802 - librouteros's name
        await self.transport.write(encode_sentence(cmd, *words, encoding=self.encoding))


@contextmanager
def _as_problems(late: str, stage: Stage = Stage.COMMAND) -> Iterator[None]:
    """Turn what sockets, TLS and librouteros raise into a RouterProblem.

    Without the original as its cause: its frames hold the password.
    """
    try:
        yield
    except TimeoutError:
        raise RouterProblem(Cause.TIMEOUT if stage is Stage.CONNECT else Cause.SILENT, late, stage) from None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        raise RouterProblem(Cause.CLOSED, "the router closed the connection within TLS", stage) from None
    except ssl.SSLError as problem:
        raise RouterProblem(Cause.TLS, problem.reason or str(problem), stage) from None
    except ConnectionRefusedError as problem:
        raise RouterProblem(Cause.REFUSED, problem.strerror or "", stage) from None
    except (ConnectionError, EOFError) as problem:
        raise RouterProblem(Cause.CLOSED, getattr(problem, "strerror", None) or str(problem), stage) from None
    except OSError as problem:
        raise RouterProblem(Cause.UNREACHABLE, problem.strerror or str(problem), stage) from None
    except (LibRouterosError, TypeError) as problem:
        # librouteros leaks TypeError where a word is not what it expects.
        raise RouterProblem(Cause.GARBAGE, f"{type(problem).__name__}: {problem}", stage) from None


@contextmanager
def _not_its_secrets() -> Iterator[None]:
    """Let what goes wrong in a login be told without the frames that hold the password.

    A refusal that says neither of the known sentences is still one of name and password.
    """
    try:
        yield
    except RouterProblem as problem:
        cause = Cause.PASSWORD if problem.cause is Cause.TRAP else problem.cause
        raise RouterProblem(cause, problem.detail, Stage.LOGIN) from None


def _closed(sentences: Sentences, reply: Reply) -> NoReturn:
    where = "in the middle of an answer" if sentences.unfinished or reply.rows else "before any answer"
    raise RouterProblem(Cause.CLOSED, f"the router closed the connection {where}")


def _remaining(deadline: float) -> float:
    """Return the seconds until a deadline. Raises TimeoutError when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _tls_context() -> ssl.SSLContext:
    """Return a context that takes any certificate: routers sign their own, and it is the fingerprint that counts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=1")  # RouterOS makes 1024-bit keys where nobody asked for longer ones
    return context


def _words(fields: dict[str, Value]) -> list[str]:
    return [attribute(name, value) for name, value in fields.items()]


def _print_words(fields: tuple[str, ...], equals: dict[str, Value]) -> list[str]:
    words = [query(name, value) for name, value in equals.items()]
    if fields:
        wanted = fields if ".id" in fields else (".id", *fields)
        words.append(attribute(".proplist", ",".join(wanted)))
    return words


def _returned(rows: list[Row]) -> str:
    return rows[-1].get("ret", "") if rows else ""


def _version_in(rows: list[Row]) -> Version:
    return parse_version(rows[0].get("version", "") if rows else "")


def _plain_login(access: RouterAccess) -> list[str]:
    """RouterOS 6.43 and newer. Older ones pass over both words and answer with a challenge."""
    return [attribute("name", access.user), attribute("password", access.password.get_secret_value())]


def _challenge_login(access: RouterAccess, challenge: str) -> list[str]:
    """RouterOS before 6.43: MD5 of a NUL, the password and the challenge (manual, API, Initial login)."""
    try:
        octets = bytes.fromhex(challenge)
    except ValueError:
        raise RouterProblem(Cause.GARBAGE, "a login challenge that is no hex") from None
    password = access.password.get_secret_value().encode()
    digest = hashlib.md5(b"\0" + password + octets, usedforsecurity=False).hexdigest()
    return [attribute("name", access.user), attribute("response", f"00{digest}")]
