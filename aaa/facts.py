"""What is known when an access is decided.

Plain values, gathered by the edges from the database or the image, and from the packet. Instants are aware UTC
datetimes, volumes octets, rates bit/s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from core.rates import RateLimit


class AccessMethod(StrEnum):
    """How a service proves who it is."""

    PPPOE = "pppoe"  # RADIUS, user name and password
    MAC = "mac"  # RADIUS, the CPE's MAC address: DHCP, hotspot MAC login, wireless access list
    LINE = "line"  # RADIUS, the port that a DHCP relay vouches for: remote id and circuit id (option 82, RFC 3046)
    HOTSPOT = "hotspot"  # RADIUS, user name and password typed on the captive page
    VOUCHER = "voucher"  # RADIUS, an access code
    QUEUE = "queue"  # static address, a simple queue kept by the RouterOS API; never asks RADIUS


class ServiceState(StrEnum):
    PENDING = "pending"  # ordered, not yet installed
    ACTIVE = "active"
    SUSPENDED = "suspended"
    PAUSED = "paused"  # the subscriber's own wish: holidays
    TERMINATED = "terminated"


class CapAction(StrEnum):
    """What follows when the data cap of the period is used up."""

    NOTHING = "nothing"
    THROTTLE = "throttle"
    BLOCK = "block"


class MacBinding(StrEnum):
    """Which devices may use a service that has a password."""

    ANY = "any"
    LEARN = "learn"  # the first `max_macs` devices seen are kept, others refused
    FIXED = "fixed"  # only those on the list


class SuspendedAction(StrEnum):
    """What an operator does with a suspended subscriber who connects."""

    GARDEN = "garden"  # accepted, and led to a page that says why
    REJECT = "reject"


class Proof(StrEnum):
    """What became of the password in the packet."""

    CORRECT = "correct"
    WRONG = "wrong"
    LEFT_TO_MSCHAP = "mschap"  # verified by FreeRADIUS after the decision
    NOT_NEEDED = "none"  # a MAC address, or a dry run
    MISSING = "missing"  # the packet carries no password at all


class AccessKind(StrEnum):
    """The RouterOS service that asks, told by the attributes it sends."""

    PPP = "ppp"
    HOTSPOT = "hotspot"
    DHCP = "dhcp"
    WIRELESS = "wireless"


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A span of the week, in the operator's zone, with a rate of its own (night speed, free hours).

    `days` are ISO weekdays, 1 Monday to 7 Sunday, on which the window begins. When `until` is not after `begin`
    the window runs past midnight.
    """

    days: frozenset[int]
    begin: time
    until: time
    rate: RateLimit


@dataclass(frozen=True, slots=True)
class DataCap:
    octets: int
    action: CapAction
    throttle: RateLimit | None = None


class Span(StrEnum):
    """What a step of fair use is counted in; `MONTH` is the billing period."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Step:
    """After so many octets in a span no more than this rate, until the span ends."""

    span: Span
    octets: int
    rate: RateLimit


@dataclass(frozen=True, slots=True)
class UsedIn:
    """What counts in a day or a week, and when that ends."""

    octets: int
    ends: datetime


GARDEN_RATE = RateLimit(512_000, 512_000)

Extra = tuple[str, str, str]  # attribute, operator (`:=`, `+=`, `=`), value


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rate plan grants."""

    id: int
    name: str
    rate: RateLimit
    cap: DataCap | None = None
    windows: tuple[TimeWindow, ...] = ()
    steps: tuple[Step, ...] = ()
    pool: str | None = None
    ipv6_pool: str | None = None  # Framed-IPv6-Pool (RFC 3162 §2.6), a name on the router
    delegated_ipv6_pool: str | None = None  # Mikrotik-Delegated-IPv6-Pool, a name on the router
    address_list: str | None = None
    session_timeout: timedelta | None = None
    idle_timeout: timedelta | None = None
    interim_interval: timedelta = timedelta(minutes=5)
    extra: tuple[Extra, ...] = ()


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why and since when a service is suspended; `detail` is for the help desk, such as an invoice number."""

    since: datetime
    cause: str  # "overdue", "staff", "abuse"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Boost:
    """A higher rate until an instant, bought for a while."""

    rate: RateLimit
    until: datetime


@dataclass(frozen=True, slots=True)
class OpenUse:
    """An open session of a voucher: since when, up to when it was heard of, and the device."""

    started: datetime
    heard: datetime
    mac: str | None


@dataclass(frozen=True, slots=True)
class Voucher:
    """What an access code buys and what of it is used; the rules are in aaa.vouchers.

    `lookup` is the keyed name under which the code is found. `online_used` is of the sessions that have ended,
    `octets_used` of all.
    """

    lookup: str
    lasts: timedelta | None = None
    online: timedelta | None = None
    ends: datetime | None = None
    octets: int | None = None
    best_before: datetime | None = None
    nas_ids: frozenset[int] = frozenset()  # only at these, empty is any
    first_login: datetime | None = None
    online_used: timedelta = timedelta(0)
    octets_used: int = 0
    open: tuple[OpenUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One access line of a subscriber, or a voucher."""

    id: int
    operator_id: int
    access_method: AccessMethod
    name: str  # user name, canonical MAC address, or the number of a voucher
    state: ServiceState
    plan: Plan
    language: str = "en"
    suspension: Suspension | None = None
    paid_until: datetime | None = None  # with the operator's grace added; None is no automatic cut-off
    router_id: int | None = None  # only at this NAS, None is any of the operator's
    rate: RateLimit | None = None  # instead of the plan's
    boost: Boost | None = None
    paying_until: datetime | None = None  # though overdue, reaches everything until then, slowly: it is being paid
    framed_ip: str | None = None
    framed_routes: tuple[str, ...] = ()
    framed_ipv6_prefix: str | None = None
    delegated_ipv6_prefix: str | None = None
    pool: str | None = None
    session_limit: int = 1  # 0 is no limit
    mac_binding: MacBinding = MacBinding.ANY
    macs: frozenset[str] = frozenset()
    max_macs: int = 1
    used_octets: int = 0  # that count, in the current period
    extra_octets: int = 0  # allowed in the current period beyond the plan: rolled over, and bought
    period_ends: datetime | None = None
    used_today: UsedIn | None = None  # kept only where the plan has a step that asks for it
    used_this_week: UsedIn | None = None
    octets_left: int | None = None  # a volume the session may use before it ends
    extra: tuple[Extra, ...] = ()
    voucher: Voucher | None = None


class OutageAction(StrEnum):
    """What an operator wants once a server has had no news for so long: see aaa.outage."""

    KEEP = "keep"  # all stands as it was known last, and dates go on cutting
    SPARE = "spare"  # nobody is cut by a date that ran out since
    REFUSE = "refuse"  # nobody is let in


class GardenCause(StrEnum):
    """What brings somebody into the walled garden, as far as gardens may differ by it."""

    OVERDUE = "overdue"
    STAFF = "staff"
    PAUSED = "paused"
    USED_UP = "used_up"  # the data cap or the volume bought


@dataclass(frozen=True, slots=True)
class Garden:
    """Where those wait whom one cause brings there; None is what the operator uses for all causes."""

    address_list: str | None = None
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decided for all of its subscribers."""

    id: int
    name: str
    zone: ZoneInfo
    active: bool = True  # false while the platform has suspended the operator
    suspended_action: SuspendedAction = SuspendedAction.GARDEN
    garden_rate: RateLimit = GARDEN_RATE
    garden_address_list: str = "portico-suspended"
    active_address_list: str = "portico-active"
    garden_pool: str | None = None
    gardens: Mapping[GardenCause, Garden] = field(default_factory=dict)
    garden_timeout: timedelta = timedelta(minutes=10)
    dhcp_timeout: timedelta = timedelta(minutes=10)
    outage_action: OutageAction = OutageAction.KEEP
    outage_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Nas:
    """The NAS that a packet came from, told by its source address."""

    id: int
    operator_id: int
    name: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session of the service that accounting knows to be open."""

    nas_id: int
    nas_name: str
    acct_session_id: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Access:
    """One Access-Request, as far as the decision needs it."""

    nas: Nas
    name: str
    kind: AccessKind
    proof: Proof
    mac: str | None = None
    acct_session_id: str = ""
    guessing: bool = False  # too many wrong passwords lately for this name
    known_at: datetime | None = None  # until when the facts are known to be the database's; None is now
