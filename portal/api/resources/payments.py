"""Payments: registering them, what they paid, and voiding them. And the ways to pay."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer
from sqlalchemy import select

from billing.gateways.checkouts import refund_at_provider
from billing.invoices import document_number
from billing.payments import PaymentTerms, refund_payment, register_payment, void_payment
from billing.rules import rules_of
from crm.problems import FieldProblem, Invalid, Problem
from db.models import Payment, PaymentMethod, Refund
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import Kind
from portal.api.resources.rows import amount_of, one
from portal.api.scopes import Scope
from portal.api.values import Absent, Day, Given, Instant, Money, MoneyGiven, Page, PageAsked, RowId, Shown, string
from portal.staff.billing.base import payment_state

TAG = "Payments"
State = Literal["valid", "refunded", "voided"]


class PaidShown(Shown):
    """What a payment paid of an invoice."""

    invoice_id: int
    number: str
    amount: Money
    whole: bool = Field(description="Nothing is left open of the invoice.")


class EffectShown(Shown):
    """What a payment did to a service."""

    service_id: int
    restored: bool
    next_cut_off: date | None = Field(description="The day until which it is paid.")
    cut_at: datetime | None = Field(
        None, description="When it is cut without another payment; null where people cut it by hand, or it is not on."
    )


class PaymentShown(Shown):
    """Money of a subscriber."""

    id: int
    receipt: str
    subscriber_id: int
    method_id: int
    amount: Money
    unapplied: Money = Field(description="What no invoice has taken: the subscriber's credit.")
    refunded: Money
    came_in: Money | None = Field(description="What was paid, where it was in another currency than the operator's.")
    exchange_rate: Annotated[Decimal, PlainSerializer(lambda rate: f"{rate.normalize():f}", return_type=str)] | None = (
        Field(description="What one unit of that currency was worth in the operator's.", examples=["17.25"])
    )
    change_given: Money | None = Field(description="What of it was given back in the operator's currency.")
    paid_on: date
    reference: str
    note: str
    state: State
    void_reason: str
    paid: list[PaidShown]
    services: list[EffectShown]
    created_at: datetime


class PaymentGiven(Given):
    """A payment to be registered."""

    subscriber_id: RowId
    method_id: RowId = Field(description="One of /payment-methods.")
    amount: MoneyGiven = Field(description="In the operator's currency, or in another one that the operator takes.")
    change: MoneyGiven | None = Field(
        None, description="What was given back in the operator's currency of cash in another one."
    )
    paid_on: Day | None = Field(None, description="Today, where it is left out.")
    reference: string(100) = Field("", examples=["SPEI 4711"])  # type: ignore[valid-type]
    note: string(500) = ""  # type: ignore[valid-type]


class PaymentVoiding(Given):
    reason: string(500, 1) = Field(examples=["The transfer was recalled."])  # type: ignore[valid-type]


class RefundShown(Shown):
    """Money of a payment that was given back."""

    id: int
    payment_id: int
    amount: Money
    given: Money | None = Field(description="What was given back, of a payment in another currency.")
    refunded_on: date
    reason: str
    created_at: datetime


class RefundsShown(Shown):
    items: list[RefundShown]


class RefundGiven(Given):
    amount: MoneyGiven
    reason: string(500, 1) = Field(examples=["Paid twice"])  # type: ignore[valid-type]


class PaymentsAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    state: State | Absent = None
    paid_from: Day | Absent = Field(None, description="Paid on this day or later.")
    paid_until: Day | Absent = Field(None, description="Paid on this day or before.")
    created_since: Instant | Absent = Field(None, description="Registered at or after.")


class MethodShown(Shown):
    """A way to pay. Payments of one with a gateway come from its provider and are not registered here."""

    id: int
    name: str
    account: Literal["cash", "bank", "card"]
    needs_reference: bool
    gateway: str | None
    active: bool


class MethodsShown(Shown):
    items: list[MethodShown]


def _money(amount: Decimal | None, currency: str | None) -> Money | None:
    return None if amount is None or currency is None else Money.of(amount, currency)


def _one(payment: Payment) -> PaymentShown:
    currency, done = payment.currency, payment.effects
    return PaymentShown(
        id=payment.id,
        receipt=document_number(payment.prefix, payment.number),
        subscriber_id=payment.subscriber_id,
        method_id=payment.method_id,
        amount=Money.of(payment.amount, currency),
        unapplied=Money.of(payment.unapplied, currency),
        refunded=Money.of(payment.refunded, currency),
        came_in=_money(payment.foreign_amount, payment.foreign_currency),
        exchange_rate=payment.exchange_rate,
        change_given=_money(payment.change_given, currency) if payment.foreign_currency else None,
        paid_on=payment.paid_on,
        reference=payment.reference,
        note=payment.note,
        state=payment_state(payment),
        void_reason=payment.void_reason,
        paid=[
            PaidShown(**{**each, "amount": Money.of(Decimal(each["amount"]), currency)})
            for each in done.get("paid", ())
        ],
        services=[EffectShown.model_validate(each) for each in done.get("services", ())],
        created_at=payment.created_at,
    )


def _shown(rows: Sequence[Payment]) -> list[PaymentShown]:
    return [_one(row) for row in rows]


@operation("GET", "/payment-methods", Scope.PAYMENTS_READ, tag=TAG, summary="List the ways to pay",
           answer=MethodsShown)  # fmt: skip
def methods() -> MethodsShown:
    rows = frame.db().scalars(select(PaymentMethod).order_by(PaymentMethod.id))
    return MethodsShown(items=[MethodShown.model_validate(row) for row in rows])


@operation("GET", "/payments", Scope.PAYMENTS_READ, tag=TAG, summary="List payments", answer=Page[PaymentShown])
def index(query: PaymentsAsked) -> Page[PaymentShown]:
    found = select(Payment)
    if query.subscriber_id is not None:
        found = found.where(Payment.subscriber_id == query.subscriber_id)
    match query.state:
        case "voided":
            found = found.where(Payment.voided_at.is_not(None))
        case "refunded":
            found = found.where(Payment.voided_at.is_(None), Payment.refunded > 0)
        case "valid":
            found = found.where(Payment.voided_at.is_(None), Payment.refunded == 0)
    if query.paid_from is not None:
        found = found.where(Payment.paid_on >= query.paid_from)
    if query.paid_until is not None:
        found = found.where(Payment.paid_on <= query.paid_until)
    if query.created_since is not None:
        found = found.where(Payment.created_at >= query.created_since)
    return page_of(frame.db(), found, [Payment.id], query, _shown)


@operation("GET", "/payments/<int:payment_id>", Scope.PAYMENTS_READ, tag=TAG, summary="Read a payment",
           answer=PaymentShown, single=True)  # fmt: skip
def show(payment_id: int) -> PaymentShown:
    return _one(one(Payment, payment_id))


@operation("POST", "/payments", Scope.PAYMENTS_WRITE, tag=TAG, summary="Register a payment", answer=PaymentShown,
           status=201, key=True, gives=(Kind.BILLING_OFF,), location="/payments/{id}")  # fmt: skip
def register(body: PaymentGiven) -> PaymentShown:
    """It pays the open invoices, those due first before the others; a service that was cut for being overdue comes
    back at once. What is left over is credit."""
    session, now = frame.db(), context.now()
    rules = rules_of(session, frame.token().operator_id)
    method = session.get(PaymentMethod, body.method_id)
    if method is not None and method.gateway is not None:
        raise Invalid(FieldProblem("method_id", Problem.UNKNOWN_METHOD))
    terms = PaymentTerms(
        subscriber_id=body.subscriber_id,
        method_id=body.method_id,
        amount=body.amount.amount(),
        currency=body.amount.currency,
        paid_on=body.paid_on or rules.today(now),
        reference=body.reference,
        note=body.note,
        change=Decimal(0) if body.change is None else amount_of(body.change, "change"),
    )
    return _one(register_payment(session, frame.actor(), rules, terms, now).payment)


@operation("POST", "/payments/<int:payment_id>/void", Scope.PAYMENTS_VOID, tag=TAG, summary="Void a payment",
           answer=PaymentShown, gives=(Kind.BILLING_OFF,))  # fmt: skip
def void(payment_id: int, body: PaymentVoiding) -> PaymentShown:
    """It was never made, or it bounced. What it had paid is open again."""
    session, payment = frame.db(), one(Payment, payment_id)
    rules = rules_of(session, frame.token().operator_id)
    void_payment(session, frame.actor(), rules, payment, body.reason, context.now())
    session.refresh(payment)
    return _one(payment)


@operation("GET", "/payments/<int:payment_id>/refunds", Scope.PAYMENTS_READ, tag=TAG,
           summary="List what was given back of a payment", answer=RefundsShown)  # fmt: skip
def refunds(payment_id: int) -> RefundsShown:
    payment = one(Payment, payment_id)
    rows = frame.db().scalars(select(Refund).where(Refund.payment_id == payment.id).order_by(Refund.id))
    return RefundsShown(items=[_refund_shown(row, payment) for row in rows])


@operation("POST", "/payments/<int:payment_id>/refunds", Scope.PAYMENTS_REFUND, tag=TAG, summary="Refund a payment",
           answer=RefundShown, status=201, key=True, gives=(Kind.BILLING_OFF, Kind.PROVIDER))  # fmt: skip
def refund(payment_id: int, body: RefundGiven) -> RefundShown:
    """Credit first, then what it paid of invoices, the newest first. Of a payment that came online, its provider gives
    the money back, once: sent again with the same key, it is the same refund there."""
    session, payment, now = frame.db(), one(Payment, payment_id), context.now()
    amount = amount_of(body.amount, currency=payment.foreign_currency)
    if payment.external_id is not None:
        settings = context.portal().settings
        made = refund_at_provider(session, settings, frame.actor(), payment, amount, body.reason, now)
    else:
        rules = rules_of(session, frame.token().operator_id)
        made, _changes = refund_payment(session, frame.actor(), rules, payment, amount, body.reason, now)
    return _refund_shown(made, payment)


def _refund_shown(row: Refund, payment: Payment) -> RefundShown:
    return RefundShown(
        amount=Money.of(row.amount, payment.currency),
        given=_money(row.foreign_amount, payment.foreign_currency),
        **{name: getattr(row, name) for name in set(RefundShown.model_fields) - {"amount", "given"}},
    )
