"""A staff member's own account: name, language and password."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from crm.problems import FieldProblem, Invalid, Problem
from crm.staff import change_own_password
from portal import context
from portal.auth import by_person, check_password, hasher, limiter, sign_in_again, this_session
from portal.errors import put_on_form
from portal.forms import Form
from portal.forms import password as password_field
from portal.messages import done
from portal.permissions import signed_in

blueprint = Blueprint("account", __name__, url_prefix="/account")


class PasswordForm(Form):
    present = password_field(_l("Present password"), required=True)
    new = password_field(_l("New password"), required=True)
    again = password_field(_l("New password once more"), required=True)


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    return render_template("staff/account/index.html", form=PasswordForm())


@blueprint.post("/password")
@signed_in
@limiter.limit("10 per minute", key_func=by_person)
def password() -> ResponseReturnValue:
    """Change the password; every other browser of this person is signed out."""
    form = PasswordForm()
    person = context.staff()
    if form.validate():
        try:
            _check(form, person.password_hash)
            typed, present = form.new.data or "", this_session()
            change_own_password(
                context.db(), context.actor(), person, typed, hasher.hash(typed), keep=present.id if present else None
            )
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            sign_in_again(person)
            done(_("Your password is changed. Other browsers are signed out."))
            return redirect(url_for(".index"))
    return render_template("staff/account/index.html", form=form), 422


def _check(form: PasswordForm, stored: str) -> None:
    """Raises Invalid unless the present password is right and the new one was typed twice."""
    if not check_password(stored, form.present.data or ""):
        raise Invalid(FieldProblem("present", Problem.WRONG_PASSWORD))
    if form.new.data != request.form.get("again"):
        raise Invalid(FieldProblem("again", Problem.NOT_THE_SAME))
    if form.new.data == form.present.data:
        raise Invalid(FieldProblem("new", Problem.SAME_PASSWORD))
