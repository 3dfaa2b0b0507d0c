"""A device that a hotspot does not let in by itself: what RADIUS said of it last, in words for whoever holds it.

A phone or CPE of a subscriber is let in by its MAC address, or by a user name and a password. What came of that stands
in the requests; the page asks for it by the MAC address that the hotspot names. A link can be forged, so nothing is
shown but the reason: no name, no line, no debt. A guest with a code sees none of it, since every phone that comes by is
unknown at first.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select

from aaa.decision import Reason
from core.i18n import N_
from db.models import AuthEvent
from portal import context
from portal.captive import place as places
from portal.captive.place import db, place
from portal.captive.variables import Visit
from portal.subscriber.words import TROUBLES, Trouble
from radius.explain import spellings

LATELY = timedelta(minutes=10)
_CHECK = N_(
    "Check user name and password letter by letter, as they stand on your contract, capitals and small letters too."
)

DEVICE_TROUBLES: Mapping[Reason, Trouble] = {
    Reason.MAC_NOT_REGISTERED: Trouble(
        N_("This device is not registered"),
        N_("If it belongs to a line of yours, tell us its number below, and we register it."),
    ),
    Reason.UNKNOWN_SUBSCRIBER: Trouble(N_("User name or password is wrong"), _CHECK),
    Reason.WRONG_PASSWORD: Trouble(N_("User name or password is wrong"), _CHECK),
    Reason.NO_PASSWORD: Trouble(
        N_("Your device sends no password"), N_("Its settings are not complete. Enter user name and password again.")
    ),
    Reason.TOO_MANY_ATTEMPTS: Trouble(
        N_("Too many wrong passwords"),
        N_("Wait five minutes. If your device keeps trying by itself, correct it first."),
    ),
    Reason.OTHER_ROUTER: Trouble(
        N_("Your account belongs to another place"), N_("It works where it was installed. Ask us to move it.")
    ),
    Reason.SESSION_LIMIT: Trouble(
        N_("Your account is in use on another device"), N_("Log out there first, or wait a few minutes.")
    ),
    Reason.TERMINATED: Trouble(N_("This account was closed"), N_("Get in touch to open it again.")),
    Reason.NOT_VIA_RADIUS: Trouble(
        N_("This line needs no login"), N_("Your device is set up as for another kind of line. Get in touch.")
    ),
    **TROUBLES,
}
_OF_GUESTS = frozenset((Reason.MAC_NOT_REGISTERED, Reason.UNKNOWN_SUBSCRIBER, Reason.VOLUME_USED_UP))
"""What is said of every phone that comes by, before anybody typed anything, and of codes."""
_SHOWN = frozenset(reason.value for reason in DEVICE_TROUBLES if reason not in _OF_GUESTS)
_LATE = timedelta(seconds=30)
"""So much later than it was asked a request may be stored."""
_MOST = 1000


def said_of(visit: Visit, now: datetime) -> Reason | None:
    """Return why RADIUS refused a device at this place last, None where it did not, or let it in since."""
    names = spellings(visit.mac)
    if visit.user:
        names.append(visit.user)
    found = (
        db()
        .execute(
            select(AuthEvent.outcome, AuthEvent.reason)
            .where(
                AuthEvent.operator_id == place().operator.id,
                AuthEvent.user_name.in_(names),
                AuthEvent.at > now - LATELY,
                AuthEvent.mac == visit.mac,
                AuthEvent.nas_id == place().nas_id,
            )
            .order_by(AuthEvent.at.desc())
            .limit(1)
        )
        .one_or_none()
    )
    if found is None or found.outcome == "accept" or found.reason not in set(Reason):
        return None
    return Reason(found.reason)


def notice_for(visit: Visit, now: datetime) -> Trouble | None:
    """Return what the login page says of a device of itself; of a guest's phone nothing.

    A login that was typed and refused comes with the router's own words instead.
    """
    if visit.error:
        return None
    found = _refusals_here(now).get(visit.mac)
    return None if found is None else DEVICE_TROUBLES.get(found[1])


# What was refused at a place is read for all of its phones together, and then only what came since: a query for each
# phone was three quarters of what the page cost.


@dataclass(slots=True)
class _Refusals:
    """The devices that were refused at a place lately, each with when and why; read up to `until`."""

    looked: float = 0.0
    until: datetime | None = None
    of: dict[str, tuple[datetime, Reason]] = field(default_factory=dict)


_places: dict[tuple[int, int], _Refusals] = {}


def _refusals_here(now: datetime) -> Mapping[str, tuple[datetime, Reason]]:
    key = (id(context.portal()), place().nas_id)
    if len(_places) > _MOST:
        _places.clear()
    known = _places.setdefault(key, _Refusals())
    if time.monotonic() - known.looked >= places.KEPT:
        known.looked = time.monotonic()
        since = now - LATELY if known.until is None else max(known.until - _LATE, now - LATELY)
        read = _read(known.of, since)
        known.until = now
        # Put in place as a whole: other threads look into what was there.
        known.of = {mac: said for mac, said in read.items() if said[0] > now - LATELY}
    return known.of


def _read(before: Mapping[str, tuple[datetime, Reason]], since: datetime) -> dict[str, tuple[datetime, Reason]]:
    newest = (
        select(AuthEvent.mac, AuthEvent.outcome, AuthEvent.reason, AuthEvent.at)
        .where(
            AuthEvent.operator_id == place().operator.id,
            AuthEvent.at > since,
            AuthEvent.nas_id == place().nas_id,
            AuthEvent.mac.is_not(None),
        )
        .order_by(AuthEvent.at)
    )
    found = dict(before)
    for mac, outcome, reason, at in db().execute(newest):
        assert mac is not None
        if outcome == "accept":
            found.pop(mac, None)
        elif reason in _SHOWN:
            found[mac] = (at, Reason(reason))
    return found
