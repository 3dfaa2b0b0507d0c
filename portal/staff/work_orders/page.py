"""The page of one work order: where, who, what is to be done, and the steps on the spot.

Every step is a button that posts and comes back here. What a step needs and whether it is possible is said by
`crm.work_orders` and `crm.work_steps`, which the technicians' own page asks as well.
"""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation

from flask import Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from core.clock import utc_now
from crm.equipment import installed_at
from crm.files import PICTURES, PNG, store_file
from crm.materials import use_material, used_by
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.work_orders import (
    WrongOrderState,
    add_note,
    begin,
    cancel,
    clashes,
    events_of,
    fail,
    open_again,
    schedule,
    set_out,
    settings_of,
)
from crm.work_steps import (
    PHOTO_SUBJECTS,
    StepsMissing,
    add_photo,
    bind_device,
    complete,
    has_no_device,
    locate,
    missing_steps,
    recover_device,
    sign,
    tick,
)
from crm.workflow import tell_of_change, visit_of
from db.models import (
    WORK_OPEN,
    CircuitTest,
    Equipment,
    Material,
    RatePlan,
    SeenDevice,
    Service,
    Staff,
    StoredFile,
    Subscriber,
    WorkOrder,
    WorkOrderPhoto,
)
from portal import context
from portal.auth import limiter
from portal.errors import problem_text, wrong_state_text
from portal.files import send_stored, take_files, uploads
from portal.labels import label
from portal.messages import done, refuse, warn
from portal.permissions import Permission, requires
from portal.staff.work_orders.base import WindowForm, blueprint, find, find_to_do, may_do, position_of, window_fields
from portal.staff.work_orders.edit import order_state_text
from portal.staff.work_orders.link import begin_link_test

SIGNATURE_MOST = 400_000
"""Octets of a signature as the browser draws it."""

take_files(blueprint, "photo", "sign_now")


@blueprint.get("/<int:order_id>")
@requires(Permission.WORK_ORDERS_VIEW)
def page(order_id: int) -> ResponseReturnValue:
    order = find(order_id)
    session = context.db()
    service = session.get(Service, order.service_id) if order.service_id is not None else None
    photos = select(WorkOrderPhoto).where(WorkOrderPhoto.work_order_id == order.id).order_by(WorkOrderPhoto.taken_at)
    test = session.get(CircuitTest, order.circuit_test_id) if order.circuit_test_id is not None else None
    values = {
        "order": order,
        "subscriber": session.get(Subscriber, order.subscriber_id) if order.subscriber_id is not None else None,
        "service": service,
        "plan": session.get(RatePlan, service.plan_id) if service is not None else None,
        "technician": session.get(Staff, order.technician_id) if order.technician_id is not None else None,
        "events": events_of(session, order),
        "photos": list(session.scalars(photos)),
        "used": used_by(session, order),
        "materials": list(session.scalars(select(Material).where(Material.active).order_by(Material.name))),
        "devices": installed_at(session, service) if service is not None else [],
        "no_device": service is not None and has_no_device(service),
        "seen": _seen_devices() if service is not None and order.state in WORK_OPEN else [],
        "test": test,
        "missing": missing_steps(session, order) if order.state in WORK_OPEN else [],
        "is_open": order.state in WORK_OPEN,
        "may_do": may_do(order),
        "clashes": clashes(session, order) if order.state in WORK_OPEN else [],
        "plan_form": WindowForm(data=window_fields(order)),
        "subjects": PHOTO_SUBJECTS,
    }
    session.commit()  # the operator's settings, where they were asked for the first time
    return render_template("staff/work_orders/page.html", **values)


def _seen_devices() -> list[SeenDevice]:
    return list(context.db().scalars(select(SeenDevice).order_by(SeenDevice.last_seen_at.desc()).limit(30)))


def take(order: WorkOrder, step: Callable[[], object], said: str = "") -> ResponseReturnValue:
    """Do a step, commit, and go back to the order's page; say why when it cannot be."""
    session = context.db()
    order_id = order.id
    try:
        step()
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except WrongOrderState as problem:
        session.rollback()
        refuse(order_state_text(problem))
    except WrongState as problem:
        session.rollback()
        refuse(wrong_state_text(problem))
    except StepsMissing as problem:
        session.rollback()
        missing = (one.text or label("work_missing", one.step) for one in problem.missing)
        refuse(_("It is not complete yet: %(missing)s.", missing="; ".join(missing)))
    except ChangedMeanwhile:
        session.rollback()
        refuse(_("Somebody else changed it meanwhile. Look at it and try again."))
    else:
        session.commit()
        if said:
            done(said)
    return redirect(url_for("work_orders.page", order_id=order_id))


def _key() -> str:
    return request.form.get("key", "")[:100]


def _said(name: str) -> str:
    return request.form.get(name, "")


@blueprint.post("/<int:order_id>/plan")
@requires(Permission.WORK_ORDERS_VIEW)
def plan(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    form = WindowForm()

    def step() -> None:
        if not form.validate():
            raise Invalid(FieldProblem("day", Problem.WRONG_SPAN))
        seen, before = request.form.get("version", type=int), visit_of(order)
        schedule(
            context.db(), context.actor(), order, form.technician_id.data, form.window(), context.now(), seen=seen
        )  # fmt: skip
        tell_of_change(context.db(), context.keyring(), context.actor(), order, before)
        for other in clashes(context.db(), order):
            warn(
                _("At the same time there is work order %(number)s: %(title)s", number=other.number, title=other.title)
            )

    return take(order, step, _("It is planned."))


@blueprint.post("/<int:order_id>/set-out")
@requires(Permission.WORK_ORDERS_VIEW)
def set_out_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    return take(order, lambda: set_out(context.db(), context.actor(), order, utc_now(), _key()))


@blueprint.post("/<int:order_id>/begin")
@requires(Permission.WORK_ORDERS_VIEW)
def begin_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    return take(order, lambda: begin(context.db(), context.actor(), order, utc_now(), _key()))


@blueprint.post("/<int:order_id>/fail")
@requires(Permission.WORK_ORDERS_VIEW)
def fail_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    step = lambda: fail(context.db(), context.actor(), order, _said("reason"), utc_now(), _key())  # noqa: E731
    return take(order, step, _("It is written down that it was not done."))


@blueprint.post("/<int:order_id>/cancel")
@requires(Permission.WORK_ORDERS_EDIT)
def cancel_now(order_id: int) -> ResponseReturnValue:
    order = find(order_id)

    def step() -> None:
        before = visit_of(order)
        cancel(context.db(), context.actor(), order, _said("reason"), utc_now(), _key())
        tell_of_change(context.db(), context.keyring(), context.actor(), order, before)

    return take(order, step, _("It is cancelled."))


@blueprint.post("/<int:order_id>/open-again")
@requires(Permission.WORK_ORDERS_EDIT)
def open_again_now(order_id: int) -> ResponseReturnValue:
    order = find(order_id)

    def step() -> None:
        before = visit_of(order)
        open_again(context.db(), context.actor(), order, utc_now())
        tell_of_change(context.db(), context.keyring(), context.actor(), order, before)

    return take(order, step)


@blueprint.post("/<int:order_id>/note")
@requires(Permission.WORK_ORDERS_VIEW)
def note(order_id: int) -> ResponseReturnValue:
    order = find(order_id)
    kind = "call" if _said("kind") == "call" else "note"
    step = lambda: add_note(context.db(), context.actor(), order, _said("text"), utc_now(), kind, _key())  # noqa: E731
    return take(order, step)


@blueprint.post("/<int:order_id>/tick/<int:place>")
@requires(Permission.WORK_ORDERS_VIEW)
def tick_now(order_id: int, place: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    is_done = _said("done") == "yes"
    return take(
        order, lambda: tick(context.db(), context.actor(), order, place, done=is_done, now=utc_now(), key=_key())
    )  # fmt: skip


@blueprint.post("/<int:order_id>/photo")
@requires(Permission.WORK_ORDERS_VIEW)
def photo(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    session, actor, now = context.db(), context.actor(), utc_now()

    def step() -> None:
        position = position_of(_said("position"))
        chosen = uploads("photos")
        if not chosen:
            raise Invalid(FieldProblem("photos", Problem.REQUIRED))
        for number, (name, content) in enumerate(chosen):
            file = store_file(session, actor.operator_id, name, content, PICTURES, field="photos")
            key = f"{_key()}/{number}" if _key() else ""
            subject = _said("subject") or "site"
            add_photo(session, actor, order, file, subject, now, caption=_said("caption"), position=position, key=key)

    return take(order, step)


@blueprint.get("/<int:order_id>/photos/<int:file_id>")
@requires(Permission.WORK_ORDERS_VIEW)
def show_photo(order_id: int, file_id: int) -> Response:
    order = find(order_id)
    session = context.db()
    if file_id != order.signature_id and session.get(WorkOrderPhoto, (order.id, file_id)) is None:
        abort(404)
    return send_stored(session.get_one(StoredFile, file_id))


@blueprint.post("/<int:order_id>/material")
@requires(Permission.WORK_ORDERS_VIEW)
def material(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)

    def step() -> None:
        found = context.db().get(Material, request.form.get("material_id", 0, int))
        if found is None:
            raise Invalid(FieldProblem("material_id", Problem.UNKNOWN_CHOICE))
        try:
            quantity = Decimal(_said("quantity").strip().replace(",", "."))
        except InvalidOperation:
            raise Invalid(FieldProblem("quantity", Problem.NOT_POSITIVE)) from None
        use_material(context.db(), context.actor(), order, found, quantity, utc_now(), _key())

    return take(order, step)


@blueprint.post("/<int:order_id>/device")
@requires(Permission.WORK_ORDERS_VIEW)
def device(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    step = lambda: bind_device(  # noqa: E731
        context.db(), context.actor(), order, _said("label"), utc_now(), _key()
    )
    return take(order, step, _("The device is bound."))


@blueprint.post("/<int:order_id>/recover/<int:equipment_id>")
@requires(Permission.WORK_ORDERS_VIEW)
def recover(order_id: int, equipment_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    taken = context.db().get(Equipment, equipment_id) or abort(404)
    step = lambda: recover_device(  # noqa: E731
        context.db(), context.actor(), order, taken, _said("state"), utc_now(), _key()
    )
    return take(order, step)


@blueprint.post("/<int:order_id>/link-test")
@requires(Permission.WORK_ORDERS_VIEW)
@limiter.limit("30 per minute")
def link_test(order_id: int) -> ResponseReturnValue:
    """Begin a circuit test of the order's service, unless one is under way; this page shows how it ends."""
    order = find_to_do(order_id)
    return take(order, lambda: begin_link_test(order))


@blueprint.post("/<int:order_id>/locate")
@requires(Permission.WORK_ORDERS_VIEW)
def locate_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)

    def step() -> None:
        position = position_of(_said("position"))
        if position is None:
            raise Invalid(FieldProblem("position", Problem.REQUIRED))
        locate(context.db(), context.actor(), order, *position, utc_now(), _key())

    return take(order, step, _("The position is kept."))


@blueprint.post("/<int:order_id>/sign")
@requires(Permission.WORK_ORDERS_VIEW)
def sign_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)

    def step() -> None:
        file = store_file(
            context.db(), order.operator_id, "signature.png", _drawn(), {PNG}, SIGNATURE_MOST, field="signature"
        )
        sign(context.db(), context.actor(), order, _said("signed_name"), file, utc_now(), _key())

    return take(order, step, _("It is signed."))


def _drawn() -> bytes:
    """Return the signature as the browser drew it, or the picture that was chosen instead. Raises Invalid."""
    chosen = uploads("signature_file")
    if chosen:
        return chosen[0][1]
    head, _comma, octets = _said("signature").partition(",")
    if head != "data:image/png;base64":
        raise Invalid(FieldProblem("signature", Problem.REQUIRED))
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise Invalid(FieldProblem("signature", Problem.NOT_A_PICTURE)) from None


@blueprint.post("/<int:order_id>/complete")
@requires(Permission.WORK_ORDERS_VIEW)
def complete_now(order_id: int) -> ResponseReturnValue:
    order = find_to_do(order_id)
    session = context.db()
    reason = _said("reason").strip()
    if reason and not context.may(Permission.WORK_ORDERS_OVERRIDE):
        abort(403)
    settings = context.portal().settings

    def step() -> None:
        now: datetime = utc_now()
        complete(
            session, context.actor(), context.keyring(), order, settings.public_url, now,
            override_reason=reason, key=_key(),
        )  # fmt: skip

    answer = take(order, step, _("Done. What was sold is in force now."))
    installed = order.state == "done" and order.kind == "installation"
    if installed and order.login_given_at is None and settings_of(session, order.operator_id).give_login:
        warn(_("The login of the subscriber's page could not be sent: there is no e-mail address."))
    return answer
