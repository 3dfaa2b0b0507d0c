"""What it takes to bring one live session to the terms it should have.

A session carries the terms it was granted. When the standing decision names others, the difference is the measure:
nothing, a CoA-Request for what RouterOS lets a CoA change (rate, address list, session and idle timeout), a
Disconnect-Request for what only a new session can have (address, pool, routes, IPv6, attributes of the plan's own)
and for who may not be there at all.

Also here, because they are rules and not I/O: what the answer of a NAS means for an order, when it is tried again,
and how an interim update proves a CoA.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aaa.decision import Terms
from aaa.facts import AccessKind
from core.rates import RateLimit
from radius.mikrotik import mikrotik_rate_limit, same_rate

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
COA_TRIES = 3
"""CoA-Requests (each retransmitted by itself) that a NAS which answers others may leave unanswered before the session
is disconnected instead."""
EFFECT_TRIES = 2
"""Acknowledged CoA-Requests that may show no effect in accounting before the session is disconnected instead."""
API_AFTER = 3
"""Requests for an order that may go unanswered or be refused before the session is removed through the API."""
API_AFTER_DHCP = 2
"""The same for DHCP, which cannot be counted on to obey CoA or Disconnect at all."""
DISCONNECT_TRIES = 5
"""Requests that a NAS may refuse or answer without effect before a person has to look."""
NO_TIMEOUT = timedelta(days=365)
"""Stands for "no Session-Timeout" in a CoA-Request, where an earlier one has to be undone: RouterOS does not document
what 0 means there."""

_ADDRESSING = (
    "framed_ip",
    "framed_routes",
    "pool",
    "framed_ipv6_prefix",
    "delegated_ipv6_prefix",
    "ipv6_pool",
    "delegated_ipv6_pool",
)
_RATE, _LIST = "Mikrotik-Rate-Limit", "Mikrotik-Address-List"


class Measure(StrEnum):
    """The request that an order is carried out with."""

    COA = "coa"
    DISCONNECT = "disconnect"
    API = "api"  # RouterOS's API removed the session, where RADIUS could not end it


class Result(StrEnum):
    """What became of one request."""

    ACK = "ack"
    NAK = "nak"
    TIMEOUT = "timeout"  # sent and repeated, never answered: unreachable, or the secret is wrong
    UNREACHABLE = "unreachable"  # the network said so, or the NAS had left others unanswered and it was not sent


class ErrorCause:
    """Values of Error-Cause that are acted upon (RFC 5176 §3.5)."""

    SESSION_CONTEXT_NOT_FOUND = 503
    RESOURCES_UNAVAILABLE = 506


@dataclass(frozen=True, slots=True)
class Changes:
    """What a CoA-Request says. None is not said; timeouts count from the session's start (RFC 2865 §5.27)."""

    rate: str | None
    address_list: str | None
    session_timeout: timedelta | None
    idle_timeout: timedelta | None


def measure(kind: AccessKind, granted: Terms | None, wanted: Terms | None, *, garden: bool) -> Measure | None:
    """Return what brings a session from the terms `granted` (None: not known) to those `wanted` (None: none at all).

    `garden` says that the wanted terms are the walled garden's. A session of unknown terms that may stay as an
    ordinary one is left alone: it was let in by this server, and ending it would only guess.
    """
    if wanted is None:
        return Measure.DISCONNECT
    if granted is None:
        return Measure.DISCONNECT if garden else None
    if kind is AccessKind.WIRELESS:
        return _wireless(granted, wanted)
    if granted.extra != wanted.extra or any(getattr(granted, name) != getattr(wanted, name) for name in _ADDRESSING):
        return Measure.DISCONNECT
    if (granted.rate and not wanted.rate) or (granted.address_list and not wanted.address_list):
        return Measure.DISCONNECT  # a CoA replaces a rate or a list by another; it has no way to say "none"
    said = ("rate", "address_list", "session_timeout", "idle_timeout")
    return Measure.COA if any(getattr(granted, name) != getattr(wanted, name) for name in said) else None


def _wireless(granted: Terms, wanted: Terms) -> Measure | None:
    """Return the measure for an association: it takes no rate, list or address, so only the others matter."""
    matters = ("extra", "session_timeout")
    return Measure.DISCONNECT if any(getattr(granted, name) != getattr(wanted, name) for name in matters) else None


def changes(granted: Terms | None, wanted: Terms, elapsed: timedelta) -> Changes:
    """Return what a CoA-Request has to say to a session that began `elapsed` ago.

    Rate and address list are always named: naming another list is what takes the address off the old one. Timeouts
    are named where they differ. Those count from the session's start, so `elapsed` is added; a router that counts
    from the CoA-Request ends the session later, which no one notices.
    """
    own = {name for name, _, _ in wanted.extra}  # the plan's own attributes hold, as in the Access-Accept
    session_timeout = wanted.session_timeout + elapsed if wanted.session_timeout else NO_TIMEOUT
    return Changes(
        rate=rate_text(wanted.rate) if _RATE not in own else None,
        address_list=wanted.address_list if _LIST not in own else None,
        session_timeout=(
            session_timeout
            if (granted.session_timeout if granted else None) != wanted.session_timeout and "Session-Timeout" not in own
            else None
        ),
        idle_timeout=(
            wanted.idle_timeout or timedelta()
            if (granted.idle_timeout if granted else None) != wanted.idle_timeout and "Idle-Timeout" not in own
            else None
        ),
    )


def rate_text(rate: RateLimit | None) -> str | None:
    return mikrotik_rate_limit(rate) if rate else None


def stronger(one: Measure | None, other: Measure | None) -> Measure | None:
    """Return what brings a session to its terms whichever of two states it is in."""
    if Measure.DISCONNECT in (one, other):
        return Measure.DISCONNECT
    return one or other


def pause_after(attempts: int) -> timedelta:
    """Return how long a NAS that does not answer is left alone: 5 s, 10 s, 20 s … 5 min, give or take a tenth.

    The tenth keeps the NAS behind one broken link from being tried all in the same instant for ever.
    """
    doublings = min(max(attempts - 1, 0), 10)
    pause = min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)
    return pause * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


class Step(StrEnum):
    """What follows from the answer to a request."""

    VERIFY = "verify"  # acknowledged: accounting has to show it
    GONE = "gone"  # the NAS says that it has no such session
    DISCONNECT = "disconnect"  # a CoA will not do
    AGAIN = "again"  # later
    FAIL = "fail"  # a person has to look


def step_after(kind: Measure, result: Result, error_cause: int | None, attempts: int, *, nas_answers: bool) -> Step:
    """Return what follows for an order after its request number `attempts`.

    `nas_answers` says that the NAS answered something lately. Silence about one session alone counts against that
    session's order; silence about everything is the network's, and such orders are kept until it is back.
    """
    match result:
        case Result.ACK:
            return Step.VERIFY
        case Result.NAK if error_cause == ErrorCause.SESSION_CONTEXT_NOT_FOUND:
            return Step.GONE
        case Result.NAK if error_cause == ErrorCause.RESOURCES_UNAVAILABLE and attempts < COA_TRIES:
            return Step.AGAIN
        case Result.NAK if kind is Measure.COA:
            return Step.DISCONNECT
        case Result.NAK:
            return Step.FAIL if attempts >= DISCONNECT_TRIES else Step.AGAIN
        case Result.TIMEOUT if kind is Measure.COA and nas_answers and attempts >= COA_TRIES:
            return Step.DISCONNECT
        case Result.TIMEOUT if kind is Measure.DISCONNECT and nas_answers and attempts >= DISCONNECT_TRIES:
            return Step.FAIL
    return Step.AGAIN


def by_api(kind: AccessKind, wanted: Measure, result: Result, error_cause: int | None, attempts: int) -> bool:
    """Tell whether a session is to be removed through the API after this answer to request number `attempts`.

    A refused CoA is first followed by a Disconnect, and a session that the NAS does not have needs neither.
    """
    if result is Result.ACK or (result is Result.NAK and wanted is Measure.COA):
        return False
    if error_cause == ErrorCause.SESSION_CONTEXT_NOT_FOUND:
        return False
    return attempts >= (API_AFTER_DHCP if kind is AccessKind.DHCP else API_AFTER)


def proves(reported_rate: str | None, wanted: Terms) -> bool:
    """Tell whether what the NAS reports after an acknowledged CoA is what was wanted.

    Accounting that says nothing of the rate (most routers) proves that the session lives on; the acknowledgement has
    to do for the rest.
    """
    text = rate_text(wanted.rate)
    if not reported_rate or text is None or any(name == _RATE for name, _, _ in wanted.extra):
        return True
    return same_rate(reported_rate, text)
