"""Buying the periods of prepaid services from the wallet: the subscriber's credit, an account of the ledger.

The invoice of a period, what pays it and the day until which the service is paid are written in one transaction under
the locks of `lock_books()`: two payments at once buy one after the other, and what is interrupted has bought nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cycles import issue_on, period_from
from billing.dates import forget, settle_dates
from billing.drafts import ServiceFacts, draft
from billing.facts import facts_of
from billing.invoices import Issued, apply_credit, issue, lock_books
from billing.pay_links import pay_links
from billing.prepaid import is_told, next_purchase, purchases
from billing.rules import BillingRules, billing_is_on, rules_of
from billing.store import as_json
from core.crypto import Keyring
from core.money import format_money, money_locale
from crm.messages import tell_subscriber
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Service, ServiceBilling, Subscriber

# A service that a person suspended buys nothing; one that ran out does.
_BUYING = """
FROM service s JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.prepaid AND b.stopped_on IS NULL AND b.next_from <= :today
  AND (s.state = 'active' OR s.state = 'suspended' AND s.suspension_cause = 'overdue')
"""
_OF_SUBSCRIBERS = f"SELECT s.id {_BUYING} AND b.subscriber_id = ANY(:ids) ORDER BY s.id"
_DUE = f"""
SELECT s.id, s.subscriber_id {_BUYING} AND s.id > :after
  AND EXISTS (SELECT FROM payment p WHERE p.subscriber_id = s.subscriber_id AND p.unapplied > 0)
ORDER BY s.id LIMIT :most
"""  # noqa: S608 - texts of ours
_WALLETS = """
SELECT subscriber_id, sum(unapplied) AS amount FROM payment
WHERE subscriber_id = ANY(:ids) AND unapplied > 0 AND currency = :currency GROUP BY 1
"""
_PREPAID = """
SELECT s.id FROM service s JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.subscriber_id = :id AND s.prepaid AND s.state <> 'terminated'
ORDER BY s.id
"""
_ENDING = """
SELECT s.id, s.subscriber_id, s.paid_until, b.reminded_until
FROM service s JOIN service_billing b ON b.service_id = s.id
WHERE s.operator_id = :operator_id AND s.prepaid AND s.state = 'active' AND b.stopped_on IS NULL
  AND s.paid_until BETWEEN :today AND :last AND b.reminded_until IS DISTINCT FROM s.paid_until
ORDER BY s.id LIMIT :most
"""


def wallet_of(session: Session, rules: BillingRules, subscriber_id: int) -> Decimal:
    """Return what a subscriber has with us that no invoice has used."""
    return _wallets(session, rules, [subscriber_id]).get(subscriber_id, Decimal(0))


def price_of_next(session: Session, rules: BillingRules, service_id: int, today: date) -> Decimal | None:
    """Return what a service's next period costs with its taxes and what waits to be billed; None: it is not billed."""
    facts = facts_of(session, rules, [service_id], today)
    return next_purchase(facts[0], today).draft.total if facts else None


def to_top_up(session: Session, operator_id: int, subscriber_id: int, now: datetime) -> Decimal:
    """Return what the wallet lacks for the next period of each prepaid service, what one more costs where it lacks
    nothing, and zero without prepaid services or where billing is off.
    """
    ids = session.scalars(text(_PREPAID), {"operator_id": operator_id, "id": subscriber_id}).all()
    if not ids or not billing_is_on(session, operator_id):
        return Decimal(0)
    rules = rules_of(session, operator_id)
    today = rules.today(now)
    facts = facts_of(session, rules, ids, today)
    needed = sum((next_purchase(each, today).draft.total for each in facts), Decimal(0))
    lacking = needed - wallet_of(session, rules, subscriber_id)
    return lacking if lacking > 0 else needed


def buy_periods(session: Session, rules: BillingRules, subscribers: Iterable[int], today: date) -> list[Issued]:
    """Buy what the wallets of these subscribers are large enough for. The caller holds `lock_books()`.

    What is open is paid from a wallet first, by `apply_credit()`; the dates are settled after it, by `settle_dates()`.
    """
    where = {"operator_id": rules.operator_id, "today": today, "ids": sorted(set(subscribers))}
    services = session.scalars(text(_OF_SUBSCRIBERS), where).all()
    if not services:
        return []
    by_subscriber: dict[int, list[ServiceFacts]] = defaultdict(list)
    for facts in facts_of(session, rules, services, today):
        if facts.is_ready:
            by_subscriber[facts.subscriber_id].append(facts)
    wallets = _wallets(session, rules, list(by_subscriber))
    bought = [
        purchase
        for subscriber_id, wanted in by_subscriber.items()
        for purchase in purchases(wanted, wallets.get(subscriber_id, Decimal(0)), today)
    ]
    if not bought:
        return []
    rows = [
        {"id": each.facts.service_id, "anchor": each.facts.cycle.anchor_day, "started": each.facts.cycle.started_on}
        for each in bought
    ]
    session.execute(
        text(
            "UPDATE service_billing AS b SET anchor_day = r.anchor, started_on = r.started"
            " FROM json_to_recordset(CAST(:rows AS json)) AS r (id bigint, anchor int, started date)"
            " WHERE b.service_id = r.id AND (b.anchor_day, b.started_on) <> (r.anchor, r.started)"
        ),
        {"rows": as_json(rows)},
    )
    return issue(session, rules, [each.draft for each in bought], today)


def renewals(session: Session, rules: BillingRules, today: date, after: int, most: int) -> list[tuple[int, int]]:
    """Return prepaid services (with their subscribers) beyond an id whose period is over and whose wallet has money."""
    where = {"operator_id": rules.operator_id, "today": today, "after": after, "most": most}
    return [(row.id, row.subscriber_id) for row in session.execute(text(_DUE), where)]


def renew(session: Session, actor: Actor, rules: BillingRules, subscribers: Sequence[int], now: datetime) -> int:
    """Buy the periods that are due for these subscribers; return how many invoices came of it."""
    lock_books(session, rules.operator_id, subscribers)
    today = rules.today(now)
    apply_credit(session, rules, subscribers, today)
    bought = buy_periods(session, rules, subscribers, today)
    settle_dates(session, actor, rules, subscribers, today)
    return len(bought)


def new_are_prepaid(session: Session, rules: BillingRules, services: Sequence[int]) -> None:
    """Make services prepaid whose billing begins now."""
    session.execute(
        text(
            "UPDATE service AS s SET prepaid = true, version = s.version + 1 WHERE id = ANY(:ids) AND NOT prepaid"
            " AND operator_id = :operator_id AND NOT EXISTS (SELECT FROM service_billing b WHERE b.service_id = s.id)"
        ),
        {"ids": list(services), "operator_id": rules.operator_id},
    )
    forget(session, set(services))


def set_prepaid(
    session: Session, actor: Actor, rules: BillingRules, service: Service, prepaid: bool, now: datetime
) -> None:
    """Let a service be paid before its periods begin, or by invoice. What is billed stays billed. Raises Invalid.

    One that becomes prepaid is billed up to yesterday where that was not done, and buys from the day after what is
    billed; one that ran out and becomes postpaid is billed from today on.
    """
    lock_books(session, rules.operator_id, [service.subscriber_id])
    session.refresh(service)
    if service.prepaid == prepaid or service.state == "terminated":
        raise Invalid(FieldProblem("service", Problem.ALREADY_DONE))
    today = rules.today(now)
    cycle = session.get(ServiceBilling, service.id, populate_existing=True)
    if cycle is not None and cycle.stopped_on is None:
        if prepaid:
            _bill_until(session, rules, service.id, today - timedelta(days=1), today)
            session.refresh(cycle)
            cycle.anchor_day = cycle.next_from.day
        else:
            cycle.next_from = max(cycle.next_from, today)
        cycle.started_on = cycle.next_from
    service.prepaid = prepaid
    session.flush()
    if cycle is not None:
        rule = facts_of(session, rules, [service.id], today)[0].cycle
        cycle.next_issue_on = issue_on(period_from(cycle.next_from, rule), rule)
        session.flush()
    record(session, actor, "service.prepaid", "service", service.id, {"prepaid": not prepaid}, {"prepaid": prepaid})
    apply_credit(session, rules, [service.subscriber_id], today)
    buy_periods(session, rules, [service.subscriber_id], today)
    settle_dates(session, actor, rules, [service.subscriber_id], today)


def _bill_until(session: Session, rules: BillingRules, service_id: int, last: date, today: date) -> None:
    while (facts := facts_of(session, rules, [service_id], today)[0]).next_from <= last:
        issue(session, rules, [draft(facts, last)], today)


def remind(
    session: Session, keyring: Keyring, rules: BillingRules, now: datetime, most: int = 500, public_url: str = ""
) -> int:
    """Tell subscribers whose wallet does not buy the next period that their service ends; return how many services.

    `public_url` is `Settings.public_url`, with which they are led to where the wallet is filled.
    """
    today, told = rules.today(now), 0
    if now.astimezone(rules.zone).hour < rules.issue_hour:
        return 0
    last = today + timedelta(days=rules.prepaid_notice_days)
    links = pay_links(session, keyring, rules.operator_id, public_url) if public_url else None
    where = {"operator_id": rules.operator_id, "today": today, "last": last, "most": most}
    for row in session.execute(text(_ENDING), where).all():
        cycle = session.get_one(ServiceBilling, row.id, with_for_update=True, populate_existing=True)
        if not is_told(row.paid_until, cycle.reminded_until, rules.prepaid_notice_days, today):
            continue
        cycle.reminded_until = row.paid_until
        subscriber = session.get_one(Subscriber, row.subscriber_id)
        price = price_of_next(session, rules, row.id, today) or Decimal(0)
        values = {
            "last_day": row.paid_until,
            "price": _spoken(price, rules.currency),
            "wallet": _spoken(wallet_of(session, rules, row.subscriber_id), rules.currency),
            "pay": partial(links.line, row.subscriber_id) if links else "",
        }
        tell_subscriber(session, keyring, subscriber, "wallet_low", values)
        session.flush()
        told += 1
    return told


def _spoken(amount: Decimal, currency: str) -> Callable[[str], str]:
    """Return an amount that is written in the reader's language."""
    return lambda language: format_money(amount, currency, money_locale(language, currency))


def _wallets(session: Session, rules: BillingRules, subscribers: Sequence[int]) -> dict[int, Decimal]:
    where = {"ids": list(subscribers), "currency": rules.currency}
    return {row.subscriber_id: row.amount for row in session.execute(text(_WALLETS), where)}
