from datetime import date
from decimal import Decimal
from ipaddress import ip_address

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.audit import Actor, broken_links, record
from db.models import AuditEntry
from db.session import make_engine
from tests.factories import Isp


@pytest.fixture(scope="module")
def isp(installation):
    made = Isp.create(installation)
    yield made
    made.connection.close()


@pytest.fixture
def session(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def entries(session, isp) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id)
    return list(session.scalars(query))


def test_only_what_differs_is_kept(session, isp):
    actor = Actor(isp.operator_id, "ana@isp.example", 7, "10.0.0.1")
    before = {"name": "Ana", "price": Decimal("10.50"), "until": date(2027, 1, 31), "ip": ip_address("10.0.0.1")}
    record(session, actor, "thing.change", "thing", 1, before, {**before, "price": Decimal("12.00")})
    session.commit()
    entry = entries(session, isp)[-1]
    assert (entry.before, entry.after) == ({"price": "10.50"}, {"price": "12.00"})
    assert (entry.actor, entry.staff_id, str(entry.address)) == ("ana@isp.example", 7, "10.0.0.1")


def test_a_change_of_nothing_is_not_written(session, isp):
    count = len(entries(session, isp))
    record(session, Actor(isp.operator_id, "x"), "thing.change", "thing", 1, {"name": "A"}, {"name": "A"})
    session.commit()
    assert len(entries(session, isp)) == count


def test_a_value_that_json_cannot_hold_is_an_error_of_the_caller(session, isp):
    with pytest.raises(TypeError, match="bytes"):
        record(session, Actor(isp.operator_id, "x"), "thing.create", "thing", 1, None, {"secret": b"x"})


@pytest.mark.parametrize("dsn", ["system_dsn", "portal_dsn", "owner_dsn"])
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_entry SET actor = 'nobody'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"]
)
def test_nobody_changes_or_removes_entries(request, session, isp, dsn, statement):
    record(session, Actor(isp.operator_id, "x"), "thing.create", "thing", 1, None, {"name": "A"})
    session.commit()
    with (
        psycopg.connect(request.getfixturevalue(dsn)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_chain_shows_which_entry_was_altered_behind_its_back(database):
    isp = Isp.create(database)
    isp.connection.close()
    engine = make_engine(database.owner_database_url.get_secret_value())
    with Session(engine) as session:
        for number in range(5):
            record(session, Actor(isp.operator_id, "ana"), "thing.create", "thing", number, None, {"n": number})
        session.commit()
        assert broken_links(session, isp.operator_id) == []
        third = entries(session, isp)[2].id
        session.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER ALL"))
        session.execute(text("UPDATE audit_entry SET actor = 'nobody' WHERE id = :id"), {"id": third})
        assert broken_links(session, isp.operator_id) == [third]
        session.execute(text("DELETE FROM audit_entry WHERE id = :id"), {"id": third})
        assert len(broken_links(session, isp.operator_id)) == 1
        session.rollback()
    engine.dispose()


def test_entries_of_two_operators_are_two_chains(database):
    first, second = Isp.create(database, None), Isp.create(database, None)
    engine = make_engine(database.database_url.get_secret_value())
    with Session(engine) as session:
        for number in range(3):
            for isp in (first, second):
                record(session, Actor(isp.operator_id, "ana"), "thing.create", "thing", number, None, {"n": number})
                session.flush()
        session.commit()
        assert broken_links(session, first.operator_id) == broken_links(session, second.operator_id) == []
    first.connection.close()
    second.connection.close()
    engine.dispose()
