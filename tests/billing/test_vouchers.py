from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.ledger import balance_of, broken_entries, discrepancies
from billing.vouchers import SaleTerms, batches_to_sell, open_sale, sales, sell_voucher, take_back
from core.settings import Settings
from crm.passes import A_DAY, forget_passes, let_guest_on, passes_left
from crm.problems import Invalid, Problem
from crm.vouchers import BatchTerms, counts, create_batch, find_code, void_batch
from db.audit import Actor
from db.models import (
    Checkout,
    Collector,
    Gateway,
    Operator,
    PayingPass,
    Payment,
    PaymentMethod,
    Service,
    ServiceMac,
    Voucher,
    VoucherBatch,
    VoucherSale,
    VoucherSettings,
)
from db.session import make_engine
from tests.billing.isp import BillingIsp, noon
from tests.rows import add_nas, add_subscriber

DAY = date(2027, 3, 10)
NOW = noon(DAY)
DEVICE = "AA:BB:CC:00:11:22"


@pytest.fixture
def isp(rows: Session) -> BillingIsp:
    return BillingIsp.create(rows, taxes=(("IVA", "16", True),))


def batch_of(isp: BillingIsp, settings: Settings, **values) -> VoucherBatch:
    terms = {
        "name": f"batch {isp.session.scalar(select(func.count()).select_from(VoucherBatch))}",
        "count": 3,
        "plan_id": isp.plan("50"),
        "price": Decimal("25.00"),
        "lasts": timedelta(hours=2),
        **values,
    }
    return create_batch(isp.session, isp.actor, settings.keyring, BatchTerms(**terms), NOW)


def ledger(isp: BillingIsp) -> dict[str, Decimal]:
    isp.commit_checks()
    rows = isp.session.execute(
        text("SELECT account, sum(amount) FROM ledger_line WHERE operator_id = :id GROUP BY 1"), {"id": isp.operator_id}
    )
    return {account: amount for account, amount in rows if amount}


def test_a_sale_is_an_invoice_with_its_tax_paid_at_once(isp, installation):
    batch = batch_of(isp, installation)
    sold = sell_voucher(isp.session, isp.actor, installation.keyring, SaleTerms(batch.id, method_id=isp.cash), NOW)
    assert ledger(isp) == {"cash": Decimal(25), "income": Decimal("-21.55"), "tax": Decimal("-3.45")}
    assert find_code(isp.session, installation.keyring, isp.operator_id, sold.code.lower()) is sold.voucher
    assert isp.session.get_one(Service, sold.voucher.service_id).state == "active"
    counter = isp.session.get_one(VoucherSettings, isp.operator_id).counter_subscriber_id
    assert balance_of(isp.session, counter) == 0
    assert not discrepancies(isp.session, isp.operator_id)


def test_an_unused_voucher_that_is_taken_back_gives_the_money_out_again(isp, installation):
    batch = batch_of(isp, installation)
    sold = sell_voucher(isp.session, isp.actor, installation.keyring, SaleTerms(batch.id, method_id=isp.cash), NOW)
    assert take_back(isp.session, isp.actor, sold.voucher, "changed their mind", NOW) == Decimal(25)
    assert ledger(isp) == {}
    assert open_sale(isp.session, sold.voucher) is None
    assert isp.session.get_one(Service, sold.voucher.service_id).state == "terminated"
    assert not broken_entries(isp.session, isp.operator_id)


def test_a_used_voucher_is_cancelled_without_giving_money_back(isp, installation):
    batch = batch_of(isp, installation)
    sold = sell_voucher(isp.session, isp.actor, installation.keyring, SaleTerms(batch.id, method_id=isp.cash), NOW)
    sold.voucher.first_login_at = NOW
    isp.session.flush()
    assert take_back(isp.session, isp.actor, sold.voucher, "abuse", NOW) is None
    assert ledger(isp)["cash"] == 25


def test_a_collector_owes_what_was_sold_less_the_commission(isp, installation):
    collector = Collector(operator_id=isp.operator_id, name="Tienda Lupita", commission=Decimal(10))
    isp.session.add(collector)
    isp.session.flush()
    batch = batch_of(isp, installation, collector_id=collector.id)
    terms = SaleTerms(batch.id, method_id=isp.cash)
    sold = sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW)
    assert ledger(isp)["collectors"] == Decimal("22.50")
    take_back(isp.session, isp.actor, sold.voucher, "misprint", NOW)
    assert ledger(isp) == {}


def test_a_checkout_told_twice_sells_once(isp, installation):
    batch = batch_of(isp, installation)
    terms = SaleTerms(batch.id, method_id=isp.cash, reference="checkout 7", external_id="pi_7")
    first, second = (sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW) for _ in range(2))
    assert (first.again, second.again) == (False, True)
    assert first.code == second.code
    assert isp.session.scalar(select(func.count()).select_from(Payment)) == 1


def test_a_batch_is_sold_out_after_its_last_voucher(isp, installation):
    batch = batch_of(isp, installation, count=1)
    terms = SaleTerms(batch.id, method_id=isp.cash)
    sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW)
    with pytest.raises(Invalid):
        sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW)
    assert batches_to_sell(isp.session, isp.operator_id, None) == []


def test_what_only_a_provider_can_tell_is_not_sold_by_hand(isp, installation):
    isp.session.get_one(PaymentMethod, isp.cash).gateway = "stripe"
    with pytest.raises(Invalid) as refused:
        sell_voucher(
            isp.session, isp.actor, installation.keyring,
            SaleTerms(batch_of(isp, installation).id, method_id=isp.cash), NOW,
        )  # fmt: skip
    assert refused.value.problems[0].problem is Problem.UNKNOWN_METHOD


@pytest.fixture
def guest_pass(isp, installation):
    """A guest's pass made at NOW: the checkout and the code."""
    gateway = Gateway(
        operator_id=isp.operator_id, kind="stripe", method_id=isp.cash, secret_key=b"x", webhook_secret=b"x"
    )
    isp.session.add(gateway)
    isp.session.flush()
    checkout = Checkout(
        operator_id=isp.operator_id, gateway_id=gateway.id, currency="MXN", amount=25,
        subscriber_id=add_subscriber(isp.session, isp.operator_id), reference=f"pass {isp.operator_id}",
    )  # fmt: skip
    isp.session.add(checkout)
    isp.session.flush()
    nas_id = add_nas(isp.session, isp.operator_id)
    code = let_guest_on(isp.session, isp.actor, installation.keyring, DEVICE, nas_id, isp.plan("50"), checkout.id, NOW)
    return checkout, code


def test_a_guests_pass_for_paying_is_not_for_sale(isp, installation, guest_pass):
    voucher = find_code(isp.session, installation.keyring, isp.operator_id, guest_pass[1])
    assert batches_to_sell(isp.session, isp.operator_id, None) == []
    for terms in (SaleTerms(voucher.batch_id), SaleTerms(voucher.batch_id, voucher_id=voucher.service_id)):
        with pytest.raises(Invalid):
            sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW)


def test_a_guests_pass_is_over_some_minutes_after_it_was_made_though_nobody_used_it(isp, installation, guest_pass):
    voucher = find_code(isp.session, installation.keyring, isp.operator_id, guest_pass[1])
    for minutes, state in ((4, "active"), (6, "expired")):
        now = NOW + timedelta(minutes=minutes)
        assert counts(isp.session, [voucher.batch_id], now)[voucher.batch_id] == {state: 1}


def test_two_days_after_a_pass_nothing_tells_whose_device_it_was(isp, installation, guest_pass):
    checkout, code = guest_pass
    voucher = find_code(isp.session, installation.keyring, isp.operator_id, code)

    def devices() -> list[str]:
        found = select(PayingPass.device).where(PayingPass.checkout_id == checkout.id)
        bound = select(ServiceMac.mac).where(ServiceMac.service_id == voucher.service_id)
        return [*isp.session.scalars(found), *isp.session.scalars(bound)]

    forget_passes(isp.session, NOW + timedelta(days=2))
    assert [mac.upper() for mac in devices()] == [DEVICE, DEVICE]
    assert passes_left(isp.session, isp.operator_id, NOW + timedelta(hours=23), device=DEVICE) == A_DAY - 1
    forget_passes(isp.session, NOW + timedelta(days=2, seconds=1))
    isp.session.expire_all()
    assert (devices(), voucher.code) == ([], None)
    for terms in (SaleTerms(voucher.batch_id), SaleTerms(voucher.batch_id, voucher_id=voucher.service_id)):
        with pytest.raises(Invalid):
            sell_voucher(isp.session, isp.actor, installation.keyring, terms, NOW)


def test_a_batch_is_sold_by_its_seller_only(isp, installation):
    staff_id = isp.staff()
    batch = batch_of(isp, installation, seller_staff_id=staff_id)
    terms = SaleTerms(batch.id, method_id=isp.cash)
    with pytest.raises(Invalid):
        sell_voucher(isp.session, Actor(isp.operator_id, "other", staff_id + 1), installation.keyring, terms, NOW)
    seller = Actor(isp.operator_id, "seller", staff_id)
    assert sell_voucher(isp.session, seller, installation.keyring, terms, NOW).sale.staff_id == staff_id


def test_the_report_counts_by_day_seller_and_batch(isp, installation):
    seller = Actor(isp.operator_id, "seller", isp.staff())
    batch = batch_of(isp, installation)
    terms = SaleTerms(batch.id, method_id=isp.cash)
    sold = [sell_voucher(isp.session, seller, installation.keyring, terms, NOW) for _ in range(2)]
    take_back(isp.session, seller, sold[0].voucher, "back", NOW)
    operator = isp.session.get_one(Operator, isp.operator_id)
    (line,) = sales(isp.session, operator, NOW - timedelta(days=1), NOW + timedelta(days=1))
    assert (line.day, line.seller, line.sold, line.refunded, line.amount) == ("2027-03-10", "Cashier", 2, 1, 25)


def test_without_billing_a_sale_is_only_counted(isp, installation):
    isp.session.execute(
        text("UPDATE billing_settings SET enabled = false WHERE operator_id = :id"), {"id": isp.operator_id}
    )
    batch = batch_of(isp, installation)
    sold = sell_voucher(isp.session, isp.actor, installation.keyring, SaleTerms(batch.id), NOW)
    assert (sold.sale.payment_id, sold.sale.price) == (None, 25)
    assert take_back(isp.session, isp.actor, sold.voucher, "back", NOW) == 25
    assert ledger(isp) == {}
    assert isp.session.scalar(select(func.count()).select_from(VoucherSale)) == 1
    assert isp.session.scalar(select(func.count()).select_from(Voucher).where(Voucher.voided_at.is_(None))) == 2


@pytest.mark.parametrize("whole_batch", [True, False])
def test_what_is_cancelled_while_it_is_being_sold_keeps_nobodys_money(database, whole_batch):
    engine = make_engine(database.database_url.get_secret_value())
    with Session(engine) as desk, Session(engine) as office:
        isp = BillingIsp.create(desk)
        batch_id = batch_of(isp, database).id
        voucher_id = desk.scalars(select(Voucher.service_id).order_by(Voucher.number).limit(1)).one()
        desk.commit()
        terms = SaleTerms(batch_id, method_id=isp.cash)
        assert sell_voucher(desk, isp.actor, database.keyring, terms, NOW).voucher.service_id == voucher_id

        def cancel() -> object:
            if whole_batch:
                return void_batch(office, isp.actor, office.get_one(VoucherBatch, batch_id), "misprint", NOW)
            return take_back(office, isp.actor, office.get_one(Voucher, voucher_id), "misprint", NOW)

        with ThreadPoolExecutor() as threads:
            cancelled = threads.submit(cancel)
            while not desk.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) and not cancelled.done():
                pass
            desk.commit()
            assert cancelled.result(10) == (2 if whole_batch else 25)
        office.commit()
        assert (desk.get_one(Service, voucher_id, populate_existing=True).state == "active") == whole_batch
        assert not broken_entries(desk, isp.operator_id)
    engine.dispose()
