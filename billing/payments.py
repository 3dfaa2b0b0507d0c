"""Payments: money of a subscriber, what it pays, and how it is taken back.

A payment pays the subscriber's open invoices, those due first before the others, wholly or in part. What is left is
the subscriber's credit, which pays the next invoices as they are made; `paid_until` counts on it at once. A service
that was cut for being overdue comes back in the transaction that registers the payment.

`what_it_will_do()` registers the payment and takes everything back, so what it says is what would happen.

What comes in another currency is worth its amount at the day's rate (`billing.foreign_payments`), and pays with that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.cut_offs import cut_offs
from billing.dates import DateChange, settle_dates
from billing.desks import open_desk_of
from billing.foreign_payments import (
    Exchanged,
    exchanged,
    give_all_back,
    give_back,
    postings_of,
    take_in,
    worth_of_refund,
)
from billing.invoices import apply_credit, document_number, lock_books, take_numbers, write_applications
from billing.ledger import Entry, Posting, balance_of, post
from billing.promises import end_promises
from billing.rules import BillingRules
from billing.wallets import buy_periods
from core.money import LARGEST, AmountFlaw, BadAmount, currency_digits, is_currency, parse_amount, rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Collector, Operator, Payment, PaymentMethod, Refund, Subscriber

OLDEST = timedelta(days=400)
"""A payment dated further back was mistyped."""
LONGEST_REFERENCE = 100

_AMOUNT_PROBLEMS = {
    AmountFlaw.EMPTY: Problem.AMOUNT_MISSING,
    AmountFlaw.NOT_A_NUMBER: Problem.AMOUNT_UNREADABLE,
    AmountFlaw.AMBIGUOUS: Problem.AMOUNT_AMBIGUOUS,
    AmountFlaw.NEGATIVE: Problem.AMOUNT_NEGATIVE,
    AmountFlaw.ZERO: Problem.AMOUNT_ZERO,
    AmountFlaw.TOO_LARGE: Problem.AMOUNT_TOO_LARGE,
    AmountFlaw.TOO_PRECISE: Problem.AMOUNT_TOO_PRECISE,
}


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """What is entered for a payment. `external_id` is a provider's own id, which makes it be taken once only.

    `amount` is of `currency`, which may be another than the one of the books; then `change` is what was given back of
    it in the books' currency.
    """

    subscriber_id: int
    method_id: int
    amount: Decimal
    currency: str
    paid_on: date
    reference: str = ""
    note: str = ""
    collector_id: int | None = None
    external_id: str | None = None
    change: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Paid:
    """What a payment paid of an invoice; `whole` when nothing is left open of it."""

    invoice_id: int
    number: str
    amount: Decimal
    whole: bool


@dataclass(frozen=True, slots=True)
class ServiceEffect:
    """What a payment does to a service.

    `next_cut_off` is the day until which it is paid, `cut_at` the instant at which it is cut if nothing more is paid:
    None where people cut it by hand, and where it is not on.
    """

    service_id: int
    name: str
    restored: bool
    next_cut_off: date | None
    cut_at: datetime | None


@dataclass(frozen=True, slots=True)
class PaymentEffects:
    """What a payment does: for the page before it is saved, and for its receipt.

    `credit` is what the subscriber has left over, `balance` what is still owed. `duplicates` are receipts of payments
    that look like the same one. `exchanged` is of a payment in another currency.
    """

    paid: tuple[Paid, ...]
    services: tuple[ServiceEffect, ...]
    credit: Decimal
    balance: Decimal
    duplicates: tuple[str, ...] = field(default=())
    exchanged: Exchanged | None = None

    def document(self) -> dict[str, Any]:
        """Return the effects as `payment.effects` keeps them; decimals and dates are texts."""
        kept = {name: _plain(value) for name, value in asdict(self).items()}
        if self.exchanged is None:
            del kept["exchanged"]
        return kept


@dataclass(frozen=True, slots=True)
class Registered:
    """A payment and what it did; `again` when it was registered before under the same `external_id`."""

    payment: Payment
    effects: PaymentEffects | None
    again: bool = False


def typed_amount(value: str, currency: str, locale: str, name: str = "amount", *, zero: bool = False) -> Decimal:
    """Return the amount that somebody typed. Raises Invalid for the field `name`."""
    try:
        return parse_amount(value, currency, locale, zero=zero)
    except BadAmount as bad:
        raise Invalid(FieldProblem(name, _AMOUNT_PROBLEMS[bad.flaw])) from None


def register_payment(
    session: Session, actor: Actor, rules: BillingRules, terms: PaymentTerms, now: datetime
) -> Registered:
    """Take a payment, let it pay, move the dates and restore who is covered again. Raises Invalid.

    A payment whose `external_id` is known already is returned as it stands.
    """
    lock_books(session, rules.operator_id, [terms.subscriber_id])
    known = _known(session, rules, terms)
    if known is not None:
        return Registered(known, None, again=True)
    method, collector, foreign = _checked(session, actor, rules, terms, now)
    amount = foreign.booked if foreign else terms.amount
    desk = None
    if method.account == "cash" and collector is None and actor.staff_id is not None:
        desk = open_desk_of(session, actor.staff_id)
        if desk is None and rules.require_cash_desk:
            raise Invalid(FieldProblem("method_id", Problem.DESK_CLOSED))
    today = rules.today(now)
    duplicates = _duplicates(session, terms, amount)
    commission = rounded(amount * collector.commission / 100, rules.currency) if collector else Decimal(0)
    prefix, number = take_numbers(session, rules.operator_id, "receipt", 1)
    payment = Payment(
        operator_id=rules.operator_id,
        subscriber_id=terms.subscriber_id,
        method_id=method.id,
        prefix=prefix,
        number=number,
        currency=rules.currency,
        amount=amount,
        unapplied=amount,
        paid_on=terms.paid_on,
        reference=terms.reference.strip(),
        note=terms.note.strip(),
        external_id=terms.external_id,
        desk_id=desk.id if desk else None,
        collector_id=collector.id if collector else None,
        commission=commission,
        staff_id=actor.staff_id,
        foreign_currency=foreign.currency if foreign else None,
        foreign_amount=foreign.amount if foreign else None,
        exchange_rate=foreign.rate if foreign else None,
        change_given=foreign.change if foreign else Decimal(0),
    )
    session.add(payment)
    session.flush()
    account = "collectors" if collector else method.account
    entries = [_payment_entry("payment", payment, account, 1, today)]
    if commission:
        entries.append(_commission_entry(payment, commission, today))
    post(session, rules.operator_id, entries)
    take_in(session, actor, rules, payment, account, now)
    apply_credit(session, rules, [terms.subscriber_id], today)
    buy_periods(session, rules, [terms.subscriber_id], today)
    changes = settle_dates(session, actor, rules, [terms.subscriber_id], today)
    end_promises(session, terms.subscriber_id, today, now)
    session.refresh(payment)
    effects = _effects(session, payment, changes, duplicates, foreign)
    payment.effects = effects.document()
    session.flush()
    record(
        session,
        actor,
        "payment.register",
        "payment",
        payment.id,
        None,
        {
            "receipt": document_number(prefix, number),
            "subscriber_id": terms.subscriber_id,
            "method": method.name,
            "amount": amount,
            "currency": rules.currency,
            "paid_on": terms.paid_on,
            "reference": payment.reference,
            **_audited(foreign),
        },
    )
    return Registered(payment, effects)


def what_it_will_do(
    session: Session, actor: Actor, rules: BillingRules, terms: PaymentTerms, now: datetime
) -> PaymentEffects:
    """Return what registering the payment would do, leaving nothing behind. Raises Invalid."""
    nested = session.begin_nested()
    try:
        effects = register_payment(session, actor, rules, terms, now).effects
    finally:
        nested.rollback()
    if effects is None:
        raise Invalid(FieldProblem("reference", Problem.ALREADY_DONE))
    return effects


def void_payment(
    session: Session, actor: Actor, rules: BillingRules, payment: Payment, reason: str, now: datetime
) -> list[DateChange]:
    """Take back a payment that was never made, or bounced. What it paid is open again. Raises Invalid."""
    lock_books(session, rules.operator_id, [payment.subscriber_id])
    session.refresh(payment)
    _check_reason(reason)
    if payment.voided_at is not None or payment.refunded:
        raise Invalid(FieldProblem("payment", Problem.ALREADY_DONE))
    today = rules.today(now)
    _take_back(session, rules, payment, payment.amount - payment.unapplied, today)
    session.refresh(payment)
    payment.unapplied, payment.voided_at, payment.void_reason = Decimal(0), now, reason.strip()
    session.flush()
    account = _account(session, payment)
    give_all_back(session, actor, rules, payment, account, now)
    entries = [_payment_entry("void", payment, account, -1, today, reason)]
    if payment.commission:
        entries.append(_commission_entry(payment, -payment.commission, today))
    post(session, rules.operator_id, entries)
    record(session, actor, "payment.void", "payment", payment.id, None, {"reason": reason, "amount": payment.amount})
    apply_credit(session, rules, [payment.subscriber_id], today)
    return settle_dates(session, actor, rules, [payment.subscriber_id], today)


def refund_payment(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    payment: Payment,
    amount: Decimal,
    reason: str,
    now: datetime,
    external_id: str | None = None,
) -> tuple[Refund, list[DateChange]]:
    """Give money of a payment back: credit first, then what it paid of invoices, the newest first. Raises Invalid.

    `amount` is of the currency that the payment came in, and is given back in it at the rate of then.
    """
    lock_books(session, rules.operator_id, [payment.subscriber_id])
    session.refresh(payment)
    _check_reason(reason)
    left = payment.amount - payment.refunded
    if payment.voided_at is not None:
        raise Invalid(FieldProblem("payment", Problem.ALREADY_DONE))
    foreign = None
    if payment.foreign_amount is not None:
        foreign, amount = amount, worth_of_refund(session, payment, amount)
    if amount <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    if amount > left:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_OVER, {"most": str(rounded(left, rules.currency))}))
    if amount != rounded(amount, rules.currency):
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_TOO_PRECISE))
    today = rules.today(now)
    account = _account(session, payment)
    desk = None
    if account == "cash" and actor.staff_id is not None:
        desk = open_desk_of(session, actor.staff_id)
        if desk is None and rules.require_cash_desk:
            raise Invalid(FieldProblem("payment", Problem.DESK_CLOSED))
    if foreign is not None:
        give_back(session, actor, rules, payment, account, foreign, amount, desk, now)
    _take_back(session, rules, payment, amount - payment.unapplied, today)
    session.refresh(payment)
    payment.unapplied -= amount
    payment.refunded += amount
    refund = Refund(
        operator_id=rules.operator_id,
        payment_id=payment.id,
        amount=amount,
        foreign_amount=foreign,
        refunded_on=today,
        reason=reason.strip(),
        external_id=external_id,
        desk_id=desk.id if desk else None,
        staff_id=actor.staff_id,
    )
    session.add(refund)
    session.flush()
    holder = "foreign_cash" if foreign is not None and account == "cash" else account
    postings = (Posting("credit", amount, payment.subscriber_id), Posting(holder, -amount))
    entry = Entry("refund", "refund", refund.id, today, rules.currency, postings, reason)
    post(session, rules.operator_id, [entry])
    given = {} if foreign is None else {"given": f"{foreign:f} {payment.foreign_currency}"}
    record(session, actor, "payment.refund", "payment", payment.id, None, {"reason": reason, "amount": amount, **given})
    return refund, settle_dates(session, actor, rules, [payment.subscriber_id], today)


# Below here: what the above is made of.


def _checked(
    session: Session, actor: Actor, rules: BillingRules, terms: PaymentTerms, now: datetime
) -> tuple[PaymentMethod, Collector | None, Exchanged | None]:
    problems = _amount_problems(rules, terms)
    subscriber = session.get(Subscriber, terms.subscriber_id)
    if subscriber is None or subscriber.operator_id != rules.operator_id:
        problems.append(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    today = rules.today(now)
    if terms.paid_on > today:
        problems.append(FieldProblem("paid_on", Problem.IN_THE_FUTURE))
    elif terms.paid_on < today - OLDEST:
        problems.append(FieldProblem("paid_on", Problem.TOO_LONG_AGO))
    method = session.get(PaymentMethod, terms.method_id)
    if method is None or method.operator_id != rules.operator_id or not method.active:
        problems.append(FieldProblem("method_id", Problem.UNKNOWN_METHOD))
    elif method.needs_reference and not terms.reference.strip():
        problems.append(FieldProblem("reference", Problem.REQUIRED))
    for name in ("reference", "note"):
        limit = LONGEST_REFERENCE if name == "reference" else 500
        if len(getattr(terms, name)) > limit or not getattr(terms, name).isprintable():
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
    collector = None
    if terms.collector_id is not None:
        collector = session.get(Collector, terms.collector_id)
        if collector is None or collector.operator_id != rules.operator_id or not collector.active:
            problems.append(FieldProblem("collector_id", Problem.UNKNOWN_COLLECTOR))
    if terms.change and (terms.currency == rules.currency or (method and method.account != "cash" and not collector)):
        problems.append(FieldProblem("change", Problem.CHANGE_OF_CASH))
    foreign = None
    if not problems and terms.currency != rules.currency:
        foreign = exchanged(session, rules, terms.currency, terms.amount, terms.change, terms.paid_on)
    if problems or method is None:
        raise Invalid(*problems)
    return method, collector, foreign


def _amount_problems(rules: BillingRules, terms: PaymentTerms) -> list[FieldProblem]:
    amount = terms.amount
    if not is_currency(terms.currency):
        return [FieldProblem("amount", Problem.WRONG_CURRENCY, {"expected": rules.currency})]
    if not amount.is_finite():
        return [FieldProblem("amount", Problem.AMOUNT_UNREADABLE)]
    if amount <= 0:
        return [FieldProblem("amount", Problem.AMOUNT_NEGATIVE if amount < 0 else Problem.AMOUNT_ZERO)]
    if amount > LARGEST:
        return [FieldProblem("amount", Problem.AMOUNT_TOO_LARGE)]
    if -int(amount.normalize().as_tuple().exponent) > currency_digits(terms.currency):
        return [FieldProblem("amount", Problem.AMOUNT_TOO_PRECISE)]
    return []


def _known(session: Session, rules: BillingRules, terms: PaymentTerms) -> Payment | None:
    if terms.external_id is None:
        return None
    return session.scalar(
        select(Payment).where(
            Payment.operator_id == rules.operator_id,
            Payment.method_id == terms.method_id,
            Payment.external_id == terms.external_id,
        )
    )


def _audited(foreign: Exchanged | None) -> dict[str, Any]:
    if foreign is None:
        return {}
    came = {"came_in": f"{foreign.amount:f} {foreign.currency}", "exchange_rate": foreign.rate}
    return {**came, "change": foreign.change} if foreign.change else came


def _duplicates(session: Session, terms: PaymentTerms, amount: Decimal) -> tuple[str, ...]:
    """Return the receipts of payments that look like this one: its reference, or its subscriber, amount and day."""
    rows = session.execute(
        text(
            "SELECT prefix, number FROM payment WHERE voided_at IS NULL AND method_id = :method_id"
            " AND subscriber_id = :subscriber_id AND amount = :amount AND abs(paid_on - :paid_on) <= 1"
            " UNION SELECT prefix, number FROM payment WHERE voided_at IS NULL AND method_id = :method_id"
            " AND :reference <> '' AND lower(reference) = lower(:reference) ORDER BY 2"
        ),
        {**asdict(terms), "amount": amount, "reference": terms.reference.strip()},
    )
    return tuple(document_number(row.prefix, row.number) for row in rows)


def _payment_entry(kind: str, payment: Payment, account: str, sign: int, today: date, reason: str = "") -> Entry:
    credit = Posting("credit", -sign * payment.amount, payment.subscriber_id)
    postings = (*postings_of(payment, account, sign), credit)
    return Entry(kind, "payment", payment.id, today, payment.currency, postings, reason)


def _commission_entry(payment: Payment, commission: Decimal, today: date) -> Entry:
    postings = (Posting("commissions", commission), Posting("collectors", -commission))
    return Entry("commission", "payment", payment.id, today, payment.currency, postings)


def _account(session: Session, payment: Payment) -> str:
    if payment.collector_id is not None:
        return "collectors"
    return session.get_one(PaymentMethod, payment.method_id).account


def _take_back(session: Session, rules: BillingRules, payment: Payment, amount: Decimal, today: date) -> None:
    """Free so much of what a payment paid of invoices, the newest application first."""
    applied = session.execute(
        text(
            "SELECT invoice_id, sum(amount) AS amount FROM payment_application WHERE payment_id = :id"
            " GROUP BY invoice_id HAVING sum(amount) > 0 ORDER BY max(id) DESC"
        ),
        {"id": payment.id},
    ).all()
    back = []
    for row in applied:
        part = min(row.amount, amount)
        if part > 0:
            back.append((payment.id, row.invoice_id, payment.subscriber_id, -part))
            amount -= part
    write_applications(session, rules, back, today)


def _effects(
    session: Session,
    payment: Payment,
    changes: Sequence[DateChange],
    duplicates: tuple[str, ...],
    foreign: Exchanged | None,
) -> PaymentEffects:
    rows = session.execute(
        text(
            "SELECT i.id, i.prefix, i.number, sum(a.amount) AS amount, i.open FROM payment_application a"
            " JOIN invoice i ON i.id = a.invoice_id WHERE a.payment_id = :id GROUP BY i.id ORDER BY i.due_on, i.id"
        ),
        {"id": payment.id},
    ).all()
    paid = tuple(Paid(row.id, document_number(row.prefix, row.number), row.amount, row.open == 0) for row in rows)
    restored = {change.service_id for change in changes if change.restored}
    services = session.execute(
        text(
            "SELECT s.id, s.name, s.paid_until FROM service s JOIN service_billing b ON b.service_id = s.id"
            " WHERE s.subscriber_id = :id AND s.state <> 'terminated' ORDER BY s.id"
        ),
        {"id": payment.subscriber_id},
    ).all()
    days = {row.id: row.paid_until for row in services}
    cut = cut_offs(session, session.get_one(Operator, payment.operator_id), days)
    credit = session.execute(
        text("SELECT coalesce(sum(unapplied), 0) FROM payment WHERE subscriber_id = :id AND unapplied > 0"),
        {"id": payment.subscriber_id},
    ).scalar_one()
    return PaymentEffects(
        paid,
        tuple(ServiceEffect(row.id, row.name, row.id in restored, row.paid_until, cut.get(row.id)) for row in services),
        credit,
        balance_of(session, payment.subscriber_id),
        duplicates,
        foreign,
    )


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 500 or not reason.isprintable():
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case tuple() | list():
            return [_plain(each) for each in value]
        case Decimal() | date():
            return str(value)
    return value
