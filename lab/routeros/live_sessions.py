"""The rows that a session has on its router, and what happens when somebody takes them away.

A PPPoE session is a row of `/ppp/active`, an interface `<pppoe-name>` whose counters grow (rx is what the client
sends), with a rate a dynamic queue of that name, and with an address list a dynamic row there. Hotspot, DHCP and
wireless sessions have theirs. Removing the row of a session ends it, with Admin-Reset.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aaa.facts import AccessKind
from core.mac import parse_mac
from core.rates import RateLimit
from lab.attributes import TerminateCause
from lab.nas import Nas, Refusal, Refused
from lab.routeros.box import Box
from lab.routeros.commands import GENERAL, Call, Trap
from lab.routeros.live_terms import MenuTerms
from lab.routeros.menus.kinds import time_text
from lab.routeros.table import Change, Happened, Row, Table
from lab.session import Session, packets
from lab.subscriber import Method, Subscriber

_ENDS = ("/ppp/active", "/ip/hotspot/active", "/ip/dhcp-server/lease", "/interface/wireless/registration-table",
         "/interface/wifi/registration-table")  # fmt: skip
_REGISTRATIONS = ("/interface/wireless/registration-table", "/interface/wifi/registration-table")
_STRANGERS = "10.5.50"  # hosts that are at the hotspot's page and have not come further


@dataclass(slots=True)
class _Shown:
    """The rows of one session, with their tables."""

    rows: list[tuple[Table, Row]] = field(default_factory=list)
    queue: Row | None = None
    listed: Row | None = None
    name: str = ""


class SessionRows:
    """Follows the sessions of a NAS and keeps their rows."""

    def __init__(self, box: Box, nas: Nas, terms: MenuTerms, in_loop: Callable[[Callable[[], None]], None]) -> None:
        self._box = box
        self._nas = nas
        self._terms = terms
        self._in_loop = in_loop
        self._shown: dict[str, _Shown] = {}
        self._session_of: dict[tuple[str, int], Session] = {}  # by path and number of the row
        self._waiting: dict[str, Row] = {}  # hosts of the hotspot that are not authorized, by MAC address
        self._strangers = 0
        for path in _ENDS:
            if box.has(path):
                box.on(path, self._removed)
        for path in ("/queue/simple", "/interface"):
            box.guard(path, _keep_dynamic)
        self._compute()

    # What a NAS tells.

    def began(self, session: Session) -> None:
        """Show a session."""
        with self._box.lock:
            shown = self._shown[session.id] = _Shown(name=self._name(session))
            match session.kind:
                case AccessKind.PPP:
                    self._show_ppp(session, shown)
                case AccessKind.HOTSPOT:
                    self._show_hotspot(session, shown)
                case AccessKind.DHCP:
                    self._show_dhcp(session, shown)
                case AccessKind.WIRELESS:
                    self._show_wireless(session, shown)
            self._show_terms(session, shown)
            who = f"<{shown.name}>" if session.kind is AccessKind.PPP else session.user_name
            self._box.log(
                f"{_TOPIC[session.kind]},info", f"{who} logged in, {session.address or session.subscriber.mac}"
            )

    def changed(self, session: Session) -> None:
        """Show the terms that a session has by now."""
        with self._box.lock:
            shown = self._shown.get(session.id)
            if shown is not None:
                self._show_terms(session, shown)

    def ended(self, session: Session, cause: TerminateCause | None) -> None:
        """Take a session's rows away."""
        with self._box.lock:
            shown = self._shown.pop(session.id, None)
            if shown is None:
                return
            for table, row in shown.rows:
                self._session_of.pop((table.menu.path, row.number), None)
                if table.row(row.id) is not row:
                    continue  # taken away by a person, or by a reboot
                if row.is_true("dynamic") or (table.menu.path in _ENDS and table.menu.path != "/ip/dhcp-server/lease"):
                    table.drop(row)
                else:
                    table.change(row, dict.fromkeys(_BOUND, "") | {"status": "waiting"})
            self._show_queue(session, shown, None)
            self._show_list(session, shown, None)
            why = cause.name.lower().replace("_", "-") if cause is not None else "power"
            self._box.log(f"{_TOPIC[session.kind]},info", f"{session.user_name} logged out, {why}")
            if session.kind is AccessKind.PPP and session.local:
                self._note_logout(session, why)

    def refused(self, subscriber: Subscriber, refusal: Refused) -> None:
        """Show who is there and was not let in: at the hotspot as a host that is not authorized."""
        self._box.log(
            f"{_TOPIC[subscriber.kind]},error", f"{subscriber.name} login failed: {refusal.message or refusal.cause}"
        )
        if subscriber.kind is not AccessKind.HOTSPOT or not self._box.has("/ip/hotspot/host"):
            return
        if refusal.cause is Refusal.POWER_OFF or subscriber.mac in self._waiting:
            return
        self._strangers = self._strangers % 200 + 1
        self._waiting[subscriber.mac] = self._box.fill(
            "/ip/hotspot/host", self._host(subscriber, f"{_STRANGERS}.{self._strangers}") | {"authorized": "false"}
        )

    def powered(self, on: bool) -> None:
        """Forget who was at the hotspot's page when the power goes."""
        if not on:
            self._waiting.clear()

    # The rows of each service.

    def _show_ppp(self, session: Session, shown: _Shown) -> None:
        mac = _capitals(session)
        active = {
            "name": session.user_name,
            "service": "pppoe",
            "caller-id": mac,
            "address": session.address or "",
            "encoding": "",
            "session-id": f"0x{int(session.id, 16):X}",
            "limit-bytes-in": str(session.grant.upload_limit or 0),
            "limit-bytes-out": str(session.grant.download_limit or 0),
            "radius": "false" if session.local else "true",
        }
        self._put(session, shown, "/ppp/active", active)
        interface = {
            "name": f"<{shown.name}>",
            "type": "pppoe-in",
            "mtu": "1480",
            "actual-mtu": "1480",
            "running": "true",
            "dynamic": "true",
            "disabled": "false",
            "last-link-up-time": self._box.version.instant(self._box.now),
            "link-downs": "0",
        }
        self._put(session, shown, "/interface", interface)

    def _show_hotspot(self, session: Session, shown: _Shown) -> None:
        waiting = self._waiting.pop(session.subscriber.mac, None)
        if waiting is not None:
            self._box.table("/ip/hotspot/host").drop(waiting)
        address = session.address or ""
        active = {
            "server": "hotspot1",
            "user": session.user_name,
            "address": address,
            "mac-address": _capitals(session),
            "login-by": "mac" if session.subscriber.method is Method.MAC else "http-chap",
            "idle-time": "1s",
            "keepalive-timeout": "2m",
            "idle-timeout": time_text(session.grant.idle_timeout) if session.grant.idle_timeout else "",
            "radius": "false" if session.local else "true",
        }
        self._put(session, shown, "/ip/hotspot/active", active)
        self._put(session, shown, "/ip/hotspot/host", self._host(session.subscriber, address) | {"authorized": "true"})
        self._put(session, shown, "/ip/arp", self._arp(session))

    def _host(self, subscriber: Subscriber, address: str) -> dict[str, str]:
        return {
            "mac-address": parse_mac(subscriber.mac).upper(),
            "address": address,
            "to-address": address,
            "server": "hotspot1",
            "found-by": "UDP :68 -> :67",
            "idle-time": "3s",
            "keepalive-timeout": "2m",
            "bypassed": "false",
            "static": "false",
            "DHCP": "false",
            "dynamic": "true",
        }

    def _show_dhcp(self, session: Session, shown: _Shown) -> None:
        mac, address = _capitals(session), session.address or ""
        server = next((row["name"] for row in self._box.table("/ip/dhcp-server")), "dhcp1")
        bound = {
            "status": "bound",
            "last-seen": "3s",
            "active-address": address,
            "active-mac-address": mac,
            "active-client-id": f"1:{mac.lower()}",
            "active-server": server,
            "host-name": session.subscriber.name.split(" ")[0] if session.subscriber.name else "",
        }
        table = self._box.table("/ip/dhcp-server/lease")
        static = self._terms.static_lease(session.subscriber) if session.local else None
        if static is not None:
            table.change(static, bound)
            shown.rows.append((table, static))
            self._session_of[table.menu.path, static.number] = session
        else:
            lease = {
                "address": address,
                "mac-address": mac,
                "client-id": f"1:{mac.lower()}",
                "server": server,
                "dynamic": "true",
                "radius": "true",
                "address-lists": session.grant.address_list or "",
                "rate-limit": session.grant.rate_text or "",
            }
            self._put(session, shown, "/ip/dhcp-server/lease", lease | bound)
        self._put(session, shown, "/ip/arp", self._arp(session) | {"DHCP": "true"})

    def _show_wireless(self, session: Session, shown: _Shown) -> None:
        path = next((path for path in _REGISTRATIONS if self._box.has(path)), None)
        if path is None:
            return
        signal = -50 - int(parse_mac(session.subscriber.mac)[-2:], 16) % 30
        wanted = {
            "interface": "wlan1",
            "mac-address": _capitals(session),
            "radio-name": session.subscriber.name,
            "ap": "false",
            "signal-strength": f"{signal}dBm@6Mbps",
            "signal": str(signal),
            "signal-to-noise": str(100 + signal),
            "tx-ccq": "92",
            "tx-rate": "130Mbps-20MHz/2S",
            "rx-rate": "117Mbps-20MHz/2S",
            "last-activity": "10ms",
            "authentication-type": "wpa2-psk",
        }
        known = self._box.table(path).known
        self._put(session, shown, path, {name: value for name, value in wanted.items() if name in known})

    def _arp(self, session: Session) -> dict[str, str]:
        return {
            "address": session.address or "",
            "mac-address": _capitals(session),
            "interface": "bridge-hotspot" if session.kind is AccessKind.HOTSPOT else "bridge-lan",
            "dynamic": "true",
            "complete": "true",
            "published": "false",
            "invalid": "false",
            "disabled": "false",
        }

    def _put(self, session: Session, shown: _Shown, path: str, fields: dict[str, str]) -> None:
        if not self._box.has(path):
            return
        table = self._box.table(path)
        row = self._box.fill(path, {name: value for name, value in fields.items() if value != ""})
        shown.rows.append((table, row))
        self._session_of[path, row.number] = session

    # Rate and list.

    def _show_terms(self, session: Session, shown: _Shown) -> None:
        if session.kind is not AccessKind.WIRELESS:
            self._show_queue(session, shown, session.grant.rate)
        self._show_list(session, shown, session.grant.address_list)

    def _show_queue(self, session: Session, shown: _Shown, rate: RateLimit | None) -> None:
        table = self._box.table("/queue/simple")
        if rate is None:
            if shown.queue is not None:
                self._session_of.pop((table.menu.path, shown.queue.number), None)
                _drop(table, shown.queue)
                shown.queue = None
            return
        fields = _queue_fields(rate)
        if shown.queue is not None:
            table.change(shown.queue, fields)
            return
        named = f"<{shown.name}>"
        target = f"{session.address}/32"
        if session.kind is AccessKind.DHCP:
            named = f"dhcp-ds<{_capitals(session)}>"
        elif session.kind is AccessKind.PPP:
            target = named
        shown.queue = self._box.fill("/queue/simple", {"name": named, "target": target, "dynamic": "true"} | fields)
        self._session_of[table.menu.path, shown.queue.number] = session

    def _show_list(self, session: Session, shown: _Shown, name: str | None) -> None:
        table = self._box.table("/ip/firewall/address-list")
        if shown.listed is not None and shown.listed.get("list") != name:
            _drop(table, shown.listed)
            shown.listed = None
        if name and session.address and shown.listed is None:
            created = self._box.version.instant(self._box.now)
            shown.listed = self._box.fill(
                table.menu.path,
                {"list": name, "address": session.address, "dynamic": "true", "creation-time": created},
            )

    # What is counted.

    def session_of(self, path: str, row: Row) -> Session | None:
        """Return the session that a row belongs to."""
        return self._session_of.get((path, row.number))

    def _compute(self) -> None:
        box = self._box

        def computed(path: str, name: str, function: Callable[[Session], str]) -> None:
            def shown(row: Row) -> str | None:
                session = self._session_of.get((path, row.number))
                return row.get(name) if session is None else function(session)

            if box.has(path) and name in box.table(path).known:
                box.compute(path, name, shown)

        for path in ("/ppp/active", "/ip/hotspot/active", "/ip/hotspot/host", *_REGISTRATIONS):
            computed(path, "uptime", lambda session: time_text(int(time.monotonic() - session.started)))
        for path in ("/ip/hotspot/active", "/ip/hotspot/host"):
            computed(path, "bytes-in", lambda session: str(_octets(session)[0]))
            computed(path, "bytes-out", lambda session: str(_octets(session)[1]))
            computed(path, "packets-in", lambda session: str(packets(_octets(session)[0])))
            computed(path, "packets-out", lambda session: str(packets(_octets(session)[1])))
        computed("/ip/hotspot/active", "session-time-left", _time_left)
        computed("/ip/dhcp-server/lease", "expires-after", _expires)
        for path in _REGISTRATIONS:
            computed(path, "bytes", lambda session: "{1},{0}".format(*_octets(session)))

    # What people do.

    def _removed(self, change: Change) -> None:
        if change.kind != "remove":
            return
        session = self._session_of.pop((change.path, change.row.number), None)
        if session is not None:
            self._in_loop(lambda: self._nas.log_out(session, TerminateCause.ADMIN_RESET))

    def _note_logout(self, session: Session, why: str) -> None:
        secrets = self._box.table("/ppp/secret")
        row = secrets.first(name=session.user_name)
        if row is None:
            return
        noted = {"last-logged-out": self._box.version.instant(self._box.now), "last-caller-id": _capitals(session)}
        noted["last-disconnect-reason"] = {"user-request": "peer-request", "admin-reset": "reset"}.get(why, why)
        secrets.change(row, {name: value for name, value in noted.items() if name in secrets.known})

    def _name(self, session: Session) -> str:
        """Return the name of a session's interface and queue; a second one of the same user gets a number."""
        plain = f"{_TOPIC[session.kind] if session.kind is not AccessKind.PPP else 'pppoe'}-{session.user_name}"
        taken = {shown.name for shown in self._shown.values()} if session.kind is AccessKind.PPP else set()
        name, number = plain, 0
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        return name


_TOPIC = {
    AccessKind.PPP: "pppoe,ppp",
    AccessKind.HOTSPOT: "hotspot",
    AccessKind.DHCP: "dhcp",
    AccessKind.WIRELESS: "wireless",
}
_BOUND = ("active-address", "active-mac-address", "active-client-id", "active-server", "host-name", "expires-after")


def _keep_dynamic(kind: Happened, _call: Call, row: Row | None, _fields: dict[str, str]) -> None:
    if kind == "remove" and row is not None and row.is_true("dynamic"):
        raise Trap("failure: can not remove dynamic entry", GENERAL)


def _drop(table: Table, row: Row) -> None:
    """Take a row away, unless it is gone and its number is another's."""
    if table.row(row.id) is row:
        table.drop(row)


def _capitals(session: Session) -> str:
    return parse_mac(session.subscriber.mac).upper()


def _octets(session: Session) -> tuple[int, int]:
    """Return what a session's client has sent and received."""
    return session.octets(time.monotonic())


def _time_left(session: Session) -> str:
    timeout = session.grant.session_timeout
    return time_text(max(0, int(timeout - (time.monotonic() - session.started)))) if timeout else ""


def _expires(session: Session) -> str:
    lease = session.grant.session_timeout or 600
    return time_text(int(lease - (time.monotonic() - session.started) % (lease / 2)))


def _queue_fields(rate: RateLimit) -> dict[str, str]:
    """Return the limits of a dynamic queue: upload first, in bit/s."""
    fields = {
        "max-limit": f"{rate.upload}/{rate.download}",
        "limit-at": f"{rate.minimum_upload or 0}/{rate.minimum_download or 0}",
        "priority": f"{rate.priority or 8}/{rate.priority or 8}",
        "burst-limit": "0/0",
        "burst-threshold": "0/0",
        "burst-time": "0s/0s",
    }
    if rate.burst is not None:
        burst = rate.burst
        fields["burst-limit"] = f"{burst.upload}/{burst.download}"
        fields["burst-threshold"] = f"{burst.threshold_upload}/{burst.threshold_download}"
        fields["burst-time"] = f"{burst.seconds}s/{burst.seconds}s"
    return fields
