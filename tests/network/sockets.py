"""Servers that do to a connection what no emulator would: each plays one script on a socket of its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ssl import SSLContext

import pytest
from librouteros.protocol import encode_sentence

Script = Callable[[socket.socket], None]


def sentence(*words: str | bytes) -> bytes:
    """Return a sentence as it stands on the wire."""
    return encode_sentence(
        *(word if isinstance(word, str) else word.decode("latin-1") for word in words), encoding="latin-1"
    )


DONE = sentence("!done")


class Scripted:
    """A server that plays a script on each connection, until it is closed."""

    def __init__(self, script: Script, tls: SSLContext | None = None) -> None:
        self.over = threading.Event()
        self.asked = bytearray()
        self._script = script
        self._tls = tls
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _address = self._server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self._play(connection)

    def _play(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        if self._tls is not None:
            connection.settimeout(5)
            with self._tls.wrap_socket(connection, server_side=True) as protected:
                protected.settimeout(0.1)
                self._script(protected)
            return
        self._script(connection)

    def hear(self, connection: socket.socket) -> bytes:
        """Return what comes next; nothing when the other side has gone, or the test is over."""
        while not self.over.is_set():
            try:
                octets = connection.recv(65536)
            except TimeoutError:
                continue
            self.asked += octets
            return octets
        return b""


@pytest.fixture
def play() -> Iterator[Callable[..., Scripted]]:
    """A function that starts a server with a script; the script gets the server and the connection."""
    servers: list[Scripted] = []

    def start(script: Callable[[Scripted, socket.socket], None], tls: SSLContext | None = None) -> Scripted:
        made: list[Scripted] = []
        ready = threading.Event()

        def with_server(connection: socket.socket) -> None:
            ready.wait()
            script(made[0], connection)

        made.append(Scripted(with_server, tls))
        ready.set()
        servers.append(made[0])
        return made[0]

    yield start
    for server in servers:
        server.close()


@contextmanager
def nobody() -> Iterator[int]:
    """Give a port that takes no connection: its queue is full, so the first packet is dropped, as by a firewall."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        yield address[1]
        for filler in fillers:
            filler.close()
