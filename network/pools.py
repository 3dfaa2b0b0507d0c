"""Pools of routers: what `/ip/pool` and `/ipv6/pool` should be, what they are, and making them so.

A pool from which a router gives addresses itself stands under its name on that router, or on all of them. Ours carry a
marker in their comment. What the ISP's own people made is shown and never touched, even where it has the name of one
of ours: somebody meant it.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import joinedload

from core.clock import utc_now
from core.crypto import SecretUnreadable
from core.i18n import N_
from crm.jobs import RunningJob
from crm.pools import span
from db.models import AddressPool, Router, RouterPools
from network.access import access_of
from network.api import RouterAccess, RouterApi, open_router
from network.problems import Cause, RouterProblem

LOOK, WRITE = "pools.look", "pools.write"
"""Parameters of both: `nas_id`."""

MENUS = {4: "/ip/pool", 6: "/ipv6/pool"}
MARK = "portico:pool"


class Difference(StrEnum):
    """How a pool of a router stands to what is wanted there."""

    EQUAL = "equal"
    MISSING = "missing"
    DIFFERENT = "different"
    FOREIGN = "foreign"  # made by the ISP's own people, and nothing of that name is wanted
    LEFT_OVER = "left_over"  # made by us, and no longer wanted


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool as RouterOS has it: `ranges` of IPv4, or the prefix of IPv6 with the `length` of each part."""

    name: str
    family: int
    ranges: str
    length: str = ""
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Compared:
    """One name on both sides. `ours` says whether the one on the router, where there is one, may be changed by us."""

    name: str
    family: int
    difference: Difference
    wanted: str = ""
    found: str = ""
    ours: bool = True


def wanted_row(pool: AddressPool) -> PoolRow:
    """Return what a pool should be on a router."""
    if pool.kind != "ipv4":
        return PoolRow(pool.name, 6, str(pool.network), str(pool.prefix_length))
    first, last = (ipaddress.IPv4Address(number) for number in span(pool))
    return PoolRow(pool.name, 4, f"{first}-{last}")


def rows_wanted(pools: Sequence[AddressPool]) -> list[PoolRow]:
    """Return what should be on one router, of its own pools and those of all; its own come first of one name."""
    rows: dict[tuple[int, str], PoolRow] = {}
    for pool in sorted(pools, key=lambda pool: (pool.nas_id is None, pool.name)):
        row = wanted_row(pool)
        rows.setdefault((row.family, row.name), row)
    return list(rows.values())


def compare(wanted: Sequence[PoolRow], found: Sequence[PoolRow]) -> list[Compared]:
    """Return every pool of either side, by name. Ranges are compared as addresses, however they are written."""
    theirs = {(row.family, row.name): row for row in found}
    compared = []
    for row in wanted:
        there = theirs.pop((row.family, row.name), None)
        if there is None:
            compared.append(Compared(row.name, row.family, Difference.MISSING, in_words(row)))
        else:
            same = _meaning(row) == _meaning(there)
            difference = Difference.EQUAL if same else Difference.DIFFERENT
            compared.append(Compared(row.name, row.family, difference, in_words(row), in_words(there), there.ours))
    for row in theirs.values():
        difference = Difference.LEFT_OVER if row.ours else Difference.FOREIGN
        compared.append(Compared(row.name, row.family, difference, "", in_words(row), row.ours))
    return sorted(compared, key=lambda each: (each.family, each.name))


def in_words(row: PoolRow) -> str:
    return f"{row.ranges} → /{row.length}" if row.length else row.ranges


def as_document(rows: Sequence[PoolRow]) -> list[dict[str, Any]]:
    """Return rows as they are stored."""
    return [
        {"name": row.name, "family": row.family, "ranges": row.ranges, "length": row.length, "ours": row.ours}
        for row in rows
    ]


def from_document(document: Sequence[Mapping[str, Any]]) -> list[PoolRow]:
    return [PoolRow(**row) for row in document]


def read_pools(router: RouterApi) -> list[PoolRow]:
    """Return the pools of a router; one without IPv6 has none of that. Raises RouterProblem."""
    rows = [
        PoolRow(row.get("name", ""), 4, row.get("ranges", ""), "", MARK in row.get("comment", "").split())
        for row in router.rows(MENUS[4], "name", "ranges", "comment")
    ]
    try:
        of_six = router.rows(MENUS[6], "name", "prefix", "prefix-length", "comment", "dynamic")
    except RouterProblem as problem:
        if problem.cause is not Cause.VERSION:  # the package is not installed
            raise
        return rows
    return rows + [
        PoolRow(
            row.get("name", ""), 6, row.get("prefix", ""), row.get("prefix-length", ""),
            MARK in row.get("comment", "").split(),
        )
        for row in of_six
        if row.get("dynamic") != "true"
    ]  # fmt: skip


# Jobs.


def look_at_pools(job: RunningJob) -> Mapping[str, object]:
    """Read the pools of a router, so that its page can compare them."""
    return _visit(job, write=False)


def write_pools(job: RunningJob) -> Mapping[str, object]:
    """Put what is missing on a router, and make ours what they should be. Done before, it changes nothing."""
    return _visit(job, write=True)


def _visit(job: RunningJob, *, write: bool) -> Mapping[str, object]:
    nas_id = int(job.parameters["nas_id"])
    access, wanted = _situation(job, nas_id)
    if access is None:
        job.log("error", "", N_("This router is gone, or its password cannot be read."))
        return {"reached": False}
    done = 0
    try:
        with open_router(access) as router:
            if write:
                done = _write(job, router, wanted)
            found = read_pools(router)
    except RouterProblem as problem:
        _keep(job, nas_id, cause=problem.cause.value, detail=problem.detail)
        job.log(
            "error", job.subject, N_("The router does not answer: %(cause)s"),
            cause=problem.detail or problem.cause.value,
        )  # fmt: skip
        job.advance(0, failed=1)
        return {"reached": False}
    _keep(job, nas_id, pools=as_document(found), looked_at=utc_now(), cause="", detail="")
    left = sum(each.difference is not Difference.EQUAL and bool(each.wanted) for each in compare(wanted, found))
    if not left:
        job.log("info", job.subject, N_("The router has the pools that it should."))
    return {"reached": True, "written": done, "left": left}


def _situation(job: RunningJob, nas_id: int) -> tuple[RouterAccess | None, list[PoolRow]]:
    with job.session() as session:
        router = session.scalar(
            select(Router)
            .where(Router.nas_id == nas_id, Router.operator_id == job.operator_id)
            .options(joinedload(Router.nas))
        )
        if router is None:
            return None, []
        pools = session.scalars(
            select(AddressPool).where(
                AddressPool.operator_id == job.operator_id,
                AddressPool.assignment == "dynamic",
                or_(AddressPool.nas_id.is_(None), AddressPool.nas_id == nas_id),
            )
        ).all()
        try:
            return access_of(router, job.keyring), rows_wanted(pools)
        except SecretUnreadable:
            return None, []


def _write(job: RunningJob, router: RouterApi, wanted: Sequence[PoolRow]) -> int:
    targets = {(row.family, row.name): row for row in wanted}
    todo = [
        each
        for each in compare(wanted, read_pools(router))
        if each.difference is Difference.MISSING or (each.difference is Difference.DIFFERENT and each.ours)
    ]
    job.plan(len(todo))
    done = 0
    for each in todo:
        job.check_cancelled()
        row = targets[each.family, each.name]
        fields = {"ranges": row.ranges} if row.family == 4 else {"prefix": row.ranges, "prefix-length": row.length}
        try:
            if each.difference is Difference.MISSING:
                router.add(MENUS[row.family], name=row.name, comment=MARK, **fields)
            else:
                there = router.rows(MENUS[row.family], "name", name=row.name)
                router.set(MENUS[row.family], there[0][".id"] if there else "", **fields)
        except RouterProblem as problem:
            if problem.out_of_reach:
                raise
            job.log("error", row.name, N_("The router refused it: %(words)s"), words=problem.detail)
            job.advance(0, failed=1)
            continue
        done += 1
        job.log("info", row.name, N_("Put right: %(what)s"), what=in_words(row))
        job.advance()
    return done


def _keep(job: RunningJob, nas_id: int, **columns: object) -> None:
    with job.session() as session:
        row = insert(RouterPools).values(nas_id=nas_id, operator_id=job.operator_id, **columns)
        session.execute(row.on_conflict_do_update(index_elements=[RouterPools.nas_id], set_=columns))
        session.commit()


def _meaning(row: PoolRow) -> object:
    """Return what a pool means: its addresses as merged spans; what cannot be read is only equal to itself."""
    if row.family == 6:
        try:
            return ipaddress.IPv6Network(row.ranges, strict=False), row.length
        except ValueError:
            return row.ranges, row.length
    spans: list[tuple[int, int]] = []
    for part in row.ranges.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            if "/" in first:
                network = ipaddress.IPv4Network(first, strict=False)
                begin, end = int(network.network_address), int(network.broadcast_address)
            else:
                begin = int(ipaddress.IPv4Address(first))
                end = int(ipaddress.IPv4Address(last)) if dash else begin
        except ValueError:
            return row.ranges
        spans.append((begin, end))
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return tuple(merged)
