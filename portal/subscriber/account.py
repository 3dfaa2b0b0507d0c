"""The language and the password. Contact data: see `contact`."""

from dataclasses import replace

from flask import Response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import HiddenField, PasswordField

from core.i18n import LANGUAGES
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.subscriber_logins import change_password, login_of
from crm.subscribers import change_subscriber, details_of
from portal import context
from portal.auth import FAILED, check_password, hasher, limiter
from portal.errors import put_on_form
from portal.forms import Form, choice, seen_version
from portal.i18n import A_YEAR, LANGUAGE_COOKIE
from portal.messages import done
from portal.permissions import for_subscribers
from portal.subscriber import frame
from portal.subscriber.frame import actor, blueprint, db, me, operator
from portal.subscriber.push import push_card


class ContactForm(Form):
    language = choice(_l("Language"))
    version = HiddenField()


class OwnPasswordForm(Form):
    current = PasswordField(_l("Present password"))
    password = PasswordField(_l("New password"))
    again = PasswordField(_l("New password, once more"))


def _failed(response: Response) -> bool:
    return response.status_code == FAILED


def _who() -> str:
    return f"{operator().id}:{me().id}"


@blueprint.get("/<slug>/account")
@for_subscribers
def account() -> ResponseReturnValue:
    return _page(_contact_form(), OwnPasswordForm(formdata=None))


def _contact_form() -> ContactForm:
    found = me()
    form = ContactForm(data={"language": found.language or "", "version": str(found.version)})
    form.language.choices = [("", _("As the company writes")), *LANGUAGES.items()]
    return form


def _page(contact: ContactForm, password: OwnPasswordForm) -> str:
    login = login_of(db(), operator().id, me().id) if frame.looked_at_by() is None else None
    has_password = login is not None and login.password_hash is not None
    return render_template(
        "subscriber/account.html", contact=contact, password=password, has_password=has_password, **push_card()
    )


@blueprint.post("/<slug>/account/contact")
@for_subscribers
def change_contact() -> ResponseReturnValue:
    form, bound = _contact_form(), db()
    if form.validate():
        wanted = replace(details_of(me()), language=form.language.data or None)
        try:
            change_subscriber(bound, actor(), me(), wanted, seen_version(form.version))
        except Invalid as invalid:
            bound.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            bound.rollback()
            frame.refuse_again()
            return redirect(url_for(".account"))
        else:
            language = me().language
            bound.commit()
            done(_("Saved."))
            response: Response = redirect(url_for(".account"))  # type: ignore[assignment]
            if language:
                # This browser follows, whatever was chosen in it before.
                response.set_cookie(
                    LANGUAGE_COOKIE, language, max_age=A_YEAR, httponly=True, samesite="Lax", secure=request.is_secure
                )
            return response
    return _page(form, OwnPasswordForm(formdata=None)), 422


@blueprint.post("/<slug>/account/password")
@for_subscribers
@limiter.limit("5 per minute; 20 per hour", key_func=_who, deduct_when=_failed)
def change_own_password() -> ResponseReturnValue:
    """Choose a password, or another one, which signs out every other browser."""
    form, bound = OwnPasswordForm(), db()
    login = login_of(bound, operator().id, me().id)
    chosen = form.password.data or ""
    try:
        if login.password_hash is not None and not check_password(login.password_hash, form.current.data or ""):
            raise Invalid(FieldProblem("current", Problem.WRONG_PASSWORD))
        if chosen != (form.again.data or ""):
            raise Invalid(FieldProblem("again", Problem.NOT_THE_SAME))
        told = frame.told_here()
        change_password(bound, actor(), login, chosen, hasher.hash(chosen), told.id if told is not None else None)
    except Invalid as invalid:
        bound.rollback()
        put_on_form(form, invalid)
        return _page(_contact_form(), form), FAILED
    bound.commit()
    session.pop("csrf_token", None)
    done(_("Your password is changed. Every other browser is signed out."))
    response = frame.sign_in(me(), login)
    response.headers["Location"] = url_for(".account")
    return response


@blueprint.get("/<slug>/terms")
@for_subscribers
def terms() -> ResponseReturnValue:
    return render_template("subscriber/terms.html", today=context.now())
