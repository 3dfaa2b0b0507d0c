"""The operator that a token belongs to, and its rate plans."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from db.models import Operator, RatePlan
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Money, Octets, Page, PageAsked, Rate, Shown, string


class OperatorShown(Shown):
    """The company whose token it is."""

    id: int
    slug: str
    name: str
    currency: str
    timezone: str = Field(description="In which its days begin.", examples=["America/Mexico_City"])
    locale: str
    created_at: datetime


class PlanShown(Shown):
    """What a service may do, and its price for a month."""

    id: int
    name: str
    price: Money
    download: Rate
    upload: Rate
    cap_octets: Octets | None = Field(description="That a billing period includes; null is no limit.")
    cap_action: Literal["nothing", "throttle", "block"] = Field(description="What happens beyond it.")
    throttle_download: Rate | None
    throttle_upload: Rate | None
    archived: bool = Field(description="No longer given to services.")
    created_at: datetime


class PlansAsked(PageAsked):
    name: string(100) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]
    archived: bool | Absent = None


def _one(plan: RatePlan) -> PlanShown:
    names = set(PlanShown.model_fields) - {"price"}
    price = Money.of(plan.price, plan.price_currency or context.operator().currency)
    return PlanShown(price=price, **{name: getattr(plan, name) for name in names})


def _shown(rows: Sequence[RatePlan]) -> list[PlanShown]:
    return [_one(row) for row in rows]


@operation("GET", "/operator", Scope.OPERATOR_READ, tag="Operator", summary="Read the operator", answer=OperatorShown,
           single=True)  # fmt: skip
def show() -> OperatorShown:
    operator: Operator = context.operator()
    return OperatorShown.model_validate(operator)


@operation("GET", "/plans", Scope.PLANS_READ, tag="Rate plans", summary="List rate plans", answer=Page[PlanShown])
def plans(query: PlansAsked) -> Page[PlanShown]:
    found = select(RatePlan)
    if query.name is not None:
        found = found.where(RatePlan.name.icontains(query.name, autoescape=True))
    if query.archived is not None:
        found = found.where(RatePlan.archived.is_(query.archived))
    return page_of(frame.db(), found, [RatePlan.id], query, _shown)


@operation("GET", "/plans/<int:plan_id>", Scope.PLANS_READ, tag="Rate plans", summary="Read a rate plan",
           answer=PlanShown, single=True)  # fmt: skip
def plan(plan_id: int) -> PlanShown:
    return _one(one(RatePlan, plan_id))
