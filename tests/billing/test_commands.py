from datetime import date

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from db.models import Operator
from db.session import make_engine
from stack.commands import billing, books
from tests.billing.isp import BillingIsp

BEGIN = date(2026, 1, 5)


@pytest.fixture
def slug(database, monkeypatch):
    """The short name of an operator with a service that was never billed, in an installation the commands find."""
    monkeypatch.setattr(billing, "installed_settings", lambda: database)
    monkeypatch.setattr(books, "installed_settings", lambda: database)
    engine = make_engine(database.database_url.get_secret_value())
    with Session(engine) as session:
        isp = BillingIsp.create(session, starts_on=BEGIN)
        isp.service(BEGIN)
        found = session.get_one(Operator, isp.operator_id).slug
        session.commit()
    engine.dispose()
    return found


def call(command, *arguments):
    return CliRunner().invoke(command, list(arguments))


def test_billing_by_hand_is_done_once(slug):
    first = call(billing.command, "run", slug)
    assert first.exit_code == 0, first.output
    assert "1 services followed" in first.output
    assert call(billing.command, "run", slug).output == "0 invoices issued, 0 services followed.\n"
    preview = call(billing.command, "preview", slug)
    assert preview.output == "Nothing is due.\n"
    later = call(billing.command, "preview", slug, "--day", "2031-01-01")
    assert later.output.splitlines()[-1].endswith(".00")


def test_a_year_is_simulated(slug):
    call(billing.command, "run", slug)
    shown = call(billing.command, "simulate", slug, "--months", "12", "--price", "10")
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert len(lines) == 13
    assert "300" in lines[3]
    assert "330" in lines[3]


def test_an_operator_that_does_not_bill_is_told(slug, database):
    with psycopg.connect(database.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE billing_settings SET enabled = false")
    refused = call(billing.command, "run", slug)
    assert refused.exit_code == 1
    assert "does not bill" in refused.output
    assert "no operator nobody" in call(billing.command, "run", "nobody").output


def test_verifying_finds_what_was_altered(slug, database, servers):
    from stack.installation import SUPERUSER, private_url

    call(billing.command, "run", slug)
    sound = call(books.command, "verify")
    assert (sound.exit_code, sound.output.endswith("entries, sound\n")) == (0, True)
    name = database.database_url.get_secret_value().split("/")[3].split("?")[0]
    with psycopg.connect(private_url(servers.settings, SUPERUSER, name)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE ledger_line SET amount = amount + 1 WHERE account = 'receivable'")
    altered = call(books.command, "verify", "--operator", slug)
    assert altered.exit_code == 1
    assert "entry 1 was altered" in altered.output
    assert "receivable: documents" in altered.output
