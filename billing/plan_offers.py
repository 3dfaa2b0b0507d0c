"""What another rate plan would cost a subscriber, said before they choose it.

What happens today is found out by doing it and taking it back, so it is what the change will do, with the days that
are credited and the taxes. What comes after is the draft of the first whole invoice under either plan.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.drafts import Draft
from billing.following import follow_service
from billing.ledger import balance_of
from billing.preview import NOTHING, Proposal, next_invoices
from billing.rules import BillingRules
from crm.currencies import rate_on
from crm.services import change_plan_of
from db.audit import Actor
from db.models import RatePlan, Service


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """`today` is charged at once, or credited where it is below zero; `then` and `now` are the next whole invoices."""

    plan: RatePlan
    today: Decimal
    now: Decimal | None
    then: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """What each following invoice costs more, or less below zero."""
        return None if self.now is None or self.then is None else self.then - self.now


def plan_offer(
    session: Session, actor: Actor, rules: BillingRules, service: Service, plan: RatePlan, now: datetime
) -> PlanOffer:
    """Return what a change of plan would cost. Nothing of it stays. Raises Invalid and WrongState."""
    today = rules.today(now)
    check_rates(session, rules, service, plan, today)
    usual = next_invoices(session, rules, service.id, today, 2, NOTHING)
    proposed = next_invoices(session, rules, service.id, today, 2, Proposal(plan_id=plan.id))
    before = balance_of(session, service.subscriber_id)
    nested = session.begin_nested()
    try:
        change_plan_of(session, actor, service, plan.id)
        follow_service(session, actor, rules, service, now)
        after = balance_of(session, service.subscriber_id)
    finally:
        nested.rollback()
        session.expire_all()
    return PlanOffer(plan, after - before, _whole(usual), _whole(proposed))


def check_rates(session: Session, rules: BillingRules, service: Service, plan: RatePlan, today: date) -> None:
    """Raise Invalid where the old or the new price has no recent rate: a change would cost nothing until it has."""
    for each in (session.get_one(RatePlan, service.plan_id), plan):
        if each.price_currency is not None:
            rate_on(session, rules.operator_id, each.price_currency, today)


def _whole(drafts: list[Draft]) -> Decimal | None:
    """The second invoice is of a whole period, and without the charges that wait for the next."""
    return drafts[-1].total if drafts else None
