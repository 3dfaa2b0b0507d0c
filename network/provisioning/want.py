"""What a router should hold for the services that are simple queues on it.

A queue service has a fixed address and never asks RADIUS, so the router itself must hold what an Access-Accept would
say: a simple queue with the rate, and the address on the list that the firewall rules of the set-up script look at.
What that is comes from the one decision (`aaa.authorize`), as the standing decision in `service_grant`:

    accepted         the queue at the rate of the terms, the address on their list
    walled garden    the queue at the garden's rate, the address on the garden's list: what it opens is redirected
    refused          no router can refuse a static address, so: the slowest queue, and the garden's list

A service that is terminated, or at another router, is not wanted here at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from aaa.decision import Terms
from core.rates import RateLimit

REFUSED_RATE = RateLimit(64_000, 64_000)
"""Enough for the page that says why, and for nothing else."""
LONGEST_NAME = 200
LOWEST_PRIORITY = 8
_MARK = "portico:s="


@dataclass(frozen=True, slots=True)
class Standing:
    """A queue service as the database has it. `outcome` is service_grant's word; empty while nothing is decided."""

    service_id: int
    name: str
    address: str
    outcome: str
    terms: Terms | None
    garden_list: str


@dataclass(frozen=True, slots=True)
class WantedQueue:
    """What a router should hold for one service. `name` is a wish: another queue of the router may have it."""

    service_id: int
    name: str
    address: str
    rate: RateLimit
    address_list: str
    garden_list: str
    open: bool  # accepted; where not, nothing a router says otherwise is let stand

    @property
    def target(self) -> str:
        return f"{self.address}/{128 if ':' in self.address else 32}"


def wanted_queues(standings: Iterable[Standing]) -> dict[int, WantedQueue]:
    """Return what is wanted, by service. Services that are not yet decided on are left out."""
    return {standing.service_id: _wanted(standing) for standing in standings if standing.outcome}


def _wanted(standing: Standing) -> WantedQueue:
    terms = standing.terms
    return WantedQueue(
        service_id=standing.service_id,
        name=queue_name(standing.name),
        address=standing.address,
        rate=terms.rate if terms is not None and terms.rate is not None else REFUSED_RATE,
        garden_list=standing.garden_list,
        address_list=(terms.address_list if terms is not None else None) or standing.garden_list,
        open=standing.outcome == "accept",
    )


def queue_name(name: str) -> str:
    """Return a service's name as a queue can have it: `<` begins RouterOS's own dynamic names."""
    return name.replace("<", "(").replace(">", ")")[:LONGEST_NAME]


def marker(service_id: int) -> str:
    """Return the comment by which a row is known as ours."""
    return f"{_MARK}{service_id}"


def marked(comment: str) -> int | None:
    """Return the service that a comment names, None where the row is not ours.

    People write beside the marker, and an adopted queue keeps what stood there, so it may be any word of the comment.
    """
    for word in comment.split():
        number = word.removeprefix(_MARK)
        if number != word and number.isascii() and number.isdigit() and len(number) < 19:
            return int(number)
    return None
