"""What was bought on a captive page, found by the reference that only its buyer has."""

import re

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from billing.gateways.accounts import TITLES
from billing.voucher_checkouts import purchase_of, sold_code
from db.models import Checkout, Gateway
from portal import context
from portal.captive.place import db, place

PREFIX, PASS_PREFIX = "buy-", "pay-"
PUBLISHED = 2
"""Seconds after which radiusd surely knows a pass; a phone that comes sooner is led to pay without it."""
_REFERENCE = re.compile(r"[0-9a-f]{32}\Z")


def is_reference(text: str) -> bool:
    return _REFERENCE.match(text) is not None


def code_bought(var: str) -> str | None:
    """Return the code that a login page's `var` stands for: the router hands it back with a fresh challenge."""
    reference = var.removeprefix(PREFIX)
    if not var.startswith(PREFIX) or not is_reference(reference):
        return None
    found = sold_code(db(), context.portal().settings, place().operator.id, reference)
    return found[1] or None if found is not None else None


def purchase_named(reference: str) -> Checkout | None:
    """Return the checkout of a purchase at this place's operator, None where a reference is none."""
    if not is_reference(reference):
        return None
    checkout = db().scalar(
        select(Checkout).where(Checkout.operator_id == place().operator.id, Checkout.reference == reference)
    )
    return checkout if checkout is not None and purchase_of(db(), checkout.id) is not None else None


def lead_to_pay(checkout: Checkout, by: str | None = None) -> ResponseReturnValue:
    """Lead to where a purchase is paid, `by` the router's login where a pass lets the phone on line first."""
    kind = db().get_one(Gateway, checkout.gateway_id).kind
    return render_template(
        "captive/paying.html",
        url=by or checkout.url,
        wait=PUBLISHED if by else 0,
        minutes=place().terms.paying_minutes if by else 0,
        provider=TITLES[kind],
    )


def refused_pass(var: str) -> ResponseReturnValue | None:
    """Return the page that leads on to pay a purchase whose pass the router refused; None where `var` names none."""
    checkout = purchase_named(var.removeprefix(PASS_PREFIX)) if var.startswith(PASS_PREFIX) else None
    return lead_to_pay(checkout) if checkout is not None and checkout.state == "open" else None
