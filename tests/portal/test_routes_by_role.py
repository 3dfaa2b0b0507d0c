"""Every route, each role, nobody, and who belongs to others: exactly what `docs/permissions.md` says.

The page is made from the code; here each of its lines is tried by a browser. Whoever may pass reaches a view that only
says so: what the real ones answer is in `test_routes_of_others`, and what matters here is who gets to them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from core.settings import Settings
from db.migrate import migrate
from db.models import ROLES, Operator, RolePermission, Staff
from db.session import make_engine
from portal.application import create_app
from portal.auth import limiter
from portal.permissions import Openness, Permission, requirement_of
from stack.permissions_page import permissions_page
from tests.portal.conftest import PASSWORD, Isp, make_isp, post

PAGE = Path(__file__).resolve().parents[2] / "docs" / "permissions.md"
SLUG = "valle-net"
_numbers = count()
REACHED = "this is where the page would be"
LINE = re.compile(r"^\| ((?:[A-Z]+ )+)`(/[^`]*)` \| (?:`([^`]+)`|\*([^*]+)\*) \|(.*)\|$")


@dataclass(frozen=True)
class Line:
    """One line of the page: an address, what it needs, and the roles with a tick."""

    method: str
    rule: str
    needs: str
    permission: bool
    roles: frozenset[str]

    @property
    def address(self) -> str:
        """An address of that form, of rows that there need not be."""
        return address_of(self.rule)


def address_of(rule: str) -> str:
    """Return an address of a form: of row number one, and of the operator that make_isp makes first."""
    rule = rule.replace("<slug>", SLUG)
    chosen = re.sub(r"<any\('([^']+)'[^>]*>", r"\1", rule)
    return re.sub(r"<[^>]+>", "x", re.sub(r"<(?:int|row)[^>]*>", "1", chosen))


def lines() -> list[Line]:
    """What the page says, a line for each method."""
    found = []
    for text in PAGE.read_text(encoding="utf-8").split("## Routes", 1)[1].splitlines():
        if (match := LINE.match(text)) is None:
            continue
        methods, rule, permission, open_to, ticks = match.groups()
        allowed = {role for role, tick in zip(ROLES, ticks.split("|"), strict=True) if tick.strip()}
        needs = permission or open_to
        found += [Line(each, rule, needs, permission is not None, frozenset(allowed)) for each in methods.split()]
    return found


@pytest.fixture(scope="module")
def door(installation: Settings) -> Iterator[Flask]:
    """The portal with its doors, and behind each of them nothing but a word."""
    migrate(installation)
    app = create_app(installation.model_copy(update={"sign_up": True}), testing=True)
    app.config["WTF_CSRF_ENABLED"] = False  # that it is asked for is a test of its own

    # Pages that say no are drawn with all that stands around them, which is not what is tried here.
    app.register_error_handler(HTTPException, lambda problem: ("", problem.code))
    for endpoint, view in app.view_functions.items():
        if endpoint == "static" or endpoint.startswith("auth."):
            continue

        def stand_in(**_arguments: object) -> str:
            return REACHED

        stand_in.__dict__["requirement"] = requirement_of(view)
        app.view_functions[endpoint] = stand_in
    was, limiter.enabled = limiter.enabled, False
    yield app
    limiter.enabled = was
    app.extensions["portico"].close()


@pytest.fixture(scope="module")
def everything(installation: Settings, door: Flask) -> Iterator[Engine]:
    assert installation.database_url is not None
    engine = make_engine(installation.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def valle(everything: Engine, installation: Settings) -> Isp:
    made = make_isp(everything, installation)
    with Session(everything) as session:
        session.get_one(Operator, made.operator_id).slug = SLUG
        session.commit()
    return made


@pytest.fixture(scope="module")
def enter(door: Flask, valle: Isp) -> Callable[[str], FlaskClient]:
    def signed_in_as(role: str) -> FlaskClient:
        browser = door.test_client()
        answer = browser.post("/sign-in", data={"email": valle.staff[role], "password": PASSWORD})
        assert answer.status_code == 302, answer.text
        return browser

    return signed_in_as


def outcome(browser: FlaskClient, line: Line) -> str:
    """What became of a request: in, refused, not there, or led to a sign-in."""
    # Each from an address of its own: refused tokens are counted by it.
    address = f"198.18.{next(_numbers) // 250 % 250}.{next(_numbers) % 250}"
    answer = browser.open(line.address, method=line.method, environ_overrides={"REMOTE_ADDR": address})
    if answer.text == REACHED:
        return "in"
    if answer.status_code == 302 and "/sign-in" in answer.location:
        return "sign in"
    return str(answer.status_code)


def expected(line: Line, role: str | None) -> str:
    """What the page says about somebody; `None` is nobody."""
    if line.permission:
        return "sign in" if role is None else "in" if role in line.roles else "403"
    match Openness(line.needs):
        case Openness.PUBLIC:
            return "in"
        case Openness.SIGNED_IN:
            return "sign in" if role is None else "in"
        case other:
            platforms = dict.fromkeys(("platform", "platform owner"), "404" if role else "sign in")
            return {"subscriber": "sign in", "token": "401", **platforms}[other.value]


def asked() -> list[Line]:
    # Signing in itself is not stood in for, and is tried in tests of its own.
    return [line for line in lines() if not line.rule.startswith(("/sign-in", "/sign-out", "/language"))]


def test_the_page_is_what_the_code_says_and_has_every_route(door: Flask):
    assert PAGE.read_text(encoding="utf-8") == permissions_page(), "`portico docs permissions > docs/permissions.md`"
    routes = {
        (method, rule.rule)
        for rule in door.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    assert {(line.method, line.rule) for line in lines()} == routes
    assert len(routes) > 400


@pytest.mark.parametrize("role", [None, *ROLES])
def test_who_passes_each_door_is_what_the_page_says(door: Flask, enter, role: str | None):
    browser = door.test_client() if role is None else enter(role)
    wrong = []
    for line in asked():
        if role not in (None, "manager") and line.needs in (Openness.PUBLIC, Openness.SUBSCRIBER, Openness.TOKEN):
            continue  # roles have no part in these
        found = outcome(browser, line)
        if found == "404" and line.needs == Openness.PUBLIC and (line.rule.startswith("/my/") or "<" in line.rule):
            continue  # a door of its own that knows the token to be made up, or the host name
        if found != expected(line, role):
            wrong.append((line.method, line.rule, line.needs, found, expected(line, role)))
    assert wrong == [], wrong


def test_a_role_that_was_narrowed_or_widened_passes_other_doors(door: Flask, enter, everything: Engine, valle: Isp):
    with Session(everything) as session:
        for permission, allowed in (("audit.view", True), ("sessions.view", False)):
            session.add(
                RolePermission(operator_id=valle.operator_id, role="sales", permission=permission, allowed=allowed)
            )
        session.commit()
        browser = enter("sales")
        found = {line.rule: outcome(browser, line) for line in asked() if line.rule in ("/audit/", "/sessions/")}
        for row in session.scalars(select(RolePermission)):
            session.delete(row)
        session.commit()
    assert found == {"/audit/": "in", "/sessions/": "403"}


def test_whoever_was_switched_off_passes_no_door(door: Flask, enter, everything: Engine, valle: Isp):
    browser = enter("technical")
    with Session(everything) as session:
        person = session.scalars(select(Staff).where(Staff.email == valle.staff["technical"])).one()
        person.active = False
        session.commit()
        closed = [line for line in asked()[::7] if line.permission]
        wrong = [line for line in closed if outcome(browser, line) != expected(line, None)]
        person.active = True
        session.commit()
    assert wrong == []


WITHOUT_TOKEN = ("api.", "captive.", "monitoring.", "pay.webhook", "unsubscribe.leave")
"""What takes a POST without a token of the session: no cookie opens it, or nothing is at stake."""


def test_every_change_asks_for_the_token_of_its_form(installation: Settings, everything: Engine, valle: Isp):
    app = create_app(installation, testing=True)
    browser = app.test_client()
    post(browser, "/sign-in", email=valle.staff["manager"], password=PASSWORD)
    was, limiter.enabled = limiter.enabled, False
    open_to_forgery = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if {"POST", "PUT", "PATCH", "DELETE"} & (rule.methods or set())
        and not rule.endpoint.startswith(WITHOUT_TOKEN)
        and browser.post(address_of(rule.rule)).status_code not in (400, 405)
    }
    limiter.enabled = was
    app.extensions["portico"].close()
    assert open_to_forgery == set()


def test_every_permission_of_a_route_is_one_that_there_is():
    assert {line.needs for line in lines() if line.permission} <= {each.value for each in Permission}
