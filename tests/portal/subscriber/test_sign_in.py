"""How subscribers get in, and who does not: codes, passwords, links, cookies, guessing."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.brands import Allowed, change_allowed
from crm.subscriber_logins import FIRST_LINK_LASTS, give_login, give_logins
from crm.subscribers import change_subscriber, details_of
from db.audit import Actor
from db.models import (
    ImportBatch,
    ImportRow,
    Notification,
    Operator,
    Service,
    SignInCode,
    SignInLink,
    Subscriber,
    SubscriberLogin,
)
from portal.subscriber.frame import COOKIE
from tests.portal.conftest import PASSWORD, csrf_token, post
from tests.portal.online import pay_path
from tests.portal.subscriber.conftest import Home

SECRET = "mountain goats sing"


def cookie_of(home: Home) -> str:
    found = home.browser.get_cookie(COOKIE, path=f"/my/{home.slug}/")
    return "" if found is None else found.value


def link_of(home: Home, kind: str) -> str:
    """Return the way of the newest link that was mailed, below the operator's pages."""
    body = home.mails(kind)[0].body
    found = re.search(rf"/my/{home.slug}/(link/\S+)", body)
    assert found is not None, body
    return found[1]


def first_login(home: Home) -> None:
    with Session(home.system) as session:
        subscriber = session.get_one(Subscriber, home.subscriber_id)
        give_login(session, home.settings.keyring, subscriber, "http://isp.example", utc_now())
        session.commit()


def test_a_code_by_email_lets_in_once(make_home):
    home = make_home()
    code = home.code()
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    assert home.post("sign-in/enter", code=wrong).status_code == 401
    spaced = f" {code[:3]} {code[3:]} "
    assert home.post("sign-in/enter", code=spaced).headers["Location"].endswith(home.url())
    assert "Ana Peña" in home.get().text
    home.browser.delete_cookie(COOKIE, path=f"/my/{home.slug}/")
    assert home.post("sign-in/enter", code=code).headers["Location"].endswith("/sign-in")
    with home.browser.session_transaction() as kept:
        kept["my_email"] = home.email
    assert home.post("sign-in/enter", code=code).status_code == 401


def test_no_code_and_no_link_stands_in_the_log_of_messages(make_home, sign_in):
    home = make_home()
    code = home.code()
    home.post("recover", email=home.email)
    first_login(home)
    assert [len(home.mails(kind)) for kind in ("login.code", "login.recovery", "login.first")] == [1, 1, 1]
    staff = sign_in("manager", home.isp)
    for url in ("/messages/", f"/messages/?q={code}", "/messages/?format=csv", f"/subscribers/{home.subscriber_id}"):
        page = staff.get(url)
        assert page.status_code == 200
        assert code not in page.text.replace(f"q={code}", "").replace(f'value="{code}"', "")
        assert home.email not in page.text or "/subscribers/" in url


def test_a_link_that_went_to_a_wrong_address_ends_when_it_is_corrected(make_home):
    home = make_home()
    first_login(home)
    way = link_of(home, "login.first")
    assert home.get(way).status_code == 200
    with Session(home.system) as session:
        subscriber = session.get_one(Subscriber, home.subscriber_id)
        corrected = replace(details_of(subscriber), email="ana.p@home.example")
        change_subscriber(session, Actor(home.isp.operator_id, "test"), subscriber, corrected, subscriber.version)
        session.commit()
    assert home.get(way).status_code == 410


def test_an_unknown_address_is_answered_like_a_known_one_and_gets_nothing(make_home):
    home = make_home()
    answers = []
    for email in (home.email, "nobody@else.example"):
        asked = home.post("sign-in/code", email=email)
        shown = re.sub(r'value="[^"]*"', "", home.get("sign-in/enter").text.replace(email, ""))
        recovery = home.post("recover", email=email)
        shown_again = re.sub(r'value="[^"]*"', "", home.get("sign-in").text)
        tried = home.post("sign-in/password", email=email, password="x" * 12)
        answers.append((asked.status_code, shown, recovery.status_code, shown_again, tried.status_code))
    assert answers[0] == answers[1]
    with Session(home.system) as session:
        told = select(Notification.shown_address).where(Notification.operator_id == home.isp.operator_id)
        assert set(session.scalars(told)) == {home.email}


def test_a_code_ends_after_ten_minutes_after_five_tries_and_with_the_next_one(make_home):
    home = make_home()
    old = home.code()
    code = home.code()
    assert old == code or home.post("sign-in/enter", code=old).status_code == 401
    for _number in range(5):
        home.post("sign-in/enter", code="x")
    with Session(home.system) as session:
        newest = session.scalars(select(SignInCode).order_by(SignInCode.id.desc()).limit(1)).one()
        assert newest.attempts == 5
        assert home.post("sign-in/enter", code=code).status_code == 401
        newest.attempts = 0
        session.commit()
        newest.expires_at = utc_now() - timedelta(seconds=1)
        session.commit()
        assert home.post("sign-in/enter", code=code).status_code == 401
        newest.expires_at = utc_now() + timedelta(minutes=1)
        session.commit()
    assert home.post("sign-in/enter", code=code).status_code == 302


def test_who_guesses_is_stopped_by_address_of_mail(make_home):
    home, other = make_home(), None
    statuses = [home.post("sign-in/password", email=home.email, password="guess") for _number in range(7)]
    assert [answer.status_code for answer in statuses][-1] == 429
    assert "Too many attempts" in statuses[-1].text
    other = make_home("Beto Ruiz", home.isp)
    assert other.post("sign-in/password", email=other.email, password="guess").status_code == 401


def test_no_address_gets_more_than_five_codes_an_hour(make_home):
    home = make_home()
    with Session(home.system) as session:
        for _number in range(5):
            session.add(SignInCode(operator_id=home.isp.operator_id, email=home.email, code_hash=b"x",
                                   expires_at=utc_now()))  # fmt: skip
        session.commit()
    assert home.post("sign-in/code", email=home.email).status_code == 302
    assert home.mails("login.code") == []


def test_neither_the_password_of_the_line_nor_that_of_staff_opens_the_pages(make_home):
    home = make_home()
    for email, password in ((home.email, "secret"), (home.isp.staff["manager"], PASSWORD)):
        assert home.post("sign-in/password", email=email, password=password).status_code == 401
    assert home.get().headers["Location"].endswith("/sign-in")


def test_the_first_login_is_sent_once_and_its_link_is_good_once(make_home):
    home = make_home()
    first_login(home)
    first_login(home)
    (mail,) = home.mails("login.first")
    assert "secret" not in mail.body
    way = link_of(home, "login.first")
    assert home.get(way).status_code == 200
    assert home.get(way).status_code == 200  # programs that look for viruses open it, too
    short = home.post(way, password="short", again="short")
    assert "at least 10" in short.text
    assert home.post(way, password=SECRET, again="another one").status_code == 200
    assert home.post(way, password=SECRET, again=SECRET).status_code == 302
    assert home.get().status_code == 200
    assert home.get(way).status_code == 410
    home.post("sign-out")
    assert home.get().status_code == 302
    assert home.post("sign-in/password", email=home.email.upper(), password=SECRET).status_code == 302
    assert home.get().status_code == 200


def test_a_link_of_another_operator_or_too_old_is_no_good(make_home):
    home, other = make_home(), make_home("Otto Otro")
    first_login(home)
    way = link_of(home, "login.first")
    assert other.get(way).status_code == 410
    assert home.get(way[:-1] + ("A" if way[-1] != "A" else "B")).status_code == 410
    with Session(home.system) as session:
        link = session.scalars(select(SignInLink).where(SignInLink.subscriber_id == home.subscriber_id)).one()
        assert way.encode() not in link.token_hash
        link.expires_at -= FIRST_LINK_LASTS + timedelta(minutes=1)
        session.commit()
    assert home.get(way).status_code == 410


def test_a_new_password_ends_every_other_browser(app, ana):
    other = app.test_client()
    other.set_cookie(COOKIE, cookie_of(ana), path=f"/my/{ana.slug}/")
    assert other.get(ana.url()).status_code == 200
    assert ana.post("account/password", password=SECRET, again=SECRET).status_code == 302
    assert ana.get().status_code == 200
    assert other.get(ana.url()).status_code == 302
    wrong = ana.post("account/password", current="wrong", password="something longer", again="something longer")
    assert wrong.status_code == 401
    assert "not your present password" in wrong.text


def test_a_cookie_that_was_made_up_moved_or_too_old_lets_nobody_in(app, ana, make_home, monkeypatch):
    other = make_home("Otto Otro")
    good = cookie_of(ana)
    for value, home in ((good[:-2] + "xx", ana), ("", ana), (good, other), ("W10.x.y", ana)):
        browser = app.test_client()
        browser.set_cookie(COOKIE, value, path=f"/my/{home.slug}/")
        assert browser.get(home.url()).status_code == 302, value
    # What was put into the session before the sign-in is gone: nobody waits in it.
    with ana.browser.session_transaction() as kept:
        assert "my_choice" not in kept
        assert "my_email" not in kept


def test_signed_in_subscribers_are_nobody_to_staff_pages_and_staff_nobody_here(app, ana, sign_in):
    for path in ("/", "/subscribers/", f"/subscribers/{ana.subscriber_id}", "/account/"):
        assert "/sign-in" in ana.browser.get(path).headers["Location"]
    stolen = app.test_client()
    stolen.set_cookie("portico_session", cookie_of(ana))
    assert stolen.get("/account/").status_code == 302
    staff = sign_in("manager", ana.isp)
    assert staff.get(ana.url()).headers["Location"].endswith("/sign-in")


def test_people_who_share_an_address_choose_who_they_are(make_home, ana):
    beto = make_home("Beto Ruiz", ana.isp)
    stranger = make_home("Carla Sol", ana.isp)
    with Session(ana.system) as session:
        session.get_one(Subscriber, beto.subscriber_id).email = ana.email.title()
        session.commit()
    beto.email = ana.email
    answer = beto.post("sign-in/enter", code=beto.code())
    assert answer.headers["Location"].endswith("/sign-in/choose")
    page = beto.get("sign-in/choose").text
    assert "Ana Peña" in page
    assert "Beto Ruiz" in page
    assert "Carla Sol" not in page
    assert beto.post("sign-in/choose", subscriber=stranger.subscriber_id).status_code == 200
    assert beto.get().status_code == 302
    assert beto.post("sign-in/choose", subscriber=beto.subscriber_id).status_code == 302
    assert "Beto Ruiz" in beto.get().text


def test_no_address_leads_away_from_here_after_signing_in(make_home):
    home = make_home()
    code = home.code()
    way = home.url("sign-in/enter?next=https://evil.example/")
    answer = home.browser.post(way, data={"csrf_token": home.token(), "code": code, "next": "//evil.example"})
    assert answer.headers["Location"] == home.url()


def test_forms_without_their_token_are_refused(ana):
    for path in ("sign-out", "account/contact", f"services/{ana.service_id}/plan"):
        assert ana.browser.post(ana.url(path), data={"phone": "1"}).status_code == 400, path


def test_an_operator_that_has_closed_its_pages_has_none(ana):
    assert ana.get("sign-in").status_code == 302
    ana.allow(enabled=False)
    assert ana.get().status_code == 404
    assert ana.get("sign-in").status_code == 404
    assert ana.browser.get("/my/no-such-isp/").status_code == 404


def test_logins_go_to_who_became_active_and_not_to_who_was_imported(make_home):
    home = make_home()
    fresh, old, imported, silent = (
        make_home(name, home.isp) for name in ("Fresca Uno", "Vieja Dos", "Traída Tres", "Muda Cuatro")
    )
    now = utc_now()
    with Session(home.system) as session:
        session.execute(text("UPDATE subscriber_login SET given_at = now()"))
        session.execute(text("UPDATE service SET activated_at = now() - interval '3 days'"))
        for one in (fresh, imported, silent):
            session.get_one(Service, one.service_id).activated_at = now
        session.get_one(Subscriber, silent.subscriber_id).email = None
        batch = ImportBatch(operator_id=home.isp.operator_id, source="csv", title="t", state="found")
        session.add(batch)
        session.flush()
        session.add(ImportRow(operator_id=home.isp.operator_id, batch_id=batch.id, line=1, access_method="pppoe",
                              name="n", service_id=imported.service_id))  # fmt: skip
        session.commit()
        assert give_logins(session, home.settings.keyring, "http://isp.example", now) == 1
        assert give_logins(session, home.settings.keyring, "http://isp.example", now) == 0
        assert len(fresh.mails("login.first")) == 1
        assert old.mails("login.first") == imported.mails("login.first") == []
        given = session.scalars(select(SubscriberLogin.subscriber_id).where(SubscriberLogin.given_at.is_not(None)))
        assert fresh.subscriber_id in set(given)
        change_allowed(session, Actor(home.isp.operator_id, "test"), Allowed(send_logins=False))
        session.get_one(Service, old.service_id).activated_at = now
        session.commit()
        assert give_logins(session, home.settings.keyring, "http://isp.example", now) == 0


def test_staff_look_with_a_subscribers_eyes_and_change_nothing(make_home, sign_in):
    home = make_home()
    staff = sign_in("support", home.isp)
    answer = post(staff, f"/settings/subscriber-portal/subscribers/{home.subscriber_id}/look")
    assert answer.headers["Location"] == home.url()
    page = staff.get(home.url())
    assert "looking with the eyes of Ana Peña" in page.text
    token = csrf_token(staff)
    for path in ("account/contact", f"services/{home.service_id}/pause", "help/new"):
        assert staff.post(home.url(path), data={"csrf_token": token, "phone": "+52 33 1234"}).status_code == 403
    with Session(home.system) as session:
        told = text("SELECT count(*) FROM audit_entry WHERE action = 'subscriber.look' AND entity_id = :id")
        assert session.scalar(told, {"id": home.subscriber_id}) == 1
        assert session.scalar(select(func.count()).select_from(SubscriberLogin).where(
            SubscriberLogin.subscriber_id == home.subscriber_id)) == 0  # fmt: skip
    assert post(sign_in("finance", home.isp),
                f"/settings/subscriber-portal/subscribers/{home.subscriber_id}/look").status_code == 403  # fmt: skip


def test_an_own_host_name_leads_to_its_operator_alone(app, make_home):
    home, other = make_home(), make_home("Otto Otro")
    with Session(home.system) as session:
        session.execute(text("INSERT INTO brand (operator_id, host, name) VALUES (:id, :host, 'Valle Net')"),
                        {"id": home.isp.operator_id, "host": "my.valle.example"})  # fmt: skip
        session.commit()
        assert session.get_one(Operator, home.isp.operator_id).slug == home.slug
    browser, base = app.test_client(), "http://my.valle.example"
    assert browser.get("/", base_url=base).headers["Location"] == "/my/"
    assert browser.get("/my/", base_url=base).headers["Location"] == home.url()
    assert "Valle Net" in browser.get(home.url("sign-in"), base_url=base).text
    assert browser.get(other.url("sign-in"), base_url=base).status_code == 404
    assert browser.get("/my/").status_code == 404
    mine, theirs = (pay_path(each.system, each.settings, each.isp, subscriber_id=each.subscriber_id)
                    for each in (home, other))  # fmt: skip
    assert "Valle Net" in browser.get(mine, base_url=base).text
    assert browser.get(theirs, base_url=base).status_code == 404, "no other operator's pages answer there"
    assert browser.get(theirs).status_code == browser.get(mine, base_url="http://unknown.example").status_code == 200


@pytest.mark.parametrize("path", ["manifest.webmanifest", "brand.css", "icon-192.png", "worker.js", "offline"])
def test_the_shell_holds_nothing_of_a_person(ana, path):
    answer = ana.get(path)
    assert answer.status_code == 200
    assert b"Ana" not in answer.data
    assert "no-store" not in answer.headers["Cache-Control"]
    assert "no-store" in ana.get().headers["Cache-Control"]
