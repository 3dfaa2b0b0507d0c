"""A portal that listens, and the lab's payment providers, for tests of what is paid online."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.serving import make_server

from billing.gateways.accounts import enter_account
from billing.links import pay_url
from core.settings import Settings
from db.audit import Actor
from lab.gateways import Account, Providers
from tests.portal.conftest import Isp

ACCOUNTS = {
    "stripe": Account("sk_test_lab", "whsec_lab"),
    "mercadopago": Account("TEST-lab", "mp-secret"),
}


@contextmanager
def listening(app: Flask, settings: Settings) -> Iterator[str]:
    """Have the portal listen where its settings say; yield its address."""
    server = make_server("127.0.0.1", settings.portal_port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield settings.public_url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def providers_of(isp: Isp, settings: Settings) -> Iterator[Providers]:
    """Run the lab's providers, with an account of an operator at each."""
    accounts = {kind: replace(account) for kind, account in ACCOUNTS.items()}
    for kind, account in accounts.items():
        account.webhook_url = f"{settings.public_url}/webhooks/{kind}/{isp.operator_id}"
    with Providers(accounts, port=settings.lab_gateway_port) as providers:
        yield providers


def enter_accounts(system: Engine, settings: Settings, isp: Isp) -> None:
    """Enter the operator's accounts with the lab's providers."""
    with Session(system) as session:
        for kind, account in ACCOUNTS.items():
            actor = Actor(isp.operator_id, "test")
            enter_account(session, settings.keyring, actor, kind, account.key, account.webhook_secret, emulated=True)
        session.commit()


def pay_path(system: Engine, settings: Settings, isp: Isp, **subject: int) -> str:
    """Return the path of a link to pay."""
    with Session(system) as session:
        url = pay_url(session, settings.keyring, settings.public_url, isp.operator_id, **subject)
        session.commit()
    return url.removeprefix(settings.public_url)
