"""Retention: how long each kind of row is kept, what would go now, what went, and who is under a legal hold."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from core.i18n import N_
from crm.problems import Invalid
from crm.retention import KINDS, MOST_DAYS, hold, last_runs, lift, preview, rules_of, set_rules
from crm.retention_proposals import PROPOSALS
from db.models import RetentionHold, Subscriber
from portal import context
from portal.errors import problem_text
from portal.messages import done, refuse
from portal.permissions import Permission, requires

blueprint = Blueprint("retention", __name__)

WORDS = {
    "sessions": (N_("Sessions"), N_("Who was connected, from when until when, with which address. Usage sums stay.")),
    "auth_events": (N_("Access requests"), N_("Each login that was let in or refused.")),
    "messages": (N_("Messages"), N_("E-mails, SMS and the like that were sent.")),
    "webhooks": (N_("Webhooks"), N_("What other programs were told, and each delivery.")),
    "circuit_tests": (N_("Circuit tests"), N_("Steps and findings of tests of a line.")),
    "shadow_events": (N_("Log of the trial run"), N_("What Portico would have answered beside another server.")),
    "devices": (N_("Unknown devices"), N_("MAC addresses that asked for access and belong to nobody.")),
    "ticket_files": (N_("Files of closed tickets"), N_("Attachments; the words of the ticket stay.")),
}
COUNTRIES = {
    "MX": N_("Mexico"), "CO": N_("Colombia"), "AR": N_("Argentina"), "PE": N_("Peru"), "GT": N_("Guatemala"),
    "US": N_("United States"), "ES": N_("Spain"),
}  # fmt: skip


@blueprint.get("/settings/retention")
@requires(Permission.RETENTION)
def index() -> ResponseReturnValue:
    """The rules; with `country`, that country's proposal stands in the fields and nothing is saved."""
    proposal = PROPOSALS.get(request.args.get("country", ""))
    rules = proposal.days if proposal else rules_of(context.db(), context.operator().id)
    return _show({kind: str(days) for kind, days in rules.items()}, proposal=proposal)


@blueprint.post("/settings/retention")
@requires(Permission.RETENTION)
def save() -> ResponseReturnValue:
    """Save the rules, or with `preview` only show what they would delete."""
    typed = {kind: request.form.get(kind, "").strip()[:10] for kind in KINDS}
    problems = {kind: _("Enter a whole number.") for kind, days in typed.items() if days and not _is_number(days)}
    session = context.db()
    if not problems:
        wanted = {kind: int(days) if days else None for kind, days in typed.items()}
        try:
            set_rules(session, context.actor(), wanted)
        except Invalid as invalid:
            problems = {problem.field: problem_text(problem) for problem in invalid.problems}
    if problems:
        session.rollback()
        return _show(typed, problems=problems), 422
    if "preview" in request.form:
        session.rollback()
        return _show(typed, counted=True)
    session.commit()
    done(_("Saved. What is older goes tonight."))
    return redirect(url_for(".index"))


@blueprint.post("/subscribers/<int:subscriber_id>/hold")
@requires(Permission.RETENTION)
def put_hold(subscriber_id: int) -> ResponseReturnValue:
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    try:
        hold(session, context.actor(), subscriber, request.form.get("reason", ""))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("Nothing about %(name)s is deleted while this hold stands.", name=subscriber.name))
    return redirect(url_for("records.page", subscriber_id=subscriber_id))


@blueprint.post("/settings/retention/holds/<int:hold_id>/lift")
@requires(Permission.RETENTION)
def lift_hold(hold_id: int) -> ResponseReturnValue:
    session = context.db()
    standing = session.get(RetentionHold, hold_id) or abort(404)
    lift(session, context.actor(), standing, context.now())
    session.commit()
    done(_("The hold is lifted. What is too old goes tonight."))
    return redirect(url_for(".index"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _show(
    typed: dict[str, str], *, proposal: Any = None, problems: dict[str, str] | None = None, counted: bool = False
) -> str:
    session, operator_id = context.db(), context.operator().id
    holds = session.execute(
        select(RetentionHold, Subscriber.name)
        .join(Subscriber, Subscriber.id == RetentionHold.subscriber_id)
        .where(RetentionHold.lifted_at.is_(None))
        .order_by(RetentionHold.created_at.desc())
    ).all()
    counts = {}
    if counted:
        counts = {
            kind: (preview(session, operator_id, KINDS[kind], _before(days)), _before(days))
            for kind, days in typed.items()
            if days
        }
    return render_template(
        "staff/retention/index.html",
        kinds=KINDS,
        words=WORDS,
        typed=typed,
        problems=problems or {},
        counts=counts,
        most=MOST_DAYS,
        runs=last_runs(session, operator_id),
        holds=holds,
        proposal=proposal,
        proposals=PROPOSALS,
        countries=COUNTRIES,
        country=request.args.get("country", ""),
    )


def _before(days: str) -> datetime:
    return context.now() - timedelta(days=int(days))
