"""Changing an operator's rules of billing."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.cycles import Timing, issue_on, period_from
from billing.invoices import lock_books
from billing.rules import BillingRules, rules_of
from billing.store import as_json, rowset
from core.i18n import N_, translator
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import BillingSettings, DocumentSeries, Operator, PaymentMethod, ServiceBilling, TaxRate

CHOICES: Mapping[str, tuple[str, ...]] = {
    "cut_off": ("operator", "anchor"),
    "timing": ("advance", "arrears"),
    "first_period": ("prorated", "free", "full"),
}
RANGES: Mapping[str, tuple[int, int]] = {
    "months": (1, 12),
    "issue_days": (0, 60),
    "issue_hour": (0, 23),
    "due_days": (0, 60),
    "first_due_days": (0, 60),
    "late_fee_percent": (0, 100),
    "late_fee_amount": (0, 1_000_000),
    "late_fee_days": (0, 365),
    "prepaid_notice_days": (0, 30),
    "promise_days": (0, 90),
    "promises_a_year": (0, 100),
}
_TEXTS = ("legal_name", "tax_id", "address", "phone", "email", "invoice_note", "receipt_note")
_FIRST_METHODS = (
    (N_("Cash"), "cash"),
    (N_("Transfer"), "bank"),
    (N_("Deposit"), "bank"),
    (N_("Card"), "card"),
    (N_("Another way"), "bank"),
)


def settings_of(session: Session, operator_id: int) -> BillingSettings | None:
    """Return what is stored, also where billing is off; None where nobody ever looked at it."""
    return session.get(BillingSettings, operator_id)


def change_settings(
    session: Session, actor: Actor, values: Mapping[str, Any], seen: int | None, today: date
) -> BillingSettings:
    """Store settings, of which version `seen` was shown (None: there were none). Raises Invalid, ChangedMeanwhile.

    The first time, ways to pay are entered too. Days on which invoices are made move with the rules; what is issued
    stays as it is. No service is billed for days before billing is switched on, unless `starts_on` says so.
    """
    lock_books(session, actor.operator_id)
    _check(values)
    kept = session.get(BillingSettings, actor.operator_id, with_for_update=True, populate_existing=True)
    if (kept.version if kept else None) != seen:
        raise ChangedMeanwhile
    names = [column.key for column in BillingSettings.__mapper__.column_attrs]
    before = {name: getattr(kept, name) for name in names} if kept else None
    if kept is None:
        kept = BillingSettings(operator_id=actor.operator_id, **{"starts_on": today, **values})
        session.add(kept)
        _enter_methods(session, actor.operator_id)
    else:
        for name, value in values.items():
            setattr(kept, name, value)
    session.flush()
    session.refresh(kept)
    after = {name: getattr(kept, name) for name in names}
    record(session, actor, "billing.settings", "operator", actor.operator_id, before, after)
    if kept.enabled:
        reschedule(session, rules_of(session, actor.operator_id))
    return kept


def add_tax(session: Session, actor: Actor, name: str, rate: Decimal, included: bool) -> TaxRate:
    """Enter a tax, for everything billed from now on. Raises Invalid."""
    problems = []
    if not name.strip():
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > 50 or not name.isprintable():
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "50"}))
    if not 0 <= rate <= 100:
        problems.append(FieldProblem("rate", Problem.OUT_OF_RANGE, {"low": "0", "high": "100"}))
    if problems:
        raise Invalid(*problems)
    tax = TaxRate(operator_id=actor.operator_id, name=name.strip(), rate=rate, included=included)
    session.add(tax)
    session.flush()
    after = {"name": tax.name, "rate": rate, "included": included}
    record(session, actor, "tax.create", "tax_rate", tax.id, None, after)
    return tax


def end_tax(session: Session, actor: Actor, tax: TaxRate) -> None:
    """Let a tax be on no further invoice."""
    tax.active = False
    session.flush()
    record(session, actor, "tax.end", "tax_rate", tax.id, {"name": tax.name}, {})


def set_prefix(session: Session, actor: Actor, kind: str, prefix: str) -> None:
    """Let documents of a kind have another prefix from now on; the numbers go on. Raises Invalid."""
    if len(prefix) > 20 or not prefix.isprintable():
        raise Invalid(FieldProblem("prefix", Problem.TOO_LONG, {"limit": "20"}))
    lock_books(session, actor.operator_id)
    series = session.get(DocumentSeries, (actor.operator_id, kind), with_for_update=True, populate_existing=True)
    if series is None:
        series = DocumentSeries(operator_id=actor.operator_id, kind=kind)
        session.add(series)
    before = {"prefix": series.prefix or ""}
    series.prefix = prefix.strip()
    session.flush()
    record(session, actor, "document_series.prefix", "operator", actor.operator_id, before, {"prefix": series.prefix})


def reschedule(session: Session, rules: BillingRules) -> None:
    """Compute anew when each service's next invoice is made: after a change of the rules or the cut-off day."""
    rows = session.execute(
        text(
            "SELECT b.service_id, b.anchor_day, b.started_on, b.next_from, b.months, b.timing, s.prepaid"
            " FROM service_billing b JOIN service s ON s.id = b.service_id"
            " WHERE b.operator_id = :operator_id AND b.stopped_on IS NULL"
        ),
        {"operator_id": rules.operator_id},
    )
    changed = []
    for row in rows:
        timing = Timing(row.timing) if row.timing is not None else None
        cycle = rules.cycle(row.anchor_day, row.started_on, row.months, timing, row.prepaid)
        day = issue_on(period_from(row.next_from, cycle), cycle)
        changed.append({"service_id": row.service_id, "next_issue_on": day})
    if changed:
        session.execute(
            text(
                "UPDATE service_billing AS b SET next_issue_on = r.next_issue_on"  # noqa: S608 - names of ours
                f" FROM {rowset(ServiceBilling, ('service_id', 'next_issue_on'))}"
                " WHERE b.service_id = r.service_id AND b.next_issue_on <> r.next_issue_on"
            ),
            {"rows": as_json(changed)},
        )


def _enter_methods(session: Session, operator_id: int) -> None:
    there = session.scalar(
        select(func.count()).select_from(PaymentMethod).where(PaymentMethod.operator_id == operator_id)
    )
    if not there:
        translate = translator(session.get_one(Operator, operator_id).locale)
        for name, account in _FIRST_METHODS:
            session.add(PaymentMethod(operator_id=operator_id, name=translate(name), account=account))


def _check(values: Mapping[str, Any]) -> None:
    problems = []
    for name, choices in CHOICES.items():
        if name in values and values[name] not in choices:
            problems.append(FieldProblem(name, Problem.UNKNOWN_CHOICE))
    for name, (low, high) in RANGES.items():
        if name in values and not low <= values[name] <= high:
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)}))
    problems += [
        FieldProblem(name, Problem.TOO_LONG, {"limit": "500"}) for name in _TEXTS if len(values.get(name, "")) > 500
    ]
    if problems:
        raise Invalid(*problems)
