"""Who connects: a subscriber's line, how it proves itself, and what it would like to send and receive."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from aaa.facts import AccessKind


class Method(StrEnum):
    """How the password goes to the NAS."""

    PAP = "pap"
    CHAP = "chap"
    MSCHAP1 = "mschap1"
    MSCHAP2 = "mschap2"
    MAC = "mac"  # the MAC address is the user name, the password is empty


@dataclass(frozen=True, slots=True)
class Demand:
    """What a subscriber would use if nothing limited it, in bit/s."""

    download: int = 0
    upload: int = 0


@dataclass(frozen=True, slots=True)
class ChapAnswer:
    """What a browser made of the challenge on a hotspot's login page: the router passes it on, and has no password."""

    identifier: int
    challenge: bytes
    response: bytes


class Profile(StrEnum):
    """The shape of a subscriber's day: how much of the demand it has at which hour."""

    STEADY = "steady"
    HOME = "home"  # quiet at night, a hump at noon, most in the evening
    BUSINESS = "business"  # from eight to six


def share_of_demand(profile: Profile, hour: float) -> float:
    """Return the part of the demand, 0 to 1, that `profile` has at an hour of the day, 0 to 24."""
    match profile:
        case Profile.STEADY:
            return 1.0
        case Profile.HOME:
            return min(1.0, 0.04 + 0.35 * _hump(hour, 13, 2.5) + _hump(hour, 21, 2.5))
        case Profile.BUSINESS:
            return min(1.0, 0.02 + _hump(hour, 11, 2.2) + 0.9 * _hump(hour, 16, 1.8))


def _hump(hour: float, middle: float, width: float) -> float:
    """Return a bell of height 1 around `middle`, going round the clock."""
    distance = min(abs(hour - middle), 24 - abs(hour - middle))
    return math.exp(-((distance / width) ** 2))


@dataclass(slots=True)
class Subscriber:
    """One access line and the device at its end.

    `name` is the user name as typed into the CPE; with the method `mac` it is not used, the MAC address is. Lengths
    are seconds. `redial_after` is how long the CPE waits after its session was ended by the other side, `retry_after`
    after a refusal; None is never. A PPP client dials for ever; somebody at a captive page logs in by hand.
    """

    name: str
    password: str = field(default="", repr=False)
    kind: AccessKind = AccessKind.PPP
    method: Method = Method.CHAP
    mac: str = "02:00:00:00:00:01"
    demand: Demand = Demand()
    profile: Profile = Profile.STEADY
    redial_after: float | None = 2.0
    retry_after: float | None = 20.0
    mac_format: str = "XX:XX:XX:XX:XX:XX"  # RouterOS's radius-mac-format; x writes lower case
    mac_as_password: bool = False  # RouterOS's mac-as-username-and-password
    chap: ChapAnswer | None = None  # in place of a password that the router would know
    address: str | None = None  # of who has one before logging in: somebody at a hotspot's page


def spell_mac(mac: str, pattern: str) -> str:
    """Write a canonical MAC address as RouterOS's `radius-mac-format` says; `X` is a digit, `x` one in lower case."""
    digits = iter(mac.replace(":", ""))
    return "".join({"X": str.upper, "x": str.lower}[each](next(digits)) if each in "Xx" else each for each in pattern)
