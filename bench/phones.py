"""Phones at a hotspot, for measuring: each asks for the page, sends its code, and the router asks RADIUS.

An open loop: phones come when they come, however long the ones before them take, so what takes too long is seen as
waiting and not as fewer phones. Connections are kept, as a proxy in front of the portal does.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import md5
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.generator import SECRET
from lab import attributes as rad
from lab.client import Counters, RadiusClient
from lab.faults import Faults
from lab.packet import Code, access_request, attribute, number, text

LOGIN = "http://10.5.50.1/login"
_WAIT = 10.0
# gunicorn closes a connection that was idle for two seconds; a proxy in front of it gives up its own before that
# (nginx: keepalive_timeout of an upstream), since a request sent into a closing connection is lost.
_IDLE = 1.0


@dataclass
class Seen:
    """What became of the phones. Times are milliseconds, from when a phone should have come."""

    pages: list[float] = field(default_factory=list)
    forms: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    let_in: int = 0
    refused: int = 0
    lost: int = 0


class _Connections:
    """Connections to the portal that are kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def ask(self, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._take()
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._free.append((reader, writer, time.monotonic()))
        return int(lines[0].split(" ")[1]), headers, content

    async def _take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the connection used last, unless that is idle for long: then a new one."""
        if self._free:
            reader, writer, since = self._free.pop()
            if time.monotonic() - since < _IDLE:
                return reader, writer
            writer.close()
            self.close()  # those below it were idle for longer still
        return await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        for _reader, writer, _since in self._free:
            writer.close()
        self._free.clear()


class Crowd:
    """Phones at the hotspot of one NAS, which plays the router for them. Make it inside an event loop."""

    def __init__(self, portal_port: int, auth_port: int, path: str) -> None:
        self._path = path
        self._portal = _Connections(portal_port)
        self._radius = RadiusClient(
            "127.0.0.1", ("127.0.0.1", auth_port), SECRET.encode(), 1.0, 3, True, Faults(), Counters(), random.Random(1)
        )
        self.seen = Seen()

    def close(self) -> None:
        self._portal.close()
        self._radius.close()

    async def come(self, codes: Sequence[str], per_second: float) -> float:
        """Let a phone come for each code, so many in a second; return the seconds until the last was served."""
        begun = time.monotonic()
        phones = []
        for number_, code in enumerate(codes):
            due = begun + number_ / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            phones.append(asyncio.create_task(self.log_in(code, number_, due)))
        await asyncio.gather(*phones)
        return time.monotonic() - begun

    async def log_in(self, code: str, number_: int, due: float | None = None) -> bool:
        """Do what a phone and its router do for one login; return whether it was let in."""
        due = time.monotonic() if due is None else due
        mac = f"02:55:{number_ >> 24 & 255:02x}:{number_ >> 16 & 255:02x}:{number_ >> 8 & 255:02x}:{number_ & 255:02x}"
        identifier, challenge = os.urandom(1), os.urandom(16)
        given = {
            "mac": mac,
            "ip": "10.5.50.7",
            "login": LOGIN,
            "id": _octal(identifier),
            "challenge": _octal(challenge),
        }
        try:
            async with asyncio.timeout(_WAIT):
                begun = time.monotonic()
                status, _, _ = await self._portal.ask(_head("GET", f"{self._path}?{urlencode(given)}"))
                self.seen.pages.append((time.monotonic() - begun) * 1e3)
                body = urlencode(given | {"code": code.lower()}).encode()
                begun = time.monotonic()
                sent, headers, _ = await self._portal.ask(_head("POST", self._path, len(body)), body)
                self.seen.forms.append((time.monotonic() - begun) * 1e3)
                if (status, sent) != (200, 303):
                    self.seen.lost += 1
                    return False
                said = parse_qs(urlsplit(headers["location"]).query)
                accepted = await self._ask_radius(said["username"][0], said["password"][0], identifier, challenge, mac)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self.seen.lost += 1
            return False
        self.seen.logins.append((time.monotonic() - due) * 1e3)
        self.seen.let_in += accepted is True
        self.seen.refused += accepted is False
        self.seen.lost += accepted is None
        return accepted is True

    async def _ask_radius(self, name: str, proof: str, identifier: bytes, challenge: bytes, mac: str) -> bool | None:
        assert bytes.fromhex(proof) == md5(identifier + challenge, usedforsecurity=False).digest()
        values = b"".join(
            (
                number(rad.NAS_PORT_TYPE, 19),
                text(rad.CALLING_STATION_ID, mac.upper()),
                text(rad.CALLED_STATION_ID, "hotspot1"),
                text(rad.USER_NAME, name),
                number(rad.SERVICE_TYPE, 1),
                text(rad.ACCT_SESSION_ID, f"80{random.getrandbits(24):06x}"),
                attribute(rad.MIKROTIK_HOST_IP, bytes((10, 5, 50, 7))),
                attribute(rad.CHAP_CHALLENGE, challenge),
                attribute(rad.CHAP_PASSWORD, identifier + bytes.fromhex(proof)),
                text(rad.NAS_IDENTIFIER, "bench"),
            )
        )
        authenticator = os.urandom(16)
        answer = await self._radius.ask(
            lambda id_: access_request(id_, authenticator, values, SECRET.encode(), signed=True)
        )
        return None if answer is None else answer.packet.code == Code.ACCESS_ACCEPT


def _octal(octets: bytes) -> str:
    return "".join(f"\\{octet:03o}" for octet in octets)


def _head(method: str, target: str, length: int = 0) -> str:
    kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n" if length else ""
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\n"
