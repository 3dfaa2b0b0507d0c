"""Subscribers, and what they owe."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import func, select

from billing.ledger import balance_of
from crm.subscribers import SubscriberDetails, change_subscriber, create_subscriber, delete_subscriber, details_of
from db.models import Service, Subscriber
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Given, Instant, Money, Page, PageAsked, Shown, string

TAG = "Subscribers"


class SubscriberShown(Shown):
    """Somebody who has services, or had."""

    id: int
    name: str
    email: str | None
    phone: str | None
    tax_id: str | None
    address: str | None
    latitude: float | None
    longitude: float | None
    language: str | None = Field(description="Of messages; null is the operator's.")
    notes: str
    created_at: datetime
    updated_at: datetime


class SubscriberGiven(Given):
    """A subscriber to be entered."""

    name: string(200, 1) = Field(examples=["Ana Gómez"])  # type: ignore[valid-type]
    email: string(254) | None = Field(None, examples=["ana@example.com"])  # type: ignore[valid-type]
    phone: string(40) | None = Field(None, examples=["+52 55 1234 5678"])  # type: ignore[valid-type]
    tax_id: string(40) | None = None  # type: ignore[valid-type]
    address: string(500) | None = None  # type: ignore[valid-type]
    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180, description="Both of the pair, or neither.")
    language: Literal["en", "es"] | None = None
    notes: string(5000) = ""  # type: ignore[valid-type]

    def details(self) -> SubscriberDetails:
        return SubscriberDetails(**_plain(self.model_dump()))


class SubscriberChange(SubscriberGiven):
    """What to change of a subscriber; what is left out stays."""

    name: string(200, 1) = Field("", examples=["Ana Gómez"])  # type: ignore[valid-type]


class SubscribersAsked(PageAsked):
    name: string(100) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]
    email: string(254) | Absent = Field(None, description="The whole address.")  # type: ignore[valid-type]
    service_state: Literal["pending", "active", "suspended", "paused", "terminated"] | Absent = Field(
        None, description="With a service in this state."
    )
    updated_since: Instant | Absent = Field(
        None, description="Changed at or after; ask with some minutes of overlap, since a change may commit late."
    )


class BalanceShown(Shown):
    """What a subscriber owes; below zero, what they have with the operator."""

    subscriber_id: int
    balance: Money


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return positions as the decimals that are stored."""
    for name in ("latitude", "longitude"):
        if values.get(name) is not None:
            values[name] = Decimal(str(values[name]))
    return values


def _subscriber(subscriber_id: int) -> Subscriber:
    """Return a subscriber. Raises ApiProblem, also for one who was removed and may come back for some days."""
    found = one(Subscriber, subscriber_id)
    if found.removed_at is not None:
        raise ApiProblem(Kind.NOT_FOUND)
    return found


def _shown(rows: Sequence[Subscriber]) -> list[SubscriberShown]:
    return [SubscriberShown.model_validate(row) for row in rows]


@operation("GET", "/subscribers", Scope.SUBSCRIBERS_READ, tag=TAG, summary="List subscribers",
           answer=Page[SubscriberShown])  # fmt: skip
def index(query: SubscribersAsked) -> Page[SubscriberShown]:
    found = select(Subscriber).where(Subscriber.removed_at.is_(None))
    if query.name is not None:
        # The search goes by an index and finds more; to fold each name would take a second of a hundred thousand.
        likely = select(func.search_subscribers(query.name, None))
        part = func.strpos(func.portico_fold(Subscriber.name), func.portico_fold(query.name)) > 0
        found = found.where(Subscriber.id.in_(likely), part)
    if query.email is not None:
        found = found.where(func.lower(Subscriber.email) == query.email.lower())
    if query.service_state is not None:
        services = select(Service.id).where(
            Service.subscriber_id == Subscriber.id, Service.state == query.service_state
        )
        found = found.where(services.exists())
    if query.updated_since is not None:
        found = found.where(Subscriber.updated_at >= query.updated_since)
    return page_of(frame.db(), found, [Subscriber.id], query, _shown)


@operation("GET", "/subscribers/<int:subscriber_id>", Scope.SUBSCRIBERS_READ, tag=TAG, summary="Read a subscriber",
           answer=SubscriberShown, single=True)  # fmt: skip
def show(subscriber_id: int) -> SubscriberShown:
    return SubscriberShown.model_validate(_subscriber(subscriber_id))


@operation("POST", "/subscribers", Scope.SUBSCRIBERS_WRITE, tag=TAG, summary="Enter a subscriber",
           answer=SubscriberShown, status=201, location="/subscribers/{id}")  # fmt: skip
def create(body: SubscriberGiven) -> SubscriberShown:
    """Namesakes are not looked for: look for the name first where a program cannot know."""
    subscriber = create_subscriber(frame.db(), frame.actor(), body.details())
    return _after(subscriber)


@operation("PATCH", "/subscribers/<int:subscriber_id>", Scope.SUBSCRIBERS_WRITE, tag=TAG,
           summary="Change a subscriber", answer=SubscriberShown, shown_by=show)  # fmt: skip
def change(subscriber_id: int, body: SubscriberChange) -> SubscriberShown:
    subscriber = _subscriber(subscriber_id)
    details = replace(details_of(subscriber), **_plain(body.model_dump(exclude_unset=True)))
    change_subscriber(frame.db(), frame.actor(), subscriber, details, subscriber.version)
    return _after(subscriber)


@operation("DELETE", "/subscribers/<int:subscriber_id>", Scope.SUBSCRIBERS_WRITE, tag=TAG,
           summary="Remove a subscriber", status=204, gives=(Kind.WRONG_STATE, Kind.CONFLICT))  # fmt: skip
def remove(subscriber_id: int) -> None:
    """Only one who never had a service, such as a double entry."""
    if not delete_subscriber(frame.db(), frame.actor(), _subscriber(subscriber_id)):
        raise ApiProblem(Kind.WRONG_STATE)


@operation("GET", "/subscribers/<int:subscriber_id>/balance", Scope.INVOICES_READ, tag=TAG,
           summary="Read what a subscriber owes", answer=BalanceShown, single=True)  # fmt: skip
def balance(subscriber_id: int) -> BalanceShown:
    subscriber = _subscriber(subscriber_id)
    owed = balance_of(frame.db(), subscriber.id)
    return BalanceShown(subscriber_id=subscriber.id, balance=Money.of(owed, context.operator().currency))


def _after(subscriber: Subscriber) -> SubscriberShown:
    frame.db().flush()
    frame.db().refresh(subscriber)
    return SubscriberShown.model_validate(subscriber)
