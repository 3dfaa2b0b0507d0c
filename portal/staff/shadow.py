"""Shadow mode: imported secrets that their routers still decide about, beside what Portico would answer.

The router asks RADIUS only for names that it has no secret of its own for. So before a client is taken over, this page
says what would become of them; after it, the same button brings them back.
"""

from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from aaa.authorize import authorize
from aaa.decision import Decision
from crm.jobs import start_job
from db.models import Nas, Router, Service, ShadowSecret, Subscriber
from network.shadow import GIVE_BACK, LOOK, TAKE_OVER
from portal import context
from portal.i18n import reader_language
from portal.labels import choices, label
from portal.permissions import Permission, requires
from portal.reasons import decision_outcome, reason_sentence
from portal.staff.explain import raw_connection
from portal.tables import Column, Filter, Table, page_of, show
from radius.facts import FactsReader

blueprint = Blueprint("shadow", __name__, url_prefix="/shadow")
STEPS = {"look": LOOK, "take-over": TAKE_OVER, "give-back": GIVE_BACK}


def _states() -> list[tuple[str, Any]]:
    return choices("shadow_state")


TABLE = Table(
    name="shadow",
    columns=(
        Column("secret", _l("Secret"), lambda row: row.ShadowSecret.secret, ShadowSecret.secret),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, Subscriber.name),
        Column("state", _l("Who decides"), lambda row: label("shadow_state", row.ShadowSecret.state)),
        Column("answer", _l("Portico would answer"), lambda row: ""),
        Column("seen", _l("On the router"), lambda row: (row.ShadowSecret.seen or {}).get("address", ""), wide=True),
    ),
    order="secret",
    tie=ShadowSecret.service_id,
    filters=(Filter("state", _l("Whoever decides"), _states, lambda value: ShadowSecret.state == value),),
    search=lambda words: (
        ShadowSecret.secret.icontains(words, autoescape=True) | Subscriber.name.icontains(words, autoescape=True)
    ),
    search_hint=_l("Secret or subscriber"),
)


@blueprint.get("/<int:nas_id>")
@requires(Permission.IMPORTS)
def page(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    session = context.db()
    query = (
        select(ShadowSecret, Service.name.label("service"), Subscriber.id.label("subscriber_id"),
               Subscriber.name.label("subscriber"))
        .join(Service, Service.id == ShadowSecret.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(ShadowSecret.nas_id == nas.id)
    )  # fmt: skip
    shown = [] if "format" in request.args else page_of(session, TABLE, query, request.args).rows
    counts = dict(
        session.execute(
            select(ShadowSecret.state, func.count()).where(ShadowSecret.nas_id == nas.id).group_by(ShadowSecret.state)
        ).all()
    )
    return show(
        session, TABLE, query, "staff/shadow/page.html", nas=nas, counts=counts,
        answers=_answers([row.ShadowSecret.service_id for row in shown]),
        seen_at=session.scalar(select(func.max(ShadowSecret.seen_at)).where(ShadowSecret.nas_id == nas.id)),
        reachable=session.get(Router, nas.id) is not None,
    )  # fmt: skip


@blueprint.post("/<int:nas_id>/<step>")
@requires(Permission.IMPORTS)
def act(nas_id: int, step: str) -> ResponseReturnValue:
    """Look, take over or give back: all of a router's secrets, or those that were ticked."""
    nas = _nas(nas_id)
    kind = STEPS.get(step) or abort(404)
    if context.db().get(Router, nas.id) is None:
        abort(400)
    parameters: dict[str, object] = {"nas_id": nas.id}
    if "all" not in request.form and step != "look":
        parameters["service_ids"] = [int(one) for one in request.form.getlist("service") if one.isdigit()]
    job = start_job(context.db(), context.actor(), kind, parameters, nas.name)
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))


def _answers(service_ids: list[int]) -> dict[int, tuple[str, str]]:
    """Return what RADIUS would answer each service now: an outcome, and its reason where it is no plain accept."""
    facts = FactsReader(raw_connection(context.db()), context.now())
    return {
        stored.service.id: _answer(authorize(stored.service, stored.policy, context.now()))
        for stored in facts.services(service_ids)
    }


def _answer(decision: Decision) -> tuple[str, str]:
    reason = decision.reason
    words = reason_sentence(reason, decision.detail, reader_language()) if reason is not None else ""
    return decision_outcome(decision), words


def _nas(nas_id: int) -> Nas:
    return context.db().get(Nas, nas_id) or abort(404)
