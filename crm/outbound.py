"""Requests to web addresses that an operator entered: SMS gateways, and whatever else people name.

Whoever may enter an address could otherwise look through us at what only this machine may reach. So a name is looked
up once, each of its addresses must be a public one, and the connection is made to the very address that was looked
at: a name that answers otherwise a moment later changes nothing. Redirections are not followed. An installation may
allow private addresses (`PORTICO_LOCAL_GATEWAYS`).
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_ANSWER = 64 * 1024
TIMEOUT = 15.0


class NotAllowed(Exception):
    """The address is none that may be asked: not http or https, or not a public one."""


class NoAnswer(Exception):
    """Nothing came back: the gateway is away, slow, or its certificate is not good. `str()` says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; no more of it than `LONGEST_ANSWER`."""

    status: int
    text: str


def check_host(host: str, port: int, *, local: bool) -> str:
    """Return the address to connect to. Raises NotAllowed where one of the name's addresses is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise NoAnswer(f"{host}: {problem.__class__.__name__}") from None
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    if not local:
        for address in addresses:
            if not _public(address):
                raise NotAllowed(f"{host} is not a public address")
    return addresses[0]


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, local: bool, method: str = "POST", timeout: float = TIMEOUT
) -> Answer:
    """Send a request and return what came back. Raises NotAllowed and NoAnswer; neither quotes the address's path."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise NotAllowed("not a port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise NotAllowed("not an address of the web")
    address = check_host(parts.hostname, port, local=local)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts.scheme, parts.hostname, port, address, timeout)
    try:
        connection.request(method, path, body, {"User-Agent": "Portico", **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read(LONGEST_ANSWER).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise NoAnswer(f"{parts.hostname}: {problem.__class__.__name__}") from None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int, address: str, timeout: float) -> http.client.HTTPConnection:
    """Return a connection that asks for a host by its name, and goes to the address that was looked at."""
    if scheme == "http":
        plain = http.client.HTTPConnection(host, port, timeout=timeout)
        plain._create_connection = lambda _where, *rest: socket.create_connection((address, port), *rest)  # type: ignore[attr-defined]
        return plain
    safe = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    safe._create_connection = lambda _where, *rest: socket.create_connection((address, port), *rest)  # type: ignore[attr-defined]
    return safe


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
