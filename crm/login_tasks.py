"""Celery tasks of subscribers' logins."""

import structlog
from celery import shared_task

from core.clock import utc_now
from core.settings import read_settings
from crm.contact_changes import forget_changes
from crm.passes import forget_passes
from crm.subscriber_logins import forget_spent, give_logins
from db.session import system_sessions

log = structlog.get_logger()


@shared_task
def send_first_logins() -> None:
    """Send the first login to those whose service became active, whoever or whatever activated it."""
    settings = read_settings()
    with system_sessions()() as session:
        count = give_logins(session, settings.keyring, settings.public_url, utc_now())
    if count:
        log.info("logins_given", count=count)


@shared_task
def forget_spent_codes() -> None:
    """Remove codes, links and passes that have long been of no use."""
    with system_sessions()() as session:
        forget_spent(session, utc_now())
        forget_changes(session, utc_now())
        forget_passes(session, utc_now())
        session.commit()
