"""Deleting what was kept long enough: by partition and batch, beside writers, killed half-way, and by two at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from crm.problems import Invalid
from crm.retention import KINDS, begin_run, drop_partitions, hold, lift, preview, rules_of, set_rules
from db.audit import Actor
from db.models import AuditEntry, RetentionRun, Subscriber
from db.partitions import _create
from db.session import make_engine, make_sessions
from tests.factories import Isp
from worker.retention import due_kinds, enforce

NIGHT = datetime(2026, 11, 22, 3, tzinfo=UTC)
OLD = datetime(2024, 3, 10, 12, tzinfo=UTC)
"""Of sessions in a month of their own, made by the fixture."""


@pytest.fixture(scope="module")
def engine(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def owner(installation):
    owner = make_engine(installation.owner_database_url.get_secret_value())
    yield owner
    owner.dispose()


@pytest.fixture
def march(owner):
    """The partition of March 2024, empty."""
    with owner.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS session_2024_03"))
        connection.execute(text("DELETE FROM session_default"))
        connection.execute(text("DELETE FROM retention_run"))
        connection.execute(text("DELETE FROM retention_rule"))
        _create(connection, "session", "session_2024_03", date(2024, 3, 1), date(2024, 4, 1))
    return "session_2024_03"


@pytest.fixture
def isp(installation, engine, march):
    isp = Isp.create(installation, None)
    with Session(engine) as session:
        set_rules(session, Actor(isp.operator_id, "test"), {"sessions": 365})
        session.commit()
    yield isp
    isp.connection.close()


def sessions_of(isp, count, started=OLD, ended=OLD, service_id=None):
    isp.connection.execute(
        "INSERT INTO session (operator_id, nas_id, service_id, acct_session_id, user_name, kind, started_at,"
        " updated_at, ended_at) SELECT %s, 1, %s, 's' || n, 'u', 'ppp', %s, %s, %s FROM generate_series(1, %s) n",
        (isp.operator_id, service_id, started, ended or started, ended, count),
    )


def left(isp):
    return isp.fetch("SELECT count(*) FROM session WHERE operator_id = %s", isp.operator_id)[0][0]


def partition(isp, name="session_2024_03"):
    return isp.fetch("SELECT to_regclass(%s)", name)[0][0]


def runs(engine, isp):
    with Session(engine) as session:
        query = select(RetentionRun).where(RetentionRun.operator_id == isp.operator_id).order_by(RetentionRun.id)
        return [(run.kind, run.removed, run.partitions, run.ended_at is not None) for run in session.scalars(query)]


def test_a_month_of_which_nothing_is_kept_is_dropped_whole(engine, owner, isp):
    sessions_of(isp, 30)
    sessions_of(isp, 5, NIGHT - timedelta(days=10), NIGHT - timedelta(days=10))
    assert enforce(make_sessions(engine), owner, NIGHT) == {isp.operator_id: 30}
    assert (partition(isp), left(isp)) == (None, 5)
    assert runs(engine, isp) == [("sessions", 30, 1, True)]
    with Session(engine) as session:
        query = select(AuditEntry.after).where(
            AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "retention.run"
        )
        (told,) = session.scalars(query)
    assert (told["kind"], told["removed"], told["partitions"]) == ("sessions", 30, 1)
    assert enforce(make_sessions(engine), owner, NIGHT + timedelta(hours=1)) == {}  # once a night


def test_where_another_operator_keeps_its_rows_only_those_of_the_first_go(engine, owner, isp, installation):
    other = Isp.create(installation, None)
    sessions_of(isp, 12)
    sessions_of(other, 7)
    assert enforce(make_sessions(engine), owner, NIGHT, batch=5) == {isp.operator_id: 12}
    assert (left(isp), left(other), partition(isp)) == (0, 7, "session_2024_03")
    assert runs(engine, isp) == [("sessions", 12, 0, True)]
    other.connection.close()


def test_a_session_that_is_open_or_ended_lately_stays(engine, owner, isp):
    sessions_of(isp, 3, ended=None)
    sessions_of(isp, 4, ended=NIGHT - timedelta(days=3))
    sessions_of(isp, 9)
    assert enforce(make_sessions(engine), owner, NIGHT) == {isp.operator_id: 9}
    assert (left(isp), partition(isp)) == (7, "session_2024_03")


def test_what_a_voucher_in_use_has_used_is_not_forgotten(engine, owner, isp):
    sessions_of(isp, 2, service_id=isp.service("code", None, access_method="voucher"))
    assert enforce(make_sessions(engine), owner, NIGHT) == {isp.operator_id: 0}
    assert left(isp) == 2


def test_a_legal_hold_keeps_the_rows_of_one_subscriber_until_it_is_lifted(engine, owner, isp):
    service_id = isp.service("ana")
    sessions_of(isp, 2, service_id=service_id)
    sessions_of(isp, 2)
    actor = Actor(isp.operator_id, "test")
    with Session(engine) as session:
        ana = session.scalar(select(Subscriber).where(Subscriber.operator_id == isp.operator_id))
        standing = hold(session, actor, ana, "letter 12/2026")
        with pytest.raises(Invalid):
            hold(session, actor, ana, "letter 13/2026")
        session.commit()
    assert enforce(make_sessions(engine), owner, NIGHT) == {isp.operator_id: 2}
    assert left(isp) == 2
    with Session(engine) as session:
        lift(session, actor, session.merge(standing), NIGHT)
        session.commit()
    assert enforce(make_sessions(engine), owner, NIGHT + timedelta(days=1)) == {isp.operator_id: 2}
    assert (left(isp), partition(isp)) == (0, None)


def test_a_month_that_somebody_writes_into_is_not_dropped_and_the_writer_does_not_wait(engine, owner, isp, march):
    sessions_of(isp, 10)
    with Session(engine, expire_on_commit=False) as session:
        run = begin_run(session, isp.operator_id, KINDS["sessions"], 365, NIGHT)
        session.commit()
    dsn = isp.settings.database_url.get_secret_value()
    insert = (
        "INSERT INTO session (operator_id, nas_id, acct_session_id, user_name, kind, started_at, updated_at)"
        " VALUES (%s, 1, %s, 'u', 'ppp', %s, %s)"
    )
    with psycopg.connect(dsn) as writer, psycopg.connect(dsn) as second:
        writer.execute(insert, (isp.operator_id, "late", OLD, NIGHT))
        dropping = threading.Thread(target=drop_partitions, args=(owner, KINDS["sessions"], [run]))
        dropping.start()
        began = time.monotonic()
        second.execute(insert, (isp.operator_id, "later", OLD, NIGHT))
        second.rollback()
        assert time.monotonic() - began < 2
        dropping.join(10)
        assert not dropping.is_alive()
        writer.commit()
    assert (partition(isp), left(isp)) == (march, 11)
    assert drop_partitions(owner, KINDS["sessions"], [run]) == []  # the late one is open
    isp.connection.execute("UPDATE session SET ended_at = updated_at WHERE acct_session_id = 'late'")
    isp.connection.execute("UPDATE session SET ended_at = %s WHERE acct_session_id = 'late'", (OLD,))
    assert drop_partitions(owner, KINDS["sessions"], [run]) == [march]


KILLED = """
import os, sys
from datetime import datetime
from db.session import make_engine, make_sessions
from worker.retention import enforce
engine = make_engine(os.environ["DSN"])
enforce(make_sessions(engine), None, datetime.fromisoformat(sys.argv[1]), batch=20)
"""


def test_a_worker_killed_half_way_leaves_exact_counts_and_the_next_goes_on(engine, isp):
    sessions_of(isp, 20_000)
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, NIGHT.isoformat()],
        env={**os.environ, "DSN": isp.settings.database_url.get_secret_value(), "PYTHONPATH": str(Path.cwd())},
    )
    try:
        deadline = time.monotonic() + 30
        while not (isp.fetch("SELECT coalesce(max(removed), 0) FROM retention_run")[0][0]) > 100:
            assert time.monotonic() < deadline
            assert worker.poll() is None
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    finally:
        worker.kill()
    ((_kind, removed, _partitions, ended),) = runs(engine, isp)
    assert not ended
    assert 0 < removed < 20_000
    assert left(isp) == 20_000 - removed
    noon = NIGHT.replace(hour=12)
    assert enforce(make_sessions(engine), None, noon) == {isp.operator_id: 20_000}
    assert runs(engine, isp) == [("sessions", 20_000, 0, True)]
    assert left(isp) == 0


def test_two_workers_delete_each_row_once(engine, isp):
    sessions_of(isp, 3_000)
    totals = []
    threads = [
        threading.Thread(target=lambda: totals.append(enforce(make_sessions(engine), None, NIGHT, batch=50)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(total.get(isp.operator_id, 0) for total in totals) == 3_000
    assert left(isp) == 0
    assert [run[1] for run in runs(engine, isp)] == [3_000]


@pytest.mark.parametrize(
    ("hour", "zone", "due"),
    [(3, "UTC", ["sessions"]), (12, "UTC", []), (9, "America/Mexico_City", ["sessions"]), (3, "Asia/Tokyo", [])],
)
def test_a_run_begins_at_night_where_the_operator_is(engine, isp, hour, zone, due):
    isp.update("operator", isp.operator_id, timezone=zone)
    with Session(engine) as session:
        from db.models import Operator

        operator = session.get_one(Operator, isp.operator_id)
        assert due_kinds(session, operator, NIGHT.replace(hour=hour)) == due


def test_every_kind_can_be_counted_and_deleted(engine, owner, isp, installation):
    actor = Actor(isp.operator_id, "test")
    with Session(engine) as session:
        set_rules(session, actor, dict.fromkeys(KINDS, 90))
        ana = isp.service("ana")
        subscriber = session.scalar(select(Subscriber.id).where(Subscriber.operator_id == isp.operator_id))
        nas = isp.nas(f"10.97.{isp.operator_id % 250}.1")
        mine = {"operator_id": isp.operator_id}
        message = {
            **mine, "kind": "invoice", "channel": "email", "shown_address": "a", "address": b"s", "language": "en",
            "subject": "s", "body": "b", "created_at": OLD,
        }  # fmt: skip
        pdf = {"name": "a.pdf", "media_type": "application/pdf", "size": 1, "sha256": "0", "content": b"%"}
        attached = isp.insert("stored_file", **mine, **pdf)
        isp.insert("notification", **message, state="sent", file_id=attached)
        isp.insert("notification", **message, state="waiting")
        isp.insert("auth_event", **mine, nas_id=nas, user_name="u", kind="ppp", method="pap", outcome="accept", at=OLD)
        isp.insert("webhook_event", **mine, event="e", data=psycopg.types.json.Jsonb({}), created_at=OLD)
        isp.insert("circuit_test", **mine, service_id=ana, started_at=OLD, finished_at=OLD, verdict="none")
        isp.insert(
            "shadow_event", **mine, nas_id=nas, service_id=ana, at=OLD, kind="login", secret="a", there="accept",
            outcome="accept",
        )  # fmt: skip
        isp.insert(
            "seen_device", "operator_id", **mine, mac="aa:bb:cc:00:00:09", nas_id=nas, kind="ppp", last_seen_at=OLD
        )  # fmt: skip
        closed = {"source": "staff", "queue": "support", "subject": "s", "priority": "normal", "key": "k",
                  "created_at": OLD,
                  "updated_at": OLD, "state": "closed", "closed_at": OLD, "subscriber_id": subscriber}  # fmt: skip
        ticket = isp.insert("ticket", **mine, number=1, **closed)
        entry = isp.insert("ticket_entry", **mine, ticket_id=ticket, kind="note", author="a", created_at=OLD)
        file = isp.insert("stored_file", **mine, name="a", media_type="text/plain", size=1, sha256="0", content=b"x")
        isp.insert("ticket_file", "file_id", **mine, entry_id=entry, file_id=file)
        sessions_of(isp, 1)
        session.commit()
        rows = {
            name: preview(session, isp.operator_id, kind, NIGHT - timedelta(days=90)).rows
            for name, kind in KINDS.items()
        }
    assert rows == dict.fromkeys(KINDS, 1)
    assert enforce(make_sessions(engine), owner, NIGHT) == {isp.operator_id: len(KINDS)}
    assert isp.fetch("SELECT count(*) FROM stored_file WHERE id IN (%s, %s)", file, attached) == [(0,)]
    assert isp.fetch("SELECT state FROM notification WHERE operator_id = %s", isp.operator_id) == [("waiting",)]


def test_a_run_that_fails_keeps_no_other_rows_from_going(engine, owner, isp, installation):
    mine, other = {"operator_id": isp.operator_id}, Isp.create(installation, None)
    with Session(engine) as session:
        set_rules(session, Actor(isp.operator_id, "test"), {"ticket_files": 90})
        set_rules(session, Actor(other.operator_id, "test"), {"sessions": 365})
        session.commit()
    closed = {"source": "staff", "queue": "support", "subject": "s", "priority": "normal", "key": "f",
              "created_at": OLD, "updated_at": OLD, "state": "closed", "closed_at": OLD}  # fmt: skip
    ticket = isp.insert("ticket", **mine, number=2, **closed)
    file = isp.insert("stored_file", **mine, name="a", media_type="text/plain", size=1, sha256="0", content=b"x")
    for _ in range(2):  # the file is one answer's and, within the hold's reach, another's
        entry = isp.insert("ticket_entry", **mine, ticket_id=ticket, kind="note", author="a", created_at=OLD)
        isp.insert("ticket_file", "file_id", **mine, entry_id=entry, file_id=file)
    sessions_of(isp, 3)
    sessions_of(other, 4)
    enforce(make_sessions(engine), None, NIGHT, batch=1)
    assert (left(isp), left(other)) == (0, 0)
    assert ("ticket_files", 0, 0, False) in runs(engine, isp)
    isp.connection.execute("DELETE FROM ticket_file WHERE file_id = %s", (file,))
    enforce(make_sessions(engine), None, NIGHT)
    assert ("ticket_files", 0, 0, True) in runs(engine, isp)
    other.connection.close()


@pytest.mark.parametrize(("kind", "days"), [("sessions", 30), ("sessions", 99_999), ("ledger", 90)])
def test_a_rule_that_billing_could_not_live_with_is_refused(engine, isp, kind, days):
    with Session(engine) as session, pytest.raises(Invalid):
        set_rules(session, Actor(isp.operator_id, "test"), {kind: days})


def test_a_rule_taken_back_keeps_everything(engine, owner, isp):
    sessions_of(isp, 3)
    with Session(engine) as session:
        set_rules(session, Actor(isp.operator_id, "test"), {"sessions": None})
        session.commit()
        assert rules_of(session, isp.operator_id) == {}
    assert enforce(make_sessions(engine), owner, NIGHT) == {}
    assert left(isp) == 3
