"""From an issued invoice to the tax office's answer.

`follow()` compares what is billed with what was issued electronically, and writes down what is to be done: a new
invoice is to be sent, one that a single credit note took back wholly is to be cancelled, any other credit note is a
document of its own. An invoice taken back before it was sent is never sent. Where the provider will not cancel any
more, the credit note is issued as a document instead.

`advance()` takes one document a step further. That it is on its way is committed before it leaves, and no lock is held
while the provider is asked; an operator's documents are taken by one worker at a time (`turn`).
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from billing.einvoice import BadDocument, Fate, FiscalDocument, Line, Outcome, Party, Provider, ProviderTrouble, Tax
from billing.einvoice.settings import FORMATS, provider_of
from billing.invoices import document_number
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CreditNote, Einvoice, EinvoiceSettings, Invoice, InvoiceLine, InvoiceTax

log = structlog.get_logger()

OPEN = ("waiting", "sent", "cancelling")
OLDEST = timedelta(days=45)
"""An invoice of an earlier day is not issued electronically any more: whoever switches it on does not send the past."""
TURN = 50.0
"""Seconds that one operator may take in one turn."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)
LOCK = 7484
_NAMES = uuid.UUID("6f1a4c1e-6a5e-5d0e-9a5e-2b7c0f3e9d41")

_NEW_INVOICES = text("""
INSERT INTO einvoice (operator_id, kind, subject_id, number, key, next_try_at)
SELECT i.operator_id, 'invoice', i.id, i.prefix || i.number, 'new-invoice-' || i.id, :now
FROM invoice i
WHERE i.operator_id = :operator AND i.issued_on >= :since AND i.total > 0 AND i.credited < i.total
  AND NOT EXISTS (SELECT 1 FROM einvoice e WHERE e.operator_id = i.operator_id AND e.kind = 'invoice'
                  AND e.subject_id = i.id)
ORDER BY i.id LIMIT :most
ON CONFLICT DO NOTHING
""")
_TAKEN_BACK = text("""
UPDATE einvoice e SET state = 'cancelled', cancelled_at = :now, detail = ''
FROM invoice i
WHERE e.operator_id = :operator AND e.kind = 'invoice' AND e.state IN ('waiting', 'refused')
  AND i.id = e.subject_id AND i.credited = i.total
""")
_TO_CANCEL = text("""
UPDATE einvoice e SET state = 'cancelling', next_try_at = :now, tries = 0, detail = ''
FROM invoice i
JOIN credit_note n ON n.invoice_id = i.id AND n.total = i.total
WHERE e.operator_id = :operator AND e.kind = 'invoice' AND e.state = 'accepted' AND NOT e.cancel_refused
  AND i.id = e.subject_id AND n.issued_on >= :since
""")
_NEW_NOTES = text("""
INSERT INTO einvoice (operator_id, kind, subject_id, number, key, next_try_at)
SELECT n.operator_id, 'credit_note', n.id, n.prefix || n.number, 'new-credit_note-' || n.id, :now
FROM credit_note n
JOIN invoice i ON i.id = n.invoice_id
JOIN einvoice e ON e.operator_id = n.operator_id AND e.kind = 'invoice' AND e.subject_id = i.id
WHERE n.operator_id = :operator AND n.issued_on >= :since AND e.state = 'accepted'
  AND (n.total < i.total OR e.cancel_refused)
  AND NOT EXISTS (SELECT 1 FROM einvoice s WHERE s.operator_id = n.operator_id AND s.kind = 'credit_note'
                  AND s.subject_id = n.id)
ORDER BY n.id LIMIT :most
ON CONFLICT DO NOTHING
""")


@dataclass(slots=True)
class Turn:
    """What one turn did."""

    accepted: int = 0
    refused: int = 0
    cancelled: int = 0
    trouble: str = ""


def follow(session: Session, kept: EinvoiceSettings, now: datetime, most: int = 5000) -> None:
    """Write down which documents are to be sent and which are to be cancelled."""
    since = max(kept.starts_on, (now - OLDEST).date())
    values = {"operator": kept.operator_id, "since": since, "now": now, "most": most}
    session.execute(_NEW_INVOICES, values)
    session.execute(_TAKEN_BACK, {name: values[name] for name in ("operator", "now")})
    session.execute(_TO_CANCEL, {name: values[name] for name in ("operator", "since", "now")})
    session.execute(_NEW_NOTES, values)


def turn(sessions: sessionmaker[Session], settings: Settings, operator_id: int, now: datetime) -> Turn:
    """Take all documents of an operator that are due a step further. A provider that is away ends the turn."""
    done = Turn()
    with sessions() as session, _alone(session, operator_id) as alone:
        if not alone:
            return done
        kept = session.get(EinvoiceSettings, operator_id)
        if kept is None or not kept.enabled:
            return done
        until = time.monotonic() + TURN
        follow(session, kept, now)
        session.commit()
        try:
            provider = provider_of(kept, settings)
        except ProviderTrouble as problem:
            done.trouble = problem.trouble
            return done
        due = session.scalars(
            select(Einvoice.id)
            .where(Einvoice.operator_id == operator_id, Einvoice.state.in_(OPEN), Einvoice.next_try_at <= now)
            .order_by(Einvoice.id)
            .limit(10_000)
        ).all()
        session.commit()
        for einvoice_id in due:
            if time.monotonic() > until:
                break
            try:
                state = advance(session, kept, provider, session.get_one(Einvoice, einvoice_id), now)
            except ProviderTrouble as problem:
                done.trouble = problem.trouble
                break
            done.accepted += state == "accepted"
            done.refused += state == "refused"
            done.cancelled += state == "cancelled"
    return done


def advance(session: Session, kept: EinvoiceSettings, provider: Provider, row: Einvoice, now: datetime) -> str:
    """Take one document a step further, and return its state. Commits.

    Raises ProviderTrouble when the provider gave no answer; then the pause before the next try is written down.
    """
    session.refresh(row, with_for_update=True)
    if row.state not in OPEN:
        session.rollback()
        return row.state
    known = row.state != "waiting"
    if row.state == "waiting":
        try:
            document = fiscal_document(session, kept, row)
            row.number, row.key, row.xml = document.number, document.key, FORMATS[kept.format](document)
        except BadDocument as bad:
            row.state, row.detail = "refused", bad.what
            session.commit()
            return row.state
        row.state = "sent"
    key, number, xml, cancelling = row.key, row.number, row.xml, row.state == "cancelling"
    session.commit()  # before it leaves
    assert xml is not None, "it is made before the first step"
    try:
        found = provider.find(key) if known else None
        if cancelling:
            if found is None or found.fate is Fate.ACCEPTED:
                found = provider.cancel(key, number)
        elif found is None:
            found = provider.submit(key, number, xml)
    except ProviderTrouble as problem:
        session.refresh(row, with_for_update=True)
        row.tries += 1
        row.next_try_at = now + _pause(row.tries)
        row.detail = f"{problem.trouble}: {problem.detail}" if problem.detail else str(problem.trouble)
        session.commit()
        raise
    session.refresh(row, with_for_update=True)
    _apply(row, found, now)
    session.commit()
    log.info("einvoice", operator_id=row.operator_id, number=row.number, state=row.state)
    return row.state


def send_again(session: Session, actor: Actor, row: Einvoice, now: datetime) -> None:
    """Have a refused document made anew and sent, or the next try of a waiting one made now. Raises Invalid."""
    session.refresh(row, with_for_update=True)
    if row.state not in ("refused", *OPEN):
        raise Invalid(FieldProblem("state", Problem.ALREADY_DONE))
    before = {"state": row.state}
    if row.state == "refused":
        row.state = "waiting"
    row.tries, row.next_try_at = 0, now
    session.flush()
    record(session, actor, "einvoice.again", row.kind, row.subject_id, before, {"state": row.state})


def fiscal_document(session: Session, kept: EinvoiceSettings, row: Einvoice) -> FiscalDocument:
    """Return an invoice or credit note as formats need it, with both parties as they were that day."""
    note = session.get_one(CreditNote, row.subject_id) if row.kind == "credit_note" else None
    invoice = session.get_one(Invoice, note.invoice_id if note is not None else row.subject_id)
    issuer = _party(invoice.details.get("issuer", {}), kept.country)
    customer = _party(invoice.details.get("subscriber", {}), "")
    subject = invoice if note is None else note
    number = document_number(subject.prefix, subject.number)
    key = str(uuid.uuid5(_NAMES, f"{issuer.tax_id}/{row.operator_id}/{row.kind}/{number}"))
    if note is not None:
        taxes = tuple(
            Tax(each["name"], Decimal(each["rate"]), Decimal(each["base"]), Decimal(each["amount"]))
            for each in note.taxes
        )
        lines: tuple[Line, ...] = (Line(note.reason, note.net, note.tax),)
    else:
        taxes = tuple(
            Tax(each.name, each.rate, each.base, each.amount)
            for each in session.scalars(
                select(InvoiceTax).where(InvoiceTax.invoice_id == invoice.id).order_by(InvoiceTax.position)
            )
        )
        lines = tuple(
            Line(each.description, each.net, each.tax, each.first, each.last)
            for each in session.scalars(
                select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
            )
        )
    return FiscalDocument(
        row.kind,
        number,
        key,
        subject.issued_on,
        invoice.due_on if note is None else None,
        subject.currency,
        issuer,
        customer,
        lines,
        taxes,
        subject.net,
        subject.tax,
        subject.total,
        note.reason if note is not None else "",
        (document_number(invoice.prefix, invoice.number), invoice.issued_on) if note is not None else None,
    )


def _apply(row: Einvoice, outcome: Outcome, now: datetime) -> None:
    row.tries, row.detail = 0, outcome.detail
    row.fiscal_id = outcome.fiscal_id or row.fiscal_id
    row.stamped = outcome.stamped or row.stamped
    if outcome.fate is Fate.PENDING:
        row.next_try_at = now + max(timedelta(seconds=outcome.retry_after), FIRST_PAUSE)
    elif outcome.fate is Fate.ACCEPTED:
        row.state, row.accepted_at = "accepted", row.accepted_at or now
    elif outcome.fate is Fate.REFUSED:
        row.state = "refused"
    elif outcome.fate is Fate.CANCELLED:
        row.state, row.cancelled_at = "cancelled", now
    else:
        row.state, row.cancel_refused = "accepted", True


def _pause(tries: int) -> timedelta:
    return min(FIRST_PAUSE * (1 << min(tries - 1, 12)), LONGEST_PAUSE)


def _party(kept: dict[str, str], country: str) -> Party:
    name, tax_id, address, phone, email = (
        str(kept.get(each) or "") for each in ("name", "tax_id", "address", "phone", "email")
    )
    return Party(name, tax_id, address, phone, email, country)


@contextmanager
def _alone(session: Session, operator_id: int) -> Iterator[bool]:
    """Tell whether this worker is the only one that speaks for an operator, and keep it so."""
    with session.get_bind().engine.connect() as connection:
        taken = bool(connection.scalar(select(func.pg_try_advisory_lock(LOCK, operator_id % 2**31))))
        connection.commit()
        try:
            yield taken
        finally:
            if taken:
                connection.execute(select(func.pg_advisory_unlock(LOCK, operator_id % 2**31)))
                connection.commit()
