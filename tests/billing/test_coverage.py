from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.coverage import MOST_PERIODS, Due, ServiceDues, covered_until

BEGIN = date(2027, 1, 5)


def monthly(amount, begin=BEGIN, step=30):
    number = 0
    while True:
        yield Due(begin + timedelta(days=step * number), Decimal(amount))
        number += 1


def until(credit, **services):
    dues = dict(enumerate(services.values()))
    return list(covered_until(dues, Decimal(credit)).values())


def test_an_open_invoice_is_the_day_whatever_credit_there_is():
    assert until(1000, one=ServiceDues(BEGIN, monthly(100))) == [BEGIN]


def test_a_service_that_is_billed_no_more_is_cut_by_no_day():
    assert until(0, one=ServiceDues(None, None)) == [None]


def test_a_free_service_is_cut_by_no_day():
    assert until(0, one=ServiceDues(None, monthly(0))) == [None]


def test_what_is_free_for_a_while_is_covered_for_that_while():
    def three_free():
        for number, due in enumerate(monthly(100)):
            yield Due(due.on, Decimal(0)) if number < 3 else due

    assert until(0, one=ServiceDues(None, three_free())) == [BEGIN + timedelta(days=90)]


def test_credit_beyond_all_reason_ends_somewhere():
    assert until(10**9, one=ServiceDues(None, monthly(1))) == [BEGIN + timedelta(days=30 * (MOST_PERIODS - 1))]


def test_a_part_of_what_falls_due_next_leaves_nothing_for_a_cheaper_service():
    found = until(150, dear=ServiceDues(None, monthly(200)), cheap=ServiceDues(None, monthly(50, BEGIN + timedelta(1))))
    assert found == [BEGIN, BEGIN + timedelta(days=1)]


@given(st.decimals(0, 5000, places=2), st.decimals(0, 5000, places=2), st.decimals("0.01", 500, places=2))
def test_more_money_never_means_less_time(one, other, price):
    less, more = sorted((one, other))
    assert until(less, one=ServiceDues(None, monthly(price))) <= until(more, one=ServiceDues(None, monthly(price)))


@given(st.decimals(0, 500, places=2), st.decimals("10", 100, places=2))
def test_credit_covers_as_many_months_as_it_pays(credit, price):
    months = min(int(credit // price), MOST_PERIODS - 1)
    assert until(credit, one=ServiceDues(None, monthly(price))) == [BEGIN + timedelta(days=30 * months)]
