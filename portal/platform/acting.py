"""Acting in an operator's place, with its consent: asked for here, given there, entered here, recorded in both."""

from flask import redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from crm.accounts import ask_consent
from crm.problems import Invalid
from portal import context
from portal.acting import enter_by
from portal.errors import put_on_form
from portal.messages import done, refuse
from portal.permissions import for_platform
from portal.platform.operators import AskForm, find, page_of
from portal.platform.views import blueprint


@blueprint.post("/operators/<int:operator_id>/consents")
@for_platform
def ask(operator_id: int) -> ResponseReturnValue:
    row, session, form = find(operator_id), context.db(), AskForm()
    if form.validate_on_submit():
        try:
            act_for = context.portal().tenancy.acting_for
            reason, hours = form.reason.data or "", form.hours.data or 0
            ask_consent(session, context.actor(), act_for, operator_id, reason, hours, context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The managers of %(name)s see the request on every page.", name=row.name))
            return redirect(url_for(".operator", operator_id=operator_id))
    return page_of(operator_id, ask=form), 422


@blueprint.post("/operators/<int:operator_id>/consents/<int:consent_id>/enter")
@for_platform
def enter(operator_id: int, consent_id: int) -> ResponseReturnValue:
    """Sign in to the operator as the staff member that its consent made; this browser leaves the platform by it."""
    find(operator_id)
    if enter_by(operator_id, consent_id):
        return redirect(url_for("home.index"))
    refuse(_("This consent does not hold, or not any more."))
    return redirect(url_for(".operator", operator_id=operator_id))
