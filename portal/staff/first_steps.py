"""First steps: the way from an empty account to a first subscriber on line, ticked off by what is there."""

import secrets
from collections.abc import Callable

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import func, select

from billing.rules import billing_is_on
from billing.samples import REMOVE, add_samples, has_samples
from core.i18n import N_
from crm.first_steps import Progress, Step, progress_of
from crm.jobs import start_job
from crm.problems import Invalid
from db.models import Account, Nas, Router
from portal import context
from portal.errors import problem_text
from portal.home_tiles import Part, tile
from portal.messages import done, refuse
from portal.permissions import Permission, requires, signed_in

blueprint = Blueprint("first_steps", __name__, url_prefix="/first-steps")


@tile("first_steps", N_("First steps"), ("manager", "technical"), Permission.PLANS_VIEW, order=1, wide=True)
def first_steps() -> Part | None:
    """What to do next, until all is done or somebody hides it; only for operators that opened an account."""
    account = context.db().get(Account, context.staff().operator_id)
    if account is None or account.country is None or account.first_steps_hidden:
        return None
    progress = _progress()
    values = {"progress": progress, "step_link": _linking()}
    return None if progress.complete else Part("staff/first_steps/tile.html", values)


@blueprint.get("")
@signed_in
def index() -> ResponseReturnValue:
    session, operator_id = context.db(), context.staff().operator_id
    return render_template(
        "staff/first_steps/index.html",
        progress=_progress(),
        step_link=_linking(),
        samples=has_samples(session, operator_id),
        may_add=not billing_is_on(session, operator_id),
    )


@blueprint.post("/samples")
@requires(Permission.SETTINGS_EDIT)
def add() -> ResponseReturnValue:
    """Add a few plans, subscribers and tickets to look at."""
    session = context.db()
    try:
        add_samples(session, context.actor(), context.keyring(), secrets.token_urlsafe(12), context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("The samples are there. One click removes them again."))
    return redirect(url_for(".index"))


@blueprint.post("/samples/remove")
@requires(Permission.SETTINGS_EDIT)
def remove() -> ResponseReturnValue:
    job = start_job(context.db(), context.actor(), REMOVE, {})
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.post("/hide")
@requires(Permission.SETTINGS_EDIT)
def hide() -> ResponseReturnValue:
    """Take the card off the home; the page stays."""
    account = context.db().get(Account, context.staff().operator_id)
    if account is not None:
        account.first_steps_hidden = True
        context.db().commit()
        done(_("The first steps are off the home. They stay under Settings."))
    return redirect(url_for("home.index"))


def _linking() -> Callable[[Step], str]:
    """Return what gives the page of a step: of the router itself, where the step is about one that is there."""
    session = context.db()
    newest = {
        "api": ("routers.page", session.scalar(select(func.max(Router.nas_id)))),
        "radius": ("vpn.router", session.scalar(select(func.max(Nas.id)))),
    }

    def link(step: Step) -> str:
        endpoint, nas_id = newest.get(step.name, ("", None))
        return url_for(endpoint, nas_id=nas_id) if nas_id is not None else url_for(step.endpoint)

    return link


def _progress() -> Progress:
    return progress_of(context.db(), context.staff().operator_id)
