from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from billing.credit_notes import credit_invoice, void_invoice
from billing.ledger import balance_of, broken_entries, discrepancies
from crm.services import activate, change_plan_of, pause, reinstate, restore, resume, suspend, terminate
from db.models import CreditNote, InvoiceLine, ServiceBilling, ServicePeriod
from tests.billing.isp import BillingIsp, noon
from tests.rows import add_service, add_subscriber

BEGIN = date(2027, 1, 5)


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=0, first_due_days=0)


def lines(isp, invoice):
    query = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    return [(line.kind, line.first, line.last, line.total) for line in isp.session.scalars(query)]


def sound(isp):
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == []
    assert discrepancies(isp.session, isp.operator_id) == []


def test_activation_begins_the_cycle(isp):
    service = isp.service(BEGIN, state="pending", activated_at=None)
    assert isp.run(date(2027, 3, 18)) == 0
    activate(isp.session, isp.actor, service, noon(date(2027, 3, 18)))
    assert isp.run(date(2027, 3, 18)) == 1
    assert lines(isp, isp.invoices(service)[0]) == [
        ("plan", date(2027, 3, 18), date(2027, 4, 4), Decimal("174.19"))  # 18 of the 31 days from 5 March
    ]


def test_the_first_days_are_free_where_the_operator_says_so(rows):
    isp = BillingIsp.create(rows, first_period="free", issue_days=0)
    service = isp.service(date(2027, 3, 18))
    assert isp.run_until(date(2027, 3, 18), date(2027, 4, 4)) == 0
    isp.session.refresh(service)
    assert service.paid_until >= date(2027, 4, 5)
    assert isp.run(date(2027, 4, 5)) == 1
    assert isp.invoices(service)[0].total == Decimal(300)


def test_the_first_days_cost_a_month_where_the_operator_says_so(rows):
    isp = BillingIsp.create(rows, first_period="full", issue_days=0)
    service = isp.service(date(2027, 3, 18))
    isp.run(date(2027, 3, 18))
    isp.run(date(2027, 4, 5))
    assert [(invoice.period_last, invoice.total) for invoice in isp.invoices(service)] == [
        (date(2027, 4, 4), Decimal(300)),
        (date(2027, 5, 4), Decimal(300)),
    ]


def test_a_service_keeps_its_own_anchor_day_where_the_operator_says_so(rows):
    isp = BillingIsp.create(rows, cut_off="anchor", issue_days=0)
    service = isp.service(date(2027, 1, 31))
    isp.run_until(date(2027, 1, 31), date(2027, 3, 31))
    assert [invoice.period_first for invoice in isp.invoices(service)] == [
        date(2027, 1, 31), date(2027, 2, 28), date(2027, 3, 31),
    ]  # fmt: skip
    assert {invoice.total for invoice in isp.invoices(service)} == {Decimal(300)}


def test_a_service_that_was_paid_before_billing_began_goes_on_from_that_day(rows):
    isp = BillingIsp.create(rows, starts_on=date(2027, 1, 10), issue_days=0)
    service = isp.service(date(2025, 6, 1), paid_until=date(2027, 2, 5))
    assert isp.run(date(2027, 1, 10)) == 0
    isp.session.refresh(service)
    assert service.paid_until == date(2027, 2, 10)  # its first invoice has five days to be paid in
    isp.run(date(2027, 2, 5))
    assert isp.invoices(service)[0].period_first == date(2027, 2, 5)


def test_vouchers_are_not_billed(isp):
    voucher = add_service(
        isp.session, isp.operator_id, isp.plan("25"), "CODE", access_method="voucher", activated_at=noon(BEGIN),
        password=None,
    )  # fmt: skip
    isp.run(BEGIN)
    assert isp.session.get(ServiceBilling, voucher) is None


def test_a_dearer_plan_is_charged_for_the_days_left_on_one_invoice(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    change_plan_of(isp.session, isp.actor, service, isp.plan("620"))
    isp.run(date(2027, 1, 15))
    both = isp.invoices(service)[1]
    assert lines(isp, both) == [
        ("plan", date(2027, 1, 15), date(2027, 2, 4), Decimal("-210.00")),
        ("plan", date(2027, 1, 15), date(2027, 2, 4), Decimal("420.00")),
    ]
    assert (both.kind, both.total) == ("charges", Decimal("210.00"))
    isp.run(date(2027, 2, 5))
    assert isp.invoices(service)[2].total == Decimal(620)
    sound(isp)


def test_a_cheaper_plan_is_credited_for_the_days_left(isp):
    service = isp.service(BEGIN, "620")
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "620", BEGIN)
    change_plan_of(isp.session, isp.actor, service, isp.plan("310"))
    isp.run(date(2027, 1, 15))
    note = isp.session.scalars(select(CreditNote).where(CreditNote.operator_id == isp.operator_id)).one()
    assert note.total == Decimal("210.00")
    assert [(line["kind"], line["total"]) for line in note.lines] == [("unused", "420.00"), ("plan", "-210.00")]
    assert balance_of(isp.session, service.subscriber_id) == Decimal("-210.00")
    isp.run(date(2027, 2, 5))
    assert isp.invoices(service)[1].open == Decimal("100.00")
    sound(isp)


def test_plans_changed_twice_in_a_day_cost_what_the_last_one_does(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    for price in ("777.77", "620"):
        change_plan_of(isp.session, isp.actor, service, isp.plan(price))
        isp.run(date(2027, 1, 15))
    assert abs(balance_of(isp.session, service.subscriber_id) - Decimal("520.00")) <= Decimal("0.02")
    sound(isp)


def test_in_arrears_both_plans_stand_on_the_one_invoice_of_the_period(rows):
    isp = BillingIsp.create(rows, timing="arrears", issue_days=0)
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    change_plan_of(isp.session, isp.actor, service, isp.plan("620"))
    isp.run(date(2027, 1, 15))
    assert isp.invoices(service) == []
    isp.run(date(2027, 2, 5))
    assert sorted(lines(isp, isp.invoices(service)[0])) == [
        ("plan", date(2027, 1, 5), date(2027, 1, 14), Decimal("100.00")),
        ("plan", date(2027, 1, 15), date(2027, 2, 4), Decimal("420.00")),
    ]
    sound(isp)


def test_a_pause_stops_billing_and_gives_the_days_left_back(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "310", BEGIN)
    pause(isp.session, isp.actor, service)
    isp.run(date(2027, 1, 14))
    assert balance_of(isp.session, service.subscriber_id) == Decimal("-210.00")
    assert isp.run_until(date(2027, 2, 1), date(2027, 3, 9)) == 0
    resume(isp.session, isp.actor, service)
    isp.run(date(2027, 3, 10))
    resumed = isp.invoices(service)[1]
    assert (resumed.period_first, resumed.period_last, resumed.total) == (
        date(2027, 3, 10), date(2027, 4, 4), Decimal("260.00"),
    )  # fmt: skip
    assert resumed.open == Decimal("50.00")
    sound(isp)


def test_termination_settles(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    terminate(isp.session, isp.actor, service, noon(date(2027, 1, 14)))
    assert isp.run(date(2027, 1, 20)) == 0
    assert balance_of(isp.session, service.subscriber_id) == Decimal("100.00")
    assert isp.run_until(date(2027, 2, 1), date(2027, 2, 10)) == 0
    sound(isp)


@pytest.mark.parametrize("given", ["void", "credit note"])
@pytest.mark.parametrize("ends", [terminate, pause, change_plan_of])
def test_a_month_that_was_given_brings_no_month_back_that_was_used_and_paid(isp, given, ends):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    isp.pay(service.subscriber_id, "310", BEGIN)
    isp.run(date(2027, 2, 5))
    paid, second = isp.invoices(service)
    how, now = (isp.session, isp.actor, isp.rules, second), noon(date(2027, 2, 5))
    if given == "void":
        void_invoice(*how, "leaves", now)
    else:
        credit_invoice(*how, second.total, "good will", now)
    if ends is terminate:
        terminate(isp.session, isp.actor, service, noon(date(2027, 2, 14)))
    elif ends is pause:
        pause(isp.session, isp.actor, service)
    else:
        change_plan_of(isp.session, isp.actor, service, isp.plan("100"))
    isp.run(date(2027, 2, 14))
    isp.session.refresh(paid)
    assert (paid.credited, balance_of(isp.session, service.subscriber_id)) == (0, 0)
    sound(isp)


def test_who_leaves_after_an_upgrade_gets_the_days_left_back_once(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    change_plan_of(isp.session, isp.actor, service, isp.plan("620"))
    isp.run(date(2027, 1, 15))
    isp.pay(service.subscriber_id, "520", date(2027, 1, 15))
    terminate(isp.session, isp.actor, service, noon(date(2027, 1, 24)))
    isp.run(date(2027, 1, 24))
    # Eleven days of 620 a month are left; the invoice of the upgrade was of 210, and the first one gives the rest.
    assert balance_of(isp.session, service.subscriber_id) == Decimal("-220.00")
    assert [invoice.credited for invoice in isp.invoices(service)] == [Decimal("10.00"), Decimal("210.00")]
    sound(isp)


def test_termination_in_arrears_bills_what_was_used(rows):
    isp = BillingIsp.create(rows, timing="arrears", issue_days=0)
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    terminate(rows, isp.actor, service, noon(date(2027, 1, 14)))
    isp.run(date(2027, 1, 14))
    assert balance_of(rows, service.subscriber_id) == Decimal("100.00")
    sound(isp)


def test_a_service_that_is_taken_back_is_billed_from_that_day(isp):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    terminate(isp.session, isp.actor, service, noon(date(2027, 1, 14)))
    isp.run(date(2027, 1, 14))
    reinstate(isp.session, isp.actor, service)
    isp.run(date(2027, 1, 15))
    assert balance_of(isp.session, service.subscriber_id) == Decimal("310.00")
    sound(isp)


def test_who_is_suspended_is_not_billed_where_the_operator_says_so(rows):
    isp = BillingIsp.create(rows, bill_suspended=False, issue_days=0, first_due_days=0)
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    suspend(rows, isp.actor, service, "overdue", "", noon(date(2027, 1, 15)))
    assert isp.run_until(date(2027, 1, 15), date(2027, 3, 1)) == 0
    assert balance_of(rows, service.subscriber_id) == Decimal("100.00")  # the days until it was cut
    isp.pay(service.subscriber_id, "100", date(2027, 3, 10))
    rows.refresh(service)
    assert service.state == "active"
    isp.run(date(2027, 3, 10))
    assert isp.invoices(service)[1].period_first == date(2027, 3, 10)
    sound(isp)


def test_a_suspended_service_is_billed_on_otherwise(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    suspend(isp.session, isp.actor, service, "overdue", "", noon(date(2027, 1, 15)))
    isp.run(date(2027, 2, 5))
    assert len(isp.invoices(service)) == 2
    restore(isp.session, isp.actor, service)
    assert isp.run(date(2027, 2, 6)) == 0


def test_what_happened_while_billing_was_down_is_made_up_for(isp):
    service = isp.service(BEGIN)
    assert isp.run(date(2027, 4, 20)) == 4
    assert [invoice.period_first.month for invoice in isp.invoices(service)] == [1, 2, 3, 4]
    assert isp.run(date(2027, 4, 20)) == 0


def test_a_free_plan_makes_no_invoices_and_no_cut_off(isp):
    service = isp.service(BEGIN, "0")
    isp.run_until(BEGIN, date(2027, 3, 10))
    isp.session.refresh(service)
    assert (isp.invoices(service), service.paid_until) == ([], None)
    billed = isp.session.scalars(select(ServicePeriod).where(ServicePeriod.service_id == service.id)).all()
    assert len(billed) == 3


def test_credit_pays_whichever_service_falls_due_next(rows):
    isp = BillingIsp.create(rows, cut_off="anchor", issue_days=0, first_due_days=0)
    subscriber = add_subscriber(rows, isp.operator_id)
    early = isp.service(date(2027, 1, 5), "100", subscriber_id=subscriber)
    late = isp.service(date(2027, 1, 20), "200", subscriber_id=subscriber)
    isp.run_until(date(2027, 1, 5), date(2027, 1, 20))
    isp.pay(subscriber, "600", date(2027, 1, 21))
    rows.refresh(early)
    rows.refresh(late)
    # 300 pays both invoices, 100 the early one's February, 200 the late one's February.
    assert (early.paid_until, late.paid_until) == (date(2027, 3, 5), date(2027, 3, 20))


def test_no_day_of_a_service_is_billed_twice_whatever_the_code_does(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    period = isp.session.scalars(select(ServicePeriod).where(ServicePeriod.service_id == service.id)).one()
    with pytest.raises(Exception, match="ex_service_period_days"):
        isp.session.execute(
            text(
                "INSERT INTO service_period (operator_id, service_id, plan_id, first, last, net)"
                " SELECT operator_id, service_id, plan_id, last, last + 10, 0 FROM service_period WHERE id = :id"
            ),
            {"id": period.id},
        )


def test_a_proposal_replaces_the_rules_only_where_it_says_something(isp):
    assert replace(isp.rules, months=3).cycle(7, BEGIN).months == 3
    assert isp.rules.cycle(7, BEGIN).anchor_day == 5
