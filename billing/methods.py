"""Ways to pay and collectors: what an operator takes, and who takes it on the road.

Neither is ever removed, since payments name them; one that is not used any more is switched off.
"""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Collector, PaymentMethod, Staff
from db.models.payment import METHOD_ACCOUNTS

LONGEST_NAME = 50


@dataclass(frozen=True, slots=True)
class MethodTerms:
    """What is entered for a way to pay; `account` is where the money lands: cash, bank or card."""

    name: str
    account: str
    needs_reference: bool = False
    active: bool = True


@dataclass(frozen=True, slots=True)
class CollectorTerms:
    """What is entered for a collector; `commission` is percent of what was collected."""

    name: str
    commission: Decimal = Decimal(0)
    staff_id: int | None = None
    active: bool = True


def save_method(session: Session, actor: Actor, terms: MethodTerms, method: PaymentMethod | None) -> PaymentMethod:
    """Enter a way to pay, or change one. Raises Invalid, also where payments were booked to another account."""
    problems = _name_problems(terms.name)
    same = select(PaymentMethod.id).where(
        PaymentMethod.operator_id == actor.operator_id, func.lower(PaymentMethod.name) == terms.name.strip().lower()
    )
    if session.scalar(same.where(PaymentMethod.id != (method.id if method else 0))) is not None:
        problems.append(FieldProblem("name", Problem.TAKEN))
    if terms.account not in METHOD_ACCOUNTS or (method is not None and method.account != terms.account):
        problems.append(FieldProblem("account", Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)
    before = _method_values(method) if method else None
    if method is None:
        method = PaymentMethod(operator_id=actor.operator_id, account=terms.account)
        session.add(method)
    method.name, method.needs_reference, method.active = terms.name.strip(), terms.needs_reference, terms.active
    session.flush()
    action = "payment_method.change" if before else "payment_method.create"
    record(session, actor, action, "payment_method", method.id, before, _method_values(method))
    return method


def save_collector(session: Session, actor: Actor, terms: CollectorTerms, collector: Collector | None) -> Collector:
    """Enter a collector, or change one; a commission holds for payments from now on. Raises Invalid."""
    problems = _name_problems(terms.name)
    if not 0 <= terms.commission <= 100:
        problems.append(FieldProblem("commission", Problem.OUT_OF_RANGE, {"low": "0", "high": "100"}))
    if terms.staff_id is not None:
        person = session.get(Staff, terms.staff_id)
        if person is None or person.operator_id != actor.operator_id:
            problems.append(FieldProblem("staff_id", Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)
    before = _collector_values(collector) if collector else None
    if collector is None:
        collector = Collector(operator_id=actor.operator_id)
        session.add(collector)
    collector.name, collector.commission = terms.name.strip(), terms.commission
    collector.staff_id, collector.active = terms.staff_id, terms.active
    session.flush()
    action = "collector.change" if before else "collector.create"
    record(session, actor, action, "collector", collector.id, before, _collector_values(collector))
    return collector


def _name_problems(name: str) -> list[FieldProblem]:
    if not name.strip():
        return [FieldProblem("name", Problem.REQUIRED)]
    if len(name) > LONGEST_NAME or not name.isprintable():
        return [FieldProblem("name", Problem.TOO_LONG, {"limit": str(LONGEST_NAME)})]
    return []


def _method_values(method: PaymentMethod) -> dict[str, object]:
    return {name: getattr(method, name) for name in ("name", "account", "needs_reference", "active")}


def _collector_values(collector: Collector) -> dict[str, object]:
    return {name: getattr(collector, name) for name in ("name", "commission", "staff_id", "active")}
