"""The map and the pages of sites and sectors: who sees what, where, and what dragging does."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from crm.map import MOST_POINTS
from db.models import AuditEntry, Incident, IncidentMember, Sector, Service, Site, Subscriber
from tests.portal.conftest import add_service, add_subscriber, make_isp, post

PACHUCA = {"latitude": Decimal("20.12"), "longitude": Decimal("-98.73")}
AROUND = "20.0,-98.9,20.3,-98.6"
NOW = datetime.now(UTC)


@pytest.fixture
def town(system, installation, isp):
    """Five subscribers in each state, on one sector of one tower, and one person who lives elsewhere."""
    with Session(system) as session:
        site = Site(operator_id=isp.operator_id, name="Cerro", nas_id=isp.nas_id, **PACHUCA)
        session.add(site)
        session.flush()
        sector = Sector(
            operator_id=isp.operator_id, site_id=site.id, name="Norte", nas_id=isp.nas_id, port="ether3",
            capacity=30_000_000, most_services=5,
        )  # fmt: skip
        session.add(sector)
        session.commit()
        sector_id, site_id = sector.id, site.id
    people = {}
    for at, (state, values) in enumerate(
        {
            "online": {},
            "offline": {},
            "suspended": {"state": "suspended", "suspended_at": NOW, "suspension_cause": "overdue"},
            "late": {"paid_until": datetime(2020, 1, 1, tzinfo=UTC).date()},
            "other": {"state": "terminated"},
        }.items()
    ):
        place = {"latitude": Decimal("20.12") + at * Decimal("0.001"), "longitude": Decimal("-98.73")}
        people[state] = add_subscriber(system, isp, f"Persona {state}", **place)
        service = add_service(
            system, installation, isp, people[state], f"{state}-{isp.operator_id}", sector_id=sector_id, **values
        )
        if state in ("online", "late", "suspended"):
            open_session(system, isp, service)
    add_subscriber(system, isp, "Lejos", latitude=Decimal("40"), longitude=Decimal("-3"))
    return {"people": people, "sector": sector_id, "site": site_id}


def open_session(system: Engine, isp, service_id: int) -> None:
    with system.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO session (operator_id, nas_id, service_id, acct_session_id, user_name, kind, started_at,"
            " updated_at, nas_port_id) VALUES (%s, %s, %s, %s, 'u', 'ppp', now(), now(), 'ether3')",
            (isp.operator_id, isp.nas_id, service_id, str(service_id)),
        )


def points(browser, box: str = AROUND, **more: object) -> dict:
    answer = browser.get("/map/points", query_string={"box": box, "zoom": 14, **more})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_each_subscriber_in_view_is_shown_by_what_most_needs_somebody(sign_in, town):
    shown = points(sign_in("support"))
    assert shown["counts"] == {"online": 1, "offline": 1, "suspended": 1, "late": 1, "other": 1}
    states = {point[0]: point[3] for point in shown["points"]}
    assert states == {person: state for state, person in town["people"].items()}


def test_the_map_is_narrowed_to_a_state_a_sector_a_plan_and_a_router(sign_in, town, isp):
    browser = sign_in("technical")
    for state, person in town["people"].items():
        assert [point[0] for point in points(browser, state=state)["points"]] == [person]
    in_use = {town["people"][state] for state in ("online", "offline", "suspended", "late")}
    for only in ({"sector": town["sector"]}, {"plan": isp.plan_id}, {"router": isp.nas_id}):
        assert {point[0] for point in points(browser, **only)["points"]} == in_use, only
    for none in ({"sector": 10**9}, {"plan": 10**9}, {"router": 10**9}):
        assert points(browser, **none)["points"] == []


def test_another_operator_sees_none_of_it(system, installation, sign_in, town):
    theirs = sign_in("manager", make_isp(system, installation))
    assert points(theirs)["points"] == []
    assert theirs.get("/map/network").json["sites"] == []
    person, site = town["people"]["online"], town["site"]
    assert theirs.get(f"/map/subscribers/{person}").status_code == 404
    assert post(theirs, f"/map/subscribers/{person}/position", latitude=1, longitude=1, version=1).status_code == 404
    assert theirs.get(f"/sites/{site}").status_code == 404
    assert theirs.get(f"/sectors/{town['sector']}").status_code == 404


def test_corners_that_make_no_sense_are_refused(sign_in, isp):
    browser = sign_in("support")
    for box in ["", "1,2,3", "a,b,c,d", "nan,0,1,1", "inf,0,1,1", "2,0,1,1", "0,2,1,1", "0,0,1,1e999", "0;0;1;1"]:
        assert browser.get("/map/points", query_string={"box": box, "zoom": 9}).status_code == 400, box


def test_a_map_panned_round_the_world_is_cut_at_its_edges(sign_in, town):
    assert len(points(sign_in("support"), "-500,-900,500,900")["points"]) == 6
    assert points(sign_in("support"), "-10,190,10,200")["points"] == []


def test_many_subscribers_come_as_a_grid_with_counts(system, sign_in, isp):
    with system.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO subscriber (operator_id, name, latitude, longitude)"
            " SELECT %s, 'S', 20 + (n %% 100) / 1000.0, -98 - n / 100000.0 FROM generate_series(1, %s) AS n",
            (isp.operator_id, MOST_POINTS + 1),
        )
    browser = sign_in("support")
    shown = points(browser, "19,-99,21,-97", zoom=10)
    assert shown["points"] == []
    assert sum(sum(cell[2:]) for cell in shown["cells"]) == shown["counts"]["other"] == MOST_POINTS + 1
    assert 1 < len(shown["cells"]) < 100
    closer = points(browser, "20.0005,-99,20.05,-97", zoom=14)
    assert closer["cells"] == []
    assert len(closer["points"]) == closer["counts"]["other"] > 2000


def test_hostile_names_stay_text(system, sign_in, isp):
    name = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    person = add_subscriber(system, isp, name, **PACHUCA)
    with Session(system) as session:
        session.add(Site(operator_id=isp.operator_id, name=name, latitude=Decimal(1), longitude=Decimal(1)))
        session.commit()
    browser = sign_in("manager")
    answer = browser.get("/map/points", query_string={"box": AROUND, "zoom": 14})
    assert answer.mimetype == "application/json"
    assert answer.json["points"][0][4] == name
    for page in (f"/map/subscribers/{person}", f"/map/?place={person}", "/map/table", "/sites/"):
        text = browser.get(page).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_a_subscriber_is_dragged_to_their_place_and_the_audit_log_knows(system, sign_in, town, isp):
    person = town["people"]["online"]
    browser = sign_in("support")
    answer = post(browser, f"/map/subscribers/{person}/position", latitude="20.2", longitude="-98.7", version=1)
    assert (answer.status_code, answer.json) == (200, {"version": 2})
    with Session(system) as session:
        moved = session.get_one(Subscriber, person)
        assert (moved.latitude, moved.longitude) == (Decimal("20.2"), Decimal("-98.7"))
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "subscriber.move")).all()[-1]
        assert (entry.entity_id, entry.actor) == (person, isp.staff["support"])
        assert entry.after == {"latitude": "20.200000", "longitude": "-98.700000"}


def test_who_drags_second_is_told_and_changes_nothing(system, sign_in, town):
    person = town["people"]["online"]
    first, second = sign_in("support"), sign_in("sales")
    assert post(first, f"/map/subscribers/{person}/position", latitude=20, longitude=-98, version=1).status_code == 200
    late = post(second, f"/map/subscribers/{person}/position", latitude=10, longitude=-90, version=1)
    assert late.status_code == 409
    assert "Somebody changed this meanwhile" in late.json["problem"]
    with Session(system) as session:
        assert session.get_one(Subscriber, person).latitude == 20


def test_a_place_that_is_none_is_refused(sign_in, town):
    address = f"/map/subscribers/{town['people']['online']}/position"
    browser = sign_in("support")
    for latitude in ["", "north", "91", "NaN", "Infinity", "1e400"]:
        answer = post(browser, address, latitude=latitude, longitude="0", version=1)
        assert answer.status_code == 422, latitude
        assert "Latitude goes from -90 to 90" in answer.json["problem"]


def test_finance_sees_the_map_and_moves_nothing(sign_in, town):
    browser = sign_in("finance")
    page = browser.get("/map/")
    assert page.status_code == 200
    assert 'data-move=""' in page.text
    person, site = town["people"]["online"], town["site"]
    assert post(browser, f"/map/subscribers/{person}/position", latitude=1, longitude=1, version=1).status_code == 403
    assert post(browser, f"/map/sites/{site}/position", latitude=1, longitude=1, version=1).status_code == 403


def test_a_tower_is_dragged_by_who_builds_the_network(system, sign_in, town):
    answer = post(
        sign_in("technical"), f"/map/sites/{town['site']}/position", latitude="20.5", longitude="-98", version=1
    )
    assert answer.json == {"version": 2}
    with Session(system) as session:
        assert session.get_one(Site, town["site"]).latitude == Decimal("20.5")


def test_an_outage_is_an_area_around_those_who_lost_their_line(system, sign_in, town, isp):
    with Session(system) as session:
        incident = Incident(
            operator_id=isp.operator_id, scope="sector", nas_id=isp.nas_id, sector="ether3", before=4, lost=4
        )
        session.add(incident)
        session.flush()
        services = session.scalars(select(Service.id).where(Service.operator_id == isp.operator_id)).all()
        for at, service in enumerate(services):
            session.add(
                IncidentMember(
                    incident_id=incident.id, operator_id=isp.operator_id, nas_id=isp.nas_id, session_id=at + 1,
                    service_id=service, user_name="u", ended_at=NOW,
                )
            )  # fmt: skip
        session.execute(
            Subscriber.__table__.update()
            .where(Subscriber.id == town["people"]["late"])
            .values(longitude=Decimal("-98.70"))
        )
        session.commit()
    network = sign_in("support").get("/map/network").json
    [outage] = network["incidents"]
    assert outage["title"] == "tower-1 · ether3: 4 lines lost"
    assert sorted(map(tuple, outage["corners"])) == [(20.12, -98.73), (20.123, -98.7), (20.124, -98.73)]
    assert [sector["dark"] for sector in network["sectors"]] == [True]


def test_a_map_asks_no_stranger_unless_told_and_then_that_host_alone(sign_in, isp):
    browser = sign_in("technical")
    usual = browser.get("/sites/").headers["Content-Security-Policy"]
    assert browser.get("/map/").headers["Content-Security-Policy"] == usual
    tiles = "https://tiles.example.com/{z}/{x}/{y}.png"
    assert post(browser, "/map/ground", tiles=tiles, attribution="© <b>Us</b>").status_code == 302
    page = browser.get("/map/")
    assert page.headers["Content-Security-Policy"] == usual.replace("data:", "data: https://tiles.example.com", 1)
    assert "<b>Us</b>" not in page.text
    assert browser.get("/sites/").headers["Content-Security-Policy"] == usual


def test_an_address_that_could_widen_what_pages_load_is_refused(sign_in, isp):
    browser = sign_in("technical")
    for tiles in [
        "http://tiles.example.com/{z}/{x}/{y}",
        "https://tiles.example.com; script-src */{z}/{x}/{y}",
        "https://tiles.example.com/{z}/{x}",
        "https://*/{z}/{x}/{y}",
        "javascript:alert(1)//{z}{x}{y}",
        "https://tiles.example.com/{z}/{x}/{y}\n; script-src *",
    ]:
        assert post(browser, "/map/ground", tiles=tiles).status_code == 422, tiles
    assert "tiles.example" not in browser.get("/map/").headers["Content-Security-Policy"]


def test_sites_and_sectors_are_entered_and_their_load_is_seen(system, sign_in, town, isp):
    browser = sign_in("technical")
    answer = post(browser, "/sites/new", name="Torre", kind="roof", latitude="20,5", longitude="-98.1", height="18")
    assert answer.status_code == 302
    site_page = answer.headers["Location"]
    sector = post(
        browser, site_page.replace("/sites/", "/sectors/new/"), name="Sur", azimuth="180", beam_width="60",
        reach="2500", capacity=["150", "M"], in_use="y",
    )  # fmt: skip
    assert sector.status_code == 302, sector.text
    assert "Sur" in browser.get(site_page).text
    again = post(browser, "/sites/new", name="TORRE", kind="roof", latitude="1", longitude="1")
    assert again.status_code == 422
    load = browser.get(f"/sectors/{town['sector']}").text
    assert "Nearly full" in load  # 4 of 5 services
    assert "Persona late" in load
    assert re.search(r"333 m|334 m|335 m", load)  # 0.003 degrees north of the tower
    assert "ether3" in load
    assert "80 %" in browser.get("/sectors/").text
    assert browser.get("/sectors/?format=csv").status_code == 403
    # A sector with services stays, and so does its site.
    assert b"hung on Norte" in browser.post(
        f"/sectors/{town['sector']}/delete", data={"csrf_token": _token(browser)}, follow_redirects=True
    ).data  # fmt: skip
    assert post(browser, f"/sites/{town['site']}/delete").status_code == 302
    with Session(system) as session:
        assert session.get(Site, town["site"]) is not None


def _token(browser) -> str:
    return browser.get("/account/").text.split('name="csrf_token" value="')[1].split('"')[0]


def test_two_people_editing_one_sector_are_told(sign_in, town):
    browser = sign_in("technical")
    fields = {"name": "Norte", "azimuth": "10", "beam_width": "60", "reach": "900", "in_use": "y"}
    address = f"/sectors/{town['sector']}/edit"
    assert post(browser, address, version="1", **fields).status_code == 302
    second = post(browser, address, version="1", **{**fields, "azimuth": "99"})
    assert second.status_code == 409
    assert "Somebody else changed this" in second.text


def test_the_service_form_hangs_a_service_on_a_sector(system, sign_in, town, isp):
    with Session(system) as session:
        service = session.scalars(select(Service).where(Service.subscriber_id == town["people"]["offline"])).one()
        service_id, name = service.id, service.name
    browser = sign_in("support")
    form = {"access_method": "pppoe", "name": name, "plan_id": isp.plan_id, "management": "automatic",
            "mac_binding": "any", "session_limit": "1", "max_macs": "1", "version": "1"}  # fmt: skip
    answer = post(
        browser, f"/services/{service_id}/edit", **form, sector_id=town["sector"], line_of_sight="partial"
    )  # fmt: skip
    assert answer.status_code == 302, answer.text
    refused = post(browser, f"/services/{service_id}/edit", **{**form, "version": "2"}, sector_id=10**9)
    assert refused.status_code == 200
    with Session(system) as session:
        service = session.get_one(Service, service_id)
        assert (service.sector_id, service.line_of_sight) == (town["sector"], "partial")
    page = browser.get(f"/subscribers/{town['people']['offline']}").text
    assert f'href="/sectors/{town["sector"]}">' in page
    assert "Partly blocked" in page


def test_the_page_of_a_subscriber_shows_where_they_are(sign_in, town):
    page = sign_in("support").get(f"/subscribers/{town['people']['online']}").text
    assert "data-here=" in page
    assert "/map/?" in page
