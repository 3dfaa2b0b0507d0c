import tomllib
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from argon2 import PasswordHasher
from sqlalchemy.orm import Session

from billing.ledger import broken_entries, discrepancies
from core.clock import utc_now
from core.settings import Settings
from crm.webhooks import new_secret
from db.models import ROLES
from db.session import make_engine
from lab.gateways import Providers
from lab.scenario import read_scenario
from stack.demo import Demo, seed
from stack.demo_people import LINES, STRANGERS
from stack.explanation import explanation_text
from worker.webhooks import Claimed, send


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture(scope="module")
def demo(installation: Settings) -> Demo:
    return seed(installation)


def test_there_is_a_login_for_each_role_and_it_signs_in(installation, demo, system_dsn):
    assert set(demo.logins) == set(ROLES)
    with psycopg.connect(system_dsn) as connection:
        for email, password in demo.logins.values():
            (stored,) = connection.execute("SELECT password_hash FROM staff_login(%s)", (email,)).fetchone()
            assert PasswordHasher().verify(stored, password)


def test_what_is_kept_can_be_read_by_its_owner_alone(installation, demo):
    for name in ("demo.toml", "lab.toml"):
        assert ((installation.data_dir / name).stat().st_mode & 0o777) == 0o600


def test_a_second_start_changes_nothing(installation, demo, system_dsn):
    def counts() -> list[int]:
        with psycopg.connect(system_dsn) as connection:
            return [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("operator", "staff", "nas", "rate_plan", "subscriber", "service", "audit_entry")
            ]

    before, lab = counts(), (installation.data_dir / "lab.toml").read_text()
    assert seed(installation) == demo
    assert counts() == before
    assert (installation.data_dir / "lab.toml").read_text() == lab


def test_a_lost_file_of_logins_is_made_anew_and_works(installation, demo, system_dsn):
    (installation.data_dir / "demo.toml").unlink()
    email, password = seed(installation).logins["manager"]
    assert password != demo.logins["manager"][1]
    with psycopg.connect(system_dsn) as connection:
        (stored,) = connection.execute("SELECT password_hash FROM staff_login(%s)", (email,)).fetchone()
    assert PasswordHasher().verify(stored, password)


def test_the_lab_reads_its_file_and_everybody_has_the_password_of_the_database(installation, demo):
    path = installation.data_dir / "lab.toml"
    scenario = read_scenario(path, {"address": "127.0.0.1", "auth_port": 1, "acct_port": 2})
    in_service = [line for line in LINES if line.state != "terminated"]
    assert len(scenario.subscribers) == len(in_service) + len(STRANGERS)
    written = tomllib.loads(path.read_text())
    assert {nas["coa_port"] for nas in written["nas"]} == {installation.lab_coa_port}


def test_the_lab_knows_the_api_password_of_each_nas_and_one_router_is_left_to_add(installation, demo, system_dsn):
    scenario = read_scenario(installation.data_dir / "lab.toml", {"address": "127.0.0.1"})
    with psycopg.connect(system_dsn) as connection:
        registered = connection.execute(
            "SELECT nas.name, api_user, api_password, api_port FROM router JOIN nas ON nas.id = nas_id"
        ).fetchall()
    known = {
        name: (port, {user: installation.keyring.open("router.password", bytes(sealed))})
        for name, user, sealed, port in registered
    }
    described = {name: (profile.api_port, dict(profile.users)) for name, profile in scenario.routers.items()}
    port, users = described.pop("Torre Vieja")
    assert described == known
    assert f":{port}  admin  {users['admin']}" in demo.new_router
    assert not scenario.routers["Torre Vieja"].asks_radius


def test_the_command_line_explains_in_both_languages(installation, demo):
    english = explanation_text(installation, "demo", "jp.itza", "en")
    assert "jp.itza: Would be let into the walled garden only" in english
    assert "✗ Suspended since" in english
    assert "payment overdue (two months unpaid)" in english
    assert "✓ Registered: Juan Pablo Itzá Canul" in english
    accepted = explanation_text(installation, "demo", "4C-5E-0C-1A-2B-01", "en")
    assert "4c:5e:0c:1a:2b:01: Would be accepted with ↓ 20 Mbit/s ↑ 6 Mbit/s" in accepted


def test_what_a_line_used_in_its_hours_is_what_is_counted_of_its_period(installation, demo, system_dsn):
    with psycopg.connect(system_dsn) as connection:
        rows = connection.execute(
            "SELECT u.octets_in + u.octets_out, sum(h.octets_in + h.octets_out), count(*) FROM usage_period u"
            " JOIN usage_hour h ON h.service_id = u.service_id AND h.hour >= u.period_start GROUP BY u.service_id, 1"
        ).fetchall()
        days = connection.execute(
            "SELECT max(n) FROM (SELECT count(DISTINCT date(hour)) n FROM usage_hour GROUP BY service_id) d"
        ).fetchone()[0]
    assert days >= 31
    assert [abs(counted - used) <= hours for counted, used, hours in rows] == [True] * 3, rows


def test_the_demo_has_books_that_balance_and_somebody_who_owes(installation, demo, system_dsn):
    with psycopg.connect(system_dsn) as connection:
        operator_id = connection.execute("SELECT id FROM operator WHERE slug = 'demo'").fetchone()[0]
        owing = connection.execute(
            "SELECT DISTINCT s.name FROM invoice i JOIN service s ON s.id = i.service_id"
            " WHERE i.operator_id = %s AND i.open > 0 AND i.due_on < current_date", (operator_id,)
        ).fetchall()  # fmt: skip
        lost = connection.execute(
            "SELECT name FROM service WHERE operator_id = %s AND state = 'active' AND management = 'automatic'"
            " AND paid_until < current_date - 2", (operator_id,)
        ).fetchall()  # fmt: skip
        payments = connection.execute(
            "SELECT count(*), count(DISTINCT method_id), count(collector_id) FROM payment WHERE operator_id = %s",
            (operator_id,),
        ).fetchone()
    assert {"jp.itza", "arturo.benitez"} <= {name for (name,) in owing}
    assert lost == []  # nobody is cut by the demo's own books
    assert payments[0] >= 14
    assert payments[1:] == (4, 2)
    engine = make_engine(system_dsn)
    with Session(engine) as session:
        assert (broken_entries(session, operator_id), discrepancies(session, operator_id)) == ([], [])
    engine.dispose()


def test_of_the_demos_programs_one_takes_what_it_is_told_and_one_is_out_of_order(installation, demo, system_dsn):
    with psycopg.connect(system_dsn) as connection:
        urls = [url for (url,) in connection.execute("SELECT url FROM webhook_endpoint ORDER BY id")]
        waiting = connection.execute("SELECT count(*) FROM webhook_delivery").fetchone()[0]
    told = [Claimed(1, 1, 1, url, "msg_1", b"{}", (new_secret(),), 0) for url in urls]
    with Providers({}, port=installation.lab_gateway_port):
        answers = [send(installation, each, utc_now()).status for each in told]
    assert (answers, waiting) == ([204, 500], 2)
    elsewhere = replace(told[0], url=urls[0].replace("/hooks/", "/stripe/"))
    assert send(installation, elsewhere, utc_now()).error == "not https"
