"""Vouchers: what an access code buys, what of it is used, and what is left.

A voucher may be limited in several ways at once, and the first limit that is reached ends it:

- *lasts*: so long from the first login, whether online or not: the clock runs;
- *online*: so much time online, over all its sessions and devices together: the clock stands still between them;
- *ends*: up to an instant, the same for all vouchers of a batch;
- *octets*: a volume, both directions together.

One that was never used is no longer taken after its best-before instant. Accounting tells of a session some minutes
late, so an open session counts as online up to now; that of the device that asks again counts up to when it was last
heard of, since that session is the one being replaced.

A volume is shared by the devices that are on: each session is granted what is left divided by how many there are with
it, so whoever comes second cannot use it all once more. The sum is what counts: once accounting shows it, all of them
end. They report each minute, so what is used beyond the volume is at most a minute of the others' traffic, and never
more than their shares, however late accounting comes.

Nothing here reads a clock; instants are aware UTC datetimes, volumes octets.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from aaa.decision import Reason
from aaa.facts import OpenUse, ServiceState, Voucher

SHORTEST = timedelta(seconds=1)
"""Who has less left is refused: Session-Timeout counts whole seconds, and 0 would be no limit."""
GRACE = timedelta(seconds=1)
"""A live session is ended so much later than its router should have: routers tell in whole seconds when it began, and
need not be asked to end what they have just ended."""

REPORTS = timedelta(minutes=1)
"""Devices that share a volume report their use this often."""

_ANY = timedelta(microseconds=1)


class VoucherState(StrEnum):
    STOCK = "stock"  # made, not yet activated
    UNUSED = "unused"
    ACTIVE = "active"  # the first login was
    USED_UP = "used_up"  # its time online or its volume
    EXPIRED = "expired"  # by the clock or the calendar
    VOID = "void"


def online_used(voucher: Voucher, now: datetime, mac: str | None = None) -> timedelta:
    """Return the time online of all sessions; `mac` is the device that is asking, if one is."""
    return sum((_length(use, now, mac) for use in voucher.open), voucher.online_used)


def online_left(voucher: Voucher, now: datetime, mac: str | None = None) -> timedelta | None:
    """Return what is left of the time online; None where it is not limited."""
    return None if voucher.online is None else voucher.online - online_used(voucher, now, mac)


def clock_ends(voucher: Voucher, now: datetime) -> datetime | None:
    """Return when the clock or the calendar ends it; before the first login the clock would start now."""
    instants = [voucher.ends]
    if voucher.lasts is not None:
        instants.append((voucher.first_login or now) + voucher.lasts)
    return min((instant for instant in instants if instant is not None), default=None)


def time_left(voucher: Voucher, now: datetime, mac: str | None = None) -> timedelta | None:
    """Return how long a session that begins now may last; None without a limit, below zero where it is over."""
    end = clock_ends(voucher, now)
    lengths = [online_left(voucher, now, mac), None if end is None else end - now]
    return min((length for length in lengths if length is not None), default=None)


def octets_left(voucher: Voucher) -> int | None:
    """Return what is left of the volume; None where it is not limited."""
    return None if voucher.octets is None else voucher.octets - voucher.octets_used


def octets_granted(voucher: Voucher, mac: str | None = None) -> int | None:
    """Return the volume of a session that begins now, None without a limit; `mac` is the device that asks."""
    left = octets_left(voucher)
    if left is None:
        return None
    others = sum(mac is None or use.mac != mac for use in voucher.open)
    return max(left // (others + 1), min(left, 1))


def shares_volume(voucher: Voucher, session_limit: int) -> bool:
    """Tell whether several devices may use a volume at once; a limit of 0 is none."""
    return voucher.octets is not None and session_limit != 1


def refusal(voucher: Voucher, now: datetime, *, asked: bool = False, mac: str | None = None) -> Reason | None:
    """Return why a voucher no longer lets anybody on, or None. `asked` when a session would begin now."""
    return _over(voucher, now, SHORTEST if asked else _ANY - GRACE, mac)


def _over(voucher: Voucher, now: datetime, least: timedelta, mac: str | None = None) -> Reason | None:
    if voucher.first_login is None and voucher.best_before is not None and now >= voucher.best_before:
        return Reason.CODE_EXPIRED
    end = clock_ends(voucher, now)
    if end is not None and end - now < least:
        return Reason.CODE_EXPIRED
    left = online_left(voucher, now, mac)
    if left is not None and left < least:
        return Reason.TIME_USED_UP
    volume = octets_left(voucher)
    if volume is not None and volume <= 0:
        return Reason.VOLUME_USED_UP
    return None


def ends_by_itself(voucher: Voucher, now: datetime) -> datetime | None:
    """Return when the passing of time alone ends its sessions as things are, or None."""
    end = voucher.ends if voucher.first_login is None else clock_ends(voucher, now)
    instants = [voucher.best_before if voucher.first_login is None else None, None if end is None else end + GRACE]
    left = online_left(voucher, now)
    if left is not None and voucher.open:
        instants.append(now + (left + GRACE) / len(voucher.open))
    return min((instant for instant in instants if instant is not None and instant > now), default=None)


def voucher_state(voucher: Voucher, state: ServiceState, now: datetime) -> VoucherState:
    """Return what the staff call the state of a voucher; `state` is that of its service."""
    if state is ServiceState.TERMINATED:
        return VoucherState.VOID
    reason = _over(voucher, now, _ANY)
    if reason is Reason.CODE_EXPIRED:
        return VoucherState.EXPIRED
    if reason is not None:
        return VoucherState.USED_UP
    if state is ServiceState.PENDING:
        return VoucherState.STOCK
    return VoucherState.UNUSED if voucher.first_login is None else VoucherState.ACTIVE


def _length(use: OpenUse, now: datetime, mac: str | None) -> timedelta:
    until = use.heard if mac is not None and use.mac == mac else now
    return max(until - use.started, timedelta(0))
