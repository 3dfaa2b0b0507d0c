"""What is sold with a rate plan: a bundle of the plan and a static address, the rental of a router, television.

An item is in the plan's price, and named on the invoice beside it; or it has a price of its own each month, with a line
and taxes of its own; or one that is charged once, on the first invoice. Items follow the plan: what is added or taken
out holds from each service's next invoice on, and a change of plan changes them with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.money import LARGEST, rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Operator, PlanItem, RatePlan

LONGEST_NAME = 100
MOST_ITEMS = 20


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """What is entered for an item; without a price it is in the plan's."""

    name: str
    price: Decimal | None = None
    once: bool = False
    tax_exempt: bool = False


def items_of_plans(session: Session, plans: Iterable[RatePlan]) -> dict[int, list[PlanItem]]:
    """Return what is sold with each of these plans, by the plan's id, in the order in which it was entered."""
    ids = [plan.id for plan in plans]
    found: dict[int, list[PlanItem]] = {number: [] for number in ids}
    query = select(PlanItem).where(PlanItem.plan_id.in_(ids), PlanItem.ended_at.is_(None)).order_by(PlanItem.id)
    for item in session.scalars(query):
        found[item.plan_id].append(item)
    return found


def monthly_price(plan: RatePlan, items: Iterable[PlanItem], price: Decimal | None = None) -> Decimal:
    """Return what a month of a plan costs with what is sold with it; `price` is its own in the books' currency."""
    sold = sum((item.price for item in items if item.price is not None and not item.once), Decimal(0))
    return (plan.price if price is None else price) + sold


def add_item(session: Session, actor: Actor, plan: RatePlan, terms: ItemTerms) -> PlanItem:
    """Sell something with a plan. Raises Invalid."""
    session.refresh(plan, with_for_update=True)
    items = items_of_plans(session, [plan])[plan.id]
    problems = []
    name = terms.name.strip()
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > LONGEST_NAME or not name.isprintable():
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": str(LONGEST_NAME)}))
    elif any(item.name.casefold() == name.casefold() for item in items):
        problems.append(FieldProblem("name", Problem.ALREADY_DONE))
    if len(items) >= MOST_ITEMS:
        problems.append(FieldProblem("name", Problem.LIMIT_REACHED, {"limit": str(MOST_ITEMS)}))
    problems += _price_problems(session.get_one(Operator, plan.operator_id).currency, terms)
    if problems:
        raise Invalid(*problems)
    item = PlanItem(
        operator_id=plan.operator_id,
        plan_id=plan.id,
        name=name,
        price=terms.price,
        once=terms.once,
        tax_exempt=terms.tax_exempt,
    )
    session.add(item)
    session.flush()
    after = {"name": name, "price": terms.price, "once": terms.once, "tax_exempt": terms.tax_exempt}
    record(session, actor, "plan.item", "rate_plan", plan.id, None, after)
    return item


def end_item(session: Session, actor: Actor, item: PlanItem, now: datetime) -> None:
    """Sell an item with its plan no more. Raises Invalid when that was done already."""
    session.refresh(item)
    if item.ended_at is not None:
        raise Invalid(FieldProblem("item", Problem.ALREADY_DONE))
    item.ended_at = now
    session.flush()
    record(session, actor, "plan.item_end", "rate_plan", item.plan_id, {"name": item.name}, {})


def _price_problems(currency: str, terms: ItemTerms) -> list[FieldProblem]:
    price = terms.price
    if price is None:
        return [FieldProblem("price", Problem.AMOUNT_MISSING)] if terms.once else []
    if price <= 0:
        return [FieldProblem("price", Problem.AMOUNT_NEGATIVE if price < 0 else Problem.AMOUNT_ZERO)]
    if price > LARGEST:
        return [FieldProblem("price", Problem.AMOUNT_TOO_LARGE)]
    if price != rounded(price, currency):
        return [FieldProblem("price", Problem.AMOUNT_TOO_PRECISE)]
    return []
