"""Words and badges for the values that are stored: states, access methods, roles. One colour each, everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_


@dataclass(frozen=True, slots=True)
class Badge:
    """How a state looks: a colour of the theme, an icon, and its word, so that colour never stands alone."""

    text: str
    colour: str
    icon: str


BADGES: Mapping[str, Mapping[str, Badge]] = {
    "service_state": {
        "pending": Badge(N_("Pending"), "blue", "clock"),
        "active": Badge(N_("Active"), "teal", "circle-check"),
        "suspended": Badge(N_("Suspended"), "red", "ban"),
        "paused": Badge(N_("Paused"), "purple", "player-pause"),
        "terminated": Badge(N_("Terminated"), "dark", "circle-x"),
    },
    "line": {
        "online": Badge(N_("Online"), "green", "wifi"),
        "offline": Badge(N_("Offline"), "secondary", "wifi-off"),
        "garden": Badge(N_("Walled garden"), "orange", "fence"),
    },
    "outcome": {
        "accept": Badge(N_("Accepted"), "green", "check"),
        "garden": Badge(N_("Walled garden"), "orange", "fence"),
        "reject": Badge(N_("Rejected"), "red", "x"),
    },
    "order_state": {
        "pending": Badge(N_("Waiting"), "blue", "clock"),
        "sent": Badge(N_("Sent"), "azure", "send"),
        "acked": Badge(N_("Acknowledged"), "cyan", "check"),
        "verified": Badge(N_("Verified"), "green", "checks"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
        "superseded": Badge(N_("Superseded"), "secondary", "replace"),
        "cancelled": Badge(N_("Cancelled"), "secondary", "circle-x"),
    },
    "enabled": {
        "yes": Badge(N_("In use"), "green", "check"),
        "no": Badge(N_("Switched off"), "secondary", "power"),
    },
}

LABELS: Mapping[str, Mapping[str, str]] = {
    "access_method": {
        "pppoe": N_("PPPoE"),
        "mac": N_("MAC address"),
        "hotspot": N_("Hotspot login"),
        "voucher": N_("Voucher"),
        "queue": N_("Static address"),
    },
    "management": {
        "automatic": N_("Automatic: cut off when unpaid"),
        "manual": N_("By hand: never cut off automatically"),
    },
    "mac_binding": {
        "any": N_("Any device"),
        "learn": N_("The first devices seen, then no others"),
        "fixed": N_("Only the devices listed"),
    },
    "suspension_cause": {
        "overdue": N_("Overdue"),
        "staff": N_("By staff"),
        "abuse": N_("Abuse"),
    },
    "role": {
        "manager": N_("Manager"),
        "sales": N_("Sales"),
        "support": N_("Support"),
        "finance": N_("Finance"),
        "technical": N_("Technical"),
    },
}


def badge(kind: str, value: str) -> Badge:
    """Return the badge of a value, its word translated; a value that is not known is shown as it is."""
    found = BADGES[kind].get(value)
    return Badge(_(found.text), found.colour, found.icon) if found else Badge(value, "secondary", "help-circle")


def label(kind: str, value: str) -> str:
    """Return the word for a stored value in the reader's language."""
    if kind in BADGES:
        return badge(kind, value).text
    found = LABELS[kind].get(value)
    return _(found) if found else value


def choices(kind: str) -> list[tuple[str, str]]:
    """Return the values of a kind with their words, as select fields and filters want them."""
    return [(value, label(kind, value)) for value in (BADGES.get(kind) or LABELS[kind])]


def install(app: Flask) -> None:
    app.jinja_env.globals.update(badge=badge, label=label, choices=choices)
