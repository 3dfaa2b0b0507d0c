"""What the operator decides about sales and work orders: the workflow, the checklists, the materials."""

from decimal import Decimal
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField, SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget

from crm.materials import save_material
from crm.problems import Invalid
from crm.work_orders import settings_of
from crm.workflow import (
    WorkflowTerms,
    change_checklist,
    change_workflow,
    checklist_text,
    checklists,
    terms_of_workflow,
)
from db.models import ROLES, WORK_KINDS, Material
from portal import context
from portal.errors import put_on_form
from portal.forms import Form, Watched, long_text, number, text, watched, whole_number
from portal.labels import label
from portal.messages import done
from portal.permissions import Permission, requires

blueprint = Blueprint("work_settings", __name__, url_prefix="/settings/work-orders")


class WorkflowForm(Form):
    enabled = BooleanField(_l("A sale orders the installation"))
    needs_device = BooleanField(_l("The device must be bound"))
    needs_link_test = BooleanField(_l("The link must be tested, with nothing wrong"))
    needs_photo = BooleanField(_l("A photo must be taken"))
    needs_signature = BooleanField(_l("The subscriber must sign"))
    give_login = BooleanField(_l("Send the login of the subscriber's page"))
    minutes = whole_number(_l("Length of a visit"), required=True)
    told = SelectMultipleField(
        _l("Who is told of an order that is nobody's yet"),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told.choices = [(role, label("role", role)) for role in ROLES]

    def terms(self) -> WorkflowTerms:
        values = {name: getattr(self, name).data for name in WorkflowTerms.__slots__}
        return WorkflowTerms(**{**values, "told": tuple(values["told"] or ())})


class ChecklistForm(Form):
    items = long_text(_l("Points"))


class MaterialForm(Watched):
    name = text(_l("Name"), required=True)
    unit = text(_l("Unit"), required=True)
    stock = number(_l("In stock"))
    reorder_at = number(_l("Order again at"))
    active = BooleanField(_l("In use"), default=True)


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.SETTINGS_EDIT)
def index() -> ResponseReturnValue:
    session = context.db()
    operator_id = context.operator().id
    form = WorkflowForm(data={**_values(terms_of_workflow(settings_of(session, operator_id)))})
    if request.method == "POST" and form.validate():
        try:
            change_workflow(session, context.actor(), form.terms())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".index"))
    lists = {kind: checklist_text(checklists(session, operator_id).get(kind, [])) for kind in WORK_KINDS}
    session.commit()
    page = render_template("staff/work_orders/settings.html", form=form, lists=lists)
    return page, 422 if form.errors else 200


def _values(terms: WorkflowTerms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in WorkflowTerms.__slots__}


@blueprint.route("/checklists/<kind>", methods=["GET", "POST"])
@requires(Permission.SETTINGS_EDIT)
def checklist(kind: str) -> ResponseReturnValue:
    if kind not in WORK_KINDS:
        abort(404)
    session = context.db()
    items = checklists(session, context.operator().id).get(kind, [])
    form = ChecklistForm(data={"items": checklist_text(items)})
    if request.method == "POST" and form.validate():
        try:
            change_checklist(session, context.actor(), kind, form.items.data or "")
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved. Orders that there are keep their list."))
            return redirect(url_for(".index"))
    page = render_template("staff/work_orders/checklist.html", form=form, kind=kind)
    return page, 422 if form.errors else 200


@blueprint.get("/materials")
@requires(Permission.EQUIPMENT_VIEW)
def materials() -> ResponseReturnValue:
    rows = context.db().scalars(select(Material).order_by(~Material.active, Material.name)).all()
    return render_template("staff/work_orders/materials.html", materials=rows)


@blueprint.route("/materials/new", methods=["GET", "POST"])
@requires(Permission.EQUIPMENT_EDIT)
def new_material() -> ResponseReturnValue:
    return _save_material(None)


@blueprint.route("/materials/<int:material_id>", methods=["GET", "POST"])
@requires(Permission.EQUIPMENT_EDIT)
def material(material_id: int) -> ResponseReturnValue:
    return _save_material(context.db().get(Material, material_id) or abort(404))


def _save_material(found: Material | None) -> ResponseReturnValue:
    session = context.db()
    if request.method == "GET":
        form = watched(MaterialForm(obj=found)) if found else MaterialForm()
        return render_template("staff/work_orders/material.html", form=form, material=found)
    form = MaterialForm()
    if found:
        session.refresh(found, with_for_update=True)
    # What technicians used since the stock was counted would be put back by saving it.
    if form.validate() and not (found and form.changed_meanwhile(MaterialForm(None, obj=found))):
        try:
            save_material(
                session, context.actor(), found, form.name.data or "", form.unit.data or "",
                form.stock.data or Decimal(0), form.reorder_at.data or Decimal(0), active=form.active.data,
            )  # fmt: skip
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".materials"))
    page = render_template("staff/work_orders/material.html", form=form, material=found)
    return page, 409 if form.theirs is not None else 422
