"""What is done by the clock: looking at checkouts whose webhook did not come, and sending receipts."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from celery import shared_task
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from billing.gateways import ProviderTrouble
from billing.gateways.checkouts import checkouts_to_look_at, settle
from billing.mailing import mail_receipts
from billing.rules import BillingOff
from core.clock import utc_now
from core.settings import Settings, read_settings
from crm.problems import Invalid
from db.models import Checkout
from db.session import system_sessions

log = structlog.get_logger()

LOCK = 7481


@shared_task
def look_after_checkouts() -> None:
    """Settle what is still open. A provider that does not answer is asked again at the next turn."""
    look(system_sessions(), read_settings())


@shared_task
def mail_new_receipts() -> None:
    """Send the receipts of operators that want each sent."""
    settings = read_settings()
    with system_sessions()() as session, locked(session) as alone:
        if alone:
            mail_receipts(session, settings.keyring, settings.public_url, utc_now())


@contextmanager
def locked(session: Session) -> Iterator[bool]:
    """Tell whether this worker is the one that sends receipts: two would send the same one."""
    with session.get_bind().engine.connect() as connection:
        taken = bool(connection.scalar(select(func.pg_try_advisory_lock(LOCK))))
        try:
            yield taken
        finally:
            if taken:
                connection.execute(select(func.pg_advisory_unlock(LOCK)))
            connection.rollback()


def look(sessions: sessionmaker[Session], settings: Settings) -> int:
    """Look at checkouts that are due for it and return how many were settled."""
    settled = 0
    with sessions() as session:
        waiting = checkouts_to_look_at(session, utc_now())
    for checkout_id in waiting:
        with sessions() as session:
            try:
                checkout = settle(session, settings, session.get_one(Checkout, checkout_id), utc_now())
            except (ProviderTrouble, BillingOff, Invalid) as problem:
                log.warning("checkout_not_settled", checkout_id=checkout_id, why=type(problem).__name__)
                continue
            settled += checkout.state == "paid"
    return settled
