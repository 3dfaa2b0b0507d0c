"""Promotions: coupons, which are made here and redeemed on a subscriber's statement, and every discount in force.

Also every charge beside the plans: what recurs each month, and what waits for the next invoice.
"""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, func, or_, select

from billing.coupons import CouponTerms, add_coupon, expire_coupon
from crm.problems import Invalid
from db.models import Charge, Coupon, Discount, Service, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.base import amount_of
from portal.staff.subscribers import BY_NAME
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("promotions", __name__, url_prefix="/promotions")


def coupon_state(coupon: Coupon) -> str:
    """Return expired, used_up or valid: the key of a badge."""
    if coupon.valid_until is not None and coupon.valid_until < base.today():
        return "expired"
    return "used_up" if coupon.uses_left == 0 else "valid"


def _coupons_in(state: str) -> ColumnElement[bool]:
    expired = and_(Coupon.valid_until.is_not(None), Coupon.valid_until < base.today())
    used_up = and_(Coupon.uses_left.is_not(None), Coupon.uses_left == 0)
    match state:
        case "expired":
            return expired
        case "used_up":
            return and_(~expired, used_up)
    return and_(~expired, ~used_up)


def _less(row: Coupon | Discount) -> str:
    """Return what is taken off, for an export."""
    return f"{row.percent:f} %" if row.percent is not None else f"{row.amount:f}"


COUPONS = Table(
    name="coupons",
    title=_l("Coupons"),
    columns=(
        Column("code", _l("Coupon"), lambda row: row.Coupon.code, Coupon.code),
        Column("description", _l("What for"), lambda row: row.Coupon.description, wide=True),
        Column("less", _l("Discount"), lambda row: _less(row.Coupon), numeric=True),
        Column("months", _l("Months"), lambda row: row.Coupon.months, numeric=True, wide=True),
        Column("until", _l("Valid until"), lambda row: row.Coupon.valid_until, Coupon.valid_until, wide=True),
        Column("used", _l("Used"), lambda row: row.used, numeric=True),
        Column("left", _l("Uses left"), lambda row: row.Coupon.uses_left, numeric=True, wide=True),
        Column("state", _l("State"), lambda row: label("coupon_state", coupon_state(row.Coupon))),
    ),
    order="code",
    tie=Coupon.id,
    filters=(Filter("state", _l("Any state"), lambda: choices("coupon_state"), _coupons_in),),
)


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def index() -> ResponseReturnValue:
    base.rules()
    used = select(func.count(Discount.id)).where(Discount.coupon_id == Coupon.id).correlate(Coupon).scalar_subquery()
    query = select(Coupon, used.label("used"))
    return show(context.db(), COUPONS, query, "staff/promotions/index.html", coupon_state=coupon_state)


class CouponForm(Form):
    code = forms.text(_l("Coupon"), required=True)
    description = forms.text(_l("What for"), required=True)
    percent = forms.number(_l("Percent of the plan"))
    amount = forms.text(_l("Or an amount a month"))
    months = forms.whole_number(_l("For so many months"))
    valid_until = forms.day(_l("Valid until, that day included"))
    uses = forms.whole_number(_l("For so many services"))


@blueprint.route("/coupons/new", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def create() -> ResponseReturnValue:
    session, rules = context.db(), base.rules()
    form = CouponForm()
    if request.method == "POST":
        readable = form.validate()
        amount = amount_of(form) if form.amount.data else None
        if readable and not form.errors:
            terms = CouponTerms(
                form.code.data or "", form.description.data or "", form.percent.data, amount, form.months.data,
                form.valid_until.data, form.uses.data,
            )  # fmt: skip
            try:
                coupon = add_coupon(session, context.actor(), rules, terms, context.now())
            except Invalid as invalid:
                session.rollback()
                put_on_form(form, invalid)
            else:
                session.commit()
                done(_("The coupon %(code)s can be used.", code=coupon.code))
                return redirect(url_for(".index"))
    page = render_template("staff/promotions/coupon_form.html", form=form)
    return page, 422 if form.errors else 200


@blueprint.post("/coupons/<int:coupon_id>/expire")
@requires(Permission.BILLING_EDIT)
def expire(coupon_id: int) -> ResponseReturnValue:
    """End a coupon; who has its discount keeps it."""
    session = context.db()
    coupon = session.get(Coupon, coupon_id) or abort(404)
    try:
        expire_coupon(session, context.actor(), base.rules(), coupon, context.now())
    except Invalid:
        session.rollback()
        refuse(_("This coupon has expired already."))
    else:
        session.commit()
        done(_("The coupon %(code)s can no longer be used. Who has its discount keeps it.", code=coupon.code))
    return redirect(url_for(".index"))


# Discounts in force, and charges beside the plans.

DISCOUNTS = Table(
    name="discounts",
    title=_l("Discounts"),
    columns=(
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, BY_NAME),
        Column("service", _l("Service"), lambda row: row.service, wide=True),
        Column("description", _l("What for"), lambda row: row.Discount.description),
        Column("coupon", _l("Coupon"), lambda row: row.coupon, wide=True),
        Column("less", _l("Discount"), lambda row: _less(row.Discount), numeric=True),
        Column("months", _l("Months left"), lambda row: row.Discount.months_left, numeric=True, wide=True),
        Column("since", _l("Since"), lambda row: row.Discount.starts_on, Discount.starts_on, wide=True),
    ),
    order="subscriber",
    tie=Discount.id,
)


@blueprint.get("/discounts")
@requires(Permission.BILLING_VIEW)
def discounts() -> ResponseReturnValue:
    base.rules()
    query = (
        select(
            Discount, Subscriber.name.label("subscriber"), Subscriber.id.label("subscriber_id"),
            Service.name.label("service"), Coupon.code.label("coupon"),
        )
        .join(Service, Service.id == Discount.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .outerjoin(Coupon, Coupon.id == Discount.coupon_id)
        .where(Discount.ended_at.is_(None), or_(Discount.months_left.is_(None), Discount.months_left > 0))
    )  # fmt: skip
    return show(context.db(), DISCOUNTS, query, "staff/promotions/discounts.html")


def _kinds() -> Sequence[tuple[str, Any]]:
    return [(kind, label("charge_kind", kind)) for kind in ("recurring", "one_off", "late_fee")]


EXTRAS = Table(
    name="extras",
    title=_l("Extras"),
    columns=(
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, BY_NAME),
        Column("service", _l("Service"), lambda row: row.service, wide=True),
        Column("description", _l("What for"), lambda row: row.Charge.description),
        Column("kind", _l("How often"), lambda row: label("charge_kind", row.Charge.kind), wide=True),
        Column("amount", _l("Amount"), lambda row: row.Charge.amount, Charge.amount, numeric=True),
        Column("since", _l("Since"), lambda row: row.Charge.starts_on, Charge.starts_on, wide=True),
        Column("until", _l("Last day"), lambda row: row.Charge.ends_on, Charge.ends_on, wide=True),
    ),
    order="subscriber",
    tie=Charge.id,
    filters=(Filter("kind", _l("Any charge"), _kinds, lambda value: Charge.kind == value),),
)


@blueprint.get("/extras")
@requires(Permission.BILLING_VIEW)
def extras() -> ResponseReturnValue:
    base.rules()
    query = (
        select(
            Charge, Subscriber.name.label("subscriber"), Subscriber.id.label("subscriber_id"),
            Service.name.label("service"),
        )
        .join(Subscriber, Subscriber.id == Charge.subscriber_id)
        .outerjoin(Service, Service.id == Charge.service_id)
        .where(Charge.invoice_id.is_(None), Charge.cancelled_at.is_(None), Charge.kind != "plan")
        .where(or_(Charge.ends_on.is_(None), Charge.ends_on >= base.today()))
    )  # fmt: skip
    return show(context.db(), EXTRAS, query, "staff/promotions/extras.html")
