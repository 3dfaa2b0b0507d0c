"""What is done by the clock: sending invoices to the tax office, and asking what became of them."""

import structlog
from celery import shared_task
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from billing.einvoice.sending import turn
from core.clock import utc_now
from core.settings import read_settings
from db.models import EinvoiceSettings
from db.session import system_sessions

log = structlog.get_logger()


@shared_task
def send_electronic_invoices() -> None:
    """Take every operator's documents a step further; what fails for one does not hold up the others."""
    settings, sessions = read_settings(), system_sessions()
    with sessions() as session:
        operators = session.scalars(
            select(EinvoiceSettings.operator_id).where(EinvoiceSettings.enabled).order_by(EinvoiceSettings.operator_id)
        ).all()
    for operator_id in operators:
        try:
            done = turn(sessions, settings, operator_id, utc_now())
        except OperationalError as failed:
            log.warning("einvoices_interrupted", operator_id=operator_id, error=type(failed.orig).__name__)
            continue
        if done.trouble:
            log.warning("einvoice_provider", operator_id=operator_id, trouble=done.trouble)
        elif done.accepted or done.refused or done.cancelled:
            log.info(
                "einvoices",
                operator_id=operator_id,
                accepted=done.accepted,
                refused=done.refused,
                cancelled=done.cancelled,
            )
