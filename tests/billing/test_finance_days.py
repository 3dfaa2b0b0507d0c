"""The sums of days are what the documents add up to, whatever becomes of these."""

from datetime import date
from decimal import Decimal

from sqlalchemy import text

from billing import reports
from billing.credit_notes import credit_invoice
from billing.ledger import Discrepancy, discrepancies
from billing.payments import refund_payment, void_payment
from tests.billing.isp import BillingIsp, noon

FIRST, LAST = date(2027, 1, 1), date(2027, 1, 31)


def test_a_void_a_refund_and_a_credit_note_are_taken_off_the_day_they_belong_to(rows):
    isp = BillingIsp.create(rows, issue_days=0, first_due_days=0, cut_off_day=1, taxes=(("IVA", "16", False),))
    service = isp.service(FIRST)
    isp.run(FIRST)
    (invoice,) = isp.invoices(service)
    kept = isp.pay(service.subscriber_id, "200", date(2027, 1, 3)).payment
    void = isp.pay(service.subscriber_id, "50", date(2027, 1, 4)).payment
    day = noon(date(2027, 2, 2))
    void_payment(rows, isp.actor, isp.rules, void, "bounced", day)
    refund_payment(rows, isp.actor, isp.rules, kept, Decimal(20), "paid twice", day)
    credit_invoice(rows, isp.actor, isp.rules, invoice, Decimal("11.60"), "good will", day)
    rows.flush()
    assert reports.came_in(rows, isp.operator_id, FIRST, LAST) == (1, Decimal(180))
    assert [row.amount for row in reports.income(rows, isp.operator_id, "method", FIRST, LAST)] == [Decimal(180)]
    expected, collected = reports.expected_and_collected(rows, isp.operator_id, FIRST, LAST)
    assert (expected, collected) == (Decimal("336.40"), Decimal(180))
    taxes = reports.taxes(rows, isp.operator_id, FIRST, date(2027, 2, 28))
    assert [(tax.base, tax.amount) for tax in taxes] == [(Decimal(290), Decimal("46.40"))]
    assert discrepancies(rows, isp.operator_id) == []


def test_a_sum_that_was_altered_is_found(rows):
    isp = BillingIsp.create(rows, issue_days=0, first_due_days=0, cut_off_day=1)
    isp.service(FIRST)
    isp.run(FIRST)
    rows.execute(text("UPDATE finance_day SET amount = amount + 1 WHERE kind = 'invoiced'"))
    found = discrepancies(rows, isp.operator_id)
    assert found == [Discrepancy("sums of days, invoiced", Decimal(300), Decimal(301))]


def test_months_count_services_that_came_and_left(rows):
    isp = BillingIsp.create(rows, issue_days=0, first_due_days=0)
    isp.service(date(2026, 11, 10))
    isp.service(date(2027, 1, 20))
    gone = isp.service(date(2026, 12, 5))
    gone.state, gone.terminated_at = "terminated", noon(date(2027, 1, 15))
    rows.flush()
    found = reports.months(rows, isp.operator_id, "America/Mexico_City", date(2026, 12, 3), date(2027, 2, 3))
    assert [(row.month.month, row.services, row.started, row.ended) for row in found] == [
        (12, 2, 1, 0), (1, 3, 1, 1), (2, 2, 0, 0),
    ]  # fmt: skip
