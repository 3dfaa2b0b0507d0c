"""Celery tasks of billing: each opens sessions, calls one function for each operator, and commits."""

from dataclasses import asdict

import structlog
from celery import shared_task
from sqlalchemy.exc import OperationalError

from billing.dunning import DunningResult, run_dunning
from billing.dunning_lists import alert
from billing.promises import break_promises
from billing.rules import rules_of
from billing.run import billing_operators, run_billing
from billing.top_ups import buy_automatic
from billing.wallets import remind
from core.clock import utc_now
from core.settings import read_settings
from db.session import system_sessions

log = structlog.get_logger()


@shared_task
def issue_invoices() -> None:
    """Bill every operator. What fails for one is tried again at the next turn and does not hold up the others."""
    sessions = system_sessions()
    with sessions() as session:
        operators = billing_operators(session)
    for operator_id in operators:
        try:
            done = run_billing(sessions, operator_id, utc_now())
        except OperationalError as failed:  # a deadlock, or the database is going away
            log.warning("billing_interrupted", operator_id=operator_id, error=type(failed.orig).__name__)
            continue
        if done.waiting:
            log.warning("billing_waits_for_rates", operator_id=operator_id, services=done.waiting)
        if done.invoices or done.followed:
            log.info("billed", operator_id=operator_id, invoices=done.invoices, followed=done.followed)


@shared_task
def end_broken_promises() -> None:
    """Mark the promises whose day is over without money."""
    now = utc_now()
    with system_sessions()() as session:
        for operator_id in billing_operators(session):
            count = break_promises(session, operator_id, rules_of(session, operator_id).today(now), now)
            session.commit()
            if count:
                log.info("promises_broken", operator_id=operator_id, count=count)


@shared_task
def buy_top_ups() -> None:
    """Buy data for who has reached the cap of a plan that does so by itself."""
    with system_sessions()() as session:
        count = buy_automatic(session, utc_now())
    if count:
        log.info("top_ups_bought", count=count)


@shared_task
def climb_ladders() -> None:
    """Remind, charge late fees and terminate, for every operator that bills and has its ladder on.

    Who has a prepaid service that is about to end is told whether the ladder is on or not.
    """
    settings = read_settings()
    keyring, sessions = settings.keyring, system_sessions()
    with sessions() as session:
        operators = billing_operators(session)
    for operator_id in operators:
        try:
            done = run_dunning(sessions, keyring, operator_id, utc_now(), public_url=settings.public_url)
        except OperationalError as failed:
            log.warning("dunning_interrupted", operator_id=operator_id, error=type(failed.orig).__name__)
            continue
        with sessions() as session:
            alert(session, keyring, operator_id, utc_now())
            session.commit()
        with sessions() as session:
            remind(session, keyring, rules_of(session, operator_id), utc_now(), public_url=settings.public_url)
            session.commit()
        if done != DunningResult():
            log.info("dunned", operator_id=operator_id, **asdict(done))


@shared_task
def forget_voucher_prints() -> None:
    """Delete sheets of vouchers that were made more than a day ago: they show codes."""
    from billing.voucher_cards import forget_old_prints

    with system_sessions()() as session:
        forget_old_prints(session)
        session.commit()
