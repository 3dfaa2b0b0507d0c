"""Leads as a list, and as a board with a column for each state that is open."""

from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, func, or_, select

from crm.leads import OPEN
from db.models import Lead, RatePlan, Staff
from portal import context
from portal.labels import choices, label
from portal.permissions import Permission, requires
from portal.staff.leads.base import blueprint
from portal.tables import Column, Filter, Table, show

MOST_ON_BOARD = 50


def _shown(value: str) -> ColumnElement[bool]:
    match value:
        case "all":
            return Lead.id.is_not(None)
        case "mine":
            return (Lead.seller_id == context.staff().id) & Lead.state.in_(OPEN)
        case "due":
            today = context.now().astimezone(context.zone()).date()
            return Lead.state.in_(OPEN) & (Lead.next_step_on <= today)
    return Lead.state == value


def _shown_choices() -> list[tuple[str, Any]]:
    return [("mine", _("Mine")), ("due", _("Due")), *choices("lead_state"), ("all", _("All"))]


TABLE = Table(
    name="leads",
    columns=(
        Column("name", _l("Name"), lambda row: row.Lead.name, Lead.name),
        Column("state", _l("State"), lambda row: label("lead_state", row.Lead.state)),
        Column("phone", _l("Phone"), lambda row: row.Lead.phone),
        Column("next", _l("Next step"), lambda row: row.Lead.next_step_on, Lead.next_step_on),
        Column("plan", _l("Rate plan"), lambda row: row.plan, wide=True),
        Column("source", _l("Source"), lambda row: label("lead_source", row.Lead.source), wide=True),
        Column("seller", _l("Seller"), lambda row: row.seller, wide=True),
        Column("created", _l("Since"), lambda row: row.Lead.created_at, Lead.created_at, wide=True),
        Column("address", _l("Address"), lambda row: row.Lead.address, exported_only=True),
        Column("email", _l("E-mail"), lambda row: row.Lead.email, exported_only=True),
        Column("lost", _l("Why lost"), lambda row: row.Lead.lost_reason, exported_only=True),
    ),
    order="-created",
    tie=Lead.id,
    filters=(
        Filter("show", _l("Open leads"), _shown_choices, _shown),
        Filter("source", _l("Any source"), lambda: choices("lead_source"), lambda value: Lead.source == value),
    ),
    search=lambda words: or_(
        Lead.name.icontains(words, autoescape=True),
        Lead.phone.icontains(words, autoescape=True),
        Lead.address.icontains(words, autoescape=True),
        Lead.email.icontains(words, autoescape=True),
    ),
    search_hint=_l("Name, phone, address"),
)


@blueprint.get("/")
@requires(Permission.LEADS_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(Lead, RatePlan.name.label("plan"), Staff.name.label("seller"))
        .outerjoin(RatePlan, RatePlan.id == Lead.plan_id)
        .outerjoin(Staff, Staff.id == Lead.seller_id)
    )
    if not request.args.get("show") and not request.args.get("q"):
        query = query.where(Lead.state.in_(OPEN))
    today = context.now().astimezone(context.zone()).date()
    return show(context.db(), TABLE, query, "staff/leads/index.html", today=today)


@blueprint.get("/board")
@requires(Permission.LEADS_VIEW)
def board() -> ResponseReturnValue:
    session = context.db()
    columns = []
    for state in OPEN:
        leads = select(Lead).where(Lead.state == state)
        columns.append((
            state,
            session.scalar(select(func.count()).select_from(leads.subquery())) or 0,
            session.scalars(leads.order_by(Lead.next_step_on.asc().nulls_last(), Lead.id).limit(MOST_ON_BOARD)).all(),
        ))  # fmt: skip
    today = context.now().astimezone(context.zone()).date()
    return render_template("staff/leads/board.html", columns=columns, today=today)
