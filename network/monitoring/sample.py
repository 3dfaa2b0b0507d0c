"""From two readings of a router to one sample: how fast its interfaces were, how much of CPU and memory was in use.

A router counts octets from its start, so a rate is the difference of two readings over the time between them. Where
the later counter is lower (a reboot, an interface made anew, a 32-bit counter that wrapped), or the readings are too
far apart to speak of one rate, nothing is known of the time between: that is a gap, never a spike and never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LONGEST = timedelta(minutes=20)
"""Readings further apart than this say nothing about any minute between them."""
_CLOCK_SLACK = timedelta(seconds=30)
_FASTEST = 1e12  # bit/s; no router of this decade


@dataclass(frozen=True, slots=True)
class Counters:
    """Octets that an interface has counted, as the router sees them."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class RadiusCounters:
    """What the router's RADIUS clients have counted together (`/radius monitor`)."""

    requests: int = 0
    accepts: int = 0
    rejects: int = 0
    resends: int = 0
    timeouts: int = 0
    bad_replies: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a router. What it did not tell is None, or not in the mapping.

    `cpu` is in percent, memory in octets, `temperature` in degrees Celsius. `authenticated` are the subscribers that
    the router itself has let in, `waiting` those that are connected and were not.
    """

    at: datetime
    uptime: timedelta | None
    identity: str = ""
    version: str = ""
    board: str = ""
    serial: str = ""
    cpu: float | None = None
    memory_free: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    authenticated: int | None = None
    waiting: int | None = None
    radius: RadiusCounters | None = None
    interfaces: Mapping[str, Counters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """Bit/s of an interface, as the router sees it."""

    received: float
    sent: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept of one poll. `wan_download` is what the WAN interface received."""

    cpu: float | None = None
    memory: float | None = None
    temperature: float | None = None
    wan_download: float | None = None
    wan_upload: float | None = None
    authenticated: int | None = None
    waiting: int | None = None
    radius_requests: int | None = None
    radius_rejects: int | None = None
    radius_timeouts: int | None = None
    radius_bad_replies: int | None = None
    interfaces: Mapping[str, Rate] = field(default_factory=dict)


def sample(before: Reading | None, now: Reading, wan: str | None) -> Sample:
    """Return what a reading adds to the one before it. `wan` is the interface whose traffic is the router's."""
    comparable = before is not None and same_run(before, now)
    rates: dict[str, Rate] = {}
    radius: dict[str, int] = {}
    if before is not None and comparable:
        seconds = (now.at - before.at).total_seconds()
        for name, counted in now.interfaces.items():
            earlier = before.interfaces.get(name)
            rate = _rate(earlier, counted, seconds) if earlier is not None else None
            if rate is not None:
                rates[name] = rate
        radius = _grown(before.radius, now.radius)
    through = rates.get(wan) if wan else None
    return Sample(
        cpu=now.cpu,
        memory=_used(now),
        temperature=now.temperature,
        wan_download=through.received if through else None,
        wan_upload=through.sent if through else None,
        authenticated=now.authenticated,
        waiting=now.waiting,
        radius_requests=radius.get("requests"),
        radius_rejects=radius.get("rejects"),
        radius_timeouts=radius.get("timeouts"),
        radius_bad_replies=radius.get("bad_replies"),
        interfaces=rates,
    )


def same_run(before: Reading, now: Reading) -> bool:
    """Tell whether the router ran on between two readings that are near enough to be compared.

    A counter may have passed its old value again since a reboot, so the uptime is asked too.
    """
    passed = now.at - before.at
    if not timedelta(0) < passed <= LONGEST:
        return False
    if before.uptime is None or now.uptime is None:
        return True
    return now.uptime >= before.uptime + passed - _CLOCK_SLACK or now.uptime >= before.uptime + passed * 0.9


def _rate(before: Counters, now: Counters, seconds: float) -> Rate | None:
    received, sent = now.received - before.received, now.sent - before.sent
    if received < 0 or sent < 0:
        return None
    rate = Rate(received * 8 / seconds, sent * 8 / seconds)
    return rate if max(rate.received, rate.sent) <= _FASTEST else None


def _grown(before: RadiusCounters | None, now: RadiusCounters | None) -> dict[str, int]:
    """Return by how much each counter grew; nothing when one shrank, since a row was removed or reset."""
    if before is None or now is None:
        return {}
    grown = {name: getattr(now, name) - getattr(before, name) for name in RadiusCounters.__slots__}
    return grown if min(grown.values()) >= 0 else {}


def _used(reading: Reading) -> float | None:
    if reading.memory_free is None or not reading.memory_total:
        return None
    return min(max(100 * (1 - reading.memory_free / reading.memory_total), 0.0), 100.0)
