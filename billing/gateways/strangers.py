"""Payments that a provider told of and nobody began here: a link made at the provider, or another shop's sale.

A person says whose money it is. What is booked is what the provider has of the payment when it is asked then, under the
provider's id of it, which is taken once: two clicks, two people, or another webhook about it are one payment.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from billing.gateways import PaymentState, ProviderPayment
from billing.gateways.accounts import provider_of
from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Gateway, GatewayEvent, Payment, Subscriber

NOT_OURS, ASSIGNED = "not ours", "assigned"


def is_open() -> ColumnElement[bool]:
    """Return the condition for events of payments that nobody began here, and that are nobody's yet."""
    booked = select(Payment.id).where(
        Payment.operator_id == GatewayEvent.operator_id, Payment.external_id == GatewayEvent.provider_payment
    )
    return (GatewayEvent.outcome == NOT_OURS) & ~booked.exists()


def payment_told_of(session: Session, settings: Settings, event: GatewayEvent) -> ProviderPayment | None:
    """Return what the provider has of the payment that an event is about; None: of none. Raises ProviderTrouble."""
    if event.provider_payment is None:
        return None
    gateway = session.get_one(Gateway, event.gateway_id)
    return provider_of(gateway, settings).payment(event.provider_payment)


def assign_payment(
    session: Session, settings: Settings, actor: Actor, event: GatewayEvent, subscriber_id: int, now: datetime
) -> Payment:
    """Register what came as a payment of a subscriber. The caller commits. Raises Invalid, ProviderTrouble."""
    found = payment_told_of(session, settings, event)
    if found is None or found.state is not PaymentState.PAID or found.payment_id is None:
        raise Invalid(FieldProblem("payment", Problem.GONE_AT_PROVIDER))
    locked = session.scalars(
        select(GatewayEvent).where(GatewayEvent.id == event.id).with_for_update().execution_options(
            populate_existing=True
        )
    ).one()  # fmt: skip
    rules = rules_of(session, locked.operator_id)
    subscriber = session.get(Subscriber, subscriber_id)
    if subscriber is None or subscriber.operator_id != locked.operator_id:
        raise Invalid(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    if locked.outcome != NOT_OURS:
        raise Invalid(FieldProblem("payment", Problem.ALREADY_DONE))
    terms = PaymentTerms(
        subscriber_id=subscriber.id,
        method_id=session.get_one(Gateway, locked.gateway_id).method_id,
        amount=found.amount,
        currency=found.currency,
        paid_on=rules.today(now),
        reference=found.payment_id[:100],
        external_id=found.payment_id,
    )
    registered = register_payment(session, actor, rules, terms, now)
    if registered.again:
        raise Invalid(FieldProblem("payment", Problem.ALREADY_DONE))
    session.execute(
        update(GatewayEvent)
        .where(
            GatewayEvent.gateway_id == locked.gateway_id,
            GatewayEvent.provider_payment == locked.provider_payment,
            GatewayEvent.outcome == NOT_OURS,
        )
        .values(outcome=ASSIGNED)
    )
    what = {"payment_id": registered.payment.id, "subscriber_id": subscriber.id, "amount": found.amount}
    record(session, actor, "gateway_event.assigned", "gateway_event", locked.id, {"outcome": NOT_OURS}, what)
    return registered.payment
