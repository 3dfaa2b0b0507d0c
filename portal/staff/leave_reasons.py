"""The list of reasons for leaving, from which staff choose when a service ends."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from crm.leave_reasons import LONGEST, MOST, change_reasons, reasons_of
from crm.problems import Invalid
from portal import context
from portal.errors import problem_text
from portal.messages import done
from portal.permissions import Permission, requires

blueprint = Blueprint("leave_reasons", __name__, url_prefix="/settings/leaving")


@blueprint.get("/")
@requires(Permission.SETTINGS_EDIT)
def reasons() -> ResponseReturnValue:
    return _show("\n".join(reasons_of(context.db(), context.operator().id)))


@blueprint.post("/")
@requires(Permission.SETTINGS_EDIT)
def save() -> ResponseReturnValue:
    typed = request.form.get("reasons", "")
    try:
        change_reasons(context.db(), context.actor(), typed.splitlines())
    except Invalid as invalid:
        context.db().rollback()
        return _show(typed, problem_text(invalid.problems[0])), 422
    context.db().commit()
    done(_("Saved."))
    return redirect(url_for(".reasons"))


def _show(typed: str, problem: str = "") -> str:
    return render_template("staff/leave_reasons/reasons.html", typed=typed, problem=problem, most=MOST, longest=LONGEST)
