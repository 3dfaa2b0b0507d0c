"""Deleting at night what has been kept long enough, operator by operator, and erasing who was removed for good.

One worker at a time looks after an operator. One that is killed leaves a run without an end, and the next to come goes
on with it, at whatever hour: what a person was promised to be forgotten must not wait for a quiet night.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from celery import shared_task
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import read_settings
from crm.retention import (
    BATCH,
    KINDS,
    begin_run,
    delete_batches,
    drop_partitions,
    end_run,
    rules_of,
)
from crm.undelete import erase_due
from db.models import Operator, RetentionRule, RetentionRun
from db.session import make_engine, system_sessions

TASK_LOCK = 7481
"""First half of the advisory locks, the second is the operator."""
NIGHT = range(1, 6)
"""Hours of the operator's zone in which a run begins."""
BETWEEN = timedelta(hours=20)

log = structlog.get_logger()


@shared_task
def enforce_retention() -> None:
    """Delete what is due now."""
    settings = read_settings()
    erase_due(system_sessions(), settings.keyring, utc_now())
    owner = make_engine(settings.owner_database_url.get_secret_value()) if settings.owner_database_url else None
    try:
        enforce(system_sessions(), owner, utc_now())
    finally:
        if owner is not None:
            owner.dispose()


def enforce(
    sessions: sessionmaker[Session], owner: Engine | None, now: datetime, *, batch: int = BATCH
) -> dict[int, int]:
    """Do the runs that are due and return how many rows went, by operator.

    Without `owner`, the connection that may drop partitions, all is deleted in batches.
    """
    with sessions() as session:
        due = [operator for operator in _with_rules(session) if due_kinds(session, operator, now)]
    removed: dict[int, int] = {}
    with sessions() as holding:  # its transaction holds the locks until all is done
        mine = [operator for operator in due if _locked(holding, operator.id)]
        runs: list[RetentionRun] = []
        for operator in mine:
            with sessions() as session:
                days = rules_of(session, operator.id)
                kinds = due_kinds(session, operator, now)
                runs += [begin_run(session, operator.id, KINDS[kind], days[kind], now) for kind in kinds]
                session.commit()
        if owner is not None:
            _drop(owner, runs)
        for run in runs:
            try:
                for _count in delete_batches(sessions, run.id, batch=batch):
                    pass
                with sessions() as session:
                    ended = end_run(session, run.id, utc_now())
                    session.commit()
            except SQLAlchemyError:  # is gone on with the next time; the rows of others are not to wait for it
                log.exception("retention_failed", operator_id=run.operator_id, kind=run.kind)
                continue
            removed[run.operator_id] = removed.get(run.operator_id, 0) + ended.removed
            if ended.removed:
                log.info("retention_enforced", operator_id=run.operator_id, kind=run.kind, rows=ended.removed)
    return removed


def due_kinds(session: Session, operator: Operator, now: datetime) -> list[str]:
    """Return the kinds of an operator whose time it is: an interrupted run at once, others once a night."""
    rules = rules_of(session, operator.id)
    night = now.astimezone(ZoneInfo(operator.timezone)).hour in NIGHT
    due = []
    for kind in rules:
        query = select(RetentionRun.began_at, RetentionRun.ended_at).where(
            RetentionRun.operator_id == operator.id, RetentionRun.kind == kind
        )
        last = session.execute(query.order_by(RetentionRun.began_at.desc()).limit(1)).one_or_none()
        interrupted = last is not None and last.ended_at is None
        if interrupted or (night and (last is None or last.began_at <= now - BETWEEN)):
            due.append(kind)
    return due


def _with_rules(session: Session) -> Sequence[Operator]:
    operators = select(RetentionRule.operator_id)
    return session.scalars(select(Operator).where(Operator.id.in_(operators)).order_by(Operator.id)).all()


def _locked(session: Session, operator_id: int) -> bool:
    lock = {"lock": TASK_LOCK, "operator": operator_id}
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock, CAST(:operator AS integer))"), lock))


def _drop(owner: Engine, runs: Sequence[RetentionRun]) -> None:
    for kind in KINDS.values():
        if kind.partitioned:
            dropped = drop_partitions(owner, kind, [run for run in runs if run.kind == kind.name])
            if dropped:
                log.info("partitions_dropped", names=dropped)
