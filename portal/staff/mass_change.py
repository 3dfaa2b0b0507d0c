"""Mass changes: one change of the services that a list shows, previewed, done as a job, taken back where it can be.

The list of services leads here with its search and filters, or with the rows that were ticked. What is chosen stands
in the URL until the change is started; from then on each service has a row that says what became of it.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import selectinload
from wtforms import BooleanField

from crm.mass_change import CHANGES, KINDS, Change, check_change, preview, start_change, start_undo, verdict
from crm.problems import Invalid
from crm.services import CAUSES
from db.models import BillingSettings, Job, MassChange, MassChangeRow, RatePlan, Service, Staff
from portal import context, forms
from portal.errors import put_on_form
from portal.formats import local_day, rate
from portal.forms import Form
from portal.labels import choices, label
from portal.messages import refuse
from portal.permissions import Permission, requires
from portal.staff.services import listed, services_table
from portal.tables import Column, Filter, Table, filtered, show

blueprint = Blueprint("mass_change", __name__, url_prefix="/mass-changes")

NEEDED: Mapping[str, Permission] = {
    "plan": Permission.SERVICES_EDIT,
    "suspend": Permission.SERVICES_SUSPEND,
    "restore": Permission.SERVICES_SUSPEND,
    "management": Permission.SERVICES_EDIT,
    "paid_until": Permission.SERVICES_PAID,
}
SHOWN = 20
"""Services that the preview names, of each that will change."""


class ChangeForm(Form):
    kind = forms.choice(_l("What to do"))
    # What belongs to another kind of change may be missing; `check_change` says what is wrong with what is asked.
    plan_id = forms.choice(_l("Rate plan"), numeric=True, validate_choice=False)
    cause = forms.choice(_l("Why"), default="staff", validate_choice=False)
    detail = forms.text(_l("Note for your colleagues"))
    management = forms.choice(_l("Cut-off"), validate_choice=False)
    paid_until = forms.day(_l("Paid until, that day included"))
    everyone = BooleanField(_l("Also those managed by hand, or suspended for abuse"))

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formdata=request.args if "kind" in request.args else None, **kwargs)
        self.kind.choices = [(kind, label("mass_change", kind)) for kind in allowed_kinds()]
        plans = context.db().scalars(select(RatePlan).where(~RatePlan.archived).order_by(RatePlan.name))
        self.plan_id.choices = [
            (plan.id, f"{plan.name} · {rate(plan.download)} / {rate(plan.upload)}") for plan in plans
        ] or [("", "–")]
        self.cause.choices = [(cause, label("suspension_cause", cause)) for cause in CAUSES]
        self.management.choices = choices("management")

    def change(self) -> Change:
        """Return what was chosen; what belongs to another kind of change is left out."""
        kind = self.kind.data
        plan_id = self.plan_id.data if kind == "plan" else None
        until = self.paid_until.data if kind == "paid_until" else None
        everyone = self.everyone.data and kind in ("suspend", "restore", "paid_until")
        if kind == "suspend":
            return Change(kind, cause=self.cause.data, detail=self.detail.data or "", everyone=everyone)
        management = self.management.data if kind == "management" else "automatic"
        return Change(kind, plan_id, management=management, paid_until=until, everyone=everyone)


def allowed_kinds() -> list[str]:
    """Return what this person may change; the day until which a service is paid is billing's where it bills."""
    bills = context.db().scalar(select(BillingSettings.enabled))
    return [kind for kind in KINDS if context.may(NEEDED[kind]) and not (kind == "paid_until" and bills)]


def _chosen() -> tuple[Select[Any], dict[str, Any]]:
    """Return the ids of the services that the URL chooses, and what of the URL does: ticked rows, or a filter."""
    ticked = sorted({int(text) for text in request.args.getlist("id") if text.isascii() and text.isdigit()})
    if ticked:
        return select(Service.id).where(Service.id.in_(ticked)), {"id": ticked}
    query, chosen = filtered(services_table(), listed(select(Service.id)), request.args)
    return query.order_by(None), chosen


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.SERVICES_MASS)
def new() -> ResponseReturnValue:
    """Choose what is done, see what will happen to how many, then do it."""
    session = context.db()
    if not allowed_kinds():
        abort(403)
    if "ticked" in request.args and "id" not in request.args:
        refuse(_("Tick the services first."))
        return redirect(url_for("services.index"))
    form = ChangeForm()
    chosen, parameters = _chosen()
    change, counts = None, {}
    if "kind" in request.args and form.validate():
        change = form.change()
        try:
            check_change(session, change)
        except Invalid as invalid:
            put_on_form(form, invalid)
            change = None
    if change is not None and request.method == "POST":
        try:
            seen = int(request.form.get("seen", "0")[:9] or 0)
            job = start_change(session, context.actor(), change, chosen, seen, change_text(change))
        except (Invalid, ValueError):
            session.rollback()
            refuse(_("The services changed since you looked. This is what would happen now."))
        else:
            session.commit()
            return redirect(url_for("jobs.page", job_id=job.id))
    named: list[Service] = []
    if change is not None:
        counts = preview(session, change, chosen)
        query = select(Service).where(Service.id.in_(chosen), verdict(change) == CHANGES).order_by(Service.name)
        loads = (selectinload(Service.subscriber), selectinload(Service.plan))
        named = list(session.scalars(query.options(*loads).limit(SHOWN)))
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    return render_template(
        "staff/mass_change/new.html", form=form, parameters=parameters, total=total, change=change,
        will=counts.pop(CHANGES, 0), stay=sorted(counts.items()), named=named, filters=_filter_words(parameters),
    )  # fmt: skip


def _filter_words(parameters: Mapping[str, Any]) -> list[str]:
    words = [
        str(dict(choice.choices()).get(parameters[choice.key], parameters[choice.key]))
        for choice in services_table().filters
        if choice.key in parameters
    ]
    return [*words, f"“{parameters['q']}”"] if "q" in parameters else words


def change_text(change: Change) -> str:
    """Return what a change does, in the reader's language."""
    match change.kind:
        case "plan":
            plan = context.db().get(RatePlan, change.plan_id)
            return str(_("Plan: %(plan)s", plan=plan.name if plan else "–"))
        case "suspend":
            return str(_("Suspend: %(cause)s", cause=label("suspension_cause", change.cause)))
        case "management":
            return label("management", change.management)
        case "paid_until":
            return str(_("Paid until: %(day)s", day=local_day(change.paid_until) if change.paid_until else "–"))
    return label("mass_change", change.kind)


def before_text(change: MassChange, before: Mapping[str, Any], plans: Mapping[int, str]) -> str:
    """Return what a service was before, in the words of the change; empty where nothing was changed."""
    if not before:
        return ""
    match change.kind:
        case "plan":
            return plans.get(before["plan_id"], "–")
        case "management":
            return label("management", before["management"])
        case "paid_until":
            return local_day(date.fromisoformat(before["paid_until"])) if before["paid_until"] else "–"
    return label("service_state", before["state"])


# What became of it.


def _in_state(state: str) -> ColumnElement[bool]:
    return MassChangeRow.state == state


def _problem(row: Any) -> str:
    return label("mass_verdict", row.MassChangeRow.problem) if row.MassChangeRow.problem else ""


TABLE = Table(
    name="mass-change",
    columns=(
        Column("name", _l("Name"), lambda row: row.Service.name, Service.name),
        Column("subscriber", _l("Subscriber"), lambda row: row.Service.subscriber.name),
        Column("result", _l("Result"), lambda row: label("mass_row", row.MassChangeRow.state)),
        Column("before", _l("Before"), lambda row: row.MassChangeRow.before.get("state"), wide=True),
        Column("why", _l("Why"), _problem, wide=True),
    ),
    order="name",
    tie=Service.id,
    filters=(Filter("state", _l("Any result"), lambda: choices("mass_row"), _in_state),),
)


@blueprint.get("/<int:change_id>")
@requires(Permission.SERVICES_MASS)
def page(change_id: int) -> ResponseReturnValue:
    session, change = context.db(), _change(change_id)
    query = (
        select(MassChangeRow, Service)
        .join(Service, Service.id == MassChangeRow.service_id)
        .where(MassChangeRow.mass_change_id == change.id)
        .options(selectinload(Service.subscriber))
    )
    counts = session.execute(
        select(MassChangeRow.state, func.count())
        .where(MassChangeRow.mass_change_id == change.id)
        .group_by(MassChangeRow.state)
    )
    plans = dict(session.execute(select(RatePlan.id, RatePlan.name)).all())
    return show(
        session, TABLE, query, "staff/mass_change/page.html", change=change, text=change_text(Change.of(change.terms)),
        counts=dict(counts.all()), plans=plans, under_way=_under_way(change),
        starter=session.get(Staff, change.staff_id) if change.staff_id else None, before_text=before_text,
        may_undo=context.may(NEEDED[change.kind]),
    )  # fmt: skip


@blueprint.post("/<int:change_id>/undo")
@requires(Permission.SERVICES_MASS)
def undo(change_id: int) -> ResponseReturnValue:
    """Take back what was done, as a job; what somebody changed since stays."""
    session, change = context.db(), _change(change_id)
    if not context.may(NEEDED[change.kind]):
        abort(403)
    try:
        job = start_undo(session, context.actor(), change, change_text(Change.of(change.terms)))
    except Invalid:
        session.rollback()
        refuse(_("There is nothing to take back, or a job is still at it."))
        return redirect(url_for(".page", change_id=change_id))
    session.commit()
    return redirect(url_for("jobs.page", job_id=job.id))


def _change(change_id: int) -> MassChange:
    return context.db().get(MassChange, change_id) or abort(404)


def _under_way(change: MassChange) -> Job | None:
    query = select(Job).where(
        Job.state.in_(("queued", "running")), Job.parameters["mass_change_id"].as_integer() == change.id
    )
    return context.db().scalars(query.limit(1)).first()
