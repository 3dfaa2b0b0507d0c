"""Following the services: billing, too, is a difference, between what a service is and what is billed of it.

Nobody has to tell billing what happened to a service. It looks at the state and the plan, compares them with the
service's place in its cycle, and does what is missing:

    active, no cycle                   the cycle begins on the day it was activated
    paused, terminated                 that day is the last one billed; what was billed beyond it is credited
    suspended, where that is not billed    the same, with the day before it was cut
    active again                       the cycle goes on from that day
    another plan                       from that day on; what was billed of the old plan beyond it is credited, and
                                       both stand on one document: an invoice, or a credit note when the new costs less

So it does not matter whether a person, an import or a timer changed the service, or whether billing was down.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from billing.credit_notes import CreditLine, write_credit_note
from billing.cycles import Cycle, Period, Timing, issue_on, month_start, months_in, next_month_start, period_from
from billing.dates import settle_dates
from billing.drafts import ServiceFacts, WaitingCharge, draft, exempt_price, plan_price
from billing.facts import facts_of, items_of, price_of, waiting_of
from billing.invoices import apply_credit, issue, issue_charges, lock_books
from billing.rules import BillingRules
from billing.store import insert_rows
from billing.taxes import taxed
from billing.wallets import buy_periods, new_are_prepaid
from core.clock import local_date
from core.money import rounded
from db.audit import Actor
from db.models import Charge, Invoice, InvoiceLine, RatePlan, Service, ServiceBilling, ServicePeriod

_DAY = timedelta(days=1)

_DIFFERENT = """
SELECT s.id, s.subscriber_id
FROM service s LEFT JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.id > :after AND s.access_method <> 'voucher'
  AND {among}
  AND (CASE WHEN b.service_id IS NULL THEN s.state IN ('active', 'suspended')
            WHEN s.state IN ('paused', 'terminated') THEN b.stopped_on IS NULL
            WHEN s.state = 'suspended' AND NOT :bill_suspended AND NOT (s.prepaid AND s.suspension_cause = 'overdue')
            THEN b.stopped_on IS NULL
            ELSE b.stopped_on IS NOT NULL OR b.plan_id <> s.plan_id END)
ORDER BY s.id LIMIT :most
"""

_NEW = """
SELECT s.id, s.subscriber_id
FROM service s LEFT JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.id > :after AND s.access_method <> 'voucher'
  AND b.service_id IS NULL AND s.state IN ('active', 'suspended')
ORDER BY s.id LIMIT :most
"""
_STARTS = """
SELECT s.id, s.subscriber_id, s.plan_id, s.activated_at, s.paid_until, s.prepaid
FROM service s LEFT JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.id = ANY(:ids) AND b.service_id IS NULL
ORDER BY s.id
"""

_ONCE = """
INSERT INTO charge (operator_id, subscriber_id, service_id, kind, description, amount, tax_exempt, starts_on)
SELECT b.operator_id, b.subscriber_id, b.service_id, 'one_off', i.name, i.price, i.tax_exempt, b.started_on
FROM service_billing b JOIN plan_item i ON i.plan_id = b.plan_id AND i.once AND i.ended_at IS NULL
WHERE b.operator_id = :operator_id AND b.service_id = ANY(:ids)
ORDER BY b.service_id, i.id
"""


def new_services(session: Session, rules: BillingRules, after: int, most: int) -> list[tuple[int, int]]:
    """Return services (with their subscribers) that have no cycle yet, in the order of their ids.

    They are among the different services; since they cost little each, more of them fit into one transaction.
    """
    where = {"operator_id": rules.operator_id, "after": after, "most": most}
    return [(row.id, row.subscriber_id) for row in session.execute(text(_NEW), where)]


def different_services(
    session: Session, rules: BillingRules, after: int, most: int, ids: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Return services (with their subscribers) whose billing is not what they are, in the order of their ids."""
    rows = session.execute(
        text(_DIFFERENT.format(among="true" if ids is None else "s.id = ANY(:ids)")),
        {
            "operator_id": rules.operator_id,
            "after": after,
            "most": most,
            **({} if ids is None else {"ids": list(ids)}),
            "bill_suspended": rules.bill_suspended,
        },
    )
    return [(row.id, row.subscriber_id) for row in rows]


def follow_services(
    session: Session, actor: Actor, rules: BillingRules, services: Sequence[tuple[int, int]], now: datetime
) -> int:
    """Do what is missing for these services and subscribers; return for how many something was."""
    lock_books(session, rules.operator_id, [subscriber for _, subscriber in services])
    still = different_services(session, rules, 0, len(services), [service for service, _ in services])
    today = rules.today(now)
    started = _start(session, rules, [service for service, _ in still], today)
    for service_id, _ in still:
        if service_id not in started:
            _follow(session, actor, rules, service_id, now)
    subscribers = {subscriber for _, subscriber in still}
    apply_credit(session, rules, subscribers, today)
    buy_periods(session, rules, subscribers, today)
    settle_dates(session, actor, rules, subscribers, today)
    return len(still)


def follow_service(session: Session, actor: Actor, rules: BillingRules, service: Service, now: datetime) -> bool:
    """Do what is missing for one service: for pages that show at once what a change of it costs."""
    session.flush()
    return follow_services(session, actor, rules, [(service.id, service.subscriber_id)], now) > 0


def _follow(session: Session, actor: Actor, rules: BillingRules, service_id: int, now: datetime) -> None:
    service = session.get_one(Service, service_id, populate_existing=True)
    cycle = session.get_one(ServiceBilling, service_id, populate_existing=True)
    today = rules.today(now)
    if _is_billed(service, rules):
        if cycle.stopped_on is not None:
            _resume(rules, service, cycle, today)
        if cycle.plan_id != service.plan_id:
            _change_plan(session, actor, rules, service, cycle, today, now)
    else:
        _stop(session, actor, rules, cycle, _last_day(service, rules, today), today, now)
    session.flush()


def _is_billed(service: Service, rules: BillingRules) -> bool:
    ran_out = service.prepaid and service.suspension_cause == "overdue"  # it waits for money, and is not billed
    return service.state == "active" or (service.state == "suspended" and (rules.bill_suspended or ran_out))


def _last_day(service: Service, rules: BillingRules, today: date) -> date:
    if service.state == "terminated" and service.terminated_at is not None:
        return local_date(service.terminated_at, rules.zone)
    if service.state == "suspended" and service.suspended_at is not None:
        return local_date(service.suspended_at, rules.zone) - _DAY
    return today


def _start(session: Session, rules: BillingRules, services: Sequence[int], today: date) -> set[int]:
    """Begin the cycles of those services that have none, all at once; return which they are."""
    if rules.prepaid:
        new_are_prepaid(session, rules, services)
    found = session.execute(text(_STARTS), {"operator_id": rules.operator_id, "ids": list(services)}).all()
    rows, new = [], set()
    for service in found:
        activated = local_date(service.activated_at, rules.zone) if service.activated_at else today
        first, rule = _first_day(rules, activated, service.paid_until, service.prepaid)
        if activated >= rules.starts_on:  # not one that is older than billing
            new.add(service.id)
        rows.append(
            {
                "service_id": service.id,
                "operator_id": rules.operator_id,
                "subscriber_id": service.subscriber_id,
                "plan_id": service.plan_id,
                "anchor_day": rule.anchor_day if service.prepaid else activated.day,
                "started_on": first,
                "next_from": first,
                "next_issue_on": issue_on(period_from(first, rule), rule),
            }
        )
    insert_rows(session, ServiceBilling, rows)
    _charge_once(session, rules, [row["service_id"] for row in rows if row["service_id"] in new])
    return {service.id for service in found}


def _charge_once(session: Session, rules: BillingRules, services: Sequence[int]) -> None:
    """Let the first invoice have what is charged once with a plan."""
    session.execute(text(_ONCE), {"operator_id": rules.operator_id, "ids": list(services)})


def _first_day(rules: BillingRules, activated: date, paid_until: date | None, prepaid: bool) -> tuple[date, Cycle]:
    """Return a service's first billed day and its cycle; one older than billing goes on from its paid day."""
    first = max(activated, rules.starts_on)
    if activated < rules.starts_on and paid_until is not None:
        first = max(first, paid_until)
    if prepaid:
        return first, rules.cycle(first.day, first, prepaid=True)
    rule = rules.cycle(activated.day, first)
    if rules.first_period == "free" and month_start(first, rule.anchor_day) != first:
        first = next_month_start(first, rule.anchor_day)
    return first, replace(rule, started_on=first)


def _resume(rules: BillingRules, service: Service, cycle: ServiceBilling, today: date) -> None:
    assert cycle.stopped_on is not None
    first = max(today, cycle.next_from)
    cycle.stopped_on, cycle.started_on, cycle.next_from, cycle.plan_id = None, first, first, service.plan_id
    if service.prepaid:
        cycle.anchor_day = first.day
    rule = cycle_of(rules, cycle, service.prepaid)
    cycle.next_issue_on = issue_on(period_from(first, rule), rule)


def _stop(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    cycle: ServiceBilling,
    last: date,
    today: date,
    now: datetime,
) -> None:
    """Bill what was used and not billed, up to the last day; credit what was billed beyond it."""
    facts = facts_of(session, rules, [cycle.service_id], today)[0]
    if not facts.is_ready and facts.next_from <= last:
        return  # what was used cannot be billed without a recent rate; the run comes back to it
    while facts.next_from <= last and not facts.prepaid:
        issue(session, rules, [draft(facts, last)], today)
        session.expire(cycle)
        facts = facts_of(session, rules, [cycle.service_id], today)[0]
    if facts.waiting:
        issue_charges(
            session,
            rules,
            facts.subscriber_id,
            facts.waiting,
            today,
            today + timedelta(days=rules.first_due_days),
            facts.service_id,
            facts.tax_exempt,
        )
    for period in _periods_after(session, cycle.service_id, last):
        unused, worth, exempt = _shorten(session, facts, period, last, now)
        line = CreditLine("unused", facts.sold_as, _with_taxes(facts, worth) + exempt, unused)
        _credit(session, actor, rules, cycle.service_id, period.invoice_id, (line,), today)
    cycle.stopped_on = last
    cycle.next_from = last + _DAY


def _change_plan(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    service: Service,
    cycle: ServiceBilling,
    today: date,
    now: datetime,
) -> None:
    old = facts_of(session, rules, [cycle.service_id], today)[0]
    plan = session.get_one(RatePlan, service.plan_id)
    price, priced = price_of(session, rules, plan, cycle.price, today)
    new = replace(
        old,
        plan_id=plan.id,
        plan_name=plan.name,
        price=price,
        items=items_of(session, [plan.id]).get(plan.id, ()),
        priced=priced,
    )
    if not (old.is_ready and new.is_ready):
        return  # without a recent rate nothing can be billed; the run comes back to it
    if old.next_from < today and not old.prepaid:
        _hold_used_days(session, rules, old, today)
        cycle.next_from = today
    cycle.plan_id = plan.id
    rule = cycle_of(rules, cycle, service.prepaid)
    cycle.next_issue_on = issue_on(period_from(cycle.next_from, rule), rule)
    session.flush()
    for period in _periods_after(session, cycle.service_id, today - _DAY):
        invoice_id, old_name = period.invoice_id, session.get_one(RatePlan, period.plan_id).name
        days, before, exempt_before = _shorten(session, old, period, today - _DAY, now)
        after, exempt_after = plan_price(new, days), exempt_price(new, days)
        replaced = ServicePeriod(
            operator_id=rules.operator_id,
            service_id=cycle.service_id,
            plan_id=plan.id,
            first=days.first,
            last=days.last,
            net=after,
            exempt_net=exempt_after,
            invoice_id=invoice_id,
        )
        session.add(replaced)
        session.flush()
        was, will_be = _with_taxes(old, before) + exempt_before, _with_taxes(new, after) + exempt_after
        if invoice_id is None and will_be == 0:
            continue
        if will_be > was:
            sides = (
                (old, old_name, -before, -exempt_before, None),
                (new, new.line_text, after, exempt_after, new.priced),
            )
            pair = tuple(
                WaitingCharge(0, "plan", name, amount, exempt, each.plan_id, days, None if exempt else priced_in)
                for each, name, taxed_part, exempt_part, priced_in in sides
                for amount, exempt in ((taxed_part, False), (exempt_part, True))
                if amount
            )
            issued = issue_charges(
                session,
                rules,
                old.subscriber_id,
                pair,
                today,
                max(today, today + timedelta(days=rules.first_due_days)),
                cycle.service_id,
                old.tax_exempt,
            )
            replaced.invoice_id = issued.id if issued else invoice_id
        else:
            lines = (
                CreditLine("unused", old_name, was, days),
                CreditLine("plan", new.line_text, -will_be, days),
            )
            _credit(session, actor, rules, cycle.service_id, invoice_id, lines, today)
        session.flush()


def _hold_used_days(session: Session, rules: BillingRules, facts: ServiceFacts, today: date) -> None:
    """Let days of the old plan that were used and not billed wait for the next invoice, beside the new plan's."""
    used = Period(facts.next_from, today - _DAY)
    worth, exempt = plan_price(facts, used), exempt_price(facts, used)
    session.add(
        ServicePeriod(
            operator_id=rules.operator_id,
            service_id=facts.service_id,
            plan_id=facts.plan_id,
            first=used.first,
            last=used.last,
            net=worth,
            exempt_net=exempt,
        )
    )
    session.add_all(
        Charge(
            operator_id=rules.operator_id,
            subscriber_id=facts.subscriber_id,
            service_id=facts.service_id,
            kind="plan",
            description=facts.line_text,
            amount=amount,
            tax_exempt=free,
            starts_on=used.first,
            ends_on=used.last,
            plan_id=facts.plan_id,
        )
        for amount, free in ((worth, facts.tax_exempt), (exempt, True))
        if amount
    )


def _periods_after(session: Session, service_id: int, last: date) -> Sequence[ServicePeriod]:
    return session.scalars(
        select(ServicePeriod)
        .where(
            ServicePeriod.service_id == service_id,
            ServicePeriod.last > last,
            ServicePeriod.cancelled_at.is_(None),
        )
        .order_by(ServicePeriod.first)
    ).all()


def _shorten(
    session: Session, facts: ServiceFacts, period: ServicePeriod, last: date, now: datetime
) -> tuple[Period, Decimal, Decimal]:
    """End a billed period on `last`; return the days beyond it and what they were billed at: `net` and `exempt_net`."""
    whole = Period(period.first, period.last)
    unused = Period(max(period.first, last + _DAY), period.last)
    anchor = facts.cycle.anchor_day
    share = months_in(unused, anchor) / months_in(whole, anchor)
    worth, exempt = (
        rounded(amount * share.numerator / share.denominator, facts.currency)
        for amount in (period.net, period.exempt_net)
    )
    if unused.first == period.first:
        period.cancelled_at = now
    else:
        period.last, period.net, period.exempt_net = last, period.net - worth, period.exempt_net - exempt
    session.flush()
    return unused, worth, exempt


def _with_taxes(facts: ServiceFacts, amount: Decimal) -> Decimal:
    return rounded(amount, facts.currency) if facts.tax_exempt else taxed(amount, facts.taxes, facts.currency).total


def _credit(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    service_id: int,
    invoice_id: int | None,
    lines: Sequence[CreditLine],
    today: date,
) -> None:
    """Credit lines against the invoice that billed them, and for what it has not left against others of these days.

    Days that were given, by a void or a credit note over the whole, are worth nothing any more: other months that were
    used and paid do not come back for them.
    """
    whole, days = sum((line.total for line in lines), Decimal(0)), lines[0].period
    assert days is not None
    of_these_days = select(InvoiceLine.invoice_id).where(
        InvoiceLine.invoice_id == Invoice.id, InvoiceLine.first <= days.last, InvoiceLine.last >= days.first
    )
    invoices = session.scalars(
        select(Invoice)
        .where(
            Invoice.service_id == service_id,
            Invoice.credited < Invoice.total,
            or_(Invoice.id == invoice_id, of_these_days.exists()),
        )
        .order_by((Invoice.id == invoice_id).desc(), Invoice.id.desc())
    ).all()
    left = whole
    for invoice in invoices:
        part = min(left, invoice.total - invoice.credited)
        if part <= 0:
            return
        shown = lines if part == whole else (CreditLine(lines[0].kind, lines[0].description, part, lines[0].period),)
        write_credit_note(session, actor, rules, invoice, shown, lines[0].description, today)
        left -= part


def cycle_of(rules: BillingRules, cycle: ServiceBilling, prepaid: bool) -> Cycle:
    """Return the rule by which a service is billed."""
    timing = Timing(cycle.timing) if cycle.timing is not None else None
    return rules.cycle(cycle.anchor_day, cycle.started_on, cycle.months, timing, prepaid)


def waiting_charges(session: Session, subscriber_id: int) -> list[WaitingCharge]:
    """Return the one-off charges of a subscriber that no invoice has taken."""
    rows: Sequence[Any] = session.scalars(
        select(Charge)
        .where(
            Charge.subscriber_id == subscriber_id,
            Charge.invoice_id.is_(None),
            Charge.cancelled_at.is_(None),
            Charge.kind != "recurring",
        )
        .order_by(Charge.id)
    ).all()
    return [waiting_of(row) for row in rows]
