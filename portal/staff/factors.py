"""A staff member's second factors: an authenticator app, passkeys, and recovery codes to print.

Each change asks for the password again, so that whoever finds a browser open cannot make it theirs.
"""

from collections.abc import Sequence

import segno
from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import HiddenField

from crm.login_sessions import end_sessions
from crm.problems import FieldProblem, Invalid, Problem
from crm.second_factors import (
    add_passkey,
    app_address,
    begin_app,
    confirm_app,
    factor_roles,
    factors_of,
    new_codes,
    offer_passkey,
    passkeys_of,
    remove_app,
    remove_passkey,
)
from portal import context, forms
from portal.auth import by_person, check_password, limiter, this_session
from portal.errors import put_on_form
from portal.messages import done
from portal.permissions import signed_in
from portal.two_factor import keep_challenge, site, take_challenge

blueprint = Blueprint("factors", __name__, url_prefix="/account/second-factor")


class PasswordForm(forms.Form):
    present = forms.password(_l("Your password"), required=True)


class AppForm(forms.Form):
    code = forms.text(_l("Code that the app shows"), required=True)


class PasskeyForm(forms.Form):
    name = forms.text(_l("What you call it"))
    passkey = HiddenField()


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    return _index(PasswordForm())


@blueprint.post("/app")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def set_up_app() -> ResponseReturnValue:
    """Show the QR code of a new app."""
    form = PasswordForm()
    try:
        _require_password(form)
        secret = begin_app(context.db(), context.keyring(), context.staff())
    except Invalid as invalid:
        return _refused(form, invalid)
    context.db().commit()
    return _app_page(secret, AppForm(formdata=None))


@blueprint.post("/app/confirm")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def confirm() -> ResponseReturnValue:
    form, session, person = AppForm(), context.db(), context.staff()
    try:
        codes = confirm_app(
            session, context.keyring(), context.actor(), person, (form.code.data or "")[:40], context.now()
        )
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        try:
            return _app_page(begin_app(session, context.keyring(), person), form), 422
        except Invalid:
            return redirect(url_for(".index"))
    _end_others()
    session.commit()
    done(_("The app is set up. From now on you are asked for its code when you sign in."))
    return _after(codes)


@blueprint.post("/app/remove")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def remove() -> ResponseReturnValue:
    form = PasswordForm()
    try:
        _require_password(form)
        remove_app(context.db(), context.actor(), context.staff())
    except Invalid as invalid:
        return _refused(form, invalid)
    context.db().commit()
    done(_("The app is removed."))
    return redirect(url_for(".index"))


@blueprint.post("/codes")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def codes() -> ResponseReturnValue:
    """Make new recovery codes; those from before are good no more."""
    form = PasswordForm()
    try:
        _require_password(form)
        made = new_codes(context.db(), context.actor(), context.staff())
    except Invalid as invalid:
        return _refused(form, invalid)
    context.db().commit()
    return _after(made)


@blueprint.post("/passkeys/new")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def new_passkey() -> ResponseReturnValue:
    """Offer the browser to make a passkey."""
    form = PasswordForm()
    try:
        _require_password(form)
    except Invalid as invalid:
        return _refused(form, invalid)
    return _passkey_page(PasskeyForm(formdata=None))


@blueprint.post("/passkeys")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def keep_passkey() -> ResponseReturnValue:
    form, session = PasskeyForm(), context.db()
    challenge = take_challenge()
    try:
        if not challenge:
            raise Invalid(FieldProblem("passkey", Problem.PASSKEY_REFUSED))
        made = add_passkey(
            session,
            context.actor(),
            context.staff(),
            site(),
            challenge,
            form.passkey.data or "",
            form.name.data or _("Passkey"),
        )
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _passkey_page(form), 422
    _end_others()
    session.commit()
    done(_("The passkey is kept. From now on you may sign in with it after your password."))
    return _after(made)


@blueprint.post("/passkeys/<int:passkey_id>/remove")
@signed_in
@limiter.limit("20 per minute", key_func=by_person)
def remove_key(passkey_id: int) -> ResponseReturnValue:
    form = PasswordForm()
    try:
        _require_password(form)
        if not remove_passkey(context.db(), context.actor(), context.staff(), passkey_id):
            abort(404)
    except Invalid as invalid:
        return _refused(form, invalid)
    context.db().commit()
    done(_("The passkey is removed."))
    return redirect(url_for(".index"))


def _require_password(form: PasswordForm) -> None:
    """Raises Invalid."""
    if not check_password(context.staff().password_hash, form.present.data or ""):
        raise Invalid(FieldProblem("present", Problem.WRONG_PASSWORD))


def _end_others() -> None:
    """End the person's other sessions: who is in there came in without the new factor."""
    begun = this_session()
    end_sessions(context.db(), context.staff(), "factor", context.now(), keep=begun.id if begun else None)


def _index(form: PasswordForm) -> str:
    session, person = context.db(), context.staff()
    return render_template(
        "staff/account/factors.html",
        form=form,
        has=factors_of(session, person.id),
        passkeys=passkeys_of(session, person.id),
        needed=bool(factor_roles(session, person.operator_id) & set(person.roles)),
    )


def _refused(form: PasswordForm, invalid: Invalid) -> ResponseReturnValue:
    context.db().rollback()
    put_on_form(form, invalid)
    return _index(form), 422


def _app_page(secret: str, form: AppForm) -> str:
    address = app_address(secret, context.staff(), context.operator().name)
    picture = segno.make(address, error="m").png_data_uri(scale=5)
    shown = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return render_template("staff/account/app.html", form=form, picture=picture, secret=shown)


def _passkey_page(form: PasskeyForm) -> str:
    options, challenge = offer_passkey(context.db(), context.staff(), site(), context.operator().name)
    keep_challenge(challenge)
    return render_template("staff/account/passkey.html", form=form, options=options)


def _after(codes: Sequence[str]) -> ResponseReturnValue:
    """Show codes on this page alone, where there are any: they are in no cookie and no address."""
    if not codes:
        return redirect(url_for(".index"))
    return render_template("staff/account/codes.html", codes=codes)
