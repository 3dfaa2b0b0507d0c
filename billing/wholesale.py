"""Wholesale: what a reseller owes its parent, services of the month times the price that the parent set.

A statement counts the services that a reseller has on the parent's plans when the month ends, suspended ones too: the
place in the network is theirs. Services on plans of the reseller's own cost nothing, and stand in it as a number: they
are on the parent's network as well. It copies names and prices, so a later change does not touch it, and is made once.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.i18n import N_, translator
from core.money import rounded
from db.models import Account, Operator, WholesaleStatement

OWN_PLANS = N_("On plans of its own")


@dataclass(frozen=True, slots=True)
class Counted:
    """How many services a reseller has on a plan of its parent; `price` is for each and a month.

    Without `plan_id` they are those on plans of the reseller's own.
    """

    reseller_id: int
    reseller: str
    plan_id: int | None
    plan: str
    price: Decimal
    services: int


def last_month(today: date) -> date:
    """Return the first day of the month before."""
    return (today.replace(day=1) - date.resolution).replace(day=1)


def make_statements(session: Session, now: datetime) -> int:
    """Make the statements of the month that is over, where they are missing; return how many. The caller commits.

    Takes a session that sees all operators.
    """
    month, made = last_month(now.date()), 0
    parents = session.scalars(select(Account.parent_id).where(Account.parent_id.is_not(None)).distinct()).all()
    for parent_id in parents:
        if parent_id is not None:
            made += _statements_of(session, parent_id, month)
    return made


def _statements_of(session: Session, parent_id: int, month: date) -> int:
    parent = session.get_one(Operator, parent_id)
    currency, say = parent.currency, translator(parent.locale[:2])
    made = 0
    for reseller_id, rows in groupby(counts_of(session, parent_id), key=lambda row: row.reseller_id):
        lines, total, reseller = [], Decimal(0), ""
        for row in rows:
            amount = rounded(row.price * row.services, currency)
            total, reseller = total + amount, row.reseller
            plan = row.plan if row.plan_id is not None else say(OWN_PLANS)
            lines.append({"plan": plan, "services": row.services, "price": str(row.price), "amount": str(amount)})
        values = {
            "operator_id": parent_id, "reseller_id": reseller_id, "reseller": reseller, "month": month, "lines": lines,
            "total": total, "currency": currency,
        }  # fmt: skip
        unless = insert(WholesaleStatement).values(**values).on_conflict_do_nothing()
        made += len(session.execute(unless.returning(WholesaleStatement.id)).all())
    return made


def counts_of(session: Session, parent_id: int) -> list[Counted]:
    """Return for each reseller of a parent, and each plan given to it, the price and how many services it has now."""
    rows = session.execute(text("SELECT * FROM wholesale_counts(:id)"), {"id": parent_id})
    return [Counted(row.reseller_id, row.reseller, row.plan_id, row.plan, row.price, row.services) for row in rows]
