"""Prepaid services: periods bought from the wallet, to the day and to the transaction."""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import wallets
from billing.cycles import Cycle
from billing.drafts import ServiceFacts
from billing.dunning import run_dunning
from billing.gateways.accounts import enter_account
from billing.gateways.checkouts import due_of_subscriber
from billing.ledger import balance_of, broken_entries, discrepancies
from billing.links import LinkFor, is_genuine, read_link
from billing.payments import PaymentTerms, register_payment, void_payment
from billing.prepaid import is_told, purchases
from billing.rules import rules_of
from billing.run import run_billing
from billing.wallets import price_of_next, remind, set_prepaid, wallet_of
from crm.problems import Invalid
from crm.services import change_plan_of, pause, resume, suspend, terminate
from db.audit import Actor
from db.models import DunningSettings, Invoice, Notification, Operator, Service, ServiceBilling, Subscriber
from db.session import make_engine, make_sessions
from radius.facts import FactsReader
from tests.billing.isp import ZONE, BillingIsp, noon

BEGIN = date(2027, 1, 10)
LAST = date(2027, 2, 9)
FACTS = ServiceFacts(1, 1, 1, "Plan", Decimal(300), "MXN", Cycle(10, BEGIN), BEGIN, prepaid=True)


@pytest.fixture
def isp(rows):
    """The cut-off day is the 5th and there are grace days: neither is for prepaid services."""
    return BillingIsp.create(rows, issue_days=5, grace_days=3, prepaid=True)


def on(isp, service):
    isp.session.refresh(service)
    return service.state, service.paid_until


def sound(isp):
    isp.commit_checks()
    return not broken_entries(isp.session, isp.operator_id) and not discrepancies(isp.session, isp.operator_id)


# What a wallet buys, without a database.


@pytest.mark.parametrize(
    ("ended", "wallet", "today", "bought"),
    [
        pytest.param([BEGIN], "300", BEGIN, [(1, BEGIN, LAST)], id="what it costs to the cent"),
        pytest.param([BEGIN], "299.99", BEGIN, [], id="a cent too little"),
        pytest.param([BEGIN], "900", BEGIN, [(1, BEGIN, LAST)], id="one period at a time"),
        pytest.param([LAST], "900", BEGIN, [], id="not before the one that runs is over"),
        pytest.param(
            [BEGIN], "300", date(2027, 1, 31), [(1, date(2027, 1, 31), date(2027, 2, 27))],
            id="days without service cost nothing",
        ),
        pytest.param(
            [BEGIN, date(2027, 1, 8)], "300", BEGIN, [(2, BEGIN, LAST)], id="first what ran out first",
        ),
        pytest.param([BEGIN, BEGIN], "600", BEGIN, [(1, BEGIN, LAST), (2, BEGIN, LAST)], id="both"),
    ],
)  # fmt: skip
def test_a_wallet_buys_whole_periods_and_never_more_than_it_holds(ended, wallet, today, bought):
    services = [replace(FACTS, service_id=number, next_from=day) for number, day in enumerate(ended, 1)]
    found = [(one.facts.service_id, one.draft.period) for one in purchases(services, Decimal(wallet), today)]
    assert [(number, period.first, period.last) for number, period in found] == bought


def test_what_is_too_dear_leaves_the_money_to_the_others():
    dear = replace(FACTS, price=Decimal(900), next_from=BEGIN - timedelta(days=9))
    bought = purchases([dear, replace(FACTS, service_id=2)], Decimal(300), BEGIN)
    assert [one.facts.service_id for one in bought] == [2]


@pytest.mark.parametrize(
    ("told_of", "today", "expected"),
    [
        pytest.param(None, LAST - timedelta(days=4), False, id="too early"),
        pytest.param(None, LAST - timedelta(days=3), True, id="the day before which it is told"),
        pytest.param(LAST, LAST - timedelta(days=2), False, id="told already"),
        pytest.param(BEGIN, LAST, True, id="told of the period before"),
        pytest.param(None, LAST + timedelta(days=1), False, id="over"),
    ],
)
def test_the_end_is_told_once_and_in_time(told_of, today, expected):
    assert is_told(LAST, told_of, 3, today) is expected


# With money.


def test_an_empty_wallet_keeps_the_service_off_and_owes_nothing(isp):
    service = isp.service(BEGIN)
    isp.run_until(BEGIN, BEGIN + timedelta(days=40))
    assert isp.invoices(service) == []
    assert on(isp, service) == ("active", BEGIN - timedelta(days=1))
    assert balance_of(isp.session, service.subscriber_id) == 0


def test_a_payment_buys_a_period_from_the_day_it_arrives_and_brings_the_service_back(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(BEGIN))
    isp.pay(service.subscriber_id, "100", date(2027, 1, 12))
    assert on(isp, service) == ("suspended", BEGIN - timedelta(days=1))
    done = isp.pay(service.subscriber_id, "250", date(2027, 1, 20))
    assert on(isp, service) == ("active", date(2027, 2, 19))
    assert [(one.service_id, one.restored) for one in done.effects.services] == [(service.id, True)]
    (invoice,) = isp.invoices(service)
    assert (invoice.period_first, invoice.period_last, invoice.open) == (date(2027, 1, 20), date(2027, 2, 19), 0)
    assert wallet_of(isp.session, isp.rules, service.subscriber_id) == 50
    assert sound(isp)


def test_the_wallet_renews_at_midnight_of_the_operator_and_not_at_the_hour_of_issuing(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "700", BEGIN)
    assert on(isp, service) == ("active", date(2027, 3, 9))  # what the wallet will buy counts
    rules = isp.rules
    last_minute = datetime(2027, 2, 9, 23, 59, tzinfo=ZONE).astimezone(UTC)
    assert wallets.renewals(isp.session, rules, rules.today(last_minute), 0, 10) == []
    midnight = last_minute + timedelta(minutes=1)
    assert wallets.renewals(isp.session, rules, rules.today(midnight), 0, 10) == [(service.id, service.subscriber_id)]
    assert wallets.renew(isp.session, isp.actor, rules, [service.subscriber_id], midnight) == 1
    assert wallets.renew(isp.session, isp.actor, rules, [service.subscriber_id], midnight) == 0
    assert [one.period_first for one in isp.invoices(service)] == [BEGIN, date(2027, 2, 10)]
    assert wallet_of(isp.session, rules, service.subscriber_id) == 100
    assert on(isp, service) == ("active", date(2027, 3, 9))


def test_access_ends_at_midnight_without_grace_weekends_or_the_hour_of_cutting(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "300", BEGIN)
    isp.session.execute(
        Operator.__table__.update().where(Operator.id == isp.operator_id).values(cut_off_hour=10, cut_off_weekdays=[7])
    )
    connection = isp.session.connection().connection.driver_connection
    stored = next(iter(FactsReader(connection, noon(BEGIN)).services([service.id])))
    assert stored.service.paid_until == datetime(2027, 2, 10, tzinfo=ZONE).astimezone(UTC)


def test_a_period_in_a_february_does_not_shorten_march(isp):
    service = isp.service(date(2027, 1, 31))
    isp.run(date(2027, 1, 31))
    isp.pay(service.subscriber_id, "1000", date(2027, 1, 31))
    isp.run_until(date(2027, 2, 26), date(2027, 3, 31))
    assert [(one.period_first, one.period_last) for one in isp.invoices(service)] == [
        (date(2027, 1, 31), date(2027, 2, 27)),
        (date(2027, 2, 28), date(2027, 3, 30)),
        (date(2027, 3, 31), date(2027, 4, 29)),
    ]


def test_nobody_is_dunned_or_charged_a_late_fee(isp, installation):
    isp.session.add(DunningSettings(operator_id=isp.operator_id, enabled=True, late_fees=True))
    service = isp.service(BEGIN)
    isp.pay(service.subscriber_id, "300", BEGIN)
    isp.run_until(BEGIN, BEGIN + timedelta(days=2))
    isp.run_until(LAST, LAST + timedelta(days=20))
    done = run_dunning(_only(isp.session), installation.keyring, isp.operator_id, noon(LAST + timedelta(days=20)))
    assert (done.sent, done.listed, done.late_fees) == (0, 0, 0)
    assert len(isp.invoices(service)) == 1


def _only(session):
    """Sessions that are this one, in a transaction of its own within it."""

    class Same:
        def __enter__(self):
            return session

        def __exit__(self, *_):
            session.flush()

    return Same


def test_the_end_is_told_in_the_readers_language_with_what_it_costs(isp, installation):
    service = isp.service(BEGIN)
    person = isp.session.get_one(Subscriber, service.subscriber_id)
    person.email, person.language = "ana@home.example", "es"
    isp.pay(person.id, "350", BEGIN)
    isp.run(BEGIN)
    assert remind(isp.session, installation.keyring, isp.rules, noon(LAST - timedelta(days=4))) == 0
    actor = Actor(isp.operator_id, "test")
    enter_account(isp.session, installation.keyring, actor, "stripe", "sk_test_x", "whsec_x", emulated=True)
    at, url = noon(LAST - timedelta(days=3)), "https://isp.example"
    assert remind(isp.session, installation.keyring, isp.rules, at, public_url=url) == 1
    assert remind(isp.session, installation.keyring, isp.rules, noon(LAST - timedelta(days=2))) == 0
    told = isp.session.scalars(select(Notification).where(Notification.subscriber_id == person.id)).one()
    assert "9 feb 2027" in told.subject or "9 de febrero" in told.subject
    link = read_link(told.body.partition(f"{url}/pay/")[2].split()[0])
    assert link is not None
    assert (link.purpose, link.subject_id) == (LinkFor.PAY_BALANCE, person.id)
    assert is_genuine(isp.session, installation.keyring, link)
    isp.pay(person.id, "1000", LAST)
    assert remind(isp.session, installation.keyring, isp.rules, noon(LAST)) == 0


def test_who_tops_up_online_is_asked_for_what_the_next_period_lacks(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    asked = []
    for amount in ("100", "250", "400"):
        due = due_of_subscriber(isp.session, isp.operator_id, service.subscriber_id, noon(BEGIN))
        asked.append(due.amount)
        isp.pay(service.subscriber_id, amount, BEGIN)
    asked.append(due_of_subscriber(isp.session, isp.operator_id, service.subscriber_id, noon(BEGIN)).amount)
    assert asked == [300, 200, 250, 300]  # the last one of a wallet that has 450: one more period


# The life of a service.


def test_what_was_bought_and_not_used_goes_back_into_the_wallet(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "310", BEGIN)
    pause(isp.session, isp.actor, service)
    isp.run(date(2027, 1, 20))
    assert wallet_of(isp.session, isp.rules, service.subscriber_id) > 200
    before = wallet_of(isp.session, isp.rules, service.subscriber_id)
    resume(isp.session, isp.actor, service)
    isp.run(date(2027, 3, 1))
    assert len(isp.invoices(service)) == 1  # not enough for a whole one
    isp.pay(service.subscriber_id, str(300 - before), date(2027, 3, 2))
    assert on(isp, service) == ("active", date(2027, 4, 1))
    terminate(isp.session, isp.actor, service, noon(date(2027, 3, 2)))
    isp.run(date(2027, 3, 2))
    assert wallet_of(isp.session, isp.rules, service.subscriber_id) > 280
    assert sound(isp)


def test_a_service_that_staff_suspended_buys_nothing(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    suspend(isp.session, isp.actor, service, "abuse", "", noon(BEGIN))
    isp.pay(service.subscriber_id, "300", BEGIN)
    assert isp.invoices(service) == []
    isp.session.refresh(service)
    assert service.state == "suspended"


def test_one_that_ran_out_is_not_billed_for_the_days_between_when_its_plan_changes(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "300", BEGIN)
    change_plan_of(isp.session, isp.actor, service, isp.plan("500"))
    isp.run(LAST + timedelta(days=30))  # the plan is changed after it ran out
    assert [one.total for one in isp.invoices(service)] == [300]
    isp.pay(service.subscriber_id, "500", LAST + timedelta(days=31))
    assert [one.total for one in isp.invoices(service)] == [300, 500]
    assert sound(isp)


def test_a_voided_payment_opens_what_it_bought(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    payment = isp.pay(service.subscriber_id, "300", BEGIN).payment
    void_payment(isp.session, isp.actor, isp.rules, payment, "bounced", noon(BEGIN))
    assert on(isp, service)[1] == BEGIN
    assert sound(isp)


def test_where_suspended_services_are_not_billed_one_that_ran_out_still_comes_back(rows):
    isp = BillingIsp.create(rows, prepaid=True, bill_suspended=False)
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(BEGIN))
    isp.run(BEGIN + timedelta(days=5))
    isp.pay(service.subscriber_id, "300", BEGIN + timedelta(days=6))
    assert on(isp, service) == ("active", date(2027, 2, 15))


# From one mode to the other.


@pytest.mark.parametrize("timing", ["advance", "arrears"])
def test_a_service_that_becomes_prepaid_is_billed_for_what_it_used_and_buys_from_there(rows, timing):
    isp = BillingIsp.create(rows, timing=timing, cut_off_day=10, issue_days=0)
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    day = date(2027, 1, 25)
    set_prepaid(isp.session, isp.actor, isp.rules, service, True, noon(day))
    (invoice,) = isp.invoices(service)
    assert invoice.period_last == (LAST if timing == "advance" else day - timedelta(days=1))
    isp.pay(service.subscriber_id, str(invoice.open), day)
    first = invoice.period_last + timedelta(days=1)
    assert on(isp, service)[1] == first - timedelta(days=1)
    isp.pay(service.subscriber_id, "300", day)
    isp.run(first)
    assert [one.period_first for one in isp.invoices(service)] == [BEGIN, first]
    assert sound(isp)


def test_one_that_ran_out_and_becomes_postpaid_is_billed_from_that_day_to_the_cut_off_day(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    day = date(2027, 1, 20)
    set_prepaid(isp.session, isp.actor, isp.rules, service, False, noon(day))
    isp.run(day)
    (invoice,) = isp.invoices(service)
    assert (invoice.period_first, invoice.period_last) == (day, date(2027, 2, 4))
    assert invoice.open > 0
    with pytest.raises(Invalid):
        set_prepaid(isp.session, isp.actor, isp.rules, service, False, noon(day))


# Faults.


@pytest.fixture
def committed(installation):
    """A prepaid service that ran out, committed, and sessions for it."""
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine, expire_on_commit=False) as session:
        isp = BillingIsp.create(session, prepaid=True)
        service = isp.service(BEGIN)
        isp.run(BEGIN)
        suspend(session, isp.actor, service, "overdue", "", noon(BEGIN))
        session.commit()
    yield isp, service, make_sessions(engine)
    engine.dispose()


def _pay(sessions, isp, subscriber_id, amount):
    with sessions() as session:
        terms = PaymentTerms(subscriber_id, isp.cash, Decimal(amount), "MXN", BEGIN)
        register_payment(
            session, Actor(isp.operator_id, "test"), rules_of(session, isp.operator_id), terms, noon(BEGIN)
        )
        session.commit()


def test_two_payments_at_once_buy_one_period(committed):
    isp, service, sessions = committed
    gate, problems = threading.Barrier(2), []

    def pay(amount):
        gate.wait()
        try:
            _pay(sessions, isp, service.subscriber_id, amount)
        except Exception as problem:  # noqa: BLE001 - whatever it is fails the test
            problems.append(problem)

    threads = [threading.Thread(target=pay, args=(amount,)) for amount in ("310", "320")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with sessions() as session:
        found = session.get_one(Service, service.id)
        assert (found.state, found.paid_until) == ("active", date(2027, 3, 9))
        assert len(session.scalars(select(Invoice).where(Invoice.service_id == service.id)).all()) == 1
        assert wallet_of(session, rules_of(session, isp.operator_id), service.subscriber_id) == 330
        assert broken_entries(session, isp.operator_id) == []


def test_a_crash_between_the_debit_and_the_restoring_leaves_neither(committed, monkeypatch):
    isp, service, sessions = committed

    def die(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("billing.dates.restore", die)
        with pytest.raises(RuntimeError):
            _pay(sessions, isp, service.subscriber_id, "300")
    with sessions() as session:
        assert wallet_of(session, rules_of(session, isp.operator_id), service.subscriber_id) == 0
        assert session.scalars(select(Invoice).where(Invoice.service_id == service.id)).all() == []
        assert session.get_one(Service, service.id).state == "suspended"
    _pay(sessions, isp, service.subscriber_id, "600")
    assert run_billing(sessions, isp.operator_id, noon(LAST + timedelta(days=1))).invoices == 1
    assert run_billing(sessions, isp.operator_id, noon(LAST + timedelta(days=1))).invoices == 0
    with sessions() as session:
        assert session.get_one(ServiceBilling, service.id).next_from == date(2027, 3, 10)
        assert price_of_next(session, rules_of(session, isp.operator_id), service.id, LAST) == 300
        assert discrepancies(session, isp.operator_id) == []
