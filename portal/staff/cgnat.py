"""Plans of ports for carrier-grade NAT: the list with its arithmetic, one plan with its versions, and its rules."""

from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import String, cast, select

from crm.jobs import start_job
from crm.problems import Invalid
from db.models import CgnatPlan, Nas, Router
from network.cgnat import FEWEST_PORTS, rule_count, script
from network.cgnat_plans import (
    TAKE_OFF,
    WRITE,
    PlanTerms,
    change_plan,
    checked_plan,
    create_plan,
    end_plan,
    key_of,
    port_plan,
    terms_of_plan,
    versions_of,
)
from portal import context, forms
from portal.errors import put_on_form
from portal.messages import done
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("cgnat", __name__, url_prefix="/cgnat")

GOOD_PORTS = 1_000
"""Ports for each below which the page warns: browsers open many connections, each kept for minutes after its end."""


def _states() -> list[tuple[str, Any]]:
    return [("now", _("In force")), ("over", _("Over"))]


def _public(plan: CgnatPlan) -> str:
    return (
        str(plan.public_first) if plan.public_first == plan.public_last else f"{plan.public_first}-{plan.public_last}"
    )


TABLE = Table(
    name="cgnat",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, CgnatPlan.name),
        Column("private", _l("Private network"), lambda row: row.private, CgnatPlan.private),
        Column("public", _l("Public addresses"), _public, CgnatPlan.public_first),
        Column("ports", _l("Ports for each"), lambda row: row.ports, CgnatPlan.ports, numeric=True),
        Column("sharing", _l("Share an address"), lambda row: port_plan(row).per_address, numeric=True, wide=True),
        Column("from", _l("From"), lambda row: row.valid_from, CgnatPlan.valid_from, wide=True),
        Column("until", _l("Until"), lambda row: row.valid_until, CgnatPlan.valid_until, wide=True),
    ),
    order="-from",
    tie=CgnatPlan.id,
    filters=(
        Filter(
            "state", _l("Whenever"), _states,
            lambda value: CgnatPlan.valid_until.is_(None) if value == "now" else CgnatPlan.valid_until.is_not(None),
        ),
    ),
    search=lambda words: CgnatPlan.name.icontains(words, autoescape=True)
    | cast(CgnatPlan.private, String).startswith(words, autoescape=True)
    | cast(CgnatPlan.public_first, String).startswith(words, autoescape=True),
    search_hint=_l("Name or network"),
)  # fmt: skip


class PlanForm(forms.Form):
    name = forms.text(_l("Name"), required=True)
    private = forms.text(_l("Private network"), required=True)
    public_first = forms.text(_l("First public address"), required=True)
    public_last = forms.text(_l("Last public address"))
    ports = forms.whole_number(_l("Ports for each subscriber"))
    first_port = forms.whole_number(_l("First port"), required=True, default=1024)
    last_port = forms.whole_number(_l("Last port"), required=True, default=65_535)
    nas_id = forms.choice(_l("Subscribers of this router"), numeric=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        routers = context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))
        self.nas_id.choices = [("", _("All routers")), *((row.id, row.name) for row in routers)]

    def terms(self) -> PlanTerms:
        return PlanTerms(
            name=self.name.data or "",
            private=self.private.data or "",
            public_first=self.public_first.data or "",
            public_last=self.public_last.data,
            ports=self.ports.data,
            first_port=self.first_port.data or 0,
            last_port=self.last_port.data or 0,
            nas_id=self.nas_id.data,
        )


@blueprint.get("/")
@requires(Permission.POOLS_VIEW)
def index() -> ResponseReturnValue:
    return show(context.db(), TABLE, select(CgnatPlan), "staff/cgnat/index.html", public=_public, plan_of=port_plan)


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.POOLS_EDIT)
def create() -> ResponseReturnValue:
    form = PlanForm()
    return _edited(form, None)


@blueprint.route("/<int:plan_id>/edit", methods=["GET", "POST"])
@requires(Permission.POOLS_EDIT)
def edit(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    if plan.valid_until is not None:
        abort(404)
    terms = terms_of_plan(plan)
    return _edited(PlanForm(data={name: getattr(terms, name) for name in PlanTerms.__slots__}), plan)


def _edited(form: PlanForm, plan: CgnatPlan | None) -> ResponseReturnValue:
    """Show the form, with the arithmetic of what stands in it; only `save` enters it."""
    reckoned = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            reckoned = checked_plan(form.terms())
            if "save" in request.form:
                if plan is None:
                    made = create_plan(session, context.actor(), form.terms(), context.now())
                else:
                    made = change_plan(session, context.actor(), plan, form.terms(), context.now())
                session.commit()
                done(_("The plan holds from now on. Put its rules on the router next."))
                return redirect(url_for("cgnat.page", plan_id=made.id))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
    page = render_template(
        "staff/cgnat/form.html",
        form=form,
        plan=plan,
        reckoned=reckoned,
        rules=rule_count(reckoned) if reckoned else 0,
        good=GOOD_PORTS,
        fewest=FEWEST_PORTS,
    )
    return page, 422 if form.errors else 200


@blueprint.get("/<int:plan_id>")
@requires(Permission.POOLS_VIEW)
def page(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    session = context.db()
    arithmetic = port_plan(plan)
    routers = select(Nas.id, Nas.name).join(Router, Router.nas_id == Nas.id).order_by(Nas.name)
    if plan.nas_id is not None:
        routers = routers.where(Nas.id == plan.nas_id)
    versions = session.scalars(
        select(CgnatPlan).where(CgnatPlan.id.in_(versions_of(session, plan))).order_by(CgnatPlan.valid_from.desc())
    ).all()
    shown = min(arithmetic.subscribers, 64)
    blocks = [
        (private, arithmetic.outside(private)) for private in (arithmetic.private[number] for number in range(shown))
    ]
    return render_template(
        "staff/cgnat/page.html",
        plan=plan,
        reckoned=arithmetic,
        rules=rule_count(arithmetic),
        good=GOOD_PORTS,
        public=_public(plan),
        routers=session.execute(routers).all(),
        nas=session.scalar(select(Nas.name).where(Nas.id == plan.nas_id)) if plan.nas_id else None,
        versions=versions,
        blocks=blocks,
        followed=session.scalar(select(CgnatPlan.id).where(CgnatPlan.follows_id == plan.id)),
    )


@blueprint.get("/<int:plan_id>/script")
@requires(Permission.POOLS_VIEW)
def rules_script(plan_id: int) -> ResponseReturnValue:
    """Hand out the rules as a script for RouterOS. It holds no secret."""
    plan = _plan(plan_id)
    headers = {"Content-Disposition": f'attachment; filename="cgnat-{plan.id}.rsc"', "Cache-Control": "no-store"}
    return Response(script(port_plan(plan), key_of(plan)), mimetype="text/plain", headers=headers)


@blueprint.post("/<int:plan_id>/<action>")
@requires(Permission.POOLS_EDIT)
def start(plan_id: int, action: str) -> ResponseReturnValue:
    """Begin to put the rules on a router (`write`), or to take them off (`take-off`)."""
    plan = _plan(plan_id)
    kind = {"write": WRITE, "take-off": TAKE_OFF}.get(action) or abort(404)
    session = context.db()
    nas = session.get(Nas, request.form.get("nas_id", 0, type=int)) or abort(404)
    if kind == WRITE and plan.valid_until is not None:
        abort(404)
    job = start_job(session, context.actor(), kind, {"plan_id": plan.id, "nas_id": nas.id}, nas.name)
    session.commit()
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.post("/<int:plan_id>/end")
@requires(Permission.POOLS_EDIT)
def end(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    end_plan(context.db(), context.actor(), plan, context.now())
    context.db().commit()
    done(_("%(plan)s is over. What it says about its time stays.", plan=plan.name))
    return redirect(url_for("cgnat.page", plan_id=plan_id))


def _plan(plan_id: int) -> CgnatPlan:
    return context.db().get(CgnatPlan, plan_id) or abort(404)
