"""The platform's pages, licences, suspension and consent: who may, what it does, and what it leaves alone."""

import html
import json
import re
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from psycopg import errors
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm import vouchers
from crm.accounts import make_platform
from crm.licences import ANNUAL, DEMO, MONTHLY, LicenceTerms, due_reminder, give_licence, next_until, require_room
from crm.problems import Invalid, Problem
from crm.subscribers import SubscriberDetails, create_subscriber
from db.audit import Actor
from db.models import Account, AccountRequest, AuditEntry, Consent, Licence, Notification, Staff, Subscriber
from portal.auth import hasher
from tests.portal.api.conftest import Program, make_token
from tests.portal.conftest import PASSWORD, add_subscriber, make_isp, post
from tests.portal.test_resellers import make as make_reseller


@pytest.fixture(scope="module")
def platform(system, app):
    """The platform's id, with somebody of it who can sign in."""
    with Session(system) as session:
        made = make_platform(session, "test", "Portico Cloud").id
        session.add(
            Staff(operator_id=made, email="val@cloud.example", name="Valeria", password_hash=hasher.hash(PASSWORD),
                  roles=["manager"])
        )  # fmt: skip
        session.commit()
    return made


@pytest.fixture
def boss(app, platform):
    """A browser in which somebody of the platform is signed in."""
    browser = app.test_client()
    assert post(browser, "/sign-in", email="val@cloud.example", password=PASSWORD).status_code == 302
    return browser


def license_for(system, operator_id: int, limit: int | None, period: str = DEMO, **values: object) -> None:
    with Session(system) as session:
        terms = LicenceTerms("L", limit, period, **values)
        give_licence(session, Actor(operator_id, "test"), operator_id, terms, utc_now().date() - timedelta(days=400))
        session.commit()


def count(system, operator_id: int) -> int:
    with Session(system) as session:
        return session.scalar(select(func.count()).where(Subscriber.operator_id == operator_id)) or 0


def said(system, operator_id: int) -> list[str]:
    with Session(system) as session:
        return list(session.scalars(select(AuditEntry.action).where(AuditEntry.operator_id == operator_id)))


def test_of_two_who_want_the_last_place_one_is_refused(system, isp):
    license_for(system, isp.operator_id, 3)
    for number in range(2):
        add_subscriber(system, isp, f"S{number}")
    both, outcomes = Barrier(2), []

    def enter(name: str) -> None:
        with Session(system) as session:
            session.execute(text("SELECT 1"))
            both.wait()
            try:
                create_subscriber(session, Actor(isp.operator_id, "test"), SubscriberDetails(name))
                session.commit()
                outcomes.append("entered")
            except Invalid as invalid:
                outcomes.append(invalid.problems[0].problem)

    threads = [Thread(target=enter, args=(name,)) for name in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted(["entered", Problem.LICENCE_FULL])
    assert count(system, isp.operator_id) == 3


def test_a_full_demo_takes_nobody_more_and_says_how_to_go_on(sign_in, system, isp, boss):
    post(boss, "/platform/settings", adviser="Valeria", whatsapp="+52 33 5555 0199", contact_email="v@cloud.example")
    license_for(system, isp.operator_id, 1)
    seller = sign_in("sales")
    assert post(seller, "/subscribers/new", name="First", language="").status_code == 302
    page = post(seller, "/subscribers/new", name="Second", language="")
    assert "places for 1 subscribers, and they are taken" in page.text
    assert 'href="/licence#contact"' in page.text
    assert count(system, isp.operator_id) == 1
    licence = seller.get("/licence").text
    assert "https://wa.me/523355550199" in licence
    assert "Valeria" in licence
    assert post(seller, "/licence/contact", words="300 please", phone="55 1234").status_code == 302
    with Session(system) as session:
        asked = session.scalars(select(AccountRequest).where(AccountRequest.operator_id == isp.operator_id)).one()
        assert asked.words == "300 please"
        mail = session.scalars(select(Notification).where(Notification.kind == "account.request")).one()
        assert (mail.shown_address, mail.state) == ("v@cloud.example", "waiting")
    assert "300 please" in boss.get("/platform/requests").text
    post(boss, f"/platform/requests/{asked.id}/done")
    with Session(system) as session:
        assert session.get_one(AccountRequest, asked.id).done_at is not None


def test_no_way_in_passes_by_a_full_licence(sign_in, system, isp, app, installation):
    """A program, a lead that is won and somebody who comes back need a place like one who is typed in."""
    gone = add_subscriber(system, isp, "Gone")
    manager, full = sign_in("manager"), "they are taken"
    assert post(manager, f"/subscribers/{gone}/remove").status_code == 302
    lead = post(manager, "/leads/new", name="Maybe", phone="+52 55 1234 5678", source="phone").headers["Location"]
    add_subscriber(system, isp, "Here")
    license_for(system, isp.operator_id, 1)
    erp = Program(app, make_token(system, installation, isp)[1])

    refused = erp.post("/subscribers", {"name": "Third"})
    assert (refused.status_code, full in refused.text) == (422, True), refused.text
    post(manager, f"{lead}/win")
    assert full in manager.get(lead).text
    post(manager, f"/subscribers/removed/{gone}/bring-back")
    assert full in manager.get(f"/subscribers/removed/{gone}").text
    with Session(system) as session:
        used = session.scalar(text("SELECT used FROM licence_standing(:id, false)"), {"id": isp.operator_id})
    assert used == 1

    license_for(system, isp.operator_id, 4)
    assert erp.post("/subscribers", {"name": "Third"}).status_code == 201
    post(manager, f"{lead}/win")
    post(manager, f"/subscribers/removed/{gone}/bring-back")
    with Session(system) as session:
        used = session.scalar(text("SELECT used FROM licence_standing(:id, false)"), {"id": isp.operator_id})
    assert used == 4


def test_a_licence_that_ran_out_keeps_all_and_allows_what_a_demo_does(sign_in, system, isp):
    license_for(system, isp.operator_id, 500, ANNUAL, until=utc_now().date() - timedelta(days=1))
    for number in range(11):
        add_subscriber(system, isp, f"S{number}")
    manager = sign_in("manager")
    assert "Your licence has ended" in manager.get("/").text
    assert manager.get("/subscribers/").status_code == 200
    with Session(system) as session, pytest.raises(Invalid):
        require_room(session, isp.operator_id)
    assert count(system, isp.operator_id) == 11


def test_an_operator_without_a_licence_row_is_not_limited(system, isp):
    with Session(system) as session:
        require_room(session, isp.operator_id, 1_000_000)


def test_an_operator_cannot_give_itself_a_licence_or_lift_its_suspension(tenancy, system, isp, platform):
    license_for(system, isp.operator_id, 1)
    with Session(system) as session:
        session.add(Account(operator_id=isp.operator_id))
        session.commit()
    refused = (
        "INSERT INTO licence (operator_id, name, period, made_by) VALUES (:id, 'x', 'demo', 'x')",
        "UPDATE licence SET subscriber_limit = 1000 WHERE operator_id = :id",
        "UPDATE account SET platform = true WHERE operator_id = :id",
        "UPDATE account SET suspended_at = now() WHERE operator_id = :id",
        "UPDATE account SET parent_id = :platform WHERE operator_id = :id",
        "DELETE FROM account WHERE operator_id = :id",
        "INSERT INTO operator (slug, name) VALUES ('x', 'x')",
    )
    for statement in refused:
        with tenancy.session(isp.operator_id) as session, pytest.raises(ProgrammingError) as problem:
            session.execute(text(statement), {"id": isp.operator_id, "platform": platform})
        assert isinstance(problem.value.orig, errors.InsufficientPrivilege), statement
    with tenancy.session(isp.operator_id) as session:
        assert session.execute(text("SELECT * FROM platform_operators()")).all() == []
        assert session.execute(text("SELECT * FROM licence_standing(:id, false)"), {"id": platform}).all() == []


def test_only_the_platform_sees_its_pages_and_it_sees_no_subscribers(sign_in, isp, boss, system):
    add_subscriber(system, isp, "Persona Privada")
    manager = sign_in("manager")
    for path in ("", "sign-ups", "requests", "settings", f"operators/{isp.operator_id}"):
        assert manager.get(f"/platform/{path}").status_code == 404
        page = boss.get(f"/platform/{path}")
        assert page.status_code == 200
        assert "Persona Privada" not in page.text
    assert boss.get("/").location == "/platform/"
    assert boss.get("/subscribers/").status_code in (403, 404)
    assert boss.get("/staff/").status_code == 200
    assert boss.get("/account/").status_code == 200
    assert "Persona Privada" not in boss.get("/platform/?format=csv").text


def test_the_platform_gives_a_licence_and_the_history_stays(boss, sign_in, system, isp, platform):
    license_for(system, isp.operator_id, 10)
    page = f"/platform/operators/{isp.operator_id}"
    until = (utc_now() + timedelta(days=364)).date()
    wrong = post(
        boss, f"{page}/licence", name="", limit="0", period="never", price="-1", currency="XXQ", until="2020-01-01"
    )
    assert wrong.status_code == 422
    given = post(boss, f"{page}/licence", name="ISP 300", limit="300", period="annual", price="3500.50",
                 currency="mxn", until=until.isoformat(), note="paid by transfer")  # fmt: skip
    assert given.status_code == 302
    shown = boss.get(page).text
    proposed = json.loads(html.unescape(re.search(r'data-until="([^"]*)" data-period="annual"', shown)[1]))
    assert proposed == {"demo": "", **{each: f"{next_until(each, utc_now().date())}" for each in (MONTHLY, ANNUAL)}}
    assert "ISP 300" in shown
    assert "paid by transfer" in shown
    with Session(system) as session:
        newest = session.scalars(
            select(Licence).where(Licence.operator_id == isp.operator_id).order_by(Licence.id.desc())
        )
        assert [(each.name, each.subscriber_limit, each.until) for each in newest] == [
            ("ISP 300", 300, until),
            ("L", 10, None),
        ]
    assert "licence.give" in said(system, isp.operator_id)
    assert "licence.give" in said(system, platform)
    assert "ISP 300" in sign_in("manager").get("/licence").text
    csv = boss.get("/platform/?format=csv")
    assert csv.status_code in (200, 403)


def test_a_suspended_operator_keeps_its_staff_out_and_its_subscribers_on(boss, sign_in, system, isp, platform):
    manager, page = sign_in("manager"), f"/platform/operators/{isp.operator_id}"
    assert post(boss, f"{page}/suspend", reason=" ").status_code == 422
    assert post(boss, f"{page}/suspend", reason="Two invoices are open.").status_code == 302
    for path in ("/", "/subscribers/", "/licence", "/account/"):
        answer = manager.get(path)
        assert answer.status_code == 403
        assert "Two invoices are open." in answer.text
    again = manager.application.test_client()
    post(again, "/sign-in", email=isp.staff["sales"], password=PASSWORD)
    assert again.get("/").status_code == 403
    with Session(system) as session:
        assert session.execute(text("SELECT active FROM operator WHERE id = :id"), {"id": isp.operator_id}).scalar()
    assert post(boss, f"{page}/restore").status_code == 302
    assert manager.get("/subscribers/").status_code == 200
    for operator_id in (isp.operator_id, platform):
        assert {"operator.suspend", "operator.restore"} <= set(said(system, operator_id))


def test_resellers_are_kept_out_with_their_parent_and_those_who_were_out_before_stay_out(
    app, boss, sign_in, system, isp, platform
):
    manager = sign_in("manager")
    (south, at_south), (north, _) = (
        make_reseller(app, manager, name, f"{name.lower()}@{isp.operator_id}.example") for name in ("South", "North")
    )
    assert post(boss, f"/platform/operators/{north}/suspend", reason="Its own debt").status_code == 302
    page = f"/platform/operators/{isp.operator_id}"
    assert post(boss, f"{page}/suspend", reason="Two invoices are open.").status_code == 302
    assert "Two invoices are open." in at_south.get("/subscribers/").text
    assert post(boss, f"{page}/restore").status_code == 302
    assert at_south.get("/subscribers/").status_code == 200
    with Session(system) as session:
        assert session.get_one(Account, south).suspended_at is None
        assert session.get_one(Account, north).suspended_reason == "Its own debt"
    assert {"operator.suspend", "operator.restore"} <= set(said(system, south))


def test_the_platform_acts_in_an_operators_place_only_with_its_consent_and_until_it_ends(
    boss, sign_in, system, isp, platform
):
    manager, page = sign_in("manager"), f"/platform/operators/{isp.operator_id}"
    assert post(boss, f"{page}/consents", reason="Look at the queues", hours="4").status_code == 302
    assert post(boss, f"{page}/consents", reason="Once more", hours="4").status_code == 422
    with Session(system) as session:
        asked = session.scalars(select(Consent).where(Consent.operator_id == isp.operator_id)).one().id
    assert (
        "This consent does not hold" in boss.get(post(boss, f"{page}/consents/{asked}/enter").location).text
    )  # nobody said yes
    assert "Look at the queues" in manager.get("/licence").text
    assert "asks for leave to act here" in manager.get("/subscribers/").text
    assert post(sign_in("technical"), f"/licence/consents/{asked}/grant").status_code == 403
    assert post(manager, f"/licence/consents/{asked}/grant").status_code == 302
    assert "asks for leave to act here" not in manager.get("/subscribers/").text
    acting = boss
    assert post(acting, f"{page}/consents/{asked}/enter").status_code == 302
    home = acting.get("/?role=technical").text
    assert "with its consent until" in home
    assert acting.get("/subscribers/").status_code == 200
    assert acting.get("/staff/").status_code == 403  # never as manager
    assert acting.get("/platform/").status_code == 404
    post(acting, "/subscribers/new", name="Entered by us", language="")
    with Session(system) as session:
        entry = session.scalars(
            select(AuditEntry).where(
                AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "subscriber.create"
            )
        ).one()
        person = session.get_one(Staff, entry.staff_id)
        assert "Valeria" in person.name
        assert person.email.endswith(".invalid")
        email, name = person.email, person.name
    log = manager.get("/audit/?entity=subscriber").text
    assert (f">{name}<" in log, f">{email}<" in log) == (True, False)
    told = manager.get("/audit/?entity=consent").text
    assert "For how many hours" in told
    assert not re.search(r"\d{4}-\d\d-\d\dT\d\d:", told)  # times are the operator's, in words
    with Session(system) as session:
        session.execute(update(Consent).where(Consent.id == asked).values(until=utc_now() - timedelta(seconds=1)))
        session.commit()
    assert acting.get("/subscribers/").location == "/sign-in"
    assert acting.get("/subscribers/").status_code == 302
    for operator_id in (isp.operator_id, platform):
        assert "consent.enter" in said(system, operator_id)
    assert "consent.end" in said(system, isp.operator_id)


def test_acting_for_an_operator_is_ended_by_a_button_and_entered_again(boss, sign_in, system, isp, platform):
    manager, page = sign_in("manager"), f"/platform/operators/{isp.operator_id}"
    assert post(manager, "/acting/end").status_code == 404  # its own people act for nobody
    assert post(manager, "/licence/consents", hours="24").status_code == 302
    assert "for 24 hours" in manager.get("/licence").text
    with Session(system) as session:
        given = session.scalars(
            select(Consent.id).where(Consent.operator_id == isp.operator_id, Consent.ended_at.is_(None))
        ).one()
    assert post(boss, f"{page}/consents/{given}/enter").status_code == 302
    assert 'action="/acting/end"' in boss.get("/?role=technical").text
    assert post(boss, "/acting/end").location == "/sign-in"
    assert "You act for nobody any more" in boss.get("/sign-in").text
    assert boss.get("/subscribers/").location.startswith("/sign-in")
    assert "consent.leave" in said(system, isp.operator_id)
    assert post(boss, "/sign-in", email="val@cloud.example", password=PASSWORD).status_code == 302
    assert post(boss, f"{page}/consents/{given}/enter").status_code == 302  # it holds for its hours
    post(manager, f"/licence/consents/{given}/end")


def test_support_of_the_platform_sees_and_asks_but_decides_nothing(app, boss, system, isp, platform):
    with Session(system) as session:
        session.add(
            Staff(operator_id=platform, email="help@cloud.example", name="Beto", password_hash=hasher.hash(PASSWORD),
                  roles=["support"])
        )  # fmt: skip
        session.commit()
    helper, page = app.test_client(), f"/platform/operators/{isp.operator_id}"
    assert post(helper, "/sign-in", email="help@cloud.example", password=PASSWORD).status_code == 302
    shown = helper.get(page)
    assert shown.status_code == 200
    assert "Ask for consent" in shown.text
    assert "Give a licence" not in shown.text
    assert "/platform/settings" not in shown.text
    assert "Give a licence" in boss.get(page).text
    assert post(helper, f"{page}/consents", reason="Asked by support", hours="1").status_code == 302
    for path in (f"{page}/licence", f"{page}/suspend", f"{page}/restore", "/platform/settings"):
        assert post(helper, path, reason="x", name="Free", currency="USD", period="annual").status_code == 403, path


def test_the_platform_counts_subscribers_as_licences_do(boss, system, isp, app):
    """Those who own the vouchers in stock are nobody who has to be paid for."""
    actor = Actor(isp.operator_id, "test")
    with Session(system) as session:
        vouchers.settings_of(session, actor, app.extensions["portico"].keyring)
        session.commit()
        used = session.scalar(text("SELECT used FROM licence_standing(:id, false)"), {"id": isp.operator_id})
    assert count(system, isp.operator_id) == used + 2
    listed = boss.get("/platform/operators/" + str(isp.operator_id)).text
    assert re.search(rf"Subscribers</dt><dd class=\"col-6\">{used}\b", listed)


def test_operators_are_found_by_the_state_that_they_show(boss, system, isp, installation):
    states = {"active": isp, **{state: make_isp(system, installation) for state in ("demo", "lapsed", "suspended")}}
    license_for(system, states["demo"].operator_id, 10)
    license_for(system, states["lapsed"].operator_id, 10, MONTHLY, until=utc_now().date() - timedelta(days=2))
    license_for(system, states["suspended"].operator_id, 10)
    page = f"/platform/operators/{states['suspended'].operator_id}"
    assert post(boss, f"{page}/suspend", reason="Open invoices").status_code == 302
    ids = {state: made.operator_id for state, made in states.items()}
    for state in states:
        listed = boss.get(f"/platform/?state={state}&size=100").text
        assert {each for each, number in ids.items() if f'/platform/operators/{number}"' in listed} == {state}


def test_consent_given_unasked_ends_with_a_managers_click_and_is_nobody_elses(boss, sign_in, system, isp, installation):
    manager, page = sign_in("manager"), f"/platform/operators/{isp.operator_id}"
    assert post(manager, "/licence/consents", hours="999").status_code == 302
    assert post(manager, "/licence/consents", hours="24").status_code == 302
    assert "for 24 hours" in manager.get("/licence").text
    with Session(system) as session:
        given = session.scalars(select(Consent).where(Consent.operator_id == isp.operator_id)).one().id
    other = make_isp(system, installation)
    assert post(sign_in("manager", other), f"/licence/consents/{given}/end").status_code == 404
    assert post(boss, f"/platform/operators/{other.operator_id}/consents/{given}/enter").status_code == 404
    post(boss, f"{page}/consents/{given}/enter")
    assert boss.get("/subscribers/").status_code == 200
    post(manager, f"/licence/consents/{given}/end")
    assert boss.get("/subscribers/").status_code == 302


def test_removal_wants_the_name_typed_waits_thirty_days_and_can_be_taken_back(sign_in, system, isp):
    with Session(system) as session:
        session.add(Account(operator_id=isp.operator_id))
        name = session.execute(text("SELECT name FROM operator WHERE id = :id"), {"id": isp.operator_id}).scalar()
        session.commit()
    manager = sign_in("manager")
    assert post(manager, "/licence/removal", typed="something").status_code == 422
    assert post(sign_in("finance"), "/licence/removal", typed=name).status_code == 403
    assert post(manager, "/licence/removal", typed=name).status_code == 302
    with Session(system) as session:
        left = session.get_one(Account, isp.operator_id).removes_at - utc_now()
        assert timedelta(days=29, hours=23) < left < timedelta(days=30, minutes=1)
    assert "will be removed with all that it has" in manager.get("/").text
    assert post(manager, "/licence/removal/keep").status_code == 302
    with Session(system) as session:
        assert session.get_one(Account, isp.operator_id).removes_at is None


@pytest.mark.parametrize(
    ("period", "begins", "last"),
    [(MONTHLY, "2027-01-31", "2027-02-27"), (MONTHLY, "2027-12-15", "2028-01-14"), (ANNUAL, "2028-02-29", "2029-02-27"),
     (ANNUAL, "2027-03-01", "2028-02-29")],
)  # fmt: skip
def test_a_licence_holds_a_month_or_a_year_less_a_day(period, begins, last):
    day = utc_now().date()
    assert next_until(period, day.fromisoformat(begins)) == day.fromisoformat(last)
    assert next_until(DEMO, day) is None


def test_each_reminder_is_due_once_and_an_outage_makes_no_three_of_them():
    today = utc_now().date()

    def due(left: int, reminded: int | None) -> int | None:
        return due_reminder(Licence(until=today + timedelta(days=left), reminded=reminded), today)

    assert [due(left, None) for left in (15, 14, 8, 7, 2, 1, 0, -1, -31)] == [None, 14, 14, 7, 7, 1, 0, 0, None]
    assert due(7, 14) == 7
    assert due(6, 7) is None
    assert due(0, 14) == 0
    assert due(-2, 0) is None
    assert due_reminder(Licence(until=None), today) is None
