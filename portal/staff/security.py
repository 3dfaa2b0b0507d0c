"""Rules for signing in: which roles need a second factor, and who of the staff has one."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from crm.password_rules import SHORTEST
from crm.problems import Invalid
from crm.second_factors import demand_factor, factor_roles
from db.models import ROLES, Authenticator, Passkey, Staff
from portal import context
from portal.auth import limits_of_sessions
from portal.errors import problem_text
from portal.messages import done, refuse
from portal.permissions import Permission, requires

blueprint = Blueprint("security", __name__, url_prefix="/security")


@blueprint.get("/")
@requires(Permission.STAFF_EDIT)
def index() -> ResponseReturnValue:
    session = context.db()
    app = select(Authenticator.staff_id).where(
        Authenticator.staff_id == Staff.id, Authenticator.confirmed_at.is_not(None)
    )
    key = select(Passkey.id).where(Passkey.staff_id == Staff.id)
    people = session.execute(
        select(Staff, app.exists().label("app"), key.exists().label("passkey"))
        .where(Staff.operator_id == context.staff().operator_id, Staff.active)
        .order_by(Staff.name)
        .limit(500)
    ).all()
    return render_template(
        "staff/people/security.html",
        roles=ROLES,
        needed=factor_roles(session, context.staff().operator_id),
        people=people,
        limits=limits_of_sessions(),
        shortest=SHORTEST,
    )


@blueprint.post("/")
@requires(Permission.STAFF_EDIT)
def save() -> ResponseReturnValue:
    session = context.db()
    try:
        demand_factor(session, context.actor(), request.form.getlist("role"))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("Saved. Who needs a second factor and has none sets one up at the next click."))
    return redirect(url_for(".index"))
