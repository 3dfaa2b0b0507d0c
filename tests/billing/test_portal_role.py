"""Everything that pages do with money works under the portal's role, bound by row-level security."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import reports
from billing.charges import ChargeTerms, DiscountTerms, add_charge, add_discount, bill_now, redeem_coupon
from billing.credit_notes import credit_invoice, void_invoice
from billing.desks import close_desk, move_cash, open_desk
from billing.following import follow_service
from billing.ledger import broken_entries, discrepancies
from billing.payments import PaymentTerms, refund_payment, register_payment, void_payment, what_it_will_do
from billing.promises import promise
from billing.settings import add_tax, change_settings, set_prefix, settings_of
from crm.problems import ChangedMeanwhile, Invalid
from crm.services import change_plan_of, pause
from db.models import BillingSettings, Coupon, Invoice, PaymentMethod, Service, ServiceBilling
from db.session import Tenancy, make_engine, tenancy_key
from tests.billing.isp import BillingIsp, noon

BEGIN = date(2027, 1, 5)


@pytest.fixture
def made(installation):
    """An operator with a service, committed; with a stranger beside it."""
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine, expire_on_commit=False) as session:
        isp = BillingIsp.create(session, taxes=[("IVA", "16", False)])
        service = isp.service(BEGIN)
        isp.run(BEGIN)
        staff = isp.staff()
        session.add(Coupon(operator_id=isp.operator_id, code="X", description="X", percent=10))
        plan = isp.plan("600")
        service_id = service.id
        session.commit()
    engine.dispose()
    return isp, service_id, staff, plan


@pytest.fixture
def portal(installation, made):
    engine = make_engine(installation.portal_database_url.get_secret_value())
    with Tenancy(engine, tenancy_key(installation.keyring)).session(made[0].operator_id) as session:
        yield session
    engine.dispose()


def test_a_day_at_the_counter(portal, made):
    isp, service_id, staff, plan = made
    isp = BillingIsp(portal, isp.operator_id, replace(isp.actor, staff_id=staff), isp.cash)
    now, rules, actor = noon(date(2027, 1, 10)), isp.rules, isp.actor
    service = portal.get_one(Service, service_id)
    desk = open_desk(portal, actor, rules, Decimal(100), now)
    terms = PaymentTerms(service.subscriber_id, isp.cash, Decimal(900), "MXN", date(2027, 1, 10))
    assert what_it_will_do(portal, actor, rules, terms, now).credit == Decimal(552)
    payment = register_payment(portal, actor, rules, terms, now).payment
    add_charge(portal, actor, rules, ChargeTerms(service.subscriber_id, "Antena", Decimal(100)), now)
    assert bill_now(portal, actor, rules, service.subscriber_id, date(2027, 1, 20), now)[0] is not None
    add_discount(portal, actor, rules, service, DiscountTerms("Promo", percent=Decimal(10), months=2), now)
    redeem_coupon(portal, actor, rules, service, "x", now)
    change_plan_of(portal, actor, service, plan)
    assert follow_service(portal, actor, rules, service, now)
    invoice = isp.invoices(service)[0]
    credit_invoice(portal, actor, rules, invoice, Decimal(10), "good will", now)
    void_invoice(portal, actor, rules, isp.invoices(service)[-1], "mistake", now, bill_again=True)
    refund_payment(portal, actor, rules, payment, Decimal(50), "too much", now)
    portal.refresh(service)
    promise(portal, actor, rules, service, date(2027, 1, 12), "", now)
    pause(portal, actor, service)
    follow_service(portal, actor, rules, service, now)
    move_cash(portal, actor, rules, desk, "deposit", Decimal(200), "Banco", now)
    close_desk(portal, actor, rules, desk, Decimal(750), "", now)
    other = register_payment(portal, actor, rules, replace(terms, amount=Decimal(5)), now).payment
    void_payment(portal, actor, rules, other, "mistyped", now)
    portal.commit()
    assert broken_entries(portal, isp.operator_id) == []
    assert discrepancies(portal, isp.operator_id) == []


def test_settings_are_changed_and_the_days_of_issuing_follow(portal, made):
    isp, service_id, staff, _ = made
    actor = replace(isp.actor, staff_id=staff)
    kept = settings_of(portal, isp.operator_id)
    before = portal.get_one(ServiceBilling, service_id).next_issue_on
    change_settings(portal, actor, {"issue_days": kept.issue_days + 3}, kept.version, BEGIN)
    portal.commit()
    cycle = portal.get_one(ServiceBilling, service_id, populate_existing=True)
    assert cycle.next_issue_on == before - timedelta(days=3)
    with pytest.raises(ChangedMeanwhile):
        change_settings(portal, actor, {"issue_days": 1}, 1, BEGIN)
    with pytest.raises(Invalid) as refused:
        change_settings(portal, actor, {"months": 13, "timing": "never"}, kept.version, BEGIN)
    assert {problem.field for problem in refused.value.problems} == {"months", "timing"}


def test_switching_billing_on_enters_ways_to_pay(installation, made):
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        isp = BillingIsp.create(session)
        other = isp.operator_id
        session.execute(PaymentMethod.__table__.delete().where(PaymentMethod.operator_id == other))
        session.execute(BillingSettings.__table__.delete().where(BillingSettings.operator_id == other))
        session.commit()
        change_settings(session, isp.actor, {"enabled": True}, None, BEGIN)
        accounts = session.scalars(
            select(PaymentMethod.account).where(PaymentMethod.operator_id == other).order_by(PaymentMethod.id)
        ).all()
        assert accounts == ["cash", "bank", "bank", "card", "bank"]
    engine.dispose()


def test_another_prefix_leaves_no_number_out(portal, made):
    isp, service_id, staff, _ = made
    actor = replace(isp.actor, staff_id=staff)
    set_prefix(portal, actor, "invoice", "F-")
    now = noon(date(2027, 1, 10))
    isp = BillingIsp(portal, isp.operator_id, actor, isp.cash)
    service = portal.get_one(Service, service_id)
    add_charge(portal, actor, isp.rules, ChargeTerms(service.subscriber_id, "Antena", Decimal(100)), now)
    bill_now(portal, actor, isp.rules, service.subscriber_id, date(2027, 1, 20), now)
    portal.commit()
    numbers = portal.execute(select(Invoice.prefix, Invoice.number).order_by(Invoice.number)).all()
    assert [tuple(row) for row in numbers] == [("", 1), ("F-", 2)]


def test_a_tax_is_on_what_is_billed_from_then_on(portal, made):
    isp, service_id, _staff, _ = made
    add_tax(portal, isp.actor, "IEPS", Decimal(3), included=False)
    with pytest.raises(Invalid):
        add_tax(portal, isp.actor, "", Decimal(101), included=False)
    isp = BillingIsp(portal, isp.operator_id, isp.actor, isp.cash)
    isp.run(date(2027, 2, 1))
    assert [invoice.total for invoice in isp.invoices(portal.get_one(Service, service_id))] == [348, 357]


def test_reports_say_what_was_billed_and_paid(portal, made):
    isp, service_id, _staff, _ = made
    isp = BillingIsp(portal, isp.operator_id, isp.actor, isp.cash)
    service = portal.get_one(Service, service_id)
    isp.pay(service.subscriber_id, "100", date(2027, 1, 10))
    isp.run(date(2027, 2, 1))
    invoice = isp.invoices(service)[0]
    credit_invoice(portal, isp.actor, isp.rules, invoice, Decimal("11.60"), "good will", noon(date(2027, 2, 2)))
    portal.commit()
    operator, first, last = isp.operator_id, date(2027, 1, 1), date(2027, 2, 28)
    (row,) = reports.aging(portal, operator, date(2027, 2, 20))
    assert (row.to_30, row.to_60, row.not_due, row.total) == (
        Decimal("348.00"), Decimal("236.40"), 0, Decimal("584.40"),
    )  # fmt: skip
    assert [(each.count, each.amount) for each in reports.income(portal, operator, "plan", first, last)] == [
        (2, Decimal("600.00"))
    ]
    for by in ("method", "cashier", "month"):
        assert [each.amount for each in reports.income(portal, operator, by, first, last)] == [Decimal("100.00")]
    (tax,) = reports.taxes(portal, operator, first, last)
    assert (tax.base, tax.amount) == (Decimal("590.00"), Decimal("94.40"))
    january, february = reports.months(portal, operator, "America/Mexico_City", first, last)
    assert (january.invoiced, january.collected, january.services, january.started) == (300, 100, 1, 1)
    assert (february.credited, february.arpu, february.churn) == (10, Decimal(290), 0)
    assert reports.monthly_recurring(portal, operator, last) == Decimal(300)
    assert reports.expected_and_collected(portal, operator, first, last) == (Decimal("684.40"), Decimal(100))
    journal = reports.journal(portal, operator, first, last)
    assert sum(line.debit for line in journal) == sum(line.credit for line in journal) > 0
    assert reports.paid_but_off(portal, operator, BEGIN, 0) == []
    odd = reports.unpaid_but_on(portal, operator, date(2027, 2, 20), 0)
    assert [each.service_id for each in odd] == [service_id]
    assert reports.unpaid_but_on(portal, operator, date(2027, 1, 10), 0) == []
