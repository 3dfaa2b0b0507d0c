"""Currencies beside the one of the books, and what one unit of them was worth on which day.

The books are kept in one currency. An operator may switch on others, to be paid in and to price plans in. A rate says
how much of the books' currency one unit of the other is worth, `1 USD = 17.2500 MXN`, and is entered for a day. It is
good for that day and some days after it, as the operator chose; an older one is refused rather than used quietly.

Rates are only ever added. The last one entered for a day is the rate of that day: a correction is another row.
"""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.numbers import get_territory_currencies
from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session

from core.clock import local_date
from core.money import AmountFlaw, BadAmount, exchange_sentence, parse_exchange_rate, rounded
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import (
    BillingSettings,
    ExchangeRate,
    ForeignCash,
    ForeignCurrency,
    Operator,
    RatePlan,
    Service,
    ServiceBilling,
)

JUMP = Decimal("0.1")
"""A rate that differs by more than this part from the one before it is asked about: it may be mistyped or inverted."""
MOST_LINES = 2000
MOST_DAYS = 60

_DAY_NAMES = ("day", "date", "fecha", "dia", "día")
_CURRENCY_NAMES = ("currency", "moneda", "divisa")
_RATE_NAMES = ("rate", "tipo", "tasa", "valor", "tipo de cambio")


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of `currency` was worth on `day`, in `books_currency`."""

    currency: str
    books_currency: str
    day: date
    rate: Decimal

    def to_books(self, amount: Decimal) -> Decimal:
        """Return an amount in the books' currency, half up at its digits."""
        return rounded(amount * self.rate, self.books_currency)

    def sentence(self, locale: str) -> str:
        """Return the rate so that nobody takes it for its inverse: `1 USD = 17.2500 MXN`."""
        return exchange_sentence(self.currency, self.rate, self.books_currency, locale)


@dataclass(frozen=True, slots=True)
class NewRate:
    """A rate as it was entered."""

    currency: str
    day: date
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Jump:
    """A rate that is far from the one before it."""

    currency: str
    day: date
    before: Decimal
    after: Decimal

    @property
    def percent(self) -> Decimal:
        """Return by how much it differs: -93.4 is so much less."""
        return ((self.after - self.before) / self.before * 100).quantize(Decimal("0.1"))


class RateJump(Exception):
    """Rates differ so much from those before them that a person has to say that they are meant. Nothing was entered."""

    def __init__(self, jumps: Sequence[Jump]) -> None:
        super().__init__(f"{len(jumps)} rates jump")
        self.jumps = tuple(jumps)


@cache
def currencies_in_use() -> tuple[str, ...]:
    """Return the codes (ISO 4217) of what is legal tender somewhere today, in alphabetical order."""
    territories = (str(code) for code in Locale("en").territories if len(str(code)) == 2)
    return tuple(sorted({code for each in territories for code in get_territory_currencies(each)}))


def foreign_currencies(session: Session, operator_id: int) -> list[str]:
    """Return the currencies that an operator takes beside the one of the books; none for most."""
    query = select(ForeignCurrency.currency).where(ForeignCurrency.operator_id == operator_id, ForeignCurrency.active)
    return list(session.scalars(query.order_by(ForeignCurrency.currency)))


def switch_on(session: Session, actor: Actor, currency: str) -> None:
    """Take and price in a currency from now on. Raises Invalid."""
    if currency not in currencies_in_use() or currency == _books(session, actor.operator_id):
        raise Invalid(FieldProblem("currency", Problem.NOT_A_CURRENCY))
    kept = session.get(ForeignCurrency, (actor.operator_id, currency), with_for_update=True)
    if kept is not None and kept.active:
        raise Invalid(FieldProblem("currency", Problem.ALREADY_DONE))
    if kept is None:
        session.add(ForeignCurrency(operator_id=actor.operator_id, currency=currency))
    else:
        kept.active = True
    session.flush()
    record(session, actor, "currency.on", "operator", actor.operator_id, None, {"currency": currency})


def switch_off(session: Session, actor: Actor, currency: str) -> None:
    """Take a currency no more; what was taken stays as it is. Raises Invalid while a plan or cash needs it."""
    session.execute(text("SELECT pg_advisory_xact_lock(7461, :id)"), {"id": actor.operator_id})
    kept = session.get(ForeignCurrency, (actor.operator_id, currency), with_for_update=True)
    if kept is None or not kept.active:
        raise Invalid(FieldProblem("currency", Problem.ALREADY_DONE))
    priced = exists().where(RatePlan.operator_id == actor.operator_id, RatePlan.price_currency == currency)
    cash = select(func.coalesce(func.sum(ForeignCash.amount), 0)).where(
        ForeignCash.operator_id == actor.operator_id, ForeignCash.currency == currency
    )
    if session.scalar(select(priced)) or session.scalar(cash):
        raise Invalid(FieldProblem("currency", Problem.CURRENCY_IN_USE))
    kept.active = False
    session.flush()
    record(session, actor, "currency.off", "operator", actor.operator_id, {"currency": currency}, None)


def rate_days(session: Session, operator_id: int) -> int:
    """Return how many days after its own a rate is good for."""
    found = session.scalar(select(BillingSettings.rate_days).where(BillingSettings.operator_id == operator_id))
    return 7 if found is None else found


def set_rate_days(session: Session, actor: Actor, days: int) -> None:
    """Let rates be good for so many days after their own. Raises Invalid; LookupError where nobody set billing up."""
    if not 0 <= days <= MOST_DAYS:
        raise Invalid(FieldProblem("rate_days", Problem.OUT_OF_RANGE, {"low": "0", "high": str(MOST_DAYS)}))
    kept = session.get(BillingSettings, actor.operator_id, with_for_update=True, populate_existing=True)
    if kept is None:
        raise LookupError(actor.operator_id)
    before, kept.rate_days = kept.rate_days, days
    session.flush()
    record(session, actor, "currency.days", "operator", actor.operator_id, {"days": before}, {"days": days})


def latest_rates(session: Session, operator_id: int, day: date, currencies: Collection[str]) -> dict[str, Rate]:
    """Return the last rate up to a day of each currency that has one, however old it is."""
    books = _books(session, operator_id)
    rows = session.execute(
        text(
            "SELECT DISTINCT ON (currency) currency, day, rate FROM exchange_rate WHERE operator_id = :operator_id"
            " AND currency = ANY(:currencies) AND books_currency = :books AND day <= :day"
            " ORDER BY currency, day DESC, id DESC"
        ),
        {"operator_id": operator_id, "currencies": list(currencies), "books": books, "day": day},
    )
    return {row.currency: Rate(row.currency, books, row.day, row.rate) for row in rows}


def is_good(rate: Rate, day: date, days: int) -> bool:
    """Return whether a rate is recent enough to be used on a day."""
    return day - rate.day <= timedelta(days=days)


def rate_on(session: Session, operator_id: int, currency: str, day: date) -> Rate:
    """Return the rate to be used on a day. Raises Invalid, for `currency`: there is none, or it is too old."""
    found = latest_rates(session, operator_id, day, [currency]).get(currency)
    if found is None:
        raise Invalid(FieldProblem("currency", Problem.NO_RATE, {"currency": currency, "day": str(day)}))
    days = rate_days(session, operator_id)
    if not is_good(found, day, days):
        detail = {"currency": currency, "day": str(found.day), "days": str(days)}
        raise Invalid(FieldProblem("currency", Problem.RATE_TOO_OLD, detail))
    return found


def price_in_books(session: Session, plan: RatePlan, day: date) -> Decimal:
    """Return what a month of a plan costs in the books' currency: at the last rate up to a day, where it needs one."""
    if plan.price_currency is None:
        return plan.price
    rate = rates_of_prices(session, plan.operator_id, day, [plan.price_currency])[plan.price_currency]
    return rate.to_books(plan.price)


def check_rates_of_change(session: Session, service: Service, plan_id: int, now: datetime) -> None:
    """Raise Invalid, for `plan_id`, where a service that is billed goes to another plan and either has no recent rate.

    Such a change could be billed from the day only on which a rate is entered, and the days until then at the old
    price.
    """
    cycle = session.get(ServiceBilling, service.id)
    if plan_id == service.plan_id or cycle is None or cycle.stopped_on is not None:
        return
    operator = session.get_one(Operator, service.operator_id)
    today = local_date(now, ZoneInfo(operator.timezone))
    for plan in session.scalars(select(RatePlan).where(RatePlan.id.in_((service.plan_id, plan_id)))):
        if plan.price_currency is None:
            continue
        try:
            rate_on(session, operator.id, plan.price_currency, today)
        except Invalid as invalid:
            raise Invalid(*(FieldProblem("plan_id", each.problem, each.detail) for each in invalid.problems)) from None


def rates_of_prices(session: Session, operator_id: int, day: date, currencies: Collection[str]) -> dict[str, Rate]:
    """Return a rate of each currency that plans are priced in: the last up to a day, or the last where none is."""
    found = latest_rates(session, operator_id, day, currencies)
    for currency in set(currencies) - found.keys():
        found |= latest_rates(session, operator_id, date.max, [currency])
    return found


def in_books(price: str, plan: str) -> str:
    """Return SQL for a price, in terms of a row of `rate_plan`, in the books' currency at the last rate there is."""
    return (
        f"(({price}) * CASE WHEN {plan}.price_currency IS NULL THEN 1 ELSE (SELECT e.rate FROM exchange_rate e"  # noqa: S608
        f" WHERE e.operator_id = {plan}.operator_id AND e.currency = {plan}.price_currency"
        f" AND e.books_currency = (SELECT o.currency FROM operator o WHERE o.id = {plan}.operator_id)"
        " ORDER BY e.day DESC, e.id DESC LIMIT 1) END)"
    )


def enter_rates(
    session: Session, actor: Actor, rates: Sequence[NewRate], today: date, source: str = "typed", *, sure: bool = False
) -> int:
    """Enter rates, all or none; one that is known already is left out. Returns how many are new.

    Raises Invalid; and RateJump where some are far from those before them, unless somebody is `sure`.
    """
    operator_id, books = actor.operator_id, _books(session, actor.operator_id)
    taken = set(foreign_currencies(session, operator_id))
    for each in rates:
        if each.currency not in taken:
            raise Invalid(FieldProblem("currency", Problem.NOT_A_CURRENCY))
        if each.day > today:
            raise Invalid(FieldProblem("day", Problem.IN_THE_FUTURE))
        if each.rate <= 0:
            raise Invalid(FieldProblem("rate", Problem.AMOUNT_ZERO))
    ordered = sorted(rates, key=lambda each: (each.currency, each.day))
    jumps, new, last = [], [], dict[str, NewRate]()
    for each in ordered:
        standing = latest_rates(session, operator_id, each.day, [each.currency]).get(each.currency)
        if standing is not None and (standing.day, standing.rate) == (each.day, each.rate):
            continue
        before = standing.rate if standing is not None else None
        entered = last.get(each.currency)
        if entered is not None and (standing is None or entered.day >= standing.day):
            before = entered.rate
        if before is not None and abs(each.rate - before) > before * JUMP:
            jumps.append(Jump(each.currency, each.day, before, each.rate))
        new.append(each)
        last[each.currency] = each
    if jumps and not sure:
        raise RateJump(jumps)
    session.add_all(
        ExchangeRate(
            operator_id=operator_id,
            currency=each.currency,
            books_currency=books,
            day=each.day,
            rate=each.rate,
            source=source,
            staff_id=actor.staff_id,
        )
        for each in new
    )
    session.flush()
    if new:
        after = {f"{each.currency} {each.day}": f"{each.rate.normalize():f}" for each in new[-20:]}
        record(session, actor, "currency.rates", "operator", operator_id, None, {"count": len(new), **after})
    return len(new)


def read_rates(content: str, locale: str, currencies: Collection[str]) -> list[NewRate]:
    """Return the rates of a CSV file: day (`2027-01-31`), currency and rate, in this order or under a line of names.

    A file of one currency needs no column for it where the operator takes no other. Raises Invalid, for `file`.
    """
    first_line = content.partition("\n")[0]
    delimiter = next((each for each in ";\t" if each in first_line), ",")  # where 17,25 is a number, columns part by ;
    reader = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=None), delimiter=delimiter)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error:
        raise Invalid(FieldProblem("file", Problem.BAD_LINE, {"line": str(reader.line_num)})) from None
    if not rows:
        raise Invalid(FieldProblem("file", Problem.REQUIRED))
    if len(rows) > MOST_LINES:
        raise Invalid(FieldProblem("file", Problem.TOO_LONG, {"limit": str(MOST_LINES)}))
    names = [cell.strip().lower() for cell in rows[0]]
    places = _places(names)
    if places is not None:
        rows = rows[1:]
    first = 1 if places is None else 2
    only = next(iter(currencies)) if len(currencies) == 1 else ""
    return [_rate_of(row, number, places, locale, only) for number, row in enumerate(rows, first)]


def _places(names: Sequence[str]) -> tuple[int | None, ...] | None:
    """Return where day, currency and rate stand; None where the first line names nothing."""
    found = tuple(
        next((place for place, name in enumerate(names) if name in wanted), None)
        for wanted in (_DAY_NAMES, _CURRENCY_NAMES, _RATE_NAMES)
    )
    return found if found[0] is not None and found[2] is not None else None


def _rate_of(row: Sequence[str], number: int, places: tuple[int | None, ...] | None, locale: str, only: str) -> NewRate:
    if places is None:
        places = (0, 1, 2) if len(row) > 2 else (0, None, 1)
    day, currency, rate = (row[place].strip() if place is not None and place < len(row) else "" for place in places)
    try:
        return NewRate((currency or only).upper(), date.fromisoformat(day), parse_exchange_rate(rate, locale))
    except (ValueError, BadAmount):
        raise Invalid(FieldProblem("file", Problem.BAD_LINE, {"line": str(number)})) from None


_RATE_PROBLEMS = {AmountFlaw.EMPTY: Problem.REQUIRED, AmountFlaw.ZERO: Problem.AMOUNT_ZERO}


def typed_rate(value: str, locale: str) -> Decimal:
    """Return the rate that somebody typed. Raises Invalid for the field `rate`."""
    try:
        return parse_exchange_rate(value, locale)
    except BadAmount as bad:
        raise Invalid(FieldProblem("rate", _RATE_PROBLEMS.get(bad.flaw, Problem.NOT_A_RATE))) from None


def _books(session: Session, operator_id: int) -> str:
    return session.get_one(Operator, operator_id).currency
