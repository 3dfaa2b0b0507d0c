"""Shadow mode: imported secrets that their routers still decide about, beside what Portico would answer.

The router asks RADIUS only for names that it has no secret of its own for. So before a client is taken over, this page
says what would become of them; after it, the same button brings them back. The log has what both would have said over
time, those who would notice first.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, case, func, select

from aaa.authorize import authorize
from aaa.decision import Decision, Reason
from crm.jobs import start_job
from db.models import Nas, Router, Service, ShadowEvent, ShadowSecret, Subscriber
from network.shadow import GIVE_BACK, LOOK, TAKE_OVER
from portal import context
from portal.formats import rate
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


def _differences() -> list[tuple[str, Any]]:
    return [("any", _l("Would differ")), *((key, text) for key, text in choices("shadow_differs") if key)]


def _differs(column: Any) -> Callable[[str], ColumnElement[bool]]:
    return lambda value: column != "" if value == "any" else column == value


def _most_first(column: Any) -> Any:
    """Return what sorts those first who would notice most."""
    return case({"outcome": 0, "rate": 1}, value=column, else_=2)


TABLE = Table(
    name="shadow",
    title=_l("Shadow mode"),
    columns=(
        Column("secret", _l("Secret"), lambda row: row.ShadowSecret.secret, ShadowSecret.secret),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, Subscriber.name, wide=True),
        Column("state", _l("Who decides"), lambda row: label("shadow_state", row.ShadowSecret.state), wide=True),
        Column("answer", _l("Portico would answer"), lambda row: (row.ShadowSecret.compared or {}).get("outcome", "")),
        Column(
            "differs",
            _l("Compared with the router"),
            lambda row: label("shadow_differs", row.ShadowSecret.differs),
            _most_first(ShadowSecret.differs),
        ),
        Column("seen", _l("On the router"), lambda row: (row.ShadowSecret.seen or {}).get("address", ""), wide=True),
    ),
    order="secret",
    tie=ShadowSecret.service_id,
    filters=(
        Filter("state", _l("Whoever decides"), _states, lambda value: ShadowSecret.state == value),
        Filter("differs", _l("The same or not"), _differences, _differs(ShadowSecret.differs)),
    ),
    search=lambda words: (
        ShadowSecret.secret.icontains(words, autoescape=True) | Subscriber.name.icontains(words, autoescape=True)
    ),
    search_hint=_l("Secret or subscriber"),
)

LOG = Table(
    name="shadow-log",
    columns=(
        Column("differs", _l("Compared"), lambda row: label("shadow_differs", row.ShadowEvent.differs),
               _most_first(ShadowEvent.differs)),
        Column("at", _l("When"), lambda row: row.ShadowEvent.at, ShadowEvent.at),
        Column("kind", _l("What"), lambda row: label("shadow_kind", row.ShadowEvent.kind)),
        Column("secret", _l("Secret"), lambda row: row.ShadowEvent.secret, ShadowEvent.secret),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, exported_only=True),
        Column("there", _l("The router"), lambda row: label("shadow_there", row.ShadowEvent.there)),
        Column("there_rate", _l("Speed at the router"),
               lambda row: speed(row.ShadowEvent.there_download, row.ShadowEvent.there_upload), exported_only=True),
        Column("outcome", _l("Portico would answer"), lambda row: label("outcome", row.ShadowEvent.outcome)),
        Column("rate", _l("Speed by Portico"),
               lambda row: speed(row.ShadowEvent.download, row.ShadowEvent.upload), exported_only=True),
        Column("mac", _l("Device"), lambda row: row.ShadowEvent.mac, wide=True),
    ),
    order="differs",
    tie=-ShadowEvent.id,
    filters=(
        Filter("differs", _l("The same or not"), _differences, _differs(ShadowEvent.differs)),
        Filter("kind", _l("Logins and changes"), lambda: choices("shadow_kind"),
               lambda value: ShadowEvent.kind == value),
    ),
    search=lambda words: (
        ShadowEvent.secret.icontains(words, autoescape=True) | Subscriber.name.icontains(words, autoescape=True)
    ),
    search_hint=_l("Secret or subscriber"),
)  # fmt: skip


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
    differing = session.scalar(
        select(func.count()).where(ShadowSecret.nas_id == nas.id, ShadowSecret.state == "local",
                                   ShadowSecret.differs != "")
    )  # fmt: skip
    return show(
        session, TABLE, query, "staff/shadow/page.html", nas=nas, counts=counts, differing=differing, speed=speed,
        answers=_answers([row.ShadowSecret.service_id for row in shown]),
        seen_at=session.scalar(select(func.max(ShadowSecret.seen_at)).where(ShadowSecret.nas_id == nas.id)),
        reachable=session.get(Router, nas.id) is not None,
    )  # fmt: skip


@blueprint.get("/<int:nas_id>/log")
@requires(Permission.IMPORTS)
def log(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    query = (
        select(ShadowEvent, Subscriber.id.label("subscriber_id"), Subscriber.name.label("subscriber"))
        .join(Service, Service.id == ShadowEvent.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(ShadowEvent.nas_id == nas.id)
    )
    return show(context.db(), LOG, query, "staff/shadow/log.html", nas=nas, speed=speed, event_reason=_event_reason)


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


def speed(download: int | None, upload: int | None) -> str:
    """Return a speed as `20 Mbit/s / 5 Mbit/s`, or that there is no limit."""
    return _("no limit") if download is None else f"{rate(download)} / {rate(upload)}"


def _event_reason(event: ShadowEvent) -> str:
    if not event.reason or event.reason not in set(Reason):
        return event.reason
    return reason_sentence(Reason(event.reason), event.detail, reader_language())


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
