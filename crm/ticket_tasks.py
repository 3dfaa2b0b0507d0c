"""What the worker does for the help desk on a timer. Each task is harmless when called twice, or by two workers."""

from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import shared_task
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import Settings, read_settings
from crm.mailbox import active_mailboxes, read_mailbox
from crm.ticket_alarms import tell_of_promises
from crm.ticket_upkeep import close_solved, settle_incident_tickets
from db.audit import Actor
from db.models import HelpDesk
from db.session import system_sessions

TASK_LOCK = 7480
"""First half of the advisory locks, the second is the operator: one worker reads a mailbox at a time."""

AT_ONCE = 6
"""Mailboxes that are read at the same time."""

log = structlog.get_logger()


@shared_task
def read_mailboxes() -> None:
    """Make tickets of the mails that came."""
    read_all(system_sessions(), read_settings())


def read_all(sessions: sessionmaker[Session], settings: Settings) -> None:
    """Read every mailbox that no other worker reads now, a few at a time: one that is slow delays no other."""
    with sessions() as session:
        operators = active_mailboxes(session)
    if not operators:
        return

    def read(operator_id: int) -> None:
        with sessions() as holding:
            lock = {"lock": TASK_LOCK, "operator": operator_id}
            if holding.scalar(text("SELECT pg_try_advisory_xact_lock(:lock, CAST(:operator AS integer))"), lock):
                count = read_mailbox(sessions, settings, operator_id, utc_now())
                if count:
                    log.info("mails_read", operator_id=operator_id, count=count)

    with ThreadPoolExecutor(min(AT_ONCE, len(operators)), "mailbox") as threads:
        for each in [threads.submit(read, operator_id) for operator_id in operators]:
            if (problem := each.exception()) is not None:
                log.warning("mailbox_failed", error=type(problem).__name__)


@shared_task
def look_after_tickets() -> None:
    """Let clocks run on whose incident is over, tell of promises that end, close what was solved days ago."""
    look_after(system_sessions(), read_settings())


def look_after(sessions: sessionmaker[Session], settings: Settings) -> None:
    """Do one round for every operator that has a help desk."""
    now = utc_now()
    with sessions() as session:
        operators = session.scalars(select(HelpDesk.operator_id)).all()
    for operator_id in operators:
        with sessions() as session:
            settled = settle_incident_tickets(session, operator_id, now)
            closed = close_solved(session, Actor(operator_id, "worker"), now)
            told = tell_of_promises(session, settings.keyring, operator_id, now)
            session.commit()
        if settled or closed or told:
            log.info("tickets_looked_after", operator_id=operator_id, settled=settled, closed=closed, told=told)
