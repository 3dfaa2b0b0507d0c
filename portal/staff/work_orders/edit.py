"""Entering and editing work orders."""

from dataclasses import replace
from typing import Any

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import HiddenField

from crm.equipment import installed_at
from crm.problems import ChangedMeanwhile, Invalid
from crm.work_orders import (
    WorkOrderDetails,
    WrongOrderState,
    change_work_order,
    create_work_order,
    details_of_order,
)
from crm.workflow import tell_of_change, tell_of_order, visit_of
from db.models import WORK_KINDS, WORK_PRIORITIES, Service, Subscriber, Ticket, WorkOrder
from portal import context
from portal.errors import put_on_form
from portal.forms import choice, long_text, seen_version, text
from portal.labels import label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import differences
from portal.staff.work_orders.base import WindowForm, blueprint, find, position_of, window_fields


class OrderForm(WindowForm):
    kind = choice(_l("Kind"))
    priority = choice(_l("Priority"), default="normal")
    title = text(_l("What it is about"))
    description = long_text(_l("What is to be done"))
    service_id = choice(_l("Service"), numeric=True)
    address = text(_l("Address"))
    position = text(_l("Position"))
    contact_name = text(_l("Contact"))
    contact_phone = text(_l("Phone of the contact"))
    version = HiddenField()

    def __init__(self, subscriber: Subscriber | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind.choices = [(kind, label("work_kind", kind)) for kind in WORK_KINDS]
        self.priority.choices = [(priority, label("work_priority", priority)) for priority in WORK_PRIORITIES]
        services = select(Service).where(Service.subscriber_id == (subscriber.id if subscriber else 0))
        self.service_id.choices = [
            ("", _("none")),
            *((service.id, service.name) for service in context.db().scalars(services.order_by(Service.id))),
        ]

    def details(self, base: WorkOrderDetails) -> WorkOrderDetails:
        """Return what was typed over what stands there. Raises Invalid."""
        position = position_of(self.position.data or "")
        window = self.window()
        return replace(
            base,
            kind=self.kind.data,
            priority=self.priority.data,
            title=self.title.data or "",
            description=self.description.data or "",
            service_id=self.service_id.data,
            address=self.address.data or "",
            latitude=position[0] if position else None,
            longitude=position[1] if position else None,
            contact_name=self.contact_name.data or "",
            contact_phone=self.contact_phone.data,
            technician_id=self.technician_id.data,
            window_start=window[0] if window else None,
            window_end=window[1] if window else None,
        )


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.WORK_ORDERS_EDIT)
def create() -> ResponseReturnValue:
    """Enter an order: for a subscriber, for one of their services, from a ticket, or for the network."""
    session = context.db()
    base, subscriber = _asked_for()
    form = OrderForm(subscriber, data={"kind": base.kind, "service_id": base.service_id, "title": base.title})
    if request.method == "POST" and form.validate():
        try:
            order = create_work_order(session, context.actor(), form.details(base), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            tell_of_order(session, context.keyring(), order)
            session.commit()
            done(_("Work order %(number)s is entered.", number=order.number))
            return redirect(url_for(".page", order_id=order.id))
    status = 422 if form.errors else 200
    return render_template(
        "staff/work_orders/form.html", form=form, order=None, subscriber=subscriber, theirs=None
    ), status  # fmt: skip


@blueprint.route("/<int:order_id>/edit", methods=["GET", "POST"])
@requires(Permission.WORK_ORDERS_EDIT)
def edit(order_id: int) -> ResponseReturnValue:
    order = find(order_id)
    session = context.db()
    subscriber = session.get(Subscriber, order.subscriber_id) if order.subscriber_id is not None else None
    form = OrderForm(subscriber, data=_as_typed(order))
    theirs, before = None, visit_of(order)
    if request.method == "POST" and form.validate():
        try:
            typed = form.details(details_of_order(order))
            change_work_order(session, context.actor(), order, typed, seen_version(form.version), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except WrongOrderState as problem:
            session.rollback()
            refuse(order_state_text(problem))
            return redirect(url_for(".page", order_id=order_id))
        except ChangedMeanwhile:
            theirs = differences(details_of_order(order), typed)
            form.version.data = str(order.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            tell_of_change(session, context.keyring(), context.actor(), order, before)
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", order_id=order.id))
    page = render_template(
        "staff/work_orders/form.html", form=form, order=order, subscriber=subscriber, theirs=theirs
    )  # fmt: skip
    return page, 409 if theirs is not None else 422 if form.errors else 200


def order_state_text(problem: WrongOrderState) -> str:
    state = label("work_state", problem.state).lower()
    return str(_("Nothing was changed: this work order is %(state)s. Look at it again.", state=state))


def _asked_for() -> tuple[WorkOrderDetails, Subscriber | None]:
    """Return what the address of the page says an order is for; what is not there is left out."""
    session = context.db()
    args = request.args
    service = session.get(Service, args.get("service", 0, int))
    ticket = session.get(Ticket, args.get("ticket", 0, int))
    subscriber_id = args.get("subscriber", 0, int)
    if service is not None:
        subscriber_id = service.subscriber_id
    elif ticket is not None and ticket.subscriber_id is not None:
        subscriber_id = ticket.subscriber_id
    subscriber = session.get(Subscriber, subscriber_id)
    kind = args.get("kind", "")
    if kind not in WORK_KINDS:
        kind = "repair" if subscriber is not None else "maintenance"
    if kind == "recovery" and service is None and subscriber is not None:
        service = _with_equipment(subscriber)
    return WorkOrderDetails(
        kind=kind,
        title=ticket.subject if ticket is not None else subscriber.name if subscriber is not None else "",
        subscriber_id=subscriber.id if subscriber is not None else None,
        service_id=service.id if service is not None else None,
        ticket_id=ticket.id if ticket is not None else None,
    ), subscriber  # fmt: skip


def _with_equipment(subscriber: Subscriber) -> Service | None:
    services = context.db().scalars(select(Service).where(Service.subscriber_id == subscriber.id)).all()
    return next((service for service in services if installed_at(context.db(), service)), None)


def _as_typed(order: WorkOrder) -> dict[str, Any]:
    names = ("kind", "priority", "title", "description", "service_id", "address", "contact_name", "contact_phone")
    position = "" if order.latitude is None else f"{order.latitude}, {order.longitude}"
    typed = {name: getattr(order, name) for name in names}
    return {**typed, **window_fields(order), "position": position, "version": str(order.version)}
