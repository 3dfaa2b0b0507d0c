import re
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.orm import Session

from core.settings import Settings
from db.models import ROLES, Staff
from db.session import Tenancy, make_engine, tenancy_key
from portal.application import create_app
from portal.permissions import ROLE_PERMISSIONS, Openness, Permission, requirement_of
from tests.portal.conftest import PASSWORD, add_service, add_subscriber, csrf_token, post


def test_staff_sign_in_and_see_the_subscribers(sign_in, isp, system):
    add_subscriber(system, isp, "José María Fernández-Villalobos de la Torre", phone="+52 55 1234 5678")
    page = sign_in("support").get("/subscribers/")
    assert page.status_code == 200
    assert "José María Fernández-Villalobos de la Torre" in page.text


def test_whoever_has_not_signed_in_is_led_to_the_sign_in_page(app):
    answer = app.test_client().get("/subscribers/?q=x")
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/subscribers/?q%3Dx"


def test_numbers_and_texts_that_no_row_can_have_lead_nowhere(app, sign_in):
    manager, huge = sign_in("manager"), str(10**30)
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and "<int:" in rule.rule:
            address = re.sub(r"<[^>]+>", "x", re.sub(r"<int:[^>]+>", huge, rule.rule))
            assert manager.get(address).status_code in (404, 405), address
    for address in ("/my/%00/sign-in", "/subscribers/?q=%00", "/sign-in?next=%00"):
        assert manager.get(address).status_code == 400, address


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(app, isp):
    wrong = post(app.test_client(), "/sign-in", email=isp.staff["manager"], password="wrong password")
    unknown = post(app.test_client(), "/sign-in", email="nobody@isp.example", password="wrong password")
    assert wrong.status_code == unknown.status_code == 401
    said = "This e-mail address and password do not belong together."
    assert said in wrong.text
    assert said in unknown.text


def test_an_address_is_the_same_in_capitals(app, isp):
    answer = post(app.test_client(), "/sign-in", email=isp.staff["manager"].upper(), password=PASSWORD)
    assert answer.status_code == 302


def test_guessing_one_account_is_stopped_and_others_still_sign_in(app, isp):
    guesser = app.test_client()
    answers = [post(guesser, "/sign-in", email=isp.staff["sales"], password=f"guess {n}") for n in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    right = post(guesser, "/sign-in", email=isp.staff["sales"], password=PASSWORD)
    assert right.status_code == 429
    assert post(app.test_client(), "/sign-in", email=isp.staff["finance"], password=PASSWORD).status_code == 302


def test_staff_who_left_are_signed_out_at_once(sign_in, isp, system):
    browser = sign_in("support")
    assert browser.get("/subscribers/").status_code == 200
    with Session(system) as session:
        session.execute(update(Staff).where(Staff.email == isp.staff["support"]).values(active=False))
        session.commit()
    assert browser.get("/subscribers/").location.startswith("/sign-in")


def test_a_new_password_signs_out_every_other_browser(sign_in, isp):
    here, elsewhere = sign_in("sales"), sign_in("sales")
    new = "another long password"
    answer = post(here, "/account/password", present=PASSWORD, new=new, again=new)
    assert answer.status_code == 302
    assert here.get("/account/").status_code == 200
    assert elsewhere.get("/account/").location.startswith("/sign-in")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"present": "wrong", "new": "x" * 12, "again": "x" * 12}, "not your present password", id="wrong"),
        pytest.param({"present": PASSWORD, "new": "short", "again": "short"}, "at least 12 characters", id="short"),
        pytest.param({"present": PASSWORD, "new": "x" * 12, "again": "y" * 12}, "not the same", id="mistyped"),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(sign_in, fields, said):
    browser = sign_in("finance")
    page = post(browser, "/account/password", **fields)
    assert page.status_code == 422
    assert said in page.text
    assert sign_in("finance").get("/account/").status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_never_leads_to_another_site(app, isp, elsewhere):
    browser = app.test_client()
    token = csrf_token(browser)
    answer = browser.post(
        "/sign-in",
        query_string={"next": elsewhere},
        data={"csrf_token": token, "email": isp.staff["manager"], "password": PASSWORD},
    )
    assert answer.location == "/"


def test_signing_out_takes_a_post_and_ends_the_session(sign_in):
    browser = sign_in("manager")
    assert browser.get("/sign-out").status_code == 405
    post(browser, "/sign-out")
    assert browser.get("/account/").location.startswith("/sign-in")


def test_a_change_without_its_csrf_token_is_refused(sign_in, isp, system):
    browser = sign_in("manager")
    answer = browser.post("/subscribers/new", data={"name": "Smuggled In"})
    assert answer.status_code == 400
    assert "This form is too old" in answer.text
    assert "Smuggled In" not in browser.get("/subscribers/").text


def test_the_session_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(app, isp):
    answer = post(app.test_client(), "/sign-in", email=isp.staff["technical"], password=PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert "Expires=" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_behind_https_the_cookie_never_leaves_it(installation: Settings):
    app = create_app(installation.model_copy(update={"portal_https": True}), testing=True)
    answer = app.test_client().get("/sign-in", base_url="https://portal.example")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"]
    app.extensions["portico"].close()


# Every page.


def pages_without_arguments(app: Flask) -> list[str]:
    return sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if not rule.arguments and "GET" in (rule.methods or set()) and rule.endpoint != "static"
        if not rule.endpoint.startswith("api.")  # for programs: tests/portal/api
    )


def test_every_route_says_what_it_needs(app):
    silent = [
        endpoint
        for endpoint, view in app.view_functions.items()
        if endpoint != "static" and requirement_of(view) is None
    ]
    assert silent == []


def test_a_route_that_says_nothing_is_closed_to_everybody(installation: Settings, isp):
    app = create_app(installation, testing=True)
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    browser = app.test_client()
    post(browser, "/sign-in", email=isp.staff["manager"], password=PASSWORD)
    answer = browser.get("/forgotten")
    app.extensions["portico"].close()
    assert answer.status_code == 403
    assert "secret" not in answer.text
    app.extensions["portico"].close()


def test_only_signing_in_and_the_language_are_public(app):
    public = {
        endpoint
        for endpoint, view in app.view_functions.items()
        if endpoint != "static" and requirement_of(view) is Openness.PUBLIC
    }
    assert public == {
        "api.openapi",  # the description of the API, the same for everybody
        "auth.language",
        "auth.sign_in",
        "auth.sign_in_page",
        "forgotten.ask",  # says the same to everybody
        "forgotten.page",
        "two_factor.check",  # for whose password was right a moment ago
        "two_factor.page",
        "captive.api",  # what has "captive" asks for the signed address of a hotspot
        "captive.ask_about_device",
        "captive.begin",
        "captive.bought",
        "captive.buy",
        "captive.colours",
        "captive.device",
        "captive.help_yourself",  # and for who comes from the address of a line
        "captive.login",
        "captive.page",
        "captive.picture",
        "captive.router_page",
        "captive.status",
        "captive.why",
        "my.app_icon",  # pages of subscribers, whose own sign-in is tested in tests/portal/subscriber
        "my.ask_code",
        "my.choose",
        "my.colours",
        "my.enter_code",
        "my.link",
        "my.logo",
        "my.manifest",
        "my.offline",
        "my.recover",
        "my.root",
        "my.sign_in_page",
        "my.with_password",
        "my.worker",
        "health.alive",  # says whether a piece runs, and nothing of any operator
        "health.health",
        "health.metrics",  # from this machine, or with the token of the settings
        "health.piece_alive",
        "health.piece_ready",
        "health.ready",
        "pay.back",  # what has "pay" asks for a signed link instead
        "pay.begin",
        "pay.check",
        "pay.document",
        "pay.quote",
        "pay.page",
        "pay.webhook",  # signed by the provider
        "sign_up.ask",  # says the same to everybody, and is closed unless the settings open it
        "sign_up.open_account",  # a link that nobody can guess
        "sign_up.opening",
        "sign_up.page",
        "technician.manifest",  # words alone; the page itself asks for a permission
        "technician.worker",
        "ticket.add",  # a link that nobody can guess, to one ticket
        "ticket.file",
        "ticket.page",
        "ticket.stars",
        "vpn.login_page",
        "welcome.choose",  # a link that nobody can guess
        "welcome.page",
        "unsubscribe.leave",  # a signed link (crm.unsubscribing)
        "unsubscribe.page",
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_exactly_the_pages_of_its_permissions(app, sign_in, role):
    browser = sign_in(role)
    for path in pages_without_arguments(app):
        with app.test_request_context(path) as context:
            requirement = requirement_of(app.view_functions[context.request.endpoint])
        allowed = isinstance(requirement, Openness) or requirement in ROLE_PERMISSIONS[role]
        status = browser.get(path).status_code
        # 404: what it shows is not there yet, such as a logo.
        assert (status in (200, 302, 404)) is allowed, (role, path, status)
        assert allowed or status == 403, (role, path, status)


def test_every_changing_route_is_closed_to_roles_without_its_permission(app, sign_in):
    browser = sign_in("sales")
    token = csrf_token(browser)
    tried = 0
    for rule in app.url_map.iter_rules():
        requirement = requirement_of(app.view_functions[rule.endpoint])
        if "POST" not in (rule.methods or set()) or requirement in ROLE_PERMISSIONS["sales"]:
            continue
        if isinstance(requirement, Openness):
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        assert browser.post(path, data={"csrf_token": token}).status_code == 403, path
        tried += 1
    assert tried > 5


def test_every_permission_belongs_to_some_role_besides_the_manager_or_is_the_managers():
    granted = frozenset().union(*(ROLE_PERMISSIONS[role] for role in ROLES))
    assert granted == frozenset(Permission)


INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)


def test_no_page_needs_inline_scripts_or_styles_or_other_sites(app, sign_in, isp, system, installation):
    subscriber = add_subscriber(system, isp, "Ana")
    service = add_service(system, installation, isp, subscriber, "ana")
    browser = sign_in("manager")
    more = [
        f"/subscribers/{subscriber}",
        f"/subscribers/{subscriber}/edit",
        f"/subscribers/{subscriber}/usage",
        f"/subscribers/{subscriber}/sessions",
        f"/subscribers/{subscriber}/history",
        f"/services/new/{subscriber}",
        f"/services/{service}/edit",
        f"/services/{service}/suspend",
        f"/services/{service}/plan",
        f"/services/{service}/paid-until",
        f"/services/{service}/password",
        f"/services/{service}/terminate",
        "/nowhere",
    ]
    for path in [*pages_without_arguments(app), *more]:
        page = browser.get(path, follow_redirects=True)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        # A browser asks for a service worker's script by itself, with nobody's pages in it.
        kept = "no-cache" if page.mimetype == "text/javascript" else "no-store"
        assert page.headers["Cache-Control"] == kept, path
        if page.mimetype == "application/pdf":
            continue
        assert INLINE.search(page.text) is None, (path, INLINE.search(page.text))
        assert re.search(r'(?:src|<link[^>]*href)="https?:', page.text) is None, path


# Languages.


def test_the_language_is_switched_and_remembered_with_the_person(app, sign_in, isp):
    browser = sign_in("manager")
    assert '<html lang="en"' in browser.get("/").text
    post(browser, "/language", language="es", next="/subscribers/")
    assert '<html lang="es"' in browser.get("/subscribers/").text
    assert '<html lang="es"' in sign_in("manager").get("/").text


def test_before_signing_in_the_browsers_language_counts(app):
    page = app.test_client().get("/sign-in", headers={"Accept-Language": "es-MX,es;q=0.9"})
    assert '<html lang="es"' in page.text


def test_the_language_switch_leads_back_but_not_away(app):
    answer = post(app.test_client(), "/language", language="es", next="//evil.example/")
    assert answer.location == "/"


# When something is wrong.


@pytest.mark.parametrize("path", ["/sign-in?email=a%00b", "/subscribers/?q=a%00b", "/services/?sort=%00"])
def test_a_nul_is_turned_away_before_it_reaches_the_database(sign_in, path):
    assert sign_in("manager").get(path).status_code == 400


def test_a_page_that_is_not_there_says_so_in_the_frame_of_the_portal(sign_in):
    page = sign_in("manager").get("/subscribers/999999")
    assert page.status_code == 404
    assert "There is no such page" in page.text


def test_without_its_database_the_portal_says_what_that_means(installation: Settings, isp):
    app = create_app(installation, testing=True)
    browser = app.test_client()
    post(browser, "/sign-in", email=isp.staff["manager"], password=PASSWORD)
    away = make_engine("postgresql://portico_portal@127.0.0.1:1/portico", connect_args={"connect_timeout": 1})
    shared = app.extensions["portico"]
    app.extensions["portico"] = replace(shared, engine=away, tenancy=Tenancy(away, tenancy_key(installation.keyring)))
    page = browser.get("/subscribers/")
    assert page.status_code == 503
    assert "The database does not answer" in page.text
    shared.close()
    away.dispose()


def test_an_unexpected_error_shows_no_stack_trace(installation: Settings, isp):
    app = create_app(installation)

    def broken() -> str:
        raise RuntimeError("inner workings")

    app.add_url_rule("/broken", "broken", requires_nothing(broken))
    page = app.test_client().get("/broken")
    assert page.status_code == 500
    assert "Something went wrong here" in page.text
    assert "inner workings" not in page.text
    app.extensions["portico"].close()


def requires_nothing(view):
    view.requirement = Openness.PUBLIC
    return view
