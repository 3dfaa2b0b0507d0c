"""When a service is cut: the instant that receipts, pages and messages name.

A day until which something is paid is not the day of the cut-off: days of grace, a promise, a day that staff gave, the
operator's hour, weekends and holidays come after it. Whoever tells a subscriber when they are cut asks here, so that
paper, page and message name the instant at which it happens.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from aaa.cut_off import CutOffRule
from db.models import Operator, Service


def cut_off_rule(operator: Operator) -> CutOffRule:
    """Return when an operator cuts."""
    return CutOffRule(
        ZoneInfo(operator.timezone),
        operator.grace_days,
        operator.cut_off_hour,
        frozenset(operator.cut_off_weekdays),
        operator.holiday_country,
        operator.holiday_subdivision,
        frozenset(operator.days_off),
    )


def cut_offs(session: Session, operator: Operator, days: Mapping[int, date | None]) -> dict[int, datetime]:
    """Return the instant at which each service is cut if nothing more is paid, by its id.

    `days` are those until which they are paid, both ends included. Services without such a day, those that people cut
    by hand and those that are not on are left out.
    """
    rule, found = cut_off_rule(operator), {}
    query = select(Service.id, Service.prepaid, Service.promised_until, Service.held_until).where(
        Service.operator_id == operator.id,
        Service.id.in_([service_id for service_id, day in days.items() if day is not None]),
        Service.management == "automatic",
        Service.state == "active",
    )
    for row in session.execute(query):
        day = days[row.id]
        assert day is not None
        spared = max((each for each in (row.promised_until, row.held_until) if each), default=None)
        found[row.id] = (rule.for_prepaid() if row.prepaid else rule).cut_off(day, spared)
    return found


def kept_cut_off(effect: Mapping[str, Any], since: datetime) -> datetime | None:
    """Return when a service is cut after a payment, as `payment.effects` keeps it of a service.

    None where it is not cut by a date, was cut already when the payment came (`since`), or nobody noted it then.
    """
    kept = effect.get("cut_at")
    found = datetime.fromisoformat(kept) if kept else None
    return found if found is not None and found > since else None
