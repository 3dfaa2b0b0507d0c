"""Quotes: a plan offered to a lead in writing, at today's prices and taxes, until a day.

A quote keeps its lines and its sums, so what was promised can be read later whatever the plan costs by then; nothing
is billed by it. The lead counts as quoted from then on. Its document is made anew each time, since it holds nothing
that could change but the operator's logo and how the lead is called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.document_words import Words, issuer_of, logo_of, party, percent
from billing.documents import Document, Item
from billing.facts import price_of
from billing.links import LinkFor, link_key, signed
from billing.rules import BillingOff, rules_of
from billing.taxes import Tax, Taxed, taxed
from core.clock import local_date
from core.crypto import Keyring
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES, N_
from core.money import LARGEST, rounded
from core.rates import format_rate
from crm.brands import brand_of
from crm.countries import tax_id_label
from crm.currencies import price_in_books, rate_on
from crm.leads import OPEN, WrongLeadState, move_lead
from crm.messages import Value, Voice
from crm.notices import EMAIL, Message, checked_address, deliver
from crm.plan_items import items_of_plans
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Account, BillingSettings, Lead, Letterhead, Operator, Quote, RatePlan

LOCK = 7488
LONGEST_DAYS = 365
LONGEST_NOTE = 1000

_INSTALLATION = N_("Installation")
_MONTHLY = N_("each month")
_ONCE = N_("once")


@dataclass(frozen=True, slots=True)
class QuoteTerms:
    """What is typed for a quote: the plan, for how many days it holds, what the installation costs, and a remark.

    The installation's price is in the books' currency, None where nothing is said of one.
    """

    plan_id: int
    days: int = 15
    installation: Decimal | None = None
    note: str = ""
    language: str = DEFAULT_LANGUAGE


def make_quote(session: Session, actor: Actor, lead: Lead, terms: QuoteTerms, now: datetime) -> Quote:
    """Offer a plan to a lead that is open. Raises Invalid and WrongLeadState."""
    session.refresh(lead, with_for_update=True)
    if lead.state not in OPEN:
        raise WrongLeadState(lead.state)
    operator = session.get_one(Operator, actor.operator_id)
    plan = session.get(RatePlan, terms.plan_id)
    problems = _problems(terms, operator.currency)
    if plan is None or plan.operator_id != operator.id or plan.archived:
        raise Invalid(FieldProblem("plan_id", Problem.UNKNOWN_CHOICE), *problems)
    if problems:
        raise Invalid(*problems)
    today = local_date(now, ZoneInfo(operator.timezone))
    lines = _lines(session, operator, plan, terms.installation, today)
    taxes = _taxes(session, operator.id)
    session.execute(select(func.pg_advisory_xact_lock(LOCK, operator.id)))
    quote = Quote(
        operator_id=operator.id,
        number=(session.scalar(select(func.max(Quote.number)).where(Quote.operator_id == operator.id)) or 0) + 1,
        lead_id=lead.id,
        plan_id=plan.id,
        language=terms.language,
        currency=operator.currency,
        lines=lines,
        taxes=[{"name": tax.name, "rate": str(tax.rate), "included": tax.included} for tax in taxes],
        monthly=_total(lines, taxes, operator.currency, once=False),
        once=_total(lines, taxes, operator.currency, once=True),
        made_on=today,
        valid_until=today + timedelta(days=terms.days),
        note=terms.note.strip(),
        staff_id=actor.staff_id,
    )
    session.add(quote)
    if lead.state != "quoted":
        move_lead(session, actor, lead, "quoted", now)
    if lead.plan_id is None:
        lead.plan_id = plan.id
    session.flush()
    made = {"number": quote.number, "plan": plan.name, "amount": quote.monthly, "until": quote.valid_until}
    record(session, actor, "lead.quote", "lead", lead.id, None, made)
    return quote


def quotes_of(session: Session, lead: Lead) -> list[Quote]:
    """Return a lead's quotes, the newest first."""
    return list(session.scalars(select(Quote).where(Quote.lead_id == lead.id).order_by(Quote.id.desc())))


def quote_url(session: Session, keyring: Keyring, base_url: str, quote: Quote) -> str:
    """Return the address under which a quote is read without an account. The caller commits."""
    key = link_key(session, keyring, quote.operator_id)
    return f"{base_url.rstrip('/')}/quotes/{signed(key, LinkFor.FETCH_QUOTE, quote.operator_id, quote.id)}.pdf"


def quote_document(session: Session, keyring: Keyring, quote: Quote, base_url: str) -> Document:
    """Return what a quote shows; `base_url` is where the portal is reached."""
    operator = session.get_one(Operator, quote.operator_id)
    lead = session.get_one(Lead, quote.lead_id)
    account = session.get(Account, operator.id)
    settings = session.get(BillingSettings, operator.id)
    words = Words(quote.language, quote.currency, tax_id_label(account.country if account else None))
    _ = words.text
    taxes = tuple(Tax(tax["name"], Decimal(tax["rate"]), tax["included"]) for tax in quote.taxes)
    facts = [(_("Date of issue"), words.day(quote.made_on)), (_("Holds until"), words.day(quote.valid_until))]
    each_month = [_split(line, taxes, quote.currency) for line in quote.lines if not line["once"]]
    sums = [(_("Net"), words.money(sum((part.net for part in each_month), Decimal(0))))]
    for place, tax in enumerate(taxes):
        amount = sum((part.taxes[place] for part in each_month if part.taxes), Decimal(0))
        sums.append((f"{tax.name} {percent(tax.rate)}", words.money(amount)))
    after = [(_("To begin with, once"), words.money(quote.once))] if quote.once else []
    person = {name: getattr(lead, name) for name in ("name", "address", "phone", "email")}
    return Document(
        "quote", words.language, _("Quote"), str(quote.number), party(words, issuer_of(operator, settings)),
        tuple(facts), party(words, person), tuple(_item(words, line) for line in quote.lines), tuple(sums),
        (_("Each month"), words.money(quote.monthly)), tuple(after), quote.note, "",
        quote_url(session, keyring, brand_of(session, operator).base_url(base_url), quote),
        logo_of(session.get(Letterhead, operator.id)),
    )  # fmt: skip


def mail_quote(session: Session, keyring: Keyring, actor: Actor, quote: Quote, base_url: str, address: str) -> str:
    """Have a quote's address sent by e-mail once the caller commits; return to whom. Raises Invalid (`address`)."""
    to = checked_address(EMAIL, address)
    operator, lead = session.get_one(Operator, quote.operator_id), session.get_one(Lead, quote.lead_id)
    document = quote_document(session, keyring, quote, base_url)
    voice = Voice(session, keyring, operator.id)
    said: dict[str, Value] = {
        "title": document.title, "number": document.number, "amount": document.total[1], "url": document.check_url,
        "pay": "", "issuer": " · ".join(document.issuer),
    }  # fmt: skip
    filled = voice.filled(lead.name, document.language, said)
    subject, body = voice.written("document", voice.words("document", EMAIL, document.language), filled)
    deliver(session, keyring, operator.id, [Message("document.quote", EMAIL, to, document.language, subject, body)])
    session.flush()
    record(session, actor, "lead.quote_mail", "lead", lead.id, None, {"number": quote.number, "address": to})
    return to


def _lines(
    session: Session, operator: Operator, plan: RatePlan, installation: Decimal | None, today: date
) -> list[dict[str, Any]]:
    speeds = f"↓ {format_rate(plan.download)} · ↑ {format_rate(plan.upload)}"
    price, note = _plan_price(session, operator, plan, today)
    lines = [_line(plan.name, f"{speeds} · {note}" if note else speeds, price)]
    lines += [
        _line(item.name, "", item.price, once=item.once, exempt=item.tax_exempt)
        for item in items_of_plans(session, [plan])[plan.id]
    ]
    if installation:
        lines.append(_line("", "", installation, once=True))
    return lines


def _line(text: str, note: str, price: Decimal | None, *, once: bool = False, exempt: bool = False) -> dict[str, Any]:
    """Return a line as it is kept; without a text it is the installation, without a price it is in the plan's."""
    return {"text": text, "note": note, "price": None if price is None else str(price), "once": once, "exempt": exempt}


def _plan_price(session: Session, operator: Operator, plan: RatePlan, today: date) -> tuple[Decimal, str]:
    """Return a month's price in the books' currency, and how it came from another one.

    Raises Invalid where that currency has no rate of these days: nobody shall be promised a price of last year.
    """
    if plan.price_currency is not None:
        rate_on(session, operator.id, plan.price_currency, today)
    try:
        price, priced = price_of(session, rules_of(session, operator.id), plan, None, today)
    except BillingOff:
        return rounded(price_in_books(session, plan, today), operator.currency), ""
    return rounded(price, operator.currency), priced.note if priced else ""


def _taxes(session: Session, operator_id: int) -> tuple[Tax, ...]:
    try:
        return rules_of(session, operator_id).taxes
    except BillingOff:
        return ()


def _split(line: Mapping[str, Any], taxes: tuple[Tax, ...], currency: str) -> Taxed:
    return taxed(Decimal(line["price"] or 0), () if line["exempt"] else taxes, currency)


def _total(lines: Sequence[Mapping[str, Any]], taxes: tuple[Tax, ...], currency: str, *, once: bool) -> Decimal:
    return sum((_split(line, taxes, currency).total for line in lines if line["once"] == once), Decimal(0))


def _item(words: Words, line: Mapping[str, Any]) -> Item:
    _ = words.text
    text = line["text"] or _(_INSTALLATION)
    if line["price"] is None:
        return Item(text, line["note"], _("included"))
    how_often = _(_ONCE) if line["once"] else _(_MONTHLY)
    return Item(text, " · ".join(filter(None, (line["note"], how_often))), words.money(line["price"]))


def _problems(terms: QuoteTerms, currency: str) -> list[FieldProblem]:
    problems = []
    if not 1 <= terms.days <= LONGEST_DAYS:
        problems.append(FieldProblem("days", Problem.OUT_OF_RANGE, {"low": "1", "high": str(LONGEST_DAYS)}))
    if len(terms.note) > LONGEST_NOTE or "\0" in terms.note:
        problems.append(FieldProblem("note", Problem.TOO_LONG, {"limit": str(LONGEST_NOTE)}))
    if terms.language not in LANGUAGES:
        problems.append(FieldProblem("language", Problem.UNKNOWN_CHOICE))
    price = terms.installation
    if price is not None and price < 0:
        problems.append(FieldProblem("installation", Problem.AMOUNT_NEGATIVE))
    elif price is not None and price > LARGEST:
        problems.append(FieldProblem("installation", Problem.AMOUNT_TOO_LARGE))
    elif price is not None and price != rounded(price, currency):
        problems.append(FieldProblem("installation", Problem.AMOUNT_TOO_PRECISE))
    return problems
