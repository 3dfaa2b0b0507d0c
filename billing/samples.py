"""Samples: a few plans, subscribers, services and tickets to look at, added by a click and removed by another.

What was made is noted row by row. What has become real meanwhile stays, and is a sample no more: somebody edited it, it
was on line, was billed or paid, or anything else points at it. There are no sample invoices: an issued invoice has a
number that no other gets, and books are not for playing. For the same reason samples are for before billing is on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.rules import billing_is_on
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.jobs import JobFunction, RunningJob
from crm.licences import require_room
from crm.plans import PlanTerms, create_plan
from crm.problems import FieldProblem, Invalid, Problem
from crm.service_terms import ServiceTerms
from crm.services import create_service
from crm.subscribers import SubscriberDetails, create_subscriber
from crm.tickets import open_ticket
from db.audit import Actor
from db.models import (
    AccountingSession,
    AuditEntry,
    Operator,
    RatePlan,
    SampleRow,
    Service,
    Subscriber,
    Ticket,
    TicketEntry,
)

REMOVE = "samples.remove"
M = 1_000_000
PLANS = ((N_("Home 10 (sample)"), 10, 3), (N_("Home 30 (sample)"), 30, 10), (N_("Business 100 (sample)"), 100, 50))
PEOPLE = (
    (N_("María Sample"), "sample-maria", 0, "active", N_("The line is slow in the evenings")),
    (N_("José Sample"), "sample-jose", 1, "active", ""),
    (N_("Lucía Sample"), "sample-lucia", 1, "pending", ""),
    (N_("Bakery Sample"), "sample-bakery", 2, "active", N_("Asks for a second access point")),
)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many samples went, and the names of those who stay because they have become real."""

    rows: int
    kept: tuple[str, ...]


def has_samples(session: Session, operator_id: int) -> bool:
    return session.scalar(select(exists().where(SampleRow.operator_id == operator_id))) is True


def add_samples(session: Session, actor: Actor, keyring: Keyring, password: str, now: datetime) -> int:
    """Make the samples and return how many rows they are. Raises Invalid. `password` is the one of their services."""
    if has_samples(session, actor.operator_id):
        raise Invalid(FieldProblem("samples", Problem.ALREADY_DONE))
    if billing_is_on(session, actor.operator_id):
        raise Invalid(FieldProblem("samples", Problem.NOT_OFFERED))
    require_room(session, actor.operator_id, len(PEOPLE))
    say = translator(session.get_one(Operator, actor.operator_id).locale)
    plans = [
        create_plan(session, actor, PlanTerms(say(name), down * M, up * M, price=Decimal(down * 10)))
        for name, down, up in PLANS
    ]
    made = [("rate_plan", plan.id) for plan in plans]
    for name, user, plan, state, words in PEOPLE:
        person = create_subscriber(session, actor, SubscriberDetails(say(name)))
        terms = ServiceTerms("pppoe", user, plans[plan].id)
        service = create_service(session, actor, keyring, person, terms, password, state=state, now=now)
        made += [("subscriber", person.id), ("service", service.id)]
        if words:
            ticket = open_ticket(session, actor, person.id, None, say(words), say(words), now=now)
            made.append(("ticket", ticket.id))
    session.add_all(SampleRow(operator_id=actor.operator_id, entity=entity, entity_id=at) for entity, at in made)
    session.flush()
    return len(made)


def remove_samples(session: Session, operator_id: int) -> Removed:
    """Remove the samples but those that have become real; none is a sample afterwards. The caller commits.

    Takes a session that sees all operators, since pages may not delete tickets.
    """
    samples: dict[str, list[int]] = {}
    for row in session.execute(
        select(SampleRow.entity, SampleRow.entity_id)
        .where(SampleRow.operator_id == operator_id)
        .order_by(SampleRow.entity_id)
    ):
        samples.setdefault(row.entity, []).append(row.entity_id)
    kept, gone = [], 0
    for person in session.scalars(select(Subscriber).where(Subscriber.id.in_(samples.get("subscriber", ())))).all():
        if _remove_person(session, operator_id, person.id, samples):
            gone += 1
        else:
            kept.append(person.name)
    for plan in session.scalars(select(RatePlan).where(RatePlan.id.in_(samples.get("rate_plan", ())))).all():
        if _edited(session, operator_id, "rate_plan", [plan.id]) or not _goes(
            session, delete(RatePlan).where(RatePlan.id == plan.id)
        ):
            kept.append(plan.name)
        else:
            gone += 1
    session.execute(delete(SampleRow).where(SampleRow.operator_id == operator_id))
    return Removed(gone, tuple(kept))


def run_removal(job: RunningJob) -> Mapping[str, object]:
    with job.session() as session:
        removed = remove_samples(session, job.operator_id)
        session.commit()
    for name in removed.kept:
        job.log("warning", name, N_("It has become real, and stays."))
    job.log("info", "", N_("%(rows)s samples are removed."), rows=removed.rows)
    return {"removed": removed.rows, "kept": len(removed.kept)}


def _remove_person(session: Session, operator_id: int, subscriber_id: int, samples: Mapping[str, list[int]]) -> bool:
    """Remove a sample subscriber with the sample services and tickets, all of it or nothing."""
    lines = list(session.scalars(select(Service.id).where(Service.subscriber_id == subscriber_id)))
    tickets = list(session.scalars(select(Ticket.id).where(Ticket.subscriber_id == subscriber_id)))
    ours = set(lines) <= set(samples.get("service", ())) and set(tickets) <= set(samples.get("ticket", ()))
    if not ours or _edited(session, operator_id, "subscriber", [subscriber_id]):
        return False
    if _edited(session, operator_id, "service", lines) or _edited(session, operator_id, "ticket", tickets):
        return False
    if session.scalar(select(exists().where(AccountingSession.service_id.in_(lines)))):
        return False
    return _goes(
        session,
        delete(TicketEntry).where(TicketEntry.ticket_id.in_(tickets)),
        delete(Ticket).where(Ticket.id.in_(tickets)),
        delete(Service).where(Service.id.in_(lines)),
        delete(Subscriber).where(Subscriber.id == subscriber_id),
    )


def _edited(session: Session, operator_id: int, entity: str, ids: list[int]) -> bool:
    """Tell whether anybody did anything to rows since they were made: the audit log knows."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    AuditEntry.operator_id == operator_id,
                    AuditEntry.entity == entity,
                    AuditEntry.entity_id.in_(ids),
                    ~or_(AuditEntry.action.like("%.create"), AuditEntry.action.like("%.open")),
                )
            )
        )
    )


def _goes(session: Session, *statements: object) -> bool:
    """Delete, and tell whether nothing pointed there."""
    try:
        with session.begin_nested():
            for statement in statements:
                session.execute(statement.execution_options(synchronize_session=False))  # type: ignore[attr-defined]
    except IntegrityError:
        return False
    return True


JOBS: Mapping[str, JobFunction] = {REMOVE: run_removal}
