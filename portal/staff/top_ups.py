"""Top-ups: data on top of what a rate plan allows; what it costs is said before."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.rules import billing_is_on
from billing.top_ups import top_up, top_up_offer, topped_up
from crm.problems import Invalid, WrongState
from portal import context
from portal.errors import problem_text, wrong_state_text
from portal.formats import local_minute
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.services import find

blueprint = Blueprint("top_ups", __name__, url_prefix="/services/<int:service_id>/top-up")


@blueprint.get("/")
@requires(Permission.SERVICES_EDIT)
def page(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    return render_template(
        "staff/services/top_up.html",
        service=service,
        offer=top_up_offer(service.plan),
        bought=topped_up(service, context.now()),
        billed=billing_is_on(context.db(), service.operator_id),
    )


@blueprint.post("/")
@requires(Permission.SERVICES_EDIT)
def buy(service_id: int) -> ResponseReturnValue:
    service, session = find(service_id), context.db()
    typed = request.form.get("seen", "")
    seen = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else -1
    try:
        until = top_up(session, context.actor(), service, seen, context.now())
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("%(name)s has more data until %(until)s.", name=service.name, until=local_minute(until)))
    return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))
