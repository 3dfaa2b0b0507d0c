"""Pages of incidents: opened by hand, told, explained, closed and credited."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from billing.incident_credit import credit_incident
from core.clock import utc_now
from crm.incident_messages import tell_due
from crm.incidents import incident_for
from crm.jobs import RunningJob
from db.models import Incident, IncidentMember, Job, Notification, Sector, Service, Site, Subscriber
from db.session import make_sessions
from tests.portal.billing_isp import bill, billed_line, start_billing
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def ana(system, installation, isp):
    """A service at the operator's NAS."""
    number = add_subscriber(system, isp, "Ana", email="ana@example.com", language="es")
    return add_service(system, installation, isp, number, f"ana{isp.operator_id}", nas_id=isp.nas_id)


def open_one(browser, isp, **values):
    values = {"title": "Mast <b>down</b>", "scope": "router", "nas_id": isp.nas_id, "tell": "y", **values}
    return post(browser, "/monitoring/incidents/new", **values)


def newest(system, isp):
    with Session(system) as session:
        return session.query(Incident).filter_by(operator_id=isp.operator_id).order_by(Incident.id.desc()).first()


def told(system, isp):
    with Session(system) as session:
        rows = session.query(Notification).filter_by(operator_id=isp.operator_id).order_by(Notification.id)
        return [(row.kind, row.subject) for row in rows]


def test_a_person_opens_an_incident_and_its_subscribers_are_told_of_beginning_and_end(
    system, installation, sign_in, isp, ana
):
    browser = sign_in("support")
    answer = open_one(browser, isp)
    assert answer.status_code == 302
    page = browser.get(answer.location).text
    assert "Mast &lt;b&gt;down&lt;/b&gt;" in page
    assert "It concerns 1 subscriber now; 1 can be told." in page
    assert "Mast &lt;b&gt;" in browser.get("/", follow_redirects=True).text
    tell_due(make_sessions(system), installation.keyring, utc_now())
    with Session(system) as session:
        session.query(Notification).update({"state": "sent"})
        session.commit()
    assert "Mast &lt;b&gt;" in browser.get("/monitoring/incidents?state=open").text
    assert post(browser, f"{answer.location}/close", cause="rayo").status_code == 302
    tell_due(make_sessions(system), installation.keyring, utc_now())
    assert told(system, isp) == [
        ("incident", "Tenemos una falla en su zona"), ("incident_over", "Su conexión está de vuelta"),
    ]  # fmt: skip
    page = browser.get(answer.location).text
    assert "rayo" in page
    assert "Told that it is over" in page
    post(browser, f"{answer.location}/close")
    assert "This was done already." in browser.get(answer.location).text


def test_planned_work_is_entered_in_the_operators_time(system, sign_in, isp, ana):
    browser = sign_in("technical")
    day = f"{utc_now() + timedelta(days=3):%Y-%m-%d}"
    answer = open_one(
        browser, isp, planned="y", begins=f"{day}T02:00", expected_until=f"{day}T04:30", scope="network", nas_id=""
    )  # fmt: skip
    assert answer.status_code == 302
    incident = newest(system, isp)
    assert f"{incident.opened_at:%Y-%m-%d %H:%M}" == f"{day} 08:00"  # Mexico City is six hours behind
    page = browser.get(answer.location).text
    assert "Call it off" in page
    assert "To come" in browser.get("/monitoring/incidents?state=to_come").text
    page = browser.get("/monitoring/").text
    assert "Mast &lt;b&gt;down&lt;/b&gt;" in page
    assert "alert-info" in page
    assert "alert-danger" not in page, "work that was announced is no alarm"
    open_one(browser, isp, title="No power")
    alarm = browser.get("/monitoring/").text.partition("alert-danger")[2].partition("alert-info")[0]
    assert "No power" in alarm, "what nobody planned comes first"
    assert " lost" not in alarm, "nobody counted whom it concerns"


def test_what_is_wrong_stands_beside_its_field(sign_in, isp):
    answer = open_one(sign_in("support"), isp, title="", nas_id="", begins="2027-13-01T00:00")
    assert answer.status_code == 422
    assert "This is needed." in answer.text


def test_what_is_said_can_be_changed_and_telling_be_kept_back(system, installation, sign_in, isp, ana):
    browser = sign_in("support")
    url = open_one(browser, isp).location
    post(browser, f"{url}/tell", tell="no")
    tell_due(make_sessions(system), installation.keyring, utc_now())
    assert told(system, isp) == []
    assert post(browser, url, title="Fibre cut", cause="a digger", notes="x").status_code == 302
    assert newest(system, isp).cause == "a digger"
    assert post(browser, url, title="x" * 300).status_code == 422
    post(browser, f"{url}/tell", tell="yes")
    tell_due(make_sessions(system), installation.keyring, utc_now())
    assert len(told(system, isp)) == 1
    post(browser, f"{url}/tell", tell="no")
    assert "This was done already." in browser.get(url).text


def test_who_may_only_look_and_who_is_of_another_operator_change_nothing(system, installation, sign_in, isp, ana):
    url = open_one(sign_in("support"), isp).location
    other = sign_in("manager", make_isp(system, installation))
    assert [other.get(url).status_code, post(other, f"{url}/close").status_code] == [404, 404]
    assert open_one(other, isp).status_code == 422  # a router of somebody else
    assert post(sign_in("sales"), f"{url}/close").status_code == 403
    assert sign_in("technical").get(f"{url}/credit").status_code == 403


def test_the_days_of_an_outage_are_credited_once(system, installation, sign_in, isp):
    start_billing(system, isp)
    _subscriber, service = billed_line(system, installation, isp, "Beto", 40)
    bill(system, isp)
    begun = utc_now() - timedelta(days=2)
    with Session(system) as session:
        incident = Incident(operator_id=isp.operator_id, scope="router", nas_id=isp.nas_id, before=9, lost=1,
                            opened_at=begun, closed_at=begun + timedelta(hours=30))  # fmt: skip
        session.add(incident)
        session.flush()
        session.add(
            IncidentMember(
                incident_id=incident.id, session_id=isp.operator_id, operator_id=isp.operator_id, nas_id=isp.nas_id,
                service_id=service, user_name="beto", ended_at=begun,
            )
        )  # fmt: skip
        session.commit()
        url = f"/monitoring/incidents/{incident.id}/credit"
    browser = sign_in("finance")
    page = browser.get(url).text
    assert "Beto" in page
    assert "20.00" in page
    assert post(browser, url, seen="1").location == url
    total = page.split('name="seen" value="')[1].split('"')[0]
    assert "/jobs/" in post(browser, url, seen=total).location
    with Session(system, expire_on_commit=False) as session:
        job = session.query(Job).filter_by(operator_id=isp.operator_id, kind="incidents.credit").one()
    assert [credit_incident(RunningJob(system, installation, job)) for _ in range(2)] == [{"given": 1}, {"given": 0}]
    assert "1 service has its credit already" in browser.get(url).text


def test_what_the_monitor_guesses_stands_before_the_staff_alone_until_a_person_says_that_it_is_so(
    system, installation, sign_in, isp, ana
):
    with Session(system) as session:
        site = Site(
            operator_id=isp.operator_id, name="Torre <i>Norte</i>", latitude=Decimal("20.9"), longitude=Decimal("-89.6")
        )
        session.add(site)
        session.flush()
        sector = Sector(operator_id=isp.operator_id, site_id=site.id, name="Este", nas_id=isp.nas_id)
        session.add_all((sector, Sector(operator_id=isp.operator_id, site_id=site.id, name="Oeste", nas_id=isp.nas_id)))
        session.flush()
        guess = Incident(
            operator_id=isp.operator_id, scope="sector", nas_id=isp.nas_id, site_id=site.id, sector_id=sector.id,
            proposed=True, before=4, lost=3, tell=True, opened_at=utc_now() - timedelta(minutes=20),
        )  # fmt: skip
        session.add(guess)
        session.flush()
        session.add(
            IncidentMember(
                incident_id=guess.id,
                session_id=1,
                operator_id=isp.operator_id,
                nas_id=isp.nas_id,
                service_id=ana,
                user_name="ana",
                ended_at=utc_now(),
            )
        )
        service = session.get_one(Service, ana)
        session.get_one(Subscriber, service.subscriber_id).latitude = Decimal("20.91")
        session.get_one(Subscriber, service.subscriber_id).longitude = Decimal("-89.61")
        session.commit()
        url, name = f"/monitoring/incidents/{guess.id}", "Torre &lt;i&gt;Norte&lt;/i&gt;"
        assert incident_for(session, service, utc_now()) is None  # the captive page says nothing of it
    tell_due(make_sessions(system), installation.keyring, utc_now())
    assert told(system, isp) == []
    browser = sign_in("support")
    home = browser.get("/", follow_redirects=True).text
    assert name in home
    assert "To be confirmed" in home
    assert name in browser.get("/monitoring/incidents?state=proposed").text
    assert name not in browser.get("/monitoring/incidents?state=open").text
    page = browser.get(url).text
    assert "3 of the 4 subscribers who were on line there" in page
    [area] = browser.get("/map/network").get_json()["incidents"]
    assert (area["proposed"], area["title"], area["subscribers"]) == (
        True,
        "Torre <i>Norte</i> · Este: 3 lines lost",
        1,
    )
    dark = {sector["name"]: sector["dark"] for sector in browser.get("/map/network").get_json()["sectors"]}
    assert dark == {"Este": True, "Oeste": False}  # the others of the router go on
    assert post(sign_in("finance"), f"{url}/confirm").status_code == 403
    assert post(browser, f"{url}/confirm").status_code == 302
    post(browser, f"{url}/confirm")
    assert "This was done already." in browser.get(url).text
    tell_due(make_sessions(system), installation.keyring, utc_now())
    assert [kind for kind, _subject in told(system, isp)] == ["incident"]
    with Session(system) as session:
        assert incident_for(session, session.get_one(Service, ana), utc_now()) is not None
