"""Celery tasks of operators' accounts: reminders of licences, statements for resellers' parents, removals."""

import structlog
from celery import shared_task

from billing.wholesale import make_statements
from core.clock import utc_now
from core.settings import read_settings
from crm.leaving import remove_due
from crm.licence_mails import remind_all
from db.session import system_sessions

log = structlog.get_logger()


@shared_task
def look_after_accounts() -> None:
    """Remind whose licence ends soon, and make the statements of the month that is over."""
    settings = read_settings()
    with system_sessions()() as session:
        told = remind_all(session, settings.keyring, settings.public_url, utc_now())
        made = make_statements(session, utc_now())
        session.commit()
    if told or made:
        log.info("accounts_looked_after", reminded=told, statements=made)


@shared_task
def remove_operators() -> None:
    """Remove the operators whose days of grace are over."""
    remove_due(system_sessions(), utc_now())
