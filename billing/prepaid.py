"""Prepaid services: a period is bought before it is used, with money that is there.

What a subscriber has with us and no invoice has used is the wallet. A period is bought whole or not at all, on the day
on which it begins, and its months count from that day. What ran out and is bought later begins on the day on which it
is bought: days without service cost nothing. Of several services the one that ran out first is bought first; one that
the wallet is too small for leaves the money to the others.

There are no days of grace: the service ends at midnight after the last day bought, unless the wallet buys the next one.
Nothing is owed, so nobody is reminded by the ladder or charged a late fee; that the wallet runs out is told before.

Dates are days in the operator's zone. Nothing here reads a clock or a database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from billing.drafts import Draft, ServiceFacts, draft


@dataclass(frozen=True, slots=True)
class Purchase:
    """A service's next period, on the facts it was drafted from. It costs `draft.total`."""

    facts: ServiceFacts
    draft: Draft


def next_purchase(facts: ServiceFacts, today: date) -> Purchase:
    """Return the period that would be bought next: after the one that runs, or from today on where that is over."""
    if facts.next_from < today:
        cycle = replace(facts.cycle, anchor_day=today.day, started_on=today)
        facts = replace(facts, next_from=today, cycle=cycle)
    return Purchase(facts, draft(facts))


def purchases(services: Sequence[ServiceFacts], wallet: Decimal, today: date) -> list[Purchase]:
    """Return what one subscriber's wallet buys today. Services whose period still runs buy nothing yet."""
    bought = []
    for facts in sorted(services, key=lambda each: (each.next_from, each.service_id)):
        if facts.next_from > today:
            continue
        wanted = next_purchase(facts, today)
        if wanted.draft.total <= wallet:
            bought.append(wanted)
            wallet -= wanted.draft.total
    return bought


def is_told(last_day: date, told_of: date | None, days: int, today: date) -> bool:
    """Tell whether today is the day to say that a service ends: once for each last day, so many days before it."""
    return told_of != last_day and today <= last_day <= today + timedelta(days=days)
