"""Alerts and incidents: opened, told of once in the reader's language, and closed."""

from datetime import timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core.clock import utc_now
from network.monitoring.alerts import GATHER, evaluate, follow_incidents, open_incident, propose_incident
from network.monitoring.losses import Losses

MINUTE = timedelta(minutes=1)


def state(isp, nas_id, status, since, cause="", **facts):
    isp.connection.execute(
        "INSERT INTO router_state (nas_id, operator_id, status, status_since, cause, facts)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (nas_id) DO UPDATE SET status = excluded.status,"
        " status_since = excluded.status_since, cause = excluded.cause, facts = excluded.facts",
        (nas_id, isp.operator_id, status, since, cause, Jsonb(facts)),
    )


def evaluated(sessions, isp, now):
    with sessions() as session:
        evaluate(session, isp.settings.keyring, now)
        session.commit()


def alerts(isp):
    return isp.fetch("SELECT kind, told, closed_at IS NOT NULL, incident_id IS NOT NULL FROM alert ORDER BY id")


@pytest.fixture
def now():
    return utc_now()


def test_a_router_that_is_down_is_told_of_once_and_so_is_its_return(isp, sessions, now):
    nas = isp.router(None)
    isp.recipient(["router_down"])
    isp.recipient(["router_down"], language="en", address="boss@isp.example")
    isp.recipient(["wan_congested"], address="uplink@isp.example")
    state(isp, nas, "offline", now - MINUTE, "timeout")
    evaluated(sessions, isp, now)
    assert isp.subjects() == []  # others may have fallen with it
    for minutes in (1, 2, 3):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert sorted(isp.subjects()) == ["Torre 2 is offline", "Torre 2 no responde"]
    state(isp, nas, "online", now + 4 * MINUTE)
    for minutes in (4, 5):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert sorted(isp.subjects()[2:]) == ["Torre 2 is online again", "Torre 2 responde de nuevo"]
    assert alerts(isp) == [("router_down", True, True, False)]


def test_what_is_said_has_the_cause_and_the_operators_time(isp, sessions, now):
    nas = isp.router(None)
    isp.recipient(["router_down"], language="en")
    begun = now.replace(year=2027, month=1, day=15, hour=20, minute=2, second=0)
    state(isp, nas, "offline", begun, "password")
    evaluated(sessions, isp, begun + MINUTE)
    evaluated(sessions, isp, begun + MINUTE + GATHER)
    [(body,)] = isp.fetch("SELECT body FROM notification")
    assert "Torre 2 has not answered since Jan 15, 2027, 2:02:00 PM." in body
    assert "Likely cause: Wrong user name or password." in body


def test_one_that_is_back_before_anybody_was_told_is_not_told_of_at_all(isp, sessions, now):
    nas = isp.router(None)
    isp.recipient(["router_down"])
    state(isp, nas, "offline", now, "timeout")
    evaluated(sessions, isp, now)
    state(isp, nas, "online", now + MINUTE / 2)
    evaluated(sessions, isp, now + MINUTE / 2)
    assert (isp.subjects(), alerts(isp)) == ([], [("router_down", False, True, False)])


def test_one_that_comes_and_goes_is_told_of_only_when_it_stays_down(isp, sessions, now):
    nas = isp.router(None)
    isp.recipient(["router_down"])
    state(isp, nas, "offline", now, "timeout", times_down=3)
    for minutes in (1, 5, 10):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert isp.subjects() == []
    for minutes in (15, 17):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert len(isp.subjects()) == 1


def test_routers_that_fall_together_are_one_incident_and_no_alarms(isp, sessions, now):
    routers = [isp.router(None) for _ in range(6)]
    isp.recipient(["router_down", "incident"], language="en")
    for nas in routers[:4]:
        state(isp, nas, "offline", now, "timeout")
    for nas in routers[4:]:
        state(isp, nas, "online", now)
    for seconds in (0, 15, 60, 120, 300):
        evaluated(sessions, isp, now + timedelta(seconds=seconds))
    assert isp.subjects() == ["4 of 6 routers are offline"]
    assert {alert[3] for alert in alerts(isp)} == {True}
    for nas in routers[:4]:
        state(isp, nas, "online", now + 6 * MINUTE)
    for minutes in (6, 7):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert isp.subjects()[1:] == ["The routers are online again"]


def wan(isp, nas, now, share):
    for minutes in range(10):
        isp.connection.execute(
            "INSERT INTO router_sample (nas_id, operator_id, at, polls, answered, wan_download, wan_upload)"
            " VALUES (%s, %s, %s, 1, 1, %s, 1000)"
            " ON CONFLICT (nas_id, at) DO UPDATE SET wan_download = excluded.wan_download",
            (nas, isp.operator_id, now - minutes * MINUTE, share * 100e6),
        )


def test_a_wan_is_told_of_when_it_stays_nearly_full_and_not_between_the_two_levels(isp, sessions, now):
    nas = isp.router(None, wan_download=100_000_000, wan_upload=50_000_000)
    isp.recipient(["wan_congested"], language="en")
    state(isp, nas, "online", now)
    for share, count in ((0.84, 0), (0.9, 1), (0.8, 1), (0.9, 1), (0.5, 2), (0.84, 2)):
        wan(isp, nas, now, share)
        evaluated(sessions, isp, now)
        evaluated(sessions, isp, now)
        assert len(isp.subjects()) == count, share
    assert isp.subjects() == ["The WAN of Torre 2 is nearly full", "The WAN of Torre 2 has room again"]


def test_a_short_burst_is_no_congestion(isp, sessions, now):
    nas = isp.router(None, wan_download=100_000_000, wan_upload=50_000_000)
    state(isp, nas, "online", now)
    isp.connection.execute(
        "INSERT INTO router_sample (nas_id, operator_id, at, polls, answered, wan_download, wan_upload)"
        " VALUES (%s, %s, %s, 1, 1, 99e6, 1)", (nas, isp.operator_id, now),
    )  # fmt: skip
    evaluated(sessions, isp, now)
    assert alerts(isp) == []


def test_a_router_that_answers_and_sends_no_radius_is_told_of(isp, sessions, now):
    nas, idle = isp.router(None), isp.router(None)
    isp.recipient(["radius_silent"], language="en")
    for number, users in ((nas, 40), (idle, 0)):
        state(isp, number, "online", now - timedelta(days=1), authenticated=users)
        isp.insert("nas_heard", "nas_id", operator_id=isp.operator_id, nas_id=number, last_packet_at=now - 20 * MINUTE)
    evaluated(sessions, isp, now)
    assert isp.subjects() == ["No RADIUS from Torre 2"]
    isp.connection.execute("UPDATE nas_heard SET last_packet_at = %s", (now,))
    evaluated(sessions, isp, now)
    assert isp.subjects()[1:] == ["RADIUS from Torre 2 is heard again"]


# Outages, from the rows of sessions.


def session_rows(isp, nas, sector, count, begin):
    for number in range(count):
        isp.insert(
            "session", operator_id=isp.operator_id, nas_id=nas, acct_session_id=f"{sector}{number}",
            user_name=f"{sector}-{number}", nas_port_id=sector, kind="ppp", started_at=begin, updated_at=begin,
        )  # fmt: skip


def end(isp, sector, now, count=1000, cause="Lost-Carrier"):
    isp.connection.execute(
        "UPDATE session SET ended_at = %s, ended_by = 'stop', terminate_cause = %s WHERE id IN ("
        "SELECT id FROM session WHERE nas_port_id = %s AND ended_at IS NULL ORDER BY id LIMIT %s)",
        (now, cause, sector, count),
    )


@pytest.fixture
def looking(isp, sessions):
    """A function that looks for losses once and follows the incidents, as the monitor does."""
    losses = Losses()

    def look(now):
        with psycopg.connect(isp.settings.database_url.get_secret_value(), autocommit=True) as connection:
            outages = losses.look(connection, now)
        with sessions() as session:
            for outage in outages:
                open_incident(session, isp.settings.keyring, outage, now)
            for gathering in losses.gatherings:
                propose_incident(session, gathering, now)
            follow_incidents(session, isp.settings.keyring, now)
            session.commit()

    return look


def incidents(isp):
    return isp.fetch("SELECT scope, sector, before, lost, closed_at IS NOT NULL FROM incident ORDER BY id")


@pytest.mark.fault
def test_a_hundred_sessions_that_end_together_are_one_incident_with_one_message(isp, sessions, looking, now):
    nas = isp.router(None)
    isp.recipient(["incident", "router_down"], language="en")
    session_rows(isp, nas, "ether2", 100, now - timedelta(hours=1))
    looking(now)
    end(isp, "ether2", now, 60)
    looking(now + timedelta(seconds=15))
    end(isp, "ether2", now + timedelta(seconds=20))
    looking(now + timedelta(seconds=30))
    looking(now + timedelta(seconds=45))
    assert incidents(isp) == [("router", "", 100, 100, False)]
    assert isp.subjects() == ["60 subscribers of Torre 2 lost their connection"]
    state(isp, nas, "offline", now, "timeout")
    for minutes in (1, 3):
        evaluated(sessions, isp, now + minutes * MINUTE)
    assert len(isp.subjects()) == 1
    assert alerts(isp) == [("router_down", False, False, True)]


@pytest.mark.fault
def test_a_sector_that_dies_is_its_own_incident_and_closes_when_its_people_are_back(isp, looking, now):
    nas = isp.router(None)
    isp.recipient(["incident"], language="es")
    for sector in ("ether2", "ether3"):
        session_rows(isp, nas, sector, 20, now - timedelta(hours=1))
    looking(now)
    end(isp, "ether3", now)
    looking(now + timedelta(seconds=15))
    assert incidents(isp) == [("sector", "ether3", 20, 20, False)]
    session_rows(isp, nas, "ether3", 15, now + MINUTE)
    looking(now + MINUTE)
    assert incidents(isp)[0][4] is False
    isp.connection.execute("UPDATE session SET acct_session_id = 'x' || id WHERE ended_at IS NULL")
    session_rows(isp, nas, "ether3", 17, now + 2 * MINUTE)
    looking(now + 2 * MINUTE)
    assert incidents(isp)[0][4] is True
    assert isp.fetch("SELECT count(*) FROM incident_member WHERE back_at IS NOT NULL") == [(17,)]
    assert isp.subjects() == [
        "20 clientes de Torre 2 (ether3) perdieron la conexión",
        "Los clientes de Torre 2 (ether3) están de vuelta",
    ]


def test_people_who_hang_up_are_no_outage(isp, looking, now):
    nas = isp.router(None)
    session_rows(isp, nas, "ether2", 30, now - timedelta(hours=1))
    looking(now)
    end(isp, "ether2", now, cause="User-Request")
    looking(now + timedelta(seconds=15))
    assert incidents(isp) == []


def test_the_first_look_after_a_start_finds_no_outage(isp, looking, now):
    nas = isp.router(None)
    session_rows(isp, nas, "ether2", 30, now - timedelta(hours=1))
    end(isp, "ether2", now)
    looking(now)
    assert incidents(isp) == []


def tower(isp, nas, lines):
    """A tower with two sectors and so many subscribers at each; all hang on one bridge of the router."""
    site = isp.insert("site", operator_id=isp.operator_id, name="Torre Norte", latitude="20.9", longitude="-89.6")
    for sector, count in lines.items():
        sector_id = isp.insert("sector", operator_id=isp.operator_id, site_id=site, name=sector, nas_id=nas)
        for number in range(count):
            person = isp.insert("subscriber", operator_id=isp.operator_id, name=f"{sector} {number}")
            isp.insert(
                "service", operator_id=isp.operator_id, subscriber_id=person, plan_id=isp.plan_id, sector_id=sector_id,
                access_method="mac", name=f"aa:bb:cc:00:{len(sector):02x}:{number:02x}",
            )  # fmt: skip


def on_line(isp, nas, begin, only=None):
    """Put the tower's services on line that are not."""
    rows = isp.fetch(
        "SELECT service.id, sector.name FROM service JOIN sector ON sector.id = service.sector_id WHERE NOT EXISTS"
        " (SELECT FROM session WHERE service_id = service.id AND ended_at IS NULL) ORDER BY service.id"
    )
    for service, sector in rows:
        if only in (None, sector):
            isp.insert(
                "session", operator_id=isp.operator_id, nas_id=nas, acct_session_id=f"{service}-{begin:%H%M%S}",
                user_name=f"{sector}-{service}", nas_port_id="bridge", kind="dhcp", service_id=service,
                started_at=begin, updated_at=begin,
            )  # fmt: skip


def lose(isp, sector, count, at, apart=60):
    rows = isp.fetch(
        "SELECT session.id FROM session JOIN service ON service.id = service_id JOIN sector ON sector.id = sector_id"
        f" WHERE sector.name = '{sector}' AND ended_at IS NULL ORDER BY session.id LIMIT {count}"
    )
    for place, (session_id,) in enumerate(rows):
        isp.connection.execute(
            "UPDATE session SET ended_at = %s, ended_by = 'stop', terminate_cause = 'Lost-Carrier' WHERE id = %s",
            (at + timedelta(seconds=place * apart), session_id),
        )


def proposals(isp):
    return isp.fetch(
        "SELECT scope, sector_id IS NOT NULL, proposed, before, lost, closed_at IS NOT NULL FROM incident ORDER BY id"
    )


@pytest.mark.fault
def test_a_sector_that_loses_one_after_the_other_is_proposed_once_and_goes_when_they_are_back(isp, looking, now):
    nas = isp.router(None)
    isp.recipient(["incident"])
    tower(isp, nas, {"Norte": 4, "Sur": 30})
    on_line(isp, nas, now - timedelta(hours=1))
    looking(now)
    lose(isp, "Norte", 2, now)
    looking(now + 2 * MINUTE)
    assert proposals(isp) == []
    lose(isp, "Norte", 1, now + 2 * MINUTE)
    for minutes in (3, 4):
        looking(now + minutes * MINUTE)
    assert proposals(isp) == [("sector", True, True, 4, 3, False)]
    lose(isp, "Norte", 1, now + 4 * MINUTE)
    looking(now + 5 * MINUTE)
    assert proposals(isp) == [("sector", True, True, 4, 4, False)]
    on_line(isp, nas, now + 6 * MINUTE)
    looking(now + 7 * MINUTE)
    assert proposals(isp) == [("sector", True, True, 4, 4, True)]
    looking(now + 8 * MINUTE)
    assert len(proposals(isp)) == 1
    assert isp.subjects() == []  # nobody had said that it was one


@pytest.mark.fault
def test_two_sectors_of_a_tower_are_one_proposal_and_what_is_denied_does_not_come_back(isp, looking, now):
    nas = isp.router(None)
    tower(isp, nas, {"Norte": 4, "Sur": 4})
    on_line(isp, nas, now - timedelta(hours=1))
    looking(now)
    lose(isp, "Norte", 3, now, apart=70)
    looking(now + 3 * MINUTE)
    assert proposals(isp) == [("sector", True, True, 4, 3, False)]
    lose(isp, "Sur", 3, now + MINUTE, apart=70)
    looking(now + 4 * MINUTE)
    assert [row[:3] for row in proposals(isp)] == [("site", False, True)]
    isp.connection.execute("UPDATE incident SET closed_at = %s", (now + 4 * MINUTE,))
    looking(now + 5 * MINUTE)
    assert len(proposals(isp)) == 1


@pytest.mark.fault
def test_a_guess_that_becomes_certain_is_one_incident_and_keeps_its_tickets(isp, looking, now):
    nas = isp.router(None)
    isp.recipient(["incident"], language="en")
    tower(isp, nas, {"Norte": 12})
    on_line(isp, nas, now - timedelta(hours=1))
    looking(now)
    lose(isp, "Norte", 6, now, apart=50)
    looking(now + 5 * MINUTE)
    [(guess,)] = isp.fetch("SELECT id FROM incident WHERE proposed")
    isp.insert("ticket", operator_id=isp.operator_id, number=1, source="staff", subject="S", queue="support",
               priority="normal", key="k", created_at=now, updated_at=now,
               incident_id=guess)  # fmt: skip
    lose(isp, "Norte", 6, now + 5 * MINUTE, apart=1)
    looking(now + 5.5 * MINUTE)
    assert [(row[0], row[2]) for row in proposals(isp)] == [("router", False)]
    assert isp.fetch("SELECT count(*) FROM ticket JOIN incident ON incident.id = incident_id") == [(1,)]
    assert len(isp.subjects()) == 1
