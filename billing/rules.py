"""An operator's rules of billing, read once for a piece of work."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.cycles import Cycle, Timing
from billing.taxes import Tax
from core.clock import local_date
from core.money import money_locale
from db.models import BillingSettings, Operator, TaxRate


class BillingOff(Exception):
    """The operator does not bill with Portico."""


@dataclass(frozen=True, slots=True)
class BillingRules:
    """What decides what is billed when. A proposal is these rules with something replaced.

    `locale` is the one in which the operator's people write amounts, such as `es_MX`.
    """

    operator_id: int
    currency: str
    locale: str
    zone: ZoneInfo
    cut_off_day: int
    grace_days: int
    starts_on: date
    cut_off: str = "operator"
    timing: Timing = Timing.ADVANCE
    months: int = 1
    first_period: str = "prorated"
    issue_days: int = 5
    issue_hour: int = 6
    due_days: int = 0
    first_due_days: int = 5
    bill_suspended: bool = True
    late_fee_percent: Decimal = Decimal(0)
    late_fee_amount: Decimal = Decimal(0)
    late_fee_days: int = 5
    promise_days: int = 7
    promises_a_year: int = 3
    prepaid: bool = False
    prepaid_notice_days: int = 3
    require_cash_desk: bool = False
    taxes: tuple[Tax, ...] = ()
    issuer: tuple[tuple[str, str], ...] = ()

    def today(self, now: datetime) -> date:
        """Return the operator's day."""
        return local_date(now, self.zone)

    def billing_day(self, now: datetime) -> date:
        """Return the day whose invoices are due to be made: yesterday until the hour of issuing."""
        return local_date(now - timedelta(hours=self.issue_hour), self.zone)

    def fingerprint(self) -> str:
        """Return a text that changes when anything does that services' dates and next invoices follow from."""
        dated = (
            self.currency, self.zone.key, self.cut_off_day, self.cut_off, self.timing, self.months, self.issue_days,
            self.due_days, self.first_due_days, self.taxes,
        )  # fmt: skip
        return hashlib.sha256(repr(dated).encode()).hexdigest()

    def cycle(
        self,
        anchor_day: int,
        started_on: date,
        months: int | None = None,
        timing: Timing | None = None,
        prepaid: bool = False,
    ) -> Cycle:
        """Return the cycle of a service with this anchor day; months and timing may be its own.

        A prepaid one has no day but its own, and is paid for on the day on which it begins.
        """
        if prepaid:
            return Cycle(anchor_day, started_on, months or self.months)
        return Cycle(
            self.cut_off_day if self.cut_off == "operator" else anchor_day,
            started_on,
            months or self.months,
            timing or self.timing,
            self.issue_days,
            self.due_days,
            self.first_due_days,
        )


def rules_of(session: Session, operator_id: int) -> BillingRules:
    """Return an operator's rules. Raises BillingOff where billing was not switched on."""
    row = session.execute(
        select(Operator, BillingSettings)
        .join(BillingSettings, BillingSettings.operator_id == Operator.id)
        .where(Operator.id == operator_id)
    ).one_or_none()
    if row is None or not row.BillingSettings.enabled:
        raise BillingOff(operator_id)
    return _rules(session, row.Operator, row.BillingSettings)


def billing_is_on(session: Session, operator_id: int) -> bool:
    return bool(session.scalar(select(BillingSettings.enabled).where(BillingSettings.operator_id == operator_id)))


def _rules(session: Session, operator: Operator, kept: BillingSettings) -> BillingRules:
    taxes = session.scalars(
        select(TaxRate).where(TaxRate.operator_id == operator.id, TaxRate.active).order_by(TaxRate.id)
    )
    return BillingRules(
        operator_id=operator.id,
        currency=operator.currency,
        locale=money_locale(operator.locale, operator.currency),
        zone=ZoneInfo(operator.timezone),
        cut_off_day=operator.cut_off_day,
        grace_days=operator.grace_days,
        starts_on=kept.starts_on,
        cut_off=kept.cut_off,
        timing=Timing(kept.timing),
        months=kept.months,
        first_period=kept.first_period,
        issue_days=kept.issue_days,
        issue_hour=kept.issue_hour,
        due_days=kept.due_days,
        first_due_days=kept.first_due_days,
        bill_suspended=kept.bill_suspended,
        late_fee_percent=kept.late_fee_percent,
        late_fee_amount=kept.late_fee_amount,
        late_fee_days=kept.late_fee_days,
        promise_days=kept.promise_days,
        promises_a_year=kept.promises_a_year,
        prepaid=kept.prepaid,
        prepaid_notice_days=kept.prepaid_notice_days,
        require_cash_desk=kept.require_cash_desk,
        taxes=tuple(Tax(tax.name, tax.rate, tax.included) for tax in taxes),
        issuer=(
            ("name", kept.legal_name or operator.name),
            ("tax_id", kept.tax_id),
            ("address", kept.address),
            ("phone", kept.phone),
            ("email", kept.email),
        ),
    )
