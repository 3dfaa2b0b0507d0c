"""Rows that tests start from, each added with the least that it needs."""

from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import AccountingSession, AuthEvent, Nas, Operator, RatePlan, Service, Subscriber

_numbers = count(1)


def add_operator(rows: Session, **values: Any) -> int:
    number = next(_numbers)
    operator = Operator(**{"slug": f"operator-{number}", "name": f"Operator {number}", **values})
    rows.add(operator)
    rows.flush()
    return operator.id


def add_plan(rows: Session, operator_id: int, **values: Any) -> int:
    defaults = {"name": f"Plan {next(_numbers)}", "download": 20_000_000, "upload": 5_000_000}
    plan = RatePlan(operator_id=operator_id, **{**defaults, **values})
    rows.add(plan)
    rows.flush()
    return plan.id


def add_nas(rows: Session, operator_id: int, **values: Any) -> int:
    number = next(_numbers)
    defaults = {"name": f"nas-{number}", "address": f"10.99.{number // 256}.{number % 256}", "secret": b"sealed"}
    nas = Nas(operator_id=operator_id, **{**defaults, **values})
    rows.add(nas)
    rows.flush()
    return nas.id


def add_subscriber(rows: Session, operator_id: int, **values: Any) -> int:
    subscriber = Subscriber(operator_id=operator_id, **{"name": "José María Fernández-Villalobos", **values})
    rows.add(subscriber)
    rows.flush()
    return subscriber.id


def add_service(rows: Session, operator_id: int, plan_id: int, name: str, **values: Any) -> int:
    defaults = {"access_method": "pppoe", "password": b"sealed"}
    if "subscriber_id" not in values:
        values["subscriber_id"] = add_subscriber(rows, operator_id)
    service = Service(operator_id=operator_id, plan_id=plan_id, name=name, **{**defaults, **values})
    rows.add(service)
    rows.flush()
    return service.id


def add_session(
    rows: Session, operator_id: int, service_id: int | None, acct_session_id: str, **values: Any
) -> AccountingSession:
    now = utc_now()
    defaults: dict[str, Any] = {
        "nas_id": 1,
        "user_name": "somebody",
        "kind": "ppp",
        "started_at": now - timedelta(hours=1),
        "updated_at": now,
    }
    session = AccountingSession(
        operator_id=operator_id, service_id=service_id, acct_session_id=acct_session_id, **{**defaults, **values}
    )
    rows.add(session)
    rows.flush()
    return session


def add_auth_event(rows: Session, operator_id: int, service_id: int | None, **values: Any) -> AuthEvent:
    defaults: dict[str, Any] = {
        "nas_id": 1,
        "user_name": "somebody",
        "kind": "ppp",
        "method": "chap",
        "outcome": "accept",
        "at": utc_now() - timedelta(minutes=1),
    }
    event = AuthEvent(operator_id=operator_id, service_id=service_id, **{**defaults, **values})
    rows.add(event)
    rows.flush()
    return event
