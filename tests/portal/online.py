"""A portal that listens, and the lab's payment providers, for tests of what is paid online."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.serving import make_server
from werkzeug.wsgi import ClosingIterator

from billing.gateways.accounts import enter_account
from billing.links import pay_url
from core.settings import Settings
from db.audit import Actor
from lab.gateways import Account, Providers
from lab.web import END_LOOK
from tests.portal.conftest import Isp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ACCOUNTS = {
    "stripe": Account("sk_test_lab", "whsec_lab"),
    "mercadopago": Account("TEST-lab", "mp-secret"),
}


class _Door:
    """Lets requests through to a portal until it is shut, which waits for those under way.

    The server's threads outlive it: one that still answers, or whose browser had only connected, would take a
    connection from a pool that is closed by then, and nobody would close that connection.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._changed = threading.Condition()
        self._under_way = 0
        self._shut = False

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with self._changed:
            if self._shut:
                start_response("503 Service Unavailable", [])
                return []
            self._under_way += 1
        try:
            # Whole, for a browser that goes away in the middle would keep the answer from being closed.
            with closing(ClosingIterator(self._app(environ, start_response))) as answer:
                return list(answer)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        with self._changed:
            self._shut = True
            assert self._changed.wait_for(lambda: self._under_way == 0, 10), "a page is still being made"


@contextmanager
def listening(app: Flask, port: int = 0) -> Iterator[str]:
    """Have the portal listen, at any free port or at the one that its links name; yield its address."""
    door = _Door(app)
    server = make_server("127.0.0.1", port, door, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(END_LOOK,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        door.shut()


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
