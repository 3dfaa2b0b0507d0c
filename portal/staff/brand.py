"""The pages of subscribers as staff see them: the brand, what subscribers may do, their wishes, and looking as one.

Looking with a subscriber's eyes is written into the audit log, ends by itself after a quarter of an hour, and changes
nothing: the subscriber's pages refuse whatever is not just read (`portal.subscriber.frame`).
"""

from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField, FileField, SelectMultipleField

from billing.following import follow_service
from billing.logo import checked_logo
from billing.rules import billing_is_on, rules_of
from core.colours import READABLE, WHITE, contrast
from core.i18n import N_
from crm.brands import (
    Allowed,
    BrandDetails,
    allowed_by,
    brand_of,
    change_allowed,
    change_brand,
    change_logo,
    details_of,
)
from crm.messages import tell_subscriber
from crm.plan_requests import grant_request, refuse_request
from crm.problems import Invalid, WrongState
from crm.subscriber_logins import give_login
from db.audit import record
from db.models import PlanRequest, RatePlan, Service, Subscriber, SubscriberLogin
from portal import context, forms
from portal.errors import problem_text, put_on_form, wrong_state_text
from portal.fields import Option
from portal.files import expect_files
from portal.forms import Form
from portal.home_tiles import Line, Lines, tile
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.subscriber import frame

blueprint = Blueprint("brand", __name__, url_prefix="/settings/subscriber-portal")

PLAN_CHANGES = (
    ("no", N_("Not offered")),
    ("ask", N_("They ask, staff confirm")),
    ("at_once", N_("At once")),
)


@blueprint.url_value_preprocessor
def _take_logos(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    if endpoint == "brand.index":
        expect_files(1)


class BrandForm(Form):
    name = forms.text(_l("Name that subscribers read"))
    colour = forms.text(_l("Colour"), required=True)
    logo = FileField(_l("Logo"))
    remove_logo = BooleanField(_l("Remove the logo"))
    host = forms.text(_l("Host name of your own"))
    phone = forms.text(_l("Phone"))
    whatsapp = forms.text(_l("WhatsApp number"))
    email = forms.text(_l("E-mail address"))
    terms = forms.long_text(_l("Terms of use"))

    def details(self) -> BrandDetails:
        values = {name: getattr(self, name).data for name in BrandDetails.__slots__}
        return BrandDetails(**{**values, "colour": self.colour.data or "", "terms": self.terms.data or ""})


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.SETTINGS_EDIT)
def index() -> ResponseReturnValue:
    session, operator_id = context.db(), context.staff().operator_id
    kept = details_of(session, operator_id)
    form = BrandForm(data={name: getattr(kept, name) for name in BrandDetails.__slots__})
    if request.method == "POST" and form.validate():
        upload = request.files.get("logo")
        try:
            logo = checked_logo(upload.read()) if upload is not None and upload.filename else None
            change_brand(session, context.actor(), form.details())
            if logo is not None or form.remove_logo.data:
                change_logo(session, context.actor(), logo)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved. Your subscribers see it at once."))
            return redirect(url_for(".index"))
    brand = brand_of(session, context.operator())
    page = render_template(
        "staff/brand/index.html",
        form=form,
        brand=brand,
        address=brand.portal_url(context.portal().settings.public_url),
        pale=contrast(brand.colour, WHITE) < READABLE,
    )
    return page, 422 if form.errors else 200


class AllowedForm(Form):
    enabled = BooleanField(_l("Subscribers have pages of their own"))
    send_logins = BooleanField(_l("Send the first login when a service becomes active"))
    plan_change = forms.choice(_l("Change of plan"))
    offered_plans = SelectMultipleField(_l("Plans that are offered"), coerce=int)
    may_boost = BooleanField(_l("Buy the boost that their plan offers"))
    may_promise = BooleanField(_l("Promise to pay"))
    may_pause = BooleanField(_l("Pause and resume"))


@blueprint.route("/rights", methods=["GET", "POST"])
@requires(Permission.SETTINGS_EDIT)
def rights() -> ResponseReturnValue:
    """What subscribers may do by themselves."""
    session = context.db()
    kept = allowed_by(session, context.staff().operator_id)
    form = AllowedForm(
        data={**{name: getattr(kept, name) for name in Allowed.__slots__}, "offered_plans": list(kept.offered_plans)}
    )
    form.plan_change.choices = [Option(key, _(title)) for key, title in PLAN_CHANGES]
    plans = session.scalars(select(RatePlan).where(~RatePlan.archived).order_by(RatePlan.download, RatePlan.id)).all()
    form.offered_plans.choices = [(plan.id, plan.name) for plan in plans]
    if request.method == "POST" and form.validate():
        wanted = {name: getattr(form, name).data for name in Allowed.__slots__}
        try:
            change_allowed(
                session, context.actor(), Allowed(**{**wanted, "offered_plans": tuple(form.offered_plans.data or ())})
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".rights"))
    return render_template("staff/brand/rights.html", form=form, plans=plans), 422 if form.errors else 200


# Wishes for another plan.


@blueprint.get("/requests")
@requires(Permission.SERVICES_EDIT)
def plan_requests() -> ResponseReturnValue:
    session = context.db()
    rows = session.execute(
        select(PlanRequest, Subscriber, Service, RatePlan)
        .join(Subscriber, Subscriber.id == PlanRequest.subscriber_id)
        .join(Service, Service.id == PlanRequest.service_id)
        .join(RatePlan, RatePlan.id == PlanRequest.plan_id)
        .order_by(PlanRequest.state != "open", PlanRequest.id.desc())
        .limit(100)
    ).all()
    plans = {plan.id: plan for plan in session.scalars(select(RatePlan))}
    return render_template("staff/brand/requests.html", rows=rows, plans=plans)


@blueprint.post("/requests/<int:request_id>/<step>")
@requires(Permission.SERVICES_EDIT)
def decide(request_id: int, step: str) -> ResponseReturnValue:
    """Grant or refuse a wish; a new plan is billed at once, as the subscriber was shown."""
    if step not in ("grant", "refuse"):
        abort(404)
    session = context.db()
    wish = session.get(PlanRequest, request_id) or abort(404)
    try:
        if step == "refuse":
            refuse_request(session, context.actor(), wish, context.now())
        else:
            service = grant_request(session, context.actor(), wish, context.now())
            if billing_is_on(session, service.operator_id):
                rules = rules_of(session, service.operator_id)
                follow_service(session, context.actor(), rules, service, context.now())
        subscriber = session.get_one(Subscriber, wish.subscriber_id)
        plan = session.get_one(RatePlan, wish.plan_id)
        event = "plan_granted" if step == "grant" else "plan_refused"
        tell_subscriber(session, context.keyring(), subscriber, event, {"plan": plan.name})
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("The plan is changed.") if step == "grant" else _("The wish is refused."))
    return redirect(url_for(".plan_requests"))


@tile("plan_requests", N_("Wishes for another plan"), ("manager", "sales", "support"), Permission.SERVICES_EDIT)
def waiting_requests() -> Lines | None:
    """What subscribers wait for; no tile where nobody does."""
    rows = (
        context.db()
        .execute(
            select(PlanRequest, Subscriber.name, RatePlan.name)
            .join(Subscriber, Subscriber.id == PlanRequest.subscriber_id)
            .join(RatePlan, RatePlan.id == PlanRequest.plan_id)
            .where(PlanRequest.state == "open")
            .order_by(PlanRequest.id)
            .limit(5)
        )
        .all()
    )
    url = url_for("brand.plan_requests")
    return Lines([Line(name, url, plan) for _wish, name, plan in rows], url=url) if rows else None


# One subscriber's login.


@blueprint.post("/subscribers/<int:subscriber_id>/login")
@requires(Permission.SUBSCRIBERS_EDIT)
def send_login(subscriber_id: int) -> ResponseReturnValue:
    """Send the first login, or the same once more to who lost it."""
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    login = session.get(SubscriberLogin, subscriber.id)
    if login is not None:
        login.given_at = None
        session.flush()
    url = context.portal().settings.public_url
    if give_login(session, context.keyring(), subscriber, url, context.now()) is None:
        session.rollback()
        refuse(_("There is no e-mail address that it could be sent to. Enter one first."))
    else:
        session.commit()
        done(_("The login is on its way to %(address)s.", address=subscriber.email))
    return redirect(url_for("subscribers.page", subscriber_id=subscriber_id))


@blueprint.post("/subscribers/<int:subscriber_id>/look")
@requires(Permission.SUBSCRIBERS_EDIT)
def look(subscriber_id: int) -> ResponseReturnValue:
    """Open the subscriber's own pages, to read what they read."""
    session, person = context.db(), context.staff()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    if not allowed_by(session, person.operator_id).enabled:
        abort(404)
    login = session.get(SubscriberLogin, subscriber.id)
    record(session, context.actor(), "subscriber.look", "subscriber", subscriber.id, None, {"looked": "as subscriber"})
    session.commit()
    slug = context.operator().slug
    response: Response = redirect(url_for("my.home", slug=slug))  # type: ignore[assignment]
    return frame.look_as(response, subscriber, slug, login.session_version if login is not None else 1, person.id)
