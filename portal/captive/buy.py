"""Buying a code on the captive page: choose, pay at the provider, read the code, be on line.

The page draws a key for each purchase, so a second click, a second tab of the same page and the way back lead to the
one that was begun. What was bought stands at an address that holds the checkout's reference, so it is found again
however late the payment comes. The login after it begins at the router anew, which gives a fresh challenge.
"""

import re
import secrets
import time
from dataclasses import dataclass
from decimal import Decimal

import structlog
from flask import abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from billing.gateways import ProviderTrouble
from billing.gateways.accounts import TITLES, active_accounts
from billing.gateways.checkouts import settle
from billing.links import LinkFor, link_key, signed
from billing.rules import BillingOff
from billing.voucher_checkouts import Wanted, price_of, sold_code, start_purchase
from core.codes import grouped
from crm.passes import end_guest_pass, let_guest_on, passes_left
from crm.problems import Invalid
from db.audit import Actor
from db.models import Gateway, Service, Voucher, VoucherBatch
from portal import context
from portal.auth import limiter
from portal.captive.frame import blueprint
from portal.captive.login import visit_or_page
from portal.captive.place import db, place
from portal.captive.purchases import PASS_PREFIX, PREFIX, lead_to_pay, purchase_named
from portal.captive.variables import KEPT
from portal.permissions import public

log = structlog.get_logger()
PRICE_KEPT = 60.0
"""Seconds that a price is shown for without asking what the invoice would have; the checkout asks again."""
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]{2,}\Z")
_KEY = re.compile(r"[0-9a-f]{32}\Z")
_prices: dict[tuple[str, int], tuple[float, Decimal | None]] = {}


@dataclass(frozen=True, slots=True)
class Offer:
    batch: VoucherBatch
    price: Decimal


@blueprint.get("/<token>/buy")
@public
@limiter.limit("120 per minute")
def buy() -> ResponseReturnValue:
    return _page()


@blueprint.post("/<token>/buy")
@public
@limiter.limit("60 per minute")
def begin() -> ResponseReturnValue:
    """Begin a checkout, and lead to where it is paid."""
    session, form = db(), request.form
    batch_id = int(form.get("batch", "0")) if form.get("batch", "").isascii() and form.get("batch", "").isdigit() else 0
    email, key = form.get("email", "").strip(), form.get("key", "")
    if not _KEY.match(key) or len(form.get("batch", "")) > 18:
        abort(400)
    if batch_id not in place().terms.batch_ids:
        return _page(_("Choose what you want to buy."), 422)
    if email and (len(email) > 254 or not _EMAIL.match(email)):
        return _page(_("This is not an e-mail address, such as ana@example.com."), 422)
    gateway = session.scalar(
        select(Gateway).where(
            Gateway.operator_id == place().operator.id, Gateway.kind == form.get("with", ""), Gateway.active
        )
    )
    if gateway is None:
        return _page(_("Choose how you want to pay."), 422)
    kind = gateway.kind
    wanted = Wanted(batch_id, place().nas_id, key, email or None, g.language)
    description = f"{place().operator.name}: {session.get_one(VoucherBatch, batch_id).name}"
    back = f"{context.portal().settings.public_url}{url_for('.bought', reference='x' * 32)}".removesuffix("x" * 32)
    try:
        checkout = start_purchase(session, context.portal().settings, gateway, wanted, description, back, context.now())
    except ProviderTrouble as trouble:
        log.warning("purchase_not_begun", operator_id=place().operator.id, provider=kind, trouble=trouble.trouble)
        session.rollback()
        return _page(_("%(provider)s does not answer. Try again, or pay another way.", provider=TITLES[kind]), 503)
    except (Invalid, BillingOff):
        session.rollback()
        return _page(_("These codes are sold out at the moment, or this was bought already."), 422)
    if checkout.state not in ("new", "open"):
        return redirect(url_for(".bought", reference=checkout.reference))
    if not form.get("pass"):
        return lead_to_pay(checkout)
    visit = visit_or_page()
    if isinstance(visit, tuple):
        return visit
    plan_id = _plan_of(batch_id)
    code = let_guest_on(
        session, _actor(), context.keyring(), visit.mac, place().nas_id, plan_id, checkout.id, context.now()
    )
    if code is None:
        session.rollback()
        return _page(_("This device was on line to pay too often today. Pay without it, or ask us."), 422)
    session.commit()
    return lead_to_pay(checkout, visit.login_url(code, "", checkout.url or "", f"{PASS_PREFIX}{checkout.reference}"))


@blueprint.get("/<token>/bought/<reference>")
@public
@limiter.limit("120 per minute")
def bought(reference: str) -> ResponseReturnValue:
    """Where the provider leads back to, and the mail: the code, and on line with it."""
    session = db()
    checkout = purchase_named(reference) or abort(404)
    settings = context.portal().settings
    if checkout.state in ("new", "open", "refused"):
        try:
            checkout = settle(session, settings, checkout, context.now())
        except (ProviderTrouble, Invalid, BillingOff) as problem:
            session.rollback()
            log.warning("purchase_not_settled", operator_id=place().operator.id, why=type(problem).__name__)
    found = sold_code(session, settings, place().operator.id, reference)
    if found is not None and end_guest_pass(session, _actor(), checkout.id, context.now()):
        session.commit()
    receipt, connect = None, None
    if found is not None and found[0].payment_id is not None:
        key = link_key(session, context.keyring(), place().operator.id)
        text = signed(key, LinkFor.FETCH_RECEIPT, place().operator.id, found[0].payment_id)
        receipt = url_for("pay.document", text=text)
        session.commit()
    host = next(iter(place().hosts), None)
    if found is not None and found[1] and host is not None:
        connect = f"http://{host}/login?var={PREFIX}{reference}"
    return render_template(
        "captive/bought.html",
        state=checkout.state,
        amount=checkout.amount,
        code=grouped(found[1]) if found is not None and found[1] else "",
        sold=found is not None,
        receipt=receipt,
        connect=connect,
        pay=checkout.url if checkout.state == "open" else None,
    )


def _actor() -> Actor:
    return Actor(place().operator.id, "captive page", None, request.remote_addr)


def _plan_of(batch_id: int) -> int:
    """Return the plan of a batch's vouchers, which a pass has as well, at a rate of its own."""
    query = select(Service.plan_id).join(Voucher, Voucher.service_id == Service.id).where(Voucher.batch_id == batch_id)
    return db().scalars(query.limit(1)).one()


def _page(error: str = "", code: int = 200) -> ResponseReturnValue:
    if not place().sells:
        abort(404)
    visit = visit_or_page()
    if isinstance(visit, tuple):
        return visit
    made = render_template(
        "captive/buy.html",
        offers=_offers(),
        error=error,
        kept={name: request.values.get(name, "") for name in KEPT},
        key=request.form.get("key") or secrets.token_hex(16),
        email=request.form.get("email", ""),
        chosen=request.form.get("batch", ""),
        may_pass=passes_left(db(), place().operator.id, context.now(), device=visit.mac) > 0,
        minutes=place().terms.paying_minutes,
        providers=[(one.kind, TITLES[one.kind]) for one in active_accounts(db(), place().operator.id)],
    )
    return made, code


def _offers() -> list[Offer]:
    """Return what is sold here, with its taxes, the cheapest first. What is sold out is left out."""
    operator_id, now, session = place().operator.id, time.monotonic(), db()
    accounts = active_accounts(session, operator_id)
    batch_ids = [
        batch.id
        for batch in session.scalars(select(VoucherBatch).where(VoucherBatch.id.in_(place().terms.batch_ids)))
        if not batch.nas_ids or place().nas_id in batch.nas_ids
    ]
    method_id = accounts[0].method_id if accounts else 0
    priced = {}
    for batch_id in batch_ids:
        key = (str(id(context.portal())), batch_id)
        kept = _prices.get(key)
        if kept is None or kept[0] < now:
            try:
                price = price_of(session, context.portal().settings, operator_id, batch_id, method_id, context.now())
            except Invalid:
                price = None
            kept = _prices[key] = (now + PRICE_KEPT, price)
        priced[batch_id] = kept[1]
    rows = session.scalars(select(VoucherBatch).where(VoucherBatch.id.in_(batch_ids)))
    offers = [Offer(batch, price) for batch in rows if (price := priced[batch.id]) is not None and price > 0]
    return sorted(offers, key=lambda offer: offer.price)
