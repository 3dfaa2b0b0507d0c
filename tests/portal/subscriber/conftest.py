"""Subscribers in front of their own pages: browsers of two of them, and of one of another operator."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.brands import Allowed, change_allowed
from db.audit import Actor
from db.models import Notification, Operator, Subscriber
from portal.auth import limiter
from tests.portal.billing_isp import billed_line, start_billing
from tests.portal.conftest import Isp, make_isp


@dataclass
class Home:
    """One subscriber with one line of an operator, and a browser of theirs."""

    system: Engine
    settings: Settings
    isp: Isp
    slug: str
    email: str
    subscriber_id: int
    service_id: int
    browser: FlaskClient

    def url(self, path: str = "") -> str:
        return f"/my/{self.slug}/{path}"

    def get(self, path: str = ""):
        return self.browser.get(self.url(path))

    def post(self, path: str, **fields: object):
        """Send a form as the browser would, with the token of a page that it has open."""
        return self.browser.post(self.url(path), data={"csrf_token": self.token(), **fields})

    def token(self) -> str:
        page = self.get("account")
        page = page if page.status_code == 200 else self.get("sign-in")
        return page.text.split('name="csrf_token" value="')[1].split('"')[0]

    def mails(self, kind: str) -> list[Notification]:
        """Return the mails to this address, the newest first."""
        with Session(self.system) as session:
            query = select(Notification).where(
                Notification.operator_id == self.isp.operator_id,
                Notification.kind == kind,
                Notification.shown_address == self.email,
            )
            return list(session.scalars(query.order_by(Notification.id.desc())))

    def code(self) -> str:
        """Ask for a code and read it in the mail."""
        assert self.post("sign-in/code", email=self.email).status_code == 302
        found = re.search(r"\b([0-9]{6})\b", self.mails("login.code")[0].body)
        assert found is not None
        return found[1]

    def sign_in(self) -> None:
        answer = self.post("sign-in/enter", code=self.code())
        assert answer.status_code == 302, answer.text
        assert answer.headers["Location"].endswith(self.url())

    def allow(self, **wanted: object) -> None:
        with Session(self.system) as session:
            change_allowed(session, Actor(self.isp.operator_id, "test"), Allowed(**wanted))
            session.commit()


@pytest.fixture(autouse=True)
def no_attempts_yet(app: Flask) -> None:
    """All browsers here come from one address, and each test begins with none of its attempts counted."""
    with app.app_context():
        limiter.reset()


@pytest.fixture
def make_home(app: Flask, system: Engine, installation: Settings) -> Callable[..., Home]:
    """A function that enters a subscriber with a line, of a new operator or of one that is given."""

    def make(name: str = "Ana Peña", isp: Isp | None = None, days_ago: int = 3) -> Home:
        if isp is None:
            isp = make_isp(system, installation)
            start_billing(system, isp)
        subscriber_id, service_id = billed_line(system, installation, isp, name, days_ago)
        email = f"{name.split()[0].lower()}@home-{isp.operator_id}.example"
        with Session(system) as session:
            slug = session.get_one(Operator, isp.operator_id).slug
            session.get_one(Subscriber, subscriber_id).email = email
            session.commit()
        return Home(system, installation, isp, slug, email, subscriber_id, service_id, app.test_client())

    return make


@pytest.fixture
def ana(make_home: Callable[..., Home]) -> Home:
    """A subscriber who is signed in."""
    home = make_home()
    home.sign_in()
    return home
