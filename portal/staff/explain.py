"""Explain: what would happen if a subscriber connected now, rule by rule, and the button that changes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aaa.decision import Reason
from core.i18n import N_
from core.mac import find_mac
from db.models import Service, Subscriber
from portal import context
from portal.i18n import reader_language
from portal.permissions import Permission, requires
from portal.reasons import (
    Line,
    change_sentence,
    decision_outcome,
    decision_sentence,
    event_sentence,
    explanation_lines,
    rate_words,
)
from radius.explain import NameExplanation, explain_name, resolve_name
from radius.facts import Connection

blueprint = Blueprint("explain", __name__, url_prefix="/explain")

SUGGESTIONS = 8


@dataclass(frozen=True, slots=True)
class Remedy:
    """The step that would change a finding: where it is taken, and who may."""

    endpoint: str
    text: str
    icon: str
    permission: Permission
    posts: bool = False  # a button that acts at once, else a link to a page


_RESTORE = Remedy("services.restore_now", N_("Restore"), "player-play", Permission.SERVICES_SUSPEND, posts=True)
_PAID = Remedy("services.paid_until", N_("Mark paid until…"), "calendar-check", Permission.SERVICES_PAID)
_EDIT = Remedy("services.edit", N_("Edit service"), "pencil", Permission.SERVICES_EDIT)
_PASSWORD = Remedy("services.password", N_("Password…"), "key", Permission.SERVICES_PASSWORD)
_PLAN = Remedy("services.plan", N_("Change plan…"), "gauge", Permission.SERVICES_EDIT)

REMEDIES: Mapping[Reason, tuple[Remedy, ...]] = {
    Reason.WRONG_PASSWORD: (_PASSWORD,),
    Reason.NO_PASSWORD: (_PASSWORD,),
    Reason.TOO_MANY_ATTEMPTS: (_PASSWORD,),
    Reason.OTHER_ROUTER: (_EDIT,),
    Reason.PENDING: (
        Remedy("services.activate_now", N_("Activate"), "player-play", Permission.SERVICES_EDIT, posts=True),
    ),
    Reason.PAUSED: (
        Remedy("services.resume_now", N_("Resume"), "player-play", Permission.SERVICES_SUSPEND, posts=True),
    ),
    Reason.SUSPENDED_OVERDUE: (_PAID, _RESTORE),
    Reason.SUSPENDED_BY_STAFF: (_RESTORE,),
    Reason.OVERDUE: (_PAID,),
    Reason.PAYING: (_PAID,),
    Reason.MAC_NOT_ALLOWED: (_EDIT,),
    Reason.SESSION_LIMIT: (_EDIT,),
    Reason.CAP_REACHED: (_PLAN,),
    Reason.CAP_THROTTLED: (_PLAN,),
    Reason.FAIR_USE: (_PLAN,),
}


@blueprint.get("/")
@requires(Permission.EXPLAIN)
def index() -> ResponseReturnValue:
    typed = request.args.get("name", "").replace("\0", "").strip()[:253]
    if not typed:
        return render_template("staff/explain/index.html", typed="", found=None, suggestions=[])
    session = context.db()
    operator_id = context.operator().id
    connection = raw_connection(session)
    found = explain_name(connection, operator_id, resolve_name(connection, operator_id, typed), context.now())
    return render_template(
        "staff/explain/index.html",
        typed=typed,
        suggestions=[] if found.service else _suggestions(session, typed),
        registrable=find_mac(found.name) if found.service is None else None,
        **_shown(found),
    )


@blueprint.get("/service/<int:service_id>")
@requires(Permission.EXPLAIN)
def panel(service_id: int) -> ResponseReturnValue:
    """Return the explanation of one service as a part of another page."""
    session = context.db()
    name = session.scalar(select(Service.name).where(Service.id == service_id, Service.state != "terminated"))
    if name is None:
        abort(404)
    found = explain_name(raw_connection(session), context.operator().id, name, context.now())
    return render_template("staff/explain/panel.html", **_shown(found))


def raw_connection(session: Session) -> Connection:
    """Return psycopg's connection under a session, in the session's transaction and bound to its operator."""
    connection: Connection = session.connection().connection.driver_connection  # type: ignore[assignment]
    return connection


def _shown(found: NameExplanation) -> dict[str, Any]:
    language = reader_language()
    return {
        "found": found,
        "headline": decision_sentence(found, language),
        "outcome": decision_outcome(found.explanation.decision),
        "lines": [(line, _remedies(line, found)) for line in explanation_lines(found, language)],
        "changes": change_sentence(found, language),
        "said": lambda event: event_sentence(event.outcome, event.reason, event.detail, language),
        "granted": lambda terms: rate_words(terms, language) if terms else "–",
        "share": _share(found),
    }


def _remedies(line: Line, found: NameExplanation) -> list[tuple[Remedy, str, str]]:
    """Return the steps for a line that this person may take: each with its address and its text."""
    if line.reason is None or found.service is None:
        return []
    return [
        (remedy, url_for(remedy.endpoint, service_id=found.service.id), _(remedy.text))
        for remedy in REMEDIES.get(line.reason, ())
        if context.may(remedy.permission)
    ]


def _share(found: NameExplanation) -> int | None:
    """Return how much of the data cap is used, in per cent."""
    if found.cap is None or found.service is None:
        return None
    return min(100, round(100 * found.service.used_octets / (found.cap.octets + found.service.extra_octets)))


def _suggestions(session: Session, typed: str) -> list[Any]:
    return list(
        session.execute(
            select(Service.name, Subscriber.name.label("subscriber"))
            .join(Subscriber, Subscriber.id == Service.subscriber_id)
            .where(Service.id.in_(select(func.search_services(typed))), Service.state != "terminated")
            .order_by(Service.name)
            .limit(SUGGESTIONS)
        )
    )
