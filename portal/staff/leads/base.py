"""What the pages of leads share."""

from flask import Blueprint, abort
from flask_babel import gettext as _

from crm.leads import WrongLeadState
from db.models import Lead
from portal import context
from portal.labels import label

blueprint = Blueprint("leads", __name__, url_prefix="/leads")


def find(lead_id: int) -> Lead:
    """Return a lead of this operator, or answer 404."""
    return context.db().get(Lead, lead_id) or abort(404)


def lead_state_text(problem: WrongLeadState) -> str:
    state_word = label("lead_state", problem.state).lower()
    return str(_("Nothing was changed: this lead is %(state)s already.", state=state_word))
