"""Programs with tokens, on the portal of a module's own database."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from core.clock import utc_now
from core.settings import Settings
from crm.api_tokens import TokenTerms, create_token
from db.audit import Actor
from db.models import Staff
from portal.api.scopes import SCOPES
from tests.portal.conftest import Isp


@dataclass(frozen=True)
class Program:
    """A program that asks with a token."""

    app: Flask
    token: str

    def ask(self, method: str, path: str, json: Any = None, **headers: str) -> TestResponse:
        """Send a request to a path under /api/v1. `If_Match="…"` is the header If-Match."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app.test_client().open(
            f"/api/v1{path}", method=method, json=json, headers={"Authorization": f"Bearer {self.token}", **named}
        )

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.ask("GET", path, **headers)

    def post(self, path: str, json: Any = None, **headers: str) -> TestResponse:
        return self.ask("POST", path, {} if json is None else json, **headers)


def make_token(
    system: Engine,
    settings: Settings,
    isp: Isp,
    scopes: Iterable[str] = SCOPES,
    *,
    role: str = "manager",
    expires_at: datetime | None = None,
    name: str = "ERP",
    now: datetime | None = None,
) -> tuple[int, str]:
    """Make a token as somebody of that role would, and return its id and text."""
    with Session(system) as session:
        person = session.scalars(select(Staff).where(Staff.email == isp.staff[role])).one()
        terms = TokenTerms(name, tuple(str(scope) for scope in scopes), expires_at)
        given = {str(scope) for scope in SCOPES}
        token, text = create_token(
            session, Actor(isp.operator_id, person.email, person.id), settings.keyring, terms, given, now or utc_now()
        )
        session.commit()
        return token.id, text


@pytest.fixture
def program(app: Flask, system: Engine, installation: Settings, isp: Isp) -> Callable[..., Program]:
    """A function that makes a token and returns a program that has it; of all scopes unless told otherwise."""

    def made(*scopes: str, of: Isp = isp, **values: Any) -> Program:
        return Program(app, make_token(system, installation, of, scopes or SCOPES, **values)[1])

    return made
