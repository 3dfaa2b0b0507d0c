"""The demo's accounts with the lab's payment providers, so that a person can pay by card without a real account."""

import json
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.gateways.accounts import KEY_PURPOSE, WEBHOOK_PURPOSE, enter_account
from billing.gateways.checkouts import webhook_url
from core.settings import Settings
from db.audit import Actor
from db.models import GATEWAYS, Gateway
from stack.accounts import piece_account, write_private_file


def open_gateways(session: Session, operator_id: int, settings: Settings) -> None:
    """Enter an account with each of the lab's providers, unless somebody entered one of their own."""
    known = set(session.scalars(select(Gateway.kind).where(Gateway.operator_id == operator_id)))
    for kind in GATEWAYS:
        if kind not in known:
            keys = f"lab_{secrets.token_hex(12)}", f"lab_{secrets.token_hex(12)}"
            enter_account(session, settings.keyring, Actor(operator_id, "demo"), kind, *keys, emulated=True)


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
    write_private_file(gateways_file(settings), json.dumps(accounts, indent=2) + "\n", piece_account(settings))


def gateways_file(settings: Settings) -> Path:
    return settings.data_dir / "providers.json"
