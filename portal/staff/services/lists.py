"""The list of services."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import selectinload

from db.models import RatePlan, Service, Subscriber
from portal import context
from portal.labels import choices, label
from portal.own_fields import own_fields, with_own_columns
from portal.permissions import Permission, requires
from portal.staff.services.base import blueprint
from portal.staff.subscribers import BY_NAME
from portal.tables import Column, Filter, Table, matching, show


def _search(words: str) -> ColumnElement[bool]:
    return Service.id.in_(matching(func.search_services, words))


def _in_state(state: str) -> ColumnElement[bool]:
    if state == "overdue":
        today = context.now().astimezone(context.zone()).date()
        return and_(
            Service.paid_until < today, Service.management == "automatic", Service.state.in_(("active", "suspended"))
        )
    return Service.state == state


def _state_choices() -> list[tuple[str, Any]]:
    return [*choices("service_state"), ("overdue", _("Unpaid"))]


def _plan_choices() -> list[tuple[str, Any]]:
    rows = context.db().execute(select(RatePlan.id, RatePlan.name).order_by(RatePlan.name))
    return [(str(row.id), row.name) for row in rows]


def _method_choices() -> list[tuple[str, Any]]:
    return choices("access_method")


def _with_subscriber(query: Any) -> Any:
    return query.join(Service.subscriber)


TABLE = Table(
    name="services",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, Service.name),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber.name, BY_NAME, _with_subscriber),
        Column("state", _l("State"), lambda row: label("service_state", row.state)),
        Column("plan", _l("Rate plan"), lambda row: row.plan.name, wide=True),
        Column("access", _l("Access by"), lambda row: label("access_method", row.access_method), wide=True),
        Column("paid_until", _l("Paid until"), lambda row: row.paid_until, wide=True),
        Column("created", _l("Since"), lambda row: row.created_at, Service.created_at, wide=True),
    ),
    order="name",
    tie=Service.id,
    filters=(
        Filter("state", _l("Any state"), _state_choices, _in_state),
        Filter("plan", _l("Any plan"), _plan_choices, lambda value: Service.plan_id == int(value)),
        Filter("access", _l("Any access"), _method_choices, lambda value: Service.access_method == value),
    ),
    search=_search,
    search_hint=_l("User name, MAC, subscriber"),
    count_up_to=200_000,
)


def services_table() -> Table:
    """Return the list with the fields that the operator has of services: who acts on what it finds needs them too."""
    return with_own_columns(TABLE, own_fields("service"))


def listed(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Return a query of services without those that the list never has, whatever it is narrowed to.

    Vouchers have a list of their own, and would stand before everybody's line; the filter shows them all the same.
    """
    if request.args.get("access") != "voucher":
        query = query.where(Service.access_method != "voucher")
    return query.where(~Service.subscriber.has(Subscriber.removed_at.is_not(None)))


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    fields = own_fields("service")
    query = listed(select(Service)).options(selectinload(Service.subscriber), selectinload(Service.plan))
    if fields:
        query = query.options(selectinload(Service.own_values))
    return show(
        context.db(), with_own_columns(TABLE, fields), query, "staff/services/index.html",
        own=[field for field in fields if field.listed],
    )  # fmt: skip
