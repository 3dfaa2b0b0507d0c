"""Selling vouchers: who sells one takes the money, and the books have it.

A sale is one transaction: the voucher is activated, and where the operator bills, an invoice with its taxes is issued
to the counter (a subscriber without services, so that the ledger knows whose money it was) and paid at once into the
seller's cash desk or by the collector. A voucher that was sold and never used can be taken back: the invoice is
credited and the money given out again. Without billing a sale is a row of the report and nothing else.

`sell_voucher` sells once for one `reference` (of a checkout), however often it is called.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from billing.credit_notes import void_invoice
from billing.drafts import WaitingCharge
from billing.invoices import issue_charges, lock_books
from billing.payments import PaymentTerms, refund_payment, register_payment, void_payment
from billing.rules import BillingRules, billing_is_on, rules_of
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.problems import FieldProblem, Invalid, Problem
from crm.vouchers import CODE_PURPOSE, activate, settings_of, void_vouchers
from db.audit import Actor, record
from db.models import Invoice, Operator, Payment, PaymentMethod, Voucher, VoucherBatch, VoucherSale, VoucherSettings

ON_THE_INVOICE = N_("Voucher %(batch)s")
_FOR_SALE = text(
    "NOT EXISTS (SELECT FROM voucher_sale o WHERE o.voucher_id = voucher.service_id)"
    " AND NOT EXISTS (SELECT FROM paying_pass p WHERE p.service_id = voucher.service_id)"
)
"""Not sold yet, and not a guest's pass of some minutes (`crm.passes`), which is its device's and costs nothing."""


@dataclass(frozen=True, slots=True)
class SaleTerms:
    """What is sold and how it is paid: the next voucher of a batch's stock, or `voucher_id`, a card that is in print.

    `method_id` may be missing where nothing is billed or the voucher is free. `external_id` is a provider's own id of
    the payment.
    """

    batch_id: int
    voucher_id: int | None = None
    method_id: int | None = None
    collector_id: int | None = None
    payment_reference: str = ""
    reference: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale, the voucher and its code, which is None once it was used. `again`: it was sold before."""

    sale: VoucherSale
    voucher: Voucher
    code: str | None
    again: bool = False


def sell_voucher(session: Session, actor: Actor, keyring: Keyring, terms: SaleTerms, now: datetime) -> Sold:
    """Sell a voucher. Raises Invalid: sold out, sold or used already, of another seller, not payable that way."""
    settings = settings_of(session, actor, keyring)
    rules = rules_of(session, actor.operator_id) if billing_is_on(session, actor.operator_id) else None
    lock_books(session, actor.operator_id, [settings.counter_subscriber_id])
    if terms.reference is not None:
        known = session.scalar(
            select(VoucherSale).where(
                VoucherSale.operator_id == actor.operator_id, VoucherSale.reference == terms.reference
            )
        )
        if known is not None:
            voucher = session.get_one(Voucher, known.voucher_id)
            return Sold(known, voucher, _code(keyring, voucher), again=True)
    batch = session.get(VoucherBatch, terms.batch_id)
    if batch is None or batch.operator_id != actor.operator_id or batch.voided_at is not None:
        raise Invalid(FieldProblem("batch", Problem.UNKNOWN_CHOICE))
    if actor.staff_id is not None and batch.seller_staff_id not in (None, actor.staff_id):
        raise Invalid(FieldProblem("batch", Problem.UNKNOWN_CHOICE))
    voucher = _taken(session, batch, terms, now)
    collector_id = terms.collector_id or batch.collector_id
    sale = VoucherSale(
        operator_id=actor.operator_id,
        voucher_id=voucher.service_id,
        batch_id=batch.id,
        staff_id=actor.staff_id,
        collector_id=collector_id,
        currency=session.get_one(Operator, actor.operator_id).currency,
        price=batch.price,
        sold_at=now,
        reference=terms.reference,
    )
    if rules is not None and batch.price > 0:
        invoice, payment = _books(
            session, actor, rules, settings.counter_subscriber_id, batch, terms, collector_id, now
        )
        sale.invoice_id, sale.payment_id = invoice, payment.id
        sale.price = payment.amount
    session.add(sale)
    session.flush()
    activate(session, batch.id, now, [voucher.number])
    after = {"batch": batch.name, "number": voucher.number, "price": sale.price, "currency": sale.currency}
    record(session, actor, "voucher.sell", "voucher", voucher.service_id, None, after)
    session.flush()
    return Sold(sale, voucher, _code(keyring, voucher))


def open_sale(session: Session, voucher: Voucher) -> VoucherSale | None:
    """Return the sale of a voucher that was not taken back."""
    return session.scalar(
        select(VoucherSale).where(VoucherSale.voucher_id == voucher.service_id, VoucherSale.refunded_at.is_(None))
    )


def take_back(session: Session, actor: Actor, voucher: Voucher, reason: str, now: datetime) -> Decimal | None:
    """Cancel a voucher; one that was sold and never used gives its money back. Return how much, None if nothing.

    Raises Invalid, and WrongState when it is cancelled already.
    """
    counter_id = session.get_one(VoucherSettings, actor.operator_id).counter_subscriber_id
    lock_books(session, actor.operator_id, [counter_id])  # what is sold in this moment is sold before this looks
    session.refresh(voucher, with_for_update=True)
    sale = open_sale(session, voucher)
    if sale is None or voucher.first_login_at is not None:
        void_vouchers(session, actor, [voucher], reason, now)
        return None
    if sale.payment_id is not None and sale.invoice_id is not None:
        rules = rules_of(session, actor.operator_id)
        payment, invoice = session.get_one(Payment, sale.payment_id), session.get_one(Invoice, sale.invoice_id)
        void_invoice(session, actor, rules, invoice, reason, now)
        session.refresh(payment)
        if payment.collector_id is not None:
            void_payment(session, actor, rules, payment, reason, now)
        else:
            refund_payment(session, actor, rules, payment, payment.amount, reason, now)
    sale.refunded_at = now
    session.flush()
    void_vouchers(session, actor, [voucher], reason, now)
    return sale.price


def batches_to_sell(session: Session, operator_id: int, staff_id: int | None) -> list[Row[tuple[VoucherBatch, int]]]:
    """Return the batches that a member of staff may sell of, with how many are left, whose stock is not empty."""
    left = (
        select(func.count())
        .where(
            Voucher.batch_id == VoucherBatch.id,
            Voucher.voided_at.is_(None),
            Voucher.first_login_at.is_(None),
            _FOR_SALE,
        )
        .correlate(VoucherBatch)
        .scalar_subquery()
    )
    query = select(VoucherBatch, left.label("left")).where(
        VoucherBatch.operator_id == operator_id,
        VoucherBatch.voided_at.is_(None),
        (VoucherBatch.seller_staff_id.is_(None)) | (VoucherBatch.seller_staff_id == staff_id),
    )
    return [row for row in session.execute(query.order_by(VoucherBatch.price, VoucherBatch.id)) if row.left]


@dataclass(frozen=True, slots=True)
class SalesLine:
    """What one seller sold of one batch on one day; `amount` is with taxes, without what was given back."""

    day: str
    seller: str
    batch: str
    batch_id: int
    sold: int
    refunded: int
    amount: Decimal
    currency: str


def sales(session: Session, operator: Operator, first: datetime, before: datetime) -> list[SalesLine]:
    """Return what was sold from `first` up to `before`, by day of the operator, seller and batch; newest day first."""
    rows = session.execute(
        text(
            "SELECT to_char(o.sold_at AT TIME ZONE :zone, 'YYYY-MM-DD') AS day,"
            " coalesce(c.name, f.name, '') AS seller, b.name AS batch, b.id AS batch_id, count(*) AS sold,"
            " count(o.refunded_at) AS refunded,"
            " coalesce(sum(o.price) FILTER (WHERE o.refunded_at IS NULL), 0) AS amount, o.currency"
            " FROM voucher_sale o JOIN voucher_batch b ON b.id = o.batch_id"
            " LEFT JOIN collector c ON c.id = o.collector_id LEFT JOIN staff f ON f.id = o.staff_id"
            " WHERE o.operator_id = :operator_id AND o.sold_at >= :first AND o.sold_at < :before"
            " GROUP BY 1, 2, 3, 4, o.currency ORDER BY 1 DESC, 2, 3"
        ),
        {"zone": operator.timezone, "operator_id": operator.id, "first": first, "before": before},
    )
    return [SalesLine(**row._asdict()) for row in rows]


# Below here: what a sale is made of.


def _taken(session: Session, batch: VoucherBatch, terms: SaleTerms, now: datetime) -> Voucher:
    """Return the voucher to sell, locked: nobody else sells it in the same moment."""
    query = (
        select(Voucher)
        .where(
            Voucher.batch_id == batch.id,
            Voucher.voided_at.is_(None),
            Voucher.first_login_at.is_(None),
            _FOR_SALE,
        )
        .order_by(Voucher.number)
        .limit(1)
        .with_for_update(of=Voucher)
    )
    if terms.voucher_id is not None:
        query = query.where(Voucher.service_id == terms.voucher_id)
    voucher = session.scalar(query)
    if voucher is None:
        problem = Problem.LIMIT_REACHED if terms.voucher_id is None else Problem.ALREADY_DONE
        raise Invalid(FieldProblem("batch", problem, {"limit": str(batch.count)}))
    for over in (batch.best_before, batch.ends_at):
        if over is not None and over <= now:
            raise Invalid(FieldProblem("batch", Problem.TOO_LONG_AGO))
    return voucher


def _books(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    subscriber_id: int,
    batch: VoucherBatch,
    terms: SaleTerms,
    collector_id: int | None,
    now: datetime,
) -> tuple[int, Payment]:
    """Issue the invoice and take the payment; return the invoice's id and the payment."""
    if terms.method_id is None:
        raise Invalid(FieldProblem("method_id", Problem.REQUIRED))
    method = session.get(PaymentMethod, terms.method_id)
    if method is not None and method.gateway is not None and terms.external_id is None:
        raise Invalid(FieldProblem("method_id", Problem.UNKNOWN_METHOD))  # only its provider says what came by it
    today = rules.today(now)
    what = translator(rules.locale)(ON_THE_INVOICE) % {"batch": batch.name}
    charge = WaitingCharge(0, "one_off", what, batch.price)
    issued = issue_charges(session, rules, subscriber_id, [charge], today, today)
    assert issued is not None, "its price is above nothing"
    paid = PaymentTerms(
        subscriber_id,
        terms.method_id,
        issued.total,
        rules.currency,
        today,
        reference=terms.payment_reference,
        collector_id=collector_id,
        external_id=terms.external_id,
    )
    return issued.id, register_payment(session, actor, rules, paid, now).payment


def _code(keyring: Keyring, voucher: Voucher) -> str | None:
    return keyring.open(CODE_PURPOSE, voucher.code) if voucher.code is not None else None
