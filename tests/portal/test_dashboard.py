from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from db.models import AccountingSession, AuthEvent, EnforcementOrder, NasHeard, Node, Operator, ServiceMac
from tests.portal.conftest import add_service, add_subscriber, make_isp

NOW = datetime.now(UTC)


def add(system, row) -> None:
    with Session(system) as session:
        session.add(row)
        session.commit()


def live_session(isp, service_id: int | None = None, **values) -> AccountingSession:
    return AccountingSession(
        operator_id=isp.operator_id,
        nas_id=isp.nas_id,
        service_id=service_id,
        started_at=NOW - timedelta(hours=1),
        updated_at=NOW,
        acct_session_id="81",
        user_name="ana",
        kind="ppp",
        **values,
    )


def event(isp, outcome: str, minutes_ago: float, reason: str = "", name: str = "ana") -> AuthEvent:
    return AuthEvent(
        operator_id=isp.operator_id,
        nas_id=isp.nas_id,
        at=NOW - timedelta(minutes=minutes_ago),
        user_name=name,
        kind="ppp",
        method="pap",
        outcome=outcome,
        reason=reason,
    )


def figures(page) -> dict[str, str]:
    """The tiles of the dashboard: what they count, and the number."""
    parts = page.text.split('class="portal-figure">')[1:]
    return {part.split('text-secondary">')[1].split("<")[0]: part.split("<")[0] for part in parts}


def test_the_tiles_count_this_operators_network(sign_in, isp, system, installation):
    other = make_isp(system, installation)
    add(system, live_session(other))
    add(system, live_session(isp))
    add(system, live_session(isp, ended_at=NOW))
    for outcome, minutes in (("accept", 5), ("garden", 10), ("reject", 20), ("reject", 90)):
        add(system, event(isp, outcome, minutes))
    order = {"operator_id": isp.operator_id, "nas_id": isp.nas_id, "session_started_at": NOW, "kind": "coa"}
    with Session(system) as session:
        session.execute(insert(EnforcementOrder).values(**order, session_id=1, cause="staff"))
        session.execute(insert(EnforcementOrder).values(**order, session_id=2, cause="staff", state="failed"))
        session.commit()
    page = sign_in("manager").get("/dashboard/")
    assert figures(page) == {
        "online now": "1",
        "accepted in the last hour": "2",
        "rejected in the last hour": "1",
        "orders waiting": "1",
    }
    assert "1 failed in 24 hours" in page.text


def test_the_last_rejects_say_why(sign_in, isp, system):
    add(system, event(isp, "reject", 3, "wrong_password", "beto.diaz"))
    page = sign_in("support").get("/dashboard/now")
    assert "beto.diaz" in page.text
    assert "Wrong password" in page.text


def test_a_nas_that_fell_silent_is_named(sign_in, isp, system):
    add(system, NasHeard(nas_id=isp.nas_id, operator_id=isp.operator_id, last_packet_at=NOW))
    browser = sign_in("manager")
    assert ">silent<" not in browser.get("/dashboard/now").text
    with Session(system) as session:
        session.execute(update(NasHeard).values(last_packet_at=NOW - timedelta(hours=1)))
        session.commit()
    page = browser.get("/dashboard/now").text
    assert "tower-1" in page
    assert ">silent<" in page


def test_the_dashboard_says_when_changes_and_accounting_are_behind(sign_in, system):
    add(system, Node(name="radius-1"))
    browser = sign_in("manager")
    assert "Changes reach radiusd" in browser.get("/dashboard/").text
    with Session(system) as session:
        session.execute(
            update(Node).values(image_updated_at=NOW - timedelta(hours=1), loaded_at=NOW - timedelta(hours=1))
        )
        session.commit()
    page = browser.get("/dashboard/").text
    assert "Changes do not reach radiusd." in page
    assert "Accounting is not being loaded." in page
    assert "changes wait" in page
    for action, hours, words in (
        ("spare", 9, "dates cut nobody"),
        ("refuse", 9, "if it lasts"),
        ("refuse", 1, "too old"),
    ):
        with Session(system) as session:
            session.execute(update(Operator).values(outage_action=action, outage_after=timedelta(hours=hours)))
            session.commit()
        assert words in browser.get("/dashboard/").text
    with Session(system) as session:
        session.execute(update(Node).values(image_updated_at=datetime.now(UTC), loaded_at=datetime.now(UTC)))
        session.commit()
    assert "do not reach" not in browser.get("/dashboard/").text


def test_the_day_is_counted_by_quarters_of_an_hour(sign_in, isp, system):
    for minutes in (40, 45, 50, 55, 200):
        add(system, event(isp, "accept", minutes))
    page = sign_in("manager").get("/dashboard/day").text
    accepted = [int(cell.split('"')[0]) for cell in page.split('data-value="')[2::4]]
    assert sum(accepted) == 5
    assert len(accepted) >= 12  # quarters without a request are there too, as zero


# The search of the whole portal.


@pytest.fixture
def ana(system, isp, installation) -> str:
    number = add_subscriber(system, isp, "Ana Núñez", phone="+52 55 1234 5678", email="ana@example.com")
    service = add_service(system, installation, isp, number, "ana.nunez", framed_ip="10.20.0.15")
    add(system, ServiceMac(service_id=service, operator_id=isp.operator_id, mac="4c:5e:0c:12:34:56"))
    add(
        system,
        live_session(
            isp, service, framed_ip="10.64.0.9", mac="02:00:00:00:00:07", delegated_ipv6_prefix="2001:db8:9::/56"
        ),
    )
    add_service(system, installation, isp, add_subscriber(system, isp, "Beto Díaz"), "beto")
    return f"/subscribers/{number}"


@pytest.mark.parametrize(
    "words",
    [
        "ana nunez",
        "NÚÑEZ",
        "5512345678",
        "ana@example",
        "ana.nu",
        "4C-5E-0C-12-34-56",
        "4c:5e:0c:12:34:56",
        "10.20.0.15",
        "10.64.0.9",
        "02-00-00-00-00-07",
        "0200.0000.0007",
        "2001:db8:9:5::1",
    ],
)
def test_one_field_finds_a_subscriber_by_whatever_is_known(sign_in, ana, words):
    browser = sign_in("support")
    answer = browser.get("/search/", query_string={"q": words})
    assert (answer.status_code, answer.location) == (302, ana)
    suggested = browser.get("/search/suggest", query_string={"q": words}).text
    assert "Ana Núñez" in suggested
    assert "Beto" not in suggested


def test_several_hits_are_shown_and_none_says_what_to_try(sign_in, ana):
    browser = sign_in("support")
    both = browser.get("/search/?q=a").text
    assert "Ana Núñez" in both
    assert "Beto Díaz" in both
    assert "Try a part of the name" in browser.get("/search/?q=nobody").text
