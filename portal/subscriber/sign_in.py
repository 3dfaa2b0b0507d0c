"""Signing in: a password of their own, or a code by e-mail; a link to choose a password, the first or a new one.

What is answered does not depend on whether an address is known. Attempts are counted by the browser's address, and by
the operator and the e-mail address, so nobody locks out a village that shares one address of the provider.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from flask import Response, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import EmailField, PasswordField, StringField
from wtforms.validators import InputRequired

from crm.problems import FieldProblem, Invalid, Problem
from crm.subscriber_logins import (
    login_of,
    note_sign_in,
    open_link,
    send_code,
    send_recovery,
    subscribers_of,
    use_code,
    use_link,
)
from db.audit import Actor
from db.models import Subscriber, SubscriberLogin
from portal import context
from portal.auth import FAILED, check_password, hash_of_nothing, hasher, limiter
from portal.errors import put_on_form
from portal.forms import Form
from portal.messages import done
from portal.permissions import for_subscribers, public
from portal.subscriber import frame
from portal.subscriber.frame import blueprint, db, operator

log = structlog.get_logger()

CHOICE_LASTS = timedelta(minutes=10)


class PasswordForm(Form):
    email = EmailField(_l("E-mail address"), [InputRequired(_l("Enter your e-mail address."))])
    password = PasswordField(_l("Password"), [InputRequired(_l("Enter your password."))])


class AddressForm(Form):
    email = EmailField(_l("E-mail address"), [InputRequired(_l("Enter your e-mail address."))])


class CodeForm(Form):
    code = StringField(_l("Code of six digits"), [InputRequired(_l("Enter the code."))])


class NewPasswordForm(Form):
    password = PasswordField(_l("New password"), [InputRequired(_l("This is needed."))])
    again = PasswordField(_l("New password, once more"), [InputRequired(_l("This is needed."))])

    def validate(self, extra_validators: object = None) -> bool:
        if not super().validate(extra_validators):
            return False
        if self.password.data != self.again.data:
            put_on_form(self, Invalid(FieldProblem("again", Problem.NOT_THE_SAME)))
            return False
        return True


def _email() -> str:
    return request.form.get("email", "").strip().lower()[:320]


def _who_tries() -> str:
    return f"{g.slug}:{_email()}"


def _who_was_asked() -> str:
    return f"{g.slug}:{session.get('my_email', '')}"


def _failed(response: Response) -> bool:
    return response.status_code == FAILED


@blueprint.get("/")
@public
def root() -> ResponseReturnValue:
    """The first page of an operator's own host name."""
    return redirect(url_for(".home"))


@blueprint.get("/<slug>/sign-in")
@public
def sign_in_page() -> ResponseReturnValue:
    if g.subscriber is not None:
        return redirect(url_for(".home"))
    return render_template("subscriber/sign_in.html", form=AddressForm(), problem="")


@blueprint.route("/<slug>/sign-in/password", methods=["GET", "POST"])
@public
@limiter.limit("30 per minute; 200 per hour", deduct_when=_failed)
@limiter.limit("5 per minute; 30 per hour", key_func=_who_tries, deduct_when=_failed)
def with_password() -> ResponseReturnValue:
    form = PasswordForm()
    if request.method == "GET":
        return render_template("subscriber/password.html", form=form)
    if form.validate():
        found = _with_password(_email(), form.password.data or "")
        if found:
            return _let_in(found, "password")
        log.info("subscriber_sign_in_failed", operator_id=operator().id, address=request.remote_addr)
        form.form_errors.append(_("This e-mail address and password do not belong together. Check both."))
    return render_template("subscriber/password.html", form=form), FAILED


def _with_password(email: str, password: str) -> list[Subscriber]:
    """Return the subscribers with this address whose password it is. An unknown address takes as long."""
    logins = [(one, db().get(SubscriberLogin, one.id)) for one in subscribers_of(db(), email)]
    hashes = [(one, login.password_hash) for one, login in logins if login is not None and login.password_hash]
    if not hashes:
        check_password(hash_of_nothing(), password)
    return [one for one, stored in hashes if check_password(stored, password)]


@blueprint.post("/<slug>/sign-in/code")
@public
@limiter.limit("20 per minute; 100 per hour")
@limiter.limit("3 per minute; 10 per hour", key_func=_who_tries)
def ask_code() -> ResponseReturnValue:
    form = AddressForm()
    if not form.validate() or "@" not in _email():
        return render_template("subscriber/sign_in.html", form=form, problem=_("Enter your e-mail address.")), 422
    send_code(db(), context.keyring(), operator(), _email(), context.now())
    db().commit()
    session["my_email"] = _email()
    return redirect(url_for(".enter_code"))


@blueprint.route("/<slug>/sign-in/enter", methods=["GET", "POST"])
@public
@limiter.limit("30 per minute; 200 per hour", deduct_when=_failed)
@limiter.limit("10 per minute; 40 per hour", key_func=_who_was_asked, deduct_when=_failed)
def enter_code() -> ResponseReturnValue:
    email = session.get("my_email")
    if not isinstance(email, str):
        return redirect(url_for(".sign_in_page"))
    form = CodeForm()
    if request.method == "GET":
        return render_template("subscriber/code.html", form=form, email=email)
    if form.validate():
        found = use_code(db(), context.keyring(), operator().id, email, form.code.data or "", context.now())
        db().commit()
        if found:
            return _let_in(found, "code")
        log.info("subscriber_code_refused", operator_id=operator().id, address=request.remote_addr)
        put_on_form(form, Invalid(FieldProblem("code", Problem.WRONG_CODE)))
    return render_template("subscriber/code.html", form=form, email=email), FAILED


def _let_in(found: Sequence[Subscriber], way: str) -> ResponseReturnValue:
    """Sign one in; of several, who share an address, the person chooses."""
    if len(found) == 1:
        return _signed_in_as(found[0], way)
    session["my_choice"] = {
        "operator": operator().id,
        "ids": [one.id for one in found],
        "way": way,
        "until": (context.now() + CHOICE_LASTS).isoformat(),
    }
    return redirect(url_for(".choose"))


@blueprint.route("/<slug>/sign-in/choose", methods=["GET", "POST"])
@public
def choose() -> ResponseReturnValue:
    choice = session.get("my_choice")
    if (
        not isinstance(choice, dict)
        or choice["operator"] != operator().id
        or datetime.fromisoformat(choice["until"]) < context.now()
    ):
        return redirect(url_for(".sign_in_page"))
    people = [one for one in (db().get(Subscriber, number) for number in choice["ids"]) if one is not None]
    if request.method == "POST":
        wanted = request.form.get("subscriber", "")
        chosen = next((one for one in people if str(one.id) == wanted), None)
        if chosen is not None:
            return _signed_in_as(chosen, choice["way"])
    return render_template("subscriber/choose.html", people=people)


def _signed_in_as(subscriber: Subscriber, way: str) -> ResponseReturnValue:
    login = login_of(db(), operator().id, subscriber.id)
    actor = Actor(operator().id, f"{subscriber.name} (subscriber)", None, request.remote_addr)
    note_sign_in(db(), actor, login, way, context.now())
    db().commit()
    return frame.sign_in(subscriber, login)


@blueprint.route("/<slug>/recover", methods=["GET", "POST"])
@public
@limiter.limit("20 per minute; 60 per hour", methods=["POST"])
@limiter.limit("3 per minute; 10 per hour", key_func=_who_tries, methods=["POST"])
def recover() -> ResponseReturnValue:
    form = AddressForm()
    if request.method == "POST" and form.validate():
        send_recovery(
            db(), context.keyring(), operator(), _email(), context.portal().settings.public_url, context.now()
        )
        db().commit()
        done(_("If this address is known here, a link is on its way to it. Look into your mail."))
        return redirect(url_for(".sign_in_page"))
    return render_template("subscriber/recover.html", form=form)


@blueprint.route("/<slug>/link/<token>", methods=["GET", "POST"])
@public
@limiter.limit("30 per minute; 200 per hour")
def link(token: str) -> ResponseReturnValue:
    """Choose a password by a link. Opening it changes nothing; the form does."""
    opened = open_link(db(), operator().id, token, context.now())
    if opened is None:
        return render_template("subscriber/link_spent.html"), 410
    form = NewPasswordForm()
    subscriber = db().get_one(Subscriber, opened.subscriber_id)
    if request.method == "POST" and form.validate():
        actor = Actor(operator().id, f"{subscriber.name} (subscriber)", None, request.remote_addr)
        chosen = form.password.data or ""
        try:
            told = frame.told_here()
            told_in = told.id if told is not None else None
            login = use_link(db(), actor, token, chosen, hasher.hash(chosen), context.now(), told_in)
        except Invalid as invalid:
            db().rollback()
            put_on_form(form, invalid)
        else:
            note_sign_in(db(), actor, login, "link", context.now())
            db().commit()
            return frame.sign_in(subscriber, login)
    return render_template("subscriber/new_password.html", form=form, email=subscriber.email)


@blueprint.post("/<slug>/sign-out")
@for_subscribers
def sign_out() -> ResponseReturnValue:
    response: Response = redirect(url_for(".sign_in_page"))  # type: ignore[assignment]
    return frame.forget(response)
