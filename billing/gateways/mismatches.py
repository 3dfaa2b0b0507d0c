"""Money that came online and is not what was asked for: another amount, or another currency.

A person decides: it is booked for a subscriber, given back through the provider, or closed with a note because it was
dealt with elsewhere. What the provider has is asked of it again each time; no words of a webhook decide anything.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.gateways import ProviderPayment
from billing.gateways.accounts import provider_of
from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Checkout, Gateway, Payment, Subscriber

LONGEST_NOTE = 500


def what_came(session: Session, settings: Settings, checkout: Checkout) -> ProviderPayment:
    """Return what the provider has of a checkout. Raises ProviderTrouble."""
    gateway = session.get_one(Gateway, checkout.gateway_id)
    return provider_of(gateway, settings).find_payment(checkout.provider_id, checkout.reference)


def book_mismatch(
    session: Session,
    settings: Settings,
    actor: Actor,
    checkout: Checkout,
    subscriber_id: int,
    amount: Decimal,
    note: str,
    now: datetime,
) -> Payment:
    """Register what came as a payment of a subscriber. The caller commits. Raises Invalid, ProviderTrouble.

    `amount` is in the operator's currency: what arrives of money in another one is for a person to know.
    """
    _check_note(note)
    found = what_came(session, settings, checkout)
    payment_id = _payment_of(found)
    locked = _locked(session, checkout)
    rules = rules_of(session, locked.operator_id)
    subscriber = session.get(Subscriber, subscriber_id)
    if subscriber is None or subscriber.operator_id != locked.operator_id:
        raise Invalid(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    if found.currency == rules.currency and amount != found.amount:
        raise Invalid(FieldProblem("amount", Problem.UNKNOWN_CHOICE))
    terms = PaymentTerms(
        subscriber_id=subscriber.id,
        method_id=session.get_one(Gateway, locked.gateway_id).method_id,
        amount=amount,
        currency=rules.currency,
        paid_on=rules.today(now),
        reference=payment_id[:100],
        note=note.strip(),
        external_id=payment_id,
    )
    payment = register_payment(session, actor, rules, terms, now).payment
    locked.payment_id = payment.id
    what = {"subscriber_id": subscriber.id, "amount": amount, "note": note.strip()}
    _decided(session, actor, locked, "paid", "checkout.booked", what, now)
    return payment


def return_mismatch(
    session: Session, settings: Settings, actor: Actor, checkout: Checkout, note: str, now: datetime
) -> str:
    """Give back what came, all of it, and return the provider's id of that. Commits. Raises Invalid, ProviderTrouble.

    The provider is asked under one key for each checkout: two clicks, or a crash before the commit, are one refund.
    """
    _check_note(note)
    found = what_came(session, settings, checkout)
    payment_id = _payment_of(found)
    locked = _locked(session, checkout)  # held while the provider answers: nobody books it meanwhile
    provider = provider_of(session.get_one(Gateway, locked.gateway_id), settings)
    refund_id = provider.refund(payment_id, found.amount, found.currency, f"portico-mismatch-{locked.id}")
    what = {"refund": refund_id, "amount": f"{found.amount} {found.currency}", "note": note.strip()}
    _decided(session, actor, locked, "ended", "checkout.returned", what, now)
    session.commit()
    return refund_id


def close_mismatch(session: Session, actor: Actor, checkout: Checkout, note: str, now: datetime) -> None:
    """Leave it at a note, which is required. The caller commits. Raises Invalid."""
    if not note.strip():
        raise Invalid(FieldProblem("note", Problem.REQUIRED))
    _check_note(note)
    _decided(session, actor, _locked(session, checkout), "ended", "checkout.closed", {"note": note.strip()}, now)


def _payment_of(found: ProviderPayment) -> str:
    """Return the provider's id of what came. Raises Invalid where the provider has it no longer."""
    if found.payment_id is None:
        raise Invalid(FieldProblem("note", Problem.GONE_AT_PROVIDER))
    return found.payment_id


def _locked(session: Session, checkout: Checkout) -> Checkout:
    locked = session.scalars(select(Checkout).where(Checkout.id == checkout.id).with_for_update()).one()
    session.refresh(locked)
    if locked.state != "mismatch":
        raise Invalid(FieldProblem("note", Problem.ALREADY_DONE))
    return locked


def _decided(
    session: Session,
    actor: Actor,
    checkout: Checkout,
    state: str,
    action: str,
    what: Mapping[str, object],
    now: datetime,
) -> None:
    checkout.state, checkout.ended_at = state, now
    session.flush()
    record(session, actor, action, "checkout", checkout.id, {"state": "mismatch"}, what)


def _check_note(note: str) -> None:
    if len(note) > LONGEST_NOTE or not note.strip().isprintable():
        raise Invalid(FieldProblem("note", Problem.TOO_LONG, {"limit": str(LONGEST_NOTE)}))
