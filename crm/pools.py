"""Pools: the networks of which an operator gives addresses and prefixes to its services.

A network belongs to one pool, so that nobody gives the same address out twice; only two routers may each have the same
one, as private networks behind them often are. Which addresses are taken is never written down a second time: it is
what services have fixed, what is routed to them, and what live sessions hold.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sqlalchemy import func, or_, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import AccountingSession, AddressPool, Nas, Service

KINDS = ("ipv4", "ipv6_line", "ipv6_delegated")
ASSIGNMENTS = ("fixed", "dynamic")
_LENGTHS = {"ipv6_line": 64, "ipv6_delegated": 56}
_HELD = {"ipv4": "framed_ip", "ipv6_line": "framed_ipv6_prefix", "ipv6_delegated": "delegated_ipv6_prefix"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """What somebody enters for a pool; networks and addresses are text as typed."""

    name: str
    kind: str
    network: str
    assignment: str = "fixed"
    first_address: str | None = None
    last_address: str | None = None
    prefix_length: int | None = None
    nas_id: int | None = None
    notes: str = ""


class Block(NamedTuple):
    """Addresses from `first` to `last` as numbers, both included."""

    first: int
    last: int


class Usage(NamedTuple):
    """How many a pool can give out, how many are held, and of these by services and by live sessions."""

    size: int
    used: int
    fixed: int
    live: int

    @property
    def percent(self) -> float:
        return 100 * self.used / self.size if self.size else 100.0


def terms_of_pool(pool: AddressPool) -> PoolTerms:
    return PoolTerms(
        name=pool.name,
        kind=pool.kind,
        network=str(pool.network),
        assignment=pool.assignment,
        first_address=None if pool.first_address is None else str(pool.first_address),
        last_address=None if pool.last_address is None else str(pool.last_address),
        prefix_length=pool.prefix_length,
        nas_id=pool.nas_id,
        notes=pool.notes,
    )


def create_pool(session: Session, actor: Actor, terms: PoolTerms) -> AddressPool:
    """Enter a pool. Raises Invalid; an overlap names the pool that has the network already."""
    pool = AddressPool(operator_id=actor.operator_id)
    _apply(session, actor, pool, terms)
    record(session, actor, "pool.create", "pool", pool.id, None, asdict(terms_of_pool(pool)))
    return pool


def change_pool(session: Session, actor: Actor, pool: AddressPool, terms: PoolTerms) -> None:
    """Change a pool. Services keep the addresses they have. Raises Invalid."""
    before = asdict(terms_of_pool(pool))
    _apply(session, actor, pool, terms)
    record(session, actor, "pool.change", "pool", pool.id, before, asdict(terms_of_pool(pool)))


def delete_pool(session: Session, actor: Actor, pool: AddressPool) -> None:
    """Forget a pool. Services keep their addresses, and routers theirs."""
    record(session, actor, "pool.delete", "pool", pool.id, asdict(terms_of_pool(pool)), None)
    session.delete(pool)
    session.flush()


def span(pool: AddressPool) -> Block:
    """Return the addresses that are given out, as numbers: of IPv4 those that a device can have."""
    network: Network = pool.network
    first, last = int(network.network_address), int(network.broadcast_address)
    if pool.kind == "ipv4" and network.prefixlen < 31:
        first, last = first + 1, last - 1
    if pool.first_address is not None:
        first = int(pool.first_address)
    if pool.last_address is not None:
        last = int(pool.last_address)
    return Block(first, last)


def size(pool: AddressPool) -> int:
    """Return how many addresses or prefixes a pool can give out."""
    block = span(pool)
    return (block.last - block.first + 1) // _unit(pool)


def first_gap(block: Block, unit: int, taken: Iterable[Block]) -> int | None:
    """Return where the first `unit` free addresses begin, as a number that `unit` divides; None where there are none.

    `taken` is in order of its first addresses; its blocks may overlap, and be of any size.
    """
    candidate = -(-block.first // unit) * unit
    for first, last in taken:
        if first >= candidate + unit:
            break
        if last >= candidate:
            candidate = (last // unit + 1) * unit
    return candidate if candidate + unit - 1 <= block.last else None


def next_free(session: Session, pool: AddressPool) -> Address | Network | None:
    """Return the first address or prefix of a pool that nobody holds; None where all are taken."""
    found = first_gap(span(pool), _unit(pool), taken_blocks(session, pool))
    if found is None:
        return None
    if pool.kind == "ipv4":
        return ipaddress.IPv4Address(found)
    return ipaddress.IPv6Network((found, pool.prefix_length))


def propose(
    session: Session, operator_id: int, kind: str, nas_id: int | None
) -> tuple[AddressPool, Address | Network] | None:
    """Return the next free address of the pools that Portico gives from, those of the service's router first."""
    query = (
        select(AddressPool)
        .where(
            AddressPool.operator_id == operator_id,
            AddressPool.kind == kind,
            AddressPool.assignment == "fixed",
            or_(AddressPool.nas_id.is_(None), AddressPool.nas_id == nas_id),
        )
        .order_by(AddressPool.nas_id.is_(None), AddressPool.network)
    )
    for pool in session.scalars(query):
        free = next_free(session, pool)
        if free is not None:
            return pool, free
    return None


def taken_blocks(session: Session, pool: AddressPool) -> list[Block]:
    """Return what is held of a pool's network, in order: fixed, routed to a service, or of a live session."""
    column = _HELD[pool.kind]
    of_service, of_session = getattr(Service, column), getattr(AccountingSession, column)
    here = [Service.operator_id == pool.operator_id, Service.state != "terminated"]
    if pool.nas_id is not None:
        here.append(or_(Service.nas_id.is_(None), Service.nas_id == pool.nas_id))
    held: list[Block] = [
        _block(value)
        for value in session.scalars(select(of_service).where(*here, of_service.op("<<=")(_cidr(pool.network))))
    ]
    live = select(of_session).where(
        AccountingSession.operator_id == pool.operator_id,
        AccountingSession.ended_at.is_(None),
        of_session.op("<<=")(_cidr(pool.network)),
    )
    if pool.nas_id is not None:
        live = live.where(AccountingSession.nas_id == pool.nas_id)
    held += [_block(value) for value in session.scalars(live)]
    if pool.kind == "ipv4":
        routed = select(Service.framed_routes).where(*here, func.cardinality(Service.framed_routes) > 0)
        for routes in session.scalars(routed):
            held += [_block(ipaddress.IPv4Network(route.split()[0])) for route in routes]
    return sorted(held)


_USAGE = text(
    """
SELECT p.id, fixed.count AS fixed, live.count AS live, both_of.count AS used
FROM address_pool p
CROSS JOIN LATERAL (
    SELECT host(coalesce(p.first_address, p.network))::inet AS first,
           host(coalesce(p.last_address, broadcast(p.network)))::inet AS last
) AS bounds
CROSS JOIN LATERAL (
    SELECT array_agg(held) AS held, count(*) FROM (
        SELECT CASE p.kind WHEN 'ipv4' THEN s.framed_ip WHEN 'ipv6_line' THEN s.framed_ipv6_prefix
               ELSE s.delegated_ipv6_prefix END AS held
        FROM service s
        WHERE s.operator_id = p.operator_id AND s.state <> 'terminated'
            AND (p.nas_id IS NULL OR s.nas_id IS NULL OR s.nas_id = p.nas_id)
    ) AS of_services WHERE held <<= p.network AND (p.kind <> 'ipv4' OR host(held)::inet BETWEEN first AND last)
) AS fixed
CROSS JOIN LATERAL (
    SELECT array_agg(held) AS held, count(*) FROM (
        SELECT CASE p.kind WHEN 'ipv4' THEN s.framed_ip WHEN 'ipv6_line' THEN s.framed_ipv6_prefix
               ELSE s.delegated_ipv6_prefix END AS held
        FROM session s
        WHERE s.operator_id = p.operator_id AND s.ended_at IS NULL AND (p.nas_id IS NULL OR s.nas_id = p.nas_id)
    ) AS of_sessions WHERE held <<= p.network AND (p.kind <> 'ipv4' OR host(held)::inet BETWEEN first AND last)
) AS live
CROSS JOIN LATERAL (
    SELECT count(DISTINCT each) FROM unnest(fixed.held || live.held) AS each
) AS both_of
WHERE p.id = ANY(:ids)
"""
)


def usage_of(session: Session, pools: Sequence[AddressPool]) -> dict[int, Usage]:
    """Return how full pools are, by id."""
    rows = session.execute(_USAGE, {"ids": [pool.id for pool in pools]})
    counted = {row.id: row for row in rows}
    return {
        pool.id: Usage(size(pool), counted[pool.id].used, counted[pool.id].fixed, counted[pool.id].live)
        for pool in pools
    }


# What is entered.


def _apply(session: Session, actor: Actor, pool: AddressPool, terms: PoolTerms) -> None:
    problems: list[FieldProblem] = []
    network = _checked(terms, problems)
    if terms.nas_id is not None and session.get(Nas, terms.nas_id) is None:
        problems.append(FieldProblem("nas_id", Problem.UNKNOWN_NAS))
    if network is not None:
        problems += _overlaps(session, actor.operator_id, pool.id, network, terms.nas_id)
    if problems:
        raise Invalid(*problems)
    assert network is not None
    with _alone(session, actor.operator_id, pool.id, network, terms.nas_id):
        pool.name, pool.kind, pool.assignment = terms.name.strip(), terms.kind, terms.assignment
        pool.network, pool.prefix_length = network, _length(terms)
        pool.first_address = ipaddress.ip_address(terms.first_address) if terms.first_address else None
        pool.last_address = ipaddress.ip_address(terms.last_address) if terms.last_address else None
        pool.nas_id, pool.notes = terms.nas_id, terms.notes
        session.add(pool)
        session.flush()


def _checked(terms: PoolTerms, problems: list[FieldProblem]) -> Network | None:
    """Return the network, and add what is wrong with the terms by themselves."""
    name = terms.name.strip()
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name.encode()) > 63 or not name.isprintable():
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "63"}))
    if terms.kind not in KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if terms.assignment not in ASSIGNMENTS:
        problems.append(FieldProblem("assignment", Problem.UNKNOWN_CHOICE))
    family = 4 if terms.kind == "ipv4" else 6
    try:
        network = ipaddress.ip_network(terms.network.strip(), strict=False)
        typed = ipaddress.ip_interface(terms.network.strip()).ip
    except ValueError:
        network, typed = None, None
    if network is None or network.version != family or "/" not in terms.network:
        problems.append(FieldProblem("network", Problem.NOT_A_NETWORK))
        return None
    if typed != network.network_address:
        problems.append(FieldProblem("network", Problem.HOST_BITS, {"network": str(network)}))
    if terms.kind == "ipv4":
        _check_span(terms, network, problems)
    elif not network.prefixlen <= _length(terms) <= 64:
        low = {"low": str(network.prefixlen), "high": "64"}
        problems.append(FieldProblem("prefix_length", Problem.OUT_OF_RANGE, low))
    return network


def _check_span(terms: PoolTerms, network: Network, problems: list[FieldProblem]) -> None:
    ends: list[Address] = []
    for field in ("first_address", "last_address"):
        typed = getattr(terms, field)
        if not typed:
            continue
        try:
            address = ipaddress.ip_address(typed)
        except ValueError:
            problems.append(FieldProblem(field, Problem.NOT_AN_ADDRESS))
            continue
        if address.version != network.version or address not in network:
            problems.append(FieldProblem(field, Problem.NOT_IN_NETWORK, {"network": str(network)}))
        ends.append(address)
    if len(ends) == 2 and int(ends[0]) > int(ends[1]):
        problems.append(FieldProblem("last_address", Problem.WRONG_ORDER))


def _overlaps(
    session: Session, operator_id: int, pool_id: int | None, network: Network, nas_id: int | None
) -> Iterator[FieldProblem]:
    """Yield the pool that has a part of the network already, unless it is of another router."""
    query = (
        select(AddressPool)
        .where(
            AddressPool.operator_id == operator_id,
            AddressPool.id.is_distinct_from(pool_id),
            AddressPool.network.op("&&")(_cidr(network)),
        )
        .limit(1)
    )
    if nas_id is not None:
        query = query.where(or_(AddressPool.nas_id.is_(None), AddressPool.nas_id == nas_id))
    with session.no_autoflush:
        other = session.scalar(query)
    if other is not None:
        yield FieldProblem("network", Problem.OVERLAPS, {"pool": other.name, "network": str(other.network)})


@contextmanager
def _alone(
    session: Session, operator_id: int, pool_id: int | None, network: Network, nas_id: int | None
) -> Iterator[None]:
    """Write in a savepoint: two people may enter the same network at once, and the constraint refuses the second."""
    try:
        with session.begin_nested():
            yield
    except IntegrityError as refused:
        if "uq_address_pool_name" in str(refused.orig):
            raise Invalid(FieldProblem("name", Problem.TAKEN)) from None
        if "ex_address_pool_overlap" in str(refused.orig):
            found = list(_overlaps(session, operator_id, pool_id, network, nas_id))
            raise Invalid(*found or [FieldProblem("network", Problem.TAKEN)]) from None
        raise


def _length(terms: PoolTerms) -> int:
    if terms.kind == "ipv4":
        return 32
    return _LENGTHS.get(terms.kind, 64) if terms.prefix_length is None else terms.prefix_length


def _unit(pool: AddressPool) -> int:
    return 1 if pool.kind == "ipv4" else int(2 ** (128 - pool.prefix_length))


def _block(value: object) -> Block:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return Block(int(value.network_address), int(value.broadcast_address))
    if isinstance(value, ipaddress.IPv4Interface | ipaddress.IPv6Interface):
        return _block(value.network)
    assert isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address)
    return Block(int(value), int(value))


def _cidr(network: Network) -> object:
    return func.cidr(str(network))
