"""Resellers: operators under an operator, who sell its network under their own name and prices.

A reseller has its own subscribers, staff, brand and books; its parent sees how many there are and never who, unless
the reseller consents. The parent gives it plans at a wholesale price: a copy that the reseller sells for what it likes.
Both share the parent's licence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.accounts import ActFor, open_account
from crm.licences import DEMO_PLACES
from crm.plans import create_plan, terms_of_plan
from crm.problems import FieldProblem, Invalid, Problem
from crm.sign_up import slug_of
from crm.staff import MANAGER, OperatorDetails, StaffDetails, invite_staff, new_staff_link
from db.audit import Actor, record
from db.models import Operator, RatePlan, Staff, WholesalePrice

MOST_PRICE = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class ResellerDetails:
    """What is entered for a reseller; currency, zone and language are its parent's."""

    name: str
    manager: str
    email: str


@dataclass(frozen=True, slots=True)
class Made:
    """A new reseller, and the token by which its manager chooses a password; shown or sent, and not kept."""

    operator_id: int
    person: Staff
    token: str


def create_reseller(
    session: Session, act_for: ActFor, actor: Actor, parent: Operator, country: str | None, details: ResellerDetails,
    unusable_hash: str, now: datetime,
) -> Made:  # fmt: skip
    """Enter a reseller with its first manager. Raises Invalid."""
    if not details.name.strip():
        raise Invalid(FieldProblem("name", Problem.REQUIRED))
    slug = f"{parent.slug[:20]}-{slug_of(details.name)}"
    wanted = OperatorDetails(slug, details.name, parent.locale, parent.currency, parent.timezone)
    operator_id = open_account(session, wanted, country, DEMO_PLACES)
    record(session, actor, "reseller.create", "operator", operator_id, None, {"name": details.name.strip()})
    session.flush()
    with act_for(session, operator_id):
        there = replace(actor, operator_id=operator_id, staff_id=None)
        try:
            person = invite_staff(
                session, there, StaffDetails(details.email, details.manager, [MANAGER]), [MANAGER], unusable_hash, now
            )
        except Invalid as invalid:  # its field is called otherwise in this form
            named = {"name": "manager"}
            raise Invalid(
                *(replace(problem, field=named.get(problem.field, problem.field)) for problem in invalid.problems)
            ) from None
        token = new_staff_link(session, there, person, now)
    return Made(operator_id, person, token)


def give_plan(
    session: Session, act_for: ActFor, actor: Actor, reseller_id: int, plan: RatePlan, price: Decimal
) -> WholesalePrice:
    """Let a reseller sell a plan, for `price` a month and service. Raises Invalid.

    What it sells it for begins as the parent's price. Given once more, only the wholesale price changes.
    """
    if not Decimal(0) <= price <= MOST_PRICE:
        raise Invalid(FieldProblem("price", Problem.OUT_OF_RANGE, {"low": "0", "high": f"{MOST_PRICE:f}"}))
    given = session.scalar(
        select(WholesalePrice).where(WholesalePrice.reseller_id == reseller_id, WholesalePrice.plan_id == plan.id)
    )
    before: Mapping[str, object] = {"price": given.price} if given else {}
    if given is None:
        terms = terms_of_plan(plan)
        with act_for(session, reseller_id):
            copy = create_plan(session, replace(actor, operator_id=reseller_id, staff_id=None), terms)
            copy_id = copy.id
        given = WholesalePrice(
            operator_id=actor.operator_id, reseller_id=reseller_id, plan_id=plan.id, reseller_plan_id=copy_id,
            name=plan.name, price=price,
        )  # fmt: skip
        session.add(given)
    given.price = price
    session.flush()
    record(session, actor, "reseller.plan", "rate_plan", plan.id, before, {"price": price, "reseller": reseller_id})
    return given
