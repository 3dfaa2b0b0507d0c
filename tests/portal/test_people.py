"""Staff and roles: invitations, links that work once, the last manager, and roles that a manager narrows and widens."""

import re
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.problems import Invalid, Problem
from crm.staff import StaffDetails, change_staff, invite_staff, switch_staff
from db.audit import Actor
from db.models import ROLES, AuditEntry, Notification, Staff, StaffLink
from portal.application import create_app
from portal.permission_words import areas
from portal.permissions import MANAGERS_ALONE, ROLE_PERMISSIONS, Permission, permissions_of
from tests.portal.conftest import PASSWORD, csrf_token, make_isp, post

NEW = "a password of one's own"


def link_on(page) -> str:
    return re.search(r'id="link">https?://[^/]+(/welcome/[^<]+)<', page.text)[1]


def invite(browser, email: str, *roles: str, **fields: str):
    return post(browser, "/staff/new", name="Nora Núñez", email=email, roles=list(roles), **fields)


def person(system, email: str) -> Staff:
    with Session(system) as session:
        return session.scalars(select(Staff).where(Staff.email == email)).one()


def test_an_invited_person_chooses_a_password_once_and_works_with_both_roles(app, sign_in, system):
    page = invite(sign_in("manager"), "nora@isp.example", "sales", "support", language="es")
    assert page.status_code == 200
    link = link_on(page)
    assert "No mail server is configured" in page.text
    stranger = app.test_client()
    assert post(stranger, "/sign-in", email="nora@isp.example", password=NEW).status_code == 401
    assert "Elija su contraseña" in stranger.get(link).text  # in her language
    assert post(stranger, link, new=NEW, again="something else").status_code == 422
    assert post(stranger, link, new="short", again="short").status_code == 422
    assert post(stranger, link, new=NEW, again=NEW).location == "/sign-in"
    assert post(stranger, "/sign-in", email="nora@isp.example", password=NEW).status_code == 302
    home = stranger.get("/").text
    assert "/?role=sales" in home
    assert "/?role=support" in home
    assert stranger.get("/staff/").status_code == 403
    again = app.test_client()
    assert again.get(link).status_code == 404
    assert post(again, link, new="yet another password", again="yet another password").status_code == 404
    with Session(system) as session:
        said = session.scalars(select(AuditEntry.action).where(AuditEntry.entity == "staff").order_by(AuditEntry.id))
        assert [each for each in said if each != "staff.sign_in"][-3:] == [
            "staff.invite",
            "staff.link",
            "staff.password",
        ]


def test_a_link_is_kept_as_a_hash_runs_out_and_is_ended_by_a_newer_one(app, sign_in, system):
    manager = sign_in("manager")
    first = link_on(invite(manager, "olga@isp.example", "sales"))
    number = person(system, "olga@isp.example").id
    second = link_on(post(manager, f"/staff/{number}/link"))
    browser = app.test_client()
    assert browser.get(first).status_code == 404
    assert browser.get(second).status_code == 200
    assert browser.get(second[:-1] + ("A" if second[-1] != "A" else "B")).status_code == 404
    assert browser.get(second.replace("/welcome/", "/welcome/9")).status_code == 404  # another operator's
    with Session(system) as session:
        kept = session.execute(text("SELECT row_to_json(staff_link)::text FROM staff_link")).scalars().all()
        assert not any(second.rsplit("/", 1)[1] in row for row in kept)
        session.execute(update(StaffLink).values(expires_at=utc_now() - timedelta(seconds=1)))
        session.commit()
    assert browser.get(second).status_code == 404


def test_a_link_that_went_to_a_wrong_address_ends_when_it_is_corrected(app, sign_in, system):
    manager = sign_in("manager")
    link = link_on(invite(manager, "nroa@isp.example", "sales"))
    number = person(system, "nroa@isp.example").id
    post(manager, f"/staff/{number}", name="Nora Núñez", email="nroa@isp.example", roles=["support"])
    assert app.test_client().get(link).status_code == 200
    post(manager, f"/staff/{number}", name="Nora Núñez", email="nora.n@isp.example", roles=["support"])
    assert app.test_client().get(link).status_code == 404


def test_the_link_goes_out_by_mail_and_the_portal_cannot_read_it_again(installation, isp, system, tenancy):
    mailing = create_app(installation.model_copy(update={"smtp_host": "mail.example"}), testing=True)
    browser = mailing.test_client()
    post(browser, "/sign-in", email=isp.staff["manager"], password=PASSWORD)
    page = invite(browser, "paco@isp.example", "finance", language="es")
    mailing.extensions["portico"].close()
    link = link_on(page)
    with Session(system) as session:
        mail = session.scalars(select(Notification).where(Notification.kind == "staff.link")).one()
        assert (mail.shown_address, mail.language, mail.state) == ("paco@isp.example", "es", "waiting")
        assert link in mail.body
        assert "Elija una contraseña" in mail.body or "elija una contraseña" in mail.body
    with tenancy.session(isp.operator_id) as session:
        assert session.scalars(select(Notification)).all() == []


def test_a_reset_takes_the_password_away_and_signs_out_at_once(app, sign_in, isp, system):
    manager, cashier = sign_in("manager"), sign_in("finance")
    number = person(system, isp.staff["finance"]).id
    link = link_on(post(manager, f"/staff/{number}/link"))
    assert cashier.get("/account/").status_code == 302
    browser = app.test_client()
    assert post(browser, "/sign-in", email=isp.staff["finance"], password=PASSWORD).status_code == 401
    post(browser, link, new=NEW, again=NEW)
    assert post(browser, "/sign-in", email=isp.staff["finance"], password=NEW).status_code == 302


def test_who_is_switched_off_is_out_at_once_and_no_link_lets_them_in(app, sign_in, isp, system):
    manager = sign_in("manager")
    invited = link_on(invite(manager, "raul@isp.example", "technical"))
    number = person(system, "raul@isp.example").id
    seller, sales = sign_in("sales"), person(system, isp.staff["sales"]).id
    post(manager, f"/staff/{number}/active", active="no")
    post(manager, f"/staff/{sales}/active", active="no")
    assert app.test_client().get(invited).status_code == 404
    assert seller.get("/account/").status_code == 302
    assert post(app.test_client(), "/sign-in", email=isp.staff["sales"], password=PASSWORD).status_code == 401
    post(manager, f"/staff/{sales}/active", active="yes")
    sign_in("sales")


def test_the_last_manager_who_can_sign_in_stays(sign_in, isp, system):
    manager = sign_in("manager")
    me = person(system, isp.staff["manager"])
    said = "the only manager who can sign in"
    page = post(manager, f"/staff/{me.id}", name="M", email=me.email, roles=["sales"])
    assert page.status_code == 422
    assert said in page.text
    for step in ("active", "link"):
        assert said in manager.get(post(manager, f"/staff/{me.id}/{step}", active="no").location).text
    # Another manager who has not chosen a password yet is nobody who could let the others in again.
    link = link_on(invite(manager, "second@isp.example", "manager"))
    assert said in post(manager, f"/staff/{me.id}", name="M", email=me.email, roles=["sales"]).text
    post(manager.application.test_client(), link, new=NEW, again=NEW)
    assert post(manager, f"/staff/{me.id}", name="M", email=me.email, roles=["sales"]).status_code == 302
    assert manager.get("/staff/").status_code == 403


def test_of_two_managers_who_remove_each_other_at_once_one_stays(isp, system, installation):
    with Session(system) as session:
        actor = Actor(isp.operator_id, "test")
        other = invite_staff(session, actor, StaffDetails("t@isp.example", "T", ["manager"]), ROLES, "x", utc_now())
        other.awaits_password_since = None
        me = session.scalars(select(Staff.id).where(Staff.email == isp.staff["manager"])).one()
        session.commit()
        ids = (me, other.id)
    refused: list[Problem] = []

    def remove(staff_id: int) -> None:
        with Session(system) as session:
            try:
                found = session.get_one(Staff, staff_id)
                switch_staff(session, Actor(isp.operator_id, "test"), found, active=False, may_give=ROLES)
                session.commit()
            except Invalid as invalid:
                refused.append(invalid.problems[0].problem)

    threads = [Thread(target=remove, args=(each,)) for each in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [Problem.LAST_MANAGER]


def test_nobody_gives_or_takes_roles_beyond_their_own(isp, system):
    with Session(system) as session:
        actor = Actor(isp.operator_id, "test")
        with pytest.raises(Invalid) as caught:
            invite_staff(session, actor, StaffDetails("x@y.example", "X", ["manager"]), {"sales"}, "x", utc_now())
        assert caught.value.problems[0].problem is Problem.MORE_THAN_OWN
        boss = session.scalars(select(Staff).where(Staff.email == isp.staff["manager"])).one()
        with pytest.raises(Invalid) as caught:
            change_staff(session, actor, boss, StaffDetails("x@y.example", "X", ["sales"]), {"sales"})
        assert Problem.MORE_THAN_OWN in {each.problem for each in caught.value.problems}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"email": "no address"}, "not an e-mail address", id="address"),
        pytest.param({"roles": []}, "Choose at least one role", id="no role"),
        pytest.param({"roles": ["owner"]}, "Choose at least one role", id="unknown role"),
        pytest.param({"name": " "}, "This is needed", id="no name"),
        pytest.param({"language": "xx"}, "Choose one of the list", id="language"),
    ],
)
def test_what_will_not_do_is_said_and_nobody_is_entered(sign_in, system, fields, said):
    form = {"name": "Nora", "email": "nobody@isp.example", "roles": ["sales"], **fields}
    page = post(sign_in("manager"), "/staff/new", **form)
    assert page.status_code == 422
    assert said in page.text


def test_an_address_that_another_operator_has_is_taken_and_says_no_more(sign_in, system, installation):
    other = make_isp(system, installation)
    page = invite(sign_in("manager"), other.staff["sales"].upper(), "sales")
    assert page.status_code == 422
    assert "in use already" in page.text


def test_staff_of_another_operator_are_not_there(sign_in, system, installation):
    other = make_isp(system, installation)
    number = person(system, other.staff["sales"]).id
    browser = sign_in("manager")
    assert other.staff["sales"] not in browser.get("/staff/").text
    assert browser.get(f"/staff/{number}").status_code == 404
    assert post(browser, f"/staff/{number}/active", active="no").status_code == 404
    assert person(system, other.staff["sales"]).active


# Roles.


def ticks(browser) -> tuple[set[str], str]:
    """The boxes that are ticked on the page of roles, and what it was made from."""
    page = browser.get("/roles/").text
    boxes = re.findall(r'name="allowed" value="([^"]+)" (checked)?', page)
    return {value for value, checked in boxes if checked}, re.search(r'name="seen" value="([^"]+)"', page)[1]


def test_a_manager_narrows_and_widens_a_role_and_it_holds_from_the_next_click(sign_in, isp, system):
    manager, seller = sign_in("manager"), sign_in("sales")
    assert seller.get("/payments/new").status_code in (403, 404)
    assert seller.get("/audit/").status_code == 403
    assert seller.get("/sessions/").status_code == 200
    ticked, seen = ticks(manager)
    wanted = (ticked - {"sales:sessions.view"}) | {"sales:audit.view"}
    post(manager, "/roles/", seen=seen, allowed=sorted(wanted))
    assert seller.get("/audit/").status_code == 200
    assert seller.get("/sessions/").status_code == 403
    assert ">Live sessions<" not in seller.get("/account/").text
    assert ticks(manager)[0] == wanted
    with Session(system) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "role.change")).one()
        assert entry.after == {"role": "sales", "given": ["audit.view"], "taken": ["sessions.view"]}
    # Who still has the old page open overwrites nothing.
    assert "Somebody else has changed" in manager.get(post(manager, "/roles/", seen=seen, allowed=[]).location).text
    assert ticks(manager)[0] == wanted
    post(manager, "/roles/sales/usual")
    assert ticks(manager)[0] == ticked
    assert seller.get("/audit/").status_code == 403


def test_what_a_role_lost_here_it_has_elsewhere(sign_in, isp, system, installation):
    manager = sign_in("manager")
    ticked, seen = ticks(manager)
    post(manager, "/roles/", seen=seen, allowed=sorted(each for each in ticked if not each.startswith("support:")))
    assert sign_in("support").get("/subscribers/").status_code == 403
    assert sign_in("support").get("/").status_code == 200  # an empty home, and the account
    assert sign_in("support", of=make_isp(system, installation)).get("/subscribers/").status_code == 200


@pytest.mark.parametrize("smuggled", [*(f"sales:{each}" for each in sorted(MANAGERS_ALONE)), "manager:export", "x:y"])
def test_what_is_the_managers_alone_cannot_be_ticked(sign_in, smuggled):
    manager = sign_in("manager")
    ticked, seen = ticks(manager)
    post(manager, "/roles/", seen=seen, allowed=[*ticked, smuggled])
    assert ticks(manager)[0] == ticked
    assert sign_in("sales").get("/staff/").status_code == 403
    assert manager.get("/staff/").status_code == 200


def test_stored_nonsense_gives_nobody_anything():
    stored = {"sales": {"staff.edit": True, "no.such": True}, "manager": {"export": False}, "owner": {"export": True}}
    assert permissions_of(["sales", "owner"], stored) == ROLE_PERMISSIONS["sales"]
    assert permissions_of(["manager"], stored) == frozenset(Permission)


def test_every_permission_has_its_words():
    """If this fails: give the new permission a sentence in `portal/permission_words.py`."""
    told = {permission: words for _area, listed in areas() for permission, words in listed}
    assert [each for each in Permission if told[each] == each.value] == []


def test_changing_staff_and_roles_takes_a_token(sign_in):
    browser = sign_in("manager")
    csrf_token(browser)
    assert browser.post("/staff/new", data={"name": "X", "email": "x@y.example", "roles": "manager"}).status_code == 400
    assert browser.post("/roles/", data={"allowed": "sales:audit.view"}).status_code == 400
