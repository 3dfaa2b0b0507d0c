"""Equipment: the inventory, one device's page with its moves, entering one or a whole list."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, or_, select
from wtforms import HiddenField

from core.mac import find_mac
from crm.equipment import (
    EquipmentDetails,
    ReadLine,
    Whereabouts,
    change_equipment,
    create_equipment,
    details_of_device,
    enter_list,
    find_equipment,
    move_equipment,
    moves_of,
    read_list,
)
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.models import EQUIPMENT_KINDS, EQUIPMENT_STATES, Equipment, Service, Staff, Subscriber
from portal import context
from portal.errors import problem_text, put_on_form
from portal.forms import Form, choice, long_text, seen_version, text
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import differences
from portal.staff.work_orders.base import people
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("equipment", __name__, url_prefix="/equipment")


def _search(words: str) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [
        Equipment.serial.icontains(words, autoescape=True),
        Equipment.model.icontains(words, autoescape=True),
        Equipment.place.icontains(words, autoescape=True),
        Subscriber.name.icontains(words, autoescape=True),
    ]
    mac = find_mac(words)
    if mac is not None:
        found.append(Equipment.mac == mac)
    return or_(*found)


def _holders() -> list[tuple[str, Any]]:
    return [(str(person.id), person.name) for person in people()]


TABLE = Table(
    name="equipment",
    columns=(
        Column("model", _l("Model"), lambda row: row.Equipment.model, Equipment.model),
        Column("mac", _l("MAC address"), lambda row: row.Equipment.mac, Equipment.mac),
        Column("serial", _l("Serial number"), lambda row: row.Equipment.serial, Equipment.serial, wide=True),
        Column("kind", _l("Kind"), lambda row: label("equipment_kind", row.Equipment.kind), wide=True),
        Column("state", _l("State"), lambda row: label("equipment_state", row.Equipment.state), Equipment.state),
        Column("where", _l("Where"), lambda row: row.subscriber or row.person or row.Equipment.place),
        Column("moved", _l("Moved"), lambda row: row.Equipment.moved_at, Equipment.moved_at, wide=True),
        Column("notes", _l("Notes"), lambda row: row.Equipment.notes, exported_only=True),
    ),
    order="-moved",
    tie=Equipment.id,
    filters=(
        Filter(
            "state", _l("Any state"), lambda: choices("equipment_state"), lambda value: Equipment.state == value
        ),
        Filter("kind", _l("Any kind"), lambda: choices("equipment_kind"), lambda value: Equipment.kind == value),
        Filter("with", _l("With anybody"), _holders, lambda value: Equipment.staff_id == int(value)),
    ),
    search=_search,
    search_hint=_l("Model, serial number, MAC, subscriber"),
)  # fmt: skip


class DeviceForm(Form):
    kind = choice(_l("Kind"), default="cpe")
    model = text(_l("Model"))
    serial = text(_l("Serial number"))
    mac = text(_l("MAC address"))
    place = text(_l("Place"))
    notes = long_text(_l("Notes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind.choices = [(kind, label("equipment_kind", kind)) for kind in EQUIPMENT_KINDS]

    def details(self) -> EquipmentDetails:
        return EquipmentDetails(
            kind=self.kind.data, model=self.model.data or "", serial=self.serial.data or "", mac=self.mac.data,
            place=self.place.data or "", notes=self.notes.data or "",
        )  # fmt: skip


class MoveForm(Form):
    state = choice(_l("It is now"))
    staff_id = choice(_l("Technician"), numeric=True)
    service = text(_l("User name of the service"))
    place = text(_l("Place"))
    note = text(_l("Note"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state.choices = [(state, label("equipment_state", state)) for state in EQUIPMENT_STATES]
        self.staff_id.choices = [("", "–"), *((person.id, person.name) for person in people())]

    def whereabouts(self) -> Whereabouts:
        """Return where it goes. Raises Invalid where a service is named that there is not."""
        service = None
        if self.state.data == "installed":
            name = self.service.data or ""
            named = select(Service).where(
                Service.name.in_((name, find_mac(name) or name)), Service.state != "terminated"
            )  # fmt: skip
            service = context.db().scalars(named.limit(1)).first()
            if service is None:
                raise Invalid(FieldProblem("service", Problem.NO_SERVICE))
        return Whereabouts(
            self.state.data, self.place.data or "", self.staff_id.data,
            service.subscriber_id if service is not None else None, service.id if service is not None else None,
        )  # fmt: skip


class ListForm(Form):
    lines = long_text(_l("List"))


def find(equipment_id: int) -> Equipment:
    """Return a device of this operator, or answer 404."""
    return context.db().get(Equipment, equipment_id) or abort(404)


@blueprint.get("/")
@requires(Permission.EQUIPMENT_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(Equipment, Subscriber.name.label("subscriber"), Staff.name.label("person"))
        .outerjoin(Subscriber, Subscriber.id == Equipment.subscriber_id)
        .outerjoin(Staff, Staff.id == Equipment.staff_id)
    )
    return show(context.db(), TABLE, query, "staff/equipment/index.html")


@blueprint.get("/scan")
@requires(Permission.EQUIPMENT_VIEW)
def scan() -> ResponseReturnValue:
    """Go to the device of a label: what a scanner types into the field, followed by Enter."""
    typed = request.args.get("label", "")[:100]
    device = find_equipment(context.db(), context.operator().id, typed)
    if device is not None:
        return redirect(url_for(".page", equipment_id=device.id))
    refuse(_("There is no device with this label: %(label)s", label=typed))
    if context.may(Permission.EQUIPMENT_EDIT):
        mac = find_mac(typed.strip())
        return redirect(url_for(".create", mac=mac) if mac else url_for(".create", serial=typed.strip()))
    return redirect(url_for(".index"))


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.EQUIPMENT_EDIT)
def create() -> ResponseReturnValue:
    form = DeviceForm(data={"mac": request.args.get("mac"), "serial": request.args.get("serial"), "kind": "cpe"})
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            device = create_equipment(session, context.actor(), form.details(), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The device is entered."))
            return redirect(url_for(".page", equipment_id=device.id))
    page = render_template("staff/equipment/form.html", form=form, device=None, theirs=None)
    return page, 422 if form.errors else 200


@blueprint.route("/<int:equipment_id>/edit", methods=["GET", "POST"])
@requires(Permission.EQUIPMENT_EDIT)
def edit(equipment_id: int) -> ResponseReturnValue:
    device = find(equipment_id)
    form = DeviceForm(obj=device)
    theirs = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            change_equipment(session, context.actor(), device, form.details(), seen_version(form.version))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            theirs = differences(details_of_device(device), form.details())
            form.version.data = str(device.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", equipment_id=device.id))
    page = render_template("staff/equipment/form.html", form=form, device=device, theirs=theirs)
    return page, 409 if theirs is not None else 422 if form.errors else 200


@blueprint.get("/<int:equipment_id>")
@requires(Permission.EQUIPMENT_VIEW)
def page(equipment_id: int) -> ResponseReturnValue:
    return _page(find(equipment_id), None)


@blueprint.post("/<int:equipment_id>/move")
@requires(Permission.EQUIPMENT_EDIT)
def move(equipment_id: int) -> ResponseReturnValue:
    device = find(equipment_id)
    form = MoveForm()
    session = context.db()
    if form.validate():
        try:
            to = form.whereabouts()
            move_equipment(session, context.actor(), device, to, context.now(), form.note.data or "")
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("It is written down where the device is."))
            return redirect(url_for(".page", equipment_id=equipment_id))
    return _page(device, form), 422


def _page(device: Equipment, form: MoveForm | None) -> str:
    session = context.db()
    moves = moves_of(session, device)
    staff = {row.id: row.name for row in session.scalars(select(Staff))}
    ids = {move.subscriber_id for move in moves if move.subscriber_id is not None}
    subscribers = {row.id: row.name for row in session.scalars(select(Subscriber).where(Subscriber.id.in_(ids)))}
    return render_template(
        "staff/equipment/page.html",
        device=device,
        moves=moves,
        staff=staff,
        subscribers=subscribers,
        service=session.get(Service, device.service_id) if device.service_id is not None else None,
        form=form or MoveForm(formdata=None, data={"state": device.state, "place": device.place}),
    )


@blueprint.route("/import", methods=["GET", "POST"], endpoint="import_list")
@requires(Permission.EQUIPMENT_EDIT)
def import_page() -> ResponseReturnValue:
    """Read a pasted list, show what is wrong in which line, and enter the good ones when asked to."""
    form = ListForm()
    lines: list[ReadLine] = []
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            lines = read_list(session, context.operator().id, form.lines.data or "")
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            if request.form.get("enter") == "yes":
                count = enter_list(session, context.actor(), lines, context.now())
                session.commit()
                done(_("%(count)s devices are entered.", count=count))
                return redirect(url_for(".index"))
    said: Callable[[ReadLine], str] = lambda line: " ".join(problem_text(one) for one in line.problems)  # noqa: E731
    good = sum(not line.problems for line in lines)
    page = render_template("staff/equipment/import.html", form=form, lines=lines, said=said, good=good)
    return page, 422 if form.errors else 200
