"""The box "enabled" on a service's card: on line or not, by hand, without a work order."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.clock import utc_now
from crm.problems import Invalid, WrongState
from crm.workflow import set_enabled
from portal import context
from portal.errors import problem_text, wrong_state_text
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.services import find

blueprint = Blueprint("enabled", __name__)


@blueprint.post("/services/<int:service_id>/enabled")
@requires(Permission.SERVICES_ENABLE)
def switch(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    name, subscriber_id = service.name, service.subscriber_id
    wanted = request.form.get("enabled") == "yes"
    session = context.db()
    try:
        set_enabled(session, context.actor(), service, enabled=wanted, now=utc_now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    else:
        session.commit()
        undo = url_for(".switch", service_id=service_id)
        if wanted:
            done(_("%(name)s is enabled.", name=name), undo=undo, enabled="no")
        else:
            done(_("%(name)s is disabled.", name=name), undo=undo, enabled="yes")
    return redirect(url_for("subscribers.page", subscriber_id=subscriber_id))
