"""Second factors: set up, asked for, lost, demanded and taken away."""

import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.problems import Invalid
from crm.second_factors import STEP, begin_app, confirm_app, demand_factor, factors_of, use_app, use_recovery_code
from db.audit import Actor
from db.models import AuditEntry, Authenticator, LoginDevice, Notification, Passkey, RecoveryCode, Staff
from tests.portal.conftest import PASSWORD, post

SUPPORT = "support"


def person(system, isp, role: str) -> Staff:
    with Session(system) as session:
        return session.scalars(select(Staff).where(Staff.email == isp.staff[role])).one()


def set_up(browser) -> tuple[str, list[str]]:
    """Set up an app in a browser that is signed in; return its secret and the recovery codes."""
    page = post(browser, "/account/second-factor/app", present=PASSWORD)
    assert page.status_code == 200, page.text
    secret = re.search(r'<code class="portal-break">([A-Z2-7 ]+)</code>', page.text)[1].replace(" ", "")
    codes = post(browser, "/account/second-factor/app/confirm", code=pyotp.TOTP(secret).now())
    assert codes.status_code == 200, codes.text
    return secret, re.findall(r"<li><code>([a-z2-7-]+)</code>", codes.text)


def later(secret: str) -> str:
    """The code of the step after the present one: a phone's clock that is half a minute ahead."""
    return pyotp.TOTP(secret).at(utc_now() + timedelta(seconds=STEP))


def first_step(app, isp, role: str):
    browser = app.test_client()
    answer = post(browser, "/sign-in?next=/subscribers/", email=isp.staff[role], password=PASSWORD)
    assert answer.location == "/sign-in/second"
    return browser


def second_step(browser, **fields: str):
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/sign-in/second").text)[1]
    return browser.post("/sign-in/second", data={"csrf_token": token, **fields})


def test_with_an_app_the_password_alone_opens_nothing(app, sign_in, isp, system):
    secret, codes = set_up(sign_in(SUPPORT))
    assert len(set(codes)) == 10
    browser = first_step(app, isp, SUPPORT)
    assert browser.get("/subscribers/").location.startswith("/sign-in")
    wrong = second_step(browser, code="000000")
    assert wrong.status_code == 401
    assert "That did not work" in wrong.text
    assert browser.get("/account/").status_code == 302
    right = second_step(browser, code=later(secret))
    assert right.location == "/subscribers/"
    assert browser.get("/subscribers/").status_code == 200


def test_digits_of_other_scripts_are_a_wrong_code_like_any_other(app, sign_in, isp):
    set_up(sign_in(SUPPORT))
    assert second_step(first_step(app, isp, SUPPORT), code="١٢٣٤٥٦").status_code == 401


def test_a_code_is_good_once_and_those_before_it_no_more(app, sign_in, isp):
    secret, _codes = set_up(sign_in(SUPPORT))
    code = later(secret)
    assert second_step(first_step(app, isp, SUPPORT), code=code).status_code == 302
    assert second_step(first_step(app, isp, SUPPORT), code=code).status_code == 401
    assert second_step(first_step(app, isp, SUPPORT), code=pyotp.TOTP(secret).now()).status_code == 401


def test_a_phone_may_be_wrong_by_half_a_minute_and_not_by_more(rows, isp, system, installation):
    now = utc_now()
    with Session(system) as session:
        someone = session.scalars(select(Staff).where(Staff.email == isp.staff["sales"])).one()
        actor = Actor(isp.operator_id, "test")
        secret = begin_app(session, installation.keyring, someone)
        totp = pyotp.TOTP(secret)
        with pytest.raises(Invalid):
            confirm_app(session, installation.keyring, actor, someone, totp.at(now + timedelta(seconds=90)), now)
        confirm_app(session, installation.keyring, actor, someone, totp.at(now), now)
        for minutes, seconds, good in ((2, 90, False), (2, -90, False), (2, 30, True), (4, -30, True), (4, -30, False)):
            instant = now + timedelta(minutes=minutes)
            code = totp.at(instant + timedelta(seconds=seconds))
            assert use_app(session, installation.keyring, someone.id, code, instant) is good, (minutes, seconds)


def test_a_recovery_code_is_good_once_and_its_use_is_told(app, sign_in, isp, system):
    _secret, codes = set_up(sign_in(SUPPORT))
    assert second_step(first_step(app, isp, SUPPORT), code=codes[3].upper().replace("-", " ")).status_code == 302
    assert second_step(first_step(app, isp, SUPPORT), code=codes[3]).status_code == 401
    with Session(system) as session:
        mail = session.scalars(select(Notification).where(Notification.kind == "sign_in_recovery")).one()
        assert mail.shown_address == isp.staff[SUPPORT]
        assert "9 are left" in mail.body


def test_nothing_secret_is_stored_in_clear(sign_in, isp, system):
    secret, codes = set_up(sign_in("finance"))
    plain = {code.replace("-", "") for code in codes} | set(codes) | {secret}
    with Session(system) as session:
        kept = session.execute(
            text("SELECT row_to_json(a)::text FROM authenticator a UNION ALL SELECT row_to_json(r)::text FROM"
                 " recovery_code r UNION ALL SELECT row_to_json(e)::text FROM audit_entry e")
        ).scalars().all()  # fmt: skip
        sealed = bytes(session.get_one(Authenticator, person(system, isp, "finance").id).secret)
    assert not any(each in row for row in kept for each in plain)
    assert secret.encode() not in sealed


def test_every_change_asks_for_the_password_and_removing_the_app_removes_the_codes(sign_in, isp, system):
    browser = sign_in("technical")
    assert post(browser, "/account/second-factor/app", present="wrong").status_code == 422
    set_up(browser)
    for path in ("app/remove", "codes", "passkeys/new"):
        assert post(browser, f"/account/second-factor/{path}", present="wrong").status_code == 422, path
    fresh = re.findall(
        r"<li><code>([a-z2-7-]+)</code>", post(browser, "/account/second-factor/codes", present=PASSWORD).text
    )
    assert len(fresh) == 10
    assert post(browser, "/account/second-factor/app/remove", present=PASSWORD).status_code == 302
    with Session(system) as session:
        number = person(system, isp, "technical").id
        assert not factors_of(session, number).any
        assert session.scalars(select(RecoveryCode).where(RecoveryCode.staff_id == number)).all() == []
        assert not use_recovery_code(session, Actor(isp.operator_id, "t"), number, fresh[0], utc_now())


def test_setting_up_a_factor_signs_out_who_came_in_without_it(sign_in):
    here, elsewhere = sign_in(SUPPORT), sign_in(SUPPORT)
    set_up(here)
    assert here.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302


def test_a_trusted_browser_is_not_asked_again_until_that_is_taken_back(app, sign_in, isp, system):
    secret, codes = set_up(sign_in(SUPPORT))
    browser = first_step(app, isp, SUPPORT)
    assert second_step(browser, code=later(secret), trust="y").status_code == 302
    post(browser, "/sign-out")
    assert post(browser, "/sign-in", email=isp.staff[SUPPORT], password=PASSWORD).location == "/"
    assert first_step(app, isp, SUPPORT)  # another browser is asked
    post(browser, "/account/sessions/end-others")
    post(browser, "/sign-out")
    assert post(browser, "/sign-in", email=isp.staff[SUPPORT], password=PASSWORD).location == "/sign-in/second"
    assert second_step(browser, code=codes[0], trust="y").status_code == 302
    with Session(system) as session:
        session.execute(update(LoginDevice).values(trusted_until=utc_now() - timedelta(seconds=1)))
        session.commit()
    post(browser, "/sign-out")
    assert post(browser, "/sign-in", email=isp.staff[SUPPORT], password=PASSWORD).location == "/sign-in/second"


def test_a_trusted_browser_of_one_person_is_a_strangers_to_another(app, sign_in, isp):
    secret, _codes = set_up(sign_in(SUPPORT))
    set_up(sign_in("sales"))
    browser = first_step(app, isp, SUPPORT)
    second_step(browser, code=later(secret), trust="y")
    post(browser, "/sign-out")
    assert post(browser, "/sign-in", email=isp.staff["sales"], password=PASSWORD).location == "/sign-in/second"


def test_guessing_codes_is_stopped_for_strangers_and_not_for_the_owners_browser(app, sign_in, isp):
    owner = sign_in(SUPPORT)
    secret, _codes = set_up(owner)
    post(owner, "/sign-out")
    thief = first_step(app, isp, SUPPORT)
    answers = [second_step(thief, code=f"{number:06d}").status_code for number in range(7)]
    assert answers == [401] * 5 + [429] * 2
    post(owner, "/sign-in", email=isp.staff[SUPPORT], password=PASSWORD)
    assert second_step(owner, code=later(secret)).status_code == 302


def test_a_role_that_needs_a_second_factor_is_led_to_set_one_up(sign_in, isp, system):
    manager, seller = sign_in("manager"), sign_in("sales")
    assert seller.get("/subscribers/").status_code == 200
    assert post(manager, "/security/", role=["sales"]).status_code == 302
    assert seller.get("/subscribers/").location == "/account/second-factor/"
    assert post(seller, "/subscribers/new", name="Smuggled").location == "/account/second-factor/"
    moved = seller.get("/subscribers/", headers={"HX-Request": "true"})
    assert moved.headers["HX-Redirect"] == "/account/second-factor/"
    assert seller.get("/account/second-factor/").status_code == 200
    assert manager.get("/subscribers/").status_code == 200  # only that role
    set_up(seller)
    assert seller.get("/subscribers/").status_code == 200
    refused = post(seller, "/account/second-factor/app/remove", present=PASSWORD)
    assert refused.status_code == 422
    assert "Your role needs a second factor" in refused.text
    assert "App" in manager.get("/security/").text
    with Session(system) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "sign_in_rule.change")).one()
        assert entry.after == {"second_factor_for": ["sales"]}
        with pytest.raises(Invalid):
            demand_factor(session, Actor(isp.operator_id, "test"), ["owner"])


def test_a_manager_takes_a_lost_factor_away_and_its_owner_is_told(sign_in, app, isp, system):
    manager, browser = sign_in("manager"), sign_in("finance")
    set_up(browser)
    number, mine = person(system, isp, "finance").id, person(system, isp, "manager").id
    page = post(manager, f"/staff/{number}/take-factors")
    assert page.status_code == 302
    assert browser.get("/account/").status_code == 302
    assert post(app.test_client(), "/sign-in", email=isp.staff["finance"], password=PASSWORD).location == "/"
    with Session(system) as session:
        assert (
            session.scalars(
                select(AuditEntry.actor).where(
                    AuditEntry.action == "staff.factor_reset", AuditEntry.entity_id == number
                )
            ).one()
            == isp.staff["manager"]
        )
        mail = session.scalars(select(Notification).where(Notification.kind == "sign_in_reset")).one()
        assert (mail.shown_address, "Manager" in mail.body) == (isp.staff["finance"], True)
    set_up(manager)
    assert "You do this for others" in manager.get(post(manager, f"/staff/{mine}/take-factors").location).text
    with Session(system) as session:
        assert factors_of(session, mine).app


def test_the_first_step_is_forgotten_after_ten_minutes_and_when_the_password_changes(app, sign_in, isp, system):
    secret, _codes = set_up(sign_in("sales"))
    browser = first_step(app, isp, "sales")
    with browser.session_transaction() as kept:
        kept["second_factor_for"] = [*kept["second_factor_for"][:3], utc_now().timestamp() - 601, "/"]
    assert browser.get("/sign-in/second").location == "/sign-in"
    browser = first_step(app, isp, "sales")
    with Session(system) as session:
        session.execute(update(Staff).where(Staff.email == isp.staff["sales"]).values(session_version=99))
        session.commit()
    assert post(browser, "/sign-in/second", code=later(secret)).location == "/sign-in"
    assert browser.get("/account/").status_code == 302


def test_a_passkey_that_nobody_made_is_refused(app, sign_in, isp, system):
    browser = sign_in("technical")
    page = post(browser, "/account/second-factor/passkeys/new", present=PASSWORD)
    assert "data-options" in page.text
    made_up = '{"id": "AA", "rawId": "AA", "type": "public-key", "response": {}}'
    for answer in ("", "nonsense", "{}", "[]", '"x"', made_up):
        assert post(browser, "/account/second-factor/passkeys", passkey=answer, name="x").status_code == 422, answer
        post(browser, "/account/second-factor/passkeys/new", present=PASSWORD)
    with Session(system) as session:
        number = person(system, isp, "technical").id
        session.add(
            Passkey(operator_id=isp.operator_id, staff_id=number, credential_id=b"\0", public_key=b"\xa0", name="k")
        )
        session.commit()
    stranger = first_step(app, isp, "technical")
    for answer in ("nonsense", "{}", "[]", made_up):
        assert second_step(stranger, passkey=answer).status_code == 401, answer


def test_nobody_removes_a_passkey_of_somebody_else(sign_in, isp, system):
    with Session(system) as session:
        key = Passkey(
            operator_id=isp.operator_id,
            staff_id=person(system, isp, "sales").id,
            credential_id=b"1",
            public_key=b"2",
            name="k",
        )
        session.add(key)
        session.commit()
        number = key.id
    browser = sign_in("manager")
    assert post(browser, f"/account/second-factor/passkeys/{number}/remove", present=PASSWORD).status_code == 404
    with Session(system) as session:
        assert session.get(Passkey, number) is not None
