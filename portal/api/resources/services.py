"""Services: entering, changing and reading them, and the steps of their life."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from pydantic import Field
from sqlalchemy import Select, select

from billing.plan_offers import plan_offer
from billing.rules import rules_of
from crm.problems import FieldProblem, Invalid, Problem
from crm.service_terms import ServiceTerms
from crm.services import (
    activate,
    change_plan_of,
    change_service,
    create_service,
    pause,
    reinstate,
    restore,
    resume,
    set_password,
    suspend,
    terminate,
    terms_of_service,
)
from db.models import RatePlan, Service, ServiceMac, Subscriber
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import ApiProblem, Kind
from portal.api.scopes import Scope
from portal.api.values import Absent, Day, Given, Instant, Money, Nothing, Page, PageAsked, Rate, RowId, Shown, string

TAG = "Services"
State = Literal["pending", "active", "suspended", "paused", "terminated"]
Method = Literal["pppoe", "mac", "line", "hotspot", "queue"]
Binding = Literal["any", "learn", "fixed"]
Sight = Literal["clear", "partial", "blocked"]
Step = TypeVar("Step", bound=Callable[..., Any])


class ServiceShown(Shown):
    """An access line of a subscriber."""

    id: int
    subscriber_id: int
    plan_id: int
    access_method: Method
    name: str = Field(description="User name or MAC address.")
    state: State
    suspended_at: datetime | None
    suspension_cause: str | None
    suspension_detail: str
    management: Literal["automatic", "manual"] = Field(description="Whether it is cut by date.")
    paid_until: date | None = Field(description="Last day paid for; null is no cut-off by date.")
    nas_id: int | None = Field(description="The only NAS it may connect at.")
    sector_id: int | None
    line_of_sight: Sight | None
    framed_ip: str | None
    framed_routes: list[str]
    framed_ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    pool: str | None
    rate_download: Rate | None = Field(description="Instead of the plan's, bit/s.")
    rate_upload: Rate | None
    session_limit: int = Field(description="Sessions at once; 0 is no limit.")
    mac_binding: Binding
    macs: list[str]
    max_macs: int
    created_at: datetime
    updated_at: datetime
    activated_at: datetime | None
    terminated_at: datetime | None


class _Terms(Given):
    """What may be said of a service both when it is entered and later."""

    nas_id: RowId | None = None
    sector_id: RowId | None = None
    line_of_sight: Sight | None = None
    management: Literal["automatic", "manual"] = "automatic"
    framed_ip: string(45) | None = Field(None, examples=["10.20.0.15"])  # type: ignore[valid-type]
    framed_routes: list[string(100)] = Field([], max_length=20)  # type: ignore[valid-type]
    framed_ipv6_prefix: string(49) | None = None  # type: ignore[valid-type]
    delegated_ipv6_prefix: string(49) | None = None  # type: ignore[valid-type]
    pool: string(63) | None = None  # type: ignore[valid-type]
    rate_download: Rate | None = None
    rate_upload: Rate | None = Field(None, description="Both of the pair, or neither.")
    session_limit: int = Field(1, ge=0, le=1000)
    mac_binding: Binding = "any"
    macs: list[string(17)] = Field([], max_length=100)  # type: ignore[valid-type]
    max_macs: int = Field(1, ge=1, le=100)


class ServiceGiven(_Terms):
    """A service to be entered."""

    subscriber_id: RowId
    plan_id: RowId
    access_method: Method = Field(examples=["pppoe"])
    name: string(253, 1) = Field(examples=["ana.gomez"])  # type: ignore[valid-type]
    password: string(128) | None = Field(  # type: ignore[valid-type]
        None, description="Needed by pppoe and hotspot; never answered.", examples=["k3b7-9xqa"]
    )
    state: Literal["active", "pending"] = Field("active", description="`pending`: ordered, not yet installed.")
    paid_until: Day | None = None


class ServiceChange(_Terms):
    """What to change of a service; what is left out stays."""

    plan_id: RowId = 1
    name: string(253, 1) = ""  # type: ignore[valid-type]


class Suspension(Given):
    cause: Literal["staff", "overdue", "abuse"] = "staff"
    detail: string(500) = Field("", description="For colleagues.")  # type: ignore[valid-type]


class PlanChange(Given):
    plan_id: RowId


class OfferAsked(Given):
    """Which plan it would be."""

    model_config = PageAsked.model_config

    plan_id: RowId


class OfferShown(Shown):
    """What another plan would cost, with taxes. Null where the service is not billed."""

    plan_id: int
    today: Money = Field(description="Charged at once with the days that are left; credited, where below zero.")
    now: Money | None = Field(description="A whole invoice under the plan that it has.")
    then: Money | None = Field(description="A whole invoice under the other.")


class PasswordGiven(Given):
    password: string(128, 1) = Field(examples=["k3b7-9xqa"])  # type: ignore[valid-type]


class ServicesAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    plan_id: RowId | Absent = None
    nas_id: RowId | Absent = None
    name: string(253) | Absent = Field(None, description="The whole user name or MAC address.")  # type: ignore[valid-type]
    state: State | Absent = None
    updated_since: Instant | Absent = Field(
        None, description="Changed at or after; ask with some minutes of overlap, since a change may commit late."
    )


def _entered() -> Select[Service]:
    """Return the query of services that are entered one by one; vouchers stand under /vouchers."""
    return select(Service).where(Service.access_method != "voucher")


def _shown(rows: Sequence[Service]) -> list[ServiceShown]:
    ids = [row.id for row in rows]
    macs: dict[int, list[str]] = {each: [] for each in ids}
    query = select(ServiceMac.service_id, ServiceMac.mac).where(ServiceMac.service_id.in_(ids))
    for found in frame.db().execute(query.order_by(ServiceMac.mac)):
        macs[found.service_id].append(found.mac)
    plain = set(ServiceShown.model_fields) - {"macs", "framed_ip", "framed_ipv6_prefix", "delegated_ipv6_prefix"}
    return [
        ServiceShown(
            macs=macs[row.id],
            framed_ip=_text(row.framed_ip),
            framed_ipv6_prefix=_text(row.framed_ipv6_prefix),
            delegated_ipv6_prefix=_text(row.delegated_ipv6_prefix),
            **{name: getattr(row, name) for name in plain},
        )
        for row in rows
    ]


def _text(address: Any) -> str | None:
    return None if address is None else str(address)


def _service(service_id: int) -> Service:
    found: Service | None = frame.db().scalar(_entered().where(Service.id == service_id))
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return found


def _after(service: Service) -> ServiceShown:
    frame.db().flush()
    frame.db().refresh(service)
    return _shown([service])[0]


@operation("GET", "/services", Scope.SERVICES_READ, tag=TAG, summary="List services", answer=Page[ServiceShown])
def index(query: ServicesAsked) -> Page[ServiceShown]:
    found = _entered()
    for name in ("subscriber_id", "plan_id", "nas_id", "name", "state"):
        if getattr(query, name) is not None:
            found = found.where(getattr(Service, name) == getattr(query, name))
    if query.updated_since is not None:
        found = found.where(Service.updated_at >= query.updated_since)
    return page_of(frame.db(), found, [Service.id], query, _shown)


@operation("GET", "/services/<int:service_id>", Scope.SERVICES_READ, tag=TAG, summary="Read a service",
           answer=ServiceShown, single=True)  # fmt: skip
def show(service_id: int) -> ServiceShown:
    return _shown([_service(service_id)])[0]


@operation("POST", "/services", Scope.SERVICES_WRITE, tag=TAG, summary="Enter a service", answer=ServiceShown,
           status=201, location="/services/{id}")  # fmt: skip
def create(body: ServiceGiven) -> ServiceShown:
    """It is in force within a second."""
    session = frame.db()
    subscriber = session.get(Subscriber, body.subscriber_id)
    if subscriber is None or subscriber.removed_at is not None:
        raise Invalid(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    apart = {"subscriber_id", "password", "state", "paid_until"}
    terms = ServiceTerms(**_tuples(body.model_dump(exclude=apart)))
    service = create_service(
        session,
        frame.actor(),
        context.keyring(),
        subscriber,
        terms,
        body.password or None,
        state=body.state,
        paid_until=body.paid_until,
        now=context.now(),
    )
    return _after(service)


@operation("PATCH", "/services/<int:service_id>", Scope.SERVICES_WRITE, tag=TAG, summary="Change a service",
           answer=ServiceShown, shown_by=show, gives=(Kind.WRONG_STATE,))  # fmt: skip
def change(service_id: int, body: ServiceChange) -> ServiceShown:
    """Live sessions follow at once."""
    session, service = frame.db(), _service(service_id)
    terms = replace(terms_of_service(session, service), **_tuples(body.model_dump(exclude_unset=True)))
    change_service(session, frame.actor(), service, terms, service.version, context.now())
    return _after(service)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


# Steps.


def _step(path: str, scope: Scope, summary: str) -> Callable[[Step], Step]:
    return operation(
        "POST", f"/services/<int:service_id>/{path}", scope, tag=TAG, summary=summary, answer=ServiceShown,
        gives=(Kind.WRONG_STATE,),
    )  # fmt: skip


@_step("suspend", Scope.SERVICES_SUSPEND, "Suspend a service")
def suspend_one(service_id: int, body: Suspension) -> ServiceShown:
    """Cut off: walled garden or refusal, as the operator chose."""
    service = _service(service_id)
    suspend(frame.db(), frame.actor(), service, body.cause, body.detail, context.now())
    return _after(service)


@_step("restore", Scope.SERVICES_SUSPEND, "Restore a suspended service")
def restore_one(service_id: int, body: Nothing) -> ServiceShown:
    service = _service(service_id)
    restore(frame.db(), frame.actor(), service)
    return _after(service)


@_step("pause", Scope.SERVICES_SUSPEND, "Pause a service at the subscriber's wish")
def pause_one(service_id: int, body: Nothing) -> ServiceShown:
    service = _service(service_id)
    pause(frame.db(), frame.actor(), service)
    return _after(service)


@_step("resume", Scope.SERVICES_SUSPEND, "End a pause")
def resume_one(service_id: int, body: Nothing) -> ServiceShown:
    service = _service(service_id)
    resume(frame.db(), frame.actor(), service)
    return _after(service)


@_step("activate", Scope.SERVICES_WRITE, "Activate a pending service")
def activate_one(service_id: int, body: Nothing) -> ServiceShown:
    """It is installed."""
    service = _service(service_id)
    activate(frame.db(), frame.actor(), service, context.now())
    return _after(service)


@_step("terminate", Scope.SERVICES_TERMINATE, "Terminate a service")
def terminate_one(service_id: int, body: Nothing) -> ServiceShown:
    """Its name and address are free for others."""
    service = _service(service_id)
    terminate(frame.db(), frame.actor(), service, context.now())
    return _after(service)


@_step("reinstate", Scope.SERVICES_TERMINATE, "Take back a termination")
def reinstate_one(service_id: int, body: Nothing) -> ServiceShown:
    service = _service(service_id)
    reinstate(frame.db(), frame.actor(), service)
    return _after(service)


@_step("plan", Scope.SERVICES_WRITE, "Give a service another rate plan")
def plan_one(service_id: int, body: PlanChange) -> ServiceShown:
    """Live sessions follow at once; what it costs is on the next invoice, an upgrade on one of its own."""
    session, service = frame.db(), _service(service_id)
    change_plan_of(session, frame.actor(), service, body.plan_id, context.now())
    return _after(service)


@operation("GET", "/services/<int:service_id>/plan-offer", Scope.SERVICES_WRITE, tag=TAG,
           summary="Read what another rate plan would cost", answer=OfferShown,
           gives=(Kind.WRONG_STATE, Kind.BILLING_OFF))  # fmt: skip
def offer_one(service_id: int, query: OfferAsked) -> OfferShown:
    """To the day, found out by doing it and taking it back. Nothing of it stays."""
    session, service, now = frame.db(), _service(service_id), context.now()
    plan = session.get(RatePlan, query.plan_id)
    if plan is None or plan.archived:
        raise Invalid(FieldProblem("plan_id", Problem.UNKNOWN_CHOICE))
    rules = rules_of(session, frame.token().operator_id)
    offer = plan_offer(session, frame.actor(), rules, service, plan, now)

    def money(amount: Decimal | None) -> Money | None:
        return None if amount is None else Money.of(amount, rules.currency)

    return OfferShown(
        plan_id=query.plan_id,
        today=Money.of(offer.today, rules.currency),
        now=money(offer.now),
        then=money(offer.then),
    )


@operation("POST", "/services/<int:service_id>/password", Scope.SERVICES_PASSWORD, tag=TAG,
           summary="Set the password of a service", status=204)  # fmt: skip
def password_one(service_id: int, body: PasswordGiven) -> None:
    """Live sessions go on; the next login needs it. No operation answers a password."""
    set_password(frame.db(), frame.actor(), context.keyring(), _service(service_id), body.password)
