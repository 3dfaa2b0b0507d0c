"""Payments that come in another currency: what they are worth in the books, and what of them is given back.

A payment is worth its amount at the rate of the day it was paid on, half up, less the change that was given back in the
books' currency. Amount, currency and rate stay with it. What is given back is given in the currency it came in and at
that rate, whatever the rate is by then: the books know no gain or loss of a refund.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.desks import open_desk_of
from billing.foreign_cash import check_there, move
from billing.ledger import Posting
from billing.rules import BillingRules
from core.money import LARGEST, currency_digits, exchange_sentence, rounded
from crm.currencies import foreign_currencies, rate_on
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import CashDesk, ForeignCash, Payment


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came in, and its worth in the books: `worth` is all of it, of which `change` was given back."""

    currency: str
    amount: Decimal
    rate: Decimal
    day: date  # that the rate is of
    books_currency: str
    worth: Decimal
    change: Decimal = Decimal(0)

    @property
    def booked(self) -> Decimal:
        """What the payment is, in the books' currency."""
        return self.worth - self.change

    def sentence(self, locale: str) -> str:
        return exchange_sentence(self.currency, self.rate, self.books_currency, locale)


def exchanged(
    session: Session, rules: BillingRules, currency: str, amount: Decimal, change: Decimal, paid_on: date
) -> Exchanged:
    """Return what an amount of another currency is worth. Raises Invalid: no such currency, or no rate for the day."""
    if currency not in foreign_currencies(session, rules.operator_id):
        raise Invalid(FieldProblem("amount", Problem.WRONG_CURRENCY, {"expected": rules.currency}))
    rate = rate_on(session, rules.operator_id, currency, paid_on)
    worth = rate.to_books(amount)
    if worth > LARGEST:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_TOO_LARGE))
    if worth <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    if change < 0:
        raise Invalid(FieldProblem("change", Problem.AMOUNT_NEGATIVE))
    if change != rounded(change, rules.currency):
        raise Invalid(FieldProblem("change", Problem.AMOUNT_TOO_PRECISE))
    if change >= worth:
        most = worth - Decimal(1).scaleb(-currency_digits(rules.currency))
        raise Invalid(FieldProblem("change", Problem.AMOUNT_OVER, {"most": f"{most:f}"}))
    return Exchanged(currency, amount, rate.rate, rate.day, rules.currency, worth, change)


def postings_of(payment: Payment, account: str, sign: int) -> tuple[Posting, ...]:
    """Return what a payment adds to the accounts that hold money (`sign` 1), or takes out of them again (-1)."""
    if payment.foreign_amount is None:
        return (Posting(account, sign * payment.amount),)
    holder = "foreign_cash" if account == "cash" else account
    worth = payment.amount + payment.change_given
    return (Posting(holder, sign * worth), Posting(account, -sign * payment.change_given))


def take_in(session: Session, actor: Actor, rules: BillingRules, payment: Payment, account: str, now: datetime) -> None:
    """Keep where the cash of a payment in another currency is."""
    if payment.foreign_amount is None or account not in ("cash", "collectors"):
        return
    worth = payment.amount + payment.change_given
    _move(session, actor, rules, payment, "payment", payment.foreign_amount, worth, payment.desk_id, now)


def give_all_back(
    session: Session, actor: Actor, rules: BillingRules, payment: Payment, account: str, now: datetime
) -> None:
    """Let the cash of a voided payment go: out of its desk, or out of the actor's where that is closed by now.

    The change that was given of it comes back into the same desk (`billing.desks.desk_sums`). Raises Invalid: the cash
    is not there.
    """
    if payment.foreign_amount is None or account not in ("cash", "collectors"):
        return
    desk = session.get(CashDesk, payment.desk_id, populate_existing=True) if payment.desk_id else None
    if account == "cash" and (desk is None or desk.closed_at is not None):
        desk = open_desk_of(session, actor.staff_id) if actor.staff_id is not None else None
    assert payment.foreign_currency is not None
    if account == "cash":
        check_there(session, rules, desk, payment.foreign_currency, payment.foreign_amount, "payment")
    worth = payment.amount + payment.change_given
    desk_id = desk.id if desk else None
    _move(session, actor, rules, payment, "void", -payment.foreign_amount, -worth, desk_id, now)


def give_back(
    session: Session, actor: Actor, rules: BillingRules, payment: Payment, account: str,
    amount: Decimal, worth: Decimal, desk: CashDesk | None, now: datetime,
) -> None:  # fmt: skip
    """Let cash of a payment go that is refunded. Raises Invalid: it is not there."""
    if account not in ("cash", "collectors"):
        return
    assert payment.foreign_currency is not None
    if account == "cash":
        check_there(session, rules, desk, payment.foreign_currency, amount, "amount")
    desk_id = desk.id if desk and account == "cash" else None
    _move(session, actor, rules, payment, "refund", -amount, -worth, desk_id, now)


def refunded_of(session: Session, payment: Payment) -> Decimal:
    """Return what of a payment was given back, in the currency it came in."""
    query = text("SELECT coalesce(sum(foreign_amount), 0) FROM refund WHERE payment_id = :id")
    return Decimal(session.execute(query, {"id": payment.id}).scalar_one())


def refundable_of(session: Session, payment: Payment) -> Decimal:
    """Return what of a payment may be given back still, in the currency it came in.

    Of one that change was given of, a rest smaller than a cent of that currency may stay: voiding takes all of it back.
    """
    assert payment.foreign_currency is not None
    assert payment.foreign_amount is not None
    assert payment.exchange_rate is not None
    done = refunded_of(session, payment)
    if not payment.change_given:
        return payment.foreign_amount - done
    step = Decimal(1).scaleb(-currency_digits(payment.foreign_currency))
    most = (payment.amount / payment.exchange_rate).quantize(step, ROUND_DOWN)
    return max(Decimal(0), min(most, payment.foreign_amount) - done)


def worth_of_refund(session: Session, payment: Payment, amount: Decimal) -> Decimal:
    """Return what a part of a payment is worth at its own rate, so that all parts are worth what the payment is.

    Raises Invalid.
    """
    assert payment.foreign_currency is not None
    assert payment.exchange_rate is not None
    if amount <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    if amount != rounded(amount, payment.foreign_currency):
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_TOO_PRECISE))
    most = refundable_of(session, payment)
    if amount > most:
        shown = f"{rounded(most, payment.foreign_currency):f} {payment.foreign_currency}"
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_OVER, {"most": shown}))
    given = rounded((refunded_of(session, payment) + amount) * payment.exchange_rate, payment.currency)
    worth = min(given, payment.amount) - payment.refunded
    if worth <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    return worth


def _move(
    session: Session, actor: Actor, rules: BillingRules, payment: Payment, kind: str,
    amount: Decimal, value: Decimal, desk_id: int | None, now: datetime,
) -> None:  # fmt: skip
    moved = ForeignCash(
        currency=payment.foreign_currency, kind=kind, amount=amount, value=value, desk_id=desk_id,
        collector_id=payment.collector_id, payment_id=payment.id,
    )  # fmt: skip
    move(session, actor, rules, moved, now)
