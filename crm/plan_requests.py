"""Wishes for another rate plan: what subscribers may choose, and what waits for staff to confirm.

A service has one open wish at a time; a newer one takes its place. Whether a change needs staff at all is the
operator's decision (`crm.brands.Allowed.plan_change`).
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.brands import Allowed
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from crm.services import change_plan_of
from db.audit import Actor, record
from db.models import PlanRequest, RatePlan, Service


def offered_plans(session: Session, operator_id: int, allowed: Allowed) -> list[RatePlan]:
    """Return the plans that subscribers may choose from, the slowest first."""
    if allowed.plan_change == "no":
        return []
    query = select(RatePlan).where(
        RatePlan.operator_id == operator_id, RatePlan.id.in_(allowed.offered_plans), ~RatePlan.archived
    )
    return list(session.scalars(query.order_by(RatePlan.download, RatePlan.id)))


def check_choice(session: Session, allowed: Allowed, service: Service, plan_id: int) -> RatePlan:
    """Return the plan that a subscriber chose for a service. Raises Invalid and WrongState."""
    if service.state != "active":
        raise WrongState(service.state, "change the plan of")
    offered = {plan.id: plan for plan in offered_plans(session, service.operator_id, allowed)}
    if plan_id not in offered:
        raise Invalid(FieldProblem("plan_id", Problem.NOT_OFFERED))
    if plan_id == service.plan_id:
        raise Invalid(FieldProblem("plan_id", Problem.ALREADY_DONE))
    return offered[plan_id]


def open_request(session: Session, service_id: int) -> PlanRequest | None:
    """Return the wish of a service that waits."""
    return session.scalar(select(PlanRequest).where(PlanRequest.service_id == service_id, PlanRequest.state == "open"))


def ask_for_plan(
    session: Session, actor: Actor, allowed: Allowed, service: Service, plan_id: int, now: datetime
) -> PlanRequest:
    """Write down a wish, in place of one that waits. Raises Invalid and WrongState."""
    session.refresh(service, with_for_update=True)
    plan = check_choice(session, allowed, service, plan_id)
    waiting = open_request(session, service.id)
    if waiting is not None:
        if waiting.plan_id == plan_id:
            return waiting
        _decide(session, waiting, "withdrawn", None, now)
    request = PlanRequest(
        operator_id=service.operator_id,
        subscriber_id=service.subscriber_id,
        service_id=service.id,
        plan_id=plan_id,
        created_at=now,
    )
    session.add(request)
    session.flush()
    record(session, actor, "service.plan_request", "service", service.id, None, {"plan": plan.name})
    return request


def withdraw_request(session: Session, actor: Actor, service: Service, now: datetime) -> None:
    """Take a wish back. Raises Invalid when none waits."""
    session.refresh(service, with_for_update=True)
    waiting = open_request(session, service.id)
    if waiting is None:
        raise Invalid(FieldProblem("plan_id", Problem.ALREADY_DONE))
    _decide(session, waiting, "withdrawn", None, now)
    record(session, actor, "service.plan_request", "service", service.id, None, {"state": "withdrawn"})


def grant_request(session: Session, actor: Actor, request: PlanRequest, now: datetime) -> Service:
    """Give a service the plan that was asked for. Raises Invalid and WrongState."""
    service = _waiting(session, request)
    change_plan_of(session, actor, service, request.plan_id, now)
    _decide(session, request, "done", actor.staff_id, now)
    return service


def refuse_request(session: Session, actor: Actor, request: PlanRequest, now: datetime) -> Service:
    """Say no to a wish. Raises Invalid when it does not wait any more."""
    service = _waiting(session, request)
    _decide(session, request, "refused", actor.staff_id, now)
    record(session, actor, "service.plan_request", "service", service.id, None, {"state": "refused"})
    return service


def _waiting(session: Session, request: PlanRequest) -> Service:
    service = session.get_one(Service, request.service_id, with_for_update=True, populate_existing=True)
    session.refresh(request, with_for_update=True)
    if request.state != "open":
        raise Invalid(FieldProblem("plan_id", Problem.ALREADY_DONE))
    return service


def _decide(session: Session, request: PlanRequest, state: str, staff_id: int | None, now: datetime) -> None:
    request.state, request.staff_id, request.decided_at = state, staff_id, now
    session.flush()
