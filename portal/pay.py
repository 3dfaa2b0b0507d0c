"""Pages that people open by a signed link, without an account: pay, check a document, fetch it. And the webhooks.

A link names its operator, so the request's session is bound to that operator before anything is looked up, and the
signature is checked before anything is shown. Whoever checks a document learns its number, day and amount and whether
it is in force, which is what they hold in their hands, and no more.
"""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import structlog
from babel.dates import format_date, format_time
from flask import Blueprint, Flask, Response, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.exceptions import NotFound

from aaa.decision import Reason
from billing.cut_offs import kept_cut_off
from billing.documents import (
    CHECKED_BY,
    FETCHED_BY,
    TITLES,
    NoDocument,
    file_name,
    pdf_of,
    render_document,
    standing_of,
)
from billing.gateways import BadSignature, ProviderTrouble
from billing.gateways.accounts import TITLES as PROVIDERS
from billing.gateways.accounts import active_accounts
from billing.gateways.checkouts import Due, due_of_invoice, due_of_subscriber, hear, settle, start_checkout
from billing.invoices import document_number
from billing.ledger import balance_of
from billing.links import Link, LinkFor, is_genuine, link_key, read_link, signed
from billing.payments import typed_amount
from billing.pdf import A4, PAPERS, NotRendered
from billing.quotes import quote_document
from billing.rules import BillingOff, billing_is_on
from core.i18n import LANGUAGES
from core.money import format_money, money_locale, rounded
from crm.brands import brand_of
from crm.captive import captive_terms
from crm.currencies import foreign_currencies
from crm.passes import let_line_on, passes_left
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import Checkout, Gateway, Invoice, Operator, Payment, Quote, Service, Subscriber
from portal import context
from portal.auth import limiter
from portal.captive.reasons import client_of
from portal.errors import problem_text
from portal.i18n import LANGUAGE_COOKIE, reader_language
from portal.permissions import public

log = structlog.get_logger()
blueprint = Blueprint("pay", __name__)
LARGEST_WEBHOOK = 256 * 1024
MOST_PERIODS = 36
"""What may be paid into a wallet at once, in periods of the subscriber's services."""
_PAYING = (LinkFor.PAY_INVOICE, LinkFor.PAY_BALANCE)


def _link_text() -> str:
    """What attempts are counted by: a whole village may come from one address, and links cannot be guessed."""
    return str((request.view_args or {}).get("text", ""))


@blueprint.get("/pay/<text>")
@public
@limiter.limit("60 per minute", key_func=_link_text)
def page(text: str) -> ResponseReturnValue:
    link, session, operator = _opened(text, _PAYING)
    return _pay_page(session, operator, link, text)


@blueprint.post("/pay/<text>/with/<kind>")
@public
@limiter.limit("20 per minute", key_func=_link_text)
def begin(text: str, kind: str) -> ResponseReturnValue:
    """Begin a checkout, and lead to where it is paid."""
    link, session, operator = _opened(text, _PAYING)
    gateway = session.scalar(
        select(Gateway).where(Gateway.operator_id == operator.id, Gateway.kind == kind, Gateway.active)
    )
    if gateway is None:
        abort(404)
    back = f"{_here(session, operator)}{url_for('.back', text=text, reference='')}"
    try:
        due = _chosen(operator, _due(session, link))
    except Invalid as invalid:
        return _pay_page(session, operator, link, text, wrong=invalid), 422
    try:
        description = f"{operator.name}: {_what(session, link, due)}"
        due_subscriber = due.subscriber_id
        checkout = start_checkout(session, context.portal().settings, gateway, due, description, back, context.now())
    except ProviderTrouble as trouble:
        log.warning("checkout_not_begun", operator_id=operator.id, provider=kind, trouble=trouble.trouble)
        session.rollback()
        return _pay_page(session, operator, link, text, trouble=PROVIDERS[kind]), 503
    except (Invalid, BillingOff):
        session.rollback()
        return redirect(url_for(".page", text=text))
    line = _line_of(operator, due_subscriber) if request.form.get("pass") else None
    if line is not None:
        actor = Actor(operator.id, "payment page", None, request.remote_addr)
        if let_line_on(session, actor, line, checkout.id, context.now()):
            session.commit()
    # A page and not a redirect: the policy of our pages lets forms lead to us alone.
    return render_template("pay/leaving.html", operator=operator, url=checkout.url, provider=PROVIDERS[kind])


@blueprint.get("/pay/<text>/back/", defaults={"reference": ""})
@blueprint.get("/pay/<text>/back/<reference>")
@public
@limiter.limit("60 per minute", key_func=_link_text)
def back(text: str, reference: str) -> ResponseReturnValue:
    """Where the provider leads the browser back to: look whether it is paid, in case its webhook is still under way."""
    link, session, operator = _opened(text, _PAYING)
    due = _due(session, link)
    _speak_to(session.get_one(Subscriber, due.subscriber_id))
    checkout = session.scalar(
        select(Checkout).where(
            Checkout.operator_id == operator.id,
            Checkout.reference == reference,
            Checkout.subscriber_id == due.subscriber_id,
        )
    )
    if checkout is None:
        return redirect(url_for(".page", text=text))
    try:
        checkout = settle(session, context.portal().settings, checkout, context.now())
    except (ProviderTrouble, Invalid, BillingOff) as problem:
        session.rollback()
        log.warning("checkout_not_settled", checkout_id=checkout.id, why=type(problem).__name__)
    payment = session.get(Payment, checkout.payment_id) if checkout.payment_id is not None else None
    receipt_url = None
    services, rest, rest_url = [], Decimal(0), ""
    if payment is not None:
        receipt_url = _link_url(session, "pay.document", FETCHED_BY["receipt"], operator.id, payment.id)
        services = [
            (each["name"], _minute(cut_at, operator))
            for each in payment.effects.get("services", ())
            if (cut_at := kept_cut_off(each, context.now())) is not None
        ]
        rest = balance_of(session, due.subscriber_id)
        rest_url = _link_url(session, "pay.page", LinkFor.PAY_BALANCE, operator.id, due.subscriber_id)
        session.commit()
    return render_template(
        "pay/back.html",
        operator=operator,
        checkout=checkout,
        amount=_money(checkout.amount, checkout.currency),
        receipt=document_number(payment.prefix, payment.number) if payment else None,
        receipt_url=receipt_url,
        services=services,
        rest=_money(rest, operator.currency) if rest > 0 else "",
        rest_url=rest_url,
        text=text,
    )


@blueprint.get("/check/<text>")
@public
@limiter.limit("60 per minute", key_func=_link_text)
def check(text: str) -> ResponseReturnValue:
    """Say whether a document that somebody holds is genuine and in force."""
    kinds = {purpose: kind for kind, purpose in CHECKED_BY.items()}
    try:
        link, session, operator = _opened(text, tuple(kinds))
        standing = standing_of(session, operator.id, kinds[link.purpose], link.subject_id)
    except (NotFound, NoDocument):
        return render_template("pay/not_genuine.html"), 404
    return render_template(
        "pay/check.html",
        operator=operator,
        standing=standing,
        title=_(TITLES[standing.kind]),
        day=_day(standing.day),
        amount=_money(standing.amount, standing.currency),
    )


@blueprint.get("/documents/<text>.pdf")
@public
@limiter.limit("20 per minute", key_func=_link_text)
def document(text: str) -> ResponseReturnValue:
    """The PDF of a document that was sent by e-mail."""
    kinds = {purpose: kind for kind, purpose in FETCHED_BY.items()}
    link, session, operator = _opened(text, tuple(kinds))
    paper = request.args.get("paper", A4.name)
    try:
        made, content = pdf_of(
            session,
            context.keyring(),
            operator.id,
            kinds[link.purpose],
            link.subject_id,
            context.portal().settings.public_url,
            paper=paper if paper in PAPERS else A4.name,
            language=request.args.get("language"),
        )
    except NoDocument:
        abort(404)
    except NotRendered:
        log.exception("not_rendered", operator_id=operator.id)
        abort(503)
    session.commit()
    return pdf_response(content, file_name(made), download="download" in request.args)


@blueprint.get("/quotes/<text>.pdf")
@public
@limiter.limit("20 per minute", key_func=_link_text)
def quote(text: str) -> ResponseReturnValue:
    """The PDF of a quote, for who was given its link; also after it ended, which it says itself."""
    link, session, operator = _opened(text, (LinkFor.FETCH_QUOTE,))
    found = session.get(Quote, link.subject_id)
    if found is None or found.operator_id != operator.id:
        abort(404)
    made = quote_document(session, context.keyring(), found, context.portal().settings.public_url)
    try:
        content = render_document(made, A4)
    except NotRendered:
        log.exception("not_rendered", operator_id=operator.id)
        abort(503)
    return pdf_response(content, file_name(made), download="download" in request.args)


def pdf_response(content: bytes, name: str, *, download: bool) -> Response:
    """Return a PDF to be shown by the browser, or kept as a file."""
    response = Response(content, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'{"attachment" if download else "inline"}; filename="{name}"'
    return response


@blueprint.post("/webhooks/<kind>/<int:operator_id>")
@public
def webhook(kind: str, operator_id: int) -> ResponseReturnValue:
    """What a provider tells. 4xx: not from it. 5xx: it shall tell it again."""
    if kind not in PROVIDERS or (request.content_length or 0) > LARGEST_WEBHOOK:
        abort(404)
    session = context.open_for(operator_id)
    gateway = session.scalar(select(Gateway).where(Gateway.operator_id == operator_id, Gateway.kind == kind))
    if gateway is None:
        abort(404)
    settings, query = context.portal().settings, request.args.to_dict()
    try:
        outcome = hear(session, settings, gateway, dict(request.headers), query, request.get_data(), context.now())
    except BadSignature:
        log.warning("webhook_not_signed", operator_id=operator_id, provider=kind, address=request.remote_addr)
        return {"error": "signature"}, 400
    except (ProviderTrouble, Invalid, BillingOff) as problem:
        session.rollback()
        log.warning("webhook_not_settled", operator_id=operator_id, provider=kind, why=type(problem).__name__)
        return {"error": "try again"}, 503
    return {"outcome": outcome}


# Below here: what the pages are made of.


def _opened(text: str, purposes: tuple[LinkFor, ...]) -> tuple[Link, Session, Operator]:
    """Return a link that is genuine, with a session of its operator; 404 for any other."""
    link = read_link(text)
    if link is None or link.purpose not in purposes:
        abort(404)
    if g.host_of not in (None, link.operator_id):
        abort(404)  # another operator's own host name
    person = context.signed_in_staff()
    if person is not None and person.operator_id != link.operator_id:
        # The request's session acts for the operator of who is signed in; this page is another's.
        context.close_db()
        g.staff = None
    session = context.open_for(link.operator_id)
    if not is_genuine(session, context.keyring(), link):
        abort(404)
    operator = session.get(Operator, link.operator_id)
    if operator is None:
        abort(404)
    return link, session, operator


def _here(session: Session, operator: Operator) -> str:
    """Return what the browser's way back begins with: the operator's own host name where that is how it came."""
    public_url = context.portal().settings.public_url
    return brand_of(session, operator).base_url(public_url) if g.host_of == operator.id else public_url


def _due(session: Session, link: Link) -> Due:
    if link.purpose is LinkFor.PAY_INVOICE:
        due = due_of_invoice(session, link.operator_id, link.subject_id)
    else:
        due = due_of_subscriber(session, link.operator_id, link.subject_id, context.now())
    if due is None:
        abort(404)
    return due


def _chosen(operator: Operator, due: Due) -> Due:
    """Return what is to be paid: into a wallet, as much as was typed. Raises Invalid."""
    typed = request.form.get("amount", "")
    if not due.ahead or not typed:
        return due
    amount = typed_amount(typed, operator.currency, operator.locale)
    most = due.amount * MOST_PERIODS
    if amount > most:
        raise Invalid(FieldProblem("amount", Problem.LIMIT_REACHED, {"limit": _money(most, operator.currency)}))
    return replace(due, amount=amount)


def _what(session: Session, link: Link, due: Due) -> str:
    if due.ahead:
        return str(_("into the wallet"))
    if link.purpose is LinkFor.PAY_BALANCE:
        return str(_("all that is open"))
    invoice = session.get_one(Invoice, link.subject_id)
    return str(_("invoice %(number)s", number=document_number(invoice.prefix, invoice.number)))


def _line_of(operator: Operator, subscriber_id: int) -> Service | None:
    """Return the overdue line of a subscriber that this request comes by, None where it comes by another way."""
    client = client_of(request.remote_addr)
    if client is None or client.operator.id != operator.id or client.service is None:
        return None
    overdue = client.reason in (Reason.OVERDUE, Reason.SUSPENDED_OVERDUE)
    return client.service if overdue and client.service.subscriber_id == subscriber_id else None


def _speak_to(subscriber: Subscriber) -> None:
    """Show the page in the subscriber's language, unless this browser chose one."""
    if subscriber.language in LANGUAGES and LANGUAGE_COOKIE not in request.cookies:
        g.language = subscriber.language


def _pay_page(
    session: Session, operator: Operator, link: Link, text: str, trouble: str = "", wrong: Invalid | None = None
) -> str:
    due = _due(session, link)
    subscriber = session.get_one(Subscriber, due.subscriber_id)
    _speak_to(subscriber)
    invoices = session.scalars(
        select(Invoice)
        .where(Invoice.subscriber_id == subscriber.id, Invoice.open > 0)
        .order_by(Invoice.due_on, Invoice.id)
        .limit(50)
    ).all()
    altogether = ""
    if link.purpose is LinkFor.PAY_INVOICE:
        if invoices and invoices[0].id != link.subject_id:  # older ones are paid first, so one alone brings nobody back
            altogether = _money(sum((each.open for each in invoices), Decimal(0)), operator.currency)
        invoices = [invoice for invoice in invoices if invoice.id == link.subject_id]
    shown = [
        (document_number(one.prefix, one.number), _day(one.due_on), _money(one.open, one.currency)) for one in invoices
    ]
    line = _line_of(operator, subscriber.id)
    may_pass = line is not None and passes_left(session, operator.id, context.now(), service_id=line.id) > 0
    accounts = active_accounts(session, operator.id) if billing_is_on(session, operator.id) else []
    return render_template(
        "pay/page.html",
        operator=operator,
        subscriber=subscriber,
        invoices=shown,
        ahead=due.ahead,
        typed=request.form.get("amount") or f"{rounded(due.amount, operator.currency):f}",
        problem=" ".join(problem_text(each) for each in wrong.problems) if wrong is not None else "",
        amount=_money(due.amount, operator.currency),
        open=due.amount > 0,
        altogether=altogether,
        altogether_url=_link_url(session, "pay.page", LinkFor.PAY_BALANCE, operator.id, subscriber.id),
        providers=[(account.kind, PROVIDERS[account.kind]) for account in accounts],
        trouble=trouble,
        text=text,
        minutes=captive_terms(session, operator.id).paying_minutes if may_pass else 0,
        other_currencies=bool(foreign_currencies(session, operator.id)),
    )


def _link_url(session: Session, endpoint: str, purpose: LinkFor, operator_id: int, subject_id: int) -> str:
    key = link_key(session, context.keyring(), operator_id)
    return url_for(endpoint, text=signed(key, purpose, operator_id, subject_id))


def _money(amount: Decimal, currency: str) -> str:
    return format_money(amount, currency, money_locale(reader_language(), currency))


def _day(day: date | str | None) -> str:
    if day is None:
        return ""
    found = date.fromisoformat(day) if isinstance(day, str) else day
    return str(format_date(found, "medium", locale=reader_language()))


def _minute(instant: datetime, operator: Operator) -> str:
    """Return a day and its hour where the operator is."""
    there = instant.astimezone(ZoneInfo(operator.timezone))
    return f"{_day(there.date())}, {format_time(there.time(), 'short', locale=reader_language())}"


def install(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.extensions["csrf"].exempt(webhook)
