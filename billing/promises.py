"""Promises to pay: until a day, that day included, a service is not cut although it is overdue.

A promise restores a service that was cut for being overdue. It moves no paid-until date: what is owed stays owed, and
when the day is over without money the service is cut as if nothing had been promised. A service has one open promise at
most, and only so many a year.
"""

from datetime import date, datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from billing.invoices import lock_books
from billing.rules import BillingRules
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from crm.services import restore
from db.audit import Actor, record
from db.models import Promise, Service


def promise(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    service: Service,
    until: date,
    note: str,
    now: datetime,
) -> Promise:
    """Let a service stay on until a day is over. Raises Invalid and, of a terminated service, WrongState."""
    lock_books(session, rules.operator_id, [service.subscriber_id])
    session.refresh(service)
    if service.state == "terminated":
        raise WrongState(service.state, "promise")
    today = rules.today(now)
    latest = today + timedelta(days=rules.promise_days)
    if until < today:
        raise Invalid(FieldProblem("until", Problem.TOO_LONG_AGO))
    if until > latest:
        raise Invalid(FieldProblem("until", Problem.TOO_FAR_AHEAD, {"latest": latest.isoformat()}))
    if len(note) > 500 or not note.isprintable():
        raise Invalid(FieldProblem("note", Problem.TOO_LONG, {"limit": "500"}))
    if promises_left(session, rules, service.id, now) < 1:
        raise Invalid(FieldProblem("until", Problem.LIMIT_REACHED, {"limit": str(rules.promises_a_year)}))
    _end(session, service.id, "cancelled", now)
    made = Promise(
        operator_id=rules.operator_id,
        service_id=service.id,
        until=until,
        note=note.strip(),
        staff_id=actor.staff_id,
        created_at=now,
    )
    session.add(made)
    service.promised_until = until
    session.flush()
    record(session, actor, "service.promise", "service", service.id, None, {"until": until, "note": note.strip()})
    if service.state == "suspended" and service.suspension_cause == "overdue":
        restore(session, actor, service)
    return made


def promises_left(session: Session, rules: BillingRules, service_id: int, now: datetime) -> int:
    """Return how many promises a service may still make in the twelve months that end now."""
    made = session.scalar(
        select(func.count())
        .select_from(Promise)
        .where(Promise.service_id == service_id, Promise.created_at > now - timedelta(days=365))
    )
    return max(0, rules.promises_a_year - (made or 0))


def cancel_promise(session: Session, actor: Actor, service: Service, now: datetime) -> None:
    """Take a promise back: the service is cut as its date says."""
    lock_books(session, service.operator_id, [service.subscriber_id])
    session.refresh(service)
    before = service.promised_until
    _end(session, service.id, "cancelled", now)
    service.promised_until = None
    session.flush()
    record(session, actor, "service.promise", "service", service.id, {"until": before}, {"until": None})


def end_promises(session: Session, subscriber_id: int, today: date, now: datetime) -> None:
    """Mark as kept the open promises of a subscriber's services that are paid for by now."""
    kept = session.scalars(
        text(
            "SELECT p.service_id FROM promise p JOIN service s ON s.id = p.service_id"
            " WHERE p.state = 'open' AND s.subscriber_id = :id AND (s.paid_until IS NULL OR s.paid_until >= :today)"
        ),
        {"id": subscriber_id, "today": today},
    ).all()
    for service_id in kept:
        _end(session, service_id, "kept", now)


def break_promises(session: Session, operator_id: int, today: date, now: datetime) -> int:
    """Mark as broken the promises whose day is over; return how many."""
    broken = session.execute(
        update(Promise)
        .where(Promise.operator_id == operator_id, Promise.state == "open", Promise.until < today)
        .values(state="broken", ended_at=now)
    )
    return int(broken.rowcount)  # type: ignore[attr-defined]


def _end(session: Session, service_id: int, state: str, now: datetime) -> None:
    session.execute(
        update(Promise)
        .where(Promise.service_id == service_id, Promise.state == "open")
        .values(state=state, ended_at=now)
    )
