"""What every answer carries against scripts, frames, sniffing and caches, and how cookies are kept."""

import re

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.settings import Settings
from portal.application import create_app
from portal.auth import limiter
from portal.permissions import Openness, requirement_of
from tests.portal.conftest import PASSWORD, add_subscriber

KEPT_BY_CACHES = {"no-store", "no-cache"}


def answers(app: Flask, browser, **environ: str):
    """Ask for each route as it stands, with ids of rows that need not be; yield the route and the answer."""
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.endpoint == "static":
            continue
        address = re.sub(
            r"<[^>]+>", "x", re.sub(r"<(?:int|row)[^>]*>", "7", re.sub(r"<any\('([^']+)'[^>]*>", r"\1", rule.rule))
        )
        yield rule, browser.get(address, **environ)


@pytest.fixture
def unlimited():
    was, limiter.enabled = limiter.enabled, False
    yield
    limiter.enabled = was


def test_every_route_answers_with_the_headers_that_protect_it(installation: Settings, isp, unlimited):
    app = create_app(installation.model_copy(update={"portal_https": True, "portal_proxies": 1}), testing=False)
    browser = app.test_client()
    wrong, tried = [], 0
    for rule, answer in answers(app, browser, base_url="https://portal.example"):
        has, tried = answer.headers, tried + 1
        policy = has.get("Content-Security-Policy", "")
        right = (
            has.get("X-Content-Type-Options") == "nosniff"
            and "frame-ancestors 'none'" in policy
            and "object-src 'none'" in policy
            and "base-uri 'none'" in policy
            and "unsafe" not in policy
            and has.get("X-Frame-Options") == "DENY"
            and has.get("Referrer-Policy") in ("same-origin", "no-referrer")
            and has.get("Cross-Origin-Opener-Policy") == "same-origin"
            and "max-age=" in has.get("Strict-Transport-Security", "")
            and "Server" not in has
            and "X-Powered-By" not in has
        )
        public = requirement_of(app.view_functions[rule.endpoint]) is Openness.PUBLIC
        private = {each.strip() for each in has.get("Cache-Control", "").split(",")} & KEPT_BY_CACHES
        if not right or not (private or public):
            wrong.append((rule.rule, answer.status_code, dict(has)))
    app.extensions["portico"].close()
    assert wrong == []
    assert tried > 250


def test_without_https_nothing_promises_it(app):
    assert "Strict-Transport-Security" not in app.test_client().get("/sign-in").headers


def test_by_https_cookies_are_secure_and_no_neighbouring_host_can_write_them(installation: Settings, isp):
    app = create_app(installation.model_copy(update={"portal_https": True}), testing=True)
    browser = app.test_client()
    base = "https://portal.example"
    page = browser.get("/sign-in", base_url=base)
    token = re.search(r'csrf_token" value="([^"]+)"', page.text)[1]
    form = {"csrf_token": token, "email": isp.staff["manager"], "password": PASSWORD}
    answer = browser.post("/sign-in", base_url=base, data=form, headers={"Referer": f"{base}/sign-in"})
    app.extensions["portico"].close()
    assert answer.status_code == 302
    kept = answer.headers.getlist("Set-Cookie")
    assert {each.split("=")[0] for each in kept} == {"__Host-portico_session", "__Host-portico_device"}
    for each in kept:
        assert "Secure" in each
        assert "HttpOnly" in each
        assert "SameSite=Lax" in each
        assert "Path=/" in each
        assert "Domain" not in each


def test_a_form_that_another_site_sent_is_refused_by_https(installation: Settings, isp):
    app = create_app(installation.model_copy(update={"portal_https": True}), testing=True)
    browser, base = app.test_client(), "https://portal.example"
    token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/sign-in", base_url=base).text)[1]
    form = {"csrf_token": token, "email": isp.staff["manager"], "password": PASSWORD}
    for referrer in ({}, {"Referer": "https://evil.example/"}):
        assert browser.post("/sign-in", base_url=base, data=form, headers=referrer).status_code == 400
    app.extensions["portico"].close()


def test_pages_behind_a_sign_in_are_kept_by_no_cache(sign_in):
    browser = sign_in("manager")
    for path in ("/", "/subscribers/", "/account/", "/account/sessions/", "/security/"):
        assert browser.get(path).headers["Cache-Control"] == "no-store"


def test_what_is_typed_is_shown_as_text(sign_in, isp, system):
    planted = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    number = add_subscriber(system, isp, planted, address=planted, notes=planted)
    browser = sign_in("manager")
    for path in ("/subscribers/", f"/subscribers/{number}", f"/subscribers/{number}/edit"):
        shown = browser.get(path).text
        assert "&lt;script&gt;alert(1)" in shown, path
        assert "<script>alert(1)" not in shown, path
        assert "<img src=x" not in shown, path


@pytest.mark.parametrize("typed", ["'; DROP TABLE staff; --", "\\'; SELECT 1", "%_%' OR '1'='1", '"; --'])
def test_what_is_typed_is_never_a_statement(sign_in, system, typed):
    browser = sign_in("support")
    for path in ("/subscribers/", "/search", "/services/", "/audit/", "/sessions/", "/tickets/", "/plans/"):
        assert browser.get(path, query_string={"q": typed, "sort": typed, "page": typed}).status_code < 500
    with Session(system) as session:
        assert session.execute(text("SELECT count(*) FROM staff")).scalar_one() > 0
