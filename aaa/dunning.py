"""Cut-off and return: what the passing of a paid-until date does to the state of a service.

The decision on an access looks at the date itself, so nobody stays on because this ran late. The state follows, so
that lists, reports and the subscriber's page say "suspended". A service that was cut by its date is suspended since
the instant of its cut-off, a whole hour where the operator is, and comes back by itself when the date moves on; one
that a person suspended, whatever for, comes back when a person says so.
"""

from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from aaa.facts import Service, ServiceState, Suspension

OVERDUE = "overdue"


class DunningStep(StrEnum):
    SUSPEND = "suspend"
    RESTORE = "restore"


def dunning_step(service: Service, zone: ZoneInfo, now: datetime) -> DunningStep | None:
    """Return what is to be done; `paid_until` is the cut-off and None without automatic cut-off."""
    if service.paid_until is None:
        return None
    overdue = now >= service.paid_until
    if service.state is ServiceState.ACTIVE and overdue:
        return DunningStep.SUSPEND
    if service.state is ServiceState.SUSPENDED and not overdue and _cut_by_date(service.suspension, zone):
        return DunningStep.RESTORE
    return None


def _cut_by_date(suspension: Suspension | None, zone: ZoneInfo) -> bool:
    if suspension is None or suspension.cause != OVERDUE:
        return False
    since = suspension.since.astimezone(zone)
    return (since.minute, since.second, since.microsecond) == (0, 0, 0)
