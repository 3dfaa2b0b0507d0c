"""The demo's accounts with the lab's providers, so that nobody needs a real one.

A person can pay by card, and see an electronic invoice accepted, or refused with the reason.
"""

import json
import secrets
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.einvoice import settings as einvoices
from billing.einvoice.settings import AccountTerms
from billing.gateways.accounts import KEY_PURPOSE, WEBHOOK_PURPOSE, enter_account
from billing.gateways.checkouts import webhook_url
from core.settings import Settings
from db.audit import Actor
from db.models import GATEWAYS, EinvoiceSettings, Gateway
from stack.accounts import piece_account, write_private_file


def open_gateways(session: Session, operator_id: int, settings: Settings) -> None:
    """Enter an account with each of the lab's providers, unless somebody entered one of their own."""
    known = set(session.scalars(select(Gateway.kind).where(Gateway.operator_id == operator_id)))
    for kind in GATEWAYS:
        if kind not in known:
            keys = f"lab_{secrets.token_hex(12)}", f"lab_{secrets.token_hex(12)}"
            enter_account(session, settings.keyring, Actor(operator_id, "demo"), kind, *keys, emulated=True)


def open_einvoices(session: Session, operator_id: int, settings: Settings, today: date) -> None:
    """Issue the demo's invoices of the past days electronically; one of them the tax office will refuse."""
    if session.get(EinvoiceSettings, operator_id) is not None:
        return
    terms = AccountTerms(
        enabled=True,
        starts_on=today - timedelta(days=45),
        country="MX",
        provider_url="",
        api_key=f"lab_{secrets.token_hex(12)}",
        emulated=True,
    )
    einvoices.enter_account(session, settings.keyring, Actor(operator_id, "demo"), terms)


def write_gateways(session: Session, operator_id: int, settings: Settings) -> None:
    """Write what the lab's providers know of the operator: keys, and where webhooks go."""
    accounts = {}
    keyring = settings.keyring
    for gateway in session.scalars(select(Gateway).where(Gateway.operator_id == operator_id, Gateway.emulated)):
        accounts[gateway.kind] = {
            "key": keyring.open(KEY_PURPOSE, gateway.secret_key),
            "webhook_secret": keyring.open(WEBHOOK_PURPOSE, gateway.webhook_secret),
            "webhook_url": webhook_url(settings, gateway),
        }
    electronic = session.get(EinvoiceSettings, operator_id)
    if electronic is not None and electronic.emulated:
        key = keyring.open(einvoices.KEY_PURPOSE, electronic.api_key)
        accounts[einvoices.LAB_PATH] = {"key": key, "webhook_secret": ""}
    write_private_file(gateways_file(settings), json.dumps(accounts, indent=2) + "\n", piece_account(settings))


def gateways_file(settings: Settings) -> Path:
    return settings.data_dir / "providers.json"
