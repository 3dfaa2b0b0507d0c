"""Leaving: nothing of a removed operator remains in any table, and nothing of another one is touched."""

import io
import zipfile
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from crm.jobs import RunningJob, start_job
from crm.leaving import EXPORT, export_everything, exports_of, remove_due, tables_of_operators
from crm.licence_mails import remind_all
from crm.licences import ANNUAL, LicenceTerms, give_licence
from db.audit import Actor, broken_links
from db.migrate import migrate
from db.models import Account, Notification, StoredFile, Subscriber
from db.session import make_engine, make_sessions
from tests.db.test_tenancy import fill
from tests.factories import Isp


@pytest.fixture(scope="module")
def operators(installation, system_dsn) -> tuple[int, int]:
    """Two operators with a row in every table."""
    migrate(installation)
    mine, theirs = (Isp.create(installation, address) for address in ("10.1.0.1", "10.2.0.1"))
    with psycopg.connect(system_dsn) as connection:
        for isp in (mine, theirs):
            fill(connection, isp)
            isp.connection.close()
    return mine.operator_id, theirs.operator_id


@pytest.fixture(scope="module")
def sessions(installation) -> sessionmaker[Session]:
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


def rows_of(dsn: str, operator_id: int) -> dict[str, int]:
    """Return how many rows each table has of an operator, as PostgreSQL's catalogue knows the tables."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT relation.relname FROM pg_class AS relation JOIN pg_attribute AS attribute"
            " ON attribute.attrelid = relation.oid AND attribute.attname = 'operator_id'"
            " WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')"
        ).fetchall()
        found = {}
        for (name,) in names:
            query = sql.SQL("SELECT count(*) FROM {} WHERE operator_id = %s").format(sql.Identifier(name))
            found[name] = connection.execute(query, (operator_id,)).fetchone()[0]
        return {name: count for name, count in found.items() if count}


def test_the_export_holds_every_table_and_the_files_and_no_secret(installation, sessions, operators):
    mine, theirs = operators
    with sessions() as session:
        for operator_id, name in ((mine, "Mía Peña"), (theirs, "Ajena")):
            session.add(Subscriber(operator_id=operator_id, name=name, notes="=HYPERLINK(1)"))
            session.add(
                StoredFile(operator_id=operator_id, name=f"{name}.txt", media_type="text/plain", size=5,
                           sha256="0" * 64, content=b"hello")
            )  # fmt: skip
        session.add(
            Notification(operator_id=mine, kind="staff.link", channel="email", shown_address="x", address=b"x",
                         language="en", subject="s", body="https://portal/welcome/SECRETLINK")
        )  # fmt: skip
        session.execute(text("UPDATE staff SET password_hash = 'SECRETHASH'"))
        job = start_job(session, Actor(mine, "test"), EXPORT, {})
        session.commit()
        engine = session.get_bind()
    outcome = export_everything(RunningJob(engine, installation, job))
    with sessions() as session:
        (kept,) = exports_of(session, mine)
        archive = zipfile.ZipFile(io.BytesIO(kept.content))
        assert exports_of(session, theirs) == []
    assert outcome["file_id"] == kept.id
    names = set(archive.namelist())
    missing = {table.name for table in tables_of_operators()} - {name[7:-4] for name in names if name[:7] == "tables/"}
    everything = b"".join(archive.read(name) for name in names)
    assert missing <= {"rendered_document", "sign_up", "wholesale_statement"} | missing_by_design(missing)
    assert "Mía Peña" in archive.read("tables/subscriber.csv").decode()
    assert ",'=HYPERLINK(1)," in archive.read("tables/subscriber.csv").decode()
    assert any(name.startswith("files/stored_file/") for name in names)
    for secret in (b"SECRETHASH", b"SECRETLINK", b"Ajena"):
        assert secret not in everything


def missing_by_design(missing: set[str]) -> set[str]:
    """Tables that `fill` gives no row, or whose only row is a secret."""
    return missing & {"notification", "tenancy_key"}


def test_an_operator_is_not_removed_before_its_grace_is_over(sessions, operators, system_dsn):
    mine, _theirs = operators
    with sessions() as session:
        session.get_one(Account, mine).removes_at = utc_now() + timedelta(days=1)
        session.commit()
    assert remove_due(sessions, utc_now()) == []
    assert rows_of(system_dsn, mine)


def test_nothing_of_a_removed_operator_remains_and_nothing_of_others_is_touched(sessions, operators, system_dsn):
    mine, theirs = operators
    before, changes = rows_of(system_dsn, theirs), "SELECT count(*) FROM change_log WHERE kind = 'nas'"
    with sessions() as session:
        session.get_one(Account, mine).removes_at = utc_now() - timedelta(seconds=1)
        session.execute(text("DELETE FROM account WHERE parent_id IS NOT NULL"))
        session.commit()
        told = session.scalar(text(changes)) or 0
    assert len(remove_due(sessions, utc_now())) == 1
    assert rows_of(system_dsn, mine) == {}
    assert rows_of(system_dsn, theirs) == before
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM operator WHERE id = :id"), {"id": mine}) == 0
        assert (session.scalar(text(changes)) or 0) > told  # so radiusd forgets its NAS
        assert broken_links(session, theirs) == []
        disabled = session.scalars(text("SELECT tgname FROM pg_trigger WHERE tgenabled = 'D'")).all()
        assert disabled == []
    assert remove_due(sessions, utc_now()) == []


def test_managers_are_reminded_once_of_a_licence_that_ends(installation, sessions, operators):
    _mine, theirs = operators
    now = utc_now()
    with sessions() as session:
        terms = LicenceTerms("ISP 100", 100, ANNUAL, until=now.date() + timedelta(days=7))
        give_licence(session, Actor(theirs, "test"), theirs, terms, now.date())
        keyring = installation.keyring
        told = [
            remind_all(session, keyring, "https://p.example", now + timedelta(days=days)) for days in (0, 0, 1, 6, 9)
        ]
        assert told == [1, 0, 0, 1, 1]
        mails = session.query(Notification).filter_by(operator_id=theirs, kind="licence.reminder").all()
        assert len(mails) == 3
        assert "https://p.example/licence" in mails[0].body
        assert "ended" in mails[-1].subject
        session.rollback()
