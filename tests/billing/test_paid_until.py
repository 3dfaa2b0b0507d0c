"""The table of `paid_until`: until which day a service stays on, by what was paid and when. See docs/billing.md."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from billing.ledger import balance_of, broken_entries, discrepancies
from crm.services import suspend
from tests.billing.isp import ZONE, BillingIsp, noon

JANUARY, FEBRUARY, MARCH = date(2027, 1, 5), date(2027, 2, 5), date(2027, 3, 5)
"""The operator's cut-off day is the 5th; each month costs 300."""


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=5, first_due_days=0)


@pytest.mark.parametrize(
    ("payments", "today", "expected"),
    [
        pytest.param([], date(2027, 1, 5), JANUARY, id="nothing paid"),
        pytest.param([(date(2027, 1, 5), "300")], date(2027, 1, 6), FEBRUARY, id="one month"),
        pytest.param([(date(2027, 1, 5), "150")], date(2027, 1, 6), JANUARY, id="half a payment moves nothing"),
        pytest.param(
            [(date(2027, 1, 5), "150"), (date(2027, 1, 9), "150")], date(2027, 1, 9), FEBRUARY, id="two halves"
        ),
        pytest.param(
            [(date(2027, 1, 5), "300"), (date(2027, 1, 20), "300")], date(2027, 1, 21), MARCH,
            id="two payments in one month are two months",
        ),
        pytest.param([(date(2027, 1, 5), "1800")], date(2027, 1, 6), date(2027, 7, 5), id="six months in advance"),
        pytest.param([(date(2027, 1, 5), "450")], date(2027, 1, 6), FEBRUARY, id="a month and a half"),
        pytest.param(
            [(date(2027, 3, 2), "300")], date(2027, 3, 2), FEBRUARY, id="two months late, paying one: February is next"
        ),
        pytest.param(
            [(date(2027, 3, 2), "900")], date(2027, 3, 2), date(2027, 4, 5), id="two months late, paying all of it"
        ),
    ],
)  # fmt: skip
def test_paid_until_follows_the_money(isp, payments, today, expected):
    service = isp.service(JANUARY)
    pending = dict(payments)
    day = date(2027, 1, 5)
    while day <= today:
        isp.run(day)
        if day in pending:
            isp.pay(service.subscriber_id, pending[day], day)
        day += timedelta(days=1)
    isp.session.refresh(service)
    isp.commit_checks()
    assert service.paid_until == expected
    assert broken_entries(isp.session, isp.operator_id) == []
    assert discrepancies(isp.session, isp.operator_id) == []


def test_a_payment_at_23_59_of_the_cut_off_day_is_in_time(isp):
    service = isp.service(JANUARY)
    isp.run(JANUARY)
    isp.pay(service.subscriber_id, "300", JANUARY)
    isp.run_until(date(2027, 1, 30), date(2027, 2, 5))
    last_minute = datetime(2027, 2, 5, 23, 59, tzinfo=ZONE).astimezone(UTC)
    assert last_minute.date() == date(2027, 2, 6)
    isp.session.refresh(service)
    assert service.paid_until == FEBRUARY
    isp.pay(service.subscriber_id, "300", FEBRUARY, last_minute)
    isp.session.refresh(service)
    assert (service.paid_until, service.state) == (MARCH, "active")


def test_a_payment_restores_a_service_that_was_cut_for_being_overdue(isp):
    service = isp.service(JANUARY)
    isp.run(JANUARY)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(date(2027, 1, 12)))
    done = isp.pay(service.subscriber_id, "300", date(2027, 1, 13))
    isp.session.refresh(service)
    assert (service.state, service.paid_until) == ("active", FEBRUARY)
    assert [effect.restored for effect in done.effects.services] == [True]


def test_a_payment_that_is_not_enough_restores_nothing(isp):
    service = isp.service(JANUARY)
    isp.run(JANUARY)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(date(2027, 1, 12)))
    isp.pay(service.subscriber_id, "299.99", date(2027, 1, 13))
    isp.session.refresh(service)
    assert service.state == "suspended"
    assert balance_of(isp.session, service.subscriber_id) == Decimal("0.01")


def test_a_payment_does_not_restore_who_was_cut_for_abuse(isp):
    service = isp.service(JANUARY)
    isp.run(JANUARY)
    suspend(isp.session, isp.actor, service, "abuse", "", noon(date(2027, 1, 12)))
    isp.pay(service.subscriber_id, "300", date(2027, 1, 13))
    isp.session.refresh(service)
    assert (service.state, service.paid_until) == ("suspended", FEBRUARY)


def test_what_follows_the_services_hears_of_a_payment(isp):
    service = isp.service(JANUARY)
    isp.run(JANUARY)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(date(2027, 1, 12)))
    last = isp.session.execute(text("SELECT max(seq) FROM change_log")).scalar_one()
    isp.pay(service.subscriber_id, "300", date(2027, 1, 13))
    logged = isp.session.execute(
        text("SELECT kind, ids FROM change_log WHERE seq > :last ORDER BY seq"), {"last": last}
    ).all()
    assert ("service", [service.id]) in [tuple(row) for row in logged]
