"""The demo's token of the API, so that the page of tokens shows one. Nobody knows its text: make one of your own."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.api_tokens import TokenTerms, create_token
from db.audit import Actor
from db.models import ApiToken, Staff

SCOPES = ("invoices:read", "payments:read", "payments:write", "subscribers:read")


def give_token(session: Session, keyring: Keyring, operator_id: int, now: datetime) -> None:
    """Make a token for the accounting, of the manager's; nothing where there is one."""
    manager = session.scalar(select(Staff).where(Staff.operator_id == operator_id, Staff.roles.contains(["manager"])))
    if manager is None or session.scalar(select(ApiToken.id).where(ApiToken.operator_id == operator_id).limit(1)):
        return
    terms = TokenTerms("Contabilidad", SCOPES, now + timedelta(days=365))
    create_token(session, Actor(operator_id, manager.email, manager.id), keyring, terms, SCOPES, now)
