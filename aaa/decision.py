"""The one value that the RADIUS reply, the CoA, the help-desk screen and the captive page all show."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from aaa.facts import Extra
from core.rates import RateLimit


class Reason(StrEnum):
    """Why an access is refused, led into the walled garden, or granted other terms than the plan's own."""

    UNKNOWN_SUBSCRIBER = "unknown_subscriber"
    MAC_NOT_REGISTERED = "mac_not_registered"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    NO_PASSWORD = "no_password"  # noqa: S105
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    OPERATOR_SUSPENDED = "operator_suspended"
    NOT_VIA_RADIUS = "not_via_radius"
    OTHER_ROUTER = "other_router"
    TERMINATED = "terminated"
    PENDING = "pending"
    PAUSED = "paused"
    SUSPENDED_OVERDUE = "suspended_overdue"
    SUSPENDED_BY_STAFF = "suspended_by_staff"
    OVERDUE = "overdue"
    PAYING = "paying"
    MAC_NOT_ALLOWED = "mac_not_allowed"
    SESSION_LIMIT = "session_limit"
    CAP_REACHED = "cap_reached"
    CAP_THROTTLED = "cap_throttled"
    FAIR_USE = "fair_use"
    TIME_WINDOW = "time_window"
    BOOSTED = "boosted"
    VOLUME_USED_UP = "volume_used_up"
    TIME_USED_UP = "time_used_up"
    CODE_EXPIRED = "code_expired"
    CODE_IN_USE = "code_in_use"
    CODE_VOID = "code_void"
    OUT_OF_DATE = "out_of_date"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session is granted. Two equal values need nothing done on the router.

    Nothing here depends on the moment or on the packet: what does (volume left, a DHCP lease) stands beside it in
    the decision.
    """

    rate: RateLimit | None = None
    address_list: str | None = None
    framed_ip: str | None = None
    framed_routes: tuple[str, ...] = ()
    pool: str | None = None
    framed_ipv6_prefix: str | None = None
    delegated_ipv6_prefix: str | None = None
    ipv6_pool: str | None = None
    delegated_ipv6_pool: str | None = None
    session_timeout: timedelta | None = None
    idle_timeout: timedelta | None = None
    interim_interval: timedelta = timedelta(minutes=5)
    extra: tuple[Extra, ...] = ()


@dataclass(frozen=True, slots=True)
class Accept:
    terms: Terms
    reason: Reason | None = None  # set when the terms are not simply the plan's
    octets_left: int | None = None  # the session ends after this volume, both directions together
    lease: timedelta | None = None  # DHCP: ask again after this time, since CoA may not reach the client
    time_left: timedelta | None = None  # the session ends after this time (vouchers)
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WalledGarden:
    """Accepted, but led to a page that says why. The session is short, so that it heals by itself."""

    reason: Reason
    terms: Terms
    lease: timedelta | None = None
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    reason: Reason
    detail: dict[str, str] = field(default_factory=dict)


Decision = Accept | WalledGarden | Reject


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule of the decision, as the help desk reads it: what was checked and what came of it."""

    rule: str
    passed: bool
    reason: Reason | None = None
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the rules that led to it, in the order in which they were asked."""

    decision: Decision
    findings: tuple[Finding, ...]
    changes_at: datetime | None  # when time alone will change the decision
