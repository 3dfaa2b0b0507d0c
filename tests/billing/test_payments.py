from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from billing.credit_notes import credit_invoice, void_invoice
from billing.dunning_lists import cuts
from billing.ledger import balance_of, broken_entries, discrepancies
from billing.payments import (
    PaymentTerms,
    refund_payment,
    register_payment,
    typed_amount,
    void_payment,
    what_it_will_do,
)
from crm.problems import Invalid, Problem
from crm.services import suspend
from db.models import AuditEntry, CashDesk, Collector, Operator, Payment, PaymentMethod
from tests.billing.isp import BillingIsp, noon
from tests.rows import add_subscriber

BEGIN = date(2027, 1, 5)
TODAY = date(2027, 1, 10)


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=5, first_due_days=0)


@pytest.fixture
def service(isp):
    made = isp.service(BEGIN)
    isp.run(BEGIN)
    return made


def terms(isp, service, **values):
    return replace(PaymentTerms(service.subscriber_id, isp.cash, Decimal(300), "MXN", TODAY), **values)


def register(isp, wanted, now=None):
    return register_payment(isp.session, isp.actor, isp.rules, wanted, now or noon(TODAY))


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        pytest.param({"amount": Decimal(-5)}, "amount", Problem.AMOUNT_NEGATIVE, id="negative"),
        pytest.param({"amount": Decimal(0)}, "amount", Problem.AMOUNT_ZERO, id="zero"),
        pytest.param({"amount": Decimal("1e12")}, "amount", Problem.AMOUNT_TOO_LARGE, id="huge"),
        pytest.param({"amount": Decimal("1.005")}, "amount", Problem.AMOUNT_TOO_PRECISE, id="half a cent"),
        pytest.param({"amount": Decimal("NaN")}, "amount", Problem.AMOUNT_UNREADABLE, id="no number"),
        pytest.param({"currency": "USD"}, "amount", Problem.WRONG_CURRENCY, id="another currency"),
        pytest.param({"paid_on": TODAY + timedelta(days=1)}, "paid_on", Problem.IN_THE_FUTURE, id="tomorrow"),
        pytest.param({"paid_on": date(2017, 1, 10)}, "paid_on", Problem.TOO_LONG_AGO, id="ten years ago"),
        pytest.param({"method_id": 999_999}, "method_id", Problem.UNKNOWN_METHOD, id="no such method"),
        pytest.param({"subscriber_id": 999_999}, "subscriber_id", Problem.UNKNOWN_CHOICE, id="no such subscriber"),
        pytest.param({"collector_id": 999_999}, "collector_id", Problem.UNKNOWN_COLLECTOR, id="no such collector"),
        pytest.param({"reference": "x" * 101}, "reference", Problem.TOO_LONG, id="a long reference"),
        pytest.param({"note": "a\nb"}, "note", Problem.TOO_LONG, id="a note of two lines"),
    ],
)
def test_what_was_entered_wrongly_is_told_by_field(isp, service, values, field, problem):
    with pytest.raises(Invalid) as refused:
        register(isp, terms(isp, service, **values))
    assert (refused.value.problems[0].field, refused.value.problems[0].problem) == (field, problem)
    assert isp.session.scalar(select(Payment.id)) is None


def test_an_amount_with_another_countrys_separators_is_not_guessed():
    assert typed_amount("1,234.56", "MXN", "es_MX") == Decimal("1234.56")
    with pytest.raises(Invalid) as refused:
        typed_amount("1.234,56", "MXN", "es_MX")
    assert refused.value.problems[0].problem is Problem.AMOUNT_AMBIGUOUS


def test_tomorrow_somewhere_is_today_where_the_operator_is(isp, service):
    last_hour = datetime(2027, 1, 11, 5, 30, tzinfo=noon(TODAY).tzinfo)  # 23:30 of the 10th in Mexico City
    with pytest.raises(Invalid):
        register(isp, terms(isp, service, paid_on=date(2027, 1, 11)), last_hour)
    assert register(isp, terms(isp, service), last_hour).payment.paid_on == TODAY


def test_before_saving_it_says_what_it_will_do_and_leaves_nothing(isp, service):
    suspend(isp.session, isp.actor, service, "overdue", "", noon(TODAY))
    wanted = terms(isp, service, amount=Decimal(650))
    isp.session.flush()
    foreseen = what_it_will_do(isp.session, isp.actor, isp.rules, wanted, noon(TODAY))
    assert isp.session.scalar(select(Payment.id)) is None
    isp.session.refresh(service)
    assert (service.state, service.paid_until) == ("suspended", BEGIN)
    done = register(isp, wanted).effects
    assert done == foreseen
    assert [paid.whole for paid in done.paid] == [True]
    assert [(each.restored, each.next_cut_off) for each in done.services] == [(True, date(2027, 3, 5))]
    assert (done.credit, done.balance) == (Decimal(350), Decimal(-350))


@pytest.mark.parametrize(
    ("values", "cut"),
    [
        pytest.param({}, datetime(2027, 3, 16, 14, tzinfo=UTC), id="after a Sunday and a holiday, at eight"),
        pytest.param({"management": "manual"}, None, id="by hand"),
        pytest.param({"promised_until": date(2027, 3, 17)}, datetime(2027, 3, 18, 14, tzinfo=UTC), id="a promise"),
        pytest.param({"state": "paused", "paused_at": noon(TODAY)}, None, id="paused"),
    ],
)
def test_a_payment_tells_the_hour_at_which_the_line_is_cut(isp, service, values, cut):
    operator = isp.session.get_one(Operator, isp.operator_id)
    operator.grace_days, operator.cut_off_hour, operator.cut_off_weekdays = 9, 8, [1, 2, 3, 4, 5]
    operator.holiday_country = "MX"  # 15 March 2027 is the day of Juárez
    for name, value in values.items():
        setattr(service, name, value)
    isp.session.flush()
    (effect,) = register(isp, terms(isp, service, amount=Decimal(600))).effects.services
    if service.state == "active":
        assert effect.next_cut_off == date(2027, 3, 5)
    assert effect.cut_at == cut
    tonight = cuts(isp.session, operator, noon(TODAY), noon(date(2027, 3, 20)))
    assert [one.cut_at for one in tonight] == [each for each in (cut,) if each], "the ladder cuts when the receipt says"


def test_the_oldest_invoice_is_paid_first(isp, service):
    isp.run_until(date(2027, 1, 31), date(2027, 2, 28))
    first, second, third = isp.invoices(service)
    done = isp.pay(service.subscriber_id, "450", date(2027, 3, 1))
    assert [(paid.invoice_id, paid.amount, paid.whole) for paid in done.effects.paid] == [
        (first.id, Decimal(300), True),
        (second.id, Decimal(150), False),
    ]
    assert [invoice.open for invoice in isp.invoices(service)] == [0, Decimal(150), Decimal(300)]
    assert third.due_on == date(2027, 3, 5)


def test_a_payment_that_looks_like_one_before_is_told(isp, service):
    first = register(isp, terms(isp, service, reference="T-881"))
    assert first.effects.duplicates == ()
    again = register(isp, terms(isp, service))
    assert again.effects.duplicates == (str(first.payment.number),)
    other = PaymentTerms(
        add_subscriber(isp.session, isp.operator_id), isp.cash, Decimal(10), "MXN", TODAY, reference="t-881"
    )
    assert register(isp, other).effects.duplicates == (str(first.payment.number),)


def test_a_provider_that_tells_twice_pays_once(isp, service):
    wanted = terms(isp, service, external_id="pi_1")
    first, again = register(isp, wanted), register(isp, wanted)
    assert (first.again, again.again) == (False, True)
    assert again.payment.id == first.payment.id
    assert balance_of(isp.session, service.subscriber_id) == 0


def test_a_void_opens_what_was_paid_and_takes_the_day_back(isp, service):
    done = register(isp, terms(isp, service, amount=Decimal(900)))
    assert service.paid_until == date(2027, 4, 5)
    void_payment(isp.session, isp.actor, isp.rules, done.payment, "bounced", noon(TODAY))
    isp.session.refresh(service)
    assert service.paid_until == BEGIN
    assert [invoice.open for invoice in isp.invoices(service)] == [Decimal(300)]
    assert balance_of(isp.session, service.subscriber_id) == Decimal(300)
    with pytest.raises(Invalid):
        void_payment(isp.session, isp.actor, isp.rules, done.payment, "again", noon(TODAY))
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == discrepancies(isp.session, isp.operator_id) == []
    kinds = isp.session.scalars(
        select(AuditEntry.action).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id)
    ).all()
    assert kinds[-2:] == ["payment.void", "service.paid_until"]


def test_a_refund_takes_credit_first_and_then_what_was_paid(isp, service):
    payment = register(isp, terms(isp, service, amount=Decimal(400))).payment
    refund_payment(isp.session, isp.actor, isp.rules, payment, Decimal(100), "too much", noon(TODAY))
    isp.session.refresh(service)
    assert service.paid_until == date(2027, 2, 5)
    refund_payment(isp.session, isp.actor, isp.rules, payment, Decimal("0.01"), "a cent", noon(TODAY))
    isp.session.refresh(service)
    assert service.paid_until == BEGIN
    assert balance_of(isp.session, service.subscriber_id) == Decimal("0.01")
    with pytest.raises(Invalid) as refused:
        refund_payment(isp.session, isp.actor, isp.rules, payment, Decimal(300), "more", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.AMOUNT_OVER
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == discrepancies(isp.session, isp.operator_id) == []


def test_a_void_needs_a_reason(isp, service):
    payment = register(isp, terms(isp, service)).payment
    with pytest.raises(Invalid) as refused:
        void_payment(isp.session, isp.actor, isp.rules, payment, "  ", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.REQUIRED


def test_cash_needs_an_open_desk_where_the_operator_says_so(rows):
    isp = BillingIsp.create(rows, require_cash_desk=True)
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    isp.actor = replace(isp.actor, staff_id=isp.staff())
    with pytest.raises(Invalid) as refused:
        register(isp, terms(isp, service))
    assert refused.value.problems[0].problem is Problem.DESK_CLOSED
    bank = PaymentMethod(operator_id=isp.operator_id, name="Transfer", account="bank", needs_reference=True)
    rows.add(bank)
    rows.flush()
    with pytest.raises(Invalid) as refused:
        register(isp, terms(isp, service, method_id=bank.id))
    assert refused.value.problems[0].field == "reference"
    assert register(isp, terms(isp, service, method_id=bank.id, reference="55")).payment.desk_id is None
    rows.add(CashDesk(operator_id=isp.operator_id, staff_id=isp.actor.staff_id, currency="MXN", opening=0))
    assert register(isp, terms(isp, service)).payment.desk_id is not None


def test_a_collector_owes_what_was_collected_less_the_commission(isp, service):
    collector = Collector(operator_id=isp.operator_id, name="Beto", commission=Decimal("2.5"))
    isp.session.add(collector)
    isp.session.flush()
    payment = register(isp, terms(isp, service, collector_id=collector.id)).payment
    assert payment.commission == Decimal("7.50")
    sums = dict(
        isp.session.execute(
            text("SELECT account, sum(amount) FROM ledger_line WHERE operator_id = :id GROUP BY 1"),
            {"id": isp.operator_id},
        ).all()
    )
    assert (sums["collectors"], sums["commissions"]) == (Decimal("292.50"), Decimal("7.50"))
    assert "cash" not in sums


def test_a_credit_note_over_a_paid_invoice_gives_the_money_as_credit(isp, service):
    register(isp, terms(isp, service))
    invoice = isp.invoices(service)[0]
    note, _ = credit_invoice(
        isp.session, isp.actor, isp.rules, invoice, Decimal(120), "three days without service", noon(TODAY)
    )
    assert (note.total, balance_of(isp.session, service.subscriber_id)) == (Decimal(120), Decimal(-120))
    isp.run_until(date(2027, 1, 30), date(2027, 2, 1))
    assert [each.open for each in isp.invoices(service)] == [0, Decimal(180)]
    isp.commit_checks()
    assert broken_entries(isp.session, isp.operator_id) == discrepancies(isp.session, isp.operator_id) == []


def test_more_than_is_left_of_an_invoice_is_not_credited(isp, service):
    invoice = isp.invoices(service)[0]
    credit_invoice(isp.session, isp.actor, isp.rules, invoice, Decimal(200), "a part", noon(TODAY))
    with pytest.raises(Invalid) as refused:
        credit_invoice(isp.session, isp.actor, isp.rules, invoice, Decimal("100.01"), "more", noon(TODAY))
    assert refused.value.problems[0].problem is Problem.AMOUNT_OVER


def test_parts_of_an_invoice_give_back_its_taxes_to_the_cent(rows):
    isp = BillingIsp.create(rows, taxes=[("IVA", "16", False), ("IEPS", "3", False)])
    service = isp.service(BEGIN, "333.33")
    isp.run(BEGIN)
    invoice = isp.invoices(service)[0]
    third = Decimal("132.22")
    for amount in (third, third, invoice.total - 2 * third):
        credit_invoice(isp.session, isp.actor, isp.rules, invoice, amount, "a part", noon(TODAY))
    back = rows.execute(
        text("SELECT sum(net), sum(tax), sum(total) FROM credit_note WHERE invoice_id = :id"), {"id": invoice.id}
    ).one()
    assert tuple(back) == (invoice.net, invoice.tax, invoice.total)


def test_a_void_invoice_is_billed_again_when_that_is_wished(isp, service):
    invoice = isp.invoices(service)[0]
    void_invoice(isp.session, isp.actor, isp.rules, invoice, "wrong price", noon(TODAY), bill_again=True)
    assert isp.run(TODAY) == 1
    first, second = isp.invoices(service)
    assert (second.period_first, second.period_last) == (first.period_first, first.period_last)
    assert (first.open, second.open) == (0, Decimal(300))
    assert balance_of(isp.session, service.subscriber_id) == Decimal(300)


def test_a_void_invoice_is_not_billed_again_otherwise(isp, service):
    invoice = isp.invoices(service)[0]
    void_invoice(isp.session, isp.actor, isp.rules, invoice, "good will", noon(TODAY))
    isp.session.refresh(service)
    assert service.paid_until == date(2027, 2, 5)
    assert isp.run(TODAY) == 0
