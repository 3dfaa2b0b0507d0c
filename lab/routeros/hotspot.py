"""A hotspot's servlet: real HTTP for the browsers behind an emulated router.

A browser's requests go to the router as to a proxy, which is how a router that stands in the way looks from there; a
device is told by the address it comes from. Who has not logged in is led to the login page whatever it asks for, which
is the router's `hotspot/login.html` if it has one. A login comes with a user name and a password in clear
(`http-pap`) or answers the challenge of the page (`http-chap`); the NAS half then asks RADIUS, and what it is refused
with stands on the next page as `$(error)`. A MAC cookie logs a device in again without a page, and goes with a logout,
a Disconnect-Request, a limit that was reached or a login that failed. What is asked for behind a login, or is in the
walled garden, is answered as if the internet were there.
"""

import asyncio
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from aaa.facts import AccessKind
from core.mac import parse_mac
from lab.attributes import TerminateCause
from lab.grant import Grant
from lab.nas import Nas, Refusal, Refused
from lab.routeros.box import Box
from lab.routeros.hotspot_pages import PAGES, Page, octal, render
from lab.routeros.menus.kinds import seconds_of, time_text
from lab.routeros.table import Row
from lab.session import Session
from lab.subscriber import ChapAnswer, Method, Subscriber

CHALLENGE_LASTS = 3600.0
_LARGEST = 64 * 1024
_SECONDS = 30.0
_NOT_REMEMBERED = (TerminateCause.ADMIN_RESET, TerminateCause.NAS_REQUEST, TerminateCause.SESSION_TIMEOUT)
_WORDS = {200: "OK", 204: "No Content", 302: "Found", 400: "Bad Request", 404: "Not Found"}
NO_ANSWER = "RADIUS server is not responding"
NO_CHALLENGE = "web browser did not send challenge response (try again, enable JavaScript)"
WRONG = "invalid username or password"


@dataclass(slots=True)
class Device:
    """A device behind the hotspot. `challenges` are those of its login pages, with when they were given."""

    mac: str
    address: str
    session: Session | None = None
    challenges: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    remembered: tuple[Subscriber, float] | None = None  # its MAC cookie: who logged in, and until when
    trial_used: float = 0.0  # when its trial began


@dataclass(frozen=True, slots=True)
class _Asked:
    host: str
    url: str
    path: str
    query: dict[str, str]


class Hotspot:
    """The servlet of one router, at an address of its own. Make it inside the event loop that runs the NAS."""

    def __init__(self, box: Box, nas: Nas, address: str, port: int) -> None:
        self.devices: dict[str, Device] = {}
        self.address, self.port = address, port
        self._box, self._nas = box, nas
        self._server: asyncio.Server | None = None
        self._challenges = 0

    @property
    def url(self) -> str:
        """Where its own pages are."""
        name = self._profile("dns-name") or self.address
        return f"http://{name}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def device(self, address: str, mac: str | None = None) -> Device:
        """Return the device at an address, with a MAC address made of it if it is new and none is named."""
        found = self.devices.get(address)
        if found is None:
            made = "02:48:" + ":".join(f"{int(part):02x}" for part in address.split("."))
            found = self.devices[address] = Device(parse_mac(mac or made), address)
        return found

    # What the NAS half tells.

    def began(self, session: Session) -> None:
        """A session began, here or elsewhere."""

    def changed(self, session: Session) -> None:
        """Its terms are others."""

    def refused(self, subscriber: Subscriber, refusal: Refused) -> None:
        """Somebody was not let in."""

    def ended(self, session: Session, cause: TerminateCause | None) -> None:
        """Forget the session, and the MAC cookie where the cause says so."""
        for device in self.devices.values():
            if device.session is session:
                device.session = None
                if cause in _NOT_REMEMBERED:
                    self._forget(device)

    def powered(self, on: bool) -> None:
        """A power cut takes challenges and sessions; cookies are kept."""
        if not on:
            for device in self.devices.values():
                device.challenges.clear()

    # HTTP.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                asked = await _read(reader)
                peer = writer.get_extra_info("peername")[0]
                page = Page("", 400) if asked is None else await self._answer(self.device(peer), asked)
            body = page.text.encode()
            headers = {"Content-Type": "text/html", **page.headers, "Content-Length": str(len(body))}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            status = f"HTTP/1.1 {page.status} {_WORDS.get(page.status, 'OK')}\r\n"
            writer.write(f"{status}{head}Cache-Control: no-cache\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, device: Device, asked: _Asked) -> Page:
        if not self._nas.powered:
            return Page("", 400)
        if device.session is None:
            await self._come_back(device)
        if asked.host not in (self.address, self._profile("dns-name")):
            if device.session is not None or self._open_to_all(asked.host):
                return Page("", 204) if asked.path.endswith("204") else Page(f"the internet: {asked.host}")
            return _led(f"{self.url}/login?dst={quote(asked.url, safe='')}")
        match asked.path:
            case "/login":
                return await self._login(device, asked.query)
            case "/status":
                return self._page("status.html", device, asked.query) if device.session else _led(f"{self.url}/login")
            case "/logout":
                return self._logout(device, asked.query)
            case "/api.json":
                return self._api(device)
            case "/":
                return _led(f"{self.url}/{'status' if device.session else 'login'}")
        return Page("", 404)

    # The servlet's pages.

    async def _login(self, device: Device, query: dict[str, str]) -> Page:
        if device.session is None and "username" in query:
            error = await self._try(device, query)
            if error:
                self._forget(device)
                return self._page("login.html", device, query, error)
        if device.session is None:
            return self._page("login.html", device, query)
        return self._page("alogin.html", device, query | {"dst": query.get("dst") or f"{self.url}/status"})

    async def _try(self, device: Device, query: dict[str, str]) -> str:
        """Log a device in; return what is said where it is not let in."""
        methods = self._profile("login-by").split(",")
        name, password = query["username"], query.get("password", "")
        if name == f"T-{device.mac.upper()}":
            return self._trial(device, name) if "trial" in methods else WRONG
        subscriber = Subscriber(
            name, "", AccessKind.HOTSPOT, Method.CHAP, device.mac, redial_after=None, retry_after=None,
            address=device.address,
        )  # fmt: skip
        answers = [ChapAnswer(one, challenge, _hexadecimal(password)) for one, challenge in self._fresh(device)]
        if "http-chap" in methods and len(_hexadecimal(password)) == 16:
            if not answers:
                return NO_CHALLENGE
            subscriber = replace(subscriber, chap=answers[-1])
        elif "http-pap" in methods:
            subscriber = replace(subscriber, password=password, method=Method.PAP)
        else:
            return NO_CHALLENGE
        device.challenges.clear()
        return await self._admit(device, subscriber)

    async def _admit(self, device: Device, subscriber: Subscriber) -> str:
        outcome = await self._nas.login(subscriber)
        if isinstance(outcome, Refused):
            if outcome.cause in (Refusal.NO_ANSWER, Refusal.POWER_OFF):
                return NO_ANSWER
            return outcome.message or WRONG
        device.session = outcome
        users = self._users()
        if "mac-cookie" in self._profile("login-by").split(",") and users.is_true("add-mac-cookie"):
            lasts = seconds_of(users.get("mac-cookie-timeout", "3d"))
            self._remember(device, subscriber, time.time() + lasts)
        return ""

    def _trial(self, device: Device, name: str) -> str:
        again, length = (seconds_of(self._profile(f"trial-uptime-{what}")) for what in ("reset", "limit"))
        if time.time() - device.trial_used < again:
            return f"user {name} has reached uptime limit"
        subscriber = Subscriber(name, "", AccessKind.HOTSPOT, Method.PAP, device.mac, address=device.address)
        outcome = self._nas.let_in(subscriber, Grant(session_timeout=int(length)))
        if isinstance(outcome, Refused):
            return NO_ANSWER
        device.session, device.trial_used = outcome, time.time()
        return ""

    def _logout(self, device: Device, query: dict[str, str]) -> Page:
        self._forget(device)
        if device.session is None:
            return _led(f"{self.url}/login")
        page = self._page("logout.html", device, query)
        self._nas.log_out(device.session, TerminateCause.USER_REQUEST)
        return page

    def _api(self, device: Device) -> Page:
        """RFC 8908, as RouterOS answers it from 7.3 on."""
        said: dict[str, object] = {"captive": device.session is None, "user-portal-url": f"{self.url}/"}
        return Page(json.dumps(said), headers={"Content-Type": "application/captive+json"})

    def _page(self, name: str, device: Device, query: dict[str, str], error: str = "") -> Page:
        own = self._box.table("/file").first(name=f"{self._profile('html-directory')}/{name}")
        template = own.get("contents") if own is not None else PAGES[name]
        return render(template, self._variables(device, query, error, challenge=name == "login.html"))

    def _variables(self, device: Device, query: dict[str, str], error: str, *, challenge: bool) -> dict[str, str]:
        session, url = device.session, self.url
        wanted = query.get("dst", "")
        methods = self._profile("login-by").split(",")
        values = {
            "link-login": f"{url}/login?{urlencode({'dst': wanted})}", "link-login-only": f"{url}/login",
            "link-logout": f"{url}/logout", "link-status": f"{url}/status", "link-orig": wanted,
            "link-redirect": wanted or f"{url}/status", "mac": device.mac.upper(), "ip": device.address,
            "host-ip": device.address, "username": query.get("username", session.user_name if session else ""),
            "identity": self._box.settings("/system/identity").get("name"), "server-name": "hotspot1",
            "server-address": f"{self.address}:{self.port}", "hostname": self._profile("dns-name") or self.address,
            "interface-name": "bridge-hotspot", "logged-in": "yes" if session else "no", "error": error,
            "error-orig": error, "trial": "yes" if "trial" in methods and session is None else "no",
            "plain-passwd": "no" if "http-chap" in methods else "yes", "var": query.get("var", ""),
            "popup": query.get("popup", ""), "domain": "", "ssl-login": "no",
        }  # fmt: skip
        if challenge and "http-chap" in methods and session is None:
            self._challenges = (self._challenges + 1) % 256
            given = os.urandom(16)
            device.challenges[self._challenges] = (given, time.time())
            values |= {"chap-id": octal(bytes((self._challenges,))), "chap-challenge": octal(given)}
        if session is not None:
            values |= self._counted(session)
        return values

    @staticmethod
    def _counted(session: Session) -> dict[str, str]:
        now = asyncio.get_running_loop().time()
        sent, received = session.octets(now)
        lasted = int(now - session.started)
        values = {
            "uptime": time_text(lasted), "uptime-secs": str(lasted), "bytes-in": str(sent), "bytes-out": str(received),
            "bytes-in-nice": f"{sent / 1024:.1f} KiB", "bytes-out-nice": f"{received / 1024:.1f} KiB",
        }  # fmt: skip
        if session.grant.session_timeout:
            left = max(0, session.grant.session_timeout - lasted)
            values |= {"session-time-left": time_text(left), "session-time-left-secs": str(left)}
        return values

    def _fresh(self, device: Device) -> list[tuple[int, bytes]]:
        oldest = time.time() - CHALLENGE_LASTS
        return [(one, given) for one, (given, at) in device.challenges.items() if at > oldest]

    # MAC cookies.

    async def _come_back(self, device: Device) -> None:
        if device.remembered is None or "mac-cookie" not in self._profile("login-by").split(","):
            return
        subscriber, until = device.remembered
        if until < time.time() or await self._admit(device, subscriber):
            self._forget(device)

    def _remember(self, device: Device, subscriber: Subscriber, until: float) -> None:
        if device.remembered is None:
            row = {"user": subscriber.name, "mac-address": device.mac.upper(), "mac-cookie": "true"}
            self._box.fill("/ip/hotspot/cookie", row)
            device.remembered = (subscriber, until)

    def _forget(self, device: Device) -> None:
        device.remembered = None
        cookies = self._box.table("/ip/hotspot/cookie")
        for row in cookies.find(mac_address=device.mac.upper()):
            cookies.drop(row)

    # Menus.

    def _open_to_all(self, host: str) -> bool:
        """Tell whether a host is in the walled garden; the first rule that names it decides."""
        for row in self._box.table("/ip/hotspot/walled-garden"):
            if not row.is_true("disabled") and fnmatchcase(host.lower(), (row.get("dst-host") or "*").lower()):
                return bool(row.get("action", "allow") == "allow")
        rules = self._box.table("/ip/hotspot/walled-garden/ip")
        return any(row.get("dst-host").lower() == host.lower() and row.get("action") == "accept" for row in rules)

    def _profile(self, name: str) -> str:
        server = next(iter(self._box.table("/ip/hotspot")), None)
        wanted = server.get("profile", "default") if server is not None else "default"
        row = self._box.table("/ip/hotspot/profile").first(name=wanted)
        return row.get(name) if row is not None else ""

    def _users(self) -> Row:
        row = self._box.table("/ip/hotspot/user/profile").first(name="default")
        assert row is not None, "every router has it"
        return row


async def _read(reader: asyncio.StreamReader) -> _Asked | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    try:
        method, target, _version = line.split(" ")
        length = int(headers.get("content-length", "0"))
    except ValueError:
        return None
    if method not in ("GET", "POST", "HEAD") or not 0 <= length <= _LARGEST:
        return None
    url = urlsplit(target)
    named = urlsplit(f"//{url.netloc or headers.get('host', '')}")
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if method == "POST":
        query |= dict(parse_qsl((await reader.readexactly(length)).decode("latin-1"), keep_blank_values=True))
    whole = f"http://{named.netloc}{url.path or '/'}" + (f"?{url.query}" if url.query else "")
    return _Asked(named.hostname or "", whole, url.path or "/", query)


def _led(url: str) -> Page:
    return Page("", 302, {"Location": url})


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
