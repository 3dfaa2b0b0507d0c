"""Payments, cash and exchange in a second currency, while the books stay in one."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from billing.desks import close_desk, collector_sums, desk_sums, open_desk
from billing.following import follow_service
from billing.foreign_cash import outside_tills, stock_of, sums_of_desk
from billing.foreign_desks import exchange, move_foreign
from billing.ledger import balance_of, broken_entries, discrepancies
from billing.payments import PaymentTerms, refund_payment, register_payment, void_payment, what_it_will_do
from billing.plan_offers import plan_offer
from billing.preview import next_invoices
from billing.run import issue_batch, waiting_for_rates
from crm.currencies import (
    NewRate,
    RateJump,
    enter_rates,
    in_books,
    price_in_books,
    read_rates,
    set_rate_days,
    switch_off,
    switch_on,
)
from crm.plans import PlanTerms, create_plan
from crm.problems import Invalid, Problem
from crm.services import change_plan_of, change_service, terms_of_service
from db.models import (
    AuditEntry,
    CashDesk,
    Collector,
    ExchangeRate,
    Invoice,
    InvoiceLine,
    Payment,
    PaymentMethod,
    RatePlan,
)
from tests.billing.isp import BillingIsp, noon

BEGIN = date(2027, 1, 5)
TODAY = date(2027, 1, 10)
DAY = timedelta(days=1)
D = Decimal


@pytest.fixture
def isp(rows):
    """Books in pesos; dollars at 17.25 on the 5th and 17.40 on the 10th."""
    return made(rows)


def made(rows) -> BillingIsp:
    isp = BillingIsp.create(rows, issue_days=0, first_due_days=0)
    isp.actor = replace(isp.actor, staff_id=isp.staff())
    switch_on(rows, isp.actor, "USD")
    rate(isp, BEGIN, "17.25")
    rate(isp, TODAY, "17.40")
    return isp


def rate(isp, day, value, *, sure=False, today=TODAY):
    return enter_rates(isp.session, isp.actor, [NewRate("USD", day, D(value))], max(day, today), sure=sure)


@pytest.fixture
def service(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    return service


def take(isp, service, amount, day=TODAY, *, change="0", currency="USD", **values) -> Payment:
    terms = PaymentTerms(service.subscriber_id, isp.cash, D(amount), currency, day, change=D(change))
    return register_payment(isp.session, isp.actor, isp.rules, replace(terms, **values), noon(TODAY)).payment


def open_with(isp, opening="0", **foreign) -> CashDesk:
    known = {currency: D(amount) for currency, amount in foreign.items()}
    return open_desk(isp.session, isp.actor, isp.rules, D(opening), noon(TODAY), known)


def account(isp, name) -> Decimal:
    query = "SELECT coalesce(sum(amount), 0) FROM ledger_line WHERE operator_id = :id AND account = :name"
    return isp.session.execute(text(query), {"id": isp.operator_id, "name": name}).scalar_one()


def sound(isp) -> None:
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == []
    assert discrepancies(isp.session, isp.operator_id) == []


def problem_of(refused) -> Problem:
    return refused.value.problems[0].problem


# Rates.


def test_a_rate_that_jumps_is_asked_about_and_a_correction_is_another_row(isp):
    with pytest.raises(RateJump) as asked:
        rate(isp, TODAY, "1.74")
    assert [(jump.before, jump.after, jump.percent) for jump in asked.value.jumps] == [(D("17.4"), D("1.74"), D(-90))]
    assert rate(isp, TODAY, "19.14") == 1  # exactly ten percent
    assert rate(isp, TODAY, "19.14") == 0  # known already
    assert rate(isp, TODAY, "1.74", sure=True) == 1
    kept = isp.session.execute(
        text("SELECT rate FROM exchange_rate WHERE operator_id = :id AND day = :day ORDER BY id"),
        {"id": isp.operator_id, "day": TODAY},
    )
    assert list(kept.scalars()) == [D("17.4"), D("19.14"), D("1.74")]
    audited = select(AuditEntry).where(AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "currency.rates")
    assert len(isp.session.scalars(audited).all()) == 4
    with pytest.raises(DBAPIError, match="never changed"), isp.session.begin_nested():
        isp.session.execute(text("UPDATE exchange_rate SET rate = 1"))


def test_the_rate_of_the_day_of_payment_counts_and_the_last_correction_of_it(isp, service):
    assert take(isp, service, "10", BEGIN).amount == D("172.50")
    assert take(isp, service, "10", TODAY - DAY).amount == D("172.50")
    rate(isp, BEGIN, "17.00")
    assert take(isp, service, "10", TODAY - DAY).amount == D("170.00")
    assert take(isp, service, "10", TODAY).amount == D("174.00")
    sound(isp)


@pytest.mark.parametrize(
    ("day", "days", "problem"),
    [
        pytest.param(BEGIN - DAY, 7, Problem.NO_RATE, id="before the first"),
        pytest.param(BEGIN + 3 * DAY, 2, Problem.RATE_TOO_OLD, id="too old"),
        pytest.param(BEGIN + 2 * DAY, 2, None, id="just good"),
    ],
)
def test_a_payment_without_a_good_rate_is_refused(isp, service, day, days, problem):
    set_rate_days(isp.session, isp.actor, days)
    if problem is None:
        assert take(isp, service, "10", day).exchange_rate == D("17.25")
        return
    with pytest.raises(Invalid) as refused:
        take(isp, service, "10", day)
    assert problem_of(refused) is problem
    assert isp.session.scalars(select(Payment).where(Payment.operator_id == isp.operator_id)).all() == []


def test_a_file_of_rates_is_read_whole_or_not_at_all(isp):
    content = "Fecha;Tipo;Moneda\n2027-01-11;17,41;USD\n2027-01-12;17,4525;usd\n"
    found = read_rates(content, "es_AR", ["EUR", "USD"])
    assert found == [NewRate("USD", date(2027, 1, 11), D("17.41")), NewRate("USD", date(2027, 1, 12), D("17.4525"))]
    assert read_rates("2027-01-11,17.41", "es_MX", ["USD"]) == [NewRate("USD", date(2027, 1, 11), D("17.41"))]
    with pytest.raises(Invalid) as refused:
        read_rates("day,rate\n2027-01-11,17.41\n11/01/2027,17.42\n", "es_MX", ["USD"])
    assert refused.value.problems[0].detail == {"line": "3"}
    with pytest.raises(RateJump) as asked:
        enter_rates(isp.session, isp.actor, [*found, NewRate("USD", date(2027, 1, 13), D("25"))], date(2027, 1, 13))
    assert [jump.day.day for jump in asked.value.jumps] == [13]
    assert enter_rates(isp.session, isp.actor, found, date(2027, 1, 13), "file") == 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("2027-01-11;USD;17,41\n2027-01-12;USD;17,4525\n", id="semicolons and no names"),
        pytest.param("2027-01-11;17,41\n2027-01-12;17,4525\n", id="semicolons and one currency"),
        pytest.param("2027-01-11\t17,41\n2027-01-12\t17,4525\n", id="tabs"),
        pytest.param('\ufeff2027-01-11,USD,"17,41"\r\n2027-01-12,USD,"17,4525"\r\n', id="commas from Excel"),
        pytest.param("2027-01-11;17,41\r2027-01-12;17,4525\r", id="lines of an old Macintosh"),
    ],
)
def test_a_file_of_rates_is_read_as_the_readers_programs_write_it(content):
    found = read_rates(content, "es_AR", ["USD"])
    assert found == [NewRate("USD", date(2027, 1, 11), D("17.41")), NewRate("USD", date(2027, 1, 12), D("17.4525"))]


def test_a_file_of_rates_that_is_no_table_is_refused_by_its_line():
    with pytest.raises(Invalid) as refused:
        read_rates("2027-01-11,17.41\n2027-01-12," + "1" * 200_000, "en", ["USD"])
    assert refused.value.problems[0].problem is Problem.BAD_LINE
    assert refused.value.problems[0].detail == {"line": "2"}


def test_a_currency_that_something_needs_is_not_switched_off(isp, service):
    payment = take(isp, service, "10")
    with pytest.raises(Invalid) as refused:
        switch_off(isp.session, isp.actor, "USD")
    assert problem_of(refused) is Problem.CURRENCY_IN_USE
    void_payment(isp.session, isp.actor, isp.rules, payment, "mistyped", noon(TODAY))
    switch_off(isp.session, isp.actor, "USD")
    with pytest.raises(Invalid) as refused:
        take(isp, service, "10")
    assert problem_of(refused) is Problem.WRONG_CURRENCY


# Payments.


def test_dollars_pay_an_invoice_in_pesos_and_the_change_is_booked(isp, service):
    terms = PaymentTerms(service.subscriber_id, isp.cash, D(20), "USD", TODAY, change=D(48))
    effects = what_it_will_do(isp.session, isp.actor, isp.rules, terms, noon(TODAY))
    assert effects.exchanged is not None
    assert (effects.exchanged.worth, effects.exchanged.booked) == (D("348.00"), D("300.00"))
    payment = take(isp, service, "20", change="48")
    assert (payment.currency, payment.amount, payment.foreign_amount) == ("MXN", D(300), D(20))
    assert (payment.foreign_currency, payment.exchange_rate, payment.change_given) == ("USD", D("17.4"), D(48))
    assert balance_of(isp.session, service.subscriber_id) == 0
    assert (account(isp, "foreign_cash"), account(isp, "cash")) == (D(348), D(-48))
    sound(isp)
    with pytest.raises(DBAPIError, match="never changed"), isp.session.begin_nested():
        isp.session.execute(text("UPDATE payment SET exchange_rate = 1 WHERE id = :id"), {"id": payment.id})


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        pytest.param({"currency": "EUR"}, "amount", Problem.WRONG_CURRENCY, id="not switched on"),
        pytest.param({"currency": "XYZ"}, "amount", Problem.WRONG_CURRENCY, id="no currency"),
        pytest.param({"amount": "1.005"}, "amount", Problem.AMOUNT_TOO_PRECISE, id="too precise"),
        pytest.param({"amount": "-5"}, "amount", Problem.AMOUNT_NEGATIVE, id="negative"),
        pytest.param({"amount": "900000000"}, "amount", Problem.AMOUNT_TOO_LARGE, id="too large in pesos"),
        pytest.param({"change": "174"}, "change", Problem.AMOUNT_OVER, id="all of it as change"),
        pytest.param({"change": "-1"}, "change", Problem.AMOUNT_NEGATIVE, id="change below zero"),
        pytest.param({"currency": "MXN", "change": "1"}, "change", Problem.CHANGE_OF_CASH, id="change of pesos"),
    ],
)
def test_what_cannot_be_taken_is_refused_beside_its_field(isp, service, values, field, problem):
    with pytest.raises(Invalid) as refused:
        take(isp, service, **{"amount": "10", **values})
    assert (refused.value.problems[0].field, problem_of(refused)) == (field, problem)


def test_a_void_takes_everything_back_at_the_rate_of_then(isp, service):
    payment = take(isp, service, "20", BEGIN, change="45")
    rate(isp, TODAY, "18.90")
    void_payment(isp.session, isp.actor, isp.rules, payment, "false note", noon(TODAY))
    for name in ("foreign_cash", "cash", "credit", "exchange_difference"):
        assert account(isp, name) == 0, name
    assert stock_of(isp.session, isp.operator_id, "USD").amount == 0
    sound(isp)


def test_voided_after_its_till_closed_the_change_comes_back_where_the_notes_went(isp, service):
    first = open_with(isp, "100")
    payment = take(isp, service, "20", change="45")
    assert close_desk(isp.session, isp.actor, isp.rules, first, D(55), "", noon(TODAY), {"USD": D(20)}) == 0
    second = open_with(isp, "100", USD="20")
    void_payment(isp.session, isp.actor, isp.rules, payment, "false note", noon(TODAY))
    assert (desk_sums(isp.session, first).expected, desk_sums(isp.session, second).expected) == (D(55), D(145))
    assert close_desk(isp.session, isp.actor, isp.rules, second, D(145), "", noon(TODAY), {"USD": D(0)}) == 0
    assert (account(isp, "cash"), account(isp, "foreign_cash"), account(isp, "cash_difference")) == (0, 0, 0)
    sound(isp)


def test_refunds_give_dollars_back_at_the_rate_of_then_to_the_last_cent(isp, service):
    rate(isp, BEGIN, "17.3333")
    payment = take(isp, service, "10", BEGIN)
    assert payment.amount == D("173.33")
    rate(isp, TODAY, "18.90")
    given = [
        refund_payment(isp.session, isp.actor, isp.rules, payment, D(part), "too much", noon(TODAY))[0]
        for part in ("3.33", "3.33", "3.34")
    ]
    assert [one.foreign_amount for one in given] == [D("3.33"), D("3.33"), D("3.34")]
    assert sum(one.amount for one in given) == payment.amount
    assert (account(isp, "foreign_cash"), account(isp, "exchange_difference")) == (0, 0)
    with pytest.raises(Invalid) as refused:
        refund_payment(isp.session, isp.actor, isp.rules, payment, D("0.01"), "more", noon(TODAY))
    assert problem_of(refused) is Problem.AMOUNT_OVER
    sound(isp)


def test_dollars_by_transfer_are_in_the_bank_at_the_rate_of_the_day(isp, service):
    bank = PaymentMethod(operator_id=isp.operator_id, name="Wire", account="bank")
    isp.session.add(bank)
    isp.session.flush()
    payment = take(isp, service, "20", method_id=bank.id)
    with pytest.raises(Invalid) as refused:
        take(isp, service, "20", method_id=bank.id, change="1")
    assert problem_of(refused) is Problem.CHANGE_OF_CASH
    refund_payment(isp.session, isp.actor, isp.rules, payment, D(5), "too much", noon(TODAY))
    assert (account(isp, "bank"), account(isp, "foreign_cash")) == (D("261.00"), 0)
    sound(isp)


# Cash.


def test_a_desk_counts_each_currency_for_itself(isp, service):
    desk = open_with(isp, "100")
    take(isp, service, "20", change="48")
    isp.pay(service.subscriber_id, "200", TODAY)
    payment = take(isp, service, "10")
    refund_payment(isp.session, isp.actor, isp.rules, payment, D(4), "too much", noon(TODAY))
    sums = desk_sums(isp.session, desk)
    assert (sums.payments, sums.change, sums.refunds, sums.expected, sums.count) == (D(200), D(48), 0, D(252), 1)
    (dollars,) = sums_of_desk(isp.session, desk)
    assert (dollars.payments, dollars.refunds, dollars.expected, dollars.count) == (D(30), D(4), D(26), 2)
    with pytest.raises(Invalid) as refused:
        close_desk(isp.session, isp.actor, isp.rules, desk, D(252), "", noon(TODAY))
    assert refused.value.problems[0].field == "counted-USD"
    assert close_desk(isp.session, isp.actor, isp.rules, desk, D(252), "", noon(TODAY), {"USD": D(25)}) == 0
    (dollars,) = sums_of_desk(isp.session, desk)
    assert (dollars.expected, dollars.counted) == (D(26), D(25))
    assert stock_of(isp.session, isp.operator_id, "USD") == replace(
        stock_of(isp.session, isp.operator_id, "USD"), amount=D(25), value=D("435.00")
    )
    assert account(isp, "cash_difference") == D("17.40")
    sound(isp)
    with pytest.raises(Invalid) as refused, isp.session.begin_nested():
        open_with(isp, "252", USD="25.01")
    assert problem_of(refused) is Problem.NOT_SO_MUCH_CASH
    assert sums_of_desk(isp.session, open_with(isp, "252", USD="25"))[0].opening == D(25)


def test_exchanging_books_what_it_gained_or_lost(isp, service):
    desk = open_with(isp)
    take(isp, service, "60", BEGIN)  # 1,035.00
    take(isp, service, "40", TODAY)  # 696.00
    act = (isp.session, isp.actor, isp.rules, desk)
    exchange(*act, "USD", D(50), D("875"), "Banco", noon(TODAY))  # came in at 865.50
    assert (account(isp, "exchange_difference"), account(isp, "cash")) == (D("-9.50"), D(875))
    exchange(*act, "USD", D(50), D("850"), "Banco", noon(TODAY), into_till=False)
    assert (account(isp, "exchange_difference"), account(isp, "bank")) == (D("6.00"), D(850))
    assert (account(isp, "foreign_cash"), desk_sums(isp.session, desk).expected) == (0, D(875))
    with pytest.raises(Invalid) as refused:
        exchange(*act, "USD", D("0.01"), D(1), "Banco", noon(TODAY))
    assert problem_of(refused) is Problem.NOT_SO_MUCH_CASH
    sound(isp)


def test_what_is_gone_already_is_neither_refunded_nor_voided_in_cash(isp, service):
    desk = open_with(isp)
    payment = take(isp, service, "20")
    move_foreign(isp.session, isp.actor, isp.rules, desk, "deposit", "USD", D(15), "Banco", noon(TODAY))
    assert (account(isp, "bank"), account(isp, "foreign_cash")) == (D("261.00"), D("87.00"))
    for act, args in ((refund_payment, (D(6), "x")), (void_payment, ("x",))):
        with pytest.raises(Invalid) as refused, isp.session.begin_nested():
            act(isp.session, isp.actor, isp.rules, payment, *args, noon(TODAY))
        assert problem_of(refused) is Problem.NOT_SO_MUCH_CASH
    move_foreign(isp.session, isp.actor, isp.rules, desk, "added", "USD", D(15), "Caja", noon(TODAY))
    void_payment(isp.session, isp.actor, isp.rules, payment, "x", noon(TODAY))
    assert account(isp, "foreign_cash") == 0
    sound(isp)


def test_a_collector_hands_dollars_over(isp, service):
    collector = Collector(operator_id=isp.operator_id, name="Beto", commission=D(10))
    isp.session.add(collector)
    isp.session.flush()
    desk = open_with(isp)
    take(isp, service, "20", change="48", collector_id=collector.id)
    sums = collector_sums(isp.session, collector.id)
    assert (sums.owes, sums.holds) == (D(270), (("USD", D(20)),))
    act = (isp.session, isp.actor, isp.rules, desk, "handover", "USD")
    with pytest.raises(Invalid) as refused:
        move_foreign(*act, D(21), "", noon(TODAY), collector)
    assert problem_of(refused) is Problem.AMOUNT_OVER
    move_foreign(*act, D(20), "", noon(TODAY), collector)
    sums = collector_sums(isp.session, collector.id)
    assert (sums.owes, sums.holds) == (D(-78), ())  # 48 of change and 30 of commission were the collector's own pesos
    assert sums_of_desk(isp.session, desk)[0].expected == D(20)
    assert (account(isp, "collectors"), account(isp, "foreign_cash")) == (D(-78), D(348))
    sound(isp)


# Random histories.

ACTS = st.one_of(
    st.tuples(st.just("pay"), st.integers(1, 5000), st.integers(0, 40)),
    st.tuples(st.just("pesos"), st.integers(1, 50_000), st.just(0)),
    st.tuples(st.just("collect"), st.integers(1, 5000), st.integers(0, 40)),
    st.tuples(st.just("hand over"), st.integers(1, 100), st.just(0)),
    st.tuples(st.just("void"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("refund"), st.integers(0, 9), st.integers(1, 100)),
    st.tuples(st.just("exchange"), st.integers(1, 100), st.integers(900, 1100)),
    st.tuples(st.sampled_from(["deposit", "expense", "added"]), st.integers(1, 100), st.just(0)),
    st.tuples(st.just("rate"), st.integers(-90, 90), st.just(0)),
    st.tuples(st.just("recount"), st.integers(-300, 300), st.just(0)),
)


def test_whatever_happens_the_books_balance_and_the_cash_is_its_movements(rows):
    @settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.lists(ACTS, min_size=1, max_size=8))
    def check(history):
        nested = rows.begin_nested()
        try:
            _live_through(made(rows), history)
        finally:
            nested.rollback()
            rows.expunge_all()

    check()


def _live_through(isp, history):
    """The model counts notes and nothing else: dollars in the till, with the collector, and what was paid in all."""
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    collector = Collector(operator_id=isp.operator_id, name="Beto", commission=D(0))
    isp.session.add(collector)
    isp.session.flush()
    desk, notes = open_with(isp), {"till": D(0), "collector": D(0)}
    paid: list[tuple[Payment, str]] = []
    money, gained, current = D(0), D(0), D("17.40")
    for kind, first, second in history:
        now, act = noon(TODAY), (isp.session, isp.actor, isp.rules)
        if kind in ("pay", "collect"):
            worth = (D(first) / 100 * current).quantize(D("0.01"), "ROUND_HALF_UP")
            change = min(D(second), worth - D("0.01"))
            where = "till" if kind == "pay" else "collector"
            who = {} if kind == "pay" else {"collector_id": collector.id}
            payment = take(isp, service, str(D(first) / 100), change=str(change), **who)
            assert payment.amount == worth - change
            notes[where] += D(first) / 100
            money += worth - change
            paid.append((payment, where))
        elif kind == "pesos":
            isp.pay(service.subscriber_id, str(D(first) / 100), TODAY)
            money += D(first) / 100
        elif kind in ("void", "refund") and paid:
            payment, where = paid[first % len(paid)]
            if payment.voided_at is not None or payment.refunded:
                continue
            part = payment.foreign_amount
            if kind == "refund":
                part = max(D("0.01"), (part * second / 200).quantize(D("0.01")))
            enough = where == "collector" or notes["till"] >= part
            before = payment.amount - payment.refunded
            problem = _give_back(isp, kind, payment, part)
            if problem is None:
                assert enough
                isp.session.refresh(payment)
                money -= before if kind == "void" else payment.refunded
                notes[where] -= part
            elif enough:  # so much change was given that the note is not worth this part, or not a cent
                assert kind == "refund"
                assert problem in (Problem.AMOUNT_OVER, Problem.AMOUNT_ZERO)
        elif kind == "rate":
            current = (current * (1000 + first) / 1000).quantize(D("0.0001"))
            rate(isp, TODAY, str(current))
        elif kind == "recount":
            counted = max(D(0), notes["till"] + D(first) / 100)
            pesos = desk_sums(isp.session, desk).expected
            isp.session.refresh(desk)
            close_desk(*act, desk, max(D(0), pesos), "", now, {"USD": counted})
            notes["till"] = counted
            desk = open_with(isp, str(max(D(0), pesos)), USD=str(counted))
        elif kind == "added" or (kind == "deposit" and notes["till"]) or (kind == "expense" and notes["till"]):
            part = (max(notes["till"], D(10)) if kind == "added" else notes["till"]) * first / 100
            part = max(D("0.01"), part.quantize(D("0.01"), "ROUND_DOWN"))
            move_foreign(*act, desk, kind, "USD", part, "", now)
            notes["till"] += part if kind == "added" else -part
        elif kind == "exchange" and notes["till"]:
            part = max(D("0.01"), (notes["till"] * first / 100).quantize(D("0.01"), "ROUND_DOWN"))
            got = max(D("0.01"), (part * current * second / 1000).quantize(D("0.01")))
            exchange(*act, desk, "USD", part, got, "", now)
            notes["till"] -= part
            gained += got
        elif kind == "hand over" and notes["collector"] > 0:
            part = max(D("0.01"), (notes["collector"] * first / 100).quantize(D("0.01"), "ROUND_DOWN"))
            move_foreign(*act, desk, "handover", "USD", part, "", now, collector)
            notes["collector"] -= part
            notes["till"] += part
        _agree(isp, service, collector, desk, notes, money)


def _give_back(isp, kind, payment, part) -> Problem | None:
    """Void or refund, and return what is in the way of it, if anything is."""
    act = (isp.session, isp.actor, isp.rules, payment)
    try:
        with isp.session.begin_nested():
            if kind == "void":
                void_payment(*act, "x", noon(TODAY))
            else:
                refund_payment(*act, part, "x", noon(TODAY))
    except Invalid as refused:
        isp.session.expire_all()
        return refused.problems[0].problem
    return None


def _agree(isp, service, collector, desk, notes, money):
    sound(isp)
    stock = stock_of(isp.session, isp.operator_id, "USD")
    held = stock_of(isp.session, isp.operator_id, "USD", collector.id)
    assert (stock.amount, held.amount) == (notes["till"], notes["collector"])
    assert sum((each.expected for each in sums_of_desk(isp.session, desk)), D(0)) == notes["till"]
    assert outside_tills(isp.session, isp.operator_id, "USD") == 0
    assert stock.value >= 0
    assert stock.amount > 0 or stock.value == 0
    assert held.amount != 0 or held.value == 0
    assert account(isp, "foreign_cash") == stock.value
    assert collector_sums(isp.session, collector.id).owes == account(isp, "collectors")
    invoiced = isp.session.execute(
        text("SELECT coalesce(sum(total), 0) FROM invoice WHERE subscriber_id = :id"), {"id": service.subscriber_id}
    ).scalar_one()
    assert balance_of(isp.session, service.subscriber_id) == invoiced - money


# Plans that are priced in dollars.


@pytest.fixture
def dollar_line(isp):
    """A service of a plan of 20 dollars, beside one of 300 pesos."""
    plan = isp.plan("20")
    isp.session.get_one(RatePlan, plan).price_currency = "USD"
    isp.session.flush()
    isp.service(BEGIN, "300")
    return isp.service(BEGIN, "20")


def lines_of(isp, service):
    query = select(InvoiceLine).join(Invoice, Invoice.id == InvoiceLine.invoice_id)
    return list(isp.session.scalars(query.where(Invoice.service_id == service.id).order_by(Invoice.id)))


def test_a_plan_in_dollars_is_billed_at_the_rate_of_the_day_of_issue(isp, dollar_line):
    other = isp.service(BEGIN, "300")
    assert isp.run(BEGIN) == 3
    (line,) = lines_of(isp, dollar_line)
    assert (line.total, line.description.split(" (")[1]) == (D("345.00"), "20.00\u00a0USD, 1 USD = 17.2500 MXN)")
    assert (line.foreign_currency, line.foreign_price, line.exchange_rate) == ("USD", D(20), D("17.25"))
    (pesos,) = lines_of(isp, other)
    assert (pesos.total, pesos.foreign_currency, pesos.exchange_rate) == (D(300), None, None)
    february = date(2027, 2, 5)
    rate(isp, february, "18.00", today=february)
    rate(isp, february + DAY, "19.00", today=february + DAY)
    (assumed, _later) = next_invoices(isp.session, isp.rules, dollar_line.id, TODAY, 2)
    assert assumed.total == D("348.00")
    assert "1 USD = 17.4000 MXN" in assumed.lines[0].description  # the rate that the preview assumes
    isp.run(february)
    assert [line.total for line in lines_of(isp, dollar_line)] == [D("345.00"), D("360.00")]
    sound(isp)


def test_without_a_recent_rate_only_these_invoices_wait_and_the_next_run_makes_them(isp, dollar_line):
    isp.run(BEGIN)
    february = date(2027, 2, 5)
    batch = issue_batch(isp.session, isp.rules, noon(february), 0)
    assert (batch.services, batch.invoices, batch.waiting) == (1, 1, 1)
    again = issue_batch(isp.session, isp.rules, noon(february), 0)
    assert (again.services, again.invoices, again.waiting) == (0, 0, 1)
    assert waiting_for_rates(isp.session, isp.rules, noon(february)) == {"USD": 1}
    rate(isp, february, "18.00", today=february)
    assert waiting_for_rates(isp.session, isp.rules, noon(february)) == {}
    assert isp.run(february) == 1
    assert isp.run(february) == 0
    periods = [(line.first.day, line.first.month, line.total) for line in lines_of(isp, dollar_line)]
    assert periods == [(5, 1, D("345.00")), (5, 2, D("360.00"))]
    sound(isp)


def test_a_change_to_a_plan_in_dollars_waits_for_a_rate_as_well(isp, dollar_line):
    service = isp.service(BEGIN, "300")
    isp.run(BEGIN)
    late = date(2027, 1, 25)
    change_plan_of(isp.session, isp.actor, service, isp.plan("20"))
    follow_service(isp.session, isp.actor, isp.rules, service, noon(late))
    assert len(lines_of(isp, service)) == 1
    rate(isp, late, "18.00", today=late)
    follow_service(isp.session, isp.actor, isp.rules, service, noon(late))
    changed = lines_of(isp, service)[1:]
    assert sorted(line.total for line in changed) == [D("-106.45"), D("127.74")]  # 11 of 31 days
    assert [line.exchange_rate for line in changed if line.total > 0] == [D(18)]
    sound(isp)


def test_staff_change_no_plan_while_it_could_not_be_billed_from_that_day(isp, dollar_line):
    service = isp.service(BEGIN, "300")
    isp.run(BEGIN)
    late, wanted = date(2027, 1, 25), isp.plan("20")
    for line, plan in ((service, wanted), (dollar_line, isp.plan("300"))):
        terms = replace(terms_of_service(isp.session, line), plan_id=plan)
        for act, args in ((change_plan_of, (plan,)), (change_service, (terms, line.version))):
            with pytest.raises(Invalid) as refused:
                act(isp.session, isp.actor, line, *args, noon(late))
            assert (refused.value.problems[0].field, problem_of(refused)) == ("plan_id", Problem.RATE_TOO_OLD)
            assert line.plan_id != plan
    change_plan_of(isp.session, isp.actor, service, isp.plan("400"), noon(late))  # pesos wait for nothing
    rate(isp, late, "18.00", today=late)
    change_plan_of(isp.session, isp.actor, service, wanted, noon(late))
    follow_service(isp.session, isp.actor, isp.rules, service, noon(late))
    (charged,) = (line for line in lines_of(isp, service)[1:] if line.exchange_rate)
    assert charged.total == D("127.74")  # 11 of 31 days, of 20 dollars at 18
    sound(isp)


def test_what_a_plan_in_dollars_would_cost_is_not_said_without_a_recent_rate(isp, dollar_line):
    service = isp.service(BEGIN, "300")
    isp.run(BEGIN)
    late, wanted = date(2027, 1, 25), isp.session.get_one(RatePlan, isp.plan("20"))
    for line, plan in ((service, wanted), (dollar_line, isp.session.get_one(RatePlan, service.plan_id))):
        with pytest.raises(Invalid) as refused:
            plan_offer(isp.session, isp.actor, isp.rules, line, plan, noon(late))
        assert problem_of(refused) is Problem.RATE_TOO_OLD
    rate(isp, late, "18.00", today=late)
    assert plan_offer(isp.session, isp.actor, isp.rules, service, wanted, noon(late)).today == D("21.29")


def test_a_prepaid_service_in_dollars_is_bought_once_there_is_a_rate(isp):
    plan = isp.plan("20")
    isp.session.get_one(RatePlan, plan).price_currency = "USD"
    late = date(2027, 1, 25)
    service = isp.service(late, "20", prepaid=True)
    isp.pay(service.subscriber_id, "400", late)
    assert isp.run(late) == 0
    rate(isp, late, "18.00", today=late)
    assert isp.run(late) == 1
    assert balance_of(isp.session, service.subscriber_id) == D(-40)


def test_a_rate_into_books_of_another_currency_prices_nothing(isp):
    plan = isp.session.get_one(RatePlan, isp.plan("20"))
    plan.price_currency = "USD"
    # The operator kept its books in quetzales once.
    before = {"currency": "USD", "books_currency": "GTQ", "day": TODAY, "rate": D("7.7")}
    isp.session.add(ExchangeRate(operator_id=isp.operator_id, **before))
    isp.session.flush()
    reported = text(f"SELECT {in_books('p.price', 'p')} FROM rate_plan p WHERE id = :id")
    assert isp.session.scalar(reported, {"id": plan.id}) == price_in_books(isp.session, plan, TODAY) == D("348.00")


def test_a_plan_is_priced_only_in_what_has_a_rate(isp):
    switch_on(isp.session, isp.actor, "EUR")
    for currency, problem in (("EUR", Problem.NO_RATE), ("GBP", Problem.NOT_A_CURRENCY)):
        terms = PlanTerms("Euro", 1_000_000, 1_000_000, price=D(20), price_currency=currency)
        with pytest.raises(Invalid) as refused:
            create_plan(isp.session, isp.actor, terms)
        assert problem_of(refused) is problem
    plan = create_plan(isp.session, isp.actor, replace(terms, price_currency="USD"))
    assert price_in_books(isp.session, plan, TODAY) == D("348.00")
    with pytest.raises(Invalid) as refused:
        switch_off(isp.session, isp.actor, "USD")
    assert problem_of(refused) is Problem.CURRENCY_IN_USE
