from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from billing.charges import (
    ChargeTerms,
    DiscountTerms,
    add_charge,
    add_discount,
    bill_now,
    cancel_charge,
    charge_late_fee,
    end_discount,
    redeem_coupon,
)
from billing.ledger import discrepancies
from crm.problems import Invalid, Problem
from db.models import Coupon, InvoiceLine, LedgerLine
from tests.billing.isp import BillingIsp, noon

BEGIN = date(2027, 1, 5)
FEBRUARY = date(2027, 2, 5)
MARCH = date(2027, 3, 5)


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=0, first_due_days=0, late_fee_percent=10, late_fee_amount=20)


@pytest.fixture
def service(isp):
    made = isp.service(BEGIN)
    isp.run(BEGIN)
    return made


def lines(isp, invoice):
    query = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    return [(line.kind, line.description, line.total) for line in isp.session.scalars(query)]


def charge(isp, service, **values):
    terms = {"subscriber_id": service.subscriber_id, "description": "Instalación", "amount": Decimal(450), **values}
    return add_charge(isp.session, isp.actor, isp.rules, ChargeTerms(**terms), noon(BEGIN))


def discount(isp, service, **values):
    terms = DiscountTerms(**{"description": "Promo", **values})
    return add_discount(isp.session, isp.actor, isp.rules, service, terms, noon(BEGIN))


def test_a_one_off_charge_is_on_the_next_invoice_and_on_no_other(isp, service):
    charge(isp, service)
    isp.run(FEBRUARY)
    isp.run(MARCH)
    _, february, march = isp.invoices(service)
    assert lines(isp, february)[1] == ("one_off", "Instalación", Decimal(450))
    assert len(lines(isp, march)) == 1


def test_a_charge_of_the_subscriber_is_taken_by_one_of_the_services(isp, service):
    other = isp.service(BEGIN, subscriber_id=service.subscriber_id)
    charge(isp, service)
    isp.run(FEBRUARY)
    taken = [len(lines(isp, invoice)) for each in (service, other) for invoice in isp.invoices(each)]
    assert sorted(taken)[-1] == 2
    assert sum(taken) == len(taken) + 1


def test_a_charge_can_be_billed_at_once(isp, service):
    charge(isp, service)
    issued, _ = bill_now(isp.session, isp.actor, isp.rules, service.subscriber_id, FEBRUARY, noon(BEGIN))
    assert issued.total == Decimal(450)
    assert bill_now(isp.session, isp.actor, isp.rules, service.subscriber_id, FEBRUARY, noon(BEGIN))[0] is None


def test_a_recurring_charge_is_prorated_like_the_plan(isp, service):
    charge(isp, service, description="IP fija", amount=Decimal(62), recurring=True, starts_on=date(2027, 2, 5))
    late = isp.service(date(2027, 3, 18), subscriber_id=service.subscriber_id)
    isp.run(FEBRUARY)
    assert lines(isp, isp.invoices(service)[1])[1] == ("recurring", "IP fija", Decimal(62))
    assert late is not None


def test_a_charge_that_waits_can_be_cancelled_and_a_billed_one_not(isp, service):
    waiting = charge(isp, service)
    cancel_charge(isp.session, isp.actor, isp.rules, waiting, noon(BEGIN))
    billed = charge(isp, service)
    isp.run(FEBRUARY)
    assert len(lines(isp, isp.invoices(service)[1])) == 2
    with pytest.raises(Invalid):
        cancel_charge(isp.session, isp.actor, isp.rules, billed, noon(FEBRUARY))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"amount": Decimal(0)}, "amount"),
        ({"amount": Decimal("0.001")}, "amount"),
        ({"description": " "}, "description"),
        ({"service_id": 999_999}, "service_id"),
        ({"subscriber_id": 999_999}, "subscriber_id"),
        ({"ends_on": date(2026, 1, 1), "recurring": True}, "ends_on"),
    ],
)
def test_a_charge_entered_wrongly_is_told_by_field(isp, service, values, field):
    with pytest.raises(Invalid) as refused:
        charge(isp, service, **values)
    assert refused.value.problems[0].field == field


def test_a_discount_lasts_its_months_and_no_longer(isp, service):
    discount(isp, service, percent=Decimal(50), months=2)
    for month in range(2, 6):
        isp.run(date(2027, month, 5))
    assert [invoice.total for invoice in isp.invoices(service)] == [300, 150, 150, 300, 300]


def test_discounts_together_never_go_below_nothing(isp, service):
    discount(isp, service, percent=Decimal(80))
    discount(isp, service, amount=Decimal(100))
    isp.run(FEBRUARY)
    isp.session.refresh(service)
    assert len(isp.invoices(service)) == 1  # nothing was to pay
    assert discrepancies(isp.session, isp.operator_id) == []


def test_a_discount_can_be_ended(isp, service):
    given = discount(isp, service, amount=Decimal(100))
    isp.run(FEBRUARY)
    end_discount(isp.session, isp.actor, isp.rules, given, noon(FEBRUARY))
    isp.run(MARCH)
    assert [invoice.total for invoice in isp.invoices(service)] == [300, 200, 300]


def test_a_discount_moves_the_day_that_credit_reaches(isp, service):
    isp.pay(service.subscriber_id, "450", BEGIN)
    isp.session.refresh(service)
    assert service.paid_until == FEBRUARY
    discount(isp, service, percent=Decimal(50))
    isp.session.refresh(service)
    assert service.paid_until == MARCH


def coupon(isp, **values):
    made = Coupon(
        operator_id=isp.operator_id,
        **{"code": "VERANO", "description": "Verano", "percent": 10, "uses_left": 1, **values},
    )
    isp.session.add(made)
    isp.session.flush()
    return made


def test_a_coupon_is_used_once_by_a_service_and_so_often_in_all(isp, service):
    coupon(isp, uses_left=2)
    other, third = isp.service(BEGIN), isp.service(BEGIN)
    redeem_coupon(isp.session, isp.actor, isp.rules, service, " verano ", noon(BEGIN))
    with pytest.raises(Invalid) as refused:
        redeem_coupon(isp.session, isp.actor, isp.rules, service, "VERANO", noon(BEGIN))
    assert refused.value.problems[0].problem is Problem.ALREADY_DONE
    redeem_coupon(isp.session, isp.actor, isp.rules, other, "VERANO", noon(BEGIN))
    with pytest.raises(Invalid) as refused:
        redeem_coupon(isp.session, isp.actor, isp.rules, third, "VERANO", noon(BEGIN))
    assert refused.value.problems[0].problem is Problem.LIMIT_REACHED
    isp.run(FEBRUARY)
    assert isp.invoices(service)[1].total == Decimal(270)


def test_a_coupon_that_is_over_or_unknown_gives_nothing(isp, service):
    coupon(isp, valid_until=BEGIN - timedelta(days=1))
    for code, problem in (("VERANO", Problem.TOO_LONG_AGO), ("INVIERNO", Problem.UNKNOWN_CHOICE)):
        with pytest.raises(Invalid) as refused:
            redeem_coupon(isp.session, isp.actor, isp.rules, service, code, noon(BEGIN))
        assert refused.value.problems[0].problem is problem


def test_a_late_fee_is_charged_once_for_an_invoice_and_booked_apart(isp, service):
    invoice = isp.invoices(service)[0]
    late = noon(BEGIN + timedelta(days=6))
    assert not charge_late_fee(isp.session, isp.actor, isp.rules, invoice, "Recargo", noon(BEGIN + timedelta(days=5)))
    assert charge_late_fee(isp.session, isp.actor, isp.rules, invoice, "Recargo", late)
    assert not charge_late_fee(isp.session, isp.actor, isp.rules, invoice, "Recargo", late)
    isp.run(FEBRUARY)
    assert lines(isp, isp.invoices(service)[1])[1] == ("late_fee", "Recargo", Decimal(50))
    fees = isp.session.scalars(
        select(LedgerLine.amount).where(LedgerLine.operator_id == isp.operator_id, LedgerLine.account == "late_fees")
    ).all()
    assert fees == [Decimal(-50)]


def test_a_paid_invoice_bears_no_late_fee(isp, service):
    isp.pay(service.subscriber_id, "300", BEGIN)
    invoice = isp.invoices(service)[0]
    late = noon(BEGIN + timedelta(days=60))
    assert not charge_late_fee(isp.session, isp.actor, isp.rules, invoice, "Recargo", late)
