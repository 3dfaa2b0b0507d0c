"""The portal on a real PostgreSQL: an operator with staff of every role, and a browser for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core import status
from core.settings import Settings
from db.models import ROLES, Nas, Operator, RatePlan, Service, Staff, Subscriber
from db.session import Tenancy, make_engine, tenancy_key
from portal import context
from portal.application import create_app
from portal.auth import hasher
from portal.home_tiles import remembered

PASSWORD = "correct horse battery"

# A hash that takes its time took a third of a second of every test, for each browser that signs in.
hasher._parameters = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)._parameters
_HASH = hasher.hash(PASSWORD)
_numbers = count(1)
_tokens: dict[str, str] = {}


@dataclass(frozen=True)
class Isp:
    """An operator with one staff member for each role, a rate plan and a NAS."""

    operator_id: int
    plan_id: int
    nas_id: int
    staff: dict[str, str]  # role: e-mail address


@pytest.fixture(scope="module", autouse=True)
def closed_portals() -> Iterator[None]:
    """Close the connections of every application that a module's tests made, however they made it."""
    made: list[context.Portal] = []
    real = context.Portal

    def remembered(*arguments: Any, **named: Any) -> context.Portal:
        made.append(real(*arguments, **named))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "Portal", remembered)
        yield
    for each in made:
        each.close()


@pytest.fixture(scope="module", autouse=True)
def memory_of_its_own() -> Iterator[None]:
    """Forget what this process knows from other modules.

    The steps of workers that ran there end no more, which is called stuck; and what homes remember of an operator for
    some minutes is kept by its id, which another one has in the database of this module.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status, "_steps", {})
        patch.setattr(remembered, "_kept", {})
        yield


@pytest.fixture(scope="module")
def app(installation: Settings) -> Iterator[Flask]:
    made = create_app(installation, testing=True)
    yield made
    made.extensions["portico"].close()


@pytest.fixture(scope="module")
def system(installation: Settings) -> Iterator[Engine]:
    """An engine that sees every operator's rows."""
    assert installation.database_url is not None
    engine = make_engine(installation.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def tenancy(installation: Settings) -> Iterator[Tenancy]:
    """Sessions of the portal's role, bound to one operator."""
    assert installation.portal_database_url is not None
    engine = make_engine(installation.portal_database_url.get_secret_value())
    yield Tenancy(engine, tenancy_key(installation.keyring))
    engine.dispose()


@pytest.fixture
def isp(system: Engine, installation: Settings) -> Isp:
    return make_isp(system, installation)


def make_isp(system: Engine, installation: Settings) -> Isp:
    number = next(_numbers)
    with Session(system) as session:
        operator = Operator(
            slug=f"isp-{number}", name=f"Wireless {number}", timezone="America/Mexico_City", currency="MXN"
        )
        session.add(operator)
        session.flush()
        people = {role: f"{role}@isp-{number}.example" for role in ROLES}
        session.add_all(
            Staff(operator_id=operator.id, email=email, name=role.title(), password_hash=_HASH, roles=[role])
            for role, email in people.items()
        )
        plan = RatePlan(operator_id=operator.id, name="Home 20", download=20_000_000, upload=5_000_000)
        nas = Nas(
            operator_id=operator.id,
            name="tower-1",
            address=f"10.{100 + number // 200}.{number % 200}.1",
            secret=installation.keyring.seal("nas.secret", "testing123"),
        )
        session.add_all([plan, nas])
        session.flush()
        made = Isp(operator.id, plan.id, nas.id, people)
        session.commit()
    return made


@pytest.fixture
def sign_in(app: Flask, isp: Isp) -> Callable[..., FlaskClient]:
    """A function that returns a browser in which somebody of that role is signed in."""

    def signed_in_as(role: str, of: Isp = isp) -> FlaskClient:
        browser = app.test_client()
        answer = post(browser, "/sign-in", email=of.staff[role], password=PASSWORD)
        assert answer.status_code == 302, answer.text
        return browser

    return signed_in_as


def csrf_token(browser: FlaskClient) -> str:
    """Return a token of this browser's session, as its forms carry it. A page is read once for each session."""
    kept = _cookie(browser).get("csrf_token")
    if kept not in _tokens:
        page = browser.get("/account/")
        if page.status_code != 200:
            page = browser.get("/sign-in")
        kept = _cookie(browser)["csrf_token"]
        _tokens[kept] = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    return _tokens[kept]


def _cookie(browser: FlaskClient) -> dict[str, Any]:
    """Return what the portal keeps in a browser's cookie."""
    app = browser.application
    cookie = browser.get_cookie(app.config["SESSION_COOKIE_NAME"])
    reader = SecureCookieSessionInterface().get_signing_serializer(app)
    return reader.loads(cookie.value) if cookie is not None and reader is not None else {}


def post(browser: FlaskClient, url: str, **fields: object):
    """Send a form as the browser would, with its CSRF token."""
    return browser.post(url, data={"csrf_token": csrf_token(browser), **fields})


def add_subscriber(system: Engine, isp: Isp, name: str, **values: object) -> int:
    with Session(system) as session:
        subscriber = Subscriber(operator_id=isp.operator_id, name=name, **values)
        session.add(subscriber)
        session.commit()
        return subscriber.id


def add_service(
    system: Engine, installation: Settings, isp: Isp, subscriber_id: int, name: str, **values: object
) -> int:
    with Session(system) as session:
        service = Service(
            operator_id=isp.operator_id,
            subscriber_id=subscriber_id,
            plan_id=isp.plan_id,
            name=name,
            **{
                "access_method": "pppoe",
                "password": installation.keyring.seal("service.password", "secret"),
                **values,
            },
        )
        session.add(service)
        session.commit()
        return service.id
