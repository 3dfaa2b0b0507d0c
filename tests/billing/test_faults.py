"""The billing run under faults: killed at every statement and at every commit, and run by several workers at once."""

import os
import signal
import threading
import time
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from billing.following import different_services, follow_services
from billing.ledger import broken_entries, discrepancies
from billing.rules import rules_of
from billing.run import run_billing
from db.audit import Actor
from db.models import Operator, RatePlan
from db.session import make_engine, make_sessions
from tests.billing.isp import BillingIsp, noon
from tests.rows import add_service

pytestmark = pytest.mark.fault

SERVICES = 7
BATCH = 3


@pytest.fixture
def url(database):
    return database.database_url.get_secret_value()


@pytest.fixture
def operator_id(url):
    """An operator with services that are billed from 5 January 2027 on, committed."""
    engine = make_engine(url)
    with Session(engine, expire_on_commit=False) as session:
        isp = BillingIsp.create(session, taxes=[("IVA", "16", False)])
        _add_services(session, isp, SERVICES)
        session.commit()
        operator_id = isp.operator_id
    engine.dispose()
    return operator_id


def _add_services(session, isp, count):
    for number in range(count):
        service = isp.service(date(2027, 1, 5), "300")
        if number % 3 == 0:
            isp.pay(service.subscriber_id, "1000", date(2027, 1, 5))  # credit, so that the run also moves dates


@contextmanager
def killed_at(url, nth, moment):
    """Yield sessions whose server process is ended at the n-th statement, or as the n-th commit begins."""
    engine = make_engine(url, pool_size=1)
    seen = [0]

    def kill(connection):
        seen[0] += 1
        if seen[0] == nth:
            pid = connection.connection.driver_connection.info.backend_pid
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    if moment == "statement":
        event.listen(engine, "before_cursor_execute", lambda connection, *_: kill(connection))
    elif moment == "before commit":
        event.listen(engine, "commit", kill)
    try:
        yield make_sessions(engine), seen
    finally:
        engine.dispose()


def month(number):
    years, month0 = divmod(number, 12)
    return noon(date(2027 + years, month0 + 1, 6))


def check_books(url, operator_id, months):
    """Every service has each month once, numbers are unbroken, the ledger is sound and agrees with the documents."""
    engine = make_engine(url)
    with Session(engine) as session:
        counts = session.execute(
            text(
                "SELECT service_id, count(*), count(DISTINCT period_first), min(period_first), max(period_last)"
                " FROM invoice WHERE operator_id = :id GROUP BY 1"
            ),
            {"id": operator_id},
        ).all()
        assert len(counts) == SERVICES
        for _, count, distinct, first, last in counts:
            assert (count, distinct, first) == (months, months, date(2027, 1, 5))
            assert (last.year - 2027) * 12 + last.month == months + 1
        numbers = session.scalars(
            text("SELECT number FROM invoice WHERE operator_id = :id ORDER BY 1"), {"id": operator_id}
        ).all()
        assert numbers == list(range(1, SERVICES * months + 1))
        assert broken_entries(session, operator_id) == []
        assert discrepancies(session, operator_id) == []
    engine.dispose()


def test_a_run_killed_at_any_statement_is_completed_by_the_next(url, operator_id):
    engine = make_engine(url)
    sessions = make_sessions(engine)
    run_billing(sessions, operator_id, month(0), BATCH)
    nth, months, killed = 1, 1, 0
    while True:
        with killed_at(url, nth, "statement") as (dying, seen):
            try:
                run_billing(dying, operator_id, month(months), BATCH)
            except OperationalError:
                killed += 1
        finished = seen[0] < nth
        run_billing(sessions, operator_id, month(months), BATCH)
        months += 1
        if finished:
            break
        nth += 1
    assert killed == nth - 1
    assert killed > 20
    engine.dispose()
    check_books(url, operator_id, months)


def test_a_run_killed_at_any_commit_is_completed_by_the_next(url, operator_id):
    engine = make_engine(url)
    sessions = make_sessions(engine)
    killed = 0
    for months in range(6):
        with killed_at(url, months + 1, "before commit") as (dying, _seen):
            try:
                run_billing(dying, operator_id, month(months), BATCH)
            except OperationalError:
                killed += 1
        run_billing(sessions, operator_id, month(months), BATCH)
    engine.dispose()
    assert killed >= 4
    check_books(url, operator_id, 6)


def test_a_worker_killed_in_the_middle_of_a_run_leaves_nothing_half_done(url, operator_id):
    """The process itself is gone, by SIGKILL, between two statements: nobody rolls back, closes or says anything."""
    engine = make_engine(url)
    sessions = make_sessions(engine)
    run_billing(sessions, operator_id, month(0), BATCH)
    engine.dispose()  # a child must not inherit its connections
    moments = (2, 6, 11, 17, 24, 32)
    for months, nth in enumerate(moments, 1):
        reached, mark = os.pipe()
        worker = os.fork()
        if worker == 0:
            try:
                _bill_and_stop_at(url, operator_id, months, nth, mark)
            finally:
                os._exit(0)
        os.close(mark)
        assert os.read(reached, 1) == b"!", "the run was over before it could be killed"
        os.close(reached)
        os.kill(worker, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(worker, 0)[1]) == signal.SIGKILL
        run_billing(sessions, operator_id, month(months), BATCH)
        engine.dispose()
    check_books(url, operator_id, len(moments) + 1)


def _bill_and_stop_at(url, operator_id, months, nth, mark):
    """Do the billing run of a month in this process; say so before the n-th statement, and wait there for the end."""
    engine = make_engine(url)
    seen = 0

    def stop(*_):
        nonlocal seen
        seen += 1
        if seen == nth:
            os.write(mark, b"!")
            time.sleep(60)

    event.listen(engine, "before_cursor_execute", stop)
    run_billing(make_sessions(engine), operator_id, month(months), BATCH)


def test_three_workers_at_once_bill_everything_once(url, operator_id):
    engine = make_engine(url, pool_size=3)
    sessions = make_sessions(engine)
    outcomes: list[int] = []
    failures: list[Exception] = []
    barrier = threading.Barrier(3)

    def work():
        try:
            for number in range(6):
                barrier.wait(30)
                outcomes.append(run_billing(sessions, operator_id, month(number), 2).invoices)
        except Exception as failed:  # noqa: BLE001 - the assertion below shows it
            failures.append(failed)
            barrier.abort()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    engine.dispose()
    assert failures == []
    assert sum(outcomes) == SERVICES * 6
    check_books(url, operator_id, 6)


def test_payments_and_runs_at_once_leave_sound_books(url, operator_id):
    engine = make_engine(url, pool_size=4)
    sessions = make_sessions(engine)
    run_billing(sessions, operator_id, month(0), BATCH)
    failures: list[Exception] = []

    def bill():
        try:
            for number in range(1, 8):
                run_billing(sessions, operator_id, month(number), 2)
        except Exception as failed:  # noqa: BLE001
            failures.append(failed)

    def pay():
        try:
            for _ in range(10):
                with sessions() as session:
                    subscribers = session.scalars(
                        text("SELECT DISTINCT subscriber_id FROM service_billing ORDER BY 1")
                    ).all()
                    method = session.scalars(text("SELECT id FROM payment_method")).one()
                    isp = BillingIsp(session, operator_id, Actor(operator_id, "cashier"), method)
                    isp.pay(subscribers[_ % len(subscribers)], "310.50", date(2027, 1, 6))
                    session.commit()
        except Exception as failed:  # noqa: BLE001
            failures.append(failed)

    threads = [threading.Thread(target=bill), *(threading.Thread(target=pay) for _ in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    engine.dispose()
    assert failures == []
    check_books(url, operator_id, 8)


def test_two_changes_of_one_plan_at_once_are_billed_once(url, operator_id):
    engine = make_engine(url, pool_size=2)
    sessions = make_sessions(engine)
    run_billing(sessions, operator_id, month(0), BATCH)
    with sessions() as session:
        plan = RatePlan(operator_id=operator_id, name="Faster", download=2, upload=1, price=Decimal(620))
        session.add(plan)
        session.flush()
        session.execute(
            text("UPDATE service SET plan_id = :plan, version = version + 1 WHERE operator_id = :id"),
            {"plan": plan.id, "id": operator_id},
        )
        session.commit()
    found = []
    with sessions() as one, sessions() as other:
        rules = rules_of(one, operator_id)
        stale = different_services(other, rules, 0, 100)
        assert len(stale) == SERVICES
        actor = Actor(operator_id, "billing")
        found.append(follow_services(one, actor, rules, stale, month(0)))
        one.commit()
        found.append(follow_services(other, actor, rules, stale, month(0)))
        other.commit()
    assert found == [SERVICES, 0]
    with sessions() as session:
        count = session.scalar(text("SELECT count(*) FROM invoice WHERE kind = 'charges'"))
        assert count == SERVICES
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param("UPDATE billing_settings SET due_days = 10", date(2027, 2, 15), id="more days to pay in"),
        pytest.param("UPDATE operator SET cut_off_day = 20", date(2027, 2, 5), id="another cut-off day"),
        pytest.param("UPDATE billing_settings SET months = 3", date(2027, 2, 5), id="three months at once"),
    ],
)
def test_changed_rules_move_the_dates_of_what_is_not_billed_yet(url, operator_id, change, expected):
    engine = make_engine(url)
    sessions = make_sessions(engine)
    run_billing(sessions, operator_id, month(0), BATCH)
    with sessions() as session:
        subscriber, service = session.execute(
            text("SELECT subscriber_id, id FROM service WHERE paid_until < '2027-02-01' ORDER BY id LIMIT 1")
        ).one()
        method = session.scalars(text("SELECT id FROM payment_method")).one()
        isp = BillingIsp(session, operator_id, Actor(operator_id, "x"), method)
        isp.pay(subscriber, "348", date(2027, 1, 6))
        session.execute(text(change))
        session.commit()
    run_billing(sessions, operator_id, month(0), BATCH)
    with sessions() as session:
        row = session.execute(
            text(
                "SELECT paid_until, next_issue_on FROM service JOIN service_billing ON service_id = id WHERE id = :id"
            ),
            {"id": service},
        ).one()
    engine.dispose()
    assert row.paid_until == expected
    assert (expected - row.next_issue_on).days == 5


def test_one_operator_that_fails_does_not_hold_up_the_others(url, operator_id, monkeypatch):
    from billing import tasks

    engine = make_engine(url)
    sessions = make_sessions(engine)
    with sessions() as session:
        first = session.scalar(select(Operator.id).order_by(Operator.id))
        broken = BillingIsp.create(session)
        add_service(session, broken.operator_id, broken.plan("300"), "x", activated_at=noon(date(2027, 1, 5)))
        session.commit()
    assert first == operator_id
    calls = []

    def failing(sessions, operator_id, now):
        calls.append(operator_id)
        if operator_id == first:
            raise OperationalError("deadlock", None, psycopg.errors.DeadlockDetected())
        return run_billing(sessions, operator_id, month(0))

    monkeypatch.setattr(tasks, "run_billing", failing)
    monkeypatch.setattr(tasks, "system_sessions", lambda: sessions)
    tasks.issue_invoices()
    assert calls == [first, broken.operator_id]
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM invoice WHERE operator_id = :id"), {"id": first}) == 0
        assert session.scalar(text("SELECT count(*) FROM invoice")) == 1
    engine.dispose()
