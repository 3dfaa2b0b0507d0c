"""The steps of a service's life, its plan, password and paid day.

Each step has a page that says what will happen and to how many sessions, then asks once; what can be undone is done at
once from the subscriber's page and offers Undo. The views only commit: the change reaches routers by itself.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import PasswordField
from wtforms.validators import InputRequired

from core.clock import utc_now
from crm.equipment import installed_at
from crm.leave_reasons import reasons_of
from crm.problems import Invalid, WrongState
from crm.services import (
    CAUSES,
    activate,
    change_plan_of,
    pause,
    reinstate,
    restore,
    resume,
    reveal_password,
    set_paid_until,
    set_password,
    suspend,
    terminate,
)
from db.models import AccountingSession, RatePlan, Service
from portal import context
from portal.errors import put_on_form, wrong_state_text
from portal.formats import local_day
from portal.forms import Form, choice, day, text
from portal.labels import label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.services.base import blueprint, find


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
        wanted, now = form.plan_id.data, context.now()
        if _take_step(service, lambda found: change_plan_of(context.db(), context.actor(), found, wanted, now)):
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
            service = find(service_id)
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
