"""Circuit tests: where the fault is between the network and a subscriber's device.

Whoever answers the telephone has to send somebody to the right place: to the network, to a router, to a sector of it
or to the subscriber's premises, or to nobody, because the account is what keeps the line closed. The rules are asked
in that order, from what concerns most people to what concerns one: a tower that is dark explains all of its lines.

Nothing here asks anything; `network.circuit_test` does, and `judge()` says what its findings mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from network.monitoring.outage import LEAST, SHARE

LOSSY = 5.0
"""From so many per cent of lost packets on, a line is felt to be bad."""


class Step(StrEnum):
    """What is looked at, in this order."""

    SESSION = "session"
    ACCOUNT = "account"
    ROUTER = "router"
    PING = "ping"
    LINK = "link"
    RATE = "rate"  # only where it was asked for: somebody is there to use the line
    SECTOR = "sector"


class Finding(StrEnum):
    """What a step found, where no `network.problems.Cause` says it. Behind it: the values that belong to it."""

    ONLINE = "online"  # since, heard
    ONLINE_STALE = "online_stale"  # since, heard: accounting is overdue
    OFFLINE = "offline"  # ended, cause
    NEVER_ONLINE = "never_online"
    STATIC = "static"  # a static address has no session
    ALLOWED = "allowed"
    GARDEN = "garden"  # reason
    CLOSED = "closed"  # reason: it would be refused
    REFUSED = "refused"  # reason, at: its last request was
    NO_ROUTER = "no_router"
    NO_API = "no_api"  # heard
    REACHED = "reached"  # milliseconds, version
    DEAF = "deaf"  # heard: over RADIUS, in the last minutes
    NOT_ASKED = "not_asked"
    NO_ADDRESS = "no_address"
    ANSWERS = "answers"  # sent, received, milliseconds
    LOSES = "loses"  # sent, received, loss, milliseconds
    SILENT = "silent"  # sent
    SEEN = "seen"  # where, mac, signal, ago
    NOT_SEEN = "not_seen"  # mac
    NOTHING_TO_SEE = "nothing_to_see"  # behind PPPoE a router sees no devices
    RATE_REACHED = "rate_reached"  # download, sold: Mbit/s
    RATE_SHORT = "rate_short"  # download, sold
    RATE_IDLE = "rate_idle"  # download, sold: too little went through to tell
    NO_COUNTER = "no_counter"  # the router counts nothing of this line alone
    OTHERS_FINE = "others_fine"  # up, lost
    OTHERS_LOST = "others_lost"  # up, lost
    OTHERS_LOSE = "others_lose"  # pinged, bad: the neighbours answer as badly
    NO_OTHERS = "no_others"


class Fault(StrEnum):
    """Where the fault is."""

    NONE = "none"
    ACCOUNT = "account"
    NETWORK = "network"
    ROUTER = "router"
    SECTOR = "sector"
    PREMISES = "premises"
    UNSURE = "unsure"


class Why(StrEnum):
    """What the verdict rests on; the portal says what to do about each."""

    ALL_WELL = "all_well"
    CLOSED = "closed"
    GARDEN = "garden"
    REFUSED = "refused"
    ROUTERS_OUT = "routers_out"
    ACCOUNTING_LATE = "accounting_late"
    ROUTER_OUT = "router_out"
    ROUTER_DARK = "router_dark"
    SECTOR_DARK = "sector_dark"
    SECTOR_LOSES = "sector_loses"
    LOSES = "loses"
    SILENT = "silent"
    GONE = "gone"
    NO_LOGIN = "no_login"
    NOT_SEEN = "not_seen"
    ONLY_THIS = "only_this"
    NOT_ASKED = "not_asked"
    NOTHING_KNOWN = "nothing_known"


class Way(StrEnum):
    """How the router stands that the line hangs on."""

    REACHED = "reached"
    DEAF = "deaf"  # its API does not take us, but it is up: it refuses, or its RADIUS packets come
    OUT = "out"  # neither its API nor its RADIUS is heard
    UNKNOWN = "unknown"  # not known which router it is, or nothing is known of it


@dataclass(frozen=True, slots=True)
class Ping:
    """Packets to the subscriber's device, sent by its router."""

    sent: int
    received: int
    milliseconds: float | None = None

    @property
    def loss(self) -> float:
        """Return the share that was lost, in per cent."""
        return 100 * (self.sent - self.received) / self.sent if self.sent else 0.0

    @property
    def bad(self) -> bool:
        return self.loss >= LOSSY


@dataclass(frozen=True, slots=True)
class Others:
    """Other lines at the same place: how many are up, and how many were lost in the last half hour and are not back."""

    up: int = 0
    lost: int = 0

    @property
    def dark(self) -> bool:
        """Whether so many went that it is no coincidence."""
        return self.lost >= LEAST and self.lost >= SHARE * (self.up + self.lost)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the steps found. `session` is None for a static address, which has none; `seen` None when not known."""

    account: str = "accept"  # accept, garden, reject: the standing decision
    refused: bool = False  # its last request was refused, within the hour
    session: bool | None = False
    stale: bool = False
    way: Way = Way.UNKNOWN
    routers: int = 0  # other routers of the operator that are watched
    routers_out: int = 0
    ping: Ping | None = None
    seen: bool | None = None
    sector: Others = Others()
    router: Others = Others()  # sector included
    neighbours: int = 0  # pinged because this line lost packets
    neighbours_bad: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the fault is, and why that is thought."""

    fault: Fault
    why: Why


def judge(facts: Facts) -> Verdict:
    """Return the verdict. The order of the rules is the policy."""
    for rule in RULES:
        verdict = rule(facts)
        if verdict is not None:
            return verdict
    return Verdict(Fault.UNSURE, Why.NOTHING_KNOWN)


def _router_is_out(facts: Facts) -> Verdict | None:
    if facts.way is not Way.OUT:
        return None
    # Several routers at once do not fail by themselves: what they share has, a link, the VPN or our own line.
    if facts.routers_out >= 2 and 2 * facts.routers_out >= facts.routers:
        return Verdict(Fault.NETWORK, Why.ROUTERS_OUT)
    return Verdict(Fault.ROUTER, Why.ROUTER_OUT)


def _account_is_closed(facts: Facts) -> Verdict | None:
    if facts.account == "reject":
        return Verdict(Fault.ACCOUNT, Why.CLOSED)
    if facts.account == "garden":
        return Verdict(Fault.ACCOUNT, Why.GARDEN)
    return Verdict(Fault.ACCOUNT, Why.REFUSED) if facts.refused else None


def _line_is_well(facts: Facts) -> Verdict | None:
    if facts.ping is None or facts.ping.bad or facts.session is False:
        return None
    if facts.stale:
        return Verdict(Fault.NETWORK, Why.ACCOUNTING_LATE)
    return Verdict(Fault.NONE, Why.ALL_WELL)


def _many_are_dark(facts: Facts) -> Verdict | None:
    elsewhere = facts.router.lost > facts.sector.lost
    if facts.router.dark and elsewhere:
        return Verdict(Fault.ROUTER, Why.ROUTER_DARK)
    if facts.sector.dark:
        return Verdict(Fault.SECTOR, Why.SECTOR_DARK)
    if facts.neighbours >= 2 and 2 * facts.neighbours_bad > facts.neighbours:
        return Verdict(Fault.SECTOR, Why.SECTOR_LOSES)
    return None


def _device_answers_badly(facts: Facts) -> Verdict | None:
    ping = facts.ping
    if ping is None or ping.received == 0:
        return None
    return Verdict(Fault.PREMISES, Why.LOSES if ping.bad else Why.NO_LOGIN)


def _device_is_silent(facts: Facts) -> Verdict | None:
    if facts.session:
        if facts.stale:
            return Verdict(Fault.PREMISES, Why.GONE)
        return Verdict(Fault.PREMISES, Why.SILENT) if facts.ping is not None else None
    if facts.seen:
        return Verdict(Fault.PREMISES, Why.SILENT if facts.session is None else Why.NO_LOGIN)
    if facts.seen is False:
        return Verdict(Fault.PREMISES, Why.NOT_SEEN)
    if facts.session is None and facts.ping is not None:
        return Verdict(Fault.PREMISES, Why.NOT_SEEN)
    return None


def _others_are_up(facts: Facts) -> Verdict | None:
    if facts.session is False and (facts.sector.up or facts.router.up):
        return Verdict(Fault.PREMISES, Why.ONLY_THIS)
    return None


def _could_not_ask(facts: Facts) -> Verdict | None:
    return Verdict(Fault.UNSURE, Why.NOT_ASKED) if facts.session is not False and facts.ping is None else None


RULES: tuple[Callable[[Facts], Verdict | None], ...] = (
    _router_is_out,
    _account_is_closed,
    _line_is_well,
    _many_are_dark,
    _device_answers_badly,
    _device_is_silent,
    _others_are_up,
    _could_not_ask,
)
