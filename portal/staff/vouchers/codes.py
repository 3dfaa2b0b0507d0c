"""One voucher: its state, what is left, its sessions and sale; showing its code, and cancelling it."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from aaa.facts import Service as ServiceOf
from aaa.facts import ServiceState
from aaa.vouchers import clock_ends, octets_left, online_left, voucher_state
from billing.vouchers import open_sale, take_back
from core.codes import grouped
from crm.problems import Invalid, WrongState
from crm.vouchers import readable_codes
from db.models import AccountingSession, Collector, Nas, Staff, Voucher
from portal import context
from portal.errors import problem_text
from portal.formats import money
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from radius.facts import FactsReader

blueprint = Blueprint("voucher_codes", __name__, url_prefix="/vouchers/codes")

SESSIONS = 50
"""Sessions that a page shows, the latest."""


@blueprint.get("/<int:service_id>")
@requires(Permission.VOUCHERS_VIEW)
def page(service_id: int) -> ResponseReturnValue:
    return _page(_voucher(service_id), None)


@blueprint.post("/<int:service_id>/reveal")
@requires(Permission.VOUCHERS_CODES)
def reveal(service_id: int) -> ResponseReturnValue:
    voucher, session = _voucher(service_id), context.db()
    codes = readable_codes(session, context.actor(), context.keyring(), [voucher], "reveal")
    session.commit()
    if not codes:
        refuse(_("The code is not kept after the first login. Who has it can still type it."))
        return redirect(url_for("voucher_codes.page", service_id=service_id))
    return _page(_voucher(service_id), grouped(codes[0][1], voucher.batch.prefix))


@blueprint.post("/<int:service_id>/void")
@requires(Permission.VOUCHERS_EDIT)
def void(service_id: int) -> ResponseReturnValue:
    voucher = _voucher(service_id)
    try:
        amount = take_back(context.db(), context.actor(), voucher, request.form.get("reason", ""), context.now())
    except Invalid as invalid:
        context.db().rollback()
        refuse(problem_text(invalid.problems[0]))
    except WrongState:
        refuse(_("It is cancelled already."))
    else:
        context.db().commit()
        if amount:
            done(_("The voucher is cancelled. Give back %(amount)s.", amount=money(amount)))
        else:
            done(_("The voucher is cancelled. Who is on line by it goes off."))
    return redirect(url_for("voucher_codes.page", service_id=service_id))


def _page(voucher: Voucher, code: str | None) -> str:
    session, now = context.db(), context.now()
    connection = session.connection().connection.driver_connection
    (stored,) = FactsReader(connection, now).services([voucher.service_id])  # type: ignore[arg-type]
    service: ServiceOf = stored.service
    assert service.voucher is not None
    sale = open_sale(session, voucher)
    seller: Collector | Staff | None = None
    if sale is not None:
        seller = session.get(Collector, sale.collector_id) if sale.collector_id else None
        seller = seller or (session.get(Staff, sale.staff_id) if sale.staff_id else None)
    sessions = session.execute(
        select(AccountingSession, Nas.name.label("nas"))
        .outerjoin(Nas, Nas.id == AccountingSession.nas_id)
        .where(AccountingSession.service_id == voucher.service_id)
        .order_by(AccountingSession.started_at.desc())
        .limit(SESSIONS)
    ).all()
    return render_template(
        "staff/vouchers/voucher.html",
        voucher=voucher,
        batch=voucher.batch,
        state_now=voucher_state(service.voucher, ServiceState(service.state), now).value,
        service=service,
        online_left=online_left(service.voucher, now),
        octets_left=octets_left(service.voucher),
        ends=clock_ends(service.voucher, now) if service.voucher.first_login else service.voucher.ends,
        code=code,
        sale=sale,
        seller=seller,
        sessions=sessions,
    )


def _voucher(service_id: int) -> Voucher:
    query = select(Voucher).where(Voucher.service_id == service_id).options(selectinload(Voucher.batch))
    return context.db().scalar(query) or abort(404)
