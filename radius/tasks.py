"""What the worker does on a timer. Each task opens a connection, calls one function and is harmless when called twice.

Tasks that write much take an advisory lock, so that of several workers one does the work and the others pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from celery import shared_task

from core.clock import utc_now
from core.settings import Settings, read_settings
from radius.facts import Connection

TASK_LOCK = 7482
_DUNNING, _STALE, _PARTITIONS, _PURGE = range(4)

log = structlog.get_logger()


def _settings() -> Settings:
    return read_settings()


@contextmanager
def _connection() -> Iterator[Connection]:
    settings = _settings()
    assert settings.database_url is not None, "the settings are complete"
    with psycopg.connect(
        settings.database_url.get_secret_value(), autocommit=True, connect_timeout=5, application_name="worker task"
    ) as connection:
        yield connection


@contextmanager
def _alone(task: int) -> Iterator[Connection | None]:
    """Yield a connection while no other worker does the same task, else None."""
    with _connection() as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (TASK_LOCK, task)).fetchone()
        yield connection if row and row[0] else None


@shared_task
def sweep() -> None:
    """Order what every other way missed."""
    from radius.reconcile import find_drift

    with _connection() as connection:
        outcome = find_drift(connection, utc_now())
    if outcome is not None and outcome.orders:
        log.warning("drift_found", orders=outcome.orders, services=outcome.services)


@shared_task
def suspend_overdue_services() -> None:
    from radius.lifecycle import suspend_overdue

    with _alone(_DUNNING) as connection:
        if connection is not None and (suspended := suspend_overdue(connection, utc_now())):
            log.info("services_suspended", services=suspended)


@shared_task
def purge_change_log() -> None:
    from radius.reconcile import purge_log

    with _alone(_PURGE) as connection:
        if connection is not None:
            purge_log(connection, utc_now())


@shared_task
def make_partitions() -> None:
    """Make the time partitions to come, drop those that are over. Tables belong to the schema's owner: its URL."""
    from db.partitions import drop_expired, ensure_partitions
    from db.session import make_engine

    settings = _settings()
    if settings.owner_database_url is None:
        log.warning("partitions_not_made", why="PORTICO_OWNER_DATABASE_URL is not set; `portico migrate` makes them")
        return
    with _alone(_PARTITIONS) as alone:
        if alone is None:
            return
        engine = make_engine(settings.owner_database_url.get_secret_value())
        try:
            with engine.begin() as connection:
                made = ensure_partitions(connection, utc_now())
                dropped = drop_expired(connection, utc_now())
        finally:
            engine.dispose()
    if made:
        log.info("partitions_made", names=made)
    if dropped:
        log.info("partitions_dropped", names=dropped)


@shared_task
def close_stale_sessions() -> None:
    from radius.maintenance import close_stale

    with _alone(_STALE) as connection:
        if connection is not None and (closed := close_stale(connection, utc_now())):
            log.info("stale_sessions_closed", sessions=closed)
