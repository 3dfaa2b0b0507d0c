"""What is asked twice, at once, or in the middle of a fault, is done once or not at all."""

import threading
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from billing import payments as billing_payments
from core.clock import utc_now
from crm.api_tokens import forget_old_answers
from db.models import ApiAnswer, Payment, Subscriber
from portal.api import operations
from portal.api.resources import payments as api_payments
from tests.portal.billing_isp import start_billing
from tests.portal.conftest import add_subscriber


@pytest.fixture
def paying(program, system, isp):
    """A program of an operator that bills, and the payment that it wants to register."""
    methods = start_billing(system, isp)
    given = {
        "subscriber_id": add_subscriber(system, isp, "Ana"),
        "method_id": methods["Cash"],
        "amount": {"value": "50.00", "currency": "MXN"},
    }
    return program(), given


def payments_of(system, isp):
    with Session(system) as session:
        return session.scalar(select(func.count()).where(Payment.operator_id == isp.operator_id))


def test_a_key_that_belongs_to_another_request_is_refused(paying, system, isp):
    erp, given = paying
    assert erp.post("/payments", given, Idempotency_Key="k").status_code == 201
    other = {**given, "amount": {"value": "60.00", "currency": "MXN"}}
    refused = erp.post("/payments", other, Idempotency_Key="k")
    assert (refused.status_code, refused.json["type"]) == (422, "urn:portico:problem:idempotency-key-reused")
    assert payments_of(system, isp) == 1


def test_keys_are_each_tokens_own(paying, program, system, isp):
    erp, given = paying
    assert erp.post("/payments", given, Idempotency_Key="k").status_code == 201
    assert program().post("/payments", given, Idempotency_Key="k").headers.get("Idempotency-Replayed") is None
    assert payments_of(system, isp) == 2


def test_what_was_refused_may_be_sent_again_once_its_cause_is_gone(paying, system, isp):
    erp, given = paying
    wrong = {**given, "method_id": 10**12}
    assert erp.post("/payments", wrong, Idempotency_Key="k").status_code == 422
    assert erp.post("/payments", given, Idempotency_Key="k").status_code == 201
    assert payments_of(system, isp) == 1


def test_of_many_at_once_with_one_key_one_is_done_and_the_others_are_told(paying, system, isp):
    erp, given = paying
    answers, ready = [], threading.Barrier(8)

    def send():
        ready.wait()
        answers.append(erp.post("/payments", given, Idempotency_Key="race"))

    threads = [threading.Thread(target=send) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert payments_of(system, isp) == 1
    assert {each.status_code for each in answers} <= {201, 409}
    assert sum(each.status_code == 201 and "Idempotency-Replayed" not in each.headers for each in answers) == 1
    for each in answers:
        assert each.status_code == 201 or each.json["type"] == "urn:portico:problem:still-running"


def test_while_a_request_runs_the_same_key_is_told_so(paying, system, isp, monkeypatch):
    erp, given = paying
    inside, go_on = threading.Event(), threading.Event()

    def slowly(*arguments):
        inside.set()
        assert go_on.wait(20)
        return billing_payments.register_payment(*arguments)

    monkeypatch.setattr(api_payments, "register_payment", slowly)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(erp.post("/payments", given, Idempotency_Key="slow")))
    thread.start()
    assert inside.wait(20)
    refused = erp.post("/payments", given, Idempotency_Key="slow")
    go_on.set()
    thread.join()
    assert (refused.status_code, refused.json["type"]) == (409, "urn:portico:problem:still-running")
    assert answers[0].status_code == 201
    assert erp.post("/payments", given, Idempotency_Key="slow").json == answers[0].json
    assert payments_of(system, isp) == 1


def test_a_portal_that_dies_before_it_answers_has_either_paid_and_remembered_or_neither(
    paying, app, system, isp, monkeypatch
):
    erp, given = paying

    class Died(BaseException):
        pass

    def die(*_arguments, **_named):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", die)  # before the commit: nothing is there
        with pytest.raises(Died):
            erp.post("/payments", given, Idempotency_Key="crash")
    assert payments_of(system, isp) == 0
    with monkeypatch.context() as patched:
        patched.setattr(app, "process_response", die)  # after it: the program never sees the answer
        with pytest.raises(Died):
            erp.post("/payments", given, Idempotency_Key="crash")
    assert payments_of(system, isp) == 1
    again = erp.post("/payments", given, Idempotency_Key="crash")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert payments_of(system, isp) == 1


def test_a_database_that_ends_its_connections_in_the_middle_leaves_nothing(
    paying, system, isp, system_dsn, servers, monkeypatch
):
    erp, given = paying
    name = psycopg.conninfo.conninfo_to_dict(system_dsn)["dbname"]

    def cut(*arguments):
        done = billing_payments.register_payment(*arguments)
        servers.administer(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = {} AND usename = 'portico_portal'"
            ).format(sql.Literal(name))
        )
        return done

    with monkeypatch.context() as patched:
        patched.setattr(api_payments, "register_payment", cut)
        away = erp.post("/payments", given, Idempotency_Key="cut")
    assert (away.status_code, away.json["type"]) == (503, "urn:portico:problem:unavailable")
    assert away.headers["Retry-After"] == "5"
    assert payments_of(system, isp) == 0
    assert erp.post("/payments", given, Idempotency_Key="cut").status_code == 201
    assert payments_of(system, isp) == 1


def test_answers_are_forgotten_after_a_day(paying, system, isp):
    erp, given = paying
    assert erp.post("/payments", given, Idempotency_Key="old").status_code == 201
    with Session(system) as session:
        session.execute(update(ApiAnswer).values(created_at=utc_now() - timedelta(hours=25)))
        session.commit()
    assert "Idempotency-Replayed" not in erp.post("/payments", given, Idempotency_Key="old").headers
    assert payments_of(system, isp) == 2
    with Session(system) as session:
        session.execute(update(ApiAnswer).values(created_at=utc_now() - timedelta(hours=25)))
        assert forget_old_answers(session, utc_now()) >= 1
        assert session.scalar(select(func.count()).select_from(ApiAnswer)) == 0
        session.commit()


def test_what_changes_between_the_comparison_and_the_change_is_not_undone(program, system, isp, monkeypatch):
    erp, path = program(), f"/subscribers/{add_subscriber(system, isp, 'Ana')}"
    seen = erp.get(path).headers["ETag"]
    compare = operations._match

    def compare_and_be_overtaken(shown):
        compare(shown)
        monkeypatch.undo()
        other = threading.Thread(target=lambda: erp.ask("PATCH", path, {"notes": "first"}, If_Match=seen))
        other.start()
        other.join()

    monkeypatch.setattr(operations, "_match", compare_and_be_overtaken)
    assert erp.ask("PATCH", path, {"notes": "second"}, If_Match=seen).status_code == 412
    assert erp.get(path).json["notes"] == "first"


def test_two_who_change_what_both_have_read_do_not_undo_each_other(program, system, isp):
    erp, path = program(), f"/subscribers/{add_subscriber(system, isp, 'Ana')}"
    seen = erp.get(path).headers["ETag"]
    ready, answers = threading.Barrier(2), []

    def change(note):
        ready.wait()
        answers.append(erp.ask("PATCH", path, {"notes": note}, If_Match=seen).status_code)

    threads = [threading.Thread(target=change, args=(note,)) for note in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 412]
    with Session(system) as session:
        assert session.get(Subscriber, int(path.rpartition("/")[2])).notes in ("first", "second")
