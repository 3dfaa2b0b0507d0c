"""The first page: am I online, what do I owe, how much is used and until when will it last. And the usage behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import g, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from aaa.decision import Reason
from aaa.forecast import CapFacts, cap_reached_at, lately_since
from aaa.quota import billing_period
from billing.boosts import Offer, boosted_until, offer_of
from billing.cut_offs import cut_offs
from billing.ledger import balance_of
from billing.promises import promises_left
from billing.rules import billing_is_on, rules_of
from billing.top_ups import TopUpOffer, top_up_offer, topped_up
from billing.wallets import price_of_next
from core.clock import start_of_day
from crm.plan_requests import offered_plans, open_request
from db.models import (
    AccountingSession,
    Invoice,
    PlanRequest,
    RatePlan,
    Service,
    ServiceGrant,
    UsageHour,
    UsagePeriod,
)
from portal import context
from portal.permissions import for_subscribers
from portal.subscriber import frame
from portal.subscriber.frame import blueprint, db, me, mine, my_services, operator
from portal.subscriber.words import TROUBLES, Trouble

SPANS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=31)}


@dataclass(frozen=True, slots=True)
class CapUse:
    """Octets used and allowed, when the period ends, and when the cap is reached at this pace, if before that."""

    used: int
    cap: int
    ends: datetime
    reached: datetime | None

    @property
    def percent(self) -> int:
        return min(100, self.used * 100 // max(self.cap, 1))


@dataclass(frozen=True, slots=True)
class LineView:
    """One access line as its subscriber sees it."""

    service: Service
    session: AccountingSession | None
    trouble: Trouble | None
    cap: CapUse | None
    boosted: datetime | None
    boost: Offer | None
    top_up: TopUpOffer | None
    promises: int
    wish: RatePlan | None
    may_change_plan: bool
    period: Decimal | None = None  # what the next period of a prepaid one costs
    cut_at: datetime | None = None  # when one that is overdue is cut unless something is paid


@blueprint.get("/<slug>/")
@for_subscribers
def home() -> ResponseReturnValue:
    services = my_services()
    return render_template(
        "subscriber/home.html",
        lines=lines_of(services),
        billed=is_billed(),
        balance=balance(),
        due=next_due(),
        prepaid=has_prepaid(services),
        today=context.now().astimezone(context.zone()).date(),
    )


def has_prepaid(services: Sequence[Service]) -> bool:
    return any(service.prepaid and service.state != "terminated" for service in services)


def is_billed() -> bool:
    if "billed" not in g:
        g.billed = billing_is_on(db(), operator().id)
    found: bool = g.billed
    return found


def balance() -> Decimal:
    """Return what the subscriber owes; below zero, what they have with the provider."""
    return balance_of(db(), me().id) if is_billed() else Decimal(0)


def next_due() -> date | None:
    """Return the day by which the oldest open invoice is to be paid, else the day until which all is paid."""
    unpaid = mine(Invoice).where(Invoice.open > 0).order_by(Invoice.due_on, Invoice.id)
    oldest: Invoice | None = db().scalar(unpaid.limit(1))
    if oldest is not None:
        return oldest.due_on
    return min((service.paid_until for service in my_services() if service.paid_until), default=None)


def lines_of(services: Sequence[Service]) -> list[LineView]:
    """Return what is to be said of each line."""
    session, now, allowed = db(), context.now(), frame.allowed()
    live = {one.service_id: one for one in reversed(frame.live_sessions(services))}
    ids = [service.id for service in services]
    grants = {one.service_id: one for one in session.scalars(_of(ServiceGrant, ids))}
    rules = rules_of(session, operator().id) if is_billed() else None
    plans = offered_plans(session, operator().id, allowed)
    today = now.astimezone(context.zone()).date()
    late = {one.id: one.paid_until for one in services if one.paid_until and one.paid_until < today}
    cut = cut_offs(session, operator(), late) if rules is not None else {}
    lines = []
    for service in services:
        wish: PlanRequest | None = open_request(session, service.id)
        left = promises_left(session, rules, service.id, now) if rules is not None and allowed.may_promise else 0
        active = service.state == "active"
        lines.append(
            LineView(
                service,
                live.get(service.id),
                _trouble(service, grants.get(service.id)),
                _cap_use(service, now),
                boosted_until(service, now),
                offer_of(service.plan) if active and allowed.may_boost else None,
                top_up_offer(service.plan) if active and allowed.may_boost else None,
                left,
                session.get(RatePlan, wish.plan_id) if wish is not None else None,
                active and any(plan.id != service.plan_id for plan in plans),
                price_of_next(session, rules, service.id, rules.today(now)) if rules and service.prepaid else None,
                cut.get(service.id),
            )
        )
    return lines


def _of(model: Any, service_ids: Iterable[int]) -> Any:
    """Return a query for the rows of the subscriber's services, whose ids came from `my_services()`."""
    return select(model).where(model.operator_id == operator().id, model.service_id.in_(list(service_ids)))


def _trouble(service: Service, grant: ServiceGrant | None) -> Trouble | None:
    """Return what is wrong: by the service's state, which a payment changes at once, then by the standing decision."""
    match service.state:
        case "pending":
            return TROUBLES[Reason.PENDING]
        case "paused":
            return TROUBLES[Reason.PAUSED]
        case "suspended" if service.suspension_cause == "overdue":
            return TROUBLES[Reason.SUSPENDED_OVERDUE]
        case "suspended":
            return TROUBLES[Reason.SUSPENDED_BY_STAFF]
    if grant is None or grant.reason not in set(Reason):
        return None
    reason = Reason(grant.reason)
    if reason in (Reason.PAUSED, Reason.PENDING, Reason.SUSPENDED_OVERDUE, Reason.SUSPENDED_BY_STAFF):
        return None  # of a moment ago: the service is active by now
    return TROUBLES.get(reason)


def _cap_use(service: Service, now: datetime) -> CapUse | None:
    cap = service.plan.cap_octets
    if cap is None:
        return None
    cap += topped_up(service, now)
    session = db()
    begins, ends = billing_period(operator().cut_off_day, now, context.zone())
    counted = session.scalar(
        select(UsagePeriod).where(
            UsagePeriod.service_id == service.id, UsagePeriod.period_start <= now, UsagePeriod.period_end > now
        )
    )
    used = counted.counted if counted is not None else 0
    if counted is not None:
        cap += counted.rolled_over
        begins, ends = counted.period_start, counted.period_end
    since = lately_since(begins, now)
    lately = session.scalar(
        select(func.sum(UsageHour.octets_in + UsageHour.octets_out)).where(
            UsageHour.service_id == service.id, UsageHour.hour >= since
        )
    )
    facts = CapFacts(used, cap, int(lately or 0), since, now, ends)
    return CapUse(used, cap, ends, cap_reached_at(facts))


# Usage.


@blueprint.get("/<slug>/usage")
@for_subscribers
def usage() -> ResponseReturnValue:
    services = my_services()
    asked = request.args.get("span", "")
    span = asked if asked in SPANS else "week"
    hourly = span != "month"
    rows = _usage([service.id for service in services], context.now() - SPANS[span], hourly=hourly)
    received, sent = sum(row.received for row in rows), sum(row.sent for row in rows)
    return render_template(
        "subscriber/usage.html",
        lines=lines_of(services),
        rows=rows,
        span=span,
        hourly=hourly,
        peak=max((max(row.received, row.sent) for row in rows), default=0),
        received=received,
        sent=sent,
        sessions=_sessions([service.id for service in services]),
        names={service.id: service.name for service in services},
    )


@dataclass(frozen=True, slots=True)
class Volume:
    """Octets that the subscriber received and sent in the hour or the day that begins at `at`."""

    at: datetime
    received: int = 0
    sent: int = 0


def _usage(service_ids: list[int], since: datetime, *, hourly: bool) -> list[Volume]:
    """Return the volume of each hour, or day of the operator's zone, from `since` to now, also of those without."""
    now, zone = context.now(), context.zone()
    unit: Any = UsageHour.hour
    if hourly:
        since = since.replace(minute=0, second=0, microsecond=0)
        hours = int((now - since) / timedelta(hours=1))
        times = [since + timedelta(hours=number) for number in range(hours + 1)]
    else:
        unit = func.date_trunc("day", UsageHour.hour, zone.key)
        first, last = since.astimezone(zone).date(), now.astimezone(zone).date()
        times = [start_of_day(first + timedelta(days=number), zone) for number in range((last - first).days + 1)]
        since = times[0]
    query = (
        select(
            unit.label("at"),
            func.sum(UsageHour.octets_out).label("received"),
            func.sum(UsageHour.octets_in).label("sent"),
        )
        .where(UsageHour.operator_id == operator().id, UsageHour.service_id.in_(service_ids), UsageHour.hour >= since)
        .group_by(unit)
        .order_by(unit)
    )
    found = {row.at: row for row in db().execute(query)}
    return [
        Volume(at, int(found[at].received), int(found[at].sent)) if at in found else Volume(at)
        for at in (each.astimezone(UTC) for each in times)
    ]


def _sessions(service_ids: list[int]) -> list[AccountingSession]:
    """Return the latest sessions of the subscriber's lines."""
    query = _of(AccountingSession, service_ids).order_by(AccountingSession.started_at.desc()).limit(30)
    return list(db().scalars(query))
