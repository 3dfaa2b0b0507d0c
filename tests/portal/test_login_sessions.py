"""Sessions of staff: seen, ended, told of; passwords forgotten; and guessing that keeps nobody out."""

import re
from datetime import timedelta

import pytest
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.login_sessions import block_of, device_words
from db.models import AuditEntry, LoginSession, Notification, Staff, StaffLink
from portal.application import create_app
from portal.auth import is_ours
from tests.portal.conftest import PASSWORD, post

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"  # noqa: E501
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.2849.46"  # noqa: E501
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1"  # noqa: E501


def enter(app, isp, role: str, *, agent: str = FIREFOX, address: str = "203.0.113.5", browser=None, password=PASSWORD):
    """Sign in from somewhere; return the browser and the answer."""
    browser = browser or app.test_client()
    environ = {"REMOTE_ADDR": address}
    token = re.search(r'csrf_token" value="([^"]+)"', browser.get("/sign-in", environ_overrides=environ).text)[1]
    form = {"csrf_token": token, "email": isp.staff[role], "password": password}
    return browser, browser.post("/sign-in", data=form, headers={"User-Agent": agent}, environ_overrides=environ)


def mails(system, kind: str, address: str) -> list[Notification]:
    with Session(system) as session:
        query = select(Notification).where(Notification.kind == kind, Notification.shown_address == address)
        return list(session.scalars(query.order_by(Notification.id)))


def test_each_browser_is_listed_and_ends_at_its_next_request_when_it_is_revoked(app, isp, system):
    here, _answer = enter(app, isp, "support")
    phone, _answer = enter(app, isp, "support", agent=ANDROID)
    page = here.get("/account/sessions/").text
    assert "Firefox 131" in page
    assert "Chrome 130" in page
    assert "Android" in page
    assert page.count("this one") == 1
    (end,) = re.findall(r'action="(/account/sessions/\d+/end)"', page)
    assert phone.get("/account/").status_code == 200
    assert post(here, end).status_code == 302
    assert phone.get("/account/").location.startswith("/sign-in")
    assert here.get("/account/").status_code == 200
    assert post(here, end).status_code == 404  # ended already
    with Session(system) as session:
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "staff.session_end")).one()


def test_all_others_end_at_once_and_nobody_ends_those_of_somebody_else(app, isp, system):
    here, _answer = enter(app, isp, "sales")
    others = [enter(app, isp, "sales")[0] for _number in range(3)]
    stranger, _answer = enter(app, isp, "finance")
    with Session(system) as session:
        theirs = session.scalars(
            select(LoginSession.id).join(Staff, Staff.id == LoginSession.staff_id)
            .where(Staff.email == isp.staff["finance"])
        ).one()  # fmt: skip
    assert post(here, f"/account/sessions/{theirs}/end").status_code == 404
    assert post(here, "/account/sessions/end-others").status_code == 302
    assert [each.get("/account/").status_code for each in (here, *others, stranger)] == [200, 302, 302, 302, 200]


def test_a_copied_cookie_is_worth_nothing_after_signing_out(app, isp):
    browser, _answer = enter(app, isp, "sales")
    cookie = browser.get_cookie("portico_session").value
    thief = app.test_client()
    thief.set_cookie("portico_session", cookie)
    assert thief.get("/account/").status_code == 200
    post(browser, "/sign-out")
    again = app.test_client()
    again.set_cookie("portico_session", cookie)
    assert again.get("/account/").status_code == 302


@pytest.mark.parametrize(
    ("seen", "created"),
    [
        pytest.param(timedelta(hours=12), timedelta(hours=12), id="idle"),
        pytest.param(timedelta(), timedelta(days=14), id="too old"),
    ],
)
def test_a_session_ends_when_it_is_left_alone_or_too_old(app, isp, system, seen, created):
    browser, _answer = enter(app, isp, "technical")
    now = utc_now()
    with Session(system) as session:
        staff = select(Staff.id).where(Staff.email == isp.staff["technical"]).scalar_subquery()
        of = update(LoginSession).where(LoginSession.staff_id == staff)
        session.execute(
            of.values(seen_at=now - seen + timedelta(minutes=1), created_at=now - created + timedelta(minutes=2))
        )
        session.commit()
        assert browser.get("/account/").status_code == 200
        session.execute(of.values(seen_at=now - seen, created_at=now - created))
        session.commit()
    assert browser.get("/account/").status_code == 302


def test_other_roles_sign_a_person_out(app, isp, sign_in, system):
    browser, _answer = enter(app, isp, "support")
    with Session(system) as session:
        number = session.scalars(select(Staff.id).where(Staff.email == isp.staff["support"])).one()
    manager = sign_in("manager")
    post(manager, f"/staff/{number}", name="Support", email=isp.staff["support"], roles=["support"])
    assert browser.get("/account/").status_code == 200
    post(manager, f"/staff/{number}", name="Support", email=isp.staff["support"], roles=["sales"])
    assert browser.get("/account/").status_code == 302


def test_what_was_put_into_a_browser_before_signing_in_is_gone_after_it(app, isp):
    browser = app.test_client()
    browser.get("/sign-in")
    with browser.session_transaction() as kept:
        kept["planted"] = "x"
        before = kept["csrf_token"]
    enter(app, isp, "finance", browser=browser)
    with browser.session_transaction() as kept:
        assert "planted" not in kept
        assert kept.get("csrf_token") != before


def test_a_new_browser_or_network_is_told_and_the_usual_one_is_not(app, isp, system):
    address = isp.staff["manager"]
    browser, _answer = enter(app, isp, "manager")
    assert mails(system, "sign_in_device", address) == []  # the very first time is no news
    for place in ("203.0.113.5", "203.0.77.9"):
        post(browser, "/sign-out")
        assert enter(app, isp, "manager", browser=browser, address=place)[1].status_code == 302
        assert mails(system, "sign_in_place", address) == []
    post(browser, "/sign-out")
    enter(app, isp, "manager", browser=browser, address="198.51.100.1")
    (place,) = mails(system, "sign_in_place", address)
    assert "198.51.100.1" in place.body
    enter(app, isp, "manager", agent=ANDROID)
    (device,) = mails(system, "sign_in_device", address)
    assert "Chrome 130 · Android" in device.body
    assert "/account/sessions/" in device.body


def test_a_guesser_locks_out_neither_the_owner_nor_the_neighbours(app, isp):
    owner, _answer = enter(app, isp, "support")
    post(owner, "/sign-out")
    same = "203.0.113.5"
    guesses = [enter(app, isp, "support", password=f"guess {n}", address=same)[1].status_code for n in range(8)]
    assert guesses == [401] * 5 + [429] * 3
    assert enter(app, isp, "support", address=same)[1].status_code == 429  # the right password, from a stranger
    assert enter(app, isp, "support", address=same, browser=owner)[1].status_code == 302
    assert enter(app, isp, "sales", address=same)[1].status_code == 302  # a colleague behind the same address


def test_a_guesser_with_many_addresses_is_stopped_and_the_owner_still_comes_in(app, isp, system):
    owner, _answer = enter(app, isp, "finance")
    post(owner, "/sign-out")
    answers = [
        enter(app, isp, "finance", password="wrong guess", address=f"198.18.{number // 5}.1")[1].status_code
        for number in range(105)
    ]
    assert answers[:100] == [401] * 100
    assert answers[100:] == [429] * 5
    assert enter(app, isp, "finance", address="198.51.100.77")[1].status_code == 429
    assert enter(app, isp, "finance", address="198.51.100.77", browser=owner)[1].status_code == 302
    # Who has no such browser at hand gets in by a link that is sent to them.
    stranger = app.test_client()
    post(stranger, "/sign-in/forgotten", email=isp.staff["finance"])
    (mail,) = mails(system, "staff.link", isp.staff["finance"])
    link = re.search(r"/welcome/\S+", mail.body)[0]
    assert post(stranger, link, new="mountain goats sing", again="mountain goats sing").status_code == 302


def test_whoever_forgot_the_password_gets_a_link_and_strangers_learn_nothing(app, isp, system):
    browser = app.test_client()
    known = post(browser, "/sign-in/forgotten", email=isp.staff["technical"].upper())
    unknown = post(browser, "/sign-in/forgotten", email="nobody@isp.example")
    assert known.location == unknown.location == "/sign-in"
    assert mails(system, "staff.link", "nobody@isp.example") == []
    (mail,) = mails(system, "staff.link", isp.staff["technical"])
    assert mail.body.count("http") == 1
    # The password stays until the link is used: nobody is locked out by a stranger's request.
    assert enter(app, isp, "technical")[1].status_code == 302
    for _number in range(4):
        post(browser, "/sign-in/forgotten", email=isp.staff["technical"])
    assert len(mails(system, "staff.link", isp.staff["technical"])) == 3
    with Session(system) as session:
        links = session.scalars(select(StaffLink).order_by(StaffLink.id.desc()).limit(1)).one()
        assert links.expires_at < utc_now() + timedelta(hours=1, minutes=1)


def test_links_in_mails_begin_with_the_address_of_the_settings_whatever_the_request_says(installation, isp, system):
    app = create_app(
        installation.model_copy(update={"portal_url": "https://portal.isp.example", "smtp_host": "mail.example"}),
        testing=True,
    )
    browser = app.test_client()
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}

    def send(path: str, **form: object) -> int:
        page = browser.get("/account/", headers=evil)
        page = browser.get("/sign-in", headers=evil) if page.status_code == 302 else page
        token = re.search(r'csrf_token" value="([^"]+)"', page.text)[1]
        return browser.post(path, data={"csrf_token": token, **form}, headers=evil).status_code

    assert send("/sign-in/forgotten", email=isp.staff["sales"]) == 302
    assert send("/sign-in", email=isp.staff["manager"], password=PASSWORD) == 302
    assert send("/staff/new", name="N", email="n@isp.example", roles=["sales"]) == 200
    app.extensions["portico"].close()
    for address in (isp.staff["sales"], "n@isp.example"):
        (mail,) = mails(system, "staff.link", address)
        assert "https://portal.isp.example/welcome/" in mail.body
        assert "evil" not in mail.body


def test_a_manager_demands_a_new_password_and_nothing_else_opens_before(app, isp, sign_in, system):
    browser, manager = enter(app, isp, "sales")[0], sign_in("manager")
    with Session(system) as session:
        number = session.scalars(select(Staff.id).where(Staff.email == isp.staff["sales"])).one()
    post(manager, f"/staff/{number}/must-change")
    assert browser.get("/subscribers/").location == "/account/"
    assert post(browser, "/subscribers/new", name="Smuggled").location == "/account/"
    same = post(browser, "/account/password", present=PASSWORD, new=PASSWORD, again=PASSWORD)
    assert "This is the password that you have" in same.text
    new = "another long password"
    assert post(browser, "/account/password", present=PASSWORD, new=new, again=new).status_code == 302
    assert browser.get("/subscribers/").status_code == 200


def test_what_a_password_resembles_is_said_in_the_readers_language(app, isp, sign_in):
    browser = sign_in("finance")
    post(browser, "/language", language="es")
    page = post(browser, "/account/password", present=PASSWORD, new="passwordpassword", again="passwordpassword")
    assert "demasiado fácil de adivinar" in page.text
    assert "Repetir una parte" in page.text


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "https:evil.example",
        "https:/evil.example", "///evil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example",
        "javascript:alert(1)", "data:text/html,x", "evil.example", "@evil.example", "http:///evil.example",
        " //e.example", "/\x0b/evil.example", "",
    ],
)  # fmt: skip
def test_no_address_of_elsewhere_is_taken_for_one_of_ours(app, isp, elsewhere):
    assert not is_ours(elsewhere)
    answer = post(app.test_client(), "/language", language="en", next=elsewhere)
    assert answer.location == "/"


@pytest.mark.parametrize(
    "ours", ["/", "/subscribers/?q=a%20b", "/%2fevil.example", "/my page", "/?next=//evil.example"]
)
def test_addresses_of_ours_are_led_to(ours):
    assert is_ours(ours)


def test_an_unknown_address_is_hashed_for_as_a_wrong_password_is(app, isp, monkeypatch):
    from portal import auth

    hashed = []
    verify = auth.hasher.verify
    monkeypatch.setattr(
        auth, "check_password", lambda stored, given: hashed.append(stored) or _safe(verify, stored, given)
    )
    for email in (isp.staff["manager"], "nobody@isp.example"):
        assert post(app.test_client(), "/sign-in", email=email, password="wrong guess").status_code == 401
    assert len(hashed) == 2
    parameters = {each.rsplit("$", 2)[0] for each in hashed}
    assert len(parameters) == 1  # the same kind of hash and the same work, whoever it was
    assert all(each.startswith("$argon2id$") for each in hashed)


def _safe(verify, stored: str, given: str) -> bool:
    try:
        return bool(verify(stored, given))
    except VerifyMismatchError:
        return False


def test_browsers_are_called_what_people_call_them():
    assert device_words(FIREFOX) == ("Firefox 131", "Linux")
    assert device_words(ANDROID) == ("Chrome 130", "Android")
    assert device_words(EDGE) == ("Edge 130", "Windows")
    assert device_words(SAFARI) == ("Safari 17", "iPhone")
    assert device_words("") == ("", "")
    assert device_words("<script>") == ("", "")


def test_an_address_belongs_to_a_block_and_what_is_none_to_no_block():
    assert block_of("203.0.113.5") == "203.0.0.0/16"
    assert block_of("2001:db8:1:2::1") == "2001:db8::/32"
    assert block_of(None) == block_of("nowhere") == ""
