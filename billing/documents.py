"""Documents: what an invoice, a credit note or a receipt shows, and its PDF.

A document says what is stored and computes nothing: an issued invoice keeps the names and addresses of its day, a
payment keeps what it did. `read_document()` puts that together as plain texts in one language, `pdf_of()` renders it
once and keeps it. What is kept is known by a hash over everything it shows, so a payment that is voided or a new logo
makes another one, and nothing has to be thrown away by hand.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.cut_offs import kept_cut_off
from billing.document_words import Row, Words, issuer_of, logo_of, party, percent
from billing.foreign_payments import refunded_of
from billing.invoices import document_number
from billing.links import LinkFor, link_key, signed
from billing.page_breaks import head_height, on_pages, row_height
from billing.pdf import A4, PAPERS, TICKET, Paper, render_pdf
from billing.pdf_pages import cut_below
from core.crypto import Keyring
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES, N_, translator
from core.money import rounded
from crm.countries import tax_id_label
from db.models import (
    Account,
    BillingSettings,
    CreditNote,
    Einvoice,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    Letterhead,
    Operator,
    Payment,
    PaymentMethod,
    RatePlan,
    RenderedDocument,
    Service,
    Subscriber,
)

KINDS = ("invoice", "credit_note", "receipt")
LAYOUT = 3
"""Raised when the templates change what a document looks like: kept PDFs are then made again."""
_TEXT_WIDTH = 138
"""mm of the column of descriptions on A4."""
CHECKED_BY = {
    "invoice": LinkFor.CHECK_INVOICE,
    "credit_note": LinkFor.CHECK_CREDIT_NOTE,
    "receipt": LinkFor.CHECK_RECEIPT,
}
FETCHED_BY = {
    "invoice": LinkFor.FETCH_INVOICE,
    "credit_note": LinkFor.FETCH_CREDIT_NOTE,
    "receipt": LinkFor.FETCH_RECEIPT,
}
TITLES = {"invoice": N_("Invoice"), "credit_note": N_("Credit note"), "receipt": N_("Receipt")}


class NoDocument(Exception):
    """The operator has no document of that kind and id."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line: what it is, the days or the remark under it, and its amount as it is written."""

    text: str
    note: str
    amount: str


@dataclass(frozen=True, slots=True)
class Document:
    """All that one shows, as texts in its language. `stamp` is VOID, PAID … across it; `total` is drawn large."""

    kind: str
    language: str
    title: str
    number: str
    issuer: tuple[str, ...]
    facts: tuple[Row, ...]
    subscriber: tuple[str, ...]
    items: tuple[Item, ...]
    sums: tuple[Row, ...]
    total: Row
    after: tuple[Row, ...]
    note: str
    stamp: str
    check_url: str
    logo: str = ""
    qr: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the public may learn of a document that they hold: whether it is genuine and in force."""

    kind: str
    number: str
    day: date
    amount: Decimal
    currency: str
    valid: bool


def language_for(wanted: str | None, session: Session, operator: Operator, subscriber_id: int) -> str:
    """Return the language of a document: the one asked for, the subscriber's, or the operator's."""
    subscriber = session.get(Subscriber, subscriber_id)
    for language in (wanted, subscriber.language if subscriber else None, operator.locale[:2]):
        if language in LANGUAGES:
            return str(language)
    return DEFAULT_LANGUAGE


def read_document(
    session: Session,
    keyring: Keyring,
    operator_id: int,
    kind: str,
    subject_id: int,
    language: str | None,
    base_url: str,
) -> Document:
    """Return what a document shows; `base_url` is where the portal is reached. Raises NoDocument."""
    row = _row(session, operator_id, kind, subject_id)
    operator = session.get_one(Operator, operator_id)
    spoken = language_for(language, session, operator, row.subscriber_id)
    account = session.get(Account, operator_id)
    words = Words(spoken, row.currency, tax_id_label(account.country if account else None))
    key = link_key(session, keyring, operator_id)
    check = f"{base_url.rstrip('/')}/check/{signed(key, CHECKED_BY[kind], operator_id, subject_id)}"
    settings = session.get(BillingSettings, operator_id)
    letterhead = session.get(Letterhead, operator_id)
    if isinstance(row, Invoice):
        made = _invoice(session, words, row, settings)
    elif isinstance(row, CreditNote):
        made = _credit_note(session, words, row)
    else:
        made = _receipt(session, words, row, operator, settings)
    return replace(made, check_url=check, logo=logo_of(letterhead))


def pdf_of(
    session: Session,
    keyring: Keyring,
    operator_id: int,
    kind: str,
    subject_id: int,
    base_url: str,
    *,
    paper: str = A4.name,
    language: str | None = None,
) -> tuple[Document, bytes]:
    """Return a document and its PDF, made now or kept from before; the caller commits.

    Raises NoDocument, NotRendered.
    """
    document = read_document(session, keyring, operator_id, kind, subject_id, language, base_url)
    fingerprint = _fingerprint(document)
    key = {"kind": kind, "subject_id": subject_id, "paper": paper, "language": document.language}
    kept = session.execute(
        select(RenderedDocument.fingerprint, RenderedDocument.content).filter_by(**key, operator_id=operator_id)
    ).one_or_none()
    if kept is not None and kept.fingerprint == fingerprint:
        return document, kept.content
    content = render_document(document, PAPERS[paper])
    values = {"operator_id": operator_id, "fingerprint": fingerprint, "content": content}
    session.execute(
        insert(RenderedDocument)
        .values(**key, **values)
        .on_conflict_do_update(index_elements=list(key), set_={"fingerprint": fingerprint, "content": content})
    )
    return document, content


def render_document(document: Document, paper: Paper) -> bytes:
    """Return the PDF of a document. Raises NotRendered."""
    template = templates().get_template(f"{paper.name}.html")
    code = segno.make(document.check_url, error="m")
    translate = translator(document.language)
    above = head_height(
        document.issuer, document.subscriber, document.facts, logo=bool(document.logo), stamp=bool(document.stamp)
    )
    pages = on_pages([(item, row_height(item.text, item.note, _TEXT_WIDTH)) for item in document.items], above)
    shown = replace(document, qr=code.png_data_uri(scale=6, border=0))
    html = template.render(document=shown, pages=pages, _=translate)
    content = render_pdf(html, paper, length=_ticket_length(document))
    return cut_below(content, paper.margin) if paper is TICKET else content


def file_name(document: Document) -> str:
    """Return a name for the file: letters, digits and dashes, whatever the number's prefix holds."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in document.number)
    return f"{document.kind.replace('_', '-')}-{plain.strip('-')}.pdf"


def standing_of(session: Session, operator_id: int, kind: str, subject_id: int) -> Standing:
    """Return what whoever holds a document may check of it. Raises NoDocument."""
    row = _row(session, operator_id, kind, subject_id)
    number = document_number(row.prefix, row.number)
    if isinstance(row, Payment):
        valid = row.voided_at is None
        return Standing(kind, number, row.paid_on, row.amount, row.currency, valid)
    valid = not (isinstance(row, Invoice) and row.total > 0 and row.credited == row.total)
    return Standing(kind, number, row.issued_on, row.total, row.currency, valid)


# Below here: what the three kinds show.


def _row(session: Session, operator_id: int, kind: str, subject_id: int) -> Invoice | CreditNote | Payment:
    row: Invoice | CreditNote | Payment | None = None
    if kind == "invoice":
        row = session.get(Invoice, subject_id, populate_existing=True)
    elif kind == "credit_note":
        row = session.get(CreditNote, subject_id, populate_existing=True)
    elif kind == "receipt":
        row = session.get(Payment, subject_id, populate_existing=True)
    if row is None or row.operator_id != operator_id:
        raise NoDocument
    return row


def _invoice(session: Session, words: Words, invoice: Invoice, settings: BillingSettings | None) -> Document:
    _ = words.text
    lines = session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    )
    taxes = session.scalars(select(InvoiceTax).where(InvoiceTax.invoice_id == invoice.id).order_by(InvoiceTax.position))
    items = [Item(line.description, words.days(line.first, line.last), words.money(line.net)) for line in lines]
    facts = [(_("Date of issue"), words.day(invoice.issued_on)), (_("Due date"), words.day(invoice.due_on))]
    if invoice.details.get("service"):
        facts.append((_("Service"), str(invoice.details["service"])))
    facts += _fiscal(session, words, "invoice", invoice)
    sums = [(_("Net"), words.money(invoice.net))]
    sums += [(f"{tax.name} {percent(tax.rate)}", words.money(tax.amount)) for tax in taxes]
    after = []
    if invoice.paid:
        after.append((_("Paid"), words.money(invoice.paid)))
    if invoice.credited:
        after.append((_("Credited"), words.money(invoice.credited)))
    after.append((_("Left to pay"), words.money(invoice.open)))
    stamp = ""
    if invoice.total > 0 and invoice.credited == invoice.total:
        stamp = _("VOID")
    elif invoice.total > 0 and not invoice.open:
        stamp = _("PAID")
    return Document(
        "invoice", words.language, words.text(TITLES["invoice"]), document_number(invoice.prefix, invoice.number),
        party(words, invoice.details.get("issuer", {})), tuple(facts),
        party(words, invoice.details.get("subscriber", {})), tuple(items), tuple(sums),
        (f"{_('Total')} {invoice.currency}", words.money(invoice.total)), tuple(after),
        settings.invoice_note if settings else "", stamp, "",
    )  # fmt: skip


def _fiscal(session: Session, words: Words, kind: str, document: Invoice | CreditNote) -> list[Row]:
    """Return the number that the tax office gave a document, where it did."""
    number = session.scalar(
        select(Einvoice.fiscal_id).where(
            Einvoice.operator_id == document.operator_id,
            Einvoice.kind == kind,
            Einvoice.subject_id == document.id,
            Einvoice.state.in_(("accepted", "cancelling", "cancelled")),
        )
    )
    return [(words.text(N_("Fiscal number")), number)] if number else []


def _credit_note(session: Session, words: Words, note: CreditNote) -> Document:
    _ = words.text
    invoice = session.get_one(Invoice, note.invoice_id)
    items = [
        Item(line["description"], words.days(line.get("first"), line.get("last")), words.money(net))
        for line, net in zip(note.lines, _net_of_lines(note), strict=True)
    ]
    sums = [(_("Net"), words.money(note.net))]
    sums += [(f"{tax['name']} {percent(Decimal(tax['rate']))}", words.money(tax["amount"])) for tax in note.taxes]
    facts = (
        (_("Date of issue"), words.day(note.issued_on)),
        (_("For invoice"), document_number(invoice.prefix, invoice.number)),
        *_fiscal(session, words, "credit_note", note),
        (_("Reason"), note.reason),
    )
    return Document(
        "credit_note", words.language, words.text(TITLES["credit_note"]), document_number(note.prefix, note.number),
        party(words, invoice.details.get("issuer", {})), facts, party(words, invoice.details.get("subscriber", {})),
        tuple(items), tuple(sums), (_("Total credited"), words.money(note.total)), (), "", "", "",
    )  # fmt: skip


def _net_of_lines(note: CreditNote) -> list[Decimal]:
    """Return what each line of a credit note is without taxes: its share of the whole, and the last one the rest."""
    shares = [rounded(Decimal(line["total"]) * note.net / note.total, note.currency) for line in note.lines[:-1]]
    return [*shares, note.net - sum(shares, Decimal(0))] if note.lines else []


def _receipt(
    session: Session, words: Words, payment: Payment, operator: Operator, settings: BillingSettings | None
) -> Document:
    _ = words.text
    subscriber = session.get_one(Subscriber, payment.subscriber_id)
    method = session.get_one(PaymentMethod, payment.method_id)
    effects: Mapping[str, Any] = payment.effects
    items = [
        Item(
            _("Invoice %(number)s") % {"number": part["number"]},
            "" if part["whole"] else _("in part"),
            words.money(part["amount"]),
        )
        for part in effects.get("paid", ())
    ]
    applied = sum((Decimal(part["amount"]) for part in effects.get("paid", ())), Decimal(0))
    if payment.amount > applied:
        items.append(Item(_("Credit for the next invoices"), "", words.money(payment.amount - applied)))
    facts = [(_("Date of payment"), words.day(payment.paid_on)), (_("Paid by"), method.name)]
    facts += _foreign(words, payment)
    if payment.reference:
        facts.append((_("Reference"), payment.reference))
    facts += _services(session, words, payment, ZoneInfo(operator.timezone))
    after = []
    if effects.get("balance") is not None:
        after.append(_balance(words, Decimal(effects["balance"])))
    if payment.refunded:
        after.append((_("Refunded"), _refunded(session, words, payment)))
    person = {name: getattr(subscriber, name) for name in ("name", "tax_id", "address")}
    return Document(
        "receipt", words.language, words.text(TITLES["receipt"]), document_number(payment.prefix, payment.number),
        party(words, issuer_of(operator, settings)), tuple(facts), party(words, person), tuple(items), (),
        (_("Amount paid"), words.money(payment.amount)), tuple(after), settings.receipt_note if settings else "",
        _("VOID") if payment.voided_at is not None else "", "",
    )  # fmt: skip


def _foreign(words: Words, payment: Payment) -> list[Row]:
    """Return what came in of another currency, its rate and the change that was given back."""
    if payment.foreign_amount is None or payment.foreign_currency is None or payment.exchange_rate is None:
        return []
    _ = words.text
    rows = [
        (_("Received"), words.foreign(payment.foreign_amount, payment.foreign_currency)),
        (_("Exchange rate"), words.rate(payment.exchange_rate, payment.foreign_currency)),
    ]
    return [*rows, (_("Change given back"), words.money(payment.change_given))] if payment.change_given else rows


def _refunded(session: Session, words: Words, payment: Payment) -> str:
    if payment.foreign_currency is None:
        return words.money(payment.refunded)
    given = words.foreign(refunded_of(session, payment), payment.foreign_currency)
    return f"{words.money(payment.refunded)} ({given})"


def _services(session: Session, words: Words, payment: Payment, zone: ZoneInfo) -> list[Row]:
    """Return rows for each service: its plan, until when it is paid, and when it is cut without another payment."""
    _ = words.text
    effects = payment.effects.get("services", ())
    ids = [each["service_id"] for each in effects]
    plans = {
        row.id: row.plan
        for row in session.execute(
            select(Service.id, RatePlan.name.label("plan"))
            .join(RatePlan, RatePlan.id == Service.plan_id)
            .where(Service.id.in_(ids))
        )
    }
    rows: list[Row] = []
    for each in effects:
        rows.append((_("Plan"), f"{plans.get(each['service_id'], '')} ({each['name']})".strip()))
        if each.get("next_cut_off"):
            rows.append((_("Paid until"), words.day(each["next_cut_off"])))
        cut_at = kept_cut_off(each, payment.created_at)
        if cut_at is not None:
            rows.append((_("Next cut-off"), words.minute(cut_at, zone)))
    return rows


def _balance(words: Words, balance: Decimal) -> Row:
    if balance < 0:
        return words.text(N_("Credit after this payment")), words.money(-balance)
    return words.text(N_("Balance after this payment")), words.money(balance)


def _ticket_length(document: Document) -> int:
    """Return the mm of paper that a ticket needs at most: what is on it, wrapped at the width of the roll.

    What it does not need is cut off; a second page would be cut from the first.
    """

    def lines(text: str, width: int) -> int:
        return sum(max(1, -(-len(part) // width)) for part in text.split("\n")) if text else 0

    count = sum(lines(text, 30) for text in (*document.issuer, *document.subscriber))
    count += sum(lines(value, 20) + lines(title, 40) for title, value in (*document.facts, *document.after))
    count += sum(lines(item.text, 22) + lines(item.note, 34) for item in document.items)
    count += len(document.sums) + lines(document.note, 34)
    return 110 + (20 if document.logo else 0) + round(count * 5.5)


def _fingerprint(document: Document) -> str:
    said = json.dumps([LAYOUT, asdict(document)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


@cache
def templates() -> Environment:
    """Return the templates of documents."""
    here = Path(__file__).resolve().parent / "templates"
    return Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
