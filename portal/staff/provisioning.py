"""The queues of a router: what waits for it, where it differs from what is wanted, and both ways to end a difference.

The page shows what the last look found. What it starts is a job, which looks again before it changes anything.
"""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from crm.jobs import start_job
from crm.problems import ChangedMeanwhile, Invalid, WrongState
from db.models import QueueDrift, RouterQueue, RouterSync, Service, Subscriber
from network.provisioning.diff import ADVICE, TAKEABLE, Field
from network.provisioning.jobs import SYNC
from network.provisioning.notation import read_rates
from network.provisioning.take import NotTakeable, take_value
from portal import context
from portal.errors import problem_text, wrong_state_text
from portal.formats import rate
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.router_page import frame_values, router_or_404
from portal.staff.services import find as find_service
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("provisioning", __name__, url_prefix="/routers")

WAITING_SHOWN = 100


def _kinds() -> Sequence[tuple[str, Any]]:
    return choices("queue_field")


def _name(row: Any) -> str:
    return str(row.service or row.QueueDrift.item)


TABLE = Table(
    name="queue-differences",
    columns=(
        Column("service", _l("Service"), _name, Service.name),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber or "", wide=True),
        Column("field", _l("What differs"), lambda row: label("queue_field", row.QueueDrift.field), QueueDrift.field),
        Column("wanted", _l("In Portico"), lambda row: in_words(row.QueueDrift.field, row.QueueDrift.wanted)),
        Column("found", _l("On the router"), lambda row: in_words(row.QueueDrift.field, row.QueueDrift.found)),
        Column("since", _l("Seen"), lambda row: row.QueueDrift.found_at, QueueDrift.found_at, wide=True),
        Column("actions", "", lambda _row: "", wide=True),
    ),
    order="service",
    tie=QueueDrift.field,
    filters=(Filter("field", _l("Any difference"), _kinds, lambda value: QueueDrift.field == value),),
    search=lambda text: (
        Service.name.icontains(text, autoescape=True) | QueueDrift.item.icontains(text, autoescape=True)
    ),
    search_hint=_l("Service, or queue on the router"),
)


def in_words(field: str, value: str) -> str:
    """Return a value of RouterOS as people read it: rates with their unit, an address without its mask."""
    match field:
        case Field.RATE:
            rates = read_rates(value)
            if rates is not None:
                upload, download = (rate(each) if each else _("unlimited") for each in rates)
                return f"↓\N{NO-BREAK SPACE}{download} ↑\N{NO-BREAK SPACE}{upload}"
        case Field.ADDRESS:
            return value.removesuffix("/32")
        case Field.SWITCHED_OFF:
            return str(_("switched off") if value else _("in force"))
    return value


@blueprint.get("/<int:nas_id>/queues")
@requires(Permission.ROUTERS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    found = router_or_404(nas_id)
    session = context.db()
    query = (
        select(QueueDrift, Service.name.label("service"), Subscriber.id.label("subscriber_id"),
               Subscriber.name.label("subscriber"))
        .outerjoin(Service, Service.id == QueueDrift.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(QueueDrift.nas_id == nas_id)
    )  # fmt: skip
    pending = (
        select(RouterQueue, Service.name, Subscriber.id.label("subscriber_id"), Subscriber.name.label("subscriber"))
        .join(Service, Service.id == RouterQueue.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(RouterQueue.nas_id == nas_id, RouterQueue.pending_since.is_not(None))
        .order_by(RouterQueue.pending_since, RouterQueue.service_id)
        .limit(WAITING_SHOWN)
    )
    waiting = select(func.count()).where(RouterQueue.nas_id == nas_id, RouterQueue.pending_since.is_not(None))
    fixable = select(func.count()).where(QueueDrift.nas_id == nas_id, QueueDrift.field.not_in(ADVICE))
    return show(
        session,
        TABLE,
        query,
        "staff/provisioning/router.html",
        **frame_values(found),
        sync=session.get(RouterSync, nas_id),
        pending=session.execute(pending).all(),
        waiting=session.scalar(waiting) or 0,
        fixable=session.scalar(fixable) or 0,
        kept=session.scalar(select(func.count()).where(RouterQueue.nas_id == nas_id)) or 0,
        takeable=TAKEABLE,
        advice=ADVICE,
        in_words=in_words,
    )


@blueprint.post("/<int:nas_id>/queues/sync")
@requires(Permission.ROUTERS_EDIT)
def sync(nas_id: int) -> ResponseReturnValue:
    """Do now what is pending at this router, and look at all of it."""
    return _start(nas_id)


@blueprint.post("/<int:nas_id>/queues/right")
@requires(Permission.ROUTERS_EDIT)
def make_right(nas_id: int) -> ResponseReturnValue:
    """End the differences of one service, or all of them, as Portico wants it."""
    service_id = request.form.get("service", type=int)
    if service_id is None:
        return _start(nas_id, everything=True)
    return _start(nas_id, services=[service_id])


@blueprint.post("/<int:nas_id>/queues/take")
@requires(Permission.SERVICES_EDIT)
def take(nas_id: int) -> ResponseReturnValue:
    """Take what the router has as the service's own."""
    found = router_or_404(nas_id)
    session = context.db()
    service = find_service(request.form.get("service", 0, type=int))
    drift = session.get(QueueDrift, (nas_id, service.id, request.form.get("field", "")))
    back = redirect(url_for("provisioning.router", nas_id=nas_id))
    if drift is None or service.nas_id != nas_id:
        refuse(_("This difference is over."))
        return back
    value = in_words(drift.field, drift.found)
    try:
        take_value(session, context.actor(), service, drift)
    except NotTakeable:
        session.rollback()
        refuse(_("“%(value)s” cannot be taken over: a service needs a speed, and one address.", value=value))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    except ChangedMeanwhile:
        session.rollback()
        refuse(_("Somebody else changed this service just now. Look at it again."))
    else:
        session.commit()
        done(_("%(name)s now has %(value)s, as on %(router)s.", name=service.name, value=value, router=found.nas.name))
    return back


def _start(nas_id: int, **asked: Any) -> ResponseReturnValue:
    found = router_or_404(nas_id)
    if not found.nas.enabled:
        abort(409)
    job = start_job(context.db(), context.actor(), SYNC, {"nas_id": nas_id, **asked}, found.nas.name)
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))
