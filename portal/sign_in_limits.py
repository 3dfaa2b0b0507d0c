"""Guessing passwords and codes is slowed, and nobody can use that to keep the owner of an account out.

Failed attempts are counted in three ways. For an account from one place: five in a minute, and fewer an hour and a day,
so the wait grows from a minute to a day. From one address: what an office that mistypes needs. For an account from
everywhere: what a guesser with a thousand addresses may try.

A browser from which the account has signed in before, told by its cookie, is a place of its own and is asked by the
first count alone. So whoever uses up the other two keeps strangers out, and neither the owner at their own computer nor
the owner's neighbours behind the same address. From elsewhere the owner gets in by a link that is sent by e-mail.
"""

from flask import g, request
from flask_limiter.util import get_remote_address
from sqlalchemy import text

from crm.login_sessions import device_of
from portal import context

DEVICE_COOKIE = "portico_device"
FROM_ONE_PLACE = "5 per minute; 10 per 15 minutes; 20 per hour; 50 per day"
FROM_ONE_ADDRESS = "30 per minute; 200 per hour"
FROM_EVERYWHERE = "100 per hour; 500 per day"
CODES_FROM_ONE_PLACE = "5 per minute; 10 per 15 minutes; 30 per day"
CODES_FROM_EVERYWHERE = "20 per hour; 50 per day"


def typed_email() -> str:
    """Return the e-mail address that somebody signs in with."""
    return request.form.get("email", "").strip().lower()[:320]


def device_cookie() -> str:
    return request.cookies.get(device_cookie_name(), "")[:100]


def device_cookie_name() -> str:
    """Return the name of the browser's own cookie; by HTTPS one that no neighbouring host can write."""
    return f"__Host-{DEVICE_COOKIE}" if context.portal().settings.portal_https else DEVICE_COOKIE


def known_device() -> bool:
    """Tell whether the account that somebody signs in to has been signed in to from this browser."""
    if "known_device" not in g:
        g.known_device = _known_device(typed_email(), device_cookie())
    known: bool = g.known_device
    return known


def account_and_place() -> str:
    """Return what attempts on an account from one place are counted under."""
    return f"{typed_email()} {_place(known=known_device())}"


def _place(*, known: bool) -> str:
    return f"device {device_cookie()}" if known else f"address {get_remote_address()}"


def _known_device(email: str, cookie: str) -> bool:
    if not cookie or not email:
        return False
    tenancy = context.portal().tenancy
    with tenancy.session(None) as unbound:
        found = unbound.execute(text("SELECT id, operator_id FROM staff_login(:email)"), {"email": email}).one_or_none()
    if found is None:
        return False
    with tenancy.session(found.operator_id) as session:
        return device_of(session, found.id, cookie) is not None
