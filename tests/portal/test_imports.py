"""The import wizard as staff use it, and the page of shadow mode."""

import csv
import io
import re
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.licences import LicenceTerms, give_licence
from db.audit import Actor
from db.models import ImportBatch, ImportRow, Job, RatePlan, Router, Service, ShadowSecret, Subscriber
from network.access import PASSWORD_PURPOSE
from network.importing.staging import first_cut_off
from network.jobs import JOBS
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures
from tests.portal.conftest import add_service, add_subscriber, csrf_token, make_isp, post
from worker.jobs import run_job
from worker.shadowing import follow_all

SPREADSHEET = (
    "Nombre;Usuario;Contraseña;Plan;Velocidad;Teléfono;Observaciones\n"
    "Ana Núñez;ana;secreto1;Hogar;20/5;5512345678;azotea\n"
    "Benito Peña;ben;secreto2;Hogar;20/5;;=HYPERLINK(1)\n"
    ";;;;;;\n"
    "Sin Clave;carla;;Hogar;20/5;;\n"
    "Ana Otra;ana;secreto3;Hogar;20/5;;\n"
)


@pytest.fixture
def browser(sign_in):
    return sign_in("technical")


@pytest.fixture
def work(system, installation, isp):
    """A function that does what a worker would: the jobs of this ISP that wait."""

    def do() -> list[Job]:
        with Session(system) as session:
            waiting = session.scalars(
                select(Job.id).where(Job.operator_id == isp.operator_id, Job.state == "queued").order_by(Job.id)
            ).all()
        for job_id in waiting:
            run_job(system, installation, job_id, JOBS)
        with Session(system) as session:
            return list(session.scalars(select(Job).where(Job.id.in_(waiting)).order_by(Job.id)))

    return do


@pytest.fixture
def router(emulated_router, system, installation, isp):  # noqa: F811
    """A router with two secrets of the plan that the ISP has."""
    made = emulated_router()
    made.box.fill("/ppp/profile", {"name": "Home", "rate-limit": "5M/20M"})
    for name in ("ana", "ben"):
        made.box.fill("/ppp/secret", {"name": name, "password": "pw", "service": "pppoe", "profile": "Home"})
    with Session(system) as session:
        session.add(
            Router(
                nas_id=isp.nas_id,
                operator_id=isp.operator_id,
                api_address=made.address,
                api_port=made.port,
                api_user=made.user,
                api_password=installation.keyring.seal(PASSWORD_PURPOSE, made.password),
            )
        )
        session.commit()
    return made


def upload(browser, content, name="clientes.csv", **fields):
    data = {"csrf_token": csrf_token(browser), "nas_id": "", "files": (io.BytesIO(content), name), **fields}
    return browser.post("/imports/file", data=data, content_type="multipart/form-data")


def batch_at(answer) -> int:
    found = re.search(r"/imports/(\d+)", answer.headers["Location"])
    assert found
    return int(found[1])


def name_columns(browser, batch, **changes):
    page = browser.get(f"/imports/{batch}/columns").text
    chosen = re.findall(r'name="(column-\d+)">(.*?)</select>', page)
    fields = {}
    for field, options in chosen:
        selected = re.search(r'value="([^"]*)" selected', options)
        fields[field] = selected[1] if selected else ""
    fields = {"access_method": "pppoe", "unit": "m", **fields, **changes}
    return fields, post(browser, f"/imports/{batch}/columns", **fields)


def all_of(system, model, isp):
    with Session(system) as session:
        return session.scalars(
            select(model).where(model.operator_id == isp.operator_id).order_by(*model.__table__.primary_key)
        ).all()


def test_a_spreadsheet_becomes_subscribers_in_four_steps(browser, system, isp, work):
    batch = batch_at(upload(browser, SPREADSHEET.encode("cp1252")))
    fields, answer = name_columns(browser, batch)
    assert [fields[f"column-{at}"] for at in range(7)] == [
        "name", "login", "password", "plan", "rate", "phone", "comment",
    ]  # fmt: skip
    assert answer.status_code == 302
    found = browser.get(f"/imports/{batch}/found").text
    assert "Ana Núñez" in found
    assert "Home 20" in found  # the plan of that rate, though the file calls it otherwise
    decisions = browser.get(f"/imports/{batch}/rows").text
    assert "It has no password." in decisions
    assert "Line 2 has the same user name." in decisions
    summary = browser.get(f"/imports/{batch}/summary").text
    assert "2 subscribers with one service each are entered." in summary
    paid_until = re.search(r'name="paid_until"[^>]*value="([^"]+)"', summary)
    written = post(browser, f"/imports/{batch}/write", paid_until=paid_until[1])
    assert written.status_code == 302
    assert all_of(system, Service, isp) == []  # until a worker has done it
    (job,) = work()
    assert (job.state, job.done, job.failed) == ("done", 4, 0)
    services = {service.name: service for service in all_of(system, Service, isp)}
    assert set(services) == {"ana", "ben"}
    assert {service.paid_until.isoformat() for service in services.values()} == {paid_until[1]}
    assert {person.name: person.phone for person in all_of(system, Subscriber, isp)} == {
        "Ana Núñez": "5512345678",
        "Benito Peña": None,
    }
    page = browser.get(f"/imports/{batch}").text
    assert "Undo the whole import" in page
    assert post(browser, f"/imports/{batch}/undo").status_code == 302
    assert work()[0].state == "done"
    assert all_of(system, Subscriber, isp) == []
    assert "What the import made is gone" in browser.get(f"/imports/{batch}").text


def test_passwords_of_a_file_stand_in_no_page_and_not_in_clear_in_the_database(browser, system, isp, work):
    batch = batch_at(upload(browser, SPREADSHEET.encode()))
    assert "secreto1" not in browser.get(f"/imports/{batch}/columns").text
    (stored,) = all_of(system, ImportBatch, isp)
    assert b"secreto1" not in stored.content
    name_columns(browser, batch)
    for page in ("found", "rows", "summary", "bad.csv"):
        assert "secreto" not in browser.get(f"/imports/{batch}/{page}").text
    (stored,) = all_of(system, ImportBatch, isp)
    assert stored.content is None
    assert all(b"secreto" not in (row.password or b"") for row in all_of(system, ImportRow, isp))


def test_a_router_is_read_by_a_worker_while_the_page_waits(browser, system, isp, router, work):
    batch = batch_at(post(browser, "/imports/router", nas_id=isp.nas_id, source="secrets"))
    waiting = browser.get(f"/imports/{batch}").text
    assert "The router is being read." in waiting
    assert 'hx-trigger="every 1s"' in waiting
    assert work()[0].state == "done"
    moved = browser.get(f"/imports/{batch}", headers={"HX-Request": "true"})
    assert moved.headers["HX-Redirect"] == f"/imports/{batch}/found"
    assert "ben" in browser.get(f"/imports/{batch}/found").text


def test_a_router_that_refuses_says_what_to_do_and_is_tried_again(browser, isp, router, work):
    router.box.faults.refuse_logins = True
    batch = batch_at(post(browser, "/imports/router", nas_id=isp.nas_id, source="secrets"))
    work()
    page = browser.get(f"/imports/{batch}").text
    assert "Wrong user name or password" in page
    router.box.faults.refuse_logins = False
    assert post(browser, f"/imports/{batch}/again").status_code == 302
    work()
    assert browser.get(f"/imports/{batch}").headers["Location"] == f"/imports/{batch}/found"


def test_a_plan_is_made_of_a_rate_that_none_has(browser, system, isp, work):
    content = "usuario,clave,bajada,subida\n" + "".join(f"u{number},pw,50,10\n" for number in range(3))
    batch = batch_at(upload(browser, content.encode()))
    name_columns(browser, batch)
    found = browser.get(f"/imports/{batch}/found").text
    assert "3 rows have no rate plan yet" in found
    assert "3 rows cannot be written" in browser.get(f"/imports/{batch}/summary").text
    answer = post(browser, f"/imports/{batch}/plans", rate="50000000/10000000", plan="new", name="Fibra 50")
    assert answer.status_code == 302
    (plan,) = (plan for plan in all_of(system, RatePlan, isp) if plan.name == "Fibra 50")
    assert (plan.download, plan.upload) == (50_000_000, 10_000_000)
    assert "3 subscribers with one service each" in browser.get(f"/imports/{batch}/summary").text


def test_prices_of_a_file_are_proposed_for_its_plans_and_what_differs_is_told(browser, system, isp, work):
    content = (
        "usuario,clave,megas,mensualidad\n" + 'a,pw,50,"$1,350.50"\nb,pw,50,"1,350.50"\nc,pw,50,999\nd,pw,50,gratis\n'
    )
    batch = batch_at(upload(browser, content.encode()))
    fields, _answer = name_columns(browser, batch)
    assert fields["column-3"] == "price"
    found = browser.get(f"/imports/{batch}/found").text
    assert re.search(r'name="price"[^>]* value="1350.50"', found)
    assert "$1,350.50 (2), $999.00 (1)" in found
    post(browser, f"/imports/{batch}/plans", rate="50000000/50000000", plan="new", name="Fibra 50", price="1350.50")
    assert "1 row costs another price in the file" in browser.get(f"/imports/{batch}/found").text
    others = browser.get(f"/imports/{batch}/rows?look=price").text
    assert "It costs 999 a month there." in others
    assert "$1,350.50 a month" not in others
    assert "“gratis” is not a price." in browser.get(f"/imports/{batch}/rows").text
    (plan,) = (plan for plan in all_of(system, RatePlan, isp) if plan.name == "Fibra 50")
    assert plan.price == Decimal("1350.50")


def test_doubles_in_the_database_are_named_and_become_what_is_decided(browser, system, installation, isp, router, work):
    known = add_subscriber(system, isp, "Ana Existente")
    service = add_service(system, installation, isp, known, "ana")
    batch = batch_at(post(browser, "/imports/router", nas_id=isp.nas_id, source="secrets"))
    work()
    page = browser.get(f"/imports/{batch}/rows").text
    assert "Ana Existente has a service of this name." in page
    rows = {row.name: row for row in all_of(system, ImportRow, isp)}
    assert (rows["ana"].action, rows["ana"].target_id, rows["ben"].action) == ("update", service, "new")
    post(
        browser, f"/imports/{batch}/rows", **{f"action-{rows['ana'].id}": "add", f"plan-{rows['ana'].id}": isp.plan_id}
    )
    assert "This name belongs to Ana Existente already" in browser.get(f"/imports/{batch}/rows").text
    post(browser, f"/imports/{batch}/rows", all="ignore", look="double")
    rows = {row.name: row.action for row in all_of(system, ImportRow, isp)}
    assert rows == {"ana": "ignore", "ben": "new"}


def test_a_bad_row_is_put_right_by_hand(browser, system, isp):
    batch = batch_at(upload(browser, b"usuario,clave,ip,velocidad\nana,pw,10.0.0.7,20/5\nben,pw,10.0.0.7,20/5\n"))
    name_columns(browser, batch)
    row = all_of(system, ImportRow, isp)[1]
    assert "has the same address" in browser.get(f"/imports/{batch}/rows/{row.id}").text
    form = {"subscriber_name": "Ben", "name": "ben", "plan_id": isp.plan_id, "action": "new"}
    bad = post(browser, f"/imports/{batch}/rows/{row.id}", **form, framed_ip="10.0.0.777")
    assert bad.status_code == 422
    assert post(browser, f"/imports/{batch}/rows/{row.id}", **form, framed_ip="10.0.0.8").status_code == 302
    assert "2 subscribers with one service each" in browser.get(f"/imports/{batch}/summary").text


def test_bad_rows_come_as_csv_with_line_and_reason_and_no_formula(browser, isp):
    content = "usuario,clave,comentario\nana,pw,=1+1\n"
    batch = batch_at(upload(browser, content.encode()))
    name_columns(browser, batch)
    answer = browser.get(f"/imports/{batch}/bad.csv")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [(row["line"], row["name"], row["comment"]) for row in rows] == [("2", "ana", "'=1+1")]
    assert rows[0]["reason"] == "It has no rate plan yet."


def test_hostile_text_is_text_on_every_page(browser, system, isp):
    hostile = "<script>alert(1)</script>"
    content = f"nombre,usuario,clave,comentario,plan\n{hostile},{hostile},pw,{hostile},{hostile}\n"
    batch = batch_at(upload(browser, content.encode(), name="<i>clients.csv"))
    columns = browser.get(f"/imports/{batch}/columns").text
    name_columns(browser, batch)
    (row,) = all_of(system, ImportRow, isp)
    assert "&lt;i&gt;clients.csv" in browser.get("/imports/").text
    pages = [columns]
    pages += [browser.get(f"/imports/{batch}/{page}").text for page in ("found", "rows", f"rows/{row.id}")]
    assert all(hostile not in page for page in pages)
    assert all("&lt;script&gt;" in page for page in pages)


def test_a_file_with_nothing_in_it_is_refused_with_a_sentence(browser):
    assert "Choose a file." in upload(browser, b"").text
    assert "No users were found" in upload(browser, b"/user-manager user\n", name="x.rsc").text


def test_who_decides_about_secrets_is_shown_beside_what_portico_would_answer(
    browser, sign_in, system, installation, isp, router, work
):
    batch = batch_at(post(browser, "/imports/router", nas_id=isp.nas_id, source="secrets"))
    work()
    post(browser, f"/imports/{batch}/write", paid_until=date(2099, 1, 1))
    work()
    router.box.fill("/ppp/active", {"name": "ana", "address": "10.40.0.9", "radius": "false"})
    with Session(system) as session:
        ana = session.scalars(
            select(Service).where(Service.operator_id == isp.operator_id, Service.name == "ana")
        ).one()
        ana.paid_until = date(2020, 1, 1)
        session.commit()
        service_id = ana.id
    assert post(browser, f"/shadow/{isp.nas_id}/look").status_code == 302
    work()
    page = browser.get(f"/shadow/{isp.nas_id}").text
    assert "10.40.0.9" in page
    assert "let in by the router" in page
    assert "state-accept" in page  # ben
    assert "state-garden" in page  # ana, who has not paid
    follow_all(system, installation.keyring)
    page = browser.get(f"/shadow/{isp.nas_id}?differs=any").text
    assert "Lets in → Walled garden" in page
    assert ">ben<" not in page
    log = browser.get(f"/shadow/{isp.nas_id}/log").text
    assert re.findall(r'class="code">(ana|ben)<', log) == ["ana", "ana", "ben"], "those who would notice come first"
    assert "Login at the router" in log
    assert ">ben<" not in browser.get(f"/shadow/{isp.nas_id}/log?differs=any").text
    exported = sign_in("manager").get(f"/shadow/{isp.nas_id}/log?format=csv&differs=outcome").text
    assert exported.count("\n") == 3
    post(browser, f"/shadow/{isp.nas_id}/take-over", service=service_id)
    assert work()[0].outcome == {"changed": 1}
    assert {shadow.secret: shadow.state for shadow in all_of(system, ShadowSecret, isp)} == {
        "ana": "portico",
        "ben": "local",
    }
    held = {row["name"]: row["disabled"] for row in router.box.rows("/ppp/secret")}
    assert held == {"ana": "true", "ben": "false"}
    assert "taken over from their router, for example ana" in browser.get(f"/imports/{batch}").text
    post(browser, f"/shadow/{isp.nas_id}/give-back", all="y")
    work()
    assert {row["name"]: row["disabled"] for row in router.box.rows("/ppp/secret")} == {"ana": "false", "ben": "false"}


def test_a_file_of_another_program_says_so_and_has_its_columns_named(browser):
    text = "Username,Password,Profile,Time Limit,Data Limit,Comment\nvx1,vx1,1-MES,,,vc-1\n"
    page = browser.get(f"/imports/{batch_at(upload(browser, text.encode()))}/columns").text
    assert "This is a file of Mikhmon" in page
    assert re.search(r'<option value="hotspot" selected', page)


def test_imports_of_another_operator_do_not_exist(browser, sign_in, system, installation):
    other = make_isp(system, installation)
    theirs = batch_at(upload(sign_in("technical", other), SPREADSHEET.encode()))
    assert browser.get(f"/imports/{theirs}").status_code == 404
    assert post(browser, f"/imports/{theirs}/discard").status_code == 404
    assert browser.get(f"/shadow/{other.nas_id}").status_code == 404
    assert browser.get(f"/shadow/{other.nas_id}/log").status_code == 404


def test_importing_needs_the_permission(sign_in):
    assert sign_in("support").get("/imports/").status_code == 403
    assert sign_in("finance").get("/imports/new").status_code == 403


@pytest.mark.parametrize(
    ("today", "day", "expected"),
    [
        pytest.param(date(2027, 1, 15), 5, date(2027, 2, 5), id="next month"),
        pytest.param(date(2027, 1, 31), 31, date(2027, 2, 28), id="clamped in February"),
        pytest.param(date(2028, 1, 30), 29, date(2028, 2, 29), id="leap year"),
        pytest.param(date(2027, 12, 24), 1, date(2028, 1, 1), id="next year"),
    ],
)
def test_the_first_cut_off_is_the_cut_off_day_of_next_month(today, day, expected):
    assert first_cut_off(today, day) == expected


def test_who_comes_from_a_routers_page_reads_that_router(browser, isp, router):
    page = browser.get(f"/imports/new?nas_id={isp.nas_id}").text
    assert re.search(rf'<select[^>]*id="nas_id"[^>]*>.*?<option selected value="{isp.nas_id}">', page, re.S)
    ids = re.findall(r'<(?:input|select)[^>]* id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_an_import_of_500_into_a_demo_writes_what_fits_and_keeps_the_rest(browser, system, isp, work):
    with Session(system) as session:
        actor, today = Actor(isp.operator_id, "test"), utc_now().date()
        give_licence(session, actor, isp.operator_id, LicenceTerms("Demo", 10, "demo"), today)
        session.commit()
    for number in range(3):
        add_subscriber(system, isp, f"Anterior {number}")
    lines = "".join(f"Cliente {number};u{number};clave{number};Home 20;20/5;;\n" for number in range(500))
    answer = upload(browser, f"Nombre;Usuario;Contraseña;Plan;Velocidad;Teléfono;Observaciones\n{lines}".encode())
    batch = batch_at(answer)
    name_columns(browser, batch)
    summary = browser.get(f"/imports/{batch}/summary").text
    assert "Your licence has places for 7 of the 500 new subscribers." in summary
    post(browser, f"/imports/{batch}/write", paid_until="")
    (job,) = work()
    assert job.state == "done"
    assert len(all_of(system, Subscriber, isp)) == 10
    with Session(system) as session:
        counts = session.get_one(ImportBatch, batch).counts
        rest = counts["waiting_in"]
        kept = session.scalars(select(ImportRow).where(ImportRow.batch_id == rest)).all()
        assert (counts["created"], counts["waiting"], counts["bad"]) == (7, 493, 0)
        assert len(kept) == 493
        assert all(row.password is not None for row in kept)
        give_licence(session, actor, isp.operator_id, LicenceTerms("ISP", 1000, "monthly"), today)
        session.commit()
    post(browser, f"/imports/{rest}/write", paid_until="")
    work()
    assert len(all_of(system, Subscriber, isp)) == 503
    assert len(all_of(system, Service, isp)) == 500
