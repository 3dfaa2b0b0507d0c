"""Collectors: who takes payments on the road, what they owe, and their commission."""

from decimal import Decimal
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Select, func, select
from wtforms import BooleanField

from billing.desks import collector_sums, open_desk_of
from billing.methods import CollectorTerms, save_collector
from crm.problems import Invalid
from db.models import CashMovement, Collector, ForeignCash, Payment, Staff, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.billing import base

blueprint = Blueprint("collectors", __name__, url_prefix="/collectors")
blueprint.record_once(base.install)

LATEST = 100


class CollectorForm(Form):
    name = forms.text(_l("Name"), required=True)
    commission = forms.number(_l("Commission"), required=True)
    staff_id = forms.choice(_l("Signs in as"), numeric=True)
    active = BooleanField(_l("Collects payments"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = context.db().execute(select(Staff.id, Staff.name).order_by(Staff.name))
        self.staff_id.choices = [("", _("Nobody: somebody else enters the payments")),
                                 *((str(one.id), one.name) for one in people)]  # fmt: skip


@blueprint.get("/")
@requires(Permission.BILLING_REPORTS)
def index() -> ResponseReturnValue:
    session = context.db()
    base.rules()
    found = session.scalars(select(Collector).order_by(~Collector.active, Collector.name))
    rows = [(collector, collector_sums(session, collector.id)) for collector in found]
    return render_template("staff/billing/collectors.html", rows=rows)


@blueprint.get("/<int:collector_id>")
@requires(Permission.BILLING_REPORTS)
def page(collector_id: int) -> ResponseReturnValue:
    session, collector = context.db(), _collector(collector_id)
    payments = session.execute(
        select(Payment, Subscriber.name.label("subscriber"))
        .join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .where(Payment.collector_id == collector.id)
        .order_by(Payment.id.desc())
        .limit(LATEST)
    )
    handed = session.scalars(
        select(CashMovement)
        .where(CashMovement.collector_id == collector.id)
        .order_by(CashMovement.id.desc())
        .limit(LATEST)
    )
    return render_template(
        "staff/billing/collector.html",
        collector=collector,
        sums=collector_sums(session, collector.id),
        payments=list(payments),
        handed=list(handed),
        handed_foreign=list(session.scalars(_handed_foreign(collector).order_by(ForeignCash.id.desc()).limit(LATEST))),
        count=session.scalar(select(func.count()).where(Payment.collector_id == collector.id)),
        desk=open_desk_of(session, context.staff().id),
    )


def _handed_foreign(collector: Collector) -> Select[Any]:
    return select(ForeignCash).where(ForeignCash.collector_id == collector.id, ForeignCash.kind == "handover")


@blueprint.get("/<int:collector_id>/closing")
@requires(Permission.BILLING_REPORTS)
def closing(collector_id: int) -> ResponseReturnValue:
    """Return a sheet to print and sign: a day's payments (`?day=`), or those since cash was last handed over."""
    session, collector = context.db(), _collector(collector_id)
    day = base.day_of(request.args.get("day", ""))
    query = select(Payment).where(Payment.collector_id == collector.id)
    moves = select(CashMovement).where(CashMovement.collector_id == collector.id, CashMovement.kind == "handover")
    since = None
    if day is not None:
        query = query.where(Payment.paid_on == day)
    else:
        since = session.scalar(moves.with_only_columns(func.max(CashMovement.created_at)))
        foreign = session.scalar(_handed_foreign(collector).with_only_columns(func.max(ForeignCash.created_at)))
        since = max((each for each in (since, foreign) if each is not None), default=None)
        if since is not None:
            query = query.where(Payment.created_at > since)
    payments = session.execute(
        query.join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .add_columns(Subscriber.name.label("subscriber"))
        .order_by(Payment.id)
    ).all()
    counted = [row.Payment for row in payments if row.Payment.voided_at is None]
    return render_template(
        "staff/billing/collector_closing.html",
        collector=collector,
        day=day,
        since=since,
        payments=payments,
        collected=sum((payment.amount - payment.refunded for payment in counted), Decimal(0)),
        commission=sum((payment.commission for payment in counted), Decimal(0)),
        sums=collector_sums(session, collector.id),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def create() -> ResponseReturnValue:
    return _form_page(None)


@blueprint.route("/<int:collector_id>/edit", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def edit(collector_id: int) -> ResponseReturnValue:
    return _form_page(_collector(collector_id))


def _form_page(collector: Collector | None) -> ResponseReturnValue:
    session = context.db()
    first = {"active": True, "commission": 0} if request.method == "GET" else None
    form = CollectorForm(obj=collector) if collector else CollectorForm(data=first)
    base.without_zeros(form.commission)
    if request.method == "POST" and form.validate():
        assert form.commission.data is not None
        terms = CollectorTerms(form.name.data or "", form.commission.data, form.staff_id.data, form.active.data)
        try:
            saved = save_collector(session, context.actor(), terms, collector)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            saved_id = saved.id
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", collector_id=saved_id))
    page = render_template("staff/billing/collector_form.html", form=form, is_new=collector is None)
    return page, 422 if form.errors else 200


def _collector(collector_id: int) -> Collector:
    return context.db().get(Collector, collector_id) or abort(404)
