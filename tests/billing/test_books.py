"""The books cannot be altered by the roles that Portico runs as, and show it when somebody else altered them."""

from datetime import date
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.ledger import Entry, Posting, broken_entries, discrepancies, post
from db.session import make_engine
from tests.billing.isp import BillingIsp

BEGIN = date(2027, 1, 5)


@pytest.fixture(scope="module")
def operator_id(installation):
    """An operator with an invoice, a payment and a credit note, committed."""
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        isp = BillingIsp.create(session, taxes=[("IVA", "16", False)])
        service = isp.service(BEGIN)
        isp.run(BEGIN)
        isp.pay(service.subscriber_id, "100", BEGIN)
        session.commit()
        operator_id = isp.operator_id
    engine.dispose()
    return operator_id


@pytest.mark.parametrize("dsn", ["system_dsn", "portal_dsn"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET reason = 'x'",
        "DELETE FROM ledger_entry",
        "TRUNCATE ledger_entry CASCADE",
        "UPDATE ledger_line SET amount = 1",
        "DELETE FROM ledger_line",
        "INSERT INTO ledger_line (entry_id, position, operator_id, account, amount)"
        " SELECT id, 90, operator_id, 'cash', 5 FROM ledger_entry LIMIT 1",
        "UPDATE invoice SET total = 1, net = 1",
        "UPDATE invoice SET due_on = due_on + 30",
        "DELETE FROM invoice_line",
        "UPDATE invoice_line SET total = 0",
        "INSERT INTO invoice_line (invoice_id, position, operator_id, kind, description, net, tax, total)"
        " SELECT id, 90, operator_id, 'charge', 'x', 0, 0, 0 FROM invoice LIMIT 1",
        "DELETE FROM invoice",
        "TRUNCATE invoice CASCADE",
        "UPDATE payment SET amount = 1000",
        "DELETE FROM payment",
        "DELETE FROM payment_application",
        "UPDATE payment_application SET amount = 1",
    ],
)
def test_what_is_booked_stays_as_it_is(request, installation, operator_id, dsn, statement):
    from db.session import signed_operator, tenancy_key

    with psycopg.connect(request.getfixturevalue(dsn)) as connection:
        signed = signed_operator(tenancy_key(installation.keyring), operator_id)
        connection.execute("SELECT set_config('portico.operator', %s, false)", (signed,))
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation)):
            connection.execute(statement)


@pytest.mark.parametrize(
    "postings",
    [
        pytest.param((Posting("cash", Decimal(5)), Posting("income", Decimal(-4))), id="not balanced"),
        pytest.param((Posting("cash", Decimal(5)),), id="one side only"),
    ],
)
def test_an_entry_that_does_not_balance_is_refused_at_the_commit(installation, operator_id, postings):
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        post(session, operator_id, [Entry("cash", "x", 1, BEGIN, "MXN", postings)])
        with pytest.raises(DBAPIError, match="does not balance"):
            session.commit()
    engine.dispose()


def test_an_entry_without_lines_is_refused_at_the_commit(system_dsn, operator_id):
    with psycopg.connect(system_dsn) as connection:
        connection.execute(
            "INSERT INTO ledger_entry (operator_id, booked_on, kind, source, source_id, currency)"
            " VALUES (%s, '2027-01-05', 'x', 'x', 1, 'MXN')",
            (operator_id,),
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.commit()


_INVOICE = (
    "INSERT INTO invoice (operator_id, subscriber_id, kind, prefix, number, issued_on, due_on, currency, net, tax,"
    " total) SELECT operator_id, id, 'charges', 'X', 9, '2027-01-05', '2027-01-05', 'MXN', 5, 1, 6"
    " FROM subscriber WHERE operator_id = %(operator)s RETURNING id, operator_id"
)
_LINE = "INSERT INTO invoice_line (invoice_id, position, operator_id, kind, description, net, tax, total)"
_TAX = "INSERT INTO invoice_tax (invoice_id, position, operator_id, name, rate, base, amount)"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param("SELECT 1", id="nothing"),
        pytest.param(f"{_LINE} SELECT id, 1, operator_id, 'one_off', 'x', 5, 1, 6 FROM made", id="no tax"),
        pytest.param(f"{_TAX} SELECT id, 1, operator_id, 'IVA', 20, 5, 1 FROM made", id="no line"),
        pytest.param(
            f"lines AS ({_LINE} SELECT id, 1, operator_id, 'one_off', 'x', 4, 1, 5 FROM made)"
            f" {_TAX} SELECT id, 1, operator_id, 'IVA', 20, 5, 1 FROM made",
            id="another sum",
        ),
    ],
)
def test_an_invoice_without_the_lines_and_taxes_of_its_sum_is_refused(system_dsn, operator_id, parts):
    comma = "," if parts.startswith("lines") else ""
    with psycopg.connect(system_dsn) as connection, pytest.raises(psycopg.errors.CheckViolation, match="not its sum"):
        connection.execute(f"WITH made AS ({_INVOICE}){comma} {parts}", {"operator": operator_id})


@pytest.mark.parametrize("late", [_LINE, _TAX])
def test_a_whole_invoice_takes_no_further_line_in_its_own_transaction(system_dsn, operator_id, late):
    line = f"{_LINE} SELECT id, %(position)s, operator_id, 'one_off', 'x', 5, 1, 6 FROM"
    tax = f"{_TAX} SELECT id, %(position)s, operator_id, 'IVA', 20, 5, 1 FROM"
    with psycopg.connect(system_dsn) as connection:
        where = {"operator": operator_id, "position": 1}
        connection.execute(f"WITH made AS ({_INVOICE}), lines AS ({line} made) {tax} made", where)
        again = line if late == _LINE else tax
        with pytest.raises(psycopg.errors.CheckViolation, match="not its sum"):
            connection.execute(f"{again} invoice WHERE prefix = 'X'", {"position": 2})
        connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "WITH made AS (INSERT INTO ledger_entry (operator_id, booked_on, kind, source, source_id, currency)"
            " VALUES (%(operator)s, '2027-01-05', 'x', 'x', 1, 'MXN') RETURNING id)"
            " INSERT INTO ledger_line (entry_id, position, operator_id, account, amount)"
            " SELECT id, 1, %(other)s, 'cash', 5 FROM made",
            id="ledger",
        ),
        pytest.param(
            f"WITH made AS ({_INVOICE}), taxes AS ({_TAX} SELECT id, 1, operator_id, 'IVA', 20, 5, 1 FROM made)"
            f" {_LINE} SELECT id, 1, %(other)s, 'one_off', 'x', 5, 1, 6 FROM made",
            id="invoice",
        ),
        pytest.param(
            f"WITH made AS ({_INVOICE}), lines AS"
            f" ({_LINE} SELECT id, 1, operator_id, 'one_off', 'x', 5, 1, 6 FROM made)"
            f" {_TAX} SELECT id, 1, %(other)s, 'IVA', 20, 5, 1 FROM made",
            id="tax",
        ),
    ],
)
def test_a_line_is_of_the_operator_whose_document_it_is_on(system_dsn, operator_id, statement):
    with psycopg.connect(system_dsn) as connection:
        other = connection.execute("INSERT INTO operator (slug, name) VALUES ('o', 'O') RETURNING id").fetchone()[0]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another operator"):
            connection.execute(statement, {"operator": operator_id, "other": other})
        connection.rollback()


def test_number_and_hash_of_an_entry_are_nobodys_to_choose(system_dsn, operator_id):
    with psycopg.connect(system_dsn) as connection:
        row = connection.execute(
            "INSERT INTO ledger_entry (operator_id, number, hash, booked_on, kind, source, source_id, currency)"
            " VALUES (%s, 77, 'x', '2027-01-05', 'x', 'x', 1, 'MXN') RETURNING number, hash",
            (operator_id,),
        ).fetchone()
        assert row == (None, None)
        connection.rollback()


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        pytest.param("UPDATE ledger_line SET amount = amount * 2 WHERE entry_id = {second}", [2], id="amounts"),
        pytest.param("UPDATE ledger_entry SET booked_on = '2026-01-01' WHERE number = 1", [1], id="a date"),
        pytest.param("UPDATE ledger_line SET account = 'bank' WHERE account = 'cash'", [2], id="an account"),
        pytest.param(
            "DELETE FROM ledger_line WHERE entry_id = {second}; DELETE FROM ledger_entry WHERE number = 2", [2],
            id="an entry removed",
        ),
    ],
)  # fmt: skip
def test_what_a_superuser_altered_is_found(installation, operator_id, servers, tamper, broken):
    from stack.installation import SUPERUSER, private_url

    name = installation.database_url.get_secret_value().split("/")[3].split("?")[0]
    engine = make_engine(private_url(servers.settings, SUPERUSER, name))
    with Session(engine) as session:
        assert broken_entries(session, operator_id) == []
        connection = session.connection().connection
        cursor = connection.cursor()
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SELECT id FROM ledger_entry WHERE operator_id = %s AND number = 2", (operator_id,))
        (second,) = cursor.fetchone()
        cursor.execute(tamper.format(second=second))
        assert broken_entries(session, operator_id)[: len(broken)] == broken
        session.rollback()
    engine.dispose()


def test_an_invoice_that_a_superuser_settled_by_hand_is_found(installation, operator_id, servers):
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        cursor = session.connection().connection.cursor()
        cursor.execute("UPDATE invoice SET paid = total WHERE operator_id = %s", (operator_id,))
        assert {each.what for each in discrepancies(session, operator_id)} == {"receivable", "paid"}
        session.rollback()
    engine.dispose()
