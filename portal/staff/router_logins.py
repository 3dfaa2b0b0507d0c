"""Router logins: everybody sets their own name and password on routers; managers say which group and which routers."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from crm.problems import FieldProblem, Invalid, Problem
from crm.router_logins import GROUPS, allow_routers, groups_of, remove_router_login, set_groups, set_router_login
from db.models import ROLES, Nas, RouterLogin, Staff
from portal import context, forms
from portal.auth import check_password, limiter
from portal.errors import problem_text, put_on_form
from portal.forms import Form
from portal.forms import password as password_field
from portal.messages import done, refuse
from portal.permissions import Permission, requires, signed_in

blueprint = Blueprint("router_logins", __name__, url_prefix="/router-logins")


class OwnForm(Form):
    present = password_field(_l("Your password for this portal"), required=True)
    name = forms.text(_l("User name on routers"), required=True)
    password = password_field(_l("Password on routers"), required=True)


@blueprint.get("/own")
@signed_in
def own() -> ResponseReturnValue:
    return _own_page(None)


@blueprint.post("/own")
@signed_in
@limiter.limit("30 per minute")
def set_own() -> ResponseReturnValue:
    form = OwnForm()
    session, person = context.db(), context.staff()
    if form.validate():
        try:
            if not check_password(person.password_hash, form.present.data or ""):
                raise Invalid(FieldProblem("present", Problem.WRONG_PASSWORD))
            if check_password(person.password_hash, form.password.data or ""):
                form.password.errors = [_("Take another one than for this portal: routers learn it.")]
                return _own_page(form), 422
            keyring = context.portal().settings.keyring
            set_router_login(session, context.actor(), keyring, person, form.name.data or "", form.password.data or "")
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Your router login is set. Routers know it at once."))
            return redirect(url_for(".own"))
    return _own_page(form), 422


@blueprint.post("/own/remove")
@signed_in
def remove_own() -> ResponseReturnValue:
    session = context.db()
    login = session.get(RouterLogin, context.staff().id)
    if login is not None:
        remove_router_login(session, context.actor(), login)
        session.commit()
        done(_("Your router login is removed."))
    return redirect(url_for(".own"))


@blueprint.get("/")
@requires(Permission.SETTINGS_EDIT)
def index() -> ResponseReturnValue:
    session = context.db()
    people = session.execute(
        select(Staff, RouterLogin).join(RouterLogin, RouterLogin.staff_id == Staff.id).order_by(Staff.name, Staff.id)
    ).all()
    return render_template(
        "staff/router_logins/index.html",
        roles=ROLES,
        groups=GROUPS,
        chosen=groups_of(session, context.operator().id),
        people=people,
        routers=session.execute(select(Nas.id, Nas.name).order_by(Nas.name)).all(),
    )


@blueprint.post("/groups")
@requires(Permission.SETTINGS_EDIT)
def choose_groups() -> ResponseReturnValue:
    session = context.db()
    try:
        set_groups(session, context.actor(), {role: request.form.get(role) for role in ROLES})
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("Saved. Routers follow at once; who is logged in stays so."))
    return redirect(url_for(".index"))


@blueprint.post("/<int:staff_id>/routers")
@requires(Permission.SETTINGS_EDIT)
def choose_routers(staff_id: int) -> ResponseReturnValue:
    """Say which routers let a person in."""
    session = context.db()
    login = session.get(RouterLogin, staff_id) or abort(404)
    every = request.form.get("which") == "all"
    allow_routers(session, context.actor(), login, None if every else request.form.getlist("nas", type=int))
    session.commit()
    done(_("Saved. Routers follow at once; who is logged in stays so."))
    return redirect(url_for(".index"))


def _own_page(form: OwnForm | None) -> str:
    session, person = context.db(), context.staff()
    login = session.get(RouterLogin, person.id)
    groups = groups_of(session, person.operator_id)
    may_have = [group for group in GROUPS if group in {groups.get(role) for role in person.roles}]
    if form is None:
        form = OwnForm(name=login.name if login is not None else person.email.partition("@")[0])
    return render_template("staff/router_logins/own.html", form=form, login=login, group=(may_have or [""])[0])
