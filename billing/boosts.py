"""Boosts: a higher rate for some hours, which a rate plan offers and a service buys.

Nothing has to end one: the instant stands in the facts of the service, so its live session is made slower again when
that instant has passed, as at the end of a time window. It is charged once, on the next invoice; where nothing is
billed, it costs nothing. Another one on top begins where the first ends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.charges import ChargeTerms, add_charge
from billing.invoices import lock_books
from billing.rules import billing_is_on, rules_of
from core.rates import RateLimit
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from db.audit import Actor, record
from db.models import RatePlan, Service

FURTHEST = timedelta(days=31)
"""How far ahead boosts may add up."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a plan offers."""

    rate: RateLimit
    length: timedelta
    price: Decimal


def offer_of(plan: RatePlan) -> Offer | None:
    """Return the boost that a plan offers."""
    if plan.boost_download is None or plan.boost_upload is None or plan.boost_hours is None:
        return None
    rate = RateLimit(plan.boost_download, plan.boost_upload)
    return Offer(rate, timedelta(hours=plan.boost_hours), plan.boost_price or Decimal(0))


def boosted_until(service: Service, now: datetime) -> datetime | None:
    """Return until when a service is boosted, None where it is not."""
    return service.boost_until if service.boost_until is not None and service.boost_until > now else None


def boost(
    session: Session, actor: Actor, service: Service, description: str, seen: datetime | None, now: datetime
) -> datetime:
    """Boost a service and charge for it, under this description; return until when.

    `seen` is until when it was boosted in the eyes of who asks: a second click finds it changed, and is refused.
    Raises Invalid and WrongState.
    """
    rules = rules_of(session, service.operator_id) if billing_is_on(session, service.operator_id) else None
    if rules is not None:
        lock_books(session, rules.operator_id, [service.subscriber_id])
    session.refresh(service, with_for_update=True)
    if service.state != "active":
        raise WrongState(service.state, "boost")
    offer = offer_of(session.get_one(RatePlan, service.plan_id))
    if offer is None:
        raise Invalid(FieldProblem("boost", Problem.UNKNOWN_CHOICE))
    running = boosted_until(service, now)
    if running != seen:
        raise Invalid(FieldProblem("boost", Problem.ALREADY_DONE))
    until = (running or now) + offer.length
    if until > now + FURTHEST:
        raise Invalid(FieldProblem("boost", Problem.LIMIT_REACHED, {"limit": str(FURTHEST.days)}))
    service.boost_download, service.boost_upload, service.boost_until = offer.rate.download, offer.rate.upload, until
    session.flush()
    after = {"boost_until": until, "boost_download": offer.rate.download, "boost_upload": offer.rate.upload}
    record(session, actor, "service.boost", "service", service.id, {"boost_until": running}, after)
    if rules is not None and offer.price > 0:
        terms = ChargeTerms(service.subscriber_id, description, offer.price, service_id=service.id)
        add_charge(session, actor, rules, terms, now)
    return until


def end_boost(session: Session, actor: Actor, service: Service, now: datetime) -> None:
    """End a boost before its time; what was charged stays. Raises Invalid when there is none."""
    session.refresh(service, with_for_update=True)
    running = boosted_until(service, now)
    if running is None:
        raise Invalid(FieldProblem("boost", Problem.ALREADY_DONE))
    service.boost_download = service.boost_upload = service.boost_until = None
    session.flush()
    record(session, actor, "service.boost_end", "service", service.id, {"boost_until": running}, {"boost_until": None})
