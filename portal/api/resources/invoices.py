"""Invoices, with their lines and taxes."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from billing.invoices import document_number
from db.models import Invoice, InvoiceLine, InvoiceTax
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Day, Instant, Money, Page, PageAsked, RowId, Shown
from portal.staff.billing.base import invoice_state, invoices_in

TAG = "Invoices"
State = Literal["open", "partly", "overdue", "paid", "credited"]


class InvoiceShown(Shown):
    """What a subscriber owes, as it was issued, and how much of it is settled."""

    id: int
    number: str
    subscriber_id: int
    service_id: int | None
    state: State
    issued_on: date
    due_on: date
    period_first: date | None = Field(description="The days that it is about, both included.")
    period_last: date | None
    net: Money
    tax: Money
    total: Money
    paid: Money
    credited: Money
    open: Money
    created_at: datetime


class LineShown(Shown):
    kind: Literal["plan", "charge", "recurring", "late_fee", "discount"]
    description: str
    first: date | None
    last: date | None
    net: Money
    tax: Money
    total: Money


class TaxShown(Shown):
    name: str
    rate: str = Field(description="Percent.", examples=["16"])
    base: Money
    amount: Money


class WholeInvoiceShown(InvoiceShown):
    """An invoice with its lines and taxes."""

    lines: list[LineShown]
    taxes: list[TaxShown]


class InvoicesAsked(PageAsked):
    subscriber_id: RowId | Absent = None
    state: Literal["unpaid", "open", "partly", "overdue", "paid", "credited"] | Absent = Field(
        None, description="`unpaid`: something is left to pay."
    )
    issued_from: Day | Absent = Field(None, description="Issued on this day or later.")
    issued_until: Day | Absent = Field(None, description="Issued on this day or before.")
    created_since: Instant | Absent = None


def _values(invoice: Invoice) -> dict[str, object]:
    amounts = ("net", "tax", "total", "paid", "credited", "open")
    plain = set(InvoiceShown.model_fields) - {*amounts, "number", "state"}
    return {
        "number": document_number(invoice.prefix, invoice.number),
        "state": invoice_state(invoice),
        **{name: Money.of(getattr(invoice, name), invoice.currency) for name in amounts},
        **{name: getattr(invoice, name) for name in plain},
    }


def _shown(rows: Sequence[Invoice]) -> list[InvoiceShown]:
    return [InvoiceShown.model_validate(_values(row)) for row in rows]


@operation("GET", "/invoices", Scope.INVOICES_READ, tag=TAG, summary="List invoices", answer=Page[InvoiceShown])
def index(query: InvoicesAsked) -> Page[InvoiceShown]:
    found = select(Invoice)
    if query.subscriber_id is not None:
        found = found.where(Invoice.subscriber_id == query.subscriber_id)
    if query.state is not None:
        found = found.where(invoices_in(query.state))
    if query.issued_from is not None:
        found = found.where(Invoice.issued_on >= query.issued_from)
    if query.issued_until is not None:
        found = found.where(Invoice.issued_on <= query.issued_until)
    if query.created_since is not None:
        found = found.where(Invoice.created_at >= query.created_since)
    return page_of(frame.db(), found, [Invoice.id], query, _shown)


@operation("GET", "/invoices/<int:invoice_id>", Scope.INVOICES_READ, tag=TAG, summary="Read an invoice",
           answer=WholeInvoiceShown, single=True)  # fmt: skip
def show(invoice_id: int) -> WholeInvoiceShown:
    session, invoice = frame.db(), one(Invoice, invoice_id)
    lines = session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    )
    taxes = session.scalars(select(InvoiceTax).where(InvoiceTax.invoice_id == invoice.id).order_by(InvoiceTax.position))

    def money(amount: Decimal) -> Money:
        return Money.of(amount, invoice.currency)

    return WholeInvoiceShown.model_validate(
        {
            **_values(invoice),
            "lines": [
                LineShown(
                    kind=line.kind,
                    description=line.description,
                    first=line.first,
                    last=line.last,
                    net=money(line.net),
                    tax=money(line.tax),
                    total=money(line.total),
                )
                for line in lines
            ],
            "taxes": [
                TaxShown(
                    name=tax.name, rate=f"{tax.rate.normalize():f}", base=money(tax.base), amount=money(tax.amount)
                )
                for tax in taxes
            ],
        }
    )
