"""What people see of dunning, and decide in it: who is cut tonight, what waits for a hand, and days that staff give."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from aaa.cut_off import CutOffRule
from billing.cut_offs import cut_off_rule
from billing.dunning import ACTOR
from billing.invoices import lock_books
from billing.reports import OddService, paid_but_off, unpaid_but_on
from core.crypto import Keyring
from core.i18n import N_, translator
from core.money import format_money, money_locale
from crm.notices import EMAIL, Message, deliver
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from crm.services import restore
from db.audit import Actor, record
from db.models import DunningSettings, Operator, Service

LONGEST_HOLD = timedelta(days=366)

_GRACE = "CASE WHEN s.prepaid THEN :sooner ELSE :grace END"
_LAST_DAY = f"greatest(s.paid_until + {_GRACE}, s.promised_until, s.held_until)"
_OWING = """
SELECT s.id AS service_id, s.name, s.subscriber_id, b.name AS subscriber, b.phone, p.name AS plan, s.state,
       s.paid_until, s.suspension_cause AS cause, greatest(s.promised_until, s.held_until) AS spared_until, s.prepaid,
       (SELECT coalesce(sum(i.open), 0) FROM invoice i
        WHERE i.service_id = s.id AND i.paid + i.credited < i.total) AS owed
FROM service s JOIN subscriber b ON b.id = s.subscriber_id JOIN rate_plan p ON p.id = s.plan_id
"""
_CUTS = f"""{_OWING}
WHERE s.operator_id = :operator_id AND s.management = 'automatic' AND s.state = 'active'
  AND {_LAST_DAY} >= :first
  AND {_LAST_DAY} < :last
ORDER BY owed DESC, s.id LIMIT :most
"""
_BY_HAND = f"""{_OWING}
WHERE s.operator_id = :operator_id AND s.management = 'manual' AND s.paid_until IS NOT NULL
  AND (s.state = 'active' AND {_LAST_DAY} < :first
       OR s.state = 'suspended' AND s.suspension_cause = 'overdue'
          AND {_LAST_DAY} >= :first)
ORDER BY s.state DESC, owed DESC, s.id LIMIT :most
"""
_SPARED = f"""{_OWING}
WHERE s.operator_id = :operator_id AND s.management = 'automatic' AND s.state = 'active'
  AND s.paid_until + {_GRACE} < :first AND greatest(s.promised_until, s.held_until) >= :first
ORDER BY spared_until, s.id LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class Owing:
    """A service whose date has come or comes; `owed` is what its invoices have open, `cut_at` when it is cut."""

    service_id: int
    name: str
    subscriber_id: int
    subscriber: str
    phone: str | None
    plan: str
    state: str
    paid_until: date
    cause: str | None
    spared_until: date | None
    prepaid: bool
    owed: Decimal
    cut_at: datetime


def cuts(session: Session, operator: Operator, now: datetime, until: datetime, most: int = 1000) -> list[Owing]:
    """Return the services that are cut between now and an instant unless they pay."""
    rule = cut_off_rule(operator)
    return _owing(session, _CUTS, operator, rule, now, rule.first_day_on(now), rule.first_day_on(until), most)


def by_hand(session: Session, operator: Operator, now: datetime, most: int = 1000) -> list[Owing]:
    """Return the services managed by hand that should be cut (they are active) or restored (they are suspended)."""
    rule = cut_off_rule(operator)
    day = rule.first_day_on(now)
    return _owing(session, _BY_HAND, operator, rule, now, day, day, most)


def spared(session: Session, operator: Operator, now: datetime, most: int = 1000) -> list[Owing]:
    """Return the services that are overdue and on because of a promise or a day given."""
    rule = cut_off_rule(operator)
    day = rule.first_day_on(now)
    return _owing(session, _SPARED, operator, rule, now, day, day, most)


def _owing(
    session: Session,
    query: str,
    operator: Operator,
    rule: CutOffRule,
    now: datetime,
    first: date,
    last: date,
    most: int,
) -> list[Owing]:
    where: dict[str, Any] = {"operator_id": operator.id, "grace": operator.grace_days, "first": first}
    rows = session.execute(text(query), {**where, "last": last, "most": most, "sooner": sooner(rule, now, first)})
    return [
        Owing(**row._asdict(), cut_at=_rule_of(rule, row).cut_off(row.paid_until, row.spared_until)) for row in rows
    ]


def _rule_of(rule: CutOffRule, row: Any) -> CutOffRule:
    return rule.for_prepaid() if row.prepaid else rule


def sooner(rule: CutOffRule, now: datetime, first: date) -> int:
    """Return what stands in for the days of grace of a prepaid service, where `first` is the first day on of others.

    It ends at midnight, they perhaps at an hour of the day or after a weekend; so its first day on is a later one.
    """
    return (first - rule.for_prepaid().first_day_on(now)).days


# A day that staff gave.


def hold(
    session: Session, actor: Actor, operator: Operator, service: Service, until: date | None, reason: str, now: datetime
) -> bool:
    """Leave a service alone until a day is over: neither reminded nor cut; None ends that.

    One that was cut for being overdue comes back. Returns whether it did. Raises Invalid and WrongState.
    """
    lock_books(session, operator.id, [service.subscriber_id])
    session.refresh(service)
    if service.state == "terminated":
        raise WrongState(service.state, "hold")
    rule = cut_off_rule(operator)
    today = now.astimezone(rule.zone).date()
    if until is not None and until < today:
        raise Invalid(FieldProblem("until", Problem.TOO_LONG_AGO))
    if until is not None and until > today + LONGEST_HOLD:
        raise Invalid(FieldProblem("until", Problem.TOO_FAR_AHEAD, {"latest": (today + LONGEST_HOLD).isoformat()}))
    if len(reason) > 500 or not reason.isprintable():
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
    before = {"held_until": service.held_until}
    service.held_until = until
    session.flush()
    record(session, actor, "service.hold", "service", service.id, before, {"held_until": until, "note": reason.strip()})
    back = until is not None and service.state == "suspended" and service.suspension_cause == "overdue"
    if back:
        restore(session, actor, service)
    return back


# Where books and network disagree.


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Services that are off though paid, and on though not."""

    paid_but_off: Sequence[OddService]
    unpaid_but_on: Sequence[OddService]

    def __bool__(self) -> bool:
        return bool(self.paid_but_off or self.unpaid_but_on)


SETTLING = timedelta(minutes=5)
"""So long the worker has to write down a cut-off before it counts as missing."""


def disagreement(session: Session, operator: Operator, now: datetime) -> Disagreement:
    """Return where the state of services is not what their money says; empty when all is well."""
    rule = cut_off_rule(operator)
    off, on = rule.first_day_on(now), rule.first_day_on(now - SETTLING)
    return Disagreement(
        paid_but_off(session, operator.id, off, operator.grace_days, sooner(rule, now, off)),
        unpaid_but_on(session, operator.id, on, operator.grace_days, sooner(rule, now - SETTLING, on)),
    )


def alert(session: Session, keyring: Keyring, operator_id: int, now: datetime) -> bool:
    """Tell whom the operator named that books and network disagree: once a day while they do. Returns whether."""
    kept = session.get(DunningSettings, operator_id, with_for_update=True, populate_existing=True)
    if kept is None or not kept.alert_address:
        return False
    operator = session.get_one(Operator, operator_id)
    today = now.astimezone(cut_off_rule(operator).zone).date()
    if kept.alerted_on == today:
        return False
    found = disagreement(session, operator, now)
    if not found:
        return False
    say, language = translator(operator.locale.split("_")[0]), operator.locale.split("_")[0]
    off, on = found.paid_but_off, found.unpaid_but_on
    lost, owed = sum((each.price for each in off), Decimal(0)), sum((each.owed for each in on), Decimal(0))
    locale = money_locale(language, operator.currency)
    body = say(
        N_(
            "Paid but off: %(off)s services, %(lost)s a month.\nUnpaid but on: %(on)s services, %(owed)s open.\n\n"
            "Which they are stands in Portico under Billing, Dunning."
        )
    ) % {
        "off": len(off),
        "on": len(on),
        "lost": format_money(lost, operator.currency, locale),
        "owed": format_money(owed, operator.currency, locale),
    }
    subject = say(N_("Books and network disagree"))
    deliver(session, keyring, operator_id, [Message("dunning", EMAIL, kept.alert_address, language, subject, body)])
    kept.alerted_on = today
    session.flush()
    record(
        session,
        Actor(operator_id, ACTOR),
        "dunning.alert",
        "operator",
        operator_id,
        None,
        {"paid_but_off": len(off), "unpaid_but_on": len(on)},
    )
    return True
