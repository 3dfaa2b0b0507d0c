"""Resellers: made by their parent, selling its plans, seen in sums, billed each month, and otherwise on their own."""

import re
from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.wholesale import last_month, make_statements
from core.clock import utc_now
from crm.licences import LicenceTerms, give_licence, standing_of
from crm.plans import PlanTerms, create_plan
from db.audit import Actor
from db.models import Account, AuditEntry, Operator, RatePlan, Service, Staff, Subscriber, WholesaleStatement
from tests.portal.conftest import make_isp, post

NEW = "tres antenas sobre el granero azul"


def make(app, manager, name: str, email: str) -> tuple[int, object]:
    """Return a new reseller's id and a browser in which its manager is signed in."""
    page = post(manager, "/resellers/new", name=name, manager="Rita Ruiz", email=email)
    assert page.status_code == 200, page.text
    link = re.search(r'id="link">https?://[^/]+(/welcome/(\d+)/[^<]+)<', page.text)
    theirs = app.test_client()
    assert post(theirs, link[1], new=NEW, again=NEW).status_code == 302
    assert post(theirs, "/sign-in", email=email, password=NEW).status_code == 302
    return int(link[2]), theirs


def test_a_reseller_sells_its_parents_plan_and_owes_the_wholesale_price(app, sign_in, system, isp, installation):
    manager = sign_in("manager")
    reseller_id, theirs = make(app, manager, "Redes Sur", f"rita@{isp.operator_id}.example")
    page = f"/resellers/{reseller_id}"
    assert post(manager, f"{page}/plans", plan_id=isp.plan_id, price="-1").status_code == 422
    assert post(manager, f"{page}/plans", plan_id=isp.plan_id, price="120").status_code == 302
    with Session(system) as session:
        account = session.get_one(Account, reseller_id)
        assert account.parent_id == isp.operator_id
        copy = session.scalars(select(RatePlan).where(RatePlan.operator_id == reseller_id)).one()
        person = Subscriber(operator_id=reseller_id, name="Cliente Secreto")
        session.add(person)
        session.flush()
        for number, state in enumerate(("active", "active", "pending")):
            session.add(
                Service(operator_id=reseller_id, subscriber_id=person.id, plan_id=copy.id, name=f"r{number}",
                        access_method="pppoe", state=state, password=installation.keyring.seal("service.password", "x"))
            )  # fmt: skip
        own = create_plan(session, Actor(reseller_id, "test"), PlanTerms("Propio", 10_000_000, 2_000_000))
        session.add(
            Service(operator_id=reseller_id, subscriber_id=person.id, plan_id=own.id, name="r9", access_method="pppoe",
                    state="active", password=installation.keyring.seal("service.password", "x"))
        )  # fmt: skip
        session.commit()
    shown = manager.get(page).text
    assert "Home 20" in shown
    assert re.search(r"On plans of its own</td><td class=\"text-end\">\$0.00</td><td class=\"text-end\">1<", shown)
    assert "Propio" not in shown
    assert "240" in shown  # two services of 120 that are on
    assert "Cliente Secreto" not in shown + manager.get("/subscribers/").text + manager.get("/resellers").text
    with Session(system) as session:
        later = (utc_now().replace(day=1) + timedelta(days=40)).replace(day=2)
        assert make_statements(session, later) >= 1
        assert make_statements(session, later) == 0
        session.commit()
        made = session.scalars(select(WholesaleStatement).where(WholesaleStatement.reseller_id == reseller_id)).one()
        assert (made.total, made.currency, made.month) == (240, "MXN", last_month(later.date()))
    post(manager, f"{page}/plans", plan_id=isp.plan_id, price="150")  # a statement that is made stays as it is
    assert "2 × 120 = 240" in manager.get("/resellers/statements").text
    assert "240.00" in manager.get("/resellers/statements?format=csv").text
    assert manager.get("/resellers/statements?format=pdf").data.startswith(b"%PDF")
    assert theirs.get("/subscribers/").status_code == 200
    assert "Cliente Secreto" in theirs.get("/subscribers/").text
    assert theirs.get("/resellers").status_code == 404  # no resellers of resellers


def test_parent_and_reseller_share_the_licence_of_the_parent(app, sign_in, system, isp):
    reseller_id, theirs = make(app, sign_in("manager"), "Redes Norte", f"nora@{isp.operator_id}.example")
    with Session(system) as session:
        terms = LicenceTerms("L", 2, "demo")
        give_licence(session, Actor(isp.operator_id, "test"), isp.operator_id, terms, utc_now().date())
        session.add(Subscriber(operator_id=isp.operator_id, name="Of the parent"))
        session.commit()
        assert standing_of(session, reseller_id).room == 1
    post(theirs, "/subscribers/new", name="One", language="")
    assert "they are taken" in post(theirs, "/subscribers/new", name="Two", language="").text


def test_another_operator_reaches_no_reseller_and_a_parent_enters_by_consent_alone(
    app, sign_in, system, isp, installation
):
    manager = sign_in("manager")
    reseller_id, theirs = make(app, manager, "Redes Este", f"eva@{isp.operator_id}.example")
    other = sign_in("manager", make_isp(system, installation))
    page = f"/resellers/{reseller_id}"
    assert other.get(page).status_code == 404
    assert post(other, f"{page}/plans", plan_id=isp.plan_id, price="1").status_code == 404
    assert post(other, f"{page}/consents", reason="x", hours="1").status_code == 404
    assert post(manager, f"{page}/consents", reason="Look at a line", hours="2").status_code == 302
    with Session(system) as session:
        asked = session.scalar(text("SELECT max(id) FROM consent"))
    assert post(manager, f"{page}/consents/{asked}/enter").location == page
    assert post(theirs, f"/licence/consents/{asked}/grant").status_code == 302
    assert post(other, f"{page}/consents/{asked}/enter").status_code == 404
    assert post(manager, f"{page}/consents/{asked}/enter").location == "/"
    assert "with its consent until" in manager.get("/licence").text
    with Session(system) as session:
        entered = session.scalars(select(AuditEntry.operator_id).where(AuditEntry.action == "consent.enter")).all()
        assert sorted(entered) == sorted((isp.operator_id, reseller_id))


def test_a_reseller_whose_manager_has_a_login_elsewhere_is_not_made(sign_in, system, isp):
    page = post(sign_in("manager"), "/resellers/new", name="Doble", manager="D", email=isp.staff["sales"])
    assert page.status_code == 422
    with Session(system) as session:
        assert session.scalars(select(Operator).where(Operator.name == "Doble")).all() == []
        assert session.scalars(select(Staff).where(Staff.name == "D")).all() == []
