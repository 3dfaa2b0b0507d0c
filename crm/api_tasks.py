"""Celery tasks of the API."""

import structlog
from celery import shared_task

from core.clock import utc_now
from crm.api_tokens import forget_old_answers
from db.session import system_sessions

log = structlog.get_logger()


@shared_task
def forget_answers() -> None:
    """Remove answers that were remembered for requests sent twice, once nobody may send them again."""
    with system_sessions()() as session:
        count = forget_old_answers(session, utc_now())
        session.commit()
    if count:
        log.info("api_answers_forgotten", count=count)
