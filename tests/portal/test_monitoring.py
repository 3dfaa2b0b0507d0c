"""The pages about watching: all routers, graphs, clients, incidents, who is told, metrics and health."""

import re
from datetime import timedelta
from ipaddress import ip_address

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import (
    Alert,
    AlertRecipient,
    Incident,
    IncidentMember,
    LiveWatch,
    Notification,
    Router,
    RouterSample,
    RouterSample5m,
    RouterState,
    UsageHour,
    WaitingDevice,
)
from tests.portal.conftest import add_service, add_subscriber, make_isp, post
from tests.rows import add_session

FACTS = {
    "uptime": 90_061, "cpu": 37.0, "memory": 61.2, "memory_total": 1_073_741_824, "temperature": 48.0,
    "wan_download": 91_000_000.0, "wan_upload": 12_300_000.0, "authenticated": 41, "waiting": 3,
    "interfaces": {"ether1": [91_000_000, 12_300_000], "ether2": None},
}  # fmt: skip


def add_router(system, isp, **state):
    with Session(system) as session:
        session.add(
            Router(
                nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="portico", api_password=b"sealed",
                wan_interface="ether1", wan_download=100_000_000, wan_upload=50_000_000,
            )
        )  # fmt: skip
        session.flush()
        values = {"status": "online", "facts": FACTS, "checked_at": utc_now(), **state}
        session.add(RouterState(nas_id=isp.nas_id, operator_id=isp.operator_id, **values))
        session.commit()
    return isp.nas_id


@pytest.fixture
def nas_id(system, isp):
    return add_router(system, isp)


def sample(model, isp, at, **values):
    return model(nas_id=isp.nas_id, operator_id=isp.operator_id, at=at, polls=1, answered=1, **values)


def graph_rows(page, table):
    """Return the numbers that a graph is drawn from: what each cell holds."""
    body = re.search(rf'<table[^>]*id="{table}">.*?<tbody>(.*?)</tbody>', page, re.S).group(1)
    return [re.findall(r'data-value="([^"]*)"', row) for row in body.split("<tr>")[1:]]


def test_all_routers_stand_with_their_state_and_how_full_their_link_is(sign_in, nas_id):
    page = sign_in("support").get("/monitoring/").text
    assert "tower-1" in page
    assert "91 Mbit/s" in page.replace("\u00a0", " ")
    assert re.search(r'text-orange">.*?91 %', page, re.S)
    assert re.search(r'portal-figure">1</div><div class="text-secondary">online', page)


def test_a_router_that_is_offline_shows_its_likely_cause(sign_in, system, isp):
    add_router(system, isp, status="offline", cause="password")
    page = sign_in("manager").get("/monitoring/?status=offline").text
    assert "Wrong user name or password" in page
    assert "tower-1" not in sign_in("manager").get("/monitoring/?status=online").text.split('id="rows"')[1]


def test_that_nobody_polls_is_said(sign_in, system, isp):
    add_router(system, isp, checked_at=utc_now() - timedelta(minutes=7))
    assert "Routers are not being polled." in sign_in("technical").get("/monitoring/").text


def test_a_graph_has_its_numbers_and_a_gap_stays_a_gap(sign_in, system, isp, nas_id):
    now = utc_now().replace(second=0, microsecond=0)
    with Session(system) as session:
        session.add_all(
            sample(
                RouterSample, isp, now - timedelta(minutes=minutes),
                wan_download=20e6, wan_download_max=20e6, wan_upload=5e6, wan_upload_max=5e6,
                cpu=30.0, cpu_max=30.0, memory=60.0, memory_max=60.0, authenticated=40, waiting=2,
            )
            for minutes in (10, 9, 7)
        )  # fmt: skip
        session.commit()
    page = sign_in("support").get(f"/monitoring/routers/{nas_id}?range=1h").text
    last = graph_rows(page, "wan-numbers")[-4:]
    assert [row[1:3] for row in last] == [["20.0", "5.0"], ["20.0", "5.0"], ["", ""], ["20.0", "5.0"]]
    assert graph_rows(page, "user-numbers")[-1][1:] == ["42.0", "40.0"]
    assert graph_rows(page, "load-numbers")[-1][1:3] == ["30.0", "60.0"]
    assert 'data-lines="100,#626976,Capacity;85,#f76707,Nearly full (85 %)"' in page


@pytest.mark.parametrize("shown", ["1h", "6h", "24h", "7d", "30d", "1y", "nonsense"])
def test_every_length_of_time_has_its_graph(sign_in, system, isp, nas_id, shown):
    with Session(system) as session:
        session.add(sample(RouterSample5m, isp, utc_now() - timedelta(hours=3), cpu=50.0, cpu_max=80.0))
        session.commit()
    page = sign_in("manager").get(f"/monitoring/routers/{nas_id}?range={shown}").text
    found = re.search(r'id="load-numbers"', page) is not None
    assert found == (shown in ("24h", "7d"))


def test_another_interface_can_be_looked_at(sign_in, nas_id):
    page = sign_in("manager").get(f"/monitoring/routers/{nas_id}?interface=ether2").text
    assert '<option value="ether2" selected>' in page
    hostile = sign_in("manager").get(f"/monitoring/routers/{nas_id}?interface=%3Cscript%3E").text
    assert "<script>" not in hostile.split("<main")[1]


def test_who_is_connected_stands_with_login_and_who_waits_without(sign_in, system, isp, nas_id, installation):
    subscriber = add_subscriber(system, isp, "Ana Núñez")
    service = add_service(system, installation, isp, subscriber, "ana.nunez")
    with Session(system) as session:
        add_session(session, isp.operator_id, service, "81c0", nas_id=nas_id, user_name="ana.nunez",
                    framed_ip=ip_address("10.64.0.9"), nas_port_id="ether3", octets_out=5_000_000_000)  # fmt: skip
        session.add(
            WaitingDevice(nas_id=nas_id, operator_id=isp.operator_id, mac="aa:bb:cc:00:00:09", source="hotspot",
                          host_name="<b>TV</b>", address=ip_address("10.5.0.7"))
        )  # fmt: skip
        session.commit()
    browser = sign_in("support")
    page = browser.get(f"/monitoring/routers/{nas_id}/clients").text
    assert all(text in page for text in ("ana.nunez", "Ana Núñez", "10.64.0.9", "ether3"))
    waiting = browser.get(f"/monitoring/routers/{nas_id}/waiting").text
    assert "aa:bb:cc:00:00:09" in waiting
    assert "&lt;b&gt;TV&lt;/b&gt;" in waiting
    exported = sign_in("manager").get(f"/monitoring/routers/{nas_id}/waiting?format=csv").text
    assert "aa:bb:cc:00:00:09" in exported


def test_top_talkers_come_first_and_can_be_those_of_one_router(sign_in, system, isp, nas_id, installation):
    hour = utc_now().replace(minute=0, second=0, microsecond=0)
    for name, octets in (("light", 10**8), ("heavy", 10**11)):
        service = add_service(system, installation, isp, add_subscriber(system, isp, name.title()), name)
        with Session(system) as session:
            session.add(UsageHour(operator_id=isp.operator_id, service_id=service, hour=hour, octets_out=octets))
            if name == "light":
                add_session(session, isp.operator_id, service, "1", nas_id=nas_id, user_name=name)
            session.commit()
    browser = sign_in("manager")
    page = browser.get("/monitoring/talkers?window=1h").text
    assert page.index("Heavy") < page.index("Light")
    there = browser.get(f"/monitoring/talkers?window=1h&router={nas_id}").text
    assert "Light" in there
    assert "Heavy" not in there


def test_whoever_looks_at_a_rate_has_the_monitor_ask_for_it(sign_in, system, isp, nas_id, installation):
    service = add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana")
    browser = sign_in("support")
    assert "data-live=" in browser.get(f"/services/{service}/live").text
    with Session(system) as session:
        watch = session.get_one(LiveWatch, service)
        assert timedelta(0) < watch.wanted_until - utc_now() < timedelta(seconds=10)
        watch.measured_at, watch.download, watch.upload = utc_now(), 18.4e6, 2.1e6
        session.commit()
    first, second = (browser.get(f"/services/{service}/live.json").json for _ in range(2))
    assert (first["download"], first["upload"], first["problem"]) == (18.4e6, 2.1e6, "")
    assert second["download"] == 18.4e6
    with Session(system) as session:
        session.get_one(LiveWatch, service).measured_at = utc_now() - timedelta(minutes=1)
        session.commit()
    assert browser.get(f"/services/{service}/live.json").json["download"] is None


def test_an_incident_shows_who_lost_the_connection_and_who_is_back(sign_in, system, isp, nas_id):
    now = utc_now()
    with Session(system) as session:
        incident = Incident(operator_id=isp.operator_id, scope="sector", nas_id=nas_id, sector="ether3", before=20,
                            lost=2, opened_at=now - timedelta(minutes=8))  # fmt: skip
        session.add(incident)
        session.flush()
        session.add_all(
            IncidentMember(incident_id=incident.id, session_id=n, operator_id=isp.operator_id, nas_id=nas_id,
                           user_name=f"user{n}", ended_at=now, cause="Lost-Carrier", back_at=now if n else None)
            for n in range(2)
        )  # fmt: skip
        session.add(Alert(operator_id=isp.operator_id, nas_id=nas_id, kind="router_down", incident_id=incident.id))
        session.commit()
        number = incident.id
    browser = sign_in("support")
    assert "ether3" in browser.get("/monitoring/incidents?open=yes").text
    page = browser.get(f"/monitoring/incidents/{number}").text
    assert page.index("user0") < page.index("user1")
    assert "not yet" in page
    assert "with an incident" in browser.get("/monitoring/alerts").text
    assert "A sector" in browser.get("/monitoring/").text


RECIPIENT = {"name": "Guardia", "channel": "email", "address": "noc@isp.example", "language": "es", "active": "y",
             "kinds": ["router_down", "incident"]}  # fmt: skip


def test_a_manager_enters_who_is_told_and_tries_it(sign_in, system, isp):
    browser = sign_in("manager")
    assert post(browser, "/monitoring/recipients/new", **RECIPIENT).status_code == 302
    with Session(system) as session:
        [row] = session.scalars(select(AlertRecipient).where(AlertRecipient.operator_id == isp.operator_id)).all()
    assert b"noc@isp.example" not in row.address
    assert "noc@isp.example" in browser.get("/monitoring/recipients").text
    assert post(browser, f"/monitoring/recipients/{row.id}/test").status_code == 302
    with Session(system) as session:
        [notice] = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).all()
    assert (notice.kind, notice.shown_address, notice.state) == ("test", "noc@isp.example", "waiting")
    assert "noc@isp.example" in browser.get("/monitoring/notices").text
    post(browser, f"/monitoring/recipients/{row.id}", **{**RECIPIENT, "name": "Noche"})
    assert "Noche" in browser.get("/monitoring/recipients").text
    post(browser, f"/monitoring/recipients/{row.id}/delete")
    assert "Nobody is told yet" in browser.get("/monitoring/recipients").text


def test_the_password_of_a_channel_is_never_shown_again_and_may_stay_as_it_is(sign_in, system, isp, installation):
    browser = sign_in("manager")
    url = "json://noc:s3cret@hooks.isp.example/alerts"
    post(browser, "/monitoring/recipients/new", **{**RECIPIENT, "channel": "apprise", "address": url})
    with Session(system) as session:
        number = session.scalars(select(AlertRecipient.id).where(AlertRecipient.operator_id == isp.operator_id)).one()
    pages = browser.get("/monitoring/recipients").text + browser.get(f"/monitoring/recipients/{number}").text
    assert "hooks.isp.example" in pages
    assert "s3cret" not in pages
    changed = {**RECIPIENT, "channel": "apprise", "address": "", "name": "Otro"}
    assert post(browser, f"/monitoring/recipients/{number}", **changed).status_code == 302
    with Session(system) as session:
        row = session.get_one(AlertRecipient, number)
        assert installation.keyring.open("alert_recipient.address", row.address) == url


def test_an_address_that_is_none_is_said_beside_its_field(sign_in):
    answer = post(sign_in("manager"), "/monitoring/recipients/new", **{**RECIPIENT, "address": "noc"})
    assert answer.status_code == 422
    assert "This is not an e-mail address" in answer.text


def test_only_a_manager_says_who_is_told(sign_in):
    for role in ("technical", "support", "finance", "sales"):
        assert sign_in(role).get("/monitoring/recipients").status_code == 403


def test_nothing_of_another_operator_is_seen(sign_in, system, installation, nas_id):
    other = make_isp(system, installation)
    browser = sign_in("manager", other)
    assert browser.get(f"/monitoring/routers/{nas_id}").status_code == 404
    assert browser.get(f"/monitoring/routers/{nas_id}/clients").status_code == 404
    assert "tower-1" not in browser.get("/monitoring/").text.split('id="rows"')[1]
