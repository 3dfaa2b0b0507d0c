"""Rate plans: reading, entering and changing them, and what is sold with them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from aaa.facts import CapAction, Span
from aaa.fair_use import MOST_STEPS
from core.money import rounded
from core.rates import Burst
from crm.attributes import MOST as MOST_ATTRIBUTES
from crm.plan_items import ItemTerms, add_item, end_item, items_of_plans
from crm.plans import (
    LONGEST_NAME,
    LONGEST_TIMEOUT,
    MOST_WINDOWS,
    Bonus,
    FairUseStep,
    PlanTerms,
    Window,
    change_plan,
    create_plan,
    fingerprint,
    set_archived,
    terms_of_plan,
)
from crm.problems import FieldProblem, Invalid, Problem
from db.models import PlanItem, RatePlan
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import amount_of, one
from portal.api.scopes import Scope
from portal.api.values import (
    Absent,
    Given,
    Money,
    MoneyGiven,
    Nothing,
    Octets,
    Page,
    PageAsked,
    Rate,
    Shown,
    string,
)

TAG = "Rate plans"
Days = Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1, max_length=7)]
Volume = Annotated[int, Field(ge=1_000_000, le=10**15, description="octets")]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["18:30"])]
Seconds = Annotated[int, Field(ge=60, le=int(LONGEST_TIMEOUT.total_seconds()), multiple_of=60, description="seconds")]
_PRICES = ("top_up_price", "boost_price")
_TIMES = ("session_timeout", "idle_timeout", "interim_interval")


class BurstGiven(Given):
    """A rate above the plan's for as long as the average stays below the threshold."""

    download: Rate
    upload: Rate
    threshold_download: Rate
    threshold_upload: Rate
    seconds: int = Field(ge=1, le=3600, description="Over which is averaged.")


class WindowGiven(Given):
    """A span of the week with a rate of its own. One that ends before it begins ends on the next day."""

    days: Days = Field(description="On which it begins; 1 is Monday.")
    begin: Clock
    until: Clock
    download: Rate
    upload: Rate


class StepGiven(Given):
    """After so much in a day, a week or a billing period (`month`) no more than this rate."""

    span: Literal["day", "week", "month"]
    octets: Volume
    download: Rate
    upload: Rate


class BonusGiven(Given):
    """Full hours in which only a part of what is used counts."""

    days: Days = Field(description="On which they begin; 1 is Monday.")
    begin: int = Field(ge=0, le=23)
    until: int = Field(ge=0, le=24)
    percent: int = Field(0, ge=0, le=99, description="That counts.")


class AttributeGiven(Given):
    """A RADIUS attribute that is sent besides."""

    name: string(100, 1) = Field(examples=["Filter-Id"])  # type: ignore[valid-type]
    operator: Literal["=", ":=", "+="] = "="
    value: string(253) = Field(examples=["home"])  # type: ignore[valid-type]


class ItemShown(Shown):
    """Something that is sold with a plan."""

    id: int
    name: str
    price: Money | None = Field(description="Of a month, or once; null is in the plan's price.")
    once: bool = Field(description="Charged once, on the first invoice.")
    tax_exempt: bool


class PlanShown(Shown):
    """What a service may do, and its price for a month."""

    id: int
    name: str
    price: Money
    download: Rate
    upload: Rate
    burst: BurstGiven | None
    priority: int | None = Field(description="1 is served first, 8 last.")
    minimum_download: Rate | None = Field(description="Guaranteed, where the router can.")
    minimum_upload: Rate | None
    cap_octets: Octets | None = Field(description="That a billing period includes; null is no limit.")
    cap_action: Literal["nothing", "throttle", "block"] = Field(description="What happens beyond it.")
    throttle_download: Rate | None
    throttle_upload: Rate | None
    windows: list[WindowGiven]
    steps: list[StepGiven]
    bonus_hours: list[BonusGiven]
    rollover_periods: int = Field(description="In which what is left may still be used.")
    rollover_most: Octets | None
    top_up_octets: Octets | None
    top_up_price: Money | None
    top_ups_automatic: int = Field(description="Bought by themselves in a period, at the most.")
    boost_download: Rate | None
    boost_upload: Rate | None
    boost_hours: int | None
    boost_price: Money | None
    pool: str | None
    ipv6_pool: str | None
    delegated_ipv6_pool: str | None
    address_list: str | None
    session_timeout: int | None = Field(description="seconds")
    idle_timeout: int | None = Field(description="seconds")
    interim_interval: int = Field(description="Seconds between two accounting updates.")
    extra: list[AttributeGiven]
    items: list[ItemShown] = Field(description="What is sold with it.")
    archived: bool = Field(description="No longer given to services.")
    created_at: datetime


class _Terms(Given):
    """What may be left out of a plan."""

    burst: BurstGiven | None = None
    priority: int | None = Field(None, ge=1, le=8)
    minimum_download: Rate | None = None
    minimum_upload: Rate | None = None
    cap_octets: Volume | None = None
    cap_action: Literal["nothing", "throttle", "block"] = "nothing"
    throttle_download: Rate | None = None
    throttle_upload: Rate | None = Field(None, description="Both of the pair, or neither.")
    windows: list[WindowGiven] = Field([], max_length=MOST_WINDOWS)
    steps: list[StepGiven] = Field([], max_length=MOST_STEPS)
    bonus_hours: list[BonusGiven] = Field([], max_length=MOST_WINDOWS)
    rollover_periods: int = Field(0, ge=0, le=12)
    rollover_most: Volume | None = None
    top_up_octets: Volume | None = None
    top_up_price: MoneyGiven | None = None
    top_ups_automatic: int = Field(0, ge=0, le=30)
    boost_download: Rate | None = Field(None, description="All four of a boost, or none.")
    boost_upload: Rate | None = None
    boost_hours: int | None = Field(None, ge=1, le=744)
    boost_price: MoneyGiven | None = None
    pool: string(63, 1) | None = None  # type: ignore[valid-type]
    ipv6_pool: string(63, 1) | None = None  # type: ignore[valid-type]
    delegated_ipv6_pool: string(63, 1) | None = None  # type: ignore[valid-type]
    address_list: string(63, 1) | None = None  # type: ignore[valid-type]
    session_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    interim_interval: int = Field(300, ge=60, le=86_400, multiple_of=60, description="seconds")
    extra: list[AttributeGiven] = Field([], max_length=MOST_ATTRIBUTES)


class PlanGiven(_Terms):
    """A rate plan to be entered."""

    name: string(LONGEST_NAME, 1) = Field(examples=["Home 50"])  # type: ignore[valid-type]
    price: MoneyGiven = Field(description="Of a month.")
    download: Rate = Field(examples=[50_000_000])
    upload: Rate = Field(examples=[10_000_000])


class PlanChange(_Terms):
    """What to change of a rate plan; what is left out stays. Lists are given whole."""

    name: string(LONGEST_NAME, 1) = ""  # type: ignore[valid-type]
    price: MoneyGiven = Field(MoneyGiven(value="0", currency="XXX"), description="Of a month.")
    download: Rate = 1
    upload: Rate = 1


class ItemGiven(Given):
    """Something to sell with a plan; without a price it is in the plan's."""

    name: string(LONGEST_NAME, 1) = Field(examples=["Static address"])  # type: ignore[valid-type]
    price: MoneyGiven | None = None
    once: bool = Field(False, description="Charged once, on the first invoice.")
    tax_exempt: bool = False


class PlansAsked(PageAsked):
    name: string(100) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]
    archived: bool | Absent = None


# What goes out.


def _shown(rows: Sequence[RatePlan]) -> list[PlanShown]:
    items = items_of_plans(frame.db(), rows)
    return [_one(row, items[row.id]) for row in rows]


def _one(plan: RatePlan, items: Iterable[PlanItem]) -> PlanShown:
    terms = terms_of_plan(plan)
    shown = {name: getattr(terms, name) for name in PlanShown.model_fields if hasattr(terms, name)}
    for name in _TIMES:
        length = getattr(terms, name)
        shown[name] = None if length is None else int(length.total_seconds())
    for name in _PRICES:
        shown[name] = _price(getattr(terms, name))
    for name in ("windows", "steps", "bonus_hours"):
        shown[name] = [each.document() for each in getattr(terms, name)]
    shown["burst"] = asdict(terms.burst) if terms.burst else None
    shown["cap_action"] = terms.cap_action.value
    shown["extra"] = [dict(zip(("name", "operator", "value"), each, strict=True)) for each in terms.extra]
    shown["price"] = Money.of(plan.price, plan.price_currency or context.operator().currency)
    return PlanShown(
        id=plan.id,
        items=[_item(each) for each in items],
        archived=plan.archived,
        created_at=plan.created_at,
        **shown,
    )


def _price(amount: Decimal | None) -> Money | None:
    return None if amount is None else Money.of(amount, context.operator().currency)


def _item(item: PlanItem) -> ItemShown:
    return ItemShown(
        id=item.id, name=item.name, price=_price(item.price), once=item.once, tax_exempt=item.tax_exempt
    )  # fmt: skip


def _after(plan: RatePlan) -> PlanShown:
    frame.db().flush()
    frame.db().refresh(plan)
    return _shown([plan])[0]


# What comes in.


def _terms(body: _Terms, base: PlanTerms) -> PlanTerms:
    """Return what a body says over what was there. Raises Invalid."""
    given: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
    values: dict[str, Any] = {}
    for name, value in given.items():
        match name:
            case "price":
                own = context.operator().currency
                values["price"] = _precise(value, "price", value.currency)
                values["price_currency"] = None if value.currency == own else value.currency
            case "top_up_price" | "boost_price" if value is not None:
                values[name] = _precise(value, name, None)
            case "session_timeout" | "idle_timeout" | "interim_interval" if value is not None:
                values[name] = timedelta(seconds=value)
            case "burst" if value is not None:
                values[name] = Burst(**value.model_dump())
            case "cap_action":
                values[name] = CapAction(value)
            case "windows":
                values[name] = tuple(
                    Window(
                        tuple(sorted(set(each.days))),
                        time.fromisoformat(each.begin),
                        time.fromisoformat(each.until),
                        each.download,
                        each.upload,
                    )
                    for each in value
                )
            case "steps":
                values[name] = tuple(
                    FairUseStep(Span(each.span), each.octets, each.download, each.upload) for each in value
                )
            case "bonus_hours":
                values[name] = tuple(
                    Bonus(tuple(sorted(set(each.days))), each.begin, each.until, each.percent) for each in value
                )
            case "extra":
                values[name] = tuple((each.name, each.operator, each.value) for each in value)
            case _:
                values[name] = value
    return replace(base, **values)


def _precise(given: MoneyGiven, name: str, currency: str | None) -> Decimal:
    """Return an amount with no more digits than its currency has. Raises Invalid."""
    amount = amount_of(given, name, currency)
    if amount != rounded(amount, given.currency):
        raise Invalid(FieldProblem(name, Problem.AMOUNT_TOO_PRECISE))
    return amount


def _placed(invalid: Invalid) -> Invalid:
    """Return what is wrong with where a body has it: the parts of a burst are members of one object."""
    places = {"price_currency": "price"}
    for part in BurstGiven.model_fields:
        places[f"burst_{part}"] = f"burst-{part}"
    return Invalid(*(replace(each, field=places.get(each.field, each.field)) for each in invalid.problems))


# The operations.


@operation("GET", "/plans", Scope.PLANS_READ, tag=TAG, summary="List rate plans", answer=Page[PlanShown])
def index(query: PlansAsked) -> Page[PlanShown]:
    found = select(RatePlan)
    if query.name is not None:
        found = found.where(RatePlan.name.icontains(query.name, autoescape=True))
    if query.archived is not None:
        found = found.where(RatePlan.archived.is_(query.archived))
    return page_of(frame.db(), found, [RatePlan.id], query, _shown)


@operation("GET", "/plans/<int:plan_id>", Scope.PLANS_READ, tag=TAG, summary="Read a rate plan", answer=PlanShown,
           single=True)  # fmt: skip
def show(plan_id: int) -> PlanShown:
    return _shown([one(RatePlan, plan_id)])[0]


@operation("POST", "/plans", Scope.PLANS_WRITE, tag=TAG, summary="Enter a rate plan", answer=PlanShown, status=201,
           location="/plans/{id}")  # fmt: skip
def create(body: PlanGiven) -> PlanShown:
    try:
        plan = create_plan(frame.db(), frame.actor(), _terms(body, PlanTerms("", 0, 0)))
    except Invalid as invalid:
        raise _placed(invalid) from None
    return _after(plan)


@operation("PATCH", "/plans/<int:plan_id>", Scope.PLANS_WRITE, tag=TAG, summary="Change a rate plan",
           answer=PlanShown, shown_by=show)  # fmt: skip
def change(plan_id: int, body: PlanChange) -> PlanShown:
    """All services of the plan follow, and so do their live sessions."""
    plan = one(RatePlan, plan_id)
    try:
        change_plan(frame.db(), frame.actor(), plan, _terms(body, terms_of_plan(plan)), fingerprint(plan))
    except Invalid as invalid:
        raise _placed(invalid) from None
    return _after(plan)


@operation("POST", "/plans/<int:plan_id>/archive", Scope.PLANS_WRITE, tag=TAG, summary="Archive a rate plan",
           answer=PlanShown)  # fmt: skip
def archive(plan_id: int, body: Nothing) -> PlanShown:
    """It is no longer sold, and whoever has it keeps it. A plan is never deleted, since invoices name it."""
    plan = one(RatePlan, plan_id)
    set_archived(frame.db(), frame.actor(), plan, True)
    return _after(plan)


@operation("POST", "/plans/<int:plan_id>/restore", Scope.PLANS_WRITE, tag=TAG, summary="Sell a rate plan again",
           answer=PlanShown)  # fmt: skip
def restore(plan_id: int, body: Nothing) -> PlanShown:
    plan = one(RatePlan, plan_id)
    set_archived(frame.db(), frame.actor(), plan, False)
    return _after(plan)


@operation("POST", "/plans/<int:plan_id>/items", Scope.PLANS_WRITE, tag=TAG, summary="Sell something with a plan",
           answer=ItemShown, status=201)  # fmt: skip
def item(plan_id: int, body: ItemGiven) -> ItemShown:
    """It is on each service's next invoice."""
    price = None if body.price is None else amount_of(body.price, "price")
    terms = ItemTerms(body.name, price, body.once, body.tax_exempt)
    return _item(add_item(frame.db(), frame.actor(), one(RatePlan, plan_id), terms))


@operation("DELETE", "/plans/<int:plan_id>/items/<int:item_id>", Scope.PLANS_WRITE, tag=TAG,
           summary="Sell something with a plan no more", status=204)  # fmt: skip
def end(plan_id: int, item_id: int) -> None:
    """It is on no further invoice."""
    found = one(PlanItem, item_id)
    if found.plan_id != plan_id or found.ended_at is not None:
        raise ApiProblem(Kind.NOT_FOUND)
    end_item(frame.db(), frame.actor(), found, context.now())
