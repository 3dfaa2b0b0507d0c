"""The audit log: who changed what, from where, before and after; and whether the chain of its entries is whole."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from core.i18n import N_
from db.audit import broken_links
from db.models import AuditEntry, Staff
from portal import context
from portal.audit_words import action_text, actor_text
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

ENTITIES = {
    "subscriber": N_("Subscribers"),
    "service": N_("Services"),
    "plan": N_("Rate plans"),
    "nas": N_("NAS"),
    "session": N_("Sessions"),
    "order": N_("Orders to routers"),
    "address": N_("Address lookups"),
    "cgnat_plan": N_("Port plans"),
    "retention": N_("Retention"),
    "staff": N_("Staff"),
    "role": N_("Roles"),
    "operator": N_("Operator"),
    "account_request": N_("Requests"),
    "alert_recipient": N_("Recipients of alerts"),
    "api_token": N_("API tokens"),
    "brand": N_("Brand"),
    "broadcast": N_("Broadcasts"),
    "canned_answer": N_("Canned answers"),
    "captive_settings": N_("Captive portal"),
    "cash_desk": N_("Cash desks"),
    "checkout": N_("Online payments"),
    "collector": N_("Collectors"),
    "consent": N_("Consents to act"),
    "coupon": N_("Coupons"),
    "credit_note": N_("Credit notes"),
    "custom_field": N_("Own fields"),
    "equipment": N_("Equipment"),
    "gateway": N_("Payment gateways"),
    "gateway_event": N_("Notices of payment gateways"),
    "import": N_("Import"),
    "incident": N_("Incidents"),
    "invoice": N_("Invoices"),
    "job": N_("Jobs"),
    "lead": N_("Leads"),
    "map": N_("Map"),
    "mass_change": N_("Mass changes"),
    "material": N_("Materials"),
    "notification": N_("Messages"),
    "payment": N_("Payments"),
    "payment_method": N_("Ways to pay"),
    "pool": N_("Pools"),
    "rate_plan": N_("Prices and extras of plans"),
    "report_schedule": N_("Scheduled reports"),
    "router": N_("Routers"),
    "sector": N_("Sectors"),
    "self_service": N_("Subscriber portal"),
    "sign_in_rule": N_("Sign-in rules"),
    "site": N_("Sites"),
    "stored_file": N_("Files"),
    "tax_rate": N_("Taxes"),
    "ticket": N_("Tickets"),
    "ticket_category": N_("Categories of tickets"),
    "voucher": N_("Vouchers"),
    "voucher_batch": N_("Batches of vouchers"),
    "webhook": N_("Webhooks"),
    "work_order": N_("Work orders"),
}
WINDOWS = {"24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


def _entities() -> Sequence[tuple[str, Any]]:
    return sorted(((entity, _(text)) for entity, text in ENTITIES.items()), key=lambda each: each[1].casefold())


def _people() -> Sequence[tuple[str, Any]]:
    return [(person.email, person.name) for person in context.db().execute(_STAFF)]


_STAFF = select(Staff.email, Staff.name).order_by(Staff.name)


def _windows() -> Sequence[tuple[str, Any]]:
    return [("24h", _("Last 24 hours")), ("7d", _("Last 7 days")), ("30d", _("Last 30 days"))]


def _document(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True) if values else ""


TABLE = Table(
    name="audit-log",
    columns=(
        Column("at", _l("When"), lambda entry: entry.at, AuditEntry.at),
        Column("actor", _l("Who"), lambda entry: actor_text(entry.actor)),
        Column("action", _l("What"), lambda entry: action_text(entry.action)),
        Column("entity", _l("Of"), lambda entry: f"{entry.entity} {entry.entity_id or ''}".strip(), exported_only=True),
        Column("before", _l("Before"), lambda entry: _document(entry.before), exported_only=True),
        Column("after", _l("After"), lambda entry: _document(entry.after), exported_only=True),
        Column("changes", _l("Before → after"), lambda entry: "", wide=True),
        Column("address", _l("From"), lambda entry: entry.address, wide=True),
    ),
    order="-at",
    tie=AuditEntry.id,
    filters=(
        Filter("entity", _l("Anything"), _entities, lambda value: AuditEntry.entity == value),
        Filter("who", _l("Anybody"), _people, lambda value: AuditEntry.actor == value),
        Filter("since", _l("Any time"), _windows, lambda value: AuditEntry.at >= context.now() - WINDOWS[value]),
    ),
)


@blueprint.get("/")
@requires(Permission.AUDIT_VIEW)
def index() -> ResponseReturnValue:
    query = select(AuditEntry).where(AuditEntry.operator_id == context.operator().id)
    return show(context.db(), TABLE, query, "staff/audit/index.html", entities=ENTITIES)


@blueprint.get("/chain")
@requires(Permission.AUDIT_VIEW)
def chain() -> ResponseReturnValue:
    """Follow the chain from the first entry to the last: each carries the hash of the one before it."""
    session, operator_id = context.db(), context.operator().id
    broken = broken_links(session, operator_id)
    entries = session.scalar(select(func.count()).where(AuditEntry.operator_id == operator_id)) or 0
    last = session.scalar(
        select(AuditEntry).where(AuditEntry.operator_id == operator_id).order_by(AuditEntry.id.desc()).limit(1)
    )
    found = session.scalars(select(AuditEntry).where(AuditEntry.id.in_(broken)).order_by(AuditEntry.id)).all()
    return render_template("staff/audit/chain.html", entries=entries, last=last, broken=found)
