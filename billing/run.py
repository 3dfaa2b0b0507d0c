"""The billing run: follows the services, and issues every invoice whose day has come.

It works in batches, each a transaction of its own that holds all an invoice changes. A run that is killed leaves whole
batches behind and nothing else; the next one finds what is left, by the services' own places in their cycles. Two runs
at once take turns at an operator's books; what one has billed the other finds billed.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.dates import settle_dates
from billing.drafts import Draft, draft, upcoming
from billing.facts import facts_of
from billing.following import different_services, follow_services, new_services
from billing.invoices import issue, lock_books
from billing.rules import BillingOff, BillingRules, rules_of
from billing.settings import reschedule
from billing.wallets import renew, renewals
from crm.currencies import is_good, latest_rates, rate_days
from db.audit import Actor
from db.models import BillingSettings

log = structlog.get_logger()

ACTOR = "billing"
BATCH = 500
"""Services billed in one transaction; who changes the same operator's money meanwhile waits for that."""
_STARTED = 1000
"""Cycles begun in one transaction: they have no documents yet."""
_FOLLOWED = 100
"""Services followed in one transaction: a change of plan writes documents one by one."""

_DUE = """
SELECT b.service_id, b.subscriber_id FROM service_billing b
WHERE b.operator_id = :operator_id AND b.stopped_on IS NULL AND b.next_issue_on <= :today AND b.service_id > :after
  AND NOT EXISTS (SELECT FROM service s WHERE s.id = b.service_id AND s.prepaid)
ORDER BY b.service_id LIMIT :most
"""
# The inner query keeps PostgreSQL from reading all that are due for each batch of them.
_STILL_DUE = """
SELECT service_id
FROM (SELECT service_id, stopped_on, next_issue_on FROM service_billing WHERE service_id = ANY(:ids) OFFSET 0) AS batch
WHERE stopped_on IS NULL AND next_issue_on <= :today
ORDER BY service_id
"""


_PRICED_DUE = """
SELECT p.price_currency AS currency, count(*) AS services
FROM rate_plan p JOIN service_billing b ON b.plan_id = p.id
WHERE p.operator_id = :operator_id AND p.price_currency IS NOT NULL AND b.stopped_on IS NULL
  AND b.next_issue_on <= :today
GROUP BY 1 ORDER BY 1
"""


class Sessions(Protocol):
    """Makes sessions, as a sessionmaker does."""

    def __call__(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did: invoices issued, and services whose billing followed a change.

    `waiting` are services whose invoices are due and wait for a recent rate of their price's currency.
    """

    invoices: int
    followed: int
    waiting: int = 0


def billing_operators(session: Session) -> list[int]:
    """Return the operators that bill."""
    return list(
        session.scalars(
            select(BillingSettings.operator_id).where(BillingSettings.enabled).order_by(BillingSettings.operator_id)
        )
    )


def run_billing(
    sessions: Sessions,
    operator_id: int,
    now: datetime,
    batch: int = BATCH,
    told: "Callable[[Batch], None]" = lambda _batch: None,
) -> RunResult:
    """Do all that is due for an operator, committing batch by batch. May be called again at any time.

    `told` hears of each batch that was committed; what it raises ends the run there.
    """
    _settle_changed_rules(sessions, operator_id, now)
    followed = _follow_all(sessions, operator_id, now)
    bought = _renew_all(sessions, operator_id, now, batch)
    issued, waiting = _issue_all(sessions, operator_id, now, batch, told)
    return RunResult(bought + issued, followed, waiting)


def _settle_changed_rules(sessions: Sessions, operator_id: int, now: datetime) -> None:
    """Where the rules are not those that dates were computed under, compute them anew, whoever changed the rules.

    Else a service could be cut on a day that no longer stands, before its invoice is made.
    """
    after, wanted = 0, ""
    while True:
        with sessions() as session:
            rules = _rules(session, operator_id)
            if rules is None or _settled_rules(session, operator_id) == rules.fingerprint():
                return
            if wanted != rules.fingerprint():  # the first time, or changed while this went on
                reschedule(session, rules)
                after, wanted = 0, rules.fingerprint()
            ids = session.scalars(
                text(
                    "SELECT DISTINCT subscriber_id FROM service_billing"
                    " WHERE operator_id = :id AND subscriber_id > :after ORDER BY 1 LIMIT :most"
                ),
                {"id": operator_id, "after": after, "most": BATCH},
            ).all()
            if ids:
                lock_books(session, operator_id, ids)
                settle_dates(session, Actor(operator_id, ACTOR), rules, ids, rules.today(now))
                after = ids[-1]
            else:
                session.execute(
                    text("UPDATE billing_settings SET settled_rules = :rules WHERE operator_id = :id"),
                    {"rules": wanted, "id": operator_id},
                )
            session.commit()


def _settled_rules(session: Session, operator_id: int) -> str | None:
    return session.scalar(select(BillingSettings.settled_rules).where(BillingSettings.operator_id == operator_id))


def _follow_all(sessions: Sessions, operator_id: int, now: datetime) -> int:
    started = _follow_each(sessions, operator_id, now, new_services, _STARTED)
    return started + _follow_each(sessions, operator_id, now, different_services, _FOLLOWED)


def _follow_each(
    sessions: Sessions,
    operator_id: int,
    now: datetime,
    find: Callable[[Session, BillingRules, int, int], list[tuple[int, int]]],
    most: int,
) -> int:
    followed, after = 0, 0
    while True:
        with sessions() as session:
            rules = _rules(session, operator_id)
            found = find(session, rules, after, most) if rules else []
            if rules is None or not found:
                return followed
            followed += follow_services(session, Actor(operator_id, ACTOR), rules, found, now)
            session.commit()
            after = found[-1][0]


def _renew_all(sessions: Sessions, operator_id: int, now: datetime, batch: int) -> int:
    """Buy the next periods of prepaid services from the wallets, from midnight on and not from the hour of issuing."""
    bought, after = 0, 0
    while True:
        with sessions() as session:
            rules = _rules(session, operator_id)
            due = renewals(session, rules, rules.today(now), after, batch) if rules else []
            if rules is None or not due:
                return bought
            bought += renew(session, Actor(operator_id, ACTOR), rules, [subscriber for _, subscriber in due], now)
            session.commit()
            after = due[-1][0]


def _issue_all(
    sessions: Sessions, operator_id: int, now: datetime, batch: int, told: "Callable[[Batch], None]"
) -> tuple[int, int]:
    issued, after, billed, waiting = 0, 0, False, 0
    while True:
        with sessions() as session:
            rules = _rules(session, operator_id)
            if rules is None:
                return issued, waiting
            done = issue_batch(session, rules, now, after, batch)
            session.commit()
        told(done)
        issued, after, billed = issued + done.invoices, done.last, billed or done.services > 0
        waiting += done.waiting
        if after == 0:
            # Services that were billed late have another period whose day has come: once more from the first.
            if not billed:
                return issued, waiting
            billed, waiting = False, 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Services billed, invoices that came of it, and the service to go on after: 0 when there were no more.

    `waiting` were due and are left for another run: there is no recent rate of the currency that they are priced in.
    """

    services: int
    invoices: int
    last: int
    waiting: int = 0


def issue_batch(session: Session, rules: BillingRules, now: datetime, after: int, batch: int = BATCH) -> Batch:
    """Issue the invoices of one batch of services beyond the id `after`, one for each service."""
    today = rules.billing_day(now)
    where = {"operator_id": rules.operator_id, "today": today, "after": after, "most": batch}
    due = session.execute(text(_DUE), where).all()
    if not due:
        return Batch(0, 0, 0)
    lock_books(session, rules.operator_id, [row.subscriber_id for row in due])
    # Another run may have billed them while this one waited for the lock.
    still = session.scalars(text(_STILL_DUE), {"ids": [row.service_id for row in due], "today": today}).all()
    issued_on = rules.today(now)
    known = facts_of(session, rules, still, issued_on)
    facts = [each for each in known if each.is_ready]
    issued = issue(session, rules, [draft(each) for each in facts], issued_on)
    subscribers = [each.subscriber_id for each in facts]
    settle_dates(session, Actor(rules.operator_id, ACTOR), rules, subscribers, issued_on)
    return Batch(len(facts), len(issued), due[-1].service_id, len(known) - len(facts))


def waiting_for_rates(session: Session, rules: BillingRules, now: datetime) -> dict[str, int]:
    """Return how many services are due whose invoices wait for a recent rate, by the currency they are priced in."""
    today = rules.today(now)
    rows = session.execute(text(_PRICED_DUE), {"operator_id": rules.operator_id, "today": rules.billing_day(now)}).all()
    if not rows:
        return {}
    rates = latest_rates(session, rules.operator_id, today, [row.currency for row in rows])
    days = rate_days(session, rules.operator_id)
    return {
        row.currency: row.services
        for row in rows
        if row.currency not in rates or not is_good(rates[row.currency], today, days)
    }


def preview_run(session: Session, rules: BillingRules, day: date) -> Iterator[Draft]:
    """Yield the drafts that the run of a day would issue, changing nothing. Late ones come more than once."""
    after = 0
    while True:
        due = session.execute(
            text(_DUE), {"operator_id": rules.operator_id, "today": day, "after": after, "most": BATCH}
        ).all()
        if not due:
            return
        for facts in facts_of(session, rules, [row.service_id for row in due], day):
            for each in upcoming(facts):
                if each.issue_on > day:
                    break
                yield each
        after = due[-1].service_id


def _rules(session: Session, operator_id: int) -> BillingRules | None:
    try:
        return rules_of(session, operator_id)
    except BillingOff:
        return None
