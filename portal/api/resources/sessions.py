"""Sessions as accounting tells them, and what services use."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field
from sqlalchemy import func, select

from core.clock import start_of_day
from crm.problems import FieldProblem, Invalid, Problem
from db.models import AccountingSession, Service, Subscriber, UsageHour
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Day, Given, Instant, Nothing, Octets, Page, PageAsked, RowId, Shown
from radius.by_hand import disconnect

TAG = "Sessions"
LONGEST = timedelta(days=366)
LONGEST_BY_HOUR = timedelta(days=31)


class SessionShown(Shown):
    """One session. Volumes are totals as the subscriber sees them."""

    id: int
    service_id: int | None
    nas_id: int
    user_name: str
    kind: Literal["ppp", "hotspot", "dhcp", "wireless"]
    mac: str | None
    framed_ip: str | None
    framed_ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    started_at: datetime
    updated_at: datetime = Field(description="When the last packet came.")
    ended_at: datetime | None = Field(description="Null while it lasts.")
    seconds: int
    received: Octets
    sent: Octets
    terminate_cause: str | None


class SessionsAsked(PageAsked):
    service_id: RowId | Absent = None
    nas_id: RowId | Absent = None
    live: bool | Absent = None
    started_since: Instant | Absent = Field(None, description="Began at or after.")


class OrderShown(Shown):
    """What was asked of the NAS; the session shows when it is done."""

    session_id: int
    kind: str
    state: str


class UsageAsked(Given):
    """Days of the operator's calendar, both included."""

    model_config = PageAsked.model_config

    first: Day
    last: Day
    per: Literal["hour", "day"] = "day"


class UsedShown(Shown):
    """What was used in an hour or a day."""

    at: datetime = Field(description="Its beginning.")
    received: Octets
    sent: Octets


class UsageShown(Shown):
    """What a service used; hours and days without use are left out."""

    service_id: int
    items: list[UsedShown]


class SubscriberUsageShown(Shown):
    """What each service of a subscriber used."""

    subscriber_id: int
    services: list[UsageShown]


def _shown(rows: Sequence[AccountingSession]) -> list[SessionShown]:
    return [
        SessionShown(
            id=row.id,
            service_id=row.service_id,
            nas_id=row.nas_id,
            user_name=row.user_name,
            kind=row.kind,
            mac=row.mac,
            framed_ip=None if row.framed_ip is None else str(row.framed_ip),
            framed_ipv6_prefix=None if row.framed_ipv6_prefix is None else str(row.framed_ipv6_prefix),
            delegated_ipv6_prefix=None if row.delegated_ipv6_prefix is None else str(row.delegated_ipv6_prefix),
            started_at=row.started_at,
            updated_at=row.updated_at,
            ended_at=row.ended_at,
            seconds=row.session_time,
            received=row.octets_out,
            sent=row.octets_in,
            terminate_cause=row.terminate_cause,
        )
        for row in rows
    ]


def _session(session_id: int) -> AccountingSession:
    found = frame.db().scalar(
        select(AccountingSession).where(
            AccountingSession.operator_id == frame.token().operator_id, AccountingSession.id == session_id
        )
    )
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return found


@operation("GET", "/sessions", Scope.SESSIONS_READ, tag=TAG, summary="List sessions", answer=Page[SessionShown])
def index(query: SessionsAsked) -> Page[SessionShown]:
    """The newest first."""
    found = select(AccountingSession).where(AccountingSession.operator_id == frame.token().operator_id)
    if query.service_id is not None:
        found = found.where(AccountingSession.service_id == query.service_id)
    if query.nas_id is not None:
        found = found.where(AccountingSession.nas_id == query.nas_id)
    if query.live is not None:
        over = AccountingSession.ended_at.is_not(None)
        found = found.where(~over if query.live else over)
    if query.started_since is not None:
        found = found.where(AccountingSession.started_at >= query.started_since)
    by = [AccountingSession.started_at, AccountingSession.id]
    return page_of(frame.db(), found, by, query, _shown, newest_first=True)


@operation("GET", "/sessions/<int:session_id>", Scope.SESSIONS_READ, tag=TAG, summary="Read a session",
           answer=SessionShown, single=True)  # fmt: skip
def show(session_id: int) -> SessionShown:
    return _shown([_session(session_id)])[0]


@operation("POST", "/sessions/<int:session_id>/disconnect", Scope.SESSIONS_ACT, tag=TAG,
           summary="Disconnect a session", answer=OrderShown, status=202, gives=(Kind.WRONG_STATE,))  # fmt: skip
def end(session_id: int, body: Nothing) -> OrderShown:
    """The NAS is asked to end it; a PPP client dials again at once, unless its service is suspended."""
    order = disconnect(frame.db(), frame.actor(), _session(session_id), context.now())
    return OrderShown(session_id=session_id, kind=order.kind, state=order.state)


@operation("GET", "/services/<int:service_id>/usage", Scope.SERVICES_READ, tag="Services",
           summary="Read what a service used", answer=UsageShown)  # fmt: skip
def usage(service_id: int, query: UsageAsked) -> UsageShown:
    """By day up to a year, by hour up to a month."""
    service = one(Service, service_id)
    return UsageShown(service_id=service.id, items=_used([service.id], query).get(service.id, []))


@operation("GET", "/subscribers/<int:subscriber_id>/usage", Scope.SERVICES_READ, tag="Subscribers",
           summary="Read what a subscriber's services used", answer=SubscriberUsageShown)  # fmt: skip
def usage_of_subscriber(subscriber_id: int, query: UsageAsked) -> SubscriberUsageShown:
    """Of each service apart, terminated ones too: by day up to a year, by hour up to a month."""
    subscriber = one(Subscriber, subscriber_id)
    ids = list(
        frame.db().scalars(select(Service.id).where(Service.subscriber_id == subscriber.id).order_by(Service.id))
    )
    found = _used(ids, query)
    return SubscriberUsageShown(
        subscriber_id=subscriber.id, services=[UsageShown(service_id=each, items=found.get(each, [])) for each in ids]
    )


def _used(service_ids: Sequence[int], query: UsageAsked) -> dict[int, list[UsedShown]]:
    """Return what each of these services used. Raises Invalid for days that cannot be asked for."""
    zone = context.zone()
    longest = LONGEST_BY_HOUR if query.per == "hour" else LONGEST
    if query.last < query.first:
        raise Invalid(FieldProblem("last", Problem.WRONG_ORDER))
    if query.last - query.first >= longest or query.last.year > 9000:
        raise Invalid(FieldProblem("last", Problem.OUT_OF_RANGE, {"low": "1", "high": str(longest.days)}))
    since, until = start_of_day(query.first, zone), start_of_day(query.last + timedelta(days=1), zone)
    unit = UsageHour.hour if query.per == "hour" else func.date_trunc("day", UsageHour.hour, zone.key)
    received, sent = func.sum(UsageHour.octets_out), func.sum(UsageHour.octets_in)
    rows = frame.db().execute(
        select(UsageHour.service_id, unit.label("at"), received.label("received"), sent.label("sent"))
        .where(UsageHour.service_id.in_(service_ids), UsageHour.hour >= since, UsageHour.hour < until)
        .group_by(UsageHour.service_id, unit)
        .order_by(UsageHour.service_id, unit)
    )
    found: dict[int, list[UsedShown]] = {}
    for row in rows:
        used = UsedShown(at=row.at, received=int(row.received), sent=int(row.sent))
        found.setdefault(row.service_id, []).append(used)
    return found
