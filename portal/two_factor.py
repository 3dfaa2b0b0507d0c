"""The second step of signing in: a code of the app, a passkey, or a recovery code.

Between the steps nobody is signed in: the cookie only says whose password was right, for ten minutes. Wrong codes are
counted as wrong passwords are (`portal.sign_in_limits`), for the account and not for the cookie.
"""

from datetime import datetime
from urllib.parse import urlsplit

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import BooleanField, HiddenField, StringField

from crm.login_sessions import TRUSTED_FOR, device_of
from crm.messages import tell_staff
from crm.second_factors import Site, ask_passkey, factors_of, use_app, use_passkey, use_recovery_code
from db.audit import Actor
from db.models import Staff
from portal import context
from portal.auth import FAILED, PENDING, PENDING_LASTS, let_in, limiter
from portal.forms import Form
from portal.permissions import public
from portal.sign_in_limits import CODES_FROM_EVERYWHERE, CODES_FROM_ONE_PLACE, device_cookie

blueprint = Blueprint("two_factor", __name__)
CHALLENGE = "passkey_challenge"


class SecondForm(Form):
    code = StringField(_l("Code"))
    passkey = HiddenField()
    trust = BooleanField(_l("Do not ask again in this browser for 30 days"))


def site() -> Site:
    """Return the portal as the reader's browser knows it."""
    base = context.portal().settings.portal_url or request.host_url.rstrip("/")
    parts = urlsplit(base)
    return Site(parts.hostname or "localhost", f"{parts.scheme}://{parts.netloc}")


def keep_challenge(challenge: bytes) -> None:
    """Keep what the browser is asked to sign, until its answer."""
    session[CHALLENGE] = challenge.hex()


def take_challenge() -> bytes:
    """Return what the browser was asked to sign; an answer to it is taken once."""
    return bytes.fromhex(session.pop(CHALLENGE, ""))


def _pending() -> tuple[Staff, str] | None:
    """Return whose second step it is, and the page that they wanted; None where nobody's password was right lately."""
    kept = session.get(PENDING)
    if kept is None:
        return None
    operator_id, staff_id, version, at, wanted = kept
    if datetime.fromtimestamp(at, tz=context.now().tzinfo) + PENDING_LASTS < context.now():
        return None
    if context.signed_in_staff() is not None:
        return None  # signed in by another tab since
    person = context.open_for(operator_id).get(Staff, staff_id)
    if person is None or not person.active or person.session_version != version:
        return None
    return person, wanted


def _account() -> str:
    kept = session.get(PENDING)
    return f"second {kept[1]}" if kept else f"second nobody {request.remote_addr}"


def _known_device() -> bool:
    kept = session.get(PENDING)
    if not kept or not device_cookie():
        return False
    with context.portal().tenancy.session(kept[0]) as db:
        return device_of(db, kept[1], device_cookie()) is not None


def _account_and_place() -> str:
    return f"{_account()} {device_cookie() if _known_device() else request.remote_addr}"


def _failed(response: object) -> bool:
    return getattr(response, "status_code", 0) == FAILED


@blueprint.get("/sign-in/second")
@public
def page() -> ResponseReturnValue:
    found = _pending()
    if found is None:
        return redirect(url_for("auth.sign_in_page"))
    return _show(found[0], SecondForm())


@blueprint.post("/sign-in/second")
@public
@limiter.limit(CODES_FROM_ONE_PLACE, key_func=_account_and_place, deduct_when=_failed)
@limiter.limit(CODES_FROM_EVERYWHERE, key_func=_account, deduct_when=_failed, exempt_when=_known_device)
def check() -> ResponseReturnValue:
    found = _pending()
    if found is None:
        return redirect(url_for("auth.sign_in_page"))
    person, wanted = found
    form = SecondForm()
    factor = _factor(person, form)
    if factor is None:
        context.open_for(person.operator_id).commit()
        form.form_errors.append(
            _("That did not work. Codes change every thirty seconds and are good once: wait for the next one.")
        )
        form.code.data = ""
        return _show(person, form), FAILED
    let_in(person, factor, trust=bool(form.trust.data))
    return redirect(wanted)


def _factor(person: Staff, form: SecondForm) -> str | None:
    """Return by what the person proved who they are, or None."""
    db, now = context.open_for(person.operator_id), context.now()
    if form.passkey.data:
        challenge = take_challenge()
        good = bool(challenge) and use_passkey(db, person.id, site(), challenge, form.passkey.data, now)
        return "passkey" if good else None
    typed = (form.code.data or "")[:40]
    if use_app(db, context.keyring(), person.id, typed, now):
        return "code"
    actor = Actor(person.operator_id, person.email, person.id, request.remote_addr)
    if use_recovery_code(db, actor, person.id, typed, now):
        values = {"left": factors_of(db, person.id).codes_left}
        tell_staff(db, context.keyring(), person.operator_id, person.email, "sign_in_recovery", values)
        return "recovery"
    return None


def _show(person: Staff, form: SecondForm) -> str:
    db = context.open_for(person.operator_id)
    has, options = factors_of(db, person.id), ""
    if has.passkeys:
        options, challenge = ask_passkey(db, person.id, site())
        keep_challenge(challenge)
    return render_template("auth/second.html", form=form, has=has, options=options, days=TRUSTED_FOR.days)
