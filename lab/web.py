"""What the lab's services on the web share: a server at a local port, and a request that is answered and not logged."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

END_LOOK = 0.02
"""Seconds between looks whether it shall end; the library's half second was most of many a test."""


class WebServer:
    """Answers requests on threads of its own from `with` to its end. Port 0 takes a free one.

    A request is answered by a new `handler`, which finds what it speaks for as `self.lab`.
    """

    def __init__(self, handler: type["WebRequest"], lab: object, address: str = "127.0.0.1", port: int = 0) -> None:
        speaking: Any = type(handler.__name__, (handler,), {"lab": lab})
        self._server = ThreadingHTTPServer((address, port), speaking)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(END_LOOK,), name=type(lab).__name__, daemon=True
        )

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._server.shutdown()
        self.close()
        self._thread.join(5)

    def close(self) -> None:
        """Give the port back; by itself only where the server never began."""
        self._server.server_close()


class WebRequest(BaseHTTPRequestHandler):
    """One request to a service of the lab, which `serve()` answers where its method is one of `methods`."""

    methods: tuple[str, ...] = ("GET", "POST", "PUT")

    def serve(self, method: str) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_said: object) -> None:
        """Say nothing: requests carry keys."""

    def _serve(self, method: str) -> None:
        if method in self.methods:
            self.serve(method)
        else:
            self.answer(405, b"no such method here", "text/plain")
