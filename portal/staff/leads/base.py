"""What the pages of leads share."""

from flask import Blueprint, abort

from db.models import Lead
from portal import context

blueprint = Blueprint("leads", __name__, url_prefix="/leads")


def find(lead_id: int) -> Lead:
    """Return a lead of this operator, or answer 404."""
    return context.db().get(Lead, lead_id) or abort(404)
