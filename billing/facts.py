"""Facts for drafts, read from PostgreSQL for many services with a few statements."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cycles import Period, Timing
from billing.drafts import PricedIn, RecurringCharge, Reduction, ServiceFacts, SoldItem, WaitingCharge
from billing.rules import BillingRules
from core.clock import local_date
from core.money import format_with_code
from crm.currencies import is_good, rate_days, rates_of_prices
from db.models import RatePlan

_SERVICES = """
SELECT b.service_id, b.subscriber_id, b.plan_id, p.name AS plan_name, coalesce(b.price, p.price) AS price,
       p.price_currency,
       b.tax_exempt, b.anchor_day, b.months, b.timing, b.started_on, b.next_from, b.stopped_on, s.activated_at,
       s.prepaid
FROM service_billing b JOIN rate_plan p ON p.id = b.plan_id JOIN service s ON s.id = b.service_id
WHERE b.operator_id = :operator_id AND b.service_id = ANY(:ids)
ORDER BY b.service_id
"""
_CHARGES = """
SELECT id, subscriber_id, service_id, kind, description, amount, tax_exempt, starts_on, ends_on, plan_id
FROM charge
WHERE operator_id = :operator_id AND subscriber_id = ANY(:ids) AND invoice_id IS NULL AND cancelled_at IS NULL
ORDER BY id
"""
_DISCOUNTS = """
SELECT id, service_id, description, percent, amount, months_left, starts_on
FROM discount WHERE operator_id = :operator_id AND service_id = ANY(:ids) AND ended_at IS NULL ORDER BY id
"""

_ITEMS = """
SELECT plan_id, name, price, tax_exempt FROM plan_item
WHERE plan_id = ANY(:ids) AND NOT once AND ended_at IS NULL ORDER BY id
"""


def facts_of(session: Session, rules: BillingRules, service_ids: Sequence[int], today: date) -> list[ServiceFacts]:
    """Return the facts of services that have a cycle, in the order of their ids.

    A charge of a subscriber that names no service is taken by the first of the subscriber's services among these. A
    one-off charge that begins after today waits on.
    """
    where = {"operator_id": rules.operator_id, "ids": list(service_ids)}
    services = session.execute(text(_SERVICES), where).all()
    where["ids"] = list({row.subscriber_id for row in services})
    charges: dict[int, list[Any]] = defaultdict(list)
    for row in session.execute(text(_CHARGES), where):
        charges[row.subscriber_id].append(row)
    discounts: dict[int, list[Reduction]] = defaultdict(list)
    where["ids"] = [row.service_id for row in services]
    for row in session.execute(text(_DISCOUNTS), where):
        discounts[row.service_id].append(
            Reduction(row.id, row.description, row.starts_on, row.percent, row.amount, row.months_left)
        )
    items = items_of(session, {row.plan_id for row in services})
    prices = {(row.price_currency, row.price) for row in services if row.price_currency is not None}
    priced = priced_in(session, rules, prices, today) if prices else {}
    return list(_gathered(rules, services, charges, discounts, items, priced, today))


def priced_in(
    session: Session, rules: BillingRules, prices: Collection[tuple[str, Decimal]], today: date
) -> dict[tuple[str, Decimal], PricedIn]:
    """Return how prices in other currencies are billed on a day, by currency and price."""
    rates = rates_of_prices(session, rules.operator_id, today, {currency for currency, _ in prices})
    days = rate_days(session, rules.operator_id)
    found = {}
    for currency, price in prices:
        rate = rates[currency]
        note = f"{format_with_code(price, currency, rules.locale)}, {rate.sentence(rules.locale)}"
        good = rate.day <= today and is_good(rate, today, days)
        found[currency, price] = PricedIn(currency, price, rate.rate, note, good)
    return found


def price_of(
    session: Session, rules: BillingRules, plan: RatePlan, own: Decimal | None, today: date
) -> tuple[Decimal, PricedIn | None]:
    """Return a plan's monthly price, or a service's own for it, in the books' currency, and how it is priced."""
    price = plan.price if own is None else own
    if plan.price_currency is None:
        return price, None
    priced = priced_in(session, rules, [(plan.price_currency, price)], today)[plan.price_currency, price]
    return price * priced.rate, priced


def items_of(session: Session, plans: Iterable[int]) -> dict[int, tuple[SoldItem, ...]]:
    """Return what is sold with these plans each month; those that are sold alone are left out."""
    found: dict[int, tuple[SoldItem, ...]] = {}
    for row in session.execute(text(_ITEMS), {"ids": sorted(plans)}):
        item = SoldItem(row.name, row.price, row.tax_exempt)
        found[row.plan_id] = (*found.get(row.plan_id, ()), item)
    return found


def _gathered(
    rules: BillingRules,
    services: Iterable[Any],
    charges: dict[int, list[Any]],
    discounts: dict[int, list[Reduction]],
    items: dict[int, tuple[SoldItem, ...]],
    prices: dict[tuple[str, Decimal], PricedIn],
    today: date,
) -> Iterator[ServiceFacts]:
    taken: set[int] = set()
    for row in services:
        priced = prices[row.price_currency, row.price] if row.price_currency is not None else None
        waiting, recurring = [], []
        for charge in charges.get(row.subscriber_id, ()):
            if charge.service_id not in (None, row.service_id) or charge.id in taken:
                continue
            if charge.kind == "recurring":
                taken.add(charge.id)
                recurring.append(
                    RecurringCharge(
                        charge.description, charge.amount, charge.starts_on, charge.ends_on, charge.tax_exempt
                    )
                )
            elif charge.starts_on <= today or charge.kind == "plan":
                taken.add(charge.id)
                waiting.append(waiting_of(charge))
        yield ServiceFacts(
            service_id=row.service_id,
            subscriber_id=row.subscriber_id,
            plan_id=row.plan_id,
            plan_name=row.plan_name,
            price=row.price if priced is None else row.price * priced.rate,
            currency=rules.currency,
            cycle=rules.cycle(
                row.anchor_day,
                row.started_on,
                row.months,
                Timing(row.timing) if row.timing is not None else None,
                row.prepaid,
            ),
            next_from=row.next_from,
            taxes=rules.taxes,
            tax_exempt=row.tax_exempt,
            first_full=rules.first_period == "full"
            and row.activated_at is not None
            and local_date(row.activated_at, rules.zone) == row.started_on,
            waiting=tuple(waiting),
            recurring=tuple(recurring),
            reductions=tuple(discounts.get(row.service_id, ())),
            prepaid=row.prepaid,
            items=items.get(row.plan_id, ()),
            priced=priced,
        )


def waiting_of(charge: Any) -> WaitingCharge:
    """Return a row of `charge` as a draft takes it."""
    period = Period(charge.starts_on, charge.ends_on) if charge.kind == "plan" and charge.ends_on else None
    return WaitingCharge(
        charge.id, charge.kind, charge.description, charge.amount, charge.tax_exempt, charge.plan_id, period
    )
