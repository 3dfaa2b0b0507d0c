"""Tokens: made on a page, shown once, bounded by their maker, and ended."""

import re
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from db.models import ApiToken, AuditEntry, Operator, Staff
from portal.api.scopes import SCOPES, Scope, usable
from portal.application import create_app
from portal.permissions import ROLE_PERMISSIONS
from tests.portal.api.conftest import Program, make_token
from tests.portal.conftest import make_isp, post


def test_a_manager_makes_a_token_that_is_shown_once_and_ends_it(app, sign_in, isp, system):
    manager = sign_in("manager")
    page = post(
        manager, "/settings/api/new", name="Accounting", scopes=["subscribers:read", "payments:read"], life="90"
    )
    token = re.search(r'id="token">(portico_[^<]+)<', page.text)[1]
    program = Program(app, token)
    assert program.get("/subscribers").status_code == 200
    with Session(system) as session:
        kept = session.scalars(select(ApiToken).where(ApiToken.operator_id == isp.operator_id)).one()
        trail = session.scalars(select(AuditEntry).where(AuditEntry.entity == "api_token")).all()
        dump = session.scalar(text("SELECT string_agg(t::text, '') FROM api_token t"))
    secret = token.rpartition("_")[2]
    assert secret not in dump
    assert secret not in str([entry.after for entry in trail])
    assert secret not in manager.get(f"/settings/api/{kept.id}").text
    assert kept.prefix in manager.get("/settings/api/").text
    assert kept.last_used_at is not None
    post(manager, f"/settings/api/{kept.id}/revoke")
    refused = program.get("/subscribers")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="portico", error="invalid_token"'


def test_what_is_missing_on_the_form_is_said_and_no_token_made(sign_in, system, isp):
    manager = sign_in("manager")
    page = post(manager, "/settings/api/new", name="", life="90")
    assert page.status_code == 422
    assert post(manager, "/settings/api/new", name="x", scopes=["everything"], life="90").status_code == 422
    with Session(system) as session:
        assert session.scalars(select(ApiToken).where(ApiToken.operator_id == isp.operator_id)).all() == []


def test_only_managers_make_tokens(sign_in):
    for role in ("sales", "support", "finance", "technical"):
        assert sign_in(role).get("/settings/api/").status_code == 403


def test_the_reference_names_every_operation(sign_in, app):
    page = sign_in("manager").get("/settings/api/reference").text
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("api.") and rule.endpoint != "api.openapi":
            shown = re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1"))
            assert f'<code class="portal-break">{shown}</code>' in page, shown


@pytest.mark.parametrize(
    "header",
    [
        None, "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", "Bearer portico_1_00000000_" + "A" * 43,
        "Bearer portico_999999999999999999_00000000_" + "A" * 43, "Token {token}", "Bearer {token}x",
        "Bearer {token_without_last}B",
    ],
)  # fmt: skip
def test_who_has_no_good_token_is_not_let_in(app, program, header):
    token = program().token
    last = "B" if token[-1] != "B" else "C"
    given = header and header.replace("{token}", token).replace("{token_without_last}B", token[:-1] + last)
    answer = app.test_client().get("/api/v1/subscribers", headers={"Authorization": given} if given else {})
    assert answer.status_code == 401
    assert answer.json["type"] == "urn:portico:problem:unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_is_too_old_is_refused(app, system, installation, isp):
    then = utc_now() - timedelta(days=2)
    _id, token = make_token(system, installation, isp, expires_at=then + timedelta(days=1), now=then)
    assert Program(app, token).get("/subscribers").status_code == 401


def test_a_token_opens_no_page_and_a_signed_in_browser_no_address_of_the_api(app, program, sign_in):
    manager = sign_in("manager")
    assert manager.get("/subscribers/").status_code == 200
    assert manager.get("/api/v1/subscribers").status_code == 401
    token = program().token
    page = app.test_client().get("/subscribers/", headers={"Authorization": f"Bearer {token}"})
    assert (page.status_code, page.location) == (302, "/sign-in?next=/subscribers/")


def test_without_its_scope_a_request_is_refused_by_name(program):
    reader = program("subscribers:read")
    refused = reader.post("/subscribers", {"name": "Ana"})
    assert (refused.status_code, refused.json["scope"], refused.json["why"]) == (403, "subscribers:write", "missing")
    assert 'scope="subscribers:write"' in refused.headers["WWW-Authenticate"]


def test_a_token_may_no_more_than_its_maker_may_at_the_moment(program, system, isp):
    erp = program("subscribers:read", "payments:write")
    with Session(system) as session:
        session.execute(update(Staff).where(Staff.email == isp.staff["manager"]).values(roles=["support"]))
        session.commit()
    assert erp.get("/subscribers").status_code == 200
    refused = erp.post("/payments", {}, Idempotency_Key="1")
    assert (refused.status_code, refused.json["why"]) == (403, "lost")
    with Session(system) as session:
        session.execute(update(Staff).where(Staff.email == isp.staff["manager"]).values(active=False))
        session.commit()
    assert erp.get("/subscribers").status_code == 401


def test_programs_of_a_suspended_operator_are_told_so(program, system, isp):
    erp = program()
    with Session(system) as session:
        session.execute(update(Operator).where(Operator.id == isp.operator_id).values(active=False))
        session.commit()
    assert erp.get("/subscribers").json["type"] == "urn:portico:problem:operator-suspended"


def test_every_scope_is_one_that_some_role_can_give():
    for scope in Scope:
        assert usable([scope.value], ROLE_PERMISSIONS["manager"]) == {scope}
    assert set(SCOPES) == set(Scope)
    assert usable(["nonsense"], ROLE_PERMISSIONS["manager"]) == frozenset()


def test_the_last_use_is_written_at_most_once_a_minute(program, system, isp):
    erp = program()
    erp.get("/subscribers")
    with Session(system) as session:
        first = session.scalar(select(ApiToken.last_used_at).where(ApiToken.operator_id == isp.operator_id))
    erp.get("/subscribers")
    with Session(system) as session:
        assert session.scalar(select(ApiToken.last_used_at).where(ApiToken.operator_id == isp.operator_id)) == first
        session.execute(update(ApiToken).values(last_used_at=first - timedelta(minutes=2)))
        session.commit()
    erp.get("/subscribers")
    with Session(system) as session:
        assert session.scalar(select(ApiToken.last_used_at).where(ApiToken.operator_id == isp.operator_id)) > first


def test_a_token_says_whose_it_is_and_opens_no_other_operator(app, program, system, installation, isp):
    theirs = make_isp(system, installation)
    token = program().token
    claimed = token.replace(f"portico_{isp.operator_id}_", f"portico_{theirs.operator_id}_", 1)
    assert claimed != token
    assert Program(app, claimed).get("/subscribers").status_code == 401


def test_tokens_stay_good_when_their_hashes_are_sealed_with_another_key(installation, system, isp, program):
    keys, another = installation.secret_keys.get_secret_value(), Keyring.generate(200)
    token = program().token
    with Session(system) as session:
        kept = session.scalars(select(ApiToken).where(ApiToken.operator_id == isp.operator_id)).one()
        hashed = installation.keyring.open("api.token", kept.secret_hash)
        kept.secret_hash = Keyring.parse(f"{another},{keys}").seal("api.token", hashed)
        session.commit()
    app = create_app(installation.model_copy(update={"secret_keys": SecretStr(f"{keys},{another}")}), testing=True)
    assert Program(app, token).get("/subscribers").status_code == 200
    app.extensions["portico"].close()
