"""Charges, discounts, coupons and late fees: what is billed beside the plan, and what is taken off it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.dates import DateChange, settle_dates
from billing.following import waiting_charges
from billing.invoices import Issued, issue_charges, lock_books
from billing.rules import BillingRules
from core.money import LARGEST, rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Charge, Coupon, Discount, Invoice, Service, Subscriber

LONGEST_DESCRIPTION = 200


@dataclass(frozen=True, slots=True)
class ChargeTerms:
    """What is entered for a charge. `amount` is once, or of a month when `recurring`."""

    subscriber_id: int
    description: str
    amount: Decimal
    recurring: bool = False
    service_id: int | None = None
    starts_on: date | None = None  # today
    ends_on: date | None = None
    tax_exempt: bool = False


@dataclass(frozen=True, slots=True)
class DiscountTerms:
    """What is entered for a discount: percent of the plan, or an amount a month; for some months, or for good."""

    description: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    months: int | None = None
    starts_on: date | None = None  # today


def add_charge(session: Session, actor: Actor, rules: BillingRules, terms: ChargeTerms, now: datetime) -> Charge:
    """Let the subscriber's next invoice, or each of them, have a charge. Raises Invalid."""
    lock_books(session, rules.operator_id, [terms.subscriber_id])
    today = rules.today(now)
    starts_on = terms.starts_on or today
    problems = [*_description_problems(terms.description), *_amount_problems("amount", terms.amount, rules)]
    subscriber = session.get(Subscriber, terms.subscriber_id)
    if subscriber is None or subscriber.operator_id != rules.operator_id:
        problems.append(FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE))
    if terms.service_id is not None:
        service = session.get(Service, terms.service_id)
        if service is None or service.subscriber_id != terms.subscriber_id:
            problems.append(FieldProblem("service_id", Problem.UNKNOWN_CHOICE))
    if terms.ends_on is not None and terms.ends_on < starts_on:
        problems.append(FieldProblem("ends_on", Problem.TOO_LONG_AGO))
    if problems:
        raise Invalid(*problems)
    charge = Charge(
        operator_id=rules.operator_id,
        subscriber_id=terms.subscriber_id,
        service_id=terms.service_id,
        kind="recurring" if terms.recurring else "one_off",
        description=terms.description.strip(),
        amount=terms.amount,
        tax_exempt=terms.tax_exempt,
        starts_on=starts_on,
        ends_on=terms.ends_on if terms.recurring else None,
        staff_id=actor.staff_id,
    )
    session.add(charge)
    session.flush()
    after = {"what": charge.description, "amount": charge.amount, "recurring": terms.recurring}
    record(session, actor, "charge.create", "subscriber", terms.subscriber_id, None, after)
    settle_dates(session, actor, rules, [terms.subscriber_id], today)
    return charge


def cancel_charge(session: Session, actor: Actor, rules: BillingRules, charge: Charge, now: datetime) -> None:
    """Take back a charge that no invoice has, or end a recurring one. Raises Invalid when it is billed."""
    lock_books(session, rules.operator_id, [charge.subscriber_id])
    session.refresh(charge)
    if charge.invoice_id is not None or charge.cancelled_at is not None:
        raise Invalid(FieldProblem("charge", Problem.ALREADY_DONE))
    charge.cancelled_at = now
    session.flush()
    record(session, actor, "charge.cancel", "subscriber", charge.subscriber_id, {"what": charge.description}, {})
    settle_dates(session, actor, rules, [charge.subscriber_id], rules.today(now))


def bill_now(
    session: Session, actor: Actor, rules: BillingRules, subscriber_id: int, due_on: date, now: datetime
) -> tuple[Issued | None, list[DateChange]]:
    """Make an invoice at once of the one-off charges that wait, without a service's period. None: nothing waits."""
    lock_books(session, rules.operator_id, [subscriber_id])
    today = rules.today(now)
    if due_on < today:
        raise Invalid(FieldProblem("due_on", Problem.TOO_LONG_AGO))
    waiting = [charge for charge in waiting_charges(session, subscriber_id) if charge.kind != "plan"]
    issued = issue_charges(session, rules, subscriber_id, waiting, today, due_on) if waiting else None
    if issued is not None:
        record(session, actor, "invoice.issue", "invoice", issued.id, None, {"number": issued.number})
    return issued, settle_dates(session, actor, rules, [subscriber_id], today)


def late_fee(open_amount: Decimal, rules: BillingRules) -> Decimal:
    """Return the fee on an invoice of which so much is open: percent of it and the fixed amount."""
    if open_amount <= 0:
        return Decimal(0)
    return rounded(open_amount * rules.late_fee_percent / 100 + rules.late_fee_amount, rules.currency)


def charge_late_fee(
    session: Session, actor: Actor, rules: BillingRules, invoice: Invoice, description: str, now: datetime
) -> bool:
    """Let the next invoice have a fee for this one, when it is open and late enough; once, however often called."""
    today = rules.today(now)
    fee = late_fee(invoice.open, rules)
    if fee <= 0 or today <= invoice.due_on + timedelta(days=rules.late_fee_days):
        return False
    done = session.execute(
        insert(Charge)
        .values(
            operator_id=rules.operator_id,
            subscriber_id=invoice.subscriber_id,
            service_id=invoice.service_id,
            kind="late_fee",
            description=description,
            amount=fee,
            starts_on=today,
            source_invoice_id=invoice.id,
            staff_id=actor.staff_id,
        )
        .on_conflict_do_nothing()
        .returning(Charge.id)
    ).scalar()
    if done is None:
        return False
    record(session, actor, "charge.late_fee", "invoice", invoice.id, None, {"amount": fee})
    return True


def add_discount(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    service: Service,
    terms: DiscountTerms,
    now: datetime,
    coupon: Coupon | None = None,
) -> Discount:
    """Lower what a service's plan costs, from its next period on. Raises Invalid."""
    lock_books(session, rules.operator_id, [service.subscriber_id])
    problems = _description_problems(terms.description)
    if (terms.percent is None) == (terms.amount is None):
        problems.append(FieldProblem("percent", Problem.REQUIRED))
    elif terms.percent is not None and not 0 < terms.percent <= 100:
        problems.append(FieldProblem("percent", Problem.OUT_OF_RANGE, {"low": "0", "high": "100"}))
    elif terms.amount is not None:
        problems += _amount_problems("amount", terms.amount, rules)
    if terms.months is not None and not 1 <= terms.months <= 120:
        problems.append(FieldProblem("months", Problem.OUT_OF_RANGE, {"low": "1", "high": "120"}))
    if problems:
        raise Invalid(*problems)
    today = rules.today(now)
    discount = Discount(
        operator_id=rules.operator_id,
        service_id=service.id,
        description=terms.description.strip(),
        percent=terms.percent,
        amount=terms.amount,
        months_left=terms.months,
        coupon_id=coupon.id if coupon else None,
        starts_on=terms.starts_on or today,
    )
    session.add(discount)
    session.flush()
    after = {
        "what": discount.description,
        "percent": terms.percent,
        "amount": terms.amount,
        "months": terms.months,
        "coupon": coupon.code if coupon else None,
    }
    record(session, actor, "discount.create", "service", service.id, None, after)
    settle_dates(session, actor, rules, [service.subscriber_id], today)
    return discount


def end_discount(session: Session, actor: Actor, rules: BillingRules, discount: Discount, now: datetime) -> None:
    """Let a discount hold for no further period. Raises Invalid when it ended already."""
    service = session.get_one(Service, discount.service_id)
    lock_books(session, rules.operator_id, [service.subscriber_id])
    session.refresh(discount)
    if discount.ended_at is not None:
        raise Invalid(FieldProblem("discount", Problem.ALREADY_DONE))
    discount.ended_at = now
    session.flush()
    record(session, actor, "discount.end", "service", service.id, {"what": discount.description}, {})
    settle_dates(session, actor, rules, [service.subscriber_id], rules.today(now))


def redeem_coupon(
    session: Session, actor: Actor, rules: BillingRules, service: Service, code: str, now: datetime
) -> Discount:
    """Give a service the discount of a coupon. Raises Invalid: unknown, over, used up, or used for it before."""
    lock_books(session, rules.operator_id, [service.subscriber_id])
    coupon = session.scalar(
        select(Coupon)
        .where(Coupon.operator_id == rules.operator_id, func.upper(Coupon.code) == code.strip().upper())
        .with_for_update()
    )
    if coupon is None:
        raise Invalid(FieldProblem("code", Problem.UNKNOWN_CHOICE))
    if coupon.valid_until is not None and coupon.valid_until < rules.today(now):
        raise Invalid(FieldProblem("code", Problem.TOO_LONG_AGO))
    if coupon.uses_left == 0:
        raise Invalid(FieldProblem("code", Problem.LIMIT_REACHED, {"limit": "0"}))
    used = select(Discount.id).where(Discount.service_id == service.id, Discount.coupon_id == coupon.id)
    if session.scalar(used) is not None:
        raise Invalid(FieldProblem("code", Problem.ALREADY_DONE))
    if coupon.uses_left is not None:
        session.execute(update(Coupon).where(Coupon.id == coupon.id).values(uses_left=Coupon.uses_left - 1))
    terms = DiscountTerms(coupon.description, coupon.percent, coupon.amount, coupon.months)
    return add_discount(session, actor, rules, service, terms, now, coupon)


def _description_problems(description: str) -> list[FieldProblem]:
    if not description.strip():
        return [FieldProblem("description", Problem.REQUIRED)]
    if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
        return [FieldProblem("description", Problem.TOO_LONG, {"limit": str(LONGEST_DESCRIPTION)})]
    return []


def _amount_problems(name: str, amount: Decimal, rules: BillingRules) -> list[FieldProblem]:
    if amount <= 0:
        return [FieldProblem(name, Problem.AMOUNT_NEGATIVE if amount < 0 else Problem.AMOUNT_ZERO)]
    if amount > LARGEST:
        return [FieldProblem(name, Problem.AMOUNT_TOO_LARGE)]
    if amount != rounded(amount, rules.currency):
        return [FieldProblem(name, Problem.AMOUNT_TOO_PRECISE)]
    return []
