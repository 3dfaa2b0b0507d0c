"""Incidents as subscribers meet them: who is concerned, when they are told, and what they see meanwhile."""

from datetime import timedelta

import pytest

from core.clock import utc_now
from crm.incident_messages import reach_of, tell_due
from crm.incidents import (
    IncidentDetails,
    ask_to_tell,
    change_incident,
    close_incident,
    concerned_services,
    incident_at,
    incident_for,
    open_by_hand,
)
from crm.problems import Invalid
from db.audit import Actor
from db.models import Incident, Service
from db.session import make_engine, make_sessions
from tests.factories import Isp

NOW = utc_now()
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def sessions(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def isp(installation):
    made = Isp.create(installation, address=None, timezone="America/Mexico_City", locale="en")
    for number in (1, 2):
        made.nas_id = made.nas(f"10.{made.operator_id % 200}.0.{number}", name=f"tower-{number}")
    made.towers = [
        row[0] for row in made.fetch("SELECT id FROM nas WHERE operator_id = %s ORDER BY id", made.operator_id)
    ]
    yield made
    made.connection.execute(
        "UPDATE incident SET closed_at = now(), told_over_at = now() WHERE operator_id = %s", (made.operator_id,)
    )
    made.connection.close()


def line(isp, name, tower, sector="ether1", ended=None):
    """Add a subscriber with a service and its newest session, and return the service's id."""
    person = isp.insert("subscriber", operator_id=isp.operator_id, name=name, email=f"{name}@example.com")
    service = isp.service(name, subscriber_id=person)
    session(isp, service, isp.towers[1 - tower], "ether9", NOW - timedelta(hours=9), NOW - timedelta(hours=8))
    session(isp, service, isp.towers[tower], sector, NOW - timedelta(hours=2), ended)
    return service


def session(isp, service, nas_id, sector, started_at, ended_at):
    return isp.insert(
        "session", operator_id=isp.operator_id, nas_id=nas_id, service_id=service, acct_session_id=f"{service}{nas_id}",
        user_name="u", kind="ppp", nas_port_id=sector, started_at=started_at, updated_at=started_at, ended_at=ended_at,
    )  # fmt: skip


def outage(isp, services, tower=0, opened_at=NOW - 2 * MINUTE):
    """Add the incident that the monitor makes of lost sessions."""
    number = isp.insert(
        "incident", operator_id=isp.operator_id, scope="router", nas_id=isp.towers[tower], before=9,
        lost=len(services), opened_at=opened_at,
    )  # fmt: skip
    for service in services:
        lose(isp, number, service, opened_at)
    return number


def lose(isp, incident, service, at):
    isp.insert(
        "incident_member", "session_id", incident_id=incident, session_id=service, operator_id=isp.operator_id,
        nas_id=isp.towers[0], service_id=service, user_name="u", ended_at=at,
    )  # fmt: skip


def telling(isp, **values):
    isp.insert("message_settings", "operator_id", operator_id=isp.operator_id, incident_tell=True, incident_delay=5,
               incident_least=2, **values)  # fmt: skip


def by_hand(isp, sessions, **values):
    values = {"scope": "router", "title": "Mast replaced", "nas_id": isp.towers[0], "tell": True, **values}
    with sessions() as db:
        incident = open_by_hand(db, Actor(isp.operator_id, "noc", 7), IncidentDetails(**values), NOW)
        db.commit()
        return incident.id


def close(isp, sessions, number, now, cause="power cut"):
    with sessions() as db:
        close_incident(db, Actor(isp.operator_id, "noc", 7), db.get_one(Incident, number), cause, now)
        db.commit()


def tell(isp, sessions, now=NOW):
    return tell_due(sessions, isp.settings.keyring, now)


def told(isp):
    return isp.fetch(
        "SELECT kind, split_part(shown_address, '@', 1) FROM notification WHERE operator_id = %s ORDER BY id",
        isp.operator_id,
    )


def names(isp, found):
    return sorted(name for name, number in isp.services.items() if number in found)


def test_an_outage_that_lasts_is_told_once_and_so_is_its_end_to_whom_is_back(isp, sessions):
    telling(isp)
    ana, beto, carla = (line(isp, name, 0, ended=NOW) for name in ("ana", "beto", "carla"))
    line(isp, "other", 1)
    number = outage(isp, [ana, beto, carla])
    assert tell(isp, sessions, NOW) == 0  # it has not lasted for five minutes
    for minutes in (4, 5, 6):
        tell(isp, sessions, NOW + minutes * MINUTE)
    assert told(isp) == [("incident", "ana"), ("incident", "beto"), ("incident", "carla")]
    isp.connection.execute("UPDATE notification SET state = 'sent', attempts = 1 WHERE incident_id = %s", (number,))
    isp.connection.execute(
        "UPDATE incident_member SET back_at = %s WHERE incident_id = %s AND service_id <> %s", (NOW, number, carla)
    )
    isp.update("incident", number, closed_at=NOW + 50 * MINUTE)
    for _ in range(2):
        tell(isp, sessions, NOW + 51 * MINUTE)
    assert told(isp)[3:] == [("incident_over", "ana"), ("incident_over", "beto")]
    [(body,)] = isp.fetch(
        "SELECT body FROM notification WHERE operator_id = %s AND kind = 'incident_over' LIMIT 1", isp.operator_id
    )
    assert "it lasted 52 minutes." in body


def test_who_loses_the_connection_later_is_told_later(isp, sessions):
    telling(
        isp,
    )
    first = [line(isp, name, 0) for name in ("ana", "beto")]
    number = outage(isp, first, opened_at=NOW - 6 * MINUTE)
    assert tell(isp, sessions) == 2
    lose(isp, number, line(isp, "carla", 0), NOW + MINUTE)
    assert [tell(isp, sessions, NOW + minutes * MINUTE) for minutes in (2, 3)] == [1, 0]
    assert told(isp)[-1] == ("incident", "carla")


@pytest.mark.parametrize("setting", ["off", "too few", "old"])
def test_an_outage_is_not_told_by_itself_where_it_should_not_be(isp, sessions, setting):
    if setting != "off":
        telling(isp)
    services = [line(isp, name, 0) for name in (("ana",) if setting == "too few" else ("ana", "beto"))]
    number = outage(isp, services, opened_at=NOW - timedelta(days=2 if setting == "old" else 0, minutes=30))
    assert tell(isp, sessions) == 0
    with sessions() as db:  # a person's word goes before
        ask_to_tell(db, Actor(isp.operator_id, "noc", 7), db.get_one(Incident, number), tell=True)
        db.commit()
    assert tell(isp, sessions) == len(services)
    with sessions() as db, pytest.raises(Invalid):
        ask_to_tell(db, Actor(isp.operator_id, "noc", 7), db.get_one(Incident, number), tell=False)


def test_a_person_may_keep_an_outage_from_being_told_and_shown(isp, sessions):
    telling(isp)
    ana = line(isp, "ana", 0)
    number = outage(isp, [ana, line(isp, "beto", 0)], opened_at=NOW - 30 * MINUTE)
    with sessions() as db:
        assert incident_for(db, db.get_one(Service, ana), NOW).id == number
        ask_to_tell(db, Actor(isp.operator_id, "noc", 7), db.get_one(Incident, number), tell=False)
        db.commit()
        assert incident_for(db, db.get_one(Service, ana), NOW) is None
    assert tell(isp, sessions) == 0


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({"scope": "router"}, True),
        ({"scope": "site"}, True),
        ({"scope": "site", "proposed": True}, False),
        ({"scope": "sector"}, False),  # of a tower: the others of the router go on
        ({"scope": "sector", "sector": "ether1"}, False),
        ({"scope": "sector", "proposed": True}, False),
        ({"scope": "router", "tell": False}, False),
    ],
)
def test_guests_of_a_hotspot_read_of_what_takes_their_router_and_of_no_guess(isp, sessions, found, shown):
    number = isp.insert(
        "incident", operator_id=isp.operator_id, nas_id=isp.towers[0], before=9, lost=4, opened_at=NOW - MINUTE, **found
    )
    with sessions() as db:
        here, elsewhere = (incident_at(db, isp.operator_id, nas_id, NOW) for nas_id in isp.towers)
        assert (here.id if here else None, elsewhere) == (number if shown else None, None)


@pytest.mark.fault
def test_what_did_not_leave_before_the_end_is_dropped_and_its_end_not_told(isp, sessions):
    line(isp, "ana", 0)
    number = by_hand(isp, sessions)
    assert tell(isp, sessions) == 1
    close(isp, sessions, number, NOW + MINUTE)
    assert tell(isp, sessions, NOW + MINUTE) == 0
    assert isp.fetch("SELECT kind, state FROM notification WHERE operator_id = %s", isp.operator_id) == [
        ("incident", "dropped")
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["ana", "beto"]),
        ({"scope": "sector", "sector": "ether2"}, ["beto"]),
        ({"scope": "network", "nas_id": None}, ["ana", "beto", "carla"]),
    ],
)
def test_who_is_concerned_follows_from_where_each_was_last(isp, sessions, values, expected):
    line(isp, "ana", 0, ended=NOW)
    line(isp, "beto", 0, sector="ether2")
    line(isp, "carla", 1)
    isp.service("gone", state="terminated", nas_id=isp.towers[0])
    number = by_hand(isp, sessions, **values)
    with sessions() as db:
        incident = db.get_one(Incident, number)
        assert names(isp, concerned_services(db, incident)) == expected
        assert (reach_of(db, isp.settings.keyring, incident).reached) == len(expected)
        seen = [incident_for(db, db.get_one(Service, service), NOW) for service in isp.services.values()]
        assert [found is not None for found in seen[:3]] == [name in expected for name in ("ana", "beto", "carla")]
    assert tell(isp, sessions) == len(expected)


def test_planned_work_is_announced_shown_from_its_beginning_and_its_end_is_not_told(isp, sessions):
    ana = line(isp, "ana", 0)
    begins = NOW + timedelta(days=2)
    number = by_hand(isp, sessions, planned=True, begins=begins, expected_until=begins + timedelta(hours=2))
    assert tell(isp, sessions) == 1
    [(subject, body)] = isp.fetch("SELECT subject, body FROM notification WHERE operator_id = %s", isp.operator_id)
    assert subject.startswith("Planned work on ")
    assert "Mast replaced" in body
    assert "It should be over by" in body
    with sessions() as db:
        service = db.get_one(Service, ana)
        assert incident_for(db, service, NOW) is None
        assert incident_for(db, service, begins).id == number
    isp.connection.execute("UPDATE notification SET state = 'sent' WHERE incident_id = %s", (number,))
    close(isp, sessions, number, begins + timedelta(hours=1))
    assert tell(isp, sessions, begins + timedelta(hours=1)) == 0


def test_planned_work_that_is_called_off_is_told_to_be(isp, sessions):
    line(isp, "ana", 0)
    number = by_hand(isp, sessions, planned=True, begins=NOW + timedelta(days=2))
    tell(isp, sessions)
    isp.connection.execute("UPDATE notification SET state = 'sent' WHERE incident_id = %s", (number,))
    close(isp, sessions, number, NOW + MINUTE)
    tell(isp, sessions, NOW + MINUTE)
    assert told(isp) == [("incident_planned", "ana"), ("incident_cancelled", "ana")]


def test_an_incident_closes_once_and_keeps_its_cause(isp, sessions):
    number = by_hand(isp, sessions, tell=False)
    close(isp, sessions, number, NOW + MINUTE)
    with pytest.raises(Invalid):
        close(isp, sessions, number, NOW + 2 * MINUTE, "other")
    with sessions() as db:
        found = db.get_one(Incident, number)
        assert (found.cause, found.closed_at, found.closed_by) == ("power cut", NOW + MINUTE, 7)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"title": " "}, {"title"}),
        ({"title": "x" * 201}, {"title"}),
        ({"nas_id": None}, {"nas_id"}),
        ({"nas_id": 999_999_999}, {"nas_id"}),
        ({"scope": "sector", "sector": ""}, {"sector"}),
        ({"scope": "country"}, {"scope"}),
        ({"begins": NOW + timedelta(hours=1)}, {"begins"}),
        ({"begins": NOW - timedelta(days=60)}, {"begins"}),
        ({"planned": True}, {"begins"}),
        ({"planned": True, "begins": NOW + timedelta(days=200)}, {"begins"}),
        ({"expected_until": NOW - MINUTE}, {"expected_until"}),
    ],
)
def test_what_makes_no_sense_is_not_opened(isp, sessions, values, fields):
    with pytest.raises(Invalid) as refused:
        by_hand(isp, sessions, **values)
    assert {problem.field for problem in refused.value.problems} == fields


def test_a_router_of_another_operator_is_unknown(isp, sessions, installation):
    other = Isp.create(installation, address=f"10.{isp.operator_id % 200}.77.7")
    with pytest.raises(Invalid):
        by_hand(isp, sessions, nas_id=other.nas_id)
    other.connection.close()


def test_what_is_said_of_it_can_be_changed(isp, sessions):
    number = by_hand(isp, sessions)
    with sessions() as db:
        incident = db.get_one(Incident, number)
        change_incident(db, Actor(isp.operator_id, "noc", 7), incident, title="Fibre cut", cause="digger", notes="",
                        expected_until=NOW + timedelta(hours=3))  # fmt: skip
        assert (incident.title, incident.cause) == ("Fibre cut", "digger")
        with pytest.raises(Invalid):
            change_incident(db, Actor(isp.operator_id, "noc", 7), incident, title="x", cause="", notes="",
                            expected_until=NOW - MINUTE)  # fmt: skip
