"""Coverage: until when a service is paid.

`paid_until` is the last day on which the service stays on if nobody pays anything more: the day on which the oldest
invoice that is not wholly paid falls due, or, when all are paid, the day on which the next one will. It moves with
money alone. A part of an invoice moves nothing; credit pays what falls due next, whichever service of the subscriber
that is for; the operator's grace comes on top, in the decision on the access.

The table of cases is in `docs/billing.md` and in the test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from heapq import heapify, heappop, heappush

MOST_PERIODS = 60
"""How far ahead credit is followed."""


@dataclass(frozen=True, slots=True)
class Due:
    """An amount and the last day on which it is paid in time."""

    on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ServiceDues:
    """`oldest_open` is the due day of the oldest unpaid invoice; `upcoming` what falls due later, without end.

    A service that is billed no more has no upcoming dues. One that is paid `whole` takes no part of what it costs.
    """

    oldest_open: date | None
    upcoming: Iterator[Due] | None
    whole: bool = False


def covered_until(services: Mapping[int, ServiceDues], credit: Decimal) -> dict[int, date | None]:
    """Return the day until which each of a subscriber's services is paid; None where no day will cut it.

    `credit` is what the subscriber has beyond the invoices issued so far.
    """
    until: dict[int, date | None] = {}
    waiting: list[tuple[date, int, Decimal]] = []
    for service_id, dues in services.items():
        if dues.oldest_open is not None:
            until[service_id] = dues.oldest_open
        elif dues.upcoming is None:
            until[service_id] = None
        else:
            due = next(dues.upcoming)
            waiting.append((due.on, service_id, due.amount))
    heapify(waiting)
    seen = dict.fromkeys(services, 0)
    while waiting:
        on, service_id, amount = heappop(waiting)
        seen[service_id] += 1
        if amount > credit:
            until[service_id] = on
            credit = credit if services[service_id].whole else Decimal(0)  # what is left goes into this one
        elif seen[service_id] >= MOST_PERIODS:
            until[service_id] = on if amount else None
        else:
            credit -= amount
            following = services[service_id].upcoming
            assert following is not None
            due = next(following)
            heappush(waiting, (due.on, service_id, due.amount))
    return until
