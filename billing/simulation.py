"""Simulation: what all services will be billed, month by month, on a clock of its own.

Nothing is written and nothing is locked: the services' facts are read, and their drafts followed through the months.
Run once as things are and once under a proposal, it shows the difference before a rule is published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.drafts import ServiceFacts, upcoming
from billing.facts import facts_of
from billing.preview import NOTHING, Proposal, proposed_facts, proposed_rules
from billing.rules import BillingRules

_CHUNK = 1000


@dataclass(slots=True)
class MonthSums:
    """What is issued in a calendar month."""

    month: date
    invoices: int = 0
    net: Decimal = field(default_factory=Decimal)
    tax: Decimal = field(default_factory=Decimal)

    @property
    def total(self) -> Decimal:
        return self.net + self.tax


def simulate(
    session: Session, rules: BillingRules, months: int, today: date, proposal: Proposal = NOTHING
) -> list[MonthSums]:
    """Return what would be issued from today on in this and the following calendar months."""
    found = [MonthSums(_month(today, number)) for number in range(months)]
    end = _month(today, months)
    for facts in _all_facts(session, rules, today, proposal):
        for each in upcoming(facts):
            day = max(each.issue_on, today)
            if day >= end:
                break
            if each.total > 0:
                sums = found[(day.year - today.year) * 12 + day.month - today.month]
                sums.invoices, sums.net, sums.tax = sums.invoices + 1, sums.net + each.net, sums.tax + each.tax
    return found


def _all_facts(session: Session, rules: BillingRules, today: date, proposal: Proposal) -> Iterator[ServiceFacts]:
    after = 0
    while True:
        ids = session.scalars(
            text(
                "SELECT service_id FROM service_billing WHERE operator_id = :operator_id AND service_id > :after"
                " AND stopped_on IS NULL ORDER BY service_id LIMIT :most"
            ),
            {"operator_id": rules.operator_id, "after": after, "most": _CHUNK},
        ).all()
        if not ids:
            return
        facts = facts_of(session, proposed_rules(rules, proposal), ids, today)
        yield from proposed_facts(session, rules, facts, proposal, today)
        after = ids[-1]


def _month(day: date, after: int) -> date:
    years, month0 = divmod(day.month - 1 + after, 12)
    return date(day.year + years, month0 + 1, 1)
