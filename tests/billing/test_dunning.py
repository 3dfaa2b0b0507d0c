"""The ladder on a real PostgreSQL: who is reminded, charged and ended; killed anywhere; two workers at once."""

import threading
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from billing.dunning import DunningResult, run_dunning
from core.crypto import Keyring
from crm.services import suspend, terminate
from db.models import (
    Charge,
    DunningDone,
    DunningSettings,
    DunningStep,
    DunningText,
    MessageSettings,
    Notification,
    Service,
    Subscriber,
)
from db.session import make_engine, make_sessions
from tests.billing.isp import BillingIsp, noon
from tests.billing.test_faults import killed_at

DUE = date(2027, 1, 10)  # the first invoice of a service that began on the 5th
KEYRING = Keyring.parse(Keyring.generate())


@pytest.fixture
def isp(rows):
    isp = BillingIsp.create(rows, phone="+52 55 0000 0000", legal_name="Redes del Valle")
    ladder(isp)
    return isp


def ladder(isp, steps=((-3, "email"), (2, "email")), **settings):
    isp.session.add(DunningSettings(operator_id=isp.operator_id, enabled=True, **settings))
    isp.session.add_all(DunningStep(operator_id=isp.operator_id, days=d, channel=c) for d, c in steps)
    isp.session.flush()


def billed(isp, **values):
    """Return a service that owes 300 since 10 January."""
    service = isp.service(date(2027, 1, 5), **values)
    subscriber = isp.session.get_one(Subscriber, service.subscriber_id)
    subscriber.email, subscriber.phone = "ana@example.com", "+52 55 1234 5678"
    isp.run(date(2027, 1, 5))
    return service


def passes(isp, day, hour=12):
    """Let the ladder pass at an hour of a day; commits are undone with the test."""

    @contextmanager
    def sessions():
        yield isp.session

    isp.session.flush()
    return run_dunning(sessions, KEYRING, isp.operator_id, noon(day) + timedelta(hours=hour - 12))


def told(isp):
    query = select(Notification).where(Notification.operator_id == isp.operator_id).order_by(Notification.id)
    return list(isp.session.scalars(query))


def stages(isp):
    query = select(DunningDone.stage, DunningDone.outcome).where(DunningDone.operator_id == isp.operator_id)
    return [tuple(row) for row in isp.session.execute(query.order_by(DunningDone.created_at, DunningDone.stage))]


def test_reminders_go_out_on_their_days_at_the_hour_once_each(isp):
    billed(isp)
    assert passes(isp, DUE - timedelta(days=4)) == DunningResult()
    assert passes(isp, DUE - timedelta(days=3), hour=8) == DunningResult()
    assert passes(isp, DUE - timedelta(days=3), hour=9) == DunningResult(sent=1)
    assert passes(isp, DUE - timedelta(days=3), hour=10) == DunningResult()
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult(sent=1)
    before, after = told(isp)
    assert (before.shown_address, before.language) == ("ana@example.com", "es")
    assert KEYRING.open("notification.address", before.address) == "ana@example.com"
    assert "$300.00" in before.body
    assert "10 de enero de 2027" in before.body
    assert "Redes del Valle" in before.body
    assert "11 de enero de 2027" in after.body  # when it is cut
    assert stages(isp) == [("-3 email", "sent"), ("2 email", "sent")]


def test_who_has_paid_is_not_reminded(isp):
    service = billed(isp)
    isp.pay(service.subscriber_id, "300", DUE)
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult()


def test_who_was_removed_is_not_reminded(isp):
    service = billed(isp)
    isp.session.get_one(Subscriber, service.subscriber_id).removed_at = noon(DUE)
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult()


def test_who_has_paid_a_part_is_reminded_of_the_rest(isp):
    service = billed(isp)
    isp.pay(service.subscriber_id, "100", DUE)
    passes(isp, DUE + timedelta(days=2))
    assert "$200.00" in told(isp)[0].body


@pytest.mark.parametrize("column", ["promised_until", "held_until"])
def test_who_was_given_a_day_is_left_alone_until_it_is_over(isp, column):
    service = billed(isp)
    setattr(service, column, DUE + timedelta(days=3))
    assert passes(isp, DUE + timedelta(days=3)) == DunningResult()
    assert passes(isp, DUE + timedelta(days=4)).sent == 1


def test_what_is_managed_by_hand_and_what_goes_to_a_phone_is_put_on_a_list(rows):
    isp = BillingIsp.create(rows)
    ladder(isp, [(2, "email"), (2, "whatsapp")])
    billed(isp, management="manual")
    billed(isp)
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult(sent=1, listed=3)
    assert len(told(isp)) == 1


def test_what_goes_to_a_phone_goes_by_itself_where_there_is_a_gateway(rows):
    isp = BillingIsp.create(rows)
    ladder(isp, [(2, "sms"), (2, "whatsapp")])
    rows.add(
        MessageSettings(
            operator_id=isp.operator_id, channels=["sms", "whatsapp"], sms_kind="http", sms_url=b"x", dial_prefix="+52"
        )
    )  # fmt: skip
    for phone in ("55 1234 5678", "12"):  # the second cannot be dialled as the world does
        service = billed(isp)
        isp.session.get_one(Subscriber, service.subscriber_id).phone = phone
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult(sent=1, listed=3)
    [message] = told(isp)
    assert (message.channel, message.shown_address, message.urgent) == ("sms", "+525512345678", False)


def test_who_has_no_address_is_noted_and_nothing_is_sent(isp):
    service = billed(isp)
    isp.session.get_one(Subscriber, service.subscriber_id).email = None
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult()
    assert stages(isp) == [("2 email", "unreachable")]


def test_the_operators_own_words_are_sent_in_the_subscribers_language(isp):
    service = billed(isp)
    isp.session.get_one(Subscriber, service.subscriber_id).language = "en"
    step = isp.session.scalars(select(DunningStep).where(DunningStep.days == 2)).one()
    words = {"subject": "Pay {invoice}", "body": "{name} owes {amount}"}
    isp.session.add(DunningText(operator_id=isp.operator_id, step_id=step.id, language="en", **words))
    passes(isp, DUE + timedelta(days=2))
    (message,) = told(isp)
    assert (message.subject, message.body) == ("Pay 1", "José María Fernández-Villalobos owes $300.00")


def test_a_late_fee_waits_for_the_next_invoice_once(rows):
    isp = BillingIsp.create(rows, late_fee_amount=Decimal(50), late_fee_days=5)
    ladder(isp, late_fees=True)
    service = billed(isp)
    assert passes(isp, DUE + timedelta(days=5), hour=1) == DunningResult()
    assert passes(isp, DUE + timedelta(days=6), hour=1) == DunningResult(late_fees=1)
    assert passes(isp, DUE + timedelta(days=7), hour=1) == DunningResult()
    charge = isp.session.scalars(select(Charge).where(Charge.kind == "late_fee")).one()
    assert (charge.amount, charge.description) == (50, "Pago tardío de la factura 1")
    isp.run(date(2027, 2, 1))
    assert isp.invoices(service)[-1].total == 350


def test_no_late_fee_for_what_was_late_long_before_fees_were_switched_on(rows):
    isp = BillingIsp.create(rows, late_fee_amount=Decimal(50), late_fee_days=5)
    ladder(isp, late_fees=True)
    billed(isp)
    assert passes(isp, DUE + timedelta(days=60), hour=1) == DunningResult()


def test_no_late_fee_for_who_is_gone(rows):
    """Whose service ended or who was removed gets no next invoice, so a fee would wait for ever."""
    isp = BillingIsp.create(rows, late_fee_amount=Decimal(50), late_fee_days=5)
    ladder(isp, late_fees=True)
    ended, removed, there = billed(isp), billed(isp), billed(isp)
    terminate(isp.session, isp.actor, ended, noon(DUE + timedelta(days=1)))
    isp.session.get_one(Subscriber, removed.subscriber_id).removed_at = noon(DUE + timedelta(days=1))
    assert passes(isp, DUE + timedelta(days=6), hour=1) == DunningResult(late_fees=1)
    charge = isp.session.scalars(select(Charge).where(Charge.kind == "late_fee")).one()
    assert charge.subscriber_id == there.subscriber_id


def test_who_was_off_for_months_is_terminated(rows):
    isp = BillingIsp.create(rows)
    ladder(isp, terminate_months=2)
    services = {name: billed(isp) for name in ("overdue", "abuse", "by hand", "held")}
    for name, service in services.items():
        suspend(isp.session, isp.actor, service, "abuse" if name == "abuse" else "overdue", "", noon(DUE))
    services["by hand"].management = "manual"
    services["held"].held_until = date(2027, 4, 1)
    assert passes(isp, date(2027, 3, 9), hour=1) == DunningResult()
    assert passes(isp, date(2027, 3, 10), hour=1) == DunningResult(terminated=1)
    assert {name: service.state for name, service in services.items()} == {
        "overdue": "terminated", "abuse": "suspended", "by hand": "suspended", "held": "suspended",
    }  # fmt: skip


def test_nothing_is_done_while_the_ladder_is_off(isp):
    billed(isp)
    isp.session.get_one(DunningSettings, isp.operator_id).enabled = False
    assert passes(isp, DUE + timedelta(days=2)) == DunningResult()


# Faults.

SERVICES = 5


@pytest.fixture
def committed(database):
    url = database.database_url.get_secret_value()
    engine = make_engine(url)
    with Session(engine, expire_on_commit=False) as session:
        isp = BillingIsp.create(session, late_fee_amount=Decimal(50), late_fee_days=1)
        ladder(isp, late_fees=True, terminate_months=1)
        for _ in range(SERVICES):
            billed(isp)
        off = billed(isp)
        suspend(session, isp.actor, off, "overdue", "", noon(date(2026, 12, 1)))
        session.commit()
        operator_id = isp.operator_id
    yield url, operator_id, make_sessions(engine)
    engine.dispose()


COUNTS = """
SELECT (SELECT count(*) FROM dunning_done), (SELECT count(*) FROM notification),
       (SELECT count(DISTINCT notification_id) FROM dunning_done), (SELECT count(*) FROM charge),
       (SELECT count(*) FROM audit_entry WHERE action = 'charge.late_fee'),
       (SELECT count(*) FROM service WHERE state = 'terminated')
"""
WHOLE = (SERVICES + 1, SERVICES + 1, SERVICES + 1, SERVICES + 1, SERVICES + 1, 1)
AGAIN = """
DELETE FROM dunning_done; DELETE FROM notification; DELETE FROM charge;
UPDATE service SET state = 'suspended', terminated_at = NULL WHERE state = 'terminated'
"""


@pytest.mark.fault
def test_a_pass_killed_at_any_statement_is_completed_by_the_next(committed):
    url, operator_id, sessions = committed
    now, nth, killed, audited = noon(DUE + timedelta(days=2)), 1, 0, 0
    while True:
        with killed_at(url, nth, "statement") as (dying, seen):
            try:
                run_dunning(dying, KEYRING, operator_id, now, 3)
            except OperationalError:
                killed += 1
        run_dunning(sessions, KEYRING, operator_id, now, 3)
        with sessions() as session:
            found = list(session.execute(text(COUNTS)).one())
            found[4] -= audited
            assert tuple(found) == WHOLE
            audited += found[4]
            for statement in AGAIN.split(";"):
                session.execute(text(statement))
            session.commit()
        if seen[0] < nth:
            break
        nth += 1
    assert killed == nth - 1
    assert killed > 15


@pytest.mark.fault
def test_two_workers_at_once_do_everything_once(committed):
    _url, operator_id, sessions = committed
    now, results = noon(DUE + timedelta(days=2)), []
    barrier = threading.Barrier(3)

    def work():
        barrier.wait()
        results.append(run_dunning(sessions, KEYRING, operator_id, now, 2))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.sent for result in results) == SERVICES + 1
    assert sum(result.late_fees for result in results) == SERVICES + 1
    assert sum(result.terminated for result in results) == 1
    with sessions() as session:
        assert tuple(session.execute(text(COUNTS)).one()) == WHOLE
        assert session.scalar(select(Service.state).where(Service.state == "terminated")) == "terminated"
