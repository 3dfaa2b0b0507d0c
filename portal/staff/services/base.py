"""What the pages of services share: the blueprint, and finding one."""

from flask import Blueprint, abort
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from db.models import Service
from portal import context

blueprint = Blueprint("services", __name__, url_prefix="/services")


def find(service_id: int) -> Service:
    """Return a service of this operator with its subscriber and plan, or answer 404."""
    query = (
        select(Service)
        .where(Service.id == service_id)
        .options(selectinload(Service.subscriber), selectinload(Service.plan))
    )
    return context.db().scalars(query).one_or_none() or abort(404)
