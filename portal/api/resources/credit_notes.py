"""Credit notes: how an invoice that was issued is taken back, wholly or in part."""

from collections.abc import Sequence
from datetime import date, datetime

from pydantic import Field
from sqlalchemy import select

from billing.credit_notes import credit_invoice, void_invoice
from billing.invoices import document_number
from billing.rules import rules_of
from db.models import CreditNote, Invoice
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import Kind
from portal.api.resources.rows import amount_of, one
from portal.api.scopes import Scope
from portal.api.values import Absent, Day, Given, Instant, Money, MoneyGiven, Page, PageAsked, RowId, Shown, string

TAG = "Invoices"


class CreditNoteShown(Shown):
    """What was taken off an invoice. Where the invoice was paid, the money is the subscriber's credit again."""

    id: int
    number: str
    invoice_id: int
    subscriber_id: int
    issued_on: date
    net: Money
    tax: Money
    total: Money
    reason: str
    created_at: datetime


class CreditNoteGiven(Given):
    amount: MoneyGiven = Field(description="With taxes.")
    reason: string(500, 1) = Field(examples=["Two days without service"])  # type: ignore[valid-type]


class InvoiceVoiding(Given):
    reason: string(500, 1) = Field(examples=["Billed to the wrong plan"])  # type: ignore[valid-type]
    bill_again: bool = Field(
        False, description="Its charges wait again, and its days, where they are the last that were billed."
    )


class CreditNotesAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    invoice_id: RowId | Absent = None
    issued_from: Day | Absent = Field(None, description="Issued on this day or later.")
    issued_until: Day | Absent = Field(None, description="Issued on this day or before.")
    created_since: Instant | Absent = None


def _shown(rows: Sequence[CreditNote]) -> list[CreditNoteShown]:
    amounts = ("net", "tax", "total")
    plain = set(CreditNoteShown.model_fields) - {*amounts, "number"}
    return [
        CreditNoteShown.model_validate(
            {
                "number": document_number(row.prefix, row.number),
                **{name: Money.of(getattr(row, name), row.currency) for name in amounts},
                **{name: getattr(row, name) for name in plain},
            }
        )
        for row in rows
    ]


@operation("GET", "/credit-notes", Scope.INVOICES_READ, tag=TAG, summary="List credit notes",
           answer=Page[CreditNoteShown])  # fmt: skip
def index(query: CreditNotesAsked) -> Page[CreditNoteShown]:
    found = select(CreditNote)
    for name in ("subscriber_id", "invoice_id"):
        if getattr(query, name) is not None:
            found = found.where(getattr(CreditNote, name) == getattr(query, name))
    if query.issued_from is not None:
        found = found.where(CreditNote.issued_on >= query.issued_from)
    if query.issued_until is not None:
        found = found.where(CreditNote.issued_on <= query.issued_until)
    if query.created_since is not None:
        found = found.where(CreditNote.created_at >= query.created_since)
    return page_of(frame.db(), found, [CreditNote.id], query, _shown)


@operation("GET", "/credit-notes/<int:note_id>", Scope.INVOICES_READ, tag=TAG, summary="Read a credit note",
           answer=CreditNoteShown, single=True)  # fmt: skip
def show(note_id: int) -> CreditNoteShown:
    return _shown([one(CreditNote, note_id)])[0]


@operation("POST", "/invoices/<int:invoice_id>/credit-notes", Scope.INVOICES_CREDIT, tag=TAG,
           summary="Take an amount off an invoice", answer=CreditNoteShown, status=201, key=True,
           gives=(Kind.BILLING_OFF,), location="/credit-notes/{id}")  # fmt: skip
def credit(invoice_id: int, body: CreditNoteGiven) -> CreditNoteShown:
    """For good will or a mistake. What was paid of it already is credit again, and pays what else is open."""
    session, invoice = frame.db(), one(Invoice, invoice_id)
    rules = rules_of(session, frame.token().operator_id)
    note, _changes = credit_invoice(
        session, frame.actor(), rules, invoice, amount_of(body.amount), body.reason, context.now()
    )
    return _shown([note])[0]


@operation("POST", "/invoices/<int:invoice_id>/void", Scope.INVOICES_CREDIT, tag=TAG, summary="Take an invoice back",
           answer=CreditNoteShown, status=201, key=True, gives=(Kind.BILLING_OFF,),
           location="/credit-notes/{id}")  # fmt: skip
def void(invoice_id: int, body: InvoiceVoiding) -> CreditNoteShown:
    """A credit note over all that is left of it. An invoice keeps its number, whatever becomes of it."""
    session, invoice = frame.db(), one(Invoice, invoice_id)
    rules = rules_of(session, frame.token().operator_id)
    note, _changes = void_invoice(
        session, frame.actor(), rules, invoice, body.reason, context.now(), bill_again=body.bill_again
    )
    return _shown([note])[0]
