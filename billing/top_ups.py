"""Top-ups: data bought on top of what a plan allows, for the billing period that is running.

A top-up is charged once, on the next invoice; where nothing is billed it costs nothing. Nothing has to end one: the
instant stands in the facts of the service. A plan may have top-ups bought by themselves when the cap is reached, so
many in a period; those are looked for every minute, so a line may be slow or closed for as long.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, not_, or_, select
from sqlalchemy.orm import Session

from aaa.quota import billing_period
from billing.charges import ChargeTerms, add_charge
from billing.invoices import lock_books
from billing.rules import billing_is_on, rules_of
from core.i18n import N_, translator
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from db.audit import Actor, record
from db.models import Operator, RatePlan, Service, UsagePeriod

ON_THE_INVOICE = N_("Data top-up of %(volume)s GB, %(service)s")
MOST_OCTETS = 10**15
_BATCH = 500


@dataclass(frozen=True, slots=True)
class TopUpOffer:
    """What a plan offers; `octets` in both directions together."""

    octets: int
    price: Decimal


def top_up_offer(plan: RatePlan) -> TopUpOffer | None:
    """Return the top-up that a plan offers."""
    if plan.top_up_octets is None:
        return None
    return TopUpOffer(plan.top_up_octets, plan.top_up_price or Decimal(0))


def topped_up(service: Service, now: datetime) -> int:
    """Return the octets that were bought for the running period."""
    running = service.top_up_until is not None and service.top_up_until > now
    return service.top_up_octets or 0 if running else 0


def top_up(
    session: Session, actor: Actor, service: Service, seen: int, now: datetime, *, automatic: bool = False
) -> datetime:
    """Add what the plan offers to the running period and charge for it; return until when it may be used.

    `seen` is what `topped_up()` was in the eyes of who asks: a second click finds it changed, and is refused. Raises
    Invalid and WrongState.
    """
    rules = rules_of(session, service.operator_id) if billing_is_on(session, service.operator_id) else None
    if rules is not None:
        lock_books(session, rules.operator_id, [service.subscriber_id])
    session.refresh(service, with_for_update=True)
    if service.state != "active":
        raise WrongState(service.state, "top_up")
    plan = session.get_one(RatePlan, service.plan_id)
    offer, bought = top_up_offer(plan), topped_up(service, now)
    if offer is None:
        raise Invalid(FieldProblem("top_up", Problem.UNKNOWN_CHOICE))
    if bought != seen:
        raise Invalid(FieldProblem("top_up", Problem.ALREADY_DONE))
    times = (service.top_ups_automatic if bought else 0) + (1 if automatic else 0)
    if automatic and times > plan.top_ups_automatic:
        raise Invalid(FieldProblem("top_up", Problem.LIMIT_REACHED, {"limit": str(plan.top_ups_automatic)}))
    if bought + offer.octets > MOST_OCTETS:
        raise Invalid(FieldProblem("top_up", Problem.LIMIT_REACHED, {"limit": str(MOST_OCTETS)}))
    operator = session.get_one(Operator, service.operator_id)
    _, until = billing_period(operator.cut_off_day, now, ZoneInfo(operator.timezone))
    service.top_up_octets, service.top_up_until, service.top_ups_automatic = bought + offer.octets, until, times
    session.flush()
    after = {"top_up_octets": service.top_up_octets, "top_up_until": until}
    record(session, actor, "service.top_up", "service", service.id, {"top_up_octets": bought}, after)
    if rules is not None and offer.price > 0:
        said = {"volume": f"{offer.octets / 10**9:g}", "service": service.name}
        description = translator(operator.locale)(ON_THE_INVOICE) % said
        add_charge(
            session,
            actor,
            rules,
            ChargeTerms(service.subscriber_id, description, offer.price, service_id=service.id),
            now,
        )
    return until


def buy_automatic(session: Session, now: datetime) -> int:
    """Buy the top-ups that plans buy by themselves for whoever has reached the cap; commit each, return how many."""
    running = and_(Service.top_up_until.is_not(None), Service.top_up_until > now)
    allowed = RatePlan.cap_octets + UsagePeriod.rolled_over + case((running, Service.top_up_octets), else_=0)
    due = (
        select(Service.id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .join(
            UsagePeriod,
            and_(UsagePeriod.service_id == Service.id, UsagePeriod.period_start <= now, UsagePeriod.period_end > now),
        )
        .where(
            RatePlan.top_ups_automatic > 0,
            RatePlan.cap_octets.is_not(None),
            Service.state == "active",
            or_(not_(running), Service.top_ups_automatic < RatePlan.top_ups_automatic),
            UsagePeriod.octets_in + UsagePeriod.octets_out - UsagePeriod.octets_free >= allowed,
        )
        .order_by(Service.id)
        .limit(_BATCH)
    )
    count = 0
    for service_id in session.scalars(due).all():
        service = session.get_one(Service, service_id)
        try:
            top_up(
                session, Actor(service.operator_id, "billing"), service, topped_up(service, now), now, automatic=True
            )
        except (Invalid, WrongState):
            session.rollback()
        else:
            session.commit()
            count += 1
    return count
