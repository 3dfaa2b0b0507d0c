"""Requests to addresses that a person entered: webhooks, SMS gateways, mailboxes, channels of alerts.

Whoever may enter an address could otherwise look through us at what only this machine may reach. So a name is looked
up once, each of its addresses must be a public one and none of this machine's own, and the connection is made to the
very address that was looked at: a name that answers otherwise a moment later changes nothing. Redirections are not
followed. An installation may allow all private addresses (`PORTICO_LOCAL_GATEWAYS`), or some networks
(`PORTICO_OUTBOUND_NETWORKS`).

What is public is decided of the address that comes out, so it does not matter how it was written: `2130706433`,
`0x7f.1` and `127.0.0.1.nip.io` are all the same one. IPv6 that carries an IPv4 address (mapped, NAT64, 6to4, Teredo)
is judged by that one, too.

A library that resolves names by itself is run inside `guarded()`, which holds every name that it looks up to this.
"""

import errno
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

LONGEST_ANSWER = 64 * 1024
TIMEOUT = 15.0

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

NOT_THE_WEB = frozenset(
    (
        7, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 79, 110, 111, 113, 119, 123, 135, 137, 138,
        139, 143, 161, 162, 179, 389, 445, 465, 512, 513, 514, 515, 543, 587, 636, 873, 989, 990, 993, 995, 1433, 1521,
        1723, 1812, 1813, 2049, 2083, 2375, 2376, 2379, 3306, 3389, 3799, 5432, 5672, 5984, 6000, 6379, 6432, 8291,
        8728, 8729, 9042, 9200, 11211, 27017,
    )
)  # fmt: skip
"""Ports at which something else than a web server listens, so that no request can be made to look like its protocol."""

# Special-purpose networks that `is_global` of this Python lets through or knows nothing of (RFC 6890 and after).
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
            "::/96", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
        ),
    )
)  # fmt: skip
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NotAllowed(Exception):
    """The address is none that may be asked: not of the web, or not a public one."""


class NoAnswer(Exception):
    """Nothing came back: the gateway is away, slow, or its certificate is not good. `str()` says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; no more of it than `LONGEST_ANSWER`."""

    status: int
    text: str


def check_host(host: str, port: int, *, local: bool, networks: Sequence[Network] = ()) -> str:
    """Return the address to connect to. Raises NotAllowed where one of the name's addresses is not public."""
    return checked_addresses(host, port, local=local, networks=networks)[0]


def checked_addresses(host: str, port: int, *, local: bool, networks: Sequence[Network] = ()) -> list[str]:
    """Return the addresses of a host, the best first. Raises NotAllowed where one is not public, and NoAnswer."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise NoAnswer(f"{host}: {problem.__class__.__name__}") from None
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    if not local:
        for address in addresses:
            if not may_be_asked(address, networks):
                raise NotAllowed(f"{host} is not a public address")
    return addresses


def check_web_address(url: str, *, local: bool, networks: Sequence[Network] = ()) -> None:
    """Look at an address as it is entered, before anything is sent to it. Raises NotAllowed, and NoAnswer where the
    name is not known (which may be so only today). Without `local` it must begin with https."""
    host, port, _path = _web_address(url, secure=not local)
    if not local and not _in(host, networks):
        check_host(host, port, local=local, networks=networks)


def needs_https(url: str, *, local: bool, networks: Sequence[Network] = ()) -> bool:
    """Tell whether what is sent there must be unreadable on the way: everywhere but in networks that are allowed.

    A modem in the office speaks http; a password, or a code for signing in, goes over nobody else's network in clear.
    """
    return not local and not _in(urlsplit(url).hostname or "", networks)


def may_be_asked(address: str, networks: Sequence[Network] = ()) -> bool:
    """Tell whether an address is public and not of this machine, or in a network that the installation allows."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if any(found.version == network.version and found in network for network in networks):
        return True
    return all(_public(each) for each in (found, *_carried(found))) and not of_this_machine(found)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    local: bool,
    networks: Sequence[Network] = (),
    method: str = "POST",
    timeout: float = TIMEOUT,
    secure: bool = False,
    longest: int = LONGEST_ANSWER,
    trusted: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request and return what came back. Raises NotAllowed and NoAnswer; neither quotes the address's path.

    `timeout` is for all of it together, so a server that sends an octet now and then holds nobody up. `secure` takes
    nothing but https.
    """
    ends = time.monotonic() + timeout
    host, port, path = _web_address(url, secure=secure)
    addresses = checked_addresses(host, port, local=local, networks=networks)
    connection = _connection(urlsplit(url).scheme, host, port, addresses, timeout, trusted)
    watch = threading.Timer(timeout, _cut, (connection,))  # a line of the header may drip in for as long as it likes
    watch.daemon = True
    watch.start()
    try:
        connection.request(method, path, body, {"User-Agent": "Portico", **headers})
        response = connection.getresponse()
        return Answer(response.status, _read(connection, response, longest, ends).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        why = _why(problem) if time.monotonic() < ends else _why(TimeoutError())
        raise NoAnswer(f"{host}: {why}") from None
    finally:
        watch.cancel()
        connection.close()


@contextmanager
def guarded(*, local: bool, networks: Sequence[Network] = ()) -> Iterator[None]:
    """Hold what a library looks up in this thread meanwhile to the same rule: other addresses are not found.

    Sockets of Python connect to what the look-up before them returned, so the two cannot differ, and a redirection
    is looked up like any other name.
    """
    if local:
        yield
        return
    _guard_lookups()
    token = _allowed.set(tuple(networks))
    try:
        yield
    finally:
        _allowed.reset(token)


_allowed: ContextVar[tuple[Network, ...] | None] = ContextVar("outbound_networks", default=None)


def _guard_lookups() -> None:
    """Stand before the look-up that sockets, urllib3 and smtplib share; outside of `guarded()` it is as ever."""
    look_up = socket.getaddrinfo
    if getattr(look_up, "guards", False):
        return

    def checked(*arguments: Any, **named: Any) -> Any:
        found = look_up(*arguments, **named)
        networks = _allowed.get()
        if networks is not None and not all(may_be_asked(str(each[4][0]), networks) for each in found):
            raise socket.gaierror(socket.EAI_NONAME, "not a public address")
        return found

    checked.guards = True  # type: ignore[attr-defined]
    socket.getaddrinfo = checked


def _web_address(url: str, *, secure: bool) -> tuple[str, int, str]:
    """Return host, port and path with query. Raises NotAllowed."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise NotAllowed("not a port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise NotAllowed("not an address of the web")
    if secure and parts.scheme != "https":
        raise NotAllowed("not https")
    if port in NOT_THE_WEB:
        raise NotAllowed("not a port of the web")
    return parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connection(
    scheme: str, host: str, port: int, addresses: Sequence[str], timeout: float, trusted: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """Return a connection that asks for a host by its name, and goes to the addresses that were looked at."""

    def connect(_where: Any, seconds: float, *rest: Any) -> socket.socket:
        ends = time.monotonic() + seconds
        for place, address in enumerate(addresses):
            left = (ends - time.monotonic()) / (len(addresses) - place)  # so that the last has its turn, too
            try:
                return socket.create_connection((address, port), max(left, 0.1), *rest)
            except OSError as problem:
                refused = problem
        raise refused

    made: http.client.HTTPConnection
    if scheme == "http":
        made = http.client.HTTPConnection(host, port, timeout=timeout)
    else:
        made = http.client.HTTPSConnection(host, port, timeout=timeout, context=trusted or ssl.create_default_context())
    made._create_connection = connect  # type: ignore[attr-defined]
    return made


def _read(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, longest: int, ends: float
) -> bytes:
    """Return the beginning of an answer, as much as comes in time."""
    content = b""
    while len(content) < longest:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
        more = response.read1(longest - len(content))
        if not more:
            break
        content += more
    return content


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a connection under the hands of who reads from it."""
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _why(problem: Exception) -> str:
    """Return what went wrong in a word or two that name no path and no secret."""
    match problem:
        case ssl.SSLCertVerificationError():
            return f"certificate: {problem.verify_message}"
        case ssl.SSLError():
            return f"TLS: {problem.reason or 'SSLError'}"
        case TimeoutError():
            return "no answer in time"
        case OSError() if problem.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            return problem.strerror or problem.__class__.__name__
    return problem.__class__.__name__


def _in(host: str, networks: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(found.version == network.version and found in network for network in networks)


def _public(found: _Ip) -> bool:
    if found.is_multicast or any(found.version == each.version and found in each for each in _NOT_PUBLIC):
        return False
    # What NAT64 carries is judged by itself; the prefix is global, and says nothing.
    return found.is_global or (isinstance(found, ipaddress.IPv6Address) and found in _NAT64)


def _carried(found: _Ip) -> list[_Ip]:
    """Return the IPv4 addresses that an IPv6 one leads to."""
    if not isinstance(found, ipaddress.IPv6Address):
        return []
    carried: list[_Ip | None] = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
    if found in _NAT64:
        carried.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
    return [each for each in carried if each is not None]


def of_this_machine(found: _Ip) -> bool:
    """Tell whether this machine has an address: it can be bound then, and no other can."""
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(found), 0))
        except OSError:
            return False
    return True
