"""How a piece says that it is alive, that it can do its work, and what it counted.

Each piece of ours listens on a Unix socket in the run directory, `<piece>.status`, and answers there over HTTP:

- `/healthz`: 200 while its steps go on, 503 once one is stuck. A step says `beat("orders")` each time that it ends; it
  is stuck when it has not for longer than it promised. One that has never begun (a monitor that stands by) is not.
- `/readyz`: 200 when it is alive and each of its checks passes, with what each of them found.
- `/metrics`: what it counted, in Prometheus's text format.

A socket needs no port to choose, is closed to who may not read the directory, and is there in containers too, which
share it. The portal asks them for whoever asks it (`portal.health`); `portico health` does so on the machine itself.
"""

import http.client
import http.server
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

PIECES = ("publisher", "radiusd", "loader", "worker", "monitor", "vpn", "backups")
"""The pieces that can be asked. radiusd has no socket: whether it listens is seen from outside."""
OURS = "portico_"
TIMEOUT = 5.0

Check = Callable[[], str]
"""What may be wrong: returns a few words for it, or nothing. Raising is the same as the name of the error."""


@dataclass
class _Step:
    within: float
    at: float


_steps: dict[str, _Step] = {}
_guard = threading.Lock()


def beat(step: str, within: float = 120.0) -> None:
    """Say that a step of this process has just ended well, and promise the next end in so many seconds."""
    with _guard:
        _steps[step] = _Step(within, time.monotonic())


def stuck() -> list[str]:
    """Return the steps of this process that have not ended for longer than they promised."""
    now = time.monotonic()
    with _guard:
        return sorted(name for name, step in _steps.items() if now - step.at > step.within)


def readiness(checks: Mapping[str, Check]) -> dict[str, str]:
    """Return what each check finds, `ok` where nothing is wrong, and each step of this process."""
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check() or "ok"
        except Exception as problem:  # noqa: BLE001 - whatever it is, the piece is not ready; its text may be a secret
            found[name] = type(problem).__name__
    waits = set(stuck())
    with _guard:
        names = sorted(_steps)
    return found | {name: "stuck" if name in waits else "ok" for name in names}


def families() -> Iterable[Metric]:
    """Return what this process counted: our own families, and none about the language it is written in."""
    return [family for family in REGISTRY.collect() if family.name.startswith(OURS)]


def exposition(found: Iterable[Metric]) -> bytes:
    """Return families as Prometheus reads them."""

    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return found

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry)


def socket_of(run_dir: Path, piece: str) -> Path:
    return run_dir / f"{piece}.status"


def serve(run_dir: Path, piece: str, checks: Mapping[str, Check]) -> "StatusServer":
    """Answer for this process from now on, on a thread that ends with it."""
    server = StatusServer(socket_of(run_dir, piece), piece, checks)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server


def ask(run_dir: Path, piece: str, path: str) -> tuple[int, str]:
    """Ask a piece and return status and text. Raises OSError where it is not there or does not answer in time."""
    connection = _UnixConnection(socket_of(run_dir, piece))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as problem:
        raise OSError(type(problem).__name__) from None
    finally:
        connection.close()


def udp_port_is_bound(port: int) -> bool:
    """Tell whether a process of this machine listens on a UDP port.

    radiusd opens its sockets last, when every module has been instantiated, so they tell that it is ready without
    a request that some NAS would have to be registered for.
    """
    wanted = f":{port:04X}"
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        rows = table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else []
        if any(row.split()[1].endswith(wanted) for row in rows):
            return True
    return False


class StatusServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers at a socket, which it takes over from a process that is gone."""

    daemon_threads = True

    def __init__(self, path: Path, piece: str, checks: Mapping[str, Check]) -> None:
        self.piece = piece
        self.checks = checks
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Answer)
        path.chmod(0o600)

    def handle_error(self, *_: Any) -> None:
        """Whoever asked is gone."""


class _Answer(http.server.BaseHTTPRequestHandler):
    server: StatusServer

    def do_GET(self) -> None:
        match self.path:
            case "/healthz":
                late = stuck()
                self._say(503 if late else 200, {"status": "stuck" if late else "alive", "stuck": late})
            case "/readyz":
                found = readiness(self.server.checks)
                ready = all(each == "ok" for each in found.values())
                self._say(200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": found})
            case "/metrics":
                self._send(200, "text/plain; version=0.0.4; charset=utf-8", exposition(families()))
            case _:
                self._say(404, {"status": "unknown"})

    def _say(self, status: int, document: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps({"piece": self.server.piece, **document}).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        """Who asks each second fills no log."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))
