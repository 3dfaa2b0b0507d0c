"""Another e-mail address or phone: a code goes there, and comes back before it counts (crm.contact_changes)."""

from flask import Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import EmailField, StringField
from wtforms.validators import InputRequired

from crm.contact_changes import (
    KINDS,
    TooMany,
    ask_for_change,
    confirm_change,
    needs_code,
    take_change,
    waiting_change,
)
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from portal import context
from portal.auth import FAILED, limiter
from portal.errors import put_on_form
from portal.forms import Form
from portal.messages import done, refuse
from portal.permissions import for_subscribers
from portal.subscriber import frame
from portal.subscriber.frame import actor, blueprint, db, me, operator


class EmailForm(Form):
    email = EmailField(_l("New e-mail address"), [InputRequired(_l("This is needed."))])


class PhoneForm(Form):
    phone = StringField(_l("New phone number"), [InputRequired(_l("This is needed."))])


class ConfirmForm(Form):
    code = StringField(_l("Code of six digits"), [InputRequired(_l("Enter the code."))])


_FORMS = {"email": EmailForm, "phone": PhoneForm}


def _who() -> str:
    return f"{operator().id}:{me().id}:contact"


def _failed(response: Response) -> bool:
    return response.status_code == FAILED


@blueprint.route("/<slug>/account/change/<kind>", methods=["GET", "POST"])
@for_subscribers
@limiter.limit("6 per minute; 30 per hour", key_func=_who, methods=["POST"])
def ask_contact(kind: str) -> ResponseReturnValue:
    """Enter another address; the code goes there."""
    form = _FORMS[kind]() if kind in KINDS else abort(404)
    coded = needs_code(db(), operator().id, kind)
    if request.method == "POST" and form.validate():
        wanted = form[kind].data or ""
        try:
            if not coded:
                take_change(db(), context.keyring(), actor(), me(), kind, wanted)
                db().commit()
                done(_("Saved."))
                return redirect(url_for(".account"))
            ask_for_change(db(), context.keyring(), me(), kind, wanted, context.now())
            db().commit()
        except Invalid as invalid:
            db().rollback()
            put_on_form(form, invalid)
        except TooMany:
            db().rollback()
            refuse(_("You asked for many codes. Wait an hour, or open a ticket."))
            return redirect(url_for(".account"))
        else:
            return redirect(url_for(".confirm_contact", kind=kind))
    page = render_template("subscriber/contact.html", form=form, kind=kind, coded=coded)
    return page, 422 if form.errors else 200


@blueprint.route("/<slug>/account/confirm/<kind>", methods=["GET", "POST"])
@for_subscribers
@limiter.limit("10 per minute; 40 per hour", key_func=_who, deduct_when=_failed)
def confirm_contact(kind: str) -> ResponseReturnValue:
    """Enter the code that came to the new address."""
    if kind not in KINDS:
        abort(404)
    change = waiting_change(db(), me(), kind, context.now())
    if change is None:
        return redirect(url_for(".ask_contact", kind=kind))
    form, wanted = ConfirmForm(), change.wanted
    if request.method == "POST" and form.validate():
        try:
            right = confirm_change(db(), context.keyring(), actor(), me(), kind, form.code.data or "", context.now())
        except (Invalid, ChangedMeanwhile):
            db().rollback()
            frame.refuse_again()
            return redirect(url_for(".account"))
        db().commit()
        if right:
            done(_("Saved. We reach you at %(address)s from now on.", address=wanted))
            return redirect(url_for(".account"))
        put_on_form(form, Invalid(FieldProblem("code", Problem.WRONG_CODE)))
    page = render_template("subscriber/confirm.html", form=form, kind=kind, wanted=wanted)
    return page, FAILED if form.errors else 200
