"""Moving `paid_until`, the day that cuts a service off, to where the money stands.

Called at the end of everything that changes money or cycles. Services that were cut for being overdue and are covered
again are restored in the same transaction; one that is covered no more is cut by the decision on its access at once,
and gets its state from the worker.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.coverage import Due, ServiceDues, covered_until
from billing.drafts import ServiceFacts, upcoming
from billing.facts import facts_of
from billing.rules import BillingRules
from billing.store import as_json
from crm.services import restore
from db.audit import Actor
from db.models import Service

_SERVICES = """
SELECT b.service_id, b.subscriber_id, b.stopped_on, s.paid_until, s.state, s.suspension_cause, s.prepaid,
       greatest(s.promised_until, s.held_until) AS spared_until,
       (SELECT min(due_on) FROM invoice i WHERE i.service_id = b.service_id AND i.paid + i.credited < i.total) AS open
FROM service_billing b JOIN service s ON s.id = b.service_id
WHERE b.operator_id = :operator_id AND b.subscriber_id = ANY(:ids) AND s.state <> 'terminated'
ORDER BY b.service_id
"""
_CREDIT = """
SELECT subscriber_id, sum(unapplied) AS credit FROM payment
WHERE subscriber_id = ANY(:ids) AND unapplied > 0 AND currency = :currency GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class DateChange:
    """What became of a service: the day until which it was and is paid, and whether it came back."""

    service_id: int
    before: date | None
    after: date | None
    restored: bool


def settle_dates(
    session: Session, actor: Actor, rules: BillingRules, subscribers: Iterable[int], today: date
) -> list[DateChange]:
    """Compute until when the subscribers' services are paid, store it, and restore who is covered again.

    Returns the services of which something changed. The caller holds `lock_books()` for these subscribers.
    """
    where: dict[str, Any] = {"operator_id": rules.operator_id, "ids": sorted(set(subscribers))}
    found = session.execute(text(_SERVICES), where).all()
    credit = {
        row.subscriber_id: row.credit for row in session.execute(text(_CREDIT), {**where, "currency": rules.currency})
    }
    unbilled = [row.service_id for row in found if row.open is None and row.stopped_on is None]
    facts = {each.service_id: each for each in facts_of(session, rules, unbilled, today)} if unbilled else {}
    grouped: dict[int, dict[int, ServiceDues]] = defaultdict(dict)
    for row in found:
        known = facts.get(row.service_id)
        dues_of = ServiceDues(row.open, _dues(known) if known else None, row.prepaid)
        grouped[row.subscriber_id][row.service_id] = dues_of
    until: dict[int, date | None] = {}
    for subscriber_id, dues in grouped.items():
        until |= covered_until(dues, credit.get(subscriber_id, Decimal(0)))
    changes = []
    for row in found:
        after = until[row.service_id]
        grace = timedelta(days=0 if row.prepaid else rules.grace_days)
        latest = None if after is None else max(after + grace, row.spared_until or after)
        overdue = row.state == "suspended" and row.suspension_cause == "overdue"
        back = overdue and (latest is None or latest >= today)
        if back or after != row.paid_until:
            changes.append(DateChange(row.service_id, row.paid_until, after, back))
    _store(session, actor, changes)
    return changes


def _dues(facts: ServiceFacts) -> Iterator[Due]:
    if facts.prepaid:  # the last day without the money is the one before the period
        return (Due(each.due_on - timedelta(days=1), each.total) for each in upcoming(facts))
    return (Due(each.due_on, each.total) for each in upcoming(facts))


def _store(session: Session, actor: Actor, changes: Sequence[DateChange]) -> None:
    moved = [change for change in changes if change.before != change.after]
    if moved:
        rows = as_json(
            [{"id": each.service_id, "before": each.before, "after": each.after} for each in moved],
        )
        session.flush()
        session.execute(
            text(
                "UPDATE service AS s SET paid_until = r.after, version = s.version + 1"
                " FROM json_to_recordset(CAST(:rows AS json)) AS r (id bigint, after date) WHERE s.id = r.id"
            ),
            {"rows": rows},
        )
        session.execute(
            text(
                "INSERT INTO audit_entry (operator_id, actor, staff_id, address, action, entity, entity_id, before,"
                " after) SELECT :operator_id, :actor, CAST(:staff_id AS bigint), CAST(:address AS inet),"
                " 'service.paid_until', 'service', r.id, jsonb_build_object('paid_until', r.before),"
                " jsonb_build_object('paid_until', r.after)"
                " FROM json_to_recordset(CAST(:rows AS json)) AS r (id bigint, before text, after text)"
            ),
            {
                "rows": rows,
                "operator_id": actor.operator_id,
                "actor": actor.name,
                "staff_id": actor.staff_id,
                "address": actor.address,
            },
        )
        forget(session, {each.service_id for each in moved})
    for change in changes:
        if change.restored:
            restore(session, actor, session.get_one(Service, change.service_id))


def forget(session: Session, services: set[int]) -> None:
    """Have objects of the session read again what was written beside them."""
    for item in list(session.identity_map.values()):
        if isinstance(item, Service) and item.id in services:
            session.expire(item)
