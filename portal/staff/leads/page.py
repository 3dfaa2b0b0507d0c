"""One lead: entered, edited, followed up, won or lost."""

from typing import Any

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import and_, select
from wtforms import HiddenField

from billing.quotes import quotes_of
from crm.leads import (
    OPEN,
    LeadDetails,
    WrongLeadState,
    change_lead,
    create_lead,
    details_of_lead,
    move_lead,
    subscriber_details,
    win,
)
from crm.problems import ChangedMeanwhile, Invalid
from crm.subscribers import namesakes
from db.models import AuditEntry, Lead, RatePlan, Staff, Subscriber
from portal import context
from portal.errors import problem_text, put_on_form
from portal.forms import Form, choice, coordinate, day, long_text, seen_version, text
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.leads.base import blueprint, find, lead_state_text
from portal.staff.subscribers import differences


class LeadForm(Form):
    name = text(_l("Name"), required=True)
    phone = text(_l("Phone"))
    email = text(_l("E-mail address"))
    address = text(_l("Address"))
    latitude = coordinate(_l("Latitude"))
    longitude = coordinate(_l("Longitude"))
    source = choice(_l("How they came to us"), default="phone")
    plan_id = choice(_l("Plan they wish for"), numeric=True)
    seller_id = choice(_l("Seller"), numeric=True)
    next_step = text(_l("Next step"))
    next_step_on = day(_l("On the day"))
    notes = long_text(_l("Notes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session = context.db()
        self.source.choices = choices("lead_source")
        plans = session.scalars(select(RatePlan).order_by(RatePlan.archived, RatePlan.price, RatePlan.name))
        kept = self.plan_id.object_data
        self.plan_id.choices = [
            ("", _("not known yet")),
            *((plan.id, plan.name) for plan in plans if not plan.archived or plan.id == kept),
        ]
        people = session.scalars(select(Staff).where(Staff.active).order_by(Staff.name))
        self.seller_id.choices = [("", _("me")), *((person.id, person.name) for person in people)]

    def details(self) -> LeadDetails:
        values = {name: getattr(self, name).data for name in LeadDetails.__slots__}
        return LeadDetails(**{**values, "next_step": values["next_step"] or "", "notes": values["notes"] or ""})


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.LEADS_EDIT)
def create() -> ResponseReturnValue:
    form = LeadForm(data={"plan_id": request.args.get("plan", type=int), "source": "phone"})
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            lead = create_lead(session, context.actor(), form.details())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(name)s is entered.", name=lead.name))
            return redirect(url_for(".page", lead_id=lead.id))
    status = 422 if form.errors else 200
    return render_template("staff/leads/form.html", form=form, lead=None, theirs=None), status


@blueprint.route("/<int:lead_id>/edit", methods=["GET", "POST"])
@requires(Permission.LEADS_EDIT)
def edit(lead_id: int) -> ResponseReturnValue:
    lead = find(lead_id)
    form = LeadForm(obj=lead)
    theirs = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            change_lead(session, context.actor(), lead, form.details(), seen_version(form.version))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            theirs = differences(details_of_lead(lead), form.details())
            form.version.data = str(lead.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", lead_id=lead.id))
    page = render_template("staff/leads/form.html", form=form, lead=lead, theirs=theirs)
    return page, 409 if theirs is not None else 422 if form.errors else 200


@blueprint.get("/<int:lead_id>")
@requires(Permission.LEADS_VIEW)
def page(lead_id: int) -> ResponseReturnValue:
    lead = find(lead_id)
    session = context.db()
    entries = select(AuditEntry).where(and_(AuditEntry.entity == "lead", AuditEntry.entity_id == lead.id))
    return render_template(
        "staff/leads/page.html",
        lead=lead,
        plan=session.get(RatePlan, lead.plan_id) if lead.plan_id is not None else None,
        seller=session.get(Staff, lead.seller_id) if lead.seller_id is not None else None,
        quotes=quotes_of(session, lead),
        subscriber=session.get(Subscriber, lead.subscriber_id) if lead.subscriber_id is not None else None,
        alike=namesakes(session, subscriber_details(lead)) if lead.state in OPEN else [],
        entries=list(session.scalars(entries.order_by(AuditEntry.id.desc()).limit(50))),
        is_open=lead.state in OPEN,
        states=OPEN,
        today=context.now().astimezone(context.zone()).date(),
    )


@blueprint.post("/<int:lead_id>/state")
@requires(Permission.LEADS_EDIT)
def state(lead_id: int) -> ResponseReturnValue:
    lead = find(lead_id)
    session = context.db()
    wanted = request.form.get("state", "")
    try:
        move_lead(session, context.actor(), lead, wanted, context.now(), request.form.get("reason", ""))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except WrongLeadState as problem:
        session.rollback()
        refuse(lead_state_text(problem))
    else:
        session.commit()
        done(_("%(name)s: %(state)s", name=lead.name, state=label("lead_state", lead.state).lower()))
    if request.form.get("back") == "board":
        return redirect(url_for(".board"))
    return redirect(url_for(".page", lead_id=lead_id))


@blueprint.post("/<int:lead_id>/win")
@requires(Permission.LEADS_EDIT)
def win_now(lead_id: int) -> ResponseReturnValue:
    """Make a subscriber of the lead, or tie it to the one who was named, and go on to the plans or to the sale."""
    lead: Lead = find(lead_id)
    session = context.db()
    known = request.form.get("subscriber_id", type=int)
    found = session.get(Subscriber, known) if known is not None else None
    try:
        subscriber = win(session, context.actor(), lead, found, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        return redirect(url_for(".page", lead_id=lead_id))
    except WrongLeadState as problem:
        session.rollback()
        refuse(lead_state_text(problem))
        return redirect(url_for(".page", lead_id=lead_id))
    session.commit()
    done(_("%(name)s is a subscriber now.", name=subscriber.name))
    if not context.may(Permission.SERVICES_EDIT):
        return redirect(url_for("subscribers.page", subscriber_id=subscriber.id))
    if lead.plan_id is None:  # not the first of the list by accident
        return redirect(url_for("sales.plans", subscriber=subscriber.id, lead=lead.id))
    return redirect(url_for("sales.sell", subscriber_id=subscriber.id, lead=lead.id, plan=lead.plan_id))
