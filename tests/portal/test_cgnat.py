"""Port plans as staff see them, and the lookup of a public address and port through them."""

from datetime import timedelta
from ipaddress import ip_address
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.who_had import who_had
from db.models import AuditEntry, CgnatPlan
from db.session import Tenancy, make_engine, tenancy_key
from portal.staff.addresses import parse_address
from tests.portal.conftest import add_service, add_subscriber, post
from tests.rows import add_session

MEXICO = ZoneInfo("America/Mexico_City")
FORM = {
    "name": "Valle",
    "private": "100.64.0.0/26",
    "public_first": "203.0.113.10",
    "public_last": "203.0.113.11",
    "ports": "2000",
    "first_port": "1024",
    "last_port": "65535",
}


@pytest.fixture
def hour(system, isp, installation):
    """Ana had 100.64.0.33 from 10:00 to 10:40, then Beto, whose session fell silent at 10:55. Returns 10:00."""
    ten = utc_now().replace(microsecond=0) - timedelta(days=3)
    people = {}
    for name in ("Ana", "Beto"):
        subscriber = add_subscriber(system, isp, name)
        people[name] = add_service(system, installation, isp, subscriber, name.lower())
    usual = {"nas_id": isp.nas_id, "framed_ip": ip_address("100.64.0.33")}
    with Session(system) as session:
        first, second = ten + timedelta(minutes=40), ten + timedelta(minutes=55)
        add_session(
            session, isp.operator_id, people["Ana"], "a1", user_name="ana", started_at=ten, updated_at=first,
            ended_at=first, ended_by="stop", **usual,
        )  # fmt: skip
        add_session(
            session, isp.operator_id, people["Beto"], "b1", user_name="beto", started_at=first + timedelta(seconds=30),
            updated_at=second, ended_at=second, ended_by="stale", **usual,
        )  # fmt: skip
        session.commit()
    return ten


def ask(browser, address, at, **fields):
    typed = at.astimezone(MEXICO).strftime("%Y-%m-%dT%H:%M:%S")
    return post(
        browser, "/addresses/", **{"address": address, "at": typed, "margin": "0", "reason": "file 7", **fields}
    )


@pytest.mark.parametrize(
    ("minute", "margin", "seen"),
    [
        (20, "0", {"Ana": "certain"}),
        (39.5, "60", {"Ana": "certain", "Beto": "only within the margin"}),
        (40.25, "0", {}),
        (40.25, "60", {"Ana": "only within the margin", "Beto": "only within the margin"}),
        (50, "0", {"Beto": "certain"}),
        (58, "0", {"Beto": "likely, last heard shortly before"}),
        (120, "0", {}),
    ],
)
def test_how_sure_an_answer_is_is_said(sign_in, hour, minute, margin, seen):
    page = ask(sign_in("manager"), "100.64.0.33", hour + timedelta(minutes=minute), margin=margin).text
    rows = page.split("<tbody>")[1].split("</tr>") if seen else []
    assert {name: words for row in rows for name in ("Ana", "Beto") for words in seen.values()
            if name in row and words in row} == seen  # fmt: skip
    assert ("Nobody had" in page) == (not seen)


def make_plan(system, isp, hour, **values):
    with Session(system) as session:
        plan = CgnatPlan(
            **{
                "operator_id": isp.operator_id, "name": "Valle", "private": "100.64.0.0/26",
                "public_first": "203.0.113.10", "public_last": "203.0.113.11", "ports": 2000, "author": "a",
                "valid_from": hour - timedelta(days=9), **values,
            }
        )  # fmt: skip
        session.add(plan)
        session.commit()
        return plan.id


@pytest.mark.parametrize("asked", [{"address": "203.0.113.11:3100"}, {"address": "203.0.113.11", "port": "3100"}])
def test_a_public_address_and_port_lead_through_the_plan_of_that_time(sign_in, system, isp, hour, asked):
    make_plan(system, isp, hour, valid_until=hour + timedelta(minutes=30))
    make_plan(system, isp, hour, ports=1000, valid_from=hour + timedelta(minutes=30))
    browser = sign_in("manager")
    page = ask(browser, at=hour + timedelta(minutes=20), **asked).text
    assert "203.0.113.11:3100 was 100.64.0.33 inside" in page
    assert "Ana" in page
    later = ask(browser, at=hour + timedelta(minutes=35), **asked).text  # 1,000 ports each: another's by then
    assert "203.0.113.11:3100 was 100.64.0.42 inside" not in later
    assert "Ana" not in later


def test_without_the_port_it_says_how_many_it_may_have_been(sign_in, system, isp, hour):
    make_plan(system, isp, hour)
    page = ask(sign_in("manager"), "203.0.113.11", hour).text
    assert "32 private addresses came out of this one" in page
    assert "Ana" not in page


def test_a_private_address_is_told_with_what_the_internet_saw(sign_in, system, isp, hour):
    make_plan(system, isp, hour)
    page = ask(sign_in("manager"), "100.64.0.33", hour + timedelta(minutes=20)).text
    assert "From outside it was 203.0.113.11 with the ports 3024 to 5023" in page


def test_a_lookup_needs_a_reason_and_is_kept_with_its_answer(sign_in, system, isp, hour):
    browser = sign_in("manager")
    refused = ask(browser, "100.64.0.33", hour, reason=" ")
    assert (refused.status_code, "Say why you ask" in refused.text) == (422, True)
    paper = ask(browser, "100.64.0.33", hour + timedelta(minutes=20), format="pdf", margin="60")
    assert (paper.mimetype, paper.data[:5]) == ("application/pdf", b"%PDF-")
    query = select(AuditEntry.after).where(
        AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "address.lookup"
    )
    with Session(system) as session:
        (kept,) = session.scalars(query)
    assert (kept["reason"], kept["margin"], kept["paper"]) == ("file 7", 60, True)
    assert [each["certainty"] for each in kept["found"]] == ["certain"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"address": "203.0.113.11:70000"}, "A port is a number"),
        ({"address": "203.0.113.11", "port": "x"}, "A port is a number"),
        ({"address": "2001:db8::1", "port": "80"}, "A port is a number"),
        ({"address": "10.0.0.0/8"}, "neither an IPv4 address"),
    ],
)
def test_what_cannot_be_asked_is_refused_beside_its_field(sign_in, isp, hour, fields, said):
    refused = ask(sign_in("manager"), at=hour, **fields)
    assert (refused.status_code, said in refused.text) == (422, True)


@pytest.mark.parametrize("at", ["9999-12-31T23:59", "0001-01-01T00:00", "yesterday"])
def test_an_instant_beside_the_calendar_is_refused_beside_its_field(sign_in, isp, at):
    fields = {"address": "10.8.0.77", "at": at, "margin": "3600", "reason": "file 7"}
    refused = post(sign_in("manager"), "/addresses/", **fields)
    assert (refused.status_code, "Enter a date and a time." in refused.text) == (422, True)


@pytest.mark.parametrize("asked", ["10.8.0.77", "2001:db8:8:4d00::1"])
def test_no_lookup_reads_a_whole_table(system, isp, installation, asked):
    with system.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO session (operator_id, nas_id, acct_session_id, user_name, kind, framed_ip,"
            " delegated_ipv6_prefix, started_at, updated_at, ended_at, ended_by)"
            f" SELECT {isp.operator_id}, {isp.nas_id}, 's' || n, 'u', 'ppp', '10.8.0.0'::inet + mod(n, 9000),"
            " ('2001:db8:8:' || to_hex(mod(n, 250) * 256) || '::/56')::cidr, now() - interval '2 days', now() -"
            " interval '1 day', now() - interval '1 day', 'stop' FROM generate_series(1, 20000) n"
        )
        connection.commit()
        connection.exec_driver_sql("ANALYZE session")
        connection.commit()
    engine = make_engine(installation.portal_database_url.get_secret_value())
    asked_for = []
    with Tenancy(engine, tenancy_key(installation.keyring)).session(isp.operator_id) as session:
        session.connection()
        event.listen(engine, "before_cursor_execute", lambda *call: asked_for.append(call[2:4]))
        assert who_had(session, isp.operator_id, parse_address(asked), utc_now() - timedelta(days=1, hours=1))
        (statement, parameters) = asked_for[0]
        plan = "\n".join(session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
    engine.dispose()
    assert "Index" in plan
    assert "Seq Scan on session" not in plan, plan


def test_a_plan_is_worked_out_before_it_is_saved_and_changed_by_versions(sign_in, system, isp):
    browser = sign_in("technical")
    shown = post(browser, "/cgnat/new", **FORM)
    assert "What it comes to" in shown.text
    assert "132" in shown.text  # rules
    made = post(browser, "/cgnat/new", **FORM, save="1")
    address = made.headers["Location"]
    assert "203.0.113.10-203.0.113.11" in browser.get(address).text
    refused = post(browser, "/cgnat/new", **{**FORM, "ports": "4000"}, save="1")
    assert "32 blocks of so many ports, and 64 private addresses" in refused.text.replace("\n", " ")
    changed = post(browser, f"{address}/edit", **{**FORM, "ports": "1500"}, save="1").headers["Location"]
    assert changed != address
    assert "To the version after it" in browser.get(address).text
    assert browser.get(f"{address}/edit").status_code == 404
    text = browser.get(f"{changed}/script").text
    assert "to-addresses=203.0.113.10 to-ports=1024-2523" in text
    post(browser, f"{changed}/end")
    assert "This held until" in browser.get(changed).text
    assert sign_in("support").get("/cgnat/new").status_code == 403


def test_the_job_is_started_for_a_router_of_the_operator_alone(sign_in, isp):
    browser = sign_in("technical")
    address = post(browser, "/cgnat/new", **FORM, save="1").headers["Location"]
    assert post(browser, f"{address}/write", nas_id=isp.nas_id).headers["Location"].startswith("/jobs/")
    assert post(browser, f"{address}/write", nas_id=99_999).status_code == 404
