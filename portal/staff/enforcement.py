"""Orders to routers: what had to become true of a live session, and what the router answered."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select, update

from db.audit import record
from db.models import EnforcementOrder, Nas, Service
from portal import context
from portal.i18n import reader_language
from portal.labels import choices
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.radius_words import ORDER_KINDS, error_cause, order_cause, word
from portal.tables import Column, Filter, Table, show
from radius.by_hand import OPEN_STATES

blueprint = Blueprint("enforcement", __name__, url_prefix="/orders")

SHOWN_FOR = timedelta(days=30)


def _states() -> Sequence[tuple[str, Any]]:
    return [("open", _("Under way")), *choices("order_state")]


def _kinds() -> Sequence[tuple[str, Any]]:
    return [(kind, word("order_kind", kind)) for kind in ORDER_KINDS]


def _routers() -> Sequence[tuple[str, Any]]:
    return [(str(nas.id), nas.name) for nas in context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))]


def _in_state(value: str) -> Any:
    if value == "open":
        return EnforcementOrder.state.in_(OPEN_STATES)
    return EnforcementOrder.state == value


def answer(order: EnforcementOrder) -> str:
    """Return what the router made of an order, in words."""
    if not order.outcome:
        return ""
    cause = error_cause(order.error_cause)
    return f"{word('outcome', order.outcome)}: {cause}" if cause else word("outcome", order.outcome)


TABLE = Table(
    name="orders",
    columns=(
        Column("at", _l("When"), lambda row: row.EnforcementOrder.created_at, EnforcementOrder.created_at),
        Column("name", _l("User name"), lambda row: row.name),
        Column("nas", _l("NAS"), lambda row: row.nas, wide=True),
        Column("kind", _l("Order"), lambda row: word("order_kind", row.EnforcementOrder.kind)),
        Column("cause", _l("Why"), lambda row: order_cause(row.EnforcementOrder.cause, reader_language()), wide=True),
        Column("state", _l("State"), lambda row: row.EnforcementOrder.state, words="order_state"),
        Column("answer", _l("Answer"), lambda row: answer(row.EnforcementOrder), wide=True),
        Column("attempts", _l("Requests"), lambda row: row.EnforcementOrder.attempts, numeric=True, wide=True),
        Column("requested_by", _l("Asked for by"), lambda row: row.EnforcementOrder.requested_by, exported_only=True),
    ),
    order="-at",
    tie=EnforcementOrder.id,
    keys=(EnforcementOrder.id,),
    filters=(
        Filter("state", _l("Any state"), _states, _in_state),
        Filter("kind", _l("Any order"), _kinds, lambda value: EnforcementOrder.kind == value),
        Filter("nas", _l("Any NAS"), _routers, lambda value: EnforcementOrder.nas_id == int(value)),
    ),
    search=lambda text: EnforcementOrder.service_id.in_(select(Service.id).where(Service.name == text)),
    search_hint=_l("Exact user name"),
)


@blueprint.get("/")
@requires(Permission.ORDERS_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(EnforcementOrder, Nas.name.label("nas"), Service.name.label("name"))
        .outerjoin(Nas, Nas.id == EnforcementOrder.nas_id)
        .outerjoin(Service, Service.id == EnforcementOrder.service_id)
        .where(
            EnforcementOrder.operator_id == context.operator().id,
            EnforcementOrder.created_at > context.now() - SHOWN_FOR,
        )
    )
    return show(context.db(), TABLE, query, "staff/enforcement/index.html", answer=answer, days=SHOWN_FOR.days)


@blueprint.post("/<int:order_id>/again")
@requires(Permission.SESSIONS_ACT)
def again(order_id: int) -> ResponseReturnValue:
    """Try a waiting order at once instead of after its pause."""
    session = context.db()
    order = session.get(EnforcementOrder, order_id) or abort(404)
    hurried = session.execute(
        update(EnforcementOrder)
        .where(EnforcementOrder.id == order_id, EnforcementOrder.state == "pending")
        .values(next_attempt_at=context.now())
        .returning(EnforcementOrder.id)
    ).all()
    if hurried:
        record(session, context.actor(), "order.hurry", "order", order.id)
        session.commit()
        done(_("The router is asked again at once."))
    else:
        refuse(_("This order is not waiting any more."))
    return redirect(url_for("enforcement.index"))
