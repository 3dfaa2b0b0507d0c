"""Router logins in the portal: everybody sets their own, managers say what it is good for."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry, RouterGroup, RouterLogin, Staff
from tests.portal.conftest import PASSWORD, make_isp, post

ROUTER_PASSWORD = "otra clave larga"


def staff_of(system, isp, role: str) -> Staff:
    with Session(system) as session:
        return session.scalars(select(Staff).where(Staff.email == isp.staff[role])).one()


def login_of(system, isp, role: str) -> RouterLogin | None:
    with Session(system) as session:
        return session.get(RouterLogin, staff_of(system, isp, role).id)


def set_own(browser, name: str = "eva", password: str = ROUTER_PASSWORD, present: str = PASSWORD):
    return post(browser, "/router-logins/own", name=name, password=password, present=present)


def test_a_person_sets_and_removes_a_login_that_is_sealed(system, installation, isp, sign_in):
    browser = sign_in("technical")
    assert "no group on routers yet" in browser.get("/router-logins/own").text
    assert set_own(browser).status_code == 302
    login = login_of(system, isp, "technical")
    assert (login.name, login.nas_ids) == ("eva", None)
    assert installation.keyring.open("router_login.password", login.password) == ROUTER_PASSWORD
    with Session(system) as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.operator_id == isp.operator_id)).all()
    assert ROUTER_PASSWORD not in repr([(entry.before, entry.after) for entry in entries])
    assert post(browser, "/router-logins/own/remove").status_code == 302
    assert login_of(system, isp, "technical") is None


@pytest.mark.parametrize(
    "typed",
    [{"name": "admin"}, {"name": 'a"; /x'}, {"name": ""}, {"password": "short"}, {"password": "ñ" * 65},
     {"password": PASSWORD}, {"present": "wrong"}],
)  # fmt: skip
def test_what_is_no_login_is_refused(system, isp, sign_in, typed):
    assert set_own(sign_in("technical"), **typed).status_code == 422
    assert login_of(system, isp, "technical") is None


def test_two_people_cannot_have_one_name(isp, sign_in):
    assert set_own(sign_in("technical")).status_code == 302
    assert set_own(sign_in("support"), name="EVA").status_code == 422


def test_a_manager_says_which_group_and_which_routers(system, isp, sign_in):
    set_own(sign_in("technical"))
    manager = sign_in("manager")
    person = staff_of(system, isp, "technical")
    post(manager, "/router-logins/groups", technical="write", support="")
    with Session(system) as session:
        rows = session.scalars(select(RouterGroup).where(RouterGroup.operator_id == isp.operator_id)).all()
    assert [(row.role, row.router_group) for row in rows] == [("technical", "write")]
    post(manager, f"/router-logins/{person.id}/routers", which="some", nas=isp.nas_id)
    assert login_of(system, isp, "technical").nas_ids == [isp.nas_id]
    page = manager.get("/router-logins/").text
    assert f'name="nas" value="{isp.nas_id}" checked' in page
    assert "the group “write”" in sign_in("technical").get("/router-logins/own").text
    post(manager, "/router-logins/groups", technical="root")
    with Session(system) as session:
        assert session.get(RouterGroup, (isp.operator_id, "technical")).router_group == "write"


def test_others_may_not_and_another_operator_finds_nothing(system, installation, isp, sign_in):
    set_own(sign_in("technical"))
    person = staff_of(system, isp, "technical")
    assert post(sign_in("technical"), f"/router-logins/{person.id}/routers", which="all").status_code == 403
    others = make_isp(system, installation)
    assert post(sign_in("manager", others), f"/router-logins/{person.id}/routers", which="some").status_code == 404
