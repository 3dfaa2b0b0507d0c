"""Choosing a password by a link: for staff who were invited, or whose password was reset.

The link names the operator, whose rows the request may then see, and a token that nobody can guess. A link that was
used, replaced or has run out says so in the same words as one that never was.
"""

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.problems import FieldProblem, Invalid, Problem
from crm.staff import LinkUnusable, person_of_link, use_staff_link
from db.models import Operator, Staff
from portal import context
from portal.auth import hasher, limiter
from portal.errors import put_on_form
from portal.forms import Form
from portal.forms import password as password_field
from portal.i18n import LANGUAGE_COOKIE
from portal.messages import done
from portal.permissions import public

blueprint = Blueprint("welcome", __name__, url_prefix="/welcome")


class ChooseForm(Form):
    new = password_field(_l("Your new password"), required=True)
    again = password_field(_l("The same once more"), required=True)


@blueprint.get("/<int:operator_id>/<token>")
@public
@limiter.limit("60 per minute")
def page(operator_id: int, token: str) -> ResponseReturnValue:
    session = _session(operator_id)
    try:
        person = person_of_link(session, operator_id, token, context.now())
    except LinkUnusable:
        return _unusable()
    return _form_page(session, person, ChooseForm())


@blueprint.post("/<int:operator_id>/<token>")
@public
@limiter.limit("30 per minute")
def choose(operator_id: int, token: str) -> ResponseReturnValue:
    session, form = _session(operator_id), ChooseForm()
    try:
        person = person_of_link(session, operator_id, token, context.now())
        if not form.validate_on_submit():
            return _form_page(session, person, form), 422
        try:
            typed = form.new.data or ""
            if typed != form.again.data:
                raise Invalid(FieldProblem("again", Problem.NOT_THE_SAME))
            use_staff_link(session, operator_id, token, typed, hasher.hash(typed), request.remote_addr, context.now())
        except Invalid as invalid:
            put_on_form(form, invalid)
            return _form_page(session, person, form), 422
    except LinkUnusable:
        return _unusable()
    session.commit()
    done(_("Your password is set. Sign in with it."))
    return redirect(url_for("auth.sign_in_page"))


def _session(operator_id: int) -> Session:
    """Return a session of the operator that a link names, whoever is signed in in this browser."""
    person = context.signed_in_staff()
    if person is not None and person.operator_id != operator_id:
        context.close_db()
    g.staff = None
    return context.open_for(operator_id)


def _form_page(session: Session, person: Staff, form: ChooseForm) -> str:
    if person.language in LANGUAGES and LANGUAGE_COOKIE not in request.cookies:
        g.language = person.language
    operator = session.get_one(Operator, person.operator_id)
    return render_template("staff/people/welcome.html", operator=operator, person=person, form=form)


def _unusable() -> ResponseReturnValue:
    return render_template("staff/people/unusable.html"), 404
