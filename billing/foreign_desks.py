"""Cash of other currencies at a cash desk: what it is opened with, what comes and goes, and what is counted.

Each currency has its own opening, expected, counted and difference. Exchanging it turns it into the books' currency:
what the bank gives for it against what it came in at is the gain or loss of exchange, which is booked at once.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.foreign_cash import check_there, move, outside_tills, stock_of, to_count, values_of
from billing.invoices import lock_books
from billing.ledger import Entry, Posting, post
from billing.rules import BillingRules
from core.money import LARGEST, rounded
from crm.currencies import foreign_currencies, latest_rates, rate_on
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CashDesk, CashMovement, Collector, DeskCurrency, ForeignCash

KINDS: Mapping[str, str] = {"deposit": "bank", "expense": "expenses", "handover": "collectors", "added": "bank"}
"""What happens to cash of another currency beside an exchange, and the account it comes from or goes to."""


def open_with(session: Session, rules: BillingRules, desk: CashDesk, opening: Mapping[str, Decimal]) -> None:
    """Keep what of other currencies is in the till. Raises Invalid: the books do not know of so much."""
    problems = []
    for currency, amount in opening.items():
        field = f"opening-{currency}"
        if currency not in foreign_currencies(session, rules.operator_id):
            problems.append(FieldProblem(field, Problem.NOT_A_CURRENCY))
        elif amount < 0:
            problems.append(FieldProblem(field, Problem.AMOUNT_NEGATIVE))
        elif amount > (there := outside_tills(session, rules.operator_id, currency)):
            most = f"{rounded(there, currency):f} {currency}"
            problems.append(FieldProblem(field, Problem.NOT_SO_MUCH_CASH, {"most": most}))
    if problems:
        raise Invalid(*problems)
    session.add_all(
        DeskCurrency(desk_id=desk.id, operator_id=rules.operator_id, currency=currency, opening=amount)
        for currency, amount in opening.items()
    )
    session.flush()


def count_foreign(
    session: Session, actor: Actor, rules: BillingRules, desk: CashDesk, counted: Mapping[str, Decimal], now: datetime
) -> dict[str, str]:
    """Keep what was counted of each currency of a desk that closes, and book the differences; return those as texts.

    Raises Invalid for `counted-USD`, where that was not counted and there should be some.
    """
    sums = to_count(session, desk)
    problems = [
        FieldProblem(f"counted-{each.currency}", Problem.AMOUNT_MISSING)
        for each in sums
        if each.currency not in counted and (each.expected or each.count)
    ]
    problems += [
        FieldProblem(f"counted-{currency}", Problem.AMOUNT_NEGATIVE)
        for currency, amount in counted.items()
        if amount < 0
    ]
    if problems:
        raise Invalid(*problems)
    differences = {}
    for each in sums:
        amount = counted.get(each.currency, Decimal(0))
        row = session.get(DeskCurrency, (desk.id, each.currency))
        if row is None:
            row = DeskCurrency(
                desk_id=desk.id, operator_id=rules.operator_id, currency=each.currency, opening=Decimal(0)
            )
            session.add(row)
        row.expected, row.counted = each.expected, amount
        session.flush()
        if difference := amount - each.expected:
            differences[each.currency] = f"{difference:f}"
            _book_difference(session, actor, rules, desk, each.currency, difference, now)
    return differences


def _book_difference(
    session: Session, actor: Actor, rules: BillingRules, desk: CashDesk, currency: str, amount: Decimal, now: datetime
) -> None:
    stock = stock_of(session, rules.operator_id, currency)
    rates = latest_rates(session, rules.operator_id, rules.today(now), [currency])
    value = values_of(rates, stock, currency, amount, rules.currency)
    if amount == -stock.amount:
        value = -stock.value
    moved = ForeignCash(currency=currency, kind="counted", amount=amount, value=value, desk_id=desk.id)
    session.add(moved)
    moved.operator_id, moved.staff_id = rules.operator_id, actor.staff_id
    session.flush()
    _post(session, rules, moved, (Posting("foreign_cash", value), Posting("cash_difference", -value)), now)


def move_foreign(
    session: Session, actor: Actor, rules: BillingRules, desk: CashDesk, kind: str, currency: str,
    amount: Decimal, description: str, now: datetime, collector: Collector | None = None,
) -> ForeignCash:  # fmt: skip
    """Move cash of another currency as `billing.desks.move_cash` does of the books' one. Raises Invalid.

    What leaves takes its share of the worth of all of it with it; what is added is worth the day's rate.
    """
    _check(session, rules, desk, currency, amount)
    if kind not in KINDS or (kind == "handover") != (collector is not None):
        raise Invalid(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if kind == "added":
        value = rate_on(session, rules.operator_id, currency, rules.today(now)).to_books(amount)
        if value > LARGEST:
            raise Invalid(FieldProblem("amount", Problem.AMOUNT_TOO_LARGE))
    elif collector is not None:
        value = _take_from(session, actor, rules, collector, currency, amount, now)
    else:
        check_there(session, rules, desk, currency, amount, "amount")
        value = stock_of(session, rules.operator_id, currency).worth_of(amount, rules.currency)
    sign = 1 if kind in ("added", "handover") else -1
    moved = ForeignCash(
        currency=currency, kind=kind, amount=sign * amount, value=sign * value, desk_id=desk.id,
        description=description.strip(),
    )  # fmt: skip
    postings = (Posting("foreign_cash", sign * value), Posting(KINDS[kind], -sign * value))
    move(session, actor, rules, moved, now)
    _post(session, rules, moved, postings, now)
    what = {"amount": f"{sign * amount:f} {currency}", "what": description}
    record(session, actor, f"cash_desk.{kind}", "cash_desk", desk.id, None, what)
    return moved


def exchange(
    session: Session, actor: Actor, rules: BillingRules, desk: CashDesk, currency: str, amount: Decimal,
    got: Decimal, description: str, now: datetime, *, into_till: bool = True,
) -> ForeignCash:  # fmt: skip
    """Exchange cash of another currency for `got` of the books' one, which comes into the till or to the bank account.

    What it is more or less than the cash came in at is a difference of exchange. Raises Invalid.
    """
    _check(session, rules, desk, currency, amount)
    if not 0 < got <= LARGEST:
        raise Invalid(FieldProblem("got", Problem.AMOUNT_ZERO if got <= 0 else Problem.AMOUNT_TOO_LARGE))
    check_there(session, rules, desk, currency, amount, "amount")
    value = stock_of(session, rules.operator_id, currency).worth_of(amount, rules.currency)
    moved = ForeignCash(
        currency=currency, kind="exchange", amount=-amount, value=-value, got=got, desk_id=desk.id,
        description=description.strip(),
    )  # fmt: skip
    move(session, actor, rules, moved, now)
    if into_till:
        session.add(
            CashMovement(
                operator_id=rules.operator_id, desk_id=desk.id, kind="exchange", amount=got,
                description=description.strip(), staff_id=actor.staff_id,
            )
        )  # fmt: skip
        session.flush()
    postings = (
        Posting("cash" if into_till else "bank", got),
        Posting("foreign_cash", -value),
        Posting("exchange_difference", value - got),
    )
    _post(session, rules, moved, postings, now)
    what = {"gave": f"{amount:f} {currency}", "got": f"{got:f} {rules.currency}", "what": description}
    record(session, actor, "cash_desk.exchange", "cash_desk", desk.id, None, what)
    return moved


def _take_from(
    session: Session, actor: Actor, rules: BillingRules, collector: Collector, currency: str, amount: Decimal,
    now: datetime,
) -> Decimal:  # fmt: skip
    """Let a collector hand cash over; return what it is worth."""
    held = stock_of(session, rules.operator_id, currency, collector.id)
    if amount > held.amount:
        most = f"{rounded(max(held.amount, Decimal(0)), currency):f} {currency}"
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_OVER, {"most": most}))
    value = held.worth_of(amount, rules.currency)
    handed = ForeignCash(currency=currency, kind="handover", amount=-amount, value=-value, collector_id=collector.id)
    move(session, actor, rules, handed, now)
    return value


def _check(session: Session, rules: BillingRules, desk: CashDesk, currency: str, amount: Decimal) -> None:
    lock_books(session, rules.operator_id)
    session.refresh(desk)
    if desk.closed_at is not None:
        raise Invalid(FieldProblem("desk", Problem.DESK_CLOSED))
    if currency not in foreign_currencies(session, rules.operator_id):
        raise Invalid(FieldProblem("currency", Problem.NOT_A_CURRENCY))
    if amount <= 0:
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_ZERO))
    if amount != rounded(amount, currency):
        raise Invalid(FieldProblem("amount", Problem.AMOUNT_TOO_PRECISE))


def _post(
    session: Session, rules: BillingRules, moved: ForeignCash, postings: tuple[Posting, ...], now: datetime
) -> None:
    kind = "exchange" if moved.kind == "exchange" else "cash"
    entry = Entry(kind, "foreign_cash", moved.id, rules.today(now), rules.currency, postings, moved.description)
    post(session, rules.operator_id, [entry])
