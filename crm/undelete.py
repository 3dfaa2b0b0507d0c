"""Removing a subscriber, and bringing one back: for 30 days a mistake costs nothing.

A removal ends every service, so RADIUS refuses them and billing stops with the day, as it does for any service that is
ended. The person leaves lists, searches, imports, messages and the subscribers' own pages. Invoices, payments and the
ledger stay where they are, under the name. Whoever comes back has each service as it was: in use, suspended with its
cause, paused or not yet installed; where a user name or an address went to somebody else meanwhile, nothing comes
back and it is said whose it is. After 30 days the person is erased (`crm.personal_data`), unless something is owed or
a legal hold stands: then as soon as that is settled. Who asks to be erased at once, is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.crypto import Keyring
from crm.licences import require_room
from crm.personal_data import NotErasable, erase_person
from crm.problems import FieldProblem, Invalid, Problem
from crm.services import Standing, reinstate, terminate
from db.audit import Actor, record
from db.models import Service, Subscriber, SubscriberLogin, SubscriberRemoval

KEPT = timedelta(days=30)
LONGEST_REASON = 300

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Taken:
    """What keeps a service from coming back: its name, and the problem with whose it is now."""

    service: str
    problem: FieldProblem


class NotBroughtBack(Exception):
    """Nothing was changed: `taken` says what went to somebody else."""

    def __init__(self, *taken: Taken) -> None:
        super().__init__("; ".join(f"{each.service}: {each.problem.problem}" for each in taken))
        self.taken = taken


def remove_subscriber(
    session: Session, actor: Actor, subscriber: Subscriber, reason: str, now: datetime
) -> SubscriberRemoval:
    """Remove a subscriber with all services. Raises Invalid."""
    session.refresh(subscriber, with_for_update=True)
    reason = " ".join(reason.split())
    if subscriber.removed_at is not None:
        raise Invalid(FieldProblem("name", Problem.ALREADY_DONE))
    if len(reason) > LONGEST_REASON:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": str(LONGEST_REASON)}))
    query = select(Service).where(Service.subscriber_id == subscriber.id, Service.state != "terminated")
    services = list(session.scalars(query.order_by(Service.id)))
    if any(service.access_method == "voucher" for service in services):
        raise Invalid(FieldProblem("name", Problem.VOUCHERS_STAND_ON_IT))
    removal = SubscriberRemoval(
        subscriber_id=subscriber.id,
        operator_id=subscriber.operator_id,
        removed_at=now,
        erase_at=now + KEPT,
        reason=reason,
        author=actor.name,
        services=[
            {
                "id": service.id,
                "state": service.state,
                "suspended_at": service.suspended_at.isoformat() if service.suspended_at else None,
                "cause": service.suspension_cause,
                "detail": service.suspension_detail,
            }
            for service in services
        ],
    )
    for service in services:
        terminate(session, actor, service, now)
    # Who is signed in to the subscribers' pages is not any more, nor after coming back.
    login = update(SubscriberLogin).where(SubscriberLogin.subscriber_id == subscriber.id)
    session.execute(login.values(session_version=SubscriberLogin.session_version + 1))
    subscriber.removed_at = now
    session.add(removal)
    session.flush()
    told = {"name": subscriber.name, "services": [service.name for service in services], "reason": reason}
    record(session, actor, "subscriber.remove", "subscriber", subscriber.id, told, None)
    return removal


def bring_back(session: Session, actor: Actor, removal: SubscriberRemoval) -> Subscriber:
    """Undo a removal. Raises NotBroughtBack, and Invalid where the licence has no room, or the time is over."""
    subscriber = session.get_one(Subscriber, removal.subscriber_id, with_for_update=True, populate_existing=True)
    if subscriber.removed_at is None:  # somebody else was quicker, and the removal is a row no more
        raise Invalid(FieldProblem("name", Problem.ALREADY_DONE))
    session.refresh(removal)
    if removal.erased_at is not None:
        raise Invalid(FieldProblem("name", Problem.ALREADY_DONE))
    require_room(session, subscriber.operator_id)
    taken: list[Taken] = []
    subscriber.removed_at = None
    for kept in removal.services:
        service = session.get(Service, kept["id"])
        if service is None or service.state != "terminated":
            continue
        try:
            reinstate(session, actor, service, _standing(kept))  # in one step: on the way nothing is to be told
        except Invalid as invalid:
            taken += [Taken(service.name, problem) for problem in invalid.problems]
    if taken:
        raise NotBroughtBack(*taken)
    states = {str(kept["id"]): kept["state"] for kept in removal.services}
    session.delete(removal)
    session.flush()
    after = {"name": subscriber.name, "services": states}
    record(session, actor, "subscriber.bring_back", "subscriber", subscriber.id, None, after)
    return subscriber


def _standing(kept: Mapping[str, Any]) -> Standing:
    """Return how a service stood that a removal kept."""
    if kept["suspended_at"] is None:
        return Standing(kept["state"])
    return Standing(kept["state"], datetime.fromisoformat(kept["suspended_at"]), kept["cause"], kept["detail"])


def erase_due(sessions: sessionmaker[Session], keyring: Keyring, now: datetime) -> int:
    """Erase whose time is over, each in a transaction of its own, and return how many were.

    Who may not be erased yet is asked about again the next time, and so is one with whom it failed: that keeps nobody
    else from being forgotten. Several workers do each person once.
    """
    with sessions() as session:
        query = select(SubscriberRemoval.subscriber_id).where(
            SubscriberRemoval.erase_at <= now, SubscriberRemoval.erased_at.is_(None)
        )
        due = list(session.scalars(query.order_by(SubscriberRemoval.erase_at)))
    erased = 0
    for subscriber_id in due:
        try:
            erased += _erase(sessions, keyring, subscriber_id, now)
        except SQLAlchemyError:
            log.exception("subscriber_not_erased", subscriber_id=subscriber_id)
    return erased


def _erase(sessions: sessionmaker[Session], keyring: Keyring, subscriber_id: int, now: datetime) -> bool:
    with sessions() as session:
        # The subscriber's row is what both sides lock: whoever is brought back just now is not erased.
        query = select(Subscriber).where(Subscriber.id == subscriber_id).with_for_update(skip_locked=True)
        subscriber = session.scalar(query)
        removal = session.get(SubscriberRemoval, subscriber_id)
        if subscriber is None or subscriber.removed_at is None or removal is None or removal.erased_at is not None:
            return False
        actor = Actor(removal.operator_id, "worker")
        try:
            erase_person(session, keyring, actor, subscriber)
        except NotErasable as problem:
            session.rollback()
            session.execute(
                update(SubscriberRemoval)
                .where(SubscriberRemoval.subscriber_id == subscriber_id)
                .values(trouble=problem.why)
            )
            session.commit()
            return False
        session.commit()
    log.info("subscriber_erased", operator_id=actor.operator_id, subscriber_id=subscriber_id)
    return True
