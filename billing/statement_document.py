"""A subscriber's statement of account as a PDF: each document and payment in order, and what is owed after it.

It is made anew each time, because the next payment changes it, and needs no code to be checked by: whoever doubts it
asks for the documents that it names, which have one.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from billing.document_words import Row, Words, issuer_of, logo_of, party
from billing.documents import language_for, templates
from billing.page_breaks import head_height, on_pages, row_height
from billing.pdf import A4, render_pdf
from billing.statement import StatementLine, statement
from core.clock import local_date
from core.i18n import N_, translator
from crm.countries import tax_id_label
from db.models import Account, BillingSettings, Letterhead, Operator, Subscriber

MOST = 1000
"""Lines on paper: some thirty pages. What came before is one line, carried over."""

_TEXT_WIDTH = 70
"""mm of the column of documents on A4."""

_KINDS = {
    "invoice": N_("Invoice"),
    "credit_note": N_("Credit note"),
    "payment": N_("Payment"),
    "void": N_("Payment voided"),
    "refund": N_("Refund"),
}


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """A line as it is written; `charged` or `paid` is empty."""

    day: str
    title: str
    note: str
    charged: str
    paid: str
    balance: str


@dataclass(frozen=True, slots=True)
class StatementDocument:
    """All that a statement shows, as texts in its language. `total` is what is owed, or the credit."""

    language: str
    title: str
    issuer: tuple[str, ...]
    subscriber: tuple[str, ...]
    facts: tuple[Row, ...]
    lines: tuple[WrittenLine, ...]
    total: Row
    logo: str


def read_statement(
    session: Session, subscriber: Subscriber, now: datetime, language: str | None, most: int = MOST
) -> StatementDocument:
    """Return what a subscriber's statement shows, the oldest line first."""
    operator = session.get_one(Operator, subscriber.operator_id)
    settings = session.get(BillingSettings, operator.id)
    account = session.get(Account, operator.id)
    spoken = language_for(language, session, operator, subscriber.id)
    words = Words(spoken, operator.currency, tax_id_label(account.country if account else None))
    found = statement(session, subscriber.id, operator.timezone, most + 1)[::-1]
    before, lines = (found[0], found[1:]) if len(found) > most else (None, found)
    written = [_written(words, line) for line in lines]
    _ = words.text
    if before is not None:
        written.insert(
            0, WrittenLine(words.day(before.day), _("Carried over"), "", "", "", words.money(before.balance))
        )
    owed = found[-1].balance if found else Decimal(0)
    facts = [
        (_("Date"), words.day(local_date(now, ZoneInfo(operator.timezone)))),
        (_("Subscriber number"), str(subscriber.id)),
    ]
    if found:
        facts.append((_("Period"), words.days(found[0].day, found[-1].day)))
    person = {name: getattr(subscriber, name) for name in ("name", "tax_id", "address")}
    return StatementDocument(
        spoken, _("Statement of account"), party(words, issuer_of(operator, settings)), party(words, person),
        tuple(facts), tuple(written),
        (_("Credit balance") if owed < 0 else _("Left to pay"), words.money(abs(owed))),
        logo_of(session.get(Letterhead, operator.id)),
    )  # fmt: skip


def statement_pdf(session: Session, subscriber: Subscriber, now: datetime, language: str | None = None) -> bytes:
    """Return the PDF of a subscriber's statement. Raises NotRendered."""
    document = read_statement(session, subscriber, now, language)
    translate = translator(document.language)
    above = head_height(document.issuer, document.subscriber, document.facts, logo=bool(document.logo))
    pages = on_pages([(line, row_height(line.title, line.note, _TEXT_WIDTH)) for line in document.lines], above)
    html = templates().get_template("statement.html").render(document=document, pages=pages, _=translate)
    return render_pdf(html, A4)


def statement_file_name(subscriber: Subscriber) -> str:
    return f"statement-{subscriber.id}.pdf"


def _written(words: Words, line: StatementLine) -> WrittenLine:
    amount = words.money(abs(line.amount))
    return WrittenLine(
        words.day(line.day),
        f"{words.text(_KINDS[line.kind])} {line.number}",
        line.note,
        amount if line.amount > 0 else "",
        amount if line.amount <= 0 else "",
        words.money(line.balance),
    )
