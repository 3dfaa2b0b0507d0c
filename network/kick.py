"""Ending a session through the API: the last rung, for routers that obey neither CoA nor Disconnect.

The row of the session is looked for in the menu of its service and removed, which ends it as an administrator would
in WinBox. A row is the session's when what the router says of it agrees with what accounting said: the session id
where the menu shows one (`0x81C00002` here, `81c00002` in RADIUS), else user, address and device. No such row is the
router's own word that the session is over; a router that could not be asked says nothing of the kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from aaa.facts import AccessKind
from core.mac import find_mac
from network.api import AsyncRouterApi
from network.problems import Cause, RouterProblem
from network.words import Row

PPP_ACTIVE = "/ppp/active"
HOTSPOT_ACTIVE, HOTSPOT_COOKIE = "/ip/hotspot/active", "/ip/hotspot/cookie"
LEASES = "/ip/dhcp-server/lease"
REGISTRATIONS = (
    "/interface/wifi/registration-table",
    "/interface/wireless/registration-table",
    "/caps-man/registration-table",
)


class Kicked(StrEnum):
    """What became of the session."""

    REMOVED = "removed"
    ABSENT = "absent"
    STATIC = "static"  # a lease that the ISP's own people made: theirs to remove


@dataclass(frozen=True, slots=True)
class OnlineSession:
    """A session as accounting knows it; texts as the NAS wrote them."""

    kind: AccessKind
    user_name: str
    acct_session_id: str
    calling_station_id: str
    framed_ip: str | None


async def kick(router: AsyncRouterApi, session: OnlineSession) -> Kicked:
    """Remove a session from a router. Raises RouterProblem, and then nothing is known about it."""
    match session.kind:
        case AccessKind.PPP:
            return await _ppp(router, session)
        case AccessKind.HOTSPOT:
            return await _hotspot(router, session)
        case AccessKind.DHCP:
            return await _dhcp(router, session)
        case AccessKind.WIRELESS:
            return await _wireless(router, session)


async def _ppp(router: AsyncRouterApi, session: OnlineSession) -> Kicked:
    rows = await router.rows(PPP_ACTIVE, "name", "caller-id", "address", "session-id", name=session.user_name)
    wanted = _number(session.acct_session_id)
    mine = [
        row
        for row in rows
        if (_number(row["session-id"]) == wanted if "session-id" in row and wanted is not None else _same(row, session))
    ]
    return await _remove(router, PPP_ACTIVE, mine)


async def _hotspot(router: AsyncRouterApi, session: OnlineSession) -> Kicked:
    fields = ("user", "address", "mac-address")
    rows = await router.rows(HOTSPOT_ACTIVE, *fields, user=session.user_name)
    if session.framed_ip is not None:
        rows += await router.rows(HOTSPOT_ACTIVE, *fields, address=session.framed_ip)
    mine = {row[".id"]: row for row in rows if _same(row, session)}
    if mine:
        # The cookies first: in between, one of them would log the device in again.
        cookies = await router.rows(HOTSPOT_COOKIE, "user", "mac-address", user=session.user_name)
        mac = find_mac(session.calling_station_id)
        await _remove(router, HOTSPOT_COOKIE, [row for row in cookies if mac in (None, find_mac(row["mac-address"]))])
    return await _remove(router, HOTSPOT_ACTIVE, mine.values())


async def _dhcp(router: AsyncRouterApi, session: OnlineSession) -> Kicked:
    fields = ("address", "active-address", "mac-address", "active-mac-address", "dynamic")
    rows = await router.rows(LEASES, *fields, address=session.framed_ip or "")
    mine = [
        row
        for row in rows
        if _agrees(session, row.get("active-mac-address") or row.get("mac-address"), row.get("address"))
    ]
    dynamic = [row for row in mine if row.get("dynamic") == "true"]
    if mine and not dynamic:
        return Kicked.STATIC
    return await _remove(router, LEASES, dynamic)


async def _wireless(router: AsyncRouterApi, session: OnlineSession) -> Kicked:
    """Which of the menus there is depends on version and packages."""
    mac = find_mac(session.calling_station_id) or find_mac(session.user_name)
    absent: RouterProblem | None = None
    asked = False
    for path in REGISTRATIONS:
        try:
            rows = await router.rows(path, "mac-address")
        except RouterProblem as problem:
            if problem.cause is not Cause.VERSION:
                raise
            absent = problem
            continue
        asked = True
        mine = [row for row in rows if mac is not None and find_mac(row.get("mac-address", "")) == mac]
        if mine:
            return await _remove(router, path, mine)
    if not asked and absent is not None:
        raise absent
    return Kicked.ABSENT


async def _remove(router: AsyncRouterApi, path: str, rows: Iterable[Row]) -> Kicked:
    removed = Kicked.ABSENT
    for row in rows:
        try:
            await router.remove(path, row[".id"])
        except RouterProblem as problem:
            if problem.cause is not Cause.NO_SUCH_ITEM:  # it ended by itself a moment ago
                raise
        removed = Kicked.REMOVED
    return removed


def _same(row: Row, session: OnlineSession) -> bool:
    user = row.get("user", row.get("name", ""))
    return user == session.user_name and _agrees(
        session, row.get("mac-address", row.get("caller-id")), row.get("address")
    )


def _agrees(session: OnlineSession, mac: str | None, address: str | None) -> bool:
    """Tell whether device and address are the session's, as far as both sides name them; one at least must be."""
    pairs = (
        (find_mac(session.calling_station_id), find_mac(mac or "")),
        (session.framed_ip, address),
    )
    named = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
    return bool(named) and all(mine == theirs for mine, theirs in named)


def _number(session_id: str) -> int | None:
    try:
        return int(session_id, 16)
    except ValueError:
        return None
