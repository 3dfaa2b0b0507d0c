"""First steps: the way from an empty account to a first subscriber on line, ticked off by what is there."""

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.i18n import N_
from crm.first_steps import Progress, progress_of
from db.models import Account
from portal import context
from portal.home_tiles import Part, tile
from portal.messages import done
from portal.permissions import Permission, requires, signed_in

blueprint = Blueprint("first_steps", __name__, url_prefix="/first-steps")


@tile("first_steps", N_("First steps"), ("manager", "technical"), Permission.PLANS_VIEW, order=1, wide=True)
def first_steps() -> Part | None:
    """What to do next, until all is done or somebody hides it; only for operators that opened an account."""
    account = context.db().get(Account, context.staff().operator_id)
    if account is None or account.country is None or account.first_steps_hidden:
        return None
    progress = _progress()
    return None if progress.complete else Part("staff/first_steps/tile.html", {"progress": progress})


@blueprint.get("")
@signed_in
def index() -> ResponseReturnValue:
    return render_template("staff/first_steps/index.html", progress=_progress())


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


def _progress() -> Progress:
    return progress_of(context.db(), context.staff().operator_id)
