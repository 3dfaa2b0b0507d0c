"""Boosts: a service made faster for some hours, as its rate plan offers; what it costs is said before."""

from datetime import datetime

from flask import Blueprint, redirect, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.boosts import boost, boosted_until, end_boost, offer_of
from billing.rules import billing_is_on
from core.i18n import N_, translator
from crm.problems import Invalid, WrongState
from db.models import Service
from portal import context
from portal.errors import problem_text, wrong_state_text
from portal.formats import local_minute
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.services import find

blueprint = Blueprint("boosts", __name__, url_prefix="/services/<int:service_id>/boost")

ON_THE_INVOICE = N_("Boost of %(hours)s hours, %(service)s")


@blueprint.get("/")
@requires(Permission.SERVICES_EDIT)
def page(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    return render_template(
        "staff/services/boost.html",
        service=service,
        offer=offer_of(service.plan),
        until=boosted_until(service, context.now()),
        billed=billing_is_on(context.db(), service.operator_id),
    )


@blueprint.post("/")
@requires(Permission.SERVICES_EDIT)
def begin(service_id: int) -> ResponseReturnValue:
    service, session = find(service_id), context.db()
    description = translator(context.operator().locale)(ON_THE_INVOICE) % {
        "hours": service.plan.boost_hours,
        "service": service.name,
    }
    try:
        typed = request.form.get("seen", "")
        seen = datetime.fromisoformat(typed) if typed else None
        until = boost(session, context.actor(), service, description, seen, context.now())
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except ValueError:  # no form of ours sends that
        refuse(_("Nothing was changed. Look at it again before you go on."))
    else:
        session.commit()
        done(_("%(name)s is faster until %(until)s.", name=service.name, until=local_minute(until)))
    return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))


@blueprint.post("/end")
@requires(Permission.SERVICES_EDIT)
def end(service_id: int) -> ResponseReturnValue:
    service, session = find(service_id), context.db()
    try:
        end_boost(session, context.actor(), service, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("The boost of %(name)s has ended.", name=service.name))
    return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))


def boosted(service: Service) -> bool:
    """Tell whether a service is boosted at the time of this request."""
    return boosted_until(service, context.now()) is not None


def install(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals.update(boosted=boosted)


blueprint.record_once(install)
