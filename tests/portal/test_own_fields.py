"""An operator's own fields where people work: the list, its filters and export, enrolment, sale and import."""

import csv
import io
import re

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import CustomField, CustomValue, ImportRow, RatePlan, Service, Subscriber
from tests.portal.conftest import add_service, add_subscriber, post
from tests.portal.test_imports import all_of, batch_at, name_columns, upload, work  # noqa: F401 - a fixture


@pytest.fixture
def fields(sign_in, isp, system):
    """A mast's height and a zone in the list, a contract that is not, and the cable of a service: their ids."""
    browser = sign_in("manager")
    for title, kind, subject, more in (
        ("Mast", "number", "subscriber", {"listed": "yes"}),
        ("Zone", "choice", "subscriber", {"choices": "North\nSouth", "listed": "yes"}),
        ("Contract", "text", "subscriber", {}),
        ("Cable", "text", "service", {"required": "yes"}),
    ):
        sent = {"subject": subject, "title": title, "kind": kind, "choices": "", **more}
        assert post(browser, "/settings/fields", **sent).status_code == 302
    with Session(system) as session:
        mine = session.scalars(select(CustomField).where(CustomField.operator_id == isp.operator_id))
        return {field.title: field.id for field in mine}


def put(system, isp, subscriber_id, **values):
    with Session(system) as session:
        fields = {
            field.title: field.id
            for field in session.scalars(select(CustomField).where(CustomField.operator_id == isp.operator_id))
        }
        session.add_all(
            CustomValue(operator_id=isp.operator_id, field_id=fields[name], subscriber_id=subscriber_id, value=value)
            for name, value in values.items()
        )
        session.commit()


def names_in(page: str) -> list[str]:
    return re.findall(r'class="fw-bold">([^<]+)</a>', page)


def test_own_fields_are_columns_filters_and_sort_orders_of_the_list_and_all_of_them_stand_in_its_export(
    sign_in, isp, system, fields
):
    browser = sign_in("support")
    for name, values in {
        "Ana": {"Mast": "9.5", "Zone": "North", "Contract": "=1+1"},
        "Leo": {"Mast": "12", "Zone": "South"},
        "Eva": {},
    }.items():
        put(system, isp, add_subscriber(system, isp, name), **values)
    page = browser.get("/subscribers/").text
    assert names_in(page) == ["Ana", "Eva", "Leo"]
    assert ">9.5</td>" in page
    assert "Contract" not in page
    mast, zone = f"custom-{fields['Mast']}", f"custom-{fields['Zone']}"
    assert names_in(browser.get(f"/subscribers/?sort={mast}").text)[:2] == ["Ana", "Leo"]  # as numbers, not as text
    assert names_in(browser.get(f"/subscribers/?sort=-{mast}").text) == ["Leo", "Ana", "Eva"]
    assert names_in(browser.get(f"/subscribers/?{zone}=%3DSouth").text) == ["Leo"]
    assert names_in(browser.get(f"/subscribers/?{zone}=-").text) == ["Eva"]
    assert names_in(browser.get(f"/subscribers/?{mast}=%2B").text) == ["Ana", "Leo"]
    manager = sign_in("manager")
    titles, *rows = csv.reader(io.StringIO(manager.get("/subscribers/?format=csv").text.lstrip("\ufeff")))
    kept = {row[0]: dict(zip(titles, row, strict=True)) for row in rows}
    assert (kept["Ana"]["Mast"], kept["Ana"]["Zone"], kept["Ana"]["Contract"]) == ("9.5", "North", "'=1+1")
    assert kept["Eva"]["Mast"] == ""
    assert manager.get("/subscribers/?format=xlsx").status_code == 200
    assert manager.get("/subscribers/?format=pdf").data.startswith(b"%PDF")
    assert post(manager, f"/settings/fields/{fields['Zone']}/listed").status_code == 302
    assert ">Zone" not in browser.get("/subscribers/").text


def test_own_fields_of_services_are_in_their_list_and_export_and_narrow_what_is_changed_of_it(
    sign_in, isp, system, installation, fields
):
    manager = sign_in("manager")
    for title, kind, choices in (("Cable m", "number", ""), ("Antenna", "choice", "LiteBeam\nhAP")):
        sent = {"subject": "service", "title": title, "kind": kind, "choices": choices, "listed": "yes"}
        assert post(manager, "/settings/fields", **sent).status_code == 302
    with Session(system) as session:
        mine = session.scalars(select(CustomField).where(CustomField.operator_id == isp.operator_id))
        names = {field.title: f"custom-{field.id}" for field in mine}
    owner = add_subscriber(system, isp, "Ana")
    ids = {name: add_service(system, installation, isp, owner, name) for name in ("ana", "leo", "eva")}

    def edit(name: str, cable: str, antenna: str):
        with Session(system) as session:
            version = session.get_one(Service, ids[name]).version
        sent = {
            "access_method": "pppoe", "name": name, "plan_id": isp.plan_id, "management": "automatic", "nas_id": "",
            "sector_id": "", "line_of_sight": "", "session_limit": "1", "mac_binding": "any", "version": version,
            names["Cable"]: "UTP", names["Cable m"]: cable, names["Antenna"]: antenna,
        }  # fmt: skip
        return post(manager, f"/services/{ids[name]}/edit", **sent)

    assert "Enter a number." in edit("ana", "long", "LiteBeam").text
    assert all_of(system, CustomValue, isp) == []
    assert edit("ana", "9,5", "LiteBeam").status_code == 302
    assert edit("leo", "12", "hAP").status_code == 302
    assert 'value="9.5"' in manager.get(f"/services/{ids['ana']}/edit").text

    def listed(arguments: str) -> list[str]:
        return re.findall(r'class="code" href="[^"]*">([^<]+)</a>', manager.get(f"/services/?{arguments}").text)

    meters, antenna = names["Cable m"], names["Antenna"]
    page = manager.get("/services/").text
    assert ">12</td>" in page
    assert ">UTP</td>" not in page  # a field that is not listed
    assert listed(f"sort={meters}")[:2] == ["ana", "leo"]  # as numbers
    assert listed(f"{antenna}=%3DLiteBeam") == ["ana"]
    assert listed(f"{antenna}=-") == ["eva"]
    assert listed(f"{meters}=%2B") == ["ana", "leo"]
    titles, *rows = csv.reader(io.StringIO(manager.get("/services/?format=csv").text.lstrip("\ufeff")))
    kept = {row[0]: dict(zip(titles, row, strict=True)) for row in rows}
    assert (kept["leo"]["Cable"], kept["leo"]["Cable m"], kept["leo"]["Antenna"]) == ("UTP", "12", "hAP")
    # What is done to "all of the list" is done to what the list shows.
    assert f"{antenna}=%3DLiteBeam" in manager.get(f"/services/?{antenna}=%3DLiteBeam").text
    asked = f"/mass-changes/new?{antenna}=%3DLiteBeam&kind=management&management=manual"
    page = manager.get(asked).text
    assert "1 service will change." in page
    assert "LiteBeam" in page
    assert post(manager, asked, seen=1).status_code == 302
    answer = post(manager, f"/settings/fields/{antenna.removeprefix('custom-')}/listed")
    assert answer.status_code == 302
    assert ">Antenna" not in manager.get("/services/").text


def test_enrolment_and_sale_ask_for_them_and_enter_nobody_where_they_are_wrong(sign_in, isp, system, fields):
    sales = sign_in("sales")
    mast = f"custom-{fields['Mast']}"
    assert f'name="{mast}"' in sales.get("/subscribers/new").text
    answer = post(sales, "/subscribers/new", name="Ana", language="", **{mast: "tall"})
    assert 'value="tall"' in answer.text
    assert f'id="{mast}-error"' in answer.text
    assert "Enter a number." in answer.text
    assert all_of(system, Subscriber, isp) == []
    assert post(sales, "/subscribers/new", name="Ana", language="", **{mast: "7,5"}).status_code == 302
    [ana] = all_of(system, Subscriber, isp)
    page = sales.get(f"/subscribers/{ana.id}/edit").text
    assert 'value="7.5"' in page
    sent = {"name": "Ana", "language": "", "version": ana.version, mast: "8"}
    assert post(sales, f"/subscribers/{ana.id}/edit", **sent).status_code == 302
    cable = f"custom-{fields['Cable']}"
    sale = {"plan_id": isp.plan_id, "access_method": "pppoe", "begins": "pending", "nas_id": "", "technician_id": ""}
    assert post(sales, f"/sales/{ana.id}", **sale).status_code == 422  # the field is needed
    assert all_of(system, Service, isp) == []
    assert post(sales, f"/sales/{ana.id}", **sale, **{cable: "30 m"}).status_code == 302
    [service] = all_of(system, Service, isp)
    kept = {(one.subscriber_id, one.service_id): one.value for one in all_of(system, CustomValue, isp)}
    assert kept == {(ana.id, None): "8", (None, service.id): "30 m"}
    assert f'name="{cable}"' in sales.get(f"/services/new/{ana.id}").text


FILE = (
    "Cliente;Usuario;Clave;Plan;Mast;Zone;Cable\n"
    "Ana Nueva;ana;pw1;Home 20;9,5;south;30 m\n"
    "Leo Nuevo;leo;pw2;Home 20;tall;East;\n"
    "Beatriz Sola;;;;4;North;\n"
)


def test_columns_of_a_file_fill_own_fields_and_what_does_not_fit_goes_into_the_notes(
    sign_in,
    isp,
    system,
    installation,
    fields,
    work,  # noqa: F811
):
    browser = sign_in("technical")
    eva = add_subscriber(system, isp, "Eva Vieja")
    add_service(system, installation, isp, eva, "eva")
    put(system, isp, eva, Zone="North")
    batch = batch_at(upload(browser, (FILE + "Eva Vieja;eva;pw3;Home 20;6;South;9 m\n").encode()))
    chosen, answer = name_columns(browser, batch)
    assert [chosen[f"column-{at}"] for at in (4, 5, 6)] == [
        f"custom-{fields[name]}" for name in ("Mast", "Zone", "Cable")
    ]
    assert answer.status_code == 302
    rows = {row.subscriber_name: row for row in all_of(system, ImportRow, isp)}
    assert rows["Beatriz Sola"].action == "ignore"  # a person only: somebody takes her in, or not
    assert "It names no line, only a person" in browser.get(f"/imports/{batch}/rows").text
    page = browser.get(f"/imports/{batch}/rows/{rows['Beatriz Sola'].id}").text
    assert "without a service" in page
    sent = {"subscriber_name": "Beatriz Sola", "action": "new", "phone": ""}
    assert post(browser, f"/imports/{batch}/rows/{rows['Beatriz Sola'].id}", **sent).status_code == 302
    with Session(system) as session:
        for row in session.scalars(select(ImportRow).where(ImportRow.batch_id == batch)):
            row.plan_id = row.plan_id or (isp.plan_id if row.access_method == "pppoe" else None)
        session.commit()
    post(browser, f"/imports/{batch}/write", paid_until="2030-01-15")
    [job] = work()
    assert (job.state, job.done, job.failed) == ("done", 4, 0)
    people = {person.name: person for person in all_of(system, Subscriber, isp)}
    services = {service.name: service.id for service in all_of(system, Service, isp)}
    assert set(services) == {"ana", "leo", "eva"}
    names = {field_id: title for title, field_id in fields.items()}
    kept = {
        (names[one.field_id], one.subscriber_id or one.service_id): one.value
        for one in all_of(system, CustomValue, isp)
    }
    assert kept == {
        ("Mast", people["Ana Nueva"].id): "9.5",
        ("Zone", people["Ana Nueva"].id): "South",
        ("Cable", services["ana"]): "30 m",
        ("Mast", people["Beatriz Sola"].id): "4",
        ("Zone", people["Beatriz Sola"].id): "North",
        ("Zone", eva): "North",  # what stood there stays
        ("Mast", eva): "6",
        ("Cable", services["eva"]): "9 m",
    }
    assert "Mast: tall" in people["Leo Nuevo"].notes
    assert post(browser, f"/imports/{batch}/undo").status_code == 302
    work()
    assert [person.name for person in all_of(system, Subscriber, isp)] == ["Eva Vieja"]
    assert [one.value for one in all_of(system, CustomValue, isp)] == ["North"]


def test_a_list_of_people_is_imported_without_services_and_not_a_second_time(sign_in, isp, system, work):  # noqa: F811
    browser = sign_in("technical")
    content = b"Nombre,Telefono,Correo\nPedro Paz,5512345678,pedro@example.com\nMo,,\nMo,,\n"
    for round_number in (1, 2):
        batch = batch_at(upload(browser, content, "personas.csv"))
        assert 'value="none" selected' in browser.get(f"/imports/{batch}/columns").text
        _fields, answer = name_columns(browser, batch, access_method="none")
        assert answer.status_code == 302
        summary = browser.get(f"/imports/{batch}/summary").text
        assert ("2 subscribers without a service are entered" in summary) == (round_number == 1)
        written = post(browser, f"/imports/{batch}/write", paid_until="2030-01-15")
        assert written.status_code == (302 if round_number == 1 else 422)  # then there is nobody left to enter
        assert [job.state for job in work()] == ["done"] * (round_number == 1)
        assert sorted(person.name for person in all_of(system, Subscriber, isp)) == ["Mo", "Pedro Paz"]
    with Session(system) as session:
        mine = select(func.count()).where(Service.operator_id == isp.operator_id)
        assert session.scalar(mine) == 0
        assert session.scalar(select(func.count()).where(RatePlan.operator_id == isp.operator_id)) == 1
