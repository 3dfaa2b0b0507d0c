"""Coupons: codes that give a discount, for so many services and until a day; who has one is a row of `discount`.

A coupon that expires takes nothing back: the services that have its discount keep it to its end.
"""

import re
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.charges import LONGEST_DESCRIPTION
from billing.rules import BillingRules
from core.money import LARGEST, rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Coupon

_CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{2,31}")
"""Letters, digits and dashes: a code is read out over the phone."""
MOST_USES = 1_000_000


@dataclass(frozen=True, slots=True)
class CouponTerms:
    """What is entered for a coupon: a percentage of the plan, or an amount a month; None of `uses` is without limit."""

    code: str
    description: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    months: int | None = None  # for good
    valid_until: date | None = None
    uses: int | None = None


def add_coupon(session: Session, actor: Actor, rules: BillingRules, terms: CouponTerms, now: datetime) -> Coupon:
    """Make a coupon. Raises Invalid."""
    code = terms.code.strip().upper()
    problems = _problems(rules, terms, code, rules.today(now))
    taken = select(Coupon.id).where(Coupon.operator_id == rules.operator_id, func.upper(Coupon.code) == code)
    if session.scalar(taken) is not None:
        problems.append(FieldProblem("code", Problem.TAKEN))
    if problems:
        raise Invalid(*problems)
    coupon = Coupon(
        operator_id=rules.operator_id,
        code=code,
        description=terms.description.strip(),
        percent=terms.percent,
        amount=terms.amount,
        months=terms.months,
        valid_until=terms.valid_until,
        uses_left=terms.uses,
    )
    try:
        with session.begin_nested():
            session.add(coupon)
    except IntegrityError as refused:  # somebody made it in the same moment
        if "uq_coupon_code" not in str(refused.orig):
            raise
        raise Invalid(FieldProblem("code", Problem.TAKEN)) from None
    record(session, actor, "coupon.create", "coupon", coupon.id, None, {**asdict(terms), "code": code})
    return coupon


def expire_coupon(session: Session, actor: Actor, rules: BillingRules, coupon: Coupon, now: datetime) -> None:
    """Let nobody use a coupon any more. Raises Invalid when it expired already."""
    session.refresh(coupon, with_for_update=True)
    yesterday = rules.today(now) - timedelta(days=1)
    if coupon.valid_until is not None and coupon.valid_until <= yesterday:
        raise Invalid(FieldProblem("coupon", Problem.ALREADY_DONE))
    before = {"valid_until": coupon.valid_until}
    coupon.valid_until = yesterday
    session.flush()
    record(session, actor, "coupon.expire", "coupon", coupon.id, before, {"valid_until": yesterday})


def _problems(rules: BillingRules, terms: CouponTerms, code: str, today: date) -> list[FieldProblem]:
    problems = []
    if not _CODE.fullmatch(code):
        problems.append(FieldProblem("code", Problem.NOT_A_CODE))
    if not terms.description.strip():
        problems.append(FieldProblem("description", Problem.REQUIRED))
    elif len(terms.description) > LONGEST_DESCRIPTION or not terms.description.isprintable():
        problems.append(FieldProblem("description", Problem.TOO_LONG, {"limit": str(LONGEST_DESCRIPTION)}))
    if (terms.percent is None) == (terms.amount is None):
        problems.append(FieldProblem("percent", Problem.ONE_OF_BOTH))
    if terms.percent is not None and not 0 < terms.percent <= 100:
        problems.append(FieldProblem("percent", Problem.OUT_OF_RANGE, {"low": "0", "high": "100"}))
    if terms.amount is not None:
        if terms.amount <= 0:
            problems.append(FieldProblem("amount", Problem.AMOUNT_ZERO))
        elif terms.amount > LARGEST:
            problems.append(FieldProblem("amount", Problem.AMOUNT_TOO_LARGE))
        elif terms.amount != rounded(terms.amount, rules.currency):
            problems.append(FieldProblem("amount", Problem.AMOUNT_TOO_PRECISE))
    if terms.months is not None and not 1 <= terms.months <= 120:
        problems.append(FieldProblem("months", Problem.OUT_OF_RANGE, {"low": "1", "high": "120"}))
    if terms.uses is not None and not 1 <= terms.uses <= MOST_USES:
        problems.append(FieldProblem("uses", Problem.OUT_OF_RANGE, {"low": "1", "high": str(MOST_USES)}))
    if terms.valid_until is not None and terms.valid_until < today:
        problems.append(FieldProblem("valid_until", Problem.TOO_LONG_AGO))
    return problems
