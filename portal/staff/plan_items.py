"""What is sold with a rate plan, on the plan's page: entered and taken out."""

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import BooleanField

from billing.payments import typed_amount
from core.money import money_locale
from crm.plan_items import ItemTerms, add_item, end_item
from crm.problems import Invalid
from db.models import PlanItem, RatePlan
from portal import context, forms
from portal.errors import problem_text
from portal.i18n import reader_language
from portal.messages import done, refuse
from portal.permissions import Permission, requires

blueprint = Blueprint("plan_items", __name__, url_prefix="/plans/<int:plan_id>/items")


class ItemForm(forms.Form):
    name = forms.text(_l("What"))
    price = forms.text(_l("Price"))
    once = BooleanField(_l("Charged once, on the first invoice"))
    tax_exempt = BooleanField(_l("Without taxes"))


@blueprint.post("/")
@requires(Permission.PLANS_EDIT)
def create(plan_id: int) -> ResponseReturnValue:
    """Sell something with the plan: from each service's next invoice on."""
    session, form = context.db(), ItemForm()
    plan = session.get(RatePlan, plan_id) or abort(404)
    currency, typed = context.operator().currency, (form.price.data or "").strip()
    if form.validate():
        try:
            price = typed_amount(typed, currency, money_locale(reader_language(), currency)) if typed else None
            terms = ItemTerms(form.name.data or "", price, form.once.data, form.tax_exempt.data)
            add_item(session, context.actor(), plan, terms)
        except Invalid as invalid:
            session.rollback()
            refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        else:
            session.commit()
            done(_("It is sold with the plan, from each next invoice on."))
    return redirect(url_for("plans.page", plan_id=plan_id) + "#items")


@blueprint.post("/<int:item_id>/end")
@requires(Permission.PLANS_EDIT)
def end(plan_id: int, item_id: int) -> ResponseReturnValue:
    session = context.db()
    item = session.get(PlanItem, item_id)
    if item is None or item.plan_id != plan_id:
        abort(404)
    try:
        end_item(session, context.actor(), item, context.now())
    except Invalid:
        session.rollback()  # a colleague was quicker
    else:
        session.commit()
        done(_("It is on no further invoice."))
    return redirect(url_for("plans.page", plan_id=plan_id) + "#items")
