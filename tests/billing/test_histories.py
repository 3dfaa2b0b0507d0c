"""Random histories of an operator with a few services, held against a small model that knows nothing of the code.

The model counts days: for each service and day, whether the service was in use and on which plan. From that alone
follow which days must be billed and what they must cost; from the payments, who owes what. A month here is a calendar
month, so the model needs no notion of an anchor day. Each day the cut-off passes too: after anything that happens,
whoever owes longer than the days of grace is off, and nobody else is.

Prepaid services have a model of their own, which keeps a purse and the last day that was bought.
"""

from calendar import monthrange
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from billing.dates import settle_dates
from billing.ledger import balance_of, broken_entries, discrepancies
from billing.payments import refund_payment, void_payment
from billing.wallets import wallet_of
from crm.services import activate, change_plan_of, pause, resume, terminate
from db.models import Payment, ServicePeriod
from radius.lifecycle import suspend_overdue
from tests.billing.isp import BillingIsp, noon

DAY = timedelta(days=1)
BEGIN = date(2027, 1, 1)
GRACE = 2
PRICES = ("0", "100", "310", "777.77")
CENT = Decimal("0.01")

ACTS = st.one_of(
    st.tuples(st.just("activate"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("plan"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("pause"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("resume"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("terminate"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("pay"), st.integers(0, 1), st.integers(1, 100_000)),
    st.tuples(st.just("settle"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("void"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("refund"), st.integers(0, 5), st.integers(1, 100)),
)
HISTORIES = st.lists(st.tuples(st.integers(0, 25), ACTS), min_size=1, max_size=14)


@dataclass
class Model:
    """What happened, in days: the plan each service was used on, and the money that came and went."""

    used: dict[int, dict[date, str]] = field(default_factory=lambda: defaultdict(dict))
    state: dict[int, str] = field(default_factory=dict)
    price: dict[int, str] = field(default_factory=dict)
    money: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def pass_day(self, day: date) -> None:
        """At the end of a day, whoever was in use on it owes for it, at the price the day ended with."""
        for number, state in self.state.items():
            if state == "active":
                self.used[number][day] = self.price[number]

    def end_with(self, number: int, day: date) -> None:
        """The day on which a service stops is used still."""
        self.used[number][day] = self.price[number]

    def worth(self, number: int, until: date) -> Fraction:
        """What the days until then cost, unrounded: each is its share of its calendar month."""
        return sum(
            (
                Fraction(price) / monthrange(day.year, day.month)[1]
                for day, price in self.used[number].items()
                if day <= until
            ),
            Fraction(0),
        )


def test_nothing_is_billed_twice_or_skipped_and_the_books_agree(rows):
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(HISTORIES, st.sampled_from(["advance", "arrears"]))
    def check(history, timing):
        nested = rows.begin_nested()
        try:
            _live_through(rows, history, timing)
        finally:
            nested.rollback()
            rows.expunge_all()

    check()


def _live_through(session, history, timing):
    isp = BillingIsp.create(
        session, cut_off_day=1, starts_on=BEGIN, issue_days=0, first_due_days=0, timing=timing, grace_days=GRACE
    )
    services = [isp.service(BEGIN, "100", state="pending", activated_at=None) for _ in range(2)]
    services.append(
        isp.service(BEGIN, "310", state="pending", activated_at=None, subscriber_id=services[0].subscriber_id)
    )
    for price in PRICES:
        isp.plan(price)
    model, day = Model(), BEGIN
    for wait, act in history:
        for _ in range(wait):
            day = _end_day(isp, model, day)
        _act(isp, model, services, act, day)
        isp.run(day)
        _cut(isp, day)
        _check(isp, model, services, day)
    for _ in range(35):
        day = _end_day(isp, model, day)
    isp.run(day)
    for which in range(3):
        _act_on_service(isp, model, services, which, "0", "terminate", day)
    isp.run(day)
    _check(isp, model, services, day)
    _check_worth(session, model, services, day)


def _end_day(isp, model, day):
    model.pass_day(day)
    isp.run(day + DAY)
    _cut(isp, day + DAY)
    return day + DAY


def _cut(isp, day):
    """Let the worker cut who is overdue, as it does each minute."""
    isp.session.flush()
    suspend_overdue(isp.session.connection().connection.driver_connection, noon(day))
    isp.session.expire_all()


def _act(isp, model, services, act, day):
    """Do one thing to the operator, and to the model, where it can be done."""
    kind, which, value = act
    session, now = isp.session, noon(day)
    if kind in ("pay", "settle"):
        subscriber = services[which].subscriber_id
        owed = balance_of(session, subscriber)
        amount = Decimal(value) / 100 if kind == "pay" else owed
        if amount > 0:
            isp.pay(subscriber, str(amount), day)
            model.money[subscriber] += amount
    elif kind in ("void", "refund"):
        payments = session.scalars(select(Payment).where(Payment.operator_id == isp.operator_id)).all()
        payments = [payment for payment in payments if payment.voided_at is None and not payment.refunded]
        if payments and kind == "void":
            payment = payments[which % len(payments)]
            void_payment(session, isp.actor, isp.rules, payment, "bounced", now)
            model.money[payment.subscriber_id] -= payment.amount
        elif payments:
            payment = payments[which % len(payments)]
            amount = max(CENT, (payment.amount * value / 100).quantize(CENT))
            refund_payment(session, isp.actor, isp.rules, payment, amount, "too much", now)
            model.money[payment.subscriber_id] -= amount
    else:
        _act_on_service(isp, model, services, which, PRICES[value], kind, day)


def _act_on_service(isp, model, services, which, price, kind, day):
    session, now, service = isp.session, noon(day), services[which]
    session.refresh(service)
    state = "active" if service.state == "suspended" else service.state
    if kind == "activate" and state == "pending":
        change_plan_of(session, isp.actor, service, isp.plan(price))
        activate(session, isp.actor, service, now)
        model.state[which], model.price[which] = "active", price
    elif kind == "plan" and state == "active":
        change_plan_of(session, isp.actor, service, isp.plan(price))
        model.price[which] = price
    elif kind == "pause" and service.state == "active":  # nobody who was cut may rest
        pause(session, isp.actor, service)
        model.state[which] = "paused"
        model.end_with(which, day)
    elif kind == "resume" and state == "paused":
        # The day it was paused on is used and billed already.
        resume(session, isp.actor, service)
        model.state[which] = "active"
    elif kind == "terminate" and state in ("active", "paused"):
        terminate(session, isp.actor, service, now)
        if state == "active":
            model.end_with(which, day)
        model.state[which] = "terminated"


def _check(isp, model, services, day):
    session = isp.session
    session.expire_all()
    isp.commit_checks()
    assert broken_entries(session, isp.operator_id) == []
    assert discrepancies(session, isp.operator_id) == []
    for number, service in enumerate(services):
        _check_days(session, model, number, service, day)
    _check_balances(session, isp, model, services)
    _check_dates(session, isp, services, day)
    _check_access(session, services, day)


def _check_days(session, model, number, service, day):
    """No day is billed twice (the database sees to it), none that was not used, and none is left out."""
    periods = session.scalars(
        select(ServicePeriod).where(ServicePeriod.service_id == service.id, ServicePeriod.cancelled_at.is_(None))
    ).all()
    billed = {}
    for period in periods:
        for offset in range((period.last - period.first).days + 1):
            assert period.first + offset * DAY not in billed
            billed[period.first + offset * DAY] = period.plan_id
    used = model.used[number]
    next_from = session.execute(
        text("SELECT next_from FROM service_billing WHERE service_id = :id"), {"id": service.id}
    ).scalar()
    for past in (each for each in billed if each < day):
        assert past in used, f"{past} was billed and not used"
    for past in (each for each in used if each < day):
        assert past in billed or past >= next_from, f"{past} was used and is not billed"


def _check_balances(session, isp, model, services):
    """What is owed is the invoices less the credit notes less the money; by the ledger, the same."""
    for subscriber in {service.subscriber_id for service in services}:
        invoiced, credited = session.execute(
            text(
                "SELECT (SELECT coalesce(sum(total), 0) FROM invoice WHERE subscriber_id = :id),"
                " (SELECT coalesce(sum(total), 0) FROM credit_note WHERE subscriber_id = :id)"
            ),
            {"id": subscriber},
        ).one()
        assert balance_of(session, subscriber) == invoiced - credited - model.money[subscriber]


def _check_worth(session, model, services, day):
    """When all is over, what was invoiced less what was credited is what the used days cost, but for rounding."""
    for subscriber in {service.subscriber_id for service in services}:
        billed, lines = session.execute(
            text(
                "SELECT (SELECT coalesce(sum(total), 0) FROM invoice WHERE subscriber_id = :id)"
                " - (SELECT coalesce(sum(total), 0) FROM credit_note WHERE subscriber_id = :id),"
                " (SELECT count(*) FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id"
                "  WHERE i.subscriber_id = :id)"
                " + (SELECT coalesce(sum(jsonb_array_length(lines)), 0) FROM credit_note WHERE subscriber_id = :id)"
            ),
            {"id": subscriber},
        ).one()
        worth = sum(
            (model.worth(number, day) for number, each in enumerate(services) if each.subscriber_id == subscriber),
            Fraction(0),
        )
        assert abs(Fraction(billed) - worth) <= Fraction(lines + 2, 200)


def _check_dates(session, isp, services, day):
    """Who has nothing open stays on, and who has something open that is overdue is cut: on the date, to the day."""
    for service in services:
        session.refresh(service)
        oldest = session.execute(
            text("SELECT min(due_on) FROM invoice WHERE service_id = :id AND open > 0"), {"id": service.id}
        ).scalar()
        if service.state in ("active", "paused", "suspended"):
            if oldest is not None:
                assert service.paid_until == oldest
            elif service.state == "active":
                assert service.paid_until is None or service.paid_until >= day
            else:
                assert service.paid_until is None
    subscribers = {service.subscriber_id for service in services}
    assert settle_dates(session, isp.actor, isp.rules, subscribers, day) == []


def _check_access(session, services, day):
    """No service is on that should be off, and none off that is paid, or owes for no longer than the grace."""
    for service in services:
        open_since = session.execute(
            text("SELECT min(due_on) FROM invoice WHERE service_id = :id AND total - paid - credited > 0"),
            {"id": service.id},
        ).scalar()
        if service.state in ("active", "suspended"):
            overdue = open_since is not None and open_since + GRACE * DAY < day
            assert service.state == ("suspended" if overdue else "active")


def test_a_purse_buys_what_it_can_pay_for_and_nothing_else(rows):
    """Whoever pays beforehand is on for exactly the days that the money bought, whenever it came, and owes nothing."""

    @settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.integers(0, 30),
        st.lists(st.tuples(st.integers(0, 35), st.sampled_from(["0.01", "120", "299.99", "300", "950"])), max_size=5),
    )
    def check(start, history):
        nested = rows.begin_nested()
        try:
            _live_beforehand(rows, BEGIN + start * DAY, history)
        finally:
            nested.rollback()
            rows.expunge_all()

    check()


@dataclass
class Purse:
    """Money, and the days that it bought at 300 a month: without a gap the months go on from the first day of them."""

    money: Decimal = Decimal(0)
    first: date | None = None
    months: int = 0

    @property
    def last(self) -> date | None:
        return None if self.first is None else _months_after(self.first, self.months) - DAY

    def buy(self, day: date) -> None:
        """Buy a month on the first day that is not bought yet, with money enough."""
        if self.money >= 300 and (self.last is None or self.last < day):
            if self.last != day - DAY:
                self.first, self.months = day, 0
            self.months += 1
            self.money -= 300


def _months_after(day: date, months: int) -> date:
    years, month0 = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month0 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _live_beforehand(session, day, history):
    isp = BillingIsp.create(session, cut_off_day=5, starts_on=BEGIN, prepaid=True, grace_days=GRACE)
    service, purse = isp.service(day, "300"), Purse()
    isp.run(day)
    paid = Decimal(0)
    for wait, amount in [*history, (33, None)]:
        for _ in range(wait):
            day += DAY
            isp.run(day)
            _cut(isp, day)
            purse.buy(day)
            _check_purse(isp, service, purse, day)
        if amount is not None:
            isp.pay(service.subscriber_id, amount, day)
            paid += Decimal(amount)
            purse.money += Decimal(amount)
            purse.buy(day)
            _cut(isp, day)
            _check_purse(isp, service, purse, day)
    isp.commit_checks()
    assert broken_entries(session, isp.operator_id) == []
    assert discrepancies(session, isp.operator_id) == []
    assert balance_of(session, service.subscriber_id) == -purse.money
    assert sum(invoice.total for invoice in isp.invoices(service)) == paid - purse.money


def _check_purse(isp, service, purse, day):
    isp.session.refresh(service)
    on = purse.last is not None and purse.last >= day
    assert (service.state == "active" and service.paid_until >= day) == on, (service.state, service.paid_until, day)
    assert wallet_of(isp.session, isp.rules, service.subscriber_id) == purse.money


def test_what_was_used_is_what_was_billed_to_the_cent(rows):
    """Over a year without changes but one of plan each, the money is the model's, rounded once for each line."""

    @settings(max_examples=15)
    @given(st.integers(0, 27), st.integers(1, 300), st.sampled_from(PRICES[1:]), st.sampled_from(PRICES[1:]))
    def check(start, wait, before, after):
        nested = rows.begin_nested()
        try:
            isp = BillingIsp.create(rows, cut_off_day=1, starts_on=BEGIN, issue_days=0)
            service = isp.service(BEGIN + start * DAY, before)
            changed = BEGIN + (start + wait) * DAY
            months = [date(2027, month, 1) for month in range(1, 13)] + [changed, BEGIN + start * DAY]
            for day in sorted(set(months)):
                if day == changed:
                    change_plan_of(rows, isp.actor, service, isp.plan(after))
                isp.run(day)
            terminate(rows, isp.actor, service, noon(date(2027, 12, 31)))
            isp.run(date(2027, 12, 31))
            model = Model()
            for number in range(start, 365):
                day = BEGIN + number * DAY
                model.used[0][day] = after if day >= changed else before
            billed = rows.execute(
                text(
                    "SELECT (SELECT coalesce(sum(total), 0) FROM invoice WHERE service_id = :id)"
                    " - (SELECT coalesce(sum(total), 0) FROM credit_note WHERE subscriber_id = :subscriber)"
                ),
                {"id": service.id, "subscriber": service.subscriber_id},
            ).scalar_one()
            lines = 13 + 2
            assert abs(Fraction(billed) - model.worth(0, date(2027, 12, 31))) <= Fraction(lines, 200)
        finally:
            nested.rollback()
            rows.expunge_all()

    check()
