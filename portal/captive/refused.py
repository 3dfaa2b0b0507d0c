"""A device that a hotspot does not let in by itself: what RADIUS said of it last, in words for whoever holds it.

A phone or CPE of a subscriber is let in by its MAC address, or by a user name and a password. What came of that stands
in the requests; the page asks for it by the MAC address that the hotspot names. A link can be forged, so nothing is
shown but the reason: no name, no line, no debt. A guest with a code sees none of it, since every phone that comes by is
unknown at first.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import select

from aaa.decision import Reason
from core.i18n import N_
from db.models import AuthEvent
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
_OF_GUESTS = frozenset((Reason.MAC_NOT_REGISTERED, Reason.UNKNOWN_SUBSCRIBER))
"""What is said of every phone that comes by, before anybody typed anything."""


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
    """Return what the login page says of a device of itself; of a guest's phone nothing."""
    reason = said_of(visit, now)
    return None if reason is None or reason in _OF_GUESTS else DEVICE_TROUBLES.get(reason)
