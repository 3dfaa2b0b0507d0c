"""Reports of finance, as queries: each returns rows for a page, a chart or a file.

They run under the portal's role for one operator, or under the system's; either way they name the operator. Amounts
are the operator's currency; days are inclusive.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.clock import start_of_day
from crm.currencies import in_books


@dataclass(frozen=True, slots=True)
class AgingRow:
    """What a subscriber owes, by how many days it is overdue."""

    subscriber_id: int
    name: str
    not_due: Decimal
    to_30: Decimal
    to_60: Decimal
    to_90: Decimal
    over_90: Decimal
    total: Decimal
    oldest_due_on: date


@dataclass(frozen=True, slots=True)
class IncomeRow:
    """An amount under a heading: a plan, a way to pay, a cashier, a month."""

    label: str
    count: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TaxRow:
    """A tax of a span of days: of invoices, less credit notes."""

    name: str
    rate: Decimal
    base: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class MonthRow:
    """A calendar month: what was to come in and what came, services, and who came and left."""

    month: date
    invoiced: Decimal
    credited: Decimal
    collected: Decimal
    services: int
    started: int
    ended: int

    @property
    def arpu(self) -> Decimal | None:
        """Net billed for each service."""
        return (self.invoiced - self.credited) / self.services if self.services else None

    @property
    def churn(self) -> Decimal | None:
        """Share of the services that ended in the month."""
        return Decimal(self.ended) / self.services if self.services else None


@dataclass(frozen=True, slots=True)
class OddService:
    """A service whose state is not what its money says; `price` is of a month, `owed` what its invoices have open."""

    service_id: int
    name: str
    subscriber_id: int
    subscriber: str
    state: str
    cause: str | None
    paid_until: date | None
    price: Decimal
    owed: Decimal


_BUCKETS = """
       coalesce(sum(i.open) FILTER (WHERE i.due_on >= :today), 0) AS not_due,
       coalesce(sum(i.open) FILTER (WHERE :today - i.due_on BETWEEN 1 AND 30), 0) AS to_30,
       coalesce(sum(i.open) FILTER (WHERE :today - i.due_on BETWEEN 31 AND 60), 0) AS to_60,
       coalesce(sum(i.open) FILTER (WHERE :today - i.due_on BETWEEN 61 AND 90), 0) AS to_90,
       coalesce(sum(i.open) FILTER (WHERE :today - i.due_on > 90), 0) AS over_90, coalesce(sum(i.open), 0) AS total
"""
_AGING = f"""
WITH owing AS (
    SELECT i.subscriber_id, {_BUCKETS}, min(i.due_on) AS oldest_due_on
    FROM invoice i WHERE i.operator_id = :operator_id AND i.paid + i.credited < i.total
    GROUP BY i.subscriber_id ORDER BY total DESC, i.subscriber_id LIMIT :most
)
SELECT owing.*, b.name FROM owing JOIN subscriber b ON b.id = owing.subscriber_id ORDER BY total DESC, subscriber_id
"""  # noqa: S608 - columns of ours
_AGING_SUMS = f"""
SELECT {_BUCKETS} FROM invoice i WHERE i.operator_id = :operator_id AND i.paid + i.credited < i.total
"""  # noqa: S608 - columns of ours

# These read the sums of days (db.models.finance_day), not the documents: of three years there are millions.

_INCOME = {
    "plan": """
SELECT coalesce(p.name, d.label) AS label, sum(d.count)::bigint AS count, sum(d.amount) AS amount
FROM finance_day d LEFT JOIN rate_plan p ON p.id = d.ref_id
WHERE d.operator_id = :operator_id AND d.kind = 'plan' AND d.day BETWEEN :first AND :last
GROUP BY 1 ORDER BY amount DESC
""",
    "method": """
SELECT m.name AS label, sum(d.count)::bigint AS count, sum(d.amount) AS amount
FROM finance_day d JOIN payment_method m ON m.id = d.ref_id
WHERE d.operator_id = :operator_id AND d.kind = 'paid' AND d.day BETWEEN :first AND :last
GROUP BY 1 HAVING sum(d.count) > 0 ORDER BY amount DESC
""",
    "cashier": """
SELECT coalesce(c.name, s.name, '') AS label, sum(d.count)::bigint AS count, sum(d.amount) AS amount
FROM finance_day d LEFT JOIN staff s ON s.id = d.staff_id LEFT JOIN collector c ON c.id = d.collector_id
WHERE d.operator_id = :operator_id AND d.kind = 'paid' AND d.day BETWEEN :first AND :last
GROUP BY 1 HAVING sum(d.count) > 0 ORDER BY amount DESC
""",
    "month": """
SELECT to_char(d.day, 'YYYY-MM') AS label, sum(d.count)::bigint AS count, sum(d.amount) AS amount
FROM finance_day d
WHERE d.operator_id = :operator_id AND d.kind = 'paid' AND d.day BETWEEN :first AND :last
GROUP BY 1 HAVING sum(d.count) > 0 ORDER BY 1
""",
}
LATE_FEES = "late_fee"
"""The label of income by plan under which late fees stand."""

_TAXES = """
SELECT label AS name, rate, sum(base) AS base, sum(amount) AS amount
FROM finance_day WHERE operator_id = :operator_id AND kind = 'tax' AND day BETWEEN :first AND :last
GROUP BY label, rate ORDER BY label, rate
"""

_MONTH_SUMS = """
SELECT date_trunc('month', day)::date AS month, kind, sum(amount) AS amount
FROM finance_day
WHERE operator_id = :operator_id AND kind IN ('invoiced', 'credited', 'paid') AND day BETWEEN :first AND :last
GROUP BY 1, 2
"""
# Bucket 0 is before the first month, bucket N the Nth month; the bounds are instants, so no service's is converted.
_MONTH_SERVICES = """
SELECT width_bucket(activated_at, CAST(:bounds AS timestamptz[])) AS started,
       width_bucket(terminated_at, CAST(:bounds AS timestamptz[])) AS ended, count(*) AS services
FROM service WHERE operator_id = :operator_id AND access_method <> 'voucher' AND activated_at IS NOT NULL
GROUP BY 1, 2
"""

_RECURRING = f"""
SELECT coalesce(sum({in_books("coalesce(b.price, p.price)", "p")} + coalesce(i.price, 0)), 0) + (
    SELECT coalesce(sum(c.amount), 0) FROM charge c
    WHERE c.operator_id = :operator_id AND c.kind = 'recurring' AND c.cancelled_at IS NULL
      AND c.starts_on <= :today AND (c.ends_on IS NULL OR c.ends_on >= :today))
FROM service_billing b JOIN rate_plan p ON p.id = b.plan_id
LEFT JOIN (
    SELECT plan_id, sum(price) AS price FROM plan_item
    WHERE operator_id = :operator_id AND NOT once AND ended_at IS NULL GROUP BY 1
) i ON i.plan_id = b.plan_id
WHERE b.operator_id = :operator_id AND b.stopped_on IS NULL
"""  # noqa: S608 - texts of ours

_EXPECTED = """
SELECT coalesce(sum(amount), 0) AS expected, coalesce(sum(base), 0) AS collected
FROM finance_day WHERE operator_id = :operator_id AND kind = 'due' AND day BETWEEN :first AND :last
"""

_PAID_BUT_OFF = f"""
SELECT s.id AS service_id, s.name, s.subscriber_id, b.name AS subscriber, s.state, s.suspension_cause AS cause,
       s.paid_until, {in_books("coalesce(y.price, p.price)", "p")} AS price,
       (SELECT coalesce(sum(i.open), 0) FROM invoice i
        WHERE i.service_id = s.id AND i.paid + i.credited < i.total) AS owed
FROM service s JOIN subscriber b ON b.id = s.subscriber_id JOIN service_billing y ON y.service_id = s.id
JOIN rate_plan p ON p.id = s.plan_id
WHERE s.operator_id = :operator_id AND s.state = 'suspended' AND s.suspension_cause = 'overdue'
  AND (s.paid_until IS NULL
       OR greatest(s.paid_until + CASE WHEN s.prepaid THEN :sooner ELSE :grace END, s.promised_until,
                   s.held_until) >= :today)
ORDER BY s.id LIMIT :most
"""  # noqa: S608 - texts of ours

_UNPAID_BUT_ON = f"""
SELECT s.id AS service_id, s.name, s.subscriber_id, b.name AS subscriber, s.state, s.suspension_cause AS cause,
       s.paid_until, {in_books("coalesce(y.price, p.price)", "p")} AS price,
       (SELECT coalesce(sum(i.open), 0) FROM invoice i
        WHERE i.service_id = s.id AND i.paid + i.credited < i.total) AS owed
FROM service s JOIN subscriber b ON b.id = s.subscriber_id JOIN service_billing y ON y.service_id = s.id
JOIN rate_plan p ON p.id = s.plan_id
WHERE s.operator_id = :operator_id AND s.state = 'active' AND s.management = 'automatic'
  AND greatest(s.paid_until + CASE WHEN s.prepaid THEN :sooner ELSE :grace END, s.promised_until,
                   s.held_until) < :today
ORDER BY s.id LIMIT :most
"""  # noqa: S608 - texts of ours


def aging(session: Session, operator_id: int, today: date, most: int = 10_000) -> list[AgingRow]:
    """Return who owes what for how long, the largest sums first."""
    rows = session.execute(text(_AGING), {"operator_id": operator_id, "today": today, "most": most})
    return [AgingRow(**row._asdict()) for row in rows]


def aging_sums(session: Session, operator_id: int, today: date) -> dict[str, Decimal]:
    """Return what everybody owes together, by how many days it is overdue; the keys are the fields of AgingRow."""
    row = session.execute(text(_AGING_SUMS), {"operator_id": operator_id, "today": today}).one()
    return {name: row._mapping[name] for name in ("not_due", "to_30", "to_60", "to_90", "over_90", "total")}


def income(session: Session, operator_id: int, by: str, first: date, last: date) -> list[IncomeRow]:
    """Return income by `plan` (net, as invoiced), or by `method`, `cashier` or `month` (as paid).

    Raises KeyError for another heading.
    """
    where = {"operator_id": operator_id, "first": first, "last": last}
    return [IncomeRow(**row._asdict()) for row in session.execute(text(_INCOME[by]), where)]


def taxes(session: Session, operator_id: int, first: date, last: date) -> list[TaxRow]:
    """Return each tax of the invoices issued in these days, less what credit notes of these days took back."""
    where = {"operator_id": operator_id, "first": first, "last": last}
    return [TaxRow(**row._asdict()) for row in session.execute(text(_TAXES), where)]


def months(session: Session, operator_id: int, zone: str, first: date, last: date) -> list[MonthRow]:
    """Return each calendar month from the one of `first` to the one of `last`."""
    begins = [first.replace(day=1)]
    while begins[-1] <= last:
        begins.append((begins[-1] + timedelta(days=31)).replace(day=1))
    where = {"operator_id": operator_id, "first": begins[0], "last": begins[-1] - timedelta(days=1)}
    sums = {(row.month, row.kind): row.amount for row in session.execute(text(_MONTH_SUMS), where)}
    bounds = [start_of_day(begin, ZoneInfo(zone)) for begin in begins]
    started, ended = Counter[int](), Counter[int]()
    for row in session.execute(text(_MONTH_SERVICES), {"operator_id": operator_id, "bounds": bounds}):
        started[row.started] += row.services
        ended[len(begins) if row.ended is None else row.ended] += row.services
    rows, there = [], started[0] - ended[0]
    for number, month in enumerate(begins[:-1], 1):
        there += started[number]
        kept = {kind: sums.get((month, kind), Decimal(0)) for kind in ("invoiced", "credited", "paid")}
        counts = {"services": there, "started": started[number], "ended": ended[number]}
        rows.append(MonthRow(month, kept["invoiced"], kept["credited"], kept["paid"], **counts))
        there -= ended[number]
    return rows


def came_in(session: Session, operator_id: int, first: date, last: date) -> tuple[int, Decimal]:
    """Return how many payments these days have, and what they come to less refunds."""
    query = (
        "SELECT coalesce(sum(count), 0)::bigint, coalesce(sum(amount), 0) FROM finance_day"
        " WHERE operator_id = :operator_id AND kind = 'paid' AND day BETWEEN :first AND :last"
    )
    row = session.execute(text(query), {"operator_id": operator_id, "first": first, "last": last}).one()
    return row[0], row[1]


def monthly_recurring(session: Session, operator_id: int, today: date) -> Decimal:
    """Return what a month of all billed services costs, with recurring charges, before discounts and taxes."""
    amount = session.execute(text(_RECURRING), {"operator_id": operator_id, "today": today}).scalar_one()
    assert isinstance(amount, Decimal)
    return amount


def expected_and_collected(session: Session, operator_id: int, first: date, last: date) -> tuple[Decimal, Decimal]:
    """Return what fell due in these days, and how much of that is paid by now."""
    row = session.execute(text(_EXPECTED), {"operator_id": operator_id, "first": first, "last": last}).one()
    return row.expected, row.collected


def paid_but_off(
    session: Session, operator_id: int, day: date, grace_days: int, sooner: int = 0, most: int = 1000
) -> list[OddService]:
    """Return services that are suspended for being overdue and are not overdue: none when all is well.

    `day` is the first that counts as paid: `CutOffRule.first_day_on()`; `sooner` stands in for the grace of prepaid
    services (`dunning_lists.sooner()`).
    """
    return _odd(session, _PAID_BUT_OFF, operator_id, day, grace_days, sooner, most)


def unpaid_but_on(
    session: Session, operator_id: int, day: date, grace_days: int, sooner: int = 0, most: int = 1000
) -> list[OddService]:
    """Return services that are overdue and active: none when all is well, but for the minute after a cut-off.

    `day` is the first that counts as paid: `CutOffRule.first_day_on()`; `sooner` stands in for the grace of prepaid
    services (`dunning_lists.sooner()`).
    """
    return _odd(session, _UNPAID_BUT_ON, operator_id, day, grace_days, sooner, most)


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A line of the ledger as accounting software takes it; debit and credit are not below zero."""

    entry: int
    booked_on: date
    kind: str
    document: str
    account: str
    account_name: str
    subscriber: str
    debit: Decimal
    credit: Decimal
    reason: str


_JOURNAL = """
SELECT e.number AS entry, e.booked_on, e.kind, e.source || ' ' || e.source_id AS document,
       coalesce(nullif(a.code, ''), l.account) AS account, coalesce(a.name, '') AS account_name,
       coalesce(b.name, '') AS subscriber,
       greatest(l.amount, 0) AS debit, greatest(-l.amount, 0) AS credit, e.reason
FROM (
    SELECT * FROM ledger_entry
    WHERE operator_id = :operator_id AND booked_on BETWEEN :first AND :last
      AND (booked_on, number) > (:after_day, :after)
    ORDER BY booked_on, number LIMIT :most
) AS e
JOIN ledger_line l ON l.entry_id = e.id
LEFT JOIN ledger_account a ON a.operator_id = e.operator_id AND a.account = l.account
LEFT JOIN subscriber b ON b.id = l.subscriber_id
ORDER BY e.booked_on, e.number, l.position
"""


def journal(
    session: Session,
    operator_id: int,
    first: date,
    last: date,
    after: tuple[date, int] | None = None,
    most: int = 2000,
) -> Sequence[JournalLine]:
    """Return the ledger's lines of these days in the order of days and entries: those of `most` whole entries.

    `after` is the day and the number of the last entry of the answer before.
    """
    after_day, number = after or (first, 0)
    where: dict[str, Any] = {"operator_id": operator_id, "first": first, "last": last, "most": most}
    found = session.execute(text(_JOURNAL), {**where, "after_day": after_day, "after": number})
    return [JournalLine(**row._asdict()) for row in found]


def _odd(
    session: Session, query: str, operator_id: int, day: date, grace_days: int, sooner: int, most: int
) -> list[OddService]:
    where = {"operator_id": operator_id, "today": day, "grace": grace_days, "sooner": sooner, "most": most}
    return [OddService(**row._asdict()) for row in session.execute(text(query), where)]
