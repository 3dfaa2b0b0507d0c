"""What is entered for a service: the forms that create and edit one. The change reaches routers by itself."""

from dataclasses import fields
from typing import Any

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import delete, select
from wtforms import HiddenField, PasswordField

from aaa.facts import Extra
from crm.attributes import BadAttribute, format_extra, parse_extra
from crm.fields import set_values, values_of
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.service_terms import ENTERED, ServiceTerms
from crm.services import change_service, create_service, terms_of_service
from db.models import Nas, RatePlan, SeenDevice
from portal import context
from portal.errors import put_on_form, wrong_state_text
from portal.fields import RateField
from portal.formats import rate
from portal.forms import OPTIONAL, Form, choice, day, long_text, seen_version, text, whole_number
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.own_fields import filled, own_fields, typed_into, with_own_fields
from portal.permissions import Permission, requires
from portal.sector_choices import sector_choices
from portal.staff.services.base import blueprint, find
from portal.staff.subscribers import differences
from portal.staff.subscribers import find as find_subscriber


class ServiceForm(Form):
    access_method = choice(_l("Access by"))
    name = text(_l("User name or MAC address"), required=True)
    password = PasswordField(_l("Password"))
    plan_id = choice(_l("Rate plan"), numeric=True)
    state = choice(_l("Begins"))
    paid_until = day(_l("Paid until"))
    management = choice(_l("Cut-off"))
    nas_id = choice(_l("Only at this NAS"), numeric=True)
    sector_id = choice(_l("Sector"), numeric=True)
    line_of_sight = choice(_l("Line of sight"), filters=[lambda seen: seen or ""])
    framed_ip = text(_l("Fixed IPv4 address"))
    pool = text(_l("Address pool"))
    framed_ipv6_prefix = text(_l("IPv6 prefix of the line"))
    delegated_ipv6_prefix = text(_l("IPv6 prefix delegated to the subscriber"))
    framed_routes = long_text(_l("Routes to the subscriber"))
    rate_download = RateField(_l("Download instead of the plan's"), [OPTIONAL])
    rate_upload = RateField(_l("Upload instead of the plan's"), [OPTIONAL])
    session_limit = whole_number(_l("Sessions at the same time"), default=1)
    mac_binding = choice(_l("Devices"))
    macs = long_text(_l("MAC addresses of the devices"))
    max_macs = whole_number(_l("How many devices are learnt"), default=1)
    extra = long_text(_l("Further RADIUS attributes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        methods = [*ENTERED]
        self.access_method.choices = [(method.value, label("access_method", method)) for method in methods]
        kept = self.plan_id.object_data
        plans = context.db().scalars(select(RatePlan).order_by(RatePlan.archived, RatePlan.name))
        self.plan_id.choices = [
            (plan.id, f"{plan.name} · {rate(plan.download)} / {rate(plan.upload)}")
            for plan in plans
            if not plan.archived or plan.id == kept
        ]
        everywhere = [("", _("At any NAS"))]
        self.nas_id.choices = everywhere + [
            (nas.id, nas.name) for nas in context.db().scalars(select(Nas).order_by(Nas.name))
        ]
        self.sector_id.choices = sector_choices(self.sector_id.object_data)
        self.line_of_sight.choices = [("", _("Not known")), *choices("line_of_sight")]
        self.management.choices = choices("management")
        self.mac_binding.choices = choices("mac_binding")
        self.state.choices = [("active", _("Now: it is installed")), ("pending", _("Later: it is yet to be installed"))]

    def terms(self) -> ServiceTerms:
        """Return what was typed. Raises Invalid where the extra attributes cannot be read."""
        extra: tuple[Extra, ...] = ()
        try:
            extra = parse_extra(self.extra.data or "")
        except BadAttribute as refused:
            detail = {"name": refused.name, "flaw": refused.flaw.value}
            raise Invalid(FieldProblem("extra", Problem.ATTRIBUTE, detail)) from None
        return ServiceTerms(
            access_method=self.access_method.data,
            name=self.name.data or "",
            plan_id=self.plan_id.data or 0,
            nas_id=self.nas_id.data,
            sector_id=self.sector_id.data,
            line_of_sight=self.line_of_sight.data or None,
            management=self.management.data,
            framed_ip=self.framed_ip.data,
            framed_routes=_lines(self.framed_routes.data),
            framed_ipv6_prefix=self.framed_ipv6_prefix.data,
            delegated_ipv6_prefix=self.delegated_ipv6_prefix.data,
            pool=self.pool.data,
            rate_download=self.rate_download.data,
            rate_upload=self.rate_upload.data,
            session_limit=1 if self.session_limit.data is None else self.session_limit.data,
            mac_binding=self.mac_binding.data,
            macs=_lines(self.macs.data),
            max_macs=self.max_macs.data or 1,
            extra=extra,
        )


def _lines(typed: str | None) -> tuple[str, ...]:
    return tuple(line.strip() for line in (typed or "").splitlines() if line.strip())


def _as_typed(terms: ServiceTerms) -> dict[str, Any]:
    """Return stored terms as the fields of the form hold them."""
    typed: dict[str, Any] = {field.name: getattr(terms, field.name) for field in fields(terms)}
    for name in ("framed_routes", "macs"):
        typed[name] = "\n".join(typed[name])
    typed["extra"] = format_extra(terms.extra)
    return typed


@blueprint.route("/new/<int:subscriber_id>", methods=["GET", "POST"])
@requires(Permission.SERVICES_EDIT)
def create(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find_subscriber(subscriber_id)
    mac = request.args.get("mac")  # a device picked from the list of unknown ones
    own = own_fields("service")
    form = with_own_fields(ServiceForm, own)(data={"access_method": "mac", "name": mac} if mac else None)
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            service = create_service(
                session,
                context.actor(),
                context.keyring(),
                subscriber,
                form.terms(),
                form.password.data or None,
                state="pending" if form.state.data == "pending" else "active",
                paid_until=form.paid_until.data,
                now=context.now(),
            )
            if own:
                set_values(session, context.actor(), service, typed_into(form, own))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            if service.access_method == "mac":
                session.execute(delete(SeenDevice).where(SeenDevice.mac == service.name))
            session.commit()
            done(_("%(name)s is entered. It is in force within a second.", name=service.name))
            return redirect(url_for("subscribers.page", subscriber_id=subscriber.id))
    return render_template(
        "staff/services/form.html", form=form, subscriber=subscriber, service=None, theirs=None, seen=_seen_devices()
    )


def _seen_devices() -> list[SeenDevice]:
    """Return the devices that asked lately and are not registered, for the technician to pick from."""
    query = select(SeenDevice).order_by(SeenDevice.last_seen_at.desc()).limit(50)
    return list(context.db().scalars(query))


@blueprint.route("/<int:service_id>/edit", methods=["GET", "POST"])
@requires(Permission.SERVICES_EDIT)
def edit(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    session = context.db()
    own = own_fields("service")
    stored = {**_as_typed(terms_of_service(session, service)), "version": str(service.version)}
    form = with_own_fields(ServiceForm, own)(data={**stored, **filled(values_of(session, service))})
    for only_new in ("state", "password", "paid_until"):
        del form[only_new]
    theirs = None
    if request.method == "POST" and form.validate():
        try:
            typed = form.terms()
            change_service(session, context.actor(), service, typed, seen_version(form.version), context.now())
            if own:
                set_values(session, context.actor(), service, typed_into(form, own))
        except Invalid as invalid:
            session.rollback()
            service = find(service_id)
            put_on_form(form, invalid)
        except WrongState as problem:
            refuse(wrong_state_text(problem))
            return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))
        except ChangedMeanwhile:
            theirs = differences(terms_of_service(session, service), typed)
            form.version.data = str(service.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("%(name)s is saved. Live sessions follow at once.", name=service.name))
            return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))
    page = render_template(
        "staff/services/form.html", form=form, subscriber=service.subscriber, service=service, theirs=theirs, seen=[]
    )
    return page, 409 if theirs is not None else 200
