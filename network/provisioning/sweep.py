"""One visit to a router: what the database wants of it, the comparison, the steps, and the record of it all.

A visit reads and compares the whole router, since only then is it known what is missing, which names are taken and
what its own people made. It carries out what has become pending since the last one and what nobody can have meant;
the rest is kept as drift for a person. A router that cannot be reached keeps what is pending, with the cause, and
is tried again after a pause that grows; the triggers end the pause when somebody corrects its access or it is seen.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from aaa.documents import terms_from_document
from aaa.facts import AccessMethod, ServiceState
from core.crypto import Keyring
from db.models import Nas, Operator, QueueDrift, Router, RouterQueue, RouterSync, Service, ServiceGrant, TermsRecord
from network.access import access_of
from network.api import RouterAccess, open_router_async
from network.problems import RouterProblem
from network.provisioning.apply import Applied, apply, look
from network.provisioning.diff import Difference, compare, due, foreign, managed
from network.provisioning.want import Standing, wanted_queues

LOOK_EVERY = timedelta(minutes=10)
"""How old the last look at a whole router may be."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=2)
ROUTER_LOCK = 7464
"""First half of the advisory lock that keeps two processes from working at the same router."""

log = structlog.get_logger()


class DueRouter(NamedTuple):
    nas_id: int
    attempts: int  # that failed since it was last reached


@dataclass(frozen=True, slots=True)
class Situation:
    """What the database says of a router. `pending` are services with the count of their changes, as read."""

    nas_id: int
    operator_id: int
    access: RouterAccess
    pending: dict[int, int]
    known: frozenset[int]
    standings: tuple[Standing, ...]

    @property
    def undecided(self) -> frozenset[int]:
        return frozenset(standing.service_id for standing in self.standings if not standing.outcome)


@dataclass(slots=True)
class Visit:
    """What a visit found and did. Of a visit that ended early everything up to there is true."""

    looked: bool = False
    queues: int = 0
    foreign_queues: int = 0
    differences: list[Difference] = field(default_factory=list)
    todo: list[Difference] = field(default_factory=list)
    applied: Applied = field(default_factory=Applied)
    problem: RouterProblem | None = None

    @property
    def outstanding(self) -> frozenset[int]:
        """Services that something was to be done for and was not."""
        done = {id(difference) for difference in self.applied.done}
        return frozenset(each.service_id for each in self.todo if id(each) not in done)


def due_routers(session: Session, now: datetime) -> list[DueRouter]:
    """Return the routers with something pending, or not looked at for a while; those that answer come first."""
    unseen = or_(RouterSync.looked_at.is_(None), RouterSync.looked_at < now - LOOK_EVERY)
    held = exists().where(RouterQueue.nas_id == Router.nas_id)
    pending = exists().where(RouterQueue.nas_id == Router.nas_id, RouterQueue.pending_since.is_not(None))
    attempts = func.coalesce(RouterSync.attempts, 0)
    query = (
        select(Router.nas_id, attempts)
        .join(Nas, Nas.id == Router.nas_id)
        .outerjoin(RouterSync, RouterSync.nas_id == Router.nas_id)
        .where(
            Nas.enabled,
            or_(RouterSync.nas_id.is_(None), RouterSync.next_attempt_at <= now),
            or_(pending, and_(unseen, held)),
        )
        .order_by(attempts, Router.nas_id)
    )
    return [DueRouter(*row) for row in session.execute(query)]


def read_situation(session: Session, keyring: Keyring, nas_id: int) -> Situation | None:
    """Return what is wanted of a router; None where it is gone, or not in use.

    Raises core.crypto.SecretUnreadable.
    """
    router = session.scalar(select(Router).where(Router.nas_id == nas_id).options(joinedload(Router.nas)))
    if router is None or not router.nas.enabled:
        return None
    # Before the services: what changes between the two readings has a higher count then, and stays pending.
    held = session.execute(
        select(RouterQueue.service_id, RouterQueue.changes, RouterQueue.pending_since).where(
            RouterQueue.nas_id == nas_id
        )
    ).all()
    services = session.execute(
        select(
            Service.id, Service.name, func.host(Service.framed_ip), ServiceGrant.outcome, TermsRecord.content,
            Operator.garden_address_list,
        )
        .join(Operator, Operator.id == Service.operator_id)
        .outerjoin(ServiceGrant, ServiceGrant.service_id == Service.id)
        .outerjoin(
            TermsRecord,
            and_(TermsRecord.operator_id == Service.operator_id, TermsRecord.id == ServiceGrant.terms_id),
        )
        .where(
            Service.operator_id == router.operator_id,
            Service.nas_id == nas_id,
            Service.access_method == AccessMethod.QUEUE.value,
            Service.state != ServiceState.TERMINATED.value,
            Service.framed_ip.is_not(None),
        )
    )  # fmt: skip
    return Situation(
        nas_id=nas_id,
        operator_id=router.operator_id,
        access=access_of(router, keyring),
        pending={row.service_id: row.changes for row in held if row.pending_since is not None},
        known=frozenset(row.service_id for row in held),
        standings=tuple(
            Standing(id_, name, address, outcome or "", terms_from_document(terms) if terms else None, garden)
            for id_, name, address, outcome, terms, garden in services
        ),
    )


async def visit_router(
    situation: Situation,
    visit: Visit,
    asked: Collection[int] = (),
    *,
    everything: bool = False,
    planned: Callable[[Sequence[Difference]], None] | None = None,
    each: Callable[[int, str], Awaitable[None]] | None = None,
) -> None:
    """Compare a router and carry out what is due, what is `asked` for by service, or `everything` that differs.

    `planned` is told what will be done, `each` of every service that was seen to. What went wrong with the router is
    in the visit; only what `planned` and `each` raise comes out.
    """
    try:
        async with open_router_async(situation.access) as router:
            have = await look(router)
            visit.queues, visit.foreign_queues = managed(have), foreign(have)
            visit.differences = compare(
                wanted_queues(situation.standings), have, known=situation.known, undecided=situation.undecided
            )
            visit.looked = True
            if everything:
                visit.todo = [each for each in visit.differences if each.steps]
            else:
                visit.todo = due(visit.differences, situation.pending.keys() | set(asked))
            if planned is not None:
                planned(visit.todo)
            await apply(router, visit.todo, visit.applied, each)
            visit.foreign_queues -= sum(each.adopts for each in visit.applied.done)
    except RouterProblem as problem:
        visit.problem = problem


def record_visit(session: Session, situation: Situation, visit: Visit, now: datetime) -> None:
    """Write down what a visit found and did. Nothing that became pending meanwhile is lost."""
    nas_id = situation.nas_id
    before = session.scalar(select(RouterSync.attempts).where(RouterSync.nas_id == nas_id)) or 0
    failed = visit.problem is not None or bool(visit.applied.refused)
    attempts = before + 1 if failed else 0
    values: dict[str, object] = {
        "attempts": attempts,
        "next_attempt_at": now + pause_after(attempts) if failed else now,
        "cause": visit.problem.cause.value if visit.problem else "",
        "detail": visit.problem.detail[:500] if visit.problem else "",
    }
    if visit.looked:
        values |= {"looked_at": now, "queues": visit.queues, "foreign_queues": visit.foreign_queues}
    key = {"nas_id": nas_id, "operator_id": situation.operator_id}
    session.execute(
        insert(RouterSync).values(**key, **values).on_conflict_do_update(index_elements=["nas_id"], set_=values)
    )
    if visit.looked:
        _settle(session, situation, visit, now)
        _keep_drift(session, situation, visit, now)
    if visit.problem is not None:
        log.warning("router_out_of_reach", nas_id=nas_id, cause=visit.problem.cause.value, attempts=attempts)
    elif visit.applied.done or visit.applied.refused:
        log.info(
            "router_made_right", nas_id=nas_id, differences=len(visit.applied.done), refused=len(visit.applied.refused)
        )


def pause_after(attempts: int) -> timedelta:
    """Return how long a router that could not be reached is left alone: 5 s, 10 s, 20 s … 2 min."""
    return min(FIRST_PAUSE * (1 << min(max(attempts - 1, 0), 10)), LONGEST_PAUSE)


def _settle(session: Session, situation: Situation, visit: Visit, now: datetime) -> None:
    """End what was pending and is done, unless it changed again; forget services that are no longer here."""
    here = {standing.service_id for standing in situation.standings}
    outstanding = visit.outstanding
    done = {each.service_id for each in visit.applied.done}
    for service_id, changes in situation.pending.items():
        row = and_(
            RouterQueue.nas_id == situation.nas_id,
            RouterQueue.service_id == service_id,
            RouterQueue.changes == changes,
        )
        if service_id in outstanding:
            refused = visit.applied.refused.get(service_id)
            if refused is not None:
                session.execute(update(RouterQueue).where(row).values(problem=refused[:500]))
        elif service_id in here:
            session.execute(update(RouterQueue).where(row).values(pending_since=None, problem="", applied_at=now))
        else:
            session.execute(delete(RouterQueue).where(row))
    again = [service_id for service_id in done - situation.pending.keys() - outstanding if service_id in here]
    if again:
        session.execute(
            update(RouterQueue)
            .where(RouterQueue.nas_id == situation.nas_id, RouterQueue.service_id.in_(again))
            .values(applied_at=now)
        )


def _keep_drift(session: Session, situation: Situation, visit: Visit, now: datetime) -> None:
    """Replace what is known to differ; a difference that is still the same keeps its time."""
    done = {id(difference) for difference in visit.applied.done}
    left = {(each.service_id, each.field.value): each for each in visit.differences if id(each) not in done}
    known = {
        (row.service_id, row.field): row
        for row in session.scalars(select(QueueDrift).where(QueueDrift.nas_id == situation.nas_id))
    }
    for key, gone in known.items():
        if key not in left:
            session.delete(gone)
    for key, difference in left.items():
        row: QueueDrift | None = known.get(key)
        values = (difference.item, difference.wanted, difference.found)
        if row is not None and (row.item, row.wanted, row.found) == values:
            continue
        if row is None:
            row = QueueDrift(
                nas_id=situation.nas_id, service_id=key[0], field=key[1], operator_id=situation.operator_id
            )
            session.add(row)
        row.item, row.wanted, row.found = (str(value)[:500] for value in values)
        row.found_at = now
