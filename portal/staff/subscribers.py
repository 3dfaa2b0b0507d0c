"""Subscribers: list, page, create and edit."""

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, or_, select

from db.models import Subscriber
from portal import context
from portal.permissions import Permission, requires
from portal.tables import Column, Table, show

blueprint = Blueprint("subscribers", __name__, url_prefix="/subscribers")


def _search(text: str) -> ColumnElement[bool]:
    return or_(Subscriber.name.icontains(text, autoescape=True), Subscriber.phone.icontains(text, autoescape=True))


def _name(row: Any) -> object:
    return row.name


TABLE = Table(
    name="subscribers",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, Subscriber.name),
        Column("phone", _l("Phone"), lambda row: row.phone),
        Column("address", _l("Address"), lambda row: row.address, wide=True),
        Column("created", _l("Since"), lambda row: row.created_at, Subscriber.created_at, wide=True),
    ),
    order="name",
    tie=Subscriber.id,
    search=_search,
    search_hint=_l("Name, phone, e-mail, address"),
)


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    return show(context.db(), TABLE, select(Subscriber), "staff/subscribers/index.html")
