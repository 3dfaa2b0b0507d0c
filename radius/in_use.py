"""What radiusd has itself seen of vouchers and the image does not say yet.

The image follows through journal, loader and publisher, within a second or not at all while PostgreSQL is away. Two
phones that type one code in the same moment would both be let in, a clock would begin anew with each login, and what a
session used would not count for the next. So each accept and each accounting packet of a voucher is remembered here, in
the memory of the one process that answers. What the image knows better wins: of two first logins the earlier counts,
of two sums of usage the larger.

A restart of radiusd forgets this; by then the image has it, unless PostgreSQL was away all that time.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from aaa.facts import OpenSession, OpenUse, Service
from core.clock import from_epoch

CLAIM = 60.0
"""Seconds for which an accept counts as a session although no accounting was heard of it."""
SILENT = 900.0
"""Seconds after its last packet for which a session counts that the image does not know."""
REMEMBERED = 50_000
SESSIONS = 50
"""Sessions of one voucher that are kept apart; those that have ended are then summed up."""

_SessionKey = tuple[int, str]  # NAS and Acct-Session-Id


@dataclass(slots=True)
class _Session:
    """A session that was let in here."""

    nas_name: str
    mac: str | None
    granted: float
    heard: float = 0.0
    stopped: float | None = None
    in_image: bool = False
    online: int = 0
    octets: int = 0


@dataclass(slots=True)
class _Known:
    """Of one voucher: the first login here, and what the image said of its usage then."""

    first_login: float
    online: timedelta
    octets: int
    sessions: dict[_SessionKey, _Session] = field(default_factory=dict)

    def settle(self, now: float) -> None:
        """Add up the sessions that have ended or are silent, and forget them one by one."""
        for key, session in list(self.sessions.items()):
            if session.stopped is not None or now > max(session.granted + CLAIM, session.heard + SILENT):
                self.online += timedelta(seconds=session.online)
                self.octets += session.octets
                del self.sessions[key]


class InUse:
    """Vouchers that logged in while this process lived, the latest ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def __contains__(self, service_id: int) -> bool:
        return service_id in self._known

    def add_to(
        self, service: Service, sessions: tuple[OpenSession, ...], now: float
    ) -> tuple[Service, tuple[OpenSession, ...]]:
        """Return a voucher's facts and open sessions with what is known here besides."""
        known, voucher = self._known.get(service.id), service.voucher
        if known is None or voucher is None:
            return service, sessions
        ended = {key for key, session in known.sessions.items() if session.stopped is not None}
        sessions = tuple(each for each in sessions if (each.nas_id, each.acct_session_id) not in ended)
        stops = {session.mac: session.stopped for session in known.sessions.values() if session.stopped is not None}
        uses = [use for use in voucher.open if use.mac is None or stops.get(use.mac, 0.0) < use.started.timestamp()]
        for key, session in known.sessions.items():
            if session.stopped is not None or now > max(session.granted + CLAIM, session.heard + SILENT):
                continue
            named = any((each.nas_id, each.acct_session_id) == key for each in sessions)
            if session.in_image and not named:
                continue  # the image knew it, and knows that it has ended
            session.in_image = named
            if not named and not (session.mac is not None and any(each.mac == session.mac for each in sessions)):
                sessions = (*sessions, OpenSession(key[0], session.nas_name, key[1], session.mac))
            if session.mac is None or not any(use.mac == session.mac for use in uses):
                heard = max(session.granted, session.heard)
                uses.append(OpenUse(from_epoch(session.granted), from_epoch(heard), session.mac))
        online = sum(session.online for session in known.sessions.values() if session.stopped is not None)
        octets = sum(session.octets for session in known.sessions.values())
        first = from_epoch(known.first_login)
        voucher = replace(
            voucher,
            first_login=first if voucher.first_login is None else min(voucher.first_login, first),
            online_used=max(voucher.online_used, known.online + timedelta(seconds=online)),
            octets_used=max(voucher.octets_used, known.octets + octets),
            open=tuple(uses),
        )
        return replace(service, voucher=voucher), sessions

    def granted(
        self, service: Service, nas_id: int, nas_name: str, acct_session_id: str, mac: str | None, now: float
    ) -> None:
        """Remember an accept. `service` are the facts of the image, without what is known here."""
        voucher = service.voucher
        if voucher is None:
            return
        known = self._known.get(service.id)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.popitem(last=False)
            known = self._known[service.id] = _Known(now, voucher.online_used, voucher.octets_used)
        self._known.move_to_end(service.id)
        for session in known.sessions.values():
            if mac is not None and session.mac == mac and session.stopped is None:  # the one that is being replaced
                session.stopped = session.heard or session.granted
                session.online = max(session.online, int(session.stopped - session.granted))
        if len(known.sessions) >= SESSIONS:
            known.settle(now)
        known.sessions[nas_id, acct_session_id or mac or ""] = _Session(nas_name, mac, now)

    def accounted(self, service_id: int, nas_id: int, attributes: Mapping[str, str], now: float) -> None:
        """Remember what an Accounting-Request says of a session that was let in here; malformed numbers are ignored."""
        known = self._known.get(service_id)
        session = known.sessions.get((nas_id, attributes.get("Acct-Session-Id", ""))) if known is not None else None
        if session is None:
            return
        session.heard = now
        session.online = max(session.online, _number(attributes, "Acct-Session-Time"))
        session.octets = max(session.octets, _octets(attributes, "Input") + _octets(attributes, "Output"))
        if attributes.get("Acct-Status-Type") == "Stop":
            session.stopped = now


def _octets(attributes: Mapping[str, str], direction: str) -> int:
    words = _number(attributes, f"Acct-{direction}-Gigawords")
    return _number(attributes, f"Acct-{direction}-Octets") + (words << 32)


def _number(attributes: Mapping[str, str], name: str) -> int:
    text = attributes.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() else 0
