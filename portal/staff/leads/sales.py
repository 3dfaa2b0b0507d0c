"""Selling: the plans side by side, and the page that makes a service of the chosen one and orders its installation."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import HiddenField, PasswordField

from crm.currencies import price_in_books
from crm.fields import set_values
from crm.plan_items import items_of_plans, monthly_price
from crm.plans import terms_of_plan
from crm.problems import Invalid
from crm.work_orders import settings_of
from crm.workflow import SOLD_METHODS, Sale, sell
from db.models import Lead, Nas, PlanItem, RatePlan
from portal import context
from portal.errors import put_on_form
from portal.formats import money, rate
from portal.forms import choice, long_text, text
from portal.labels import choices, label
from portal.messages import done
from portal.own_fields import own_fields, typed_into, with_own_fields
from portal.permissions import Permission, requires
from portal.staff.plans import BOOK_PRICE
from portal.staff.subscribers import find as find_subscriber
from portal.staff.work_orders.base import WindowForm

blueprint = Blueprint("sales", __name__, url_prefix="/sales")

ORDERS = {"price": (BOOK_PRICE, RatePlan.download), "speed": (RatePlan.download, BOOK_PRICE)}


def plans_sold() -> list[RatePlan]:
    """Return the plans on sale, by price or by speed as the URL says."""
    order = ORDERS.get(request.args.get("by", ""), ORDERS["price"])
    return list(context.db().scalars(select(RatePlan).where(~RatePlan.archived).order_by(*order, RatePlan.id)))


@blueprint.get("/plans")
@requires(Permission.PLANS_VIEW)
def plans() -> ResponseReturnValue:
    """Compare the plans on sale; with `subscriber` each leads to the sale of it."""
    subscriber_id = request.args.get("subscriber", type=int)
    subscriber = find_subscriber(subscriber_id) if subscriber_id is not None else None
    sold = plans_sold()
    items = items_of_plans(context.db(), sold)
    return render_template(
        "staff/leads/plans.html",
        plans=sold,
        items=items,
        monthly={plan.id: monthly_price(plan, items[plan.id], _book_price(plan)) for plan in sold},
        terms={plan.id: terms_of_plan(plan) for plan in sold},
        by="speed" if request.args.get("by") == "speed" else "price",
        subscriber=subscriber,
        lead=request.args.get("lead", type=int),
    )


def _book_price(plan: RatePlan) -> Decimal:
    return price_in_books(context.db(), plan, context.now().astimezone(context.zone()).date())


def sold_choices() -> list[tuple[int, str]]:
    """Return the plans on sale as choices of a form, each in one line."""
    sold = plans_sold()
    items = items_of_plans(context.db(), sold)
    return [(plan.id, _described(plan, items[plan.id])) for plan in sold]


def _described(plan: RatePlan, items: Sequence[PlanItem]) -> str:
    """Return what is sold, in one line: with all that is sold with it, and what a month of that costs."""
    name = " + ".join((plan.name, *(item.name for item in items if not item.once)))
    return (
        f"{name} · {rate(plan.download)} / {rate(plan.upload)} · {money(monthly_price(plan, items, _book_price(plan)))}"
    )


class SaleForm(WindowForm):
    plan_id = choice(_l("Rate plan"), numeric=True)
    access_method = choice(_l("Access by"), default="pppoe")
    begins = choice(_l("What happens next"))
    name = text(_l("User name or MAC address"))
    password = PasswordField(_l("Password"))
    nas_id = choice(_l("Only at this NAS"), numeric=True)
    description = long_text(_l("For the technician"))
    lead_id = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plan_id.choices = sold_choices()
        self.access_method.choices = [(method.value, label("access_method", method)) for method in SOLD_METHODS]
        self.begins.choices = choices("sale_begins")
        nas = context.db().scalars(select(Nas).order_by(Nas.name))
        self.nas_id.choices = [("", _("At any NAS")), *((one.id, one.name) for one in nas)]

    def sale(self) -> Sale:
        """Return what was typed. Raises Invalid."""
        lead = self.lead_id.data or ""
        known = context.db().get(Lead, int(lead)) if lead.isascii() and lead.isdigit() and len(lead) < 16 else None
        return Sale(
            plan_id=self.plan_id.data or 0,
            access_method=self.access_method.data,
            begins=self.begins.data,
            name=self.name.data or "",
            password=self.password.data or "",
            nas_id=self.nas_id.data,
            window=self.window(),
            technician_id=self.technician_id.data,
            lead_id=known.id if known is not None else None,
            description=self.description.data or "",
        )


@blueprint.route("/<int:subscriber_id>", methods=["GET", "POST"], endpoint="sell")
@requires(Permission.SERVICES_EDIT)
def sell_page(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find_subscriber(subscriber_id)
    session = context.db()
    workflow = settings_of(session, context.operator().id)
    fields = own_fields("service")
    form = with_own_fields(SaleForm, fields)(
        data={
            "plan_id": request.args.get("plan", type=int),
            "lead_id": request.args.get("lead", ""),
            "begins": "workflow" if workflow.enabled else "pending",
            "access_method": "pppoe",
        }
    )
    if request.method == "POST" and form.validate():
        try:
            sold = sell(session, context.actor(), context.keyring(), subscriber, form.sale(), context.now())
            if fields:
                set_values(session, context.actor(), sold.service, typed_into(form, fields))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            if sold.order is not None:
                done(_("%(name)s has it. The installation is work order %(number)s.",
                       name=subscriber.name, number=sold.order.number))  # fmt: skip
                if context.may(Permission.WORK_ORDERS_VIEW):
                    return redirect(url_for("work_orders.page", order_id=sold.order.id))
            else:
                done(_("%(name)s has it.", name=subscriber.name))
            return redirect(url_for("subscribers.page", subscriber_id=subscriber.id))
    session.commit()
    page = render_template(
        "staff/leads/sell.html", form=form, subscriber=subscriber, has_plans=bool(form.plan_id.choices)
    )  # fmt: skip
    return page, 422 if form.errors else 200
