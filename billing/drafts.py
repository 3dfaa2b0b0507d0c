"""Drafts: what an invoice of a service will say, from what is known of it.

The billing run, the preview of a batch, a subscriber's next invoices and the simulation all draft with this one
function, so none of them can promise what another does not do. A draft becomes an invoice when `billing.invoices`
gives it a number.

The plan costs its monthly price for each month, and a share of it for a part of a month. Discounts lower the plan's
line alone: each by percent of the plan or an amount a month, together never below nothing. What is sold with the plan
is named on its line, or has a line and taxes of its own. Recurring charges are prorated with the plan; one-off charges
that wait are taken along.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import ceil

from billing.cycles import Cycle, Period, due_on, issue_on, month_start, months_in, next_month_start, period_from
from billing.taxes import Tax, Taxed, taxed
from core.money import rounded

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PricedIn:
    """A plan's price in another currency, and the rate it is billed at; `good` unless that is too old to issue with.

    `note` is what stands on the line: `20.00 USD, 1 USD = 17.2500 MXN`.
    """

    currency: str
    price: Decimal
    rate: Decimal
    note: str
    good: bool


@dataclass(frozen=True, slots=True)
class WaitingCharge:
    """A charge that an invoice has to take, of any kind but recurring."""

    id: int
    kind: str
    description: str
    amount: Decimal
    tax_exempt: bool = False
    plan_id: int | None = None
    period: Period | None = None
    priced: PricedIn | None = None


@dataclass(frozen=True, slots=True)
class RecurringCharge:
    """`amount` a month, on days from `starts_on` to `ends_on`, both included."""

    description: str
    amount: Decimal
    starts_on: date
    ends_on: date | None = None
    tax_exempt: bool = False


@dataclass(frozen=True, slots=True)
class Reduction:
    """A discount: `percent` of the plan, or `amount` a month; for `months_left` months, or for good."""

    id: int
    description: str
    starts_on: date
    percent: Decimal | None = None
    amount: Decimal | None = None
    months_left: int | None = None


@dataclass(frozen=True, slots=True)
class SoldItem:
    """What is sold with a plan, at `price` a month; None is in the plan's price."""

    name: str
    price: Decimal | None = None
    tax_exempt: bool = False


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What is known of a service's billing. `price` is of a month; billed up to the day before `next_from`.

    `price` is in the books' currency, not rounded yet where the plan is `priced` in another one.
    """

    service_id: int
    subscriber_id: int
    plan_id: int
    plan_name: str
    price: Decimal
    currency: str
    cycle: Cycle
    next_from: date
    taxes: tuple[Tax, ...] = ()
    tax_exempt: bool = False
    first_full: bool = False  # a first period that is no whole month costs one nevertheless
    waiting: tuple[WaitingCharge, ...] = ()
    recurring: tuple[RecurringCharge, ...] = ()
    reductions: tuple[Reduction, ...] = ()
    prepaid: bool = False
    items: tuple[SoldItem, ...] = ()
    priced: PricedIn | None = None

    @property
    def is_ready(self) -> bool:
        """Tell whether an invoice may be issued: a price in another currency needs a recent rate."""
        return self.priced is None or self.priced.good

    @property
    def line_text(self) -> str:
        """Return what an invoice calls the plan, with the rate that its price was turned at."""
        return self.sold_as if self.priced is None else f"{self.sold_as} ({self.priced.note})"

    @property
    def sold_as(self) -> str:
        """Return what an invoice calls the plan: with what its price has in it."""
        return " + ".join((self.plan_name, *(item.name for item in self.items if item.price is None)))


@dataclass(frozen=True, slots=True)
class DraftLine:
    """`kind`: plan, discount, recurring, one_off, late_fee. What is shown is the description and the period."""

    kind: str
    description: str
    taxed: Taxed
    period: Period | None = None
    plan_id: int | None = None
    exempt: bool = False
    priced: PricedIn | None = None


@dataclass(frozen=True, slots=True)
class TaxSum:
    """One tax over all lines that bear it."""

    tax: Tax
    base: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Draft:
    """An invoice that was not issued.

    `plan_amount` is the plan's price for the period less discounts, as priced, with the items sold with it that bear
    taxes; `exempt_amount` is of those that bear none.
    """

    service_id: int | None
    subscriber_id: int
    currency: str
    issue_on: date
    due_on: date
    lines: tuple[DraftLine, ...]
    taxes: tuple[TaxSum, ...]
    period: Period | None = None
    plan_id: int | None = None
    plan_amount: Decimal = Decimal(0)
    exempt_amount: Decimal = Decimal(0)
    charges: tuple[int, ...] = ()
    months_used: tuple[tuple[int, int], ...] = ()  # of each limited discount: id, months

    @cached_property
    def net(self) -> Decimal:
        return sum((line.taxed.net for line in self.lines), Decimal(0))

    @cached_property
    def tax(self) -> Decimal:
        return sum((line.taxed.tax for line in self.lines), Decimal(0))

    @cached_property
    def total(self) -> Decimal:
        return self.net + self.tax


def draft(facts: ServiceFacts, last: date | None = None) -> Draft:
    """Return the invoice of the service's next period; `last` ends it early, where the service ends."""
    period = period_from(facts.next_from, facts.cycle)
    if last is not None and last < period.last:
        period = Period(period.first, last)
    months = _months(facts, period)
    plan = facts.price * months.numerator / months.denominator
    lines = [_line(facts, "plan", facts.line_text, plan, period, facts.plan_id, priced=facts.priced)]
    left, used = rounded(plan, facts.currency), []
    for reduction in facts.reductions:
        if reduction.starts_on > period.last or reduction.months_left == 0:
            continue
        less = min(left, rounded(_reduction(reduction, facts.price, months), facts.currency))
        if reduction.months_left is not None:
            used.append((reduction.id, min(reduction.months_left, ceil(months))))
        if less > 0:
            lines.append(_line(facts, "discount", reduction.description, -less, period))
            left -= less
    for item in facts.items:
        if item.price is not None:
            amount = item.price * months.numerator / months.denominator
            lines.append(_line(facts, "recurring", item.name, amount, period, exempt=item.tax_exempt))
    for charge in facts.recurring:
        part = _overlap(period, charge.starts_on, charge.ends_on)
        if part is not None:
            share = _months(facts, period) if part == period else months_in(part, facts.cycle.anchor_day)
            amount = charge.amount * share.numerator / share.denominator
            lines.append(_line(facts, "recurring", charge.description, amount, part, exempt=charge.tax_exempt))
    lines += [waiting_line(charge, facts.taxes, facts.currency, facts.tax_exempt) for charge in facts.waiting]
    kept = tuple(line for line in lines if line.kind == "plan" or line.taxed.total)
    return Draft(
        facts.service_id,
        facts.subscriber_id,
        facts.currency,
        issue_on(period, facts.cycle),
        due_on(period, facts.cycle),
        kept,
        tax_sums(kept, facts.taxes),
        period,
        facts.plan_id,
        left + items_price(facts, months, exempt=False),
        items_price(facts, months, exempt=True),
        tuple(charge.id for charge in facts.waiting),
        tuple(used),
    )


def plan_price(facts: ServiceFacts, period: Period) -> Decimal:
    """Return what days of the plan cost with the discounts of now and the items that bear taxes, rounded, as priced."""
    months = months_in(period, facts.cycle.anchor_day)
    price = rounded(facts.price * months.numerator / months.denominator, facts.currency)
    less = sum(
        (
            rounded(_reduction(reduction, facts.price, months), facts.currency)
            for reduction in facts.reductions
            if reduction.starts_on <= period.last and reduction.months_left != 0
        ),
        Decimal(0),
    )
    return max(Decimal(0), price - less) + items_price(facts, months, exempt=False)


def exempt_price(facts: ServiceFacts, period: Period) -> Decimal:
    """Return what days of the items cost that are sold with the plan and bear no taxes, rounded."""
    return items_price(facts, months_in(period, facts.cycle.anchor_day), exempt=True)


def items_price(facts: ServiceFacts, months: Fraction, *, exempt: bool) -> Decimal:
    """Return what the items sold with the plan cost that bear taxes, or none; each is rounded."""
    if not facts.items:
        return Decimal(0)
    return sum(
        (
            rounded(item.price * months.numerator / months.denominator, facts.currency)
            for item in facts.items
            if item.price is not None and item.tax_exempt == exempt
        ),
        Decimal(0),
    )


def following(facts: ServiceFacts, issued: Draft) -> ServiceFacts:
    """Return the facts after a draft was issued."""
    assert issued.period is not None
    used = dict(issued.months_used)
    return replace(
        facts,
        next_from=issued.period.last + _DAY,
        waiting=(),
        reductions=tuple(
            replace(each, months_left=each.months_left - used[each.id])
            if each.months_left is not None and each.id in used
            else each
            for each in facts.reductions
        ),
    )


def upcoming(facts: ServiceFacts) -> Iterator[Draft]:
    """Yield the service's next invoices, without end, as they will be if nothing changes."""
    while True:
        issued = draft(facts)
        yield issued
        facts = following(facts, issued)


def waiting_line(charge: WaitingCharge, taxes: tuple[Tax, ...], currency: str, exempt: bool = False) -> DraftLine:
    """Return a charge as a line of an invoice."""
    free = exempt or charge.tax_exempt
    parts = _taxed(charge.amount, taxes, currency, free)
    return DraftLine(charge.kind, charge.description, parts, charge.period, charge.plan_id, free, charge.priced)


def tax_sums(lines: Sequence[DraftLine], taxes: tuple[Tax, ...]) -> tuple[TaxSum, ...]:
    """Return each tax over the lines that bear it; none when no line does."""
    bearing = [line for line in lines if not line.exempt]
    if not bearing:
        return ()
    base = sum((line.taxed.net for line in bearing), Decimal(0))
    return tuple(
        TaxSum(tax, base, sum((line.taxed.taxes[number] for line in bearing), Decimal(0)))
        for number, tax in enumerate(taxes)
    )


def _line(
    facts: ServiceFacts,
    kind: str,
    description: str,
    amount: Decimal,
    period: Period,
    plan_id: int | None = None,
    exempt: bool = False,
    priced: PricedIn | None = None,
) -> DraftLine:
    free = exempt or facts.tax_exempt
    parts = _taxed(amount, facts.taxes, facts.currency, free)
    return DraftLine(kind, description, parts, period, plan_id, free, priced)


def _taxed(amount: Decimal, taxes: tuple[Tax, ...], currency: str, exempt: bool) -> Taxed:
    """A line without taxes still has an amount, zero, for each of them."""
    if exempt:
        return Taxed(rounded(amount, currency), (Decimal(0),) * len(taxes))
    return taxed(amount, taxes, currency)


def _months(facts: ServiceFacts, period: Period) -> Fraction:
    begin = month_start(period.first, facts.cycle.anchor_day)
    end = next_month_start(period.first, facts.cycle.anchor_day)
    rest_of_month = begin < period.first and period.last + _DAY == end
    if facts.first_full and rest_of_month and period.first == facts.cycle.started_on:
        return Fraction(1)
    return months_in(period, facts.cycle.anchor_day)


def _reduction(reduction: Reduction, price: Decimal, months: Fraction) -> Decimal:
    if reduction.months_left is not None:
        months = min(months, Fraction(reduction.months_left))
    monthly = price * reduction.percent / 100 if reduction.percent is not None else reduction.amount or Decimal(0)
    return monthly * months.numerator / months.denominator


def _overlap(period: Period, starts_on: date, ends_on: date | None) -> Period | None:
    first, last = max(period.first, starts_on), min(period.last, ends_on or period.last)
    return Period(first, last) if first <= last else None
