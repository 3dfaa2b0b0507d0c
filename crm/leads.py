"""Leads: who asked for service, who of the staff follows it up, and what is to be done next.

    new → contacted → quoted → won    becomes a subscriber, or is found to be one already
                             → lost   with a reason; can be taken up again

A lead may skip states. Two people who follow up the same one are told of each other's changes.
"""

from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.subscribers import SubscriberDetails, create_subscriber
from crm.subscribers import checked as checked_subscriber
from db.audit import Actor, record
from db.models import LEAD_SOURCES, LEAD_STATES, Lead, RatePlan, Staff, Subscriber

OPEN = ("new", "contacted", "quoted")


class WrongLeadState(Exception):
    """The lead is won or lost already: `state` is what it is."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the lead is {state}")
        self.state = state


@dataclass(frozen=True, slots=True)
class LeadDetails:
    """What somebody enters for a lead. `next_step_on` is a day in the operator's zone."""

    name: str
    phone: str | None = None
    email: str | None = None
    address: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    source: str = "other"
    plan_id: int | None = None
    seller_id: int | None = None
    next_step: str = ""
    next_step_on: date | None = None
    notes: str = ""


def details_of_lead(lead: Lead) -> LeadDetails:
    return LeadDetails(**{field.name: getattr(lead, field.name) for field in fields(LeadDetails)})


def create_lead(session: Session, actor: Actor, details: LeadDetails) -> Lead:
    """Enter a lead; it is followed up by who enters it unless somebody else is named. Raises Invalid."""
    details = _checked(session, actor.operator_id, details)
    seller = details.seller_id or actor.staff_id
    lead = Lead(operator_id=actor.operator_id, **asdict(replace(details, seller_id=seller)))
    session.add(lead)
    session.flush()
    record(session, actor, "lead.create", "lead", lead.id, None, asdict(details))
    return lead


def change_lead(session: Session, actor: Actor, lead: Lead, details: LeadDetails, seen: int) -> None:
    """Change a lead of which version `seen` was shown. Raises Invalid and ChangedMeanwhile."""
    session.refresh(lead, with_for_update=True)
    if lead.version != seen:
        raise ChangedMeanwhile
    details = _checked(session, actor.operator_id, details)
    before = asdict(details_of_lead(lead))
    for name, value in asdict(details).items():
        if getattr(lead, name) != value:
            setattr(lead, name, value)
    session.flush()
    record(session, actor, "lead.change", "lead", lead.id, before, asdict(details))


def move_lead(session: Session, actor: Actor, lead: Lead, state: str, now: datetime, reason: str = "") -> None:
    """Put a lead into another state; lost needs a reason, won is what `win` does. Raises Invalid, WrongLeadState."""
    reason = reason.replace("\0", "").strip()
    session.refresh(lead, with_for_update=True)
    if lead.state == "won":
        raise WrongLeadState(lead.state)
    if state not in LEAD_STATES or state == "won":
        raise Invalid(FieldProblem("state", Problem.UNKNOWN_CHOICE))
    if state == "lost" and not reason:
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 500:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
    before = _standing(lead)
    lead.state, lead.lost_reason = state, reason if state == "lost" else ""
    lead.closed_at = now if state == "lost" else None
    session.flush()
    record(session, actor, "lead.move", "lead", lead.id, before, _standing(lead))


def subscriber_details(lead: Lead) -> SubscriberDetails:
    """Return the subscriber that a lead would become."""
    return SubscriberDetails(
        name=lead.name, email=lead.email, phone=lead.phone, address=lead.address,
        latitude=lead.latitude, longitude=lead.longitude, notes=lead.notes,
    )  # fmt: skip


def win(session: Session, actor: Actor, lead: Lead, subscriber: Subscriber | None, now: datetime) -> Subscriber:
    """Make a subscriber of a lead, or tie it to one who is entered already. Raises Invalid and WrongLeadState."""
    session.refresh(lead, with_for_update=True)
    if lead.state not in OPEN:
        raise WrongLeadState(lead.state)
    if subscriber is None:
        subscriber = create_subscriber(session, actor, subscriber_details(lead))
    elif subscriber.operator_id != lead.operator_id:
        raise Invalid(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    before = _standing(lead)
    lead.state, lead.subscriber_id, lead.closed_at = "won", subscriber.id, now
    session.flush()
    record(session, actor, "lead.win", "lead", lead.id, before, {**_standing(lead), "subscriber": subscriber.name})
    return subscriber


def _standing(lead: Lead) -> dict[str, Any]:
    return {"lead_state": lead.state, "reason": lead.lost_reason}


def _checked(session: Session, operator_id: int, details: LeadDetails) -> LeadDetails:
    """Return the details as they are stored. Raises Invalid with everything that is wrong."""
    problems: list[FieldProblem] = []
    shared = {field.name for field in fields(LeadDetails)} & {field.name for field in fields(SubscriberDetails)}
    try:
        person = checked_subscriber(SubscriberDetails(**{name: getattr(details, name) for name in shared}))
    except Invalid as invalid:
        problems += invalid.problems
    else:
        details = replace(details, **{name: getattr(person, name) for name in shared})
    details = replace(details, next_step=details.next_step.replace("\0", "").strip())
    if len(details.next_step) > 200:
        problems.append(FieldProblem("next_step", Problem.TOO_LONG, {"limit": "200"}))
    if details.source not in LEAD_SOURCES:
        problems.append(FieldProblem("source", Problem.UNKNOWN_CHOICE))
    if not details.phone and not details.email and not details.address:
        problems.append(FieldProblem("phone", Problem.REQUIRED))
    links: tuple[tuple[str, Any], ...] = (("plan_id", RatePlan), ("seller_id", Staff))
    for name, model in links:
        row_id = getattr(details, name)
        if row_id is not None and getattr(session.get(model, row_id), "operator_id", None) != operator_id:
            problems.append(FieldProblem(name, Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)
    return details
