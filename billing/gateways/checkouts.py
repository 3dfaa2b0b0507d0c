"""Checkouts: from "pay now" to a registered payment.

The row of a checkout is committed before the provider is asked, so no answer can come for one that we do not know.
No lock is held while a provider is asked. `settle()` asks what became of it and then, under the locks of billing,
registers the payment under the provider's id, which is taken once: a webhook told five times, the browser that comes
back and the look by the clock may all do it at once.

A payment of another amount or currency than was asked for is not booked: the checkout is a `mismatch`, and a person
decides what to do with the money.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.gateways import CheckoutTerms, Hint, PaymentState, ProviderPayment
from billing.gateways.accounts import TITLES, provider_of
from billing.ledger import balance_of
from billing.payments import PaymentTerms, refund_payment, register_payment
from billing.rules import rules_of
from billing.voucher_checkouts import finish_purchase, purchase_of
from billing.wallets import to_top_up
from core.money import rounded
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Checkout, Gateway, GatewayEvent, Invoice, Payment, PaymentMethod, Refund, Subscriber

log = structlog.get_logger()

SAME_CHECKOUT = timedelta(minutes=30)
"""So long a second click leads to the checkout of the first."""
GIVE_UP = timedelta(hours=25)
"""Providers end a checkout after a day; nobody looks after one that was not begun to be paid later than this."""
CASH_COMES = timedelta(days=31)
"""So long a payment may stay on its way: in cash at a shop's counter, by a bank's transfer."""
WAITING = ("new", "open")
LOCK = 7485
"""First half of the advisory locks, the second is the subscriber: two clicks at once begin one checkout."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be paid: for one invoice, or all that a subscriber owes. `ahead`: nothing, it goes into a wallet."""

    subscriber_id: int
    invoice_id: int | None
    amount: Decimal
    ahead: bool = False


def due_of_invoice(session: Session, operator_id: int, invoice_id: int) -> Due | None:
    """Return what is left to pay of an invoice, zero when nothing is; None where there is no such invoice."""
    invoice = session.get(Invoice, invoice_id, populate_existing=True)
    if invoice is None or invoice.operator_id != operator_id:
        return None
    return Due(invoice.subscriber_id, invoice.id, invoice.open)


def due_of_subscriber(session: Session, operator_id: int, subscriber_id: int, now: datetime) -> Due | None:
    """Return what a subscriber owes by the ledger, else what the next periods of prepaid services need.

    Zero when nothing; None where there is no such subscriber.
    """
    subscriber = session.get(Subscriber, subscriber_id)
    if subscriber is None or subscriber.operator_id != operator_id:
        return None
    owed = max(balance_of(session, subscriber.id), Decimal(0))
    if owed:
        return Due(subscriber.id, None, owed)
    return Due(subscriber.id, None, to_top_up(session, operator_id, subscriber.id, now), ahead=True)


def start_checkout(
    session: Session, settings: Settings, gateway: Gateway, due: Due, description: str, back_url: str, now: datetime
) -> Checkout:
    """Begin a checkout and return it with the address where it is paid. Commits. Raises Invalid, ProviderTrouble.

    `back_url` gets the checkout's reference put behind it. A second click within half an hour finds the first one.
    """
    rules = rules_of(session, gateway.operator_id)
    if due.amount <= 0:
        raise Invalid(FieldProblem("amount", Problem.ALREADY_DONE))
    session.execute(select(func.pg_advisory_xact_lock(LOCK, due.subscriber_id % 2**31)))
    checkout = session.scalar(
        select(Checkout)
        .where(
            Checkout.gateway_id == gateway.id,
            Checkout.subscriber_id == due.subscriber_id,
            Checkout.invoice_id.is_not_distinct_from(due.invoice_id),
            Checkout.amount == due.amount,
            Checkout.currency == rules.currency,
            Checkout.state.in_(WAITING),
            Checkout.created_at > now - SAME_CHECKOUT,
        )
        .order_by(Checkout.id.desc())
        .limit(1)
    )
    if checkout is None:
        checkout = Checkout(
            operator_id=gateway.operator_id,
            gateway_id=gateway.id,
            subscriber_id=due.subscriber_id,
            invoice_id=due.invoice_id,
            reference=secrets.token_hex(16),
            currency=rules.currency,
            amount=due.amount,
            created_at=now,
        )
        session.add(checkout)
    session.commit()
    if checkout.url is not None:
        return checkout
    subscriber = session.get_one(Subscriber, due.subscriber_id)
    terms = CheckoutTerms(
        reference=checkout.reference,
        amount=checkout.amount,
        currency=checkout.currency,
        description=description,
        email=subscriber.email,
        back_url=f"{back_url}{checkout.reference}",
    )
    opened = provider_of(gateway, settings).open_checkout(terms)
    if checkout.state == "new":
        checkout.state = "open"
    checkout.provider_id, checkout.url = opened.provider_id, opened.url
    session.commit()
    return checkout


def may_still_be_paid(checkout: Checkout) -> bool:
    """Tell whether a payment of a checkout is booked when it comes: also days after everybody gave it up.

    Not when one was booked before, and not when another amount came, about which a person decides or has decided.
    """
    return checkout.state in (*WAITING, "refused") or (checkout.state == "ended" and not checkout.detail)


def settle(session: Session, settings: Settings, checkout: Checkout, now: datetime) -> Checkout:
    """Ask what became of a checkout and register its payment. Commits. Raises ProviderTrouble, and changes nothing."""
    gateway = session.get_one(Gateway, checkout.gateway_id)
    if not may_still_be_paid(checkout):
        return checkout
    session.commit()  # whatever was read; the provider may take its time
    found = provider_of(gateway, settings).find_payment(checkout.provider_id, checkout.reference)
    match found.state:
        case PaymentState.PAID:
            _take(session, settings, gateway, checkout, found, now)
        case PaymentState.REFUSED:
            _move(session, checkout, "refused", now)
        case PaymentState.ENDED:
            _move(session, checkout, "ended", now)
        case PaymentState.PENDING:
            if now - checkout.created_at > (GIVE_UP if found.payment_id is None else CASH_COMES):
                _move(session, checkout, "ended", now)
    checkout.looked_at = now
    session.commit()
    return checkout


def hear(
    session: Session,
    settings: Settings,
    gateway: Gateway,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> str:
    """Act on a webhook and return what came of it. Commits. Raises BadSignature, ProviderTrouble (told again later)."""
    provider = provider_of(gateway, settings)
    hint = provider.read_webhook(headers, query, body)
    reference = hint.reference
    if reference is None and hint.payment_id is not None:
        reference = provider.reference_of(hint.payment_id)
    checkout = None
    if reference is not None:
        checkout = session.scalar(
            select(Checkout).where(Checkout.gateway_id == gateway.id, Checkout.reference == reference)
        )
    outcome = "not ours" if checkout is None else settle(session, settings, checkout, now).state
    if checkout is not None and hint.payment_id is not None and not may_still_be_paid(checkout):
        outcome = _once_more(session, settings, gateway, checkout, hint.payment_id, now) or outcome
    _note(session, gateway, hint, outcome)
    session.commit()
    return outcome


def refund_online(
    session: Session, settings: Settings, actor: Actor, payment: Payment, amount: Decimal, reason: str, now: datetime
) -> Refund:
    """Do what `refund_at_provider` does, and commit."""
    refund = refund_at_provider(session, settings, actor, payment, amount, reason, now)
    session.commit()
    return refund


def refund_at_provider(
    session: Session, settings: Settings, actor: Actor, payment: Payment, amount: Decimal, reason: str, now: datetime
) -> Refund:
    """Give money of an online payment back through its provider, and book it. Raises Invalid, ProviderTrouble.

    The same refund asked for again before it was booked is one refund at the provider, too: its key says how much had
    been refunded before. While the provider is asked nothing is locked, and other payments go on.
    """
    rules = rules_of(session, payment.operator_id)
    method = session.get_one(PaymentMethod, payment.method_id)
    gateway = session.scalar(
        select(Gateway).where(Gateway.operator_id == payment.operator_id, Gateway.method_id == method.id)
    )
    if gateway is None or payment.external_id is None:
        raise Invalid(FieldProblem("payment", Problem.UNKNOWN_METHOD))
    nested = session.begin_nested()  # what is wrong with it is found before money leaves
    try:
        refund_payment(session, actor, rules, payment, amount, reason, now)
    finally:
        nested.rollback()
    before = payment.refunded
    provider, currency = provider_of(gateway, settings), payment.foreign_currency or payment.currency
    # The digits of the currency, whoever typed 5 or 5.00: asked for again after a crash it is the same refund.
    key = f"portico-refund-{payment.id}-{rounded(before, payment.currency):f}-{rounded(amount, currency):f}"
    charged = provider.payment(payment.external_id).currency
    if charged and charged != currency:  # one of another currency, which a person booked as an amount of ours
        raise Invalid(FieldProblem("amount", Problem.WRONG_CURRENCY, {"expected": charged}))
    refund_id = provider.refund(payment.external_id, amount, currency, key)
    refund, _changes = refund_payment(session, actor, rules, payment, amount, reason, now, external_id=refund_id)
    return refund


def checkouts_to_look_at(session: Session, now: datetime, most: int = 100) -> list[int]:
    """Return checkouts of all operators that nobody told us about for a while, those not looked at longest first.

    Each is looked at every two minutes in its first hour, and then once an hour.
    """
    return list(
        session.scalars(
            select(Checkout.id)
            .where(
                Checkout.state.in_(WAITING),
                Checkout.created_at < now - timedelta(minutes=2),
                or_(
                    func.coalesce(Checkout.looked_at, Checkout.created_at) < now - timedelta(hours=1),
                    and_(
                        Checkout.created_at > now - timedelta(hours=1),
                        func.coalesce(Checkout.looked_at, Checkout.created_at) < now - timedelta(minutes=2),
                    ),
                ),
            )
            .order_by(Checkout.looked_at.nulls_first(), Checkout.id)
            .limit(most)
        )
    )


def webhook_url(settings: Settings, gateway: Gateway) -> str:
    """Return where a provider tells us what happened: what the operator enters in its settings there."""
    return f"{settings.public_url}/webhooks/{gateway.kind}/{gateway.operator_id}"


def _take(
    session: Session,
    settings: Settings,
    gateway: Gateway,
    checkout: Checkout,
    found: ProviderPayment,
    now: datetime,
) -> None:
    """Register the payment of a checkout, unless it is another than was asked for."""
    locked = session.scalar(select(Checkout).where(Checkout.id == checkout.id).with_for_update())
    assert locked is not None, "checkouts are never deleted"
    assert found.payment_id is not None, "paid by something"
    session.refresh(locked)
    if not may_still_be_paid(locked):
        return
    if found.amount != locked.amount or found.currency != locked.currency:
        locked.state, locked.ended_at = "mismatch", now
        locked.detail = f"{found.payment_id}: {found.amount} {found.currency}"
        actor = Actor(gateway.operator_id, TITLES[gateway.kind])
        what = {"expected": f"{locked.amount} {locked.currency}", "paid": locked.detail}
        record(session, actor, "checkout.mismatch", "checkout", locked.id, None, what)
        log.warning("checkout_mismatch", operator_id=gateway.operator_id, checkout_id=locked.id)
        return
    purchase = purchase_of(session, locked.id)
    if purchase is not None:
        finish_purchase(session, settings, gateway, locked, purchase, found.payment_id, now)
        return
    rules = rules_of(session, gateway.operator_id)
    terms = PaymentTerms(
        subscriber_id=locked.subscriber_id,
        method_id=gateway.method_id,
        amount=locked.amount,
        currency=locked.currency,
        paid_on=rules.today(now),
        reference=found.payment_id[:100],
        external_id=found.payment_id,
    )
    registered = register_payment(session, Actor(gateway.operator_id, TITLES[gateway.kind]), rules, terms, now)
    locked.state, locked.payment_id, locked.ended_at = "paid", registered.payment.id, now
    session.flush()


def _once_more(
    session: Session, settings: Settings, gateway: Gateway, checkout: Checkout, payment_id: str, now: datetime
) -> str | None:
    """Book a second payment of a checkout that was paid before, from two tabs or at two counters: it becomes credit.

    Return what is to be noted where it is none of ours to book: a person says what to do with it. None: there is none.
    """
    if session.scalar(_payments_of(gateway, payment_id)) is not None or checkout.detail.startswith(f"{payment_id}:"):
        return None
    session.commit()  # the provider may take its time
    found = provider_of(gateway, settings).payment(payment_id)
    if found.state is not PaymentState.PAID:
        return None
    rules = rules_of(session, gateway.operator_id)
    if checkout.state != "paid" or found.currency != rules.currency or purchase_of(session, checkout.id) is not None:
        return "not ours"
    terms = PaymentTerms(
        subscriber_id=checkout.subscriber_id,
        method_id=gateway.method_id,
        amount=found.amount,
        currency=found.currency,
        paid_on=rules.today(now),
        reference=payment_id[:100],
        external_id=payment_id,
    )
    register_payment(session, Actor(gateway.operator_id, TITLES[gateway.kind]), rules, terms, now)
    log.info("checkout_paid_again", operator_id=gateway.operator_id, checkout_id=checkout.id)
    return "paid"


def _payments_of(gateway: Gateway, payment_id: str) -> Select[int]:
    return select(Payment.id).where(Payment.operator_id == gateway.operator_id, Payment.external_id == payment_id)


def _move(session: Session, checkout: Checkout, state: str, now: datetime) -> None:
    session.refresh(checkout, with_for_update=True)
    if checkout.state in WAITING:
        checkout.state, checkout.ended_at = state, now


def _note(session: Session, gateway: Gateway, hint: Hint, outcome: str) -> None:
    """Write down what a provider told; the same event again only counts."""
    statement = insert(GatewayEvent).values(
        operator_id=gateway.operator_id,
        gateway_id=gateway.id,
        event_id=hint.event_id[:200],
        kind=hint.kind[:100],
        outcome=outcome,
        provider_payment=hint.payment_id[:200] if hint.payment_id else None,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["gateway_id", "event_id"], set_={"times": GatewayEvent.times + 1, "outcome": outcome}
        )
    )
