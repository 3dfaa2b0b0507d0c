"""Services: the list, create and edit, and the steps of a service's life.

Each step has a page that says what will happen and to how many sessions, then asks once; what can be undone is done at
once from the subscriber's page and offers Undo. The views only commit: the change reaches routers by itself.
"""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import selectinload
from wtforms import HiddenField, PasswordField
from wtforms.validators import InputRequired

from aaa.facts import Extra
from core.clock import utc_now
from crm.attributes import BadAttribute, format_extra, parse_extra
from crm.equipment import installed_at
from crm.fields import set_values
from crm.leave_reasons import reasons_of
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.services import (
    CAUSES,
    ENTERED,
    ServiceTerms,
    activate,
    change_plan_of,
    change_service,
    create_service,
    pause,
    reinstate,
    restore,
    resume,
    reveal_password,
    set_paid_until,
    set_password,
    suspend,
    terminate,
    terms_of_service,
)
from db.models import AccountingSession, Nas, RatePlan, SeenDevice, Service, Subscriber
from portal import context
from portal.errors import put_on_form, wrong_state_text
from portal.fields import RateField
from portal.formats import local_day, rate
from portal.forms import OPTIONAL, Form, choice, day, long_text, seen_version, text, whole_number
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.own_fields import own_fields, typed_into, with_own_fields
from portal.permissions import Permission, requires
from portal.sector_choices import sector_choices
from portal.staff.subscribers import BY_NAME, differences
from portal.staff.subscribers import find as find_subscriber
from portal.tables import Column, Filter, Table, matching, show

blueprint = Blueprint("services", __name__, url_prefix="/services")


# The list.


def _search(words: str) -> ColumnElement[bool]:
    return Service.id.in_(matching(func.search_services, words))


def _in_state(state: str) -> ColumnElement[bool]:
    if state == "overdue":
        today = context.now().astimezone(context.zone()).date()
        return and_(
            Service.paid_until < today, Service.management == "automatic", Service.state.in_(("active", "suspended"))
        )
    return Service.state == state


def _state_choices() -> list[tuple[str, Any]]:
    return [*choices("service_state"), ("overdue", _("Unpaid"))]


def _plan_choices() -> list[tuple[str, Any]]:
    rows = context.db().execute(select(RatePlan.id, RatePlan.name).order_by(RatePlan.name))
    return [(str(row.id), row.name) for row in rows]


def _method_choices() -> list[tuple[str, Any]]:
    return choices("access_method")


def _with_subscriber(query: Any) -> Any:
    return query.join(Service.subscriber)


TABLE = Table(
    name="services",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, Service.name),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber.name, BY_NAME, _with_subscriber),
        Column("state", _l("State"), lambda row: label("service_state", row.state)),
        Column("plan", _l("Rate plan"), lambda row: row.plan.name, wide=True),
        Column("access", _l("Access by"), lambda row: label("access_method", row.access_method), wide=True),
        Column("paid_until", _l("Paid until"), lambda row: row.paid_until, wide=True),
        Column("created", _l("Since"), lambda row: row.created_at, Service.created_at, wide=True),
    ),
    order="name",
    tie=Service.id,
    filters=(
        Filter("state", _l("Any state"), _state_choices, _in_state),
        Filter("plan", _l("Any plan"), _plan_choices, lambda value: Service.plan_id == int(value)),
        Filter("access", _l("Any access"), _method_choices, lambda value: Service.access_method == value),
    ),
    search=_search,
    search_hint=_l("User name, MAC, subscriber"),
    count_up_to=200_000,
)


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    query = select(Service).options(selectinload(Service.subscriber), selectinload(Service.plan))
    query = query.where(~Service.subscriber.has(Subscriber.removed_at.is_not(None)))
    return show(context.db(), TABLE, query, "staff/services/index.html")


# What is entered.


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
    form = ServiceForm(data={**_as_typed(terms_of_service(session, service)), "version": str(service.version)})
    for only_new in ("state", "password", "paid_until"):
        del form[only_new]
    theirs = None
    if request.method == "POST" and form.validate():
        try:
            typed = form.terms()
            change_service(session, context.actor(), service, typed, seen_version(form.version))
        except Invalid as invalid:
            session.rollback()
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


def find(service_id: int) -> Service:
    """Return a service of this operator with its subscriber and plan, or answer 404."""
    query = (
        select(Service)
        .where(Service.id == service_id)
        .options(selectinload(Service.subscriber), selectinload(Service.plan))
    )
    return context.db().scalars(query).one_or_none() or abort(404)


# Steps. Those that can be taken back are done at once and offer Undo.


def _take_step(service: Service, step: Callable[[Service], object]) -> bool:
    """Take a step and commit; say why when the service's state does not allow it."""
    session = context.db()
    try:
        step(service)
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
        return False
    except Invalid as invalid:
        session.rollback()
        form = Form()
        put_on_form(form, invalid)
        refuse(" ".join(form.form_errors))
        return False
    session.commit()
    return True


def _back(service: Service) -> ResponseReturnValue:
    return redirect(url_for("subscribers.page", subscriber_id=service.subscriber_id))


def _live_count(service: Service) -> int:
    open_sessions = select(func.count()).where(
        AccountingSession.service_id == service.id, AccountingSession.ended_at.is_(None)
    )
    return context.db().scalar(open_sessions) or 0


class SuspendForm(Form):
    cause = choice(_l("Why"), default="staff")
    detail = text(_l("Note for your colleagues"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cause.choices = [(cause, label("suspension_cause", cause)) for cause in CAUSES]


@blueprint.route("/<int:service_id>/suspend", methods=["GET", "POST"])
@requires(Permission.SERVICES_SUSPEND)
def suspend_page(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    form = SuspendForm()
    if request.method == "POST" and form.validate():
        cause, detail = form.cause.data, form.detail.data or ""

        def step(found: Service) -> None:
            suspend(context.db(), context.actor(), found, cause, detail, utc_now())

        if _take_step(service, step):
            done(_("%(name)s is suspended.", name=service.name), undo=url_for(".restore_now", service_id=service.id))
        return _back(service)
    return render_template("staff/services/suspend.html", form=form, service=service, live=_live_count(service))


@blueprint.post("/<int:service_id>/restore")
@requires(Permission.SERVICES_SUSPEND)
def restore_now(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    cause, detail = service.suspension_cause or "staff", service.suspension_detail
    if _take_step(service, lambda found: restore(context.db(), context.actor(), found)):
        done(
            _("%(name)s is restored.", name=service.name),
            undo=url_for(".suspend_page", service_id=service.id),
            cause=cause,
            detail=detail,
        )
    return _back(service)


@blueprint.post("/<int:service_id>/pause")
@requires(Permission.SERVICES_SUSPEND)
def pause_now(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    if _take_step(service, lambda found: pause(context.db(), context.actor(), found)):
        done(_("%(name)s is paused.", name=service.name), undo=url_for(".resume_now", service_id=service.id))
    return _back(service)


@blueprint.post("/<int:service_id>/resume")
@requires(Permission.SERVICES_SUSPEND)
def resume_now(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    if _take_step(service, lambda found: resume(context.db(), context.actor(), found)):
        done(_("%(name)s goes on.", name=service.name), undo=url_for(".pause_now", service_id=service.id))
    return _back(service)


@blueprint.post("/<int:service_id>/activate")
@requires(Permission.SERVICES_EDIT)
def activate_now(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    if _take_step(service, lambda found: activate(context.db(), context.actor(), found, utc_now())):
        done(_("%(name)s is active.", name=service.name))
    return _back(service)


@blueprint.route("/<int:service_id>/terminate", methods=["GET", "POST"])
@requires(Permission.SERVICES_TERMINATE)
def terminate_page(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    reasons = reasons_of(context.db(), service.operator_id)
    reason = request.form.get("reason", "")
    missing = request.method == "POST" and reason not in reasons
    if request.method == "POST" and not missing:
        note = request.form.get("note", "").replace("\0", "").strip()
        if _take_step(service, lambda found: terminate(context.db(), context.actor(), found, utc_now(), reason, note)):
            done(
                _("%(name)s is terminated.", name=service.name),
                undo=url_for(".reinstate_now", service_id=service.id),
            )
            if context.may(Permission.WORK_ORDERS_EDIT) and installed_at(context.db(), service):
                return redirect(url_for("work_orders.create", kind="recovery", service=service.id))
        return _back(service)
    page = render_template(
        "staff/services/terminate.html", service=service, live=_live_count(service), reasons=reasons, missing=missing,
        may_change=context.may(Permission.SETTINGS_EDIT),
    )  # fmt: skip
    return page, 422 if missing else 200


@blueprint.post("/<int:service_id>/reinstate")
@requires(Permission.SERVICES_TERMINATE)
def reinstate_now(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    if _take_step(service, lambda found: reinstate(context.db(), context.actor(), found)):
        done(_("%(name)s is active again.", name=service.name))
    return _back(service)


class PaidForm(Form):
    paid_until = day(_l("Paid until, that day included"))


@blueprint.route("/<int:service_id>/paid-until", methods=["GET", "POST"])
@requires(Permission.SERVICES_PAID)
def paid_until(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    today = context.now().astimezone(context.zone()).date()
    a_month_on = max(service.paid_until or today, today) + timedelta(days=30)
    form = PaidForm(data={"paid_until": a_month_on})
    if request.method == "POST" and form.validate():
        before = service.paid_until
        restored = []

        def step(found: Service) -> None:
            grace = timedelta(days=context.operator().grace_days)
            back = set_paid_until(context.db(), context.actor(), found, form.paid_until.data, today, grace)
            restored.extend([found] if back else [])

        if _take_step(service, step):
            shown = local_day(service.paid_until)
            message = (
                _("%(name)s is paid until %(day)s, and restored.", name=service.name, day=shown)
                if restored
                else _("%(name)s is paid until %(day)s.", name=service.name, day=shown)
                if service.paid_until
                else _("%(name)s is no longer cut off by date.", name=service.name)
            )
            done(
                message,
                undo=url_for(".paid_until", service_id=service.id),
                paid_until=before.isoformat() if before else "",
            )
        return _back(service)
    return render_template("staff/services/paid_until.html", form=form, service=service, today=today)


class PlanForm(Form):
    plan_id = choice(_l("Rate plan"), numeric=True)


@blueprint.route("/<int:service_id>/plan", methods=["GET", "POST"])
@requires(Permission.SERVICES_EDIT)
def plan(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    plans = list(
        context.db().scalars(
            select(RatePlan).where(~RatePlan.archived | (RatePlan.id == service.plan_id)).order_by(RatePlan.download)
        )
    )
    form = PlanForm(data={"plan_id": service.plan_id})
    form.plan_id.choices = [(one.id, one.name) for one in plans]
    if request.method == "POST" and form.validate():
        before = service.plan_id
        if _take_step(service, lambda found: change_plan_of(context.db(), context.actor(), found, form.plan_id.data)):
            names = {one.id: one.name for one in plans}
            done(
                _("%(name)s has the plan %(plan)s.", name=service.name, plan=names[service.plan_id]),
                undo=url_for(".plan", service_id=service.id),
                plan_id=before,
            )
        return _back(service)
    return render_template(
        "staff/services/plan.html", form=form, service=service, plans=plans, live=_live_count(service)
    )


class PasswordForm(Form):
    password = PasswordField(_l("New password"), [InputRequired(_l("This is needed."))])


@blueprint.route("/<int:service_id>/password", methods=["GET", "POST"])
@requires(Permission.SERVICES_PASSWORD)
def password(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    form = PasswordForm()
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            set_password(session, context.actor(), context.keyring(), service, form.password.data or "")
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The password of %(name)s is changed. Its next login needs the new one.", name=service.name))
            return _back(service)
    return render_template("staff/services/password.html", form=form, service=service, shown=None)


@blueprint.post("/<int:service_id>/password/show")
@requires(Permission.SERVICES_PASSWORD)
def show_password(service_id: int) -> ResponseReturnValue:
    service = find(service_id)
    session = context.db()
    shown = reveal_password(session, context.actor(), context.keyring(), service)
    session.commit()
    return render_template(
        "staff/services/password.html", form=PasswordForm(formdata=None), service=service, shown=shown
    )
