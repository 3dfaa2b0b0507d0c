"""Vouchers bought online: from the choice on a captive page to a code, once for each payment.

The row of a purchase stands beside its checkout before the provider is asked. When the payment is there, by webhook,
by the browser that comes back or by the look at the clock an hour later, the voucher is sold under the checkout's
reference, which sells once. A payment for which no voucher is left is not booked: the checkout is a `mismatch`, and
a person decides what to do with the money.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.gateways import CheckoutTerms
from billing.gateways.accounts import TITLES, provider_of
from billing.links import LinkFor, link_key, signed
from billing.vouchers import SaleTerms, sell_voucher
from core.i18n import N_, translator
from core.settings import Settings
from crm.notices import Message, deliver
from crm.problems import FieldProblem, Invalid, Problem
from crm.vouchers import CODE_PURPOSE, settings_of
from db.audit import Actor
from db.models import CaptivePurchase, Checkout, Gateway, Operator, Voucher, VoucherSale

log = structlog.get_logger()
SUBJECT = N_("Your code for %(operator)s")
BODY = N_(
    "Thank you. Your code is here, until it is used: %(url)s\n\nThe receipt: %(receipt)s\n\nIf a question is open,"
    " answer to this mail."
)
BUYER = N_("Captive page")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody chose. `key` is what the page drew for it: the same key again is the same purchase."""

    batch_id: int
    nas_id: int
    key: str
    email: str | None
    language: str


def price_of(
    session: Session, settings: Settings, operator_id: int, batch_id: int, method_id: int, now: datetime
) -> Decimal:
    """Return what a voucher of a batch costs with its taxes. Rolls back. Raises Invalid when there is none to sell.

    It is sold and taken back, so the price is the one that the invoice will have.
    """
    try:
        # As if the provider had told of it, since by its method nothing else is sold.
        terms = SaleTerms(batch_id, method_id=method_id, external_id=secrets.token_hex(16))
        return sell_voucher(session, Actor(operator_id, BUYER), settings.keyring, terms, now).sale.price
    finally:
        session.rollback()


def start_purchase(
    session: Session,
    settings: Settings,
    gateway: Gateway,
    wanted: Wanted,
    description: str,
    back_url: str,
    now: datetime,
) -> Checkout:
    """Begin to buy a voucher and return the checkout with the address where it is paid. Commits.

    `back_url` gets the checkout's reference put behind it. Raises Invalid and ProviderTrouble.
    """
    operator_id = gateway.operator_id
    known = select(CaptivePurchase).where(CaptivePurchase.operator_id == operator_id, CaptivePurchase.key == wanted.key)
    before = session.scalar(known)
    if before is not None:
        checkout = session.get_one(Checkout, before.checkout_id)
        if before.batch_id != wanted.batch_id or checkout.url is None or checkout.gateway_id != gateway.id:
            raise Invalid(FieldProblem("batch", Problem.ALREADY_DONE))
        return checkout
    gateway_id, method_id = gateway.id, gateway.method_id
    amount = price_of(session, settings, operator_id, wanted.batch_id, method_id, now)
    if amount <= 0:
        raise Invalid(FieldProblem("batch", Problem.UNKNOWN_CHOICE))
    counter = settings_of(session, Actor(operator_id, BUYER), settings.keyring).counter_subscriber_id
    checkout = Checkout(
        operator_id=operator_id,
        gateway_id=gateway_id,
        subscriber_id=counter,
        reference=secrets.token_hex(16),
        currency=session.get_one(Operator, operator_id).currency,
        amount=amount,
        created_at=now,
    )
    session.add(checkout)
    session.flush()
    session.add(
        CaptivePurchase(
            operator_id=operator_id,
            nas_id=wanted.nas_id,
            batch_id=wanted.batch_id,
            checkout_id=checkout.id,
            key=wanted.key,
            email=wanted.email,
            language=wanted.language,
        )
    )
    session.commit()
    terms = CheckoutTerms(
        reference=checkout.reference,
        amount=checkout.amount,
        currency=checkout.currency,
        description=description,
        email=wanted.email,
        back_url=f"{back_url}{checkout.reference}",
    )
    opened = provider_of(session.get_one(Gateway, gateway_id), settings).open_checkout(terms)
    checkout.provider_id, checkout.url = opened.provider_id, opened.url
    if checkout.state == "new":
        checkout.state = "open"
    session.commit()
    return checkout


def purchase_of(session: Session, checkout_id: int) -> CaptivePurchase | None:
    """Return the purchase that a checkout pays, None where it pays something else."""
    return session.scalar(select(CaptivePurchase).where(CaptivePurchase.checkout_id == checkout_id))


def finish_purchase(
    session: Session,
    settings: Settings,
    gateway: Gateway,
    checkout: Checkout,
    purchase: CaptivePurchase,
    payment_id: str,
    now: datetime,
) -> None:
    """Sell the voucher that was paid, and write to the buyer. The checkout is locked; the caller commits."""
    actor = Actor(gateway.operator_id, TITLES[gateway.kind])
    terms = SaleTerms(
        purchase.batch_id,
        method_id=gateway.method_id,
        payment_reference=payment_id[:100],
        reference=checkout.reference,
        external_id=payment_id,
    )
    try:
        with session.begin_nested():
            sold = sell_voucher(session, actor, settings.keyring, terms, now)
            if sold.sale.price != checkout.amount:
                raise Invalid(FieldProblem("amount", Problem.ALREADY_DONE))
            sold_payment = sold.sale.payment_id
    except Invalid as refused:
        session.refresh(checkout)
        checkout.state, checkout.ended_at = "mismatch", now
        why = ", ".join(str(each.problem) for each in refused.problems)
        checkout.detail = f"{payment_id}: {checkout.amount} {checkout.currency} (voucher: {why})"
        log.warning("purchase_not_sold", operator_id=gateway.operator_id, checkout_id=checkout.id, why=why)
        session.flush()
        return
    session.refresh(checkout)
    checkout.state, checkout.payment_id, checkout.ended_at = "paid", sold_payment, now
    session.flush()
    if purchase.email:
        _write(session, settings, checkout, purchase)


def sold_code(session: Session, settings: Settings, operator_id: int, reference: str) -> tuple[VoucherSale, str] | None:
    """Return the sale of a checkout and its code; the code is empty once it was used. None while nothing is sold."""
    sale = session.scalar(
        select(VoucherSale).where(VoucherSale.operator_id == operator_id, VoucherSale.reference == reference)
    )
    if sale is None or sale.refunded_at is not None:
        return None
    voucher = session.get_one(Voucher, sale.voucher_id)
    return sale, settings.keyring.open(CODE_PURPOSE, voucher.code) if voucher.code is not None else ""


def _write(session: Session, settings: Settings, checkout: Checkout, purchase: CaptivePurchase) -> None:
    """Send the buyer the way to the code and the receipt. The code itself is kept in no mail of ours."""
    operator = session.get_one(Operator, purchase.operator_id)
    key = link_key(session, settings.keyring, operator.id)
    place = signed(key, LinkFor.HOTSPOT, operator.id, purchase.nas_id)
    receipt = signed(key, LinkFor.FETCH_RECEIPT, operator.id, checkout.payment_id or 0)
    said = {
        "url": f"{settings.public_url}/captive/{place}/bought/{checkout.reference}",
        "receipt": f"{settings.public_url}/documents/{receipt}.pdf",
        "operator": operator.name,
    }
    say = translator(purchase.language)
    message = Message(
        "voucher", "email", purchase.email or "", purchase.language, say(SUBJECT) % said, say(BODY) % said
    )
    deliver(session, settings.keyring, operator.id, [message])
