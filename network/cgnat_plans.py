"""Plans of ports as they are kept: each version with its time, and what a router has of it.

Nobody edits a plan: a change begins a new version now and ends the one before in the same instant, so that what was
true in March is still the answer in November. The rules on the router follow by a job, which a person starts.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from core.crypto import SecretUnreadable
from core.i18n import N_
from crm.jobs import RunningJob
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CgnatPlan, Nas, Router
from network.access import access_of
from network.api import RouterAccess, RouterApi, open_router
from network.cgnat import (
    FEWEST_PORTS,
    MARK,
    MENU,
    MOST_SUBSCRIBERS,
    NoRoom,
    PortPlan,
    compare,
    rules,
)
from network.problems import RouterProblem

WRITE, TAKE_OFF = "cgnat.write", "cgnat.take_off"
"""Parameters of both: `plan_id` and `nas_id`, the router that the rules are on."""


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What somebody enters for a plan; networks and addresses are text as typed. `ports` None: as many as there are."""

    name: str
    private: str
    public_first: str
    public_last: str | None = None
    ports: int | None = None
    first_port: int = 1024
    last_port: int = 65_535
    nas_id: int | None = None


def port_plan(plan: CgnatPlan) -> PortPlan:
    """Return the arithmetic of a stored plan."""
    return PortPlan(
        plan.private, plan.public_first, plan.public_last, plan.ports, plan.first_port, plan.last_port
    )  # fmt: skip


def terms_of_plan(plan: CgnatPlan) -> PlanTerms:
    return PlanTerms(
        plan.name, str(plan.private), str(plan.public_first), str(plan.public_last), plan.ports, plan.first_port,
        plan.last_port, plan.nas_id,
    )  # fmt: skip


def key_of(plan: CgnatPlan) -> str:
    """Return what a plan's rules are known by on a router: its versions have different rules, and so different keys."""
    return str(plan.id)


def checked_plan(terms: PlanTerms) -> PortPlan:
    """Return the plan that is meant. Raises Invalid with everything that is wrong."""
    problems: list[FieldProblem] = []
    private = _network(terms.private, problems)
    first = _address("public_first", terms.public_first, problems)
    last = _address("public_last", terms.public_last, problems) if terms.public_last else first
    if not 1 <= terms.first_port <= 65_535:
        problems.append(FieldProblem("first_port", Problem.OUT_OF_RANGE, {"low": "1", "high": "65535"}))
    elif not terms.first_port <= terms.last_port <= 65_535:
        low = {"low": str(terms.first_port), "high": "65535"}
        problems.append(FieldProblem("last_port", Problem.OUT_OF_RANGE, low))
    if first is not None and last is not None and last < first:
        problems.append(FieldProblem("public_last", Problem.WRONG_ORDER))
    if private is not None and private.num_addresses > MOST_SUBSCRIBERS:
        problems.append(FieldProblem("private", Problem.TOO_MANY_RULES, {"limit": str(MOST_SUBSCRIBERS)}))
    if problems or private is None or first is None or last is None:
        raise Invalid(*problems)
    span = terms.last_port - terms.first_port + 1
    sharing = -(-private.num_addresses // (int(last) - int(first) + 1))
    ports = terms.ports if terms.ports is not None else span // sharing
    if not FEWEST_PORTS <= ports <= span:
        raise Invalid(FieldProblem("ports", Problem.OUT_OF_RANGE, {"low": str(FEWEST_PORTS), "high": str(span)}))
    try:
        return PortPlan(private, first, last, ports, terms.first_port, terms.last_port)
    except NoRoom as no_room:
        detail = {"blocks": str(no_room.blocks), "needed": str(no_room.needed)}
        raise Invalid(FieldProblem("ports", Problem.NO_ROOM_FOR_ALL, detail)) from None


def create_plan(
    session: Session, actor: Actor, terms: PlanTerms, now: datetime, *, valid_from: datetime | None = None
) -> CgnatPlan:
    """Enter a plan that holds from now on, or has held since `valid_from`. Raises Invalid."""
    if valid_from is not None and valid_from > now:
        raise Invalid(FieldProblem("valid_from", Problem.IN_THE_FUTURE))
    plan = _add(session, actor, terms, valid_from or now, None)
    record(session, actor, "cgnat_plan.create", "cgnat_plan", plan.id, None, _audited(plan))
    return plan


def change_plan(session: Session, actor: Actor, plan: CgnatPlan, terms: PlanTerms, now: datetime) -> CgnatPlan:
    """Begin another version of a plan that holds, and return it. Raises Invalid; the version before stays as it was."""
    session.refresh(plan, with_for_update=True)
    if plan.valid_until is not None:
        raise Invalid(FieldProblem("name", Problem.ALREADY_DONE))
    checked_plan(terms)
    plan.valid_until = now
    session.flush()
    after = _add(session, actor, terms, now, plan.id)
    record(session, actor, "cgnat_plan.change", "cgnat_plan", after.id, _audited(plan), _audited(after))
    return after


def end_plan(session: Session, actor: Actor, plan: CgnatPlan, now: datetime) -> None:
    """End a plan: from now on nobody comes out of its addresses. What it said about its time stays."""
    session.refresh(plan, with_for_update=True)
    if plan.valid_until is not None:
        return
    plan.valid_until = now
    session.flush()
    record(session, actor, "cgnat_plan.end", "cgnat_plan", plan.id, None, {"name": plan.name, "valid_until": now})


def plans_of_public(
    session: Session, operator_id: int, public: ipaddress.IPv4Address, begin: datetime, end: datetime
) -> list[CgnatPlan]:
    """Return the plans that gave out a public address at some instant from `begin` to `end`, the newest first."""
    query = select(CgnatPlan).where(
        CgnatPlan.operator_id == operator_id,
        CgnatPlan.public_first <= public,
        CgnatPlan.public_last >= public,
        CgnatPlan.valid_from <= end,
        or_(CgnatPlan.valid_until.is_(None), CgnatPlan.valid_until > begin),
    )
    return list(session.scalars(query.order_by(CgnatPlan.valid_from.desc())))


def plans_of_private(
    session: Session, operator_id: int, private: ipaddress.IPv4Address, at: datetime
) -> list[CgnatPlan]:
    """Return the plans in whose private network an address was at an instant."""
    query = select(CgnatPlan).where(
        CgnatPlan.operator_id == operator_id,
        CgnatPlan.private.op(">>=")(private),
        and_(CgnatPlan.valid_from <= at, or_(CgnatPlan.valid_until.is_(None), CgnatPlan.valid_until > at)),
    )
    return list(session.scalars(query.order_by(CgnatPlan.id)))


def _add(session: Session, actor: Actor, terms: PlanTerms, begin: datetime, follows: int | None) -> CgnatPlan:
    meant = checked_plan(terms)
    name = " ".join(terms.name.split())
    if not name:
        raise Invalid(FieldProblem("name", Problem.REQUIRED))
    if terms.nas_id is not None:
        nas = session.get(Nas, terms.nas_id)
        if nas is None or nas.operator_id != actor.operator_id:
            raise Invalid(FieldProblem("nas_id", Problem.UNKNOWN_NAS))
    plan = CgnatPlan(
        operator_id=actor.operator_id,
        name=name[:100],
        nas_id=terms.nas_id,
        private=meant.private,
        public_first=meant.public_first,
        public_last=meant.public_last,
        first_port=meant.first_port,
        last_port=meant.last_port,
        ports=meant.ports,
        valid_from=begin,
        follows_id=follows,
        author=actor.name,
    )
    try:
        with session.begin_nested():
            session.add(plan)
            session.flush()
    except IntegrityError as refused:
        for constraint, field in (("ex_cgnat_plan_public", "public_first"), ("ex_cgnat_plan_private", "private")):
            if constraint in str(refused.orig):
                raise Invalid(FieldProblem(field, Problem.PLANNED_ALREADY)) from None
        raise
    return plan


def _network(text: str, problems: list[FieldProblem]) -> ipaddress.IPv4Network | None:
    try:
        interface = ipaddress.IPv4Interface(text.strip())
    except ValueError:
        problems.append(FieldProblem("private", Problem.NOT_A_NETWORK))
        return None
    if interface.ip != interface.network.network_address:
        problems.append(FieldProblem("private", Problem.HOST_BITS, {"network": str(interface.network)}))
        return None
    return interface.network


def _address(field: str, text: str, problems: list[FieldProblem]) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text.strip())
    except ValueError:
        problems.append(FieldProblem(field, Problem.NOT_AN_ADDRESS))
        return None


def _audited(plan: CgnatPlan) -> dict[str, object]:
    names = ("name", "nas_id", "private", "public_first", "public_last", "ports", "first_port", "last_port")
    return {name: getattr(plan, name) for name in (*names, "valid_from", "valid_until")}


# Jobs.


def write_rules(job: RunningJob) -> Mapping[str, object]:
    """Put the rules of a plan on a router, and take off those of other versions. Done before, it changes nothing."""
    return _visit(job, write=True)


def take_off_rules(job: RunningJob) -> Mapping[str, object]:
    """Take the rules of a plan, and of the versions of it, off a router."""
    return _visit(job, write=False)


def _visit(job: RunningJob, *, write: bool) -> Mapping[str, object]:
    access, plan, versions = _situation(job)
    if access is None or plan is None:
        job.log("error", "", N_("This router is gone, or its password cannot be read."))
        return {"reached": False}
    try:
        with open_router(access) as router:
            return _put_right(job, router, plan, versions, write=write)
    except RouterProblem as problem:
        job.log(
            "error", job.subject, N_("The router does not answer: %(cause)s"),
            cause=problem.detail or problem.cause.value,
        )  # fmt: skip
        job.advance(0, failed=1)
        return {"reached": False}


def _put_right(
    job: RunningJob, router: RouterApi, plan: CgnatPlan, versions: list[int], *, write: bool
) -> Mapping[str, object]:
    """New rules are added off, put before all others, and then changed for the old ones: nobody is without NAT."""
    fields = ("chain", "action", "jump-target", "protocol", "src-address", "to-addresses", "to-ports")
    found = router.rows(MENU, *fields, "comment", "disabled", "dynamic")
    marks = {f"{MARK}:{version}" for version in versions}
    old = [row[".id"] for row in found if row.get("comment") in marks]
    wanted = list(rules(port_plan(plan), key_of(plan))) if write else []
    ours = [row for row in found if row.get("comment") in marks]
    if write and len(ours) == len(wanted) and compare(wanted, found, key_of(plan)):
        job.log("info", job.subject, N_("The router has these rules already."))
        return {"reached": True, "added": 0, "removed": 0}
    job.plan(len(wanted) + len(old))
    added, jumps = [], []
    for row in wanted:
        made = router.add(MENU, disabled=True, **row)
        added.append(made)
        if row["chain"] == "srcnat":
            jumps.append(made)
        job.advance()
    others = [
        row[".id"]
        for row in found
        if row.get("chain") == "srcnat" and row.get("dynamic") != "true" and row.get("comment") not in marks
    ]
    if jumps and others:
        router.call(f"{MENU}/move", numbers=",".join(jumps), destination=others[0])
    for some in _some(added):
        router.set(MENU, ",".join(some), disabled=False)
    for some in _some(old):
        router.remove(MENU, *some)
        job.advance(len(some))
    job.log("info", job.subject, N_("%(added)s rules put on the router, %(removed)s old ones taken off."),
            added=len(added), removed=len(old))  # fmt: skip
    if write:
        job.log("warning", job.subject, N_(
            "Connections that are open keep their old ports until they end. Clear the connection table or let the"
            " subscribers connect again, so that the plan holds for all from now on."
        ))  # fmt: skip
    return {"reached": True, "added": len(added), "removed": len(old)}


def _some(ids: list[str]) -> list[list[str]]:
    return [ids[begin : begin + 200] for begin in range(0, len(ids), 200)]


def _situation(job: RunningJob) -> tuple[RouterAccess | None, CgnatPlan | None, list[int]]:
    """Return the way to the router, the plan, and the ids of all of its versions."""
    with job.session() as session:
        plan = session.get(CgnatPlan, int(job.parameters["plan_id"]))
        router = session.scalar(
            select(Router)
            .where(Router.nas_id == int(job.parameters["nas_id"]), Router.operator_id == job.operator_id)
            .options(joinedload(Router.nas))
        )
        if plan is None or plan.operator_id != job.operator_id or router is None:
            return None, None, []
        try:
            return access_of(router, job.keyring), plan, versions_of(session, plan)
        except SecretUnreadable:
            return None, None, []


def versions_of(session: Session, plan: CgnatPlan) -> list[int]:
    """Return the ids of a plan and of the versions before it, the newest first."""
    ids, before = [plan.id], plan.follows_id
    while before is not None:
        ids.append(before)
        before = session.scalar(select(CgnatPlan.follows_id).where(CgnatPlan.id == before))
    return ids
