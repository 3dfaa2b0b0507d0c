"""Previews: the next invoices of a service, as things are or under something proposed.

They are drafts, made by the function that the billing run issues from. A proposal is the facts and rules with
something replaced: another plan, other taxes, another cut-off day, several months at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import islice

from sqlalchemy.orm import Session

from billing.cycles import Timing
from billing.drafts import Draft, ServiceFacts, upcoming
from billing.facts import facts_of, items_of, price_of
from billing.rules import BillingRules
from billing.taxes import Tax
from db.models import RatePlan, ServiceBilling


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be different; None leaves it as it is. `price_percent` goes on every price: 10 is a tenth more."""

    plan_id: int | None = None
    price_percent: Decimal | None = None
    taxes: tuple[Tax, ...] | None = None
    cut_off: str | None = None
    cut_off_day: int | None = None
    timing: Timing | None = None
    months: int | None = None
    due_days: int | None = None
    issue_days: int | None = None


NOTHING = Proposal()


def proposed_rules(rules: BillingRules, proposal: Proposal) -> BillingRules:
    """Return the rules as they would be."""
    wanted = {
        "taxes": proposal.taxes,
        "cut_off": proposal.cut_off,
        "cut_off_day": proposal.cut_off_day,
        "timing": proposal.timing,
        "months": proposal.months,
        "due_days": proposal.due_days,
        "issue_days": proposal.issue_days,
    }
    return replace(rules, **{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]


def proposed_facts(
    session: Session, rules: BillingRules, facts: Sequence[ServiceFacts], proposal: Proposal, today: date
) -> list[ServiceFacts]:
    """Return facts, read under proposed rules, with the plan or the prices as they would be."""
    if proposal.plan_id is not None:
        plan = session.get_one(RatePlan, proposal.plan_id)
        sold = items_of(session, [plan.id]).get(plan.id, ())
        price, priced = price_of(session, rules, plan, None, today)
        facts = [
            replace(each, plan_id=plan.id, plan_name=plan.name, price=price, items=sold, priced=priced)
            for each in facts
        ]
    if proposal.price_percent is not None:
        facts = [replace(each, price=each.price * (100 + proposal.price_percent) / 100) for each in facts]
    return list(facts)


def next_invoices(
    session: Session,
    rules: BillingRules,
    service_id: int,
    today: date,
    count: int = 3,
    proposal: Proposal = NOTHING,
) -> list[Draft]:
    """Return a service's next invoices; none for one that is not billed."""
    cycle = session.get(ServiceBilling, service_id)
    if cycle is None or cycle.stopped_on is not None:
        return []
    wanted = proposed_rules(rules, proposal)
    facts = proposed_facts(session, rules, facts_of(session, wanted, [service_id], today), proposal, today)
    return [each for one in facts for each in islice(upcoming(one), count)]
