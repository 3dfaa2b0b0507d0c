"""Celery tasks of the API."""

from functools import cache

import structlog
from celery import shared_task
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.settings import read_settings
from crm.api_tokens import forget_old_answers
from db.session import make_engine, make_sessions

log = structlog.get_logger()


@shared_task
def forget_answers() -> None:
    """Remove answers that were remembered for requests sent twice, once nobody may send them again."""
    with _sessions()() as session:
        count = forget_old_answers(session, utc_now())
        session.commit()
    if count:
        log.info("api_answers_forgotten", count=count)


@cache
def _sessions() -> sessionmaker[Session]:
    settings = read_settings()
    assert settings.database_url is not None
    return make_sessions(make_engine(settings.database_url.get_secret_value()))
