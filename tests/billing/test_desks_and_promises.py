from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from aaa.cut_off import CutOffRule
from aaa.dunning import DunningStep, dunning_step
from aaa.facts import AccessMethod, Plan, Service, ServiceState
from billing.desks import close_desk, collector_sums, desk_sums, move_cash, open_desk
from billing.ledger import broken_entries
from billing.payments import PaymentTerms, refund_payment, register_payment, void_payment
from billing.promises import break_promises, cancel_promise, promise, promises_left
from core.rates import RateLimit
from crm.problems import Invalid, Problem
from crm.services import suspend
from db.models import Collector, LedgerLine, Promise
from tests.billing.isp import ZONE, BillingIsp, noon

BEGIN = date(2027, 1, 5)
TODAY = date(2027, 1, 10)


@pytest.fixture
def isp(rows):
    made = BillingIsp.create(rows, issue_days=0, first_due_days=0, promise_days=7, promises_a_year=2)
    made.actor = replace(made.actor, staff_id=made.staff())
    return made


@pytest.fixture
def service(isp):
    made = isp.service(BEGIN)
    isp.run(BEGIN)
    return made


def test_a_desk_is_opened_used_counted_and_closed(isp, service):
    now = noon(TODAY)
    desk = open_desk(isp.session, isp.actor, isp.rules, Decimal(500), now)
    first = isp.pay(service.subscriber_id, "300", TODAY).payment
    isp.pay(service.subscriber_id, "200", TODAY)
    refund_payment(isp.session, isp.actor, isp.rules, first, Decimal(50), "too much", now)
    move_cash(isp.session, isp.actor, isp.rules, desk, "deposit", Decimal(400), "Banco", now)
    move_cash(isp.session, isp.actor, isp.rules, desk, "expense", Decimal(30), "Gasolina", now)
    sums = desk_sums(isp.session, desk)
    assert (sums.payments, sums.refunds, sums.movements, sums.expected, sums.count) == (500, 50, -430, 520, 2)
    assert close_desk(isp.session, isp.actor, isp.rules, desk, Decimal("519.50"), "a coin", now) == Decimal("-0.50")
    assert (desk.expected, desk.counted) == (Decimal(520), Decimal("519.50"))
    cash = isp.session.scalars(
        select(LedgerLine.amount).where(LedgerLine.operator_id == isp.operator_id, LedgerLine.account == "cash")
    ).all()
    assert sum(cash) == Decimal("19.50")  # what is in the till, without what was in it when it was opened
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == []


def test_a_cashier_has_one_open_desk(isp):
    open_desk(isp.session, isp.actor, isp.rules, Decimal(0), noon(TODAY))
    with pytest.raises(Invalid) as refused:
        open_desk(isp.session, isp.actor, isp.rules, Decimal(0), noon(TODAY))
    assert refused.value.problems[0].problem is Problem.DESK_OPEN


def test_a_closed_desk_takes_nothing_and_is_not_changed(isp, service):
    desk = open_desk(isp.session, isp.actor, isp.rules, Decimal(0), noon(TODAY))
    close_desk(isp.session, isp.actor, isp.rules, desk, Decimal(0), "", noon(TODAY))
    with pytest.raises(Invalid) as refused:
        move_cash(isp.session, isp.actor, isp.rules, desk, "added", Decimal(5), "", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.DESK_CLOSED
    with pytest.raises(Invalid):
        close_desk(isp.session, isp.actor, isp.rules, desk, Decimal(0), "", noon(TODAY))
    assert isp.pay(service.subscriber_id, "10", TODAY).payment.desk_id is None
    with pytest.raises(DBAPIError, match="never changed"):
        isp.session.execute(text("UPDATE cash_desk SET counted = 1 WHERE id = :id"), {"id": desk.id})


def test_no_more_leaves_a_desk_than_is_in_it(isp):
    desk = open_desk(isp.session, isp.actor, isp.rules, Decimal(100), noon(TODAY))
    with pytest.raises(Invalid) as refused:
        move_cash(isp.session, isp.actor, isp.rules, desk, "deposit", Decimal("100.01"), "", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.AMOUNT_OVER


def test_a_voided_payment_is_not_in_the_till(isp, service):
    desk = open_desk(isp.session, isp.actor, isp.rules, Decimal(0), noon(TODAY))
    payment = isp.pay(service.subscriber_id, "300", TODAY).payment
    void_payment(isp.session, isp.actor, isp.rules, payment, "mistyped", noon(TODAY))
    assert desk_sums(isp.session, desk).expected == 0


def test_a_collector_hands_over_what_is_owed(isp, service):
    collector = Collector(operator_id=isp.operator_id, name="Beto", commission=Decimal(10))
    isp.session.add(collector)
    isp.session.flush()
    desk = open_desk(isp.session, isp.actor, isp.rules, Decimal(0), noon(TODAY))
    terms = PaymentTerms(service.subscriber_id, isp.cash, Decimal(300), "MXN", TODAY, collector_id=collector.id)
    register_payment(isp.session, isp.actor, isp.rules, terms, noon(TODAY))
    assert collector_sums(isp.session, collector.id).owes == Decimal(270)
    move_cash(isp.session, isp.actor, isp.rules, desk, "handover", Decimal(270), "", noon(TODAY), collector)
    assert collector_sums(isp.session, collector.id).owes == 0
    assert desk_sums(isp.session, desk).expected == Decimal(270)


def test_a_promise_brings_an_overdue_service_back_until_its_day_is_over(isp, service):
    suspend(isp.session, isp.actor, service, "overdue", "", noon(TODAY))
    until = TODAY + timedelta(days=3)
    promise(isp.session, isp.actor, isp.rules, service, until, "pays on Wednesday", noon(TODAY))
    assert (service.state, service.paid_until, service.promised_until) == ("active", BEGIN, until)
    ends = CutOffRule(ZONE).cut_off(service.paid_until, service.promised_until)
    assert ends == datetime(2027, 1, 14, 0, 0, tzinfo=ZONE).astimezone(UTC)


def test_a_promise_shifts_the_cut_of_the_worker(isp, service):
    promise(isp.session, isp.actor, isp.rules, service, TODAY, "", noon(TODAY))
    facts = Service(
        service.id, isp.operator_id, AccessMethod.PPPOE, service.name, ServiceState.ACTIVE,
        Plan(1, "p", RateLimit(1, 1)),
        paid_until=CutOffRule(ZONE).cut_off(service.paid_until, service.promised_until),
    )  # fmt: skip
    assert dunning_step(facts, ZONE, noon(TODAY)) is None
    assert dunning_step(facts, ZONE, noon(TODAY + timedelta(days=1))) is DunningStep.SUSPEND


@pytest.mark.parametrize(
    ("days", "problem"),
    [pytest.param(-1, Problem.TOO_LONG_AGO, id="past"), pytest.param(8, Problem.TOO_FAR_AHEAD, id="too far")],
)
def test_a_promise_is_for_a_few_days(isp, service, days, problem):
    with pytest.raises(Invalid) as refused:
        promise(isp.session, isp.actor, isp.rules, service, TODAY + timedelta(days=days), "", noon(TODAY))
    assert refused.value.problems[0].problem is problem


def test_so_many_promises_a_year_and_no_more(isp, service):
    for _ in range(2):
        promise(isp.session, isp.actor, isp.rules, service, TODAY, "", noon(TODAY))
    assert promises_left(isp.session, isp.rules, service.id, noon(TODAY)) == 0
    with pytest.raises(Invalid) as refused:
        promise(isp.session, isp.actor, isp.rules, service, TODAY, "", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.LIMIT_REACHED
    assert promises_left(isp.session, isp.rules, service.id, noon(TODAY + timedelta(days=366))) == 2


def test_a_promise_is_kept_by_paying_and_broken_by_not(isp, service):
    promise(isp.session, isp.actor, isp.rules, service, TODAY, "", noon(TODAY))
    isp.pay(service.subscriber_id, "300", TODAY)
    other = isp.service(BEGIN)
    isp.run(BEGIN)
    promise(isp.session, isp.actor, isp.rules, other, TODAY, "", noon(TODAY))
    tomorrow = TODAY + timedelta(days=1)
    assert break_promises(isp.session, isp.operator_id, TODAY, noon(TODAY)) == 0
    assert break_promises(isp.session, isp.operator_id, tomorrow, noon(tomorrow)) == 1
    states = isp.session.execute(
        select(Promise.service_id, Promise.state).execution_options(populate_existing=True)
    ).all()
    assert dict(states) == {service.id: "kept", other.id: "broken"}


def test_a_promise_is_taken_back(isp, service):
    promise(isp.session, isp.actor, isp.rules, service, TODAY, "", noon(TODAY))
    cancel_promise(isp.session, isp.actor, service, noon(TODAY))
    assert service.promised_until is None
